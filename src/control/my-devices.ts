/**
 * `/devices`: the devices of the person who looks, what is known of each and how old that is, and what to mend on it for their apps.
 *
 * A device is one's own by the session that shows it (its certificate, or what the provider says), not by what an address names: there is no
 * id to guess. One that only the trail remembers is named and no more, unless the inventory says that it is this person's: it may have become
 * somebody else's. What to mend is what the policy itself would say, asked as if the person came from that device.
 */

import type { Router } from 'express'
import type { DeviceRecord } from '../administration/devices.ts'
import { collectDemands } from '../administration/policy-against-life-demands.ts'
import { type DeviceClue, stateDevice } from '../attributes/device-record.ts'
import { displayNameOf } from '../attributes/subject-facts.ts'
import { findClaim } from '../policy/claim-path.ts'
import type { Rule } from '../policy/document.ts'
import type { Device, SubjectFacts } from '../policy/facts.ts'
import { compileWho } from '../policy/who.ts'
import type { Session } from '../session/session.ts'
import { type DeviceFacts, describeMyDevices } from './my-devices-content.ts'
import { emailOf } from './person.ts'
import { findKnownApps, gatherFacts, type KnownApp, type PersonsFacts } from './portal-apps.ts'
import type { PersonalPorts } from './portal-pages.ts'

/** Nobody has more, and each is looked up. */
const mostDevices = 20
const mostSessions = 50
/** How far back the trail is asked for devices. */
const mostDecisions = 200

/** Adds `/devices` to the signed-in group, behind its guard. */
export function mountMyDevices(router: Router, ports: PersonalPorts): void {
  const { answers, pages, personal, readSubject, signedIn } = ports
  router.get('/devices', async (request, response) => {
    const live = signedIn.get(request)
    const { claimsState, session } = live
    const facts = await gatherFacts(ports, request, live)
    const found = await findDevices(ports, facts)
    const apps = await findKnownApps(ports, facts)
    const devices: DeviceFacts[] = []
    for (const one of found) {
      const known = one.device === undefined ? [] : await findKnownApps(ports, facts, one.device)
      devices.push({ ...one, apps: known.map(({ app, decision }) => ({ name: app.name, decision })) })
    }
    answers.page(
      response,
      pages.renderPersonal({
        template: 'my-devices',
        title: 'Your devices',
        person: { name: displayNameOf(session), email: emailOf(readSubject(session, claimsState)) },
        content: describeMyDevices({ devices, at: facts.environment.at, asked: findAsked(personal.policy(), apps, facts.subject) }),
      }),
    )
  })
}

type Found = Omit<DeviceFacts, 'apps'>

async function findDevices({ personal, sessions }: PersonalPorts, facts: PersonsFacts): Promise<readonly Found[]> {
  const { deviceIdClaim, inventory, trail } = personal
  const { session } = facts.live
  const found = new Map<string, Found>()
  const present = facts.device.known ? facts.device.value : undefined
  if (present !== undefined) {
    const record = present.isKnown || present.isBlocked === true ? await inventory.find(present.id) : undefined
    found.set(present.id, { ...describe(present.id, record, session), device: present, isPresent: true })
  }

  const own = (await sessions.listSubject(session.issuer, session.sub)).slice(0, mostSessions)
  const byClue = new Map<string, { readonly clue: DeviceClue; readonly of: Session; count: number }>()
  for (const each of own) {
    const clue = clueOf(each, deviceIdClaim)
    if (clue === undefined) continue
    const key = JSON.stringify(clue)
    const known = byClue.get(key) ?? { clue, of: each, count: 0 }
    known.count += 1
    byClue.set(key, known)
  }
  const looked = await Promise.all(
    [...byClue.values()].slice(0, mostDevices).map(async (one) => ({ ...one, record: await inventory.findByClue(one.clue) })),
  )
  for (const { clue, count, of, record } of looked) {
    const id = record?.id ?? (clue.kind === 'claim' ? clue.id : `certificate-${clue.certificate.fingerprint.slice(0, 16)}`)
    const earlier = found.get(id)
    const unknown: Device = { id, identifiedBy: clue.kind, isKnown: false, serial: undefined, tags: [], attributes: Object.create(null) }
    const device = record === undefined ? unknown : stateDevice(record, clue.kind)
    const base = earlier ?? { ...describe(id, record, of), device, isPresent: false }
    found.set(id, { ...base, sessions: (earlier?.sessions ?? 0) + count })
  }

  const { decisions } = await trail.recentDecisions({ subject: { issuer: session.issuer, sub: session.sub } }, mostDecisions)
  const used = new Map<string, number>()
  for (const { at, device } of decisions) if (device !== undefined && !found.has(device) && !used.has(device)) used.set(device, at)
  for (const [id, usedAt] of [...used].slice(0, Math.max(0, mostDevices - found.size))) {
    const record = await inventory.find(id)
    if (record === undefined) continue
    const isOwn = isOwnedBy(record, facts.subject)
    if (record.owner !== undefined && !isOwn) continue
    found.set(id, { ...describe(id, record, undefined), usedAt, device: isOwn ? stateDevice(record, 'certificate') : undefined })
  }
  return [...found.values()]
}

function describe(id: string, record: DeviceRecord | undefined, of: Session | undefined): Omit<Found, 'device'> {
  return {
    name: record?.name ?? of?.device?.names[0] ?? id,
    isPresent: false,
    sessions: 0,
    usedAt: undefined,
    lastReportAt: record?.lastReport?.receivedAt,
    lastManagementReportAt: record?.lastManagementReportAt,
  }
}

/** What a session shows of its device. One printable word of a claim, as the reader of requests has it. */
function clueOf({ claims, device }: Session, deviceIdClaim: readonly string[] | undefined): DeviceClue | undefined {
  if (device !== undefined) return { kind: 'certificate', certificate: { fingerprint: device.certificate, names: device.names } }
  const id = deviceIdClaim === undefined ? undefined : findClaim(claims.all, deviceIdClaim)
  return typeof id === 'string' && /^[\x21-\x7e]{1,128}$/.test(id) ? { kind: 'claim', id } : undefined
}

function isOwnedBy({ owner }: DeviceRecord, subject: SubjectFacts): boolean {
  if (owner === undefined || subject.kind !== 'person') return false
  return owner === subject.sub || (subject.email.known && owner.toLowerCase() === subject.email.value.toLowerCase())
}

/** What the rules that concern this person, of the apps that they may know of, ask of a device: the greatest age of each attribute, in seconds. */
function findAsked(
  { apps, levels, rules }: ReturnType<PersonalPorts['personal']['policy']>,
  known: readonly KnownApp[],
  subject: SubjectFacts,
): ReadonlyMap<string, number> {
  const ids = new Set(known.map(({ app }) => app.id))
  const mine = apps.filter(({ id }) => ids.has(id))
  const concerns = ({ isReport, verb, who }: Rule) => !isReport && compileWho(who, verb).judge(subject) !== 'false'
  const { devices } = collectDemands({
    levels,
    apps: mine.map((app) => ({ ...app, rules: app.rules.filter(concerns) })),
    rules: rules.filter(
      (rule) =>
        concerns(rule) &&
        mine.some(({ id, sensitivity }) => (rule.apps?.includes(id) ?? true) && (rule.sensitivity?.includes(sensitivity) ?? true)),
    ),
  })
  const asked = new Map<string, number>()
  for (const { attributes, withinSeconds } of devices)
    for (const name of attributes) asked.set(name, Math.min(withinSeconds, asked.get(name) ?? withinSeconds))
  return asked
}
