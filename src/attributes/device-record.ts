/**
 * Reads the device of a request: who it is by certificate or claim, and what inventory, reports and claims say about it, made one fact.
 *
 * A verified certificate goes before a claim, and a session that was begun with one is held to it. Each attribute comes from one source,
 * in an order of its own. What is *measured* (disk, lock, firewall, system) is worth what it is new: the newer of report and management,
 * then a claim, then what an admin entered. What is *said about* a device (`managed` and every other name) is not for the device to
 * decide: what an admin entered, then management, then its own report, then a claim. A blocked device has nothing but its id.
 */

import type { IncomingMessage } from 'node:http'
import { findClaim } from '../policy/claim-path.ts'
import type { Scalar } from '../policy/document.ts'
import type { ClaimSet, Device, DeviceAttribute } from '../policy/facts.ts'
import type { BoundDevice, Session } from '../session/session.ts'
import type { CertificateReader, CertificateReading, DeviceCertificate } from './client-certificate.ts'
import { type DeviceReader, type DeviceReading, unidentified } from './device-facts.ts'

/** A value with the instant at which it was so, and the one at which we heard of it. */
export interface Observation {
  readonly value: Scalar | readonly Scalar[]
  readonly at: number
  readonly receivedAt?: number
}

/** What the inventory holds of a device, as far as facts are made of it. Never changed in place: another record is another object. */
export interface InventoryDevice {
  readonly id: string
  readonly status: { readonly state: 'active' | 'blocked' }
  readonly serial: string | undefined
  readonly tags: readonly string[]
  /** What an admin entered; `at` is when. */
  readonly entered: Readonly<Record<string, Observation>>
  /** What was reported, by the device itself and by a management system, each with the newest observation. */
  readonly reported: {
    readonly report: Readonly<Record<string, Observation>>
    readonly management: Readonly<Record<string, Observation>>
  }
}

/** By what a device is looked up. */
export type DeviceClue =
  | { readonly kind: 'certificate'; readonly certificate: Pick<DeviceCertificate, 'fingerprint' | 'names'> }
  /** What the provider calls it: an id of the inventory, or a name that it was registered with. */
  | { readonly kind: 'claim'; readonly id: string }

/** The inventory, asked by the request path. A record that did not change is the same object again. */
export interface DeviceDirectory {
  /** What memory holds that is at most five seconds old; `undefined` if `find` has to be asked. */
  recall(clue: DeviceClue): { readonly device: InventoryDevice | undefined } | undefined
  /** `undefined` for what is not in the inventory. Rejects with `session_store_unavailable`. */
  find(clue: DeviceClue): Promise<InventoryDevice | undefined>
}

/** What `createDeviceReader` is given. */
export interface DeviceReaderSettings {
  /** `undefined` where no certificate is ever asked for. */
  readonly certificates: CertificateReader | undefined
  readonly directory: DeviceDirectory
  readonly claims: {
    /** Path of the claim that names the device, split at its dots. */
    readonly deviceId: readonly string[] | undefined
    /** Paths of claims that state its posture, by the attribute that they state. */
    readonly posture?: ReadonlyMap<string, readonly string[]> | undefined
  }
}

/** Measured posture, and what kind of value it has. */
const measured: Readonly<Record<string, 'boolean' | 'string'>> = {
  disk_encrypted: 'boolean',
  screen_lock: 'boolean',
  firewall: 'boolean',
  os: 'string',
  os_version: 'string',
}
const wellKnown: Readonly<Record<string, 'boolean' | 'string'>> = { ...measured, managed: 'boolean' }

const noCertificate: CertificateReading = { state: 'none' }
const claimsTooOld: DeviceReading = { device: { known: false, why: 'claims_too_old' }, isChanged: false }
const changed: DeviceReading = { ...unidentified, isChanged: true }

/** A reader for sessions of people. */
export function createDeviceReader(settings: DeviceReaderSettings): DeviceReader {
  const { certificates, directory } = settings
  const factOf = createDeviceFacts(settings.claims)

  return {
    recall(request, given, claimsState) {
      const session = claimsState === 'unknown' ? withoutClaims(given) : given
      const certificate = certificates === undefined ? noCertificate : certificates.recall(request)
      if (certificate === undefined) return undefined
      const clue = clueOf(certificate, session)
      if (clue === undefined) {
        const unseen = unseenClueOf(request, session)
        const found = unseen === undefined ? noDevice : directory.recall(unseen)
        return found === undefined ? undefined : withoutClue(session, unseen, found.device)
      }
      const remembered = directory.recall(clue)
      if (remembered === undefined) return undefined
      const other = otherCertificateOf(session, clue)
      const begun = other === undefined ? noDevice : directory.recall(other)
      return begun === undefined ? undefined : concludeReading(session, clue, { present: remembered.device, begun: begun.device })
    },
    async read(request, given, claimsState) {
      const session = claimsState === 'unknown' ? withoutClaims(given) : given
      const certificate = certificates === undefined ? noCertificate : await certificates.read(request)
      const clue = clueOf(certificate, session)
      if (clue === undefined) {
        const unseen = unseenClueOf(request, session)
        return withoutClue(session, unseen, unseen === undefined ? undefined : await directory.find(unseen))
      }
      const other = otherCertificateOf(session, clue)
      const present = await directory.find(clue)
      return concludeReading(session, clue, { present, begun: other === undefined ? undefined : await directory.find(other) })
    },
  }

  /** What the session began with, where the connection was never asked for a certificate: that it shows none says nothing. */
  function unseenClueOf(request: IncomingMessage, { device }: Session): DeviceClue | undefined {
    return device !== undefined && certificates?.isVisible(request) === false ? begunClueOf(device) : undefined
  }

  /** A device that cannot be seen is unknown to rules, and not another. That it is blocked or locked holds all the same. */
  function withoutClue(session: Session, unseen: DeviceClue | undefined, begun: InventoryDevice | undefined): DeviceReading {
    if (unseen !== undefined) {
      if (begun === undefined) return unidentified
      return begun.status.state === 'blocked' ? factOf(session, unseen, begun) : unseenOf(begun)
    }
    if (isBound(session)) return changed
    return session.claims.all === noClaims && settings.claims.deviceId !== undefined ? claimsTooOld : unidentified
  }

  /** A refused certificate is worth what none is worth: whoever has a revoked one can also leave it at home. */
  function clueOf(reading: CertificateReading, session: Session): DeviceClue | undefined {
    if (reading.state === 'verified') return { kind: 'certificate', certificate: reading.certificate }
    if (isBound(session)) return undefined
    const id = claimedIdOf(session.claims.all, settings.claims.deviceId)
    return id === undefined ? undefined : { kind: 'claim', id }
  }

  function concludeReading(session: Session, clue: DeviceClue, { present, begun }: FoundDevices): DeviceReading {
    const reading = factOf(session, clue, present)
    if (otherCertificateOf(session, clue) === undefined) return reading
    // Of devices that are not in the inventory nobody can tell whether they are the same.
    return present !== undefined && present.id === begun?.id ? reading : changedOf(reading)
  }
}

const noClaims: ClaimSet = Object.freeze(Object.create(null) as Record<string, unknown>)
const sessionsWithoutClaims = new WeakMap<Session, Session>()

/** What too old claims say of a device is as unknown as what they say of its person. */
function withoutClaims(session: Session): Session {
  return getOrAdd(sessionsWithoutClaims, session, () => ({ ...session, claims: { ...session.claims, all: noClaims } }))
}

/** The device of the request, and the one that the session began on if it had another certificate then. */
interface FoundDevices {
  readonly present: InventoryDevice | undefined
  readonly begun: InventoryDevice | undefined
}

const noDevice = { device: undefined }

function isBound({ device }: Session): boolean {
  return device !== undefined
}

/** The certificate that the session began with, where the request presents another: a renewed one, or another device's. */
function otherCertificateOf({ device }: Session, clue: DeviceClue): DeviceClue | undefined {
  if (device === undefined || clue.kind !== 'certificate' || device.certificate === clue.certificate.fingerprint) return undefined
  return begunClueOf(device)
}

const begunClues = new WeakMap<BoundDevice, DeviceClue>()

function begunClueOf(device: BoundDevice): DeviceClue {
  return getOrAdd(begunClues, device, () => {
    const { certificate: fingerprint, names } = device
    return { kind: 'certificate', certificate: { fingerprint, names } }
  })
}

const unseenReadings = new WeakMap<InventoryDevice, DeviceReading>()

function unseenOf(device: InventoryDevice): DeviceReading {
  return getOrAdd(unseenReadings, device, () => ({ ...unidentified, begunOn: device.id }))
}

const changedReadings = new WeakMap<DeviceReading, DeviceReading>()

function changedOf(reading: DeviceReading): DeviceReading {
  return getOrAdd(changedReadings, reading, () => ({ ...reading, isChanged: true }))
}

type Factory = (session: Session, clue: DeviceClue, device: InventoryDevice | undefined) => DeviceReading

/** The fact is the same object for the same record and claims: audit and explanation are cached by it. */
function createDeviceFacts(claimPaths: DeviceReaderSettings['claims']): Factory {
  const ofKnown = new WeakMap<InventoryDevice, WeakMap<ClaimSet, Map<string, DeviceReading>>>()
  const ofUnknown = new WeakMap<ClaimSet, Map<string, DeviceReading>>()

  return (session, clue, device) => {
    const byClaims = device === undefined ? ofUnknown : getOrAdd(ofKnown, device, () => new WeakMap<ClaimSet, Map<string, DeviceReading>>())
    const byClue = getOrAdd(byClaims, session.claims.all, () => new Map<string, DeviceReading>())
    const isOwnClaim = clue.kind === 'claim' || isClaimOf(session, device)
    const id = device?.id ?? (clue.kind === 'claim' ? clue.id : fingerprintId(clue.certificate.fingerprint))
    // One session is looked up by few clues; a browser that presents many certificates gains nothing by it.
    const key = `${clue.kind} ${isOwnClaim} ${session.claims.at} ${id}`
    const earlier = byClue.get(key)
    if (earlier !== undefined) return earlier
    if (byClue.size >= 16) byClue.clear()
    const claimed = isOwnClaim ? readClaimedPosture(session, claimPaths.posture) : {}
    const reading: DeviceReading = { device: { known: true, value: factsOf(id, clue.kind, device, claimed) }, isChanged: false }
    byClue.set(key, reading)
    return reading
  }

  /**
   * Whether the claims' posture is this device's. With a certificate only if the provider names the same device; if it names none, they are
   * believed to speak of the device on which the sign-in took place, and that is this one if the session was begun with its certificate.
   */
  function isClaimOf(session: Session, device: InventoryDevice | undefined): boolean {
    const claimed = claimedIdOf(session.claims.all, claimPaths.deviceId)
    return claimed === undefined ? isBound(session) : device !== undefined && claimed.toLowerCase() === device.id
  }
}

/** The fact of a device of the inventory without a request: for `explain`, lists and the console. Claims of nobody are in it. */
export function stateDevice(device: InventoryDevice, identifiedBy: Device['identifiedBy']): Device {
  return factsOf(device.id, identifiedBy, device, {})
}

function factsOf(
  id: string,
  identifiedBy: Device['identifiedBy'],
  device: InventoryDevice | undefined,
  claimed: Readonly<Record<string, DeviceAttribute>>,
): Device {
  if (device?.status.state === 'blocked')
    return { id, identifiedBy, isKnown: false, isBlocked: true, serial: undefined, tags: [], attributes: noAttributes }
  if (device === undefined) return { id, identifiedBy, isKnown: false, serial: undefined, tags: [], attributes: claimed }
  return { id, identifiedBy, isKnown: true, serial: device.serial, tags: device.tags, attributes: mergeAttributes(device, claimed) }
}

const noAttributes: Device['attributes'] = Object.freeze(Object.create(null) as Record<string, DeviceAttribute>)

function mergeAttributes(
  { entered, reported: { management, report } }: InventoryDevice,
  claimed: Readonly<Record<string, DeviceAttribute>>,
): Device['attributes'] {
  const merged: Record<string, DeviceAttribute> = Object.create(null)
  const names = new Set([entered, management, report, claimed].flatMap((source) => Object.keys(source)))
  for (const name of [...names].sort()) {
    const byAdmin = attributeOf(entered, name, 'inventory')
    const byManagement = attributeOf(management, name, 'management')
    const byDevice = attributeOf(report, name, 'report')
    const byClaim = Object.hasOwn(claimed, name) ? claimed[name] : undefined
    const best = Object.hasOwn(measured, name)
      ? (newerOf(byDevice, byManagement) ?? byClaim ?? byAdmin)
      : (byAdmin ?? byManagement ?? byDevice ?? byClaim)
    if (best !== undefined) merged[name] = best
  }
  return merged
}

/** At the same instant the management system's word stands: the device's own can be made up by whoever rules the device. */
function newerOf(byDevice: DeviceAttribute | undefined, byManagement: DeviceAttribute | undefined): DeviceAttribute | undefined {
  if (byDevice === undefined || byManagement === undefined) return byDevice ?? byManagement
  return byDevice.at > byManagement.at ? byDevice : byManagement
}

function attributeOf(
  source: Readonly<Record<string, Observation>>,
  name: string,
  word: Exclude<DeviceAttribute['source'], 'claim'>,
): DeviceAttribute | undefined {
  const observation = Object.hasOwn(source, name) ? source[name] : undefined
  return observation === undefined ? undefined : { value: observation.value, source: word, at: observation.at }
}

function readClaimedPosture(
  { claims }: Session,
  paths: ReadonlyMap<string, readonly string[]> | undefined,
): Readonly<Record<string, DeviceAttribute>> {
  const claimed: Record<string, DeviceAttribute> = Object.create(null)
  for (const [name, path] of paths ?? []) {
    const value = findClaim(claims.all, path)
    if (isAttributeValue(value) && isOfKind(name, value)) {
      claimed[name] = { value: name === 'os' && typeof value === 'string' ? value.toLowerCase() : value, source: 'claim', at: claims.at }
    }
  }
  return claimed
}

/** The boolean only: the text "false" is as true as "true" to a careless reader. */
function isOfKind(name: string, value: unknown): boolean {
  const kind = Object.hasOwn(wellKnown, name) ? wellKnown[name] : undefined
  return kind === undefined || typeof value === kind
}

function isAttributeValue(value: unknown): value is DeviceAttribute['value'] {
  return Array.isArray(value) ? value.length <= 32 && value.every(isScalar) : isScalar(value)
}

function isScalar(value: unknown): value is Scalar {
  return (
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value)) ||
    (typeof value === 'string' && value.length <= 256)
  )
}

/** One printable word: it goes into pages, lines and look-ups. */
function claimedIdOf(claims: ClaimSet, path: readonly string[] | undefined): string | undefined {
  const value = path === undefined ? undefined : findClaim(claims, path)
  return typeof value === 'string' && /^[\x21-\x7e]{1,128}$/.test(value) ? value : undefined
}

/** What a certificate that belongs to nobody is called: enough of it to be told apart and looked up. */
function fingerprintId(fingerprint: string): string {
  return `certificate-${fingerprint.slice(0, 16)}`
}

function getOrAdd<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  const earlier = map.get(key)
  if (earlier !== undefined) return earlier
  const made = make()
  map.set(key, made)
  return made
}
