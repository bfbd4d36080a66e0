/** Invitations over both stores: whom they let in, for how long, what is on record before, and how they end. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import { closeLives, following, listenTo } from '../live/live-over-store.fixture.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import {
  type ConsoleInvitations,
  type ConsoleInvitationsParts,
  createConsoleInvitations,
  type InvitationRecord,
} from './console-invites.ts'
import { createDurableRecords, listDurable } from './durable-records.ts'

const by = 'os:ada@bastion'

describe.each([
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
])('invitations on %s', (_, openPlace) => {
  let place: StorePlace
  let invitations: ConsoleInvitations
  let events: unknown[]
  const ring = createTestRing()

  /** Another instance: nothing but the store is shared. */
  function open(changes: Partial<ConsoleInvitationsParts> = {}): ConsoleInvitations {
    return createConsoleInvitations({
      records: createDurableRecords<InvitationRecord>('console_invite', {
        store: place.store,
        keys: () => ring,
        log: { error: () => undefined },
      }),
      loadNow: () => place.store.loadNow(),
      now: place.clock.now,
      monotonicNow: place.clock.now,
      recordFirst: async (event) => void events.push(event),
      tell: () => place.store.publish({ kind: 'invitations', detail: '' }),
      ...changes,
    })
  }
  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())
  afterEach(closeLives)
  beforeEach(async () => {
    for await (const { name } of listDurable(place.store, undefined)) await place.store.removeDurable(name)
    events = []
    invitations = open()
  })

  async function listed() {
    const all: string[] = []
    for await (const { email, role } of invitations.list()) all.push(`${email} ${role}`)
    return all.sort((a, b) => (a < b ? -1 : 1))
  }

  it('hold on every instance until their end, and are then nobody’s', async () => {
    const { until } = await invitations.invite({ email: 'Ada@Corp.example', role: 'admin', seconds: 3600 }, by)
    const other = open()
    expect(await other.find('ada@corp.example')).toEqual(['admin'])
    expect(await other.find('ADA@corp.example')).toEqual(['admin'])
    expect(await other.find('eve@corp.example')).toEqual([])
    const later = open({ now: () => until - 1, monotonicNow: () => 0 })
    expect(await later.find('ada@corp.example')).toEqual(['admin'])
    expect(await open({ now: () => until }).find('ada@corp.example')).toEqual([])
  })

  it('end at their instant also where they are remembered', async () => {
    const { until } = await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 60 }, by)
    let at = until - 1
    const other = open({ now: () => at, monotonicNow: () => 0 })
    expect(await other.find('ada@corp.example')).toEqual(['admin'])
    at = until
    expect(await other.find('ada@corp.example')).toEqual([])
  })

  it('never fold letters beyond ASCII, which could impersonate an address', async () => {
    await invitations.invite({ email: 'karl@corp.example', role: 'admin', seconds: 3600 }, by)
    expect(await invitations.find('\u212aarl@corp.example')).toEqual([])
  })

  it('are on record before they hold, and do not hold where they cannot be', async () => {
    const failing = open({
      recordFirst: async () => {
        throw new PosternError('audit_unavailable', 'no disk')
      },
    })
    await expect(failing.invite({ email: 'ada@corp.example', role: 'admin', seconds: 60 }, by)).rejects.toMatchObject({
      code: 'audit_unavailable',
    })
    expect(await invitations.find('ada@corp.example')).toEqual([])
    const { at } = await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 60 }, by)
    expect(events).toEqual([{ event: 'console.invited', actor: by, email: 'ada@corp.example', role: 'admin', until: at + 60_000 }])
  })

  it('stand beside each other, a second one for the same role moving its end', async () => {
    await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 60 }, by)
    await invitations.invite({ email: 'ada@corp.example', role: 'auditor', seconds: 60 }, by)
    const moved = await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 600 }, by)
    expect(await listed()).toEqual(['ada@corp.example admin', 'ada@corp.example auditor'])
    expect(await open({ now: () => moved.until - 1 }).find('ada@corp.example')).toEqual(['admin'])
  })

  it('are taken back one by one or all at once, and two at a time lose nothing', async () => {
    await Promise.all(
      (['admin', 'auditor', 'helpdesk'] as const).map((role) => invitations.invite({ email: 'ada@corp.example', role, seconds: 3600 }, by)),
    )
    expect(await invitations.withdraw('Ada@corp.example', 'admin', by)).toEqual(['admin'])
    expect(await invitations.find('ada@corp.example')).toEqual(['auditor', 'helpdesk'])
    expect(await invitations.withdraw('ada@corp.example', undefined, by)).toHaveLength(2)
    expect(await invitations.find('ada@corp.example')).toEqual([])
    expect(await invitations.withdraw('ada@corp.example', undefined, by)).toEqual([])
    expect(await listed()).toEqual([])
    expect(events.slice(3)).toHaveLength(3)
    expect(events.at(-1)).toMatchObject({ event: 'console.uninvited', actor: by, email: 'ada@corp.example' })
  })

  it('that were given or taken back elsewhere are known as soon as it is told, though memory would last', async () => {
    const heard = listenTo(place)
    await following(place, heard)
    const other = open({ live: heard.live, monotonicNow: () => 0 })
    const isAdmin = async () => (await other.find('ada@corp.example')).includes('admin')
    expect(await isAdmin()).toBe(false)
    await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 3600 }, by)
    await expect.poll(isAdmin, { interval: 10 }).toBe(true)
    await invitations.withdraw('ada@corp.example', undefined, by)
    await expect.poll(isAdmin, { interval: 10 }).toBe(false)
  })

  it('are not taken back where that could not be written down, and are on record when it is tried again', async () => {
    const told: string[] = []
    await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 3600 }, by)
    const failing = open({
      tell: async () => void told.push('told'),
      recordFirst: async () => {
        throw new PosternError('audit_unavailable', 'no disk')
      },
    })
    await expect(failing.withdraw('ada@corp.example', undefined, by)).rejects.toMatchObject({ code: 'audit_unavailable' })
    expect(told).toEqual([])
    expect(await open().find('ada@corp.example')).toEqual(['admin'])
    const events: unknown[] = []
    const again = open({ tell: async () => void told.push('told'), recordFirst: async (event) => void events.push(event) })
    expect(await again.withdraw('ada@corp.example', undefined, by)).toEqual(['admin'])
    expect(events).toMatchObject([{ event: 'console.uninvited', email: 'ada@corp.example', role: 'admin' }])
    expect(told).toEqual(['told'])
    expect(await open().find('ada@corp.example')).toEqual([])
  })

  it('that were taken back elsewhere are remembered for two seconds at the most', async () => {
    let at = 0
    const other = open({ monotonicNow: () => at })
    await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 3600 }, by)
    expect(await other.find('ada@corp.example')).toEqual(['admin'])
    await invitations.withdraw('ada@corp.example', undefined, by)
    at = 2_000
    expect(await other.find('ada@corp.example')).toEqual([])
  })

  it('last a week at the most', async () => {
    await expect(invitations.invite({ email: 'a@b', role: 'admin', seconds: 7 * 86_400 + 1 }, by)).rejects.toThrow(TypeError)
    await expect(invitations.invite({ email: 'a@b', role: 'admin', seconds: 0 }, by)).rejects.toThrow(TypeError)
  })

  it('tell nobody who reads the store whom they are for', async () => {
    await invitations.invite({ email: 'ada@corp.example', role: 'admin', seconds: 3600 }, by)
    for await (const { name, value } of listDurable(place.store, undefined)) {
      expect(`${name}${value.toString('latin1')}`).not.toContain('ada@')
    }
  })
})
