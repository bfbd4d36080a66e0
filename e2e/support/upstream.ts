/**
 * The oracle: a raw TCP upstream that writes down every byte it receives. Whether an attack worked is judged here, not by a status code.
 *
 * It answers each request with JSON that echoes the header lines, unless a mode is set for the path or for everything.
 */

import { createServer, type Server, type Socket } from 'node:net'

export interface SeenRequest {
  readonly method: string
  readonly target: string
  /** Lines as received, name and value. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

export interface Upstream {
  readonly port: number
  readonly origin: string
  /** Complete requests in order of arrival, over all connections. */
  requests(): readonly SeenRequest[]
  /** All bytes of all connections, latin-1. */
  bytes(): string
  /** Open connections now. */
  connections(): number
  /** Answers every request with these raw bytes instead; a function may do anything with the socket. `undefined` goes back to the echo. */
  answerWith(answer: string | ((socket: Socket, request: SeenRequest) => void) | undefined): void
  reset(): void
  close(): Promise<void>
}

export async function startUpstream(): Promise<Upstream> {
  let requests: SeenRequest[] = []
  let received: string[] = []
  let mode: string | ((socket: Socket, request: SeenRequest) => void) | undefined
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    let pending = ''
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      received.push(text)
      pending += text
      for (;;) {
        const parsed = parseRequest(pending)
        if (parsed === undefined) return
        pending = parsed.rest
        requests.push(parsed.request)
        if (typeof mode === 'function') mode(socket, parsed.request)
        else if (typeof mode === 'string') socket.write(Buffer.from(mode, 'latin1'))
        else socket.write(echo(parsed.request))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    requests: () => requests,
    bytes: () => received.join(''),
    connections: () => sockets.size,
    answerWith: (answer) => {
      mode = answer
    },
    reset: () => {
      requests = []
      received = []
      mode = undefined
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function echo(request: SeenRequest): Buffer {
  const body =
    request.method === 'HEAD'
      ? ''
      : JSON.stringify({ method: request.method, target: request.target, headers: request.headers, body: request.body })
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nX-From-Upstream: 1\r\n\r\n${body}`,
    'utf8',
  )
}

/** One request from the front of `text`, as a strict server would read it; `undefined` while it is not whole. */
function parseRequest(text: string): { request: SeenRequest; rest: string } | undefined {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const [line = '', ...headerLines] = text.slice(0, headEnd).split('\r\n')
  const [method = '', target = ''] = line.split(' ')
  const headers = headerLines.map((header) => {
    const colon = header.indexOf(':')
    return [header.slice(0, colon), header.slice(colon + 1).trim()] as const
  })
  const value = (name: string) => headers.find(([key]) => key.toLowerCase() === name)?.[1]
  const bodyStart = headEnd + 4
  if (value('transfer-encoding')?.toLowerCase() === 'chunked') {
    let position = bodyStart
    let body = ''
    for (;;) {
      const lineEnd = text.indexOf('\r\n', position)
      if (lineEnd === -1) return undefined
      const size = Number.parseInt(text.slice(position, lineEnd), 16)
      const chunkEnd = lineEnd + 2 + size
      if (text.length < chunkEnd + 2) return undefined
      if (size === 0) return { request: { method, target, headers, body }, rest: text.slice(chunkEnd + 2) }
      body += text.slice(lineEnd + 2, chunkEnd)
      position = chunkEnd + 2
    }
  }
  const length = Number(value('content-length') ?? 0)
  if (text.length < bodyStart + length) return undefined
  return { request: { method, target, headers, body: text.slice(bodyStart, bodyStart + length) }, rest: text.slice(bodyStart + length) }
}
