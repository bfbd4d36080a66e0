/**
 * What `openid-client` and `jose` throw, sorted into what it means for a sign-in.
 *
 * Three meanings: the provider refused (an OAuth error code), its answer failed a check, or it cannot be told because the
 * provider, or the way to it, is broken. Errors of these libraries carry tokens, codes and claims in their causes; what
 * leaves this file keeps class, code and message of each link and nothing else, so that a log can hold it.
 */

import { errors as joseErrors } from 'jose'
import { AuthorizationResponseError, ClientError, ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
import { isPosternError, PosternError } from '../errors.ts'

/** Codes of `openid-client` that say the answer could not be had, rather than that it is wrong. */
const unreachableCodes = new Set(['OAUTH_RESPONSE_IS_NOT_CONFORM', 'OAUTH_RESPONSE_IS_NOT_JSON', 'OAUTH_TIMEOUT', 'OAUTH_ABORT'])
/** OAuth error codes by which a provider says that it is itself in trouble (RFC 6749 §4.1.2.1). */
const troubleCodes = new Set(['server_error', 'temporarily_unavailable'])

export type ProviderFailure =
  | { readonly kind: 'refused'; readonly error: string }
  | { readonly kind: 'failed'; readonly error: PosternError }

/** Sorts anything thrown while talking to the provider. */
export function sortFailure(cause: unknown): ProviderFailure {
  const own = findOwn(cause)
  if (own !== undefined) return { kind: 'failed', error: new PosternError(own.code, own.message, { cause: withoutMaterial(own.cause) }) }
  if (cause instanceof AuthorizationResponseError) return { kind: 'refused', error: parseErrorCode(cause.error) }
  if (cause instanceof ResponseBodyError) {
    const error = parseErrorCode(cause.error)
    if (troubleCodes.has(error)) return failed('provider_unavailable', `the provider answers ${error}`, cause)
    return { kind: 'refused', error }
  }
  // 401 with a challenge: at the token endpoint it is how Basic authentication fails, at userinfo it names the error.
  if (cause instanceof WWWAuthenticateChallengeError) {
    return { kind: 'refused', error: parseErrorCode(cause.cause[0]?.parameters.error ?? 'invalid_client') }
  }
  if (cause instanceof joseErrors.JOSEError) return failed('sign_in_invalid', describeCheck(cause), cause)
  if (cause instanceof ClientError && cause.code !== undefined && !unreachableCodes.has(cause.code)) {
    return failed('sign_in_invalid', describeCheck(cause), cause)
  }
  return failed('provider_unavailable', 'the provider gave no usable answer', cause)
}

function failed(code: 'provider_unavailable' | 'sign_in_invalid', message: string, cause: unknown): ProviderFailure {
  return { kind: 'failed', error: new PosternError(code, message, { cause: withoutMaterial(cause) }) }
}

/** The clock is named where it is to blame: it is the one failure an operator can mend without the provider's help. */
function describeCheck(cause: Error & { code?: string | undefined }): string {
  const isTime = cause.code === 'OAUTH_JWT_TIMESTAMP_CHECK_FAILED' || cause.code === 'ERR_JWT_EXPIRED'
  return isTime ? 'a time in the token does not fit: the clock of the provider and the clock here differ' : 'a check of the answer failed'
}

function findOwn(error: unknown, depth = 0): PosternError | undefined {
  if (isPosternError(error)) return error
  if (!(error instanceof Error) || depth > 4) return undefined
  return findOwn(error.cause, depth + 1)
}

/** An OAuth error code as it may be shown, logged and audited. */
export function parseErrorCode(error: string | null | undefined): string {
  return error !== null && error !== undefined && /^[a-z_]{1,64}$/.test(error) ? error : 'unknown_error'
}

/** The same chain of errors without anything they carried. A parser's message quotes its input and is dropped as well. */
export function withoutMaterial(error: unknown, depth = 0): Error | undefined {
  if (!(error instanceof Error) || depth > 4) return undefined
  const cause = withoutMaterial(error.cause, depth + 1)
  const copy = new Error(error instanceof SyntaxError ? 'not JSON' : error.message, cause === undefined ? {} : { cause })
  copy.name = error.name
  const code: unknown = (error as { code?: unknown }).code
  return Object.assign(copy, typeof code === 'string' ? { code } : {})
}
