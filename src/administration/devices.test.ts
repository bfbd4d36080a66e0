/** The inventory: what identifies a device identifies one, every problem is told, and what is half done finds nobody. */

import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hashOf } from '../session/secret.ts'
import { parseDeviceDefinition } from './device-definition.ts'
import { createSigningKey, createTestInventory, define, type TestInventory } from './devices.fixture.ts'
import { createDevices } from './devices.ts'

const fingerprint = (digit: string) => digit.repeat(64)
const certificate = (print: string, ...names: string[]) => ({ kind: 'certificate' as const, certificate: { fingerprint: print, names } })

let inventory: TestInventory

beforeEach(() => {
  inventory = createTestInventory()
})
afterEach(() => inventory.close())

const register = (input: Parameters<typeof define>[0]) => inventory.devices.register(define(input), 'os:admin@test')

describe('registering', () => {
  it('keeps what was stated, and records who stated it', async () => {
    const { publicPem } = createSigningKey()
    await inventory.add({
      id: 'laptop-7',
      serial: 'C02X',
      owner: 'bob@corp.example',
      tags: ['finance'],
      names: ['Laptop-7.corp.example'],
      publicKey: publicPem,
      attributes: { ring: 'pilot', seats: '2', managed: 'true', pin: '007' },
    })
    expect(await inventory.devices.find('laptop-7')).toMatchObject({
      id: 'laptop-7',
      name: 'laptop-7',
      serial: 'C02X',
      names: ['laptop-7.corp.example'],
      status: { state: 'active' },
      key: { algorithm: 'EdDSA' },
      entered: { ring: { value: 'pilot' }, seats: { value: 2 }, managed: { value: true }, pin: { value: '007' } },
    })
    expect(inventory.events).toEqual([{ event: 'device.registered', device: 'laptop-7', actor: 'os:admin@test', reason: undefined }])
  })

  it('refuses an id that exists, and everything that identifies another device', async () => {
    const { publicPem } = createSigningKey()
    await inventory.add({ id: 'a', serial: 'S1', fingerprints: [fingerprint('a')], names: ['a.corp.example'], publicKey: publicPem })
    expect(await register({ id: 'a' })).toEqual([{ problem: 'exists' }])
    const problems = await register({
      id: 'b',
      serial: 's1',
      fingerprints: [fingerprint('A').replaceAll('AA', 'AA:').replace(/:$/, '')],
      names: ['A.CORP.EXAMPLE', 'b.corp.example'],
      publicKey: publicPem,
    })
    expect(problems.map((problem) => problem.problem === 'taken' && [problem.what, problem.by])).toEqual([
      ['fingerprint', 'a'],
      ['name', 'a'],
      ['serial', 'a'],
      ['key', 'a'],
    ])
    expect(await inventory.devices.find('b')).toBeUndefined()
    expect(await register({ id: 'b', names: ['b.corp.example'] })).toEqual([])
  })

  it('refuses a name that is the id of another device, and an id that is the name of another: a claim could mean either', async () => {
    await inventory.add({ id: 'a', names: ['old-a'] })
    expect(await register({ id: 'b', names: ['A'] })).toEqual([{ problem: 'taken', what: 'name', value: 'a', by: 'a' }])
    expect(await register({ id: 'old-a' })).toEqual([{ problem: 'taken', what: 'name', value: 'old-a', by: 'a' }])
    expect(await register({ id: 'c', names: ['c'] })).toEqual([])
  })

  it('lets one of several win that claim the same at the same moment, and leaves nothing of the others', async () => {
    const attempts = ['a', 'b', 'c', 'd'].map((id) => register({ id, serial: 'S1', names: [`${id}.corp.example`, 'shared.corp.example'] }))
    await Promise.all(attempts)
    const left: string[] = []
    for await (const { id } of inventory.devices.list()) left.push(id)
    expect(left.length).toBeLessThanOrEqual(1)
    const found = await inventory.devices.findByClue(certificate(fingerprint('0'), 'shared.corp.example'))
    expect(found?.id).toBe(left[0])
    for (const id of ['a', 'b', 'c', 'd']) {
      await inventory.devices.remove(id, 'os:admin@test')
    }
    expect(await register({ id: 'e', serial: 'S1', names: ['shared.corp.example', 'a.corp.example', 'b.corp.example'] })).toEqual([])
  })

  it('takes over what only a device that has gone, or a crash, left behind', async () => {
    await inventory.records.setAlias('serial', 's1', 'gone')
    expect(await register({ id: 'a', serial: 'S1' })).toEqual([])
    await inventory.records.setAlias('name', 'stale.corp.example', 'a')
    expect(await inventory.devices.findByClue(certificate(fingerprint('0'), 'stale.corp.example'))).toBeUndefined()
    expect(await register({ id: 'b', names: ['stale.corp.example'] })).toEqual([])
    expect((await inventory.devices.findByClue(certificate(fingerprint('0'), 'stale.corp.example')))?.id).toBe('b')
  })

  it('frees what identified a device when it is removed', async () => {
    await inventory.add({ id: 'a', serial: 'S1', names: ['a.corp.example'] })
    expect(await inventory.devices.remove('a', 'os:admin@test')).toBe(true)
    expect(await inventory.devices.remove('a', 'os:admin@test')).toBe(false)
    expect(await register({ id: 'b', serial: 'S1', names: ['a.corp.example'] })).toEqual([])
  })
})

describe('recognising', () => {
  it('goes by the fingerprint first, then by a name, whatever its case', async () => {
    await inventory.add({ id: 'a', fingerprints: [fingerprint('a')], names: ['a.corp.example'] })
    await inventory.add({ id: 'b', names: ['b.corp.example'] })
    const find = async (...given: Parameters<typeof certificate>) => (await inventory.devices.findByClue(certificate(...given)))?.id
    expect(await find(fingerprint('a'), 'b.corp.example')).toBe('a')
    expect(await find(fingerprint('0'), 'B.Corp.Example')).toBe('b')
    expect(await find(fingerprint('0'), 'unknown')).toBeUndefined()
    expect(await find(fingerprint('0'))).toBeUndefined()
  })

  it('recognises nobody by a certificate with the names of two', async () => {
    await inventory.add({ id: 'a', names: ['a.corp.example'] })
    await inventory.add({ id: 'b', names: ['b.corp.example'] })
    expect(await inventory.devices.findByClue(certificate(fingerprint('0'), 'a.corp.example', 'b.corp.example'))).toBeUndefined()
  })

  it('knows a device by what the provider calls it: its id, or one of its names', async () => {
    await inventory.add({ id: 'laptop-7', names: ['7D2E8B6A-0000'] })
    for (const id of ['laptop-7', 'LAPTOP-7', '7d2e8b6a-0000'])
      expect((await inventory.devices.findByClue({ kind: 'claim', id }))?.id).toBe('laptop-7')
    expect(await inventory.devices.findByClue({ kind: 'claim', id: 'laptop-8' })).toBeUndefined()
  })
})

describe('blocking', () => {
  it('keeps the first reason, is lifted, and is recorded once', async () => {
    await inventory.add({ id: 'a' })
    expect(await inventory.devices.block('a', 'lost', 'os:admin@test')).toBe(true)
    expect(await inventory.devices.block('a', 'again', 'os:other@test')).toBe(true)
    expect((await inventory.devices.find('a'))?.status).toEqual({
      state: 'blocked',
      reason: 'lost',
      by: 'os:admin@test',
      at: inventory.clock.now(),
    })
    expect(await inventory.devices.unblock('a', 'os:admin@test')).toBe(true)
    expect(await inventory.devices.block('nobody', 'lost', 'os:admin@test')).toBe(false)
    expect(inventory.events.map(({ event }) => event)).toEqual(['device.registered', 'device.blocked', 'device.unblocked'])
  })

  it('is never lost to a report that comes at the same moment', async () => {
    await inventory.add({ id: 'a' })
    const touch = () =>
      inventory.devices.update('a', (record) => ({ ...record, lastManagementReportAt: (record.lastManagementReportAt ?? 0) + 1 }))
    await Promise.all([...Array.from({ length: 10 }, touch), inventory.devices.block('a', 'lost', 'os:admin@test')])
    expect(await inventory.devices.find('a')).toMatchObject({ status: { state: 'blocked' }, lastManagementReportAt: 10 })
  })
})

describe('a definition', () => {
  it('is told everything that is wrong with it at once', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const definition = parseDeviceDefinition({
      id: 'Laptop 7',
      serial: 'To Be Filled By O.E.M.',
      tags: ['two words'],
      fingerprints: ['abc'],
      names: ['a b'],
      publicKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      attributes: { constructor: 'x', managed: 'yes', ok: 'a\nb' },
    })
    expect('problems' in definition && definition.problems).toHaveLength(9)
  })

  it.each([
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
    ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey],
    ['X25519', () => generateKeyPairSync('x25519').publicKey],
  ])('takes no key of another kind: %s', (_kind, make) => {
    const definition = parseDeviceDefinition({ id: 'a', publicKey: make().export({ type: 'spki', format: 'pem' }).toString() })
    expect('problems' in definition && definition.problems[0]).toContain('Ed25519')
  })

  it.each(['', 'nonsense', '{"kty":"OKP"}', '{', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'])(
    'takes no text that is no key: %j',
    (text) => {
      expect(parseDeviceDefinition({ id: 'a', publicKey: text })).toHaveProperty('problems')
    },
  )

  it('takes no private key, in either form', () => {
    const { privateKey } = createSigningKey('ES256')
    for (const text of [
      privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      JSON.stringify(privateKey.export({ format: 'jwk' })),
    ]) {
      const definition = parseDeviceDefinition({ id: 'a', publicKey: text })
      expect('problems' in definition && definition.problems[0]).toContain('private key')
    }
  })
})

describe('the memory in front of it', () => {
  const clue = { kind: 'claim' as const, id: 'a' }

  it('answers for five seconds, and knows at once of what it was told', async () => {
    await inventory.add({ id: 'a' })
    const { directory, clock, devices } = inventory
    expect(directory.recall(clue)).toBeUndefined()
    const first = await directory.find(clue)
    expect(directory.recall(clue)?.device).toBe(first)
    await devices.block('a', 'lost', 'os:admin@test')
    clock.move(5000)
    expect(directory.recall(clue)?.device).toBe(first)
    clock.move(1)
    expect(directory.recall(clue)).toBeUndefined()
    expect((await directory.find(clue))?.status.state).toBe('blocked')
    await devices.unblock('a', 'os:admin@test')
    directory.forget('a')
    expect(directory.recall(clue)).toBeUndefined()
    expect((await directory.find(clue))?.status.state).toBe('active')
  })

  it('hands out the same object while nothing changed', async () => {
    await inventory.add({ id: 'a' })
    const first = await inventory.directory.find(clue)
    inventory.clock.move(60_000)
    expect(await inventory.directory.find(clue)).toBe(first)
  })

  it('remembers what is not there, and no longer than that', async () => {
    expect(await inventory.directory.find(clue)).toBeUndefined()
    expect(inventory.directory.recall(clue)).toEqual({ device: undefined })
    await inventory.add({ id: 'a' })
    inventory.clock.move(5001)
    expect((await inventory.directory.find(clue))?.id).toBe('a')
  })

  it('hands a store that is away on as such, and never an old answer', async () => {
    await inventory.add({ id: 'a' })
    await inventory.directory.find(clue)
    await inventory.store.close()
    inventory.clock.move(5001)
    expect(inventory.directory.recall(clue)).toBeUndefined()
    await expect(inventory.directory.find(clue)).rejects.toMatchObject({ code: 'session_store_unavailable' })
  })

  it('reads a device again that another instance says was changed, by the hash of its id', async () => {
    await inventory.add({ id: 'a' })
    await inventory.directory.find(clue)
    await inventory.devices.block('a', 'stolen', 'os:admin@test')
    inventory.directory.forgetHash(hashOf('b'))
    expect((await inventory.directory.find(clue))?.status.state).toBe('active')
    inventory.directory.forgetHash(hashOf('a'))
    expect((await inventory.directory.find(clue))?.status.state).toBe('blocked')
  })

  it('reads everything again once nobody knows what changed meanwhile', async () => {
    await inventory.directory.find(clue)
    await inventory.add({ id: 'a' })
    expect(await inventory.directory.find(clue)).toBeUndefined()
    inventory.directory.forgetAll()
    expect((await inventory.directory.find(clue))?.id).toBe('a')
    await inventory.devices.block('a', 'stolen', 'os:admin@test')
    inventory.directory.forgetAll()
    expect((await inventory.directory.find(clue))?.status.state).toBe('blocked')
  })

  it('tells instances of every change, and ends sessions with a block, with a repeated one too', async () => {
    await inventory.add({ id: 'a' })
    await inventory.devices.block('a', 'stolen', 'os:admin@test')
    await inventory.devices.block('a', 'again', 'os:admin@test')
    expect([...inventory.locked]).toEqual(['a'])
    await inventory.devices.unblock('a', 'os:admin@test')
    expect([...inventory.locked]).toEqual([])
    await inventory.devices.block('a', 'stolen', 'os:admin@test')
    await inventory.devices.remove('a', 'os:admin@test')
    expect([...inventory.locked]).toEqual([])
    expect(inventory.told).toEqual(['a', 'a', 'a', 'a', 'a', 'a'])
    expect(inventory.ended).toEqual(['a', 'a', 'a'])
  })
})

describe('the lock of a block', () => {
  const held = new Map<string, string>()
  const lock = async ({ id }: { readonly id: string }, why: { readonly actor: string; readonly reason: string }) =>
    void held.set(id, `${why.actor}: ${why.reason}`)
  const unlock = async (id: string) => void held.delete(id)
  const openWith = (release: (id: string) => Promise<void>) =>
    createDevices({
      ...{ records: inventory.records, lock, unlock: release, now: inventory.clock.now },
      ...{ onEvent: () => undefined, tell: async () => undefined, endSessions: async () => undefined },
    })

  it('stays with whoever blocked first, whoever blocks again', async () => {
    await inventory.add({ id: 'a' })
    const devices = openWith(unlock)
    await devices.block('a', 'stolen', 'person:admin')
    await devices.block('a', 'whatever', 'person:desk', { isByHelpdesk: true })
    expect(held.get('a')).toBe('person:admin: stolen')
    await devices.unblock('a', 'person:admin')
    expect(held.has('a')).toBe(false)
  })

  it('is there again where somebody blocked in the middle of an unblocking', async () => {
    await inventory.add({ id: 'a' })
    const admin = openWith(unlock)
    const helpdesk = openWith(async (id) => {
      await admin.block('a', 'stolen', 'person:admin')
      await unlock(id)
    })
    await helpdesk.block('a', 'odd', 'person:desk', { isByHelpdesk: true })
    await helpdesk.unblock('a', 'person:desk', { isByHelpdesk: true })
    expect((await admin.find('a'))?.status).toMatchObject({ state: 'blocked', by: 'person:admin' })
    expect(held.get('a')).toBe('person:admin: stolen')
  })
})
