/**
 * A browser without a screen: keeps cookies as RFC 6265 says, follows redirects when asked, sends the fetch metadata that a navigation
 * sends. For stories about many requests, where Chromium would only be slow.
 */

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { noteAnswer, noteRequest } from './secret-watch.ts'

export interface Answer {
  readonly url: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  header(name: string): string | undefined
}

export interface RequestWish {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** A navigation sends `Sec-Fetch-Mode: navigate` and so on; a fetch does not. */
  readonly as?: 'navigation' | 'fetch'
}

interface Cookie {
  readonly name: string
  readonly value: string
  /** Host the cookie belongs to; host-only unless `wide`. */
  readonly host: string
  readonly wide: boolean
  readonly path: string
  readonly secure: boolean
}

export class Client {
  readonly #cookies = new Map<string, Cookie>()
  readonly ca: string | undefined
  /** What it shows to servers that ask for a certificate; may be exchanged. */
  certificate: { readonly cert: string; readonly key: string } | undefined
  /** Ports to connect to instead of the URL's: another instance behind the same address. */
  readonly detours = new Map<number, number>()

  constructor(options: { readonly ca?: string; readonly certificate?: Client['certificate'] } = {}) {
    this.ca = options.ca
    this.certificate = options.certificate
  }

  /** One request; cookies are sent and taken. Never follows. */
  send(url: string, wish: RequestWish = {}): Promise<Answer> {
    const target = new URL(url)
    const isNavigation = (wish.as ?? 'navigation') === 'navigation'
    const detour = this.detours.get(Number(target.port))
    const headers: Record<string, string> = {
      host: target.host,
      accept: isNavigation ? 'text/html,*/*;q=0.8' : 'application/json',
      'sec-fetch-site': 'none',
      'sec-fetch-mode': isNavigation ? 'navigate' : 'cors',
      'sec-fetch-dest': isNavigation ? 'document' : 'empty',
      'user-agent': 'postern-test',
      ...wish.headers,
    }
    const cookie = this.cookieHeader(url)
    if (cookie !== '' && headers['cookie'] === undefined) headers['cookie'] = cookie
    noteRequest(url, headers, wish.body)
    if (wish.body !== undefined) headers['content-length'] = String(Buffer.byteLength(wish.body))
    return new Promise((resolve, reject) => {
      const options = {
        method: wish.method ?? 'GET',
        headers,
        lookup: toLoopback,
        ...(this.ca === undefined ? {} : { ca: this.ca }),
        ...this.certificate,
        ...(detour === undefined ? {} : { port: detour }),
        agent: false as const,
      }
      const outgoing = (target.protocol === 'https:' ? httpsRequest : httpRequest)(target, options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          for (const line of response.headers['set-cookie'] ?? []) this.take(line, target)
          const body = Buffer.concat(chunks).toString('utf8')
          noteAnswer(response.headers['set-cookie'] ?? [], response.headers.location, body)
          resolve({
            url,
            status: response.statusCode ?? 0,
            headers: response.headers,
            body,
            header: (name) => {
              const value = response.headers[name.toLowerCase()]
              return Array.isArray(value) ? value.join(', ') : value
            },
          })
        })
      })
      outgoing.setTimeout(20_000, () => outgoing.destroy(new Error(`no answer from ${url}`)))
      outgoing.on('error', reject)
      outgoing.end(wish.body)
    })
  }

  /** Follows redirects with GET until an answer is not one, at most `limit` times. */
  async follow(url: string, wish: RequestWish = {}, limit = 15): Promise<Answer & { readonly trail: readonly string[] }> {
    const trail = [url]
    let answer = await this.send(url, wish)
    for (let hops = 0; answer.status >= 300 && answer.status < 400 && answer.header('location') !== undefined; hops += 1) {
      if (hops === limit) throw new Error(`more than ${limit} redirects:\n${trail.join('\n')}`)
      const next = new URL(answer.header('location') ?? '', answer.url).href
      trail.push(next)
      const { cookie: _cookie, ...headers } = wish.headers ?? {}
      answer = await this.send(next, { headers })
    }
    return Object.assign(answer, { trail })
  }

  cookieHeader(url: string): string {
    const { hostname, pathname, protocol } = new URL(url)
    return [...this.#cookies.values()]
      .filter((cookie) => (cookie.wide ? hostname === cookie.host || hostname.endsWith(`.${cookie.host}`) : hostname === cookie.host))
      .filter((cookie) => pathname.startsWith(cookie.path) && (!cookie.secure || protocol === 'https:' || hostname.endsWith('.localhost')))
      .map((cookie) => `${cookie.name}=${cookie.value}`)
      .join('; ')
  }

  cookie(name: string, host: string): string | undefined {
    return [...this.#cookies.values()].find((cookie) => cookie.name === name && cookie.host === host)?.value
  }

  setCookie(name: string, value: string, host: string): void {
    this.#cookies.set(`${name}|${host}|/`, { name, value, host, wide: false, path: '/', secure: false })
  }

  /** Drops one cookie, as closing a browser does with those that have no age. */
  forget(name: string, host: string): void {
    for (const [key, cookie] of this.#cookies) if (cookie.name === name && cookie.host === host) this.#cookies.delete(key)
  }

  clearCookies(): void {
    this.#cookies.clear()
  }

  private take(line: string, from: URL): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals)
    const value = pair.slice(equals + 1)
    const attribute = (wanted: string) => attributes.find((part) => part.toLowerCase().split('=', 1)[0] === wanted)
    const domain = attribute('domain')?.split('=')[1]?.replace(/^\./, '')
    const cookie: Cookie = {
      name,
      value,
      host: domain ?? from.hostname,
      wide: domain !== undefined,
      path: attribute('path')?.split('=')[1] ?? '/',
      secure: attribute('secure') !== undefined,
    }
    if (name.startsWith('__Host-') && (cookie.wide || cookie.path !== '/' || !cookie.secure)) return
    const key = `${name}|${cookie.host}|${cookie.path}`
    const expires = attribute('expires')?.slice('expires='.length)
    const isRemoval = attribute('max-age') === 'Max-Age=0' || (expires !== undefined && new Date(expires).getTime() <= Date.now())
    if (isRemoval) this.#cookies.delete(key)
    else this.#cookies.set(key, cookie)
  }
}

type LookupCallback = (error: Error | null, address: string | { address: string; family: number }[], family?: number) => void

/** Every name of a test is this machine. */
function toLoopback(_hostname: string, options: { readonly all?: boolean | undefined }, callback: LookupCallback): void {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}
