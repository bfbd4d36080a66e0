/**
 * Whether an upstream answers: one connection, one HEAD request, three seconds, and a word about what came of it.
 *
 * Whoever may ask this can make this machine open connections inside the network, so it is as narrow as it can be (SSRF): only where a policy could
 * lead, judged again by the address that is connected to; no redirect is followed, no credential and no header of theirs is sent, and of what
 * answers nothing is handed out but the class of its status.
 */

import { type ClientRequest, type RequestOptions, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'

/** Where a policy may lead, and how names become addresses: the rules of the forwarder. */
export interface UpstreamReachPort {
  /** By the name or address as it is written. */
  isReachAllowed(host: string, port: number): boolean
  /** Of a host that is an address already: why it may not be connected to. */
  findProblem(host: string, port: number): Error | undefined
  /** Yields permitted addresses only, and fails where none is left. */
  lookupFor(port: number): LookupFunction
}

export const upstreamAnswers = [
  'answers',
  'not_allowed',
  'name_unknown',
  'connection_refused',
  'unreachable',
  'timeout',
  'tls_problem',
  'not_http',
] as const

export interface UpstreamAnswer {
  readonly result: (typeof upstreamAnswers)[number]
  /** `2xx` … `5xx`; only where it answered. */
  readonly statusClass: string | undefined
  /** The code of OpenSSL or Node for a certificate that is not accepted, such as `CERT_HAS_EXPIRED`. */
  readonly tlsCode: string | undefined
}

const limitMs = 3000

/** Tries one upstream. Never rejects. `url` is an origin with a path, without credentials; `ca` and `serverName` as the document has them. */
export function checkUpstream(
  reach: UpstreamReachPort,
  { ca, serverName, url }: { readonly url: URL; readonly ca?: string | undefined; readonly serverName?: string | undefined },
): Promise<UpstreamAnswer> {
  const isTls = url.protocol === 'https:'
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (!reach.isReachAllowed(host, port) || reach.findProblem(host, port) !== undefined) return Promise.resolve(answer('not_allowed'))
  return new Promise((resolve) => {
    let request: ClientRequest | undefined
    const timer = setTimeout(() => finish(answer('timeout')), limitMs)
    function finish(result: UpstreamAnswer): void {
      clearTimeout(timer)
      request?.destroy()
      resolve(result)
    }
    const options: RequestOptions & { ca?: string; servername?: string } = {
      host,
      port,
      method: 'HEAD',
      path: url.pathname,
      // One connection of its own, which ends with the answer.
      agent: false,
      lookup: reach.lookupFor(port),
      maxHeaderSize: 16 * 1024,
      ...(ca === undefined ? {} : { ca }),
      ...(serverName === undefined ? {} : { servername: serverName }),
    }
    try {
      request = (isTls ? requestHttps : requestHttp)(options, (response) => {
        response.resume()
        const { statusCode = 0 } = response
        finish({ result: 'answers', statusClass: `${Math.floor(statusCode / 100)}xx`, tlsCode: undefined })
      })
      // It answers in another protocol than we asked in, and whatever else comes is not read.
      request.once('upgrade', (_response, socket) => {
        socket.destroy()
        finish({ result: 'answers', statusClass: '1xx', tlsCode: undefined })
      })
      // Stays: destroying it may fail once more.
      request.on('error', (error: NodeJS.ErrnoException) => finish(explain(error)))
      request.end()
    } catch {
      // A name or path that Node refuses to send.
      finish(answer('not_http'))
    }
  })
}

function answer(result: UpstreamAnswer['result'], tlsCode?: string): UpstreamAnswer {
  return { result, statusClass: undefined, tlsCode }
}

function explain({ code = '' }: NodeJS.ErrnoException): UpstreamAnswer {
  if (code === 'POSTERN_ADDRESS_FORBIDDEN') return answer('not_allowed')
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EAI_NONAME') return answer('name_unknown')
  if (code === 'ECONNREFUSED') return answer('connection_refused')
  if (code === 'ETIMEDOUT') return answer('timeout')
  if (/CERT|SIGNED|ISSUER|ALTNAME|^ERR_SSL|^ERR_TLS|^EPROTO$|CRL|UNABLE_TO/.test(code)) return answer('tls_problem', code.slice(0, 80))
  if (code.startsWith('HPE_') || code === 'ECONNRESET') return answer('not_http')
  return answer('unreachable')
}
