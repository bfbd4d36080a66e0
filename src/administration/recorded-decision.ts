/**
 * A decision from its line in the audit trail, as facts that can be decided again.
 *
 * What the line does not hold is unknown, never guessed; whether that is enough is said beside the facts. The policy that decided may no
 * longer be in force: the caller compares versions and says so.
 */

import type { FoundDecision, TrailLine } from '../audit/find-decision.ts'
import { restoreFacts } from '../audit/recorded-facts.ts'
import type { MethodClass } from '../policy/document.ts'
import type { ClientFacts, Facts, Known } from '../policy/facts.ts'

export interface RecordedDecision {
  readonly request: string
  readonly appId: string | undefined
  readonly host: string
  readonly policy: string
  readonly effect: string
  readonly reason: string
  readonly rule: string | undefined
  readonly at: number
  /** `undefined` where the lines of its facts are not there (an older trail, or files that were removed), or the path was too long for its line. */
  readonly facts: Facts | undefined
}

/** Reads what `findDecision` found. */
export function readRecordedDecision({ decided, facts }: FoundDecision, scheme: 'https' | 'http'): RecordedDecision {
  const at = instantOf(decided['decided_at']) ?? instantOf(decided['at']) ?? 0
  return {
    request: textOf(decided['request']) ?? '',
    appId: textOf(decided['app']),
    host: textOf(decided['host']) ?? '',
    policy: textOf(decided['policy']) ?? '',
    effect: textOf(decided['effect']) ?? '',
    reason: textOf(decided['reason']) ?? '',
    rule: textOf(decided['rule']),
    at,
    facts: factsOf(decided, facts, at, scheme),
  }
}

function factsOf(line: TrailLine, texts: FoundDecision['facts'], at: number, scheme: 'https' | 'http'): Facts | undefined {
  const { device, signIn, subject } = texts
  if (subject === undefined || signIn === undefined || device === undefined) return undefined
  const restored = restoreFacts({ subject, signIn, device }, instantOf(line['claims_at']) ?? at)
  const method = textOf(line['method'])
  const path = textOf(line['path'])
  // A canonical path has no such character: it stands where the rest of a long one was cut, and what is left is another path.
  const isWhole = path?.endsWith('…') === false
  if (restored === undefined || method === undefined || path === undefined || !isWhole) return undefined
  const tlsVersion = textOf(line['tls_version'])
  return {
    ...restored,
    lock: lockOf(line['lock']),
    request: { method, methodClass: classOf(line['method_class'], method), path },
    environment: {
      address: textOf(line['address']) ?? '',
      at,
      scheme,
      tlsVersion: tlsVersion === undefined ? notGathered : { known: true, value: tlsVersion },
      ...circumstancesOf(line['circumstances']),
    },
  }
}

/** A lock that a newer version names, on something this one does not know, is a lock all the same. */
function lockOf(value: unknown): Facts['lock'] {
  if (typeof value !== 'object' || value === null) return undefined
  const { on, until } = value as Readonly<Record<string, unknown>>
  const isKnown = on === 'subject' || on === 'service' || on === 'device'
  return { on: isKnown ? on : 'app', until: instantOf(until) }
}

const notGathered: Known<never> = { known: false, why: 'not_gathered' }
const unknownClient: ClientFacts = { browser: notGathered, browserVersion: notGathered, os: notGathered }

/** What a line keeps of the circumstances; written by `describeCircumstances` of the data plane. */
function circumstancesOf(text: unknown): Pick<Facts['environment'], 'country' | 'asn' | 'client'> {
  const nothing = { country: notGathered, asn: notGathered, client: unknownClient }
  if (typeof text !== 'string') return nothing
  try {
    return { ...nothing, ...(JSON.parse(text) as Partial<typeof nothing>) }
  } catch {
    // Longer than a line keeps, and so cut.
    return nothing
  }
}

function classOf(written: unknown, method: string): MethodClass {
  if (written === 'read' || written === 'write' || written === 'websocket') return written
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? 'read' : 'write'
}

function instantOf(value: unknown): number | undefined {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
