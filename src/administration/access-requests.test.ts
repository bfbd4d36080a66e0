/** Requests for access over both stores: how many there may be, whose they are, what is recorded, and that they are gone in time. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import {
  type AccessRequests,
  type AccessRequestsRecord,
  type AskingWish,
  createAccessRequests,
  parseRequestText,
} from './access-requests.ts'
import { createDurableRecords, listDurable } from './durable-records.ts'

const day = 86_400_000
const alice = { issuer: 'https://op.example', sub: 'alice' }
const bob = { issuer: 'https://op.example', sub: 'bob' }
const admin = { actor: 'person:root', label: 'root@corp.example' }

describe.each([
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
])('requests on %s', (_, openPlace) => {
  let place: StorePlace
  let events: unknown[]
  let ring = createTestRing()
  let ticks = 0

  /** Another instance: nothing but the store is shared. */
  function openInstance(limits = { perPerson: 3, inAll: 5 }): AccessRequests {
    return createAccessRequests({
      records: createDurableRecords<AccessRequestsRecord>('access_request', {
        store: place.store,
        keys: () => ring,
        log: { error: () => undefined },
      }),
      loadNow: () => place.store.loadNow(),
      // Nothing is remembered between two calls, unless a test asks within one instant.
      monotonicNow: () => (ticks += 10_000),
      record: (event) => void events.push(event),
      limits,
    })
  }
  const wish = (app: string, person = alice, reason = 'work'): AskingWish => ({
    person,
    label: `${person.sub}@corp.example`,
    email: `${person.sub}@corp.example`,
    app: { id: app, name: app.toUpperCase() },
    reason,
    lack: { reason: 'no_rule_matched', rule: 'hr', unmet: [{ condition: 'subject', outcome: 'false', remedy: 'ask_for_access' }] },
    request: 'r1',
  })
  const isStored = async () => {
    for await (const _one of listDurable(place.store, 'access_request')) return true
    return false
  }

  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    events = []
    ring = createTestRing()
    for await (const { name } of listDurable(place.store, 'access_request')) await place.store.removeDurable(name)
  })

  it('are asked, listed by instance and person, answered and withdrawn, each on record', async () => {
    const [one, other] = [openInstance(), openInstance()]
    const asked = await one.ask(wish('wiki'))
    if (asked.outcome !== 'asked') throw new TypeError('not asked')
    const { id } = asked.request
    expect(await other.listOf(alice)).toEqual([expect.objectContaining({ id, state: 'open', reason: 'work', person: alice })])
    expect(await other.listOf(bob)).toEqual([])
    expect((await other.list()).requests).toEqual([expect.objectContaining({ id, label: 'alice@corp.example' })])
    expect(await other.answer(id, { state: 'seen', note: '' }, admin)).toMatchObject({ state: 'seen' })
    expect(await one.answer(id, { state: 'answered', note: 'From Monday on.' }, admin)).toMatchObject({
      state: 'answered',
      answer: { by: 'person:root', label: 'root@corp.example', note: 'From Monday on.' },
    })
    expect(await one.withdraw(alice, id, { email: undefined, request: 'r2' })).toBe(false)
    const again = await one.ask(wish('wiki'))
    expect(again.outcome).toBe('asked')
    const id2 = again.outcome === 'asked' ? again.request.id : ''
    expect(await one.withdraw(alice, id2, { email: undefined, request: 'r3' })).toBe(true)
    expect((await one.listOf(alice)).map((request) => request.id)).toEqual([id])
    const subject = { kind: 'person', ...alice, email: 'alice@corp.example' }
    expect(events).toEqual([
      { event: 'access.requested', request: 'r1', subject, app: 'wiki', accessRequest: id, reason: 'work' },
      expect.objectContaining({
        event: 'access.request_answered',
        actor: 'person:root',
        target: 'alice',
        state: 'seen',
        reason: undefined,
      }),
      expect.objectContaining({ event: 'access.request_answered', accessRequest: id, state: 'answered', reason: 'From Monday on.' }),
      expect.objectContaining({ event: 'access.requested', accessRequest: id2 }),
      expect.objectContaining({ event: 'access.request_withdrawn', request: 'r3', accessRequest: id2, app: 'wiki' }),
    ])
  })

  it('stand once for a person and app, also when two instances are asked at once', async () => {
    const outcomes = await Promise.all([
      openInstance().ask(wish('wiki')),
      openInstance().ask(wish('wiki')),
      openInstance().ask(wish('wiki')),
    ])
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['asked', 'refused', 'refused'])
    expect(outcomes).toContainEqual({ outcome: 'refused', problem: 'stands' })
    expect((await openInstance().ask(wish('wiki', bob))).outcome).toBe('asked')
  })

  it('are so many for a person, where answers make room, and so many in all', async () => {
    const requests = openInstance()
    for (const app of ['a', 'b', 'c']) expect((await requests.ask(wish(app))).outcome).toBe('asked')
    expect(await requests.ask(wish('d'))).toEqual({ outcome: 'refused', problem: 'many_of_yours' })
    const [first] = (await requests.listOf(alice)).filter(({ app }) => app.id === 'a')
    await requests.answer(first?.id ?? '', { state: 'answered', note: 'no' }, admin)
    expect((await requests.ask(wish('d'))).outcome).toBe('asked')
    expect((await requests.listOf(alice)).map(({ app }) => app.id).sort()).toEqual(['b', 'c', 'd'])
    for (const app of ['a', 'b']) expect((await requests.ask(wish(app, bob))).outcome).toBe('asked')
    expect(await requests.ask(wish('c', bob))).toEqual({ outcome: 'refused', problem: 'many' })
  })

  it('of somebody else cannot be withdrawn, and one that is not there cannot be answered', async () => {
    const requests = openInstance()
    const asked = await requests.ask(wish('wiki'))
    const id = asked.outcome === 'asked' ? asked.request.id : ''
    expect(await requests.withdraw(bob, id, { email: undefined, request: 'r' })).toBe(false)
    expect(await requests.listOf(alice)).toHaveLength(1)
    expect(await requests.answer('A'.repeat(22), { state: 'seen', note: '' }, admin)).toBeUndefined()
  })

  it('are gone after ninety days, from answers at once and from the store by the next look', async () => {
    const requests = openInstance()
    await requests.ask(wish('wiki'))
    place.clock.move(90 * day - 1000)
    expect(await requests.listOf(alice)).toHaveLength(1)
    place.clock.move(2000)
    expect(await requests.listOf(alice)).toEqual([])
    expect(await isStored()).toBe(true)
    expect((await requests.list()).requests).toEqual([])
    expect(await isStored()).toBe(false)
  })

  it('that do not open are said to be missing, and nothing is shown instead', async () => {
    await openInstance().ask(wish('wiki'))
    ring = createTestRing()
    await openInstance().ask(wish('wiki', bob))
    const { isWhole, requests } = await openInstance().list()
    expect([isWhole, requests.map(({ person }) => person.sub)]).toEqual([false, ['bob']])
    await expect(openInstance().listOf(alice)).rejects.toMatchObject({ code: 'record_unreadable' })
  })
})

describe('the text of a request', () => {
  it.each<[string, string | undefined]>([
    ['  for\r\n the \u202eminutes\u0000 ', 'for the minutes'],
    ['', undefined],
    [' \u200b\n', undefined],
    ['x'.repeat(500), 'x'.repeat(500)],
    ['x'.repeat(501), undefined],
  ])('%j', (given, expected) => {
    expect(parseRequestText(given)).toBe(expected)
  })
})
