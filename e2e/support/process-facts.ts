/**
 * What the kernel says about a process: memory and sockets, from `/proc` (Linux). No instance is asked how it feels.
 */

import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { waitFor } from './rig.ts'

const mebibyte = 1024 * 1024

export interface Memory {
  /** Resident now, in MiB. */
  readonly resident: number
  /** Most that was ever resident since the start or the last `forgetPeak`. */
  readonly peak: number
}

/** Resident memory of a process. The kernel keeps the peak itself, so that nothing falls between two samples. */
export async function readMemory(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => Math.round((Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024) / mebibyte)
  return { resident: field('VmRSS'), peak: field('VmHWM') }
}

/** Makes the peak start again from what is resident now. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

/** Milliseconds of CPU that a process has used, in steps of ten: what others do on the machine does not show in it. */
export async function readCpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field is the command in brackets, which may hold blanks; user and system time are the 14th and 15th, in hundredths.
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number)
  return ((user ?? Number.NaN) + (system ?? Number.NaN)) * 10
}

/** Open sockets of a process, listening ones included. */
export async function countSockets(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`
  const targets = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')))
  return targets.filter((target) => target.startsWith('socket:')).length
}

/** Open sockets once their number has not changed for a second: idle connections to upstreams have gone. */
export async function settledSockets(pid: number): Promise<number> {
  let count = await countSockets(pid)
  let since = performance.now()
  await waitFor(
    async () => {
      const next = await countSockets(pid)
      if (next !== count) since = performance.now()
      count = next
      return performance.now() - since > 1000
    },
    20_000,
    () => `the number of sockets never settled; last ${count}`,
  )
  return count
}

/** Waits until no more sockets are open than `baseline`. */
export async function socketsBackTo(baseline: number, pid: number, limitMs = 15_000): Promise<void> {
  let last = 0
  await waitFor(
    async () => {
      last = await countSockets(pid)
      return last <= baseline
    },
    limitMs,
    () => `${last} sockets are open, ${baseline} were before`,
  )
}

/** The median of some times. */
export function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
}

/** What the kernel will do about a silent connection of this machine, as the end on `localPort` has it. */
export interface ProbeTimer {
  /** `keepalive` is the one that finds a peer that went away without a word. */
  readonly kind: 'none' | 'retransmit' | 'keepalive' | 'time_wait' | 'window_probe'
  /** Milliseconds until it does. */
  readonly inMs: number
}

/** Reads it from the kernel's table of connections; `undefined` if there is no such connection. */
export async function readProbeTimer(localPort: number, remotePort: number): Promise<ProbeTimer | undefined> {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, '0')
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (await readFile(table, 'utf8')).split('\n').slice(1)) {
      const [, local = '', remote = '', state, , timer = ''] = line.trim().split(/\s+/)
      if (state !== '01' || !local.endsWith(`:${hex(localPort)}`) || !remote.endsWith(`:${hex(remotePort)}`)) continue
      const [kind = '0', ticks = '0'] = timer.split(':')
      const kinds = ['none', 'retransmit', 'keepalive', 'time_wait', 'window_probe'] as const
      // The kernel counts in hundredths of a second here, whatever its own clock.
      return { kind: kinds[Number.parseInt(kind, 16)] ?? 'none', inMs: Number.parseInt(ticks, 16) * 10 }
    }
  }
  return undefined
}
