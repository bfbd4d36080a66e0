/**
 * Finds the line of one decision, and the lines of the facts behind it, in the folders of a trail.
 *
 * Reads the files as they are, newest first, piece by piece, and looks for the id before it looks at lines. A trail that is being written may
 * end in half a line; what is not whole is passed over, as is whatever is no JSON. Facts stand in the decision's own segment; of a trail
 * from before segments could be read alone, in an earlier one.
 */

import { stat } from 'node:fs/promises'
import { readPieces } from './find-decision-pieces.ts'
import { segmentsOf } from './merged-lines.ts'
import { listChains, listSegments, parseTrailLine, type SegmentFile, type TrailLine } from './trail-files.ts'

export type { TrailLine } from './trail-files.ts'

export interface FoundDecision {
  readonly decided: TrailLine
  /** JSON text of the facts by kind; `undefined` for one whose line is not there. */
  readonly facts: { readonly subject: string | undefined; readonly signIn: string | undefined; readonly device: string | undefined }
  /** How the request ended, where the same segment says it; `findEnd` looks in later ones. */
  readonly ended: TrailLine | undefined
  /** The segment that holds it. */
  readonly place: { readonly chain: string; readonly segment: number }
}

/**
 * Searches `folder` (`data_dir/audit`), with all that write into it. `undefined` if no line speaks of this request. `near`: only the segments in
 * which this instant lies, epoch milliseconds.
 */
export async function findDecision(folder: string, requestId: string, near?: number): Promise<FoundDecision | undefined> {
  for (const segment of near === undefined ? await listNewestFirst(folder) : await listNear(folder, near)) {
    const { decided, ended } = await findRequest(segment, requestId)
    if (decided === undefined) continue
    const earlier = (await listSegments(folder, segment.chain)).filter(({ number }) => number <= segment.number).reverse()
    return {
      decided,
      facts: await findFacts(earlier, (decided['facts'] ?? {}) as Readonly<Record<string, unknown>>),
      ended,
      place: { chain: segment.chain, segment: segment.number },
    }
  }
  return undefined
}

/** The line that says how a request which was let through ended, in a segment of the chain after that of its decision. What was not let through has none. */
export async function findEnd(
  folder: string,
  requestId: string,
  { decided, place: { chain, segment } }: Pick<FoundDecision, 'decided' | 'place'>,
): Promise<TrailLine | undefined> {
  if (decided['effect'] !== 'allow') return undefined
  for (const later of (await listSegments(folder, chain)).filter(({ number }) => number > segment)) {
    const found = await findRequest(later, requestId).catch(undefinedIfMissing)
    if (found?.ended !== undefined) return found.ended
  }
  return undefined
}

/** Pruned meanwhile. */
function undefinedIfMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}

/**
 * Both lines of a request, in one reading: one that was allowed, waited for its record and was refused has two decisions, and the last is what became
 * of it. What ended was let through, and nothing comes after it.
 */
async function findRequest(
  segment: SegmentFile,
  requestId: string,
): Promise<{ readonly decided: TrailLine | undefined; readonly ended: TrailLine | undefined }> {
  let decided: TrailLine | undefined
  let ended: TrailLine | undefined
  await readLinesWith(segment, [`"request":${JSON.stringify(requestId)}`], (line) => {
    if (line['request'] !== requestId) return true
    if (line['event'] === 'access.decided') decided = line
    if (line['event'] === 'access.ended') ended = line
    return ended === undefined
  })
  return { decided, ended }
}

/** All three at once: each segment is read once, and no further than the last of them. */
async function findFacts(segments: readonly SegmentFile[], hashes: Readonly<Record<string, unknown>>): Promise<FoundDecision['facts']> {
  const { device, sign_in: signIn, subject } = hashes
  const found = new Map<unknown, string>()
  const wanted = new Set([subject, signIn, device].filter((hash) => typeof hash === 'string'))
  for (const segment of segments) {
    if (wanted.size === 0) break
    const needles = [...wanted].map((hash) => `"hash":${JSON.stringify(hash)}`)
    await readLinesWith(segment, needles, ({ event, facts, hash }) => {
      if (event === 'facts.recorded' && typeof hash === 'string' && typeof facts === 'string' && wanted.delete(hash)) found.set(hash, facts)
      return wanted.size > 0
    })
  }
  return { subject: found.get(subject), signIn: found.get(signIn), device: found.get(device) }
}

/** Hands out every line that holds one of the needles, those of a piece needle by needle, until `take` says that it is enough. */
async function readLinesWith(segment: SegmentFile, texts: readonly string[], take: (line: TrailLine) => boolean): Promise<void> {
  const needles = texts.map((text) => Buffer.from(text))
  for await (const bytes of readPieces(segment)) {
    for (const needle of needles) {
      for (let found = bytes.indexOf(needle); found !== -1; found = bytes.indexOf(needle, bytes.indexOf(10, found))) {
        const line = parseTrailLine(bytes.subarray(bytes.lastIndexOf(10, found) + 1, bytes.indexOf(10, found)))
        if (line !== undefined && !take(line)) return
      }
    }
  }
}

async function listNear(folder: string, near: number): Promise<readonly SegmentFile[]> {
  const segments: SegmentFile[] = []
  for (const chain of await listChains(folder)) {
    // The last that began before is the likeliest.
    segments.push(...(await segmentsOf(await listSegments(folder, chain), { since: near, until: near + 1 })).toReversed())
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
