/**
 * What tracing costs a guarded request: CPU time of one request through Postern without `tracing:`, with it and none sampled, a tenth, and
 * all, exported to a collector that takes everything. `node bench/tracing.ts [rounds] [requests]`.
 *
 * As in `guarded-request.ts` each contender is a process and a round is dealt out in slices, in turn; a ratio is taken within its round. A
 * fifth contender is the first once more: its ratio says what chance alone makes of the others.
 */

import { fork } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { once, startMeasured } from './measured-process.ts'
import { type PosternInstance, startPostern } from './postern-instance.ts'

const [roundsText, requestsText] = process.argv.slice(2)
const rounds = Number(roundsText ?? 9)
const requestsPerRound = Number(requestsText ?? 8000)
const sliceRequests = 1000
const connections = 32

/** Takes every batch and remembers how many there were. */
let batches = 0
const collector = createServer((request, response) => {
  batches += 1
  request.resume().on('end', () => response.end('{}'))
})
await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`

const upstream = await startMeasured<{ port: number }>('./contenders.ts', ['upstream'])
const load = fork(fileURLToPath(new URL('./load.ts', import.meta.url)))

async function start(name: string, sample: number | undefined) {
  if (sample !== undefined) {
    process.env['POSTERN_TRACING__ENDPOINT'] = endpoint
    process.env['POSTERN_TRACING__SAMPLE'] = String(sample)
  }
  const instance = await startPostern(`http://127.0.0.1:${upstream.first.port}`, [])
  delete process.env['POSTERN_TRACING__ENDPOINT']
  delete process.env['POSTERN_TRACING__SAMPLE']
  return { name, instance, costs: [] as number[] }
}

const contenders = [
  await start('none', undefined),
  await start('sample 0', 0),
  await start('sample 0.1', 0.1),
  await start('sample 1', 1),
  await start('none again', undefined),
]

try {
  await runRound(2 * requestsPerRound)
  for (let round = 0; round < rounds; round++) {
    const costs = await runRound(requestsPerRound)
    for (const [i, contender] of contenders.entries()) contender.costs.push(costs[i] ?? Number.NaN)
  }
  report()
} finally {
  load.disconnect()
  for (const { instance } of contenders) await instance.stop()
  await upstream.stop()
  collector.closeAllConnections()
  collector.close()
}

async function runRound(requests: number): Promise<readonly number[]> {
  const slices = Math.max(1, Math.round(requests / sliceRequests))
  const sums = contenders.map(() => 0)
  for (let slice = 0; slice < slices; slice++) {
    for (let i = 0; i < contenders.length; i++) {
      const turn = (slice + i) % contenders.length
      const contender = contenders[turn]
      if (contender !== undefined) sums[turn] = (sums[turn] ?? 0) + (await runSlice(contender.instance))
    }
  }
  return sums.map((sum) => sum / (slices * sliceRequests))
}

async function runSlice({ port, host, cookie, cpuMicroseconds }: PosternInstance): Promise<number> {
  const head = `GET /api/items?page=1 HTTP/1.1\r\nHost: ${host}\r\nSec-Fetch-Site: same-origin\r\nAccept: */*\r\nCookie: ${cookie}\r\n\r\n`
  const before = await cpuMicroseconds()
  load.send({ port, head, connections, requests: sliceRequests })
  const [{ problem }] = (await once(load, 'message')) as [{ problem?: string }]
  if (problem !== undefined) throw new Error(problem)
  return (await cpuMicroseconds()) - before
}

function report(): void {
  const [first] = contenders
  console.log(`${rounds} rounds of ${requestsPerRound} requests each; Node ${process.version}; ${batches} batches of spans were taken\n`)
  console.log('               CPU a request (µs)   ratio to none: median     min     max   start (ms)')
  for (const { name, costs, instance } of contenders) {
    const ratios = costs.map((cost, round) => cost / (first?.costs[round] ?? Number.NaN))
    const cells = [median(ratios), Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2).padStart(8)).join('')
    console.log(
      `${name.padEnd(14)} ${median(costs).toFixed(1).padStart(18)}   ${' '.repeat(14)}${cells}   ${instance.startMs.toFixed(0).padStart(10)}`,
    )
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
