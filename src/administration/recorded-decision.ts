/**
 * A decision from its line in the audit trail, as facts that can be decided again: the one way back, for `explain` and for `replay`.
 *
 * What the line does not hold is unknown, never guessed; whether the rules of an app could have looked at it, and so whether they can be
 * asked again at all, is for `recorded-gaps.ts` to say. The policy that decided may no longer be in force: the caller compares versions.
 */

import { type EnvironmentReader, readBareEnvironment } from '../attributes/environment-facts.ts'
import type { FoundDecision, TrailLine } from '../audit/find-decision.ts'
import { createRecordedFactsReader, type RecordedFactsReader } from '../audit/recorded-facts.ts'
import type { MethodClass } from '../policy/document.ts'
import type { EnvironmentFacts, FactGroup, Facts, Known } from '../policy/facts.ts'

export interface RecordedDecision {
  readonly request: string
  readonly subject: RecordedSubject
  readonly appId: string | undefined
  readonly host: string
  readonly policy: string
  readonly effect: string
  readonly reason: string
  readonly rule: string | undefined
  /** The instant that it was decided for. */
  readonly at: number
  /** Of the evidence; `undefined` where there is none. */
  readonly facts: Facts | undefined
  /** Or why there is none. */
  readonly evidence: Evidence | EvidenceLack
}

/** Whom the line names, for people to read; `undefined` where the line does not say. */
export interface RecordedSubject {
  readonly kind: string
  readonly issuer: string | undefined
  readonly sub: string | undefined
  readonly email: string | undefined
}

/** What a decision was made from, and how much of it the line holds. */
export interface Evidence {
  readonly facts: Facts
  /** False where the rest of the path did not fit the line, or is kept out of it: what is left is another path. */
  readonly isPathWhole: boolean
  /** False where the line does not say, or not in full, what the browser said of itself, and holds nothing that was read from it. */
  readonly isClientTold: boolean
  /** Paths of the claims that were looked for then, as JSON. */
  readonly claimPaths: ReadonlySet<string>
}

/** `none`: it was settled before there was anything to decide, or is a stranger's. `missing`: their lines are not there. `unreadable`: cut, or changed. */
export type EvidenceLack = 'none' | 'missing' | 'unreadable'

/** Reads decisions one after the other. Facts that several of them share are the same objects. */
export type DecisionReader = (line: TrailLine, facts: RecordedFactsReader) => RecordedDecision

/** Reads what `findDecision` found. */
export function readRecordedDecision(
  { decided, facts }: Pick<FoundDecision, 'decided' | 'facts'>,
  scheme: 'https' | 'http',
): RecordedDecision {
  const reader = createRecordedFactsReader()
  const hashes = mapOf(decided['facts'])
  for (const [name, text] of [
    ['subject', facts.subject],
    ['sign_in', facts.signIn],
    ['device', facts.device],
  ] as const) {
    const hash = hashes?.[name]
    if (typeof hash === 'string' && text !== undefined) reader.add(hash, text)
  }
  return createDecisionReader(scheme)(decided, reader)
}

/** A reader for an instance whose public URL has this scheme. `readEnvironment` reads user agents, as the instance does. */
export function createDecisionReader(scheme: 'https' | 'http', readEnvironment: EnvironmentReader = readBareEnvironment): DecisionReader {
  const readCircumstances = createCircumstancesReader()
  const readTlsVersion = createTlsReader()

  function evidenceOf(line: TrailLine, reader: RecordedFactsReader, at: number): Evidence | EvidenceLack {
    const hashes = mapOf(line['facts'])
    if (hashes === undefined) return 'none'
    const [subject, signIn, device] = [textOf(hashes['subject']), textOf(hashes['sign_in']), textOf(hashes['device'])]
    const method = textOf(line['method'])
    if (subject === undefined || signIn === undefined || device === undefined || method === undefined) return 'unreadable'
    const restored = reader.restore({ subject, signIn, device }, instantOf(line['claims_at']) ?? at)
    if (typeof restored === 'string') return restored
    const path = textOf(line['path']) ?? ''
    const userAgent = textOf(line['user_agent'])
    const circumstances = readCircumstances(line['circumstances'])
    const isClientTold = circumstances.client !== undefined || (userAgent !== undefined && !isCutShort(userAgent))
    const client =
      circumstances.client ?? readEnvironment({ ...noCircumstances, at, userAgent }, isClientTold ? clientOnly : nothing).client
    return {
      facts: {
        lock: lockOf(line['lock']),
        subject: restored.subject,
        signIn: restored.signIn,
        device: restored.device,
        request: { method, methodClass: classOf(line['method_class'], method), path },
        environment: {
          address: textOf(line['address']) ?? '',
          at,
          country: circumstances.country ?? notGathered,
          asn: circumstances.asn ?? notGathered,
          scheme,
          tlsVersion: readTlsVersion(textOf(line['tls_version'])),
          client,
        },
      },
      isPathWhole: path !== '' && !path.endsWith(cutMark) && line['path_redacted'] === undefined,
      isClientTold,
      claimPaths: restored.claimPaths,
    }
  }

  return (line, reader) => {
    const at = instantOf(line['decided_at']) ?? instantOf(line['at']) ?? 0
    const evidence = evidenceOf(line, reader, at)
    return {
      request: textOf(line['request']) ?? '',
      subject: subjectOf(mapOf(line['subject'])),
      appId: textOf(line['app']),
      host: textOf(line['host']) ?? '',
      policy: textOf(line['policy']) ?? '',
      effect: textOf(line['effect']) ?? '',
      reason: textOf(line['reason']) ?? '',
      rule: textOf(line['rule']),
      at,
      facts: typeof evidence === 'string' ? undefined : evidence.facts,
      evidence,
    }
  }
}

/** Stands where the rest of a long text was cut; no canonical path has it. */
const cutMark = '…'
const clientOnly: ReadonlySet<FactGroup> = new Set(['client'])
const nothing: ReadonlySet<FactGroup> = new Set()
const noCircumstances = { address: '', scheme: 'https', tlsVersion: undefined } as const
const notGathered: Known<never> = { known: false, why: 'not_gathered' }

/** A user agent that was cut is one that nobody reads a browser from, unless the line had less room than the reader takes. */
function isCutShort(userAgent: string): boolean {
  return userAgent.endsWith(cutMark) && userAgent.length <= longestRead
}

/** As in `attributes/client-hint.ts`. */
const longestRead = 512

function subjectOf(written: TrailLine | undefined): RecordedSubject {
  return {
    kind: textOf(written?.['kind']) ?? 'nobody',
    issuer: textOf(written?.['issuer']),
    sub: textOf(written?.['sub']),
    email: textOf(written?.['email']),
  }
}

/** A lock that a newer version names, on something this one does not know, is a lock all the same. */
function lockOf(value: unknown): Facts['lock'] {
  const written = mapOf(value)
  if (written === undefined) return undefined
  const { on, until } = written as { readonly on?: unknown; readonly until?: unknown }
  const isKnown = on === 'subject' || on === 'service' || on === 'device'
  return { on: isKnown ? on : 'app', until: instantOf(until) }
}

type Circumstances = Partial<Pick<EnvironmentFacts, 'country' | 'asn' | 'client'>>

/** Most people of a company share a few: each is parsed once, and those of everybody else cost a second look now and then. */
const maxRemembered = 4096

/** What a line keeps of the circumstances; written by `describeCircumstances` of the data plane. */
function createCircumstancesReader(): (text: unknown) => Circumstances {
  const remembered = new Map<string, Circumstances>()
  return (text) => {
    if (typeof text !== 'string') return {}
    const earlier = remembered.get(text)
    if (earlier !== undefined) return earlier
    if (remembered.size >= maxRemembered) remembered.clear()
    const read = parseCircumstances(text)
    remembered.set(text, read)
    return read
  }
}

function parseCircumstances(text: string): Circumstances {
  try {
    const { asn, client, country } = mapOf(JSON.parse(text)) ?? {}
    const parts = mapOf(client)
    const isClientWhole = [parts?.['browser'], parts?.['browserVersion'], parts?.['os']].every(isKnownOrNot)
    // What has another form says nothing: it is not recorded, and no unknown fact that could be decided on.
    return {
      ...(isKnownOrNot(country) ? { country: country as EnvironmentFacts['country'] } : {}),
      ...(isKnownOrNot(asn) ? { asn: asn as EnvironmentFacts['asn'] } : {}),
      ...(isClientWhole ? { client: client as EnvironmentFacts['client'] } : {}),
    }
  } catch {
    // Longer than a line keeps, and so cut.
    return {}
  }
}

function isKnownOrNot(value: unknown): boolean {
  const fact = mapOf(value)
  return fact?.['known'] === true || (fact?.['known'] === false && typeof fact['why'] === 'string')
}

/** Of the few versions there are, one object each. */
function createTlsReader(): (version: string | undefined) => Known<string> {
  const remembered = new Map<string, Known<string>>()
  return (version) => {
    if (version === undefined) return notGathered
    const earlier = remembered.get(version)
    if (earlier !== undefined) return earlier
    const known: Known<string> = { known: true, value: version }
    if (remembered.size < 8) remembered.set(version, known)
    return known
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

function mapOf(value: unknown): TrailLine | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as TrailLine) : undefined
}
