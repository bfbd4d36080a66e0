/**
 * A whole instance with a large policy: how long it takes to start, what memory it holds, and what requests feel of a reload.
 *
 * Requests come in one after the other on a few connections, and each is timed, first without a reload and then while the policy is changed
 * again and again. Beside them the instance reports how long its event loop was kept waiting.
 */

import { Agent, request } from 'node:http'
import { largeSize, writeLargePolicy } from '../src/large-policy.fixture.ts'
import { startMeasured } from './measured-process.ts'
import { type PosternInstance, startPostern } from './postern-instance.ts'

const connections = 4

interface Delays {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Prints what it measured; resolves to whether the event loop's longest pause during reloads is within the budget. */
export async function measureReloads(delayBudgetMs: number, reloads = 20): Promise<boolean> {
  const upstream = await startMeasured<{ port: number }>('./contenders.ts', ['upstream'])
  const origin = `http://127.0.0.1:${upstream.first.port}`
  let changes = 0
  let appUrl = ''
  // The first app is the one that is asked for; the rule that lets in carries the number of the change.
  const write = (url: string) => {
    appUrl = url
    const addresses = (index: number) => ({
      url: index === 0 ? url : url.replace('bench.', `app-${index}.`),
      upstream: index === 0 ? origin : `http://app-${index}.internal:8080`,
    })
    return writeLargePolicy(largeSize, addresses).replaceAll(
      'staff read, allow: { groups: [staff] }',
      `staff ${changes}, allow: { groups: [staff] }`,
    )
  }
  const postern = await startPostern(origin, ['--import', new URL('./report-delays.ts', import.meta.url).href], write)
  try {
    const mib = async () => `${Math.round((await postern.residentBytes()) / 2 ** 20)} MiB`
    console.log(`instance with ${largeSize.apps} apps: ready after ${seconds(postern.startMs)}, resident ${await mib()}`)
    await timeRequests(postern, async () => {
      await new Promise((resolve) => setTimeout(resolve, 2000))
    })
    await postern.ask('delays')
    const quiet = await timeRequests(postern, async () => {
      await new Promise((resolve) => setTimeout(resolve, 5000))
    })
    const quietDelays = (await postern.ask('delays')) as Delays
    const took: number[] = []
    const memory: string[] = []
    const busy = await timeRequests(postern, async () => {
      for (let reload = 1; reload <= reloads; reload++) {
        changes = reload
        const began = performance.now()
        await postern.change(write(appUrl), 'policy loaded')
        took.push(performance.now() - began)
        if (reload === 1 || reload % 5 === 0) memory.push(`${await mib()} after ${reload}`)
      }
    })
    const busyDelays = (await postern.ask('delays')) as Delays
    console.log(
      `reload: ${seconds(median(took))} from the change of the file (${seconds(Math.min(...took))} to ${seconds(Math.max(...took))})`,
    )
    console.log(`resident: ${memory.join(', ')}`)
    console.table({ 'without reload': { ...quiet, ...prefixed(quietDelays) }, 'during reloads': { ...busy, ...prefixed(busyDelays) } })
    const isWithin = busyDelays.max <= delayBudgetMs
    console.log(
      `event loop, longest pause during reloads: ${busyDelays.max.toFixed(0)} ms; budget ${delayBudgetMs} ms: ${isWithin ? 'kept' : 'EXCEEDED'}`,
    )
    return isWithin
  } finally {
    await postern.stop()
    await upstream.stop()
  }
}

function prefixed({ p99, max }: Delays) {
  return { 'loop p99, ms': round(p99), 'loop max, ms': round(max) }
}

/** Milliseconds that requests took while `meanwhile` went on. */
async function timeRequests(postern: PosternInstance, meanwhile: () => Promise<void>) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const times: number[] = []
  let isOver = false
  const drive = async () => {
    while (!isOver) {
      const began = performance.now()
      await get(postern, agent)
      times.push(performance.now() - began)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  const driving = Array.from({ length: connections }, drive)
  await meanwhile()
  isOver = true
  await Promise.all(driving)
  agent.destroy()
  times.sort((left, right) => left - right)
  const quantile = (q: number) => round(times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN)
  return { requests: times.length, 'p50, ms': quantile(0.5), 'p99, ms': quantile(0.99), 'max, ms': quantile(1) }
}

/** A request that the rule about staff lets in; anything else fails the benchmark. */
function get({ cookie, host, port }: PosternInstance, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = {
      host,
      cookie,
      accept: 'application/json',
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'cors',
      'sec-fetch-dest': 'empty',
    }
    request({ host: '127.0.0.1', port, agent, path: '/docs/a/b', headers }, (response) => {
      response.resume()
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`answered ${response.statusCode}`))))
    })
      .on('error', reject)
      .end()
  })
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] ?? Number.NaN
}
