/** The binding of a session to the device that it began on, in the record and through sign-ins. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { browserOrigin, createTestRing, createTestSessions, openEmbeddedPlace, type StorePlace, signedInAs } from './session.fixture.ts'
import type { BoundDevice } from './session.ts'
import { restoreSession } from './session-record.ts'
import type { SessionService } from './session-service.ts'

const laptop: BoundDevice = { certificate: 'a'.repeat(64), names: ['laptop-7.corp.example'] }
const other: BoundDevice = { certificate: 'b'.repeat(64), names: ['laptop-7.corp.example'] }

let place: StorePlace
let sessions: SessionService
beforeEach(async () => {
  place = await openEmbeddedPlace()
  sessions = createTestSessions(place, createTestRing()).sessions
})
afterEach(async () => {
  await sessions.close()
  await place.close()
})

async function deviceOf(id: string): Promise<unknown> {
  const lookup = await sessions.findById(id)
  return lookup.state === 'live' ? lookup.session.device : lookup.state
}

describe('a session', () => {
  test('keeps the device that it began on, and none if it began without', async () => {
    const bound = await sessions.begin(signedInAs('alice'), browserOrigin, undefined, laptop)
    const free = await sessions.begin(signedInAs('alice'), browserOrigin)
    expect(await deviceOf(bound.session.id)).toEqual(laptop)
    expect(await deviceOf(free.session.id)).toBeUndefined()
  })

  test('is continued on its own device only, and stays bound', async () => {
    const { session } = await sessions.begin(signedInAs('alice'), browserOrigin, undefined, laptop)
    expect(await sessions.continueWith(session, signedInAs('alice'), undefined, other)).toBeUndefined()
    expect(await sessions.continueWith(session, signedInAs('alice'))).toBeUndefined()
    const continued = await sessions.continueWith(session, signedInAs('alice'), undefined, laptop)
    expect(continued).toMatchObject({ id: session.id, device: laptop })
    expect(await deviceOf(session.id)).toEqual(laptop)
  })

  test('that began without a device is not bound by a later sign-in with one', async () => {
    const { session } = await sessions.begin(signedInAs('alice'), browserOrigin)
    expect(await sessions.continueWith(session, signedInAs('alice'), undefined, laptop)).toMatchObject({
      id: session.id,
      device: undefined,
    })
  })

  test('is judged by what the store holds, whatever the caller remembers of it', async () => {
    const { session } = await sessions.begin(signedInAs('alice'), browserOrigin, undefined, laptop)
    const forged = { ...session, device: undefined }
    expect(await sessions.continueWith(forged, signedInAs('alice'), undefined, other)).toBeUndefined()
  })

  test('of a record from before there were devices is restored without one', async () => {
    const { session } = await sessions.begin(signedInAs('alice'), browserOrigin)
    const { device: _device, ...old } = JSON.parse(JSON.stringify(session))
    expect(restoreSession(old)).toEqual(session)
  })
})
