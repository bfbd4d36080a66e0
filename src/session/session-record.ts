/**
 * How a session is stored: the sealed form of its record, of the pointers that cookies lead to, and every name involved.
 *
 * JSON has no `undefined` and gives every object a prototype; reading puts both right, so that a claim called `__proto__` or
 * `constructor` is a claim and nothing else.
 */

import type { SessionLimits } from './lifetime.ts'
import { hashOf } from './secret.ts'
import type { Session } from './session.ts'

/** The sealed content of `session:…`. */
export interface SessionRecord {
  readonly session: Session
  /** The limits it began with. */
  readonly limits: SessionLimits
}

/** The sealed content of `access:…` and `app:…`: which session a cookie stands for. It never changes. */
export interface Pointer {
  readonly sessionId: string
  /** The app origin it is good for; `null` on the access host. */
  readonly origin: string | null
  /** Begin of the session, and whose it is: ends can be asked for in the same round trip as the session. */
  readonly startedAt: number
  readonly subjectHash: string
  readonly providerSidHash: string | null
  /** Of the claims when it was made: what it leads to is never judged by older ones, whatever an instance remembers of the session. */
  readonly claimsVersion: number
}

/** A record is kept this much longer than its session, so that "expired" can be told from "never was". */
export const expiredIsKnownForMs = 600_000

/** Every name under which this folder stores something; `stores/keyspace.ts` lists what is there. */
export const recordNames = {
  session: (sessionHash: string) => `session:${sessionHash}`,
  pointer: (kind: 'access' | 'app', secretHash: string) => `${kind}:${secretHash}`,
  handOff: (codeHash: string) => `hand_off:${codeHash}`,
  once: (idHash: string) => `once:${idHash}`,
  person: (subjectHash: string) => `person:${subjectHash}`,
  subjectIndex: (subjectHash: string) => `subject:${subjectHash}`,
  providerSidIndex: (providerSidHash: string) => `provider_sid:${providerSidHash}`,
  /** The origins that the browser of a session was let into, each as a hash. */
  appSessionsIndex: (sessionHash: string) => `app_sessions:${sessionHash}`,
  emailIndex: (emailHash: string) => `email:${emailHash}`,
  peopleIndex: 'people:all',
  keptPost: (idHash: string) => `kept_post:${idHash}`,
  keptPostsIndex: (sessionHash: string) => `kept_posts:${sessionHash}`,
  allKeptPostsIndex: 'all_kept_posts:all',
  refreshLock: (sessionHash: string) => `refresh:${sessionHash}`,
} as const

/** The name of a session in records, indexes and ends. */
export function hashSessionId(sessionId: string): string {
  return hashOf(sessionId)
}

/** The name of a subject in indexes and ends. */
export function hashSubject(issuer: string, sub: string): string {
  return hashOf(issuer, sub)
}

/** The name of a provider’s session in indexes and ends. */
export function hashProviderSid(issuer: string, providerSid: string): string {
  return hashOf(issuer, providerSid)
}

/** The name of an origin among the app sessions of a session: a store holds no addresses. */
export function hashOrigin(origin: string): string {
  return hashOf('app_origin', origin)
}

/** Hash of the provider session a session belongs to; `undefined` if the provider named none. */
export function providerSidHashOf(session: Pick<Session, 'issuer' | 'providerSid'>): string | undefined {
  return session.providerSid === undefined ? undefined : hashProviderSid(session.issuer, session.providerSid)
}

/** A session as it was before JSON. */
export function restoreSession(stored: Session): Session {
  return {
    id: stored.id,
    issuer: stored.issuer,
    sub: stored.sub,
    claims: { at: stored.claims.at, version: stored.claims.version, all: withoutPrototypes(stored.claims.all) as Record<string, unknown> },
    signIn: {
      at: stored.signIn.at,
      authTime: stored.signIn.authTime ?? undefined,
      acr: stored.signIn.acr ?? undefined,
      amr: stored.signIn.amr,
    },
    tokens: {
      idToken: stored.tokens.idToken,
      accessToken: stored.tokens.accessToken,
      refreshToken: stored.tokens.refreshToken ?? undefined,
    },
    providerSid: stored.providerSid ?? undefined,
    startedAt: stored.startedAt,
    lastUsedAt: stored.lastUsedAt,
    origin: stored.origin,
    device: stored.device == null ? undefined : { certificate: stored.device.certificate, names: stored.device.names },
    standsUntil: stored.standsUntil,
  }
}

/** The same JSON value, its objects without a prototype. */
export function withoutPrototypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPrototypes)
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> = Object.create(null)
  for (const [key, member] of Object.entries(value)) copy[key] = withoutPrototypes(member)
  return copy
}
