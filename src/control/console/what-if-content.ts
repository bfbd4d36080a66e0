/**
 * What the page of what-if shows: the form with what was asked, and the answer of the policy in force beside that of a draft, condition by condition.
 *
 * Pure. What differs is said in sentences and marked at each rule; what could not be told is said and never shown as allowed.
 */

import type { DraftStatement } from '../../administration/policy-statements.ts'
import type { Refused } from '../operations/operation.ts'
import type { WhatIfOutput } from '../operations/what-if-schemas.ts'
import { describeRule, type RuleView } from './decision-content.ts'
import { type InstantView, instantView } from './instants.ts'
import { draftHref, sentenceAt, statusOfShown } from './policy-page-parts.ts'
import { type Badge, decisionHref, effectBadge } from './trail-content.ts'

/** Fields of the form, in the words of the operation. */
export const whatIfFields = [
  'draft',
  'request',
  'who',
  'url',
  'method',
  'websocket',
  'groups',
  'acr',
  'amr',
  'signed_in_ago',
  'device',
  'address',
  'country',
  'user_agent',
  'at',
] as const

export type WhatIfField = (typeof whatIfFields)[number]
export type WhatIfTyped = Readonly<Record<WhatIfField, string>>

/** What really occurs, for completion. */
export interface WhatIfWords {
  readonly people: readonly string[]
  readonly urls: readonly string[]
  readonly groups: readonly string[]
  readonly acr: readonly string[]
  readonly amr: readonly string[]
  readonly countries: readonly string[]
}

export interface VerdictView {
  readonly title: string
  /** Said after the label of each table. */
  readonly about: string
  readonly href: string | undefined
  readonly version: string
  readonly badge: Badge
  readonly reason: string
  readonly rule: string | undefined
  readonly app: { readonly text: string; readonly href: string } | undefined
  readonly notes: readonly string[]
  readonly rules: readonly (RuleView & { readonly mark: string | undefined })[]
}

/** A field of the form. */
export interface FieldView {
  readonly name: WhatIfField
  readonly label: string
  readonly hint: string
  readonly type: 'text' | 'datetime-local'
  /** Of completions. */
  readonly list: string | undefined
  readonly value: string
  readonly problem: string | undefined
}

export interface WhatIfPage {
  readonly typed: WhatIfTyped
  readonly problems: Readonly<Partial<Record<WhatIfField, string>>>
  readonly fields: Readonly<Partial<Record<WhatIfField, FieldView>>>
  readonly failure: string | undefined
  readonly drafts: readonly { readonly id: string; readonly text: string; readonly isChosen: boolean }[]
  readonly methods: readonly string[]
  readonly words: WhatIfWords
  readonly mayAskAboutPeople: boolean
  readonly backHref: string | undefined
  readonly answer:
    | {
        readonly at: InstantView | undefined
        readonly clock: string
        readonly notes: readonly string[]
        readonly recorded:
          | {
              readonly badge: Badge
              readonly words: string
              readonly rule: string | undefined
              readonly href: string
              readonly time: InstantView | undefined
            }
          | undefined
        readonly differs: readonly string[]
        readonly isSame: boolean
        readonly sides: readonly VerdictView[]
        readonly facts: WhatIfOutput['facts']
        readonly silent: WhatIfOutput['silent']
      }
    | undefined
}

export interface WhatIfPageFacts {
  readonly typed: WhatIfTyped
  readonly drafts: readonly DraftStatement[]
  readonly words: WhatIfWords
  readonly mayAskAboutPeople: boolean
  readonly answer: WhatIfOutput | undefined
  readonly refusal: Refused | undefined
  readonly now: number
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'] as const

/** The page. */
export function describeWhatIfPage({ answer, drafts, mayAskAboutPeople, now, refusal, typed, words }: WhatIfPageFacts): WhatIfPage {
  const problems = Object.fromEntries(
    whatIfFields.flatMap((field) => {
      const sentence = sentenceAt(refusal, field) ?? sentenceAt(refusal, `${field}.0`)
      return sentence === undefined ? [] : [[field, sentence]]
    }),
  )
  const open = drafts.filter(({ state }) => state === 'open' || state === 'proposed')
  const listed = open.map(({ comment, id }) => ({ id, text: comment, isChosen: id === typed.draft }))
  const isListed = typed.draft === '' || listed.some(({ isChosen }) => isChosen)
  return {
    typed,
    problems,
    fields: describeFields(typed, problems, mayAskAboutPeople),
    failure: refusal === undefined || Object.keys(problems).length > 0 ? undefined : refusal.message,
    drafts: isListed ? listed : [...listed, { id: typed.draft, text: `draft ${typed.draft}`, isChosen: true }],
    methods: methods.includes(typed.method as (typeof methods)[number]) || typed.method === '' ? methods : [...methods, typed.method],
    words,
    mayAskAboutPeople,
    backHref: listed.some(({ isChosen }) => isChosen) ? draftHref(typed.draft) : undefined,
    answer: answer === undefined ? undefined : describeAnswer(answer, now),
  }
}

type Described = Pick<FieldView, 'label' | 'hint'> & Partial<Pick<FieldView, 'type' | 'list'>>

const fieldWords: Readonly<Partial<Record<WhatIfField, Described>>> = {
  who: { label: 'Who', hint: 'E-mail address, service:NAME, or nobody.', list: 'what-if-people' },
  url: { label: 'What they open', hint: 'Such as https://wiki.corp.example/page.', list: 'what-if-urls' },
  device: { label: 'Device', hint: 'Id in the inventory. Left out: none is known.' },
  address: { label: 'From address', hint: 'Left out: 192.0.2.1.' },
  country: { label: 'Country', hint: 'Such as DE. Left out: what the database says.', list: 'what-if-countries' },
  at: { label: 'When (UTC)', hint: 'Left out: now.', type: 'datetime-local' },
  signed_in_ago: { label: 'Signed in', hint: 'How long ago, such as 10m or 8h.', list: 'what-if-ages' },
  amr: { label: 'By (amr)', hint: 'Methods, apart by commas, such as pwd, otp.', list: 'what-if-amr' },
  acr: { label: 'Strength (acr)', hint: 'As the provider names it.', list: 'what-if-acr' },
  groups: { label: 'Groups', hint: 'Apart by commas, in place of those last seen.', list: 'what-if-groups' },
  user_agent: { label: 'User-Agent header', hint: 'Left out: unknown.' },
  request: { label: 'Id of the request', hint: 'As the trail and every refusal page show it. Leave everything but the draft empty then.' },
}

function describeFields(typed: WhatIfTyped, problems: WhatIfPage['problems'], mayAskAboutPeople: boolean): WhatIfPage['fields'] {
  return Object.fromEntries(
    whatIfFields.flatMap((name) => {
      const words = fieldWords[name]
      if (words === undefined) return []
      const hint =
        name === 'who' && !mayAskAboutPeople
          ? 'service:NAME, or nobody. Asking about people needs the right to read the trail.'
          : words.hint
      // As a browser's field for time takes it.
      const value = name === 'at' ? typed.at.replace(/(:\d\d)?Z$/, '') : typed[name]
      return [[name, { type: 'text', list: undefined, ...words, hint, name, value, problem: problems[name] } satisfies FieldView]]
    }),
  )
}

/** The status of the page. */
export function statusOfWhatIf(refusal: Refused | undefined): 200 | 400 | 404 | 409 | 422 {
  if (refusal === undefined) return 200
  return refusal.problem === 'not_found' ? 404 : (statusOfShown(refusal) ?? 422)
}

function describeAnswer(answer: WhatIfOutput, now: number): WhatIfPage['answer'] {
  const { at, differs, draft, facts, in_force: inForce, notes, recorded, silent } = answer
  return {
    at: instantView(Date.parse(at), now),
    clock: `${at.slice(0, 19).replace('T', ' ')} UTC`,
    notes,
    recorded:
      recorded === null
        ? undefined
        : {
            badge: effectBadge(recorded.effect),
            words: recorded.reason_words === '' ? recorded.reason : recorded.reason_words,
            rule: recorded.rule ?? undefined,
            href: decisionHref(recorded.request),
            time: instantView(Date.parse(recorded.at), now),
          },
    differs,
    isSame: draft !== null && differs.length === 0,
    sides: [
      describeVerdict('In force', undefined, inForce, draft?.rules),
      ...(draft === null ? [] : [describeVerdict('Under the draft', draftHref(draft.id), draft, inForce.rules)]),
    ],
    facts,
    silent,
  }
}

type Verdict = WhatIfOutput['in_force']

function describeVerdict(title: string, href: string | undefined, verdict: Verdict, others: Verdict['rules'] | undefined): VerdictView {
  const { app, effect, gap, policy_version, reason, reason_words, rule, rules, step_up, without_report } = verdict
  const asks = [
    ...(step_up === null || step_up.acr_values.length === 0
      ? []
      : [`A sign-in with ${step_up.acr_values.join(' or ')} would be asked for.`]),
    ...(step_up === null || step_up.max_age_seconds === null
      ? []
      : [`A sign-in within ${step_up.max_age_seconds} seconds would be asked for.`]),
    ...(without_report === null ? [] : [`Without report mode: ${effectBadge(without_report.effect).word}.`]),
  ]
  return {
    title,
    about: `, ${title.toLowerCase()}`,
    href,
    version: policy_version,
    badge: effect === null ? { tone: 'warn', word: 'cannot be told' } : effectBadge(effect),
    reason: gap ?? (reason_words === '' ? (reason ?? '') : reason_words),
    rule: rule ?? undefined,
    app: app === null ? undefined : { text: app, href: `/console/apps/${encodeURIComponent(app)}` },
    notes: asks,
    rules: rules.map((one) => ({ ...describeRule(one), mark: markOf(one, others) })),
  }
}

/** What a rule is on the other side; `undefined`: the same, or there is no other side. */
function markOf(rule: Verdict['rules'][number], others: Verdict['rules'] | undefined): string | undefined {
  if (others === undefined) return undefined
  const same = others.filter(({ name, origin, verb }) => name === rule.name && origin === rule.origin && verb === rule.verb)
  if (same.length === 0) return 'only here'
  const text = JSON.stringify(rule)
  return same.some((other) => JSON.stringify(other) === text) ? undefined : 'differs'
}
