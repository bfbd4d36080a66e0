/**
 * Raw bytes to a listener and back: what fetch, undici and curl would tidy up before it leaves.
 */

import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { noteRaw } from './secret-watch.ts'

export interface RawAnswer {
  /** Everything received, as latin-1 text. */
  readonly text: string
  /** Whether the other side closed the connection. */
  readonly closed: boolean
  /** Status codes of the answers in order, as far as their heads arrived. */
  readonly statuses: readonly number[]
}

export interface RawOptions {
  readonly port: number
  readonly host?: string
  readonly tls?: boolean
  readonly serverName?: string
  /** How long to wait for the other side to close, after the last byte. */
  readonly quietMs?: number
  readonly timeoutMs?: number
}

/** Sends `parts` one after another and collects the answer until the other side closes or falls silent for `quietMs`. */
export async function sendRaw(parts: string | readonly string[], options: RawOptions): Promise<RawAnswer> {
  noteRaw(typeof parts === 'string' ? parts : parts.join(''))
  const socket = openSocket(options)
  const chunks: Buffer[] = []
  let closed = false
  await new Promise<void>((resolve, reject) => {
    let quiet: NodeJS.Timeout | undefined
    const total = setTimeout(() => finish(), options.timeoutMs ?? 5000)
    const finish = () => {
      clearTimeout(quiet)
      clearTimeout(total)
      socket.destroy()
      resolve()
    }
    const rest = () => {
      clearTimeout(quiet)
      quiet = setTimeout(finish, options.quietMs ?? 300)
    }
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') {
        clearTimeout(total)
        return reject(error)
      }
      closed = true
      finish()
    })
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      rest()
    })
    socket.on('end', () => {
      closed = true
      finish()
    })
    socket.on('close', () => {
      closed = true
      finish()
    })
    socket.once(options.tls === true ? 'secureConnect' : 'connect', () => {
      for (const part of typeof parts === 'string' ? [parts] : parts) socket.write(Buffer.from(part, 'latin1'))
    })
  })
  const text = Buffer.concat(chunks).toString('latin1')
  noteRaw(text)
  return { text, closed, statuses: [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map((match) => Number(match[1])) }
}

function openSocket(options: RawOptions): Socket {
  const host = options.host ?? '127.0.0.1'
  if (options.tls !== true) return connect(options.port, host)
  return connectTls({
    port: options.port,
    host,
    rejectUnauthorized: false,
    ...(options.serverName === undefined ? {} : { servername: options.serverName }),
  })
}
