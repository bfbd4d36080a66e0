/** Sealing: what opens, and everything that must not. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { open, seal } from './seal.ts'
import { createTestRing } from './session.fixture.ts'

const ring = createTestRing()
const place = { purpose: 'record', name: 'session:abc' }

describe('a sealed value', () => {
  it('opens at its place, whatever it holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), fc.string({ minLength: 1, maxLength: 200 }), (bytes, name) => {
        const plaintext = Buffer.from(bytes)
        const opened = open(ring, { purpose: 'record', name }, seal(ring, { purpose: 'record', name }, plaintext))
        expect(opened?.equals(plaintext)).toBe(true)
      }),
    )
  })

  it('opens at no other place, also where purpose and name join to the same text (A158)', () => {
    const sealed = seal(ring, { purpose: 'ab', name: 'c' }, Buffer.from('x'))
    expect(open(ring, { purpose: 'ab', name: 'c' }, sealed)?.toString()).toBe('x')
    for (const [purpose, name] of [
      ['a', 'bc'],
      ['abc', ''],
      ['', 'abc'],
      ['ab', 'd'],
      ['ab', 'c '],
      ['AB', 'c'],
    ] as const) {
      expect(open(ring, { purpose, name }, sealed)).toBeUndefined()
    }
  })

  it('opens after no change, however small', () => {
    const sealed = seal(ring, place, Buffer.from('some text'))
    for (let i = 0; i < sealed.length; i++) {
      for (const bit of [1, 128]) {
        const changed = Buffer.from(sealed)
        changed[i] = (changed[i] ?? 0) ^ bit
        expect(open(ring, place, changed)).toBeUndefined()
      }
      expect(open(ring, place, sealed.subarray(0, i))).toBeUndefined()
    }
    expect(open(ring, place, Buffer.concat([sealed, Buffer.from([0])]))).toBeUndefined()
  })

  it('opens with any key of the ring and with no other', () => {
    const wide = createTestRing(3)
    const old = [...wide.sealing.all.values()][2]
    if (old === undefined) throw new Error('no key')
    const before = { ...wide, sealing: { current: old, all: new Map([[old.id, old]]) } }
    const sealed = seal(before, place, Buffer.from('old'))
    expect(open(wide, place, sealed)?.toString()).toBe('old')
    expect(open(ring, place, sealed)).toBeUndefined()
    // A key with the right id and another content.
    const impostor = { ...old, key: Buffer.alloc(32, 7) }
    expect(open({ ...wide, sealing: { current: impostor, all: new Map([[old.id, impostor]]) } }, place, sealed)).toBeUndefined()
  })

  it('shows nothing, and never looks the same twice', () => {
    const [a, b] = [seal(ring, place, Buffer.from('MARKER MARKER')), seal(ring, place, Buffer.from('MARKER MARKER'))]
    expect(a.toString('latin1')).not.toContain('MARKER')
    expect(a.equals(b)).toBe(false)
  })
})
