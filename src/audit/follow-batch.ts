/**
 * What a follower of the trail hands on, and what it asks of whom it hands it to.
 *
 * A line is its bytes: nothing here is parsed but the line's own number, because a follower must cost next to nothing and a receiver that
 * keeps the bytes keeps the chain. `parseLineHead` reads the fixed beginning for those who need time and name of the event.
 */

/** One line of the trail. */
export interface FollowedLine {
  /** As it stands in the file, without its newline. */
  readonly bytes: Buffer
  /** Its place in the chain; `undefined`: written before lines had one. */
  readonly seq: number | undefined
}

/** Lines of one chain that follow each other. Never empty. */
export interface LineBatch {
  readonly chain: string
  readonly lines: readonly FollowedLine[]
  /** Of all lines, newlines included. */
  readonly bytes: number
}

/** Who takes the lines. */
export interface LineConsumer {
  /**
   * Resolves once the receiver has the whole batch. Rejects otherwise, and is then given the same batch again later, so a receiver may see
   * lines twice. `signal` is aborted when the follower is closed and does not wait any longer.
   */
  send(batch: LineBatch, signal: AbortSignal): Promise<void>
  /** Resolves once what was sent survives a crash of the receiver's side on this machine. Called before a position is saved. */
  settle?(): Promise<void>
  /** Most bytes of lines in a batch, where fewer than usual are wanted. One line may be longer. */
  readonly batchBytes?: number
  close?(): Promise<void>
}

/** The receiver did not take a batch. The message goes to the log: it holds nothing that a receiver could have put there. */
export class DeliveryError extends Error {
  /** How long the receiver asked to be left alone. */
  readonly retryAfterMs: number | undefined
  /** It was understood and refused: the same will most likely be refused again until somebody changes a setting. */
  readonly isRefusal: boolean
  constructor(message: string, options: ErrorOptions & { readonly retryAfterMs?: number | undefined; readonly isRefusal?: boolean } = {}) {
    super(message, options)
    this.name = 'DeliveryError'
    this.retryAfterMs = options.retryAfterMs
    this.isRefusal = options.isRefusal ?? false
  }
}

/** The beginning of a line, which is always written in the same order. */
export interface LineHead {
  /** RFC 3339. */
  readonly at: string
  readonly event: string
}

const headShape = /^\{(?:"seq":\d{1,16},"prev":"[A-Za-z0-9_-]{43}",)?"at":"([0-9TZ:.+-]{20,35})","event":"([a-z_.]{1,64})"/

/** When and what, without parsing the line; `undefined` for what no version of ours wrote. */
export function parseLineHead(line: Buffer): LineHead | undefined {
  const found = headShape.exec(line.toString('latin1', 0, 256))
  const [, at, event] = found ?? []
  return at === undefined || event === undefined ? undefined : { at, event }
}

const seqPrefix = Buffer.from('{"seq":')

/** The line's number, from its first bytes. */
export function parseSeq(line: Buffer): number | undefined {
  if (line.length < seqPrefix.length || line.compare(seqPrefix, 0, seqPrefix.length, 0, seqPrefix.length) !== 0) return undefined
  let seq = 0
  let index = seqPrefix.length
  for (; index < line.length && index < seqPrefix.length + 16; index += 1) {
    const digit = (line[index] ?? 0) - 48
    if (digit < 0 || digit > 9) break
    seq = seq * 10 + digit
  }
  return index === seqPrefix.length || line[index] !== 0x2c ? undefined : seq
}
