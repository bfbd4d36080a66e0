/**
 * The part of the composition root that asks the machine: its clock, and which version of this package is installed. It loads nothing, so that a
 * command is there in no time.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** This machine's clock; everyone else is given it. Epoch milliseconds. */
export const now = () => Date.now()

/** Version of this package. */
export function readVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}
