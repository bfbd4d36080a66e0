/**
 * What instances tell each other: ends, locks, and changes that make what is remembered out of date.
 *
 * Every instance holds all ends and all locks in memory and hears of new ones over one event stream of the store, whose answers are its
 * heartbeat as well. What is held counts as current for five seconds after the stream, or the store itself, last confirmed it, on the
 * monotonic clock, asked at each use. After a gap (events trimmed, a stream that went back, a connection that was lost) everything is read
 * again before anything counts as current. An end that was heard once is never forgotten before its time: a store that comes back from
 * a fail-over without it is given it again.
 *
 * Ends and locks are in force here before any listener hears of them, and listeners are called at once, in the order in which they came.
 */

import type { LockFacts } from '../policy/facts.ts'
import type { End } from '../session/store.ts'
import type { LockQuestion } from './lock.ts'

/** When what it tells of was written, by the store's clock; left out where nobody knows. */
interface Written {
  readonly writtenAt?: number | undefined
}

/** What an instance hears of. Ends have instants of their own. */
export type LiveEvent =
  | { readonly kind: 'ended'; readonly ends: readonly End[] }
  /** Some were added, changed or lifted; they are in force already. */
  | ({ readonly kind: 'locks_changed' } & Written)
  /** Its claims were replaced, or somebody signed in again: what is remembered of it is out of date. */
  | ({ readonly kind: 'session_changed'; readonly sessionHash: string } & Written)
  /** A device of the inventory: registered, reported on, blocked, removed. */
  | ({ readonly kind: 'device_changed'; readonly deviceHash: string } & Written)
  /** Another policy is in force. Of this instance alone, whether it came from files or from a revision. */
  | ({ readonly kind: 'policy_changed' } & Written)
  /** An errand began, was cancelled, or has one more part (`administration/errands.ts`). */
  | ({ readonly kind: 'errand_told'; readonly errandHash: string } & Written)
  /** A revision of a managed policy was published. Not in force here yet: whoever keeps the policy loads and judges it first. */
  | ({ readonly kind: 'policy_revision'; readonly hash: string } & Written)
  /** Somebody was invited to a role of the console, or is no longer. Nothing for apps. */
  | ({ readonly kind: 'invitations_changed' } & Written)
  /** Nobody knows what happened meanwhile: everything may have changed. Ends and locks were read again already. */
  | { readonly kind: 'regained' }

/** The ends, the locks and the news of one instance. */
export interface Live {
  /** Whether what is held may be relied on at this moment. One comparison: asked for every request. */
  isCurrent(): boolean
  /** Resolves once it may be, by asking the store where the stream is late. Rejects with `session_store_unavailable`. */
  confirm(): Promise<void>
  /** How long ago it was last known to be current, monotonic milliseconds. */
  age(): number
  /** The end of this thing, if one is held. */
  findEnd(thing: Pick<End, 'kind' | 'idHash'>): End | undefined
  /** The lock that concerns this request now. */
  findLock(question: LockQuestion): LockFacts | undefined
  /** Whether any device is locked: only then does a request have to say where it comes from on apps that do not ask. */
  hasDeviceLocks(): boolean
  /** Ends recorded through this instance: in force, and told to listeners, before the stream brings them back. */
  noteEnds(ends: readonly End[]): void
  /** Tells this instance's listeners of something that no other has to hear. */
  announce(event: Extract<LiveEvent, { readonly kind: 'policy_changed' }>): void
  /** Calls `listener` with each event until the returned function is called. A listener must not throw; one that does is logged. */
  listen(listener: (event: LiveEvent) => void): () => void
  /** The store's clock, as last heard and carried on by the monotonic clock. */
  now(): number
  close(): Promise<void>
}
