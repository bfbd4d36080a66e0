/** The life of a session: planted, replayed, expired and parallel ones. */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive } from './attack.ts'

/** What is promised for an end, the store being there. */
const promisedMs = 1000

describe('session life cycle and fixation', () => {
  let rig: Rig

  beforeAll(async () => {
    rig = await startRig({ store: 'redis', instances: 2, session: { idle_timeout: '3s', lifetime: '8s' } })
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`
  const host = 'app.corp.localhost'
  const names = { access: 'postern', app: 'postern-app' }

  async function signOut(client: Client): Promise<void> {
    const answer = await client.send(`${rig.origin('access')}/.postern/sign-out`, {
      method: 'POST',
      body: '',
      headers: { 'sec-fetch-site': 'same-origin', origin: rig.origin('access') },
    })
    expect([302, 303]).toContain(answer.status)
  }

  const withCookie = (cookie: string, url = app()) => new Client().send(url, { as: 'fetch', headers: { cookie } })

  attack('A118', 'SESS', 'a planted cookie is never adopted', async () => {
    const bob = new Client()
    await rig.signIn(bob, 'bob', app())
    const planted = ['A'.repeat(43), bob.cookie(names.access, 'access.corp.localhost') ?? '']
    for (const secret of planted) {
      const victim = new Client()
      victim.setCookie(names.access, secret, 'access.corp.localhost')
      victim.setCookie(names.app, secret, host)
      const answer = await rig.signIn(victim, 'alice', `${rig.origin('access')}/sign-in?return_to=${encodeURIComponent(app())}`)
      const me = await victim.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })
      // bob's own live session in this browser means this browser is bob's: nothing of alice's may hang on it.
      if (secret === planted[0]) {
        expect(answer.status).toBe(200)
        expect(JSON.parse(me.body)).toMatchObject({ subject: 'alice' })
        expect(victim.cookie(names.access, 'access.corp.localhost')).not.toBe(secret)
      } else expect(JSON.parse(me.body)).toMatchObject({ subject: 'bob' })
      expect((await withCookie(`${names.app}=${secret}`)).status).toBe(401)
    }
    return 'a new secret after sign-in; the planted one stays dead'
  })
  attack('A119', 'SESS', 'a cookie replayed after sign-out, on both instances', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', app())
    const cookie = client.cookieHeader(app())
    const access = client.cookieHeader(rig.origin('access'))
    expect((await withCookie(cookie)).status).toBe(200)
    await signOut(client)
    expect((await withCookie(cookie)).status).toBe(401)
    expect((await withCookie(access, `${rig.origin('access')}/.postern/whoami`)).status).toBe(401)
    expect((await withCookie(cookie)).header('cache-control')).toContain('no-store')
    return '401 at once'
  })
  attack('A120', 'SESS', 'a copied cookie on another instance', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', app())
    const cookie = client.cookieHeader(app())
    const second = rig.instances[1]
    const ask = async () => {
      const { sendRaw } = await import('../support/raw.ts')
      const answer = await sendRaw(
        `GET /ok HTTP/1.1\r\nHost: app.corp.localhost:${rig.port}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`,
        { port: second?.port ?? 0 },
      )
      return answer.statuses[0]
    }
    expect(await ask()).toBe(200)
    await signOut(client)
    const from = performance.now()
    await waitFor(async () => (await ask()) !== 200, 6000)
    const took = performance.now() - from
    expect(took).toBeLessThan(promisedMs)
    return `the other instance refuses after ${Math.round(took)} ms`
  })
  attack('A123', 'SESS', 'polling extends neither idle nor absolute limit beyond its rule', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', app())
    const cookie = client.cookieHeader(app())
    const from = performance.now()
    await waitFor(async () => (await withCookie(cookie)).status === 401, 15_000)
    const seconds = (performance.now() - from) / 1000
    expect(seconds).toBeLessThan(9.5)
    return 'cut by its limits while polled'
  })
  attack('A125', 'SESS', 'two browsers of one person: signing out one leaves the other', async () => {
    const [one, two] = [new Client(), new Client()]
    await rig.signIn(one, 'alice', app())
    await rig.signIn(two, 'alice', app())
    const cookies = [one.cookieHeader(app()), two.cookieHeader(app())]
    await signOut(one)
    expect((await withCookie(cookies[0] ?? '')).status).toBe(401)
    expect((await withCookie(cookies[1] ?? '')).status).toBe(200)
    return 'exactly one ended'
  })
})
