/**
 * Locks on record: set, changed and lifted by administrators, and kept until their time is over.
 *
 * A lock is a durable record named by what it is on, so that a second one on the same thing changes the first. Times are the store's clock.
 * The order of a change is a safety property: the record, so that it holds; then the trail; then the news, whatever became of the trail, so
 * that instances that run hear of it at once; then the wait for replicas. Neither the provider nor a policy is asked, and sessions need not
 * end for it: a lock refuses whatever they are used for, and outlives them. Whoever sets a lock as helpdesk leaves that in the record; the
 * helpdesk changes and lifts such locks and no others.
 */

import type { AdministrativeEvent } from '../audit/event.ts'
import { isPosternError, PosternError } from '../errors.ts'
import type { Lock, LockTarget } from '../live/lock.ts'
import type { LiveStore, SessionStore } from '../session/store.ts'
import type { DurableRecords } from './durable-records.ts'

/** How a lock is kept; JSON has no `undefined`. */
export interface LockRecord extends Omit<Lock, 'until'> {
  readonly until: number | null
}

/** What is to be locked. */
export interface LockWish {
  readonly target: LockTarget
  readonly label: string
  /** An instant, or a time from now on; `undefined`: until it is lifted. */
  readonly until: LockEnd | undefined
  readonly reason: string
  /** By a person without the role admin. */
  readonly isByHelpdesk?: boolean | undefined
}

export type LockEnd = { readonly at: number } | { readonly inSeconds: number }

/** The locks. Every method rejects with `session_store_unavailable` when the store does. */
export interface Locks {
  /** Locks, or changes the lock that there is; `undefined` if `until` is not in the future. `not_theirs`: the helpdesk, and the lock that is in force is not. */
  set(wish: LockWish, by: string): Promise<Lock | 'not_theirs' | undefined>
  /**
   * `undefined` if it was not locked. A lock that does not open is lifted too: whoever asks for it names what it is on. `not_theirs`: it is lifted by
   * the helpdesk, and was not set by it, or nobody can tell.
   */
  lift(
    target: LockTarget,
    reason: string | undefined,
    by: string,
    as?: Pick<LockWish, 'isByHelpdesk'>,
  ): Promise<Pick<Lock, 'target' | 'label'> | 'not_theirs' | undefined>
  /**
   * The lock that blocking a device is. It stands beside one that an administrator set, is told of as the block, and ends with it, by
   * `releaseDevice`.
   */
  holdDevice(device: { readonly id: string; readonly name: string }, reason: string, by: string): Promise<void>
  releaseDevice(id: string): Promise<void>
  /** The lock that is in force on this very thing. Straight from the store. */
  find(target: LockTarget): Promise<Lock | undefined>
  /** Those in force, in no order that means anything. Rejects at its end with `record_unreadable` if one did not open. */
  list(): AsyncIterable<Lock>
  /** The same as one list, for an instance that is to hold them all. */
  loadAll(): Promise<readonly Lock[]>
}

export type LockEvent = Extract<AdministrativeEvent, { readonly event: 'lock.set' | 'lock.lifted' }>

/** What locks are made of. */
export interface LocksParts {
  readonly records: DurableRecords<LockRecord>
  readonly store: Pick<SessionStore, 'loadNow'> & Pick<LiveStore, 'publish'>
  /** Rejects if the event cannot be handed over. */
  readonly record: (event: LockEvent) => void | Promise<void>
}

/** Two administrators at once are two; more rounds than this mean that something is wrong. */
const changeRounds = 20

/** A lock whose time is over is swept this much later, so that a clock that was moved a little brings none of them to an early end. */
const keepOverMs = 86_400_000

/** The locks over durable records of the kind `lock`. */
export function createLocks({ records, store, record }: LocksParts): Locks {
  async function* list() {
    const now = await store.loadNow()
    for await (const { value } of records.list()) {
      const lock = lockOf(value)
      if (isInForce(lock, now)) yield lock
    }
  }

  async function tell(event: LockEvent): Promise<void> {
    try {
      await record(event)
    } finally {
      await publish()
    }
  }

  async function publish(): Promise<void> {
    await store.publish({ kind: 'locks', detail: '' })
    await records.confirm()
  }

  /** With its version, so that a lock that was set anew meanwhile stays. */
  async function sweep(now: number): Promise<void> {
    for await (const { id, value } of records.list()) {
      if (value.until === null || value.until + keepOverMs > now) continue
      const loaded = await records.load(id)
      if (loaded !== undefined && loaded.value.until === value.until) await records.remove(id, loaded.version)
    }
  }

  async function write(id: string, value: LockRecord): Promise<'written' | 'not_theirs'> {
    for (let round = 0; round < changeRounds; round++) {
      const present = await loadForChange(records, id)
      if (value.isByHelpdesk === true && present !== undefined && !isHelpdesks(present, value.since)) return 'not_theirs'
      if (present === 'unreadable') await records.remove(id)
      else if (present === undefined ? await records.create(id, value) : await records.replace(id, value, present.version)) return 'written'
    }
    throw new PosternError('session_store_unavailable', `a lock could not be written in ${changeRounds} rounds`)
  }

  return {
    async set({ isByHelpdesk, label, reason, target, until }, by) {
      const since = await store.loadNow()
      const end = until === undefined ? undefined : 'at' in until ? until.at : since + until.inSeconds * 1000
      if (end !== undefined && end <= since) return undefined
      const lock: Lock = { target, label, since, until: end, reason, by, ...(isByHelpdesk === true ? { isByHelpdesk } : {}) }
      if ((await write(idOf(target), { ...lock, until: end ?? null })) === 'not_theirs') return 'not_theirs'
      await tell({ event: 'lock.set', actor: by, on: target.kind, target: nameOf(target), label, until: end, reason })
      // What cannot be swept now is swept with the next one; the lock that was asked for holds.
      await sweep(since).catch(() => undefined)
      return lock
    },
    async lift(target, reason, by, as) {
      const id = idOf(target)
      const now = await store.loadNow()
      for (let round = 0; round < changeRounds; round++) {
        const present = await loadForChange(records, id)
        if (present === undefined) return undefined
        if (as?.isByHelpdesk === true && !isHelpdesks(present, now)) return 'not_theirs'
        const isRemoved = present === 'unreadable' ? await records.remove(id) : await records.remove(id, present.version)
        if (!isRemoved) continue
        const label = present === 'unreadable' ? nameOf(target) : present.value.label
        await tell({ event: 'lock.lifted', actor: by, on: target.kind, target: nameOf(target), label, until: undefined, reason })
        return { target, label }
      }
      throw new PosternError('session_store_unavailable', `a lock could not be lifted in ${changeRounds} rounds`)
    },
    async holdDevice({ id, name }, reason, by) {
      const since = await store.loadNow()
      await write(blockIdOf(id), { target: { kind: 'device', id }, label: name, since, until: null, reason, by })
      await publish()
    },
    async releaseDevice(id) {
      if (await records.remove(blockIdOf(id))) await publish()
    },
    async find(target) {
      const [loaded, now] = await Promise.all([records.load(idOf(target)), store.loadNow()])
      const lock = loaded === undefined ? undefined : lockOf(loaded.value)
      return lock !== undefined && isInForce(lock, now) ? lock : undefined
    },
    list,
    async loadAll() {
      const all: Lock[] = []
      for await (const lock of list()) all.push(lock)
      return all
    },
  }
}

async function loadForChange(records: DurableRecords<LockRecord>, id: string) {
  try {
    return await records.load(id)
  } catch (error) {
    if (isPosternError(error) && error.code === 'record_unreadable') return 'unreadable'
    throw error
  }
}

function lockOf({ until, ...lock }: LockRecord): Lock {
  return { ...lock, until: until ?? undefined }
}

/** Whether the helpdesk may change it: its own, and what is over. Of one that does not open nobody can tell. */
function isHelpdesks(present: { readonly value: LockRecord } | 'unreadable', now: number): boolean {
  return present !== 'unreadable' && (present.value.isByHelpdesk === true || !isInForce(lockOf(present.value), now))
}

function isInForce({ until }: Pick<Lock, 'until'>, now: number): boolean {
  return until === undefined || until > now
}

/** JSON, so that no name can be made to look like another. */
function idOf(target: LockTarget): string {
  return JSON.stringify(target.kind === 'subject' ? [target.kind, target.issuer, target.sub] : [target.kind, nameOf(target)])
}

function blockIdOf(deviceId: string): string {
  return JSON.stringify(['device', deviceId, 'blocked'])
}

/** What the target is called in the trail. */
export function nameOf(target: LockTarget): string {
  switch (target.kind) {
    case 'subject':
      return target.sub
    case 'service':
      return target.name
    case 'device':
    case 'app':
      return target.id
  }
}
