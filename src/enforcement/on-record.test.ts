/** Step 7 of the flow: what is allowed waits for its record where the app asks for that, and does not happen without it where it demands it. */

import { afterEach, describe, expect, test } from 'vitest'
import type { AuditEvent, AuditTrail } from '../audit/event.ts'
import type { App } from '../policy/document.ts'
import { hashSessionId } from '../session/session-record.ts'
import { type FlowRig, get, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'
import type { EnforcementPorts } from './ports.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

type Setting = Partial<App['audit']>

/** A trail whose disk a test moves: nobody who waits is answered before `finish`. */
function slowTrail() {
  const told: AuditEvent[] = []
  const waiting: ((isKept: boolean) => void)[] = []
  let isWritable = true
  const trail: AuditTrail = {
    record: (event) => void (event.event === 'facts.recorded' ? undefined : told.push(event)),
    settle: () => new Promise((resolve) => void waiting.push(resolve)),
    segment: () => 1,
    isWritable: () => isWritable,
    close: () => Promise.resolve(),
  }
  return {
    trail,
    told,
    waiting,
    decisions: () => told.flatMap((event) => (event.event === 'access.decided' ? [`${event.effect} ${event.reason}`] : [])),
    fill: () => {
      isWritable = false
    },
    finish: (isKept: boolean) => {
      for (const resolve of waiting.splice(0)) resolve(isKept)
    },
    someWait: (count = 1) => expect.poll(() => waiting.length).toBe(count),
  }
}

async function begin(audit: Setting, changes: Partial<App> = {}, ports: Partial<EnforcementPorts> = {}) {
  const trail = slowTrail()
  const whole = { paths: 'full', durability: undefined, whenFull: undefined, ...audit } as const
  const rig = await startFlow({ apps: [wiki({ audit: whole, ...changes })], ports: { audit: trail.trail, ...ports } })
  rigs.push(rig)
  const { cookie, session } = await rig.signIn('alice')
  return { ...trail, rig, session, line: `Cookie: ${cookie}` }
}

const restricted = { sensitivity: 'restricted' } as const
const handshake = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
  `Origin: ${wikiOrigin}`,
]

describe('an allowed request', () => {
  test.each<{ name: string; audit: Setting; changes?: Partial<App>; more?: readonly string[] }>([
    { name: 'of a restricted app', audit: {}, changes: restricted },
    { name: 'of an app that asks for it', audit: { durability: 'group' } },
    { name: 'for a WebSocket', audit: { durability: 'group' }, more: handshake },
  ])('$name reaches the upstream only once its decision is on the disk', async ({ audit, changes, more = [] }) => {
    const { finish, line, rig, someWait } = await begin(audit, changes)
    const answer = rig.ask(get('/page', [line, ...more]))
    await someWait()
    expect(rig.upstream.received()).toBe('')
    finish(true)
    await answer
    expect(rig.upstream.received()).toContain('GET /page')
  })

  test('waits for nothing on other apps, nor where a restricted app says so', async () => {
    for (const [audit, changes] of [
      [{}, {}],
      [{ durability: 'relaxed' }, restricted],
    ] as const) {
      const { line, rig, waiting } = await begin(audit, changes)
      expect((await rig.ask(get('/page', [line]))).status).toBe(200)
      expect(waiting).toEqual([])
    }
  })

  test('is refused where its line does not get to the disk and the app demands it, and goes on where it does not', async () => {
    const strict = await begin({}, restricted)
    const refused = strict.rig.ask(get('/page', [strict.line]))
    await strict.someWait()
    strict.finish(false)
    expect(await refused).toMatchObject({ status: 503, headers: { 'x-postern': 'audit_unavailable' } })
    expect(strict.rig.upstream.received()).toBe('')
    expect(strict.decisions()).toEqual(['allow rule_matched', 'deny audit_unavailable'])

    const lax = await begin({ durability: 'group' })
    const passed = lax.rig.ask(get('/page', [lax.line]))
    await lax.someWait()
    lax.finish(false)
    expect((await passed).status).toBe(200)
  })

  test.each<{ name: string; audit: Setting; changes?: Partial<App>; status: number }>([
    { name: 'a restricted app', audit: {}, changes: restricted, status: 503 },
    { name: 'an app that demands its record', audit: { whenFull: 'deny' }, status: 503 },
    { name: 'any other app', audit: {}, status: 200 },
    {
      name: 'a restricted app that does not demand it',
      audit: { durability: 'relaxed', whenFull: 'drop' },
      changes: restricted,
      status: 200,
    },
  ])('meets a full trail on $name with $status', async ({ audit, changes, status }) => {
    const { fill, line, rig } = await begin(audit, changes)
    fill()
    expect((await rig.ask(get('/page', [line]))).status).toBe(status)
  })

  test('that was ended or locked while it waited is not forwarded', async () => {
    const ended = await begin({}, restricted)
    const first = ended.rig.ask(get('/page', [ended.line]))
    await ended.someWait()
    await ended.rig.sessions.endSession(ended.session.id, 'revoked')
    ended.finish(true)
    expect((await first).headers['x-postern']).toBe('session_ended')
    expect(ended.rig.upstream.received()).toBe('')
    expect(ended.decisions()).toEqual(['allow rule_matched', 'challenge session_ended'])

    const locked = await begin({}, restricted)
    const second = locked.rig.ask(get('/page', [locked.line]))
    await locked.someWait()
    const target = { kind: 'app', id: 'wiki' } as const
    locked.rig.live.lock({ target, label: 'wiki', since: 0, until: undefined, reason: 'incident', by: 'os:ada@bastion' })
    locked.finish(true)
    expect((await second).headers['x-postern']).toBe('locked')
    expect(locked.rig.upstream.received()).toBe('')
  })

  test('whose session ended while it waited is nobody’s where strangers are let in, and on record as such', async () => {
    const { finish, line, rig, session, someWait, told } = await begin({}, restricted)
    const answer = rig.ask(get('/public/page', [line]))
    await someWait()
    await rig.sessions.endSession(session.id, 'revoked')
    finish(true)
    await someWait()
    expect(rig.upstream.received()).toBe('')
    finish(true)
    expect((await answer).status).toBe(200)
    expect(rig.upstream.received()).not.toMatch(/alice|x-postern-assertion/i)
    const subjects = told.flatMap((event) => (event.event === 'access.decided' ? [`${event.effect} ${event.subject.kind}`] : []))
    expect(subjects).toEqual(['allow person', 'allow nobody'])
  })

  test('that was ended between its decision and its record is not forwarded', async () => {
    const { finish, line, rig, session, someWait } = await begin({}, restricted)
    const { recordUse } = rig.sessions
    // The last that a judgement does before it is handed on.
    rig.sessions.recordUse = (used) => {
      recordUse(used)
      queueMicrotask(() =>
        rig.live.noteEnds([{ kind: 'session', idHash: hashSessionId(session.id), at: rig.clock.now(), cause: 'revoked' }]),
      )
    }
    const answer = rig.ask(get('/page', [line]))
    await someWait()
    finish(true)
    expect((await answer).headers['x-postern']).toBe('session_ended')
    expect(rig.upstream.received()).toBe('')
  })

  test('whose client leaves while it waits goes nowhere, and leaves nothing behind', async () => {
    const { finish, line, rig, someWait, told } = await begin({}, restricted)
    for (const more of [[], handshake]) {
      const client = await rig.connect()
      client.send(get('/page', [line, ...more]))
      await someWait()
      client.socket.resetAndDestroy()
      await expect.poll(() => rig.listener.openConnections()).toBe(0)
      finish(true)
      await expect.poll(() => told.at(-1)).toMatchObject({ event: 'access.ended', outcome: 'client_gone' })
      told.length = 0
    }
    expect(rig.upstream.received()).toBe('')
    expect(rig.forwarding.open.size).toBe(0)
  })

  test('whose device was locked while it waited is refused, although nobody had asked which it is', async () => {
    const facts = { id: 'laptop-7', identifiedBy: 'certificate', isKnown: true, serial: undefined, tags: [], attributes: {} } as const
    const reading = { device: { known: true, value: facts }, isChanged: false } as const
    const devices = { recall: () => reading, read: async () => reading }
    const { finish, line, rig, someWait } = await begin({}, restricted, { devices })
    const answer = rig.ask(get('/page', [line]))
    await someWait()
    const target = { kind: 'device', id: 'laptop-7' } as const
    rig.live.lock({ target, label: 'laptop-7', since: 0, until: undefined, reason: 'incident', by: 'os:ada@bastion' })
    finish(true)
    expect((await answer).headers['x-postern']).toBe('locked')
    expect(rig.upstream.received()).toBe('')
  })

  test('that waited while the store went away is refused', async () => {
    const { finish, line, rig, someWait } = await begin({}, restricted)
    const answer = rig.ask(get('/page', [line]))
    await someWait()
    rig.live.setAway(true)
    finish(true)
    expect((await answer).headers['x-postern']).toBe('session_store_unavailable')
    expect(rig.upstream.received()).toBe('')
  })
})

test('a refusal waits for nothing', async () => {
  const { line, rig, waiting } = await begin({}, restricted)
  expect((await rig.ask(get('/admin/x', [line]))).headers['x-postern']).toBe('denied_by_rule')
  expect((await rig.ask(get('/page'))).headers['x-postern']).toBe('login_required')
  expect(waiting).toEqual([])
})
