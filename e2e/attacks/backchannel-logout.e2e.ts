/**
 * Back-channel logout: what the provider may end, and what nobody may end in its name (OpenID Connect Back-Channel Logout 1.0).
 *
 * Safe: exactly the sessions that a right token names end, at once and on every instance, and what is open in them closes; any other token
 * is 400 and ends nothing; 200 is never said of an end that is not on record.
 */

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { WebSocket } from 'ws'
import { type Answer, Client } from '../support/client.ts'
import { forgeToken, type HostileProvider, logoutEvent, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from '../support/streaming-upstream.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

/** What is promised for an end, the store being there. */
const promisedMs = 1000

describe('logout tokens', () => {
  let rig: Rig
  let provider: HostileProvider
  let streaming: StreamingUpstream

  beforeAll(async () => {
    provider = await startHostileProvider()
    streaming = await startStreamingUpstream()
    rig = await startRig({
      store: 'redis',
      instances: 2,
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret },
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'chat', upstream: streaming.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
    })
    await waitFor(async () => (await new Client().follow(app())).status === 200)
  })
  afterAll(async () => {
    await endRig(rig)
    await provider?.stop()
    await streaming?.close()
  })
  beforeEach(() => provider.reset())
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`
  const path = () => `${rig.origin('access')}/oidc/backchannel-logout`
  const statusOf = async (client: Client, url = app()) => (await client.send(url, { as: 'fetch' })).status

  /** A browser of `sub`, signed in to a session of its own at the provider. */
  async function signedIn(sub: string, sid: string | undefined = randomBytes(8).toString('hex')): Promise<Client> {
    const { sid: _sid, ...person } = { ...provider.behaviour.person, sub, sid }
    provider.behaviour.person = sid === undefined ? person : { ...person, sid }
    const client = new Client()
    expect((await client.follow(app())).status).toBe(200)
    return client
  }

  function post(body: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    return new Client().send(path(), { method: 'POST', as: 'fetch', body, headers: { ...type, ...headers } })
  }
  const send = (token: string) => post(`logout_token=${token}`)

  /** Throws unless it is 400, never stored, and the session lives on. */
  async function mustBeRejected(token: string, client: Client, what: string): Promise<string> {
    const answer = await send(token)
    expect([answer.status, answer.header('cache-control')], what).toEqual([400, 'no-store'])
    expect(JSON.parse(answer.body), what).toMatchObject({ error: 'invalid_request' })
    expect(await statusOf(client), what).toBe(200)
    return '400, session lives'
  }

  /** The same browser at the second instance. */
  function atSecond(like: Client): Client {
    const client = new Client()
    client.detours.set(rig.port, rig.instances[1]?.port ?? 0)
    client.setCookie('postern-app', like.cookie('postern-app', 'app.corp.localhost') ?? '', 'app.corp.localhost')
    return client
  }

  attack('A182', 'BCL', 'a token for a sid ends that session, one for a sub all of that person, nobody else’s', async () => {
    const [one, two, bob] = [await signedIn('alice', 's-one'), await signedIn('alice', 's-two'), await signedIn('bob', 's-bob')]
    const bySid = await send(await provider.logoutToken({ sid: 's-one', sub: 'alice' }))
    expect([bySid.status, bySid.header('cache-control'), bySid.body]).toEqual([200, 'no-store', ''])
    expect([await statusOf(one), await statusOf(two), await statusOf(bob)]).toEqual([401, 200, 200])
    // The same names at another issuer are other people.
    await mustBeRejected(await provider.logoutToken({ sub: 'alice', iss: 'https://other.example' }), two, 'another issuer')
    const three = await signedIn('alice', 's-three')
    expect((await send(await provider.logoutToken({ sub: 'alice' }))).status).toBe(200)
    expect([await statusOf(two), await statusOf(three), await statusOf(bob)]).toEqual([401, 401, 200])
    expect((await send(await provider.logoutToken({ sub: 'nobody' }))).status).toBe(200)
    return '200, no-store; exactly the session, then all of the subject'
  })

  attack('A182b', 'BCL', 'the end counts on the other instance, and closes what is open there', async () => {
    const alice = await signedIn('alice', 's-open')
    expect((await alice.follow(`${rig.origin('chat')}/`)).status).toBe(200)
    const second = atSecond(alice)
    expect(await statusOf(second)).toBe(200)
    const socket = new WebSocket(`ws://127.0.0.1:${rig.instances[1]?.port}/ws`, {
      headers: { host: `chat.corp.localhost:${rig.port}`, cookie: alice.cookieHeader(rig.origin('chat')), origin: rig.origin('chat') },
    })
    let closed: { readonly code: number; readonly at: number } | undefined
    socket.once('close', (code) => {
      closed = { code, at: performance.now() }
    })
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    const from = performance.now()
    expect((await send(await provider.logoutToken({ sid: 's-open', sub: 'alice' }))).status).toBe(200)
    await waitFor(async () => (await statusOf(second)) === 401, 6000)
    const refusedMs = performance.now() - from
    await waitFor(
      () => closed !== undefined,
      6000,
      () => 'the WebSocket stayed open',
    )
    const { at, code } = closed ?? { at: 0, code: 0 }
    expect(code).toBe(4401)
    expect(refusedMs).toBeLessThan(promisedMs)
    expect(at - from).toBeLessThan(promisedMs)
    return `refused after ${Math.round(refusedMs)} ms, open WebSocket closed with 4401 after ${Math.round(at - from)} ms`
  })

  attack('A182c', 'BCL', 'a person’s other sessions are asked about at once, and what is refused ends', async () => {
    const [one, two] = [await signedIn('alice', 's-1'), await signedIn('alice', 's-2')]
    const bob = await signedIn('bob', 's-3')
    provider.behaviour.refuseRefresh = 'invalid_grant'
    expect((await send(await provider.logoutToken({ sid: 's-1' }))).status).toBe(200)
    const from = performance.now()
    await waitFor(async () => (await statusOf(two)) === 401, 4000)
    expect([await statusOf(one), await statusOf(bob)]).toEqual([401, 200])
    return `ended ${Math.round(performance.now() - from)} ms after the token that named another session`
  })

  attack('A183', 'BCL', 'signatures that prove nothing', async () => {
    const client = await signedIn('alice')
    const honest = { iss: provider.issuer, aud: provider.clientId, sub: 'alice', jti: 'x', events: { [logoutEvent]: {} } }
    const now = Math.floor(Date.now() / 1000)
    const claims = { ...honest, iat: now, exp: now + 120 }
    const kid = provider.keys.at(-1)?.kid
    const real = await provider.logoutToken({ sub: 'alice' })
    const [header = '', , signature = ''] = real.split('.')
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'alice' })).toString('base64url')
    const foreign = await startHostileProvider()
    try {
      return summarise([
        await mustBeRejected(await forgeToken({ alg: 'none' }, claims), client, 'alg none'),
        await mustBeRejected(await forgeToken({ alg: 'NoNe', kid }, claims), client, 'alg none in other letters'),
        await mustBeRejected(await forgeToken({ kid }, claims, provider.clientSecret), client, 'HS256 with the client secret'),
        await mustBeRejected(
          await forgeToken({ kid }, claims, JSON.stringify(provider.keys.at(-1)?.publicJwk)),
          client,
          'HS256 with the public key',
        ),
        await mustBeRejected(await foreign.logoutToken({ ...claims }), client, 'a key of somebody else'),
        await mustBeRejected(`${header}.${changed}.${signature}`, client, 'claims under another token’s signature'),
        await mustBeRejected(`${header}.${changed}.`, client, 'no signature'),
        await mustBeRejected('a.b.c', client, 'no token'),
      ])
    } finally {
      await foreign.stop()
    }
  })

  attack('A184', 'BCL', 'for another audience, by another issuer', async () => {
    const client = await signedIn('alice')
    const outcomes: string[] = []
    for (const claims of [
      { aud: 'another-client' },
      { aud: ['another-client', 'a-third'] },
      { aud: [] },
      { aud: undefined },
      { iss: `${provider.issuer}/` },
      { iss: 'https://other.example' },
      { iss: undefined },
      { iss: [provider.issuer] },
    ]) {
      outcomes.push(await mustBeRejected(await provider.logoutToken({ sub: 'alice', ...claims }), client, JSON.stringify(claims)))
    }
    return summarise(outcomes)
  })

  attack('A185', 'BCL', 'without the logout event, or with something that looks like it', async () => {
    const client = await signedIn('alice')
    const outcomes: string[] = []
    for (const events of [
      undefined,
      null,
      {},
      [logoutEvent],
      [{ [logoutEvent]: {} }],
      logoutEvent,
      { [`${logoutEvent}/`]: {} },
      { 'http://schemas.openid.net/event/frontchannel-logout': {} },
      { [logoutEvent]: true },
      { [logoutEvent]: 'x' },
      { [logoutEvent]: [] },
      { [logoutEvent]: null },
    ]) {
      outcomes.push(await mustBeRejected(await provider.logoutToken({ sub: 'alice', events }), client, JSON.stringify(events)))
    }
    return summarise(outcomes)
  })

  attack('A186', 'BCL', 'with a nonce of any value, as an ID Token has one', async () => {
    const client = await signedIn('alice')
    const outcomes: string[] = []
    for (const nonce of ['n-0S6_WzA2Mj', '', null, 0, false]) {
      outcomes.push(await mustBeRejected(await provider.logoutToken({ sub: 'alice', nonce }), client, JSON.stringify(nonce)))
    }
    return summarise(outcomes)
  })

  attack('A186b', 'BCL', 'out of time, without a name, and replayed', async () => {
    const client = await signedIn('alice')
    const now = Math.floor(Date.now() / 1000)
    const outcomes: string[] = []
    for (const claims of [
      { iat: now - 3600, exp: now + 120 },
      { exp: now - 3600 },
      { iat: now + 3600, exp: now + 7200 },
      { iat: undefined },
      { exp: undefined },
      { jti: undefined },
      { jti: '' },
      { sub: undefined },
      { sub: '', sid: undefined },
      { sub: 'alice', sid: 7 },
    ]) {
      outcomes.push(await mustBeRejected(await provider.logoutToken({ sub: 'alice', ...claims }), client, JSON.stringify(claims)))
    }
    const token = await provider.logoutToken({ sub: 'carol' })
    expect((await send(token)).status).toBe(200)
    const carol = await signedIn('carol')
    outcomes.push(await mustBeRejected(token, carol, 'a second time'))
    return summarise(outcomes)
  })

  attack('A186c', 'BCL', 'in a form that can be read in two ways, or that is none', async () => {
    const client = await signedIn('alice')
    const token = await provider.logoutToken({ sub: 'alice' })
    const other = await provider.logoutToken({ sub: 'nobody' })
    const outcomes: string[] = []
    for (const [body, headers] of [
      [`logout_token=${token}&logout_token=${other}`, {}],
      [`logout_token=${other}&logout_token=${token}`, {}],
      [`logout_token=${token}&logout%5Ftoken=${token}`, {}],
      [`a=1&a=2&logout_token=${token}`, {}],
      [`logout_token[]=${token}`, {}],
      [JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' }],
      [`logout_token=${token}`, { 'content-type': 'text/plain' }],
      ['', {}],
    ] as const) {
      const answer = await post(body, headers)
      expect([answer.status, answer.header('cache-control')], body.slice(0, 60)).toEqual([400, 'no-store'])
      outcomes.push(String(answer.status))
    }
    const inQuery = await new Client().send(`${path()}?logout_token=${token}`, { as: 'fetch' })
    expect(inQuery.status).toBe(405)
    expect(await statusOf(client)).toBe(200)
    return `${summarise(outcomes)}; 405 by GET; the session lives`
  })

  attack('A189', 'BCL', 'while the store is away it is 503, and honoured when it comes again', async () => {
    const client = await signedIn('alice', 's-away')
    const token = await provider.logoutToken({ sub: 'alice', sid: 's-away' })
    const outcomes: string[] = []
    for (const [takeAway, giveBack] of [
      [() => rig.redis?.stop(), () => rig.redis?.restart()],
      [() => rig.redis?.pause(), () => rig.redis?.resume()],
    ] as const) {
      await takeAway()
      try {
        const away = await send(token)
        expect([away.status, away.header('x-postern')]).toEqual([503, 'session_store_unavailable'])
        expect(away.header('retry-after')).toBeDefined()
        outcomes.push(String(away.status))
      } finally {
        await giveBack()
      }
      await waitFor(async () => (await statusOf(client)) === 200, 10_000)
    }
    await waitFor(async () => (await send(token)).status === 200, 10_000)
    expect(await statusOf(client)).toBe(401)
    return `${summarise(outcomes)}, then 200 and ended`
  })
})
