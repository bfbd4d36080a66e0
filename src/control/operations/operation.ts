/**
 * An operation: one thing that an administrator can see or do, stated once, for the console, for the API and for its description.
 *
 * The API mounts every operation at its path, the OpenAPI file is generated from the same schemas, and the console's pages call `carryOut`
 * of the same operations: so nothing can be done in the console that a program could not do, and nothing is guarded in one of the two only.
 * Input is checked by its schema before `carryOut` sees it; a refusal is a value with a word and a sentence, never an exception. What is read
 * about other people is on record (`data.read`) before it is handed out: that is the business of `carryOut`.
 */

import type { z } from 'zod'
import type { Asker, Permission } from '../../administration/asker.ts'

/** Why an operation was not carried out, with its status. The table in docs/api.md says the same; a test compares the two. */
export const statusByProblem = {
  malformed: 400,
  invalid_order: 400,
  until_passed: 400,
  token_required: 401,
  invalid_token: 401,
  not_permitted: 403,
  /** Two people are needed, and this is the same one; or a token where a person is needed. */
  second_person_needed: 403,
  /** The helpdesk, against an admin. */
  target_protected: 403,
  not_found: 404,
  subject_never_seen: 404,
  device_unknown: 404,
  not_locked: 404,
  session_unknown: 404,
  /** The files are the policy: nothing is published here. */
  policy_is_files: 409,
  subject_ambiguous: 409,
  /** Somebody else changed it meanwhile. */
  conflict: 409,
  /** It needs the sentence or the name typed that the message names. */
  confirmation_needed: 409,
  unsupported_type: 415,
  /** The document has problems, or fails its own tests. */
  policy_refused: 422,
  too_many: 429,
} as const

export type OperationProblem = keyof typeof statusByProblem

export interface Refused {
  readonly outcome: 'refused'
  readonly problem: OperationProblem
  /** A sentence for whoever asked, with what to do instead. */
  readonly message: string
  /** Machine-readable detail: `matches` of an ambiguous name, `problems` of a document, what has to be typed. Plain JSON. */
  readonly detail?: Readonly<Record<string, unknown>> | undefined
}

export type Outcome<T> = { readonly outcome: 'done'; readonly value: T } | Refused

export const done = <T>(value: T): Outcome<T> => ({ outcome: 'done', value })

export const refused = (problem: OperationProblem, message: string, detail?: Refused['detail']): Refused => ({
  outcome: 'refused',
  problem,
  message,
  detail,
})

export interface Operation<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> {
  /** `devices.block`: unique; the operationId. */
  readonly id: string
  readonly summary: string
  /** What it does in a sentence or three: effects, what is recorded, bounds. */
  readonly description: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below `/api/v1`, with path parameters in braces: `/devices/{id}/block`. */
  readonly path: string
  readonly permission: Permission
  /** One strict object: path parameters by their names; beside them the query of a GET, or the JSON body of anything else. */
  readonly input: I
  /** The longest body; 64 KiB if left out. */
  readonly bodyBytes?: number | undefined
  readonly output: O
  /** The problems that it can be refused with, besides those of guard and schema. */
  readonly problems: readonly OperationProblem[]
  carryOut(input: z.output<I>, asker: Asker): Promise<Outcome<z.output<O>>>
}

/** States an operation; checks its types. */
export function defineOperation<I extends z.ZodType, O extends z.ZodType>(operation: Operation<I, O>): Operation<I, O> {
  return operation
}

/** An operation of whatever types, for those who mount and describe all of them. Input went through `input` before. */
// biome-ignore lint/suspicious/noExplicitAny: of many operations the types of input and output differ; each checks its own
export type AnyOperation = Operation<any, any>

/** Length of a page: what is asked for, at most this many. */
export const mostEntries = 200

/**
 * Carries an operation out for a page: checks the permission and the input like the API does. For the console's forms give the fields as they
 * came; text that the schema does not take is a refusal `malformed` whose `detail.fields` maps field names to sentences.
 */
export type CarryOut = <I extends z.ZodType, O extends z.ZodType>(
  operation: Operation<I, O>,
  input: unknown,
  asker: Asker,
) => Promise<Outcome<z.output<O>>>
