/** What metrics hear of: how much of a request's time was ours, and how long after something was written what it forbids was cut. */

import { afterEach, describe, expect, test } from 'vitest'
import { rule } from '../policy/policy.fixture.ts'
import { hashSessionId } from '../session/session-record.ts'
import { type FlowRig, type FlowRigOptions, get, startFlow, wiki } from './enforcement.fixture.ts'
import { eventually } from './forwarding.fixture.ts'
import { expired, formType, fromOwnPage } from './kept-post.fixture.ts'
import { answerOpen, endingsOf, openAll, settle } from './open-connections.fixture.ts'
import type { EnforcementPorts } from './ports.ts'

type Cut = Parameters<NonNullable<EnforcementPorts['observeCut']>>[0]

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const everybody = [rule('allow', { kind: 'signed_in' }, { name: 'everybody' })]

/** Time stands still but for what a test lets pass, so that every second has one owner. */
async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ rules: everybody })], isTimeStill: true, ...options })
  rigs.push(rig)
  return rig
}

describe('the overhead of a request', () => {
  test('is not the time for which the upstream is silent, nor that of the body of its answer', async () => {
    const rig = await begin({ upstreamAnswers: () => undefined })
    const { cookie } = await rig.signIn('alice')
    const client = await rig.connect()
    client.send(get('/slow', [`Cookie: ${cookie}`]))
    await eventually(() => rig.upstream.received().includes('GET /slow'), 'the request')
    rig.clock.move(3_000)
    rig.upstream.connections[0]?.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel')
    await client.until((text) => text.endsWith('hel'))
    rig.clock.move(4_000)
    rig.upstream.connections[0]?.send('lo')
    await eventually(() => rig.observed.length === 1, 'the end')
    expect(rig.observed).toMatchObject([{ effect: 'allow', seconds: 7, overheadSeconds: 0 }])
  })

  test('is not the time that a body takes to come', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const client = await rig.connect()
    client.send(get('/up', ['Content-Length: 8', 'Origin: https://wiki.corp.example', `Cookie: ${cookie}`], undefined, 'POST'))
    await eventually(() => rig.forwarding.open.size === 1, 'the exchange')
    rig.clock.move(2_000)
    client.send('12345678')
    await eventually(() => rig.observed.length === 1, 'the end')
    expect(rig.observed).toMatchObject([{ seconds: 2, overheadSeconds: 0 }])
  })

  test('is not the time that a form takes to come which is kept during a sign-in', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const client = await rig.connect()
    const lines = [...fromOwnPage, `Content-Type: ${formType}`, 'Content-Length: 8', 'Expect: 100-continue', `Cookie: ${cookie}`]
    client.send(get('/edit', lines, undefined, 'POST'))
    await client.until((text) => text.includes('100 Continue'))
    rig.clock.move(2_000)
    client.send('text=abc')
    await eventually(() => rig.observed.length === 1, 'the end')
    expect(rig.observed).toMatchObject([{ effect: 'challenge', status: 303, seconds: 2, overheadSeconds: 0 }])
  })

  test('is the time that a decision waits for somebody else than the upstream', async () => {
    const rig: FlowRig = await begin({
      ports: {
        callers: {
          identify: async () => {
            rig.clock.move(1_500)
            return { outcome: 'refused', reason: 'provider_unavailable' }
          },
        },
      },
      apps: [wiki({ rules: [rule('allow', { kind: 'services', names: ['billing'] }, { name: 'billing' })] })],
    })
    const answer = await rig.ask(get('/api', ['Postern-Authorization: Bearer abc.def.ghi']))
    expect(answer.status).toBe(503)
    expect(rig.observed).toMatchObject([{ effect: 'deny', seconds: 1.5, overheadSeconds: 1.5 }])
  })

  test('is the whole of an answer of our own', async () => {
    const rig = await begin()
    await rig.ask(get('/', [], 'nobody.corp.example'))
    const [observed] = rig.observed
    expect(observed).toMatchObject({ effect: 'deny', reason: 'app_not_found' })
    expect(observed?.overheadSeconds).toBe(observed?.seconds)
  })
})

describe('a cut', () => {
  async function open() {
    const cuts: Cut[] = []
    const rig = await begin({ upstreamAnswers: answerOpen, ports: { observeCut: (cut) => void cuts.push(cut) } })
    const alice = await rig.signIn('alice')
    const opened = await openAll(rig, alice.cookie)
    await settle(rig)
    return { rig, alice, opened, cuts }
  }
  const fourOf = (cut: Cut) => [cut, cut, cut, cut]

  test('for an end is measured from the instant of the end', async () => {
    const { alice, cuts, opened, rig } = await open()
    const at = rig.clock.now()
    rig.clock.move(400)
    rig.live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash: hashSessionId(alice.session.id), at, cause: 'revoked' }] })
    await endingsOf(opened)
    expect(cuts).toEqual(fourOf({ trigger: 'end', seconds: 0.4 }))
  })

  test('for a lock is measured from the instant at which the change of locks was written', async () => {
    const { cuts, opened, rig } = await open()
    const writtenAt = rig.clock.now()
    rig.live.findLock = () => ({ on: 'app', until: undefined })
    rig.clock.move(250)
    rig.live.tell({ kind: 'locks_changed', writtenAt })
    await endingsOf(opened)
    expect(cuts).toEqual(fourOf({ trigger: 'lock', seconds: 0.25 }))
  })

  test('for what has to be decided again is measured from the instant at which that was written', async () => {
    const { cuts, opened, rig } = await open()
    const writtenAt = rig.clock.now()
    rig.load([wiki({ rules: [rule('deny', { kind: 'everyone' }, { name: 'closed' })] })])
    rig.clock.move(600)
    rig.live.announce({ kind: 'policy_changed', writtenAt })
    await endingsOf(opened)
    expect(cuts).toEqual(fourOf({ trigger: 'policy', seconds: 0.6 }))
  })

  test('is not put down to something that changed nothing', async () => {
    const { alice, cuts, opened, rig } = await open()
    rig.live.tell({ kind: 'session_changed', sessionHash: hashSessionId(alice.session.id), writtenAt: rig.clock.now() })
    await settle(rig)
    rig.load([wiki({ rules: [rule('deny', { kind: 'everyone' }, { name: 'closed' })] })])
    rig.live.announce({ kind: 'policy_changed' })
    await endingsOf(opened)
    expect(cuts).toEqual([])
  })
})
