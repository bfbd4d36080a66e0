/**
 * The recent window: the newest events of every instance together, in the store, for the console.
 *
 * A consumer like a sink: a follower of this process' own chain hands it batches, it compresses and seals each as one record (nothing of a
 * request waits for it, and a batch of a thousand lines costs one write), and the store drops the oldest. What only holds the trail together is
 * left out. Lines are looked at where they lie, in the block that they were read in (`surveyEvents`).
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
import { instantIn, type LineSelection, type Period } from './merged-lines.ts'
import { holdsTrailTogether } from './search.ts'
import { formatWindowCursor, mostHeld, parseWindowCursor } from './window-cursor.ts'

/**
 * What a follower for the window is made with, besides the consumer: a batch is one record, and a second late is recent. From reading to storing
 * a line costs 1.1 µs of CPU with a thousand lines in a batch, 2.2 µs with 200 (medians on a busy machine; 3.1 µs before lines came in blocks).
 */
export const windowFollowing = { batchLines: 1_000, batchBytes: 512 * 1024, lookMs: 1_000 } as const

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
  /** Where it was stopped before the page was full or the end was reached: everything newer than this instant was looked at. As lines say it. */
  readonly searchedTo?: string | undefined
}

export interface WindowQuery extends Period {
  readonly limit: number
  /** `next` of the page before. */
  readonly after?: string | undefined
  readonly selection?: LineSelection | undefined
  /** Asked before each batch but the first, with the bytes of lines that were looked at so far: `false` ends the page there. */
  readonly mayGoOn?: ((scannedBytes: number) => boolean) | undefined
}

export interface AuditWindow {
  readonly consumer: LineConsumer
  /** Rejects with `session_store_unavailable` when the store does. One that asks with a `next` that is none gets the first page. */
  load(query: WindowQuery): Promise<WindowPage>
}

/** Little enough for one answer of the store. One page is mostly in the first two batches of a busy trail; of a quiet one they are small. */
const batchesAtFirst = 2
const batchesAtOnce = 10
/** Batches of one moment: one of each instance, mostly. */
const mostAfterwards = 4

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
/**
 * Measured on batches of a thousand lines of requests: a fifth of the size for 0.25 µs of CPU a line, on a thread of its own. Level 1 makes
 * it an eighth, for 0.57 µs; half of the difference is the output in small pieces and memory for a window that no batch fills.
 */
const quickly = {
  chunkSize: 128 * 1024,
  params: { [constants.ZSTD_c_compressionLevel]: -3, [constants.ZSTD_c_windowLog]: 17 },
}

/** The window over `store`. Holds nothing by itself. */
export function createAuditWindow({ keepEvents, log, open, seal, store }: AuditWindowParts): AuditWindow {
  async function send({ block, chain }: LineBatch): Promise<void> {
    const { events, last, lines, newest } = surveyEvents(block)
    if (events === 0) return
    // The same batch again has the same place, and so is kept once.
    const position = `${newest}:${hash('sha256', `${chain}\n${events}\n${hash('sha256', last)}`, 'base64url')}`
    const value = seal(position, Buffer.concat([Buffer.from(`${chain}\n`), await compress(lines, quickly)]))
    await store.appendWindow({ position, value, entries: events }, keepEvents)
  }

  async function openBatch(
    { position, value }: StoredWindowBatch,
    isTaken: (at: string) => boolean,
    selection?: LineSelection,
  ): Promise<Opened> {
    const opened = open(position, value)
    if (opened === undefined) {
      log.warn(
        { record: 'window' },
        'a batch of the recent events does not open: sealed with a key that is not in the key file, or changed',
      )
      return { lines: [], bytes: value.length }
    }
    const lines: PlacedLine[] = []
    const nameEnd = opened.indexOf(10)
    const chain = opened.toString('utf8', 0, nameEnd)
    const block = await decompress(opened.subarray(nameEnd + 1)).catch(() => undefined)
    if (block === undefined) {
      log.warn({ record: 'window' }, 'a batch of the recent events is of another form: another version of Postern wrote it')
      return { lines: [], bytes: value.length }
    }
    for (let from = 0; from < block.length; ) {
      const found = selection?.jump === undefined ? from : selection.jump(block, from)
      if (found === -1) break
      const start = found === from ? from : block.lastIndexOf(10, found) + 1
      const end = block.indexOf(10, found)
      if (end === -1) break
      from = end + 1
      const bytes = block.subarray(start, end)
      // The selection also sees what holds the trail together: a later line may refer to it.
      if (selection?.isWanted(bytes) === false || !isEvent(bytes)) continue
      const at = instantIn(bytes)
      if (isTaken(at)) lines.push({ chain, at, bytes, position, key: `${at} ${chain} ${String(seqOf(bytes)).padStart(16, '0')}` })
    }
    return { lines, bytes: block.length }
  }

  async function load({ after, limit, mayGoOn, selection, since, until }: WindowQuery): Promise<WindowPage> {
    const cursor = parseWindowCursor(after)
    const isAfter = since === undefined ? '' : new Date(since).toISOString()
    const isBefore = until === undefined ? '~' : new Date(until).toISOString()
    const isTaken = (at: string) => at >= isAfter && at < isBefore
    /** The earliest first, so that the newest is taken from the end. */
    let waiting: PlacedLine[] = []
    let before = cursor?.before
    let isAtEnd = false
    let atOnce = batchesAtFirst
    let listed: readonly StoredWindowBatch[] = []
    let scannedBytes = 0
    const page: PlacedLine[] = []
    let last = cursor?.key
    async function take(batch: StoredWindowBatch): Promise<void> {
      const { bytes, lines } = await openBatch(batch, isTaken, selection)
      scannedBytes += bytes
      waiting.push(...lines.filter(({ key }) => last === undefined || key < last))
    }
    /** Opens one batch; they are asked for by several. */
    async function readOn(): Promise<void> {
      if (listed.length === 0) {
        listed = await store.listWindow(before, atOnce)
        isAtEnd = listed.length < atOnce
        atOnce = batchesAtOnce
      }
      const [batch, ...rest] = listed
      listed = rest
      // What is older than the period is not even opened.
      if (batch === undefined || newestOf(batch.position) < isAfter) {
        isAtEnd = true
        listed = []
        return
      }
      before = batch.position
      await take(batch)
      waiting.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    }

    for (const position of cursor?.held ?? []) {
      const [batch] = await store.listWindow(`${position}~`, 1)
      if (batch?.position === position) await take(batch)
    }
    waiting.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    let opened = 0
    let spent = 0
    while (page.length < limit) {
      const newest = waiting.at(-1)
      // A batch that is still to come ends at or before the place of the last one that was read.
      if ((!isAtEnd || listed.length > 0) && (newest === undefined || newest.at <= newestOf(before))) {
        const isSpent = opened > 0 && mayGoOn?.(scannedBytes) === false
        if (isSpent) spent += 1
        // What was found is handed out, as long as a few batches more are enough to know its place.
        if (isSpent && (newest === undefined || spent > mostAfterwards)) {
          // Lines that wait for their turn are read again with their batches, so that the next page begins where this one stopped.
          const held = [...new Set(waiting.map(({ position }) => position))]
          if (held.length <= mostHeld)
            return { lines: page, next: formatWindowCursor(before, last ?? '~', held), searchedTo: newestOf(before) }
        }
        await readOn()
        opened += 1
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
    const isOver = left === '' && isAtEnd && listed.length === 0
    return { lines: page, next: isOver ? undefined : formatWindowCursor(left === '' ? before : `${left}~`, last) }
  }

  return { consumer: { send, batchBytes: windowFollowing.batchBytes }, load }
}

/** The lines of a block that say something by themselves. */
interface SurveyedEvents {
  /** From the first to the last of them, with what stands between. */
  readonly lines: Buffer
  readonly events: number
  /** Without its newline. */
  readonly last: Buffer
  /** `at` of the newest. */
  readonly newest: string
}

/**
 * Looks at bytes where they lie: the head of each line as text, and a pattern, cost 0.5 µs a line. What only holds the trail together is left out by who reads the
 * batch: a checkpoint stands in every one, and a copy of all other lines would be memory to collect.
 */
function surveyEvents(block: Buffer): SurveyedEvents {
  let newest = ''
  let newestAt = -1
  let events = 0
  let first = 0
  let lastFrom = 0
  let lastEnd = 0
  for (let from = 0, end = block.indexOf(10); end !== -1; from = end + 1, end = block.indexOf(10, from)) {
    // Nearly every line is about a request, and nearly every one is of the same millisecond as the one before.
    const at = findRequestInstant(block, from)
    if (at === -1 || compareInstants(block, at, newestAt) > 0) {
      const head = parseLineHead(block, from)
      if (head === undefined || holdsTrailTogether(head.event)) continue
      if (head.at > newest) {
        newest = head.at
        newestAt = at
      }
    }
    if (events === 0) first = from
    events += 1
    lastFrom = from
    lastEnd = end
  }
  return { lines: block.subarray(first, lastEnd + 1), events, last: block.subarray(lastFrom, lastEnd), newest }
}

/** Whether the line that begins here was counted as an event. */
function isEvent(line: Buffer): boolean {
  if (findRequestInstant(line, 0) !== -1) return true
  const head = parseLineHead(line)
  return head !== undefined && !holdsTrailTogether(head.event)
}

const instantLength = '2026-11-22T08:00:00.000Z'.length
const prevLength = ',"prev":"","at":"'.length + 43
const seqLength = '{"seq":'.length
const requestMark = Buffer.from('","event":"access.')

/** Where the time of a line about a request stands, if it is written as the trail writes it; -1 otherwise, and one looks more closely. */
function findRequestInstant(block: Buffer, from: number): number {
  let index = from + seqLength
  while (isDigit(block[index])) index += 1
  const at = index + prevLength
  const mark = at + instantLength
  for (let i = 0; i < requestMark.length; i += 1) if (block[mark + i] !== requestMark[i]) return -1
  return at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 48 && byte <= 57
}

/** As text. Anything is newer than what stands nowhere. */
function compareInstants(block: Buffer, one: number, other: number): number {
  if (other === -1) return 1
  for (let i = 0; i < instantLength; i += 1) {
    const difference = (block[one + i] ?? 0) - (block[other + i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
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

interface Opened {
  /** Those that are wanted. */
  readonly lines: readonly PlacedLine[]
  readonly bytes: number
}
