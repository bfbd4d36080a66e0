/**
 * The file of the embedded store: its tables, its statements, and what makes a write durable.
 *
 * Nothing here knows what a record means. A statement that must be exact about time is given the instant; SQLite's own clock is not used.
 */

import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

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

/** Opens or creates the file, for this process alone. Throws what SQLite or the file system throws. */
export function openDatabase(file: string): DatabaseSync {
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

/** Every statement that the store runs. */
export function prepare(database: DatabaseSync) {
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
    loadAllEnds: database.prepare('SELECT kind, id_hash, at, cause FROM ends WHERE keep_until > ?'),
    restoreEnd: database.prepare(
      `INSERT INTO ends (kind, id_hash, at, cause, keep_until) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (kind, id_hash) DO UPDATE SET
         cause = excluded.cause, at = excluded.at, keep_until = max(keep_until, excluded.keep_until)
       WHERE excluded.at > at`,
    ),
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

/** Prepared, by name. */
export type Statements = ReturnType<typeof prepare>

/** Removes what expired; reads do not see it anyway. */
export function sweep(statements: Statements, at: number): void {
  statements.sweepRecords.run(at)
  statements.sweepIndexes.run(at)
  statements.sweepEnds.run(at)
  statements.sweepLocks.run(at)
}

/** One transaction that has reached the disk when this returns. */
export function durably<T>(database: DatabaseSync, work: () => T): T {
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
