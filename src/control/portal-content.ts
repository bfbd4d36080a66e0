/**
 * What the portal shows: apps in the order a person looks for them, monograms where there is no logo, the search without script, and of many apps
 * where the other pages are.
 *
 * Pure. Which apps are here was decided before, by the same policy that decides requests; of one that is closed, the words are those of its own
 * refusal.
 */

import { type Contact, parseOwnPath, parseWebAddress } from './contact.ts'
import type { AppCardView, PersonView, PortalView } from './pages.ts'
import { compareNames, longestQuery, matches, type PortalListing, searchTextOf, wordsOf } from './portal-listing.ts'
import { type Action, describeRefusal, type RefusalBrand } from './refusal-content.ts'
import { printSpan } from './words.ts'

/** One card as the template needs it. */
export interface PortalCard {
  readonly id: string
  readonly name: string
  readonly description: string | undefined
  readonly href: string
  /** Host, with port and path where it has them. */
  readonly shownAddress: string
  readonly logo: string | undefined
  readonly monogram: string
  /** One of the twelve colours of the stylesheet, always the same for an app. */
  readonly hue: number
  readonly sensitivity: 'Confidential' | 'Restricted' | undefined
  /** A visit leads to a better sign-in, and back to the app. */
  readonly stepUp: { readonly title: string; readonly label: string } | undefined
  /** Why it is closed now, and what would help. */
  readonly closed: ClosedWords | undefined
  readonly request: { readonly asked: string | undefined; readonly href: string } | undefined
  /** What typing is compared with, folded; empty where the server searches. */
  readonly searchText: string
  /** Does not match what was searched for without script. */
  readonly isHidden: boolean
}

/** What a card says of an app that is closed to this person. */
export interface ClosedWords {
  readonly title: string
  readonly happened: string
  readonly steps: readonly { readonly title: string; readonly text: string }[]
  /** Where nothing more particular would help. */
  readonly helps: string | undefined
  readonly note: string | undefined
  readonly contacts: readonly Contact[]
  readonly action: Action | undefined
}

/** What the template of the portal is given. */
export interface PortalContent {
  readonly person: PersonView
  /** Those that open, and those that open after a better sign-in. */
  readonly cards: readonly PortalCard[]
  readonly closed: readonly PortalCard[]
  readonly locked:
    | { readonly title: string; readonly text: string; readonly helps: string; readonly contacts: readonly Contact[] }
    | undefined
  readonly links: readonly { readonly href: string; readonly label: string }[]
  readonly formToken: string
  /** Where so much is closed, each has a link to its form in place of the form, which would be most of the page. */
  readonly hasForms: boolean
  readonly shownCount: number
  readonly query: string | undefined
  /** There are more apps than a page shows: the server searches and turns the pages. */
  readonly pager: PortalPager | undefined
}

/** Where one is among many apps, and the way on. */
export interface PortalPager {
  readonly said: string
  readonly place: string
  readonly previous: string | undefined
  readonly next: string | undefined
}

/** Everything that the portal for `view` shows. An app without a safe address is left out. */
export function describePortal(view: PortalView, brand: RefusalBrand): PortalContent {
  // Of a page, all match.
  const words = view.listing === undefined ? wordsOf(view.query) : []
  const all = view.apps
    .flatMap((app) => describeCard(app, { words, at: view.at ?? 0, brand, isPage: view.listing !== undefined }))
    .sort((a, b) => compareNames(a.name, b.name))
  const query = view.query === undefined || view.query.trim() === '' ? undefined : view.query.trim().slice(0, longestQuery)
  const closedCards = all.filter(({ closed }) => closed !== undefined)
  return {
    person: { name: view.person.name, email: view.person.email === view.person.name ? undefined : view.person.email },
    cards: all.filter(({ closed }) => closed === undefined),
    closed: closedCards,
    hasForms: closedCards.length <= mostForms,
    locked: view.locked === undefined ? undefined : describeLock(view, brand),
    links: links.filter(({ href }) => href === '/sessions' || view.pages?.includes(href) === true),
    formToken: view.formToken ?? '',
    shownCount: all.filter((card) => !card.isHidden).length,
    query,
    pager: view.listing === undefined ? undefined : describePager(view.listing, query),
  }
}

function describePager({ first, found, last, page, pages, total }: PortalListing, query: string | undefined): PortalPager {
  const hrefOf = (number: number) =>
    number < 1 || number > pages
      ? undefined
      : `/?${new URLSearchParams({ ...(query === undefined ? {} : { q: query }), page: String(number) })}`
  const left = found - last
  const what = query === undefined ? `Your ${total} apps` : `${found} of your ${total} apps ${found === 1 ? 'matches' : 'match'} “${query}”`
  return {
    said: pages === 1 ? `${what}.` : `${what}: ${first} to ${last} on this page, those that open first.`,
    place: `Page ${page} of ${pages}${left === 0 ? '' : `, ${left} more ${left === 1 ? 'app' : 'apps'} on the next ${pages - page === 1 ? 'page' : 'pages'}`}`,
    previous: hrefOf(page - 1),
    next: hrefOf(page + 1),
  }
}

/** More closed apps than this are looked through, not read. */
const mostForms = 20

const links = [
  { href: '/sessions', label: 'Where you are signed in' },
  { href: '/devices', label: 'Your devices' },
  { href: '/requests', label: 'What you asked for' },
  { href: '/privacy', label: 'What is known about you' },
  { href: '/console', label: 'Console' },
]

function describeLock({ locked, person, requestId = '' }: PortalView, brand: RefusalBrand): NonNullable<PortalContent['locked']> {
  const facts = { ...nothingElse, reason: 'locked', requestId, person: person.email ?? person.name } as const
  const { contacts, helps, title } = describeRefusal(facts, brand)
  return {
    title,
    text: `An administrator has locked your ${locked === 'device' ? 'device' : 'account'}, so no app opens.`,
    helps,
    contacts,
  }
}

/** What the portal has no part in: each of these is a page's own. */
const nothingElse = { app: undefined, unmet: [], retryPath: undefined, signInUrl: undefined, signOutUrl: undefined, portalUrl: '' } as const

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

interface CardSurroundings {
  readonly words: readonly string[]
  readonly at: number
  readonly brand: RefusalBrand
  readonly isPage: boolean
}

function describeCard(app: AppCardView, { at, brand, isPage, words }: CardSurroundings): PortalCard[] {
  const href = parseWebAddress(app.url)
  if (href === undefined) return []
  const url = new URL(href)
  const shownAddress = `${url.host}${url.pathname === '/' ? '' : url.pathname}`
  const searchText = isPage ? '' : searchTextOf(app, shownAddress)
  return [
    {
      id: app.id,
      name: app.name,
      description: app.description === undefined ? undefined : cutText(app.description),
      href,
      shownAddress,
      logo: ownPicture(app.logo),
      monogram: monogramOf(app.name),
      hue: hueOf(app.id),
      sensitivity: app.sensitivity === 'restricted' ? 'Restricted' : app.sensitivity === 'confidential' ? 'Confidential' : undefined,
      stepUp: app.access === 'step_up' ? stepUpWords[app.wanted ?? 'stronger'] : undefined,
      closed: app.access === 'ask' ? describeClosed(app, at, brand) : undefined,
      request:
        app.request === undefined
          ? undefined
          : {
              asked: app.request.askedAt === undefined ? undefined : agoOf(at - app.request.askedAt),
              href: `/requests?${new URLSearchParams({ app: app.id })}`,
            },
      searchText,
      isHidden: !matches(searchText, words),
    },
  ]
}

function agoOf(ms: number): string {
  return ms < 60_000 ? 'just now' : `${printSpan(ms)} ago`
}

/** Three lines of a description are shown. */
function cutText(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`
}

/** The visit itself leads through the sign-in that is wanted, and back to the app. */
const stepUpWords = {
  stronger: { title: 'Opens after a stronger sign-in', label: 'Sign in again with a second factor' },
  fresher: { title: 'Opens after a more recent sign-in', label: 'Sign in again' },
} as const

const signInAgain = 'Sign out and in again'

function describeClosed({ name, refusal, url }: AppCardView, at: number, brand: RefusalBrand): ClosedWords {
  const { help, owner, ...said } = refusal ?? {
    reason: 'no_rule_matched' as const,
    unmet: [],
    requestId: '',
    person: undefined,
    owner: undefined,
    help: undefined,
  }
  const facts = { ...nothingElse, ...said, at, app: { name, url, owner, help }, signOutUrl: '/.postern/sign-out' }
  const { actions, contacts, happened, helps, note, steps, title } = describeRefusal(facts, brand)
  return {
    ...{ title, happened, steps, note, contacts },
    helps: steps.length === 0 ? helps : undefined,
    action: actions.find(({ label }) => label === signInAgain),
  }
}

/** Only pictures that our pages may load without asking anyone: our own assets, and what is written out in full. */
function ownPicture(logo: string | undefined): string | undefined {
  if (logo?.startsWith('/.postern/assets/') === true) return parseOwnPath(logo)
  return logo !== undefined && /^data:image\/(?:png|jpeg|webp|svg\+xml)[;,]/.test(logo) ? logo : undefined
}

/** Spreads ids over the colours. */
function hueOf(id: string): number {
  let sum = 0
  for (const character of id) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 1_000_003
  return sum % 12
}

/** First characters of the first two words, as a person counts characters; an emoji stands alone. */
function monogramOf(name: string): string {
  const initials = name
    .trim()
    .split(/[\s_/.-]+/u)
    .flatMap((word) => graphemes.segment(word)[Symbol.iterator]().next().value?.segment ?? [])
  const first = initials[0] ?? '?'
  const second = initials[1] ?? ''
  // Two letters side by side are initials only where letters do not join or stack.
  const isInitial = /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{N}]/u
  return (isInitial.test(first) && isInitial.test(second) ? first + second : first).toLocaleUpperCase('en')
}
