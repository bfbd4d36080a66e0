/**
 * Apps: what there is, who may come in and what happens there; and the first step of a new one, as a draft.
 *
 * Shown is the policy that is in force, with what was counted of late beside it. Rules come as sentences that are made from what is enforced. Nothing
 * here changes the policy: a new app, like every change, begins as a draft that is tried and published elsewhere.
 */

import { z } from 'zod'
import type { ActivityDigest } from '../../administration/activity.ts'
import type { App, PolicyDocument, Rule } from '../../policy/document.ts'
import { concerns, describeLevel, describeRule, levelFinder, levelsUsed } from '../../policy/rule-sentences.ts'
import type { LastChange } from './apps-history.ts'
import { addressOf, appSummary, line, optionsOf, ruleStatement, sensitivities } from './apps-schemas.ts'
import { checkUpstream, type UpstreamReachPort, upstreamAnswers } from './apps-upstream-check.ts'
import { defineOperation, done, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant, toInstantOrNull } from './paging.ts'
import { draftId } from './policy-edit.ts'
import type { DraftDesk } from './policy-edit-desk.ts'

/** How an app's upstream fares, as the data plane has seen it. */
export interface UpstreamHealth {
  readonly state: 'good' | 'failing' | 'unknown'
  /** For people: `2 of 3 upstreams do not answer`. */
  readonly detail: string | undefined
}

export interface AppsOperationsPorts {
  /** The policy in force. */
  readonly document: () => PolicyDocument
  readonly digest: Pick<ActivityDigest, 'apps' | 'state'>
  readonly upstreamHealth: (appId: string) => UpstreamHealth
  readonly lastChanges: () => Promise<ReadonlyMap<string, LastChange>>
  readonly reach: UpstreamReachPort
  /** Counts a check by an asker; resolves to the seconds to wait where there were too many. */
  readonly limitChecks: (actor: string) => Promise<number | undefined>
  readonly desk: DraftDesk
}

/** The operations on apps. */
export function createAppsOperations(ports: AppsOperationsPorts) {
  const { desk, digest, document, lastChanges, limitChecks, reach, upstreamHealth } = ports

  function summarise(app: App, changes: ReadonlyMap<string, LastChange>, activities = digest.apps()): z.output<typeof appSummary> {
    const activity = activities.get(app.id)
    const health = upstreamHealth(app.id)
    const change = changes.get(app.id)
    return {
      id: app.id,
      name: app.name,
      url: addressOf(app),
      sensitivity: app.sensitivity,
      upstreams: app.upstreams.map(({ basePath, origin }) => `${origin}${basePath}`),
      owner: app.owner ?? null,
      rules: app.rules.length,
      is_reporting: app.report !== undefined,
      activity: {
        allowed: activity?.allowed ?? 0,
        refused: activity?.refused ?? 0,
        challenged: activity?.challenged ?? 0,
        people: activity?.people ?? 0,
        last_used_at: toInstantOrNull(activity?.lastUsedAt),
        last_refused_at: toInstantOrNull(activity?.lastRefusedAt),
      },
      health: { state: health.state, detail: health.detail ?? null },
      last_change: change === undefined ? null : { at: toInstant(change.at), by: change.by, revision: change.revision },
    }
  }

  const list = defineOperation({
    id: 'apps.list',
    summary: 'Lists the apps',
    description:
      'The apps of the policy in force, by id, with what was counted of late. `counted_since` says from when on; null: nothing is counted yet.',
    method: 'GET',
    path: '/apps',
    permission: 'policy:read',
    input: z.strictObject({
      ...pageInput,
      q: line(120).optional().meta({ description: 'Part of id, name, address, upstream or owner.' }),
      sensitivity: z.enum(sensitivities).optional(),
      health: z.enum(['good', 'failing', 'unknown']).optional(),
    }),
    output: pageOf(appSummary).extend({ total: z.number().int(), counted_since: instantText.nullable() }),
    problems: [],
    async carryOut({ after, health, limit, q, sensitivity }) {
      const wanted = (q ?? '').toLowerCase()
      const found = document().apps.filter(
        (app) =>
          (sensitivity === undefined || app.sensitivity === sensitivity) &&
          (health === undefined || upstreamHealth(app.id).state === health) &&
          (wanted === '' || isAbout(app, wanted)),
      )
      // Apps of a document are in the order of their ids.
      const from = after === undefined ? 0 : found.findIndex(({ id }) => id > after)
      const page = from === -1 ? [] : found.slice(from, from + limit)
      const [changes, activities] = [await lastChanges(), digest.apps()]
      const isMore = from !== -1 && from + limit < found.length
      return done({
        entries: page.map((app) => summarise(app, changes, activities)),
        next: isMore ? (page.at(-1)?.id ?? null) : null,
        total: found.length,
        counted_since: toInstantOrNull(digest.state().since),
      })
    },
  })

  const get = defineOperation({
    id: 'apps.get',
    summary: 'Shows an app',
    description:
      'One app of the policy in force: its settings, its rules as sentences, the rules of the company that hold for it, and the levels that they use.',
    method: 'GET',
    path: '/apps/{app}',
    permission: 'policy:read',
    input: z.strictObject({ app: z.string().min(1).max(64) }),
    output: appSummary.extend({
      description: z.string().nullable(),
      help: z.string().nullable(),
      portal: z.enum(['if_relevant', 'if_allowed', 'listed', 'hidden']),
      options: z.array(z.strictObject({ name: z.string(), value: z.string() })),
      report_until: z.string().nullable(),
      own_rules: z.array(ruleStatement),
      company_rules: z.array(ruleStatement),
      levels: z.array(z.strictObject({ name: z.string(), sentence: z.string() })),
      policy_version: z.string(),
      counted_since: instantText.nullable(),
    }),
    problems: ['not_found'],
    async carryOut(input) {
      const policy = document()
      const app = policy.apps.find(({ id }) => id === input.app)
      if (app === undefined) return refused('not_found', 'There is no such app in the policy that is in force.')
      const findLevel = levelFinder(policy.levels)
      const state = (rule: Rule): z.output<typeof ruleStatement> => ({
        name: rule.name,
        verb: rule.verb,
        sentence: describeRule(rule, findLevel),
        mode: rule.isReport ? 'report' : 'enforce',
        alert: rule.isAlert,
      })
      const company = policy.rules.filter((rule) => concerns(rule, app))
      const used = new Set(levelsUsed([...app.rules, ...company], findLevel))
      return done({
        ...summarise(app, await lastChanges()),
        description: app.description ?? null,
        help: app.help ?? null,
        portal: app.portal,
        options: [...optionsOf(app)],
        report_until: app.report?.until ?? null,
        own_rules: app.rules.map(state),
        company_rules: company.map(state),
        levels: policy.levels
          .filter(({ name }) => used.has(name))
          .map((one) => ({ name: one.name, sentence: describeLevel(one, findLevel) })),
        policy_version: policy.version,
        counted_since: toInstantOrNull(digest.state().since),
      })
    },
  })

  const check = defineOperation({
    id: 'apps.check_upstream',
    summary: 'Checks that an upstream answers',
    description:
      'Makes one connection to an upstream and sends one HEAD request, for at most three seconds, and says what came of it: whether something answers, ' +
      'with which class of status. Only where a policy may lead; redirects are not followed; nothing of the answer is handed out. At most 20 a minute for each asker.',
    method: 'POST',
    path: '/apps/check-upstream',
    permission: 'policy:write',
    input: z.strictObject({ upstream: line(2048).meta({ description: 'Such as `http://wiki.internal:3000`.' }) }),
    output: z.strictObject({
      result: z.enum(upstreamAnswers),
      status_class: z.string().nullable(),
      tls_code: z.string().nullable(),
    }),
    problems: ['malformed', 'too_many'],
    async carryOut({ upstream }, asker) {
      const url = parseUpstream(upstream)
      if (url === undefined) {
        const words = 'This is no address of an upstream: write http:// or https://, a host and perhaps a port.'
        return refused('malformed', words, { fields: { upstream: words } })
      }
      const wait = await limitChecks(asker.actor)
      if (wait !== undefined) return refused('too_many', `You have checked many upstreams. Wait ${wait} seconds.`, { retry_after_s: wait })
      const { result, statusClass, tlsCode } = await checkUpstream(reach, { url })
      return done({ result, status_class: statusClass ?? null, tls_code: tlsCode ?? null })
    },
  })

  const create = defineOperation({
    id: 'apps.create',
    summary: 'Begins a new app',
    description:
      'Adds an app with one rule that allows the people who are named, in a new draft or in the one that is given. Nobody is let in before that draft is published.',
    method: 'POST',
    path: '/apps',
    permission: 'policy:write',
    input: z.strictObject({
      id: line(64)
        .regex(/^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/, 'write lower-case letters, digits, `-` and `_`')
        .meta({ description: 'Stable name in rules, audit and commands.' }),
      name: line(120).min(1, 'write a name').meta({ description: 'For people.' }),
      url: line(2048).min(1, 'write the address that people open').meta({ description: 'Public address.' }),
      upstream: line(2048).min(1, 'write where the app is').meta({ description: 'Internal address.' }),
      sensitivity: z.enum(sensitivities).default('internal'),
      owner: line(500).optional(),
      who: z
        .discriminatedUnion('kind', [
          z.strictObject({
            kind: z.enum(['groups', 'users', 'domains']),
            values: z.array(line(500).min(1)).min(1, 'name at least one').max(200),
          }),
          z.strictObject({ kind: z.literal('signed_in') }),
        ])
        .meta({ description: 'Who may come in.' }),
      draft: draftId.optional().meta({ description: 'The draft it is added to; a new one if left out.' }),
      version: z.coerce.number().int().min(0).optional().meta({ description: 'Of that draft.' }),
    }),
    output: z.strictObject({ draft: z.string(), version: z.number().int(), app: z.string() }),
    problems: ['conflict', 'not_found', 'malformed', 'too_many', 'policy_refused'],
    async carryOut({ draft, id, name, owner, sensitivity, upstream, url, version, who }, asker) {
      if (draft === undefined && document().apps.some((app) => app.id === id)) {
        const words = 'There is an app with this id already.'
        return refused('conflict', words, { fields: { id: words } })
      }
      const allow = who.kind === 'signed_in' ? { signed_in: true } : { [who.kind]: who.values }
      const app = {
        id,
        name,
        ...(owner === undefined || owner === '' ? {} : { owner }),
        url,
        upstream,
        ...(sensitivity === 'internal' ? {} : { sensitivity }),
        rules: [{ name: 'who may come in', allow }],
      }
      const begun = draft === undefined ? await desk.begin(`New app: ${name}`, asker) : done({ id: draft, version: version ?? 0 })
      if (begun.outcome === 'refused') return begun
      const edits = [{ kind: 'add_app' as const, app }]
      const changed = await desk.change(begun.value.id, { version: begun.value.version, edits }, asker)
      if (changed.outcome === 'refused') return changed
      return done({ draft: begun.value.id, version: changed.value.version, app: id })
    },
  })

  const edit = defineOperation({
    id: 'apps.begin_change',
    summary: 'Begins a draft to change an app',
    description:
      'Begins a draft from the policy in force, in which this app can be changed. Answers with the draft; nothing has changed yet.',
    method: 'POST',
    path: '/apps/{app}/draft',
    permission: 'policy:write',
    input: z.strictObject({ app: z.string().min(1).max(64), comment: line(500).optional() }),
    output: z.strictObject({ draft: z.string(), version: z.number().int() }),
    problems: ['not_found', 'too_many', 'conflict', 'malformed', 'policy_refused'],
    async carryOut({ app: id, comment }, asker) {
      const app = document().apps.find((one) => one.id === id)
      if (app === undefined) return refused('not_found', 'There is no such app in the policy that is in force.')
      const begun = await desk.begin(comment === undefined || comment === '' ? `Change of ${app.name}` : comment, asker)
      return begun.outcome === 'refused' ? begun : done({ draft: begun.value.id, version: begun.value.version })
    },
  })

  return { list, get, check, create, edit }
}

export type AppsOperations = ReturnType<typeof createAppsOperations>

/** What the operations hand out. */
export type AppsJson = z.output<AppsOperations['list']['output']>
export type AppJson = z.output<AppsOperations['get']['output']>
export type UpstreamCheckJson = z.output<AppsOperations['check']['output']>

function isAbout(app: App, wanted: string): boolean {
  const texts = [app.id, app.name, addressOf(app), app.owner ?? '', ...app.upstreams.map(({ origin }) => origin)]
  return texts.some((text) => text.toLowerCase().includes(wanted))
}

/** An origin, perhaps with a path; nothing that could carry a credential or reach further than a document may. */
function parseUpstream(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '' ? url : undefined
}
