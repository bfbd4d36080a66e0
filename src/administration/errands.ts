/**
 * Errands: what one instance asks of all of them, through the store, because only each knows its own part: open connections, and the trail on
 * its own disk.
 *
 * Whoever asks writes an errand (sealed, bounded, soon gone) and tells the stream; every live instance hears it, carries out what it was
 * made to serve, and writes its part beside it, with how far it is. Whoever asked, on whichever instance, reads the parts together. An
 * instance that does not answer in time, or is not asked because there are too many, is named and never silently left out. Whoever asks while too
 * many are being asked is told so within the time that they wait. Nothing of a request waits for an errand.
 */

/** Bounds: an errand's input and each part, as JSON. */
export const mostErrandBytes = 64 * 1024
export const mostPartBytes = 2 * 1024 * 1024

/** How far an instance is with its part. */
export interface ErrandProgress {
  /** 0 to 1. */
  readonly fraction: number
  /** For people: `1.2 million requests`. */
  readonly note: string | undefined
}

export type PartState<P> =
  | { readonly state: 'waiting' }
  | { readonly state: 'running'; readonly progress: ErrandProgress }
  | { readonly state: 'done'; readonly part: P }
  | { readonly state: 'failed'; readonly why: string }
  /** It was alive when it was asked, and does not answer any more. */
  | { readonly state: 'missing' }

export interface ErrandState<P> {
  readonly id: string
  readonly kind: string
  readonly input: unknown
  /** Epoch milliseconds of the store. */
  readonly begunAt: number
  readonly parts: readonly ({ readonly instance: string } & PartState<P>)[]
  /** Whether every part is done, failed or missing. */
  readonly isOver: boolean
}

/** A part in the name of those that were not asked; none where all were. */
export function partBeyond(beyond: number): readonly ({ readonly instance: string } & PartState<never>)[] {
  if (beyond <= 0) return []
  return [
    { instance: beyond === 1 ? '1 more instance' : `${beyond} more instances`, state: 'failed', why: 'so many run that not all are asked' },
  ]
}

export interface ErrandContext {
  readonly signal: AbortSignal
  /** As often as it likes: written at most once a second. */
  progress(progress: ErrandProgress): void
}

/** Every method rejects with `session_store_unavailable` when the store does. */
export interface Errands {
  /** What this instance does when asked for `kind`. At start only; `input` came through the store, sealed, and was written by this program. */
  serve<I, P>(kind: string, carryOut: (input: I, context: ErrandContext) => Promise<P>): void
  /** Begins one; `by` is the actor. Rejects with a `RangeError` for an input that is too large. At most eight at a time, the oldest is given up. */
  begin(kind: string, input: object, by: string): Promise<string>
  look<P>(id: string): Promise<ErrandState<P> | undefined>
  /** Ends it everywhere; what was found is thrown away. */
  cancel(id: string): Promise<void>
  /** For short ones: begins, waits for all or `timeoutMs`, and forgets it. Where too many ask at once every part has failed with that. */
  ask<P>(kind: string, input: object, by: string, timeoutMs: number): Promise<ErrandState<P>>
  /** Instances that were heard of in the last 15 seconds, this one among them. */
  instances(): Promise<readonly LiveInstance[]>
}

/** An instance that was heard of in the last 15 seconds. */
export interface LiveInstance {
  /** Unique among those that are listed together. */
  readonly name: string
  readonly startedAt: number
  readonly version: string
  readonly policyVersion: string
  /** This very one. */
  readonly isOwn: boolean
}
