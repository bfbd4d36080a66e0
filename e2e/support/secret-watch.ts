/**
 * Every secret that a story uses, and the search for them in everything that an instance says: standard output and error, the audit trail,
 * the metrics.
 *
 * The parts of the rig note secrets as they come by: clients and browsers the cookies, one-time words and forms that they see, the providers
 * what they issue, the rig its passwords and the key file. When a rig stops, whatever its instances said is searched, each secret
 * as it is, percent-encoded, escaped as in JSON, and in base64 wherever it may stand in one. What is found fails the file of tests.
 */

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'

/** Shorter ones stand in any text by chance; so does what repeats itself. */
const leastLength = 12
const leastDistinct = 8

/** Parameters of URLs and fields of forms and answers that are secrets wherever they are met. */
const secretParameters = new Set(
  'code state nonce code_verifier id_token id_token_hint access_token refresh_token client_assertion client_secret logout_token break_glass password resume'.split(
    ' ',
  ),
)

/** Variant of a secret to what it is. */
const noted = new Map<string, string>()
/** Secrets that were taken apart already. */
const known = new Set<string>()
/** Which first characters any variant has, so that a search looks twice only where one could begin. */
let beginnings = new Map<string, string[]>()
/** Which first four characters any variant has, by a number that others may share: looked up at every place of a text. */
const openings = new Uint8Array(2 ** 20)

/** Notes a secret; `what` is what a report calls it. */
export function noteSecret(secret: string | undefined, what: string): void {
  if (secret === undefined || secret.length < leastLength || known.has(secret) || new Set(secret).size < leastDistinct) return
  known.add(secret)
  for (const variant of variantsOf(secret)) {
    if (variant.length < leastLength || noted.has(variant)) continue
    noted.set(variant, what)
    const start = variant.slice(0, leastLength)
    openings[openingAt(variant, 0)] = 1
    const others = beginnings.get(start)
    if (others === undefined) beginnings.set(start, [variant])
    else others.push(variant)
  }
}

/** A token in three parts is found by its last: the others say nothing that is secret. */
export function noteToken(token: unknown, what: string): void {
  if (typeof token !== 'string') return
  noteSecret(token, what)
  const parts = token.split('.')
  if (parts.length === 3) noteSecret(parts[2], `signature of ${what}`)
}

/** Takes a secret back that a test puts where it may be read. */
export function forgiveSecret(secret: string): void {
  for (const variant of [secret, ...variantsOf(secret)]) noted.delete(variant)
  beginnings = new Map()
  for (const variant of noted.keys()) {
    const start = variant.slice(0, leastLength)
    beginnings.set(start, [...(beginnings.get(start) ?? []), variant])
  }
}

/** Secret parameters of a URL; one that does not parse has none. */
export function noteUrl(url: string, where: string): void {
  const query = url.indexOf('?')
  if (query !== -1) noteParameters(new URLSearchParams(url.slice(query + 1).replace(/#.*$/s, '')), where)
}

/** The secret ones of these. */
export function noteParameters(parameters: URLSearchParams | Readonly<Record<string, unknown>>, where: string): void {
  const entries = parameters instanceof URLSearchParams ? parameters.entries() : Object.entries(parameters)
  for (const [name, value] of entries) {
    if (typeof value === 'string' && secretParameters.has(name)) noteToken(value, `${name} ${where}`)
  }
}

/** The value of a `Set-Cookie` or of each pair in `Cookie`. */
export function noteCookies(pairs: readonly string[], where: string): void {
  for (const pair of pairs) {
    const [, name = '', value] = /^\s*([^=]+)=([^;]*)/.exec(pair) ?? []
    noteSecret(value, `cookie ${name.trim()} ${where}`)
  }
}

/** What is secret in a request: cookies, credentials, the whole of a form and its secret fields. */
export function noteRequest(url: string, headers: Readonly<Record<string, string | undefined>>, body: string | undefined): void {
  noteUrl(url, 'in a URL')
  for (const [name, value = ''] of Object.entries(headers)) noteHeader(name, value)
  if (body === undefined) return
  noteSecret(body, 'body of a form')
  if (!body.startsWith('{')) noteParameters(new URLSearchParams(body), 'in a form')
}

/** What is secret in an answer: cookies, where it leads, one-time words in its forms. */
export function noteAnswer(setCookies: readonly string[], location: string | undefined, body: string): void {
  noteCookies(
    setCookies.map((line) => line.split(';', 1)[0] ?? ''),
    'set',
  )
  if (location !== undefined) noteUrl(location, 'in a redirect')
  for (const [, name, value] of body.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]{12,})"/g))
    if (name === 'resume' || name === 'csrf' || name === 'token') noteSecret(value, `one-time word ${name}`)
}

/** Raw bytes of HTTP, either way. */
export function noteRaw(text: string): void {
  for (const [, name = '', value = ''] of text.matchAll(/^([A-Za-z-]+):[ \t]*([^\r\n]*)\r?$/gm)) noteHeader(name, value)
}

function noteHeader(name: string, value: string): void {
  switch (name.toLowerCase()) {
    case 'cookie':
      noteCookies(value.split(';'), 'sent')
      break
    case 'set-cookie':
      noteCookies([value.split(';', 1)[0] ?? ''], 'set')
      break
    case 'location':
      noteUrl(value, 'in a redirect')
      break
    case 'authorization':
    case 'postern-authorization':
      noteToken(/^\s*[A-Za-z]+\s+(\S+)/.exec(value)?.[1], `credentials in ${name}`)
      break
    default:
  }
}

/** What is secret in the key file: every root and every private half. */
export async function noteKeyFile(file: string): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) return
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [name, field] of Object.entries(value)) {
      if (typeof field === 'string' && (name === 'key' || name === 'd')) noteSecret(field, `${path}.${name} of the key file`)
      else visit(field, `${path}.${name}`)
    }
  }
  try {
    visit(JSON.parse(text), '')
  } catch {
    // A test broke it; what it held before was noted at a stop before, or never used.
  }
}

/** Where each secret stands in this text; at most a few. */
export function findSecrets(text: string, where: string): readonly string[] {
  const found = new Map<string, string>()
  for (let at = 0; at + leastLength <= text.length && found.size < 10; at += 1) {
    const variants = openings[openingAt(text, at)] === 1 ? beginnings.get(text.slice(at, at + leastLength)) : undefined
    if (variants === undefined) continue
    for (const variant of variants) {
      if (!text.startsWith(variant, at)) continue
      const what = noted.get(variant) ?? 'a secret'
      found.set(what, `${where} holds ${what}: …${text.slice(Math.max(0, at - 120), at + variant.length + 40)}…`)
    }
  }
  return [...found.values()]
}

function openingAt(text: string, at: number): number {
  const characters =
    (text.charCodeAt(at) << 15) ^ (text.charCodeAt(at + 1) << 10) ^ (text.charCodeAt(at + 2) << 5) ^ text.charCodeAt(at + 3)
  return characters & (openings.length - 1)
}

/** The same in every file of an audit folder. */
export async function findSecretsInTrail(folder: string): Promise<readonly string[]> {
  return (await readTrail(folder)).flatMap(({ name, text }) => findSecrets(text, `the audit trail (${name})`))
}

/** Every segment of an audit folder as text, compressed ones included. One that is compressed meanwhile has another name: all is read again. */
export async function readTrail(folder: string, attempts = 5): Promise<readonly { readonly name: string; readonly text: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const segments = entries.filter((entry) => entry.isFile() && /\.ndjson(?:\.zst)?$/.test(entry.name))
  try {
    return await Promise.all(
      segments.map(async ({ name, parentPath }) => {
        const bytes = await readFile(join(parentPath, name))
        return { name, text: (name.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes).toString('utf8') }
      }),
    )
  } catch (error) {
    if (attempts === 0 || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return await readTrail(folder, attempts - 1)
  }
}

/** How much there is to search. */
export async function countTrailBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = await Promise.all(
    entries.filter((entry) => entry.isFile()).map((entry) => stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))),
  )
  return sizes.reduce((sum, { size }) => sum + size, 0)
}

/** How many are watched for. */
export function countSecrets(): number {
  return known.size
}

function variantsOf(secret: string): readonly string[] {
  const variants = [secret, encodeURIComponent(secret), encodeURIComponent(encodeURIComponent(secret)), JSON.stringify(secret).slice(1, -1)]
  for (let offset = 0; offset < 3; offset += 1) {
    const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret, 'utf8')])
    // Characters that also hold bits of a neighbour are another's as well.
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 3))
    const text = whole.toString('base64').slice(offset === 0 ? 0 : 4)
    variants.push(text, text.replaceAll('+', '-').replaceAll('/', '_'))
  }
  return variants
}
