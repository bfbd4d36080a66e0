/**
 * Batches of lines to an HTTP receiver, one request at a time: the next batch goes out when the one before was accepted.
 *
 * Accepted is a 2xx whose body says so in the form's own words. Everything else is tried again: network failures, 429 and 5xx (as late as
 * `Retry-After` asks), and also refusals (another 4xx, a redirect), which an operator can mend; they are only said more loudly. A batch that is
 * too large (413) is sent in halves. The one exception are lines that the receiver cannot store for what is in them while it stores
 * others: they are sent once more as plain text, and left out, with a line in the log for each, when that is refused as well. Where it
 * stores none of a batch, it is the receiver that is set up otherwise, and the lines wait.
 */

import { readFile } from 'node:fs/promises'
import type { Logger } from '../../log.ts'
import { DeliveryError, type FollowedLine, type LineBatch, type LineConsumer } from '../follow-batch.ts'
import { createHttpForm, type LineOutcome } from './http-format.ts'
import { createPoster, type HttpAnswer, type Poster } from './http-request.ts'
import type { HttpSettings } from './sink-settings.ts'

/** What the sink is made with. */
export interface HttpSinkOptions {
  readonly settings: HttpSettings
  readonly name: string
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'error'>
  /** Hears of each line that is left out. */
  readonly onSkipped: (lines: number) => void
  readonly timeoutMs?: number
}

/** Of lines that the receiver refuses one by one. */
const objectTries = 3
const textTries = 3

/** The sink. */
export function createHttpSink(options: HttpSinkOptions): LineConsumer {
  const { settings, name, now, log, onSkipped, timeoutMs = 30_000 } = options
  const form = createHttpForm(settings)
  let poster: Promise<Poster> | undefined
  /** Of the batch that is being sent; the follower hands over the same lines again until all are taken. */
  const refusals = new WeakMap<FollowedLine, number>()
  const settled = new WeakSet<FollowedLine>()
  const taken = new WeakSet<FollowedLine>()
  /** Since a line was left out last: one that stands alone has no others beside it to show that the receiver stores any. */
  let isTakingAny = false

  const openPoster = () => {
    poster ??= loadAuthority(settings.caFile).then((ca) => createPoster({ ca, timeoutMs, now }))
    return poster
  }

  /** After a failure the next attempt reads the authority's file again, and takes a new connection. */
  const releasePoster = async () => {
    const open = poster
    poster = undefined
    ;(await open?.catch(() => undefined))?.close()
  }

  const post = async (batch: Pick<LineBatch, 'chain' | 'lines'>, lines: readonly FollowedLine[], signal: AbortSignal): Promise<void> => {
    const { chain } = batch
    const [first] = lines
    if (first === undefined) return
    const asText = new Set(lines.filter((line) => (refusals.get(line) ?? 0) >= objectTries))
    const headers = { ...form.headers, 'postern-chain': chain.replace(/[^\x21-\x7e]/g, '_') }
    const answer = await (await openPoster()).post(form.url, headers, form.encode(chain, lines, asText), signal)
    if (answer.status === 413 && lines.length > 1) {
      const half = Math.ceil(lines.length / 2)
      await post(batch, lines.slice(0, half), signal)
      return await post(batch, lines.slice(half), signal)
    }
    const outcomes = readOutcomes(answer, lines.length)
    if (settings.format === 'otlp') {
      const rejected = outcomes.filter((outcome) => outcome === 'refused').length
      for (const line of lines) settled.add(line)
      if (rejected === 0) return
      onSkipped(rejected)
      const range = { from_seq: first.seq, to_seq: lines.at(-1)?.seq }
      log.error(
        { sink: name, chain, ...range, rejected },
        'an audit sink rejected some of these lines and does not say which: they are in the trail',
      )
      return
    }
    for (const [index, line] of lines.entries()) if (outcomes[index] === 'taken') noteTaken(line)
    const mayLeaveOut = batch.lines.length === 1 ? isTakingAny : batch.lines.some((line) => taken.has(line))
    let isUnfinished = false
    for (const [index, line] of lines.entries()) {
      const outcome = outcomes[index]
      if (outcome !== 'taken' && (outcome === 'later' || !giveUp(chain, line, mayLeaveOut))) isUnfinished = true
    }
    if (isUnfinished) throw new DeliveryError('the receiver did not take all lines', { retryAfterMs: answer.retryAfterMs })
  }

  const readOutcomes = ({ status, retryAfterMs, body }: HttpAnswer, count: number): readonly LineOutcome[] => {
    if (status >= 200 && status < 300) {
      const outcomes = form.judge(body, count)
      if (outcomes !== undefined) return outcomes
      throw new DeliveryError(`the receiver answered ${status}, but not as one of this form does`, { isRefusal: true })
    }
    const isRefusal = status < 500 && status !== 429 && status !== 408
    throw new DeliveryError(`the receiver answered ${status}`, { retryAfterMs, isRefusal })
  }

  const noteTaken = (line: FollowedLine) => {
    settled.add(line)
    taken.add(line)
    isTakingAny = true
  }

  /** Whether the line was refused so often that it counts as done. */
  const giveUp = (chain: string, line: FollowedLine, mayLeaveOut: boolean): boolean => {
    const count = (refusals.get(line) ?? 0) + 1
    refusals.set(line, count)
    if (count < objectTries + textTries || !mayLeaveOut) return false
    settled.add(line)
    isTakingAny = false
    onSkipped(1)
    log.error({ sink: name, chain, seq: line.seq }, 'an audit sink refuses this line and it was left out: it is in the trail')
    return true
  }

  return {
    // What proxies let through by default (1 MiB) has room for the form around the lines.
    batchBytes: 256 * 1024,
    send: async (batch, signal) => {
      try {
        await post(
          batch,
          batch.lines.filter((line) => !settled.has(line)),
          signal,
        )
      } catch (error) {
        await releasePoster()
        throw error
      }
    },
    close: releasePoster,
  }
}

async function loadAuthority(file: string | undefined): Promise<Buffer | undefined> {
  try {
    return file === undefined ? undefined : await readFile(file)
  } catch (error) {
    throw new DeliveryError('the certificates of the receiver’s authority cannot be read', { cause: error })
  }
}
