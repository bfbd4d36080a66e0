/**
 * One question to the API of a running instance: a method, a path, JSON, a service token.
 *
 * The token goes nowhere but to the address that was named. Whoever gave an `http:` address that is not of this machine would send it in the
 * clear: refused.
 */

import { PosternError } from '../errors.ts'
import { isLocalhostName } from '../name-resolution.ts'
import { exchange } from './bounded-exchange.ts'

/** What is asked besides the address. */
export interface ApiQuestion {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly token: string
  /** JSON. */
  readonly body: string | undefined
  readonly ca: string | undefined
}

export interface ApiAnswer {
  readonly status: number
  /** The parsed JSON, an object. */
  readonly body: object
}

/** Many sessions take a while to end. */
const answerMs = 30_000
/** Ten thousand sessions. */
const maxAnswerBytes = 32 * 1024 * 1024

/** Asks. Rejects with `api_unavailable` where nobody answers, or not as the API does. */
export async function askApi(url: URL, { body, ca, method, token }: ApiQuestion): Promise<ApiAnswer> {
  if (url.protocol === 'http:' && !isOfThisMachine(url.hostname)) {
    throw new PosternError('api_unavailable', `${url.origin} is not HTTPS: the token would be sent in the clear`)
  }
  const headers = {
    accept: 'application/json',
    authorization: `Bearer ${token}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const { status, text } = await exchange(url, { method, headers, body, ca, answerMs, maxAnswerBytes }).catch((cause: Error) => {
    throw new PosternError('api_unavailable', `${url.origin} did not answer: ${cause.message}`, { cause })
  })
  return { status, body: parseAnswer(text, url, status) }
}

function parseAnswer(text: string, url: URL, status: number): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // A page, of something that is not our API.
    value = undefined
  }
  if (typeof value === 'object' && value !== null) return value
  throw new PosternError('api_unavailable', `${url.origin} answered ${status} and no JSON: is it the access host?`)
}

function isOfThisMachine(hostname: string): boolean {
  return isLocalhostName(hostname) || /^127(?:\.\d{1,3}){3}$/.test(hostname) || hostname === '[::1]'
}
