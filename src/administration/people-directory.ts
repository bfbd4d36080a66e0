/**
 * The directory of people and sessions of one instance: read in the background, kept up by what instances tell each other, asked by pages.
 *
 * A page looks through thousands without opening a sealed record, and then shows its few sessions as they stand in the store at this
 * moment. Everything is read again every few minutes while somebody looks, because a session's use is told to nobody; each answer says of
 * when it is. Nothing is decided here: whoever acts on a person or a session asks the store.
 */

import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { Live, LiveEvent } from '../live/live.ts'
import type { Logger } from '../log.ts'
import { findClaim } from '../policy/claim-path.ts'
import type { People, Person } from '../session/people.ts'
import type { BoundDevice } from '../session/session.ts'
import { hashSessionId, hashSubject, providerSidHashOf } from '../session/session-record.ts'
import {
  createPeopleIndex,
  type DirectoryBounds,
  type Found,
  type PeopleIndex,
  type PeopleQuery,
  type PersonEntry,
  type SessionEntry,
  type SessionsQuery,
} from './people-directory-index.ts'
import { refOf } from './person-ref.ts'
import type { AdministeredSessions, SessionFacts } from './sessions.ts'
import type { Subject } from './subject-lookup.ts'
import { createWholeReading } from './whole-reading.ts'

/** Of when an answer is. */
export interface DirectoryState {
  /** When everything was last read; `undefined` while it is read for the first time. */
  readonly readAt: number | undefined
  readonly isReading: boolean
  readonly people: number
  readonly sessions: number
  /** There are more than are remembered. */
  readonly isCut: boolean
}

/** A person with what the directory knows of their sessions. */
export interface ListedPerson extends PersonEntry {
  readonly sessions: number
  readonly lastUsedAt: number | undefined
}

/** A session with its person. */
export interface ListedSession {
  readonly facts: SessionFacts
  readonly person: Pick<PersonEntry, 'ref' | 'issuer' | 'sub' | 'email' | 'name' | 'isProtected'>
}

export interface PeopleDirectory {
  state(): DirectoryState
  /** Resolves when everything was read once, and after `withinMs` at the latest. */
  ready(withinMs: number): Promise<void>
  people(query: PeopleQuery): Found<ListedPerson>
  /** People with live sessions on a device that goes by any of these names, as far as is remembered: for showing. */
  usersOf(names: readonly string[]): readonly ListedPerson[]
  /** Those on the page are read from the store: what ended meanwhile is not on it. */
  sessions(query: SessionsQuery): Promise<Found<ListedSession>>
  /** Reads everything again, from now on. Never rejects: a store that is away is tried again later. */
  refresh(): Promise<void>
  close(): Promise<void>
}

export interface PeopleDirectoryParts {
  readonly people: Pick<People, 'listPeople' | 'findPerson'>
  readonly sessions: Pick<AdministeredSessions, 'list' | 'findByHash' | 'listOrigins'>
  readonly live: Pick<Live, 'listen'>
  readonly readSubject: SubjectReader
  /** For showing who is an admin; never rejects. */
  readonly isProtectedPerson: (person: Person) => Promise<boolean>
  /** Path of the claim that names the device. */
  readonly deviceIdClaim: readonly string[] | undefined
  readonly now: () => number
  readonly log: Pick<Logger, 'warn'>
  readonly bounds?: DirectoryBounds
  readonly refreshMs?: number
}

const boundsByDefault: DirectoryBounds = { people: 50_000, sessions: 100_000 }
const refreshMsByDefault = 5 * 60_000
/** Nobody looks at night: then nothing is read. */
const watchedForMs = 15 * 60_000
/** So many people at one time: a millisecond or two of an embedded store, which answers at once, between which requests are served. */
const atOnce = 8
/** News that came while everything was read; beyond it the next reading brings it. */
const mostMissed = 10_000

/** The directory of one instance; it begins to read with the first question, or with `refresh`. */
export function createPeopleDirectory(parts: PeopleDirectoryParts): PeopleDirectory {
  const { bounds = boundsByDefault, live, log, now, people, refreshMs = refreshMsByDefault, sessions } = parts
  let index = createPeopleIndex(bounds)
  let readAt: number | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let isClosed = false
  /** News that the index that is being built may not have. */
  let missed: LiveEvent[] | undefined
  const running = new Set<Promise<void>>()

  const entryOf = async (person: Person): Promise<PersonEntry> => {
    const { email, issuer, name, seenAt, sub } = person
    const facts = parts.readSubject({ issuer, sub, claims: { all: person.claims, at: seenAt, version: 0 } }, 'fresh')
    const groups = facts.kind === 'person' && facts.groups.known ? facts.groups.value : undefined
    const subjectHash = hashSubject(issuer, sub)
    return { ref: refOf(person), issuer, sub, subjectHash, email, name, groups, seenAt, isProtected: await parts.isProtectedPerson(person) }
  }

  async function addSession(into: PeopleIndex, { session }: SessionFacts): Promise<void> {
    const { address, userAgent } = session.origin
    const claimed = parts.deviceIdClaim === undefined ? undefined : findClaim(session.claims.all, parts.deviceIdClaim)
    into.setSession({
      id: session.id,
      hash: hashSessionId(session.id),
      ref: refOf(session),
      providerSidHash: providerSidHashOf(session),
      startedAt: session.startedAt,
      lastUsedAt: session.lastUsedAt,
      address,
      userAgent,
      devices: devicesOf(session.device, claimed).map((text) => text.toLowerCase()),
      origins: await sessions.listOrigins(session.id),
    })
  }

  async function addPerson(into: PeopleIndex, person: Person): Promise<void> {
    into.setPerson(await entryOf(person))
    for await (const facts of sessions.list(person)) await addSession(into, facts)
  }

  async function readAll(): Promise<void> {
    const fresh = createPeopleIndex(bounds)
    missed = []
    // What is found is shown at once where nothing is known yet.
    if (readAt === undefined) index = fresh
    const begunAt = now()
    const { people: all } = await people.listPeople()
    let batch: Promise<void>[] = []
    for await (const person of all) {
      if (isClosed) return
      batch.push(addPerson(fresh, person))
      if (batch.length < atOnce) continue
      await Promise.all(batch)
      batch = []
      await nextTurn()
    }
    await Promise.all(batch)
    index = fresh
    readAt = begunAt
    const news = missed
    missed = undefined
    for (const event of news) hear(event)
  }

  const reading = createWholeReading({
    read: readAll,
    isClosed: () => isClosed,
    onFailure: (error) => log.warn({ err: error }, 'people and sessions could not be read for the console; they will be again'),
    onEnd: () => {
      missed = undefined
    },
  })

  /** A session began, went on or was told of: its person is whom its claims say, which are newer than what the people’s record has. */
  async function readSession(hash: string): Promise<void> {
    const facts = await sessions.findByHash(hash)
    if (facts === undefined) return index.removeSession(hash)
    const { claims, issuer, sub } = facts.session
    const known = index.findPerson(refOf(facts.session))
    if (known === undefined || known.seenAt < claims.at) {
      const person = await people.findPerson(issuer, sub)
      const text = (name: string) => (typeof claims.all[name] === 'string' && claims.all[name] !== '' ? claims.all[name] : undefined)
      const newest = person !== undefined && person.seenAt >= claims.at
      index.setPerson(
        await entryOf(
          newest
            ? person
            : { issuer, sub, email: text('email'), name: text('name'), claims: claims.all, signIns: person?.signIns, seenAt: claims.at },
        ),
      )
    }
    await addSession(index, facts)
  }

  function hear(event: LiveEvent): void {
    if (missed !== undefined && missed.length < mostMissed) missed.push(event)
    if (event.kind === 'ended') for (const end of event.ends) index.end(end)
    else if (event.kind === 'regained' && readAt !== undefined) readAt = Math.min(readAt, now() - refreshMs)
    else if (event.kind === 'session_changed' && readAt !== undefined) {
      const settled = readSession(event.sessionHash)
        .catch((error: unknown) => log.warn({ err: error }, 'a session could not be read for the console; it will be with all others'))
        .finally(() => running.delete(settled))
      running.add(settled)
    }
  }

  /** Whoever asks has everything read again if that was long ago, and does not wait for it. */
  function noteQuestion(): void {
    askedAt = now()
    if (readAt === undefined || now() - readAt >= refreshMs) void reading.once()
  }

  const stopListening = live.listen(hear)
  const timer = setInterval(() => {
    if (now() - askedAt < watchedForMs) void reading.once()
  }, refreshMs)
  timer.unref()

  return {
    state: () => ({ readAt, isReading: reading.underWay() !== undefined, ...index.counts() }),
    async ready(withinMs) {
      noteQuestion()
      if (readAt === undefined) await Promise.race([reading.underWay(), pause(withinMs, undefined, { ref: false })])
    },
    people(query) {
      noteQuestion()
      const found = index.people(query)
      return { ...found, entries: found.entries.map((person) => listedOf(person, index.sessionsOf(person.ref))) }
    },
    usersOf(names) {
      noteQuestion()
      const byRef = new Map<string, SessionEntry[]>()
      for (const entry of index.sessionsOn(new Set(names.map((name) => name.toLowerCase())))) {
        const own = byRef.get(entry.ref)
        if (own === undefined) byRef.set(entry.ref, [entry])
        else own.push(entry)
      }
      return [...byRef].flatMap(([ref, own]) => {
        const person = index.findPerson(ref)
        return person === undefined ? [] : [listedOf(person, own)]
      })
    },
    async sessions(query) {
      noteQuestion()
      const found = index.sessions(query)
      const read = await Promise.all(found.entries.map((entry) => sessions.findByHash(entry.hash)))
      const entries = found.entries.flatMap((entry: SessionEntry, at): ListedSession[] => {
        const facts = read[at]
        if (facts !== undefined) return [{ facts, person: index.findPerson(entry.ref) ?? strangerOf(facts.session) }]
        index.removeSession(entry.hash)
        return []
      })
      return { ...found, entries }
    },
    refresh: reading.again,
    async close() {
      isClosed = true
      clearInterval(timer)
      stopListening()
      await Promise.all([reading.settled(), ...running])
    },
  }
}

function listedOf(person: PersonEntry, own: readonly SessionEntry[]): ListedPerson {
  const lastUsedAt = own.length === 0 ? undefined : Math.max(...own.map((session) => session.lastUsedAt))
  return { ...person, sessions: own.length, lastUsedAt }
}

/** As `device-sessions.ts` sees it: a certificate goes before a claim. */
function devicesOf(bound: BoundDevice | undefined, claimed: unknown): readonly string[] {
  if (bound !== undefined) return [bound.certificate, ...bound.names]
  return typeof claimed === 'string' ? [claimed] : []
}

/** Of a person whom the directory has no room for, or not yet: protected, for nobody can tell. */
function strangerOf(subject: Subject): ListedSession['person'] {
  const { issuer, sub } = subject
  return { ref: refOf(subject), issuer, sub, email: undefined, name: undefined, isProtected: true }
}
