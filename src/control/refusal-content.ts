/**
 * What a refusal page says and offers: a reason, its unmet conditions and the app become headline, steps, people to ask and buttons.
 *
 * Pure. The order is the same on every page: what happened, what would help, whom to ask, details to pass on. Addresses
 * are checked here; one that is not safe to click is left out, never repaired.
 */

import type { Reason, Unmet } from '../policy/decision.ts'
import { type Contact, parseContact, parseOwnPath, parseWebAddress } from './contact.ts'
import { fillApp, type Message, type Mood, messages } from './messages.ts'
import type { RefusalView } from './pages.ts'
import { providerErrors, type RemedyMessage, remedies } from './remedies.ts'

/** A button or link of a page; the first one of a page is its main one. */
export interface Action {
  readonly label: string
  readonly href: string
}

/** What the template of a refusal is given; every address in it is safe to click. */
export interface RefusalContent {
  readonly mood: Mood
  readonly title: string
  readonly happened: string
  readonly helps: string
  readonly steps: readonly { readonly title: string; readonly text: string }[]
  /** What holds for several steps, said once. */
  readonly note: string | undefined
  readonly contacts: readonly Contact[]
  readonly actions: readonly Action[]
  readonly details: readonly { readonly label: string; readonly value: string }[]
  /** Where the script looks whether the app is back; `undefined` where waiting does not help. */
  readonly watchPath: string | undefined
  /** What it waits for: that something answers again, or that the person is let in. */
  readonly watchFor: 'back' | 'allowed'
  /** The remedies on this page, as a program is told them: if they are others by then, the page is out of date. */
  readonly watchRemedies: string
}

/** What is known about a refusal, with what only the access host knows of a failed sign-in. */
export interface RefusalFacts extends Omit<RefusalView, 'status' | 'at'> {
  /** Only decisions have an instant that their words depend on. */
  readonly at?: number
  readonly providerError?: string | undefined
  readonly startAgainUrl?: string | undefined
}

/** The brand, as far as a refusal needs it. */
export interface RefusalBrand {
  readonly name: string
  readonly support: string | undefined
}

/** Reasons that another account could change, so that "use another account" makes sense. */
const accountReasons: ReadonlySet<Reason> = new Set([
  'no_rule_matched',
  'denied_by_rule',
  'locked',
  'sign_in_too_old',
  'step_up_failed',
  'app_not_found',
])

/** Reasons whose unmet conditions tell the person what to do. Of a deny that is certain there are none. */
const unmetReasons: ReadonlySet<Reason> = new Set(['no_rule_matched', 'denied_by_rule'])

/** Reasons that a sign-in mends. */
const signInReasons: ReadonlySet<Reason> = new Set([
  'login_required',
  'session_expired',
  'session_ended',
  'sign_in_too_old',
  'device_changed',
])

/** Conditions that are not about who somebody is: where nothing else is unmet, access is not what has to be asked for. */
const passing: ReadonlySet<Unmet['condition']> = new Set(['sign_in', 'device', 'network', 'time', 'client'])

/** Everything that the page for `facts` says and offers. */
export function describeRefusal(facts: RefusalFacts, brand: RefusalBrand): RefusalContent {
  const message = messages[facts.reason]
  const appName = facts.app?.name
  const wanted = unmetReasons.has(facts.reason) ? distinctRemedies(facts.unmet, facts.at ?? 0) : []
  const isPassing = wanted.length > 0 && facts.unmet.every(({ condition }) => passing.has(condition))
  const heading = wanted.length === 1 ? wanted[0]?.heading : isPassing ? 'You can’t open {app} right now' : undefined
  const happened = isPassing ? happenedInPassing(facts.reason, wanted.length) : message.happened
  const contacts = contactsFor(facts, message, brand)
  // Of several remedies, one that cannot be mended meanwhile keeps the page from opening by itself.
  const isWatched = wanted.length > 0 && wanted.every((remedy) => remedy.isWatched === true)
  const mayRetry = message.retry || isWatched || wanted.some(({ action: offer }) => offer === 'try_again')
  const retryPath = mayRetry ? parseOwnPath(facts.retryPath) : undefined
  const providerSentence = facts.providerError === undefined ? undefined : providerErrors.get(facts.providerError)
  return {
    mood: message.mood,
    title: fillApp(heading ?? message.title, appName),
    happened: fillApp(providerSentence ?? happened, appName),
    helps: fillApp(message.helps, appName),
    steps: wanted.map((remedy) => ({ title: fillApp(remedy.title, appName), text: fillApp(remedy.text, appName) })),
    note: wanted.some(({ needsReport }) => needsReport === true)
      ? 'What you change on your device counts from its next report.'
      : undefined,
    contacts,
    actions: actionsFor({ facts, wanted, contacts, retryPath, isPassing }),
    details: detailsOf(facts),
    watchPath: message.mood === 'wait' || isWatched ? retryPath : undefined,
    watchFor: isWatched ? 'allowed' : 'back',
    watchRemedies: facts.unmet.map(({ remedy }) => remedy).join(' '),
  }
}

/** Of a deny it is only certain that it would not keep this person out for good. */
function happenedInPassing(reason: Reason, count: number): string {
  if (reason === 'denied_by_rule') return 'As things are now, a rule of your organisation keeps you out.'
  return `Your account may open {app}, but ${count === 1 ? 'something is' : 'a few things are'} in the way.`
}

/** The same sentence once, whatever conditions it is for. */
function distinctRemedies(unmet: readonly Unmet[], now: number): RemedyMessage[] {
  const found = new Map<string, RemedyMessage>()
  for (const { details = {}, remedy } of unmet) {
    const message = remedies[remedy](details, now)
    if (!found.has(message.text)) found.set(message.text, message)
  }
  return [...found.values()]
}

function contactsFor(facts: RefusalFacts, message: Message, brand: RefusalBrand): Contact[] {
  if (message.ask === 'nobody') return []
  const letter = {
    subject: `${facts.app?.name ?? brand.name}: ${fillApp(message.title, facts.app?.name)} (${facts.requestId})`,
    lines: ['', '', '--', ...detailsOf(facts).map(({ label, value }) => `${label}: ${value}`)],
  }
  const owners = [parseContact(facts.app?.help, letter), parseContact(facts.app?.owner, letter)]
  const support = [parseContact(brand.support, letter)]
  const [first, second] = message.ask === 'owner' ? [owners, support] : [support, owners]
  const chosen = first.some((contact) => contact !== undefined) ? first : second
  const found = chosen.filter((contact) => contact !== undefined)
  return found.filter((contact, index) => found.findIndex((other) => other.text === contact.text) === index)
}

interface Offer {
  readonly facts: RefusalFacts
  readonly wanted: readonly RemedyMessage[]
  readonly contacts: readonly Contact[]
  readonly retryPath: string | undefined
  readonly isPassing: boolean
}

function actionsFor({ facts, wanted, contacts, retryPath, isPassing }: Offer): Action[] {
  const offers = new Set(wanted.map((remedy) => remedy.action))
  const appUrl = parseWebAddress(facts.app?.url)
  const signIn = parseWebAddress(facts.signInUrl) ?? parseOwnPath(facts.signInUrl)
  const signOut = parseWebAddress(facts.signOutUrl) ?? parseOwnPath(facts.signOutUrl)
  const askHref = contacts.find((contact) => contact.href !== undefined)?.href
  const actions: (Action | undefined)[] = [
    // The browser's cookie still names the session that ended; only signing out takes it away.
    facts.reason === 'sign_in_too_old' && facts.person === undefined ? action('Sign out', signOut) : undefined,
    action('Start again', parseWebAddress(facts.startAgainUrl) ?? parseOwnPath(facts.startAgainUrl)),
    // Before trying again, which cannot succeed without it.
    facts.reason === 'no_rule_matched' && !isPassing && !offers.has('sign_in_again') ? action('Ask for access', askHref) : undefined,
    action('Try again', retryPath),
    signInReasons.has(facts.reason) ? action('Sign in', signIn) : undefined,
    // With a live session the sign-in address leads straight back here, so signing in anew begins with signing out.
    offers.has('sign_in_again') ? action('Sign out and in again', signOut ?? signIn) : undefined,
    offers.has('open_app') ? action('Go to its start page', appUrl) : undefined,
    facts.reason === 'denied_by_rule' || facts.reason === 'locked' || isPassing ? action('Ask about this', askHref) : undefined,
    accountReasons.has(facts.reason) && facts.person !== undefined && !isPassing && !offers.has('sign_in_again')
      ? action('Use another account', signOut)
      : undefined,
    action('All your apps', parseWebAddress(facts.portalUrl) ?? parseOwnPath(facts.portalUrl)),
  ]
  return actions.filter((offer) => offer !== undefined)
}

function action(label: string, href: string | undefined): Action | undefined {
  return href === undefined ? undefined : { label, href }
}

/** What helps whoever is asked to find the decision again. No address that was asked for: its query may hold a secret. */
function detailsOf(facts: RefusalFacts): { label: string; value: string }[] {
  const rows: [string, string | undefined][] = [
    ['App', facts.app?.name],
    ['Signed in as', facts.person],
    ['Reason', facts.reason],
    ['Sign-in service', facts.providerError],
    ['Request', facts.requestId],
  ]
  return rows.flatMap(([label, value]) => (value === undefined ? [] : [{ label, value }]))
}
