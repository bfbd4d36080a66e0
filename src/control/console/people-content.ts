/**
 * What the pages about people show: people and sessions as rows in the words of whoever helps them.
 *
 * Pure; made of what the operations hand out. Addresses are built here of checked parts; every name stays the text that it is.
 */

import type { PeopleOperations } from '../operations/people.ts'
import type { SessionDetail } from '../operations/people-schemas.ts'
import type { SessionsOperations } from '../operations/sessions.ts'
import { printBrowsers, printSystems } from '../words.ts'
import { type InstantView, instantView } from './instants.ts'

/** What an operation hands out when it was carried out. */
export type ValueOf<O extends { carryOut: (...given: never[]) => Promise<unknown> }> =
  Extract<Awaited<ReturnType<O['carryOut']>>, { readonly outcome: 'done' }> extends { readonly value: infer V } ? V : never

export interface PersonRow {
  readonly href: string
  /** What they are called; an address below it unless that is the same. */
  readonly title: string
  readonly email: string | undefined
  readonly groups: readonly string[]
  readonly moreGroups: number
  /** Set where the provider did not say. */
  readonly areGroupsUnknown: boolean
  readonly isAdmin: boolean
  readonly sessions: number
  readonly lastUsed: InstantView | undefined
  readonly seen: InstantView | undefined
}

export interface SessionRow {
  readonly id: string
  readonly personHref: string
  readonly person: string
  /** `Chrome on Windows`. */
  readonly browser: string
  readonly place: string
  readonly device: string | undefined
  readonly apps: readonly string[]
  readonly moreApps: number
  readonly signIn: string | undefined
  readonly started: InstantView | undefined
  readonly lastUsed: InstantView | undefined
  readonly ends: InstantView | undefined
  readonly isProtected: boolean
}

export interface ListFacts {
  readonly total: string
  /** `as of 2 min ago`, or that it is being read. */
  readonly age: string
  readonly isCut: boolean
  readonly next: string | undefined
  readonly first: string | undefined
}

const mostGroups = 4
const mostApps = 6
const countries = new Intl.DisplayNames('en', { type: 'region', fallback: 'code' })

/** The page of a person. */
export function personHref(ref: string): string {
  return `/console/people/${encodeURIComponent(ref)}`
}

/** An address of our own with its query; what is empty is left out. */
export function hrefWith(path: string, query: Readonly<Record<string, string | undefined>>): string {
  const set = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== '') set.set(name, value)
  return set.size === 0 ? path : `${path}?${set}`
}

/** `1 session`, `2 sessions`. */
export function countOf(number: number, unit: string): string {
  return `${new Intl.NumberFormat('en').format(number)} ${number === 1 ? unit : unit === 'person' ? 'people' : `${unit}s`}`
}

/** What stands under a list. */
export function describeList(
  found: { readonly total: number; readonly read_at: string | null; readonly is_cut: boolean; readonly next: string | null },
  { hrefOf, now, path, unit }: { hrefOf: (after: string) => string; now: number; path: string | undefined; unit: string },
): ListFacts {
  const readAt = found.read_at === null ? undefined : instantView(Date.parse(found.read_at), now)?.text
  return {
    total: countOf(found.total, unit),
    age: readAt === undefined ? 'being read for the first time: reload in a moment' : `as of ${readAt}`,
    isCut: found.is_cut,
    next: found.next === null ? undefined : hrefOf(found.next),
    first: path,
  }
}

/** The rows of people. */
export function describePeople({ entries }: ValueOf<PeopleOperations['list']>, now: number): readonly PersonRow[] {
  return entries.map((person) => {
    const title = person.name ?? person.email ?? person.sub
    return {
      href: personHref(person.ref),
      title,
      email: person.email === title ? undefined : (person.email ?? undefined),
      groups: (person.groups ?? []).slice(0, mostGroups),
      moreGroups: Math.max(0, (person.groups ?? []).length - mostGroups),
      areGroupsUnknown: person.groups === null,
      isAdmin: person.is_admin,
      sessions: person.sessions,
      lastUsed: at(person.last_used_at, now),
      seen: at(person.seen_at, now),
    }
  })
}

/** The rows of sessions. */
export function describeSessions(entries: ValueOf<SessionsOperations['search']>['entries'], now: number): readonly SessionRow[] {
  return entries.map((session) => ({
    id: session.id,
    personHref: personHref(session.person),
    person: session.email ?? session.name ?? session.sub,
    browser: browserOf(session),
    place: placeOf(session),
    device: session.device ?? undefined,
    apps: session.apps.slice(0, mostApps).map(({ name }) => name),
    moreApps: Math.max(0, session.apps.length - mostApps),
    signIn: session.acr ?? (session.amr.length === 0 ? undefined : session.amr.join(', ')),
    started: at(session.started_at, now),
    lastUsed: at(session.last_used_at, now),
    ends: at(session.idle_ends_at, now),
    isProtected: session.is_admin,
  }))
}

/** An instant of JSON as pages say it. */
export function at(text: string | null, now: number): InstantView | undefined {
  return text === null ? undefined : instantView(Date.parse(text), now)
}

function browserOf({ browser, os }: Pick<SessionDetail, 'browser' | 'os'>): string {
  const name = browser === null ? undefined : printBrowsers(browser)
  const on = os === null ? undefined : printSystems(os)
  if (name === undefined) return on === undefined ? 'A browser that does not say its name' : `A browser on ${on}`
  const begin = name.charAt(0).toLocaleUpperCase('en') + name.slice(1)
  return on === undefined ? begin : `${begin} on ${on}`
}

function placeOf({ address, country }: Pick<SessionDetail, 'address' | 'country'>): string {
  if (country === null) return address
  return `${address} · ${/^[A-Z]{2}$/.test(country) ? (countries.of(country) ?? country) : country}`
}
