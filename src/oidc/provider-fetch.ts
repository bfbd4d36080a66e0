/**
 * HTTP towards the OpenID Provider: a `fetch` for `openid-client` that is bounded in time, size and number.
 *
 * Client secrets, codes and tokens leave through here, so it follows no redirect (a 3xx is handed back and refused as a
 * malformed answer), speaks no compression (a bomb stays small) and opens a connection of its own for every exchange: a
 * code is spent once, and must never be lost to a kept-alive socket that was closing. `*.localhost` is asked of the system
 * first and is loopback where the system does not know it (RFC 6761 §6.3), since Node resolves no such name itself.
 */

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { PosternError } from '../errors.ts'
import { lookupName, resolveName } from '../name-resolution.ts'

/** A metadata document with every extension is some 20 KiB, a person in a thousand groups some 60 KiB. */
const maxResponseBytes = 1024 * 1024
/** Enough for a company that starts its day; a provider that hangs holds no more than these. */
const maxSockets = 64

/** What `openid-client` asks of a `fetch`; its own type names the same members. */
export interface ProviderRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
}

export interface ProviderFetch {
  /** Rejects with `provider_unavailable`, whatever went wrong on the wire. */
  fetch(url: string, request: ProviderRequest): Promise<Response>
  close(): void
}

/** What is asked of a provider, for whoever measures it. */
export type ProviderOperation = 'discovery' | 'keys' | 'token' | 'userinfo' | 'issuer_keys' | 'other'

/** Hears how long each exchange took, and whether it was answered by anything but the provider's own admission of trouble. */
export type ProviderObserver = (operation: ProviderOperation, seconds: number, isAnswered: boolean) => void

/** The same client, of which `observe` hears each exchange. */
export function observed(inner: ProviderFetch, operationOf: (url: string) => ProviderOperation, observe: ProviderObserver): ProviderFetch {
  return {
    async fetch(url, request) {
      const begunAt = performance.now()
      let isAnswered = false
      try {
        const response = await inner.fetch(url, request)
        isAnswered = response.status < 500
        return response
      } finally {
        observe(operationOf(url), (performance.now() - begunAt) / 1000, isAnswered)
      }
    },
    close: inner.close,
  }
}

/** Yields allowed addresses only, and fails if none is left. */
function lookupAllowed(isAllowed: (address: string) => boolean): LookupFunction {
  return (hostname, { all, family }, callback) => {
    resolveName(hostname).then(
      (found) => {
        const wanted = found.filter((one) => !(family === 4 || family === 6) || one.family === family)
        const allowed = wanted.filter(({ address }) => isAllowed(address))
        const [first] = allowed
        if (first === undefined) callback(new Error(`${hostname} has no address that may be connected to`), '', 4)
        else if (all) callback(null, allowed)
        else callback(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 4),
    )
  }
}

/** Whether a connection towards this host and port may go to `address`: what it resolved to, or what it is. */
export type MayFetch = (host: string, port: number, address: string) => boolean

/**
 * Creates the client. `timeoutSeconds` bounds a whole exchange, from name look-up to the last byte of the answer. `mayFetch` is asked for each
 * connection, where addresses come from people who may not choose every one.
 */
export function createProviderFetch(timeoutSeconds: number, mayFetch?: MayFetch): ProviderFetch {
  const agents = {
    'http:': new HttpAgent({ keepAlive: false, maxSockets, maxTotalSockets: maxSockets }),
    'https:': new HttpsAgent({ keepAlive: false, maxSockets, maxTotalSockets: maxSockets }),
  }

  return {
    async fetch(url, wanted) {
      const target = new URL(url)
      const secure = target.protocol === 'https:'
      const host = target.hostname.replace(/^\[|\]$/g, '')
      const port = target.port === '' ? (secure ? 443 : 80) : Number(target.port)
      // Sockets look up no host that is an address already.
      if (mayFetch !== undefined && isIP(host) !== 0 && !mayFetch(host, port, host))
        throw new PosternError('provider_unavailable', `nothing may be fetched from ${target.host}`)
      const limit = AbortSignal.timeout(timeoutSeconds * 1000)
      const options: RequestOptions = {
        method: wanted.method,
        headers: { ...wanted.headers, 'accept-encoding': 'identity' },
        agent: secure ? agents['https:'] : agents['http:'],
        lookup: mayFetch === undefined ? lookupName : lookupAllowed((address) => mayFetch(host, port, address)),
        signal: wanted.signal ? AbortSignal.any([wanted.signal, limit]) : limit,
      }
      try {
        return await exchange(secure ? httpsRequest : httpRequest, target, options, bodyOf(wanted.body))
      } catch (cause) {
        throw new PosternError('provider_unavailable', `no usable answer from ${target.origin}${target.pathname}`, { cause })
      }
    },
    close() {
      agents['http:'].destroy()
      agents['https:'].destroy()
    },
  }
}

function bodyOf(body: unknown): string | undefined {
  if (body === undefined || body === null) return undefined
  if (body instanceof URLSearchParams || typeof body === 'string') return body.toString()
  throw new TypeError('the provider is only ever sent forms')
}

function exchange(send: typeof httpRequest, target: URL, options: RequestOptions, body: string | undefined): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = send(target, options, (response) => {
      readBody(response).then((bytes) => resolve(toResponse(response, bytes)), reject)
    })
    // One handler for the whole life of the socket: a reset after the answer must not become an uncaught exception.
    request.on('error', reject)
    if (body !== undefined) request.setHeader('content-length', Buffer.byteLength(body))
    request.end(body)
  })
}

function readBody(response: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxResponseBytes) {
        response.destroy(new Error(`the answer is larger than ${maxResponseBytes} bytes`))
        return
      }
      chunks.push(chunk)
    })
    response.on('error', reject)
    response.on('end', () => resolve(Buffer.concat(chunks)))
    response.on('close', () => {
      if (!response.complete) reject(new Error('the connection ended in mid-body'))
    })
  })
}

/** Statuses a `Response` must have no body with. */
const withoutBody = new Set([204, 205, 304])

function toResponse(response: IncomingMessage, bytes: Buffer): Response {
  const headers = new Headers()
  for (const [name, values] of Object.entries(response.headersDistinct)) for (const value of values ?? []) headers.append(name, value)
  const status = response.statusCode ?? 0
  return new Response(withoutBody.has(status) ? null : new Uint8Array(bytes), { status, headers })
}
