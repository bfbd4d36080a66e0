/**
 * What a line of the trail says for the digest of recent activity; everything else of it is not even parsed.
 *
 * Half of all lines are ends of requests in which nothing failed: those are told by a look at the text. Of the others each field is looked at
 * before it is taken, as everywhere that a line is read.
 */

import { parseTrailLine, type TrailLine } from '../audit/trail-files.ts'

/** What is counted. */
export type ActivityKind = 'allowed' | 'refused' | 'challenged' | 'upstream_failed' | 'signed_in' | 'sign_in_failed'

export interface ActivityPerson {
  readonly issuer: string
  readonly sub: string
  readonly email: string | undefined
}

/** One thing that happened. */
export interface ActivityFact {
  readonly kind: ActivityKind
  /** Epoch milliseconds. */
  readonly at: number
  readonly app: string | undefined
  readonly person: ActivityPerson | undefined
  readonly reason: string | undefined
  /** Of a decision. */
  readonly request: string | undefined
  /** The rule by which it would have been refused, had nothing been in report mode; empty: for want of a rule. */
  readonly wouldRefuseBy: string | undefined
  /** How often. */
  readonly weight: number
}

/** Words that really occurred, for completion. */
export type SeenKind = 'group' | 'acr' | 'amr' | 'country'

export interface SeenWord {
  readonly kind: SeenKind
  readonly value: string
  readonly person: ActivityPerson
}

export interface ActivityReading {
  readonly fact: ActivityFact | undefined
  readonly seen: readonly SeenWord[]
}

const challenges: ReadonlySet<unknown> = new Set(['login_required', 'session_expired', 'session_ended', 'insufficient_user_authentication'])
const kindByEffect: Readonly<Record<string, ActivityKind>> = { allow: 'allowed', deny: 'refused', challenge: 'challenged' }
/** Of one person; somebody in more groups than this has them from a program. */
const mostWords = 100
const longestWord = 200

/** What a line of this event tells; `undefined` for a line that tells nothing here, or is none. */
export function readActivity(event: string, line: string): ActivityReading | undefined {
  switch (event) {
    case 'access.decided':
      return withLine(line, readDecision)
    case 'access.ended':
      return line.includes('"outcome":"upstream_failed"') || line.includes('"status":5') ? withLine(line, readFailure) : undefined
    case 'access.counted':
      return withLine(line, readCounted)
    case 'session.started':
    case 'session.continued':
      return withLine(line, readSignIn)
    case 'sign_in.failed':
      return withLine(line, (fields, at) => ({ fact: factOf('sign_in_failed', at, { reason: textOf(fields['reason']) }), seen: [] }))
    case 'facts.recorded':
      return line.includes('"kind":"subject"') ? withLine(line, readGroups) : undefined
    default:
      return undefined
  }
}

/** Number of the line in its chain; 0 where it says none. */
export function seqIn(line: string): number {
  return Number(/^\{"seq":(\d{1,16}),/.exec(line.slice(0, 32))?.[1] ?? 0)
}

/** The event of a line; empty for what is none. It stands behind number, hash and time, before anything that somebody else chose. */
export function eventOf(line: string): string {
  const mark = '","event":"'
  const from = line.indexOf(mark)
  return from === -1 || from > 160 ? '' : line.slice(from + mark.length, line.indexOf('"', from + mark.length))
}

function withLine(line: string, read: (fields: TrailLine, at: number) => ActivityReading | undefined): ActivityReading | undefined {
  const fields = parseTrailLine(line)
  const at = Date.parse(textOf(fields?.['at']) ?? '')
  return fields === undefined || Number.isNaN(at) ? undefined : read(fields, at)
}

function readDecision(fields: TrailLine, at: number): ActivityReading | undefined {
  const kind = kindByEffect[textOf(fields['effect']) ?? '']
  if (kind === undefined) return undefined
  const person = personIn(fields['subject'])
  const would = mapOf(fields['would'])
  const fact = factOf(kind, at, {
    app: textOf(fields['app']),
    person,
    reason: textOf(fields['reason']),
    request: kind === 'refused' ? textOf(fields['request']) : undefined,
    wouldRefuseBy: kind === 'allowed' && would !== undefined && would['effect'] !== 'allow' ? (textOf(would['rule']) ?? '') : undefined,
  })
  const country = /"country":\{"known":true,"value":"([A-Z]{2})"/.exec(textOf(fields['circumstances']) ?? '')?.[1]
  return { fact, seen: person === undefined || country === undefined ? [] : [{ kind: 'country', value: country, person }] }
}

/** An answer of 5xx, or none that could be passed on. */
function readFailure(fields: TrailLine, at: number): ActivityReading | undefined {
  const status = fields['status']
  const isFailure = fields['outcome'] === 'upstream_failed' || (typeof status === 'number' && status >= 500)
  return isFailure
    ? { fact: factOf('upstream_failed', at, { app: textOf(fields['app']), reason: textOf(fields['reason']) }), seen: [] }
    : undefined
}

/** Strangers, of whom only their number is known. */
function readCounted(fields: TrailLine, at: number): ActivityReading | undefined {
  const count = fields['count']
  const app = textOf(fields['app'])
  if (typeof count !== 'number' || !(count > 0)) return undefined
  const kind = challenges.has(fields['reason']) ? 'challenged' : 'refused'
  return {
    fact: { ...factOf(kind, at, { app, reason: textOf(fields['reason']) }), weight: Math.min(Math.floor(count), 1_000_000) },
    seen: [],
  }
}

function readSignIn(fields: TrailLine, at: number): ActivityReading {
  const person = personIn(fields['subject'])
  const fact = factOf('signed_in', at, { person })
  if (person === undefined) return { fact, seen: [] }
  const acr = textOf(fields['acr'])
  const seen: SeenWord[] = wordsOf(fields['amr']).map((value) => ({ kind: 'amr', value, person }))
  if (acr !== undefined) seen.push({ kind: 'acr', value: acr, person })
  return { fact, seen }
}

/** The facts of a subject name the groups as rules compare them. */
function readGroups(fields: TrailLine): ActivityReading | undefined {
  const facts = mapOf(parseTrailLine(textOf(fields['facts']) ?? ''))
  const person = personIn(facts)
  const groups = mapOf(facts?.['groups'])
  if (person === undefined || groups?.['known'] !== true) return undefined
  return { fact: undefined, seen: wordsOf(groups['value']).map((value) => ({ kind: 'group', value, person })) }
}

function factOf(kind: ActivityKind, at: number, rest: Partial<Omit<ActivityFact, 'kind' | 'at' | 'weight'>>): ActivityFact {
  return {
    kind,
    at,
    app: undefined,
    person: undefined,
    reason: undefined,
    request: undefined,
    wouldRefuseBy: undefined,
    weight: 1,
    ...rest,
  }
}

function personIn(value: unknown): ActivityPerson | undefined {
  const subject = mapOf(value)
  const [issuer, sub] = [textOf(subject?.['issuer']), textOf(subject?.['sub'])]
  if (subject?.['kind'] !== 'person' || issuer === undefined || sub === undefined) return undefined
  // A line has it as text, facts as what is known of it.
  const email = textOf(subject['email']) ?? textOf(mapOf(subject['email'])?.['value'])
  return { issuer, sub, email }
}

function wordsOf(value: unknown): readonly string[] {
  const words = Array.isArray(value) ? (value as readonly unknown[]) : []
  return words.slice(0, mostWords).filter((word): word is string => typeof word === 'string' && word !== '' && word.length <= longestWord)
}

function mapOf(value: unknown): TrailLine | undefined {
  return typeof value === 'object' && value !== null ? (value as TrailLine) : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
