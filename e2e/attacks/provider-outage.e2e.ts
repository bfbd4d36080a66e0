/**
 * The provider is away: while people work, when somebody signs in, when claims are due, and when an instance starts.
 *
 * Safe: who is signed in works on with the last known claims for `provider_grace` and no longer; nobody new comes in, and is told so at once
 * instead of being sent round; and everything goes on by itself when the provider is back.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { startDemoProvider } from '../../src/demo/provider.ts'
import { type ChaosProxy, startChaosProxy } from '../support/chaos-proxy.ts'
import { Client } from '../support/client.ts'
import { findFreePort } from '../support/free-port.ts'
import { people, type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive } from './attack.ts'

const claimsMaxAgeMs = 1_000
const graceMs = 6_000

describe('the provider is away', () => {
  let rig: Rig
  let provider: Awaited<ReturnType<typeof startDemoProvider>>
  /** Between everybody and the provider, which keeps its keys and sessions: away is not the same as new. */
  let link: ChaosProxy
  let isAway = false

  beforeAll(async () => {
    const [providerPort, nobodysPort] = [await findFreePort(), await findFreePort()]
    link = await startChaosProxy(() => (isAway ? nobodysPort : providerPort))
    const issuer = `http://login.corp.localhost:${link.port}`
    rig = await startRig({
      issuer,
      session: { refresh_after: `${claimsMaxAgeMs / 1000}s`, claims_max_age: `${claimsMaxAgeMs / 1000}s` },
      provider: { provider_grace: `${graceMs / 1000}s` },
    })
    provider = await startDemoProvider({
      issuer: new URL(issuer),
      port: providerPort,
      people,
      client: {
        id: 'postern',
        secret: 'rig-client-secret-0123456789abcdef',
        redirectUris: [`${rig.origin('access')}/oidc/callback`],
        postLogoutRedirectUris: [`${rig.origin('access')}/signed-out`],
        backchannelLogoutUri: `${rig.origin('access')}/oidc/backchannel-logout`,
      },
    })
  })
  afterAll(async () => {
    await endRig(rig)
    await provider?.close()
    await link?.close()
  })
  afterEach(() => {
    goOn()
    mustBeAlive(rig)
  })

  /** As a host that refuses connections, which is what a restart or a crash looks like. */
  function goAway(): void {
    isAway = true
    link.reset()
  }
  function goOn(): void {
    isAway = false
    link.heal()
  }
  const url = () => `${rig.origin('app')}/ok`
  const ask = (client: Client) => client.send(url(), { as: 'fetch' })
  async function enter(person: string): Promise<Client> {
    const client = new Client()
    await waitFor(async () => (await rig.signIn(client, person, url())).status === 200, 15_000)
    return client
  }

  attack('A269', 'IDP', '(a, c) with live sessions whose claims come due', async () => {
    const alice = await enter('alice')
    goAway()
    const away = performance.now()
    let passed = 0
    let last = await ask(alice)
    while (last.status === 200 && performance.now() - away < graceMs + claimsMaxAgeMs + 6_000) {
      passed += 1
      const from = performance.now()
      last = await ask(alice)
      expect(performance.now() - from).toBeLessThan(3_000)
    }
    const heldMs = Math.round(performance.now() - away)
    expect(last.status).not.toBe(200)
    expect(last.header('x-postern')).toMatch(/^[a-z_]+$/)
    expect(heldMs).toBeGreaterThan(graceMs - claimsMaxAgeMs)
    expect(heldMs).toBeLessThan(graceMs + claimsMaxAgeMs + 4_000)
    rig.upstream('app').reset()
    for (let round = 0; round < 10; round += 1) expect((await ask(alice)).status).not.toBe(200)
    expect(rig.upstream('app').bytes()).toBe('')
    goOn()
    const back = performance.now()
    await waitFor(async () => (await rig.signIn(alice, 'alice', url())).status === 200, 40_000)
    return `${passed} requests passed for ${heldMs} ms with ${graceMs} ms of grace, then ${last.status} ${last.header('x-postern')}; back after ${Math.round(performance.now() - back)} ms`
  })

  attack('A269b', 'IDP', '(b) newcomers: one who sets out, one who comes back', async () => {
    const returning = new Client()
    const form = await returning.follow(url())
    expect(form.url).toContain('/interaction/')
    const posted = await returning.send(form.url, {
      method: 'POST',
      body: 'person=bob',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(form.url).origin, 'sec-fetch-site': 'same-origin' },
    })
    let next = new URL(posted.header('location') ?? '', form.url).href
    while (new URL(next).pathname !== '/oidc/callback') next = new URL((await returning.send(next)).header('location') ?? '', next).href
    for (const [kind, begin] of [
      ['refusing', goAway],
      ['silent', () => link.blackHole()],
    ] as const) {
      begin()
      // Postern sends a newcomer to the provider once; that nobody is there is for the browser to say.
      const newcomer = new Client()
      let hop = await newcomer.send(url())
      let hops = 1
      while (hop.status === 302 && !(hop.header('location') ?? '').includes('login.corp')) {
        hop = await newcomer.send(new URL(hop.header('location') ?? '', hop.url).href)
        hops += 1
      }
      expect([302, 303, 503], kind).toContain(hop.status)
      expect(hops, kind).toBeLessThan(4)
      if (kind === 'refusing') goOn()
    }
    const from = performance.now()
    const answer = await returning.send(next)
    const tookMs = Math.round(performance.now() - from)
    expect([answer.status, answer.header('x-postern')]).toEqual([503, 'provider_unavailable'])
    expect(answer.body).toContain('<!doctype html>')
    expect(tookMs).toBeLessThan(12_000)
    return `sent to the provider once; the callback ${answer.status} ${answer.header('x-postern')} after ${tookMs} ms of a silent provider`
  })

  attack('A269c', 'IDP', '(d) an instance starts', async () => {
    goAway()
    await rig.instance.stop()
    await rig.instance.start()
    const before = await new Client().follow(url())
    expect(before.status).toBe(503)
    expect(before.header('x-postern')).toBe('provider_unavailable')
    const open = await new Client().send(`${rig.origin('app')}/public/x`)
    expect(open.status).toBe(200)
    goOn()
    const from = performance.now()
    await enter('bob')
    return `starts; 503 ${before.header('x-postern')}, public paths serve; signs people in ${Math.round(performance.now() - from)} ms after the provider is back`
  })
})
