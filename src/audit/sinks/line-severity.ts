/**
 * How urgent a line is, in the words of RFC 5424 §6.2.1, for receivers that sort by it.
 *
 * A refusal is a warning: somebody wanted what they may not. What a rule calls an alert, and the emergency access, are alerts; a trail that
 * lost something is an error. Everything else that an administrator did is a notice, and the daily traffic is information.
 */

import { parseLineHead } from '../follow-batch.ts'

/** Numbers of RFC 5424. */
export const severities = { alert: 1, error: 3, warning: 4, notice: 5, informational: 6 } as const

export type Severity = keyof typeof severities

/** What receivers sort and search by, without parsing the line. */
export interface LineFacts {
  /** RFC 3339; `undefined` only for a line that no version of ours wrote. */
  readonly at: string | undefined
  readonly event: string
  readonly severity: Severity
  readonly app: string | undefined
  readonly effect: string | undefined
  readonly reason: string | undefined
}

const byEvent: Readonly<Record<string, Severity>> = {
  'access.decided': 'informational',
  'access.ended': 'informational',
  'access.counted': 'informational',
  'facts.recorded': 'informational',
  'session.started': 'informational',
  'session.continued': 'informational',
  'session.refreshed': 'informational',
  'session.ended': 'informational',
  'post.kept': 'informational',
  'post.resumed': 'informational',
  'post.discarded': 'informational',
  'device.reported': 'informational',
  'audit.segment_started': 'informational',
  'audit.checkpoint': 'informational',
  'sign_in.failed': 'warning',
  'policy.refused': 'warning',
  'audit.repaired': 'warning',
  'audit.resumed': 'error',
  'break_glass.issued': 'alert',
}

// Within a JSON string every quote has a backslash before it, so `,"name":"` stands nowhere but at a name.
const effectShape = /,"effect":"(allow|deny|challenge)","reason":"([a-z_]{1,64})"/
const appShape = /,"app":"([a-z0-9_-]{1,64})"/

/** Reads what a line says of itself. */
export function readLineFacts(line: Buffer): LineFacts {
  const head = parseLineHead(line)
  const event = head?.event ?? 'unknown'
  const severity = byEvent[event] ?? 'notice'
  if (event !== 'access.decided' && event !== 'access.ended')
    return { at: head?.at, event, severity, app: undefined, effect: undefined, reason: undefined }
  const text = line.toString('latin1')
  const [, effect, reason] = effectShape.exec(text) ?? []
  const isAlert = text.endsWith(',"alert":true}')
  return {
    at: head?.at,
    event,
    severity: isAlert ? 'alert' : effect === 'deny' ? 'warning' : severity,
    app: appShape.exec(text)?.[1],
    effect,
    reason,
  }
}
