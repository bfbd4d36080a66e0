/** The session that a sign-in leads to, against an end that comes in the midst of it. */

import type { Request, Response } from 'express'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { noBinding } from '../attributes/device-binding.ts'
import { createTestRing, createTestSessions, openEmbeddedPlace, type StorePlace, signedInAs } from '../session/session.fixture.ts'
import type { Sessions } from '../session/sessions.ts'
import { bindContext } from './request-context.ts'
import { establishSession, type SessionPorts } from './sign-in-session.ts'

let place: StorePlace
beforeAll(async () => {
  place = await openEmbeddedPlace()
})
afterAll(() => place.close())

const attempt = {
  state: 's',
  nonce: 'n',
  codeVerifier: 'v',
  begunAt: 0,
  attempt: undefined,
  returnTo: undefined,
  prompt: undefined,
  stepUp: undefined,
  restarts: 0,
} as const

/** Signs Alice in, who authenticated a minute ago; `meanwhile` happens when the latest end was asked for and before the answer is used. */
async function signIn(meanwhile: (sessions: Sessions) => Promise<unknown>) {
  const { sessions } = createTestSessions(place, createTestRing())
  const cookies = {
    readSession: () => undefined,
    writeSession: (_cookie: string, secret: string) => secret,
  } as unknown as SessionPorts['cookies']
  let asked = 0
  const interrupted: Sessions = {
    ...sessions,
    findLatestEnd: async (of) => {
      const end = await sessions.findLatestEnd(of)
      asked += 1
      if (asked === 1) await meanwhile(sessions)
      // What is stored from here on is later.
      place.clock.move(1)
      return end
    },
  }
  const ports = {
    accessUrl: new URL('https://access.corp.example'),
    cookies,
    sessions: interrupted,
    binding: noBinding,
    now: place.clock.now,
  }
  const request = { headers: {} } as Request
  bindContext(request, { requestId: 'r', address: '192.0.2.7' })
  const sent: string[] = []
  const response = { append: (_name: string, value: string) => void sent.push(value) } as unknown as Response
  const seconds = Math.floor(place.clock.now() / 1000) - 60
  const { claims, ...others } = signedInAs('alice')
  const signedIn = { ...others, claims: { ...claims, auth_time: seconds, iat: seconds } }
  const session = await establishSession(ports, request, response, { attempt, signedIn })
  return { session, sent, live: await sessions.listSubject('https://op.corp.example', 'alice') }
}

it('is one that lives where nothing came between', async () => {
  const { live, sent, session } = await signIn(async () => undefined)
  expect(session).toBeDefined()
  expect(sent).toHaveLength(1)
  expect(live.map(({ id }) => id)).toContain(session?.id)
})

it('is none where everything of the person was ended while the sign-in was being checked', async () => {
  const { live, sent, session } = await signIn((sessions) => sessions.endSubject('https://op.corp.example', 'alice', 'revoked'))
  expect(session).toBeUndefined()
  expect(sent).toEqual([])
  expect(live).toEqual([])
})

it('is none where a session of the same provider session was revoked, although the browser has thrown its cookie away', async () => {
  const { sessions } = createTestSessions(place, createTestRing())
  const { session } = await sessions.begin(signedInAs('alice'), { address: '192.0.2.7', userAgent: '' })
  place.clock.move(1)
  await sessions.endSessions([session.id], 'revoked')
  place.clock.move(1)
  expect((await signIn(async () => undefined)).session).toBeUndefined()
})
