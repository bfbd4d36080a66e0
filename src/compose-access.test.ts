/** What an instance takes into its trail from a command at its socket, and what it answers before that is on the disk. */

import { beforeEach, expect, it } from 'vitest'
import type { AdministrativeEvent } from './audit/event.ts'
import { createEventIntake } from './compose-access.ts'
import { silentLog } from './session/session.fixture.ts'

const recorded: AdministrativeEvent[] = []
let isOnDisk = true
const take = createEventIntake({
  audit: { isWritable: () => true, settle: async () => isOnDisk },
  record: (event) => void recorded.push(event),
  log: silentLog,
})
beforeEach(() => {
  recorded.length = 0
  isOnDisk = true
})

const actor = 'os:root@host'
const first: AdministrativeEvent[] = [
  { event: 'data.read', actor, what: 'audit', target: undefined, entries: undefined },
  { event: 'audit.pruned', actor, chain: 'a-0', segments: 1, throughSeq: 9, head: 'h', cause: 'command' },
  { event: 'break_glass.issued', actor, issuer: 'https://op', sub: 's', email: 'e@corp.example', until: 1, reason: 'r' },
]

it.each(first.map((event) => [event.event, event] as const))('takes %s only once it is on the disk', async (_kind, event) => {
  expect(await take(event)).toBe(true)
  expect(recorded).toEqual([event])
  isOnDisk = false
  expect(await take(event)).toBe(false)
})

it('lets a lock wait for no disk, and takes nothing that is no administrative event', async () => {
  isOnDisk = false
  const lock = { event: 'lock.set', actor, on: 'app', target: 'wiki', label: 'wiki', until: 1, reason: 'r' }
  expect(await take(lock)).toBe(true)
  expect(await take({ event: 'access.decided', actor })).toBe(false)
  expect(recorded).toHaveLength(1)
})
