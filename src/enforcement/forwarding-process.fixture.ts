/**
 * Forwarding in a process of its own, for tests that measure memory: given an upstream as its argument, it reports its port and,
 * whenever asked, the most resident memory it ever had.
 */

import { appFor, startRig } from './forwarding.fixture.ts'

const rig = await startRig(appFor([process.argv[2] ?? ''], { timeouts: { connectSeconds: 5, responseSeconds: 60, idleSeconds: 60 } }))

process.on('message', () => {
  process.send?.({ peakBytes: process.resourceUsage().maxRSS * 1024 })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ port: rig.port })
