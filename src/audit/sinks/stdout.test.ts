/** Standard output that nobody reads: what was handed over once is not handed over again, so that waiting takes no memory. */

import { describe, expect, it } from 'vitest'
import { createLineBatch } from '../follow-batch.ts'
import { createStdoutSink } from './stdout.ts'

const batch = (chain: string) => createLineBatch(chain, Buffer.from(`{"seq":1,"chain":"${chain}"}\n`))
const { signal } = new AbortController()

/** A writer that keeps what it is given until somebody reads. */
function createBlockedOutput() {
  const held: { readonly text: string; readonly done: () => void; readonly fail: () => void }[] = []
  return {
    held,
    write: (text: string) =>
      new Promise<void>((resolve, reject) => held.push({ text, done: resolve, fail: () => reject(new Error('EPIPE')) })),
  }
}

describe('standard output that does not take lines', () => {
  it('is given a batch once, however often it is tried, and other chains wait for it', async () => {
    const { held, write } = createBlockedOutput()
    const sink = createStdoutSink(write, 5)
    const first = batch('a')
    for (let tries = 0; tries < 5; tries += 1) await expect(sink.send(first, signal)).rejects.toThrow('does not take lines')
    await expect(sink.send(batch('b'), signal)).rejects.toThrow('does not take lines')
    expect(held).toHaveLength(1)
    held[0]?.done()
    await sink.send(first, signal)
    expect(held).toHaveLength(1)
    const second = sink.send(batch('b'), signal)
    await expect.poll(() => held.length).toBe(2)
    held[1]?.done()
    await second
  })

  it('is given it anew once the writer failed', async () => {
    const { held, write } = createBlockedOutput()
    const sink = createStdoutSink(write, 1000)
    const one = batch('a')
    const failing = sink.send(one, signal)
    held[0]?.fail()
    await expect(failing).rejects.toThrow('EPIPE')
    const again = sink.send(one, signal)
    expect(held).toHaveLength(2)
    held[1]?.done()
    await again
  })
})
