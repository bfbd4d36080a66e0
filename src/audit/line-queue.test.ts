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
          const batch = queue.take()?.bytes
          if (batch !== undefined) written.push(Buffer.from(batch))
          queue.drop()
          return batch !== undefined
        }
        for (const one of steps) {
          if ('push' in one) {
            queue.push(one.push, 1)
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
    queue.push('one\n', 1)
    const batch = queue.take()?.bytes
    queue.push('two\n', 1)
    expect(batch?.toString()).toBe('one\n')
    queue.drop()
    expect([queue.bytes, queue.lines]).toEqual([4, 1])
    expect(queue.take()?.bytes.toString()).toBe('two\n')
  })

  it('takes a line that is longer than a block', () => {
    const queue = createLineQueue(8)
    const long = `${'é'.repeat(500)}\n`
    queue.push('a\n', 1)
    queue.push(long, 1)
    expect(queue.take()?.bytes.toString()).toBe('a\n')
    queue.drop()
    expect(queue.take()?.bytes.toString()).toBe(long)
  })

  it('never gives lines of two segments at once', () => {
    const queue = createLineQueue(1000)
    for (const [line, segment] of [
      ['a\n', 1],
      ['b\n', 1],
      ['c\n', 2],
      ['d\n', 3],
      ['e\n', 3],
    ] as const)
      queue.push(line, segment)
    const taken: [string, number][] = []
    for (let batch = queue.take(); batch !== undefined; batch = queue.take()) {
      taken.push([batch.bytes.toString(), batch.segment])
      queue.drop()
    }
    expect(taken).toEqual([
      ['a\nb\n', 1],
      ['c\n', 2],
      ['d\ne\n', 3],
    ])
    queue.push('f\n', 4)
    expect(queue.take()?.segment).toBe(4)
  })

  it('gives a line back as it is written, without its newline', () => {
    const queue = createLineQueue(1000)
    expect(queue.push('é\n', 1).toString()).toBe('é')
    expect(queue.push('zwei\n', 1).toString()).toBe('zwei')
  })

  it('fills the last block anew once it is empty', () => {
    const queue = createLineQueue(1000)
    const memory = new Set<ArrayBufferLike | undefined>()
    for (let round = 0; round < 1000; round += 1) {
      queue.push('0123456789\n', 1)
      memory.add(queue.take()?.bytes.buffer)
      queue.drop()
    }
    expect(memory.size).toBe(1)
  })
})
