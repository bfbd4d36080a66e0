/**
 * What a person's page shows: who they are, as last seen and when; what is open; what keeps them out; and the forms that an asker may use.
 *
 * Pure. What cannot be done is not offered, and where it is because this person is an admin the page says so.
 */

import type { Permission } from '../../administration/asker.ts'
import type { Refused } from '../operations/operation.ts'
import type { PeopleOperations } from '../operations/people.ts'
import type { InstantView } from './instants.ts'
import { at, describeSessions, personHref, type SessionRow, type ValueOf } from './people-content.ts'

type Person = ValueOf<PeopleOperations['get']>

/** A form as it was sent, shown again with what was wrong. */
export interface FormState {
  readonly values: Readonly<Record<string, string>>
  /** Sentences by field; under the empty name what concerns the whole. */
  readonly errors: Readonly<Record<string, string>>
}

export interface DecisionRow {
  readonly time: InstantView | undefined
  readonly app: string
  readonly what: string
  readonly effect: string
  readonly tone: 'good' | 'bad' | 'warn'
  readonly reason: string
  readonly rule: string | undefined
  /** `undefined` for who may not read the trail. */
  readonly href: string | undefined
}

export interface LockForm extends FormState {
  readonly action: string
  readonly ends: readonly { readonly value: string; readonly label: string; readonly isChosen: boolean }[]
  /** Somebody who locks themself is asked once more. */
  readonly asksToConfirm: boolean
}

export interface PersonContent {
  readonly href: string
  readonly title: string
  readonly email: string | undefined
  readonly name: string | undefined
  readonly sub: string
  readonly issuer: string
  readonly roles: readonly string[]
  readonly isAdmin: boolean
  readonly isOneself: boolean
  readonly groups: readonly string[] | undefined
  readonly seen: InstantView | undefined
  readonly claims: readonly { readonly name: string; readonly value: string }[]
  readonly sessions: readonly SessionRow[]
  readonly devices: readonly { readonly href: string; readonly name: string; readonly isBlocked: boolean; readonly tiedBy: string }[]
  readonly lock: LockView | undefined
  readonly decisions: readonly DecisionRow[]
  readonly decisionsTitle: string
  readonly decisionsNote: string | undefined
  readonly trailHref: string | undefined
  readonly mayRevoke: boolean
  readonly mayLock: boolean
  /** An admin locked, and whoever looks is none. */
  readonly isLockOfOthers: boolean
  /** Why nothing is offered, where it is for whom this is. */
  readonly isHandsOff: boolean
  readonly lockForm: LockForm
  readonly mayReadDevices: boolean
}

export interface LockView {
  readonly reason: string
  readonly by: string
  readonly since: InstantView | undefined
  readonly until: InstantView | undefined
}

/** The ends that a lock form offers; `at` is followed by a field for the instant. */
export const lockEnds = [
  { value: '1h', label: '1 hour' },
  { value: '8h', label: '8 hours' },
  { value: '', label: 'Until it is lifted' },
  { value: 'at', label: 'Until a time (UTC)' },
] as const

const tiedByWords = { session: 'signed in with its certificate', claim: 'named by the provider', owner: 'owner in the inventory' } as const

/** Everything that the page shows. `form` is the lock form as it was sent, if it was. */
export function describePerson(
  person: Person,
  { form, may, now }: { readonly form: FormState | undefined; readonly may: (permission: Permission) => boolean; readonly now: number },
): PersonContent {
  const href = personHref(person.ref)
  return {
    href,
    title: person.name ?? person.email ?? person.sub,
    email: person.email ?? undefined,
    name: person.name ?? undefined,
    sub: person.sub,
    issuer: person.issuer,
    roles: person.roles,
    isAdmin: person.is_admin,
    isOneself: person.is_oneself,
    groups: person.groups ?? undefined,
    seen: at(person.seen_at, now),
    claims: person.claims.filter(({ value }) => value !== person.email && value !== JSON.stringify(person.groups)),
    sessions: describeSessions(person.sessions, now),
    devices: person.devices.map(({ id, name, status, tied_by }) => ({
      href: `/console/devices/${encodeURIComponent(id)}`,
      name,
      isBlocked: status === 'blocked',
      tiedBy: tiedByWords[tied_by],
    })),
    lock: person.lock === null ? undefined : { ...person.lock, since: at(person.lock.since, now), until: at(person.lock.until, now) },
    ...describeDecisions(person.decisions, { mayReadTrail: may('audit:read'), now }),
    trailHref: may('audit:read') ? `/console/trail?${new URLSearchParams({ subject: person.email ?? person.sub })}` : undefined,
    mayRevoke: person.may_act && may('sessions:revoke') && person.sessions.length > 0,
    mayLock: person.may_act && may('locks:write') && (person.lock === null || person.may_lift),
    isLockOfOthers: person.lock !== null && person.may_act && may('locks:write') && !person.may_lift,
    isHandsOff: !person.may_act && (may('sessions:revoke') || may('locks:write')),
    lockForm: describeLockForm(`${href}/lock`, form),
    mayReadDevices: may('devices:read'),
  }
}

/** A lock form, empty or as it was sent. */
export function describeLockForm(action: string, form: FormState | undefined): LockForm {
  const values = form?.values ?? {}
  const chosen = values['until'] ?? '8h'
  return {
    action,
    values,
    errors: form?.errors ?? {},
    ends: lockEnds.map((end) => ({ ...end, isChosen: end.value === chosen })),
    asksToConfirm: form?.errors['confirm'] !== undefined,
  }
}

/** Decisions as rows, newest first. */
export function describeDecisions(
  decisions: Person['decisions'],
  { mayReadTrail, now }: { readonly mayReadTrail: boolean; readonly now: number },
): Pick<PersonContent, 'decisions' | 'decisionsTitle' | 'decisionsNote'> {
  const searchedTo = at(decisions.searched_to, now)
  return {
    decisions: decisions.entries.map(({ app, at: instant, effect, host, method, path, reason, request, rule }) => ({
      time: at(instant, now),
      app: app ?? host,
      what: `${method} ${path}`,
      effect: effectWords[effect] ?? effect,
      tone: effect === 'allow' ? 'good' : effect === 'challenge' ? 'warn' : 'bad',
      reason: reason.replaceAll('_', ' '),
      rule: rule ?? undefined,
      href: mayReadTrail && request !== '' ? `/console/trail/decisions/${encodeURIComponent(request)}` : undefined,
    })),
    decisionsTitle: decisions.only === 'all' ? 'Recent decisions' : 'Recent refusals',
    decisionsNote: searchedTo === undefined ? undefined : `Nothing older than ${searchedTo.text} was looked through.`,
  }
}

const effectWords: Readonly<Record<string, string>> = { allow: 'allowed', deny: 'refused', challenge: 'asked to sign in' }

/** A refusal of an operation as what to say at the fields of its form. */
export function formStateOf(values: URLSearchParams, { detail, message, problem }: Refused): FormState {
  const said = detail?.['fields']
  const errors: Record<string, string> = Object.create(null) as Record<string, string>
  if (problem === 'confirmation_needed') errors['confirm'] = message
  else if (problem === 'until_passed' || message.includes('instant')) errors['until_at'] = message
  else if (problem === 'invalid_order' && message.startsWith('A reason')) errors['reason'] = message
  else if (typeof said === 'object' && said !== null) {
    for (const [name, sentence] of Object.entries(said)) if (typeof sentence === 'string') errors[name] = sentence
  } else errors[''] = message
  const kept = [...values].filter(([name]) => name !== 'form_token' && name !== 'form_page')
  return { values: Object.fromEntries(kept), errors }
}

/** When a lock is to end, as the form says it: a duration, an instant, or `undefined` until it is lifted. */
export function readLockEnd(form: URLSearchParams): string | undefined {
  const until = form.get('until') ?? ''
  if (until !== 'at') return until === '' ? undefined : until
  const typed = (form.get('until_at') ?? '').trim()
  return /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?$/.test(typed) ? `${typed}Z` : typed === '' ? 'at' : typed
}
