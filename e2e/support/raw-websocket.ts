/**
 * WebSockets and event streams by hand: every byte and when it came, what stood behind a close frame, and how a connection ended. A library would
 * stop reading at the close frame, and would neither send nor show what is wrong.
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { noteRaw } from './secret-watch.ts'

export interface Handshake {
  readonly port: number
  /** Connected to, if not this machine. */
  readonly address?: string
  /** The `Host`, with its port. */
  readonly host: string
  readonly path?: string
  /** Credentials, an origin, and whatever else. */
  readonly lines: readonly string[]
}

/** One connection, as its client saw it. */
export interface RawConnection {
  readonly socket: Socket
  /** Everything behind the head of the answer. */
  received(): Buffer
  closedAt: number | undefined
  /** The other side broke it off. */
  isReset: boolean
}

export const websocketKey = 'dGhlIHNhbXBsZSBub25jZQ=='

/** What an upstream answers a handshake with. */
export function switching(key: string): string {
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

/** The head of a WebSocket handshake. */
export function handshakeHead({ host, path = '/ws', lines }: Handshake): string {
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${websocketKey}`]
  return `GET ${path} HTTP/1.1\r\n${[`Host: ${host}`, ...upgrade, ...lines].join('\r\n')}\r\n\r\n`
}

/** The head of a request for an event stream. */
export function streamHead({ host, path = '/events', lines }: Handshake): string {
  return `GET ${path} HTTP/1.1\r\n${[`Host: ${host}`, 'Accept: text/event-stream', 'Sec-Fetch-Site: same-origin', ...lines].join('\r\n')}\r\n\r\n`
}

/** Sends these parts, each by itself, and resolves when they were answered with this status; anything else is an error. */
export async function openRaw(
  { port, address = '127.0.0.1' }: Handshake,
  parts: readonly (string | Buffer)[],
  status: number,
): Promise<RawConnection> {
  for (const part of parts) if (typeof part === 'string') noteRaw(part)
  const socket = connect(port, address)
  socket.setNoDelay(true)
  const chunks: Buffer[] = []
  let headBytes: number | undefined
  const connection: RawConnection = {
    socket,
    received: () => Buffer.concat(chunks).subarray(headBytes),
    closedAt: undefined,
    isReset: false,
  }
  socket.on('error', () => {
    connection.isReset = true
  })
  socket.once('close', () => {
    connection.closedAt = performance.now()
  })
  const answered = new Promise<void>((resolve, reject) => {
    socket.once('close', () => reject(new Error(`closed before an answer: ${Buffer.concat(chunks).toString('latin1')}`)))
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (headBytes !== undefined) return
      const text = Buffer.concat(chunks).toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end === -1) return
      headBytes = end + 4
      if (text.startsWith(`HTTP/1.1 ${status} `)) resolve()
      else reject(new Error(`answered ${text.slice(0, 400)}`))
    })
  })
  await once(socket, 'connect')
  for (const part of parts) {
    socket.write(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await answered
  return connection
}

export const openRawWebSocket = (wish: Handshake) => openRaw(wish, [handshakeHead(wish)], 101)
export const openRawStream = (wish: Handshake) => openRaw(wish, [streamHead(wish)], 200)

export interface FrameWish {
  /** 0 continues, 1 is text, 2 binary. Defaults to 1. */
  readonly opcode?: number
  readonly isFinal?: boolean
  /** As a client has to. Defaults to true. */
  readonly isMasked?: boolean
  /** What the header says instead of the truth. */
  readonly claimedBytes?: bigint
}

/** One frame (RFC 6455 §5.2). */
export function frame(payload: string | Buffer, { opcode = 1, isFinal = true, isMasked = true, claimedBytes }: FrameWish = {}): Buffer {
  const bytes = Buffer.from(payload)
  const length = claimedBytes ?? BigInt(bytes.length)
  const maskBit = isMasked ? 0x80 : 0
  const first = (isFinal ? 0x80 : 0) | opcode
  let header: Buffer
  if (length < 126n) header = Buffer.from([first, maskBit | Number(length)])
  else if (length < 65_536n) header = Buffer.from([first, maskBit | 126, Number(length) >> 8, Number(length) & 0xff])
  else {
    header = Buffer.alloc(10)
    header.set([first, maskBit | 127])
    header.writeBigUInt64BE(length, 2)
  }
  if (!isMasked) return Buffer.concat([header, bytes])
  const mask = Buffer.from([0x11, 0x22, 0x33, 0x44])
  return Buffer.concat([header, mask, bytes.map((byte, index) => byte ^ (mask[index % 4] ?? 0))])
}

export interface SeenFrames {
  /** Of the close frame; `undefined` where there is none. */
  readonly closeCode: number | undefined
  /** Whole frames before it. */
  readonly count: number
  /** Bytes behind the close frame: there must be none. */
  readonly bytesAfterClose: number
}

/** Reads the frames of a server. */
export function readFrames(bytes: Buffer): SeenFrames {
  let count = 0
  for (let at = 0; at + 2 <= bytes.length; count += 1) {
    const [first = 0, second = 0] = bytes.subarray(at, at + 2)
    const short = second & 0x7f
    const start = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
    if (start > bytes.length) break
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    if (start + length > bytes.length) break
    at = start + length
    if ((first & 0x0f) === 8) {
      return { closeCode: length < 2 ? 1005 : bytes.readUInt16BE(start), count, bytesAfterClose: bytes.length - at }
    }
  }
  return { closeCode: undefined, count, bytesAfterClose: 0 }
}
