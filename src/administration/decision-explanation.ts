/**
 * Why a recorded request was decided as it was, as far as that can still be told: the one answer of `postern explain REQUEST_ID`, of the console
 * and of the API.
 *
 * The recorded facts are decided again by the function that enforces, on the policy that is in force now: where that is not the policy of then,
 * the answer says so and nothing passes for what was enforced. Where a fact is missing that a rule could look at, nothing is decided
 * again, for a guess would read like an explanation.
 */

import type { FoundDecision } from '../audit/find-decision.ts'
import { type AskedFacts, collectAskedFacts } from '../policy/asked-facts.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { type Explanation, explainDecision } from '../policy/explain.ts'
import type { Facts } from '../policy/facts.ts'
import { type RecordedDecision, readRecordedDecision } from './recorded-decision.ts'
import { findGap, type Gap, gapWords } from './recorded-gaps.ts'

/** Why a decision cannot be made again. */
export type ExplanationGap = 'app_gone' | 'no_facts' | Gap

/** Every gap, with what it says. */
export const explanationGapWords: Readonly<Record<ExplanationGap, string>> = {
  app_gone: 'its app is not in the present policy',
  no_facts: 'its facts are not in the trail, so it cannot be decided again',
  ...(Object.fromEntries(Object.entries(gapWords).map(([gap, words]) => [gap, `it cannot be decided again: ${words}`])) as Record<
    Gap,
    string
  >),
}

export interface DecisionExplanation {
  readonly recorded: RecordedDecision
  /** Version of the policy in force, which is what explains. */
  readonly policyNow: string
  readonly isPolicyChanged: boolean
  readonly facts: Facts | undefined
  /** `undefined`: it could be decided again. */
  readonly gap: ExplanationGap | undefined
  readonly explanation: Explanation | undefined
  /** What the rules say now where the policy is the same and the effect is another. */
  readonly rulesAlone: string | undefined
  /** What one has to know to read the rest, in sentences, of which the first is what was recorded. */
  readonly notes: readonly string[]
}

/** What is explained with. */
export interface PolicyInForce {
  readonly document: PolicyDocument
  readonly compiled: CompiledPolicy
}

/** Explains a decision that was found in a trail. `scheme`: of the public URL. */
export function explainRecorded(
  found: Pick<FoundDecision, 'decided' | 'facts'>,
  { compiled, document }: PolicyInForce,
  scheme: 'https' | 'http',
): DecisionExplanation {
  const recorded = readRecordedDecision(found, scheme)
  const { appId, at, effect, evidence, facts, policy, reason, rule } = recorded
  const by = rule === undefined ? '' : `, by the rule ${JSON.stringify(rule)}`
  const notes = [`recorded: ${effect} ${reason}${by}, ${instantText(at)}, policy ${policy}`]
  const isPolicyChanged = policy !== document.version
  const known = { recorded, policyNow: document.version, isPolicyChanged, facts, notes }
  const app = appId === undefined ? undefined : compiled.apps.get(appId)
  const asked = appId === undefined ? undefined : askedIn(document).get(appId)
  const gap =
    app === undefined || asked === undefined
      ? 'app_gone'
      : facts === undefined || typeof evidence === 'string'
        ? 'no_facts'
        : findGap(evidence, asked)
  if (gap !== undefined || app === undefined || facts === undefined) {
    const named = gap ?? 'no_facts'
    notes.push(explanationGapWords[named])
    return { ...known, gap: named, explanation: undefined, rulesAlone: undefined }
  }
  if (isPolicyChanged) notes.push(`the policy has changed since: what follows is the present one, ${document.version}`)
  const explanation = explainDecision(app, facts)
  const again = explanation.decision.effect
  const rulesAlone = !isPolicyChanged && again !== effect ? again : undefined
  if (rulesAlone !== undefined) {
    notes.push(`the rules alone say ${again}: it was decided outside of them, or by strengths that the instance has changed since`)
  }
  return { ...known, gap: undefined, explanation, rulesAlone }
}

/** Of thousands of apps it takes a while, and the policy in force is asked again and again. */
const askedByDocument = new WeakMap<PolicyDocument, ReadonlyMap<string, AskedFacts>>()

function askedIn(document: PolicyDocument): ReadonlyMap<string, AskedFacts> {
  const known = askedByDocument.get(document)
  if (known !== undefined) return known
  const asked = collectAskedFacts(document)
  askedByDocument.set(document, asked)
  return asked
}

/** A line of another version may hold any number. */
function instantText(at: number): string {
  return new Date(Math.abs(at) <= 8.64e15 ? at : 0).toISOString()
}
