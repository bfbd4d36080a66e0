/**
 * Versions as devices and browsers state them, compared with what a rule asks for.
 *
 * A stated version is a claim of the other side: anything that is not plainly a version is unknown. Wildcards are refused before the
 * library sees them, because it takes `14.x` to equal every `14.…`, and a device that reports `14.*` must not pass `>= 14.4`.
 */

import { compare, compareVersions } from 'compare-versions'
import type { VersionBound } from './document.ts'
import { type Outcome, outcomeOf } from './outcome.ts'

/** Begins with a digit; no segment is a wildcard. */
const plainVersion = /^(?!.*(?:^|[.+-])[xX*](?:[.+-]|$))\d[\w.+-]{0,63}$/

/** Whether the version is within the bound; unknown where it is none that can be compared. */
export function judgeVersion(version: unknown, { operator, version: wanted }: VersionBound): Outcome {
  if (typeof version !== 'string' || !plainVersion.test(version)) return 'unknown'
  try {
    return outcomeOf(compare(version, wanted, operator))
  } catch {
    // The library throws on what it cannot read, such as five segments or a build in brackets.
    return 'unknown'
  }
}

/** Whether a version that is outside the bound is outside because it is too old, so that an update would mend it. */
export function isTooOld(version: string, { operator, version: wanted }: VersionBound): boolean {
  return operator !== '<' && operator !== '<=' && compareVersions(version, wanted) <= 0
}

/** Throws `TypeError` for a bound that nothing could be compared with. */
export function checkBound({ version }: VersionBound): void {
  if (judgeVersion(version, { operator: '=', version }) !== 'true') throw new TypeError(`not a version: ${version}`)
}

/** As the document writes it: `>= 14.4`. */
export function formatBound({ operator, version }: VersionBound): string {
  return `${operator} ${version}`
}
