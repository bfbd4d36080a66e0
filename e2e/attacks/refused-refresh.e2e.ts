/**
 * What a session may outlive at the provider, and what not: refused refresh tokens, revoked accounts, changed subjects, clocks.
 *
 * Claims are refreshed after a second here, so that every request soon meets the provider's newest word. Safe: an account that is gone
 * stops working with the next refresh, nobody is sent round in circles, and what the provider merely cannot answer ends nothing.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('a session and what becomes of its account', () => {
  let rig: Rig
  let provider: HostileProvider

  beforeAll(async () => {
    provider = await startHostileProvider()
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret },
      session: { refresh_after: '1s', claims_max_age: '1s', idle_timeout: '9s', lifetime: '9s' },
    })
    await waitFor(async () => (await new Client().follow(app())).status === 200)
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
  })
  beforeEach(() => {
    provider.reset()
    rig.upstream('app').reset()
  })
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`
  const fetchAs = (client: Client, url = app()) => client.send(url, { as: 'fetch' })
  const refreshes = () => provider.received.filter(({ endpoint, body }) => endpoint === 'token' && body.includes('refresh_token')).length

  async function signedIn(): Promise<Client> {
    const client = new Client()
    expect((await client.follow(app())).status).toBe(200)
    return client
  }

  async function mustBeRefusedSoon(client: Client, status: number): Promise<void> {
    await waitFor(async () => (await fetchAs(client)).status === status, 6000)
    rig.upstream('app').reset()
    for (let round = 0; round < 3; round += 1) expect((await fetchAs(client)).status).toBe(status)
    expect(rig.upstream('app').bytes()).toBe('')
  }

  attack('A124', 'SESS', 'a refused refresh ends the session, without a loop', async () => {
    const client = await signedIn()
    const access = client.cookieHeader(rig.origin('access'))
    provider.behaviour.refuseRefresh = 'invalid_grant'
    await mustBeRefusedSoon(client, 401)
    expect((await new Client().send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch', headers: { cookie: access } })).status).toBe(
      401,
    )
    const asked = refreshes()
    await fetchAs(client)
    expect(refreshes()).toBe(asked)
    // The way back in is a fresh sign-in, once; a provider that answers with the old one is not asked for ever.
    const authorized = provider.count('authorize')
    provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) - 3600
    const stale = await client.follow(app())
    expect([stale.status, stale.header('x-postern')]).toEqual([403, 'sign_in_too_old'])
    expect(provider.count('authorize') - authorized).toBe(2)
    expect(provider.received.at(-1)?.url ?? '').not.toContain('refresh')
    provider.reset()
    expect((await client.follow(app())).status).toBe(200)
    return 'ended with the next refresh on every host; an old sign-in is asked for once more, then refused'
  })
  attack('A147', 'OIDC', 'a revoked account, a lost group, another subject at refresh', async () => {
    const outcomes: string[] = []
    const one = await signedIn()
    provider.behaviour.userinfo = (it) => ({ ...it, groups: [] })
    provider.behaviour.idToken = (it) => ({ ...it, groups: [] })
    await mustBeRefusedSoon(one, 403)
    outcomes.push('group lost 403')

    provider.reset()
    const two = await signedIn()
    provider.behaviour.idToken = (it) => ({ ...it, sub: 'mallory' })
    provider.behaviour.userinfo = (it) => ({ ...it, sub: 'mallory' })
    await waitFor(async () => (await fetchAs(two)).status === 401, 8000)
    expect(rig.upstream('app').bytes()).not.toContain('mallory')
    outcomes.push('another subject 401')

    provider.reset()
    provider.behaviour.person.sid = 'to-be-ended'
    const three = await signedIn()
    const token = await provider.logoutToken({ sub: 'alice', sid: 'to-be-ended' })
    const told = await new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, {
      method: 'POST',
      as: 'fetch',
      body: `logout_token=${token}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(told.status).toBe(200)
    await mustBeRefusedSoon(three, 401)
    outcomes.push('back-channel 401')
    return outcomes.join(', ')
  })
  attack('A147b', 'OIDC', 'trouble at the provider is no refusal, and its errors end nothing', async () => {
    const outcomes: string[] = []
    for (const error of ['server_error', 'temporarily_unavailable', 'invalid_client', 'slow_down']) {
      provider.reset()
      const client = await signedIn()
      provider.behaviour.refuseRefresh = error
      await waitFor(() => refreshes() > 0 || fetchAs(client).then(() => refreshes() > 0), 6000)
      const answer = await fetchAs(client)
      expect(answer.status, error).toBe(200)
      outcomes.push(String(answer.status))
    }
    return `${summarise(outcomes)}: the last known claims stand for their grace`
  })
  attack('A123b', 'SESS', 'polling cannot push the lifetime', async () => {
    const client = await signedIn()
    const from = performance.now()
    await waitFor(async () => (await fetchAs(client)).status === 401, 15_000)
    const seconds = (performance.now() - from) / 1000
    expect(seconds).toBeGreaterThan(3)
    expect(seconds).toBeLessThan(11)
    return 'cut at its lifetime while it was polled and refreshed'
  })
})
