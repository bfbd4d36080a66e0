/**
 * What happened of late, counted: the digest of the recent window that the overview, the lists of apps and the portal's admins' pages show.
 *
 * One instance's memory, fed from the store's window of all instances (`activity-digest.ts`), bounded in every dimension, and never a source of a
 * decision. Numbers say since when they count.
 */

import type { Reason } from '../policy/decision.ts'

export interface AppActivity {
  readonly app: string
  readonly allowed: number
  readonly refused: number
  readonly challenged: number
  /** Different people who were let in. */
  readonly people: number
  /** Epoch milliseconds; `undefined`: never. */
  readonly lastUsedAt: number | undefined
  readonly lastRefusedAt: number | undefined
  /** Upstream answers of 5xx and failures of ours to reach it. */
  readonly upstreamFailures: number
  readonly lastUpstreamFailureAt?: number | undefined
}

/** One bar of a chart. */
export interface ActivityBucket {
  readonly from: number
  readonly allowed: number
  readonly refused: number
  readonly challenged: number
}

/** Refusals in a bar, in the order of the reasons that they were counted for. */
export interface RefusalBucket {
  readonly from: number
  readonly counts: readonly number[]
}

export interface RefusalCount {
  readonly app: string
  readonly reason: Reason
  readonly count: number
  readonly people: number
  readonly lastAt: number
}

/** Somebody who was refused again and again and not let in since. */
export interface StuckPerson {
  readonly issuer: string
  readonly sub: string
  readonly email: string | undefined
  readonly app: string
  readonly reason: Reason
  readonly count: number
  readonly firstAt: number
  readonly lastAt: number
  /** Of the last refusal. */
  readonly request: string
}

/** What a rule in report mode would have done. */
export interface ReportedRule {
  readonly app: string
  readonly rule: string
  readonly wouldRefuse: number
  readonly people: number
  readonly lastAt: number
}

export interface Activity {
  /** From which instant on everything is counted, and up to which. `undefined`: nothing is read yet. */
  readonly since: number | undefined
  readonly until: number | undefined
  /** Whether the window is still being read in for the first time. */
  readonly isLoading: boolean
  readonly events: number
}

export interface ActivityDigest {
  state(): Activity
  apps(): ReadonlyMap<string, AppActivity>
  /** Of one app, or of all: `count` buckets of equal length, on whole multiples of it; the last is the one that now is in. */
  buckets(app: string | undefined, count: number, lengthMs: number): readonly ActivityBucket[]
  /** As `buckets`, refusals for each of these reasons. */
  refusalBuckets(app: string | undefined, reasons: readonly Reason[], count: number, lengthMs: number): readonly RefusalBucket[]
  /** The most frequent first. */
  refusals(limit: number): readonly RefusalCount[]
  stuck(limit: number): readonly StuckPerson[]
  reported(): readonly ReportedRule[]
  signIns(): { readonly succeeded: number; readonly failed: number; readonly lastFailedAt: number | undefined }
  /** Groups, e-mail domains, levels of assurance and device attributes that really occurred, for completion: at most `limit` that begin so, the most frequent first. */
  seen(
    kind: 'group' | 'email' | 'domain' | 'acr' | 'amr' | 'country',
    prefix: string,
    limit: number,
  ): readonly { readonly value: string; readonly people: number }[]
  /** Reads on now; resolves when it is up to date. */
  refresh(): Promise<void>
  close(): void
}
