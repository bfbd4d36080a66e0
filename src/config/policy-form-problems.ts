/**
 * What is wrong with one rule or one level while somebody writes it: judged by the schema of documents alone, at once, without the rest of the policy.
 *
 * Whether names are defined and rules contradict each other takes the whole document, which `JudgeBundle` judges. Problems of both find their way to
 * the field of the form and to the line of the text here.
 */

import { conditionSchema } from './condition-schema.ts'
import { parseValue } from './parse-value.ts'
import { fieldOfPath } from './policy-form.ts'
import type { Problem } from './problems.ts'
import { companyRuleSchema, ruleSchema } from './rule-schema.ts'
import { parseYamlSource } from './yaml-source.ts'

/** One thing that is wrong, at its line and at its field. */
export interface PieceProblem {
  /** From 1, within the piece; 0 where it has no line. */
  readonly line: number
  /** Of the form; empty for the whole. */
  readonly field: string
  /** A sentence, with what would be right. */
  readonly message: string
}

/** Judges the text of one rule. */
export function judgeRuleText(text: string, isCompany: boolean): readonly PieceProblem[] {
  return judge(text, isCompany ? companyRuleSchema : ruleSchema)
}

/** Judges the text of one level's condition. */
export function judgeLevelText(text: string): readonly PieceProblem[] {
  return judge(text, conditionSchema)
}

function judge(text: string, schema: Parameters<typeof parseValue>[0]): readonly PieceProblem[] {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const { data, report } = parseYamlSource('', text, lists)
  if (data !== undefined) parseValue(schema, data, report)
  return lists.problems.slice(0, 50).map(toPieceProblem)
}

/** A problem in words for people. */
export function toPieceProblem(problem: Pick<Problem, 'expected' | 'line' | 'message' | 'path' | 'suggestion'>): PieceProblem {
  return { line: problem.line, field: fieldOfPath(stepsOf(problem.path)), message: problemSentence(problem) }
}

/** `this is not a duration; expected …; write …` as a sentence. */
export function problemSentence({ expected, message, suggestion }: Pick<Problem, 'expected' | 'message' | 'suggestion'>): string {
  const parts = [message, ...(expected === undefined ? [] : [`expected ${expected}`]), ...(suggestion === undefined ? [] : [suggestion])]
  const text = parts.join('; ')
  return `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`
}

/** Steps of a printed path: `apps[0].rules[1].allow` and `apps.0.rules.1.allow` alike. */
export function stepsOf(path: string): readonly (string | number)[] {
  return [...path.matchAll(/\[`([^`]*)`\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, quoted, index, plain]) => {
    if (quoted !== undefined) return quoted
    const step = index ?? plain ?? ''
    return /^\d+$/.test(step) ? Number(step) : step
  })
}
