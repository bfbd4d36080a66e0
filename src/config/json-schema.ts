/**
 * JSON Schema (2020-12) of both files, for completion and first checks in editors. Generated, never written by hand.
 *
 * It describes what is written, not what is made of it. Checks that need more than one value are not in it: `postern check` is the
 * judge, the editor is a help.
 */

import { z } from 'zod'
import { instanceSchema } from './instance-schema.ts'
import { policySchema } from './policy-schema.ts'

/** The schema as text, ending in a line break. */
export function printJsonSchema(file: 'config' | 'policy'): string {
  return `${JSON.stringify(jsonSchemaOf(file), null, 2)}\n`
}

/** The schema as a value. */
export function jsonSchemaOf(file: 'config' | 'policy'): Record<string, unknown> {
  return { ...z.toJSONSchema(file === 'config' ? instanceSchema : policySchema, { io: 'input', reused: 'inline' }) }
}
