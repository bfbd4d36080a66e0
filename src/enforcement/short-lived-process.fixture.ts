/**
 * A process that makes many objects in one place which outlive collections, then many more that nobody holds, and reports how many minor
 * collections these took: none, where they were made old. With `listening` as its argument it has a listener.
 */

import { GCProfiler } from 'node:v8'
import { startFlow } from './enforcement.fixture.ts'

const rig = process.argv[2] === 'listening' ? await startFlow() : undefined

class Held {
  readonly numbers = new Array<number>(64).fill(1)
}

function make(index: number) {
  return { index, held: new Held() }
}

let kept: unknown[] = []
for (let collection = 0; collection < 8; collection++) {
  for (let i = 0; i < 400; i++) kept.push(make(i))
  globalThis.gc?.({ type: 'minor' })
}
kept = []

const profiler = new GCProfiler()
profiler.start()
let sum = 0
for (let i = 0; i < 400_000; i++) sum += make(i).held.numbers.length
const collections = profiler.stop().statistics.filter(({ gcType }) => gcType === 'Scavenge').length
process.send?.({ collections, sum })
await rig?.close()
process.disconnect()
