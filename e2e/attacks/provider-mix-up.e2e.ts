/**
 * An answer, a redirect or a logout that comes from another provider than the one that was asked, and a provider whose endpoints misbehave.
 *
 * Safe: a code is spent at most once and only after `state` and `iss` fit, no credential follows a redirect, one issuer's word ends nobody
 * else's session, and every failure is a page within seconds. What the provider received is the evidence. RFC 9207, RFC 9700 §4.4.
 */

import type { ServerResponse } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type ForeignServer, startForeignServer } from '../support/foreign-server.ts'
import { type Endpoint, type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('another provider, and one that breaks', () => {
  let rig: Rig
  let provider: HostileProvider
  let foreign: ForeignServer

  beforeAll(async () => {
    provider = await startHostileProvider()
    foreign = await startForeignServer()
    rig = await startRig({ issuer: provider.issuer, provider: { client_secret: provider.clientSecret } })
    await waitFor(async () => (await new Client().follow(app())).status === 200)
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
    await foreign.close()
  })
  beforeEach(() => {
    provider.reset()
    rig.upstream('app').reset()
  })
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`
  const whoami = async (client: Client) => (await client.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })).status

  /** Forgets what Postern has in memory of the provider: metadata and keys. */
  async function restart(): Promise<void> {
    await rig.instance.stop()
    await rig.instance.start()
  }

  async function attempt(client = new Client()): Promise<string> {
    const answer = await client.follow(app())
    if (answer.status !== 200) {
      expect(await whoami(client)).toBe(401)
      expect(rig.upstream('app').bytes()).toBe('')
    }
    return `${answer.status} ${answer.header('x-postern') ?? ''}`.trim()
  }

  const answerWith = (endpoint: Endpoint, write: (response: ServerResponse) => void) => {
    provider.behaviour.take[endpoint] = (_request, response) => {
      write(response)
      return true
    }
  }

  attack('A150', 'MIX', 'iss of another provider, missing, doubled, almost right: the code stays unspent', async () => {
    const outcomes: string[] = []
    const changes: Readonly<Record<string, (answer: URLSearchParams) => void>> = {
      other: (it) => it.set('iss', 'https://idp2.test'),
      missing: (it) => it.delete('iss'),
      slash: (it) => it.set('iss', `${provider.issuer}/`),
      case: (it) => it.set('iss', provider.issuer.toUpperCase()),
      empty: (it) => it.set('iss', ''),
      doubled: (it) => it.append('iss', 'https://idp2.test'),
      'two codes': (it) => it.append('code', 'other'),
      'hybrid answer': (it) => it.set('id_token', 'e30.e30.x'),
      'jarm answer': (it) => it.set('response', 'e30.e30.x'),
    }
    for (const [what, change] of Object.entries(changes)) {
      provider.reset()
      provider.behaviour.answer = (it) => {
        change(it)
        return it
      }
      const outcome = await attempt()
      expect(outcome, what).toBe('400 sign_in_invalid')
      expect(provider.count('token'), what).toBe(0)
      outcomes.push(outcome)
    }
    return `${summarise(outcomes)}; token endpoint 0 requests`
  })
  attack('A152', 'MIX', 'a logout in the name of another issuer ends nobody here', async () => {
    const other = await startHostileProvider()
    try {
      provider.behaviour.person.sid = 'sid-of-alice'
      const client = new Client()
      expect((await client.follow(app())).status).toBe(200)
      const present = (token: string) =>
        new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, {
          method: 'POST',
          as: 'fetch',
          body: new URLSearchParams({ logout_token: token }).toString(),
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      const names = { sid: 'sid-of-alice', sub: 'alice' }
      const kid = provider.keys.at(-1)?.kid
      const tokens = {
        'its own issuer': await other.logoutToken(names),
        'our issuer under its key': await other.logoutToken({ ...names, iss: provider.issuer }),
        'our issuer, our kid, its key': await other.logoutToken({ ...names, iss: provider.issuer }, { kid }),
        'its issuer under our key': await provider.logoutToken({ ...names, iss: other.issuer }),
        'for another client': await provider.logoutToken({ ...names, aud: 'other' }),
      }
      const outcomes: string[] = []
      for (const [what, token] of Object.entries(tokens)) {
        const { status } = await present(token)
        expect(status, what).toBe(400)
        expect((await client.send(app(), { as: 'fetch' })).status, what).toBe(200)
        outcomes.push(String(status))
      }
      expect((await present(await provider.logoutToken(names))).status).toBe(200)
      await waitFor(async () => (await client.send(app(), { as: 'fetch' })).status === 401, 6000)
      return `${summarise(outcomes)}; the provider's own token ends the session`
    } finally {
      await other.stop()
    }
  })
  attack('A145', 'OIDC', 'redirects of the token, userinfo and key endpoints are not followed', async () => {
    const outcomes: string[] = []
    for (const endpoint of ['token', 'userinfo', 'jwks', 'discovery'] as const) {
      for (const status of [302, 303, 307, 308]) {
        provider.reset()
        answerWith(endpoint, (response) => response.writeHead(status, { location: `${foreign.origin}/${endpoint}` }).end())
        if (endpoint === 'jwks' || endpoint === 'discovery') {
          if (status !== 307) continue
          await restart()
        }
        const outcome = await attempt()
        expect(outcome, endpoint).toMatch(/^(?:400|503) /)
        outcomes.push(`${endpoint} ${outcome}`)
      }
    }
    expect(foreign.received).toEqual([])
    provider.reset()
    await waitFor(async () => (await new Client().follow(app())).status === 200, 15_000)
    return `${summarise(outcomes)}; the other server got nothing`
  })
  attack('A145b', 'OIDC', 'userinfo that is no object', async () => {
    const outcomes: string[] = []
    for (const body of ['[{"sub":"alice"}]', '"alice"', 'null', '7', '', '{"sub":"alice"', '<html>']) {
      answerWith('userinfo', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(body))
      const outcome = await attempt()
      expect(outcome, body).toMatch(/^(?:400|503) /)
      outcomes.push(outcome)
    }
    return summarise(outcomes)
  })
  attack('A270', 'IDP', 'a token endpoint that hangs, drips, resets, answers HTML or 5xx', async () => {
    const outcomes: string[] = []
    const ways: Readonly<Record<string, (response: ServerResponse) => void>> = {
      hangs: () => undefined,
      drips: (response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).write('{')
        const drip = setInterval(() => response.write(' '), 200)
        response.on('close', () => clearInterval(drip))
      },
      resets: (response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"access')
        setImmediate(() => response.socket?.resetAndDestroy())
      },
      html: (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>hello</h1>'),
      '503': (response) => response.writeHead(503, { 'retry-after': '3600' }).end('{"error":"temporarily_unavailable"}'),
      '500': (response) => response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":"server_error"}'),
      huge: (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(`{"x":"${'x'.repeat(3_000_000)}"}`),
    }
    for (const [what, way] of Object.entries(ways)) {
      provider.reset()
      answerWith('token', way)
      const client = new Client()
      const from = performance.now()
      const answer = await client.follow(app())
      const seconds = (performance.now() - from) / 1000
      expect(answer.status, what).toBe(503)
      expect(answer.header('retry-after'), what).toBeDefined()
      expect(seconds, what).toBeLessThan(10)
      expect(provider.count('token'), what).toBe(1)
      // The same answer again: its attempt is used up, and the code is not sent a second time.
      expect((await client.send(answer.url)).status, what).toBe(400)
      expect(provider.count('token'), what).toBe(1)
      expect(await whoami(client), what).toBe(401)
      outcomes.push(`${what} 503`)
    }
    return `${outcomes.join(', ')}; each within 10 s, one token request`
  })
  attack('A143', 'OIDC', 'kid missing or unknown', async () => {
    const seen: string[] = []
    await restart()
    provider.behaviour.idTokenHeader = (it) => ({ ...it, kid: undefined })
    seen.push(`none, one key ${await attempt()}`)
    provider.reset()
    const withSome = await provider.addKey('ES256')
    await restart()
    provider.behaviour.idTokenHeader = (it) => ({ ...it, kid: undefined })
    seen.push(`none, one key of that type ${await attempt()}`)
    provider.reset()
    await provider.addKey('ES256')
    await restart()
    rig.upstream('app').reset()
    provider.behaviour.idTokenHeader = (it) => ({ ...it, kid: undefined })
    seen.push(`none, two that fit ${await attempt()}`)
    provider.reset()
    expect(await attempt()).toBe('200')
    rig.upstream('app').reset()
    const before = provider.count('jwks')
    provider.behaviour.idTokenHeader = (it) => ({ ...it, kid: 'nobody-knows' })
    for (let round = 0; round < 4; round += 1) expect(await attempt()).toBe('400 sign_in_invalid')
    expect(provider.count('jwks') - before).toBeLessThanOrEqual(1)
    provider.keys.splice(provider.keys.indexOf(withSome), 1)
    expect(seen).toEqual(['none, one key 200', 'none, one key of that type 200', 'none, two that fit 400 sign_in_invalid'])
    return `${seen.join(', ')}, unknown 400 after one more look`
  })
  attack('A271', 'IDP', 'keys rotate, break and come back', async () => {
    await restart()
    expect(await attempt()).toBe('200')
    await provider.addKey('RS256')
    rig.upstream('app').reset()
    expect(await attempt()).toBe('200')
    const old = provider.keys.shift()
    await restart()
    rig.upstream('app').reset()
    if (old !== undefined) provider.behaviour.sign = (claims) => provider.signWith(old, claims)
    expect(await attempt()).toBe('400 sign_in_invalid')
    const broken: string[] = []
    for (const body of ['<h1>down</h1>', '{"keys":[]}', '[]', 'null', '{}']) {
      provider.reset()
      answerWith('jwks', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(body))
      await restart()
      broken.push(await attempt())
    }
    provider.reset()
    await waitFor(async () => (await new Client().follow(app())).status === 200)
    expect([...new Set(broken)]).toEqual(['503 provider_unavailable'])
    return 'a new key works at once, a removed one is refused, no key set is 503, and recovers'
  })
})
