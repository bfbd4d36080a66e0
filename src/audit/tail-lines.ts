/**
 * The lines of a trail, and then what is written to it, for as long as somebody listens: `postern audit search --follow`.
 *
 * Each round reads on from where the last one stopped, through rotation, compression and chains that begin meanwhile. A change of the files
 * starts the next round at once where the system tells of it; a look now and then does where it does not (a network's file system).
 */

import { type FSWatcher, watch } from 'node:fs'
import { type MergedLine, type MergeOptions, mergeLines, type ReadPositions } from './merged-lines.ts'

export interface TailOptions extends Omit<MergeOptions, 'positions' | 'until'> {
  readonly signal: AbortSignal
  /** How long a round waits for the system to tell of a change. */
  readonly lookEveryMs?: number
}

/** A busy trail is written to a hundred times a second: so long lines gather. */
const gatherMs = 50

/** The lines in the order of `mergeLines`; of what is written while this reads, in order within each round. Ends with the signal. */
export async function* tailLines(folders: readonly string[], options: TailOptions): AsyncGenerator<MergedLine> {
  const { lookEveryMs = 1_000, signal, ...merge } = options
  const positions: ReadPositions = new Map()
  const changes = watchFolders(folders)
  try {
    while (!signal.aborted) {
      for await (const line of mergeLines(folders, { ...merge, positions })) {
        yield line
        if (signal.aborted) return
      }
      await changes.next(lookEveryMs, signal)
      await pause(gatherMs, signal)
    }
  } finally {
    changes.close()
  }
}

function watchFolders(folders: readonly string[]) {
  let hasChanged = false
  let wake: (() => void) | undefined
  const watchers: FSWatcher[] = []
  for (const folder of folders) {
    try {
      const watcher = watch(folder, { recursive: true, persistent: false }, () => {
        hasChanged = true
        wake?.()
      })
      // A folder that goes away is looked for at the next round.
      watcher.on('error', () => watcher.close())
      watchers.push(watcher)
    } catch {
      // This system, or this file system, tells of nothing: the rounds look by themselves.
    }
  }
  return {
    async next(mostMs: number, signal: AbortSignal): Promise<void> {
      if (!hasChanged) {
        const waiting = new AbortController()
        wake = () => waiting.abort()
        await pause(mostMs, AbortSignal.any([signal, waiting.signal]))
        wake = undefined
      }
      hasChanged = false
    },
    close: () => {
      for (const watcher of watchers) watcher.close()
    },
  }
}

/** Until then, or until the signal. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const over = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, milliseconds)
    signal.addEventListener('abort', over)
  })
}
