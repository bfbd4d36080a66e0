/**
 * A rule as it is written: exactly one verb, whom and what it speaks of, and under which circumstances.
 *
 * A rule with two verbs, or with a `for` where no `require` is, could be read in two ways and is refused. Whether the levels, services
 * and apps that it names exist is judged in `rule-checks.ts`, where all files are known.
 */

import { z } from 'zod'
import { conditionsSchema } from './condition-schema.ts'
import { calendarDate } from './condition-values.ts'
import { bool, id, listOf, method, pathPattern, refuse, text } from './plain-values.ts'
import { whoSchema } from './who-schema.ts'

/** How much an error would cost. */
export const sensitivity = z.enum(['open', 'internal', 'confidential', 'restricted'])

const verbs = ['allow', 'deny', 'require'] as const

const ruleKeys = {
  name: text('a name for the rule', 120).optional().meta({ description: 'Shown in explanations; unique among the rules of its app.' }),
  allow: whoSchema.optional().meta({ description: 'Lets these people in.' }),
  deny: whoSchema.optional().meta({ description: 'Keeps these people out; wins over every allow.' }),
  require: conditionsSchema
    .optional()
    .meta({ description: 'Conditions that every allow has to meet as well.', examples: [['mfa_1h', 'healthy_device']] }),
  for: whoSchema.optional().meta({ description: 'Whom `require` is for; everybody who is signed in, if left out.' }),
  when: conditionsSchema
    .optional()
    .meta({ description: 'Every one of these holds, or the rule does not apply.', examples: [['office_hours']] }),
  unless: conditionsSchema.optional().meta({ description: 'One of these suffices to take the rule away.' }),
  methods: listOf(method, 'a list of methods')
    .optional()
    .meta({ description: 'Method names, or the classes read, write and websocket. All, if left out.', examples: [['read']] }),
  paths: listOf(pathPattern, 'a list of path patterns')
    .optional()
    .meta({ description: '`*` stays within a segment, a last `/**` is everything below. All, if left out.', examples: [['/admin/**']] }),
  from: calendarDate.optional().meta({ description: 'First day on which the rule holds.', examples: ['2026-11-30'] }),
  until: calendarDate.optional().meta({ description: 'Last day on which the rule holds.', examples: ['2026-12-31'] }),
  mode: z
    .enum(['enforce', 'report'])
    .default('enforce')
    .meta({ description: '`report`: grants, denies and requires nothing; what it would have done is recorded.' }),
  alert: bool.default(false).meta({ description: 'Says so, loudly, when this rule is what decided.' }),
}

interface Verbs {
  readonly allow?: unknown
  readonly deny?: unknown
  readonly require?: unknown
  readonly for?: unknown
}

/** One verb a rule: with two, which of them the conditions belong to would be a guess. */
function mustHaveOneVerb(rule: Verbs, context: z.core.$RefinementCtx): void {
  const [first, second] = verbs.filter((verb) => rule[verb] !== undefined)
  if (second !== undefined)
    refuse(context, 'a rule either allows, denies or requires', { suggestion: 'write two rules', at: 'key' }, [second])
  if (first === undefined)
    refuse(context, 'this rule neither allows nor denies nor requires', {
      expected: '`allow: WHO`, `deny: WHO` or `require: [CONDITIONS]`',
    })
  if (rule.for !== undefined && rule.require === undefined && first !== undefined) {
    refuse(
      context,
      '`for` belongs to `require`',
      { suggestion: `write whom the rule speaks of in \`${first}\`, and conditions in \`when\``, at: 'key' },
      ['for'],
    )
  }
}

/** A rule of an app. */
export const ruleSchema = z
  .strictObject(ruleKeys, { error: 'a rule: `{ name: …, allow: WHO }`' })
  .superRefine(mustHaveOneVerb)
  .meta({ id: 'rule' })

/** A rule at the top level. */
export const companyRuleSchema = z
  .strictObject(
    {
      ...ruleKeys,
      apps: listOf(id, 'a list of app ids').optional().meta({ description: 'Only for these apps.' }),
      sensitivity: listOf(sensitivity, 'a list of sensitivities').optional().meta({ description: 'Only for apps of these sensitivities.' }),
    },
    { error: 'a rule: `{ name: …, deny: WHO }`' },
  )
  .superRefine(mustHaveOneVerb)

/** A rule as it was read. */
export type WrittenRule = z.output<typeof ruleSchema>
/** A rule at the top level as it was read. */
export type WrittenCompanyRule = z.output<typeof companyRuleSchema>
