/**
 * Which of a person's apps stand on which page of the portal: those that open first, then those that do not, each in the order of their names.
 *
 * Pure. What comes in was chosen by the policy before; a search finds less of it and never more, and every count is of what the person may know
 * of. Where everything fits on one page there are no pages, and the browser filters as one types. Page and words come from the address, so they are
 * a stranger's: a page that there is not is the nearest that there is.
 */

import type { KnownApp } from './portal-apps.ts'

/** What a page has room for, in cards of apps that open; all that it is made of has to stay below 150 kB. */
export const roomOnAPage = 100
/** A closed card says why and what would help, and is twice as long. */
const roomOfClosed = 2
/** Of a description: three lines are shown, and all of it would be a page by itself. */
const longestSearched = 500
/** Nobody types more to find an app. */
export const longestQuery = 200

/** Where among a person's apps a page is. */
export interface PortalListing {
  /** How many the person may know of. */
  readonly total: number
  /** How many of them match what was searched for; without a search, all. */
  readonly found: number
  /** Which of those found are on this page, from 1; both 0 where there are none. */
  readonly first: number
  readonly last: number
  /** From 1. */
  readonly page: number
  readonly pages: number
}

/** A page of a person's apps. */
export interface AppsPage {
  readonly apps: readonly KnownApp[]
  /** `undefined`: these are all, whatever was searched for. */
  readonly listing: PortalListing | undefined
}

/** The apps of the page that was asked for. */
export function pageOfApps(
  known: readonly KnownApp[],
  asked: { readonly query: string | undefined; readonly page: string | undefined },
): AppsPage {
  if (roomOf(known) <= roomOnAPage) return { apps: known, listing: undefined }
  const words = wordsOf(asked.query)
  const found = words.length === 0 ? known : known.filter(({ app }) => matches(searchTextOf(app, addressOf(app.address)), words))
  const open = found.filter((one) => !isClosed(one)).sort(byName)
  const inOrder = [...open, ...found.filter(isClosed).sort(byName)]
  const pages = Math.max(1, Math.ceil(roomOf(found) / roomOnAPage))
  const page = Math.min(pages, /^\d{1,6}$/.test(asked.page ?? '') ? Math.max(1, Number(asked.page)) : 1)
  const indexAt = (room: number) => (room <= open.length ? room : open.length + Math.ceil((room - open.length) / roomOfClosed))
  const from = indexAt((page - 1) * roomOnAPage)
  const apps = inOrder.slice(from, indexAt(page * roomOnAPage))
  const last = from + apps.length
  return { apps, listing: { total: known.length, found: found.length, first: Math.min(from + 1, last), last, page, pages } }
}

function roomOf(apps: readonly KnownApp[]): number {
  return apps.reduce((sum, one) => sum + (isClosed(one) ? roomOfClosed : 1), 0)
}

/** What is typed is compared with this. */
export function searchTextOf(
  { description, id, name }: { readonly id: string; readonly name: string; readonly description: string | undefined },
  shownAddress: string,
): string {
  return foldText(`${name} ${(description ?? '').slice(0, longestSearched)} ${shownAddress} ${id}`)
}

/** The words of a search, each of which has to be there. */
export function wordsOf(query: string | undefined): readonly string[] {
  return foldText((query ?? '').slice(0, longestQuery))
    .split(/\s+/)
    .filter(Boolean)
}

/** Whether a text of `searchTextOf` has all the words of `wordsOf`. */
export function matches(searchText: string, words: readonly string[]): boolean {
  return words.every((word) => searchText.includes(word))
}

/** The order of names as people expect it: `App 9` before `App 10`. */
export const compareNames = new Intl.Collator('en', { sensitivity: 'base', numeric: true }).compare

function byName(a: KnownApp, b: KnownApp): number {
  return compareNames(a.app.name, b.app.name)
}

function isClosed({ decision }: KnownApp): boolean {
  return decision.effect === 'deny'
}

/** As the card shows it. */
function addressOf({ origin, prefix }: KnownApp['app']['address']): string {
  const url = new URL(`${origin}${prefix}`)
  return `${url.host}${url.pathname === '/' ? '' : url.pathname}`
}

/** Case and accents do not matter when looking for something. The script folds what is typed in the same way. */
function foldText(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
}
