/**
 * What trying a draft takes and gives, in JSON: what the judge says of it, whom it would shut out, and its impact on recorded requests.
 *
 * The result of an impact is, key by key, what `postern replay --json` prints, so that a page, a program and a pipeline speak of one thing; but
 * its lists are cut to what was asked for, and say how many entries are behind them.
 */

import { z } from 'zod'
import type { ImpactRun } from '../../administration/impact-runs.ts'
import { cutSummary } from '../../administration/impact-summary.ts'
import type { DraftTrial } from '../../administration/trial-draft.ts'
import { instantText, toInstant } from './paging.ts'
import { hash, versionText } from './policy-history-schemas.ts'
import { runPartOutput, silentOutput } from './trail-schemas.ts'

/** Of each list; a policy that has more to say is read in the report of `postern check`. */
const mostSaid = 200

const problem = z.strictObject({
  file: z.string().nullable().meta({ description: 'As the draft calls it; null for what concerns the whole.' }),
  line: z.int().nullable(),
  column: z.int().nullable(),
  key: z.string().nullable().meta({ description: 'Such as `apps.2.rules.0.when`.' }),
  message: z.string(),
  expected: z.string().nullable(),
  suggestion: z.string().nullable(),
})

export const trialOutput = z.strictObject({
  draft: z.string(),
  hash: hash.meta({ description: 'Of the files that were tried.' }),
  policy_version: versionText.nullable().meta({ description: 'Null where there are problems.' }),
  problems: z.array(problem).meta({ description: `At most ${mostSaid}; with any, nothing below is known but the warnings.` }),
  warnings: z.array(problem),
  tests: z
    .strictObject({
      passed: z.int(),
      failed: z.int(),
      results: z.array(z.strictObject({ name: z.string(), is_passed: z.boolean(), detail: z.string().nullable() })).meta({
        description: 'Those that failed first.',
      }),
    })
    .nullable()
    .meta({ description: 'Null: it has none.' }),
  objections: z.array(z.string()).meta({ description: 'Why an instance would refuse it besides its problems.' }),
  difference: z.array(z.string()).meta({ description: 'Against what is in force, a line each.' }),
  life_warnings: z
    .array(
      z.strictObject({
        about: z.string().meta({ description: 'Such as `groups`, or `level managed`.' }),
        is_certain: z.boolean().meta({ description: 'False: it may be that not everything was read, or somebody has only not come yet.' }),
        message: z.string(),
        hint: z.string().nullable(),
      }),
    )
    .meta({ description: 'Names that nobody and no device here ever carried, as `postern check --live` says them.' }),
  gates: z
    .array(z.strictObject({ word: z.string(), message: z.string() }))
    .meta({ description: 'What has to be typed to publish it, and why. Found anew when it is published.' }),
  gates_notes: z
    .array(z.string())
    .meta({ description: 'What could not be told: requests whose facts do not suffice, instances without an answer.' }),
  more: z
    .strictObject({ problems: z.int(), warnings: z.int(), tests: z.int(), objections: z.int(), life_warnings: z.int() })
    .meta({ description: 'How many of each are not in the lists.' }),
})

export type TrialOutput = z.output<typeof trialOutput>

const ages = /^[1-9]\d{0,3}[hd]$/

/** From when on an impact looks: an age from one hour to four hundred days, or an instant. */
export const sinceInput = z
  .union([z.string().trim().regex(ages), z.iso.datetime({ offset: true })], {
    error: 'Write an age such as 24h or 7d, or a time such as 2026-11-22T08:00:00Z.',
  })
  .meta({ description: 'From when on: an age such as `24h` or `7d`, or an instant; one hour to 400 days ago.' })

/** Of recorded requests, in epoch milliseconds; `undefined` for what is out of bounds. */
export function readSince(text: string, now: number): number | undefined {
  const unitMs = text.endsWith('h') ? 3_600_000 : 86_400_000
  const since = ages.test(text) ? now - Number(text.slice(0, -1)) * unitMs : Date.parse(text)
  const ageMs = now - since
  return ageMs >= 3_600_000 && ageMs <= 400 * 86_400_000 ? since : undefined
}

const change = z.strictObject({
  subject: z.string().meta({ description: 'E-mail address or `sub`, `service:NAME`, or `nobody`.' }),
  sub: z.string().optional(),
  kind: z.string(),
  app: z.string(),
  rule: z.string().optional().meta({ description: 'Of the new decision; left out where it names none.' }),
  count: z.int(),
  first: z.string(),
  last: z.string(),
  examples: z.array(z.string()).readonly().meta({ description: 'Ids of requests.' }),
  was: z.string(),
  becomes: z.string(),
  reason: z.string(),
  rulesBefore: z.array(z.string()).readonly(),
})

const counted = z.record(z.string(), z.int())
const each = z.strictObject({ loses: z.int(), gains: z.int(), shifts: z.int() })

const summary = z.strictObject({
  policy: z.strictObject({ from: z.array(z.string()).readonly(), to: z.string() }),
  first: z.string().optional(),
  last: z.string().optional(),
  decided: z.int(),
  unchanged: z.int(),
  insufficient: z.int(),
  insufficientBy: counted,
  notPolicy: counted,
  strangers: z.int(),
  loses: z.array(change).readonly(),
  gains: z.array(change).readonly(),
  shifts: z.array(change).readonly().meta({ description: 'Refused before and after, in another way.' }),
  unlisted: each.meta({ description: 'Requests whose change found no room in the lists at all.' }),
})

export const impactOutput = z.strictObject({
  id: z.string(),
  draft: z.string(),
  hash: hash.meta({ description: 'Of the files that it is about.' }),
  is_stale: z.boolean().meta({ description: 'The draft says something else by now, or is gone: begin another.' }),
  since: instantText,
  until: instantText,
  begun_at: instantText,
  state: z.enum(['running', 'done']),
  fraction: z.number().meta({ description: 'Over all instances, 0 to 1.' }),
  instances: z.array(runPartOutput),
  silent: z.array(silentOutput).meta({ description: 'Instances whose requests are not in the result, with why.' }),
  result: summary.nullable().meta({ description: 'As `postern replay --json`; null until it is over, and where no instance answered.' }),
  more: each.nullable().meta({ description: 'Entries of each list that `limit` cut.' }),
})

export type ImpactOutput = z.output<typeof impactOutput>

export function describeTrial({ draft, judged, ...trial }: DraftTrial): TrialOutput {
  const { document, objections, outcome, problems, tests, warnings } = judged
  const results = tests.toSorted((a, b) => Number(a.isPassed) - Number(b.isPassed))
  const beyond = (list: readonly unknown[]) => Math.max(0, list.length - mostSaid)
  return {
    draft: draft.id,
    hash: draft.hash,
    policy_version: document?.version ?? null,
    problems: problems.slice(0, mostSaid).map(problemOf),
    warnings: warnings.slice(0, mostSaid).map(problemOf),
    tests:
      outcome === undefined
        ? null
        : {
            passed: outcome.passed,
            failed: outcome.failed,
            results: results
              .slice(0, mostSaid)
              .map(({ detail, isPassed, name }) => ({ name, is_passed: isPassed, detail: detail ?? null })),
          },
    objections: objections.slice(0, mostSaid),
    difference: [...trial.difference],
    life_warnings: trial.lifeWarnings
      .slice(0, mostSaid)
      .map(({ about, hint, isCertain, message }) => ({ about, is_certain: isCertain, message, hint: hint ?? null })),
    gates: trial.gates.map(({ message, word }) => ({ word, message })),
    gates_notes: [...trial.gateNotes],
    more: {
      problems: beyond(problems),
      warnings: beyond(warnings),
      tests: beyond(tests),
      objections: beyond(objections),
      life_warnings: beyond(trial.lifeWarnings),
    },
  }
}

function problemOf({ column, expected, file, key, line, message, suggestion }: DraftTrial['judged']['problems'][number]) {
  return {
    file: file ?? null,
    line: line ?? null,
    column: column ?? null,
    key: key ?? null,
    message,
    expected: expected ?? null,
    suggestion: suggestion ?? null,
  }
}

export function describeImpact(
  { asked, begunAt, id, isOver, isStale, parts, silent, summary: whole }: ImpactRun,
  limit: number,
): ImpactOutput {
  const cut = whole === undefined ? undefined : cutSummary(whole, limit)
  return {
    id,
    draft: asked.draft,
    hash: asked.hash,
    is_stale: isStale,
    since: toInstant(asked.since),
    until: toInstant(asked.until),
    begun_at: toInstant(begunAt),
    state: isOver ? 'done' : 'running',
    fraction: parts.length === 0 ? 1 : parts.reduce((sum, { fraction }) => sum + fraction, 0) / parts.length,
    instances: parts.map((part) => ({ ...part })),
    silent: [...silent],
    result: cut === undefined ? null : cut.summary,
    more: cut === undefined ? null : cut.more,
  }
}
