/**
 * One HTTP exchange of a command with the access host, bounded in time and size.
 *
 * No redirect is followed, so that what is sent, a token perhaps, goes nowhere but to the address that was named. TLS is always verified.
 */

import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { lookupName } from '../name-resolution.ts'

/** What is sent, and how much is waited for. */
export interface ExchangeWish {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** Authorities that vouch for the host besides, or in place of, those of the system: PEM. */
  readonly ca: string | undefined
  readonly answerMs: number
  readonly maxAnswerBytes: number
}

/** Sends it and reads the whole answer. Rejects with what stood in the way, for the caller to put into its own words. */
export function exchange(url: URL, { answerMs, body, ca, headers, maxAnswerBytes, method }: ExchangeWish) {
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
  const signal = AbortSignal.timeout(answerMs)
  const options = { method, headers: { ...headers, ...length }, lookup: lookupName, signal, ...(ca === undefined ? {} : { ca }) }
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestHttps(url, options) : requestHttp(url, options)
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('error', reject)
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > maxAnswerBytes) response.destroy(new Error('the answer is too large'))
        else chunks.push(chunk)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
    })
    request.end(body)
  })
}
