/**
 * The *who* of a rule as it is written: one selector, a list of them (any of), or `all_of`.
 *
 * Two selectors in one map read as "and" to some people and as "or" to others, so they are refused and the report asks which was
 * meant. Whether `public` may stand where it does, and whether a service exists, is judged where that is known.
 */

import { z } from 'zod'
import type { ClaimSelector, Scalar, Who } from '../policy/document.ts'
import { claimPathKey, domain, email, listOf, refuse, text } from './plain-values.ts'

/** A value that facts are compared with. */
export const scalar = z.union([text('text'), z.number(), z.boolean()], { error: 'text, a number or a boolean' })

const yes = (meaning: string) =>
  z.literal(true, { error: '`true`: leave the key out where it is not meant' }).meta({ description: meaning })

const selector = z
  .strictObject(
    {
      users: listOf(email, 'a list of e-mail addresses')
        .optional()
        .meta({ description: 'People with one of these verified e-mail addresses.' }),
      groups: listOf(text('a group name'), 'a list of group names').optional().meta({ description: 'People in any of these groups.' }),
      domains: listOf(domain, 'a list of e-mail domains')
        .optional()
        .meta({ description: 'People whose verified e-mail address is at one of these domains.' }),
      claims: z
        .record(claimPathKey, z.union([scalar, listOf(scalar, 'a list of values')], { error: 'a value or a list of values' }), {
          error: 'a map of claim paths to values',
        })
        .superRefine((map, context) => {
          if (Object.keys(map).length === 0) refuse(context, 'this map is empty', { expected: 'a map of claim paths to values' })
        })
        .optional()
        .meta({ description: 'People each of whose named claims is, or contains, one of the values.' }),
      services: listOf(text('the name of a service'), 'a list of service names')
        .optional()
        .meta({ description: 'Callers without a browser, by name.' }),
      signed_in: yes('Everybody who is signed in.').optional(),
      everyone: yes('Everybody, signed in or not.').optional(),
      public: yes('In `allow` only: nobody need sign in.').optional(),
      all_of: z
        .lazy((): z.ZodType<readonly Who[]> => listOf(whoSchema, 'a list of selectors'))
        .optional()
        .meta({ description: 'Those whom every one of these selectors names.' }),
    },
    { error: 'a selector such as `{ groups: [staff] }`, or a list of them' },
  )
  .superRefine((map, context) => {
    const [first, second] = Object.keys(map)
    if (first === undefined)
      refuse(context, 'this selector is empty', {
        expected: 'one of users, groups, domains, claims, services, signed_in, everyone, public, all_of',
      })
    else if (second !== undefined) {
      refuse(
        context,
        'two selectors in one map: either of them, or both at once?',
        {
          expected: 'one selector in a map',
          suggestion: `for either write \`[{ ${first}: … }, { ${second}: … }]\`, for both \`all_of: [{ ${first}: … }, { ${second}: … }]\``,
          at: 'key',
        },
        [second],
      )
    }
  })
  .transform(toWho)
  .meta({ id: 'selector' })

/** One selector, a list of them, or `all_of`. */
export const whoSchema: z.ZodType<Who> = z
  .union([selector, listOf(selector, 'a list of selectors')], { error: 'a selector such as `{ groups: [staff] }`, or a list of them' })
  .transform((who): Who => {
    if (!Array.isArray(who)) return who
    const [only] = who
    return who.length === 1 && only !== undefined ? only : { kind: 'any_of', of: who }
  })
  .meta({ id: 'who', description: 'One selector, a list of selectors (any of them), or all_of.' })

interface WrittenSelector {
  readonly users?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  readonly domains?: readonly string[] | undefined
  readonly claims?: Readonly<Record<string, Scalar | readonly Scalar[]>> | undefined
  readonly services?: readonly string[] | undefined
  readonly signed_in?: true | undefined
  readonly everyone?: true | undefined
  readonly public?: true | undefined
  readonly all_of?: readonly Who[] | undefined
}

function toWho(written: WrittenSelector): Who {
  if (written.users !== undefined) return { kind: 'users', emails: written.users }
  if (written.groups !== undefined) return { kind: 'groups', groups: written.groups }
  if (written.domains !== undefined) return { kind: 'domains', domains: written.domains }
  if (written.claims !== undefined) return { kind: 'claims', claims: Object.entries(written.claims).map(toClaimSelector) }
  if (written.services !== undefined) return { kind: 'services', names: written.services }
  if (written.signed_in === true) return { kind: 'signed_in' }
  if (written.everyone === true) return { kind: 'everyone' }
  if (written.public === true) return { kind: 'public' }
  return { kind: 'all_of', of: written.all_of ?? [] }
}

/** One entry of a map of claims. */
export function toClaimSelector([path, values]: [string, Scalar | readonly Scalar[]]): ClaimSelector {
  return { path: path.split('.'), values: typeof values === 'object' ? values : [values] }
}

/** Every part of a *who*, itself first. */
export function* partsOf(who: Who): Generator<Who> {
  yield who
  if (who.kind === 'any_of' || who.kind === 'all_of') for (const part of who.of) yield* partsOf(part)
}
