/**
 * Loaded into a measured instance (`--import`): tells its parent, when asked, how long its event loop was kept waiting since it was last asked.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'

const resolutionMs = 2
const delays = monitorEventLoopDelay({ resolution: resolutionMs })
delays.enable()

process.on('message', (message) => {
  if (message !== 'delays') return
  const beyond = (ns: number) => Math.max(0, ns / 1e6 - resolutionMs)
  process.send?.({ p50: beyond(delays.percentile(50)), p99: beyond(delays.percentile(99)), max: beyond(delays.max) })
  delays.reset()
})
process.channel?.unref()
