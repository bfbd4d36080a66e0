/**
 * An upstream for large and long things: generated downloads, uploads that are only counted and summed, event streams, WebSockets.
 *
 * Data is generated, never held: a block of a prime length over and over, so that a lost, doubled or moved byte changes the sum.
 * `transfers` says how far each body came on this side, whatever happened on the other.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { crc32 } from 'node:zlib'
import { type WebSocket, WebSocketServer } from 'ws'

export interface Transfer {
  /** Bytes of the body taken from, or handed to, the socket. */
  bytes: number
  /** Checksum of those bytes. */
  sum: number
  /** Ended as it should. */
  isWhole: boolean
  /** The other side was gone before the end; monotonic instant. */
  abortedAt: number | undefined
}

export interface StreamingUpstream {
  readonly origin: string
  /** By the `id` parameter of the request. */
  readonly transfers: ReadonlyMap<string, Transfer>
  /** Open event streams. */
  readonly streams: ReadonlySet<ServerResponse>
  /** Open WebSockets; each echoes what it hears. */
  readonly sockets: ReadonlySet<WebSocket>
  /** Writes one event to every stream. */
  publish(text: string): void
  close(): Promise<void>
}

/** 1 MiB and a bit, a prime number. */
const block = randomBytes(1_048_583)
const writeBytes = 64 * 1024

/** Pieces of the generated data, `bytes` in all. */
export function* generate(bytes: number): Generator<Buffer> {
  for (let position = 0; position < bytes; ) {
    const start = position % block.length
    const piece = block.subarray(start, Math.min(start + writeBytes, block.length, start + bytes - position))
    position += piece.length
    yield piece
  }
}

/**
 * Starts one on loopback.
 *
 * `/upload?id=` · `/download?id=&bytes=[&framing=chunked][&pause=MS]` · `/silence` · `/events` · `/ws` · anything else: `ok`.
 */
export async function startStreamingUpstream(): Promise<StreamingUpstream> {
  const transfers = new Map<string, Transfer>()
  const streams = new Set<ServerResponse>()
  const sockets = new Set<WebSocket>()
  const server = createServer({ keepAliveTimeout: 1000 }, (request, response) => {
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    answer(request, response).catch(() => response.destroy())
  })
  const webSockets = new WebSocketServer({ noServer: true })

  function begin(id: string): Transfer {
    const transfer: Transfer = { bytes: 0, sum: 0, isWhole: false, abortedAt: undefined }
    transfers.set(id, transfer)
    return transfer
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://upstream')
    const id = searchParams.get('id') ?? ''
    switch (pathname) {
      case '/upload':
        return await upload(request, response, begin(id))
      case '/download':
        return await download(response, begin(id), searchParams)
      case '/silence':
        // Neither reads nor answers.
        return
      case '/events':
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(': here\n\n')
        streams.add(response)
        response.once('close', () => streams.delete(response))
        return
      default:
        request.resume()
        response.end('ok')
    }
  }

  async function upload(request: IncomingMessage, response: ServerResponse, transfer: Transfer): Promise<void> {
    request.once('close', () => {
      if (!request.complete) transfer.abortedAt = performance.now()
    })
    for await (const chunk of request as AsyncIterable<Buffer>) {
      transfer.bytes += chunk.length
      transfer.sum = crc32(chunk, transfer.sum)
    }
    transfer.isWhole = true
    const framing = request.headers['transfer-encoding'] ?? `length ${request.headers['content-length']}`
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ bytes: transfer.bytes, sum: transfer.sum, framing }))
  }

  async function download(response: ServerResponse, transfer: Transfer, query: URLSearchParams): Promise<void> {
    const bytes = Number(query.get('bytes'))
    const pauseMs = Number(query.get('pause') ?? 0)
    response.once('close', () => {
      if (!transfer.isWhole) transfer.abortedAt = performance.now()
    })
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      ...(query.get('framing') === 'chunked' ? {} : { 'content-length': bytes }),
    })
    const closed = once(response, 'close')
    for (const piece of generate(bytes)) {
      if (response.destroyed) return
      const isTaken = response.write(piece)
      transfer.bytes += piece.length
      transfer.sum = crc32(piece, transfer.sum)
      if (!isTaken) await Promise.race([new Promise((resolve) => response.once('drain', resolve)), closed])
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    if (response.destroyed) return
    transfer.isWhole = true
    response.end()
  }

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      sockets.add(webSocket)
      webSocket.on('error', () => webSocket.terminate())
      webSocket.on('message', (message) => webSocket.send(String(message)))
      webSocket.once('close', () => sockets.delete(webSocket))
    })
  })
  server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    transfers,
    streams,
    sockets,
    publish: (text) => {
      for (const stream of streams) stream.write(`data: ${text}\n\n`)
    },
    close: () =>
      new Promise((resolve) => {
        for (const webSocket of sockets) webSocket.terminate()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
