/**
 * Receivers for tests of sinks: an HTTP server that answers as it is told, and a syslog server that reads frames by their length.
 */

import { createServer as createHttpServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'

export interface HttpCall {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** An HTTP server. */
export interface TestHttpReceiver {
  readonly url: URL
  readonly calls: HttpCall[]
  /** What becomes of a request; counted from 1. */
  answer: (call: HttpCall, response: ServerResponse, count: number) => void
  close(): Promise<void>
}

/** One that answers 200 and `{}` at first. `port` to come back where one was before. */
export async function startHttpReceiver(port = 0): Promise<TestHttpReceiver> {
  const receiver: Pick<TestHttpReceiver, 'calls' | 'answer'> = {
    calls: [],
    answer: (_call, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  }
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('error', () => undefined)
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const call = { path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') }
      receiver.calls.push(call)
      receiver.answer(call, response, receiver.calls.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return Object.assign(receiver, {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  })
}

/** A syslog server. */
export interface TestSyslogReceiver {
  readonly port: number
  /** Whole messages, over all connections. */
  readonly messages: string[]
  readonly sockets: Set<Socket>
  /** Ends every connection with a reset. */
  reset(): void
  close(): Promise<void>
}

/** One over TCP, or over TLS where `tls` is given. */
export async function startSyslogReceiver(port = 0, tls?: TlsOptions): Promise<TestSyslogReceiver> {
  const messages: string[] = []
  const sockets = new Set<Socket>()
  const take = (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const blank = rest.indexOf(32)
        const length = Number(rest.toString('latin1', 0, Math.max(0, blank)))
        if (blank < 1 || !Number.isInteger(length) || rest.length < blank + 1 + length) return
        messages.push(rest.toString('utf8', blank + 1, blank + 1 + length))
        rest = rest.subarray(blank + 1 + length)
      }
    })
  }
  const server: Server = tls === undefined ? createTcpServer(take) : createTlsServer(tls, take)
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    messages,
    sockets,
    reset,
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** The line in a syslog message. */
export function lineOf(message: string): string {
  return message.slice(message.indexOf('{'))
}
