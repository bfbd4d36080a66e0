/**
 * Selectors of subjects (`users`, `groups`, `domains`, `claims` …) compiled to functions with a three-valued result.
 *
 * What nobody and services lack is known to be lacking; what a person's provider did not say, or said too long ago, is unknown.
 * Addresses are compared as a whole and only if they have exactly one `@`: no plus or dot equivalence, no suffix match, and
 * letters beyond ASCII are never folded, since several of them fold to ASCII ones and could impersonate an address.
 */

import { findClaim } from './claim-path.ts'
import type { TraceInput } from './condition.ts'
import type { Unmet } from './decision.ts'
import type { ClaimSelector, Scalar, Who } from './document.ts'
import type { SubjectFacts, UnknownReason } from './facts.ts'
import { and, type Outcome, or, outcomeOf } from './outcome.ts'

export interface CompiledWho {
  /** Whether the subject is one of those meant. */
  readonly judge: (subject: SubjectFacts) => Outcome
  /** What this subject could do about an outcome that is not `true`. */
  readonly findRemedy: (subject: SubjectFacts) => Unmet['remedy']
  /** Whether this selector opens a rule to anybody, signed in or not. */
  readonly isPublic: boolean
  /** What it was judged on. */
  readonly trace: (subject: SubjectFacts) => readonly TraceInput[]
}

/** Where a selector stands. `condition`: in a level or a circumstance. */
export type WhoPlace = 'allow' | 'deny' | 'require' | 'condition'

/**
 * Compiles a selector. The place matters for nobody: an allow for `everyone`, and the condition, still mean everyone who signed in (opening
 * something to strangers takes the word `public`); a deny on `everyone` keeps strangers out too, and what is required for
 * `everyone` is required of strangers. `public` anywhere but in an allow is a `TypeError`.
 */
export function compileWho(who: Who, place: WhoPlace): CompiledWho {
  switch (who.kind) {
    case 'public':
      if (place !== 'allow') throw new TypeError(`\`public\` has no meaning in a ${place}`)
      return { ...known('anybody', () => true), isPublic: true }
    case 'everyone':
      return known(
        'everyone',
        (subject) => place === 'deny' || place === 'require' || subject.kind === 'person' || subject.kind === 'service',
      )
    case 'signed_in':
      return known('a person', (subject) => subject.kind === 'person')
    case 'services': {
      const names = new Set(who.names)
      return {
        ...known('', (subject) => subject.kind === 'service' && subject.names.some((name) => names.has(name))),
        trace: (subject) => [
          traceOf(subject, {
            fact: 'subject.services',
            wanted: who.names.join(', '),
            value: subject.kind === 'service' ? { known: true, value: subject.names } : none,
            outcome: outcomeOf(subject.kind === 'service' && subject.names.some((name) => names.has(name))),
          }),
        ],
      }
    }
    case 'users':
      return compileUsers(who.emails)
    case 'domains':
      return compileDomains(who.domains)
    case 'groups':
      return compileGroups(who.groups)
    case 'claims':
      return combine(who.claims.map(compileClaim), and, 'true')
    case 'any_of':
      return combine(
        who.of.map((one) => compileWho(one, place)),
        or,
        'false',
      )
    case 'all_of':
      return combine(
        who.of.map((one) => compileWho(one, place)),
        and,
        'true',
      )
  }
}

/** An address as it is compared: ASCII letters small; `undefined` unless there is exactly one `@` with text on both sides. */
export function normaliseEmail(email: string): string | undefined {
  const at = email.indexOf('@')
  if (at <= 0 || at === email.length - 1 || email.includes('@', at + 1)) return undefined
  return lowerAscii(email)
}

function known(wanted: string, holds: (subject: SubjectFacts) => boolean): CompiledWho {
  return {
    judge: (subject) => outcomeOf(holds(subject)),
    findRemedy: () => 'ask_for_access',
    isPublic: false,
    trace: (subject) => [
      traceOf(subject, { fact: 'subject.kind', wanted, value: { known: true, value: subject.kind }, outcome: outcomeOf(holds(subject)) }),
    ],
  }
}

function compileUsers(emails: readonly string[]): CompiledWho {
  const wanted = new Set(emails.map(lowerAscii))
  return byEmail(emails, (email) => wanted.has(email))
}

function compileDomains(domains: readonly string[]): CompiledWho {
  const wanted = new Set(domains.map(lowerAscii))
  return byEmail(domains, (email) => wanted.has(email.slice(email.indexOf('@') + 1)))
}

function byEmail(written: readonly string[], holds: (email: string) => boolean): CompiledWho {
  const judge = (subject: SubjectFacts): Outcome => {
    if (subject.kind !== 'person') return 'false'
    const email = subject.email.known ? normaliseEmail(subject.email.value) : undefined
    return email === undefined ? 'unknown' : outcomeOf(holds(email))
  }
  return {
    judge,
    findRemedy: (subject) => {
      if (subject.kind !== 'person') return 'ask_for_access'
      if (subject.email.known) return normaliseEmail(subject.email.value) === undefined ? 'verify_email' : 'ask_for_access'
      return remedyForUnknown(subject.email.why, 'verify_email')
    },
    isPublic: false,
    trace: (subject) => {
      const value = subject.kind === 'person' ? subject.email : none
      return [traceOf(subject, { fact: 'subject.email', wanted: written.join(', '), value, outcome: judge(subject) })]
    },
  }
}

function compileGroups(groups: readonly string[]): CompiledWho {
  const wanted = new Set(groups)
  const judge = (subject: SubjectFacts): Outcome => {
    if (subject.kind !== 'person') return 'false'
    if (!subject.groups.known) return 'unknown'
    for (const group of subject.groups.value) if (wanted.has(group)) return 'true'
    return 'false'
  }
  return {
    judge,
    findRemedy: (subject) =>
      subject.kind !== 'person' || subject.groups.known ? 'ask_for_access' : remedyForUnknown(subject.groups.why, 'groups_missing'),
    isPublic: false,
    trace: (subject) => {
      const value = subject.kind === 'person' ? subject.groups : none
      return [traceOf(subject, { fact: 'subject.groups', wanted: groups.join(', '), value, outcome: judge(subject) })]
    },
  }
}

function compileClaim({ path, values }: ClaimSelector): CompiledWho {
  const wanted = new Set<unknown>(values)
  const find = (subject: SubjectFacts): TraceInput['value'] => {
    if (subject.kind === 'nobody') return none
    if (subject.kind === 'service') return { known: true, value: findClaim(subject.claims, path) }
    if (!subject.claims.known) return subject.claims
    const value = findClaim(subject.claims.value, path)
    return value === undefined ? { known: false, why: 'claim_absent' } : { known: true, value }
  }
  const judge = (subject: SubjectFacts): Outcome => {
    const claim = find(subject)
    return claim.known ? outcomeOf(holdsAny(claim.value, wanted)) : 'unknown'
  }
  return {
    judge,
    findRemedy: (subject) =>
      subject.kind === 'person' && !subject.claims.known ? remedyForUnknown(subject.claims.why, 'ask_for_access') : 'ask_for_access',
    isPublic: false,
    trace: (subject) => [
      traceOf(subject, {
        fact: `subject.claims.${path.join('.')}`,
        wanted: values.map((value) => JSON.stringify(value)).join(', '),
        value: find(subject),
        outcome: judge(subject),
      }),
    ],
  }
}

/** The claim is one of the values, or a list that contains one. Types count: `1` is not `"1"`. */
function holdsAny(claim: unknown, wanted: ReadonlySet<unknown>): boolean {
  return Array.isArray(claim) ? claim.some((entry: Scalar) => wanted.has(entry)) : wanted.has(claim)
}

/** An empty list is refused: the neutral outcome of `and` is `true`, and a selector that selects nothing must not mean everybody. */
function combine(parts: readonly CompiledWho[], join: (left: Outcome, right: Outcome) => Outcome, neutral: Outcome): CompiledWho {
  const [only] = parts
  if (only === undefined) throw new TypeError('a list of selectors must not be empty')
  if (parts.length === 1) return only
  const decisive: Outcome = neutral === 'true' ? 'false' : 'true'
  return {
    judge: (subject) => {
      let outcome = neutral
      for (const part of parts) {
        outcome = join(outcome, part.judge(subject))
        if (outcome === decisive) return outcome
      }
      return outcome
    },
    findRemedy: (subject) => {
      const unmet = parts.filter((part) => part.judge(subject) !== 'true')
      // Of a conjunction with a part that is certainly false, mending the rest would not help.
      if (neutral === 'true' && unmet.some((part) => part.judge(subject) === 'false')) return 'ask_for_access'
      const remedies = unmet.map((part) => part.findRemedy(subject))
      return easiestFirst.find((remedy) => remedies.includes(remedy)) ?? 'ask_for_access'
    },
    isPublic: neutral === 'true' ? parts.every((part) => part.isPublic) : parts.some((part) => part.isPublic),
    trace: (subject) => parts.flatMap((part) => part.trace(subject)),
  }
}

/** What nobody and services are known to lack. */
const none: TraceInput['value'] = { known: true, value: undefined }

function traceOf(subject: SubjectFacts, input: Omit<TraceInput, 'source' | 'at'>): TraceInput {
  switch (subject.kind) {
    case 'person':
      return { ...input, source: 'ID Token and userinfo', at: subject.claimsAt }
    case 'service':
      return { ...input, source: 'access token', at: undefined }
    default:
      return { ...input, source: 'no session', at: undefined }
  }
}

/** A fixed order, so that of several ways in the same is named wherever it stands in the document. */
const easiestFirst: readonly Unmet['remedy'][] = ['claims_stale', 'verify_email', 'groups_missing']

function remedyForUnknown(why: UnknownReason, otherwise: Unmet['remedy']): Unmet['remedy'] {
  switch (why) {
    case 'claims_too_old':
      return 'claims_stale'
    case 'groups_overage':
      return 'groups_missing'
    case 'email_unverified':
      return 'verify_email'
    default:
      return otherwise
  }
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}
