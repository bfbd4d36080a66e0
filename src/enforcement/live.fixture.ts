/** Ends, locks and news for tests of the flow: held in memory, and told by the test itself, which can also take the store away. */

import { PosternError } from '../errors.ts'
import type { Live, LiveEvent } from '../live/live.ts'
import type { Lock } from '../live/lock.ts'
import { createLockSet } from '../live/lock-set.ts'
import type { End } from '../session/store.ts'

/** What a test moves. */
export interface TestLive extends Live {
  tell(event: LiveEvent): void
  lock(...locks: readonly Lock[]): void
  /** While the store is away nothing is current, and nothing can be confirmed. */
  setAway(isAway: boolean): void
  /** Whoever listens now. */
  listenerCount(): number
}

export function createTestLive({ now, monotonicNow }: { readonly now: () => number; readonly monotonicNow: () => number }): TestLive {
  const listeners = new Set<(event: LiveEvent) => void>()
  const ends = new Map<string, End>()
  let locks = createLockSet([])
  let awayAt: number | undefined
  const tell = (event: LiveEvent) => {
    if (event.kind === 'ended') for (const end of event.ends) ends.set(`${end.kind}:${end.idHash}`, end)
    for (const listener of [...listeners]) listener(event)
  }
  return {
    isCurrent: () => awayAt === undefined,
    confirm: () =>
      awayAt === undefined ? Promise.resolve() : Promise.reject(new PosternError('session_store_unavailable', 'taken away by a test')),
    age: () => (awayAt === undefined ? 0 : monotonicNow() - awayAt),
    findEnd: ({ kind, idHash }) => ends.get(`${kind}:${idHash}`),
    findLock: (question) => locks.find(question, now()),
    hasDeviceLocks: () => locks.all.some(({ target }) => target.kind === 'device'),
    noteEnds: (noted) => tell({ kind: 'ended', ends: noted }),
    announce: tell,
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    now,
    close: () => Promise.resolve(),
    tell,
    lock(...some) {
      locks = createLockSet(some)
      tell({ kind: 'locks_changed' })
    },
    setAway(isAway) {
      awayAt = isAway ? (awayAt ?? monotonicNow()) : undefined
    },
    listenerCount: () => listeners.size,
  }
}
