/**
 * What the audit trail and the metrics hear of a request: its decision before anything is forwarded, and its end.
 *
 * A query is no fact and is dropped unless the instance keeps it. Nothing that is not canonical gets in: a request without a target
 * has neither host nor path here. Whether a stranger's refusal becomes a line or a count is the trail's to say.
 */

import type { IncomingMessage } from 'node:http'
import type { AuditEvent, AuditSubject } from '../audit/event.ts'
import type { Reason } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { FactGroup, Facts, SubjectFacts } from '../policy/facts.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { ExchangeOutcome, Target } from './exchange.ts'
import type { Judgement } from './judge.ts'
import { statusOf } from './respond.ts'

/** What there is to record of something that may not even have been a request. */
export type Heard = Pick<Arrival, 'id' | 'address' | 'snapshot'> & { readonly request?: Pick<IncomingMessage, 'method' | 'headers'> }

/** Records a decision about a routed request. */
export function recordDecision(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { decision, route, session, claimsState } = judgement
  point.ports.audit.record({
    ...describeRequest(point, arrival, judgement.target),
    subject: describeSubject(judgement.subject),
    session: session?.id,
    app: route.app.id,
    effect: decision.effect,
    reason: decision.reason,
    rule: 'rule' in decision ? decision.rule : undefined,
    claimsAt: session?.claims.at,
    claimsState,
    ...describeEvidence(point, arrival, judgement),
  })
  if (decision.isAlert === true) raiseAlert(point, arrival, judgement)
}

/** What the decision was made from. Of strangers who were sent away there is nothing: they are counted, not listed. */
function describeEvidence(point: EnforcementPoint, arrival: Arrival, { decision, facts, route }: Judgement) {
  const outcome = { would: decision.would, alert: decision.isAlert, lock: facts?.lock }
  if (facts === undefined || (facts.subject.kind === 'nobody' && decision.effect !== 'allow')) return outcome
  const { environment, request } = facts
  return {
    ...outcome,
    decidedAt: environment.at,
    methodClass: request.methodClass,
    facts: point.factsLedger.refer(facts, arrival.snapshot.policy.claimPaths),
    tlsVersion: environment.tlsVersion.known ? environment.tlsVersion.value : undefined,
    circumstances: describeCircumstances(environment, route.policy.needs),
  }
}

/** Country, network and browser, where a rule of the app asks for them. */
function describeCircumstances({ asn, client, country }: Facts['environment'], needs: ReadonlySet<FactGroup>): string | undefined {
  const named = {
    ...(needs.has('country') ? { country } : {}),
    ...(needs.has('asn') ? { asn } : {}),
    ...(needs.has('client') ? { client } : {}),
  }
  return Object.keys(named).length === 0 ? undefined : JSON.stringify(named)
}

/** A rule that asks for an alert is what decided: said in the log and in the metrics as well as in the trail. */
function raiseAlert({ ports }: EnforcementPoint, { id, address }: Arrival, { decision, route, subject }: Judgement): void {
  const rule = 'rule' in decision ? decision.rule : undefined
  ports.log.warn({ request: id, app: route.app.id, rule, effect: decision.effect, subject: describeSubject(subject), address }, 'alert')
  ports.countAlert(route.app.id)
}

/** Records a refusal of something that never came to a decision: malformed, nobody's address, a path of ours that went wrong. */
export function recordRefusal(point: EnforcementPoint, arrival: Heard, reason: Reason, target: Target | undefined): void {
  point.ports.audit.record({
    ...describeRequest(point, arrival, target),
    subject: { kind: 'nobody' },
    session: undefined,
    app: undefined,
    effect: 'deny',
    reason,
    rule: undefined,
    claimsAt: undefined,
    claimsState: undefined,
  })
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

/** Tells the metrics that a request is over. */
export function observeEnd(
  point: EnforcementPoint,
  arrival: Pick<Arrival, 'arrivedAt'>,
  end: { readonly app: string | undefined; readonly effect: string; readonly reason: Reason; readonly status: number },
): void {
  point.ports.observe({ ...end, seconds: (point.ports.monotonicNow() - arrival.arrivedAt) / 1000 })
}

function describeRequest({ settings }: EnforcementPoint, { id, request, address, snapshot }: Heard, target: Target | undefined) {
  return {
    event: 'access.decided',
    request: id,
    host: target?.hostname ?? '',
    method: request?.method ?? '',
    path: target?.path ?? '',
    query: settings.auditQuery === 'keep' && target !== undefined ? target.query : undefined,
    policy: snapshot.version,
    address,
    userAgent: request?.headers['user-agent']?.slice(0, maxUserAgentLength),
  } satisfies Partial<Extract<AuditEvent, { event: 'access.decided' }>>
}

/** Real ones are shorter; a line of the trail is not a place for a stranger's prose. */
const maxUserAgentLength = 400

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
