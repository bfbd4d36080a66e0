/**
 * A command's end of `data_dir/control.sock`: the embedded store of a running instance as a `SessionStore`.
 *
 * One connection, requests answered in order, nothing sent twice. When the connection ends or an answer does not come in time, every
 * request that waits and every later one rejects with `session_store_unavailable`: whether a write that got no answer was made is not
 * known, and a command says so instead of guessing.
 */

import { connect, type Socket } from 'node:net'
import type { AdministrativeEvent } from '../audit/event.ts'
import { PosternError } from '../errors.ts'
import type { DurableRecord, End, NamedDurableRecord, SessionStore, StoredRecord, StoredWindowBatch } from '../session/store.ts'
import { mostAnswerBytes, mostRequestBytes, type Operation, readFrames, writeFrame } from './control-protocol.ts'

/** The store of a running instance, and its audit trail. */
export interface ControlClient extends SessionStore {
  /** Hands an event to the instance's trail. */
  recordEvent(event: AdministrativeEvent): Promise<void>
}

/** The instance answers from a local file; longer than this and something is wrong with it. */
const answerMs = 10_000

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Connects to the instance that listens at `path`; `undefined` where none does. Rejects if there is one and it lets nobody in. */
export async function connectToInstance(path: string): Promise<ControlClient | undefined> {
  if (process.platform === 'win32') return undefined
  const socket = connect(path)
  try {
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  } catch (error) {
    socket.destroy()
    const { code } = error as NodeJS.ErrnoException
    // A socket file that nobody listens on is what a killed instance leaves behind.
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined
    const whose =
      code === 'EACCES' ? 'it belongs to somebody else: run the command as who runs the instance, or as root' : 'it does not answer'
    throw new PosternError('session_store_unavailable', `${path}: an instance may be running, but ${whose}`, { cause: error })
  }
  return createClient(socket)
}

function createClient(socket: Socket): ControlClient {
  const waiting: Waiting[] = []
  let isOver = false

  function end(why: string): void {
    isOver = true
    socket.destroy()
    for (const { reject, timer } of waiting.splice(0)) {
      clearTimeout(timer)
      reject(unavailable(why))
    }
  }

  async function readAnswers(): Promise<void> {
    try {
      for await (const answer of readFrames(socket, mostAnswerBytes))
        settle(answer as { readonly result?: unknown; readonly error?: unknown })
      end('the running instance closed the connection; whether the last request was carried out is not known')
    } catch {
      // A connection that broke says no more than one that ended.
      end('the connection to the running instance broke; whether the last request was carried out is not known')
    }
  }

  function settle({ result, error }: { readonly result?: unknown; readonly error?: unknown }): void {
    const first = waiting.shift()
    if (first === undefined) return
    clearTimeout(first.timer)
    if (error === undefined) first.resolve(result)
    else first.reject(unavailable(`the store of the running instance failed (${String(error)}); its log tells more`))
  }

  function ask<T>(op: Operation, ...args: readonly unknown[]): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (isOver) return reject(unavailable('not connected to the running instance'))
      const frame = writeFrame({ op, args }, mostRequestBytes)
      const timer = setTimeout(() => end(`the running instance did not answer within ${answerMs / 1000} s`), answerMs)
      // What an instance answers has the form that the same method of its store returned.
      waiting.push({ resolve: resolve as (result: unknown) => void, reject, timer })
      socket.write(frame)
    })
  }

  socket.on('error', () => undefined)
  void readAnswers()

  return {
    loadNow: () => ask<number>('loadNow'),
    createRecord: (...args) => ask<boolean>('createRecord', ...args),
    loadRecord: (name) => ask<StoredRecord | undefined>('loadRecord', name),
    replaceRecord: (name, { value, version, expiresAt }) => ask<boolean>('replaceRecord', name, { value, version, expiresAt }),
    takeRecord: (name) => ask<StoredRecord | undefined>('takeRecord', name),
    removeRecord: (name) => ask<undefined>('removeRecord', name),
    addToIndex: (...args) => ask<undefined>('addToIndex', ...args),
    removeFromIndex: (...args) => ask<undefined>('removeFromIndex', ...args),
    loadIndex: (index) => ask<readonly string[]>('loadIndex', index),
    recordEnds: (ends, keepSeconds) =>
      ask<number>(
        'recordEnds',
        ends.map(({ kind, idHash, cause }) => ({ kind, idHash, cause })),
        keepSeconds,
      ),
    loadEnds: (things) =>
      ask<readonly (End | undefined)[]>(
        'loadEnds',
        things.map(({ kind, idHash }) => ({ kind, idHash })),
      ),
    loadAllEnds: () => ask<readonly End[]>('loadAllEnds'),
    restoreEnds: (ends, keepSeconds) =>
      ask<undefined>(
        'restoreEnds',
        ends.map(({ kind, idHash, at, cause }) => ({ kind, idHash, at, cause })),
        keepSeconds,
      ),
    publish: ({ kind, detail }) => ask<undefined>('publish', { kind, detail }),
    openEvents() {
      throw unavailable('a command does not listen: the running instance does')
    },
    acquireLock: (...args) => ask<string | undefined>('acquireLock', ...args),
    renewLock: (...args) => ask<boolean>('renewLock', ...args),
    releaseLock: (...args) => ask<undefined>('releaseLock', ...args),
    createDurable: (...args) => ask<boolean>('createDurable', ...args),
    loadDurable: (name) => ask<DurableRecord | undefined>('loadDurable', name),
    replaceDurable: (name, { value, version }) => ask<boolean>('replaceDurable', name, { value, version }),
    removeDurable: (name, version) => ask<boolean>('removeDurable', name, version),
    listDurable: (kind, after, limit) => ask<readonly NamedDurableRecord[]>('listDurable', kind, after, limit),
    confirmDurable: () => ask<undefined>('confirmDurable'),
    appendWindow: ({ entries, position, value }, keepEntries) => ask<undefined>('appendWindow', { position, value, entries }, keepEntries),
    listWindow: (...args) => ask<readonly StoredWindowBatch[]>('listWindow', ...args),
    checkReady: () => ask<undefined>('checkReady'),
    recordEvent: (event) => ask<undefined>('recordEvent', event),
    async close() {
      end('closed')
    },
  }
}

function unavailable(what: string): PosternError {
  return new PosternError('session_store_unavailable', `session store: ${what}`)
}
