/**
 * The section `audit:` from what is written, and checked, to what the trail is made with.
 *
 * What is not written and has no default stays `undefined`: an app's own word and its sensitivity then decide, in `src/enforcement`.
 */

import type { WrittenAudit } from './audit-schema.ts'
import type { AuditConfiguration, AuditSinkConfiguration } from './instance.ts'
import type { Partially } from './parse-value.ts'

/** The settings of the trail; `undefined` where a part of them was refused. */
export function buildAudit(
  written: Partially<WrittenAudit> | undefined,
  sinks: readonly AuditSinkConfiguration[],
): AuditConfiguration | undefined {
  const { keep, query, record_claims: claims, redact, window } = written ?? {}
  if (query === undefined || keep?.age === undefined || keep.size === undefined || window === undefined) return undefined
  return {
    query,
    durability: written?.durability,
    whenFull: written?.when_full,
    keep: { ageSeconds: keep.age, bytes: keep.size },
    recordClaims: (claims ?? []).filter((path) => path !== undefined) as readonly (readonly string[])[],
    redact: [...new Set((redact ?? []).filter((field) => field !== undefined))],
    windowEvents: window,
    sinks,
  }
}
