/**
 * A proxy for which every name is this machine, by `CONNECT` alone (RFC 9110 §9.3.6).
 *
 * A browser context that shows client certificates makes its connections in the process of the test, whose resolver need not know names
 * below localhost (RFC 6761); given this proxy, it leaves them to us.
 */

import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface LoopbackProxy {
  /** For the `proxy` option of a browser context. */
  readonly server: string
  close(): Promise<void>
}

/** Starts one on a free port. */
export async function startLoopbackProxy(): Promise<LoopbackProxy> {
  const sockets = new Set<Socket>()
  const server = createServer((_request, response) => response.writeHead(405).end())
  server.on('connect', (request, client: Socket) => {
    const upstream = connect(Number(request.url?.split(':').at(-1)), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      upstream.pipe(client).pipe(upstream)
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
