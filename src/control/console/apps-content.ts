/**
 * View models of the list of apps, of one app, and of a new one. Pure; every address is made from checked parts.
 */

import type { AppJson, AppsJson, UpstreamCheckJson } from '../operations/apps.ts'
import { type InstantView, instantView } from './instants.ts'

export const sensitivityTones = { open: 'quiet', internal: 'quiet', confidential: 'info', restricted: 'warn' } as const

const healthWords = {
  good: { tone: 'good', text: 'Answers' },
  failing: { tone: 'bad', text: 'Fails' },
  unknown: { tone: 'quiet', text: 'Not seen' },
} as const

export interface AppsFilter {
  readonly q: string
  readonly sensitivity: string
  readonly health: string
}

/** The list. */
export function describeApps(
  found: AppsJson,
  {
    filter,
    isFirst,
    mayChange,
    now,
  }: { readonly filter: AppsFilter; readonly isFirst: boolean; readonly mayChange: boolean; readonly now: number },
) {
  const isFiltered = filter.q !== '' || filter.sensitivity !== '' || filter.health !== ''
  const since = instantOf(found.counted_since, now)
  return {
    filter,
    isFiltered,
    mayChange,
    total: found.total,
    since,
    sensitivities: ['open', 'internal', 'confidential', 'restricted'],
    healths: Object.entries(healthWords).map(([value, { text }]) => ({ value, text })),
    rows: found.entries.map((app) => ({
      id: app.id,
      name: app.name,
      href: appHref(app.id),
      url: app.url,
      sensitivity: app.sensitivity,
      tone: sensitivityTones[app.sensitivity],
      isReporting: app.is_reporting,
      health: { ...healthWords[app.health.state], detail: app.health.detail },
      rules: app.rules,
      allowed: count(app.activity.allowed),
      refused: count(app.activity.refused),
      isRefusing: app.activity.refused > 0,
      lastUsed: instantOf(app.activity.last_used_at, now),
      changed: instantOf(app.last_change?.at ?? null, now),
      changedBy: app.last_change?.by,
    })),
    next: found.next === null ? undefined : appsHref(filter, found.next),
    first: isFirst ? undefined : appsHref(filter, undefined),
  }
}

/** One app. `yaml` are the texts of its rules as they are in force, by position; those of the company by name. */
export function describeApp(
  app: AppJson,
  { mayChange, now, yaml }: { readonly mayChange: boolean; readonly now: number; readonly yaml: RuleTexts },
) {
  const rules = (list: AppJson['own_rules'], textOf: (name: string, index: number) => string | undefined) =>
    list.map((rule, index) => ({ ...rule, isReport: rule.mode === 'report', yaml: textOf(rule.name, index) }))
  return {
    id: app.id,
    name: app.name,
    description: app.description,
    url: app.url,
    // A page may only lead to where browsers go.
    urlHref: /^https?:\/\//.test(app.url) ? app.url : undefined,
    upstreams: app.upstreams,
    sensitivity: app.sensitivity,
    tone: sensitivityTones[app.sensitivity],
    health: { ...healthWords[app.health.state], detail: app.health.detail },
    owner: app.owner,
    help: app.help,
    portal: app.portal.replaceAll('_', ' '),
    options: app.options,
    isReporting: app.is_reporting,
    reportUntil: app.report_until,
    ownRules: rules(app.own_rules, (_name, index) => yaml.own[index]),
    companyRules: rules(app.company_rules, (name) => yaml.company.get(name)),
    levels: app.levels,
    policyVersion: app.policy_version,
    changed: instantOf(app.last_change?.at ?? null, now),
    changedBy: app.last_change?.by,
    revisionHref: app.last_change === null ? undefined : `/console/policy/revisions/${app.last_change.revision}`,
    since: instantOf(app.counted_since, now),
    activity: {
      allowed: count(app.activity.allowed),
      refused: count(app.activity.refused),
      challenged: count(app.activity.challenged),
      people: count(app.activity.people),
      lastUsed: instantOf(app.activity.last_used_at, now),
      lastRefused: instantOf(app.activity.last_refused_at, now),
    },
    trailHref: `/console/trail?app=${encodeURIComponent(app.id)}`,
    connectionsHref: `/console/connections?app=${encodeURIComponent(app.id)}`,
    draftAction: `${appHref(app.id)}/draft`,
    mayChange,
  }
}

/** Texts of rules as they are in force. */
export interface RuleTexts {
  readonly own: readonly string[]
  readonly company: ReadonlyMap<string, string>
}

/** The fields of a new app as they were typed. */
export interface NewApp {
  readonly name: string
  readonly id: string
  readonly url: string
  readonly upstream: string
  readonly sensitivity: string
  readonly owner: string
  readonly whoKind: string
  readonly who: readonly string[]
}

export const emptyApp: NewApp = {
  name: '',
  id: '',
  url: '',
  upstream: '',
  sensitivity: 'internal',
  owner: '',
  whoKind: 'groups',
  who: [],
}

/** The page of a new app. */
export function describeNewApp(
  typed: NewApp,
  more: {
    readonly errors: Readonly<Record<string, string>>
    readonly failure: string | undefined
    readonly checked: UpstreamCheckJson | undefined
    readonly words: { readonly groups: readonly string[]; readonly users: readonly string[]; readonly domains: readonly string[] }
  },
) {
  const chosen = (values: readonly (readonly [string, string])[], value: string) =>
    values.map(([one, label]) => ({ value: one, label, isChosen: one === value }))
  return {
    ...typed,
    who: [...typed.who, ''],
    sensitivities: chosen(
      [
        ['open', 'open: nothing in it is worth protecting'],
        ['internal', 'internal: for the company'],
        ['confidential', 'confidential: harm, if it got out'],
        ['restricted', 'restricted: few people, great harm'],
      ],
      typed.sensitivity,
    ),
    whoKinds: chosen(
      [
        ['groups', 'Members of these groups'],
        ['users', 'These people, by e-mail address'],
        ['domains', 'People with an address at these domains'],
        ['signed_in', 'Everybody who signs in'],
      ],
      typed.whoKind,
    ),
    errors: more.errors,
    failure: more.failure,
    checked: more.checked === undefined ? undefined : describeCheck(more.checked),
    words: [...new Set([...more.words.groups, ...more.words.domains, ...more.words.users])].slice(0, 100),
  }
}

/** What came of a check, with what to do about it. */
export function describeCheck({ result, status_class, tls_code }: UpstreamCheckJson): {
  readonly tone: 'good' | 'bad' | 'info'
  readonly text: string
} {
  switch (result) {
    case 'answers':
      return status_class === '5xx'
        ? { tone: 'bad', text: 'Something answers, with an error of its own (5xx).' }
        : { tone: 'good', text: `It answers (${status_class ?? 'with a status'}).` }
    case 'not_allowed':
      return {
        tone: 'bad',
        text: 'A policy may not lead there: addresses of this machine, link-local ones, and what upstreams.allow does not list.',
      }
    case 'name_unknown':
      return { tone: 'bad', text: 'No address is known for this name. Postern resolves it on its own machine, not on yours.' }
    case 'connection_refused':
      return { tone: 'bad', text: 'The machine is there, and nothing listens on this port.' }
    case 'unreachable':
      return { tone: 'bad', text: 'The machine cannot be reached from here.' }
    case 'timeout':
      return { tone: 'bad', text: 'No answer within three seconds. A firewall may be in between.' }
    case 'tls_problem':
      return {
        tone: 'bad',
        text: `Its certificate is not accepted (${tls_code ?? 'unknown'}). Name its authority with ca_file, or its name with server_name.`,
      }
    case 'not_http':
      return {
        tone: 'bad',
        text: 'Something listens there, and it does not speak HTTP as it was asked. Perhaps http:// and https:// are mixed up.',
      }
  }
}

export function appHref(id: string): string {
  return `/console/apps/${encodeURIComponent(id)}`
}

function appsHref({ health, q, sensitivity }: AppsFilter, after: string | undefined): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries({ q, sensitivity, health })) if (value !== '') query.set(name, value)
  if (after !== undefined) query.set('after', after)
  return query.size === 0 ? '/console/apps' : `/console/apps?${query}`
}

function instantOf(text: string | null, now: number): InstantView | undefined {
  return text === null ? undefined : instantView(Date.parse(text), now)
}

function count(value: number): string {
  return value.toLocaleString('en')
}
