/**
 * Verifies a trail: every chain of the folders, against the keys that signed it and the heads that the store remembers.
 *
 * A chain whose beginning was pruned is accepted if a statement says so which is itself signed, in this chain or another one of the folders;
 * what is pruned while the trail is read is stated behind what was read, so that ends are read once more where a beginning is missing.
 * Without the store's memory a verification cannot tell a whole trail from one whose end was cut off, and says so in `anchored`.
 */

import { join } from 'node:path'
import { type Anchor, genesis } from './chain.ts'
import { listChains } from './trail-files.ts'
import { type ChainProgress, type ChainReading, type ChainSource, readChain } from './verify-chain.ts'
import { isPrunedBefore, isPrunedThrough, type PruneStatement, type StatedPruning } from './verify-statements.ts'
import type { ChainVerdict, TrailVerdict } from './verify-verdict.ts'

export interface TrailSource extends Pick<ChainSource, 'keys' | 'now' | 'since'> {
  /** Each a `data_dir/audit`. */
  readonly folders: readonly string[]
  /** By chain, loaded before this is called; `undefined`: there was no store to ask. */
  readonly anchors: ReadonlyMap<string, Anchor> | undefined
  /** Whether a chain that the store remembers has to be in these folders. */
  readonly isExpected?: ((chain: string) => boolean) | undefined
}

/** Verifies one chain. `pruned`: statements from elsewhere, that are verified themselves. */
export async function verifyChain(
  source: ChainSource,
  {
    pruned = [],
    onProgress,
  }: { readonly pruned?: readonly PruneStatement[]; readonly onProgress?: (progress: ChainProgress) => void } = {},
): Promise<ChainVerdict> {
  const reading = await readChain(source, onProgress)
  return judge(reading, { signed: [...pruned, ...reading.pruned.signed], unsigned: reading.pruned.unsigned })
}

/** Verifies all chains of several folders. */
export async function verifyTrail(source: TrailSource, onProgress?: (progress: ChainProgress) => void): Promise<TrailVerdict> {
  const { anchors, folders, isExpected, keys, now, since } = source
  const readings: ChainReading[] = []
  for (const folder of folders) {
    for (const chain of await listChains(folder)) {
      const anchor = anchors === undefined ? 'unread' : anchors.get(chain)
      readings.push(await readChain({ folder, chain, keys, anchor, now, since }, onProgress))
    }
  }
  const unsigned = readings.flatMap((reading) => reading.pruned.unsigned)
  let signed = readings.flatMap((reading) => reading.pruned.signed)
  // What was pruned as a whole may be remembered for a moment longer; but not what was written under its name since.
  const isPruned = (anchor: Anchor) =>
    signed.some(
      (one) => one.chain === anchor.chain && (isPrunedThrough(one, anchor) || (one.throughSeq >= anchor.seq && one.at >= anchor.at)),
    )
  if (readings.some((reading) => isBeginningMissing(reading, signed) || reading.lines === 0)) {
    signed = [...signed, ...(await readLaterStatements(source, readings))]
  }
  const isGone = ({ chain, lines }: ChainReading) => {
    const anchor = lines === 0 ? anchors?.get(chain) : undefined
    return anchor !== undefined && isPruned(anchor)
  }
  const chains = readings.filter((reading) => !isGone(reading)).map((reading) => judge(reading, { signed, unsigned }))

  const known = new Set(chains.map(({ chain }) => chain))
  const elsewhere: string[] = []
  for (const anchor of anchors?.values() ?? []) {
    if (known.has(anchor.chain) || isPruned(anchor)) continue
    if (isExpected?.(anchor.chain) === true) chains.push(missingChain(folders[0] ?? '', anchor))
    else elsewhere.push(anchor.chain)
  }
  const isVerified = chains.length > 0 && chains.every(({ findings }) => findings.length === 0)
  return { chains, elsewhere, isVerified }
}

/** What was stated since: in the segments that were the last ones, those that followed, and chains that began meanwhile. */
async function readLaterStatements({ folders, keys }: TrailSource, readings: readonly ChainReading[]): Promise<StatedPruning[]> {
  const found: StatedPruning[] = []
  for (const folder of folders) {
    for (const chain of await listChains(folder)) {
      const before = readings.find((one) => one.folder === folder && one.chain === chain)
      const only = { from: before?.lastSegment ?? 0, through: Number.POSITIVE_INFINITY }
      found.push(...(await readChain({ folder, chain, keys, anchor: 'unread', only })).pruned.signed)
    }
  }
  return found
}

interface Statements {
  readonly signed: readonly PruneStatement[]
  readonly unsigned: readonly PruneStatement[]
}

function judge(reading: ChainReading, pruned: Statements): ChainVerdict {
  const { beginning, chain, findings, lastSeq } = reading
  let prunedThrough: number | undefined
  if (beginning !== undefined && !isFirst(beginning)) {
    if (!isBeginningMissing(reading, pruned.signed)) prunedThrough = beginning.seq - 1
    const { file, line, seq } = beginning
    // A repair that says that nothing was found explains the whole of it.
    const isExplained = findings.list().some((one) => one.kind === 'lost_before_start' && one.file === file && one.line === line)
    if (prunedThrough === undefined && !isExplained) {
      const message =
        beginning.seq === 1
          ? 'it is the first line and refers to one before it'
          : isBeginningMissing(reading, pruned.unsigned)
            ? `lines 1 to ${beginning.seq - 1} are not here, and no signed statement says that they were pruned`
            : `lines 1 to ${beginning.seq - 1} are not here; a statement says that they were pruned, and no checkpoint covers it yet`
      findings.report({ kind: beginning.seq === 1 ? 'changed' : 'beginning_missing', file, line, seq, message })
    }
  }
  const { anchored, anchoredSeq, firstSeq, folder, lines, lost, segments, signedThrough, tornBytes } = reading
  return {
    ...{ folder, chain, lines, segments, firstSeq, lastSeq, signedThrough, anchored, anchoredSeq, prunedThrough, tornBytes, lost },
    findings: findings.list(),
    moreFindings: findings.more(),
  }
}

function isFirst({ prev, seq }: { readonly seq: number; readonly prev: string }): boolean {
  return seq === 1 && prev === genesis
}

/** Whether the chain does not begin at its beginning, and none of the statements is about that. */
function isBeginningMissing({ beginning, chain, lastHash, lastSeq, starts }: ChainReading, statements: readonly PruneStatement[]): boolean {
  if (beginning === undefined || isFirst(beginning)) return false
  return !statements.some((one) => one.chain === chain && isAccepted(one, beginning, { starts, lastHash, lastSeq }))
}

/** A pruning that was interrupted leaves segments that its statement covers; that it is about this chain shows at the line it names. */
function isAccepted(
  statement: PruneStatement,
  beginning: { readonly seq: number; readonly prev: string },
  { lastHash, lastSeq, starts }: Pick<ChainReading, 'starts' | 'lastHash' | 'lastSeq'>,
): boolean {
  if (isPrunedBefore(statement, beginning)) return true
  if (statement.throughSeq < beginning.seq) return false
  if (starts.get(statement.throughSeq + 1) === statement.head) return true
  return lastSeq !== undefined && lastHash !== undefined && isPrunedThrough(statement, { seq: lastSeq, hash: lastHash })
}

function missingChain(folder: string, { chain, seq }: Anchor): ChainVerdict {
  const message = `the store remembers line ${seq} of this chain, and it is not here as a whole`
  return {
    ...{ folder, chain, lines: 0, segments: 0, firstSeq: undefined, lastSeq: undefined, signedThrough: undefined, anchored: 'missed' },
    ...{ anchoredSeq: seq, prunedThrough: undefined, tornBytes: 0, lost: 0, moreFindings: 0 },
    findings: [{ kind: 'chain_missing', file: join(folder, chain), line: 0, seq: undefined, message }],
  }
}
