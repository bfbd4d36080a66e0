/**
 * What the page of one decision shows: what came out, how it ended, and each rule as rows from condition to input, source and age.
 *
 * Pure. Says first what was recorded and only then what the policy of now says, and says where the two differ: an explanation must not pass for
 * what was enforced.
 */

import { explanationGapWords } from '../../administration/decision-explanation.ts'
import type { DecisionOutput } from '../operations/trail-schemas.ts'
import { durationWords, type InstantView, instantView } from './instants.ts'
import { type Badge, effectBadge, type NamedLink, whoOf } from './trail-content.ts'

export interface ConditionView {
  /** 0 to 6; deeper ones stand as deep. */
  readonly depth: number
  readonly isGroup: boolean
  readonly badge: Badge
  readonly fact: string
  readonly got: string
  readonly wanted: string
  readonly source: string
  readonly age: string
}

export interface RuleView {
  readonly title: string
  readonly verb: string
  readonly tags: readonly string[]
  readonly isDeciding: boolean
  readonly says: string
  readonly parts: readonly { readonly place: string; readonly badge: Badge; readonly conditions: readonly ConditionView[] }[]
}

export interface DecisionPage {
  readonly request: string
  readonly instance: string
  readonly time: InstantView | undefined
  readonly clock: string
  readonly badge: Badge
  readonly reason: string
  readonly reasonWords: string
  readonly rule: string | undefined
  readonly who: NamedLink
  readonly app: NamedLink | undefined
  readonly device: NamedLink | undefined
  readonly line: string
  readonly address: string | undefined
  readonly userAgent: string | undefined
  readonly ended: string | undefined
  readonly policy: string
  readonly policyNow: string
  readonly isPolicyChanged: boolean
  /** Why it cannot be explained; `undefined`: it is. */
  readonly gap: string | undefined
  /** What the policy of now says, where that is something else. */
  readonly nowOtherwise: { readonly badge: Badge; readonly reasonWords: string } | undefined
  readonly rules: readonly RuleView[]
  readonly facts: readonly { readonly name: string; readonly value: string }[]
  readonly raw: string
  /** To decide it again under a draft; `undefined`: not for this reader, or nothing to decide on. */
  readonly tryHref: string | undefined
}

const marks: Readonly<Record<'true' | 'false' | 'unknown', Badge>> = {
  true: { tone: 'good', word: 'holds' },
  false: { tone: 'bad', word: 'does not hold' },
  unknown: { tone: 'warn', word: 'unknown' },
}

const deepest = 6

/** The page of a decision. `mayTry`: its reader may see the policy. */
export function describeDecisionPage(
  found: DecisionOutput,
  { mayTry, now }: { readonly now: number; readonly mayTry: boolean },
): DecisionPage {
  const { at, effect, ended, explained, line, reason } = found
  const isOtherwise = explained !== null && (explained.effect !== effect || explained.reason !== reason)
  const app = found.app
  const device = textIn(line, 'device')
  return {
    request: found.request,
    instance: found.instance,
    time: instantView(Date.parse(at), now),
    clock: `${at.slice(0, 23).replace('T', ' ')} UTC`,
    badge: effectBadge(effect),
    reason,
    reasonWords: found.reason_words,
    rule: found.rule ?? undefined,
    who: whoOf(line),
    app: app === null ? undefined : { text: app, href: `/console/apps/${encodeURIComponent(app)}` },
    device: device === undefined ? undefined : { text: device, href: `/console/devices/${encodeURIComponent(device)}` },
    line: `${textIn(line, 'method') ?? ''} ${textIn(line, 'host') ?? ''}${textIn(line, 'path') ?? ''}`,
    address: textIn(line, 'address'),
    userAgent: textIn(line, 'user_agent'),
    ended: ended === null ? undefined : describeEnd(ended),
    policy: found.policy,
    policyNow: found.policy_now,
    isPolicyChanged: found.is_policy_changed,
    gap: found.gap === null ? undefined : gapSentence(found.gap),
    nowOtherwise:
      isOtherwise && explained !== null ? { badge: effectBadge(explained.effect), reasonWords: explained.reason_words } : undefined,
    rules: explained === null ? [] : explained.rules.map(describeRule),
    facts: found.facts,
    raw: JSON.stringify(line, null, 2),
    tryHref: mayTry && found.facts.length > 0 ? `/console/policy/what-if?request=${encodeURIComponent(found.request)}` : undefined,
  }
}

/** A rule with its conditions, as `decision-rules.eta` prints it. */
export function describeRule({
  is_deciding,
  is_report,
  name,
  origin,
  parts,
  says,
  verb,
}: NonNullable<DecisionOutput['explained']>['rules'][number]): RuleView {
  return {
    title: name,
    verb,
    tags: [...(origin === 'company' ? ['for the company'] : []), ...(is_report ? ['report only'] : [])],
    isDeciding: is_deciding,
    says,
    parts: parts.map(({ conditions, outcome, place }) => ({
      place,
      badge: marks[outcome],
      conditions: conditions.map(({ age_ms, depth, fact, got, kind, outcome: own, source, wanted }) => ({
        depth: Math.min(depth, deepest),
        isGroup: kind === 'group',
        badge: marks[own],
        fact,
        got: got ?? '',
        wanted: wanted ?? '',
        source: source ?? '',
        age: age_ms === null ? '' : durationWords(age_ms),
      })),
    })),
  }
}

function describeEnd(ended: Readonly<Record<string, unknown>>): string {
  const status = typeof ended['status'] === 'number' ? `status ${ended['status']}` : ''
  const took = typeof ended['duration_ms'] === 'number' ? `after ${lasting(ended['duration_ms'])}` : ''
  const outcome = (textIn(ended, 'outcome') ?? '').replaceAll('_', ' ')
  const cause = textIn(ended, 'reason')
  return [outcome, status, took, cause === undefined ? '' : `(${cause})`].filter((part) => part !== '').join(', ')
}

function lasting(ms: number): string {
  return ms < 10_000 ? `${ms} ms` : durationWords(ms)
}

function gapSentence(gap: string): string {
  const words = Object.hasOwn(explanationGapWords, gap) ? explanationGapWords[gap as keyof typeof explanationGapWords] : gap
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`
}

function textIn(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}
