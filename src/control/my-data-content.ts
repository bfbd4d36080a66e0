/**
 * What the page about one's data says: claims with what each is used for, what is recorded of requests, for how long, and who reads it.
 *
 * Pure. Each sentence follows the configuration that it is given: a field that is left out of the trail is said to be left out, and one that is
 * not is not. Claims and addresses are other people's text, escaped by the template.
 */

import type { Role } from '../administration/asker.ts'
import type { RecentDecisions } from '../administration/trail-window.ts'
import { reasons } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { RedactedField } from '../policy/facts.ts'
import { keepPeopleDays } from '../session/people.ts'
import type { Session } from '../session/session.ts'
import { printSpan } from './words.ts'

type ClaimPaths = readonly (readonly string[])[]

/** What the configuration says about keeping things. */
export interface DataRules {
  /** Host of the sign-in service. */
  readonly provider: string
  readonly groupClaims: ClaimPaths
  readonly deviceIdClaim: readonly string[] | undefined
  readonly postureClaims: ClaimPaths
  readonly session: { readonly idleTimeoutSeconds: number; readonly lifetimeSeconds: number }
  readonly audit: {
    readonly query: 'drop' | 'keep'
    readonly keep: { readonly ageSeconds: number; readonly bytes: number }
    readonly recordClaims: ClaimPaths
    readonly redact: readonly RedactedField[]
    readonly windowEvents: number
    /** How many other systems receive the trail. */
    readonly receivers: number
  }
  /** Whether a database says which country, and which network, an address is in. */
  readonly places: { readonly country: boolean; readonly asn: boolean }
  /** Roles of the console that anybody can hold. */
  readonly roles: readonly Role[]
}

export interface MyDataView {
  readonly session: Pick<Session, 'issuer' | 'sub' | 'claims' | 'signIn' | 'startedAt'>
  readonly rules: DataRules
  /** The store's clock. */
  readonly at: number
  /** Of the claims that rules speak of. */
  readonly claimPaths: ClaimPaths
  /** Those that the person may know of. */
  readonly apps: readonly Pick<App, 'id' | 'name' | 'identity' | 'audit'>[]
  readonly counts: { readonly sessions: number; readonly requests: number | undefined }
  /** `undefined`: no recent ones are kept where this page could read them. */
  readonly recent: RecentDecisions | undefined
}

export interface ClaimRow {
  readonly name: string
  readonly value: string
  readonly uses: readonly string[]
}

export interface DecisionRow {
  readonly when: string
  readonly iso: string
  readonly what: string
  readonly app: string | undefined
  readonly effect: 'opened' | 'refused' | 'asked to sign in' | 'decided'
  readonly why: string
}

/** What the template of `/privacy` is given. */
export interface MyDataContent {
  readonly provider: string
  readonly identifier: string
  readonly claims: readonly ClaimRow[]
  readonly heard: string
  readonly kept: readonly string[]
  readonly recorded: readonly string[]
  readonly leftOut: readonly string[]
  readonly shortened: readonly string[]
  readonly howLong: readonly string[]
  readonly readers: readonly { readonly who: string; readonly what: string }[]
  readonly recent: readonly DecisionRow[] | undefined
}

const mostClaims = 100
const longestValue = 300
const mostNamed = 5

/** Everything that the page for `view` says. */
export function describeMyData(view: MyDataView): MyDataContent {
  const { apps, at, recent, rules, session } = view
  const names = new Map(apps.map(({ id, name }) => [id, name]))
  const shortened = apps.filter(({ audit }) => audit.paths !== 'full')
  return {
    provider: rules.provider,
    identifier: session.sub,
    claims: describeClaims(view),
    heard: agoOf(at - session.claims.at),
    kept: describeKept(view),
    ...describeRecorded(rules),
    shortened: shortened.map(({ audit, name }) =>
      audit.paths === 'none' ? `${name}: no path at all` : `${name}: the first part of the path only`,
    ),
    howLong: describeHowLong(rules),
    readers: describeReaders(rules.roles),
    recent: recent?.decisions.map(({ app, at: decidedAt, effect, host, method, path, reason }) => ({
      when: agoOf(at - decidedAt),
      iso: new Date(decidedAt).toISOString(),
      what: `${method} ${host}${path}`,
      app: app === undefined ? undefined : names.get(app),
      effect: effects.get(effect) ?? 'decided',
      why: Object.hasOwn(reasons, reason) ? reasons[reason as keyof typeof reasons] : reason,
    })),
  }
}

const effects = new Map<string, DecisionRow['effect']>([
  ['allow', 'opened'],
  ['deny', 'refused'],
  ['challenge', 'asked to sign in'],
])

/** What every app that opens is told, in the statement that Postern signs for it. */
const toldToApps: ReadonlySet<string> = new Set(['sub', 'email', 'name', 'preferred_username'])
const identity: ReadonlySet<string> = new Set(['sub', 'iss', 'email', 'email_verified', 'name', 'preferred_username'])
const signInClaims: ReadonlySet<string> = new Set([
  'acr',
  'amr',
  'auth_time',
  'sid',
  'nonce',
  'aud',
  'exp',
  'iat',
  'azp',
  'at_hash',
  'c_hash',
])

function describeClaims({ apps, claimPaths, rules, session }: MyDataView): ClaimRow[] {
  const isFirstOf = (name: string, paths: ClaimPaths) => paths.some(([first]) => first === name)
  const isRedacted = (field: RedactedField) => rules.audit.redact.includes(field)
  const usesOf = (name: string): string[] => {
    const isGroups = isFirstOf(name, rules.groupClaims)
    const isAsked = isFirstOf(name, claimPaths)
    const extra = apps.filter(({ identity: setting }) => setting.kind === 'headers' && setting.extra.some(({ path }) => path[0] === name))
    const isRecorded =
      !isRedacted('claims') &&
      !(isGroups && isRedacted('groups')) &&
      !(name === 'email' && isRedacted('email')) &&
      (isAsked || isFirstOf(name, rules.audit.recordClaims))
    const uses = [
      identity.has(name) ? 'tells who you are' : undefined,
      signInClaims.has(name) ? 'belongs to your sign-in' : undefined,
      isGroups ? 'your groups, which rules ask for' : undefined,
      rules.deviceIdClaim?.[0] === name ? 'names your device' : undefined,
      isFirstOf(name, rules.postureClaims) ? 'says how your device is set up' : undefined,
      isAsked ? 'rules ask for it' : undefined,
      toldToApps.has(name) || isGroups ? 'told to each app that you open' : undefined,
      extra.length > 0 ? `told to ${namesOf(extra.map((app) => app.name))} when you open ${extra.length === 1 ? 'it' : 'them'}` : undefined,
      isRecorded ? 'recorded with decisions' : undefined,
    ].filter((use) => use !== undefined)
    return uses.length === 0 ? ['comes with your sign-in; nothing here uses it'] : uses
  }
  return Object.keys(session.claims.all)
    .sort((a, b) => (a < b ? -1 : 1))
    .slice(0, mostClaims)
    .map((name) => ({ name, value: printClaim(session.claims.all[name]), uses: usesOf(name) }))
}

function describeKept({ counts, rules, session, at }: MyDataView): string[] {
  const { idleTimeoutSeconds, lifetimeSeconds } = rules.session
  return [
    `Your sign-in: when (${agoOf(at - (session.signIn.authTime ?? session.signIn.at))}), how strong, from which address and browser, and the tokens of ${rules.provider}, sealed. It ends after ${printSpan(idleTimeoutSeconds * 1000)} without use, and after ${printSpan(lifetimeSeconds * 1000)} at the latest. You have ${counts.sessions === 1 ? 'one' : counts.sessions} at present.`,
    `What ${rules.provider} said of you when it was last heard: the list above, sealed. It is forgotten ${keepPeopleDays} days after that.`,
    'Which of your organisation’s devices you use, as far as they show who they are.',
    ...(counts.requests === undefined ? [] : [`What you asked for (${counts.requests} at present), 90 days each.`]),
  ]
}

function describeRecorded({ audit, places }: DataRules): Pick<MyDataContent, 'recorded' | 'leftOut'> {
  const isLeftOut = (field: RedactedField) => audit.redact.includes(field)
  const fields: readonly (readonly [text: string, field: RedactedField | undefined])[] = [
    ['when it was, and an id that you find on every page of ours', undefined],
    ['your identifier', undefined],
    ['your e-mail address', 'email'],
    ['your groups', 'groups'],
    ['the claims that rules ask for, as marked above', 'claims'],
    ['the app, its address, the method and the path', undefined],
    ['the address that you come from', 'address'],
    ['what your browser says of itself', 'user_agent'],
    ...(places.country ? [['the country of that address', 'country'] as const] : []),
    ...(places.asn ? [['the network that the address belongs to', 'asn'] as const] : []),
    ['how strong and how long ago your sign-in was', undefined],
    ['your device, where an app asks for it, and how it is set up', undefined],
    ['what was decided, by which rule, and how much was sent for how long', undefined],
  ]
  return {
    recorded: [
      ...fields.flatMap(([text, field]) => (field === undefined || !isLeftOut(field) ? [text] : [])),
      ...(audit.query === 'keep' ? ['what follows the question mark of an address'] : []),
    ],
    leftOut: [
      ...fields.flatMap(([text, field]) => (field !== undefined && isLeftOut(field) ? [text] : [])),
      ...(audit.query === 'drop' ? ['what follows the question mark of an address'] : []),
      'what you send and what apps answer',
      'passwords, cookies and tokens',
    ],
  }
}

function describeHowLong({ audit }: DataRules): string[] {
  const { ageSeconds, bytes } = audit.keep
  return [
    `The record is kept for ${printDays(ageSeconds)}, and for less where it grows beyond ${printGreatSize(bytes)}: then the oldest goes first.`,
    ...(audit.windowEvents > 0
      ? [`The newest ${audit.windowEvents.toLocaleString('en')} entries of everybody are also held ready for searching.`]
      : []),
    ...(audit.receivers > 0
      ? [
          `A copy goes to ${audit.receivers === 1 ? 'another system' : `${audit.receivers} other systems`} of your organisation, which ${audit.receivers === 1 ? 'has its' : 'have their'} own time.`,
        ]
      : []),
  ]
}

function describeReaders(roles: readonly Role[]): MyDataContent['readers'] {
  const words: Readonly<Record<Role, { readonly who: string; readonly what: string }>> = {
    admin: { who: 'Admins', what: 'read all of it, end your sessions and answer what you ask for' },
    auditor: { who: 'Auditors', what: 'read all of it and change nothing' },
    helpdesk: { who: 'The helpdesk', what: 'sees your sessions, devices and what you ask for, not the record of what you opened' },
  }
  return [
    ...roles.map((role) => words[role]),
    { who: 'Whoever runs the machines', what: 'can read the record there' },
    { who: 'You', what: 'read what is on this page' },
  ]
}

function namesOf(names: readonly string[]): string {
  const shown = names.slice(0, mostNamed).join(', ')
  return names.length > mostNamed ? `${shown} and ${names.length - mostNamed} more` : shown
}

function printClaim(value: unknown): string {
  const text =
    typeof value === 'string'
      ? value
      : Array.isArray(value) && value.every((one) => typeof one === 'string')
        ? value.join(', ')
        : JSON.stringify(value)
  return text !== undefined && text.length > longestValue ? `${text.slice(0, longestValue)}…` : (text ?? '')
}

function printDays(seconds: number): string {
  const days = Math.round(seconds / 86_400)
  return days === 1 ? 'a day' : `${days} days`
}

function printGreatSize(bytes: number): string {
  const gib = bytes / 1024 ** 3
  return gib >= 1 ? `${Number(gib.toFixed(1))} GiB` : `${Math.round(bytes / 1024 ** 2)} MiB`
}

function agoOf(ms: number): string {
  return ms < 60_000 ? 'just now' : `${printSpan(ms)} ago`
}
