/**
 * A listener in a process of its own, for a test of what becomes of short-lived objects next to it. In one place it makes many objects that
 * outlive collections, then many more that nobody holds, and reports how many bytes of these became old.
 */

import { GCProfiler } from 'node:v8'
import { startFlow } from './enforcement.fixture.ts'

const isListening = process.argv[2] === 'listening'
const rig = isListening ? await startFlow() : undefined

interface Made {
  readonly index: number
  readonly held: readonly number[]
}

function make(index: number): Made {
  return { index, held: Array.from({ length: 64 }, () => index) }
}

let kept: Made[] = []
for (let collection = 0; collection < 8; collection++) {
  for (let i = 0; i < 400; i++) kept.push(make(i))
  globalThis.gc?.({ type: 'minor' })
}
kept = []

const profiler = new GCProfiler()
profiler.start()
let sum = 0
for (let i = 0; i < 400_000; i++) sum += make(i).held.length
let oldBytes = 0
for (const { gcType, beforeGC, afterGC } of profiler.stop().statistics) {
  if (gcType === 'Scavenge') oldBytes += oldSpaceOf(afterGC) - oldSpaceOf(beforeGC)
}
const grown = process.memoryUsage().heapUsed
process.send?.({ oldBytes, sum, grown })
await rig?.listener.close(0)
process.disconnect()

function oldSpaceOf({ heapSpaceStatistics }: { readonly heapSpaceStatistics: readonly { spaceName: string; spaceUsedSize: number }[] }): number {
  return heapSpaceStatistics.find(({ spaceName }) => spaceName === 'old_space')?.spaceUsedSize ?? 0
}
