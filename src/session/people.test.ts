/** People seen: that all of them can be listed, in bounded steps, and that what a sign-in ever proved is not forgotten with the next. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { createPeople, type Person } from './people.ts'
import { createSealedRecords } from './sealed-records.ts'
import { createTestRing, createTestSessions, openEmbeddedPlace, type StorePlace, signedInAs, silentLog } from './session.fixture.ts'
import { recordNames } from './session-record.ts'

let place: StorePlace
const ring = createTestRing()

beforeEach(async () => {
  place = await openEmbeddedPlace()
})
afterEach(() => place.close())

const open = (keys = ring) =>
  createPeople(
    place.store,
    createSealedRecords(place.store, () => keys, silentLog),
  )

async function list(): Promise<{ total: number; found: readonly Person[] }> {
  const { people, total } = await open().listPeople()
  const found: Person[] = []
  for await (const person of people) found.push(person)
  return { total, found }
}

const signIn = (sub: string, stated: { acr?: string; amr?: readonly string[]; authTime?: number } = {}) => {
  place.clock.move(1000)
  const signInFacts = { at: place.clock.now(), authTime: stated.authTime, acr: stated.acr, amr: stated.amr ?? [] }
  return createTestSessions(place, ring).sessions.begin(signedInAs(sub, { signIn: signInFacts }), { address: '192.0.2.7', userAgent: '' })
}

it('lists everybody once, over several batches', async () => {
  expect(await list()).toEqual({ total: 0, found: [] })
  for (let number = 0; number < 230; number += 1) await signIn(`person-${number}`)
  await signIn('person-7')
  const { found, total } = await list()
  expect(total).toBe(230)
  expect(new Set(found.map(({ sub }) => sub)).size).toBe(230)
  expect(found).toHaveLength(230)
})

it('leaves out whose record is gone or does not open, and still counts them', async () => {
  await signIn('alice')
  await signIn('bob')
  const [first] = await place.store.loadIndex(recordNames.peopleIndex)
  if (first === undefined) throw new Error('nobody is listed')
  await place.store.removeRecord(recordNames.person(first))
  expect(await list()).toMatchObject({ total: 2, found: [expect.anything()] })
  const { people } = await open(createTestRing()).listPeople()
  for await (const person of people) expect(person).toBeUndefined()
})

it('remembers what any sign-in of a person ever stated, newest first and bounded', async () => {
  await signIn('alice', { acr: '2', amr: ['pwd', 'otp'], authTime: 1 })
  await signIn('alice', { acr: '1', amr: ['pwd'] })
  expect((await list()).found[0]?.signIns).toEqual({ acr: ['1', '2'], amr: ['pwd', 'otp'], isTimed: true })
  for (let number = 0; number < 40; number += 1) await signIn('alice', { acr: `made-up-${number}` })
  const { signIns } = (await list()).found[0] ?? {}
  expect(signIns?.acr).toHaveLength(16)
  expect(signIns?.acr[0]).toBe('made-up-39')
})
