/**
 * The instance's end of `data_dir/control.sock`: lets commands use the embedded store while the instance has it open.
 *
 * Who may connect is the file system's decision: the socket is made inside a folder that only the owner can enter, set to 0600 there,
 * and then moved to its name, so that it is never open to others and replaces what a killed instance left behind in one step. (The
 * store is locked to this process when this begins, so nobody else can be listening.) What is asked is checked against a closed
 * table; a peer that asks anything else is disconnected. An instance that cannot listen serves on and says so in the log.
 */

import { chmodSync, mkdtempSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { isPosternError, PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SessionStore } from '../session/store.ts'
import { mostAnswerBytes, mostRequestBytes, ProtocolFault, parseRequest, readFrames, writeFrame } from './control-protocol.ts'

/** The name in `data_dir`. */
export const controlSocketName = 'control.sock'

/** Systems allow 104 (macOS) to 108 bytes, the end mark included. */
const mostPathBytes = 100

/** Commands are run by hand and by timers; each has one connection. */
const mostConnections = 32

/** A command that stands still for so long was left alone. */
const idleMs = 5 * 60_000

/** What commands reach. */
export interface ControlServerParts {
  /** `data_dir`. */
  readonly folder: string
  readonly store: SessionStore
  /** Takes an administrative event into this instance's trail; `false` for anything that is not one, or that could not be written and must be. */
  readonly record: (event: unknown) => boolean | Promise<boolean>
  readonly log: Pick<Logger, 'warn' | 'error'>
}

/** Where the socket of a data folder is. Throws `configuration_invalid` where its path would be longer than a system can bind. */
export function controlSocketPath(folder: string): string {
  const path = join(folder, controlSocketName)
  if (Buffer.byteLength(path) <= mostPathBytes) return path
  throw new PosternError(
    'configuration_invalid',
    `${path} is longer than the path of a socket may be (${mostPathBytes} bytes): commands on a running instance need a shorter data_dir`,
  )
}

/** Listens until `close`. Never rejects: without a socket only commands are worse off. */
export async function listenForCommands(parts: ControlServerParts): Promise<{ close(): Promise<void> }> {
  const nobody = { close: async () => undefined }
  // Windows has no such sockets with the rights of a file; commands wait there until the instance is stopped.
  if (process.platform === 'win32') return nobody
  const connections = new Set<Socket>()
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    void serveCommand(parts, socket)
  })
  server.maxConnections = mostConnections
  let path: string
  try {
    path = controlSocketPath(parts.folder)
    await bind(server, parts.folder, path)
  } catch (error) {
    server.close()
    parts.log.warn({ err: error }, 'no control socket: commands cannot reach this instance while it runs')
    return nobody
  }
  server.on('error', (error) => parts.log.error({ err: error }, 'the control socket failed'))
  return {
    close: () =>
      new Promise((resolve) => {
        rmSync(path, { force: true })
        server.close(() => resolve())
        for (const socket of connections) socket.destroy()
      }),
  }
}

async function bind(server: Server, folder: string, path: string): Promise<void> {
  const room = mkdtempSync(join(folder, '.c-'))
  const draft = join(room, 's')
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(draft, () => {
        server.off('error', reject)
        resolve()
      })
    })
    chmodSync(draft, 0o600)
    renameSync(draft, path)
  } finally {
    rmSync(draft, { force: true })
    rmdirSync(room)
  }
}

async function serveCommand(parts: ControlServerParts, socket: Socket): Promise<void> {
  socket.on('error', () => undefined)
  socket.setTimeout(idleMs, () => socket.destroy())
  try {
    // Reading waits for each answer to be taken, so that a peer cannot pile up either.
    for await (const frame of readFrames(socket, mostRequestBytes)) {
      const answer = writeFrame(await answerTo(parts, frame), mostAnswerBytes)
      await new Promise((resolve) => socket.write(answer, resolve))
    }
  } catch (error) {
    if (error instanceof ProtocolFault) parts.log.warn({ err: error }, 'a peer on the control socket was disconnected')
    // Anything else is a connection that ended in the middle; the command has noticed as well.
  } finally {
    socket.destroy()
  }
}

async function answerTo({ store, record }: ControlServerParts, frame: unknown): Promise<unknown> {
  const request = parseRequest(frame)
  if (request === undefined) throw new ProtocolFault('there is no such operation')
  const { op, args } = request
  if (op === 'recordEvent') {
    if (!(await record(args[0]))) throw new ProtocolFault('not an administrative event')
    return { result: undefined }
  }
  try {
    // Number and form of the arguments were checked against the row of this very operation.
    const method = store[op] as (...args: readonly unknown[]) => Promise<unknown>
    return { result: await method.apply(store, [...args]) }
  } catch (error) {
    return { error: isPosternError(error) ? error.code : 'unknown' }
  }
}
