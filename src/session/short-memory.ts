/**
 * A memory for reads that may be a few seconds old: bounded, aged on the monotonic clock, and never fed by a read that was overtaken.
 *
 * An entry's age counts from the moment its read began. Concurrent misses share one read. `forget` also detaches a read under
 * way: those who wait for it still get its answer, but it does not enter memory and nobody else joins it.
 */

/** Remembers what was read, for a moment. */
export interface ShortMemory<T> {
  /** What is remembered and young enough, at once. */
  recall(key: string): T | undefined
  /** What is remembered and at most so old, which may be longer than what counts otherwise. */
  recallWithin(key: string, milliseconds: number): T | undefined
  /** The remembered value, or what `load` reads. A rejected read is shared by those who wait and remembered by nobody. */
  get(key: string, load: () => Promise<T>): Promise<T>
  /** Reads past memory, and remembers. */
  reload(key: string, load: () => Promise<T>): Promise<T>
  forget(key: string): void
  /** Every entry, and every read under way. */
  clear(): void
}

/** How long and how much. */
export interface ShortMemoryOptions<T> {
  readonly monotonicNow: () => number
  readonly maxAgeMs: number
  /** How long an entry is there for `recallWithin`; `maxAgeMs` where nothing is said. */
  readonly keepMs?: number | undefined
  readonly maxEntries: number
  /** What need not be remembered, such as "unknown": strangers must not fill memory. */
  readonly isWorthKeeping: (value: T) => boolean
}

/** An empty memory. */
export function createShortMemory<T>(options: ShortMemoryOptions<T>): ShortMemory<T> {
  /** In the order in which the reads began, as each read puts its entry at the end. */
  const entries = new Map<string, { readonly value: T; readonly readAt: number }>()
  const flights = new Map<string, Promise<T>>()
  const keepMs = Math.max(options.keepMs ?? 0, options.maxAgeMs)

  async function read(key: string, load: () => Promise<T>): Promise<T> {
    const readAt = options.monotonicNow()
    const flight = load()
    flights.set(key, flight)
    try {
      const value = await flight
      if (flights.get(key) === flight && options.isWorthKeeping(value)) remember(key, value, readAt)
      return value
    } finally {
      if (flights.get(key) === flight) flights.delete(key)
    }
  }

  function remember(key: string, value: T, readAt: number): void {
    entries.delete(key)
    entries.set(key, { value, readAt })
    const oldestAllowed = options.monotonicNow() - keepMs
    for (const [oldKey, entry] of entries) {
      if (entry.readAt >= oldestAllowed && entries.size <= options.maxEntries) break
      entries.delete(oldKey)
    }
  }

  function recallWithin(key: string, milliseconds: number): T | undefined {
    const entry = entries.get(key)
    return entry !== undefined && options.monotonicNow() - entry.readAt <= milliseconds ? entry.value : undefined
  }

  const recall = (key: string) => recallWithin(key, options.maxAgeMs)

  return {
    recall,
    recallWithin,
    get(key, load) {
      const known = recall(key)
      return known === undefined ? (flights.get(key) ?? read(key, load)) : Promise.resolve(known)
    },
    reload: (key, load) => read(key, load),
    forget(key) {
      entries.delete(key)
      flights.delete(key)
    },
    clear() {
      entries.clear()
      flights.clear()
    },
  }
}
