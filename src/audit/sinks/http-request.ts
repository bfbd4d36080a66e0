/**
 * One POST to a receiver, with everything that a receiver could do to us bounded: time, length of the answer, redirects (none is followed:
 * the token goes where the configuration says and nowhere else), reused connections that were already closed at the other end.
 *
 * An answer counts only when it is there as a whole. Nothing that a receiver writes reaches a log from here.
 */

import { Agent as HttpAgent, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { lookupName } from '../../name-resolution.ts'
import { DeliveryError } from '../follow-batch.ts'

/** What a receiver said. */
export interface HttpAnswer {
  readonly status: number
  /** From `Retry-After`. */
  readonly retryAfterMs: number | undefined
  readonly body: Buffer
}

/** Sends one request at a time. */
export interface Poster {
  /** Rejects with `DeliveryError` where there is no whole answer. */
  post(url: URL, headers: Readonly<Record<string, string>>, body: Buffer, signal: AbortSignal): Promise<HttpAnswer>
  close(): void
}

/** What requests are made with. */
export interface PosterOptions {
  /** PEM; `undefined`: the authorities of the runtime. */
  readonly ca: Buffer | undefined
  /** From the name look-up to the last byte of the answer. */
  readonly timeoutMs: number
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Answers of Elastic have a word on every line; more than this is no answer. */
const longestAnswer = 4 * 1024 * 1024

/** A poster with one connection, kept open between requests. */
export function createPoster({ ca, timeoutMs, now }: PosterOptions): Poster {
  const common = { keepAlive: true, maxSockets: 1, lookup: lookupName }
  const http = new HttpAgent(common)
  const https = new HttpsAgent({ ...common, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })

  const attempt = (url: URL, headers: Readonly<Record<string, string>>, body: Buffer, signal: AbortSignal): Promise<HttpAnswer> =>
    new Promise((resolve, reject) => {
      const options = { method: 'POST', headers: { ...headers, 'content-length': body.length } }
      const request =
        url.protocol === 'https:' ? requestHttps(url, { ...options, agent: https }) : requestHttp(url, { ...options, agent: http })
      const finish = (act: () => void) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        act()
      }
      const refuse = (error: Error) => finish(() => reject(Object.assign(describeFailure(error), { wasReused: request.reusedSocket })))
      const abort = () => request.destroy(new Error('closed'))
      const timer = setTimeout(() => request.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })), timeoutMs)
      // Some ends are no error to the runtime: an answer that changes the protocol takes the connection away, and nothing else is told of it.
      request.on('close', () => refuse(new Error('the connection was taken away')))
      signal.addEventListener('abort', abort)
      if (signal.aborted) abort()
      request.on('error', refuse)
      request.on('response', (response) => {
        const chunks: Buffer[] = []
        let length = 0
        response.on('error', refuse)
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length > longestAnswer) request.destroy(new Error('the answer is too long'))
          else chunks.push(chunk)
        })
        response.on('end', () => {
          const retryAfterMs = readRetryAfter(response.headers['retry-after'], now())
          finish(() => resolve({ status: response.statusCode ?? 0, retryAfterMs, body: Buffer.concat(chunks) }))
        })
      })
      request.end(body)
    })

  return {
    post: async (url, headers, body, signal) => {
      try {
        return await attempt(url, headers, body, signal)
      } catch (error) {
        // The other end closed a connection that was idle, in the moment that we took it up again: no failure of anybody's.
        if (!isStaleConnection(error) || signal.aborted) throw error
        return await attempt(url, headers, body, signal)
      }
    },
    close: () => {
      http.destroy()
      https.destroy()
    },
  }
}

function describeFailure(error: Error): DeliveryError {
  const code = (error as NodeJS.ErrnoException).code
  return new DeliveryError(`the receiver gave no whole answer: ${code ?? error.message}`, { cause: error })
}

function isStaleConnection(error: unknown): boolean {
  const cause = error instanceof DeliveryError ? (error.cause as NodeJS.ErrnoException | undefined) : undefined
  return cause?.code === 'ECONNRESET' && (error as { wasReused?: boolean }).wasReused === true
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function readRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}
