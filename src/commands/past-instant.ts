/**
 * An instant in the past as it is written at a command line: `7d` for a week ago, or RFC 3339 with its offset.
 */

import { InvalidArgumentError } from 'commander'
import { parseLockEnd } from '../administration/access-orders.ts'

/** Epoch milliseconds of what was written. Throws what the parser of options reports, for what is neither. */
export function createInstantParser(now: () => number): (written: string) => number {
  return (written) => {
    const said = parseLockEnd(written)
    if (said === undefined) throw new InvalidArgumentError('write an instant such as 2026-11-22T08:00:00Z, or an age such as 7d or 12h.')
    return 'at' in said ? said.at : now() - said.inSeconds * 1000
  }
}
