/**
 * What the portal shows: apps in the order a person looks for them, monograms where there is no logo, the search without script.
 *
 * Pure. Which apps are here was decided before, by the same policy that decides requests.
 */

import { parseOwnPath, parseWebAddress } from './contact.ts'
import type { AppCardView, PersonView, PortalView } from './pages.ts'

/** One card as the template needs it. */
export interface PortalCard {
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
  readonly mustAsk: boolean
  /** What typing is compared with, folded. */
  readonly searchText: string
  /** Does not match what was searched for without script. */
  readonly isHidden: boolean
}

/** What the template of the portal is given. */
export interface PortalContent {
  readonly person: PersonView
  readonly cards: readonly PortalCard[]
  readonly shownCount: number
  readonly query: string | undefined
}

/** Everything that the portal for `view` shows. An app without a safe address is left out. */
export function describePortal(view: PortalView): PortalContent {
  const words = foldText(view.query ?? '')
    .split(/\s+/)
    .filter(Boolean)
  const cards = view.apps
    .flatMap((app) => describeCard(app, words))
    .sort((a, b) => Number(a.mustAsk) - Number(b.mustAsk) || byName.compare(a.name, b.name))
  return {
    person: { name: view.person.name, email: view.person.email === view.person.name ? undefined : view.person.email },
    cards,
    shownCount: cards.filter((card) => !card.isHidden).length,
    query: view.query === undefined || view.query.trim() === '' ? undefined : view.query.slice(0, 200),
  }
}

const byName = new Intl.Collator('en', { sensitivity: 'base', numeric: true })
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

function describeCard(app: AppCardView, words: readonly string[]): PortalCard[] {
  const href = parseWebAddress(app.url)
  if (href === undefined) return []
  const url = new URL(href)
  const shownAddress = `${url.host}${url.pathname === '/' ? '' : url.pathname}`
  const searchText = foldText(`${app.name} ${app.description ?? ''} ${shownAddress} ${app.id}`)
  return [
    {
      name: app.name,
      description: app.description,
      href,
      shownAddress,
      logo: ownPicture(app.logo),
      monogram: monogramOf(app.name),
      hue: hueOf(app.id),
      sensitivity: app.sensitivity === 'restricted' ? 'Restricted' : app.sensitivity === 'confidential' ? 'Confidential' : undefined,
      mustAsk: app.access === 'ask',
      searchText,
      isHidden: !words.every((word) => searchText.includes(word)),
    },
  ]
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

/** Case and accents do not matter when looking for something. The script folds what is typed in the same way. */
function foldText(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
}
