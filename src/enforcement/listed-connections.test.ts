/** What administrators see of open connections, and the cut of one. */

import { afterEach, describe, expect, test } from 'vitest'
import { rule } from '../policy/policy.fixture.ts'
import { type FlowRig, type FlowRigOptions, startFlow, wiki } from './enforcement.fixture.ts'
import { answerOpen, endingsOf, endingsWith, endLines, expectUntouched, openAll, openOne, settle } from './open-connections.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const everybody = [rule('allow', { kind: 'signed_in' }, { name: 'everybody' })]

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ rules: everybody })], upstreamAnswers: answerOpen, isTimeStill: true, ...options })
  rigs.push(rig)
  return rig
}

const all = { limit: 100 }

describe('the list of what is open', () => {
  test('says whose each is, where, since when, and how much went each way', async () => {
    const rig = await begin()
    const alice = await rig.signIn('alice')
    const since = rig.clock.now()
    const socket = await openOne(rig, 'websocket', [`Cookie: ${alice.cookie}`])
    await expectUntouched(rig, socket)
    const { entries, more, byApp } = rig.listener.listed.list(all)
    expect(entries).toEqual([
      {
        id: socket.id,
        app: 'wiki',
        kind: 'websocket',
        subject: { kind: 'person', issuer: alice.session.issuer, sub: 'alice', email: 'alice@corp.example' },
        session: alice.session.id,
        device: undefined,
        address: '127.0.0.1',
        since,
        bytesIn: expect.any(Number),
        bytesOut: expect.any(Number),
        method: 'GET',
        path: '/ws',
      },
    ])
    expect(entries[0]?.bytesIn).toBeGreaterThan(0)
    expect({ more, byApp }).toEqual({ more: 0, byApp: [['wiki', 1]] })
  })

  test('has WebSockets and event streams at once, and transfers once they have lasted a second', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    await openAll(rig, cookie)
    const kinds = () =>
      rig.listener.listed
        .list(all)
        .entries.map(({ kind }) => kind)
        .sort()
    expect(kinds()).toEqual(['websocket'])
    rig.clock.move(1_001)
    expect(kinds()).toEqual(['transfer', 'transfer', 'transfer', 'websocket'])
    await openOne(rig, 'event stream', [`Cookie: ${cookie}`, 'Accept: text/event-stream'])
    expect(kinds()).toContain('event_stream')
  })

  test('keeps to one app or one person, the newest first, page by page, and counts the rest', async () => {
    const rig = await begin()
    const alice = await rig.signIn('alice')
    const bob = await rig.signIn('bob')
    const ids: string[] = []
    for (const { cookie } of [alice, bob, alice, bob, alice]) {
      ids.unshift((await openOne(rig, 'websocket', [`Cookie: ${cookie}`])).id)
      rig.clock.move(10)
    }
    const { listed } = rig.listener
    const first = listed.list({ limit: 2 })
    expect(first.entries.map(({ id }) => id)).toEqual(ids.slice(0, 2))
    expect(first).toMatchObject({ more: 3, byApp: [['wiki', 5]] })
    const last = first.entries.at(-1)
    const second = listed.list({ limit: 10, after: { since: last?.since ?? 0, id: last?.id ?? '' } })
    expect(second.entries.map(({ id }) => id)).toEqual(ids.slice(2))
    expect(second.more).toBe(0)
    expect(listed.list({ ...all, subject: 'BOB@corp.example' }).entries.map(({ id }) => id)).toEqual([ids[1], ids[3]])
    expect(listed.list({ ...all, subject: 'alice' }).entries).toHaveLength(3)
    expect(listed.list({ ...all, app: 'crm' }).entries).toEqual([])
    const { issuer } = alice.session
    expect(listed.count({ subject: { issuer, sub: 'alice' } })).toBe(3)
    expect(listed.count({ subject: { issuer: 'https://other.example', sub: 'alice' } })).toBe(0)
    expect(listed.count({ sessions: [bob.session.id, 'none'] })).toBe(2)
    expect(listed.count({ device: 'laptop-7' })).toBe(0)
    expect(listed.count({})).toBe(5)
    expect(listed.list({ ...all, id: ids[2] ?? '' }).entries.map(({ id }) => id)).toEqual([ids[2]])
  })

  test('leaves out what the app and the operator keep out of the trail', async () => {
    const rig = await begin({
      apps: [wiki({ rules: everybody, audit: { ...wiki().audit, paths: 'none' } })],
      settings: { recording: { query: 'drop', recordClaims: [], redact: ['address', 'email'], groupClaims: [['groups']] } },
    })
    const { cookie } = await rig.signIn('alice')
    await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    const [entry] = rig.listener.listed.list(all).entries
    expect(entry).toMatchObject({ path: '', address: undefined, subject: { kind: 'person', sub: 'alice' } })
    expect(JSON.stringify(entry)).not.toContain('alice@corp.example')
  })
})

describe('a cut', () => {
  test('of one ends it at once, says so in the trail, and touches nothing else', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const opened = await openAll(rig, cookie)
    const spared = await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    await settle(rig)
    for (const { id } of opened) expect(rig.listener.listed.cut(id)).toBe(true)
    expect(await endingsOf(opened)).toEqual(endingsWith(4403))
    for (const line of await endLines(rig, opened))
      expect(line).toMatchObject({ outcome: 'cut', reason: 'connection_cut', policy: expect.any(String) })
    await expectUntouched(rig, spared)
    expect(rig.listener.listed.cut(opened[0]?.id ?? '')).toBe(false)
  })
})
