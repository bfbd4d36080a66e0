/**
 * What the page of one's sessions shows: each browser in words that its owner would use, the place, and how long ago.
 *
 * Pure. What a browser says of itself is a hint, good enough to recognise one's own; nothing is decided by it.
 */

import type { MySessionsView, MySessionView, PersonView } from './pages.ts'
import { printBrowsers, printSpan, printSystems } from './words.ts'

/** One session as the template needs it. */
export interface SessionCard {
  readonly reference: string
  /** `Chrome on Windows`. */
  readonly title: string
  readonly device: string | undefined
  readonly place: string
  readonly signedIn: string
  readonly lastUsed: string
  readonly isCurrent: boolean
  readonly picture: 'phone' | 'computer'
}

/** What the template of `/sessions` is given. */
export interface MySessionsContent {
  readonly person: PersonView
  readonly cards: readonly SessionCard[]
  readonly otherCount: number
  /** Live, and not shown. */
  readonly hiddenCount: number
  readonly told: string | undefined
  readonly formToken: string
}

/** Nobody reads further; all of them still end together. */
const maxShown = 50
const phones = new Set(['ios', 'ipados', 'android'])
const countries = new Intl.DisplayNames('en', { type: 'region', fallback: 'code' })

/** Everything that the page for `view` shows. */
export function describeMySessions(view: MySessionsView): MySessionsContent {
  const shown = view.sessions.slice(0, maxShown)
  return {
    person: { name: view.person.name, email: view.person.email === view.person.name ? undefined : view.person.email },
    cards: shown.map((session) => describeCard(session, view.at)),
    otherCount: view.sessions.filter(({ isCurrent }) => !isCurrent).length,
    hiddenCount: view.sessions.length - shown.length,
    told: view.ended === undefined ? undefined : toldOf[view.ended],
    formToken: view.formToken,
  }
}

const toldOf = {
  one: 'That session has ended. Whoever used it has to sign in again.',
  others: 'All other sessions have ended. This browser is the only one that is still signed in.',
} as const

function describeCard(session: MySessionView, at: number): SessionCard {
  return {
    reference: session.reference,
    title: titleOf(session),
    device: session.device,
    place: session.country === undefined ? session.address : `${session.address} · ${countryOf(session.country)}`,
    signedIn: agoOf(at - session.startedAt),
    lastUsed: agoOf(at - session.lastUsedAt),
    isCurrent: session.isCurrent,
    picture: phones.has(session.system ?? '') ? 'phone' : 'computer',
  }
}

function titleOf({ browser, system }: MySessionView): string {
  const name = browser === undefined ? undefined : printBrowsers(browser)
  const on = system === undefined ? undefined : printSystems(system)
  if (name === undefined) return on === undefined ? 'A browser that does not say its name' : `A browser on ${on}`
  const begin = name.charAt(0).toLocaleUpperCase('en') + name.slice(1)
  return on === undefined ? begin : `${begin} on ${on}`
}

/** Use is written once a minute: a finer word would not be true. */
function agoOf(ms: number): string {
  return ms < 2 * 60_000 ? 'just now' : `${printSpan(ms)} ago`
}

function countryOf(code: string): string {
  return /^[A-Z]{2}$/.test(code) ? (countries.of(code) ?? code) : code
}
