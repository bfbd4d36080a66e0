/**
 * A line of the trail as a syslog message (RFC 5424) in a frame that says its length (RFC 6587 §3.4.1, RFC 5425 §4.3).
 *
 * The message is the line as it is, so that the receiver's copy is evidence as well; what one searches by stands in the structured data.
 * The length in front, and not a line break behind, ends a message: nothing that a stranger typed can begin another. There is no BOM, which
 * §6.4 asks for in front of text declared as UTF-8: readers of JSON choke on it.
 */

import type { FollowedLine } from '../follow-batch.ts'
import { type LineFacts, readLineFacts, severities } from './line-severity.ts'

/** Who speaks, and how. */
export interface SyslogOrigin {
  /** Of this machine. */
  readonly hostname: string
  /** 0–23. */
  readonly facility: number
}

/** Longer than any line of usual traffic; recorded facts of a person in a thousand groups take this much. */
const longestMessage = 256 * 1024

/** The line in its frame. A line beyond the bound is cut and says so (`cut_bytes`), which no line of ours is. */
export function formatSyslogFrame(chain: string, line: FollowedLine, { hostname, facility }: SyslogOrigin): Buffer {
  const facts = readLineFacts(line.bytes)
  const kept = line.bytes.length <= longestMessage ? line.bytes : line.bytes.subarray(0, boundaryBefore(line.bytes, longestMessage))
  const priority = facility * 8 + severities[facts.severity]
  const head =
    `<${priority}>1 ${facts.at ?? '-'} ${headerName(hostname, 255)} postern - ${headerName(facts.event, 32)} ` +
    `${formatData(chain, line.seq, facts, line.bytes.length - kept.length)} `
  const message = Buffer.concat([Buffer.from(head), kept])
  return Buffer.concat([Buffer.from(`${message.length} `), message])
}

/** A name of ours would need a number of ours; this one is set apart for those who have none (RFC 5612). */
const dataName = 'postern@32473'

function formatData(chain: string, seq: number | undefined, { app, effect, reason }: LineFacts, cutBytes: number): string {
  const values = [
    ['chain', chain],
    ['seq', seq],
    ['app', app],
    ['effect', effect],
    ['reason', reason],
    ['cut_bytes', cutBytes === 0 ? undefined : cutBytes],
  ] as const
  const params = values.flatMap(([name, value]) => (value === undefined ? [] : [` ${name}="${quoteValue(String(value))}"`]))
  return `[${dataName}${params.join('')}]`
}

function quoteValue(text: string): string {
  return text.replace(/["\\\]]/g, (character) => `\\${character}`)
}

/** PRINTUSASCII without blanks; `-` where nothing is left. */
function headerName(text: string, longest: number): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, longest) || '-'
}

/** Where to cut so that no character is torn. */
function boundaryBefore(bytes: Buffer, index: number): number {
  let at = index
  while (at > 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at -= 1
  return at
}
