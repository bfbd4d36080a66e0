/**
 * The sessions of one instance: `Sessions` over a `SessionStore`, put together from its parts.
 *
 * Reading is `session-reader.ts`, ending `session-ends.ts`, fresh claims `claims-refresh.ts`, the rules `lifetime.ts`. What is here is the
 * beginning of sessions and the order of writes. It trusts the store's clock alone; it never writes for somebody who has not signed in.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { AuditEvent } from '../audit/event.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import type { RelyingParty } from '../oidc/relying-party.ts'
import { type ClaimsRefresh, createClaimsRefresh } from './claims-refresh.ts'
import { type ClaimsRules, claimsDuty, claimsStateOf, type SessionLimits, sessionEndsAt } from './lifetime.ts'
import { createPeople, type People } from './people.ts'
import { createSealedRecords } from './sealed-records.ts'
import { createSecret, createSessionId, hashOf, isSecret } from './secret.ts'
import type { Session, SessionLookup } from './session.ts'
import { auditSubjectOf, createSessionEnds } from './session-ends.ts'
import { createSessionLists } from './session-lists.ts'
import { createSessionReader, type SessionState } from './session-reader.ts'
import {
  expiredIsKnownForMs,
  hashOrigin,
  hashSessionId,
  hashSubject,
  type Pointer,
  providerSidHashOf,
  recordNames,
  restoreSession,
  type SessionRecord,
} from './session-record.ts'
import { createSessionUse } from './session-use.ts'
import type { HandOff, RequestCause, Sessions } from './sessions.ts'
import type { SessionStore } from './store.ts'

/** Limits of sessions and ages of claims; `session:` of the instance configuration. */
export interface SessionSettings extends SessionLimits {
  readonly refreshAfterSeconds: number
  readonly claimsMaxAgeSeconds: number
  /** How long memory may serve where nobody can confirm it; left out: not at all. */
  readonly unverifiedForSeconds?: number | undefined
}

/** What the sessions of an instance are made from. */
export interface SessionServiceOptions {
  readonly store: SessionStore
  /** The ends of this instance. Stays the caller's. */
  readonly live: Live
  readonly keys: CurrentKeys
  /** Epoch milliseconds; only to notice that this machine's clock differs from the store's. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly settings: SessionSettings
  readonly providerSettings: Pick<ClaimsRules, 'providerGraceSeconds' | 'withoutRefreshToken'>
  readonly refresh: RelyingParty['refresh']
  /** Hears of every begin, continuation, refresh and end on this instance. */
  readonly onEvent: (event: AuditEvent) => void
  readonly log: Logger
}

/** `Sessions`, and the people seen for commands. */
export type SessionService = Sessions &
  Pick<People, 'findPeople' | 'findPerson'> & {
    /** Sessions that were used through this instance a moment ago. */
    countInUse(): number
  }

/** A browser that follows a redirect takes seconds; a code that lies around is worth nothing. */
const handOffSeconds = 30
/** A provider that hangs must not keep a stopping instance; an answer under way is worth this much, since it may rotate a token. */
const longestCloseMs = 5_000
/** An address bar's worth of user agent is enough to recognise one's own browser. */
const maxUserAgentLength = 512

/** How long an end is kept: for as long as any session that it could concern may live, and be known to have expired. */
export function keepEndsForSeconds({ lifetimeSeconds }: Pick<SessionLimits, 'lifetimeSeconds'>): number {
  return lifetimeSeconds + expiredIsKnownForMs / 1000
}

/** The sessions of one instance. The store stays the caller's: `close` settles what is under way and leaves it open. */
export function createSessions(options: SessionServiceOptions): SessionService {
  const { store, live, settings, monotonicNow, log, onEvent } = options
  const rules: ClaimsRules = { ...settings, ...options.providerSettings }
  const limits: SessionLimits = { idleTimeoutSeconds: settings.idleTimeoutSeconds, lifetimeSeconds: settings.lifetimeSeconds }
  const records = createSealedRecords(store, options.keys, log)
  const { unverifiedForSeconds } = settings
  const reader = createSessionReader({ store, records, live, limits, unverifiedForSeconds, now: options.now, monotonicNow, log })
  const lists = createSessionLists(store, reader)
  const people = createPeople(store, records)
  const ends = createSessionEnds({
    store,
    records,
    keepSeconds: keepEndsForSeconds(limits),
    noteEnds: live.noteEnds,
    forget: reader.forget,
    onEvent,
    log,
  })
  const claims: ClaimsRefresh = createClaimsRefresh({
    store,
    records,
    monotonicNow,
    refresh: options.refresh,
    endSession: (session, cause) => ends.endSession(session.id, cause),
    async onRefreshed(before, after) {
      await tellOfChange(hashSessionId(after.id))
      onEvent(sessionEvent('session.refreshed', after, undefined))
      await indexProviderSid(after, before)
      await people.recordPerson(after)
    },
    log,
  })
  const use = createSessionUse({ store, records, limits, monotonicNow, log })

  /** Other instances that do not hear of it remember the session as it was for five seconds. */
  async function tellOfChange(sessionHash: string): Promise<void> {
    reader.forget(sessionHash)
    try {
      await store.publish({ kind: 'session', detail: sessionHash })
    } catch (error) {
      log.warn({ err: error }, 'other instances could not be told that a session has new claims; they will notice within seconds')
    }
  }

  /** The answer that needs no waiting; `undefined` where claims have to be made fresh first. */
  function answerAtOnce(state: SessionState): SessionLookup | undefined {
    if (state.state !== 'live') return state
    const { session } = state
    switch (claimsDuty(session, rules, state.now)) {
      case 'keep':
        return { state: 'live', session, claimsState: 'fresh', now: state.now }
      case 'background':
        claims.begin(session)
        return { state: 'live', session, claimsState: 'fresh', now: state.now }
      case 'accept':
        return { state: 'live', session, claimsState: 'stale', now: state.now }
      case 'reauthenticate':
        return { state: 'expired', session }
      case 'before':
        return undefined
    }
  }

  /** Claims are made fresh before anybody decides on them; then the session is looked at again, as it may have ended during the wait. */
  async function lookUp(find: () => Promise<SessionState>): Promise<SessionLookup> {
    const state = await find()
    const answer = answerAtOnce(state)
    if (answer !== undefined) return answer
    if (state.state === 'live' && (await claims.wait(state.session)) === 'renewed') reader.forget(state.sessionHash)
    const again = await find()
    return again.state === 'live'
      ? { state: 'live', session: again.session, claimsState: claimsStateOf(again.session, rules, again.now), now: again.now }
      : again
  }

  /** Its instant of beginning is read first, then the session is written, then what leads to it: an end recorded at any moment catches it. */
  async function begin(...[signedIn, origin, by, device]: Parameters<Sessions['begin']>): ReturnType<Sessions['begin']> {
    const startedAt = await store.loadNow()
    const { withoutProvider } = signedIn
    const session: Session = {
      id: createSessionId(),
      issuer: signedIn.issuer,
      sub: signedIn.sub,
      claims: { at: withoutProvider?.claimsAt ?? startedAt, version: 1, all: signedIn.claims },
      signIn: signedIn.signIn,
      tokens: signedIn.tokens,
      providerSid: signedIn.providerSid,
      startedAt,
      lastUsedAt: startedAt,
      origin: { address: origin.address, userAgent: origin.userAgent.slice(0, maxUserAgentLength) },
      device,
      standsUntil: withoutProvider === undefined ? undefined : startedAt + withoutProvider.seconds * 1000,
    }
    const sessionHash = hashSessionId(session.id)
    const expiresAt = recordExpiry(session)
    await records.create(recordNames.session(sessionHash), { session, limits } satisfies SessionRecord, expiresAt)
    const secret = await createPointer('access', session, null)
    await Promise.all([
      store.addToIndex(recordNames.subjectIndex(hashSubject(session.issuer, session.sub)), sessionHash, expiresAt),
      indexProviderSid(session, undefined),
      people.recordPerson(session),
      // For the lists that administrators look at; nothing is remembered of a session that has just begun.
      tellOfChange(sessionHash),
    ])
    onEvent(sessionEvent('session.started', session, { requestId: undefined, address: origin.address, ...by }))
    return { session, secret }
  }

  const continueWith: Sessions['continueWith'] = async (session, signedIn, by, device) => {
    if (signedIn.issuer !== session.issuer || signedIn.sub !== session.sub) return undefined
    const sessionHash = hashSessionId(session.id)
    const state = await reader.findByHash(sessionHash)
    if (state.state !== 'live') return undefined
    const { device: bound } = state.session
    if (bound !== undefined && bound.certificate !== device?.certificate) return undefined
    const at = await store.loadNow()
    const written = await records.update<SessionRecord>(recordNames.session(sessionHash), ({ value }) => ({
      ...value,
      session: {
        ...value.session,
        claims: { at, version: value.session.claims.version + 1, all: signedIn.claims },
        signIn: signedIn.signIn,
        tokens: signedIn.tokens,
        providerSid: signedIn.providerSid ?? value.session.providerSid,
        lastUsedAt: Math.max(at, value.session.lastUsedAt),
      },
    }))
    await tellOfChange(sessionHash)
    if (written === undefined) return undefined
    const continued = restoreSession(written.session)
    await Promise.all([indexProviderSid(continued, state.session), people.recordPerson(continued)])
    onEvent(sessionEvent('session.continued', continued, by))
    // An end that came while this was written wins.
    return (await reader.findByHash(sessionHash)).state === 'live' ? continued : undefined
  }

  async function createPointer(kind: 'access' | 'app', session: Session, origin: string | null): Promise<string> {
    const secret = createSecret()
    const pointer: Pointer = {
      sessionId: session.id,
      origin,
      startedAt: session.startedAt,
      subjectHash: hashSubject(session.issuer, session.sub),
      providerSidHash: providerSidHashOf(session) ?? null,
      claimsVersion: session.claims.version,
    }
    await records.create(recordNames.pointer(kind, hashOf(secret)), pointer, recordExpiry(session))
    return secret
  }

  /** After a continuation the session belongs to the provider's newer session, and only that one's end is its own. */
  async function indexProviderSid(session: Session, before: Session | undefined): Promise<void> {
    const [hash, hashBefore] = [providerSidHashOf(session), before === undefined ? undefined : providerSidHashOf(before)]
    if (hash === hashBefore) return
    const sessionHash = hashSessionId(session.id)
    if (hash !== undefined) await store.addToIndex(recordNames.providerSidIndex(hash), sessionHash, recordExpiry(session))
    if (hashBefore !== undefined) await store.removeFromIndex(recordNames.providerSidIndex(hashBefore), sessionHash)
  }

  function recordExpiry(session: Session): number {
    return sessionEndsAt(session, limits) + expiredIsKnownForMs
  }

  return {
    findByAppSecret: (secret, origin) => lookUp(() => reader.findBySecret('app', secret, origin)),
    recallByAppSecret(secret, origin) {
      const state = reader.recallBySecret('app', secret, origin)
      return state === undefined ? undefined : answerAtOnce(state)
    },
    recallUnverified(secret, origin) {
      const state = reader.recallUnverified('app', secret, origin)
      if (state?.state !== 'live') return state
      const { session, now } = state
      if (claimsDuty(session, rules, now) === 'reauthenticate') return { state: 'expired', session }
      return { state: 'live', session, claimsState: claimsStateOf(session, rules, now), now }
    },
    findByAccessSecret: (secret) => lookUp(() => reader.findBySecret('access', secret, null)),
    findById: (sessionId) => lookUp(() => reader.findByHash(hashSessionId(sessionId))),

    begin,
    continueWith,
    async openAppSession(sessionId, origin) {
      const sessionHash = hashSessionId(sessionId)
      const state = await reader.findByHash(sessionHash)
      if (state.state !== 'live') return undefined
      // The index is for showing where a browser was let in; what opens the app is the pointer alone.
      await store.addToIndex(recordNames.appSessionsIndex(sessionHash), hashOrigin(origin), recordExpiry(state.session))
      return createPointer('app', state.session, origin)
    },
    recordUse: use.recordUse,

    endSession: ends.endSession,
    endSessions: ends.endSessions,
    endSubject: ends.endSubject,
    endProviderSid: ends.endProviderSid,
    findLatestEnd: ends.findLatestEnd,
    ...lists,
    refreshSubject: async (issuer, sub) => claims.refreshNow(await lists.listSubject(issuer, sub)),

    async issueHandOff(handOff) {
      const code = createSecret()
      await records.create(recordNames.handOff(hashOf(code)), handOff, (await store.loadNow()) + handOffSeconds * 1000)
      return code
    },
    async takeHandOff(code) {
      return isSecret(code) ? (await records.take<HandOff>(recordNames.handOff(hashOf(code))))?.value : undefined
    },
    async takeOnce(purpose, id, seconds) {
      return store.createRecord(recordNames.once(hashOf(purpose, id)), Buffer.alloc(0), (await store.loadNow()) + seconds * 1000)
    },

    findPeople: people.findPeople,
    findPerson: people.findPerson,
    countInUse: use.count,
    async close() {
      const waiting = new AbortController()
      await Promise.race([Promise.all([claims.settle(), use.settle()]), pause(longestCloseMs, undefined, { signal: waiting.signal })])
      waiting.abort()
    },
  }
}

/** "From where" is the request's address or none: the one that a session began at says nothing about what happens to it later. */
function sessionEvent(
  event: 'session.started' | 'session.continued' | 'session.refreshed',
  session: Session,
  by: (Omit<RequestCause, 'requestId'> & { readonly requestId: string | undefined }) | undefined,
): AuditEvent {
  return {
    event,
    request: by?.requestId,
    session: session.id,
    subject: auditSubjectOf(session),
    address: by?.address,
    acr: session.signIn.acr,
    amr: session.signIn.amr,
  }
}
