/**
 * Which header fields an admin may set, remove or use for identity.
 *
 * Framing and hop-by-hop fields (RFC 9110 §7.6.1) belong to each connection, `Host` to routing, cookies to browser and app, and the
 * identity fields to Postern alone: a static value there would be a forged identity. Names are compared as CGI-style upstreams
 * see them, where `X_Forwarded_User` and `X-Forwarded-User` are the same variable.
 */

const framing = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'trailers',
  'transfer-encoding',
  'upgrade',
])

/** Lower case, and `_` as `-`. */
export function foldHeaderName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

/** RFC 9110 §5.6.2 `token`. */
export function isHeaderName(name: string): boolean {
  return name.length <= 128 && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)
}

/** Why `name` may not be used for `purpose`; `undefined` if it may. */
export function findHeaderProblem(name: string, purpose: 'request' | 'response' | 'identity'): string | undefined {
  if (!isHeaderName(name)) return 'this is not a valid header name'
  const folded = foldHeaderName(name)
  if (framing.has(folded) || folded.startsWith('sec-websocket-'))
    return 'this header belongs to the connection and is never set or removed by a rule'
  if (folded.startsWith('x-postern') || folded === 'postern-authorization') return "headers named X-Postern… are Postern's own"
  if (folded === 'host') return 'the Host header follows from `preserve_host`'
  if (folded === 'cookie' || folded === 'cookie2' || folded === 'set-cookie' || folded === 'set-cookie2') {
    return 'cookies are between the browser and the app'
  }
  if (purpose === 'response') return undefined
  if (purpose === 'identity')
    return isForwardingFact(folded) || folded === 'authorization' ? 'this header already has another meaning' : undefined
  if (/^x-forwarded-(?:user|email|preferred-username|groups)$/.test(folded))
    return 'identity headers are set by Postern alone; see `identity`'
  if (isForwardingFact(folded)) return 'this header is set by Postern on every request'
  return undefined
}

function isForwardingFact(folded: string): boolean {
  return /^(?:forwarded|x-forwarded-(?:for|proto|host|port|server|prefix|uri|method)|x-real-ip|x-request-id|traceparent|tracestate)$/.test(
    folded,
  )
}

/** Why `value` may not be sent: anything but visible ASCII, blanks and tabs could end the field or be read differently behind us. */
export function findHeaderValueProblem(value: string): string | undefined {
  if (value.length > 8192) return 'a header value is at most 8 KiB'
  if (!/^[\t\x20-\x7e]*$/.test(value)) return 'a header value holds visible ASCII characters only, and no line breaks'
  if (value !== value.trim()) return 'a header value has no blanks at its ends'
  return undefined
}
