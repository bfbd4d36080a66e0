/**
 * `/console/people`: finding people and sessions, one person's page, and what is done there: ending sessions, locking, lifting.
 *
 * Every page and every change is an operation of the API, asked with whoever is signed in as asker. A session is ended on its person's page,
 * and only if it is theirs. What was done is said with its numbers, as far as they are known.
 */

import type { CarryOut, Refused } from '../operations/operation.ts'
import type { PeopleOperations } from '../operations/people.ts'
import type { SessionsOperations } from '../operations/sessions.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes, Notice } from './console-page.ts'
import { instantView } from './instants.ts'
import { countOf, describeList, describePeople, describeSessions, hrefWith, personHref } from './people-content.ts'
import { describePerson, type FormState, formStateOf, readLockEnd } from './person-content.ts'

export interface PeoplePagesPorts {
  readonly people: PeopleOperations
  readonly sessions: SessionsOperations
  readonly carryOut: CarryOut
  /** For the filter of sessions. */
  readonly apps: () => readonly { readonly id: string; readonly name: string }[]
}

const list = '/console/people'
const pageLength = 50
/** A choice of more is no choice; whoever has more apps writes the id into the address. */
const mostChoices = 200

/** Adds the pages. */
export function mountPeoplePages(routes: ConsoleRoutes, ports: PeoplePagesPorts): void {
  const { carryOut, people, sessions } = ports

  routes.get(list, 'people:read', (request) =>
    request.query.get('show') === 'sessions' && request.may('sessions:read') ? showSessions(request) : showPeople(request),
  )
  routes.get(`${list}/:ref`, 'people:read', (request) => showPerson(request))

  routes.post(`${list}/:ref/revoke`, 'sessions:revoke', async (request, form) => {
    const ref = request.params['ref'] ?? ''
    const session = form.get('session')
    if (session !== null) return await revokeOne(request, ref, session)
    const outcome = await carryOut(people.revoke, { ref, reason: reasonIn(form) }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const { connections, revoked } = outcome.value
    return back(ref, { tone: 'good', text: [endedWords(revoked.length), closingWords(connections)].filter(Boolean).join('; ').concat('.') })
  })

  routes.post(`${list}/:ref/lock`, 'locks:write', async (request, form) => {
    const ref = request.params['ref'] ?? ''
    const confirm = form.get('confirm') === null ? {} : { confirm: form.get('confirm') }
    const wish = { ref, reason: form.get('reason') ?? '', until: readLockEnd(form), ...confirm }
    const outcome = await carryOut(people.lock, wish, request.asker)
    if (outcome.outcome === 'refused') return await showPerson(request, outcome, formStateOf(form, outcome))
    const until = outcome.value.until === null ? undefined : instantView(Date.parse(outcome.value.until), request.now)
    const how = until === undefined ? 'until the lock is lifted' : `until ${until.iso.slice(0, 16).replace('T', ' ')} UTC`
    return back(ref, {
      tone: 'good',
      text: `${outcome.value.label} is locked ${how}. What was open is being closed; sessions stay and count again once it is over.`,
    })
  })

  routes.post(`${list}/:ref/unlock`, 'locks:write', async (request, form) => {
    const ref = request.params['ref'] ?? ''
    const outcome = await carryOut(people.unlock, { ref, reason: reasonIn(form) ?? 'lifted in the console' }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    return back(ref, { tone: 'good', text: `The lock on ${outcome.value.label} is lifted.` })
  })

  async function showPeople(request: ConsoleRequest): Promise<ConsoleAnswer> {
    const [q, group, after] = ['q', 'group', 'after'].map((name) => request.query.get(name) ?? undefined)
    const outcome = await carryOut(people.list, { q, group, after, limit: pageLength }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const content = {
      q: q ?? '',
      group: group ?? '',
      isFiltered: (q ?? '') !== '' || (group ?? '') !== '',
      rows: describePeople(outcome.value, request.now),
      list: describeList(outcome.value, {
        hrefOf: (next) => hrefWith(list, { q, group, after: next }),
        path: after === undefined ? undefined : hrefWith(list, { q, group }),
        now: request.now,
        unit: 'person',
      }),
      maySeeSessions: request.may('sessions:read'),
    }
    return { kind: 'page', template: 'people', title: 'People', section: 'people', content }
  }

  async function showSessions(request: ConsoleRequest): Promise<ConsoleAnswer> {
    const given = ['q', 'address', 'device', 'app', 'after'].map((name) => request.query.get(name)?.trim() || undefined)
    const [q, address, device, app, after] = given
    const filter = { show: 'sessions', q, address, device, app }
    const outcome = await carryOut(sessions.search, { q, address, device, app, after, limit: pageLength }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const content = {
      filter: { q: q ?? '', address: address ?? '', device: device ?? '', app: app ?? '' },
      isFiltered: [q, address, device, app].some((one) => one !== undefined),
      apps: ports.apps().slice(0, mostChoices),
      rows: describeSessions(outcome.value.entries, request.now),
      list: describeList(outcome.value, {
        hrefOf: (next) => hrefWith(list, { ...filter, after: next }),
        path: after === undefined ? undefined : hrefWith(list, filter),
        now: request.now,
        unit: 'session',
      }),
    }
    return { kind: 'page', template: 'people-sessions', title: 'Sessions', section: 'people', content }
  }

  async function showPerson(request: ConsoleRequest, refused?: Refused, form?: FormState): Promise<ConsoleAnswer> {
    if (refused !== undefined && (refused.problem === 'target_protected' || refused.problem === 'not_permitted')) return refusal(refused)
    const outcome = await carryOut(people.get, { ref: request.params['ref'] ?? '' }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const content = describePerson(outcome.value, { form, may: request.may, now: request.now })
    return {
      kind: 'page',
      template: 'person',
      title: content.title,
      section: 'people',
      content,
      status: refused === undefined ? 200 : refused.problem === 'confirmation_needed' ? 409 : 400,
    }
  }

  /** One of this person's sessions: the id of somebody else's is nothing on this page. */
  async function revokeOne(request: ConsoleRequest, ref: string, session: string): Promise<ConsoleAnswer> {
    const found = await carryOut(people.get, { ref }, request.asker)
    if (found.outcome === 'refused') return refusal(found)
    if (!found.value.sessions.some(({ id }) => id === session)) {
      return back(ref, { tone: 'info', text: 'That session has ended already.' })
    }
    const outcome = await carryOut(sessions.revoke, { sessions: [session] }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    return back(ref, { tone: 'good', text: `${endedWords(outcome.value.revoked.length)}. What was open under it is being closed.` })
  }
}

/** `2 sessions ended`. */
export function endedWords(number: number): string {
  return number === 0 ? 'No session was open' : `${countOf(number, 'session')} ended`
}

/** `1 open connection is being closed`; nothing where nobody could count. */
export function closingWords(connections: number | null): string | undefined {
  if (connections === null) return 'what is open is being closed'
  return connections === 0
    ? 'no connection was open'
    : `${countOf(connections, 'open connection')} ${connections === 1 ? 'is' : 'are'} being closed`
}

/** A refusal as a page; what is not there is nowhere. */
export function refusal(refused: Refused): ConsoleAnswer {
  const isNowhere = refused.problem === 'not_found' || refused.problem === 'device_unknown'
  return isNowhere ? { kind: 'not_found' } : { kind: 'refused', refusal: refused }
}

/** The reason of a form; `undefined` for none. */
export function reasonIn(form: URLSearchParams): string | undefined {
  const reason = (form.get('reason') ?? '').trim()
  return reason === '' ? undefined : reason
}

function back(ref: string, notice: Notice): ConsoleAnswer {
  return { kind: 'redirect', to: personHref(ref), notice }
}
