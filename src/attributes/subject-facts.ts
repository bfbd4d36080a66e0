/**
 * What a decision may believe about the subject of a session, worked out from the provider's claims.
 *
 * Trusts claims that `oidc` verified, but not that they say what a rule needs: an e-mail counts only if the provider vouches for it
 * and it is one unmistakable address; groups count only if the provider stated them in full. Everything else is unknown, with why.
 * Runs for every request, so the result is kept for as long as the claims object lives; claims are replaced whole, never changed.
 */

import { findClaim } from '../policy/claim-path.ts'
import type { ClaimSet, Known, SubjectFacts } from '../policy/facts.ts'
import type { Session, SessionLookup } from '../session/session.ts'

/** How the provider's claims are to be read; `provider` of the instance configuration has these. */
export interface ClaimSettings {
  /** Claim paths, split at their dots; the first that is present counts. */
  readonly claims: { readonly groups: readonly (readonly string[])[] }
  /** `names` maps a group as the provider calls it (an Entra object id) to the name that rules use. */
  readonly groups: { readonly stripPrefix: string; readonly names: ReadonlyMap<string, string> }
  readonly groupsWhenMissing: 'unknown' | 'none'
  /** Whether an address counts without `email_verified: true`. */
  readonly email: 'verified' | 'trusted'
}

export type ClaimsState = Extract<SessionLookup, { state: 'live' }>['claimsState']

/** Facts about the person of a session. Stale claims stand; with `unknown` ones nothing but issuer and `sub` is known. */
export type SubjectReader = (session: Pick<Session, 'issuer' | 'sub' | 'claims'>, claimsState: ClaimsState) => SubjectFacts

/** The subject of a request without a session. */
export const nobody: SubjectFacts = { kind: 'nobody' }

/** Compiles the settings once. The reader returns the same object for the same claims. */
export function compileSubjectReader(settings: ClaimSettings): SubjectReader {
  const read = new WeakMap<ClaimSet, Extract<SubjectFacts, { kind: 'person' }>>()
  return ({ issuer, sub, claims: { all, at: claimsAt } }, claimsState) => {
    if (claimsState === 'unknown') {
      return { kind: 'person', issuer, sub, email: tooOld, groups: tooOld, claims: tooOld, claimsAt }
    }
    const earlier = read.get(all)
    if (earlier !== undefined && earlier.sub === sub && earlier.issuer === issuer && earlier.claimsAt === claimsAt) return earlier
    const facts = {
      kind: 'person',
      issuer,
      sub,
      email: readEmail(all, settings.email),
      groups: readGroups(all, settings),
      claims: { known: true, value: all },
      claimsAt,
    } as const
    read.set(all, facts)
    return facts
  }
}

/** How a person would recognise themselves on a page: name, user name, address or `sub`, without control characters. */
export function displayNameOf({ sub, claims }: Pick<Session, 'sub' | 'claims'>): string {
  for (const claim of ['name', 'preferred_username', 'email']) {
    const value = findClaim(claims.all, [claim])
    const text = typeof value === 'string' ? value.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').trim() : ''
    if (text !== '') return text.slice(0, 200)
  }
  return sub
}

const tooOld = { known: false, why: 'claims_too_old' } as const

/** One `@`, nothing that quoting, comments or a display name would need, no space: no two readers can disagree on its domain. */
const plainAddress = /^[^\p{Cc}\p{Cf}\p{Z}@<>"(),;:\\[\]]{1,64}@[^\p{Cc}\p{Cf}\p{Z}@<>"(),;:\\[\]]{1,253}$/u

function readEmail(claims: ClaimSet, trust: ClaimSettings['email']): Known<string> {
  const email = findClaim(claims, ['email'])
  if (email === undefined) return { known: false, why: 'claim_absent' }
  // The boolean only: the string "false" is as true as "true" to a careless reader.
  const isVouchedFor = trust === 'trusted' || findClaim(claims, ['email_verified']) === true
  if (typeof email !== 'string' || !isVouchedFor || !plainAddress.test(email)) return { known: false, why: 'email_unverified' }
  return { known: true, value: email }
}

function readGroups(claims: ClaimSet, settings: ClaimSettings): Known<readonly string[]> {
  if (hasOverage(claims)) return { known: false, why: 'groups_overage' }
  for (const path of settings.claims.groups) {
    const value = findClaim(claims, path)
    if (value === undefined) continue
    const groups = typeof value === 'string' ? [value] : value
    // Something there that is no list of names: the provider means to say something that we did not understand.
    if (!Array.isArray(groups) || !groups.every((group) => typeof group === 'string')) return { known: false, why: 'claim_absent' }
    return { known: true, value: nameGroups(groups, settings.groups) }
  }
  return settings.groupsWhenMissing === 'none' ? { known: true, value: [] } : { known: false, why: 'claim_absent' }
}

/** Entra leaves the groups out of a token when there are too many, and says so in one of two ways (OpenID Connect Core §5.6.2). */
function hasOverage(claims: ClaimSet): boolean {
  const flag = findClaim(claims, ['hasgroups'])
  return findClaim(claims, ['_claim_names', 'groups']) !== undefined || flag === true || flag === 'true'
}

function nameGroups(groups: readonly string[], { stripPrefix, names }: ClaimSettings['groups']): readonly string[] {
  const named = groups.map((group) => {
    const bare = stripPrefix !== '' && group.startsWith(stripPrefix) ? group.slice(stripPrefix.length) : group
    return names.get(group) ?? names.get(bare) ?? bare
  })
  return [...new Set(named)].filter((group) => group !== '')
}
