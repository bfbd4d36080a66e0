/**
 * Why talking to an upstream failed, as one of the closed reasons. Branches on codes, never on messages.
 */

import type { ExchangeOutcome } from './exchange.ts'

/** What of the refusals is an upstream's doing. */
export type UpstreamReason = Extract<ExchangeOutcome['refusal'], `upstream_${string}`>

const timeoutCodes = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT', 'ERR_UPSTREAM_UPGRADE_TIMEOUT'])
const protocolCodes = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'])

/** `hasSpoken`: whether any byte of an answer had come. A connection that ends before that is as good as none; after it, a broken answer. */
export function reasonOfFailure(error: unknown, hasSpoken: boolean): UpstreamReason {
  const code = codeOf(error)
  if (timeoutCodes.has(code)) return 'upstream_timeout'
  if (protocolCodes.has(code) || code.startsWith('HPE_') || isFaultOfOurs(error)) return 'upstream_protocol_error'
  return hasSpoken ? 'upstream_protocol_error' : 'upstream_unreachable'
}

/** Whether the HTTP client refused to send what we wrote: no upstream was involved, and no other one will help. */
export function isFaultOfOurs(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED'
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}
