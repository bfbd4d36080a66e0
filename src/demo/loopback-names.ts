/**
 * Reaching `*.localhost` names from Node: the demo's apps and provider call Postern under the names a browser uses.
 *
 * Browsers answer such names with loopback themselves (RFC 6761 §6.3); Node asks the system, and most systems know only
 * `localhost`. The system is asked first, so that container networks with aliases of these names work, and loopback is
 * used only when it knows nothing. No other name is touched.
 */

import { lookup } from 'node:dns'
import { request as sendRequest } from 'node:http'
import { request as sendTlsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'

/** The largest answer that is read: keys and logout answers are a few kilobytes. */
const largestAnswerBytes = 1024 * 1024

/** A `lookup` for sockets that answers `*.localhost` with loopback where the system has no address for it. */
export const lookupLoopbackNames: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, options, (error, address, family) => {
    if (error?.code !== undefined && /^(ENOTFOUND|EAI_AGAIN)$/.test(error.code) && hostname.endsWith('.localhost')) {
      if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
      else callback(null, '127.0.0.1', 4)
      return
    }
    callback(error, address, family)
  })
}

/**
 * `fetch` for small answers, with the names above. Redirects are not followed, and the whole call ends after `timeoutMs`.
 *
 * It is also what the demo's provider calls Postern with: the provider's own client refuses loopback addresses, rightly for a
 * provider on the internet, and here everything is on loopback.
 */
export async function fetchLoopbackNames(
  url: string | URL,
  options: { readonly method?: string; readonly headers?: ConstructorParameters<typeof Headers>[0]; readonly body?: unknown } = {},
  timeoutMs = 5000,
): Promise<Response> {
  const target = new URL(url)
  const body = options.body === undefined || options.body === null ? undefined : String(options.body)
  const headers: Record<string, string> = Object.fromEntries(new Headers(options.headers))
  if (body !== undefined) headers['content-length'] = String(Buffer.byteLength(body))
  const send = target.protocol === 'https:' ? sendTlsRequest : sendRequest
  return await new Promise<Response>((resolve, reject) => {
    const request = send(
      target,
      { method: options.method ?? 'GET', headers, agent: false, lookup: lookupLoopbackNames, signal: AbortSignal.timeout(timeoutMs) },
      (answer) => {
        const chunks: Buffer[] = []
        let bytes = 0
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > largestAnswerBytes) request.destroy(new Error('the answer is too large'))
          chunks.push(chunk)
        })
        answer.on('error', reject)
        answer.on('end', () => {
          const status = answer.statusCode ?? 502
          const type = answer.headers['content-type']
          // A Response may not carry a body with these statuses (Fetch §2.2.3).
          const content = status === 204 || status === 304 ? null : Buffer.concat(chunks)
          resolve(new Response(content, { status, headers: type === undefined ? {} : { 'content-type': type } }))
        })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}
