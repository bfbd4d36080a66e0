/**
 * Lines of the trail to a syslog receiver, over one TCP or TLS connection that is made again when it breaks.
 *
 * Syslog has no acknowledgement: that a write succeeded means that this machine's kernel has the bytes, not that the receiver does. So
 * what was sent last is remembered, and sent again on the next connection unless the old one ended in peace: the receiver closed it in order
 * and a while after our last write, with nothing of ours unread (closing with unread bytes is a reset). What a receiver took and lost in its
 * own queue cannot be known here. The receiver is told apart by its certificate and name; plain TCP is for this machine's own relay.
 */

import { readFile } from 'node:fs/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Logger } from '../../log.ts'
import { lookupName } from '../../name-resolution.ts'
import { DeliveryError, type LineConsumer } from '../follow-batch.ts'
import type { SyslogSettings } from './sink-settings.ts'
import { formatSyslogFrame } from './syslog-format.ts'

/** What the sink is made with. */
export interface SyslogSinkOptions {
  readonly settings: SyslogSettings
  /** Of this machine, in each message. */
  readonly hostname: string
  /** Milliseconds that never go back. */
  readonly monotonicNow: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly connectMs?: number
  readonly writeMs?: number
  /** How long a new connection has to last before it is trusted with more. */
  readonly provingMs?: number
  /** Before a broken connection is made again where nobody waits for it. */
  readonly mendMs?: number
}

interface Sent {
  readonly at: number
  readonly bytes: Buffer
}

/** As much as kernels keep for a receiver that is silent (Linux: `tcp_wmem`). */
const rememberedBytes = 4 * 1024 * 1024
/** Kernels give a silent receiver up after this long (Linux: `tcp_retries2`); what is older has arrived, or the connection would have ended. */
const rememberedMs = 16 * 60_000
/** After an orderly end so long after the last write, nothing was on its way. */
const peacefulMs = 5000

/** The sink. */
export function createSyslogSink(options: SyslogSinkOptions): LineConsumer {
  const { settings, hostname, monotonicNow, log, connectMs = 10_000, writeMs = 30_000, provingMs = 500, mendMs = 2000 } = options
  const origin = { hostname, facility: settings.facility }
  let remembered: Sent[] = []
  let current: Socket | undefined
  let connecting: Promise<Socket> | undefined
  /** Until it is trusted. */
  let opening: Socket | undefined
  let mending: NodeJS.Timeout | undefined
  let isClosed = false

  /** A connection on which everything that may have been lost was sent again. */
  const connected = (): Promise<Socket> => {
    if (current !== undefined) return Promise.resolve(current)
    connecting ??= connect().finally(() => {
      connecting = undefined
    })
    return connecting
  }

  const connect = async (): Promise<Socket> => {
    clearTimeout(mending)
    const socket = await openSocket(settings, connectMs, (made) => {
      opening = made
      if (isClosed) made.destroy()
    })
    watch(socket)
    // A receiver that refuses our certificate (TLS 1.3), or a balancer with nobody behind it, accepts first and closes then.
    await staysOpen(socket, provingMs)
    const again = [...remembered]
    for (const { bytes } of again) await write(socket, bytes, writeMs)
    if (again.length > 0) await staysOpen(socket, provingMs)
    if (again.length > 0) log.info({ host: settings.host }, 'what the last connection to a syslog receiver may have lost was sent again')
    if (isClosed) socket.destroy()
    if (socket.destroyed) throw new DeliveryError('the connection to the syslog receiver ended')
    current = socket
    return socket
  }

  const watch = (socket: Socket) => {
    let isInOrder = false
    socket.setKeepAlive(true, 30_000)
    socket.on('error', () => undefined)
    socket.on('end', () => {
      isInOrder = true
      socket.destroy()
    })
    // A receiver has nothing to say; what it says all the same must not pile up.
    socket.resume()
    socket.on('close', (hadError) => {
      if (current === socket) current = undefined
      const lastAt = remembered.at(-1)?.at
      if (isInOrder && !hadError && lastAt !== undefined && monotonicNow() - lastAt > peacefulMs) remembered = []
      if (remembered.length > 0 && !isClosed) mend()
    })
  }

  /** What was lost must not wait for the next line. */
  const mend = () => {
    clearTimeout(mending)
    mending = setTimeout(() => {
      if (!isClosed && current === undefined) connected().catch(mend)
    }, mendMs)
    mending.unref()
  }

  const remember = (bytes: Buffer) => {
    remembered.push({ at: monotonicNow(), bytes })
    let total = remembered.reduce((sum, sent) => sum + sent.bytes.length, 0)
    while (remembered.length > 1 && (total > rememberedBytes || monotonicNow() - (remembered[0]?.at ?? 0) > rememberedMs)) {
      total -= remembered.shift()?.bytes.length ?? 0
    }
  }

  return {
    send: async ({ chain, lines }, signal) => {
      const frames = Buffer.concat(lines.map((line) => formatSyslogFrame(chain, line, origin)))
      const socket = await connected()
      const abort = () => socket.destroy()
      signal.addEventListener('abort', abort)
      try {
        await write(socket, frames, writeMs)
      } finally {
        signal.removeEventListener('abort', abort)
      }
      remember(frames)
      // It may have ended while it was written to; then nobody else comes to send this again.
      if (socket.destroyed) mend()
    },
    close: async () => {
      isClosed = true
      clearTimeout(mending)
      const socket = current
      if (socket === undefined) opening?.destroy()
      if (socket === undefined || socket.destroyed) return
      const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      const timer = setTimeout(() => socket.destroy(), 1000)
      socket.end()
      await ended
      clearTimeout(timer)
    },
  }
}

/** Connects, with the receiver's certificate and name verified. */
async function openSocket({ host, port, tls }: SyslogSettings, connectMs: number, onMade: (socket: Socket) => void): Promise<Socket> {
  // Read for each connection, so that renewed files count from the next one on.
  const [ca, cert, key] = await Promise.all(
    [tls?.caFile, tls?.certFile, tls?.keyFile].map((file) => (file === undefined ? undefined : readFile(file))),
  ).catch((error: unknown) => {
    throw new DeliveryError('a certificate or key for a syslog receiver cannot be read', { cause: error })
  })
  return new Promise((resolve, reject) => {
    const common = { host, port, lookup: lookupName }
    const socket =
      tls === undefined
        ? connectTcp(common)
        : connectTls({
            ...common,
            minVersion: 'TLSv1.2',
            ...(isIP(host) === 0 ? { servername: host } : {}),
            ...(ca === undefined ? {} : { ca }),
            ...(cert === undefined || key === undefined ? {} : { cert, key }),
          })
    onMade(socket)
    const timer = setTimeout(() => socket.destroy(new Error('no connection in time')), connectMs)
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer)
      socket.removeListener('error', refuse)
      resolve(socket)
    })
    const refuse = (error: Error) => {
      clearTimeout(timer)
      reject(
        new DeliveryError(`no connection to the syslog receiver: ${(error as NodeJS.ErrnoException).code ?? error.message}`, {
          cause: error,
        }),
      )
    }
    socket.once('error', refuse)
    socket.once('close', () => refuse(new Error('the connection ended')))
  })
}

/** Rejects if the connection ends within `ms`. */
function staysOpen(socket: Socket, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => {
      clearTimeout(timer)
      reject(new DeliveryError('the syslog receiver closed the connection at once'))
    }
    const timer = setTimeout(() => {
      socket.removeListener('close', onClose)
      resolve()
    }, ms)
    if (socket.destroyed) onClose()
    else socket.once('close', onClose)
  })
}

/** Resolves once the kernel has all bytes. */
function write(socket: Socket, bytes: Buffer, writeMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null) => {
      clearTimeout(timer)
      socket.removeListener('close', onClose)
      if (error === undefined || error === null) resolve()
      else reject(new DeliveryError('the connection to the syslog receiver broke', { cause: error }))
    }
    const onClose = () => done(new Error('closed'))
    const timer = setTimeout(() => socket.destroy(new Error('nothing was taken in time')), writeMs)
    socket.once('close', onClose)
    if (socket.destroyed) return onClose()
    socket.write(bytes, done)
  })
}
