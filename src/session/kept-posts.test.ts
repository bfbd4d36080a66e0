/** Kept forms on both stores: sealed, taken once, by known browsers alone, within their limits also when many come at once. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { KeyRing } from '../keys.ts'
import { createKeptPosts, type FormAddress, type FormRoom, formArrivalMs, type KeptPosts } from './kept-posts.ts'
import { hashOf } from './secret.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
  silentLog,
} from './session.fixture.ts'

const origin = 'https://wiki.corp.example'
const mebi = 1024 ** 2

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('%s', (_kind, openPlace) => {
  let place: StorePlace
  let ring: KeyRing
  let posts: KeptPosts
  let count = 0

  beforeAll(async () => {
    place = await openPlace()
    ring = createTestRing()
    posts = createKeptPosts({ store: place.store, keys: () => ring, maxBytes: mebi, log: silentLog })
  })
  afterAll(() => place.close())

  /** A form of a browser of its own, unless one is named. */
  function form(sessionId = `session-${count++}`): FormAddress {
    const sender = { sessionId, subjectHash: hashOf('op', 'alice') }
    return { origin, path: '/edit', query: '?page=7', contentType: 'application/x-www-form-urlencoded', sender }
  }

  async function roomFor(address: FormAddress, bytes: number): Promise<FormRoom> {
    const room = await posts.reserve(address, bytes)
    if (typeof room === 'string') throw new Error(room)
    return room
  }

  test('a form comes back as it was sent, once', async () => {
    const address = form()
    const body = Buffer.from([0, 1, 2, 255, 10, 13])
    const id = await (await roomFor(address, body.length)).keep(body)
    expect(await posts.find(id)).toMatchObject({ ...address, body })
    expect(await posts.take(id)).toMatchObject({ ...address, body })
    expect(await posts.find(id)).toBeUndefined()
    expect(await posts.take(id)).toBeUndefined()
  })

  test('of many takers one gets it', async () => {
    const id = await (await roomFor(form(), 5)).keep(Buffer.from('x=one'))
    const taken = await Promise.all(Array.from({ length: 8 }, () => posts.take(id)))
    expect(taken.filter((post) => post !== undefined)).toHaveLength(1)
  })

  test('it is gone after five minutes, and nothing that is no id is looked up', async () => {
    const id = await (await roomFor(form(), 5)).keep(Buffer.from('x=two'))
    place.clock.move(301_000)
    expect(await posts.take(id)).toBeUndefined()
    expect(await posts.take('../session:abc')).toBeUndefined()
    expect(await posts.find('')).toBeUndefined()
  })

  test('the store has neither the id nor a readable byte', async () => {
    const id = await (await roomFor(form(), 40)).keep(Buffer.from('comment=the-treasure-is-under-the-stairs'))
    const stored = (await place.store.loadRecord(`kept_post:${hashOf(id)}`))?.value
    expect(stored?.length).toBeGreaterThan(40)
    expect(stored?.toString('latin1')).not.toMatch(/treasure|edit|page=7|urlencoded/)
    expect(stored?.includes(id)).toBe(false)
  })

  test('a record that was moved under another name does not open', async () => {
    const [one, other] = [
      await (await roomFor(form(), 3)).keep(Buffer.from('a=1')),
      await (await roomFor(form(), 3)).keep(Buffer.from('a=2')),
    ]
    const moved = await place.store.takeRecord(`kept_post:${hashOf(one)}`)
    const target = await place.store.loadRecord(`kept_post:${hashOf(other)}`)
    if (moved === undefined || target === undefined) throw new Error('not kept')
    await place.store.replaceRecord(`kept_post:${hashOf(other)}`, { ...target, value: moved.value })
    expect(await posts.take(other)).toBeUndefined()
  })

  test('a browser has five places; one that is given back, taken or five minutes old is free again', async () => {
    const address = form()
    const rooms = await Promise.all(Array.from({ length: 4 }, () => roomFor(address, 3)))
    const id = await (await roomFor(address, 3)).keep(Buffer.from('a=b'))
    expect(await posts.reserve(address, 3)).toBe('too_many')
    expect(typeof (await posts.reserve(form(), 3))).toBe('object')
    await rooms[0]?.release()
    await roomFor(address, 3)
    expect(await posts.reserve(address, 3)).toBe('too_many')
    await posts.take(id)
    await roomFor(address, 3)
    expect(await posts.reserve(address, 3)).toBe('too_many')
    place.clock.move(301_000)
    await roomFor(address, 3)
  })

  test('a place is held for as long as its form may take to arrive', async () => {
    const address = form()
    const rooms = await Promise.all(Array.from({ length: 5 }, () => roomFor(address, 3)))
    place.clock.move(formArrivalMs)
    expect(await posts.reserve(address, 3)).toBe('too_many')
    for (const room of rooms) await room.keep(Buffer.from('a=b'))
    expect(await posts.reserve(address, 3)).toBe('too_many')
  })

  test('no more than 64 MiB are kept for all browsers together, also of those that come at the same moment', async () => {
    place.clock.move(301_000)
    const asked = await Promise.all(Array.from({ length: 80 }, () => posts.reserve(form(), mebi)))
    const rooms = asked.filter((room) => typeof room === 'object')
    expect(rooms.length).toBeLessThanOrEqual(63)
    expect(rooms.length).toBeGreaterThan(0)
    expect(asked.filter((room) => room === 'no_room').length).toBe(80 - rooms.length)
    // Those refused at the edge have left no trace: now, one after the other, the room is filled to the last place.
    let last: FormRoom | string = 'free'
    let all = rooms.length
    while (last !== 'no_room' && all < 100) {
      last = await posts.reserve(form(), mebi)
      if (typeof last === 'object') all += 1
    }
    expect(all).toBe(63)
    expect(await posts.reserve(form(), 3 * 1024 ** 2)).toBe('no_room')
    for (const room of rooms) await room.release()
    await roomFor(form(), mebi)
    place.clock.move(301_000)
  })

  test('a form of unknown length counts for its length once it is known', async () => {
    const kept: string[] = []
    for (let i = 0; i < 100; i += 1) kept.push(await (await roomFor(form(), mebi)).keep(Buffer.from('a=b')))
    expect(new Set(kept).size).toBe(100)
    place.clock.move(301_000)
  })

  test('a body longer than its room is a mistake', async () => {
    await expect((await roomFor(form(), 3)).keep(Buffer.from('longer'))).rejects.toThrow(TypeError)
  })

  test('the sender is whoever the cookie led to, also after the session ended, and of this origin alone', async () => {
    const { sessions } = createTestSessions(place, ring)
    const { session } = await sessions.begin(signedInAs('alice'), browserOrigin)
    const secret = (await sessions.openAppSession(session.id, origin)) ?? ''
    const sender = { sessionId: session.id, subjectHash: hashOf(session.issuer, session.sub) }
    expect(await posts.findSender(secret, origin)).toEqual(sender)
    expect(await posts.findSender(secret, 'https://other.corp.example')).toBeUndefined()
    await sessions.endSession(session.id, 'revoked')
    place.clock.move(3_600_000)
    expect(await posts.findSender(secret, origin)).toEqual(sender)
    expect(await posts.findSender('x'.repeat(43), origin)).toBeUndefined()
    expect(await posts.findSender('not a secret', origin)).toBeUndefined()
    place.clock.move(13 * 3_600_000)
    expect(await posts.findSender(secret, origin)).toBeUndefined()
    await sessions.close()
  })
})
