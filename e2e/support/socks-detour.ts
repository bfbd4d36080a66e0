/**
 * A SOCKS proxy (RFC 1928, without authentication, `CONNECT` alone) that leads every name to this machine, and one port to another.
 *
 * Given to a browser context, everything that browser opens, WebSockets included, is served by the instance behind the other port,
 * under the same addresses: as a load balancer would have chosen it.
 */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface SocksDetour {
  /** For the `proxy` option of a browser context. */
  readonly server: string
  close(): Promise<void>
}

/** Starts one on a free port; `detours` maps the port that is asked for to the one that is connected to. */
export async function startSocksDetour(detours: ReadonlyMap<number, number>): Promise<SocksDetour> {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket, other?: Socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      sockets.delete(socket)
      other?.destroy()
    })
  }
  const server = createServer((client) => {
    keep(client)
    let pending = Buffer.alloc(0)
    let isGreeted = false
    const read = (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      if (!isGreeted) {
        const length = 2 + (pending[1] ?? 0)
        if (pending.length < 2 || pending.length < length) return
        isGreeted = true
        pending = pending.subarray(length)
        client.write(Buffer.from([5, 0]))
      }
      const asked = readRequest(pending)
      if (asked === undefined) return
      client.off('data', read)
      const upstream = connect(detours.get(asked.port) ?? asked.port, '127.0.0.1', () => {
        client.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
        upstream.write(asked.rest)
        client.pipe(upstream).pipe(client)
      })
      keep(upstream, client)
      client.on('close', () => upstream.destroy())
    }
    client.on('data', read)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    server: `socks5://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Port of a whole request, and what came behind it; `undefined` while it is not whole. */
function readRequest(bytes: Buffer): { readonly port: number; readonly rest: Buffer } | undefined {
  if (bytes.length < 5) return undefined
  const addressLength = bytes[3] === 1 ? 4 : bytes[3] === 4 ? 16 : 1 + (bytes[4] ?? 0)
  const end = 4 + addressLength + 2
  return bytes.length < end ? undefined : { port: bytes.readUInt16BE(end - 2), rest: bytes.subarray(end) }
}
