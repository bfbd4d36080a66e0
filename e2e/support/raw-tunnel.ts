/**
 * An upstream of WebSockets at the level of bytes: takes a handshake, says 101 with whatever the test has glued to it, and hands over the socket.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { switching } from './raw-websocket.ts'

/** Takes over one connection once the handshake is whole. `unread` is what came behind it in the same segment. */
export type TunnelEnd = (socket: Socket, path: string, unread: Buffer) => void

export interface TunnelUpstream {
  readonly origin: string
  readonly port: number
  /** Open connections. */
  readonly sockets: ReadonlySet<Socket>
  /** Handshakes that arrived. */
  count(): number
  /** Bytes that are sent in one piece with the 101. */
  glue: (path: string) => Buffer
  /** Says 101; tests may do something else. */
  accept: (socket: Socket, answer: Buffer) => void
  end: TunnelEnd
  close(): Promise<void>
}

export async function startTunnelUpstream(): Promise<TunnelUpstream> {
  const sockets = new Set<Socket>()
  let arrived = 0
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    let head = Buffer.alloc(0)
    const onData = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      socket.off('data', onData)
      arrived += 1
      const text = head.subarray(0, end).toString('latin1')
      const path = text.split(' ', 2)[1] ?? ''
      const key = /^sec-websocket-key: (.*)$/im.exec(text)?.[1]?.trim() ?? ''
      upstream.accept(socket, Buffer.concat([Buffer.from(switching(key)), upstream.glue(path)]))
      upstream.end(socket, path, head.subarray(end + 4))
    }
    socket.on('data', onData)
  })
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const upstream: TunnelUpstream = {
    origin: `http://127.0.0.1:${port}`,
    port,
    sockets,
    count: () => arrived,
    glue: () => Buffer.alloc(0),
    accept: (socket, answer) => socket.write(answer),
    end: (socket) => socket.resume(),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
  return upstream
}

/** Runs so many, a group at a time. */
export async function inGroups(count: number, size: number, run: (index: number) => Promise<void>): Promise<void> {
  for (let done = 0; done < count; done += size) {
    await Promise.all(Array.from({ length: Math.min(size, count - done) }, (_, index) => run(done + index)))
  }
}

/** Writes as fast as the other end reads. */
export async function pour(socket: Socket, block: Buffer, rounds: number): Promise<void> {
  for (let round = 0; round < rounds && !socket.destroyed; round += 1) if (!socket.write(block)) await once(socket, 'drain')
}

/** Writes until nothing is taken for a moment; how many blocks were. */
export async function push(socket: Socket, block: Buffer, most: number): Promise<number> {
  for (let round = 0; round < most; round += 1) {
    if (socket.write(block)) continue
    const isTaken = await Promise.race([
      once(socket, 'drain').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 1_000)),
    ])
    if (!isTaken) return round
  }
  return most
}
