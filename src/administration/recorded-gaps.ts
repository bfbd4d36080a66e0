/**
 * Whether a recorded request can be decided again: what its line lacks, held against what the rules of an app can look at.
 *
 * Judged before anything is decided. A fact that no rule of the app names may be missing; one that any of them names may not, whether or not
 * it would have made a difference, because nobody can know that. A fact that was unknown when it was decided (an address without a database,
 * claims too old) is no gap: unknown is what the new rules would have seen as well.
 */

import { isIP } from 'node:net'
import type { AskedFacts } from '../policy/asked-facts.ts'
import type { Known } from '../policy/facts.ts'
import type { Evidence, EvidenceLack } from './recorded-decision.ts'

/** Why a request cannot be decided again, with what it says. */
export const gapWords = {
  facts_missing: 'no line of the trail holds its facts',
  facts_unreadable: 'the lines of its facts were cut or changed',
  path_incomplete: 'its path is not recorded in full',
  email_redacted: 'the e-mail address is kept out of the trail',
  groups_redacted: 'the groups are kept out of the trail',
  claims_redacted: 'the claims are kept out of the trail',
  claim_not_recorded: 'a rule speaks of a claim that was not recorded',
  address_redacted: 'the address is kept out of the trail',
  device_not_recorded: 'no rule asked for the device then, and so it was not looked up',
  country_not_recorded: 'the country was not looked up then, or is kept out of the trail',
  asn_not_recorded: 'the network was not looked up then, or is kept out of the trail',
  client_not_recorded: 'the line does not say, or not in full, which browser it was',
  service_changed: 'services of its issuer are, or may be, defined otherwise than when it was decided, and its token is not recorded',
  token_unclear: 'a token is no longer looked at there, and whether it would still have counted is not recorded',
} as const

export type Gap = keyof typeof gapWords

/** Of a lack of evidence altogether. */
export function gapOfLack(lack: EvidenceLack): Gap {
  return lack === 'unreadable' ? 'facts_unreadable' : 'facts_missing'
}

/** What is missing that a rule could ask for; `undefined`: nothing, and the facts can be decided on. */
export function findGap(evidence: Evidence, { claims, facts: asked }: AskedFacts): Gap | undefined {
  const { claimPaths, facts, isClientTold, isPathWhole } = evidence
  const { device, environment, subject } = facts
  if (asked.has('path') && !isPathWhole) return 'path_incomplete'
  if (subject.kind === 'person') {
    if (asked.has('email') && isRedacted(subject.email)) return 'email_redacted'
    if (asked.has('groups') && isRedacted(subject.groups)) return 'groups_redacted'
    if (claims.length > 0 && isRedacted(subject.claims)) return 'claims_redacted'
  }
  const areClaimsKnown = subject.kind === 'service' || (subject.kind === 'person' && subject.claims.known)
  if (areClaimsKnown && !claims.every((path) => isCovered(path, claimPaths))) return 'claim_not_recorded'
  if (asked.has('device') && isUnrecorded(device)) return 'device_not_recorded'
  if (asked.has('address') && isIP(environment.address) === 0) return 'address_redacted'
  if (asked.has('country') && isUnrecorded(environment.country)) return 'country_not_recorded'
  if (asked.has('asn') && isUnrecorded(environment.asn)) return 'asn_not_recorded'
  if (asked.has('client') && (!isClientTold || isRedacted(environment.client.browser))) return 'client_not_recorded'
  return undefined
}

function isRedacted(fact: Known<unknown>): boolean {
  return !fact.known && fact.why === 'redacted'
}

/** What was not looked up is not known to be unknown. */
function isUnrecorded(fact: Known<unknown>): boolean {
  return !fact.known && (fact.why === 'redacted' || fact.why === 'not_gathered')
}

/** Where a claim was recorded as a whole, so were its parts; that it was not there is recorded too. */
function isCovered(path: readonly string[], recorded: ReadonlySet<string>): boolean {
  return path.some((_, index) => recorded.has(JSON.stringify(path.slice(0, index + 1))))
}
