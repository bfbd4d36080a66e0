/**
 * The lines of a segment in large pieces, for who looks for a few bytes in all of them: looking at 64 MiB takes less than a stream takes to hand
 * them out, so a plain file is read into one piece of memory again and again. A compressed one is unpacked as ever, which takes longer than all else.
 */

import { openRegular, readBlocks, type SegmentFile } from './trail-files.ts'

const pieceBytes = 1024 * 1024
/** Longer lines are none of ours, and passed over. */
const longestLine = 1024 * 1024

/** Whole lines in a row, each with its newline, in order. A piece is good until the next is asked for. Rejects with ENOENT for a file that is gone. */
export async function* readPieces(segment: SegmentFile): AsyncGenerator<Buffer> {
  const handle = segment.isCompressed ? undefined : await openRegular(segment.path).catch(undefinedIfMissing)
  if (handle === undefined) {
    // Perhaps compressed since it was listed: who reads blocks finds it as it is now.
    for await (const { bytes, isWhole } of readBlocks(segment)) if (isWhole) yield bytes
    return
  }
  try {
    const memory = Buffer.allocUnsafeSlow(pieceBytes + longestLine)
    /** Bytes of a line that is not whole yet, at the beginning of the memory. */
    let kept = 0
    for (;;) {
      const { bytesRead } = await handle.read(memory, kept, pieceBytes, null)
      if (bytesRead === 0) return
      const end = kept + bytesRead
      const whole = memory.subarray(0, end).lastIndexOf(10) + 1
      if (whole > 0) yield memory.subarray(0, whole)
      kept = end - whole
      if (kept > longestLine) kept = 0
      else memory.copyWithin(0, whole, end)
    }
  } finally {
    await handle.close()
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
