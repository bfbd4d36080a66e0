/**
 * Reads one chain from its first segment to its last line and checks everything that can be checked with keys and an anchor.
 *
 * Streams: memory does not grow with the chain, and a line that is none of the trail's own is hashed and never parsed. The chain may be
 * written, compressed and pruned meanwhile: what was not there at the beginning is not missed, a half line at the very end is one that is
 * being written, and a segment that is pruned under the reader's hands makes it begin again.
 */

import type { Anchor } from './chain.ts'
import { linePrefix } from './chain.ts'
import { listSegments, parseTrailLine, readBlocks, type SegmentFile, type TrailLine } from './trail-files.ts'
import { createOrderCheck, type PlacedLine, readOrder, type SeenLine } from './verify-order.ts'
import { type AuditPublicKeys, createStatementCheck, type StatedPruning } from './verify-statements.ts'
import { type Anchored, type ChainVerdict, createFindings, type Finding, type Findings } from './verify-verdict.ts'

export interface ChainSource {
  /** A `data_dir/audit`. */
  readonly folder: string
  readonly chain: string
  readonly keys: AuditPublicKeys
  /** What the store remembered before the first file was listed. `undefined`: nothing; `'unread'`: nobody could ask it. */
  readonly anchor: Anchor | 'unread' | undefined
  /** Only from the segment in which this instant lies. Epoch milliseconds. */
  readonly since?: number | undefined
  /** Epoch milliseconds. With it, a chain in which nothing is signed has to be new. */
  readonly now?: number | undefined
  /** Only these segments, by number. */
  readonly only?: { readonly from: number; readonly through: number } | undefined
}

export interface ChainProgress {
  readonly chain: string
  readonly lines: number
  readonly segment: number
  readonly segments: number
}

/** What one reading found; whether its beginning may be missing is judged with what other chains say. */
export interface ChainReading extends Omit<ChainVerdict, 'prunedThrough' | 'findings' | 'moreFindings'> {
  readonly findings: Findings
  /** The first line that was read; `undefined` also where it was asked to begin in the middle. */
  readonly beginning: PlacedLine | undefined
  /** What each segment begins with: number of its first line, and the hash of the line before. */
  readonly starts: ReadonlyMap<number, string>
  readonly lastHash: string | undefined
  /** Segments before the first that was read, and what that one says that its first line is of. Epoch milliseconds. */
  readonly passedOver: number
  readonly firstAt: number
  /** Number of the last segment that was read; 0: none. */
  readonly lastSegment: number
  readonly pruned: { readonly signed: readonly StatedPruning[]; readonly unsigned: readonly StatedPruning[] }
}

/** A checkpoint is due every thousand lines; one write may bring some more. So many without one were not written by the trail. */
const mostUnsigned = 20_000

/** The first checkpoint is due after ten seconds, or when the process stops. */
const longestUnsignedMs = 60_000

/** No segment comes near: what is longer was made to be read for ever (a file of holes, or compressed zeros). */
const longestSegmentBytes = 1024 * 1024 * 1024

/** Pruning takes from the front; whoever meets it more often than this reads something that is being destroyed. */
const mostRestarts = 5

/** Reads and checks. Rejects where the folder cannot be listed. */
export async function readChain(source: ChainSource, onProgress?: (progress: ChainProgress) => void): Promise<ChainReading> {
  let restarts = 0
  for (let earlier = 0; ; ) {
    const reading = await readOnce(source, { onProgress, mayRestart: restarts < mostRestarts, earlier })
    if (reading === 'pruned_meanwhile') restarts += 1
    else if (isEarlyEnough(reading, source)) return reading
    else earlier = 2 * earlier + 1
  }
}

/**
 * Whether a reading that was to begin at an instant did: what a segment says of its beginning counts if a checkpoint covers it. Otherwise a
 * forged segment of an early date behind all others would hide them, and what the store remembers of them.
 */
function isEarlyEnough({ anchored, findings, firstAt, passedOver, signedThrough }: ChainReading, { only, since }: ChainSource): boolean {
  if (since === undefined || only !== undefined || passedOver === 0 || findings.list().length > 0) return true
  return signedThrough !== undefined && anchored !== 'older' && firstAt <= since
}

interface ReadingParts {
  readonly onProgress: ((progress: ChainProgress) => void) | undefined
  readonly mayRestart: boolean
  /** Begins so many segments before the one that the instant to begin with seems to lie in. */
  readonly earlier: number
}

async function readOnce(
  source: ChainSource,
  { earlier, mayRestart, onProgress }: ReadingParts,
): Promise<ChainReading | 'pruned_meanwhile'> {
  const { anchor, chain, folder, keys } = source
  const all = await listSegments(folder, chain)
  const { passedOver, segments } = await select(all, source, earlier)
  const findings = createFindings()
  const statements = createStatementCheck({ chain, keys, findings })
  const starts = new Map<number, string>()
  const anchored = anchor === 'unread' ? undefined : anchor
  let anchoredHash: string | undefined
  let firstSeq: number | undefined
  let firstAt = Number.NaN
  let beginning: PlacedLine | undefined
  let end: PlacedLine | undefined
  let lines = 0
  let isFirstOfFile = false
  let tornBytes = 0

  const report = (kind: Finding['kind'], { file, line, seq }: Pick<SeenLine, 'file' | 'line' | 'seq'>, message: string) =>
    findings.report({ kind, file, line, seq, message })

  const order = createOrderCheck({
    isSigned: statements.isSigned,
    onBreak(kind, line, message) {
      if (kind === 'removed' && end !== undefined && line.seq !== undefined) {
        statements.noteGap({ first: end.seq + 1, through: line.seq - 1, at: line })
      }
      report(kind, line, message)
    },
    onLine(line, isBroken) {
      if (firstSeq === undefined) {
        firstSeq = line.seq
        firstAt = instantOf(line.text)
        if (segments[0] === all[0]) beginning = line
        statements.noteGap({ first: 1, through: line.seq - 1, at: line })
      }
      if (isBroken) statements.onBreak(line)
      end = line
      if (line.line === 1) starts.set(line.seq, line.prev)
      if (line.seq === anchored?.seq) anchoredHash = line.hash
      if (line.text !== undefined) statements.onLine({ ...line, text: line.text })
    },
  })

  /** The expected beginning of the next line is made once a line; comparing it is all that most lines need. */
  const see = (bytes: Buffer, file: SegmentFile, line: number) => {
    const last = order.last()
    const expected = last === undefined ? undefined : { prefix: linePrefix(last.seq + 1, last.hash), seq: last.seq + 1, prev: last.hash }
    const { hash, prev, seq, text } = readOrder(bytes, expected)
    const seen: SeenLine = { seq, prev, hash, file: file.path, segment: file.number, line, text }
    if (isFirstOfFile) statements.onFirst(seen)
    isFirstOfFile = false
    lines += 1
    order.see(seen)
  }

  for (const [index, file] of segments.entries()) {
    const isLast = index === segments.length - 1
    let line = 0
    let half: { readonly line: number; bytes: number } | undefined
    isFirstOfFile = true
    const endHalf = (message: string) => {
      if (half !== undefined) report('torn', { file: file.path, line: half.line, seq: undefined }, message)
      half = undefined
    }
    try {
      for await (const block of readBlocks(file)) {
        if (block.offset > longestSegmentBytes) throw new Error('no segment is that long')
        if (!block.isWhole) {
          half ??= { line: line + 1, bytes: 0 }
          half.bytes += block.bytes.length
          continue
        }
        if (half !== undefined) line += 1
        endHalf('it is longer than any line of a trail')
        for (let from = 0, to = block.bytes.indexOf(10); to !== -1; from = to + 1, to = block.bytes.indexOf(10, from)) {
          line += 1
          see(block.bytes.subarray(from, to), file, line)
        }
        onProgress?.({ chain, lines, segment: index + 1, segments: segments.length })
      }
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT'
      // Pruning takes the oldest first, so a segment that went before its turn takes with it all that was read.
      if (isGone && mayRestart) return 'pruned_meanwhile'
      const message = `it can be read up to here only (${error instanceof Error ? error.message : String(error)})`
      report('unreadable', { file: file.path, line, seq: end?.seq }, message)
    }
    if (isLast) tornBytes = half?.bytes ?? 0
    else endHalf('the file ends in half a line although another one follows')
  }
  order.end()

  const head = end as PlacedLine | undefined
  const reading = { findings, lines, anchored, anchoredHash, head, isUnread: anchor === 'unread', last: segments.at(-1)?.path }
  const signedThrough = statements.signedThrough()
  const unsigned = head === undefined ? 0 : head.seq - (signedThrough ?? (firstSeq ?? 1) - 1)
  if (head !== undefined && unsigned > mostUnsigned) {
    report('unsigned', head, `${unsigned} lines up to here have no checkpoint, and one is due every thousand`)
  } else if (head !== undefined && signedThrough === undefined && isOverdue(source, firstAt)) {
    report('unsigned', head, 'nothing in this chain is signed, and a first checkpoint is due within seconds')
  }
  return {
    folder,
    chain,
    lines,
    segments: segments.length,
    firstSeq,
    lastSeq: head?.seq,
    lastHash: head?.hash,
    signedThrough,
    anchored: judgeAnchor(reading, firstSeq, folder),
    anchoredSeq: anchored?.seq,
    tornBytes,
    lost: statements.lost(),
    findings,
    beginning,
    starts,
    passedOver,
    firstAt,
    lastSegment: segments.at(-1)?.number ?? 0,
    pruned: statements.pruned(),
  }
}

/** Without any checkpoint nobody vouches for a line. An instant that is none, or in the future, is no excuse. */
function isOverdue({ now, only }: ChainSource, firstAt: number): boolean {
  return now !== undefined && only === undefined && !(Math.abs(now - firstAt) <= longestUnsignedMs)
}

interface AnchorQuestion {
  readonly findings: Findings
  readonly anchored: Anchor | undefined
  readonly anchoredHash: string | undefined
  readonly head: PlacedLine | undefined
  readonly isUnread: boolean
  readonly last: string | undefined
}

function judgeAnchor(
  { anchored, anchoredHash, findings, head, isUnread, last }: AnchorQuestion,
  firstSeq: number | undefined,
  folder: string,
): Anchored {
  if (isUnread) return 'unread'
  if (anchored === undefined) return 'none'
  const until = `the store remembers line ${anchored.seq}`
  if (head === undefined || head.seq < anchored.seq) {
    const gone = `${(head?.seq ?? 0) + 1} to ${anchored.seq}`
    findings.report({
      kind: 'cut_off',
      file: head?.file ?? last ?? folder,
      line: head === undefined ? 0 : head.line + 1,
      seq: (head?.seq ?? 0) + 1,
      message: `the chain ends before it: ${until}; lines ${gone} are gone`,
    })
    return 'missed'
  }
  if (firstSeq !== undefined && anchored.seq < firstSeq) return 'older'
  if (anchoredHash === anchored.hash) return 'reached'
  findings.report({
    kind: 'anchor_differs',
    file: head.file,
    line: 0,
    seq: anchored.seq,
    message: `${until} with another text: what stands here was put in place of it later`,
  })
  return 'missed'
}

async function select(
  all: readonly SegmentFile[],
  { only, since }: ChainSource,
  earlier: number,
): Promise<{ readonly segments: readonly SegmentFile[]; readonly passedOver: number }> {
  if (only !== undefined) return { segments: all.filter(({ number }) => number >= only.from && number <= only.through), passedOver: 0 }
  const passedOver = since === undefined ? 0 : Math.max(0, (await findStart(all, since)) - earlier)
  return { segments: all.slice(passedOver), passedOver }
}

/** Index of the segment in which `since` lies: the last one that began before it. */
async function findStart(segments: readonly SegmentFile[], since: number): Promise<number> {
  for (let index = segments.length - 1; index > 0; index--) {
    const file = segments[index]
    if (file !== undefined && instantOf(await readFirstLine(file)) <= since) return index
  }
  return 0
}

/** What a line says that it is of; `NaN` where it says nothing of the kind. */
function instantOf(line: TrailLine | string | undefined): number {
  const fields = typeof line === 'string' ? parseTrailLine(line) : line
  return Date.parse(String(fields?.['at']))
}

/** The first line of a segment, parsed; `undefined` where there is none that is whole. */
export async function readFirstLine(file: SegmentFile) {
  try {
    for await (const { bytes, isWhole } of readBlocks(file, 0, 4096)) {
      return isWhole ? parseTrailLine(bytes.subarray(0, bytes.indexOf(10))) : undefined
    }
  } catch {
    // Who reads the whole of it says why it cannot be read.
  }
  return undefined
}
