/**
 * The session store inside the process: one SQLite file that survives a restart, for one process and small installations.
 *
 * The file is 0600 and locked exclusively for as long as it is open, so that a second process refuses to start instead of
 * deciding on a state of its own. Ends and durable records are on the disk before they are confirmed; other writes may lose the last
 * moments before a power cut (never before a crash of the process), which costs a sign-in and nothing else.
 */

import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DurableRecord, End, EndCause, EndKind, NamedDurableRecord, SessionStore, StoredRecord } from '../session/store.ts'
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

const schema = `
CREATE TABLE IF NOT EXISTS records (
  name TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at);
CREATE TABLE IF NOT EXISTS index_members (
  name TEXT NOT NULL, member TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (name, member)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS index_members_by_expiry ON index_members (expires_at);
CREATE TABLE IF NOT EXISTS ends (
  kind TEXT NOT NULL, id_hash TEXT NOT NULL, at INTEGER NOT NULL, cause TEXT NOT NULL, keep_until INTEGER NOT NULL,
  PRIMARY KEY (kind, id_hash)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS durable_records (
  name TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
`

/** Opens or creates the file. `session_store_unavailable` if another process has it, or it cannot be opened. */
export function createEmbeddedStore(options: EmbeddedStoreOptions): SessionStore {
  const { file } = options
  const now = () => Math.trunc(options.now())
  const database = guarded(file, () => openDatabase(file))
  const statements = prepare(database)
  const trouble = createStoreTrouble(options.log, options.onUnavailable)

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
        durably(database, () => {
          statements.sweepEnds.run(at)
          for (const end of ends) statements.recordEnd.run(end.kind, end.idHash, at, end.cause, at + keepSeconds * 1000)
        })
        return at
      }),
    loadEnds: (things) => answer(() => things.map((thing) => endOf(thing, statements.loadEnd.get(thing.kind, thing.idHash)))),

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

    checkReady: () => answer(() => void statements.probe.get()),
    async close() {
      clearInterval(sweeper)
      if (database.isOpen) database.close()
    },
  }
}

function openDatabase(file: string): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  // SQLite would create the file with the process' umask; its -wal file takes the mode of the database.
  closeSync(openSync(file, 'a', 0o600))
  chmodSync(file, 0o600)
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    // Exclusive before the first access: the lock is taken here, held until close, and freed by the system if the process dies.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;')
    database.exec(schema)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function prepare(database: DatabaseSync) {
  return {
    createRecord: database.prepare(
      `INSERT INTO records (name, value, version, expires_at) VALUES (?, ?, 1, ?)
       ON CONFLICT (name) DO UPDATE SET value = excluded.value, version = 1, expires_at = excluded.expires_at
       WHERE records.expires_at <= ?`,
    ),
    loadRecord: database.prepare('SELECT value, version, expires_at FROM records WHERE name = ? AND expires_at > ?'),
    replaceRecord: database.prepare(
      'UPDATE records SET value = ?, version = version + 1, expires_at = ? WHERE name = ? AND version = ? AND expires_at > ?',
    ),
    takeRecord: database.prepare('DELETE FROM records WHERE name = ? AND expires_at > ? RETURNING value, version, expires_at'),
    removeRecord: database.prepare('DELETE FROM records WHERE name = ?'),
    addToIndex: database.prepare(
      `INSERT INTO index_members (name, member, expires_at) VALUES (?, ?, ?)
       ON CONFLICT (name, member) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)`,
    ),
    removeFromIndex: database.prepare('DELETE FROM index_members WHERE name = ? AND member = ?'),
    loadIndex: database.prepare('SELECT member FROM index_members WHERE name = ? AND expires_at > ? ORDER BY expires_at'),
    recordEnd: database.prepare(
      `INSERT INTO ends (kind, id_hash, at, cause, keep_until) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (kind, id_hash) DO UPDATE SET
         cause = iif(excluded.at >= at, excluded.cause, cause), at = max(at, excluded.at),
         keep_until = max(keep_until, excluded.keep_until)`,
    ),
    loadEnd: database.prepare('SELECT at, cause FROM ends WHERE kind = ? AND id_hash = ?'),
    createDurable: database.prepare('INSERT INTO durable_records (name, value, version) VALUES (?, ?, 1) ON CONFLICT (name) DO NOTHING'),
    loadDurable: database.prepare('SELECT value, version FROM durable_records WHERE name = ?'),
    replaceDurable: database.prepare('UPDATE durable_records SET value = ?, version = version + 1 WHERE name = ? AND version = ?'),
    removeDurable: database.prepare('DELETE FROM durable_records WHERE name = ? AND (? IS NULL OR version = ?)'),
    listDurable: database.prepare(
      'SELECT name, value, version FROM durable_records WHERE name > ? AND (? IS NULL OR name < ?) ORDER BY name LIMIT ?',
    ),
    acquireLock: database.prepare(
      `INSERT INTO locks (name, token, expires_at) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at WHERE locks.expires_at <= ?`,
    ),
    renewLock: database.prepare('UPDATE locks SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?'),
    releaseLock: database.prepare('DELETE FROM locks WHERE name = ? AND token = ?'),
    sweepRecords: database.prepare('DELETE FROM records WHERE expires_at <= ?'),
    sweepIndexes: database.prepare('DELETE FROM index_members WHERE expires_at <= ?'),
    sweepEnds: database.prepare('DELETE FROM ends WHERE keep_until <= ?'),
    sweepLocks: database.prepare('DELETE FROM locks WHERE expires_at <= ?'),
    probe: database.prepare('SELECT count(*) FROM locks'),
  }
}

type Statements = ReturnType<typeof prepare>

function sweep(statements: Statements, at: number): void {
  statements.sweepRecords.run(at)
  statements.sweepIndexes.run(at)
  statements.sweepEnds.run(at)
  statements.sweepLocks.run(at)
}

/** One transaction that has reached the disk when this returns. */
function durably<T>(database: DatabaseSync, work: () => T): T {
  database.exec('PRAGMA synchronous = FULL; BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  } finally {
    database.exec('PRAGMA synchronous = NORMAL')
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
