/**
 * The closed table of operational failures: things that go wrong although nobody made a programming mistake.
 *
 * Three kinds of failure are never mixed. A refusal is a value (`Decision`). An operational failure throws `PosternError`.
 * A programming mistake throws `TypeError` and reaches the crash handler. The public text of a failure is looked up by
 * `code`; `message` and `cause` are for the log alone and never reach a browser.
 */

/** Every code, with the sentence that documents it. `docs/errors.md` lists exactly these; a test compares the two. */
export const errorCodes = {
  configuration_invalid: 'The instance configuration or the policy document has problems; the report lists all of them.',
  keys_missing: 'The key file is missing or unreadable, and this store does not allow creating one silently.',
  session_store_unavailable: 'The session store did not answer in time, so nothing that needs it can be allowed.',
  record_unreadable: 'A durable record does not open: it was sealed with a key that is not in the key file, or changed.',
  provider_unavailable: 'The OpenID Provider could not be reached, or its answer could not be used.',
  provider_refused: 'The OpenID Provider answered with an error of its own.',
  sign_in_invalid: 'An answer from the provider failed a check (state, issuer, nonce, signature, audience or time).',
  upstream_unreachable: 'The upstream refused the connection, or its name or certificate did not hold.',
  upstream_timeout: 'The upstream did not answer within its limit.',
  upstream_protocol_error: 'The upstream answered with something that is not valid HTTP.',
  audit_unavailable: 'The audit trail could not be written, and this app may not be opened without it.',
  api_unavailable: 'The instance that a command was to talk to did not answer, or not as its API does.',
  api_refused: 'The instance that a command talked to refused the order for its token or its form.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** An expected operational failure. `message` and `cause` are for the log; the public text is looked up by `code`. */
export class PosternError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PosternError'
    this.code = code
  }
}

/** Whether `error` is an operational failure of ours, so that its `code` may be used. */
export function isPosternError(error: unknown): error is PosternError {
  return error instanceof PosternError
}
