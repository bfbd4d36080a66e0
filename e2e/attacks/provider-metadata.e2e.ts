/**
 * Metadata that leads elsewhere, and clocks that disagree. Safe: Postern stays up and says 503 for sign-in until the metadata is right, no
 * credential and no question leaves over plain HTTP for an HTTPS issuer, and a clock that is off is named as such.
 */

import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type ForeignServer, startForeignServer } from '../support/foreign-server.ts'
import { type Claims, type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { createTestAuthority } from '../support/test-authority.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('metadata and clocks of the provider', () => {
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
  beforeEach(() => provider.reset())
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`

  attack('A274', 'IDP', 'discovery that names another issuer, no endpoints, or far too much', async () => {
    const bends: Readonly<Record<string, (honest: Claims) => unknown>> = {
      'another issuer': (it) => ({ ...it, issuer: 'https://idp2.test' }),
      'issuer with a path': (it) => ({ ...it, issuer: `${String(it['issuer'])}/x` }),
      'no issuer': ({ issuer: _, ...rest }) => rest,
      'no token endpoint': ({ token_endpoint: _, ...rest }) => rest,
      'a token endpoint with a password': (it) => ({ ...it, token_endpoint: foreign.origin.replace('://', '://a:b@') }),
      'two megabytes': (it) => ({ ...it, padding: 'x'.repeat(2_000_000) }),
      'a list': (it) => [it],
    }
    const outcomes: string[] = []
    for (const [what, bend] of Object.entries(bends)) {
      provider.reset()
      provider.behaviour.metadata = bend
      await rig.instance.stop()
      await rig.instance.start()
      const answer = await new Client().follow(app())
      expect([answer.status, answer.header('x-postern')], what).toEqual([503, 'provider_unavailable'])
      expect(provider.count('authorize') + provider.count('token'), what).toBe(0)
      outcomes.push(`${what} ${answer.status}`)
    }
    expect(foreign.received).toEqual([])
    provider.reset()
    await waitFor(async () => (await new Client().follow(app())).status === 200, 15_000)
    return `${outcomes.join(', ')}; right again: works without a restart`
  })
  attack('A274b', 'IDP', 'without an end-session endpoint signing out still ends the session', async () => {
    provider.behaviour.metadata = ({ end_session_endpoint: _, ...rest }) => rest
    await rig.instance.stop()
    await rig.instance.start()
    const client = new Client()
    await waitFor(async () => (await client.follow(app())).status === 200, 15_000)
    const headers = { 'sec-fetch-site': 'same-origin', origin: rig.origin('access') }
    const answer = await client.follow(`${rig.origin('access')}/.postern/sign-out`, { method: 'POST', body: '', headers })
    expect(answer.status).toBe(200)
    expect(new URL(answer.url).origin).toBe(rig.origin('access'))
    expect((await client.send(app(), { as: 'fetch' })).status).toBe(401)
    return 'signed out here, and the page says so'
  })
  attack('A273', 'IDP', 'clocks that differ', async () => {
    const moved = (seconds: number) => (it: Claims) => ({ ...it, iat: Number(it['iat']) + seconds, exp: Number(it['exp']) + seconds })
    const outcomes: string[] = []
    for (const [seconds, status] of [
      [30, 200],
      [-30, 200],
      [90, 400],
      [-90, 400],
      [600, 400],
      [-600, 400],
      [1e15, 400],
    ] as const) {
      provider.reset()
      provider.behaviour.idToken = moved(seconds)
      const before = rig.instance.log().length
      const answer = await new Client().follow(app())
      expect(answer.status, String(seconds)).toBe(status)
      if (status === 400) await waitFor(() => rig.instance.log().slice(before).includes('clock'))
      outcomes.push(`${seconds} s ${answer.status}`)
    }
    return `${outcomes.join(', ')}; the log names the clock`
  })
  attack('A145c', 'OIDC', 'an HTTPS issuer whose metadata or redirects lead to plain HTTP', async () => {
    const authority = createTestAuthority()
    let answerDiscovery: (issuer: string) => { readonly status: number; readonly location?: string; readonly body?: Claims } = () => ({
      status: 500,
    })
    const server: Server = createServer(authority.issue('IP:127.0.0.1'), (_request, response) => {
      const { status, location, body } = answerDiscovery(issuer)
      response
        .writeHead(status, { 'content-type': 'application/json', ...(location === undefined ? {} : { location }) })
        .end(JSON.stringify(body ?? {}))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const metadata = (over: Claims): Claims => ({
      issuer,
      ...Object.fromEntries(
        ['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'jwks_uri'].map((name) => [name, `${issuer}/${name}`]),
      ),
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      ...over,
    })
    const previous = process.env['NODE_EXTRA_CA_CERTS']
    process.env['NODE_EXTRA_CA_CERTS'] = authority.file
    const own = await startRig({ issuer })
    const outcomes: string[] = []
    try {
      for (const name of ['token_endpoint', 'jwks_uri', 'userinfo_endpoint', 'authorization_endpoint']) {
        answerDiscovery = () => ({ status: 200, body: metadata({ [name]: `${foreign.origin}/${name}` }) })
        await own.instance.stop()
        await own.instance.start()
        const answer = await new Client().follow(`${own.origin('app')}/ok`)
        expect(answer.status, name).toBe(503)
        outcomes.push(`${name} ${answer.status}`)
      }
      answerDiscovery = () => ({ status: 302, location: `${foreign.origin}/.well-known/openid-configuration` })
      await own.instance.stop()
      await own.instance.start()
      expect((await new Client().follow(`${own.origin('app')}/ok`)).status).toBe(503)
      expect(foreign.received).toEqual([])
      // The same metadata without the lie is taken: what was refused above was the plain HTTP alone.
      answerDiscovery = () => ({ status: 200, body: metadata({}) })
      await waitFor(
        async () => (await new Client().send(`${own.origin('access')}/sign-in`)).header('location')?.startsWith(issuer) === true,
        15_000,
      )
    } finally {
      if (previous === undefined) delete process.env['NODE_EXTRA_CA_CERTS']
      else process.env['NODE_EXTRA_CA_CERTS'] = previous
      await own.stop()
      server.close()
      authority.remove()
    }
    return `${summarise(outcomes)}; nothing left over plain HTTP`
  })
})
