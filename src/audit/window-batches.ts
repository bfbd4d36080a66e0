/**
 * The batches of the recent window as they lie in the store: for whoever counts all of it and remembers what was counted.
 *
 * A batch has one place for ever, so what was read once need not be read again. What is handed out is a block of whole lines of one chain, in
 * the order of their numbers; lines that only hold the trail together are still among them.
 */

import { promisify } from 'node:util'
import { zstdDecompress, zstdDecompressSync } from 'node:zlib'
import type { Logger } from '../log.ts'
import type { StoredWindowBatch, WindowStore } from '../session/store.ts'

export interface WindowBlock {
  readonly chain: string
  /** Lines with their newlines. */
  readonly lines: string
}

export interface WindowBatches {
  /** At most `limit` batches whose positions are below `before`, the highest first. Rejects with `session_store_unavailable`. */
  list(before: string | undefined, limit: number): Promise<readonly StoredWindowBatch[]>
  /** `undefined` for what does not open: sealed with a key that has left the ring, or written by another version. */
  open(batch: StoredWindowBatch): Promise<WindowBlock | undefined>
}

export interface WindowBatchesParts {
  readonly store: Pick<WindowStore, 'listWindow'>
  /** `undefined` for what does not open. */
  readonly open: (name: string, sealed: Buffer) => Buffer | undefined
  readonly log: Pick<Logger, 'debug'>
}

/** Up to here it costs less to unpack at once than to have it done elsewhere. */
const smallBytes = 16 * 1024
const decompress = promisify(zstdDecompress)

/** Holds nothing by itself. */
export function createWindowBatches({ log, open, store }: WindowBatchesParts): WindowBatches {
  return {
    list: (before, limit) => store.listWindow(before, limit),
    async open({ position, value }) {
      const opened = open(position, value)
      const nameEnd = opened?.indexOf(10) ?? -1
      if (opened === undefined || nameEnd === -1) return undefined
      const packed = opened.subarray(nameEnd + 1)
      try {
        const block = packed.length <= smallBytes ? zstdDecompressSync(packed) : await decompress(packed)
        return { chain: opened.toString('utf8', 0, nameEnd), lines: block.toString('utf8') }
      } catch (error) {
        log.debug({ err: error }, 'a batch of the recent events is of another form')
        return undefined
      }
    },
  }
}
