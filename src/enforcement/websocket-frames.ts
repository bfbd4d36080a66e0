/**
 * Where WebSocket frames begin and end in a stream of bytes, and nothing else about them (RFC 6455 §5.2).
 *
 * A tunnel passes bytes, but an end has to be said as a close frame, and a frame put inside another one is data to whoever reads
 * it. So the bytes towards the client are counted by frame headers; payloads are skipped, never read, never kept. Fragments of a
 * message are frames of their own, and control frames may stand between them.
 */

/** Counts along; the stream may be split anywhere. */
export interface FrameTracker {
  /** Whether everything so far ends with a complete frame. */
  readonly isAtBoundary: boolean
  /** Moves past all of `chunk`. */
  advance(chunk: Uint8Array): void
  /** Moves to the next boundary, or past all of `chunk` if it holds none; returns the bytes moved. 0 if at a boundary already. */
  advanceToBoundary(chunk: Uint8Array): number
}

export function createFrameTracker(): FrameTracker {
  /** Two bytes, up to eight of extended length, up to four of mask. */
  const header = new Uint8Array(14)
  let headerBytes = 0
  let payloadLeft = 0
  const isAtBoundary = () => headerBytes === 0 && payloadLeft === 0

  function consume(chunk: Uint8Array, stopsAtBoundary: boolean): number {
    let position = 0
    while (position < chunk.length && !(stopsAtBoundary && isAtBoundary())) {
      if (payloadLeft > 0) {
        const step = Math.min(payloadLeft, chunk.length - position)
        payloadLeft -= step
        position += step
        continue
      }
      header[headerBytes++] = chunk[position++] ?? 0
      if (headerBytes < 2 || headerBytes < headerLength(header[1] ?? 0)) continue
      payloadLeft = payloadLength(header)
      headerBytes = 0
    }
    return position
  }

  return {
    get isAtBoundary() {
      return isAtBoundary()
    },
    advance: (chunk) => {
      consume(chunk, false)
    },
    advanceToBoundary: (chunk) => consume(chunk, true),
  }
}

/** By the second byte, which holds mask bit and short length. A server never masks; one that does is counted right all the same. */
function headerLength(second: number): number {
  const short = second & 0x7f
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (second >= 0x80 ? 4 : 0)
}

function payloadLength(header: Uint8Array): number {
  const short = (header[1] ?? 0) & 0x7f
  if (short < 126) return short
  let length = 0
  // Beyond 2^53 the sum is inexact, and no connection lives to see the difference.
  for (let i = 2; i < (short === 126 ? 4 : 10); i++) length = length * 256 + (header[i] ?? 0)
  return length
}

/** A close frame as a server sends it: unmasked, with a status code (RFC 6455 §5.5.1). */
export function closeFrame(code: number): Buffer {
  return Buffer.from([0x88, 2, code >> 8, code & 0xff])
}
