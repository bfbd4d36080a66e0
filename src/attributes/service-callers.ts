/**
 * Who a caller without a browser is: the services of the policy document that its access token proves (RFC 9068, RFC 7519).
 *
 * Everything about a token is checked before any claim of it is believed; a token that fails a check is nobody, and never falls back
 * to a browser's sign-in.
 */

import type { Service } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'

export type ServiceCaller =
  | { readonly outcome: 'identified'; readonly subject: Extract<SubjectFacts, { kind: 'service' }> }
  /** `invalid_token` is a 401, `insufficient_scope` a 403 (RFC 6750 §3.1); the others mean that it could not be told. */
  | { readonly outcome: 'refused'; readonly reason: 'invalid_token' | 'insufficient_scope' | 'provider_unavailable' }

/** Verifies access tokens. */
export interface ServiceCallers {
  /** The services of `services` that this token proves; all that match are the subject's. Never rejects. */
  identify(token: string, services: readonly Service[]): Promise<ServiceCaller>
}

/** For an instance whose policy names no service. */
export const noServiceCallers: ServiceCallers = { identify: async () => ({ outcome: 'refused', reason: 'invalid_token' }) }
