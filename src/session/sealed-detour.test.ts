/** A detour opens only as it was sealed, for a minute, on its own access host. */

import { expect, test } from 'vitest'
import { type Detour, openDetour, sealDetour } from './sealed-detour.ts'
import { createTestRing } from './session.fixture.ts'

const ring = createTestRing()
const keys = () => ring
const access = new URL('https://access.corp.example')
const detour: Detour = {
  sessionId: 's',
  origins: ['https://a.example', 'https://b.example'],
  returnTo: 'https://p.example/x',
  at: 1_000_000,
}
const openAt = (at: number, sealed = sealDetour({ keys }, access, detour), url = access) => openDetour({ keys, now: () => at }, url, sealed)

test('opens as it was sealed, also without an end', () => {
  expect(openAt(1_000_000)).toEqual(detour)
  expect(openAt(1_000_000, sealDetour({ keys }, access, { ...detour, returnTo: undefined }))).toEqual({ ...detour, returnTo: undefined })
})

test('has no stops left once it is old, or from the future, and still says where it ends', () => {
  expect(openAt(1_059_999)?.origins).toHaveLength(2)
  for (const at of [1_060_000, 939_999]) expect(openAt(at)).toEqual({ ...detour, origins: [] })
})

test('opens on no other access host, changed in no byte, and under no other keys', () => {
  const sealed = sealDetour({ keys }, access, detour)
  expect(openAt(1_000_000, sealed, new URL('https://access.other.example'))).toBeUndefined()
  const bytes = Buffer.from(sealed, 'base64url')
  for (let index = 0; index < bytes.length; index += 1) {
    const changed = Buffer.from(bytes)
    changed[index] = (changed[index] ?? 0) ^ 1
    expect(openAt(1_000_000, changed.toString('base64url'))).toBeUndefined()
  }
  expect(openDetour({ keys: () => createTestRing(), now: () => 1_000_000 }, access, sealed)).toBeUndefined()
  for (const text of ['', 'A', '%', 'A'.repeat(300)]) expect(openAt(1_000_000, text)).toBeUndefined()
})
