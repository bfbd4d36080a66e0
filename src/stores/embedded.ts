/**
 * The session store inside the process: one SQLite file that survives a restart, for one process and small installations.
 *
 * The file is 0600 and locked exclusively for as long as it is open, so that a second process refuses to start instead of
 * deciding on a state of its own. Ends and durable records are on the disk before they are confirmed; other writes may lose the last
 * moments before a power cut (never before a crash of the process), which costs a sign-in and nothing else.
 */

import { randomBytes } from 'node:crypto'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DurableRecord, End, EndCause, EndKind, NamedDurableRecord, SessionStore, StoredRecord } from '../session/store.ts'
import { durably, openDatabase, prepare, type Statements, sweep } from './embedded-database.ts'
import { createEmbeddedEvents } from './embedded-events.ts'
import { createEmbeddedWindow } from './embedded-window.ts'
import { createStoreTrouble } from './store-trouble.ts'

/** Where the file is, and what time it is. */
export interface EmbeddedStoreOptions {
  readonly file: string
  /** Epoch milliseconds; the store's clock. */
  readonly now: () => number
  /** Pause between sweeps of what expired. */
  readonly sweepEverySeconds?: number
  readonly log?: Logger
  /** Hears of each operation that failed. */
  readonly onUnavailable?: (() => void) | undefined
}

/** Opens or creates the file. `session_store_unavailable` if another process has it, or it cannot be opened. */
export function createEmbeddedStore(options: EmbeddedStoreOptions): SessionStore {
  const { file } = options
  const now = () => Math.trunc(options.now())
  const database = guarded(file, () => openDatabase(file))
  const statements = prepare(database)
  const trouble = createStoreTrouble(options.log, options.onUnavailable)
  const events = createEmbeddedEvents(now)
  const tellEnds = (ends: readonly End[]) => {
    if (ends.length > 0) events.append({ kind: 'ended', detail: ends.map(lineOf).join('\n') })
  }

  const sweeper = setInterval(
    () => {
      try {
        sweep(statements, now())
      } catch {
        // What expired is ignored by every read anyway; a disk that is full shows in the next write.
      }
    },
    (options.sweepEverySeconds ?? 60) * 1000,
  )
  sweeper.unref()

  /** Every method is asynchronous to its caller, and every failure has one code. */
  const answer = async <T>(work: () => T): Promise<T> => {
    try {
      return guarded(file, work)
    } catch (error) {
      // A store that was closed is no trouble: the instance is stopping.
      if (database.isOpen) trouble.report(sqliteCodeOf(error), error)
      throw error
    }
  }

  return {
    loadNow: () => answer(now),

    createRecord: (name, value, expiresAt) =>
      answer(() => {
        const at = now()
        return expiresAt > at && statements.createRecord.run(name, value, expiresAt, at).changes === 1
      }),
    loadRecord: (name) => answer(() => recordOf(statements.loadRecord.get(name, now()))),
    replaceRecord: (name, record) =>
      answer(() => statements.replaceRecord.run(record.value, record.expiresAt, name, record.version, now()).changes === 1),
    takeRecord: (name) => answer(() => recordOf(statements.takeRecord.get(name, now()))),
    removeRecord: (name) => answer(() => void statements.removeRecord.run(name)),

    addToIndex: (index, member, expiresAt) => answer(() => void (expiresAt > now() && statements.addToIndex.run(index, member, expiresAt))),
    removeFromIndex: (index, member) => answer(() => void statements.removeFromIndex.run(index, member)),
    loadIndex: (index) => answer(() => statements.loadIndex.all(index, now()).map((row) => String(row['member']))),

    recordEnds: (ends, keepSeconds) =>
      answer(() => {
        const at = now()
        const recorded = durably(database, () => {
          statements.sweepEnds.run(at)
          return ends.map((end) => {
            statements.recordEnd.run(end.kind, end.idHash, at, end.cause, at + keepSeconds * 1000)
            return endOf(end, statements.loadEnd.get(end.kind, end.idHash)) ?? { ...end, at }
          })
        })
        tellEnds(recorded)
        return at
      }),
    loadEnds: (things) => answer(() => things.map((thing) => endOf(thing, statements.loadEnd.get(thing.kind, thing.idHash)))),

    loadAllEnds: () =>
      answer(() =>
        statements.loadAllEnds.all(now()).flatMap((row) => {
          return endOf({ kind: row['kind'] as EndKind, idHash: String(row['id_hash']) }, row) ?? []
        }),
      ),
    restoreEnds: (ends, keepSeconds) =>
      answer(() => {
        const lost = durably(database, () =>
          ends.filter(({ kind, idHash, at, cause }) => {
            const until = at + keepSeconds * 1000
            return until > now() && statements.restoreEnd.run(kind, idHash, at, cause, until).changes === 1
          }),
        )
        tellEnds(lost)
      }),
    publish: (event) => answer(() => void (statements.probe.get() && events.append(event))),
    openEvents: () => events.open(),

    acquireLock: (name, holdSeconds) =>
      answer(() => {
        const token = randomBytes(16).toString('base64url')
        return statements.acquireLock.run(name, token, now() + holdSeconds * 1000, now()).changes === 1 ? token : undefined
      }),
    renewLock: (name, token, holdSeconds) =>
      answer(() => statements.renewLock.run(now() + holdSeconds * 1000, name, token, now()).changes === 1),
    releaseLock: (name, token) => answer(() => void statements.releaseLock.run(name, token)),

    createDurable: (name, value) => answer(() => durably(database, () => statements.createDurable.run(name, value).changes === 1)),
    loadDurable: (name) => answer(() => durableOf(statements.loadDurable.get(name))),
    replaceDurable: (name, { value, version }) =>
      answer(() => durably(database, () => statements.replaceDurable.run(value, name, version).changes === 1)),
    removeDurable: (name, version) =>
      answer(() => durably(database, () => statements.removeDurable.run(name, version ?? null, version ?? null).changes === 1)),
    listDurable: (kind, after, limit) => answer(() => listDurable(statements, { kind, after, limit })),
    confirmDurable: () => answer(() => undefined),
    ...createEmbeddedWindow(database, answer),

    checkReady: () => answer(() => void statements.probe.get()),
    async close() {
      clearInterval(sweeper)
      events.close()
      if (database.isOpen) database.close()
    },
  }
}

interface Listing {
  readonly kind: string | undefined
  readonly after: string | undefined
  readonly limit: number
}

/** Names compare by their UTF-8 bytes, and `;` follows `:` directly: `kind:` to `kind;` is every name of the kind. */
function listDurable({ listDurable: statement }: Statements, { kind, after, limit }: Listing): readonly NamedDurableRecord[] {
  const beyond = kind === undefined ? null : `${kind};`
  const from = kind === undefined ? '' : `${kind}:`
  const rows = statement.all(after === undefined || after < from ? from : after, beyond, beyond, limit)
  return rows.map((row) => ({ name: String(row['name']), value: bytesOf(row['value']), version: Number(row['version']) }))
}

function durableOf(row: Record<string, unknown> | undefined): DurableRecord | undefined {
  return row === undefined ? undefined : { value: bytesOf(row['value']), version: Number(row['version']) }
}

function recordOf(row: Record<string, unknown> | undefined): StoredRecord | undefined {
  if (row === undefined) return undefined
  return { value: bytesOf(row['value']), version: Number(row['version']), expiresAt: Number(row['expires_at']) }
}

function bytesOf(column: unknown): Buffer {
  const bytes = column as Uint8Array
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function endOf({ kind, idHash }: { kind: EndKind; idHash: string }, row: Record<string, unknown> | undefined): End | undefined {
  return row === undefined ? undefined : { kind, idHash, at: Number(row['at']), cause: row['cause'] as EndCause }
}

/** An end as the stream tells of it. */
function lineOf({ kind, idHash, at, cause }: End): string {
  return `${kind}:${idHash} ${at} ${cause}`
}

function guarded<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const isLocked = (error as { errcode?: unknown }).errcode === 5
    throw new PosternError(
      'session_store_unavailable',
      isLocked ? `${file}: another process has the session store open` : `${file}: the session store failed`,
      { cause: error },
    )
  }
}

/** SQLite's result code, as a word that does not change with the statement. */
function sqliteCodeOf(error: unknown): string {
  const { errcode } = ((error as Error).cause ?? {}) as { errcode?: unknown }
  return typeof errcode === 'number' ? `sqlite_${errcode}` : 'unknown'
}
