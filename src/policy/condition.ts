/**
 * A condition, compiled: what every kind of it can be asked. The kinds are one file each; `compose-condition.ts` joins them.
 *
 * `judge` is what enforcement calls for each request and must be cheap; `findUnmet` and `trace` are asked only about a refusal or an
 * explanation, read the same facts in the same way, and may be slow.
 */

import type { Unmet } from './decision.ts'
import type { FactGroup, Facts } from './facts.ts'
import type { Timed } from './next-change.ts'
import type { Outcome } from './outcome.ts'

/** A condition that names no other. */
export interface LeafCondition extends Timed {
  readonly judge: (facts: Facts) => Outcome
  /** What keeps it from being true; empty exactly when it is. */
  readonly findUnmet: (facts: Facts) => readonly Unmet[]
  /** Each key of it with its input. */
  readonly trace: (facts: Facts) => readonly TraceInput[]
  /** What has to be gathered for it. */
  readonly needs: readonly FactGroup[]
}

/** One input of a condition, as an explanation shows it to an admin. */
export interface TraceInput {
  /** Such as `device.disk_encrypted`. */
  readonly fact: string
  /** What the document wants, such as `true` or `macos >= 14.4`. */
  readonly wanted: string
  readonly value: Readonly<{ known: true; value: unknown }> | Readonly<{ known: false; why: string }>
  /** Such as `report`, `claim`, `ID Token`, `listener`, `country database`. */
  readonly source: string
  /** When the source observed it; `undefined`: now, or it does not age. */
  readonly at: number | undefined
  readonly outcome: Outcome
}
