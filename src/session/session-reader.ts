/**
 * Reads sessions and the ends that touch them, from memory while that is young enough, else from the store, and says what state
 * they are in.
 *
 * A miss costs two round trips: the pointer behind the cookie with its own end, then the session with its ends and the store's
 * clock. What was read is judged again at each answer, against the clock and against every end that this instance knows of. Memory counts
 * only while the instance is known to have heard of everything (`live`); where it is not, the store is asked before anything else.
 */

import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import { isEndedBy, isExpired, type SessionLimits, stricterLimits } from './lifetime.ts'
import type { SealedRecords } from './sealed-records.ts'
import { hashOf, isSecret } from './secret.ts'
import type { Session } from './session.ts'
import {
  hashSessionId,
  hashSubject,
  type Pointer,
  providerSidHashOf,
  recordNames,
  restoreSession,
  type SessionRecord,
} from './session-record.ts'
import { createShortMemory } from './short-memory.ts'
import type { End, EndCause, SessionStore } from './store.ts'

/** A session as it was read, with what was on record about its end. */
export interface ReadSession {
  readonly sessionHash: string
  /** `undefined` if there is no record (any more). */
  readonly session: Session | undefined
  /** What its end could be recorded for; `undefined` if there is no record. */
  readonly things: readonly Pick<End, 'kind' | 'idHash'>[] | undefined
  readonly limits: SessionLimits
  readonly end: End | undefined
  /** The store's clock, as of `readAt` on ours. */
  readonly storeNow: number
  readonly readAt: number
}

/** What is known of a session at the moment of asking; `now` is the store’s clock. */
export type SessionState =
  | {
      readonly state: 'live'
      readonly session: Session
      readonly limits: SessionLimits
      readonly now: number
      readonly sessionHash: string
    }
  | { readonly state: 'none' | 'expired' }
  | { readonly state: 'ended'; readonly cause: EndCause }

/** Finds sessions. Rejects with `session_store_unavailable` where memory does not suffice and the store is away. */
export interface SessionReader {
  /** The session a cookie's secret stands for; `origin` is `null` on the access host. A secret of another origin is `none`. */
  findBySecret(kind: 'access' | 'app', secret: string, origin: string | null): Promise<SessionState>
  /**
   * What memory alone can say of it, at once; `undefined` sends the caller to `findBySecret`. Judged like any other answer. For the
   * data plane: without a promise and without hashing the secret, a look-up costs a request 0.3 µs instead of 1.2.
   */
  recallBySecret(kind: 'access' | 'app', secret: string, origin: string | null): SessionState | undefined
  /**
   * What memory says although nobody can confirm it: neither the store nor its events answer. `undefined` where the operator does not
   * allow that, or what is remembered is older than he does. Ends that are known of count all the same.
   */
  recallUnverified(kind: 'access' | 'app', secret: string, origin: string | null): SessionState | undefined
  /** Past memory. */
  findByHash(sessionHash: string): Promise<SessionState>
  /** The session was written: what memory holds, and every read under way, is out of date. */
  forget(sessionHash: string): void
}

/** What a request may be decided on without asking the store. */
const memoryMaxAgeMs = 5_000
const memoryMaxEntries = 20_000
/** From here on the assertion's times and the provider's would be judged wrongly somewhere. */
const clockSkewWarningMs = 30_000
const clockSkewWarningPauseMs = 600_000

/** What reading needs of the rest. */
export interface SessionReaderParts {
  readonly store: SessionStore
  readonly records: SealedRecords
  readonly live: Live
  readonly limits: SessionLimits
  /** How old what is remembered may be where nobody can confirm it; `undefined`: it then counts for nothing. */
  readonly unverifiedForSeconds: number | undefined
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly log: Logger
}

interface ReadPointer {
  readonly secretHash: string
  readonly pointer: Pointer | undefined
  /** Of the session it points to. */
  readonly sessionHash: string | undefined
  readonly end: End | undefined
}

/** A reader with an empty memory, which listens for as long as `live` does. */
export function createSessionReader(parts: SessionReaderParts): SessionReader {
  const { store, records, live, monotonicNow } = parts
  const unverifiedMs = (parts.unverifiedForSeconds ?? 0) * 1000
  const memory = { monotonicNow, maxAgeMs: memoryMaxAgeMs, keepMs: unverifiedMs, maxEntries: memoryMaxEntries }
  const rememberPointers = () => createShortMemory<ReadPointer>({ ...memory, isWorthKeeping: ({ pointer }) => pointer !== undefined })
  /** By the secret itself, which is in memory with each request that carries it; what stores see is its hash. */
  const pointers = { access: rememberPointers(), app: rememberPointers() }
  const sessions = createShortMemory<ReadSession>({ ...memory, isWorthKeeping: ({ session }) => session !== undefined })
  let warnedAt = Number.NEGATIVE_INFINITY

  /** An end needs no forgetting, since every answer is held against it; it only makes room. */
  live.listen((event) => {
    if (event.kind === 'session_changed') sessions.forget(event.sessionHash)
    if (event.kind === 'ended') for (const { kind, idHash } of event.ends) if (kind === 'session') sessions.forget(idHash)
    // Whose claims changed meanwhile is not known. What a pointer says never changes.
    if (event.kind === 'regained') sessions.clear()
  })

  async function readPointer(kind: 'access' | 'app', secret: string): Promise<ReadPointer> {
    const secretHash = hashOf(secret)
    const [record, [end]] = await Promise.all([
      records.load<Pointer>(recordNames.pointer(kind, secretHash)),
      store.loadEnds([{ kind: 'app_session', idHash: secretHash }]),
    ])
    const pointer = record?.value
    return { secretHash, pointer, sessionHash: pointer === undefined ? undefined : hashSessionId(pointer.sessionId), end }
  }

  async function readSession(sessionHash: string, pointer: Pointer | undefined): Promise<ReadSession> {
    const readAt = monotonicNow()
    const things = thingsThatEnd(sessionHash, pointer?.subjectHash, pointer?.providerSidHash ?? undefined)
    // One round trip: the three commands leave together.
    const [record, ends, storeNow] = await Promise.all([
      records.load<SessionRecord>(recordNames.session(sessionHash)),
      store.loadEnds(things),
      store.loadNow(),
    ])
    warnOfClockSkew(storeNow)
    const common = { sessionHash, storeNow, readAt }
    if (record === undefined) {
      return { ...common, session: undefined, things: undefined, limits: parts.limits, end: firstEnd(ends, pointer?.startedAt ?? 0) }
    }
    const session = restoreSession(record.value.session)
    const limits = stricterLimits(record.value.limits, parts.limits)
    // A sign-in that continued the session may have moved it to another session at the provider than its pointers say.
    const exactThings = thingsOf(sessionHash, session)
    const exactEnds = isSame(things, exactThings) ? ends : await store.loadEnds(exactThings)
    return { ...common, session, things: exactThings, limits, end: firstEnd(exactEnds, session.startedAt) }
  }

  /** What the pointer alone rules out. */
  function judgePointer({ pointer, secretHash, end }: ReadPointer, origin: string | null): SessionState | undefined {
    if (pointer === undefined || pointer.origin !== origin) return { state: 'none' }
    const pointerEnd = end ?? live.findEnd({ kind: 'app_session', idHash: secretHash })
    return pointerEnd === undefined ? undefined : { state: 'ended', cause: pointerEnd.cause }
  }

  function judge(read: ReadSession, pointer: Pointer | undefined): SessionState {
    const { session, sessionHash } = read
    const things = read.things ?? thingsThatEnd(sessionHash, pointer?.subjectHash, pointer?.providerSidHash ?? undefined)
    const startedAt = session?.startedAt ?? pointer?.startedAt ?? 0
    const end = read.end ?? findEnd(things, startedAt)
    if (end !== undefined) return { state: 'ended', cause: end.cause }
    if (session === undefined) return { state: 'none' }
    const now = read.storeNow + (monotonicNow() - read.readAt)
    return isExpired(session, read.limits, now) ? { state: 'expired' } : { state: 'live', session, limits: read.limits, now, sessionHash }
  }

  function findEnd(things: readonly Thing[], startedAt: number): End | undefined {
    for (const thing of things) {
      const end = live.findEnd(thing)
      if (end !== undefined && isEndedBy(startedAt, end)) return end
    }
    return undefined
  }

  function warnOfClockSkew(storeNow: number): void {
    const skewMs = storeNow - parts.now()
    if (Math.abs(skewMs) < clockSkewWarningMs || monotonicNow() - warnedAt < clockSkewWarningPauseMs) return
    warnedAt = monotonicNow()
    parts.log.warn({ skewMs }, 'the clocks of this machine and of the session store differ; set both by NTP')
  }

  return {
    async findBySecret(kind, secret, origin) {
      if (!isSecret(secret)) return { state: 'none' }
      if (!live.isCurrent()) await live.confirm()
      const known = await pointers[kind].get(detached(secret), () => readPointer(kind, secret))
      const refusal = judgePointer(known, origin)
      const { sessionHash, pointer } = known
      if (refusal !== undefined || sessionHash === undefined) return refusal ?? { state: 'none' }
      const read = await sessions.get(sessionHash, () => readSession(sessionHash, pointer))
      // Another instance wrote the session and sent the browser here: what it has just proved would not be in this memory for 5 s.
      return judge(isBefore(read, pointer) ? await sessions.reload(sessionHash, () => readSession(sessionHash, pointer)) : read, pointer)
    },
    recallBySecret(kind, secret, origin) {
      if (!live.isCurrent()) return undefined
      const known = pointers[kind].recall(secret)
      if (known?.sessionHash === undefined) return undefined
      const refusal = judgePointer(known, origin)
      if (refusal !== undefined) return refusal
      const read = sessions.recall(known.sessionHash)
      return read === undefined || isBefore(read, known.pointer) ? undefined : judge(read, known.pointer)
    },
    async findByHash(sessionHash) {
      return judge(await sessions.reload(sessionHash, () => readSession(sessionHash, undefined)), undefined)
    },
    recallUnverified(kind, secret, origin) {
      if (live.age() > unverifiedMs) return undefined
      const known = pointers[kind].recallWithin(secret, unverifiedMs)
      if (known?.sessionHash === undefined) return undefined
      const refusal = judgePointer(known, origin)
      if (refusal !== undefined) return refusal
      const read = sessions.recallWithin(known.sessionHash, unverifiedMs)
      return read === undefined || isBefore(read, known.pointer) ? undefined : judge(read, known.pointer)
    },
    forget: (sessionHash) => sessions.forget(sessionHash),
  }
}

/** A copy: a value cut out of a Cookie header keeps the whole header in memory for as long as it lives. */
function detached(secret: string): string {
  return Buffer.from(secret, 'latin1').toString('latin1')
}

/** Whether the session was read before it had the claims that this pointer was made with. */
function isBefore({ session }: ReadSession, pointer: Pointer | undefined): boolean {
  return session !== undefined && pointer !== undefined && session.claims.version < pointer.claimsVersion
}

type Thing = Pick<End, 'kind' | 'idHash'>

function thingsOf(sessionHash: string, session: Session): readonly Thing[] {
  return thingsThatEnd(sessionHash, hashSubject(session.issuer, session.sub), providerSidHashOf(session))
}

function thingsThatEnd(sessionHash: string, subjectHash: string | undefined, providerSidHash: string | undefined): readonly Thing[] {
  const things: Thing[] = [{ kind: 'session', idHash: sessionHash }]
  if (subjectHash !== undefined) things.push({ kind: 'subject', idHash: subjectHash })
  if (providerSidHash !== undefined) things.push({ kind: 'provider_sid', idHash: providerSidHash })
  return things
}

function firstEnd(ends: readonly (End | undefined)[], startedAt: number): End | undefined {
  return ends.find((end) => end !== undefined && isEndedBy(startedAt, end))
}

function isSame(a: readonly Thing[], b: readonly Thing[]): boolean {
  return a.length === b.length && a.every((thing, position) => thing.kind === b[position]?.kind && thing.idHash === b[position]?.idHash)
}
