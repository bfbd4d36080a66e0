/**
 * What the audit trail and the metrics hear of a request: its decision before anything is forwarded, and its end.
 *
 * A query is no fact and is dropped unless the instance keeps it. Nothing that is not canonical gets in: a request without a target
 * has neither host nor path here. Whether a stranger's refusal becomes a line or a count is the trail's to say.
 */

import type { IncomingMessage } from 'node:http'
import { nobody } from '../attributes/subject-facts.ts'
import type { AuditEvent, AuditSubject } from '../audit/event.ts'
import type { RecordedSubject } from '../audit/redaction.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import type { Decision, Reason } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { Facts, Known, SubjectFacts } from '../policy/facts.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { ExchangeOutcome, Target } from './exchange.ts'
import type { Judgement } from './judge.ts'
import { statusOf } from './respond.ts'
import { type AppHost, matchRoute, type Route } from './route-table.ts'

/** What there is to record of something that may not even have been a request. */
export type Heard = Pick<Arrival, 'id' | 'address' | 'snapshot'> & { readonly request?: Pick<IncomingMessage, 'method' | 'headers'> }

/** Records a decision about a routed request. */
export function recordDecision(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { decision, route, session, claimsState } = judgement
  const { factsLedger, ports, redaction } = point
  const recorded = recordedSubjectOf(point, arrival, judgement)
  const evidence = evidenceOf(judgement)
  const environment = evidence === undefined ? undefined : redaction.environment(evidence.environment)
  const device = evidence === undefined ? undefined : redaction.device(judgement.deviceOnRecord)
  const { path, pathRedacted } = describePath(route, judgement.target)
  // In one go: this is made for every request, and would else be copied from part to part.
  ports.audit.record({
    event: 'access.decided',
    request: arrival.id,
    host: judgement.target.hostname,
    method: arrival.request.method ?? '',
    path,
    pathRedacted,
    query: route.recording.paths === 'full' ? recordedQuery(point, judgement.target) : undefined,
    policy: arrival.snapshot.version,
    address: recordedAddress(point, arrival),
    userAgent: recordedUserAgent(point, arrival),
    trace: arrival.trace.id,
    subject: describeSubject(recorded.subject),
    session: session?.id,
    app: route.app.id,
    effect: decision.effect,
    reason: decision.reason,
    rule: ruleOf(decision),
    claimsAt: session?.claims.at,
    claimsState,
    would: decision.would,
    alert: decision.isAlert,
    lock: judgement.facts?.lock,
    decidedAt: environment?.at,
    methodClass: evidence?.request.methodClass,
    facts:
      evidence === undefined || device === undefined
        ? undefined
        : factsLedger.refer({ subject: recorded.subject, signIn: evidence.signIn, device }, recorded.claimPaths),
    device: device?.known === true ? device.value.id : undefined,
    tlsVersion: environment?.tlsVersion.known === true ? environment.tlsVersion.value : undefined,
    circumstances: environment === undefined ? undefined : describeCircumstances(environment, route.policy.needs.has('client')),
  })
  if (decision.isAlert === true) raiseAlert(point, arrival, judgement)
}

/** Whom the trail names, and by which claims: those that the policy speaks of, and those that the instance records of everybody. */
function recordedSubjectOf({ redaction, settings }: EnforcementPoint, { snapshot }: Arrival, { subject }: Judgement): RecordedSubject {
  return redaction.subject(subject, claimPathsOf(snapshot.policy, settings.recording.recordClaims))
}

const claimPaths = new WeakMap<CompiledPolicy, readonly (readonly string[])[]>()

/** One list a policy: the ledger knows it by its object. */
function claimPathsOf(policy: CompiledPolicy, others: readonly (readonly string[])[]): readonly (readonly string[])[] {
  if (others.length === 0) return policy.claimPaths
  let known = claimPaths.get(policy)
  if (known === undefined) {
    known = [...new Map([...policy.claimPaths, ...others].map((path) => [JSON.stringify(path), path])).values()]
    claimPaths.set(policy, known)
  }
  return known
}

/** As much of the path as the app lets be recorded. What is not whole says so: it is another path than the one that was judged. */
export function describePath(
  { recording }: Route,
  { path }: Target,
): { path: string; query?: undefined; pathRedacted?: 'first_segment' | 'none' } {
  switch (recording.paths) {
    case 'full':
      return { path }
    case 'none':
      return { path: '', query: undefined, pathRedacted: 'none' }
    case 'first_segment': {
      const end = path.indexOf('/', 1)
      return {
        path: end === -1 ? path : `${path.slice(0, end)}/…`,
        query: undefined,
        ...(end === -1 ? {} : { pathRedacted: 'first_segment' }),
      }
    }
  }
}

/** What the decision was made from. Of strangers who were sent away there is nothing: they are counted, not listed. */
function evidenceOf({ decision, facts }: Judgement): Facts | undefined {
  return facts?.subject.kind === 'nobody' && decision.effect !== 'allow' ? undefined : facts
}

/**
 * Country and network wherever they were looked up, and the browser where a rule of the app asks for it; of others the user agent stands in
 * the line. Facts of a place are shared by the requests of an address, and so is their text.
 */
function describeCircumstances({ asn, client, country }: Facts['environment'], isClientAsked: boolean): string | undefined {
  const hasCountry = isGathered(country)
  const hasAsn = isGathered(asn)
  if (!hasCountry && !hasAsn && !isClientAsked) return undefined
  const known = circumstancesTexts.get(country)
  if (known !== undefined && known.asn === asn && known.client === (isClientAsked ? client : undefined)) return known.text
  const named = { ...(hasCountry ? { country } : {}), ...(hasAsn ? { asn } : {}), ...(isClientAsked ? { client } : {}) }
  const text = JSON.stringify(named)
  circumstancesTexts.set(country, { asn, client: isClientAsked ? client : undefined, text })
  return text
}

interface CircumstancesText {
  readonly asn: Facts['environment']['asn']
  readonly client: Facts['environment']['client'] | undefined
  readonly text: string
}

const circumstancesTexts = new WeakMap<Facts['environment']['country'], CircumstancesText>()

function isGathered(fact: Known<unknown>): boolean {
  return fact.known || fact.why !== 'not_gathered'
}

/** A rule that asks for an alert is what decided: said in the log and in the metrics as well as in the trail. */
function raiseAlert(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { ports, redaction } = point
  const { decision, route } = judgement
  const rule = ruleOf(decision)
  const subject = describeSubject(recordedSubjectOf(point, arrival, judgement).subject)
  const address = redaction.fields.has('address') ? undefined : arrival.address
  ports.log.warn({ request: arrival.id, app: route.app.id, rule, effect: decision.effect, subject, address }, 'alert')
  ports.countAlert(route.app.id)
}

/**
 * Records a refusal of something that never came to a decision: malformed, nobody's address, a path of ours that went wrong. A stranger's is
 * counted; somebody's whose session memory has is a line. Nobody is looked up for it.
 */
export function recordRefusal(point: EnforcementPoint, arrival: Heard, reason: Reason, target: Target | undefined): void {
  const host = target === undefined ? undefined : arrival.snapshot.routes.findHost(target.hostname, target.port)
  const route = target === undefined || host === undefined ? undefined : matchRoute(host, target.path)
  const lookup = host === undefined ? undefined : recallSession(point, arrival, host)
  const subject = lookup === undefined ? nobody : point.ports.readSubject(lookup.session, lookup.claimsState)
  point.ports.audit.record({
    ...describeRequest(point, arrival, target),
    ...(target === undefined || route === undefined ? {} : describePath(route, target)),
    subject: describeSubject(point.redaction.subject(subject, noClaims).subject),
    session: lookup?.session.id,
    app: lookup === undefined ? undefined : route?.app.id,
    effect: 'deny',
    reason,
    rule: undefined,
    claimsAt: undefined,
    claimsState: undefined,
  })
}

const noClaims: readonly (readonly string[])[] = []

/** Whose request it is, as far as memory knows. */
function recallSession({ ports: { cookies, sessions } }: EnforcementPoint, { request }: Heard, { origin }: AppHost) {
  const secret = cookies.readSession('app', request?.headers.cookie, origin)
  const lookup = secret === undefined ? undefined : sessions.recallByAppSecret(secret, origin.origin)
  return lookup?.state === 'live' ? lookup : undefined
}

/** Records how an allowed exchange ended. */
export function recordEnd(point: EnforcementPoint, arrival: Arrival, app: App, outcome: ExchangeOutcome): void {
  point.ports.audit.record({
    event: 'access.ended',
    request: arrival.id,
    app: app.id,
    status: outcome.refusal === undefined ? outcome.status : statusOf(outcome.refusal),
    bytesIn: outcome.bytesIn,
    bytesOut: outcome.bytesOut,
    durationMs: Math.round(point.ports.monotonicNow() - arrival.arrivedAt),
    outcome: outcome.outcome,
    reason: outcome.refusal ?? outcome.cause?.reason,
    rule: outcome.cause?.rule,
    policy: outcome.cause?.policy,
  })
}

/** The rule that a decision names, if it names one. */
export function ruleOf(decision: Decision): string | undefined {
  return 'rule' in decision ? decision.rule : undefined
}

interface ObservedEnd {
  readonly app: string | undefined
  readonly effect: string
  readonly reason: Reason
  readonly rule?: string | undefined
  readonly status: number
}

/** Tells the metrics and the spans that a request is over. What was forwarded says how much of its time was ours; of an answer of ours all of it was. */
export function observeEnd(
  { ports }: EnforcementPoint,
  { arrivedAt, receivingMs, trace }: Pick<Arrival, 'arrivedAt' | 'receivingMs'> & Partial<Pick<Arrival, 'trace'>>,
  end: ObservedEnd,
  ownMs?: number,
): void {
  const lastedMs = ports.monotonicNow() - arrivedAt
  const { app, effect, reason, rule, status } = end
  trace?.end({ effect, reason, rule, status })
  ports.observe({ app, effect, reason, status, seconds: lastedMs / 1000, overheadSeconds: ((ownMs ?? lastedMs) - receivingMs) / 1000 })
}

function describeRequest(point: EnforcementPoint, heard: Heard, target: Target | undefined) {
  return {
    event: 'access.decided',
    request: heard.id,
    host: target?.hostname ?? '',
    method: heard.request?.method ?? '',
    path: target?.path ?? '',
    query: target === undefined ? undefined : recordedQuery(point, target),
    policy: heard.snapshot.version,
    address: recordedAddress(point, heard),
    userAgent: recordedUserAgent(point, heard),
  } satisfies Partial<Extract<AuditEvent, { event: 'access.decided' }>>
}

function recordedQuery({ settings }: EnforcementPoint, { query }: Target): string | undefined {
  return settings.recording.query === 'keep' ? query : undefined
}

function recordedAddress({ redaction }: EnforcementPoint, { address }: Heard): string | undefined {
  return redaction.fields.has('address') ? undefined : address
}

function recordedUserAgent({ redaction }: EnforcementPoint, { request }: Heard): string | undefined {
  return redaction.fields.has('user_agent') ? undefined : request?.headers['user-agent']?.slice(0, maxUserAgentLength)
}

/** One more than a line holds and than is ever read for a browser: so a longer one is known to have been longer. */
const maxUserAgentLength = 513

/** By the facts, which live as long as the claims: the trail writes a subject that it knows by its object without looking into it. */
const described = new WeakMap<SubjectFacts, AuditSubject>()

function describeSubject(subject: SubjectFacts): AuditSubject {
  let known = described.get(subject)
  if (known === undefined) {
    known = describeAnew(subject)
    described.set(subject, known)
  }
  return known
}

function describeAnew(subject: SubjectFacts): AuditSubject {
  switch (subject.kind) {
    case 'nobody':
      return { kind: 'nobody' }
    case 'person':
      return {
        kind: 'person',
        issuer: subject.issuer,
        sub: subject.sub,
        ...(subject.email.known ? { email: subject.email.value } : {}),
      }
    case 'service':
      return { kind: 'service', ...(subject.names[0] === undefined ? {} : { sub: subject.names[0] }) }
  }
}
