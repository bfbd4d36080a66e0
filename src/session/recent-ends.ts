/**
 * The ends that this instance has heard of lately: they count at once, whatever memory or a read under way still says.
 *
 * Every answer about a session is held against them at the moment it is given. They are kept for longer than any remembered read
 * can live; from then on every read has seen the end in the store itself.
 */

import type { End } from './store.ts'

/** Ends heard of lately; the later one of the same thing counts. */
export interface RecentEnds {
  note(ends: readonly End[]): void
  /** Nearly always; then a request need not name what it would look for. */
  isEmpty(): boolean
  find(thing: Pick<End, 'kind' | 'idHash'>): End | undefined
}

/** Longer than a read may take and its result be remembered, together. */
const keepMs = 60_000

/** No ends yet. */
export function createRecentEnds(monotonicNow: () => number): RecentEnds {
  const noted = new Map<string, { readonly end: End; readonly notedAt: number }>()
  return {
    note(ends) {
      const notedAt = monotonicNow()
      for (const [key, entry] of noted) {
        if (notedAt - entry.notedAt <= keepMs) break
        noted.delete(key)
      }
      for (const end of ends) {
        const key = `${end.kind}:${end.idHash}`
        const known = noted.get(key)?.end
        noted.delete(key)
        noted.set(key, { end: known !== undefined && known.at > end.at ? known : end, notedAt })
      }
    },
    isEmpty: () => noted.size === 0,
    find: ({ kind, idHash }) => (noted.size === 0 ? undefined : noted.get(`${kind}:${idHash}`)?.end),
  }
}
