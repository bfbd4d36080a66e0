/**
 * Server-sent events to a page of the console, for as long as whoever reads them may.
 *
 * An open stream is no permission: it is decided again every half minute, and at once after news of ends, locks, devices, invitations or
 * policy, on the facts of then; what does not answer ends it. An instance holds a bounded number of streams, and a session a few, so that
 * tabs left open cannot use up its connections. A browser that reads slowly is waited for, never buffered for. WHATWG HTML, server-sent events.
 */

import { once } from 'node:events'
import type { Request, Response } from 'express'
import type { Live, LiveEvent } from '../../live/live.ts'
import type { Logger } from '../../log.ts'

/** Of one instance, and of one session. */
const mostStreams = 100
const mostOfSession = 8

const decideAgainEveryMs = 30_000
/** News come in showers. */
const shortestPauseMs = 500
/** Less than any balancer's idle limit. */
const heartbeatEveryMs = 15_000

export interface EventStreams {
  /** Streams `events` until they end, the browser leaves or `isStillPermitted` says no. `too_many`: nothing was answered. */
  open(request: Request, response: Response, stream: EventStream): Promise<'over' | 'too_many'>
  /** Ends every stream; for an instance that stops. */
  close(): void
}

export interface EventStream {
  readonly sessionId: string
  readonly events: (signal: AbortSignal) => AsyncIterable<object>
  readonly isStillPermitted: () => Promise<boolean>
}

export interface EventStreamsPorts {
  readonly live: Pick<Live, 'listen'>
  readonly log: Pick<Logger, 'error' | 'warn'>
}

/** News that may take somebody's role or session away. */
const news: ReadonlySet<LiveEvent['kind']> = new Set([
  'ended',
  'locks_changed',
  'device_changed',
  'policy_changed',
  'invitations_changed',
  'regained',
])

/** The streams of one instance. */
export function createEventStreams({ live, log }: EventStreamsPorts): EventStreams {
  const open = new Set<AbortController>()
  const bySession = new Map<string, number>()
  let isClosed = false

  return {
    async open(request, response, { events, isStillPermitted, sessionId }) {
      const ofSession = bySession.get(sessionId) ?? 0
      if (isClosed || open.size >= mostStreams || ofSession >= mostOfSession) return 'too_many'
      // Whoever left while it was decided whether they may is told nothing, and nothing would ever say again that they are gone.
      if (response.destroyed) return 'over'
      const ending = new AbortController()
      open.add(ending)
      bySession.set(sessionId, ofSession + 1)
      const end = () => ending.abort()
      response.on('close', end)
      const unwatch = watchPermission(live, isStillPermitted, end)
      const heartbeat = setInterval(() => response.write(': still here\n\n'), heartbeatEveryMs)
      try {
        response.status(200).set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' })
        response.flushHeaders()
        response.write('retry: 3000\n\n')
        if (request.method !== 'HEAD') await pump(events(ending.signal), response, ending.signal)
      } catch (error) {
        // The head is sent: all that can be told is that it is over.
        if (!ending.signal.aborted) log.error({ err: error, path: request.path }, 'a stream of the console failed')
      } finally {
        clearInterval(heartbeat)
        unwatch()
        response.off('close', end)
        open.delete(ending)
        const left = (bySession.get(sessionId) ?? 1) - 1
        if (left > 0) bySession.set(sessionId, left)
        else bySession.delete(sessionId)
        response.end()
        end()
      }
      return 'over'
    },
    close() {
      isClosed = true
      for (const ending of open) ending.abort()
    },
  }
}

async function pump(events: AsyncIterable<object>, response: Response, signal: AbortSignal): Promise<void> {
  const iterator = events[Symbol.asyncIterator]()
  const over = once(signal, 'abort').then(() => undefined)
  try {
    while (!signal.aborted) {
      const next = await Promise.race([iterator.next(), over])
      if (next === undefined || next.done === true) return
      const isTaken = response.write(`data: ${JSON.stringify(next.value)}\n\n`)
      if (!isTaken) await Promise.race([once(response, 'drain', { signal }), over])
    }
  } finally {
    // Not waited for: one that hangs in here must not keep the stream's place.
    void iterator.return?.().catch(() => undefined)
  }
}

/** Calls `end` as soon as it is not permitted any more, or nobody can say. */
function watchPermission(live: Pick<Live, 'listen'>, isStillPermitted: () => Promise<boolean>, end: () => void): () => void {
  let isAsking = false
  let isAskedAgain = false
  let pause: NodeJS.Timeout | undefined
  const ask = async () => {
    isAsking = true
    isAskedAgain = false
    // Whatever is thrown, the store that is away among it, is no permission.
    if (!(await isStillPermitted().catch(() => false))) return end()
    pause = setTimeout(() => {
      isAsking = false
      if (isAskedAgain) void ask()
    }, shortestPauseMs)
  }
  const wish = () => {
    if (isAsking) isAskedAgain = true
    else void ask()
  }
  const unlisten = live.listen(({ kind }) => {
    if (news.has(kind)) wish()
  })
  const timer = setInterval(wish, decideAgainEveryMs)
  return () => {
    unlisten()
    clearInterval(timer)
    clearTimeout(pause)
  }
}
