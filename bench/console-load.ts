/**
 * What the console is measured with, written by the product's own writers into a store and a trail before the instance starts: people with
 * sessions, devices with reports, tokens, requests for access, and a window full of decisions about them, over the day that is just over.
 */

import type { AccessRequestsRecord } from '../src/administration/access-requests.ts'
import { parseDeviceDefinition } from '../src/administration/device-definition.ts'
import { createDevices, type DeviceRecord } from '../src/administration/devices.ts'
import { createDurableRecords } from '../src/administration/durable-records.ts'
import { createPostureReports, type ReportingToken } from '../src/administration/posture-report.ts'
import { type TokenScope, tokenPermissions } from '../src/administration/token-scope.ts'
import { createTokens, type TokenRecord } from '../src/administration/tokens.ts'
import type { AuditEvent } from '../src/audit/event.ts'
import { createFactsLedger } from '../src/audit/recorded-facts.ts'
import { composeAudit } from '../src/compose-audit.ts'
import { openAdministeredStore } from '../src/compose-store.ts'
import { loadConfiguration, printProblems } from '../src/config/load-configuration.ts'
import { parseManagementReport, parseSignedReport } from '../src/config/posture-report-schema.ts'
import { createKeysFile, loadKeys } from '../src/keys-file.ts'
import { createLive } from '../src/live/create-live.ts'
import { createLogger } from '../src/log.ts'
import type { Device, Known, SignIn, SubjectFacts } from '../src/policy/facts.ts'
import { createSessions, keepEndsForSeconds } from '../src/session/session-service.ts'

/** How much of everything. */
export interface ConsoleSize {
  readonly apps: number
  readonly people: number
  readonly devices: number
  readonly events: number
  readonly tokens: number
  /** For access, two of each person who asks. */
  readonly requests: number
}

/** What the measuring needs of what was written. */
export interface Loaded {
  /** `Cookie` header of an admin at the access host. */
  readonly cookie: string
  /** With every scope. */
  readonly token: string
  readonly tokenId: string
  readonly issuer: string
  /** Request ids of decisions: an allowed one and a refused one. */
  readonly allowed: string
  readonly refused: string
}

const agents = [
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0',
]
const paths = ['/', '/docs/start', '/payments/7', '/api/items', '/changes/7/edit', '/reports/2026/11/summary']
const dayMs = 86_400_000

/** Of the person with this number. */
export const subOf = (index: number): string => `7f6c2d1e-${index}`
const addressOf = (index: number): string => `10.${(index >> 8) & 255}.${index & 255}.7`
const groupsOf = (index: number): readonly string[] =>
  index === 0 ? ['staff', 'postern-admins'] : ['staff', `team-${index % 60}`, ['engineering', 'finance', 'sales'][index % 3] ?? '']

/** Writes it all, for the instance of this configuration, which must not run. */
export async function fillConsole(configFile: string, size: ConsoleSize): Promise<Loaded> {
  const { problems, value: configuration } = await loadConfiguration(configFile)
  if (configuration === undefined) throw new Error(printProblems(problems, 'error'))
  createKeysFile(configuration.keysFile, Date.now())
  const ring = loadKeys(configuration.keysFile, Date.now())
  const keys = () => ring
  const log = createLogger('error')
  const now = () => Date.now()
  const monotonicNow = () => performance.now()
  const { store } = await openAdministeredStore(configuration, { now, log })
  const durable = { store, keys, log }
  const issuer = configuration.provider.issuer.href

  const live = createLive({ store, loadLocks: async () => [], monotonicNow, keepSeconds: keepEndsForSeconds(configuration.session), log })
  const sessions = createSessions({
    ...{ store, live, keys, now, monotonicNow, log },
    settings: configuration.session,
    providerSettings: configuration.provider,
    refresh: () => Promise.reject(new Error('nothing is refreshed here')),
    onEvent: () => undefined,
  })
  const begin = async (index: number) => {
    const { secret, session } = await sessions.begin(
      {
        issuer,
        sub: subOf(index),
        claims: {
          email: `person.${index}@corp.example`,
          email_verified: true,
          name: `Person Number ${index}`,
          groups: [...groupsOf(index)],
        },
        signIn: { at: now(), authTime: undefined, acr: undefined, amr: ['pwd', 'otp'] },
        tokens: { idToken: 'a.b.c', accessToken: 'a', refreshToken: undefined },
        providerSid: undefined,
      },
      { address: addressOf(index), userAgent: agents[index % agents.length] ?? '' },
    )
    await sessions.openAppSession(session.id, `http://app-${index % size.apps}.corp.localhost`)
    return { secret, session }
  }
  const admin = await begin(0)
  const ids: string[] = [admin.session.id]
  await eachOf(size.people - 1, async (number) => {
    ids[number + 1] = (await begin(number + 1)).session.id
  })
  await sessions.close()
  await live.close()

  const devices = createDevices({
    records: createDurableRecords<DeviceRecord>('device', durable),
    now,
    onEvent: () => undefined,
    tell: async () => undefined,
    lock: async () => undefined,
    unlock: async () => undefined,
    endSessions: async () => undefined,
  })
  const forms = { signed: parseSignedReport, management: parseManagementReport }
  const reports = createPostureReports({
    ...{ devices, forms, now },
    accessUrl: configuration.url,
    onEvent: () => undefined,
    onAccepted: () => undefined,
  })
  await eachOf(size.devices, (index) => addDevice(index, devices, reports))

  const tokens = createTokens({ records: createDurableRecords<TokenRecord>('token', durable), now, monotonicNow, record: () => undefined })
  const all: readonly TokenScope[] = tokenPermissions.map((permission) => ({ permission }))
  const made = await tokens.create({ name: 'measuring', scopes: all, lifetimeSeconds: 86_400 }, 'os:bench')
  for (let index = 1; index < size.tokens; index++)
    await tokens.create(
      { name: `Pipeline ${index}`, scopes: all.slice(index % 5, (index % 5) + 3), lifetimeSeconds: 86_400 * 30 },
      'os:bench',
    )

  const requests = createDurableRecords<AccessRequestsRecord>('access_request', durable)
  await eachOf(size.requests / 2, (index) => addRequests(index + 1, issuer, size, requests))

  const events = await writeTrail({ configuration, store, keys, log, monotonicNow }, { size, issuer, ids })
  await store.close()
  return { cookie: `postern=${admin.secret}`, token: made.text, tokenId: made.token.id, issuer, ...events }
}

/** A few at once, as the store takes them. */
async function eachOf(count: number, run: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const work = async () => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: 16 }, work))
}

async function addDevice(
  index: number,
  devices: ReturnType<typeof createDevices>,
  reports: ReturnType<typeof createPostureReports>,
): Promise<void> {
  const id = `laptop-${index}`
  const definition = parseDeviceDefinition({
    id,
    serial: `C02X${index}`,
    name: `Laptop of person ${index}`,
    owner: `person.${index}@corp.example`,
    tags: [`site-${index % 12}`, 'fleet'],
    names: [`laptop-${index}.corp.example`],
  })
  if ('problems' in definition) throw new Error(definition.problems.join('; '))
  const problems = await devices.register(definition, 'os:bench')
  if (problems.length > 0) throw new Error(JSON.stringify(problems))
  const os = { os: 'macos', os_version: '14.5' }
  const posture = {
    managed: true,
    disk_encrypted: index % 17 !== 0,
    screen_lock: true,
    firewall: true,
    ...os,
    attributes: { ring: 'pilot' },
  }
  const body = JSON.stringify({ observed_at: new Date(Date.now() - (index % 100) * 60_000).toISOString(), posture })
  const token: ReportingToken = { id: `bench${index}`, scopes: [{ permission: 'devices:report' }] }
  const accepted = await reports.acceptManagement(id, body, token, { requestId: `report-${index}`, address: '10.0.0.1' })
  if (accepted.outcome !== 'accepted') throw new Error(`${id}: ${JSON.stringify(accepted)}`)
}

/** As they are stored: asking for them one by one reads all of them each time. */
async function addRequests(
  index: number,
  issuer: string,
  size: ConsoleSize,
  records: ReturnType<typeof createDurableRecords<AccessRequestsRecord>>,
): Promise<void> {
  const person = { issuer, sub: subOf(index) }
  const requests = [0, 1].map(
    (number) =>
      ({
        id: Buffer.from(`${index}-${number}`.padEnd(16)).toString('base64url'),
        label: `person.${index}@corp.example`,
        app: { id: `app-${(index + number) % size.apps}`, name: `Application ${(index + number) % size.apps}` },
        reason: 'I stand in for a colleague who is away until the end of the month.',
        askedAt: Date.now() - ((index * 7919) % 86_400) * 1000,
        lack: { reason: 'no_rule_matched', rule: 'staff read', unmet: [] },
        state: number === 0 ? 'open' : 'seen',
        answer: undefined,
      }) as const,
  )
  await records.create(`${issuer}\n${person.sub}`, { person, requests })
}

type AuditParts = Omit<Parameters<typeof composeAudit>[0], 'now' | 'metrics'>

/** A day of decisions, one after the other; what a window's follower brings to the store at the end. */
async function writeTrail(
  parts: AuditParts,
  { ids, issuer, size }: { readonly size: ConsoleSize; readonly issuer: string; readonly ids: readonly string[] },
): Promise<Pick<Loaded, 'allowed' | 'refused'>> {
  const begin = Date.now() - dayMs + 60_000
  let at = begin
  const metrics = { countLostAuditLine: () => undefined, observeAuditFsync: () => undefined }
  const { close, trail } = await composeAudit({ ...parts, now: () => at, metrics })
  const ledger = createFactsLedger(trail.record, trail.isWritable, trail.segment)
  const facts = Array.from({ length: size.people }, (_, index) => factsOf(index, issuer, begin, size.devices))
  const found = { allowed: '', refused: '' }
  for (let number = 0; number < size.events; number++) {
    at = begin + Math.floor((number / size.events) * (dayMs - 120_000))
    // Some people and apps are busier than others, as everywhere.
    const who = Math.floor((((number * 7919) % 10_007) / 10_007) ** 2 * size.people)
    const app = Math.floor((((number * 104_729) % 10_009) / 10_009) ** 2 * size.apps)
    const isRefused = number % 23 === 0
    const request = `01bench${number.toString(36).padStart(15, '0')}`
    const one = facts[who]
    if (one === undefined) continue
    const event: AuditEvent = {
      ...{ event: 'access.decided', request, session: ids[who], app: `app-${app}`, host: `app-${app}.corp.localhost`, method: 'GET' },
      subject: { kind: 'person', issuer, sub: subOf(who), email: `person.${who}@corp.example` },
      path: paths[number % paths.length] ?? '/',
      query: undefined,
      ...(isRefused
        ? { effect: 'deny', reason: 'no_rule_matched', rule: undefined }
        : { effect: 'allow', reason: 'rule_matched', rule: 'staff read' }),
      ...{ policy: 'aaaaaaaaaaaa', address: addressOf(who), userAgent: agents[who % agents.length] },
      ...{ claimsAt: begin, claimsState: 'fresh', methodClass: 'read' },
      facts: ledger.refer({ subject: one.subject, signIn: one.signIn, device: one.device }, []),
      device: one.deviceId,
    }
    trail.record(event)
    if (isRefused) found.refused = request
    else found.allowed = request
    if (number % 400 === 0 && !(await trail.settle())) throw new Error('the trail could not be written')
  }
  await trail.settle()
  await close()
  return found
}

function factsOf(index: number, issuer: string, at: number, devices: number) {
  const subject: SubjectFacts = {
    kind: 'person',
    issuer,
    sub: subOf(index),
    email: { known: true, value: `person.${index}@corp.example` },
    groups: { known: true, value: groupsOf(index) },
    claims: { known: true, value: Object.assign(Object.create(null), { groups: groupsOf(index) }) },
    claimsAt: at,
  }
  const unknown = { known: false, why: 'claim_absent' } as const
  const signIn: Known<SignIn> = {
    known: true,
    value: { at: { known: true, value: at }, acr: unknown, amr: { known: true, value: ['pwd', 'otp'] } },
  }
  const deviceId = `laptop-${index % devices}`
  const device: Known<Device> = {
    known: true,
    value: { id: deviceId, identifiedBy: 'claim', isKnown: true, serial: undefined, tags: ['fleet'], attributes: Object.create(null) },
  }
  return { subject, signIn, device, deviceId }
}
