/**
 * `postern explain WHO URL` and `postern explain REQUEST_ID`: why somebody may, or might not, do something, rule by rule.
 *
 * The decision is made by the function that enforces, on facts that were written on the command line, last seen of the person, or recorded
 * with the request; the answer says which. Nothing is changed and nobody is asked but the store. Exit status: 0 allowed, 1 not, 2 could
 * not tell.
 */

import { isIP } from 'node:net'
import type { Command } from 'commander'
import { explainRecorded } from '../administration/decision-explanation.ts'
import { factsOf, type Given, type GivenSubject } from '../administration/given.ts'
import { findGivenDevice, findGivenLock, findGivenPerson, readGivenSignIn } from '../administration/what-if-known.ts'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import { watchPlaces } from '../attributes/place-files.ts'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import { findDecision } from '../audit/find-decision.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { printProblems } from '../config/problems.ts'
import { findAsked } from '../enforcement/asked.ts'
import { compileRoutes } from '../enforcement/route-table.ts'
import { isPosternError, PosternError } from '../errors.ts'
import type { Lock } from '../live/lock.ts'
import type { Logger } from '../log.ts'
import { compilePolicy } from '../policy/compile.ts'
import { reasons } from '../policy/decision.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { type Explanation, explainDecision } from '../policy/explain.ts'
import type { Device, Facts } from '../policy/facts.ts'
import type { OpenAdministration } from './administer.ts'
import { printExplanation } from './explanation-text.ts'
import { loadPolicyInForce } from './policy-in-force.ts'
import { printJson, printLine } from './print-line.ts'
import { openTrail } from './trail-reading.ts'

interface ExplainOptions {
  readonly config: string
  readonly request: string
  readonly group: readonly string[]
  readonly amr: readonly string[]
  readonly acr?: string
  readonly signedIn?: string
  readonly device?: string
  readonly ip?: string
  readonly country?: string
  readonly userAgent?: string
  readonly at?: string
  readonly websocket?: true
  readonly json?: true
}

/** What the command is given. */
export interface ExplainParts {
  readonly now: () => number
  readonly openAdministration: OpenAdministration
  readonly log: Logger
}

/** Adds `explain`. */
export function registerExplain(program: Command, parts: ExplainParts): void {
  const collect = (value: string, earlier: readonly string[]) => [...earlier, value]
  program
    .command('explain')
    .description('why somebody may do something, rule by rule; or why a recorded request was decided as it was')
    .argument('<who>', 'an e-mail address or sub, `service:NAME`, `nobody`; or the id of a request')
    .argument('[url]', 'what they would open')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('-X, --request <method>', 'method', 'GET')
    .option('--websocket', 'a WebSocket handshake')
    .option('--group <group>', 'a group, in place of those last seen; may be repeated', collect, [])
    .option('--acr <value>', 'authentication context class of the sign-in')
    .option('--amr <method>', 'authentication method of the sign-in; may be repeated', collect, [])
    .option('--signed-in <age>', 'age of the authentication, such as 10m')
    .option('--device <id>', 'a device of the inventory')
    .option('--ip <address>', "the client's address", '192.0.2.1')
    .option('--country <code>', 'in place of what the database says')
    .option('--user-agent <text>', 'User-Agent header')
    .option('--at <time>', 'an instant such as 2026-11-25T22:00+01:00; now, if left out')
    .option('--json', 'print one JSON object')
    .action(async (who: string, url: string | undefined, options: ExplainOptions) => {
      process.exitCode = await explain(who, url, options, parts)
    })
}

async function explain(who: string, address: string | undefined, options: ExplainOptions, parts: ExplainParts): Promise<0 | 1 | 2> {
  const loaded = await loadConfiguration(options.config)
  if (loaded.value === undefined) return complain(printProblems(loaded.problems, 'error'))
  const configuration = loaded.value
  const policy = await loadPolicyInForce(configuration)
  if (policy.value === undefined) return complain(printProblems(policy.problems, 'error'))
  const found =
    address === undefined
      ? await findRecorded(who, { ...parts, configuration, document: policy.value })
      : await findGiven(who, address, options, { ...parts, configuration, document: policy.value })
  if (typeof found === 'string') return complain(printLine(`postern: ${found}`))
  print(found, options.json === true)
  return found.effect === 'allow' ? 0 : 1
}

/** The databases are read once for one question. */
const neverAgainMs = 86_400_000

interface Answer {
  readonly effect: string
  /** What the facts rest on, for people. */
  readonly notes: readonly string[]
  readonly explanation: Explanation | undefined
  readonly facts: Facts | undefined
  readonly at: number
  readonly json: Readonly<Record<string, unknown>>
}

function print({ at, explanation, facts, json, notes }: Answer, isJson: boolean): void {
  if (isJson) console.log(printJson({ ...json, notes, ...(explanation ?? {}), facts }))
  else console.log([...notes.map(printLine), ...(explanation === undefined ? [] : ['', printExplanation(explanation, at)])].join('\n'))
}

interface GivenParts extends ExplainParts {
  readonly configuration: InstanceConfiguration
  readonly document: PolicyDocument
}

async function findGiven(who: string, address: string, options: ExplainOptions, parts: GivenParts): Promise<Answer | string> {
  const { configuration, document } = parts
  if (!URL.canParse(address)) return 'the second argument is not a URL'
  const at = options.at === undefined ? parts.now() : Date.parse(options.at)
  if (Number.isNaN(at)) return '--at is not an instant such as 2026-11-25T22:00+01:00'
  if (options.ip !== undefined && isIP(options.ip) === 0) return '--ip is not an IP address'
  if (options.country !== undefined && !/^(?:[A-Z]{2}|none)$/.test(options.country)) return '--country is not a code such as DE, or none'
  const policy = compilePolicy(document)
  const isUpgrade = options.websocket === true
  const asked = findAsked({ routes: compileRoutes(document, policy) }, { method: options.request, isUpgrade, url: new URL(address) })
  if (asked.outcome === 'refused') {
    const { reason } = asked
    return {
      effect: 'deny',
      notes: [`DENY  ${reason}`, `    ${reasons[reason]}`],
      explanation: undefined,
      facts: undefined,
      at,
      json: { reason },
    }
  }
  const notes: string[] = []
  const known = await gatherKnown(who, options, { ...parts, at, notes })
  if (typeof known === 'string') return known
  const signIn = readGivenSignIn({ acr: options.acr, amr: options.amr, signedInAgo: options.signedIn })
  if (signIn === 'not_an_age') return '--signed-in is not an age such as 10m'
  const given: Given = {
    ...known,
    signIn,
    at,
    address: options.ip ?? '192.0.2.1',
    country: options.country,
    asn: undefined,
    userAgent: options.userAgent,
  }
  const scheme = configuration.url.protocol === 'https:' ? 'https' : 'http'
  const places = await watchPlaces(configuration.facts, { log: parts.log, lookEveryMs: neverAgainMs })
  const bare = factsOf(given, asked.request, createEnvironmentReader(places), scheme)
  places.close()
  const deviceId = known.device?.isKnown === true || known.device?.isBlocked === true ? known.device.id : undefined
  const facts = { ...bare, lock: findGivenLock(known.locks, { subject: bare.subject, deviceId, appId: asked.route.app.id }, at, notes) }
  const explanation = explainDecision(asked.route.policy, facts)
  const json = { app: asked.route.app.id, policy: document.version }
  notes.push(`app: ${asked.route.app.id}, policy ${document.version}, ${new Date(at).toISOString()}`)
  return { effect: explanation.decision.effect, notes, explanation, facts, at, json }
}

interface KnownParts extends GivenParts {
  readonly at: number
  readonly notes: string[]
}

interface Known {
  readonly subject: GivenSubject
  readonly device: Device | undefined
  readonly locks: readonly Lock[]
}

/** Who it is and on what: from the command line where that says enough, else from the store. */
async function gatherKnown(who: string, options: ExplainOptions, parts: KnownParts): Promise<Known | string> {
  const { configuration, document, notes } = parts
  if (who === 'nobody') return { subject: { kind: 'nobody' }, device: undefined, locks: await loadLocks(parts) }
  if (who.startsWith('service:')) {
    const service = document.services.find(({ name }) => name === who.slice('service:'.length))
    return service === undefined
      ? `the policy has no ${who}`
      : { subject: { kind: 'service', service, services: document.services }, device: undefined, locks: await loadLocks(parts) }
  }
  const administration = await parts.openAdministration(configuration, parts.log)
  try {
    const { actor, recordFirst } = administration
    await recordFirst({ event: 'data.read', actor, what: 'explanation', target: who, entries: undefined })
    const subject = await findGivenPerson(who, {
      people: administration.people,
      readSubject: compileSubjectReader(configuration.provider),
      issuer: configuration.provider.issuer.href,
      at: parts.at,
      groups: options.group,
      words: { given: 'as given on the command line', how: '--group says' },
      notes,
    })
    if (typeof subject === 'string') return subject
    const locks = await administration.locks.loadAll()
    const device = options.device === undefined ? undefined : await findGivenDevice(options.device, administration.devices, notes)
    return { subject, device, locks }
  } finally {
    await administration.close()
  }
}

/** Who needs no store to be described may still be locked out. Where there is no store to ask, the answer says that nobody looked. */
async function loadLocks({ configuration, log, notes, openAdministration }: KnownParts): Promise<readonly Lock[]> {
  try {
    const administration = await openAdministration(configuration, log)
    try {
      return await administration.locks.loadAll()
    } finally {
      await administration.close()
    }
  } catch (error) {
    if (!isPosternError(error)) throw error
    notes.push(`locks: not looked up (${error.message})`)
    return []
  }
}

async function findRecorded(
  requestId: string,
  { configuration, document, openAdministration }: Pick<GivenParts, 'configuration' | 'document' | 'openAdministration'>,
): Promise<Answer | string> {
  const scheme = configuration.url.protocol === 'https:' ? 'https' : 'http'
  const reading = { dir: undefined, what: 'explanation', target: requestId } as const
  const [folder = ''] = await openTrail(configuration, reading, openAdministration)
  const found = await findDecision(folder, requestId).catch((error: unknown) => {
    throw new PosternError('audit_unavailable', 'the audit trail could not be read', { cause: error })
  })
  if (found === undefined) {
    const hint = requestId.includes('@') ? '; to explain what a person may do, say what URL' : ''
    return `the audit trail of this machine has no decision about a request ${JSON.stringify(requestId)}${hint}`
  }
  const inForce = { document, compiled: compilePolicy(document) }
  const { explanation, facts, notes, recorded } = explainRecorded(found, inForce, scheme)
  const { appId, at, effect, policy, reason, rule } = recorded
  const json = { recorded: { request: requestId, effect, reason, rule, policy, at: new Date(at).toISOString() }, app: appId }
  return { effect, notes, explanation, facts, at, json }
}

function complain(message: string): 2 {
  console.error(message)
  return 2
}
