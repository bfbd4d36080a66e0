/**
 * One thread for one closed segment. Started by `compress-thread.ts`, from the sources and from the build alike; what fails in here ends it.
 */

import { parentPort, workerData } from 'node:worker_threads'
import type { FromThread } from '../thread-lane.ts'
import { compressSegment } from './compress.ts'
import type { CompressionOutcome } from './compress-thread.ts'
import type { SegmentFile } from './trail-files.ts'

async function compress(file: SegmentFile): Promise<CompressionOutcome> {
  try {
    return { compression: await compressSegment(file) }
  } catch (error) {
    // As data: what a failure was called by the system decides what is tried next.
    const { code, message } = error as NodeJS.ErrnoException
    return { failure: { code, message } }
  }
}

const found: FromThread<never> = { found: await compress(workerData as SegmentFile) }
parentPort?.postMessage(found)
