/** Reports are believed only if the device's own key, or a permitted token, stands behind them, for us, for this device, now, and once. */

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseManagementReport, parseSignedReport } from '../config/posture-report-schema.ts'
import {
  createSigningKey,
  createTestInventory,
  encode,
  macWith,
  reportClaims,
  type SigningKey,
  signAs,
  type TestInventory,
  testAccessUrl,
} from './devices.fixture.ts'
import { createPostureReports } from './posture-report.ts'

const origin = { requestId: 'r1', address: '192.0.2.7' }
const everyDevice = { id: 'mdm', scopes: [{ permission: 'devices:report' as const }] }
const healthy = { managed: true, disk_encrypted: true, os: 'macOS', os_version: '14.5' }

let inventory: TestInventory
let key: SigningKey

beforeEach(async () => {
  inventory = createTestInventory()
  key = createSigningKey()
  await inventory.add({ id: 'laptop-7', serial: 'C02X', publicKey: key.publicPem })
})
afterEach(() => inventory.close())

const now = () => inventory.clock.now()
const send = (jws: string, id = 'laptop-7') => inventory.reports.acceptSigned(id, jws, origin)
const claims = (changes: Record<string, unknown> = {}, posture: object = healthy) => reportClaims('laptop-7', now(), posture, changes)
const stored = async () => (await inventory.devices.find('laptop-7'))?.reported
const seconds = (offset: number) => now() / 1000 + offset

describe('a signed report', () => {
  it.each(['EdDSA', 'ES256'] as const)('is accepted with a key for %s, and stored with its times', async (alg) => {
    const own = createSigningKey(alg)
    await inventory.add({ id: 'other', publicKey: own.publicPem })
    inventory.clock.move(1500)
    const outcome = await send(signAs(own, reportClaims('other', now() - 1000, healthy)), 'other')
    expect(outcome).toMatchObject({ outcome: 'accepted', accepted: ['managed', 'disk_encrypted', 'os_version', 'os'], outdated: [] })
    const record = await inventory.devices.find('other')
    expect(record?.reported.report).toMatchObject({
      os: { value: 'macos', at: now() - 1000, receivedAt: now() },
      disk_encrypted: { value: true },
    })
    expect(record?.lastReport?.iat).toBe(now() - 1000)
  })

  it('may name its algorithm as RFC 9864 does', async () => {
    expect(await send(signAs(key, claims(), { alg: 'Ed25519' }))).toMatchObject({ outcome: 'accepted' })
  })

  it('may come with a key registered as JWK', async () => {
    const own = createSigningKey('ES256')
    await inventory.add({ id: 'jwk', publicKey: JSON.stringify(own.publicKey.export({ format: 'jwk' })) })
    expect(await send(signAs(own, reportClaims('jwk', now(), healthy)), 'jwk')).toMatchObject({ outcome: 'accepted' })
  })

  it('is written to the audit trail where it changed something, and only then', async () => {
    await send(signAs(key, claims({}, { disk_encrypted: true })))
    inventory.clock.move(1000)
    await send(signAs(key, claims({}, { disk_encrypted: true })))
    inventory.clock.move(1000)
    await send(signAs(key, claims({}, { disk_encrypted: false })))
    const reported = inventory.events.filter(({ event }) => event === 'device.reported')
    expect(reported.map(({ actor, reason }) => [actor, reason])).toEqual([
      ['device:laptop-7', 'disk_encrypted=true'],
      ['device:laptop-7', 'disk_encrypted=false'],
    ])
    expect(reported[0]).toMatchObject({ device: 'laptop-7', request: 'r1', address: '192.0.2.7' })
  })
})

describe('A231c a report that proves nothing', () => {
  const forged: readonly (readonly [string, (other: SigningKey) => string])[] = [
    ['no signature (alg none)', () => `${encode({ alg: 'none' })}.${encode(claims())}.`],
    ['alg none with the signature of another', () => `${encode({ alg: 'none' })}.${encode(claims())}.AAAA`],
    ['a MAC under the public key', () => macWith(key.publicPem, claims())],
    [
      'a MAC under the raw public key',
      () => macWith(Buffer.from(String(key.publicKey.export({ format: 'jwk' }).x), 'base64url'), claims()),
    ],
    ["another device's key", (other) => signAs(other, claims())],
    ['a key that it brings along', (other) => signAs(other, claims(), { jwk: other.publicKey.export({ format: 'jwk' }) })],
    ['another algorithm than the key has', () => signAs(createSigningKey('ES256'), claims())],
    ['a critical extension', () => signAs(key, claims(), { crit: ['b64'], b64: true })],
    ['a changed payload', () => signAs(key, claims({}, { disk_encrypted: false })).replace(/\.[^.]+\./, `.${encode(claims())}.`)],
    ['text', () => 'healthy'],
    ['nothing', () => ''],
    ['four parts', () => `${signAs(key, claims())}.x`],
  ]
  it.each(forged)('is refused: %s', async (_what, forge) => {
    const other = createSigningKey()
    await inventory.add({ id: 'other', publicKey: other.publicPem })
    expect(await send(forge(other))).toEqual({ outcome: 'refused', reason: 'not_verified' })
    expect(await stored()).toEqual({ report: {}, management: {} })
  })

  it.each(['unknown', '../laptop-7', 'LAPTOP-7', 'constructor', '', 'x'.repeat(300)])(
    'answers for a device that is not there (%s) as for a wrong key',
    async (id) => {
      expect(await send(signAs(key, reportClaims(id, now(), healthy)), id)).toEqual({ outcome: 'refused', reason: 'not_verified' })
    },
  )

  it('is refused for a device without a key', async () => {
    await inventory.add({ id: 'keyless' })
    expect(await send(signAs(key, reportClaims('keyless', now(), healthy)), 'keyless')).toMatchObject({ reason: 'not_verified' })
  })
})

describe('A234c a report that is right for somebody else, or was', () => {
  it('counts once: a copy is refused', async () => {
    const jws = signAs(key, claims())
    expect(await send(jws)).toMatchObject({ outcome: 'accepted' })
    expect(await send(jws)).toEqual({ outcome: 'refused', reason: 'not_newer' })
  })

  it('counts once even if copies come at the same moment', async () => {
    const jws = signAs(key, claims())
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => send(jws)))
    expect(outcomes.filter(({ outcome }) => outcome === 'accepted')).toHaveLength(1)
  })

  it('never goes back: an older healthy one does not stand over a newer bad one', async () => {
    const earlier = signAs(key, claims({}, { disk_encrypted: true }))
    inventory.clock.move(10_000)
    await send(signAs(key, claims({}, { disk_encrypted: false })))
    expect(await send(earlier)).toEqual({ outcome: 'refused', reason: 'not_newer' })
    expect((await stored())?.report['disk_encrypted']?.value).toBe(false)
  })

  it.each([
    ['to another gateway', 'wrong_audience', { aud: 'https://access.other.example' }],
    ['to a name that only begins like ours', 'wrong_audience', { aud: 'https://access.corp.example.evil.example' }],
    ['about another device', 'wrong_device', { sub: 'laptop-8' }],
    ['with no id', 'malformed', { jti: undefined }],
    ['to nobody', 'malformed', { aud: undefined }],
    ['with a key nobody knows', 'malformed', { admin: true }],
  ])('is refused: %s', async (_what, reason, changes) => {
    expect(await send(signAs(key, claims(changes)))).toMatchObject({ outcome: 'refused', reason })
    expect(await stored()).toEqual({ report: {}, management: {} })
  })

  it.each([
    [-301, 'refused'],
    [-300, 'accepted'],
    [-1, 'accepted'],
    [60, 'accepted'],
    [61, 'refused'],
  ])('signed %d s from now is %s', async (offset, outcome) => {
    expect(await send(signAs(key, claims({ iat: seconds(offset) })))).toMatchObject({ outcome })
  })

  it('is refused past its own end', async () => {
    expect(await send(signAs(key, claims({ exp: seconds(0) })))).toMatchObject({ reason: 'not_current' })
    expect(await send(signAs(key, claims({ exp: seconds(1) })))).toMatchObject({ outcome: 'accepted' })
  })

  it('is refused from a machine with another serial number', async () => {
    expect(await send(signAs(key, claims({}, { ...healthy, serial: 'C02Y' })))).toMatchObject({ reason: 'wrong_serial' })
    expect(await send(signAs(key, claims({}, { ...healthy, serial: 'c02x' })))).toMatchObject({ outcome: 'accepted' })
  })

  it('is refused of a blocked device, and counts again when it is unblocked', async () => {
    await inventory.devices.block('laptop-7', 'lost', 'os:admin@test')
    expect(await send(signAs(key, claims()))).toMatchObject({ reason: 'device_blocked' })
    await inventory.devices.unblock('laptop-7', 'os:admin@test')
    expect(await send(signAs(key, claims()))).toMatchObject({ outcome: 'accepted' })
  })

  it('is refused if the device got another key while its signature was checked', async () => {
    const { devices } = inventory
    const reports = createPostureReports({
      devices: {
        find: devices.find,
        async update(id, change) {
          await devices.remove(id, 'os:admin@test')
          await inventory.add({ id, publicKey: createSigningKey().publicPem })
          return await devices.update(id, change)
        },
      },
      forms: { signed: parseSignedReport, management: parseManagementReport },
      accessUrl: testAccessUrl,
      now,
      onEvent: () => undefined,
      onAccepted: () => undefined,
    })
    expect(await reports.acceptSigned('laptop-7', signAs(key, claims()), origin)).toEqual({ outcome: 'refused', reason: 'not_verified' })
    expect(await stored()).toEqual({ report: {}, management: {} })
  })

  it('is refused once the device has gone', async () => {
    const jws = signAs(key, claims())
    await inventory.devices.remove('laptop-7', 'os:admin@test')
    expect(await send(jws)).toEqual({ outcome: 'refused', reason: 'not_verified' })
  })
})

describe('what a report says', () => {
  it.each([
    ['text for true', { disk_encrypted: 'true' }],
    ['a misspelt key', { disk_encryptd: true }],
    ['nothing', {}],
    ['a list', []],
    ['a name that reaches a prototype', { attributes: { constructor: true } }],
    ['a well-known name in disguise', { attributes: { disk_encrypted: true } }],
    ['a map for a value', { attributes: { a: { b: 1 } } }],
    ['a line break', { os_version: '14\n5' }],
    ['too many names', { attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`n${i}`, i])) }],
    ['too long a text', { attributes: { a: 'x'.repeat(257) } }],
    ['too long a list', { attributes: { a: Array.from({ length: 33 }, () => 1) } }],
  ])('is refused: %s', async (_what, posture) => {
    const outcome = await send(signAs(key, claims({}, posture)))
    expect(outcome).toMatchObject({ outcome: 'refused', reason: 'malformed', problems: expect.arrayContaining([expect.any(String)]) })
    expect(JSON.stringify(outcome)).not.toContain('xxx')
  })

  it('A258d: __proto__ in the text of a report makes it no report', async () => {
    const text = JSON.stringify(claims()).replace('"posture":{', '"posture":{"__proto__":{"disk_encrypted":true},')
    expect(await send(signAs(key, text))).toMatchObject({ reason: 'malformed' })
    expect(({} as Record<string, unknown>)['disk_encrypted']).toBeUndefined()
  })

  it('A258e: nor does an attribute of that name', async () => {
    const text = JSON.stringify(claims({}, { attributes: { a: 1 } })).replace('"a":1', '"__proto__":1')
    expect(await send(signAs(key, text))).toMatchObject({ reason: 'malformed' })
  })

  it('counts here with the next request', async () => {
    const clue = { kind: 'claim' as const, id: 'laptop-7' }
    await inventory.directory.find(clue)
    await send(signAs(key, claims({}, { disk_encrypted: true })))
    expect((await inventory.directory.find(clue))?.reported.report['disk_encrypted']?.value).toBe(true)
  })

  it('leaves alone what it does not mention', async () => {
    await send(signAs(key, claims({}, { disk_encrypted: true, firewall: true })))
    const first = now()
    inventory.clock.move(5000)
    await send(signAs(key, claims({}, { firewall: false })))
    expect((await stored())?.report).toMatchObject({ disk_encrypted: { value: true, at: first }, firewall: { value: false, at: now() } })
  })
})

describe('a report of a management system', () => {
  const manage = (
    posture: object,
    at = now(),
    id = 'laptop-7',
    token: Parameters<typeof inventory.reports.acceptManagement>[2] = everyDevice,
  ) => inventory.reports.acceptManagement(id, JSON.stringify({ observed_at: new Date(at).toISOString(), posture }), token, origin)

  it('is stored beside the device’s own', async () => {
    await send(signAs(key, claims({}, { disk_encrypted: true })))
    expect(await manage({ disk_encrypted: false }, now() - 60_000)).toMatchObject({ outcome: 'accepted', accepted: ['disk_encrypted'] })
    expect(await stored()).toMatchObject({
      report: { disk_encrypted: { value: true, at: now() } },
      management: { disk_encrypted: { value: false, at: now() - 60_000, receivedAt: now() } },
    })
  })

  it('changes nothing when it comes late, and says so', async () => {
    await manage({ disk_encrypted: false }, now())
    expect(await manage({ disk_encrypted: true }, now() - 1000)).toEqual({ outcome: 'refused', reason: 'not_newer' })
    expect(await manage({ disk_encrypted: true, firewall: true }, now() - 1000)).toMatchObject({
      outcome: 'accepted',
      accepted: ['firewall'],
      outdated: ['disk_encrypted'],
    })
    expect((await stored())?.management).toMatchObject({ disk_encrypted: { value: false }, firewall: { value: true } })
  })

  it('may be sent again, as schedules do', async () => {
    await manage({ disk_encrypted: true }, now() - 1000)
    expect(await manage({ disk_encrypted: true }, now() - 1000)).toMatchObject({ outcome: 'accepted' })
  })

  it('never goes back, in whatever order any number of them arrive at the same time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.boolean()), { minLength: 1, maxLength: 6 }), async (said) => {
        const id = `d${Math.random().toString(36).slice(2, 12)}`
        await inventory.add({ id })
        const base = now() - 60_000
        await Promise.all(said.map(([at, isEncrypted]) => manage({ disk_encrypted: isEncrypted }, base + at, id)))
        const latest = Math.max(...said.map(([at]) => at))
        const record = await inventory.devices.find(id)
        expect(record?.reported.management['disk_encrypted']?.at).toBe(base + latest)
      }),
      { numRuns: 100 },
    )
  })

  it.each([
    ['without a scope', [], 'laptop-7', 'not_permitted'],
    ['for another device', [{ permission: 'devices:report' as const, devices: ['laptop-8'] }], 'laptop-7', 'not_permitted'],
    ['for another tag', [{ permission: 'devices:report' as const, tag: 'mobile' }], 'laptop-7', 'not_permitted'],
    [
      'for another device, about one that is not there',
      [{ permission: 'devices:report' as const, devices: ['laptop-8'] }],
      'nobody',
      'not_permitted',
    ],
    ['for all, about one that is not there', [{ permission: 'devices:report' as const }], 'nobody', 'unknown_device'],
  ])('A231d: a token %s is refused', async (_what, scopes, id, reason) => {
    expect(await manage(healthy, now(), id, { id: 'mdm', scopes })).toEqual({ outcome: 'refused', reason })
  })

  it('is refused from the future, about a blocked device, and in any other form', async () => {
    expect(await manage(healthy, now() + 61_000)).toMatchObject({ reason: 'not_current' })
    expect(await inventory.reports.acceptManagement('laptop-7', '{"observed_at":"yesterday"}', everyDevice, origin)).toMatchObject({
      reason: 'malformed',
    })
    expect(await inventory.reports.acceptManagement('laptop-7', 'no json', everyDevice, origin)).toMatchObject({ reason: 'malformed' })
    await inventory.devices.block('laptop-7', 'lost', 'os:admin@test')
    expect(await manage(healthy)).toMatchObject({ reason: 'device_blocked' })
  })
})

it('limits a sender that has proven itself by itself', async () => {
  const outcomes = []
  for (let i = 0; i < 61; i++) outcomes.push(await send(signAs(key, claims({ iat: seconds(-290 + i) }))))
  expect(outcomes.slice(0, 60).every(({ outcome }) => outcome === 'accepted')).toBe(true)
  expect(outcomes[60]).toMatchObject({ reason: 'too_many', waitSeconds: expect.any(Number) })
  for (let i = 0; i < 100; i++) await send(signAs(createSigningKey(), claims()))
  const other = createSigningKey()
  await inventory.add({ id: 'other', publicKey: other.publicPem })
  expect(await send(signAs(other, reportClaims('other', now(), healthy)), 'other')).toMatchObject({ outcome: 'accepted' })
})

it('leaves room for a new report however often an old one is sent again', async () => {
  const old = signAs(key, claims({ iat: seconds(-290) }))
  const last = signAs(key, claims({ iat: seconds(-10) }))
  expect(await send(last)).toMatchObject({ outcome: 'accepted' })
  for (let i = 0; i < 40; i++) expect([await send(old), await send(last)]).toMatchObject([{ reason: 'not_newer' }, { reason: 'not_newer' }])
  inventory.clock.move(400_000)
  for (let i = 0; i < 80; i++) expect(await send(last)).toMatchObject({ reason: 'not_current' })
  expect(await send(signAs(key, claims({ posture: { disk_encrypted: false } })))).toMatchObject({ outcome: 'accepted' })
})

it('hands a store that is away on as such', async () => {
  await inventory.store.close()
  await expect(send(signAs(key, claims()))).rejects.toMatchObject({ code: 'session_store_unavailable' })
})
