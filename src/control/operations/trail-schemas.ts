/**
 * What the operations on the trail take and give, in JSON: the query, an event, an explanation, a verdict.
 *
 * An event's own fields are as `docs/audit.md` and the schema of a line say, and pass through as they stand in the file. Everything else is
 * described here in full.
 */

import { z } from 'zod'
import type { DecisionExplanation } from '../../administration/decision-explanation.ts'
import { type ConditionRow, printValue, treeOf } from '../../administration/decision-tree.ts'
import type { FoundOnInstance } from '../../administration/trail-desk.ts'
import type { TrailEntry } from '../../administration/trail-entry.ts'
import type { VerificationRun } from '../../administration/trail-runs.ts'
import { describeChain } from '../../audit/verdict-words.ts'
import { reasons } from '../../policy/decision.ts'
import type { Explanation } from '../../policy/explain.ts'
import type { Facts } from '../../policy/facts.ts'
import { instantText, toInstant } from './paging.ts'

const text = (longest: number, description: string) => z.string().trim().min(1).max(longest).optional().meta({ description })

const timeInput = z.iso.datetime({ offset: true, error: 'Write a time such as 2026-11-22T08:00:00Z.' }).optional()

/** The fields of a query; those of `postern audit search`. */
export const trailQueryFields = {
  subject: text(1_024, 'Who: an e-mail address if it contains `@`, else a `sub` or the name of a service.'),
  app: text(128, 'Id of an app.'),
  effect: z.enum(['allow', 'deny', 'challenge']).optional().meta({ description: 'How a decision came out.' }),
  reason: text(64, 'Reason of a decision or failure, or cause of an end.'),
  device: text(256, 'Id of a device of the inventory.'),
  request: text(128, 'Id of a request.'),
  event: z
    .union([z.string(), z.array(z.string())])
    .transform((given) => (typeof given === 'string' ? given.split(',') : given).map((one) => one.trim()).filter((one) => one !== ''))
    .pipe(z.array(z.string().regex(/^[a-z_]{1,32}\.[a-z_]{1,32}$/)).max(32))
    .optional()
    .meta({ description: 'Kinds of events, separated by commas, such as `session.started`.' }),
  since: timeInput.meta({ description: 'Not before.' }),
  until: timeInput.meta({ description: 'Before.' }),
}

export const trailEntry = z.strictObject({
  chain: z.string(),
  seq: z.int().meta({ description: 'Its number in the chain.' }),
  at: instantText,
  event: z.string(),
  fields: z.record(z.string(), z.unknown()).meta({ description: 'What the event has besides, as it stands in the line.' }),
})

export const silentOutput = z.strictObject({ instance: z.string(), why: z.string() })

const outcome = z.enum(['true', 'false', 'unknown'])

const conditionOutput = z.strictObject({
  depth: z.int().meta({ description: 'How deep it stands below the part: an `input` below the `group` before it.' }),
  kind: z.enum(['input', 'group']),
  outcome,
  fact: z
    .string()
    .meta({ description: 'What was looked at, such as `device.disk_encrypted`; of a group, what joins: `any`, `level managed`.' }),
  got: z.string().nullable().meta({ description: 'What it was, as JSON.' }),
  wanted: z.string().nullable(),
  source: z.string().nullable(),
  age_ms: z.number().nullable().meta({ description: 'Between when the source observed it and the decision.' }),
})

/** A rule with its conditions. */
export const ruleOutput = z.strictObject({
  verb: z.enum(['allow', 'deny', 'require']),
  name: z.string(),
  origin: z.enum(['app', 'company']),
  is_report: z.boolean(),
  is_deciding: z.boolean(),
  standing: z.string(),
  says: z.string(),
  parts: z.array(z.strictObject({ place: z.string(), outcome, conditions: z.array(conditionOutput) })),
})

export const decisionOutput = z.strictObject({
  request: z.string(),
  instance: z.string().meta({ description: 'Whose trail it was found in.' }),
  at: instantText,
  effect: z.string(),
  reason: z.string(),
  reason_words: z.string(),
  rule: z.string().nullable(),
  app: z.string().nullable(),
  policy: z.string().meta({ description: 'Version that decided.' }),
  policy_now: z.string(),
  is_policy_changed: z.boolean(),
  notes: z.array(z.string()),
  gap: z.string().nullable().meta({ description: 'Why it cannot be decided again; null where it was.' }),
  explained: z
    .strictObject({
      effect: z.string(),
      reason: z.string(),
      reason_words: z.string(),
      rule: z.string().nullable(),
      rules: z.array(ruleOutput),
    })
    .nullable(),
  facts: z.array(z.strictObject({ name: z.string(), value: z.string() })).meta({ description: 'What it was decided on, as JSON.' }),
  line: z.record(z.string(), z.unknown()).meta({ description: 'As it stands in the trail.' }),
  ended: z.record(z.string(), z.unknown()).nullable().meta({ description: 'How the request ended, if it was let through and is over.' }),
})

export type DecisionOutput = z.output<typeof decisionOutput>

/** How far each instance is with something that takes long. */
export const runPartOutput = z.strictObject({
  instance: z.string(),
  state: z.enum(['waiting', 'running', 'done', 'failed', 'missing']),
  fraction: z.number(),
  note: z.string(),
})

const chainOutput = z.strictObject({
  instance: z.string(),
  chain: z.string(),
  words: z.string().meta({ description: 'The verdict, as `postern audit verify` says it.' }),
  is_verified: z.boolean(),
  lines: z.int(),
  segments: z.int(),
  first_seq: z.int().nullable(),
  last_seq: z.int().nullable(),
  signed_through: z.int().nullable(),
  anchored: z.enum(['reached', 'missed', 'older', 'none', 'unread']),
  anchored_seq: z.int().nullable(),
  pruned_through: z.int().nullable(),
  lost: z.int(),
  findings: z.array(z.strictObject({ kind: z.string(), file: z.string(), line: z.int(), seq: z.int().nullable(), message: z.string() })),
  more_findings: z.int(),
})

export const verificationOutput = z.strictObject({
  id: z.string(),
  begun_at: instantText,
  state: z.enum(['running', 'done']),
  instances: z.array(runPartOutput),
  result: z
    .strictObject({
      verified: z.boolean(),
      complete: z.boolean(),
      store: z.enum(['read', 'unread']),
      chains: z.array(chainOutput),
      elsewhere: z.array(z.string()).meta({ description: 'Chains that the store remembers and no instance has.' }),
      silent: z.array(silentOutput),
    })
    .nullable(),
})

export type VerificationOutput = z.output<typeof verificationOutput>

export function describeEntry({ at, chain, event, fields, seq }: TrailEntry): z.output<typeof trailEntry> {
  return { chain, seq, at: toInstant(at), event, fields: { ...fields } }
}

/** The words of a reason; empty for one of another version. */
export function reasonWords(reason: string): string {
  return Object.hasOwn(reasons, reason) ? reasons[reason as keyof typeof reasons] : ''
}

export function describeDecision(found: FoundOnInstance, explained: DecisionExplanation, request: string): DecisionOutput {
  const { explanation, facts, gap, isPolicyChanged, notes, policyNow, recorded } = explained
  const { appId, at, effect, policy, reason, rule } = recorded
  const decision = explanation?.decision
  return {
    request,
    instance: found.instance,
    at: toInstant(at),
    effect,
    reason,
    reason_words: reasonWords(reason),
    rule: rule ?? null,
    app: appId ?? null,
    policy,
    policy_now: policyNow,
    is_policy_changed: isPolicyChanged,
    notes: [...notes],
    gap: gap ?? null,
    explained:
      explanation === undefined || decision === undefined
        ? null
        : {
            effect: decision.effect,
            reason: decision.reason,
            reason_words: reasonWords(decision.reason),
            rule: 'rule' in decision && decision.rule !== undefined && decision.rule !== '' ? decision.rule : null,
            rules: describeRules(explanation, at),
          },
    facts: describeFacts(facts),
    line: { ...found.decided },
    ended: found.ended === undefined ? null : { ...found.ended },
  }
}

/** Every rule, the deciding one first. */
export function describeRules(explanation: Pick<Explanation, 'rules'>, at: number): z.output<typeof ruleOutput>[] {
  return treeOf(explanation, at).map(({ isDeciding, isReport, name, origin, parts, says, standing, verb }) => ({
    ...{ verb, name, origin, standing, says, is_report: isReport, is_deciding: isDeciding },
    parts: parts.map(({ of, outcome: own, place }) => ({
      place,
      outcome: own,
      conditions: of.flatMap((row) => flatten(row, 0)),
    })),
  }))
}

/** What was decided on, a group of facts at a time. */
export function describeFacts(facts: Facts | undefined): { name: string; value: string }[] {
  return Object.entries(facts ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name: name === 'signIn' ? 'sign_in' : name, value: printFact(value) }],
  )
}

/** Longer than a value in a condition: these are read as a whole. */
const longestFact = 8_192

function printFact(value: unknown): string {
  const printed = JSON.stringify(value, null, 2) ?? printValue(value)
  return printed.length > longestFact ? `${printed.slice(0, longestFact)}…` : printed
}

function flatten(row: ConditionRow, depth: number): z.output<typeof conditionOutput>[] {
  if (row.kind === 'group') {
    const head = { depth, kind: row.kind, outcome: row.outcome, fact: row.label, got: null, wanted: null, source: null, age_ms: null }
    return [head, ...row.of.flatMap((inner) => flatten(inner, depth + 1))]
  }
  const { ageMs, fact, got, kind, outcome: own, source, wanted } = row
  return [{ depth, kind, outcome: own, fact, got, wanted, source, age_ms: ageMs ?? null }]
}

export function describeVerification({ begunAt, id, isOver, parts, result }: VerificationRun): VerificationOutput {
  return {
    id,
    begun_at: toInstant(begunAt),
    state: isOver ? 'done' : 'running',
    instances: parts.map((part) => ({ ...part })),
    result:
      result === undefined
        ? null
        : {
            verified: result.isVerified,
            complete: result.isComplete,
            store: result.unread === undefined ? 'read' : 'unread',
            chains: result.chains.map((chain) => ({
              instance: chain.instance,
              chain: chain.chain,
              words: describeChain(chain),
              is_verified: chain.findings.length === 0 && chain.lines > 0,
              lines: chain.lines,
              segments: chain.segments,
              first_seq: chain.firstSeq ?? null,
              last_seq: chain.lastSeq ?? null,
              signed_through: chain.signedThrough ?? null,
              anchored: chain.anchored,
              anchored_seq: chain.anchoredSeq ?? null,
              pruned_through: chain.prunedThrough ?? null,
              lost: chain.lost,
              findings: chain.findings.map(({ file, kind, line, message, seq }) => ({ kind, file, line, seq: seq ?? null, message })),
              more_findings: chain.moreFindings,
            })),
            elsewhere: [...result.elsewhere],
            silent: [...result.silent],
          },
  }
}
