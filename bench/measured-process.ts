/**
 * A child process whose CPU time can be asked for.
 */

import { type ChildProcess, fork } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface MeasuredProcess {
  /** CPU time it has used so far, user and system, in microseconds. */
  readonly cpuMicroseconds: () => Promise<number>
  readonly residentBytes: () => Promise<number>
  readonly stop: () => Promise<void>
}

/** Starts a script of this folder with an IPC channel and the CPU report; resolves to it and to its first message. */
export async function startMeasured<T>(script: string, parameters: readonly string[], nodeOptions: readonly string[] = []) {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), parameters, {
    execArgv: [...nodeOptions, '--import', new URL('./report-cpu.ts', import.meta.url).href],
  })
  const [first] = (await once(child, 'message')) as [T]
  return { ...measured(child), first }
}

export function measured(child: ChildProcess): MeasuredProcess {
  const report = async () => {
    child.send('cpu')
    const [message] = (await once(child, 'message')) as [{ cpu: NodeJS.CpuUsage; residentBytes: number }]
    return message
  }
  return {
    cpuMicroseconds: async () => {
      const { cpu } = await report()
      return cpu.user + cpu.system
    },
    residentBytes: async () => (await report()).residentBytes,
    stop: async () => {
      child.kill()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

/** The next event of a process; rejects if it ends first. */
export function once(emitter: EventEmitter, event: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const onExit = (code: unknown) => reject(new Error(`exited with ${code}`))
    if (event !== 'exit') emitter.once('exit', onExit)
    emitter.once(event, (...values: unknown[]) => {
      emitter.off('exit', onExit)
      resolve(values)
    })
  })
}
