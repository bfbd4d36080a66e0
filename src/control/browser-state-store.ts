/**
 * Form state in the session store: `express-session`'s Store over the sealed records that sessions themselves use.
 *
 * It is the control plane's own and never decides who somebody is. Each record is sealed for its name, its name is a hash, and a record
 * that was removed stays removed: `set` creates only what is new, and replaces only the version that it was read from, so that
 * a slow answer of one tab cannot bring back what another has ended.
 */

import { createHash } from 'node:crypto'
import { type SessionData, Store } from 'express-session'
import type { SealedRecords } from '../session/sealed-records.ts'
import type { SessionStore } from '../session/store.ts'
import type { ForNextPage } from './next-page.ts'

declare module 'express-session' {
  interface SessionData {
    /** Of the stored record, where there is one. */
    recordVersion?: number
    /** Token of the forms shown to one signed-in person. */
    form?: { readonly sessionId: string; readonly token: string }
    /** What is to be said on the page that follows, and to whom. */
    next?: { readonly sessionId: string; readonly said: ForNextPage }
  }
}

export interface BrowserStateStoreParts {
  readonly records: SealedRecords
  readonly store: Pick<SessionStore, 'loadNow' | 'removeRecord'>
}

/** A form that was left open longer is simply shown again. */
const lifetimeMs = 2 * 3_600_000

type Kept = Omit<SessionData, 'recordVersion'>

/** Creates the store for `express-session`. Failures reach its callbacks, and so the one error handler. */
export class BrowserStateStore extends Store {
  readonly #parts: BrowserStateStoreParts

  constructor(parts: BrowserStateStoreParts) {
    super()
    this.#parts = parts
  }

  override get(id: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    this.#parts.records.load<Kept>(nameOf(id)).then(
      (record) => callback(null, record === undefined ? null : { ...record.value, recordVersion: record.version }),
      (error: unknown) => callback(error),
    )
  }

  override set(id: string, session: SessionData, callback?: (error?: unknown) => void): void {
    this.#write(id, session).then(
      () => callback?.(),
      (error: unknown) => callback?.(error),
    )
  }

  override destroy(id: string, callback?: (error?: unknown) => void): void {
    this.#parts.store.removeRecord(nameOf(id)).then(
      () => callback?.(),
      (error: unknown) => callback?.(error),
    )
  }

  async #write(id: string, { recordVersion, ...kept }: SessionData): Promise<void> {
    const { records, store } = this.#parts
    const expiresAt = (await store.loadNow()) + lifetimeMs
    // A `false` of either is a race lost to another tab or to a removal; what was lost is one form's token.
    if (recordVersion === undefined) await records.create(nameOf(id), kept, expiresAt)
    else await records.replace(nameOf(id), { value: kept, version: recordVersion, expiresAt })
  }
}

function nameOf(id: string): string {
  return `ui:${createHash('sha256').update(id).digest('base64url')}`
}
