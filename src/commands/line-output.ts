/**
 * Many lines to standard output or a file: in large pieces, no faster than they are taken, and no further once nobody reads.
 *
 * A million lines written one by one are a million system calls; held until the end they are a gigabyte. Whoever pipes into `head` closes the
 * pipe early, which is no error.
 */

import type { Writable } from 'node:stream'

export interface LineOutput {
  /** The reader went away: nothing that is written from now on is read. */
  readonly isOver: boolean
  /** Takes one line, without its newline; wait for the promise where there is one. Rejects if the file cannot be written. */
  write(line: string | Buffer): Promise<void> | undefined
  /** Everything is handed over. */
  flush(): Promise<void>
}

const pieceBytes = 64 * 1024

/** Lines to `stream`, which stays open. */
export function createLineOutput(stream: Writable): LineOutput {
  let pieces: Buffer[] = []
  let bytes = 0
  let isOver = false
  let failure: Error | undefined
  let timer: NodeJS.Timeout | undefined
  stream.on('error', (error: NodeJS.ErrnoException) => {
    isOver = true
    if (error.code !== 'EPIPE') failure ??= error
  })

  async function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const piece = Buffer.concat(pieces)
    pieces = []
    bytes = 0
    if (!isOver && piece.length > 0) await new Promise<void>((resolve) => stream.write(piece, () => resolve()))
    if (failure !== undefined) throw failure
  }

  return {
    get isOver() {
      return isOver
    },
    write(line) {
      const piece = Buffer.concat([typeof line === 'string' ? Buffer.from(line) : line, newline])
      pieces.push(piece)
      bytes += piece.length
      if (bytes >= pieceBytes) return flush()
      // What little there is is seen at once: somebody may be following.
      timer ??= setTimeout(() => void flush().catch(() => undefined), 0)
      return undefined
    },
    flush,
  }
}

const newline = Buffer.from('\n')
