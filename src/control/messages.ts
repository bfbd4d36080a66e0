/**
 * Closed words to sentences: what a page says about each reason. Remedies have theirs in `remedies.ts`.
 *
 * Written for the person in front of the browser: no jargon, no blame, nothing about upstreams or rules by name. The
 * table is exhaustive by type, so that a new reason cannot appear without its words. `{app}` stands for the app's name;
 * where the person may not know of it, for "this app". Nothing here is HTML.
 */

import type { Reason } from '../policy/decision.ts'

/** Which picture and colour a page wears: a shut door, a plain wall, a door that will open again, a door off its hinge, an open one. */
export type Mood = 'shut' | 'wall' | 'wait' | 'broken' | 'open'

/** What a page says about a reason. */
export interface Message {
  readonly mood: Mood
  readonly title: string
  /** What happened. */
  readonly happened: string
  /** What would help; the remedies of a decision come before it. */
  readonly helps: string
  /** Whom to ask: the people of the app, the support of the installation, or nobody because waiting or signing in mends it. */
  readonly ask: 'owner' | 'support' | 'nobody'
  /** Whether trying the same again can succeed, so that "try again" is offered first. */
  readonly retry: boolean
}

const allowed = { mood: 'open', happened: 'A rule opened this.', helps: 'There is nothing to do.', ask: 'nobody', retry: false } as const

/** Every reason. */
export const messages: Readonly<Record<Reason, Message>> = {
  rule_matched: { ...allowed, title: 'You may open {app}' },
  public: { ...allowed, title: '{app} is open to everyone' },
  report_mode: { ...allowed, title: 'You may open {app}' },
  cors_preflight: { ...allowed, title: 'Your browser may ask {app}' },

  login_required: {
    mood: 'shut',
    title: 'Sign in to open {app}',
    happened: 'You are not signed in here.',
    helps: 'Sign in, and you will be brought back to where you wanted to go.',
    ask: 'nobody',
    retry: false,
  },
  session_expired: {
    mood: 'shut',
    title: 'Your sign-in has run out',
    happened: 'You were away for a while, or signed in a long time ago. For your safety you have to sign in again.',
    helps: 'Sign in again, and you will be brought back to where you were.',
    ask: 'nobody',
    retry: false,
  },
  session_ended: {
    mood: 'shut',
    title: 'You have been signed out',
    happened: 'Your session was ended, by you in another window or by an administrator.',
    helps: 'Sign in again to go on.',
    ask: 'support',
    retry: false,
  },
  insufficient_user_authentication: {
    mood: 'shut',
    title: 'Sign in again to open {app}',
    happened: '{app} wants a stronger or more recent sign-in than the one you have.',
    helps: 'Sign in once more, and you will be brought back to where you wanted to go.',
    ask: 'nobody',
    retry: false,
  },
  step_up_failed: {
    mood: 'shut',
    title: 'Your sign-in was not strong or recent enough',
    happened: 'You were asked to sign in more strongly or anew, but your sign-in service did not do that.',
    helps: 'Try again. If it stays like this, check that a second factor is set up for your account, or let someone look at it.',
    ask: 'support',
    retry: true,
  },
  kept_post_gone: {
    mood: 'wall',
    title: 'This form is not here any more',
    happened: 'It was sent already, thrown away, or waited longer than five minutes. Nothing was sent now.',
    helps: 'Open the page and look whether what you sent has arrived. If not, fill it in once more.',
    ask: 'nobody',
    retry: true,
  },
  kept_post_of_another: {
    mood: 'shut',
    title: 'This form was sent by somebody else',
    happened: 'Before the sign-in, another account was signed in here and sent a form. It has not been sent on, and has been thrown away.',
    helps: 'Open the page as who you are now. If the other account is yours too, sign in with it and fill in the form again.',
    ask: 'nobody',
    retry: true,
  },
  connection_cut: {
    mood: 'shut',
    title: 'This connection was closed',
    happened: 'An administrator closed this one connection. You are still signed in.',
    helps: 'Open the page again. If it closes again, ask why.',
    ask: 'support',
    retry: true,
  },
  device_changed: {
    mood: 'shut',
    title: 'This is not the device you signed in on',
    happened: 'You signed in with the certificate of a device, and this request did not come from it.',
    helps: 'Sign in on this device. The session on the other one ends with that.',
    ask: 'support',
    retry: false,
  },
  invalid_token: {
    mood: 'shut',
    title: 'The access token is not accepted',
    happened: 'A program presented an access token that is malformed, expired or not meant for this address.',
    helps: 'The program has to ask for a new token.',
    ask: 'owner',
    retry: false,
  },
  insufficient_scope: {
    mood: 'shut',
    title: 'The access token is not for this',
    happened: 'A program presented a valid access token that none of the services allowed here would have.',
    helps: 'Someone who looks after {app} can tell which scope and which claims are needed.',
    ask: 'owner',
    retry: false,
  },
  sign_in_too_old: {
    mood: 'shut',
    title: 'A fresh sign-in is needed',
    happened: 'Your earlier session was ended, and the sign-in that came back is older than that end.',
    helps: 'Sign out, then sign in again by typing your password or using your key.',
    ask: 'support',
    retry: false,
  },

  no_rule_matched: {
    mood: 'shut',
    title: 'You don’t have access to {app}',
    happened: 'You are signed in, but nothing gives this account access to what you asked for.',
    helps: 'If you need it for your work, the people who look after it can give you access.',
    ask: 'owner',
    retry: false,
  },
  denied_by_rule: {
    mood: 'shut',
    title: '{app} is closed to this account',
    happened: 'Your organisation has a rule that keeps this account out of what you asked for.',
    helps: 'If you think that is a mistake, the people who look after {app} can tell you more.',
    ask: 'owner',
    retry: false,
  },
  locked: {
    mood: 'shut',
    title: 'Access is locked',
    happened: 'An administrator has locked your account, your device or {app}.',
    helps: 'Only an administrator can lift the lock. Signing in again does not change it.',
    ask: 'support',
    retry: false,
  },
  evaluation_failed: {
    mood: 'broken',
    title: 'Your access could not be checked',
    happened: 'Something unexpected happened while your access was being checked, so nothing was let through.',
    helps: 'Try again in a moment. If it stays like this, pass on the request number below.',
    ask: 'support',
    retry: true,
  },

  cross_origin: {
    mood: 'shut',
    title: 'A request from another site was stopped',
    happened: 'Another site tried to send something to {app} in your name. Nothing was changed.',
    helps: 'If you meant to do this, go to {app} and do it there. If you did not expect it, please report it.',
    ask: 'support',
    retry: false,
  },
  two_identities: {
    mood: 'shut',
    title: 'This request says two different things about who you are',
    happened: 'It carried both the cookie of a signed-in browser and the token of a service.',
    helps: 'Send one of the two, not both.',
    ask: 'support',
    retry: false,
  },

  app_not_found: {
    mood: 'wall',
    title: 'There is nothing here',
    happened: 'No app is open to you at this address.',
    helps: 'Check the address for a typing mistake, or choose from your apps.',
    ask: 'support',
    retry: false,
  },
  path_not_found: {
    mood: 'wall',
    title: 'This page does not exist',
    happened: 'The address may be mistyped, or the page may have moved.',
    helps: 'Start again from your apps.',
    ask: 'nobody',
    retry: false,
  },
  bad_request: {
    mood: 'wall',
    title: 'This request could not be understood',
    happened: 'The address, or something sent along with it, is malformed or can be read in two ways. It was not passed on.',
    helps: 'Go back and try another way in, or start from your apps.',
    ask: 'support',
    retry: false,
  },
  misdirected_request: {
    mood: 'broken',
    title: 'Your browser used the wrong connection',
    happened: 'It reused one on which your device could not identify itself for this app. That connection is closed now.',
    helps: 'Load the page again. Your browser then opens a new one.',
    ask: 'support',
    retry: true,
  },
  bad_hand_off: {
    mood: 'broken',
    title: 'Your sign-in was interrupted',
    happened: 'The last step did not fit this browser. That happens with an old tab, a link that was copied half way, or blocked cookies.',
    helps: 'Open the app once more. If this comes back, allow cookies for this site.',
    ask: 'support',
    retry: true,
  },
  method_not_allowed: {
    mood: 'wall',
    title: 'This kind of request is not accepted',
    happened: 'The request uses a method that is never passed on to an app.',
    helps: 'Open {app} in the usual way.',
    ask: 'support',
    retry: false,
  },
  body_too_large: {
    mood: 'shut',
    title: 'That is too large for {app}',
    happened: 'The file or form is larger than {app} accepts. Nothing of it was stored.',
    helps: 'Send something smaller, or send it in parts.',
    ask: 'owner',
    retry: false,
  },
  headers_too_large: {
    mood: 'broken',
    title: 'Your browser sent too much',
    happened: 'The address, or the cookies kept for this site, are larger than allowed.',
    helps: 'Clear the cookies of this site in your browser, then try again.',
    ask: 'support',
    retry: true,
  },
  rate_limited: {
    mood: 'wait',
    title: 'Too many requests',
    happened: 'A great many requests came from your network in a short time.',
    helps: 'Wait a minute, then try again.',
    ask: 'support',
    retry: true,
  },
  request_timeout: {
    mood: 'wait',
    title: 'The request took too long',
    happened: 'It did not arrive in full in the time allowed. Your connection may be slow.',
    helps: 'Try again, from a better connection if you can.',
    ask: 'nobody',
    retry: true,
  },

  session_store_unavailable: {
    mood: 'wait',
    title: 'Sign-ins can’t be checked right now',
    happened: 'A part that is needed to know who you are does not answer, so nobody is let in for the moment.',
    helps: 'You don’t have to do anything: as soon as it is back, you can go on where you were.',
    ask: 'support',
    retry: true,
  },
  provider_unavailable: {
    mood: 'wait',
    title: 'The sign-in service does not answer',
    happened: 'The service that knows your password can’t be reached at the moment. Your account is fine.',
    helps: 'Try again in a minute.',
    ask: 'support',
    retry: true,
  },
  provider_refused: {
    mood: 'shut',
    title: 'You were not signed in',
    happened: 'The sign-in service sent you back without signing you in.',
    helps: 'Start again. If it keeps happening, pass on the request number below.',
    ask: 'support',
    retry: false,
  },
  sign_in_invalid: {
    mood: 'broken',
    title: 'Your sign-in could not be verified',
    happened:
      'The answer of the sign-in service did not pass every check, so it was not used. An old tab or the back button can cause this.',
    helps: 'Start again. If it keeps happening, pass on the request number below.',
    ask: 'support',
    retry: false,
  },
  audit_unavailable: {
    mood: 'wait',
    title: '{app} is closed for a moment',
    happened: 'Access is recorded here, and the record can’t be written right now. Until it can, nobody is let in.',
    helps: 'Try again in a few minutes.',
    ask: 'support',
    retry: true,
  },
  shutting_down: {
    mood: 'wait',
    title: 'One moment, please',
    happened: 'This part of the system is restarting.',
    helps: 'Try again in a few seconds.',
    ask: 'nobody',
    retry: true,
  },

  upstream_unreachable: {
    mood: 'wait',
    title: '{app} can’t be reached',
    happened: 'You may open it, but it does not answer: it may be restarting or down for maintenance.',
    helps: 'Try again in a minute. Your sign-in is fine.',
    ask: 'owner',
    retry: true,
  },
  upstream_timeout: {
    mood: 'wait',
    title: '{app} is taking too long',
    happened: 'You may open it, and it was asked, but it gave no answer in time.',
    helps: 'Try again in a minute. If you were saving something, check first whether it was saved.',
    ask: 'owner',
    retry: true,
  },
  upstream_protocol_error: {
    mood: 'broken',
    title: '{app} gave an unusable answer',
    happened: 'You may open it, but what it sent back is not a valid page.',
    helps: 'Try again. If it stays like this, the people who look after {app} need to know.',
    ask: 'owner',
    retry: true,
  },
  internal_error: {
    mood: 'broken',
    title: 'Something went wrong on our side',
    happened: 'An unexpected error stopped this page. Nothing you did caused it.',
    helps: 'Try again. If it stays like this, pass on the request number below.',
    ask: 'support',
    retry: true,
  },
}

/** A message with the app's name in place. A sentence that begins with an unnamed app begins with a capital. */
export function fillApp(text: string, appName: string | undefined): string {
  if (appName === undefined) return text.replace(/^\{app\}/, 'This app').replaceAll('{app}', 'this app')
  return text.replaceAll('{app}', () => appName)
}
