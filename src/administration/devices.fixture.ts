/**
 * What tests about devices share: the real inventory over the embedded store, a clock that moves, devices with keys, and a signer that
 * does exactly what a test says, wrong things included.
 */

import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseManagementReport, parseSignedReport } from '../config/posture-report-schema.ts'
import { createTestClock, createTestRing, silentLog, type TestClock } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { createEmbeddedStore } from '../stores/embedded.ts'
import { type DeviceDefinition, type DeviceInput, parseDeviceDefinition } from './device-definition.ts'
import { createDeviceDirectory, type RememberingDirectory } from './device-directory.ts'
import { createDevices, type DeviceEvent, type DeviceRecord, type Devices } from './devices.ts'
import { createDurableRecords, type DurableRecords } from './durable-records.ts'
import { createPostureReports, type PostureReports } from './posture-report.ts'

export const testAccessUrl = new URL('https://access.corp.example')

export interface TestInventory {
  readonly clock: TestClock
  readonly store: SessionStore
  readonly records: DurableRecords<DeviceRecord>
  readonly devices: Devices
  readonly directory: RememberingDirectory
  readonly reports: PostureReports
  readonly events: DeviceEvent[]
  /** Ids of the devices of which other instances were told, and of those whose sessions were ended. */
  readonly told: string[]
  readonly ended: string[]
  /** Ids of the devices that a block holds a lock on. */
  readonly locked: ReadonlySet<string>
  /** Registers, and fails the test if anything stands against it. */
  add(input: DeviceInput): Promise<DeviceDefinition>
  close(): Promise<void>
}

/** An empty inventory. */
export function createTestInventory(): TestInventory {
  const clock = createTestClock()
  const folder = mkdtempSync(join(tmpdir(), 'postern-devices-'))
  const store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: clock.now })
  const ring = createTestRing()
  const records = createDurableRecords<DeviceRecord>('device', { store, keys: () => ring, log: silentLog })
  const events: DeviceEvent[] = []
  const onEvent = (event: DeviceEvent) => void events.push(event)
  const told: string[] = []
  const ended: string[] = []
  const locked = new Set<string>()
  const devices = createDevices({
    records,
    onEvent,
    tell: async (id) => void told.push(id),
    lock: async ({ id }) => void locked.add(id),
    unlock: async (id) => void locked.delete(id),
    endSessions: async ({ id }) => void ended.push(id),
    now: clock.now,
  })
  const directory = createDeviceDirectory({ devices, monotonicNow: clock.now })
  const reports = createPostureReports({
    devices,
    forms: { signed: parseSignedReport, management: parseManagementReport },
    accessUrl: testAccessUrl,
    now: clock.now,
    onEvent,
    onAccepted: directory.forget,
  })
  return {
    clock,
    store,
    records,
    devices,
    directory,
    reports,
    events,
    told,
    locked,
    ended,
    async add(input) {
      const definition = define(input)
      const problems = await devices.register(definition, 'os:admin@test')
      if (problems.length > 0) throw new Error(JSON.stringify(problems))
      return definition
    },
    async close() {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A definition that has to be a good one. */
export function define(input: DeviceInput): DeviceDefinition {
  const definition = parseDeviceDefinition(input)
  if ('problems' in definition) throw new Error(definition.problems.join('; '))
  return definition
}

export interface SigningKey {
  readonly alg: 'EdDSA' | 'ES256'
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly publicPem: string
}

/** A device's key pair. */
export function createSigningKey(alg: 'EdDSA' | 'ES256' = 'EdDSA'): SigningKey {
  const { privateKey, publicKey } = alg === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { alg, privateKey, publicKey, publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}

/** A compact JWS over any payload, with any header. */
export function signAs(key: SigningKey, payload: unknown, header: Record<string, unknown> = {}): string {
  const input = `${encode({ alg: key.alg, ...header })}.${encode(payload)}`
  const signature =
    key.alg === 'EdDSA'
      ? sign(null, Buffer.from(input), key.privateKey)
      : sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** A JWS with a MAC under any bytes, such as the public key's. */
export function macWith(secret: string | Buffer, payload: unknown): string {
  const input = `${encode({ alg: 'HS256' })}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** base64url of JSON, or of text as it is. */
export function encode(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

/** The claims of a right report about `id`, signed at `at`, with changes. */
export function reportClaims(id: string, at: number, posture: object, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return { aud: testAccessUrl.origin, sub: id, iat: at / 1000, jti: randomUUID(), posture, ...changes }
}
