/**
 * Finds the line of one decision, and the lines of the facts behind it, in the folders of a trail.
 *
 * Reads the files as they are, newest first, block by block, and looks for the id before it looks at lines. A trail that is being written may
 * end in half a line; what is not whole is passed over, as is whatever is no JSON. Facts stand in the decision's own segment; of a trail
 * from before segments could be read alone, in an earlier one.
 */

import { stat } from 'node:fs/promises'
import { segmentsOf } from './merged-lines.ts'
import { listChains, listSegments, parseTrailLine, readBlocks, type SegmentFile, type TrailLine } from './trail-files.ts'

export type { TrailLine } from './trail-files.ts'

export interface FoundDecision {
  readonly decided: TrailLine
  /** JSON text of the facts by kind; `undefined` for one whose line is not there. */
  readonly facts: { readonly subject: string | undefined; readonly signIn: string | undefined; readonly device: string | undefined }
  /** The segment that holds it. */
  readonly place: { readonly chain: string; readonly segment: number }
}

/**
 * Searches `folder` (`data_dir/audit`), with all that write into it. `undefined` if no line speaks of this request. `near`: only the segments in
 * which this instant lies, epoch milliseconds.
 */
export async function findDecision(folder: string, requestId: string, near?: number): Promise<FoundDecision | undefined> {
  for (const segment of near === undefined ? await listNewestFirst(folder) : await listNear(folder, near)) {
    // One that was allowed, waited for its record and was refused then has two: what became of it is in the last.
    const isOfRequest = (line: TrailLine) => line['event'] === 'access.decided' && line['request'] === requestId
    const decided = await findLine(segment, `"request":${JSON.stringify(requestId)}`, isOfRequest, 'last')
    if (decided === undefined) continue
    const hashes = (decided['facts'] ?? {}) as Readonly<Record<string, unknown>>
    const earlier = (await listSegments(folder, segment.chain)).filter(({ number }) => number <= segment.number).reverse()
    return {
      decided,
      facts: {
        subject: await findFacts(earlier, hashes['subject']),
        signIn: await findFacts(earlier, hashes['sign_in']),
        device: await findFacts(earlier, hashes['device']),
      },
      place: { chain: segment.chain, segment: segment.number },
    }
  }
  return undefined
}

/** The line that says how a request which was let through ended: in the segment of its decision, or in a later one of the chain. */
export async function findEnd(
  folder: string,
  requestId: string,
  { chain, segment }: FoundDecision['place'],
): Promise<TrailLine | undefined> {
  const isOfRequest = (line: TrailLine) => line['event'] === 'access.ended' && line['request'] === requestId
  for (const later of (await listSegments(folder, chain)).filter(({ number }) => number >= segment)) {
    const found = await findLine(later, `"request":${JSON.stringify(requestId)}`, isOfRequest, 'last').catch(undefinedIfMissing)
    if (found !== undefined) return found
  }
  return undefined
}

/** Pruned meanwhile. */
function undefinedIfMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}

async function findFacts(segments: readonly SegmentFile[], hash: unknown): Promise<string | undefined> {
  if (typeof hash !== 'string') return undefined
  for (const segment of segments) {
    const isWanted = (one: TrailLine) => one['event'] === 'facts.recorded' && one['hash'] === hash
    const line = await findLine(segment, `"hash":${JSON.stringify(hash)}`, isWanted)
    if (typeof line?.['facts'] === 'string') return line['facts']
  }
  return undefined
}

async function findLine(
  segment: SegmentFile,
  needle: string,
  isWanted: (line: TrailLine) => boolean,
  which: 'first' | 'last' = 'first',
): Promise<TrailLine | undefined> {
  let wanted: TrailLine | undefined
  for await (const { bytes, isWhole } of readBlocks(segment)) {
    if (!isWhole) continue
    for (let found = bytes.indexOf(needle); found !== -1; found = bytes.indexOf(needle, bytes.indexOf(10, found))) {
      const line = parseTrailLine(bytes.subarray(bytes.lastIndexOf(10, found) + 1, bytes.indexOf(10, found)))
      if (line === undefined || !isWanted(line)) continue
      if (which === 'first') return line
      wanted = line
    }
  }
  return wanted
}

async function listNear(folder: string, near: number): Promise<readonly SegmentFile[]> {
  const segments: SegmentFile[] = []
  for (const chain of await listChains(folder)) {
    segments.push(...(await segmentsOf(await listSegments(folder, chain), { since: near, until: near + 1 })))
  }
  return segments
}

/** Every segment of every chain, the one written last first. */
async function listNewestFirst(folder: string): Promise<readonly SegmentFile[]> {
  const segments: { readonly segment: SegmentFile; readonly at: number }[] = []
  for (const chain of await listChains(folder)) {
    for (const segment of await listSegments(folder, chain)) {
      // One that was compressed or pruned meanwhile is looked at where it is now, or is gone.
      const at = await stat(segment.path).then(
        ({ mtimeMs }) => mtimeMs,
        () => undefined,
      )
      if (at !== undefined) segments.push({ segment, at })
    }
  }
  return segments.sort((a, b) => b.at - a.at).map(({ segment }) => segment)
}
