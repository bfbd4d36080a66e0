/**
 * A condition as it is written: the name of a level, or a map with exactly one kind of condition in it.
 *
 * Two kinds in one map read as "and" to some people and as "or" to others, so they are refused and the report asks which was meant.
 * Names of levels and strengths, and files of networks, are still as written here; `resolve-condition.ts` puts in what they stand for.
 */

import { z } from 'zod'
import {
  clientCondition,
  deviceCondition,
  expressionCondition,
  networkCondition,
  signInCondition,
  timeCondition,
  type WrittenLeaf,
} from './leaf-condition-schema.ts'
import { definedName, listOf, refuse } from './plain-values.ts'
import { whoSchema } from './who-schema.ts'

/** Like the document's, but with names where that has what they stand for. */
export type WrittenCondition =
  | { readonly kind: 'level'; readonly name: string }
  | { readonly kind: 'all_of' | 'any_of'; readonly of: readonly WrittenCondition[] }
  | { readonly kind: 'not'; readonly of: WrittenCondition }
  | WrittenLeaf

const kinds = 'one of subject, sign_in, device, network, time, client, expression, all_of, any_of, not'
const conditionWords = 'the name of a level, or a condition such as `{ sign_in: { strength: mfa } }`'

const inline = z
  .strictObject(
    {
      subject: whoSchema.optional().meta({ description: 'Whom it holds for.' }),
      sign_in: signInCondition.optional().meta({ description: 'How and when the person signed in.' }),
      device: deviceCondition.optional().meta({ description: 'What is known of the device.' }),
      network: networkCondition.optional().meta({ description: 'Where the request comes from.' }),
      time: timeCondition.optional().meta({ description: 'When it is asked.' }),
      client: clientCondition.optional().meta({ description: 'What the user agent says: a hint, never proof.' }),
      expression: expressionCondition
        .optional()
        .meta({ description: 'A CEL expression over subject, sign_in, device, environment and request.' }),
      all_of: z
        .lazy((): z.ZodType<readonly WrittenCondition[]> => listOf(conditionSchema, 'a list of conditions'))
        .optional()
        .meta({ description: 'Every one of these conditions holds.' }),
      any_of: z
        .lazy((): z.ZodType<readonly WrittenCondition[]> => listOf(conditionSchema, 'a list of conditions'))
        .optional()
        .meta({ description: 'One of these conditions holds.' }),
      not: z
        .lazy((): z.ZodType<WrittenCondition> => conditionSchema)
        .optional()
        .meta({ description: 'This condition does not hold.' }),
    },
    { error: conditionWords },
  )
  .superRefine((map, context) => {
    const [first, second] = Object.keys(map)
    if (first === undefined) refuse(context, 'this condition is empty', { expected: kinds })
    else if (second !== undefined) {
      const both = `[{ ${first}: … }, { ${second}: … }]`
      refuse(
        context,
        'two conditions in one map: either of them, or both at once?',
        { expected: 'one condition in a map', suggestion: `for either write \`any_of: ${both}\`, for both \`all_of: ${both}\``, at: 'key' },
        [second],
      )
    }
  })
  .transform((written): WrittenCondition => {
    if (written.subject !== undefined) return { kind: 'subject', who: written.subject }
    if (written.all_of !== undefined) return { kind: 'all_of', of: written.all_of }
    if (written.any_of !== undefined) return { kind: 'any_of', of: written.any_of }
    if (written.not !== undefined) return { kind: 'not', of: written.not }
    const leaf = written.sign_in ?? written.device ?? written.network ?? written.time ?? written.client ?? written.expression
    // The refinement has seen to it.
    if (leaf === undefined) throw new TypeError('an empty condition was built')
    return leaf
  })
  .meta({ id: 'inline_condition' })

const levelName = definedName.transform((name): WrittenCondition => ({ kind: 'level', name }))

/** A level by name, or one inline condition. */
export const conditionSchema: z.ZodType<WrittenCondition> = z
  .union([levelName, inline], { error: conditionWords })
  .meta({ id: 'condition', description: 'The name of a level, or one condition.' })

/** What `when`, `unless` and `require` hold: one condition, or a list. */
export const conditionsSchema = z.union([conditionSchema, listOf(conditionSchema, 'a list of conditions')], {
  error: 'a list of conditions and names of levels',
})
