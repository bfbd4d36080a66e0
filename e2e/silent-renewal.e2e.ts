/**
 * What brings a person back without noticing, and what never does. After idleness or the lifetime a navigation makes one round through the
 * provider's own session; after any other end only a fresh sign-in counts; and nobody but a person who goes somewhere begins any round.
 */

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

/** What a browser sends without anybody going anywhere. */
const background: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['a fetch', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
  ['a picture', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
  ['a frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }],
  ['a page ahead of time', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-purpose': 'prefetch' }],
  ['a page drawn ahead of time', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-purpose': 'prefetch;prerender' }],
  ['a page ahead of time, in older words', { purpose: 'prefetch', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }],
]

let provider: HostileProvider
beforeAll(async () => {
  provider = await startHostileProvider()
})
afterAll(() => provider?.stop())
beforeEach(() => provider.reset())

async function start(session: Readonly<Record<string, unknown>>, more: Parameters<typeof startRig>[0] = {}): Promise<Rig> {
  const rig = await startRig({ issuer: provider.issuer, provider: { client_secret: provider.clientSecret }, session, ...more })
  await waitFor(async () => (await new Client().follow(`${rig.origin('app')}/ok`)).status === 200)
  return rig
}

async function signedIn(rig: Rig, sub = 'alice', sid?: string): Promise<Client> {
  provider.behaviour.person = { ...provider.behaviour.person, sub, ...(sid === undefined ? {} : { sid }) }
  const client = new Client()
  expect((await client.follow(`${rig.origin('app')}/ok`)).status).toBe(200)
  return client
}

/** Neither a redirect, nor a cookie, nor a question to the provider, however often it is tried. */
async function mustStayAway(rig: Rig, client: Client): Promise<void> {
  const asked = provider.received.length
  for (let round = 0; round < 5; round += 1) {
    for (const [what, headers] of background) {
      const answer = await client.send(`${rig.origin('app')}/ok`, { headers })
      expect([answer.status, answer.header('location'), answer.header('set-cookie')], what).toEqual([401, undefined, undefined])
    }
  }
  expect(provider.received.length).toBe(asked)
}

describe.each([
  ['idleness', { idle_timeout: '2s', lifetime: '60s' }],
  ['the lifetime', { idle_timeout: '3s', lifetime: '3s' }],
])('after %s', (_name, session) => {
  const overAfterMs = Number.parseInt(session.idle_timeout, 10) * 1000 + 200
  let rig: Rig
  beforeAll(async () => {
    rig = await start(session)
  })
  afterAll(() => rig?.stop())

  test('nothing happens until somebody goes there, and then one round that nobody sees', async () => {
    // Signed in at the provider long ago: there it goes on.
    provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) - 3600
    const client = await signedIn(rig)
    const from = performance.now()
    await waitFor(() => performance.now() > from + overAfterMs)
    await mustStayAway(rig, client)
    provider.received.length = 0
    const page = await client.follow(`${rig.origin('app')}/ok?page=7`)
    expect([page.status, page.url]).toEqual([200, `${rig.origin('app')}/ok?page=7`])
    const rounds = provider.received.filter(({ endpoint }) => endpoint === 'authorize')
    expect(rounds).toHaveLength(1)
    // Nothing that would make the provider ask.
    expect(new URL(rounds[0]?.url ?? '', provider.issuer).searchParams.has('prompt')).toBe(false)
    expect((await client.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status).toBe(200)
    expect(provider.count('authorize')).toBe(1)
  })

  test('what is loaded ahead of time passes while the session lives, and renews nothing once it is over', async () => {
    const client = await signedIn(rig)
    const headers = { 'sec-purpose': 'prefetch' }
    expect((await client.send(`${rig.origin('app')}/ok`, { headers })).status).toBe(200)
    const from = performance.now()
    await waitFor(() => performance.now() > from + overAfterMs)
    const asked = provider.count('authorize')
    const atSignIn = await client.send(`${rig.origin('access')}/sign-in`, { headers })
    expect([atSignIn.status, atSignIn.header('set-cookie')]).toEqual([403, undefined])
    expect((await client.send(`${rig.origin('access')}/`, { headers })).status).toBe(401)
    expect(provider.count('authorize')).toBe(asked)
  })
})

describe('after any other end', () => {
  let rig: Rig
  beforeAll(async () => {
    rig = await start({ refresh_after: '1s', claims_max_age: '1s' })
  })
  afterAll(() => rig?.stop())

  const sameOrigin = (name: string) => ({ origin: rig.origin(name), 'sec-fetch-site': 'same-origin' })
  const form = { 'content-type': 'application/x-www-form-urlencoded' }

  /** Each end concerns somebody of its own, on a session of its own at the provider. */
  let somebody = ''
  let sid = ''
  beforeEach(() => {
    somebody = `person-${randomBytes(4).toString('hex')}`
    sid = `at-provider-${somebody}`
  })

  const ends: Readonly<Record<string, (client: Client) => Promise<unknown>>> = {
    'a sign-out': (client) =>
      client.send(`${rig.origin('app')}/.postern/sign-out`, { method: 'POST', body: '', headers: sameOrigin('app') }),
    'an end from another browser': async () => {
      const other = await signedIn(rig, somebody, `another-${sid}`)
      const page = await other.send(`${rig.origin('access')}/sessions`)
      const token = /name="form_token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
      const body = new URLSearchParams({ form_token: token, end: 'others' }).toString()
      const answer = await other.send(`${rig.origin('access')}/sessions`, {
        method: 'POST',
        body,
        headers: { ...form, ...sameOrigin('access') },
      })
      expect(answer.status).toBe(303)
      expect((await other.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status).toBe(200)
    },
    'signing out everywhere in another browser': async () => {
      const other = await signedIn(rig, somebody, `another-${sid}`)
      const page = await other.send(`${rig.origin('access')}/sessions`)
      const token = /name="form_token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
      const body = new URLSearchParams({ form_token: token, end: 'all' }).toString()
      await other.send(`${rig.origin('access')}/sessions`, { method: 'POST', body, headers: { ...form, ...sameOrigin('access') } })
    },
    'a back-channel logout': async () => {
      const body = `logout_token=${await provider.logoutToken({ sub: somebody, sid })}`
      const told = await new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, { method: 'POST', body, headers: form })
      expect(told.status).toBe(200)
    },
    'a refused refresh': async (client) => {
      provider.behaviour.refuseRefresh = 'invalid_grant'
      await waitFor(async () => (await client.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status === 401)
      provider.behaviour.refuseRefresh = undefined
    },
  }

  test.each(Object.keys(ends))('%s: the provider’s own session is no way back', async (name) => {
    provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) - 3600
    const client = await signedIn(rig, somebody, sid)
    await ends[name]?.(client)
    provider.behaviour.person.sid = sid
    await waitFor(async () => (await client.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status === 401)
    await mustStayAway(rig, client)
    provider.received.length = 0
    const refused = await client.follow(`${rig.origin('app')}/ok`)
    expect([refused.status, refused.header('x-postern')]).toEqual([403, 'sign_in_too_old'])
    const prompts = provider.received
      .filter(({ endpoint }) => endpoint === 'authorize')
      .map(({ url }) => new URL(url, provider.issuer).searchParams.get('prompt'))
    expect(prompts).toEqual([null, 'login'])
    // Somebody who really signs in is in.
    provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) + 1
    expect((await client.follow(`${rig.origin('app')}/ok`)).status).toBe(200)
  })
})

describe('two instances', () => {
  let rig: Rig
  beforeAll(async () => {
    // No claim grows old here: what the other instance remembers is good for five seconds, unless it hears better.
    rig = await start({}, { store: 'redis', instances: 2 })
  })
  afterAll(() => rig?.stop())

  test('groups that changed count on the next request of every instance', async () => {
    const leaving = await signedIn(rig, 'alice', 's-leaving')
    const client = await signedIn(rig, 'alice', 's-staying')
    const second = new Client()
    second.detours.set(rig.port, rig.instances[1]?.port ?? 0)
    second.setCookie('postern-app', client.cookie('postern-app', 'app.corp.localhost') ?? '', 'app.corp.localhost')
    const statusAt = async (at: Client) => (await at.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status
    provider.behaviour.userinfo = (it) => ({ ...it, groups: [] })
    provider.behaviour.idToken = (it) => ({ ...it, groups: [] })
    expect([await statusAt(client), await statusAt(second)]).toEqual([200, 200])
    // The first instance hears that something changed, and asks about this person's other sessions.
    const body = `logout_token=${await provider.logoutToken({ sub: 'alice', sid: 's-leaving' })}`
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const from = performance.now()
    expect((await new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, { method: 'POST', body, headers })).status).toBe(200)
    await waitFor(async () => (await statusAt(second)) === 403, 8000)
    const tookMs = performance.now() - from
    expect([await statusAt(client), await statusAt(leaving)]).toEqual([403, 401])
    expect(provider.received.filter(({ body: sent }) => sent.includes('refresh_token'))).toHaveLength(1)
    expect(tookMs).toBeLessThan(1000)
  })
})
