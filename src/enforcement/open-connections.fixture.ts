/**
 * Open exchanges of every kind for tests: a WebSocket, an event stream, a download with a length and an upload that is still being sent,
 * each on a raw socket through the whole flow, with the end of each as its client sees it.
 */

import { createHash } from 'node:crypto'
import type { AuditEvent } from '../audit/event.ts'
import { type FlowRig, get } from './enforcement.fixture.ts'
import { eventually, type RawConnection } from './forwarding.fixture.ts'

export type OpenKind = 'websocket' | 'event stream' | 'download' | 'upload'
export const openKinds: readonly OpenKind[] = ['websocket', 'event stream', 'download', 'upload']

/** How it ended for the client: `reset` where the connection broke, else the code of the close frame, or `closed`. */
export type Ending = 'reset' | 'closed' | number

export interface Opened {
  readonly kind: OpenKind
  readonly client: RawConnection
  /** Of the request in the trail. */
  readonly id: string
  readonly ending: Promise<Ending>
}

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
/** What precedes the first frame on a WebSocket. */
export const switching = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`

/** Answers by path; what is open stays so until somebody ends it. */
export function answerOpen(connection: RawConnection, head: string): void {
  if (head.startsWith('GET /ws')) connection.send(switching)
  else if (head.startsWith('GET /events'))
    connection.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n')
  else if (head.startsWith('GET /download')) connection.send(`HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`)
  else if (head.startsWith('GET ')) connection.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
}

const asked: Readonly<Record<OpenKind, { readonly head: (lines: readonly string[]) => string; readonly until: string }>> = {
  websocket: {
    head: websocketHead,
    until: '\r\n\r\n',
  },
  'event stream': { head: (lines) => get('/events', lines), until: 'data: 1' },
  download: { head: (lines) => get('/download', lines), until: 'xxx' },
  upload: {
    head: (lines) => `${get('/upload', ['Content-Length: 1000000', ...lines], 'wiki.corp.example', 'POST')}half of it`,
    until: '',
  },
}

/** A handshake that `answerOpen` answers. */
export function websocketHead(lines: readonly string[]): string {
  return get('/ws', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`, ...lines])
}

/** Opens one and resolves once it is with the upstream. */
export async function openOne(rig: FlowRig, kind: OpenKind, lines: readonly string[], client?: RawConnection): Promise<Opened> {
  const connection = client ?? (await rig.connect())
  let isReset = false
  connection.socket.on('error', (error) => {
    isReset ||= (error as NodeJS.ErrnoException).code === 'ECONNRESET'
  })
  const before = rig.forwarding.open.size
  const decidedBefore = decidedOf(rig.events).length
  const heardBefore = rig.upstream.received().length
  connection.send(asked[kind].head(['Origin: https://wiki.corp.example', ...lines]))
  if (kind === 'upload') await eventually(() => rig.upstream.received().slice(heardBefore).includes('half of it'), 'the upload')
  else await connection.until((text) => text.includes(asked[kind].until))
  await eventually(() => rig.forwarding.open.size > before, 'the exchange')
  const id = decidedOf(rig.events)[decidedBefore]?.request ?? ''
  const ending = connection.closed.then((): Ending => {
    const received = connection.received()
    const frame = Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1').subarray(-4)
    if (kind === 'websocket' && frame.length === 4 && frame.readUInt16BE() === 0x8802) return frame.readUInt16BE(2)
    return isReset ? 'reset' : 'closed'
  })
  return { kind, client: connection, id, ending }
}

/** One of each. */
export async function openAll(rig: FlowRig, cookie: string): Promise<readonly Opened[]> {
  const opened: Opened[] = []
  for (const kind of openKinds) opened.push(await openOne(rig, kind, [`Cookie: ${cookie}`]))
  return opened
}

/** How each should have ended: a WebSocket is told, everything else breaks. */
export function endingsWith(closeCode: number): Readonly<Record<OpenKind, Ending>> {
  return { websocket: closeCode, 'event stream': 'reset', download: 'reset', upload: 'reset' }
}

export async function endingsOf(opened: readonly Opened[]): Promise<Readonly<Record<string, Ending>>> {
  return Object.fromEntries(await Promise.all(opened.map(async ({ kind, ending }) => [kind, await ending] as const)))
}

/** Waits until everything open has lasted a moment, and is watched. */
export async function settle(rig: FlowRig): Promise<void> {
  rig.clock.move(300)
  await eventually(() => {
    let areAdopted = true
    rig.forwarding.open.forEach(({ watched }) => {
      areAdopted &&= watched?.isAdopted === true && watched.review === 'resting'
    })
    return areAdopted
  }, 'everything watched')
}

/** Waits until the registry's clock has ticked twice and whatever that began is over. */
export async function ticked(rig: FlowRig): Promise<void> {
  const { open } = rig.forwarding
  const { tick } = open
  await eventually(() => open.tick > tick + 1, 'two ticks')
  await settleReviews(rig)
}

/** Waits until nothing is being decided again. */
export async function settleReviews(rig: FlowRig): Promise<void> {
  await eventually(() => {
    let areResting = true
    rig.forwarding.open.forEach(({ watched }) => {
      areResting &&= watched === undefined || watched.isCut || watched.review === 'resting'
    })
    return areResting
  }, 'reviews')
}

/** Whether it still carries bytes in both directions. */
export async function expectUntouched(rig: FlowRig, { client, kind }: Opened): Promise<void> {
  if (client.socket.destroyed) throw new Error(`the ${kind} was cut`)
  if (kind !== 'websocket') return
  const text = `still here ${Math.random()}`
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
  client.send(frame)
  await eventually(() => rig.upstream.received().includes(text), 'the message of one that is untouched')
}

/** The lines about the ends of these. */
export async function endLines(rig: FlowRig, opened: readonly Opened[]) {
  const find = () => rig.events.filter((event) => event.event === 'access.ended' && opened.some(({ id }) => id === event.request))
  await eventually(() => find().length === opened.length, 'the lines about the ends')
  return find() as Extract<AuditEvent, { event: 'access.ended' }>[]
}

export function decidedOf(events: readonly AuditEvent[]) {
  return events.filter((event) => event.event === 'access.decided')
}
