/** The queue of lines: order, blocks, and what was taken but not written. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLineQueue } from './line-queue.ts'

describe('the queue of lines', () => {
  it('gives every line once and in order, however it is filled and emptied', () => {
    const step = fc.oneof(
      fc.record({ push: fc.string({ unit: 'binary', maxLength: 60 }).map((text) => `${text.toWellFormed()}\n`) }),
      fc.constant({ write: true }),
      fc.constant({ fail: true }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 200 }), (steps, blockBytes) => {
        const queue = createLineQueue(blockBytes)
        const pushed: string[] = []
        const written: Buffer[] = []
        const write = () => {
          const batch = queue.take()
          if (batch !== undefined) written.push(Buffer.from(batch))
          queue.drop()
          return batch !== undefined
        }
        for (const one of steps) {
          if ('push' in one) {
            queue.push(one.push)
            pushed.push(one.push)
          } else if ('write' in one) write()
          // Taken and not dropped, as when the disk is full: it is there again.
          else queue.take()
        }
        while (write()) expect(written.at(-1)?.at(-1)).toBe(0x0a)
        expect(Buffer.concat(written).toString()).toBe(pushed.join(''))
        expect([queue.bytes, queue.lines]).toEqual([0, 0])
      }),
    )
  })

  it('keeps what was taken as it is while lines are added, and drops no more than was taken', () => {
    const queue = createLineQueue(1000)
    queue.push('one\n')
    const batch = queue.take()
    queue.push('two\n')
    expect(batch?.toString()).toBe('one\n')
    queue.drop()
    expect([queue.bytes, queue.lines]).toEqual([4, 1])
    expect(queue.take()?.toString()).toBe('two\n')
  })

  it('takes a line that is longer than a block', () => {
    const queue = createLineQueue(8)
    const long = `${'é'.repeat(500)}\n`
    queue.push('a\n')
    queue.push(long)
    expect(queue.take()?.toString()).toBe('a\n')
    queue.drop()
    expect(queue.take()?.toString()).toBe(long)
  })

  it('fills the last block anew once it is empty', () => {
    const queue = createLineQueue(1000)
    const memory = new Set<ArrayBufferLike | undefined>()
    for (let round = 0; round < 1000; round += 1) {
      queue.push('0123456789\n')
      memory.add(queue.take()?.buffer)
      queue.drop()
    }
    expect(memory.size).toBe(1)
  })
})
