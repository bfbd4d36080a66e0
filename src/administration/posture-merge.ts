/**
 * What becomes of what is known about a device when a report comes in: per attribute and source, the newest observation stands.
 *
 * Pure. Reports overtake each other on the way, queue up where there is no network, and are sent again; a late healthy one must never stand
 * over a newer bad one, and a copy must change nothing. At the same instant what was there first stands, so that nothing can be
 * talked away by saying it again differently.
 */

import type { Observation } from '../attributes/device-record.ts'

export type Observations = Readonly<Record<string, Observation>>

/** What a report says, and when it was so. */
export interface ReportedValues {
  readonly observedAt: number
  readonly receivedAt: number
  readonly values: Readonly<Record<string, Observation['value']>>
}

/** What stands now, with what the report did about it. */
export interface MergedReport {
  readonly observations: Observations
  /** Names that it brought up to date, or confirmed at the same instant. */
  readonly accepted: readonly string[]
  /** Names of which something newer is known, or for which there is no room. */
  readonly outdated: readonly string[]
  /** Of the accepted, those whose value is another one now. */
  readonly changed: readonly string[]
}

/**
 * Twice what one report may name. Beyond it names that are not known yet are left out: what fell out to make room for them could come
 * back as something older.
 */
const maxNames = 128

/** Merges a report into what is known from the same source. Changes none of its arguments. */
export function mergeReport(known: Observations, { observedAt, receivedAt, values }: ReportedValues): MergedReport {
  const observations: Record<string, Observation> = { ...known }
  const accepted: string[] = []
  const outdated: string[] = []
  const changed: string[] = []
  for (const [name, value] of Object.entries(values)) {
    const before = Object.hasOwn(known, name) ? known[name] : undefined
    if (before !== undefined && before.at > observedAt) outdated.push(name)
    else if (before !== undefined && before.at === observedAt) (isSame(before.value, value) ? accepted : outdated).push(name)
    else if (before === undefined && Object.keys(observations).length >= maxNames) outdated.push(name)
    else {
      observations[name] = { value, at: observedAt, receivedAt }
      accepted.push(name)
      if (before === undefined || !isSame(before.value, value)) changed.push(name)
    }
  }
  return { observations, accepted, outdated, changed }
}

function isSame(one: Observation['value'], other: Observation['value']): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
