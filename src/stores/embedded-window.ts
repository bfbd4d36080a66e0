/**
 * The recent window of the audit trail in the embedded store: a table of sealed batches, trimmed by the number of entries.
 *
 * The one process that has the file counts the entries once and then keeps count. A batch that a power cut takes is in the trail's own files.
 */

import type { DatabaseSync } from 'node:sqlite'
import type { WindowStore } from '../session/store.ts'

const schema = `
CREATE TABLE IF NOT EXISTS window_batches (position TEXT NOT NULL UNIQUE, entries INTEGER NOT NULL, value BLOB NOT NULL);
`

/** At most so many leave at once, so that a window that was made much smaller keeps nobody waiting. */
const mostDropped = 500

/** The window's part of the store. `answer` turns failures into the store's own. */
export function createEmbeddedWindow(database: DatabaseSync, answer: <T>(work: () => T) => Promise<T>): WindowStore {
  database.exec(schema)
  const statements = {
    append: database.prepare('INSERT INTO window_batches (position, entries, value) VALUES (?, ?, ?) ON CONFLICT (position) DO NOTHING'),
    count: database.prepare('SELECT coalesce(sum(entries), 0) AS entries FROM window_batches'),
    oldest: database.prepare('SELECT position, entries FROM window_batches ORDER BY position LIMIT 1'),
    drop: database.prepare('DELETE FROM window_batches WHERE position = ?'),
    list: database.prepare('SELECT position, value FROM window_batches WHERE (? IS NULL OR position < ?) ORDER BY position DESC LIMIT ?'),
  }
  let count: number | undefined

  return {
    appendWindow: ({ entries, position, value }, keepEntries) =>
      answer(() => {
        let kept = count ?? Number(statements.count.get()?.['entries'])
        // Until all of it is done the count is not known.
        count = undefined
        if (statements.append.run(position, entries, value).changes === 1) kept += entries
        for (let dropped = 0; dropped < mostDropped && kept > keepEntries; dropped += 1) {
          const oldest = statements.oldest.get()
          if (oldest === undefined || kept - Number(oldest['entries']) < keepEntries) break
          statements.drop.run(String(oldest['position']))
          kept -= Number(oldest['entries'])
        }
        count = kept
      }),
    listWindow: (before, limit) =>
      answer(() =>
        statements.list.all(before ?? null, before ?? null, limit).map((row) => {
          const bytes = row['value'] as Uint8Array
          return { position: String(row['position']), value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
        }),
      ),
  }
}
