/**
 * The recent window: the newest events of every instance together, in the store, for the console.
 *
 * A consumer like a sink: a follower of this process' own chain hands it batches, it compresses and seals each as one record (nothing of a
 * request waits for it, and a batch of 200 lines costs one write), and the store drops the oldest. What only holds the trail together is left out.
 * It is a copy: the evidence is in the files. A batch whose key has left the ring does not open any more and is passed over.
 *
 * Batches stand in the order of their newest lines. Reading merges them by time from the newest back: a line may be handed out once no
 * batch that was not read yet can hold a newer one.
 */

import { hash } from 'node:crypto'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { Logger } from '../log.ts'
import type { StoredWindowBatch, WindowStore } from '../session/store.ts'
import { type LineBatch, type LineConsumer, parseLineHead } from './follow-batch.ts'
import { instantIn, type LineSelection } from './merged-lines.ts'
import { holdsTrailTogether } from './search.ts'

/** What a follower for the window is made with, besides the consumer: a batch is one record, and a second late is recent. */
export const windowFollowing = { batchLines: 200, batchBytes: 256 * 1024, lookMs: 1_000 } as const

export interface AuditWindowParts {
  readonly store: WindowStore
  /** Seals for one name; only `open` of that name opens it. */
  readonly seal: (name: string, plaintext: Buffer) => Buffer
  /** `undefined` for what does not open. */
  readonly open: (name: string, sealed: Buffer) => Buffer | undefined
  /** `audit.window`; more than 0. */
  readonly keepEvents: number
  readonly log: Pick<Logger, 'warn'>
}

/** A line of the window. */
export interface WindowLine {
  readonly chain: string
  /** As in the line. */
  readonly at: string
  readonly bytes: Buffer
}

export interface WindowPage {
  /** The newest first. */
  readonly lines: readonly WindowLine[]
  /** What to ask the next page with; `undefined` at the end. */
  readonly next: string | undefined
}

export interface WindowQuery {
  readonly limit: number
  /** `next` of the page before. */
  readonly after?: string | undefined
  readonly selection?: Pick<LineSelection, 'isWanted'> | undefined
}

export interface AuditWindow {
  readonly consumer: LineConsumer
  /** Rejects with `session_store_unavailable` when the store does. One that asks with a `next` that is none gets the first page. */
  load(query: WindowQuery): Promise<WindowPage>
}

/** Little enough for one answer of the store. */
const batchesAtOnce = 10

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
/** Measured on lines of requests: a tenth of the size for some 1 µs a line, on a thread of its own. */
const quickly = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** The window over `store`. Holds nothing by itself. */
export function createAuditWindow({ keepEvents, log, open, seal, store }: AuditWindowParts): AuditWindow {
  const newline = Buffer.from('\n')

  async function send({ chain, lines }: LineBatch): Promise<void> {
    const pieces: Buffer[] = [Buffer.from(chain)]
    let newest = ''
    for (const { bytes } of lines) {
      const head = parseLineHead(bytes)
      if (head === undefined || holdsTrailTogether(head.event)) continue
      if (head.at > newest) newest = head.at
      pieces.push(newline, bytes)
    }
    const last = pieces.at(-1)
    if (last === undefined || pieces.length === 1) return
    const plaintext = Buffer.concat(pieces)
    // The same batch again has the same place, and so is kept once.
    const position = `${newest}:${hash('sha256', `${chain}\n${pieces.length}\n${hash('sha256', last)}`, 'base64url')}`
    const value = seal(position, await compress(plaintext, quickly))
    await store.appendWindow({ position, value, entries: (pieces.length - 1) / 2 }, keepEvents)
  }

  async function openBatch({ position, value }: StoredWindowBatch): Promise<readonly PlacedLine[]> {
    const compressed = open(position, value)
    if (compressed === undefined) {
      log.warn(
        { record: 'window' },
        'a batch of the recent events does not open: sealed with a key that is not in the key file, or changed',
      )
      return []
    }
    const plaintext = await decompress(compressed)
    const lines: PlacedLine[] = []
    const first = plaintext.indexOf(10)
    const chain = plaintext.toString('utf8', 0, first)
    for (let from = first + 1; from <= plaintext.length; ) {
      const newlineAt = plaintext.indexOf(10, from)
      const end = newlineAt === -1 ? plaintext.length : newlineAt
      const bytes = plaintext.subarray(from, end)
      const at = instantIn(bytes)
      lines.push({ chain, at, bytes, position, key: `${at} ${chain} ${String(seqOf(bytes)).padStart(16, '0')}` })
      from = end + 1
    }
    return lines
  }

  async function load({ after, limit, selection }: WindowQuery): Promise<WindowPage> {
    const cursor = parseCursor(after)
    /** The earliest first, so that the newest is taken from the end. */
    let waiting: PlacedLine[] = []
    let before = cursor?.before
    let isAtEnd = false
    const page: PlacedLine[] = []
    let last = cursor?.key

    async function readOn(): Promise<void> {
      const batches = await store.listWindow(before, batchesAtOnce)
      isAtEnd = batches.length < batchesAtOnce
      for (const batch of batches) {
        before = batch.position
        const lines = await openBatch(batch)
        waiting.push(...lines.filter(({ bytes, key }) => (last === undefined || key < last) && selection?.isWanted(bytes) !== false))
      }
      waiting.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    }

    while (page.length < limit) {
      const newest = waiting.at(-1)
      // A batch that is still to come ends at or before the place of the last one that was read.
      if (!isAtEnd && (newest === undefined || newest.at <= newestOf(before))) {
        await readOn()
        continue
      }
      if (newest === undefined) return { lines: page, next: undefined }
      waiting.pop()
      // A follower that was killed sends again what it had sent since it last noted its place.
      if (newest.key !== last) page.push(newest)
      last = newest.key
    }
    // The next page begins with the highest batch of which a line is left; what was handed out is passed over by its key.
    const left = waiting.reduce((highest, { position }) => (position > highest ? position : highest), '')
    waiting = []
    return { lines: page, next: left === '' && isAtEnd ? undefined : formatCursor(left === '' ? before : `${left}~`, last) }
  }

  return { consumer: { send, batchBytes: windowFollowing.batchBytes }, load }
}

interface PlacedLine extends WindowLine {
  readonly position: string
  /** Sorts lines of all chains: by time, then by place. */
  readonly key: string
}

function newestOf(position: string | undefined): string {
  return position === undefined ? '~' : position.slice(0, position.lastIndexOf(':'))
}

function seqOf(line: Buffer): number {
  return Number(/^\{"seq":(\d{1,16}),/.exec(line.toString('latin1', 0, 32))?.[1] ?? 0)
}

interface Cursor {
  readonly before: string | undefined
  readonly key: string | undefined
}

function formatCursor(before: string | undefined, key: string | undefined): string {
  return Buffer.from(JSON.stringify([before ?? null, key ?? null])).toString('base64url')
}

/** It comes back by a browser: whatever is none begins at the beginning. */
function parseCursor(text: string | undefined): Cursor | undefined {
  if (text === undefined || text.length > 2_048) return undefined
  try {
    const [before, key] = JSON.parse(Buffer.from(text, 'base64url').toString()) as readonly unknown[]
    return typeof before === 'string' && before.length <= 1_024 && typeof key === 'string' ? { before, key } : undefined
  } catch {
    // Cut, or made up.
    return undefined
  }
}
