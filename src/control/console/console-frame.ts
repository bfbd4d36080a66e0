/**
 * What stands around every page of the console: the way through it, the search, who is signed in, and what was just done.
 *
 * Pure. The navigation shows what this asker may read and what there is: an entry without its page, or without the permission for it, is not
 * printed, so that nobody is led to a refusal. What was asked for is told to the frame as a path of this host and nothing else.
 */

import type { Asker, Permission, Role } from '../../administration/asker.ts'
import type { ConsoleSection, Notice } from './console-page.ts'

/** What templates of the console are told as `it.frame`. */
export interface ConsoleFrame {
  /** Of the document. */
  readonly title: string
  /** Whose entry of the navigation is current; `undefined` on pages that belong to none. */
  readonly section: ConsoleSection | undefined
  /** For forms on this page. Empty where there is nobody who could send one. */
  readonly formToken: string
  /** The page itself, as path and query: where a sign-in leads back to. */
  readonly path: string
  readonly notice: Notice | undefined
  /** Whether this asker holds the permission: a button that would be refused is not shown. */
  readonly may: (permission: Permission) => boolean
  /** Epoch milliseconds. */
  readonly now: number
  readonly asker: { readonly name: string; readonly roles: readonly Role[] }
  readonly navigation: readonly NavigationGroup[]
  /** Where `/` searches; empty where nothing can be searched. */
  readonly search: readonly SearchPlace[]
}

/** Entries that serve one purpose. */
export interface NavigationGroup {
  /** Said above the entries; `undefined` for the first. */
  readonly title: string | undefined
  readonly entries: readonly {
    readonly section: ConsoleSection
    readonly label: string
    readonly href: string
    readonly isCurrent: boolean
  }[]
}

export interface SearchPlace {
  /** Sent back as `in`. */
  readonly name: string
  readonly label: string
  readonly href: string
  readonly isCurrent: boolean
}

interface Entry {
  readonly section: ConsoleSection
  readonly label: string
  readonly href: string
  readonly permission: Permission
}

const groups: readonly { readonly title: string | undefined; readonly entries: readonly Entry[] }[] = [
  { title: undefined, entries: [{ section: 'overview', label: 'Overview', href: '/console', permission: 'overview:read' }] },
  {
    title: 'Access',
    entries: [
      { section: 'apps', label: 'Apps', href: '/console/apps', permission: 'policy:read' },
      { section: 'policy', label: 'Policy', href: '/console/policy', permission: 'policy:read' },
    ],
  },
  {
    title: 'People',
    entries: [
      { section: 'people', label: 'People', href: '/console/people', permission: 'people:read' },
      { section: 'devices', label: 'Devices', href: '/console/devices', permission: 'devices:read' },
      { section: 'connections', label: 'Connections', href: '/console/connections', permission: 'connections:read' },
      { section: 'locks', label: 'Locks', href: '/console/locks', permission: 'locks:read' },
      { section: 'requests', label: 'Requests', href: '/console/requests', permission: 'requests:read' },
    ],
  },
  {
    title: 'Evidence',
    entries: [
      { section: 'trail', label: 'Trail', href: '/console/trail', permission: 'audit:read' },
      { section: 'review', label: 'Access review', href: '/console/review', permission: 'audit:read' },
    ],
  },
  { title: 'Programs', entries: [{ section: 'tokens', label: 'Service tokens', href: '/console/tokens', permission: 'tokens:read' }] },
]

/** Lists that take `q`. */
const searchable: readonly { readonly section: ConsoleSection; readonly permission: Permission }[] = [
  { section: 'people', permission: 'people:read' },
  { section: 'apps', permission: 'policy:read' },
  { section: 'devices', permission: 'devices:read' },
  { section: 'trail', permission: 'audit:read' },
]

/** What the frame of one page is made of. */
export interface FrameFacts {
  readonly title: string
  readonly section: ConsoleSection | undefined
  readonly formToken: string
  readonly path: string
  readonly notice: Notice | undefined
  readonly now: number
  /** `undefined`: somebody without a role, who is shown no way in. */
  readonly asker: Asker | undefined
  /** How somebody without a role is called. */
  readonly name?: string
  /** Whether there is a page at this path. */
  readonly hasPage: (path: string) => boolean
}

/** The frame of one page. */
export function describeFrame({ asker, hasPage, name, section, ...facts }: FrameFacts): ConsoleFrame {
  const may = (permission: Permission) => asker?.permissions.has(permission) === true
  const navigation = groups
    .map(({ title, entries }) => ({
      title,
      entries: entries
        .filter(({ href, permission }) => may(permission) && hasPage(href))
        .map(({ href, label, section: own }) => ({ section: own, label, href, isCurrent: own === section })),
    }))
    .filter(({ entries }) => entries.length > 0)
  const search = findSearchPlaces(may, hasPage)
  return {
    ...facts,
    section,
    may,
    asker: { name: asker?.label ?? name ?? '', roles: asker?.roles ?? [] },
    navigation,
    search: search.map((place) => ({ ...place, isCurrent: place.name === section })),
  }
}

/** The lists that this asker may search. */
export function findSearchPlaces(
  may: (permission: Permission) => boolean,
  hasPage: (path: string) => boolean,
): readonly Omit<SearchPlace, 'isCurrent'>[] {
  const entries = groups.flatMap((group) => group.entries)
  return searchable.flatMap(({ section, permission }) => {
    const entry = entries.find((one) => one.section === section)
    return entry !== undefined && may(permission) && hasPage(entry.href) ? [{ name: section, label: entry.label, href: entry.href }] : []
  })
}
