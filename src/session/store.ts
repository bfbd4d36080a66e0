/**
 * The port to the place where sessions live: small atomic operations on opaque records, with the store's own clock.
 *
 * Three adapters (`stores/redis.ts`, `stores/embedded.ts`, and `stores/control-socket.ts`, through which a command uses the store of
 * a running instance) pass one contract suite (`stores/stores.contract.ts`). The store sees hashed names and sealed bytes only; what
 * they mean is the business of whoever sealed them. Every method rejects with `PosternError('session_store_unavailable')` when the
 * store does not answer within its limit (never hangs, never guesses).
 *
 * Names are `kind:hash`. A record is gone at `expiresAt` exactly, by the store's clock, whether or not it was swept already. *Durable*
 * records (devices, service tokens) are kept apart from those, have no expiry, and are gone only once they were removed.
 */

export interface StoredRecord {
  readonly value: Buffer
  /** Grows by one with each write; what `replaceRecord` compares. */
  readonly version: number
  readonly expiresAt: number
}

/** What can end. `subject` ids are `issuer\nsub`, `provider_sid` ids `issuer\nsid`; ids reach a store hashed. */
export type EndKind = 'session' | 'app_session' | 'subject' | 'provider_sid' | 'device'

export type EndCause = 'signed_out' | 'replaced' | 'revoked' | 'refused' | 'back_channel' | 'device_changed' | 'subject_changed'

/** The fact that something ended; what began at or before `at` is dead. `idHash` is SHA-256, base64url. */
export interface End {
  readonly kind: EndKind
  readonly idHash: string
  readonly at: number
  readonly cause: EndCause
}

/** A record that stays until it is removed. */
export interface DurableRecord {
  readonly value: Buffer
  /** Grows by one with each write; what `replaceDurable` compares. */
  readonly version: number
}

/** A durable record with its name, as a listing has it. */
export interface NamedDurableRecord extends DurableRecord {
  readonly name: string
}

/** State that outlives sessions. A write is on the disk before it resolves, as far as the store itself can say. */
export interface DurableStore {
  /** Writes a record that must not exist yet; `false` if it does. */
  createDurable(name: string, value: Buffer): Promise<boolean>
  loadDurable(name: string): Promise<DurableRecord | undefined>
  /** Compare-and-set. `false` if the version moved on or the record is gone: a replace never creates. */
  replaceDurable(name: string, record: DurableRecord): Promise<boolean>
  /** `false` if there was none. With a `version`, removes only that one. */
  removeDurable(name: string, version?: number): Promise<boolean>
  /**
   * At most `limit` records whose name begins with `kind:` (any kind without one) and follows `after`, in the order of the names' bytes.
   * What is written meanwhile may be missing from a listing of several batches; what was there throughout never is.
   */
  listDurable(kind: string | undefined, after: string | undefined, limit: number): Promise<readonly NamedDurableRecord[]>
  /**
   * Waits a moment for replicas to have what was written, so that a fail-over does not undo it: after a block or a revocation, not after each
   * report, since other work on the store may wait meanwhile. Says in the log where none confirmed, and does not reject for it.
   */
  confirmDurable(): Promise<void>
}

/**
 * What instances tell each other through the store. `detail` holds hashes and nothing readable: the hash of the session, the device or the
 * errand, the hash of the revision that was published for `policy`, nothing for `locks` and `invitations`, and for `ended` a line an end,
 * `kind:idHash at cause`.
 */
export interface StoreEvent {
  /** `ended` is written with the ends themselves, by `recordEnds` and `restoreEnds`. */
  readonly kind: 'ended' | 'locks' | 'session' | 'device' | 'errand' | 'policy' | 'invitations'
  readonly detail: string
}

/** An event as the stream has it. */
export interface HeardStoreEvent extends StoreEvent {
  /** When it was written, by the store's clock. */
  readonly at: number
}

/** What came since a position. No events at all is an answer too: the store is there, and nothing happened. */
export interface StoreNews {
  readonly events: readonly HeardStoreEvent[]
  /** Where to read on. */
  readonly position: string
  /**
   * Events between the position asked for and these may be missing, or it was the first question, or the connection is another one than
   * at the question before: everything has to be read again.
   */
  readonly isGap: boolean
  /** The store's clock. */
  readonly now: number
}

/** The event stream as one reader has it, on a connection of its own: a question may wait about a second for something to happen. */
export interface StoreEvents {
  /** What came after `position`; without one, where the stream stands. Rejects where the store does not answer. One question at a time. */
  next(position: string | undefined): Promise<StoreNews>
  close(): Promise<void>
}

/** Ends as a whole, and the stream of events. */
export interface LiveStore {
  /** Appends to the stream. */
  publish(event: StoreEvent): Promise<void>
  /** Opens the stream for one reader. Throws `session_store_unavailable` where there is none to listen to: a command's store has none. */
  openEvents(): StoreEvents
  /** Every end that is on record. */
  loadAllEnds(): Promise<readonly End[]>
  /** Puts ends back that the store has lost, at the instants that they had; one that it has, or has later, stays. Tells the stream. */
  restoreEnds(ends: readonly End[], keepSeconds: number): Promise<void>
}

/** A batch of the recent window as it is stored: sealed. */
export interface StoredWindowBatch {
  /** Sorts by its bytes as the batches are to be read; the same batch has the same one. */
  readonly position: string
  readonly value: Buffer
}

/**
 * What of the audit trail the store holds for the console: the newest batches, of all instances in one order. It is a copy of what is in files,
 * so a write need not be on the disk, and the oldest leave.
 */
export interface WindowStore {
  /** Adds a batch of so many entries, once: one whose position is there already is passed over. The oldest batches leave while `keepEntries` remain without them. */
  appendWindow(batch: StoredWindowBatch & { readonly entries: number }, keepEntries: number): Promise<void>
  /** At most `limit` batches whose positions are below `before`, the highest first. */
  listWindow(before: string | undefined, limit: number): Promise<readonly StoredWindowBatch[]>
}

export interface SessionStore extends DurableStore, LiveStore, WindowStore {
  /** The store's clock, epoch milliseconds. Start and end times come from here, never from an instance's clock. */
  loadNow(): Promise<number>

  /** Writes a record that must not exist yet; `false` if it does. `expiresAt` is an instant of the store's clock. */
  createRecord(name: string, value: Buffer, expiresAt: number): Promise<boolean>
  /** The record, or `undefined` for one that never was, expired or was removed. */
  loadRecord(name: string): Promise<StoredRecord | undefined>
  /** Compare-and-set. `false` if the version moved on or the record is gone: a replace never creates. */
  replaceRecord(name: string, record: StoredRecord): Promise<boolean>
  /** Returns the record and removes it in one step, so that of many takers one gets it. */
  takeRecord(name: string): Promise<StoredRecord | undefined>
  removeRecord(name: string): Promise<void>

  /** Adds `member` to an index until `expiresAt`; an index never outlives its longest member. */
  addToIndex(index: string, member: string, expiresAt: number): Promise<void>
  removeFromIndex(index: string, member: string): Promise<void>
  loadIndex(index: string): Promise<readonly string[]>

  /**
   * Records ends at the store's present instant and tells the stream, atomically, and returns that instant. A later end of the same thing
   * wins.
   */
  recordEnds(ends: readonly Omit<End, 'at'>[], keepSeconds: number): Promise<number>
  /** Of these things, the ends that are on record; order and length as asked. One round trip. */
  loadEnds(things: readonly Pick<End, 'kind' | 'idHash'>[]): Promise<readonly (End | undefined)[]>

  /** Takes a lock for `holdSeconds`; the token releases or renews it, `undefined` if someone else has it. */
  acquireLock(name: string, holdSeconds: number): Promise<string | undefined>
  /** `false` if the lock was lost meanwhile. */
  renewLock(name: string, token: string, holdSeconds: number): Promise<boolean>
  releaseLock(name: string, token: string): Promise<void>

  /** Resolves if the store answers now; for `/readyz`. */
  checkReady(): Promise<void>
  close(): Promise<void>
}
