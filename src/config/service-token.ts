/**
 * The service token of a command that talks to a running instance, from the environment: a pipeline's secrets arrive there, and what stands in an
 * argument can be read in the list of processes.
 */

import type { Environment } from './secret-values.ts'

/** The variable. It is no key of the configuration. */
export const tokenVariable = 'POSTERN_TOKEN'

/** The token; `undefined` where there is none. */
export function readServiceToken(environment: Environment = process.env): string | undefined {
  const token = environment[tokenVariable]?.trim()
  return token === '' ? undefined : token
}
