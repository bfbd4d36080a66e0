/**
 * Reads a plain segment for a follower: blocks of whole lines, in memory that is used over and over.
 *
 * A trail under load is read as fast as it is written. With a fresh buffer for each read and each copy (eight times the bytes of the lines) the
 * collector marked the whole heap about once a second: its threads took 12 to 17 µs of CPU a request, more than all else of the trail.
 * So a block is good until the next one is asked for, and a follower that finds nothing lends its memory to the next that does.
 */

import type { FileHandle } from 'node:fs/promises'
import { type LineBlock, openRegular } from './trail-files.ts'

/** Memory for one read. */
export interface ReadMemory {
  /** The bytes, at least as long as was asked for. What was in them is kept. */
  reserve(bytes: number): Buffer
  /** Nothing of what was read is used any more. */
  release(): void
}

const usualBytes = 512 * 1024
/** As in `trail-files.ts`: a line that is longer is none of ours. */
const longestLine = 1024 * 1024

let spare: Buffer | undefined

/** One for a follower. Takes nothing before it is needed. */
export function createReadMemory(): ReadMemory {
  let held: Buffer | undefined
  return {
    reserve: (bytes) => {
      if (held === undefined) {
        held = spare ?? Buffer.allocUnsafeSlow(usualBytes)
        spare = undefined
      }
      if (held.length < bytes) {
        const larger = Buffer.allocUnsafeSlow(bytes)
        held.copy(larger)
        held = larger
      }
      return held
    },
    release: () => {
      if (held?.length === usualBytes) spare = held
      held = undefined
    },
  }
}

/** As `readBlocks` of a file that is not compressed; blocks stand in `memory`, and the next one overwrites them. Rejects with ENOENT for one that is gone. */
export async function* readPlainBlocks(path: string, start: number, memory: ReadMemory): AsyncGenerator<LineBlock> {
  const file = await openRegular(path)
  try {
    yield* readOpened(file, start, memory)
  } finally {
    await file.close()
  }
}

async function* readOpened(file: FileHandle, start: number, memory: ReadMemory): AsyncGenerator<LineBlock> {
  /** In the file, of the first byte in memory. */
  let offset = start
  /** What is in memory: a line that is not whole yet. */
  let kept = 0
  for (;;) {
    const bytes = memory.reserve(kept < usualBytes ? usualBytes : longestLine + 1)
    const { bytesRead } = await file.read(bytes, kept, bytes.length - kept, offset + kept)
    if (bytesRead === 0) break
    const end = kept + bytesRead
    const whole = bytes.subarray(0, end).lastIndexOf(10) + 1
    if (whole > 0) yield { bytes: bytes.subarray(0, whole), offset, isWhole: true }
    const isTooLong = end - whole > longestLine
    if (isTooLong) yield { bytes: bytes.subarray(whole, end), offset: offset + whole, isWhole: false }
    const from = isTooLong ? end : whole
    bytes.copyWithin(0, from, end)
    kept = end - from
    offset += from
  }
  if (kept > 0) yield { bytes: memory.reserve(kept).subarray(0, kept), offset, isWhole: false }
}
