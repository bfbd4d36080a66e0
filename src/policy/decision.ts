/**
 * The decision: a closed union, and the closed list of reasons behind every answer that Postern itself gives.
 *
 * There is no fourth case and no boolean. One spelling of a reason serves decision, audit, metric label, `X-Postern`,
 * CLI and docs. `docs/reasons.md` lists exactly these; a test compares the two.
 */

import type { SignInCondition } from './document.ts'

export type Decision = Outcomes & {
  /** What would have been decided had every report rule been in force and no app been in report mode; absent where there is neither. */
  readonly would?: { readonly effect: 'allow' | 'challenge' | 'deny'; readonly reason: Reason; readonly rule: string | undefined }
  /** The deciding rule asks for an alert. */
  readonly isAlert?: true
}

type Outcomes =
  | { readonly effect: 'allow'; readonly reason: AllowReason; readonly rule: string }
  | { readonly effect: 'challenge'; readonly reason: 'login_required' | 'session_expired' | 'session_ended'; readonly challenge: 'sign_in' }
  | {
      readonly effect: 'challenge'
      readonly reason: 'insufficient_user_authentication'
      readonly challenge: 'step_up'
      readonly rule: string
      readonly stepUp: StepUp
    }
  | { readonly effect: 'deny'; readonly reason: DenyReason; readonly rule: string | undefined; readonly unmet: readonly Unmet[] }

/** What a stronger or fresher sign-in has to bring. */
export interface StepUp {
  /** All of them have to hold of the next sign-in; what comes back is judged by these very conditions. */
  readonly conditions: readonly SignInCondition[]
  /** To ask the provider for (RFC 9470 `acr_values`); empty where only freshness is missing. */
  readonly acrValues: readonly string[]
  /** Greatest age in seconds (RFC 9470 `max_age`); `undefined` where age does not matter. */
  readonly maxAgeSeconds: number | undefined
  /** Further authorization request parameters, from the strengths. */
  readonly ask: Readonly<Record<string, string>>
}

/** One thing that kept the nearest rule from applying, and so what would mend it. */
export interface Unmet {
  readonly condition:
    | 'subject'
    | 'methods'
    | 'paths'
    | 'dates'
    | 'sign_in'
    | 'device'
    | 'network'
    | 'time'
    | 'client'
    | 'expression'
    /** A `not`, an `unless` or a deny whose disproof is missing, where nothing more particular can be said. */
    | 'circumstances'
  readonly outcome: 'false' | 'unknown'
  /** A closed word that pages turn into a sentence: what is the matter, and so what the person could do. */
  readonly remedy: Remedy
  /** For the sentence; never a name of a rule, a group or a network. */
  readonly details?: RemedyDetails
}

export interface RemedyDetails {
  /** Instant: when it opens, when it closed, when the device last reported, when the person last signed in. */
  readonly at?: number
  /** IANA name that `at` is shown in. */
  readonly zone?: string
  /** Seconds: the greatest age that is accepted. */
  readonly withinSeconds?: number
  /** What there is now, such as `macos 14.1`. */
  readonly present?: string
  /** What is wanted, such as `macos >= 14.4`. */
  readonly wanted?: string
}

/** Every remedy, with what it says. */
export const remedyWords = {
  ask_for_access: 'The rule is for other people.',
  verify_email: 'The e-mail address is not verified.',
  groups_missing: 'The sign-in did not say the groups.',
  claims_stale: 'What the provider said is too old.',
  read_only: 'The rule is for reading.',
  other_path: 'The rule is for another part of the app.',
  not_open_yet: 'The rule begins on a later day.',
  no_longer_open: 'The rule has ended.',

  sign_in_too_weak: 'The sign-in was not strong enough.',
  sign_in_not_recent: 'The sign-in was too long ago.',

  device_unidentified: 'The request does not say which device it comes from.',
  device_unknown: 'The device is not in the inventory.',
  device_never_reported: 'The device has never reported this.',
  device_report_too_old: 'The device last reported too long ago.',
  device_not_managed: 'The device is not managed.',
  device_managed: 'The rule is for devices that are not managed.',
  disk_not_encrypted: 'The disk is not encrypted.',
  screen_lock_off: 'The screen lock is off.',
  firewall_off: 'The firewall is off.',
  os_outdated: 'The operating system is too old.',
  os_not_accepted: 'The operating system is not one of those accepted.',
  device_not_listed: 'The device is not one of those that the rule names.',
  device_setting: 'A setting of the device is not as required.',
  device_not_proven: 'The device has to prove itself with a certificate.',

  other_network: 'The network is not one of those that the rule names.',
  other_country: 'The country is not one of those that the rule names.',
  place_unknown: 'The place of the address is not known.',

  outside_hours: 'It is outside the hours.',

  browser_not_accepted: 'The browser is not one of those that the rule names.',
  browser_outdated: 'The browser is too old.',
  system_not_accepted: 'The operating system of the browser is not one of those that the rule names.',

  condition_not_met: 'A condition of the rule does not hold.',
  condition_unknown: 'A fact that a condition needs is missing.',
} as const

export type Remedy = keyof typeof remedyWords

/** Every reason, with the public sentence that documents it. */
export const reasons = {
  rule_matched: 'A rule allowed it.',
  public: 'A rule opens this to everyone; nobody need sign in.',
  report_mode: 'No rule allows it yet, but the app is in report mode for this person.',
  cors_preflight: 'A browser asks the app, for a page that may call it, what that page may send. Nobody is named.',

  login_required: 'Nobody is signed in.',
  insufficient_user_authentication: 'A rule wants a stronger or a more recent sign-in.',

  no_rule_matched: 'No rule allows this person to do this.',
  denied_by_rule: 'A rule forbids it.',
  locked: 'The subject, device, service or app is locked.',
  evaluation_failed: 'Something unexpected happened while deciding; nothing was forwarded.',

  session_expired: 'The session reached its idle or absolute limit.',
  session_ended: 'The session was ended.',
  sign_in_too_old: 'The session was ended and this sign-in is older than that.',

  step_up_failed: 'The provider was asked for a stronger or fresher sign-in and did not give one.',
  device_changed: 'The session began with another device certificate.',

  invalid_token: 'The access token is malformed, expired, or not from an accepted issuer for an accepted audience.',
  insufficient_scope: 'The access token is valid but belongs to no service that a rule names.',

  cross_origin: 'Another site sent this request with the person’s cookie.',
  two_identities: 'The request carries two identities.',

  kept_post_gone: 'The form that was kept during a sign-in was sent on already, thrown away, or is too old.',
  kept_post_of_another: 'The form that was kept during a sign-in was sent by another person.',
  connection_cut: 'An administrator cut this connection.',

  app_not_found: 'No app has this address.',
  path_not_found: 'Postern has no such page.',
  bad_request: 'The request is malformed or ambiguous.',
  misdirected_request: 'The connection was opened for another host, so it cannot show the device’s certificate for this one.',
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
export type AllowReason = 'rule_matched' | 'public' | 'report_mode' | 'cors_preflight'
export type ChallengeReason = 'login_required' | 'session_expired' | 'session_ended' | 'insufficient_user_authentication'
export type DenyReason = Exclude<Reason, AllowReason | 'login_required' | 'insufficient_user_authentication'>
