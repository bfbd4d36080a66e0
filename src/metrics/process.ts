/**
 * Numbers of the process: by the names that every Prometheus dashboard knows, and how late its event loop is.
 */

import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { MetricsRegistry } from './registry.ts'

/** How often the loop is looked at; what a turn takes beyond that is its delay. */
const resolutionMs = 20

/** Puts them into `registry`. Returns the way to stop measuring. */
export function addProcess(registry: MetricsRegistry, version: string | undefined): () => void {
  registry.sources({ name: 'postern_build_info', help: '1; the version of Postern and of Node.js.', labels: ['version', 'node'] }, () =>
    version === undefined ? [] : [{ labels: { version, node: process.versions.node }, value: 1 }],
  )
  const startedAt = Math.round(performance.timeOrigin / 1000)
  registry.source({ name: 'process_start_time_seconds', help: 'Start of the process, in seconds since the epoch.' }, () => startedAt)
  registry.source({ name: 'process_resident_memory_bytes', help: 'Resident memory.' }, () => process.memoryUsage.rss())
  registry.source({ name: 'nodejs_heap_size_used_bytes', help: 'Heap in use.' }, () => process.memoryUsage().heapUsed)
  registry.source(
    { name: 'nodejs_external_memory_bytes', help: 'Memory of buffers, outside the heap.' },
    () => process.memoryUsage().external,
  )
  registry.source(
    { name: 'process_cpu_seconds_total', help: 'CPU time used.' },
    () => {
      const { system, user } = process.cpuUsage()
      return (user + system) / 1e6
    },
    'counter',
  )

  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  let seen = { median: 0, p99: 0, max: 0 }
  registry.beforeScrape(async () => {
    // The histogram holds intervals: what exceeds the resolution is the delay.
    const delayOf = (nanoseconds: number) => (delays.count === 0 ? 0 : Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000))
    seen = { median: delayOf(delays.percentile(50)), p99: delayOf(delays.percentile(99)), max: delayOf(delays.max) }
    delays.reset()
  })
  const help = 'How late the event loop was since the last scrape:'
  registry.source({ name: 'postern_event_loop_delay_median_seconds', help: `${help} the median.` }, () => seen.median)
  registry.source({ name: 'postern_event_loop_delay_p99_seconds', help: `${help} the 99th percentile.` }, () => seen.p99)
  registry.source({ name: 'postern_event_loop_delay_max_seconds', help: `${help} the maximum.` }, () => seen.max)
  return () => void delays.disable()
}
