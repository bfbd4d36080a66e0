/**
 * What employees ask for: requests for access to an app, which an admin sees, notes and answers. They grant nothing.
 *
 * A person's requests are one sealed, durable record, changed by compare-and-set: so one open request for each app, and few for each person,
 * hold over all instances. Each request is gone ninety days after it was made, whatever became of it: it is left out of every answer from
 * then on, and taken out of the store by the next look at all of them. Reasons and notes are people's own words: they are bounded here,
 * printed as text, and in the audit trail.
 */

import { randomBytes } from 'node:crypto'
import type { AuditEvent } from '../audit/event.ts'
import { isPosternError, PosternError } from '../errors.ts'
import type { Reason, Unmet } from '../policy/decision.ts'
import type { DurableRecords } from './durable-records.ts'
import type { Subject } from './subject-lookup.ts'

/** What kept the person out when they asked, by the policy in force then. */
export interface RequestLack {
  readonly reason: Reason
  /** The rule that refused, or the nearest one; for admins. */
  readonly rule: string | undefined
  readonly unmet: readonly Pick<Unmet, 'condition' | 'outcome' | 'remedy'>[]
}

export interface RequestAnswer {
  readonly at: number
  /** The actor, as in the audit trail, and as people know them. */
  readonly by: string
  readonly label: string
  /** For the person who asked; empty where it was only noted as seen. */
  readonly note: string
}

/** A request, as it stands. Instants are the store's clock. */
export interface AccessRequest {
  readonly id: string
  readonly person: Subject
  /** What the person was called when they asked: an e-mail address or a name. */
  readonly label: string
  readonly app: { readonly id: string; readonly name: string }
  /** In their words. */
  readonly reason: string
  readonly askedAt: number
  readonly lack: RequestLack
  /** `seen`: somebody looks after it. Both `open` and `seen` are still to be answered. */
  readonly state: 'open' | 'seen' | 'answered'
  readonly answer: RequestAnswer | undefined
}

/** What is stored, under the person. */
export interface AccessRequestsRecord {
  readonly person: Subject
  readonly requests: readonly Omit<AccessRequest, 'person'>[]
}

export interface AskingWish extends Pick<AccessRequest, 'person' | 'label' | 'app' | 'reason' | 'lack'> {
  /** For the trail: the address that the provider vouches for. */
  readonly email: string | undefined
  /** Id of the HTTP request. */
  readonly request: string
}

export type Asked =
  | { readonly outcome: 'asked'; readonly request: AccessRequest }
  /** `stands`: there is an open one for this app. `many_of_yours`: of this person. `many`: of all. */
  | { readonly outcome: 'refused'; readonly problem: 'stands' | 'many_of_yours' | 'many' }

/** All of them. Every method rejects with `session_store_unavailable` when the store does. */
export interface AccessRequests {
  ask(wish: AskingWish): Promise<Asked>
  /** The person's own, the newest first. */
  listOf(person: Subject): Promise<readonly AccessRequest[]>
  /** Takes a request back that is not answered yet; `false` if the person has no such request. */
  withdraw(person: Subject, id: string, how: { readonly email: string | undefined; readonly request: string }): Promise<boolean>
  /** Everybody's, the newest first. `isWhole`: false where a record did not open, which is in the log. */
  list(): Promise<{ readonly requests: readonly AccessRequest[]; readonly isWhole: boolean }>
  /** Notes it as seen, or answers it; an answer may be written again. `undefined` if there is no such request any more. */
  answer(
    id: string,
    given: { readonly state: 'seen' | 'answered'; readonly note: string },
    by: RequestAuthor,
  ): Promise<AccessRequest | undefined>
}

export interface RequestAuthor {
  readonly actor: string
  readonly label: string
}

export type RequestEvent = Extract<
  AuditEvent,
  { readonly event: 'access.requested' | 'access.request_withdrawn' | 'access.request_answered' }
>

export interface AccessRequestsParts {
  readonly records: DurableRecords<AccessRequestsRecord>
  /** The store's clock. */
  readonly loadNow: () => Promise<number>
  readonly monotonicNow: () => number
  readonly record: (event: RequestEvent) => void
  /** For tests. */
  readonly limits?: { readonly perPerson: number; readonly inAll: number }
}

/** Of reasons and notes. */
export const longestRequestText = 500
/** A request that nobody answered in a quarter is no request any more. */
export const keepRequestsDays = 90

const keepMs = keepRequestsDays * 86_400_000
const usualLimits = { perPerson: 20, inAll: 10_000 }
/** How old the list of everybody's may be. What this instance changed is in it at once. */
const memoryMs = 2_000
/** A person in two tabs and an admin are three. */
const writeRounds = 10
const subjectKeyOf = ({ issuer, sub }: Subject) => `${issuer}\n${sub}`

/** The requests over their records. */
export function createAccessRequests(parts: AccessRequestsParts): AccessRequests {
  const { limits = usualLimits, loadNow, monotonicNow, record, records } = parts
  type Listing = { readonly requests: readonly AccessRequest[]; readonly isWhole: boolean }
  let known: { readonly readAt: number; readonly listing: Promise<Listing> } | undefined

  /** Replaces a person's requests. `change` sees those that are not over; it may be called again, and `undefined` leaves them as they are. */
  async function write<T>(
    person: Subject,
    change: (
      requests: AccessRequestsRecord['requests'],
      at: number,
    ) => { readonly requests: AccessRequestsRecord['requests'] | undefined; readonly result: T },
  ): Promise<T> {
    const key = subjectKeyOf(person)
    for (let round = 0; round < writeRounds; round++) {
      const [loaded, at] = await Promise.all([records.load(key), loadNow()])
      const { requests, result } = change(standing(loaded?.value.requests ?? [], at), at)
      if (requests === undefined) return result
      if (loaded === undefined ? await records.create(key, { person, requests }) : await replace(key, person, requests, loaded.version)) {
        known = undefined
        return result
      }
    }
    throw new PosternError('session_store_unavailable', `a person's requests could not be written in ${writeRounds} rounds`)
  }

  function replace(key: string, person: Subject, requests: AccessRequestsRecord['requests'], version: number): Promise<boolean> {
    return requests.length === 0 ? records.remove(key, version) : records.replace(key, { person, requests }, version)
  }

  async function loadAll(): Promise<Listing> {
    const at = await loadNow()
    const requests: AccessRequest[] = []
    let isWhole = true
    try {
      for await (const { id: key, value } of records.list()) {
        const left = standing(value.requests, at)
        if (left.length < value.requests.length) await prune(key)
        for (const one of left) requests.push({ ...one, person: value.person, answer: one.answer ?? undefined })
      }
    } catch (error) {
      // It comes after everything that opens, and was logged where it was noticed.
      if (!isPosternError(error) || error.code !== 'record_unreadable') throw error
      isWhole = false
    }
    return { requests: requests.sort((a, b) => b.askedAt - a.askedAt || (a.id < b.id ? -1 : 1)), isWhole }
  }

  /** If somebody else writes meanwhile, the next look does it. */
  async function prune(key: string): Promise<void> {
    const loaded = await records.load(key)
    if (loaded === undefined) return
    const left = standing(loaded.value.requests, await loadNow())
    await replace(key, loaded.value.person, left, loaded.version)
  }

  function list(): Promise<Listing> {
    const readAt = monotonicNow()
    if (known === undefined || readAt - known.readAt >= memoryMs) {
      const made = { readAt, listing: loadAll() }
      known = made
      made.listing.catch(() => {
        if (known === made) known = undefined
      })
    }
    return known.listing
  }

  return {
    list,
    async ask({ app, email, label, lack, person, reason, request }) {
      // Counted over all a moment ago: what comes in between is bounded by how fast people may ask.
      if ((await list()).requests.length >= limits.inAll) return { outcome: 'refused', problem: 'many' }
      const asked = await write<Asked>(person, (present, askedAt) => {
        const refuse = (problem: 'stands' | 'many_of_yours') => ({ requests: undefined, result: { outcome: 'refused', problem } as const })
        if (present.some((one) => one.app.id === app.id && one.state !== 'answered')) return refuse('stands')
        const room = makeRoom(present, limits.perPerson)
        if (room === undefined) return refuse('many_of_yours')
        const one = {
          id: randomBytes(16).toString('base64url'),
          label,
          app,
          reason,
          askedAt,
          lack,
          state: 'open',
          answer: undefined,
        } as const
        return { requests: [...room, one], result: { outcome: 'asked', request: { ...one, person } } }
      })
      if (asked.outcome === 'asked') {
        const subject = { kind: 'person', ...person, ...(email === undefined ? {} : { email }) } as const
        record({ event: 'access.requested', request, subject, app: app.id, accessRequest: asked.request.id, reason })
      }
      return asked
    },
    async listOf(person) {
      const [loaded, at] = await Promise.all([records.load(subjectKeyOf(person)), loadNow()])
      const own = standing(loaded?.value.requests ?? [], at)
      return own.map((one) => ({ ...one, person, answer: one.answer ?? undefined })).sort((a, b) => b.askedAt - a.askedAt)
    },
    async withdraw(person, id, { email, request }) {
      const withdrawn = await write(person, (present) => {
        const meant = present.find((one) => one.id === id && one.state !== 'answered')
        return { requests: meant === undefined ? undefined : present.filter((one) => one !== meant), result: meant }
      })
      if (withdrawn === undefined) return false
      const subject = { kind: 'person', ...person, ...(email === undefined ? {} : { email }) } as const
      record({ event: 'access.request_withdrawn', request, subject, app: withdrawn.app.id, accessRequest: id, reason: undefined })
      return true
    },
    async answer(id, { note, state }, { actor, label }) {
      const find = async () => (await list()).requests.find((one) => one.id === id)
      let listed = await find()
      if (listed === undefined) {
        known = undefined
        listed = await find()
      }
      if (listed === undefined) return undefined
      const { person } = listed
      const answered = await write(person, (present, at) => {
        const meant = present.find((one) => one.id === id)
        if (meant === undefined) return { requests: undefined, result: undefined }
        const changed = { ...meant, state, answer: { at, by: actor, label, note } }
        return { requests: present.map((one) => (one === meant ? changed : one)), result: changed }
      })
      if (answered === undefined) return undefined
      record({
        event: 'access.request_answered',
        actor,
        accessRequest: id,
        app: answered.app.id,
        target: person.sub,
        state,
        reason: note === '' ? undefined : note,
      })
      return { ...answered, person }
    },
  }
}

function standing(requests: AccessRequestsRecord['requests'], at: number): AccessRequestsRecord['requests'] {
  return requests.filter(({ askedAt }) => at - askedAt < keepMs)
}

/** An answer that was long there to be read makes room for another question. */
function makeRoom(present: AccessRequestsRecord['requests'], most: number): AccessRequestsRecord['requests'] | undefined {
  if (present.length < most) return present
  const oldest = present.filter(({ state }) => state === 'answered').sort((a, b) => a.askedAt - b.askedAt)[0]
  return oldest === undefined ? undefined : present.filter((one) => one !== oldest)
}

/** One line, without what does not print; `undefined` for what is empty or too long. */
export function parseRequestText(text: string): string | undefined {
  const line = text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
  return line === '' || line.length > longestRequestText ? undefined : line
}
