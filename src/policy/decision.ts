/**
 * The decision: a closed union, and the closed list of reasons behind every answer that Postern itself gives.
 *
 * There is no fourth case and no boolean. One spelling of a reason serves decision, audit, metric label, `X-Postern`,
 * CLI and docs. `docs/reasons.md` lists exactly these; a test compares the two.
 */

export type Decision =
  | { readonly effect: 'allow'; readonly reason: AllowReason; readonly rule: string }
  | { readonly effect: 'challenge'; readonly reason: ChallengeReason; readonly challenge: 'sign_in' }
  | { readonly effect: 'deny'; readonly reason: DenyReason; readonly rule: string | undefined; readonly unmet: readonly Unmet[] }

/** One thing that kept the nearest rule from applying, and so what would mend it. */
export interface Unmet {
  readonly condition: 'subject' | 'methods' | 'paths'
  readonly outcome: 'false' | 'unknown'
  /** A closed word that pages turn into a sentence: what the person could do. */
  readonly remedy: 'ask_for_access' | 'verify_email' | 'groups_missing' | 'claims_stale' | 'read_only' | 'other_path'
}

/** Every reason, with the public sentence that documents it. */
export const reasons = {
  rule_matched: 'A rule allowed it.',
  public: 'A rule opens this to everyone; nobody need sign in.',

  login_required: 'Nobody is signed in.',

  no_rule_matched: 'No rule allows this person to do this.',
  denied_by_rule: 'A rule forbids it.',
  locked: 'The subject, device, service or app is locked.',
  evaluation_failed: 'Something unexpected happened while deciding; nothing was forwarded.',

  session_expired: 'The session reached its idle or absolute limit.',
  session_ended: 'The session was ended.',
  sign_in_too_old: 'The session was ended and this sign-in is older than that.',

  cross_origin: 'Another site sent this request with the person’s cookie.',
  two_identities: 'The request carries two identities.',

  app_not_found: 'No app has this address.',
  path_not_found: 'Postern has no such page.',
  bad_request: 'The request is malformed or ambiguous.',
  bad_hand_off: 'The hand-off between the access host and the app did not fit this browser.',
  method_not_allowed: 'This method is never forwarded.',
  body_too_large: 'The body is larger than this app accepts.',
  headers_too_large: 'The headers are larger or more than allowed.',
  rate_limited: 'Too many requests from this address.',
  request_timeout: 'The request was not completed in time.',

  session_store_unavailable: 'The session store does not answer.',
  provider_unavailable: 'The OpenID Provider does not answer.',
  provider_refused: 'The OpenID Provider refused.',
  sign_in_invalid: 'The answer of the OpenID Provider failed a check.',
  audit_unavailable: 'The audit trail cannot be written.',
  shutting_down: 'This instance is stopping.',

  upstream_unreachable: 'The app cannot be reached.',
  upstream_timeout: 'The app did not answer in time.',
  upstream_protocol_error: 'The app gave an answer that is not valid HTTP.',
  internal_error: 'An unexpected error in Postern’s own pages.',
} as const

export type Reason = keyof typeof reasons
export type AllowReason = 'rule_matched' | 'public'
export type ChallengeReason = 'login_required' | 'session_expired' | 'session_ended'
export type DenyReason = Exclude<Reason, AllowReason | 'login_required'>
