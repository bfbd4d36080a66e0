/**
 * Accepts posture reports: signed by the device's own key, or sent by a management system on its behalf.
 *
 * A signed report (RFC 7515, compact) is checked in this order: 1 signature, by the key that this very device was registered with and its one
 * algorithm; 2 form; 3 audience, so that a report made for another gateway is worth nothing here; 4 subject; 5 time: at most five minutes
 * old; 6 that the device is not blocked; 7 later than the last one accepted, in the same step that stores it. Until the signature holds,
 * nothing is said: a device that does not exist answers as one whose key is another, after the same work. Nothing is believed that a
 * header brings along (`jwk`, `jku`, `x5c`). A management system proves itself before it gets here; it is told what it did wrong.
 */

import { generateKeyPairSync } from 'node:crypto'
import { compactVerify, decodeProtectedHeader } from 'jose'
import type { Observation } from '../attributes/device-record.ts'
import { createRateLimit } from '../rate-limits.ts'
import type { DeviceKey } from './device-definition.ts'
import type { DeviceEvent, DeviceRecord, Devices } from './devices.ts'
import { mergeReport } from './posture-merge.ts'
import { permitsReport, type TokenScope } from './token-scope.ts'

/** What a report says, in the words of the wire. */
export interface ReportedPosture {
  readonly managed?: boolean | undefined
  readonly disk_encrypted?: boolean | undefined
  readonly screen_lock?: boolean | undefined
  readonly firewall?: boolean | undefined
  readonly os?: string | undefined
  readonly os_version?: string | undefined
  readonly serial?: string | undefined
  readonly attributes?: Readonly<Record<string, Observation['value']>> | undefined
}

/** Judges the form of a body; `config` has the schema. Problems repeat no value. */
export type ParseBody<T> = (data: unknown) => { readonly value: T } | { readonly problems: readonly string[] }

export interface ReportForms {
  readonly signed: ParseBody<{
    readonly aud: string
    readonly sub: string
    readonly iat: number
    readonly jti: string
    readonly exp?: number | undefined
    readonly posture: ReportedPosture
  }>
  readonly management: ParseBody<{ readonly observed_at: number; readonly posture: ReportedPosture }>
}

/** Why a report was not accepted, with the sentence that its sender reads. */
export const reportRefusals = {
  malformed: 'The report is not of the documented form.',
  not_verified: 'The report is not signed with the key of a registered device.',
  wrong_audience: 'The report is addressed to another gateway.',
  wrong_device: 'The report is about another device than its path.',
  not_current: 'The report is older than five minutes, from the future, or past its end.',
  device_blocked: 'The device is blocked.',
  wrong_serial: 'The report is from a machine with another serial number than the one registered.',
  not_permitted: 'The token does not permit reports about this device.',
  unknown_device: 'There is no such device in the inventory.',
  not_newer: 'A report that is at least as new was accepted before.',
  too_many: 'Too many reports about this device.',
} as const

export type ReportRefusal = keyof typeof reportRefusals

export type ReportOutcome =
  | {
      readonly outcome: 'accepted'
      readonly observedAt: number
      readonly accepted: readonly string[]
      /** Of which something newer is known; it stands. */
      readonly outdated: readonly string[]
    }
  | { readonly outcome: 'refused'; readonly reason: ReportRefusal; readonly problems?: readonly string[]; readonly waitSeconds?: number }

/** The request that a report came with, for the audit trail. */
export interface ReportOrigin {
  readonly requestId: string
  readonly address: string
}

/** Accepts reports. Both reject with `session_store_unavailable` when the store does; then nothing was accepted. */
export interface PostureReports {
  acceptSigned(deviceId: string, jws: string, origin: ReportOrigin): Promise<ReportOutcome>
  /** `token` was verified. */
  acceptManagement(deviceId: string, body: string, token: ReportingToken, origin: ReportOrigin): Promise<ReportOutcome>
}

export interface ReportingToken {
  readonly id: string
  readonly scopes: readonly TokenScope[]
}

/** What `createPostureReports` is given. */
export interface PostureReportsParts {
  readonly devices: Pick<Devices, 'find' | 'update'>
  readonly forms: ReportForms
  readonly accessUrl: URL
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly onEvent: (event: DeviceEvent) => void
  /** Hears of a device about which something new is known. */
  readonly onAccepted: (deviceId: string) => void
}

/** Long enough for a queue on the way, short enough that a captured report is soon worth nothing. */
const maxAgeMs = 5 * 60_000
/** Clocks of laptops run ahead. */
const toleratedSkewMs = 60_000
/** For one device, by itself and by each token: far more than any schedule, far less than a store notices. */
const reportsPerMinute = 60

/** Accepts reports into the inventory. */
export function createPostureReports({ devices, forms, accessUrl, now, onEvent, onAccepted }: PostureReportsParts): PostureReports {
  const nobodysKeys = createNobodysKeys()
  // Counted once a sender has proven itself: nobody can use up another's.
  const bySender = createRateLimit({ points: reportsPerMinute, seconds: 60 })
  const limit = async (sender: string): Promise<ReportOutcome | undefined> => {
    const waitSeconds = await bySender.consume(sender)
    return waitSeconds === undefined ? undefined : { outcome: 'refused', reason: 'too_many', waitSeconds }
  }
  const isAudience = (audience: string) => audience === accessUrl.origin || audience === `${accessUrl.origin}/`

  /** Reads, judges and replaces until nobody came between, so that of two reports at once only the later one can be the last. */
  async function store(deviceId: string, judge: (record: DeviceRecord) => Judged): Promise<Judged | undefined> {
    let judged: Judged | undefined
    const found = await devices.update(deviceId, (record) => {
      judged = judge(record)
      return judged.record
    })
    if (found === undefined) return undefined
    if (judged?.record !== undefined) onAccepted(deviceId)
    return judged
  }

  function announce({ changed }: Judged, device: string, actor: string, { requestId, address }: ReportOrigin): void {
    if (changed === undefined || changed.length === 0) return
    onEvent({ event: 'device.reported', actor, device, request: requestId, address, reason: changed.join(', ').slice(0, 400) })
  }

  return {
    async acceptSigned(deviceId, jws, origin) {
      // 1 signature
      const device = await devices.find(deviceId)
      const payload = await verifySignature(jws, device?.key, nobodysKeys)
      if (payload === undefined || device?.key === undefined) return refuse('not_verified')
      const { thumbprint } = device.key

      // 2–5 form, audience, subject, time
      const parsed = forms.signed(parseJson(payload))
      if ('problems' in parsed) return refuse('malformed', parsed.problems)
      const { aud, exp, iat, jti, posture, sub } = parsed.value
      if (!isAudience(aud)) return refuse('wrong_audience')
      if (sub !== deviceId) return refuse('wrong_device')
      const receivedAt = now()
      const signedAt = Math.floor(iat * 1000)
      const isCurrent = signedAt >= receivedAt - maxAgeMs && signedAt <= receivedAt + toleratedSkewMs
      if (!isCurrent || (exp !== undefined && exp * 1000 <= receivedAt)) return refuse('not_current')

      // Copies of a report prove nothing about who sends them: only one that is later than all before it counts as the device's.
      if (device.lastReport !== undefined && signedAt <= device.lastReport.iat) return refuse('not_newer')
      const limited = await limit(`device ${deviceId}`)
      if (limited !== undefined) return limited

      // 6–7 against the record as it is when this is stored
      const judged = await store(deviceId, (record) => {
        if (record.key?.thumbprint !== thumbprint) return { outcome: refuse('not_verified') }
        const outcome = findObjection(record, posture)
        if (outcome !== undefined) return { outcome }
        if (record.lastReport !== undefined && signedAt <= record.lastReport.iat) return { outcome: refuse('not_newer') }
        const merged = merge(record, 'report', { observedAt: signedAt, receivedAt, posture })
        return { ...merged, record: { ...merged.record, lastReport: { iat: signedAt, jti, receivedAt } } }
      })
      if (judged === undefined) return refuse('not_verified')
      announce(judged, deviceId, `device:${deviceId}`, origin)
      return judged.outcome
    },

    async acceptManagement(deviceId, body, token, origin) {
      const device = await devices.find(deviceId)
      // A token for some devices learns nothing about others, not even which there are.
      if (!permitsReport(token.scopes, device ?? { id: deviceId, tags: [] })) return refuse('not_permitted')
      const limited = await limit(`token ${token.id} ${deviceId.slice(0, 64)}`)
      if (limited !== undefined) return limited
      const parsed = forms.management(parseJson(body))
      if ('problems' in parsed) return refuse('malformed', parsed.problems)
      if (device === undefined) return refuse('unknown_device')
      const { observed_at: observedAt, posture } = parsed.value
      const receivedAt = now()
      if (observedAt > receivedAt + toleratedSkewMs) return refuse('not_current')

      const judged = await store(deviceId, (record) => {
        const outcome = findObjection(record, posture)
        if (outcome !== undefined) return { outcome }
        const merged = merge(record, 'management', { observedAt, receivedAt, posture })
        if (merged.outcome.accepted.length === 0) return { outcome: refuse('not_newer') }
        return { ...merged, record: { ...merged.record, lastManagementReportAt: Math.max(observedAt, record.lastManagementReportAt ?? 0) } }
      })
      if (judged === undefined) return refuse('unknown_device')
      announce(judged, deviceId, `token:${token.id}`, origin)
      return judged.outcome
    },
  }
}

/** What is to be answered, and what is to be stored if anything is. */
interface Judged {
  readonly outcome: ReportOutcome
  readonly record?: DeviceRecord
  readonly changed?: readonly string[]
}

function refuse(reason: ReportRefusal, problems?: readonly string[]): Extract<ReportOutcome, { outcome: 'refused' }> {
  return problems === undefined ? { outcome: 'refused', reason } : { outcome: 'refused', reason, problems }
}

/** What stands against any report about this device. */
function findObjection({ status, serial }: DeviceRecord, posture: ReportedPosture): ReportOutcome | undefined {
  if (status.state === 'blocked') return refuse('device_blocked')
  // A key that was copied to another machine speaks for that machine.
  const isOther = serial !== undefined && posture.serial !== undefined && posture.serial.toLowerCase() !== serial.toLowerCase()
  return isOther ? refuse('wrong_serial') : undefined
}

function merge(
  record: DeviceRecord,
  source: 'report' | 'management',
  { observedAt, receivedAt, posture }: { observedAt: number; receivedAt: number; posture: ReportedPosture },
) {
  const { observations, accepted, outdated, changed } = mergeReport(record.reported[source], {
    observedAt,
    receivedAt,
    values: valuesOf(posture),
  })
  return {
    record: { ...record, reported: { ...record.reported, [source]: observations } },
    changed: changed.map((name) => `${name}=${String(observations[name]?.value)}`),
    outcome: { outcome: 'accepted', observedAt, accepted, outdated } as const,
  }
}

function valuesOf({ attributes, os, ...said }: ReportedPosture): Readonly<Record<string, Observation['value']>> {
  const values: Record<string, Observation['value']> = Object.create(null)
  for (const [name, value] of Object.entries({ ...attributes, ...said, os: os?.toLowerCase() })) {
    if (value !== undefined) values[name] = value
  }
  return values
}

/** Two keys that nobody has the other half of: a device that is not there takes as long to refuse as one that is. */
function createNobodysKeys(): Readonly<Record<DeviceKey['algorithm'], DeviceKey['jwk']>> {
  const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
  const jwkOf = ({ kty = '', crv = '', x = '', y }: typeof p256) => (y === undefined ? { kty, crv, x } : { kty, crv, x, y })
  return { EdDSA: jwkOf(ed25519), ES256: jwkOf(p256) }
}

/** The payload, if the signature holds; `undefined` for everything else, with no word on why. */
async function verifySignature(
  jws: string,
  key: DeviceKey | undefined,
  nobodysKeys: Readonly<Record<DeviceKey['algorithm'], DeviceKey['jwk']>>,
): Promise<string | undefined> {
  const algorithm = findAlgorithm(jws)
  if (algorithm === undefined) return undefined
  // A copy: jose remembers what it imported by the object, and a key that is always the same one would answer sooner than a device's.
  const jwk = { ...(key?.algorithm === algorithm ? key.jwk : nobodysKeys[algorithm]) }
  try {
    const { payload } = await compactVerify(jws, jwk, { algorithms: algorithm === 'EdDSA' ? ['EdDSA', 'Ed25519'] : ['ES256'] })
    return new TextDecoder('utf-8', { fatal: true }).decode(payload)
  } catch {
    // Which of the ways not to be a signed report this was is nobody's business.
    return undefined
  }
}

/** `EdDSA` (RFC 8037) has a name of its own for this curve as well, `Ed25519` (RFC 9864). */
function findAlgorithm(jws: string): DeviceKey['algorithm'] | undefined {
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(jws)) return undefined
  try {
    const { alg, crit, b64 } = decodeProtectedHeader(jws)
    // Extensions change what is signed; none is needed.
    if (crit !== undefined || b64 !== undefined) return undefined
    if (alg === 'ES256') return 'ES256'
    return alg === 'EdDSA' || alg === 'Ed25519' ? 'EdDSA' : undefined
  } catch {
    return undefined
  }
}

/** The value, with `undefined` in place of what is no JSON: no form takes it. Names that reach a prototype make it none. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, (name, value: unknown) => {
      if (name === '__proto__' || name === 'constructor' || name === 'prototype') throw new SyntaxError('a name that no report has')
      return value
    })
  } catch {
    return undefined
  }
}
