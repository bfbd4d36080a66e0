/**
 * Counting frames: over random frames, split at random places, since a network splits anywhere.
 */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { closeFrame, createFrameTracker } from './websocket-frames.ts'

interface Frame {
  readonly first: number
  readonly payload: Uint8Array
  readonly isMasked: boolean
  /** Longer length forms than needed are legal to count, though not to send. */
  readonly form: 'short' | 'medium' | 'long'
}

const frame: fc.Arbitrary<Frame> = fc
  .record({
    first: fc.integer({ min: 0, max: 255 }),
    payload: fc.oneof(fc.uint8Array({ maxLength: 130 }), fc.uint8Array({ minLength: 65_530, maxLength: 65_540 })),
    isMasked: fc.boolean(),
    form: fc.constantFrom<Frame['form']>('short', 'medium', 'long'),
  })
  .map((parts) => {
    if (parts.payload.length > 65_535) return { ...parts, form: 'long' }
    return parts.payload.length > 125 && parts.form === 'short' ? { ...parts, form: 'medium' } : parts
  })

function encode({ first, payload, isMasked, form }: Frame): Buffer {
  const mask = isMasked ? 0x80 : 0
  const length = Buffer.alloc(form === 'short' ? 1 : form === 'medium' ? 3 : 9)
  length[0] = mask | (form === 'short' ? payload.length : form === 'medium' ? 126 : 127)
  if (form === 'medium') length.writeUInt16BE(payload.length, 1)
  if (form === 'long') length.writeBigUInt64BE(BigInt(payload.length), 1)
  return Buffer.concat([Buffer.from([first]), length, Buffer.alloc(isMasked ? 4 : 0, 7), payload])
}

/** The bytes cut at these places, taken modulo the length. */
function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((left, right) => left - right)
  return [...places, bytes.length].map((place, index) => bytes.subarray(index === 0 ? 0 : places[index - 1], place))
}

test('is at a boundary after the bytes of whole frames and nowhere else, however they are split', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 30 }), (frames, cuts) => {
      const encoded = frames.map(encode)
      let sum = 0
      const boundaries = new Set([0, ...encoded.map((bytes) => (sum += bytes.length))])
      const tracker = createFrameTracker()
      let position = 0
      for (const chunk of split(Buffer.concat(encoded), cuts)) {
        tracker.advance(chunk)
        position += chunk.length
        expect(tracker.isAtBoundary).toBe(boundaries.has(position))
      }
    }),
  )
})

test('moves to the next boundary and no further, and says how far that was', () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 6 }), fc.nat(), fc.array(fc.nat(), { maxLength: 10 }), (frames, at, cuts) => {
      const encoded = frames.map(encode)
      const all = Buffer.concat(encoded)
      const start = at % (all.length + 1)
      let sum = 0
      const next = [0, ...encoded.map((bytes) => (sum += bytes.length))].find((boundary) => boundary >= start)
      const tracker = createFrameTracker()
      tracker.advance(all.subarray(0, start))
      let moved = 0
      for (const chunk of split(all.subarray(start), cuts)) moved += tracker.advanceToBoundary(chunk)
      expect(start + moved).toBe(next)
      expect(tracker.isAtBoundary).toBe(true)
    }),
  )
})

test('never takes a frame of enormous length for one that has ended', () => {
  const tracker = createFrameTracker()
  tracker.advance(Buffer.from([0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0]))
  tracker.advance(Buffer.alloc(1_000_000))
  expect(tracker.isAtBoundary).toBe(false)
})

test('writes a close frame that a reader understands', () => {
  expect([...closeFrame(1008)]).toEqual([0x88, 2, 0x03, 0xf0])
  const tracker = createFrameTracker()
  tracker.advance(closeFrame(1001))
  expect(tracker.isAtBoundary).toBe(true)
})
