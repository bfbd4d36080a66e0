/**
 * The newest lines of several chains, newest first, a page at a time: what a console shows, and `postern audit search --newest`.
 *
 * The exact reverse of the order of `merged-lines.ts`. Segments are gone through from the last one back, each read forwards (a compressed one
 * has no other direction), with no more kept of it than a page can hold. Stops as soon as the page is full, so that the last hour does not
 * cost a year's reading.
 */

import { instantIn, type LineSelection, type Period, segmentsOf } from './merged-lines.ts'
import { listChains, listSegments, readLines, type SegmentFile } from './trail-files.ts'

/** Where in the trail a line is; the next page begins before it. */
export interface LinePlace {
  /** As in the line. */
  readonly at: string
  readonly folder: string
  readonly chain: string
  readonly segment: number
  readonly offset: number
}

export interface PlacedLine extends LinePlace {
  /** Without the newline. */
  readonly bytes: Buffer
}

export interface NewestOptions extends Period {
  readonly limit: number
  readonly selection?: LineSelection | undefined
  /** The last line of the page before; left out: the first page. */
  readonly before?: LinePlace | undefined
}

/** At most `limit` lines, the newest first. */
export async function loadNewestLines(folders: readonly string[], options: NewestOptions): Promise<readonly PlacedLine[]> {
  const { limit } = options
  const chains = await Promise.all(folders.map(async (folder) => (await listChains(folder)).map((chain) => ({ folder, chain }))))
  const readers = chains.flat().map(({ chain, folder }) => readBackwards(folder, chain, { ...options, order: folders }))
  const heads = await Promise.all(readers.map(async (reader) => ({ reader, line: (await reader.next()).value as PlacedLine | undefined })))
  const page: PlacedLine[] = []
  try {
    while (page.length < limit) {
      // Of one instant the last chain's comes first: the reverse of the other order.
      const newest = heads.reduce<(typeof heads)[number] | undefined>(
        (best, head) => (head.line !== undefined && (best?.line === undefined || head.line.at >= best.line.at) ? head : best),
        undefined,
      )
      if (newest?.line === undefined) break
      page.push(newest.line)
      newest.line = (await newest.reader.next()).value as PlacedLine | undefined
    }
  } finally {
    for (const { reader } of heads) await reader.return(undefined)
  }
  return page
}

interface BackwardsOptions extends NewestOptions {
  /** The folders as they were given. */
  readonly order: readonly string[]
}

async function* readBackwards(folder: string, chain: string, options: BackwardsOptions): AsyncGenerator<PlacedLine, undefined> {
  const segments = await segmentsOf(await listSegments(folder, chain), options)
  for (const segment of segments.toReversed()) {
    const { before } = options
    if (before?.folder === folder && before.chain === chain && segment.number > before.segment) continue
    yield* (await lastLinesOf(segment, folder, options)).reverse()
  }
  return undefined
}

/** The last wanted lines of a segment, in its order. */
async function lastLinesOf(segment: SegmentFile, folder: string, options: BackwardsOptions): Promise<PlacedLine[]> {
  const { limit, selection, since, until } = options
  const isAfter = since === undefined ? undefined : new Date(since).toISOString()
  const isBefore = until === undefined ? undefined : new Date(until).toISOString()
  /** As a ring: the oldest is at `count % limit` once it is full. */
  const kept: PlacedLine[] = []
  let count = 0
  try {
    for await (const { bytes, isWhole, offset } of readLines(segment)) {
      if (!isWhole || (selection !== undefined && !selection.isWanted(bytes))) continue
      const place = { at: instantIn(bytes), folder, chain: segment.chain, segment: segment.number, offset }
      if (place.at === '' || (isAfter !== undefined && place.at < isAfter) || (isBefore !== undefined && place.at >= isBefore)) continue
      if (options.before !== undefined && !isEarlier(place, options.before, options.order)) continue
      kept[count % limit] = { ...place, bytes: Buffer.from(bytes) }
      count += 1
    }
  } catch (error) {
    // Pruned meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return count <= limit ? kept : [...kept.slice(count % limit), ...kept.slice(0, count % limit)]
}

/** In one chain the place decides, for a clock may have been set back; among chains the time, then the order that they are merged in. */
function isEarlier(place: LinePlace, than: LinePlace, order: readonly string[]): boolean {
  if (place.folder === than.folder && place.chain === than.chain) {
    return place.segment < than.segment || (place.segment === than.segment && place.offset < than.offset)
  }
  if (place.at !== than.at) return place.at < than.at
  return place.folder === than.folder ? place.chain < than.chain : order.indexOf(place.folder) < order.indexOf(than.folder)
}
