/**
 * Who a caller without a browser is: the services of the policy document that its access token proves (RFC 9068, RFC 7519).
 *
 * In order, cheapest first: form · issuer and audience that some service has · times · signature by a key of that issuer · scopes and claims.
 * A token that fails a check is nobody, and never falls back to a browser's sign-in. A token that is bound to a key of the caller's
 * (`cnf`, RFC 8705, RFC 9449) is refused, because nothing here checks that proof and without it the token may be stolen. What a token
 * proved is remembered by its hash for a minute at most, and only as long as the issuer's keys stay as they were.
 */

import { createHash, type KeyObject } from 'node:crypto'
import { compactVerify } from 'jose'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { findClaim } from '../policy/claim-path.ts'
import type { ClaimSelector, Service } from '../policy/document.ts'
import type { ClaimSet, SubjectFacts } from '../policy/facts.ts'
import { type AccessToken, parseAccessToken } from './service-access-token.ts'
import { createIssuerKeys, type DocumentFetch, type IssuerKeys } from './service-issuer-keys.ts'

export type ServiceCaller =
  /** `until` is when the token ends, tolerance included; epoch milliseconds. */
  | { readonly outcome: 'identified'; readonly subject: Extract<SubjectFacts, { kind: 'service' }>; readonly until: number }
  /** `invalid_token` is a 401, `insufficient_scope` a 403 (RFC 6750 §3.1); the others mean that it could not be told. */
  | { readonly outcome: 'refused'; readonly reason: 'invalid_token' | 'insufficient_scope' | 'provider_unavailable' }

/** Verifies access tokens. */
export interface ServiceCallers {
  /** The services of `services` that this token proves; all that match are the subject's. Never rejects. `requestId` is for the log. */
  identify(token: string, services: readonly Service[], requestId?: string): Promise<ServiceCaller>
}

/** For an instance whose policy names no service. */
export const noServiceCallers: ServiceCallers = { identify: async () => refused('invalid_token') }

export interface ServiceCallersOptions {
  /** What we sign ourselves is never an access token. */
  readonly accessUrl: URL
  /** Bounded in time and size, and without redirects. */
  readonly fetch: DocumentFetch
  readonly now: () => number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

/** Clocks differ, and a token is often used in the very second that it was made. */
const toleranceSeconds = 60
/** The last second that a calendar of four digits has: an `exp` in milliseconds would outlive everybody. */
const lastInstantSeconds = 253_402_300_799
const rememberMs = 60_000
/** Tokens in use within a minute; only an issuer can fill this, since nothing else is remembered. */
const maxRemembered = 5000
/** Issuers over all reloads; the oldest is read anew when it is asked for. */
const maxIssuers = 256

interface Remembered {
  readonly services: readonly Service[]
  readonly caller: ServiceCaller
  readonly at: number
  readonly until: number
  /** The keys that proved it, and what they were then. */
  readonly proofs: readonly Proof[]
}

interface Proof {
  readonly jwksUri: string | undefined
  readonly keys: IssuerKeys
  readonly fingerprint: string
}

/** The verifier of one instance. */
export function createServiceCallers({ accessUrl, fetch, now, log }: ServiceCallersOptions): ServiceCallers {
  const issuers = new Map<string, IssuerKeys>()
  const remembered = new Map<string, Remembered>()

  function keysOf({ issuer, jwksUri }: Service): IssuerKeys {
    const id = `${issuer}\n${jwksUri ?? ''}`
    const earlier = issuers.get(id)
    if (earlier !== undefined) return earlier
    const keys = createIssuerKeys({ issuer, jwksUri, fetch, now, log })
    dropOldest(issuers, maxIssuers)
    issuers.set(id, keys)
    return keys
  }

  async function identify(text: string, services: readonly Service[]): Promise<ServiceCaller> {
    const at = now()
    const hash = createHash('sha256').update(text).digest('base64url')
    const earlier = remembered.get(hash)
    if (earlier !== undefined && earlier.services === services && isStillTrue(earlier, at)) return earlier.caller
    remembered.delete(hash)

    const token = parseAccessToken(text)
    if (token === undefined) return refused('invalid_token')
    const meant = services.filter((service) => isMeantFor(token.claims, service) && !isOurOwn(service.issuer, accessUrl))
    if (meant.length === 0 || !isInForce(token.claims, at / 1000)) return refused('invalid_token')

    const proofs = await prove(text, token, meant)
    if (proofs === 'unavailable') return refused('provider_unavailable')
    if (proofs.length === 0) return refused('invalid_token')
    const names = meant
      .filter((service) => proofs.some(({ jwksUri }) => jwksUri === service.jwksUri) && isProvenBy(token.claims, service))
      .map(({ name }) => name)
    const issuer = String(token.claims['iss'])
    const expiresAt = (Number(token.claims['exp']) + toleranceSeconds) * 1000
    const caller: ServiceCaller =
      names.length === 0
        ? refused('insufficient_scope')
        : {
            outcome: 'identified',
            subject: {
              kind: 'service',
              names: names.sort(),
              issuer,
              claims: token.claims,
              definitions: fingerprintServices(services, issuer),
            },
            until: expiresAt,
          }
    dropOldest(remembered, maxRemembered)
    remembered.set(hash, { services, caller, at, until: Math.min(expiresAt, at + rememberMs), proofs })
    return caller
  }

  /** The places of keys by which this token is signed: one issuer may have several, each service its own. */
  async function prove(text: string, token: AccessToken, meant: readonly Service[]): Promise<readonly Proof[] | 'unavailable'> {
    const proofs: Proof[] = []
    let isUnavailable = false
    for (const service of new Map(meant.map((one) => [one.jwksUri, one])).values()) {
      const keys = keysOf(service)
      try {
        const set = await keys.load(token.keyId)
        const isSigned = await isSignedByAny(text, token, set.find(token.algorithm, token.keyId))
        if (isSigned) proofs.push({ jwksUri: service.jwksUri, keys, fingerprint: set.fingerprint })
      } catch (error) {
        if (!isPosternError(error)) throw error
        // Told where it was noticed, once for an outage and not for each request.
        isUnavailable = true
      }
    }
    return proofs.length === 0 && isUnavailable ? 'unavailable' : proofs
  }

  return {
    async identify(text, services, requestId) {
      try {
        return await identify(text, services)
      } catch (error) {
        log.error({ request: requestId, err: error }, 'an access token could not be judged')
        return refused('invalid_token')
      }
    },
  }
}

/** Refusals are few and constant. */
function refused(reason: Extract<ServiceCaller, { outcome: 'refused' }>['reason']): ServiceCaller {
  return { outcome: 'refused', reason }
}

function isStillTrue({ at, until, proofs }: Remembered, now: number): boolean {
  return now >= at && now < until && proofs.every(({ keys, fingerprint }) => keys.recall()?.fingerprint === fingerprint)
}

/** The services that a token with these claims would prove, were it signed by keys of `jwksUri`: for questions about tokens that nobody has. */
export function findServicesOf(claims: ClaimSet, services: readonly Service[], jwksUri: string | undefined): readonly string[] {
  const proven = services.filter((one) => one.jwksUri === jwksUri && isMeantFor(claims, one) && isProvenBy(claims, one))
  return proven.map(({ name }) => name).sort()
}

const fingerprints = new WeakMap<readonly Service[], Map<string, string>>()

/** What a list calls a service of this issuer, as a short text: the token of a recorded request is gone, and what it proved rests on nothing else of the list. */
export function fingerprintServices(services: readonly Service[], issuer: string): string {
  const known = fingerprints.get(services) ?? new Map<string, string>()
  fingerprints.set(services, known)
  const earlier = known.get(issuer)
  if (earlier !== undefined) return earlier
  const written = services
    .filter((service) => service.issuer === issuer)
    .map(({ audience, claims, jwksUri, name, scopesAll }) =>
      JSON.stringify([name, audience, scopesAll, claims.map(({ path, values }) => [path, values]), jwksUri ?? null]),
    )
    .sort()
  const fingerprint = createHash('sha256').update(JSON.stringify(written)).digest('base64url').slice(0, 22)
  known.set(issuer, fingerprint)
  return fingerprint
}

/** `aud` is one name or a list of them (RFC 7519 §4.1.3); anything else in it makes it no audience at all. */
function isMeantFor({ iss, aud }: ClaimSet, { issuer, audience }: Service): boolean {
  if (iss !== issuer) return false
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return audiences.every((one) => typeof one === 'string') && audiences.includes(audience)
}

function isOurOwn(issuer: string, accessUrl: URL): boolean {
  return URL.parse(issuer)?.origin === accessUrl.origin
}

/** `exp` has to be there; `nbf` and `iat` may be missing. Fractions of a second are numbers too (RFC 7519 §2). */
function isInForce({ exp, nbf, iat, cnf }: ClaimSet, nowSeconds: number): boolean {
  if (cnf !== undefined || !isInstant(exp) || exp <= nowSeconds - toleranceSeconds) return false
  return [nbf, iat].every((begin) => begin === undefined || (isInstant(begin) && begin <= nowSeconds + toleranceSeconds))
}

function isInstant(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= lastInstantSeconds
}

async function isSignedByAny(text: string, { algorithm }: AccessToken, keys: readonly KeyObject[]): Promise<boolean> {
  for (const key of keys) {
    try {
      await compactVerify(text, key, { algorithms: [algorithm] })
      return true
    } catch {
      // Whatever the library says against it, it is not signed by this key.
    }
  }
  return false
}

/** Every scope and every claim that the service asks for; a service that asks for neither would be every token of its issuer. */
function isProvenBy(claims: ClaimSet, { scopesAll, claims: selectors }: Service): boolean {
  if (scopesAll.length + selectors.length === 0) return false
  const scopes = new Set(['scope', 'scp'].flatMap((name) => readScopes(findClaim(claims, [name]))))
  return scopesAll.every((scope) => scopes.has(scope)) && selectors.every((selector) => holds(claims, selector))
}

/** `scope` is a string with spaces (RFC 8693 §4.2); `scp` a list at some issuers, a string at others. */
function readScopes(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.split(' ').filter((scope) => scope !== '')
  return Array.isArray(value) ? value.filter((scope) => typeof scope === 'string') : []
}

/** As a *who* of `claims` is judged: the claim is one of the values, or a list that contains one; `1` is not `"1"`. */
function holds(claims: ClaimSet, { path, values }: ClaimSelector): boolean {
  const claim = findClaim(claims, path)
  const wanted: readonly unknown[] = values
  return Array.isArray(claim) ? claim.some((entry) => wanted.includes(entry)) : wanted.includes(claim)
}

function dropOldest<T>(map: Map<string, T>, limit: number): void {
  const [oldest] = map.size < limit ? [] : map.keys()
  if (oldest !== undefined) map.delete(oldest)
}
