/** What cuts open connections, how each kind of them sees it, and that the others notice nothing. */

import { afterEach, describe, expect, test } from 'vitest'
import type { DeviceReading } from '../attributes/device-facts.ts'
import type { Lock } from '../live/lock.ts'
import { deviceCondition, mfa, rule, signInCondition } from '../policy/policy.fixture.ts'
import { hashOf } from '../session/secret.ts'
import { signedInAs } from '../session/session.fixture.ts'
import type { Session } from '../session/session.ts'
import { hashProviderSid, hashSessionId, hashSubject } from '../session/session-record.ts'
import { type FlowRig, type FlowRigOptions, get, startFlow, wiki } from './enforcement.fixture.ts'
import { eventually } from './forwarding.fixture.ts'
import {
  answerOpen,
  decidedOf,
  endingsOf,
  endingsWith,
  endLines,
  expectUntouched,
  openAll,
  openOne,
  settle,
  settleReviews,
  switching,
  ticked,
} from './open-connections.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const everybody = [rule('allow', { kind: 'signed_in' }, { name: 'everybody' })]
const staffOnly = [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })]

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ rules: everybody })], upstreamAnswers: answerOpen, isTimeStill: true, ...options })
  rigs.push(rig)
  return rig
}

function lockOn(target: Lock['target']): Lock {
  return { target, label: 'it', since: 0, until: undefined, reason: 'lost', by: 'os:root@host' }
}

/** Somebody who was signed in with these groups is no member any more. */
async function loseGroups(rig: FlowRig, session: Session): Promise<void> {
  const { claims, ...rest } = signedInAs(session.sub)
  await rig.sessions.continueWith(session, { ...rest, claims: { ...claims, groups: [] } })
}

describe('an end', () => {
  test('of a session cuts everything that it has open, at once and by name, and nobody else notices', async () => {
    const rig = await begin()
    const alice = await rig.signIn('alice')
    const bob = await rig.signIn('bob')
    const hers = await openAll(rig, alice.cookie)
    const his = await openAll(rig, bob.cookie)
    await settle(rig)
    const upstreamsBefore = rig.upstream.connections.filter(({ socket }) => !socket.destroyed).length
    rig.live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash: hashSessionId(alice.session.id), at: 0, cause: 'revoked' }] })
    // Synchronously: a WebSocket still says goodbye, the others are gone.
    expect(rig.forwarding.open.size).toBe(5)
    expect(await endingsOf(hers)).toEqual(endingsWith(4401))
    for (const line of await endLines(rig, hers))
      expect(line).toMatchObject({ outcome: 'cut', reason: 'session_ended', rule: undefined, policy: expect.any(String) })
    await eventually(() => rig.upstream.connections.filter(({ socket }) => !socket.destroyed).length === upstreamsBefore - 4, 'upstreams')
    for (const one of his) await expectUntouched(rig, one)
    expect(rig.forwarding.open.size).toBe(4)
  })

  test.each([
    ['a subject', 'subject', (session: Session) => hashSubject(session.issuer, session.sub)],
    ['a session at the provider', 'provider_sid', (session: Session) => hashProviderSid(session.issuer, session.providerSid ?? '')],
  ] as const)('of %s spares what began after it', async (_what, kind, hash) => {
    const rig = await begin()
    const before = await rig.signIn('alice')
    rig.clock.move(10)
    const at = rig.clock.now()
    rig.clock.move(10)
    const after = await rig.signIn('alice')
    const cut = await openAll(rig, before.cookie)
    const spared = await openAll(rig, after.cookie)
    await settle(rig)
    rig.live.tell({ kind: 'ended', ends: [{ kind, idHash: hash(before.session), at, cause: 'back_channel' }] })
    expect(await endingsOf(cut)).toEqual(endingsWith(4401))
    for (const one of spared) await expectUntouched(rig, one)
  })

  test('of one app session cuts what was opened with that very cookie', async () => {
    const rig = await begin()
    const first = await rig.signIn('alice')
    const second = await rig.sessions.openAppSession(first.session.id, 'https://wiki.corp.example')
    const [name = '', secret = ''] = first.cookie.split('=')
    const cut = await openOne(rig, 'websocket', [`Cookie: ${first.cookie}`])
    const spared = await openOne(rig, 'websocket', [`Cookie: ${name}=${second}`])
    rig.live.tell({ kind: 'ended', ends: [{ kind: 'app_session', idHash: hashOf(secret), at: 0, cause: 'signed_out' }] })
    expect(await cut.ending).toBe(4401)
    await expectUntouched(rig, spared)
  })

  test('that this very instance records cuts as well', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await rig.sessions.endSession(session.id, 'signed_out')
    expect(await endingsOf(open)).toEqual(endingsWith(4401))
  })

  test('that comes between a decision and its exchange is not missed', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice')
    const { live, events } = rig
    events.push = (...lines) => {
      for (const line of lines) {
        events[events.length] = line
        if (line.event === 'access.decided')
          live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash: hashSessionId(session.id), at: 0, cause: 'revoked' }] })
      }
      return events.length
    }
    const client = await rig.connect()
    client.send(get('/events', [`Cookie: ${cookie}`]))
    await client.until((text) => text.includes('data: 1'))
    rig.clock.move(300)
    await client.closed
    expect(client.received()).not.toMatch(/0\r\n\r\n$/)
  })
})

describe('a lock', () => {
  test.each<[string, (session: Session) => Lock['target']]>([
    ['the subject', ({ issuer, sub }) => ({ kind: 'subject', issuer, sub })],
    ['the app', () => ({ kind: 'app', id: 'wiki' })],
  ])('on %s cuts at once, says why, and outlives the sign-in', async (_what, target) => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    rig.live.lock(lockOn(target(session)))
    expect(rig.forwarding.open.size).toBe(1)
    expect(await endingsOf(open)).toEqual(endingsWith(4403))
    for (const line of await endLines(rig, open)) expect(line).toMatchObject({ outcome: 'cut', reason: 'locked' })
    const again = await rig.signIn('alice')
    expect(await rig.ask(get('/page', [`Cookie: ${again.cookie}`]))).toMatchObject({ status: 403, headers: { 'x-postern': 'locked' } })
  })

  test('on an app cuts strangers too', async () => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'public' })] })] })
    const open = await openOne(rig, 'event stream', [])
    rig.live.lock(lockOn({ kind: 'app', id: 'wiki' }))
    expect(await open.ending).toBe('reset')
    expect((await rig.ask(get('/page'))).status).toBe(403)
  })

  test('on a service cuts what it has open', async () => {
    const subject = { kind: 'service', names: ['billing'], issuer: 'https://auth.example.com', claims: {} } as const
    const rig = await begin({
      apps: [wiki({ rules: [rule('allow', { kind: 'services', names: ['billing'] })] })],
      ports: { callers: { identify: async () => ({ outcome: 'identified', subject, until: Number.POSITIVE_INFINITY }) } },
    })
    const open = await openOne(rig, 'download', ['Postern-Authorization: Bearer abc'])
    rig.live.lock(lockOn({ kind: 'service', name: 'other' }))
    await expectUntouched(rig, open)
    rig.live.lock(lockOn({ kind: 'service', name: 'billing' }))
    expect(await open.ending).toBe('reset')
  })

  test('on a device cuts also on apps that ask for none, and refuses new requests there', async () => {
    const reading: DeviceReading = {
      device: {
        known: true,
        value: { id: 'laptop', identifiedBy: 'claim', isKnown: true, serial: undefined, tags: [], attributes: {} },
      },
      isChanged: false,
    }
    let asked = 0
    const read = () => {
      asked++
      return reading
    }
    const devices = { recall: () => undefined, read: async () => read() }
    const rig = await begin({ ports: { devices } })
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    // Learnt for the record, once beside each request: where nothing depends on it, what is open is not asked about.
    expect(asked).toBe(open.length)
    rig.live.lock(lockOn({ kind: 'device', id: 'other' }))
    await settleReviews(rig)
    for (const one of open) await expectUntouched(rig, one)
    rig.live.lock(lockOn({ kind: 'device', id: 'laptop' }))
    expect(await endingsOf(open)).toEqual(endingsWith(4403))
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).headers['x-postern']).toBe('locked')
  })
})

describe('what is decided again', () => {
  test('falls with the group that allowed it, once the session has changed', async () => {
    const rig = await begin({ apps: [wiki({ rules: staffOnly })] })
    const alice = await rig.signIn('alice')
    const bob = await rig.signIn('bob')
    const hers = await openAll(rig, alice.cookie)
    const his = await openAll(rig, bob.cookie)
    await settle(rig)
    await loseGroups(rig, alice.session)
    rig.live.tell({ kind: 'session_changed', sessionHash: hashSessionId(alice.session.id) })
    expect(await endingsOf(hers)).toEqual(endingsWith(4403))
    for (const line of await endLines(rig, hers)) expect(line).toMatchObject({ outcome: 'cut', reason: 'no_rule_matched', rule: 'staff' })
    for (const one of his) await expectUntouched(rig, one)
  })

  test('falls with the policy that allowed it, by the rule that forbids it now', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    rig.load([
      wiki({ rules: [...everybody, rule('deny', { kind: 'signed_in' }, { name: 'closed', methods: { names: [], classes: ['write'] } })] }),
    ])
    rig.live.announce({ kind: 'policy_changed' })
    const upload = open.filter(({ kind }) => kind === 'upload')
    expect(await endingsOf(upload)).toEqual({ upload: 'reset' })
    expect(await endLines(rig, upload)).toMatchObject([{ outcome: 'cut', reason: 'denied_by_rule', rule: 'closed' }])
    await settleReviews(rig)
    for (const one of open) if (one.kind !== 'upload') await expectUntouched(rig, one)
  })

  test.each<[string, Parameters<typeof wiki>[0], number, string]>([
    ['an app that is gone', { id: 'other' }, 4403, 'app_not_found'],
    [
      'an app that moved',
      { address: { origin: 'https://new.corp.example', hostname: 'new.corp.example', port: 443, prefix: '/' } },
      4403,
      'app_not_found',
    ],
    [
      'a rule that wants a stronger sign-in',
      { rules: [rule('allow', { kind: 'signed_in' }, { when: [signInCondition({ strength: mfa })] })] },
      4401,
      'insufficient_user_authentication',
    ],
  ])('falls for %s', async (_what, changes, code, reason) => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    rig.load([wiki({ rules: everybody, ...changes })])
    rig.live.announce({ kind: 'policy_changed' })
    expect(await endingsOf(open)).toEqual(endingsWith(code))
    for (const line of await endLines(rig, open)) expect(line.reason).toBe(reason)
  })

  test('is left alone by a change of policy as long as it has lasted less than a moment', async () => {
    const rig = await begin({ upstreamAnswers: () => undefined })
    const { cookie } = await rig.signIn('alice')
    const [short, long] = [await rig.connect(), await rig.connect()]
    for (const client of [short, long]) client.send(get('/slow', [`Cookie: ${cookie}`]))
    await eventually(() => rig.upstream.received().split('GET /slow').length === 3, 'both requests')
    rig.load([wiki({ rules: [rule('deny', { kind: 'everyone' }, { name: 'closed' })] })])
    rig.live.announce({ kind: 'policy_changed' })
    await ticked(rig)
    rig.upstream.connections[0]?.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
    await Promise.race([short, long].map((client) => client.until((text) => text.endsWith('hello'))))
    rig.clock.move(300)
    await Promise.race([short, long].map(({ closed }) => closed))
    const lines = () => rig.events.flatMap((event) => (event.event === 'access.ended' ? [[event.outcome, event.reason]] : []))
    await eventually(() => lines().length === 2, 'both ends')
    expect(lines()).toEqual([
      ['completed', undefined],
      ['cut', 'denied_by_rule'],
    ])
  })

  test('falls with the posture of its device', async () => {
    const device = { id: 'laptop', identifiedBy: 'certificate', isKnown: true, serial: undefined, tags: [] } as const
    const readingOf = (managed: boolean): DeviceReading => ({
      device: { known: true, value: { ...device, attributes: { managed: { value: managed, source: 'inventory', at: 0 } } } },
      isChanged: false,
    })
    let reading = readingOf(true)
    const rules = [rule('allow', { kind: 'signed_in' }, { name: 'healthy', when: [deviceCondition({ managed: true })] })]
    const rig = await begin({ apps: [wiki({ rules })], ports: { devices: { recall: () => reading, read: async () => reading } } })
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    reading = readingOf(false)
    rig.live.tell({ kind: 'device_changed', deviceHash: hashOf('phone') })
    await settleReviews(rig)
    for (const one of open) await expectUntouched(rig, one)
    rig.live.tell({ kind: 'device_changed', deviceHash: hashOf('laptop') })
    expect(await endingsOf(open)).toEqual(endingsWith(4403))
    for (const line of await endLines(rig, open)) expect(line).toMatchObject({ reason: 'no_rule_matched', rule: 'healthy' })
  })

  test('is no use of the session, and makes no line in the trail and no alert', async () => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'signed_in' }, { isAlert: true })] })] })
    const { session, cookie } = await rig.signIn('alice')
    await openAll(rig, cookie)
    await settle(rig)
    const before = { lines: rig.events.length, facts: rig.factLines.length, alerts: rig.alerts.length }
    rig.clock.move(70_000)
    for (let i = 0; i < 3; i++) {
      rig.live.tell({ kind: 'regained' })
      await settleReviews(rig)
    }
    expect({ lines: rig.events.length, facts: rig.factLines.length, alerts: rig.alerts.length }).toEqual(before)
    const found = await rig.sessions.findById(session.id)
    expect(found.state === 'live' && found.session.lastUsedAt).toBe(session.lastUsedAt)
  })
})

describe('a gap in the news', () => {
  test('is closed by what was read after it: what ended or was locked meanwhile is cut, the rest decided again', async () => {
    const rig = await begin({ apps: [wiki({ rules: staffOnly })] })
    const [ended, locked, changed, same] = await Promise.all(['alice', 'bob', 'carol', 'dave'].map((sub) => rig.signIn(sub)))
    if (ended === undefined || locked === undefined || changed === undefined || same === undefined) throw new Error('nobody signed in')
    const open = []
    for (const { cookie } of [ended, locked, changed, same]) open.push(await openOne(rig, 'websocket', [`Cookie: ${cookie}`]))
    await settle(rig)
    const { findEnd, findLock } = rig.live
    const hash = hashSessionId(ended.session.id)
    rig.live.findEnd = (thing) => (thing.idHash === hash ? { kind: 'session', idHash: hash, at: 0, cause: 'revoked' } : findEnd(thing))
    rig.live.findLock = (question) =>
      'sub' in question.subject && question.subject.sub === 'bob' ? { on: 'subject', until: undefined } : findLock(question)
    await loseGroups(rig, changed.session)
    rig.live.tell({ kind: 'regained' })
    // Before anything else is done: what ended or was locked needs no deciding.
    let cutAtOnce = 0
    rig.forwarding.open.forEach(({ watched }) => {
      if (watched?.isCut === true) cutAtOnce++
    })
    expect(cutAtOnce).toBe(2)
    const [first, second, third, fourth] = open
    expect(await Promise.all([first?.ending, second?.ending, third?.ending])).toEqual([4401, 4403, 4403])
    if (fourth !== undefined) await expectUntouched(rig, fourth)
  })
})

describe('a cut', () => {
  test('within a frame breaks the connection off: no close frame, and not the rest of the frame', async () => {
    const rig = await begin({ upstreamAnswers: (connection) => connection.send(`${switching}\x82\x7e\x10\x00half`) })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    await open.client.until((text) => text.endsWith('half'))
    rig.live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash: hashSessionId(session.id), at: 0, cause: 'revoked' }] })
    rig.upstream.connections[0]?.send('the rest')
    expect(await open.ending).toBe('reset')
    expect(open.client.received()).toMatch(/half$/)
  })

  test('of a client that does not read breaks the connection off, also between two frames', async () => {
    // Empty frames, so that there is hardly a byte that does not end one.
    const frames = Buffer.alloc(0x400000, Buffer.from([0x8a, 0]))
    const rig = await begin({
      upstreamAnswers: (connection) => {
        connection.send(switching)
        for (let i = 0; i < 8; i++) connection.send(frames)
      },
    })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    open.client.socket.pause()
    let moved = -1
    let stillFor = 0
    await eventually(() => {
      const now = rig.upstream.connections[0]?.socket.bytesWritten ?? 0
      stillFor = now === moved ? stillFor + 1 : 0
      moved = now
      return stillFor > 20
    }, 'that nothing moves any more')
    await rig.sessions.endSession(session.id, 'revoked')
    await endLines(rig, [open])
    open.client.socket.resume()
    expect(await open.ending).toBe('reset')
  })

  test('closes the socket of a client that does not answer the close frame', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice')
    const open = await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    const began = performance.now()
    await rig.sessions.endSession(session.id, 'revoked')
    expect(await open.ending).toBe(4401)
    await endLines(rig, [open])
    expect(performance.now() - began).toBeLessThan(500)
  })

  test('stops an upload on its way to the upstream', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice')
    const open = await openOne(rig, 'upload', [`Cookie: ${cookie}`])
    const upstream = rig.upstream.connections.find((connection) => connection.received().includes('half of it'))
    await rig.sessions.endSession(session.id, 'revoked')
    open.client.send('and the other')
    await upstream?.closed
    expect(upstream?.received()).not.toContain('the other')
    expect(await endLines(rig, [open])).toMatchObject([{ status: 0, outcome: 'cut' }])
  })
})

test('nothing is left behind: neither exchanges nor listeners', async () => {
  const rig = await begin()
  const idle = rig.live.listenerCount()
  const { session, cookie } = await rig.signIn('alice')
  for (let round = 0; round < 10; round++) await openAll(rig, cookie)
  expect(decidedOf(rig.events)).toHaveLength(40)
  await rig.sessions.endSession(session.id, 'revoked')
  await eventually(() => rig.forwarding.open.size === 0, 'an empty registry')
  expect(rig.live.listenerCount()).toBe(idle)
  await rig.listener.close(0)
  expect(rig.live.listenerCount()).toBe(idle - 2)
})
