/**
 * A real Redis for tests: one `redis-server` child process on a free port of loopback, with nothing on disk unless asked for.
 *
 * The binary comes from PATH; `POSTERN_TEST_REDIS` may name another. Its configuration is a file of its own, so that a password
 * shows in no process list. Every server dies with the test process, also when that is killed: a shell between the two kills the
 * server as soon as its own standard input ends.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { findFreePort } from './free-port.ts'

/** A running server. */
export interface TestRedis {
  /** `redis://` with the password, if there is one. */
  readonly url: string
  readonly port: number
  readonly pid: () => number | undefined
  /** Kills it, as a machine that loses power does. Resolves once it is gone. */
  kill(): Promise<void>
  /** Ends the server without saving, as `SHUTDOWN NOSAVE` would. Resolves once the port is free. */
  stop(): Promise<void>
  /** Stops it if it runs, and starts it on the same port: empty, or with its data if `persist` was asked for. */
  restart(): Promise<void>
  /** Stops answering without closing anything: a black hole that still accepts connections. */
  pause(): void
  resume(): void
  /** Every key and value, readable as far as it is text; what somebody with a backup would see. */
  dump(): Promise<string>
  /** Removes every key. */
  clear(): Promise<void>
  /** Ends it for good and removes its folder. */
  close(): Promise<void>
}

/** How it runs. */
export interface TestRedisOptions {
  readonly password?: string
  readonly port?: number
  /** Keeps data over `restart` (append-only file, always synced). */
  readonly persist?: boolean
  /** Further lines of its configuration. */
  readonly settings?: readonly string[]
  /** Watches servers instead of being one. */
  readonly isSentinel?: boolean
}

/** Runs the server, says its process id, and kills it when standard input ends: that is when the test process is gone. */
const supervision = `exec 3<&0
"$0" "$@" 3<&- & server=$!
echo "server $server"
{ cat <&3 >/dev/null; kill -9 $server; } 2>/dev/null &
wait $server`

/** Starts a server and resolves once it answers. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const port = options.port ?? (await findFreePort())
  const folder = mkdtempSync(join(tmpdir(), 'postern-redis-'))
  const credentials = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`
  const url = `redis://${credentials}127.0.0.1:${port}`
  const configuration = join(folder, 'redis.conf')
  let shell: ChildProcess | undefined
  let pid: number | undefined
  const send = (signal: NodeJS.Signals) => {
    try {
      if (pid !== undefined) process.kill(pid, signal)
    } catch {
      // It died a moment ago; the shell is about to say so.
    }
  }

  async function start(): Promise<void> {
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      'daemonize no',
      ...(options.isSentinel === true ? [] : ['save ""']),
      ...(options.persist === true ? ['appendonly yes', 'appendfsync always'] : []),
      ...(options.password === undefined ? [] : [`requirepass "${options.password}"`]),
      ...(options.settings ?? []),
    ]
    // Redis and Sentinel write into it what they learn; a restart goes on from there.
    if (!existsSync(configuration)) writeFileSync(configuration, `${lines.join('\n')}\n`, { mode: 0o600 })
    const command = [
      process.env['POSTERN_TEST_REDIS'] ?? 'redis-server',
      configuration,
      ...(options.isSentinel === true ? ['--sentinel'] : []),
    ]
    const server = spawn('sh', ['-c', supervision, ...command], { stdio: ['pipe', 'pipe', 'inherit'] })
    shell = server
    let output = ''
    server.stdin.on('error', () => undefined)
    server.stdout.on('data', (chunk) => {
      output = (output + String(chunk)).slice(-8000)
      pid ??= Number(/^server (\d+)$/m.exec(output)?.[1]) || undefined
    })
    const failed = new Promise<never>((_, reject) => {
      server.once('error', (cause) => reject(new Error('no shell to start redis-server with', { cause })))
      server.once('exit', (code) => {
        pid = undefined
        server.stdin.end()
        reject(new Error(`redis-server ended with ${code}; is it installed?\n${output}`))
      })
    })
    failed.catch(() => undefined)
    await Promise.race([untilItAnswers(port), failed])
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const server = shell
    shell = undefined
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const gone = new Promise((resolve) => server.once('exit', resolve))
    send('SIGCONT')
    send(signal)
    const killer = setTimeout(() => send('SIGKILL'), 3_000)
    await gone
    clearTimeout(killer)
  }
  const stop = () => end('SIGTERM')

  await start()
  return {
    url,
    port,
    pid: () => pid,
    kill: () => end('SIGKILL'),
    stop,
    async restart() {
      await stop()
      await start()
    },
    pause: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
    dump: () => withClient(url, dumpAll),
    clear: () => withClient(url, async (client) => void (await client.flushall())),
    async close() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function untilItAnswers(port: number): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const answers = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
      const settle = (result: boolean) => {
        socket.destroy()
        resolve(result)
      }
      // With a password the answer is NOAUTH, which is an answer. LOADING is not.
      socket.once('data', (chunk) => settle(!String(chunk).startsWith('-LOADING')))
      socket.once('error', () => settle(false))
      socket.setTimeout(500, () => settle(false))
    })
    if (answers) return
    if (Date.now() > deadline) throw new Error(`redis-server on port ${port} does not answer`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { maxRetriesPerRequest: 2 })
  client.on('error', () => undefined)
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}

async function dumpAll(client: Redis): Promise<string> {
  const parts: Buffer[] = []
  for (const key of await client.keysBuffer('*')) {
    parts.push(key, Buffer.from('\n'))
    switch (await client.type(key)) {
      case 'string':
        parts.push((await client.getBuffer(key)) ?? Buffer.alloc(0))
        break
      case 'hash':
        for (const [field, value] of Object.entries(await client.hgetallBuffer(key)))
          parts.push(Buffer.from(`${field} `), value, Buffer.from('\n'))
        break
      case 'zset':
        for (const item of await client.zrangeBuffer(key, '0', '-1', 'WITHSCORES')) parts.push(item, Buffer.from('\n'))
        break
      case 'set':
        for (const item of await client.smembersBuffer(key)) parts.push(item, Buffer.from('\n'))
        break
      case 'list':
        for (const item of await client.lrangeBuffer(key, 0, -1)) parts.push(item, Buffer.from('\n'))
        break
      case 'stream':
        parts.push(Buffer.from(JSON.stringify(await client.xrange(key, '-', '+'))))
        break
    }
    parts.push(Buffer.from('\n'))
  }
  return Buffer.concat(parts).toString('latin1')
}
