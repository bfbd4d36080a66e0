/**
 * What the tests of `live` share: an instance's ends, locks and news over a real store, and a moment from which all news are heard.
 */

import { expect } from 'vitest'
import type { SubjectFacts } from '../policy/facts.ts'
import { type StorePlace, silentLog } from '../session/session.fixture.ts'
import { createLive, type LiveParts } from './create-live.ts'
import type { Live, LiveEvent } from './live.ts'
import type { Lock } from './lock.ts'

/** How long ends are kept here. */
export const keepSeconds = 3_600
const nobody: SubjectFacts = { kind: 'nobody' }
/** A stranger's request for the wiki. */
export const onWiki = { subject: nobody, deviceId: undefined, appId: 'wiki' }
/** A lock on it. */
export const wikiLock: Lock = { target: { kind: 'app', id: 'wiki' }, label: 'wiki', since: 0, until: undefined, reason: 'x', by: 'os:a@b' }
let counter = 0
/** An end that nobody has recorded yet. */
export const freshEnd = () => ({ kind: 'session', idHash: `h${counter++}`, cause: 'revoked' }) as const
/** How a store that is away refuses. */
export const away = { code: 'session_store_unavailable' }

const lives: Live[] = []

/** Closes what was opened here; after each test. */
export async function closeLives(): Promise<void> {
  await Promise.all(lives.splice(0).map((live) => live.close()))
}

/** An instance, with all that its listeners were told. */
export function listenTo(place: StorePlace, parts: Partial<LiveParts> = {}): { live: Live; events: LiveEvent[]; kinds: () => string[] } {
  const live = createLive({
    store: place.store,
    loadLocks: async () => [],
    monotonicNow: place.clock.now,
    keepSeconds,
    log: silentLog,
    ...parts,
  })
  lives.push(live)
  const events: LiveEvent[] = []
  live.listen((event) => events.push(event))
  return { live, events, kinds: () => events.map(({ kind }) => kind) }
}

/** Resolves once the stream is followed, so that whatever is published from now on is heard as such. */
export async function following(place: StorePlace, { live, events }: Pick<ReturnType<typeof listenTo>, 'live' | 'events'>): Promise<void> {
  const marker = `marker${counter++}`
  await expect
    .poll(
      async () => {
        await place.store.publish({ kind: 'device', detail: marker })
        return events.some((event) => event.kind === 'device_changed' && event.deviceHash === marker)
      },
      { interval: 20, timeout: 5_000 },
    )
    .toBe(true)
  await live.confirm()
  events.length = 0
}
