/**
 * The server under each of the demo's apps: plain `node:http`, one handler, and the answers that all three give alike.
 *
 * The apps know no sign-in, no session and no cookie: that is Postern's work. They do what is left to an app: escape what they
 * print, bound what they read, refuse script that is not theirs. A handler that throws answers 500 and says nothing more.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { loadDemoAsset } from '../assets.ts'
import type { Markup } from '../markup.ts'

/** A running app. `close` also cuts what is still open. */
export interface RunningApp {
  /** Where it listens, for `upstream:` in a policy document. */
  readonly origin: string
  close(): Promise<void>
}

export interface AppServerOptions {
  /** 0 takes any free port. */
  readonly port: number
  /** Address to listen on; loopback if not given. */
  readonly host?: string | undefined
  readonly handle: (request: IncomingMessage, response: ServerResponse, target: AppTarget) => Promise<void> | void
  /** Called before the server closes, for what outlives a request. */
  readonly onClose?: () => void | Promise<void>
}

/** The request target, taken apart. Postern has made it canonical already. */
export interface AppTarget {
  readonly path: string
  /** The path's segments, decoded. */
  readonly segments: readonly string[]
  readonly query: URLSearchParams
}

const stylesheet = loadDemoAsset('apps.css')

/** Starts an app's server; rejects if the port is taken. The server is returned too, for an app that takes upgrades. */
export async function startAppServer(options: AppServerOptions): Promise<{ readonly app: RunningApp; readonly server: Server }> {
  const host = options.host ?? '127.0.0.1'
  // Uploads take as long as they take: Postern's own limits are in front of this server. Connections are kept longer than Postern
  // keeps them, so that it never sends a request into one that is just being closed here.
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 75_000 }, (request, response) => {
    response.on('error', () => {
      // The client left while we were writing; there is nobody to tell.
    })
    respond(request, response).catch(() => {
      if (response.headersSent) response.destroy()
      else sendText(response, 500, 'Something went wrong in the app.')
    })
  })

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = parseTarget(request)
    if (target === undefined) return sendText(response, 400, 'That address cannot be read.')
    if (target.path === '/assets/apps.css') return sendAsset(response, stylesheet)
    await options.handle(request, response, target)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : options.port
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await options.onClose?.()
    await closed
  }
  return { app: { origin: `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${port}`, close }, server }
}

/** Sends a page with the headers that every page here has: no script, style or form but the app's own. */
export function sendPage(response: ServerResponse, status: number, page: Markup): void {
  response.setHeader(
    'Content-Security-Policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  )
  send(response, status, 'text/html; charset=utf-8', page.toString())
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, 'application/json; charset=utf-8', JSON.stringify(value))
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${text}\n`)
}

/** Sends one of the demo's own files. The browser may keep it for an hour. */
export function sendAsset(response: ServerResponse, asset: { readonly type: string; readonly body: Buffer }): void {
  response.writeHead(200, {
    'Content-Type': asset.type,
    'Content-Length': asset.body.length,
    'Cache-Control': 'private, max-age=3600',
    'X-Content-Type-Options': 'nosniff',
  })
  response.end(asset.body)
}

/** 303 to a path of this app: what a form answers, so that reloading does not submit it again. */
export function sendRedirect(response: ServerResponse, path: string): void {
  response.writeHead(303, { Location: path, 'Content-Length': 0 })
  response.end()
}

/**
 * The whole body as text. Rejects beyond `limitBytes`.
 *
 * What remains is then read and dropped rather than left lying: the caller's answer arrives, and the connection stays usable.
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<string> {
  return await new Promise<string>((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= limitBytes) chunks.push(chunk)
      else reject(new RangeError(`the body is larger than ${limitBytes} bytes`))
    })
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    request.on('error', reject)
    request.on('close', () => reject(new Error('the client left')))
  })
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'same-origin',
  })
  response.end(body)
}

function parseTarget(request: IncomingMessage): AppTarget | undefined {
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2)
  try {
    return { path, segments: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) }
  } catch {
    return undefined // a malformed escape
  }
}
