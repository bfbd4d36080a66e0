/**
 * The ends that an instance holds: all of them, each until no session that it could concern can live any more.
 *
 * Of several ends of one thing the latest counts, and none is ever replaced by an earlier one, so that hearing of the same end twice, or of
 * two in the wrong order, makes no difference. What a store has lost is known by holding its list against this one.
 */

import type { End } from '../session/store.ts'

/** Ends by what ended. */
export interface HeldEnds {
  find(thing: Pick<End, 'kind' | 'idHash'>): End | undefined
  /** Holds them; returns those that were not held, or are later than what was. */
  hold(ends: readonly End[]): readonly End[]
  /** What is held and missing, or earlier, in `ends`. */
  missingIn(ends: readonly End[]): readonly End[]
  /** Lets go of what was over at `now`, the store's clock. */
  sweep(now: number): void
  count(): number
}

/** Holds nothing yet. An end is over `keepSeconds` after its instant. */
export function createHeldEnds(keepSeconds: number): HeldEnds {
  const keepMs = keepSeconds * 1000
  /** By kind first: a request asks for three of them, and joins no texts for it. */
  const held = new Map<string, Map<string, End>>()

  const find: HeldEnds['find'] = ({ kind, idHash }) => held.get(kind)?.get(idHash)

  return {
    find,
    hold(ends) {
      return ends.filter((end) => {
        const known = find(end)
        if (known !== undefined && known.at >= end.at) return false
        const ofKind = held.get(end.kind) ?? new Map<string, End>()
        held.set(end.kind, ofKind)
        ofKind.set(end.idHash, end)
        return true
      })
    },
    missingIn(ends) {
      const listed = createHeldEnds(keepSeconds)
      listed.hold(ends)
      const missing: End[] = []
      for (const ofKind of held.values()) {
        for (const end of ofKind.values()) {
          const theirs = listed.find(end)
          if (theirs === undefined || theirs.at < end.at) missing.push(end)
        }
      }
      return missing
    },
    sweep(now) {
      for (const ofKind of held.values()) {
        for (const [idHash, end] of ofKind) if (end.at + keepMs <= now) ofKind.delete(idHash)
      }
    },
    count: () => [...held.values()].reduce((sum, ofKind) => sum + ofKind.size, 0),
  }
}

/** The ends in the `detail` of an `ended` event; `undefined` where a line is none, so that nobody goes on as if there were fewer. */
export function parseEndedDetail(detail: string): readonly End[] | undefined {
  const ends: End[] = []
  for (const line of detail.split('\n')) {
    const [, kind, idHash, at, cause] = /^([a-z_]+):(\S+) (\d{1,16}) ([a-z_]+)$/.exec(line) ?? []
    if (kind === undefined || idHash === undefined || cause === undefined) return undefined
    // A kind or a cause that this version does not know comes from a newer one, and ends what it names all the same.
    ends.push({ kind: kind as End['kind'], idHash, at: Number(at), cause: cause as End['cause'] })
  }
  return ends
}
