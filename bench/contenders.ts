/**
 * The processes beside Postern in `guarded-request`: the upstream they all forward to, a bare pass-through on undici (same client,
 * same way of dispatching, no check and no change of any header), and `http-proxy` with a keep-alive agent.
 *
 * Usage: `node bench/contenders.ts upstream`, or `pass-through|http-proxy UPSTREAM-ORIGIN`; the port goes to the parent.
 */

import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { type Dispatcher, Pool } from 'undici'

const [role, origin = ''] = process.argv.slice(2)
const server = role === 'upstream' ? upstream() : role === 'pass-through' ? passThrough() : httpProxy()
server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port })
})
process.on('disconnect', () => process.exit(0))

function upstream(): Server {
  const body = Buffer.from(JSON.stringify({ items: Array.from({ length: 20 }, (_, id) => ({ id, name: `Item number ${id}` })) }))
  return createServer({ keepAliveTimeout: 120_000 }, (_request, response) => {
    response.writeHead(200, {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': body.length,
      'Cache-Control': 'no-cache',
      ETag: '"a1b2c3"',
      Vary: 'Accept-Encoding',
    })
    response.end(body)
  })
}

function passThrough(): Server {
  const pool = new Pool(origin, { allowH2: false, pipelining: 1 })
  const hopByHop = new Set(['host', 'connection', 'keep-alive', 'transfer-encoding'])

  class PassThrough implements Dispatcher.DispatchHandler {
    readonly #response: ServerResponse
    constructor(response: ServerResponse) {
      this.#response = response
    }
    onRequestStart(): void {}
    onResponseStart(
      _controller: Dispatcher.DispatchController,
      status: number,
      headers: Record<string, string | string[] | undefined>,
    ): void {
      const lines: string[] = []
      for (const name in headers) {
        const value = headers[name]
        if (!hopByHop.has(name) && value !== undefined) lines.push(name, String(value))
      }
      this.#response.writeHead(status, lines)
    }
    onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
      if (this.#response.write(chunk)) return
      controller.pause()
      this.#response.once('drain', () => controller.resume())
    }
    onResponseEnd(): void {
      this.#response.end()
    }
    onResponseError(): void {
      this.#response.destroy()
    }
  }

  return createServer({ keepAliveTimeout: 120_000 }, (request: IncomingMessage, response) => {
    const { rawHeaders } = request
    const headers: string[] = []
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      if (!hopByHop.has(name.toLowerCase())) headers.push(name, rawHeaders[i + 1] as string)
    }
    pool.dispatch(
      { path: request.url ?? '/', method: request.method as Dispatcher.HttpMethod, headers, body: null },
      new PassThrough(response),
    )
  })
}

function httpProxy(): Server {
  const { createProxyServer } = createRequire(import.meta.url)('http-proxy') as {
    createProxyServer(options: object): {
      web(request: IncomingMessage, response: ServerResponse): void
      on(event: 'error', listener: (error: Error, request: IncomingMessage, response: ServerResponse) => void): void
    }
  }
  const proxy = createProxyServer({ target: origin, agent: new Agent({ keepAlive: true, maxSockets: 256 }) })
  proxy.on('error', (_error, _request, response) => response.destroy())
  return createServer({ keepAliveTimeout: 120_000 }, (request, response) => proxy.web(request, response))
}
