/**
 * An event of the trail as the console and the API hand it out: its place, its time, and the line's own fields.
 *
 * A line is what `docs/audit.md` says it is, written by this program or, for all that is known here, by whoever can write the files: each field
 * is looked at before it is taken for text. Nothing is left out but what only holds the chain together.
 */

import { parseTrailLine, type TrailLine } from '../audit/trail-files.ts'
import type { RecordedSubject } from './recorded-decision.ts'

export interface TrailEntry {
  readonly chain: string
  /** Number in its chain; 0 where the line says none. */
  readonly seq: number
  /** Epoch milliseconds. */
  readonly at: number
  readonly event: string
  /** The fields of the event, without `seq`, `prev`, `at` and `event`. */
  readonly fields: TrailLine
}

/** A decision of the trail, for lists of people, apps and devices. */
export interface DecisionEntry {
  readonly request: string
  /** Epoch milliseconds. */
  readonly at: number
  readonly subject: RecordedSubject
  readonly app: string | undefined
  readonly host: string
  readonly method: string
  readonly path: string
  /** `allow`, `deny` or `challenge`, unless another version wrote something else. */
  readonly effect: string
  readonly reason: string
  readonly rule: string | undefined
  /** Id of the device, where the line names one. */
  readonly device: string | undefined
  readonly address: string | undefined
}

/** The entry of a line; `undefined` for what is no line of a trail. */
export function readTrailEntry(chain: string, bytes: Buffer | string): TrailEntry | undefined {
  const line = parseTrailLine(bytes)
  const at = Date.parse(textOf(line?.['at']) ?? '')
  if (line === undefined || Number.isNaN(at)) return undefined
  const { at: _at, event, prev: _prev, seq, ...fields } = line
  return { chain, seq: typeof seq === 'number' ? seq : 0, at, event: textOf(event) ?? '', fields }
}

/** The decision that an entry is about; `undefined` for every other event. */
export function readDecisionEntry({ at, event, fields }: TrailEntry): DecisionEntry | undefined {
  if (event !== 'access.decided') return undefined
  return {
    request: textOf(fields['request']) ?? '',
    at,
    subject: subjectIn(fields),
    app: textOf(fields['app']),
    host: textOf(fields['host']) ?? '',
    method: textOf(fields['method']) ?? '',
    path: textOf(fields['path']) ?? '',
    effect: textOf(fields['effect']) ?? '',
    reason: textOf(fields['reason']) ?? '',
    rule: textOf(fields['rule']),
    device: textOf(fields['device']),
    address: textOf(fields['address']),
  }
}

/** Whom an event names as its subject. */
export function subjectIn(fields: TrailLine): RecordedSubject {
  const subject = fields['subject']
  const named = typeof subject === 'object' && subject !== null ? (subject as TrailLine) : {}
  return {
    kind: textOf(named['kind']) ?? 'nobody',
    issuer: textOf(named['issuer']),
    sub: textOf(named['sub']),
    email: textOf(named['email']),
  }
}

/** A field that is text; `undefined` for every other. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
