/**
 * The entrance of a listener that asks some clients for a certificate: reads the name in the ClientHello and hands the connection, with
 * every byte of it, to one of two TLS servers, of which one asks.
 *
 * One server cannot do both: whether to ask is a property of the connection before SNI is looked at, and TLS 1.3 has no asking later. Who is
 * not asked sees no certificate picker. Which server a client reaches is its own choice, by the name that it writes; so nothing is decided
 * by it but whether there can be a certificate at all, and the name of the handshake itself is what counts afterwards.
 */

import type { Server as TlsServer } from 'node:https'
import { createServer, type Server, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type AskedConnections, readPresented } from '../attributes/presented-certificates.ts'
import { ClientHelloReader, canonicalName } from './client-hello.ts'

export interface EntranceOptions {
  /** Asks nobody. */
  readonly quiet: TlsServer
  /** Asks, and lets everybody on. */
  readonly asking: TlsServer
  /** Whether clients of this host name are asked, at this moment. */
  readonly asks: (name: string) => boolean
  /** Where connections are noted that were asked. */
  readonly asked: AskedConnections
  /** How long a ClientHello may take. */
  readonly helloTimeoutMs: number
  readonly keepAliveProbeMs: number
}

/** Creates the server that listens in place of both. Neither of the two is to listen itself. */
export function createEntrance({ quiet, asking, asks, asked, helloTimeoutMs, keepAliveProbeMs }: EntranceOptions): Server {
  const entrance = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveProbeMs })

  entrance.on('connection', (socket) => {
    // Also for the time after: TLS listens for itself, and this one does no harm.
    socket.on('error', () => socket.destroy())
    readHello(socket, helloTimeoutMs, (name) => (name !== undefined && asks(name) ? asking : quiet))
  })

  // Before any request of the connection: whoever listens later hears of it later.
  asking.on('secureConnection', (socket: TLSSocket) => {
    // What the handshake was made under, whatever was read before it.
    const { servername } = socket
    if (typeof servername === 'string') asked.set(socket, { name: canonicalName(servername), presented: readPresented(socket) })
  })

  // Node watches for slow requests from the moment that a server listens; these two never do.
  entrance.on('listening', () => {
    for (const server of [quiet, asking]) server.emit('listening')
  })
  return entrance
}

function readHello(socket: Socket, timeoutMs: number, choose: (name: string | undefined) => TlsServer): void {
  const reader = new ClientHelloReader()
  const timer = setTimeout(() => socket.destroy(), timeoutMs)
  const onEnd = () => socket.destroy()
  const onData = (chunk: Buffer) => {
    const hello = reader.add(chunk)
    if (hello.state === 'incomplete') return
    socket.off('data', onData)
    socket.off('end', onEnd)
    clearTimeout(timer)
    if (hello.state === 'refused') {
      socket.destroy()
      return
    }
    // Nothing may be read between here and the handshake, which begins with what was put back.
    socket.pause()
    socket.unshift(reader.bytes)
    try {
      choose(hello.name).emit('connection', socket)
    } catch {
      // Out of an event this would end the process; a mistake in a policy's tables may cost a connection and no more.
      socket.destroy()
    }
  }
  socket.on('data', onData)
  socket.on('end', onEnd)
  socket.once('close', () => clearTimeout(timer))
}
