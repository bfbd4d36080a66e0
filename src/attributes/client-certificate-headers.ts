/**
 * Client certificates as a proxy in front of us hands them on: `Client-Cert` and `Client-Cert-Chain` (RFC 9440), or Envoy's
 * `X-Forwarded-Client-Cert`.
 *
 * These functions only read; whose lines they are is the caller's to know. Nothing is guessed: a header that is there and is not exactly
 * what the proxy would write is malformed, and malformed is a certificate that is refused, never none.
 */

import { X509Certificate } from 'node:crypto'
import { maxCertificateBytes } from './client-certificate-parsing.ts'
import { maxPresented } from './presented-certificates.ts'

/** DER of the certificate and of what came with it; `none`: the proxy saw no certificate. */
export type ForwardedChain = readonly Buffer[] | 'none' | 'malformed'

/** The lines that matter, in the order of the message. */
export interface ForwardedLines {
  /** `Client-Cert`, or `X-Forwarded-Client-Cert`. */
  readonly certificate: readonly string[]
  /** `Client-Cert-Chain`. */
  readonly chain: readonly string[]
}

/** Picks the lines of one form out of raw headers, which nobody has joined or removed anything from yet. */
export function findForwardedLines(rawHeaders: readonly string[], form: 'client_cert' | 'xfcc'): ForwardedLines {
  const certificate: string[] = []
  const chain: string[] = []
  const wanted = form === 'xfcc' ? 'x-forwarded-client-cert' : 'client-cert'
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (name.length !== wanted.length && name.length !== chainHeader.length) continue
    const lower = name.toLowerCase()
    if (lower === wanted) certificate.push(rawHeaders[index + 1] ?? '')
    else if (form === 'client_cert' && lower === chainHeader) chain.push(rawHeaders[index + 1] ?? '')
  }
  return { certificate, chain }
}

const chainHeader = 'client-cert-chain'

/** Reads the RFC 9440 headers: an Item and a List of byte sequences (RFC 8941 §3.3.5), without parameters, which none are defined. */
export function parseClientCert({ certificate, chain }: ForwardedLines): ForwardedChain {
  if (certificate.length === 0) return chain.length === 0 ? 'none' : 'malformed'
  const [line = ''] = certificate
  const device = certificate.length === 1 ? parseByteSequence(line) : undefined
  const others = chain
    .join(',')
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
  const intermediates = chain.length === 0 ? [] : others.map(parseByteSequence)
  if (device === undefined || intermediates.length > maxPresented) return 'malformed'
  const whole = intermediates.filter((one) => one !== undefined)
  return whole.length === intermediates.length ? [device, ...whole] : 'malformed'
}

function parseByteSequence(text: string): Buffer | undefined {
  const [, body] = /^ *:([A-Za-z0-9+/]+={0,2}): *$/.exec(text) ?? []
  if (body === undefined || body.length > (maxCertificateBytes * 4) / 3 + 4) return undefined
  const bytes = Buffer.from(body, 'base64')
  // One spelling only: bits that decoding throws away would make two headers of one certificate.
  return bytes.toString('base64') === body || bytes.toString('base64').replace(/=+$/, '') === body ? bytes : undefined
}

/**
 * Reads `X-Forwarded-Client-Cert`: elements split by commas, each proxy adding its own at the end, each of `Key=value` pairs split by
 * semicolons. Only the last element is our trusted proxy's; whatever stands before it, a client may have written.
 */
export function parseForwardedClientCert({ certificate }: ForwardedLines): ForwardedChain {
  if (certificate.length === 0) return 'none'
  const elements = splitOutsideQuotes(certificate.join(','), ',')
  const last = elements?.at(-1)
  const pairs = last === undefined ? undefined : splitOutsideQuotes(last, ';')
  if (pairs === undefined) return 'malformed'
  const values = new Map<string, string>()
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    const key = pair.slice(0, equals).trim().toLowerCase()
    const value = unquote(pair.slice(equals + 1).trim())
    if (equals < 1 || value === undefined) return 'malformed'
    if (key !== 'cert' && key !== 'chain') continue
    if (values.has(key)) return 'malformed'
    values.set(key, value)
  }
  const device = parseEscapedPem(values.get('cert') ?? '')
  const chain = values.has('chain') ? parseEscapedPem(values.get('chain') ?? '') : []
  // Envoy repeats the certificate itself at the head of its chain.
  const [first] = device ?? []
  if (first === undefined || device?.length !== 1 || chain === undefined || chain.length > maxPresented + 1) return 'malformed'
  return [first, ...chain.filter((one) => !one.equals(first))]
}

/** `undefined` where a quote is never closed. */
function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] | undefined {
  const parts: string[] = []
  let start = 0
  let isQuoted = false
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index]
    if (isQuoted && character === '\\') index += 1
    else if (character === '"') isQuoted = !isQuoted
    else if (character === separator && !isQuoted) {
      parts.push(text.slice(start, index))
      start = index + 1
    }
  }
  parts.push(text.slice(start))
  return isQuoted ? undefined : parts
}

function unquote(value: string): string | undefined {
  if (!value.includes('"')) return value
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"$/.exec(value) ?? []
  return quoted?.replace(/\\(.)/g, '$1')
}

function parseEscapedPem(text: string): Buffer[] | undefined {
  if (text.length > maxCertificateBytes * 3 * (maxPresented + 1)) return undefined
  try {
    const pem = decodeURIComponent(text)
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? []
    if (blocks.length === 0 || pem.replace(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g, '').trim() !== '')
      return undefined
    return blocks.map((block) => new X509Certificate(block).raw)
  } catch {
    // A broken escape, or a block that is no certificate.
    return undefined
  }
}
