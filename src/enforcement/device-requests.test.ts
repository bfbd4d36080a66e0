/** What the flow asks of a session's device, and what it makes of the answer. */

import { afterEach, describe, expect, test } from 'vitest'
import type { DeviceReader, DeviceReading } from '../attributes/device-facts.ts'
import { createDeviceReader, type InventoryDevice, stateDevice } from '../attributes/device-record.ts'
import { deviceCondition, rule } from '../policy/policy.fixture.ts'
import { type FlowRig, get, startFlow, wiki } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const laptop: InventoryDevice = {
  id: 'laptop',
  status: { state: 'active' },
  serial: undefined,
  tags: [],
  entered: {},
  reported: { report: {}, management: {} },
}

/** An inventory with one laptop, whose memory answers at once or has to be asked. */
function readerOf(recalls: boolean): DeviceReader {
  return createDeviceReader({
    certificates: undefined,
    directory: {
      recall: () => (recalls ? { device: laptop } : undefined),
      find: async () => laptop,
    },
    claims: { deviceId: ['device_id'] },
  })
}

describe('a device that only a claim names', () => {
  test.each([
    ['memory', true],
    ['the inventory', false],
  ])('is as unknown as its person once the claims are too old to stand (answered by %s)', async (_from, recalls) => {
    const rules = [rule('allow', { kind: 'signed_in' }, { when: [deviceCondition({ known: true })] })]
    const rig = await startFlow({ apps: [wiki({ rules })], ports: { devices: readerOf(recalls) } })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice', undefined, { claims: { device_id: 'laptop' } })
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)

    const find = rig.sessions.findByAppSecret
    rig.sessions.recallByAppSecret = () => undefined
    rig.sessions.findByAppSecret = async (secret, origin) => {
      const lookup = await find(secret, origin)
      return lookup.state === 'live' ? { ...lookup, claimsState: 'unknown' } : lookup
    }
    expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 403, headers: { 'x-postern': 'no_rule_matched' } })
  })
})

describe('what an app is told of the device', () => {
  const stated = { id: 'laptop', identified_by: 'claim', known: true }

  test('is in whoami and in the assertion where a rule of the app asks for devices', async () => {
    const rules = [rule('allow', { kind: 'signed_in' }, { when: [deviceCondition({ known: true })] })]
    const rig = await startFlow({ apps: [wiki({ rules })], ports: { devices: readerOf(true) } })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice', undefined, { claims: { device_id: 'laptop' } })
    expect(JSON.parse((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).body)).toMatchObject({ device: stated })
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    expect(assertionIn(rig.upstream.received())).toMatchObject({ device: stated })
  })

  test('is nothing where none asks', async () => {
    const rules = [rule('allow', { kind: 'signed_in' })]
    const rig = await startFlow({ apps: [wiki({ rules })], ports: { devices: readerOf(true) } })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice', undefined, { claims: { device_id: 'laptop' } })
    expect(JSON.parse((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).body)).toMatchObject({ device: null })
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    expect(assertionIn(rig.upstream.received())).not.toHaveProperty('device')
  })

  function assertionIn(received: string): Record<string, unknown> {
    const [, claims = ''] = /^x-postern-assertion: [\w-]+\.([\w-]+)\./im.exec(received) ?? []
    return JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
  }
})

test('a session that began on a device which is blocked now is refused everywhere, also where no rule asks for a device', async () => {
  const blocked: DeviceReading = {
    device: { known: true, value: stateDevice({ ...laptop, status: { state: 'blocked' } }, 'certificate') },
    isChanged: false,
  }
  const rig = await startFlow({ ports: { devices: { recall: () => blocked, read: async () => blocked } } })
  rigs.push(rig)
  const { cookie } = await rig.signIn('alice')
  expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
  const recall = rig.sessions.recallByAppSecret
  rig.sessions.recallByAppSecret = () => undefined
  const find = rig.sessions.findByAppSecret
  rig.sessions.findByAppSecret = async (secret, origin) => {
    const lookup = recall(secret, origin) ?? (await find(secret, origin))
    return lookup.state === 'live'
      ? { ...lookup, session: { ...lookup.session, device: { certificate: 'f'.repeat(64), names: [] } } }
      : lookup
  }
  expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 403, headers: { 'x-postern': 'locked' } })
})

describe('a device that no rule asks for', () => {
  const device = { known: true, value: stateDevice(laptop, 'claim') } as const

  /** What the trail has of the device, a line a request. */
  async function deviceLinesOf(recall: DeviceReader['recall'], read: DeviceReader['read']): Promise<readonly unknown[]> {
    const rig = await startFlow({ ports: { devices: { recall, read } } })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice')
    for (let asked = 0; asked < 2; asked++) expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
    return rig.factLines.flatMap((line) => (line.event === 'facts.recorded' && line.kind === 'device' ? [JSON.parse(line.facts)] : []))
  }
  const notGathered = { known: false, why: 'not_gathered' }

  test('keeps nobody waiting and fails nobody', async () => {
    const refuse = (): never => {
      throw new Error('nobody asked')
    }
    expect(await deviceLinesOf(refuse, refuse)).toEqual([notGathered])
    let asked = 0
    const never = () => {
      asked++
      return new Promise<never>(() => undefined)
    }
    expect(await deviceLinesOf(() => undefined, never)).toEqual([notGathered])
    expect(asked).toBe(2)
    expect(
      await deviceLinesOf(
        () => undefined,
        async () => refuse(),
      ),
    ).toEqual([notGathered])
  })

  test('is recorded as far as memory has it, and learnt for the next request', async () => {
    const reading: DeviceReading = { device, isChanged: false }
    let remembered: DeviceReading | undefined
    const read = async () => {
      remembered = reading
      return reading
    }
    expect(await deviceLinesOf(() => remembered, read)).toEqual([notGathered, JSON.parse(JSON.stringify(device))])
  })

  test('is no evidence where it would have decided: blocked, or another', async () => {
    const blocked: DeviceReading = {
      device: { known: true, value: { ...device.value, isKnown: false, isBlocked: true } },
      isChanged: false,
    }
    expect(
      await deviceLinesOf(
        () => blocked,
        async () => blocked,
      ),
    ).toEqual([notGathered])
    const other: DeviceReading = { device, isChanged: true }
    expect(
      await deviceLinesOf(
        () => other,
        async () => other,
      ),
    ).toEqual([notGathered])
  })
})

test('a lock on the device that a session began on holds where its certificate cannot be seen', async () => {
  const unseen: DeviceReading = { device: { known: false, why: 'no_device' }, isChanged: false, begunOn: 'laptop' }
  const rig = await startFlow({ ports: { devices: { recall: () => unseen, read: async () => unseen } } })
  rigs.push(rig)
  const { cookie } = await rig.signIn('alice')
  const lock = {
    target: { kind: 'device', id: 'laptop' },
    label: 'laptop',
    since: 0,
    until: undefined,
    reason: 'lost',
    by: 'os:ada@bastion',
  } as const
  rig.live.lock({ ...lock, target: { kind: 'device', id: 'another' } })
  expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
  rig.live.lock(lock)
  expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 403, headers: { 'x-postern': 'locked' } })
})
