/**
 * A client behind a network that swallows its packets: a process in a network namespace of its own, whose kernel drops everything when told to.
 * Neither end hears a word of it. Needs root and `ip netns`; where the machine refuses, there is none, and the caller says so.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'

export interface BlackHoleClient {
  /** What the process heard so far. */
  heard(): string
  /** From now on no packet gets in or out. */
  swallow(): Promise<void>
  stop(): Promise<void>
}

const run = promisify(execFile)

/** Connects to `port` of this machine from inside, and sends `head`. */
const clientScript = `
const socket = require('node:net').connect(Number(process.argv[2]), process.argv[1], () => socket.write(process.argv[3]))
socket.on('data', (chunk) => process.stdout.write(chunk))
socket.on('error', (error) => process.stdout.write(error.code))
process.stdin.resume().on('end', () => process.exit())
`

/** Starts one; `undefined` where this machine does not let us. The instance has to listen on every address. */
export async function startBlackHoleClient(port: number, head: string): Promise<BlackHoleClient | undefined> {
  const id = `pt${process.pid % 100_000}`
  // 198.18.0.0/15 is for measurements between networks (RFC 2544), so that it is nobody's here.
  const net = `198.18.${process.pid % 250}`
  const inside = (...command: string[]) => run('ip', ['netns', 'exec', id, ...command])
  const remove = async () => {
    await run('ip', ['netns', 'del', id]).catch(() => undefined)
    await run('ip', ['link', 'del', `${id}a`]).catch(() => undefined)
  }
  try {
    await run('ip', ['netns', 'add', id])
    await run('ip', ['link', 'add', `${id}a`, 'type', 'veth', 'peer', 'name', `${id}b`, 'netns', id])
    await run('ip', ['addr', 'add', `${net}.1/30`, 'dev', `${id}a`])
    await run('ip', ['link', 'set', `${id}a`, 'up'])
    await inside('ip', 'addr', 'add', `${net}.2/30`, 'dev', `${id}b`)
    await inside('ip', 'link', 'set', `${id}b`, 'up')
    // Without the tool that drops packets the rest would prove nothing.
    await inside('iptables', '-L', 'INPUT', '-n')
  } catch {
    await remove()
    return undefined
  }
  let heard = ''
  const child: ChildProcess = spawn('ip', ['netns', 'exec', id, process.execPath, '-e', clientScript, `${net}.1`, String(port), head], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdout?.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1')
  })
  return {
    heard: () => heard,
    swallow: async () => {
      for (const chain of ['INPUT', 'OUTPUT']) await inside('iptables', '-I', chain, '-j', 'DROP')
    },
    stop: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null && child.kill('SIGKILL')) await gone
      await remove()
    },
  }
}
