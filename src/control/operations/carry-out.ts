/**
 * Carries an operation out for a page of the console, behind the same two checks that the API has: the permission, then the form of the input.
 *
 * The permission stands first, so that whoever may not do something does not learn by its complaints what it takes. What was carried out is
 * handed back as it is: an operation's own output went through no browser. Exceptions are operational failures and pass through.
 */

import type { z } from 'zod'
import { type CarryOut, type Outcome, type Refused, refused } from './operation.ts'

/** More than a form has fields; an input that is wrong in every place must not make a page of it. */
const mostComplaints = 50

/** Makes the `CarryOut` that pages are given. */
export function createCarryOut(): CarryOut {
  return async (operation, input, asker): Promise<Outcome<z.output<typeof operation.output>>> => {
    if (!asker.permissions.has(operation.permission)) {
      return refused('not_permitted', 'Your role does not let you do this.', { permission: operation.permission })
    }
    const parsed = operation.input.safeParse(input)
    return parsed.success ? await operation.carryOut(parsed.data, asker) : describeMalformed(parsed.error)
  }
}

/** The complaints of a schema as a refusal: `detail.fields` has a sentence for each field that is wrong, under its name (`scopes.0` in lists). */
export function describeMalformed(error: z.ZodError): Refused {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>
  for (const issue of error.issues.slice(0, mostComplaints)) {
    for (const name of namesOf(issue)) fields[name] ??= sentenceOf(issue.message)
  }
  const first = Object.entries(fields)[0]
  const message = first === undefined ? 'This could not be understood.' : `${first[0] === '' ? '' : `${first[0]}: `}${first[1]}`
  return refused('malformed', message, { fields })
}

/** A key that nobody knows is named itself: the issue's path is that of the object around it. */
function namesOf(issue: z.core.$ZodIssue): readonly string[] {
  const path = issue.path.map(String)
  return issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...path, key].join('.')) : [path.join('.')]
}

function sentenceOf(message: string): string {
  const text = message.trim()
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}`
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`
}
