/** Who a request's device is, what binds a session to it, and which of several sources an attribute is taken from. */

import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { Device } from '../policy/facts.ts'
import type { Session } from '../session/session.ts'
import type { CertificateReader, CertificateReading } from './client-certificate.ts'
import { createDeviceReader, type DeviceClue, type DeviceDirectory, type InventoryDevice } from './device-record.ts'

const print = (digit: string) => digit.repeat(64)
const verified = (fingerprint: string, ...names: string[]): CertificateReading => ({
  state: 'verified',
  certificate: { fingerprint, names, notAfter: 2e12 },
})

function deviceOf(id: string, change: Partial<InventoryDevice> = {}): InventoryDevice {
  return {
    id,
    status: { state: 'active' },
    serial: `serial-of-${id}`,
    tags: ['staff'],
    entered: {},
    reported: { report: {}, management: {} },
    ...change,
  }
}

interface SessionStart {
  readonly claims?: Record<string, unknown>
  readonly begunWith?: string
  readonly names?: readonly string[]
}

function sessionOf({ claims = {}, begunWith, names }: SessionStart = {}): Session {
  return {
    id: 's',
    issuer: 'https://idp.example',
    sub: 'bob',
    claims: { at: 50_000, version: 1, all: claims },
    signIn: { at: 0, authTime: 0, acr: undefined, amr: [] },
    tokens: { idToken: '', accessToken: '', refreshToken: undefined },
    providerSid: undefined,
    startedAt: 0,
    lastUsedAt: 0,
    origin: { address: '192.0.2.1', userAgent: '' },
    device: begunWith === undefined ? undefined : { certificate: begunWith, names: names ?? [] },
  } as Session
}

/** A reader over devices that are found by fingerprint, name or id; `isWarm`: its memory answers. */
function readerOver(
  devices: Readonly<Record<string, InventoryDevice>>,
  {
    isWarm = true,
    isVisible = true,
    certificate = { state: 'none' } as CertificateReading,
    posture = new Map<string, readonly string[]>(),
  } = {},
) {
  const asked: DeviceClue[] = []
  const find = (clue: DeviceClue) => {
    asked.push(clue)
    const keys = clue.kind === 'claim' ? [clue.id] : [clue.certificate.fingerprint, ...clue.certificate.names]
    return keys.map((key) => devices[key]).find((device) => device !== undefined)
  }
  const directory: DeviceDirectory = {
    recall: (clue) => (isWarm ? { device: find(clue) } : undefined),
    find: async (clue) => find(clue),
  }
  const certificates: CertificateReader = {
    isVisible: () => isVisible,
    recall: () => (isWarm ? certificate : undefined),
    read: async () => certificate,
  }
  const reader = createDeviceReader({ certificates, directory, claims: { deviceId: ['device_id'], posture } })
  const request = new IncomingMessage(new Socket())
  return {
    asked,
    recall: (session: Session) => reader.recall(request, session),
    read: async (session: Session) => {
      const read = await reader.read(request, session)
      if (isWarm) expect(reader.recall(request, session)).toBe(read)
      return read
    },
    async device(session: Session): Promise<Device | undefined> {
      const { device } = await this.read(session)
      return device.known ? device.value : undefined
    },
  }
}

describe('which device it is', () => {
  it('is told by a certificate before a claim', async () => {
    const devices = { [print('a')]: deviceOf('laptop-7'), phone: deviceOf('phone') }
    const session = sessionOf({ claims: { device_id: 'phone' } })
    expect(await readerOver(devices, { certificate: verified(print('a')) }).device(session)).toMatchObject({
      id: 'laptop-7',
      identifiedBy: 'certificate',
      isKnown: true,
      serial: 'serial-of-laptop-7',
      tags: ['staff'],
    })
    expect(await readerOver(devices).device(session)).toMatchObject({ id: 'phone', identifiedBy: 'claim', isKnown: true })
  })

  it('is not known to the inventory under a certificate of nobody’s, and called by its fingerprint', async () => {
    const device = await readerOver({}, { certificate: verified(print('c'), 'x.corp.example') }).device(sessionOf())
    expect(device).toEqual({
      id: `certificate-${'c'.repeat(16)}`,
      identifiedBy: 'certificate',
      isKnown: false,
      serial: undefined,
      tags: [],
      attributes: {},
    })
  })

  it('is not known to the inventory under a claim that names none of its devices', async () => {
    expect(await readerOver({}).device(sessionOf({ claims: { device_id: 'somewhere' } }))).toMatchObject({
      id: 'somewhere',
      isKnown: false,
    })
  })

  it.each([['nothing'], [''], ['two words'], ['x'.repeat(129)], [7], [['laptop-7']], [null]])(
    'is unknown by a claim of %j',
    async (value) => {
      const session = sessionOf({ claims: value === 'nothing' ? {} : { device_id: value } })
      expect(await readerOver({ 'laptop-7': deviceOf('laptop-7') }).read(session)).toEqual({
        device: { known: false, why: 'no_device' },
        isChanged: false,
      })
    },
  )

  it.each(['expired', 'revoked', 'untrusted', 'wrong_usage'] as const)('is not told by a refused certificate (%s)', async (why) => {
    const reader = readerOver({ [print('a')]: deviceOf('laptop-7') }, { certificate: { state: 'refused', why } })
    expect(await reader.read(sessionOf())).toEqual({ device: { known: false, why: 'no_device' }, isChanged: false })
  })

  it('is not told by claims that are too old to stand', async () => {
    const reader = createDeviceReader({
      certificates: undefined,
      directory: { recall: () => ({ device: deviceOf('laptop-7') }), find: async () => deviceOf('laptop-7') },
      claims: { deviceId: ['device_id'] },
    })
    const [request, session] = [new IncomingMessage(new Socket()), sessionOf({ claims: { device_id: 'laptop-7' } })]
    const tooOld = { device: { known: false, why: 'claims_too_old' }, isChanged: false }
    expect(reader.recall(request, session, 'unknown')).toEqual(tooOld)
    expect(await reader.read(request, session, 'unknown')).toEqual(tooOld)
    expect(reader.recall(request, session, 'stale')).toMatchObject({ device: { known: true } })
  })

  it('is nothing but a name once it is blocked: no attribute, no tag, no serial number', async () => {
    const blocked = deviceOf('laptop-7', {
      status: { state: 'blocked' },
      entered: { managed: { value: true, at: 1 } },
      reported: { report: { disk_encrypted: { value: true, at: 1 } }, management: {} },
    })
    expect(await readerOver({ 'laptop-7': blocked }).device(sessionOf({ claims: { device_id: 'laptop-7' } }))).toEqual({
      id: 'laptop-7',
      identifiedBy: 'claim',
      isKnown: false,
      isBlocked: true,
      serial: undefined,
      tags: [],
      attributes: {},
    })
  })
})

describe('a session that began with a certificate', () => {
  const devices = {
    [print('a')]: deviceOf('laptop-7'),
    [print('b')]: deviceOf('laptop-7'),
    [print('d')]: deviceOf('laptop-8'),
    'l7.corp.example': deviceOf('laptop-7'),
  }
  const isChanged = async (certificate: CertificateReading, start: SessionStart = { begunWith: print('a') }) =>
    (await readerOver(devices, { certificate }).read(sessionOf(start))).isChanged

  it('goes on with that certificate', async () => {
    expect(await isChanged(verified(print('a')))).toBe(false)
  })

  it('goes on with a renewed certificate of the same device', async () => {
    expect(await isChanged(verified(print('b')))).toBe(false)
    expect(await isChanged(verified(print('f'), 'l7.corp.example'), { begunWith: print('e'), names: ['l7.corp.example'] })).toBe(false)
  })

  it.each([
    ['none', { state: 'none' } as const],
    ['a refused one', { state: 'refused', why: 'revoked' } as const],
    ['one of another device', verified(print('d'))],
    ['one that nobody knows', verified(print('0'))],
  ])('has changed devices with %s', async (_what, certificate) => {
    expect(await isChanged(certificate)).toBe(true)
    expect(await isChanged(certificate, { begunWith: print('a'), claims: { device_id: 'laptop-7' } })).toBe(true)
  })

  it('has changed devices with another certificate where the inventory knows neither', async () => {
    expect(await isChanged(verified(print('1')), { begunWith: print('2') })).toBe(true)
    expect(await isChanged(verified(print('1')), { begunWith: print('1') })).toBe(false)
  })

  it('has an unknown device, and no other, where the connection was never asked for one', async () => {
    const reader = readerOver(devices, { isVisible: false })
    expect(await reader.read(sessionOf({ begunWith: print('z'), claims: { device_id: 'laptop-7' } }))).toEqual({
      device: { known: false, why: 'no_device' },
      isChanged: false,
    })
  })

  it.each([true, false])(
    'is held to a block and to locks of the device that it began on also there (memory answers: %s)',
    async (isWarm) => {
      const blocked = { [print('a')]: deviceOf('laptop-7', { status: { state: 'blocked' } }) }
      const session = sessionOf({ begunWith: print('a') })
      expect(await readerOver(blocked, { isVisible: false, isWarm }).read(session)).toMatchObject({
        device: { known: true, value: { id: 'laptop-7', isBlocked: true } },
        isChanged: false,
      })
      expect(await readerOver({ [print('a')]: deviceOf('laptop-7') }, { isVisible: false, isWarm }).read(session)).toEqual({
        device: { known: false, why: 'no_device' },
        isChanged: false,
        begunOn: 'laptop-7',
      })
    },
  )

  it('is asked for nothing by one that began without', async () => {
    expect(await isChanged({ state: 'none' }, {})).toBe(false)
    expect(await isChanged(verified(print('d')), {})).toBe(false)
  })
})

describe('an attribute', () => {
  const at = (value: string | boolean, when: number) => ({ value, at: when })
  const posture = new Map([
    ['disk_encrypted', ['posture', 'disk']],
    ['managed', ['posture', 'managed']],
    ['ring', ['posture', 'ring']],
    ['os', ['posture', 'os']],
  ])
  const pick = async (name: string, change: Partial<InventoryDevice>, claimed: Record<string, unknown> = {}) => {
    const reader = readerOver({ 'laptop-7': deviceOf('laptop-7', change) }, { posture })
    const device = await reader.device(sessionOf({ claims: { device_id: 'laptop-7', posture: claimed } }))
    return device?.attributes[name]
  }

  it('that is measured comes from the newer of report and management', async () => {
    const reported = (own: number, theirs: number) => ({
      reported: { report: { disk_encrypted: at(true, own) }, management: { disk_encrypted: at(false, theirs) } },
    })
    expect(await pick('disk_encrypted', reported(2, 1))).toEqual({ value: true, source: 'report', at: 2 })
    expect(await pick('disk_encrypted', reported(1, 2))).toEqual({ value: false, source: 'management', at: 2 })
    expect(await pick('disk_encrypted', reported(2, 2))).toEqual({ value: false, source: 'management', at: 2 })
  })

  it('that is measured comes from a claim where nobody reported, and from what was entered last of all', async () => {
    const entered = { disk_encrypted: at(true, 7) }
    expect(await pick('disk_encrypted', { entered }, { disk: false })).toEqual({ value: false, source: 'claim', at: 50_000 })
    expect(await pick('disk_encrypted', { entered })).toEqual({ value: true, source: 'inventory', at: 7 })
    const reported = { report: { disk_encrypted: at(true, 3) }, management: {} }
    expect(await pick('disk_encrypted', { reported }, { disk: false })).toEqual({ value: true, source: 'report', at: 3 })
  })

  it.each(['managed', 'ring'])('that is said about a device is never the device’s own word against another: %s', async (name) => {
    const report = { [name]: at(true, 100) }
    expect(
      await pick(name, { entered: { [name]: at(false, 1) }, reported: { report, management: { [name]: at(true, 90) } } }),
    ).toMatchObject({
      value: false,
      source: 'inventory',
    })
    expect(await pick(name, { reported: { report, management: { [name]: at(false, 1) } } })).toMatchObject({ source: 'management' })
    expect(await pick(name, { reported: { report, management: {} } })).toMatchObject({ source: 'report' })
    expect(await pick(name, {}, { [name]: true })).toMatchObject({ source: 'claim', at: 50_000 })
  })

  it.each([['true'], [1], [null], [['true']], [{}]])('that is a yes or no is never claimed by %j', async (value) => {
    expect(await pick('disk_encrypted', {}, { disk: value })).toBeUndefined()
  })

  it('that is a system is compared in lower case', async () => {
    expect(await pick('os', {}, { os: 'macOS' })).toMatchObject({ value: 'macos' })
  })

  it('is never inherited', async () => {
    const reader = readerOver({ 'laptop-7': deviceOf('laptop-7') })
    const device = await reader.device(sessionOf({ claims: { device_id: 'laptop-7' } }))
    expect(Object.getPrototypeOf(device?.attributes)).toBeNull()
  })

  it('of a claim counts with a certificate only for the device that the claim names, or that the session began on', async () => {
    const certificate = verified(print('a'))
    const over = (claims: Record<string, unknown>, begunWith?: string) =>
      readerOver({ [print('a')]: deviceOf('laptop-7') }, { certificate, posture }).device(
        sessionOf({ claims: { ...claims, posture: { disk: true } }, ...(begunWith === undefined ? {} : { begunWith }) }),
      )
    expect((await over({ device_id: 'LAPTOP-7' }))?.attributes).toHaveProperty('disk_encrypted')
    expect((await over({ device_id: 'phone' }))?.attributes).toEqual({})
    expect((await over({}))?.attributes).toEqual({})
    expect((await over({}, print('a')))?.attributes).toHaveProperty('disk_encrypted')
  })
})

describe('reading', () => {
  it('answers at once where memory does, and otherwise not at all', async () => {
    const session = sessionOf({ claims: { device_id: 'laptop-7' } })
    const cold = readerOver({ 'laptop-7': deviceOf('laptop-7') }, { isWarm: false })
    expect(cold.recall(session)).toBeUndefined()
    expect((await cold.read(session)).device).toMatchObject({ known: true })
  })

  it('makes the same fact once for the same record and claims', async () => {
    const reader = readerOver({ 'laptop-7': deviceOf('laptop-7') })
    const session = sessionOf({ claims: { device_id: 'laptop-7' } })
    expect(await reader.read(session)).toBe(await reader.read(session))
    expect((await reader.read(session)).device).toBe((await reader.read({ ...session, lastUsedAt: 9 })).device)
    const refreshed = { ...session, claims: { ...session.claims, all: { ...session.claims.all } } }
    expect(await reader.read(refreshed)).not.toBe(await reader.read(session))
  })

  it('rejects where the inventory cannot be asked', async () => {
    const directory: DeviceDirectory = { recall: () => undefined, find: () => Promise.reject(new Error('away')) }
    const reader = createDeviceReader({ certificates: undefined, directory, claims: { deviceId: ['device_id'] } })
    const request = new IncomingMessage(new Socket())
    await expect(reader.read(request, sessionOf({ claims: { device_id: 'a' } }))).rejects.toThrow('away')
  })
})
