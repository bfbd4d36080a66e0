/** The control socket on a real one: the contract through it, who may use it, and what it refuses. */

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { SessionStore } from '../session/store.ts'
import { type ControlClient, connectToInstance } from './control-client.ts'
import { controlSocketPath, listenForCommands } from './control-server.ts'
import { createEmbeddedStore } from './embedded.ts'
import { storeContract } from './stores.contract.ts'

const warnings: string[] = []
const log = {
  warn: (facts: object, text?: string) => void warnings.push(`${text} ${String((facts as { err?: unknown }).err)}`),
  error: () => undefined,
}
const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  warnings.length = 0
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'postern-control-'))
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

storeContract('the control socket', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-control-'))
  let shift = 0
  const store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: () => Date.now() + shift })
  const server = await listenForCommands({ folder, store, record: () => true, log })
  const client = await connectToInstance(controlSocketPath(folder))
  if (client === undefined) throw new Error('nobody listens')
  return {
    store: client,
    listening: store,
    moveTime: (milliseconds) => {
      shift += milliseconds
    },
    close: async () => {
      await client.close()
      await server.close()
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

describe('the control socket', () => {
  /** An instance that listens, with what was recorded through it. */
  async function listen(folder = freshFolder(), overrides: Partial<SessionStore> = {}) {
    const store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: Date.now })
    cleanUps.push(() => store.close())
    const recorded: unknown[] = []
    const record = (event: unknown) => {
      const isOurs = (event as { event?: unknown }).event === 'token.created'
      if (isOurs) recorded.push(event)
      return isOurs
    }
    const server = await listenForCommands({ folder, store: { ...store, ...overrides }, record, log })
    cleanUps.push(() => server.close())
    return { folder, path: join(folder, 'control.sock'), store, server, recorded }
  }
  async function open(path: string): Promise<ControlClient> {
    const client = await connectToInstance(path)
    if (client === undefined) throw new Error('nobody listens')
    cleanUps.push(() => client.close())
    return client
  }
  /** What came back from raw bytes until the instance hung up. */
  async function sendRaw(path: string, bytes: Buffer): Promise<{ readonly socket: Socket; readonly answer: Promise<string> }> {
    const socket = connect(path)
    let answer = ''
    socket.on('data', (chunk) => {
      answer += String(chunk)
    })
    socket.on('error', () => undefined)
    const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(answer)))
    cleanUps.push(() => socket.destroy())
    socket.write(bytes)
    return { socket, answer: closed }
  }
  const frame = (content: unknown) => {
    const text = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.length)
    return Buffer.concat([length, text])
  }

  it('is for its owner alone, and leaves nothing else in the folder', async () => {
    const { folder, path } = await listen()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder).filter((name) => name.startsWith('.c-'))).toEqual([])
  })

  it('is never open to others, not even before it has its name', async () => {
    const folder = freshFolder()
    chmodSync(folder, 0o777)
    const before = process.umask(0)
    const seen: number[] = []
    const timer = setInterval(() => {
      for (const name of readdirSync(folder)) if (!name.startsWith('store')) seen.push(statSync(join(folder, name)).mode & 0o077)
    }, 0)
    try {
      const { path } = await listen(folder)
      await expect.poll(() => seen.length).toBeGreaterThan(0)
      expect(statSync(path).mode & 0o777).toBe(0o600)
    } finally {
      clearInterval(timer)
      process.umask(before)
    }
    expect(new Set(seen)).toEqual(new Set([0]))
  })

  it('takes the place of what a killed instance left behind, a file that is no socket included', async () => {
    const folder = freshFolder()
    writeFileSync(join(folder, 'control.sock'), 'left behind')
    const { path } = await listen(folder)
    expect(typeof (await (await open(path)).loadNow())).toBe('number')
  })

  it('is gone after the instance closed it, with every connection', async () => {
    const { path, server } = await listen()
    const client = await open(path)
    await client.loadNow()
    await server.close()
    expect(existsSync(path)).toBe(false)
    await expect(client.loadNow()).rejects.toMatchObject({ code: 'session_store_unavailable' })
    expect(await connectToInstance(path)).toBeUndefined()
  })

  it('counts a socket that nobody listens on as nobody', async () => {
    const folder = freshFolder()
    const path = join(folder, 'control.sock')
    const dead = createServer()
    await new Promise<void>((resolve) => dead.listen(path, resolve))
    const kept = join(folder, 'kept.sock')
    const { renameSync } = await import('node:fs')
    renameSync(path, kept)
    await new Promise((resolve) => dead.close(resolve))
    expect(existsSync(kept)).toBe(true)
    expect(await connectToInstance(kept)).toBeUndefined()
  })

  it('says what to do where the path is too long, and serves on without it', async () => {
    const folder = join(freshFolder(), 'x'.repeat(100))
    mkdirSync(folder)
    const store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: Date.now })
    cleanUps.push(() => store.close())
    const server = await listenForCommands({ folder, store, record: () => true, log })
    await server.close()
    expect(warnings.join()).toContain('shorter data_dir')
    expect(() => controlSocketPath(folder)).toThrow('shorter data_dir')
    expect(readdirSync(folder).filter((name) => !name.startsWith('store'))).toEqual([])
  })

  it('hands administrative events over, and refuses others', async () => {
    const { path, recorded } = await listen()
    const event = { event: 'token.created', actor: 'os:a@b', token: 't', name: 'n', scopes: ['devices:report'], expiresAt: 1 } as const
    await (await open(path)).recordEvent(event)
    expect(recorded).toEqual([event])
    const forged = { ...event, event: 'instance.stopped' as 'token.created' }
    await expect((await open(path)).recordEvent(forged)).rejects.toMatchObject({ code: 'session_store_unavailable' })
    expect(recorded).toHaveLength(1)
  })

  it.each([
    ['closing the store', { op: 'close', args: [] }],
    ['a method of every object', { op: 'constructor', args: [] }],
    ['a prototype', { op: '__proto__', args: [] }],
    ['an operation that there is not', { op: 'readFile', args: ['/etc/passwd'] }],
    ['too few arguments', { op: 'loadRecord', args: [] }],
    ['too many arguments', { op: 'loadRecord', args: ['session:a', 'session:b'] }],
    ['a name that is no text', { op: 'loadRecord', args: [{ toString: 'x' }] }],
    ['a name that is too long', { op: 'loadRecord', args: ['x'.repeat(3_000)] }],
    ['bytes that are text', { op: 'createDurable', args: ['device:a', 'text'] }],
    ['a record with more in it', { op: 'replaceDurable', args: ['a:b', { value: { bytes: '' }, version: 1, more: 1 }] }],
    ['a listing without an end', { op: 'listDurable', args: [null, null, 1e9] }],
    ['no request', []],
    ['no JSON', 'GET / HTTP/1.1\r\n\r\n'],
    ['nothing at all', ''],
    ['what is nested without end', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ])('hangs up on %s, without an answer', async (_, content) => {
    const { path, store } = await listen()
    expect(await (await sendRaw(path, frame(content))).answer).toBe('')
    expect(await store.listDurable(undefined, undefined, 10)).toEqual([])
    await store.checkReady()
  })

  it('hangs up on a frame that announces more than any record, before reading it', async () => {
    const { path } = await listen()
    const length = Buffer.alloc(4)
    length.writeUInt32BE(0xffff_ffff)
    expect(await (await sendRaw(path, length)).answer).toBe('')
    expect(warnings.join()).toContain('too large')
  })

  it('answers what comes in pieces, and many at once in order', async () => {
    const { path } = await listen()
    const request = frame({ op: 'loadIndex', args: ['subject:a'] })
    const { socket, answer } = await sendRaw(path, request.subarray(0, 3))
    for (const byte of [...request.subarray(3), ...request, ...request]) socket.write(Buffer.from([byte]))
    socket.end()
    expect((await answer).split('{"result":[]}')).toHaveLength(4)
    const client = await open(path)
    const names = Array.from({ length: 200 }, (_, i) => `device:${i}`)
    await Promise.all(names.map((name) => client.createDurable(name, Buffer.from(name))))
    const loaded = await Promise.all(names.map((name) => client.loadDurable(name)))
    expect(loaded.map((record) => record?.value.toString())).toEqual(names)
  })

  it('passes the trouble of the store on under its own code, and goes on', async () => {
    const { path, store } = await listen()
    const client = await open(path)
    await store.close()
    await expect(client.loadRecord('session:a')).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await expect(client.checkReady()).rejects.toMatchObject({ code: 'session_store_unavailable' })
  })

  it('rejects what waits when the instance goes in the middle', async () => {
    const { path, server } = await listen(freshFolder(), { loadRecord: () => new Promise(() => undefined) })
    const client = await open(path)
    const refused = expect(client.loadRecord('session:a')).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await new Promise((resolve) => setImmediate(resolve))
    await server.close()
    await refused
  })
})
