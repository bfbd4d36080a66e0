/**
 * Compresses a closed segment in a thread of its own, with a heap of its own.
 *
 * Hundreds of large pieces pass through it. In the heap of the requests each few megabytes of them are a reason for V8 to look through
 * everything that lives there: ten full collections for one segment, more than the compression itself costs.
 */

import { programBeside, runInThread } from '../thread-lane.ts'
import type { Compression } from './compress.ts'
import type { SegmentFile } from './trail-files.ts'

/** What the thread tells. `code` as of a system's error. */
export type CompressionOutcome =
  | { readonly compression: Compression }
  | { readonly failure: { readonly code: string | undefined; readonly message: string } }

/**
 * As `compressSegment`. Given up, it ends wherever it is: a draft that is left is no segment, and `removeDrafts` removes it before the next
 * compression in that folder.
 */
export async function compressInThread(file: SegmentFile, signal: AbortSignal): Promise<Compression> {
  const outcome = (await runInThread(
    programBeside(import.meta.url, 'compress-worker'),
    file,
    { signal },
    'compresses the trail',
  )) as CompressionOutcome
  if ('compression' in outcome) return outcome.compression
  throw Object.assign(new Error(outcome.failure.message), { code: outcome.failure.code })
}
