/**
 * From a routed request to a decision about it: session or service, cross-origin check, facts, decision, identity.
 *
 * A request is a person's, by our cookie, or a service's, by its access token; both at once are refused, and a token that proves nothing
 * never becomes a browser's sign-in. Never rejects and never passes by accident: whatever goes wrong in here, a store that is away or a mistake of ours, is a denial
 * with a reason. The identity is made here too, so that an assertion which cannot be signed denies instead of forwarding without one.
 */

import { TLSSocket } from 'node:tls'
import { noDeviceOfOwn } from '../attributes/device-facts.ts'
import type { Circumstances } from '../attributes/environment-facts.ts'
import { noSignIn, readSignInFacts } from '../attributes/sign-in-facts.ts'
import { nobody } from '../attributes/subject-facts.ts'
import { isPosternError, PosternError } from '../errors.ts'
import { decide } from '../policy/decide.ts'
import { type Decision, type DenyReason, reasons } from '../policy/decision.ts'
import type { MethodClass } from '../policy/document.ts'
import type { Facts, RequestFacts, SubjectFacts } from '../policy/facts.ts'
import type { Session, SessionLookup } from '../session/session.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { isCrossOrigin } from './cross-origin.ts'
import type { HeaderLine } from './exchange.ts'
import { decidePreflight } from './preflight.ts'
import { gatherDevice, needsDevice, recallForRecord, unaskedDevice } from './request-device.ts'
import { type Route, schemeOf } from './route-table.ts'
import { readServiceToken } from './service-token.ts'
import { isOverFor } from './session-limits.ts'
import type { ParsedTarget } from './target.ts'

/** A decision about one request with what it was made from, as the audit trail and the answer need it. */
export interface Judgement {
  readonly route: Route
  readonly target: ParsedTarget
  readonly decision: Decision
  readonly subject: SubjectFacts
  /** Live, or `undefined`. */
  readonly session: Session | undefined
  readonly claimsState: Extract<SessionLookup, { state: 'live' }>['claimsState'] | undefined
  /** What the upstream is told; empty unless allowed. */
  readonly identity: readonly HeaderLine[]
  /** `Authorization` held a token for us. */
  readonly isAuthorizationOurs: boolean
  /** What was decided on; `undefined` where it was settled before there was anything to decide. */
  readonly facts: Facts | undefined
  /** The device by its id in the inventory, as far as it was looked up; `undefined` where it is in none. */
  readonly deviceId: string | undefined
  /** The device as the trail has it: what was decided on, or what was known beside. */
  readonly deviceOnRecord: Facts['device']
  /** When the access token of a service ends; epoch milliseconds. */
  readonly tokenEndsAt: number | undefined
}

/** What is judged, besides the request itself. */
interface Matter {
  readonly route: Route
  readonly target: ParsedTarget
  /** Set where an open exchange is decided again. */
  readonly again?: Again
}

interface Again {
  /** Known already: nobody waits to find out. */
  readonly isStoreAway: boolean
}

/** Judges one request for one app. */
export function judge(point: EnforcementPoint, arrival: Arrival, route: Route, target: ParsedTarget): Promise<Judgement> {
  return judgeMatter(point, arrival, { route, target })
}

/** Judges what came of a request, as if it came now: no use of the session, and nothing that an upstream would be told. */
export function judgeAgain(point: EnforcementPoint, arrival: Arrival, matter: Required<Matter>): Promise<Judgement> {
  return judgeMatter(point, arrival, matter)
}

async function judgeMatter(point: EnforcementPoint, arrival: Arrival, { route, target, again }: Matter): Promise<Judgement> {
  const { cookies, callers, live, readEnvironment, readSubject, now, sessions } = point.ports
  let lookup: SessionLookup = { state: 'none' }
  let subject: SubjectFacts = nobody
  let isAuthorizationOurs = false
  let facts: Facts | undefined
  let deviceId: string | undefined
  let deviceOnRecord: Facts['device'] = noDeviceOfOwn
  let tokenEndsAt: number | undefined
  const conclude = (decision: Decision, identity: Judgement['identity'] = []): Judgement => {
    const live = lookup.state === 'live' ? lookup : undefined
    return {
      route,
      target,
      decision,
      subject,
      session: live?.session,
      claimsState: live?.claimsState,
      identity,
      isAuthorizationOurs,
      facts,
      deviceId,
      deviceOnRecord,
      tokenEndsAt,
    }
  }
  try {
    arrival.trace.step('session')
    const secret = cookies.readSession('app', arrival.request.headers.cookie, route.origin)

    // ends and locks: what is held of them is worth nothing once it is old, for strangers and services as for anybody
    const isCurrent = live.isCurrent() || (await isConfirmed(point, route, again))

    // service: what its access token proves. Which of two identities would count is a question nobody should have to ask
    const bearer = readServiceToken(arrival.request, () => route.takesBearer(target.path))
    if (bearer.kind !== 'none') {
      isAuthorizationOurs = bearer.isAuthorization
      if (bearer.kind === 'refused') return conclude(deny(bearer.reason))
      if (secret !== undefined) return conclude(deny('two_identities'))
      const caller = await callers.identify(bearer.token, route.services, arrival.id)
      if (caller.outcome === 'refused') return conclude(deny(caller.reason))
      subject = caller.subject
      tokenEndsAt = caller.until
    }

    // session: what a cookie of this very origin points to, and only within this app's own limits
    const { origin } = route.app.address
    const recalled = secret === undefined ? lookup : isCurrent ? sessions.recallByAppSecret(secret, origin) : undefined
    const found = recalled ?? (await findSession(point, route, { secret: secret ?? '', origin, isCurrent }))
    const isOver = found.state === 'live' && isOverFor(route, found.session, point.settings.session, found.now)
    lookup = isOver ? { state: 'expired' } : found
    if (lookup.state === 'live') subject = readSubject(lookup.session, lookup.claimsState)

    // cross-origin check: with our cookie only; a stranger has nothing that another site could spend
    const request = readRequestFacts(arrival, target)
    if (secret !== undefined && isCrossOrigin(route, request, arrival.request.headers)) {
      return conclude(deny('cross_origin'))
    }

    // facts: nobody waits for what no rule of this app asks for
    arrival.trace.step('facts')
    let device: Facts['device'] = noDeviceOfOwn
    if (lookup.state === 'live') {
      const found = needsDevice(point, route, lookup)
        ? await gatherDevice(point, arrival, { route, target }, lookup)
        : again === undefined
          ? recallForRecord(point, arrival, target, lookup)
          : unaskedDevice
      if (found.isChanged) return conclude(deny('device_changed'))
      device = found.device
      deviceOnRecord = found.onRecord
      deviceId = found.id
    }
    // Keys of an issuer or an inventory may have been waited for, for longer than what is held may be old.
    if (isCurrent && !live.isCurrent()) await isConfirmed(point, route, again)
    facts = {
      lock: live.findLock({ subject, deviceId, appId: route.app.id }),
      subject,
      signIn: lookup.state === 'live' ? readSignInFacts(lookup.session) : noSignIn,
      device,
      request,
      environment: readEnvironment(circumstancesOf(point, arrival, now()), route.policy.needs),
    }

    // decision
    arrival.trace.step('decision')
    const decision = decidePreflight(route, arrival.request, facts) ?? decide(route.policy, facts)
    if (lookup.state === 'live' && again === undefined) sessions.recordUse(lookup.session)
    // A service has no browser to sign in with: what only a sign-in would mend is closed to it.
    if (subject.kind === 'service' && decision.effect === 'challenge') return conclude(deny('no_rule_matched'))
    if (decision.effect === 'challenge')
      return conclude(decision.challenge === 'sign_in' ? { ...decision, reason: challengeReasonOf(lookup) } : decision)
    if (decision.effect === 'deny') return conclude(decision)

    if (again !== undefined) return conclude(decision)

    // what must be on record may not happen off it
    if (isOffTheRecord(point, { route, decision })) return conclude(deny('audit_unavailable'))

    // identity
    return conclude(decision, point.issueIdentity(route, subject, lookup.state === 'live' ? lookup.session : undefined, device))
  } catch (cause) {
    const reason = reasonOf(cause)
    // A store that is away is logged where that is noticed, once, and not here for every request.
    if (reason === 'evaluation_failed') point.ports.log.error({ err: cause, request: arrival.id }, 'a request could not be judged')
    return conclude(deny(reason))
  }
}

/**
 * Whether the store confirms what is held of ends and locks. Where it does not, an instance may go on for a while on what it remembers, if
 * its operator says so; everybody else rejects with `session_store_unavailable`.
 */
async function isConfirmed(point: EnforcementPoint, route: Route, again: Again | undefined): Promise<boolean> {
  try {
    if (again?.isStoreAway === true) throw new PosternError('session_store_unavailable', 'the store is known to be away')
    await point.ports.live.confirm()
    return true
  } catch (cause) {
    if (mayGoUnverified(point, route)) return false
    throw cause
  }
}

async function findSession(
  point: EnforcementPoint,
  route: Route,
  { secret, origin, isCurrent }: { readonly secret: string; readonly origin: string; readonly isCurrent: boolean },
): Promise<SessionLookup> {
  const { live, sessions } = point.ports
  try {
    if (!isCurrent) throw new PosternError('session_store_unavailable', 'what is remembered cannot be confirmed')
    const found = await sessions.findByAppSecret(secret, origin)
    if (!live.isCurrent()) await live.confirm()
    return found
  } catch (cause) {
    const remembered = mayGoUnverified(point, route) ? sessions.recallUnverified(secret, origin) : undefined
    if (remembered === undefined) throw cause
    return remembered
  }
}

function mayGoUnverified({ ports: { live }, settings }: EnforcementPoint, { app }: Route): boolean {
  const { unverifiedForSeconds } = settings
  return unverifiedForSeconds !== undefined && app.sensitivity !== 'restricted' && live.age() <= unverifiedForSeconds * 1000
}

/** Whether this would be allowed although it cannot be recorded now, where the app demands that it is (`when_full: deny`). */
export function isOffTheRecord({ ports }: EnforcementPoint, { route, decision }: Pick<Judgement, 'route' | 'decision'>): boolean {
  return decision.effect === 'allow' && route.recording.isDemanded && !ports.audit.isWritable()
}

/** What becomes of an allowed request whose record was lost. */
export function withoutRecord(judgement: Judgement): Judgement {
  return { ...judgement, decision: deny('audit_unavailable'), identity: [] }
}

/** The public reason for a failure; anything unknown is `evaluation_failed`. */
export function reasonOf(error: unknown): DenyReason {
  if (!isPosternError(error)) return 'evaluation_failed'
  const { code } = error
  return code in reasons ? (code as Extract<typeof code, DenyReason>) : 'evaluation_failed'
}

/** An Upgrade is no reading, whatever its method: what it opens goes both ways. */
export function classOf(method: string, isUpgrade: boolean): MethodClass {
  if (isUpgrade) return 'websocket'
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? 'read' : 'write'
}

function readRequestFacts({ request: { method = '' }, isUpgrade }: Arrival, { path }: ParsedTarget): RequestFacts {
  return { method, methodClass: classOf(method, isUpgrade), path }
}

function circumstancesOf({ settings }: EnforcementPoint, { address, request }: Arrival, at: number): Circumstances {
  const { socket } = request
  return {
    address,
    at,
    // The public URL's, not this hop's: behind a balancer that ends TLS the browser still speaks https.
    scheme: schemeOf(settings.accessUrl),
    tlsVersion: socket instanceof TLSSocket ? (socket.getProtocol() ?? undefined) : undefined,
    userAgent: request.headers['user-agent'],
  }
}

function challengeReasonOf({ state }: SessionLookup): 'login_required' | 'session_expired' | 'session_ended' {
  switch (state) {
    case 'expired':
      return 'session_expired'
    case 'ended':
      return 'session_ended'
    case 'live':
    case 'none':
      return 'login_required'
  }
}

function deny(reason: DenyReason): Decision {
  return { effect: 'deny', reason, rule: undefined, unmet: [] }
}
