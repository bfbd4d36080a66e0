/**
 * What the pages of service tokens show. Pure: tokens as the operations tell them in, plain data for templates out.
 */

import { type TokenPermission, tokenPermissions } from '../../administration/token-scope.ts'
import type { TokenView } from '../operations/tokens.ts'
import { type InstantView, instantView } from './instants.ts'

export interface TokenRow {
  readonly id: string
  readonly name: string
  readonly href: string
  readonly state: TokenView['state']
  readonly tone: 'good' | 'quiet' | 'bad' | 'warn'
  readonly scopes: readonly string[]
  readonly createdBy: string
  /** Whoever made it may make none any more: somebody should look whether it is still needed. */
  readonly isLeftBehind: boolean
  readonly rotatedBy: readonly string[]
  readonly parents: readonly { readonly id: string; readonly href: string }[]
  readonly created: InstantView | undefined
  /** When it ends, or did. */
  readonly ends: InstantView | undefined
  readonly used: InstantView | undefined
  readonly rotated: InstantView | undefined
  readonly previousEnds: InstantView | undefined
  readonly isLiving: boolean
  /** A week or less is left. */
  readonly endsSoon: boolean
}

/** A choice of the form that makes a token. */
export interface ScopeGroup {
  readonly title: string
  readonly choices: readonly { readonly scope: TokenPermission; readonly words: string; readonly isChosen: boolean }[]
}

const soonMs = 7 * 86_400_000

/** One token. */
export function describeTokenRow(token: TokenView, now: number): TokenRow {
  const at = (text: string | null) => (text === null ? undefined : Date.parse(text))
  const view = (text: string | null) => instantView(at(text), now)
  const isLiving = token.state === 'active'
  const endsSoon = isLiving && Date.parse(token.expires_at) - now < soonMs
  return {
    id: token.id,
    name: token.name,
    href: hrefOf(token.id),
    state: token.state,
    tone: isLiving ? (endsSoon ? 'warn' : 'good') : token.state === 'revoked' ? 'bad' : 'quiet',
    scopes: token.scopes,
    createdBy: token.created_by,
    isLeftBehind: token.maker_may === false,
    rotatedBy: token.rotated_by,
    parents: token.parents.map((id) => ({ id, href: hrefOf(id) })),
    created: view(token.created_at),
    ends: view(token.revoked_at ?? token.expires_at),
    used: view(token.last_used_at),
    rotated: view(token.rotated_at),
    previousEnds: view(token.previous_until),
    isLiving,
    endsSoon,
  }
}

function hrefOf(id: string): string {
  return `/console/tokens/${encodeURIComponent(id)}`
}

/** What each permission lets a program do, in the words of the form. A permission that is added needs words: this is complete by its type. */
const scopeWords: Readonly<Record<TokenPermission, string>> = {
  'overview:read': 'See the overview',
  'policy:read': 'Read policy and apps',
  'policy:write': 'Make, change and try drafts',
  'policy:publish': 'Publish drafts, restore revisions',
  'people:read': 'Look at people',
  'sessions:read': 'List sessions',
  'sessions:revoke': 'End sessions',
  'locks:read': 'List locks',
  'locks:write': 'Lock and unlock',
  'devices:read': 'Look at devices',
  'devices:block': 'Block and unblock devices',
  'devices:write': 'Register, approve, tag and remove devices',
  'devices:report': 'Report the posture of devices',
  'connections:read': 'List open connections',
  'connections:cut': 'Cut open connections',
  'audit:read': 'Search, verify and export the trail',
  'tokens:read': 'List tokens',
  'tokens:write': 'Make, rotate and revoke tokens',
  'requests:read': 'Read requests for access',
  'requests:write': 'Answer requests for access',
}

const groupTitles: Readonly<Record<string, string>> = {
  overview: 'Overview',
  policy: 'Policy and apps',
  people: 'People',
  sessions: 'Sessions',
  locks: 'Locks',
  devices: 'Devices',
  connections: 'Connections',
  audit: 'Trail',
  tokens: 'Service tokens',
  requests: 'Requests',
}

/** The choices, by what they are about. */
export function describeScopes(chosen: readonly string[]): readonly ScopeGroup[] {
  const groups = new Map<string, TokenPermission[]>()
  for (const permission of tokenPermissions) {
    const [about = ''] = permission.split(':')
    groups.set(about, [...(groups.get(about) ?? []), permission])
  }
  return [...groups].map(([about, scopes]) => ({
    title: groupTitles[about] ?? about,
    choices: scopes.map((scope) => ({ scope, words: scopeWords[scope], isChosen: chosen.includes(scope) })),
  }))
}

const day = 86_400

/** How long a new token may live: what the form offers. */
export const lifetimeChoices = [
  { seconds: 7 * day, words: '7 days' },
  { seconds: 30 * day, words: '30 days' },
  { seconds: 90 * day, words: '90 days' },
  { seconds: 180 * day, words: '180 days' },
  { seconds: 365 * day, words: '1 year' },
] as const

/** How long the secret before a rotation goes on. */
export const graceChoices = [
  { seconds: 0, words: 'Ends at once' },
  { seconds: 3_600, words: '1 hour' },
  { seconds: day, words: '1 day' },
  { seconds: 7 * day, words: '7 days' },
  { seconds: 30 * day, words: '30 days' },
] as const
