/**
 * Closed words to sentences: what a page says about each unmet condition of a decision, and about what the provider answered.
 *
 * Like `messages.ts`: written for the person, exhaustive by type, `{app}` for the app's name, nothing is HTML.
 */

import type { Unmet } from '../policy/decision.ts'

/** What a page says about one unmet condition. */
export interface RemedyMessage {
  readonly title: string
  readonly text: string
  /** Heading of the page where this is the only thing in the way. */
  readonly heading: string | undefined
  /** What the page's first button does for it. */
  readonly action: 'ask' | 'sign_in_again' | 'open_app'
}

type Remedy = Unmet['remedy']

/** Every remedy. */
export const remedies: Readonly<Record<Remedy, RemedyMessage>> = {
  ask_for_access: {
    title: 'Ask for access',
    text: 'Access is given to people and groups. Someone who looks after {app} can add you.',
    heading: undefined,
    action: 'ask',
  },
  verify_email: {
    title: 'Confirm your e-mail address',
    text: 'Your account’s e-mail address has not been confirmed, so it does not count yet. Confirm it, then sign in again.',
    heading: 'Your e-mail address is not confirmed',
    action: 'sign_in_again',
  },
  groups_missing: {
    title: 'Sign in again',
    text: 'Your sign-in did not say which groups you belong to. A new sign-in may bring them; if not, your account needs a look.',
    heading: 'Your groups are not known',
    action: 'sign_in_again',
  },
  claims_stale: {
    title: 'Sign in again',
    text: 'What is known about your account is too old, and could not be renewed in the background. A new sign-in brings it up to date.',
    heading: 'Your account needs a new look',
    action: 'sign_in_again',
  },
  read_only: {
    title: 'Ask to be allowed to make changes',
    text: 'Your access to {app} is for reading only. Someone who looks after it can extend it.',
    heading: 'You can read {app}, but not change it',
    action: 'ask',
  },
  other_path: {
    title: 'Go back to its start page',
    text: 'You may use {app}, but not this part of it. If you need this part for your work, ask for access to it.',
    heading: 'This part of {app} is not open to you',
    action: 'open_app',
  },
  not_open_yet: {
    title: 'Ask about it',
    text: 'The rule begins on a later day.',
    heading: undefined,
    action: 'ask',
  },
  no_longer_open: {
    title: 'Ask about it',
    text: 'The rule has ended.',
    heading: undefined,
    action: 'ask',
  },
  sign_in_too_weak: {
    title: 'Ask about it',
    text: 'The sign-in was not strong enough.',
    heading: undefined,
    action: 'ask',
  },
  sign_in_not_recent: {
    title: 'Ask about it',
    text: 'The sign-in was too long ago.',
    heading: undefined,
    action: 'ask',
  },
  device_unidentified: {
    title: 'Ask about it',
    text: 'The request does not say which device it comes from.',
    heading: undefined,
    action: 'ask',
  },
  device_unknown: {
    title: 'Ask about it',
    text: 'The device is not in the inventory.',
    heading: undefined,
    action: 'ask',
  },
  device_never_reported: {
    title: 'Ask about it',
    text: 'The device has never reported this.',
    heading: undefined,
    action: 'ask',
  },
  device_report_too_old: {
    title: 'Ask about it',
    text: 'The device last reported too long ago.',
    heading: undefined,
    action: 'ask',
  },
  device_not_managed: {
    title: 'Ask about it',
    text: 'The device is not managed.',
    heading: undefined,
    action: 'ask',
  },
  device_managed: {
    title: 'Ask about it',
    text: 'The rule is for devices that are not managed.',
    heading: undefined,
    action: 'ask',
  },
  disk_not_encrypted: {
    title: 'Ask about it',
    text: 'The disk is not encrypted.',
    heading: undefined,
    action: 'ask',
  },
  screen_lock_off: {
    title: 'Ask about it',
    text: 'The screen lock is off.',
    heading: undefined,
    action: 'ask',
  },
  firewall_off: {
    title: 'Ask about it',
    text: 'The firewall is off.',
    heading: undefined,
    action: 'ask',
  },
  os_outdated: {
    title: 'Ask about it',
    text: 'The operating system is too old.',
    heading: undefined,
    action: 'ask',
  },
  os_not_accepted: {
    title: 'Ask about it',
    text: 'The operating system is not one of those accepted.',
    heading: undefined,
    action: 'ask',
  },
  device_not_listed: {
    title: 'Ask about it',
    text: 'The device is not one of those that the rule names.',
    heading: undefined,
    action: 'ask',
  },
  device_setting: {
    title: 'Ask about it',
    text: 'A setting of the device is not as required.',
    heading: undefined,
    action: 'ask',
  },
  device_not_proven: {
    title: 'Ask about it',
    text: 'The device has to prove itself with a certificate.',
    heading: undefined,
    action: 'ask',
  },
  other_network: {
    title: 'Ask about it',
    text: 'The network is not one of those that the rule names.',
    heading: undefined,
    action: 'ask',
  },
  other_country: {
    title: 'Ask about it',
    text: 'The country is not one of those that the rule names.',
    heading: undefined,
    action: 'ask',
  },
  place_unknown: {
    title: 'Ask about it',
    text: 'The place of the address is not known.',
    heading: undefined,
    action: 'ask',
  },
  outside_hours: {
    title: 'Ask about it',
    text: 'It is outside the hours.',
    heading: undefined,
    action: 'ask',
  },
  browser_not_accepted: {
    title: 'Ask about it',
    text: 'The browser is not one of those that the rule names.',
    heading: undefined,
    action: 'ask',
  },
  browser_outdated: {
    title: 'Ask about it',
    text: 'The browser is too old.',
    heading: undefined,
    action: 'ask',
  },
  system_not_accepted: {
    title: 'Ask about it',
    text: 'The operating system of the browser is not one of those that the rule names.',
    heading: undefined,
    action: 'ask',
  },
  condition_not_met: {
    title: 'Ask about it',
    text: 'A condition of the rule does not hold.',
    heading: undefined,
    action: 'ask',
  },
  condition_unknown: {
    title: 'Ask about it',
    text: 'A fact that a condition needs is missing.',
    heading: undefined,
    action: 'ask',
  },
}

/** OAuth and OpenID Connect error codes that a person can do something about (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6). */
export const providerErrors: ReadonlyMap<string, string> = new Map([
  ['access_denied', 'The sign-in was cancelled, or this account may not be used here.'],
  ['temporarily_unavailable', 'The sign-in service is busy or being maintained.'],
  ['server_error', 'The sign-in service had a problem of its own.'],
  ['login_required', 'The sign-in service wanted you to sign in, but could not ask you.'],
  ['interaction_required', 'The sign-in service wanted to ask you something, but could not.'],
  ['consent_required', 'The sign-in service wanted your consent, but could not ask for it.'],
  ['account_selection_required', 'The sign-in service wanted to know which account to use, but could not ask.'],
  ['unauthorized_client', 'The sign-in service does not know this installation. Its administrators have to mend that.'],
  ['invalid_scope', 'The sign-in service does not offer what this installation asks for. Its administrators have to mend that.'],
  ['invalid_request', 'The sign-in service did not accept how it was asked. Administrators of this installation have to mend that.'],
])
