/**
 * One event of the trail as one line for people: time, who, what, how it came out, and the request by which to find the rest.
 *
 * Nearly every word in it was chosen by a stranger, so nothing goes to a terminal that it would act upon. What an event has besides is
 * written as `name=value`, so that no event is shown as less than it is.
 */

import { parseTrailLine, type TrailLine } from '../audit/trail-files.ts'
import { printLine } from './print-line.ts'

/** Said in words, or of no use to a reader. */
const toldOtherwise: ReadonlySet<string> = new Set([
  'seq',
  'prev',
  'at',
  'event',
  'instance',
  'subject',
  'actor',
  'request',
  'session',
  'facts',
  'claims_at',
  'method_class',
  'decided_at',
  'circumstances',
  'public_key',
  'signature',
])

/** The line for a terminal. What is no line of a trail is shown as it is, less what a terminal would act upon. */
export function describeAuditLine(bytes: Buffer): string {
  const line = parseTrailLine(bytes)
  if (line === undefined) return printLine(bytes.toString('utf8'))
  const said = line['event'] === 'access.decided' ? describeDecision(line) : fieldsOf(line, toldOtherwise)
  const parts = [textOf(line['at']), textOf(line['event']), whoOf(line), ...said, textOf(line['request'])]
  return printLine(parts.filter((part) => part !== '').join('  '))
}

function describeDecision(line: TrailLine): string[] {
  const rule = textOf(line['rule'])
  const query = textOf(line['query'])
  const would = line['would'] as TrailLine | null | undefined
  return [
    `${textOf(line['method'])} ${textOf(line['host'])}${textOf(line['path'])}${query === '' ? '' : `?${query}`}`,
    `${textOf(line['effect'])} ${textOf(line['reason'])}`,
    rule === '' ? '' : `by ${JSON.stringify(rule)}`,
    would === undefined || would === null ? '' : `would ${textOf(would['effect'])} ${textOf(would['reason'])}`,
    textOf(line['address']),
  ]
}

function whoOf(line: TrailLine): string {
  const subject = (line['subject'] ?? {}) as TrailLine
  const who = [subject['email'], subject['sub'], subject['kind'], line['actor']].map(textOf)
  return who.find((name) => name !== '') ?? ''
}

function fieldsOf(line: TrailLine, without: ReadonlySet<string>): string[] {
  return Object.entries(line).flatMap(([name, value]) => {
    if (without.has(name)) return []
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
    return [`${name}=${text.includes(' ') ? JSON.stringify(text) : text}`]
  })
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
