/**
 * Closed words to sentences: what a page says about each unmet condition of a decision, and about what the provider answered.
 *
 * Like `messages.ts`: written for the person, exhaustive by type, `{app}` for the app's name, nothing is HTML. Of the policy a
 * sentence says what the person needs in order to mend it (an hour, a version), never a name of a rule, a group or a network.
 */

import type { Remedy, RemedyDetails } from '../policy/decision.ts'
import { printBrowsers, printDevice, printMoment, printOpening, printSpan, printSystems } from './words.ts'

/** What a page says about one unmet condition. */
export interface RemedyMessage {
  readonly title: string
  readonly text: string
  /** Heading of the page where this is the only thing in the way. */
  readonly heading: string | undefined
  /** What the page's first button does for it. */
  readonly action: 'ask' | 'sign_in_again' | 'open_app' | 'try_again'
  /** Whether it may be mended while the page is open, without anybody touching it: then the page looks by itself. */
  readonly isWatched?: true
  /** Whether the device has to report before it counts. */
  readonly needsReport?: true
}

/** Every remedy. `now` is the instant of the decision. */
export const remedies: Readonly<Record<Remedy, (details: RemedyDetails, now: number) => RemedyMessage>> = {
  ask_for_access: () => ({
    title: 'Ask for access',
    text: 'Access is given to people and groups. Someone who looks after {app} can add you.',
    heading: undefined,
    action: 'ask',
  }),
  verify_email: () => ({
    title: 'Confirm your e-mail address',
    text: 'Your account’s e-mail address has not been confirmed, so it does not count yet. Confirm it, then sign in again.',
    heading: 'Your e-mail address is not confirmed',
    action: 'sign_in_again',
  }),
  groups_missing: () => ({
    title: 'Sign in again',
    text: 'Your sign-in did not say which groups you belong to. A new sign-in may bring them; if not, your account needs a look.',
    heading: 'Your groups are not known',
    action: 'sign_in_again',
  }),
  claims_stale: () => ({
    title: 'Sign in again',
    text: 'What is known about your account is too old, and could not be renewed in the background. A new sign-in brings it up to date.',
    heading: 'Your account needs a new look',
    action: 'sign_in_again',
  }),
  read_only: () => ({
    title: 'Ask to be allowed to make changes',
    text: 'Your access to {app} is for reading only. Someone who looks after it can extend it.',
    heading: 'You can read {app}, but not change it',
    action: 'ask',
  }),
  other_path: () => ({
    title: 'Go back to its start page',
    text: 'You may use {app}, but not this part of it. If you need this part for your work, ask for access to it.',
    heading: 'This part of {app} is not open to you',
    action: 'open_app',
  }),
  not_open_yet: ({ at, zone }, now) => ({
    title: 'Come back later',
    text: at === undefined ? '{app} is not open to you yet.' : `{app} opens to you ${printOpening(at, now, zone)}.`,
    heading: '{app} is not open to you yet',
    action: 'ask',
  }),
  no_longer_open: ({ at, zone }, now) => ({
    title: 'Ask for access to be renewed',
    text:
      at === undefined
        ? 'Your access to {app} was given for a time that is over.'
        : `Your access to {app} was given for a time that ended ${printSpan(now - at)} ago, ${printMoment(at, now, zone)}.`,
    heading: 'Your access to {app} has run out',
    action: 'ask',
  }),

  sign_in_too_weak: () => ({
    title: 'Sign in with a second factor',
    text: '{app} wants a stronger sign-in than the one you have. Try again once the rest is mended, and you will be asked for it.',
    heading: '{app} wants a stronger sign-in',
    action: 'try_again',
  }),
  sign_in_not_recent: ({ at, withinSeconds }, now) => ({
    title: 'Sign in anew',
    text: `${at === undefined ? 'It is not known when you last signed in' : `You last signed in ${printSpan(now - at)} ago`}${within(withinSeconds)}. Try again once the rest is mended, and you will be asked to.`,
    heading: '{app} wants a more recent sign-in',
    action: 'try_again',
  }),

  device_unidentified: () => ({
    title: 'Use a device of your company',
    text: `This browser does not say which device it is on. ${chooseCertificate}`,
    heading: 'Your device is not known here',
    action: 'try_again',
  }),
  device_unknown: () => ({
    title: 'Have this device registered',
    text: 'The device says who it is, but it is not in your company’s inventory, or it was blocked there.',
    heading: 'Your device is not registered',
    action: 'ask',
    isWatched: true,
  }),
  device_never_reported: () => ({
    title: 'Let your device report',
    text: 'Your device has never said how it is set up. Let its management run, or have it set up on this device.',
    heading: 'Your device has not reported yet',
    action: 'try_again',
    isWatched: true,
  }),
  device_report_too_old: ({ at, present, withinSeconds }, now) => ({
    title: 'Let your device report again',
    text: `${printDevice(present)} last reported ${at === undefined ? 'too long ago' : `${printSpan(now - at)} ago`}${within(withinSeconds)}. Connect it to the internet and let its management run.`,
    heading: 'Your device has not reported for a while',
    action: 'try_again',
    isWatched: true,
  }),
  device_not_managed: () => ({
    title: 'Use a device that your company manages',
    text: '{app} opens on managed devices only. If this one belongs to your company, its management has to be set up again.',
    heading: 'Your device is not managed',
    action: 'ask',
    isWatched: true,
  }),
  device_managed: () => ({
    title: 'Use another device',
    text: 'This is not open on devices that your company manages.',
    heading: undefined,
    action: 'ask',
  }),
  disk_not_encrypted: () => ({
    title: 'Encrypt your disk',
    text: 'Turn on disk encryption: FileVault on a Mac, BitLocker or device encryption on Windows.',
    heading: 'Your disk is not encrypted',
    action: 'try_again',
    isWatched: true,
    needsReport: true,
  }),
  screen_lock_off: () => ({
    title: 'Turn on the screen lock',
    text: 'Let the screen lock by itself and ask for a password.',
    heading: 'Your screen lock is off',
    action: 'try_again',
    isWatched: true,
    needsReport: true,
  }),
  firewall_off: () => ({
    title: 'Turn on the firewall',
    text: 'Turn on the firewall in the settings of your device.',
    heading: 'Your firewall is off',
    action: 'try_again',
    isWatched: true,
    needsReport: true,
  }),
  os_outdated: ({ present, wanted }) => ({
    title: wanted === undefined ? 'Update your system' : `Update to ${printSystems(wanted)}`,
    text: `Your device has ${present === undefined ? 'an older system' : printSystems(present)}. Install the update.`,
    heading: 'Your system needs an update',
    action: 'try_again',
    isWatched: true,
    needsReport: true,
  }),
  os_not_accepted: ({ wanted }) => ({
    title: 'Use another device',
    text: wanted === undefined ? '{app} does not open on this kind of device.' : `{app} opens on ${printSystems(wanted)}.`,
    heading: '{app} does not open on this kind of device',
    action: 'ask',
  }),
  device_not_listed: () => ({
    title: 'Use another device',
    text: '{app} opens on certain devices only, and this is not one of them.',
    heading: '{app} does not open on this device',
    action: 'ask',
    isWatched: true,
  }),
  device_setting: ({ present, wanted }) => ({
    title: 'Mend a setting of your device',
    text: `${present === undefined || wanted === undefined ? 'A setting of your device is not as it has to be' : `Your device reports “${present}”, and it has to be “${wanted}”`}.`,
    heading: 'A setting of your device is in the way',
    action: 'ask',
    isWatched: true,
    needsReport: true,
  }),
  device_not_proven: () => ({
    title: 'Let your device prove itself',
    text: `Your device has to show its certificate. ${chooseCertificate}`,
    heading: 'Your device did not prove itself',
    action: 'try_again',
  }),

  other_network: () => ({
    title: 'Use another network',
    text: '{app} opens from certain networks only, and you are not in one of them.',
    heading: '{app} does not open from this network',
    action: 'try_again',
    isWatched: true,
  }),
  other_country: () => ({
    title: 'Ask about working from here',
    text: '{app} does not open from the country that your connection comes from.',
    heading: '{app} does not open from this country',
    action: 'ask',
  }),
  place_unknown: () => ({
    title: 'Ask about working from here',
    text: 'It cannot be told where your connection comes from, and {app} opens from certain places only.',
    heading: 'Your place is not known',
    action: 'ask',
  }),

  outside_hours: ({ at, zone }, now) => ({
    title: 'Come back later',
    text: at === undefined ? '{app} is closed at this time.' : `{app} opens ${printOpening(at, now, zone)}.`,
    heading: '{app} is closed now',
    action: 'ask',
    ...(at !== undefined && at - now < soonMs ? { isWatched: true } : {}),
  }),

  browser_not_accepted: ({ wanted }) => {
    const names = wanted === undefined ? undefined : printBrowsers(wanted)
    return {
      title: 'Use another browser',
      text: names === undefined ? '{app} does not open in this browser.' : `{app} opens in ${names}.`,
      heading: '{app} does not open in this browser',
      action: 'ask',
    }
  },
  browser_outdated: () => ({
    title: 'Update your browser',
    text: 'Your browser is too old for {app}. Update it, then open this page again.',
    heading: 'Your browser is too old',
    action: 'try_again',
  }),
  system_not_accepted: () => ({
    title: 'Use another device',
    text: '{app} does not open on the system that your browser runs on.',
    heading: '{app} does not open on this system',
    action: 'ask',
  }),

  condition_not_met: () => ({
    title: 'Ask about it',
    text: 'A condition for opening {app} does not hold for you now. Someone who looks after it can say which.',
    heading: undefined,
    action: 'ask',
  }),
  condition_unknown: () => ({
    title: 'Ask about it',
    text: 'Something that has to be known for opening {app} is not known. Someone who looks after it can say what.',
    heading: undefined,
    action: 'ask',
  }),
}

const chooseCertificate =
  'On a company device, choose its certificate when the browser asks; if it never asks, close the browser and start again.'

/** An open page looks for this long. */
const soonMs = 12 * 60_000

function within(seconds: number | undefined): string {
  return seconds === undefined ? '' : `, and {app} wants that within ${printSpan(seconds * 1000)}`
}

/**
 * OAuth and OpenID Connect error codes that a person can do something about (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6), and our
 * own words for what an answer lacked that was asked to be stronger or fresher.
 */
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
  ['unmet_authentication_requirements', 'The sign-in service can’t sign you in as strongly as it was asked to.'],
  ['sign_in_too_weak', 'The sign-in service was asked for a stronger sign-in, such as with a second factor, and did not give one.'],
  ['sign_in_not_recent', 'The sign-in service was asked to sign you in anew, and sent back your earlier sign-in.'],
  ['auth_time_missing', 'The sign-in service does not say when you signed in, so it can’t be told whether that was recently.'],
  ['app_not_satisfied', 'You signed in as you were asked to, and it was still not recent or strong enough when you came back.'],
  ['invalid_request', 'The sign-in service did not accept how it was asked. Administrators of this installation have to mend that.'],
])
