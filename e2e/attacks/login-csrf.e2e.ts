/** Sign-in, hand-off and sign-out used from outside, twice, or in another browser. Safe: nobody is signed in as, or out by, somebody else. */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('login CSRF, replay and sign-out CSRF', () => {
  let rig: Rig

  beforeAll(async () => {
    rig = await startRig()
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  /** Signs in step by step and stops before the address that `stopAt` describes is opened. */
  async function upTo(client: Client, person: string, url: string, stopAt: (url: string) => boolean): Promise<string> {
    let next = url
    for (let hops = 0; hops < 20; hops += 1) {
      if (stopAt(next)) return next
      let answer = await client.send(next)
      if (answer.url.includes('/interaction/') && answer.status === 200) {
        answer = await client.send(next, {
          method: 'POST',
          body: `person=${person}`,
          headers: { 'content-type': 'application/x-www-form-urlencoded', origin: rig.issuer, 'sec-fetch-site': 'same-origin' },
        })
      }
      const location = answer.header('location')
      if (location === undefined) throw new Error(`stopped at ${next} with ${answer.status}`)
      next = new URL(location, next).href
    }
    throw new Error('too many hops')
  }

  const isCallback = (url: string) => url.includes('/oidc/callback')
  const isHandOff = (url: string) => url.includes('/.postern/callback')
  const whoami = async (client: Client, name: string) => (await client.send(`${rig.origin(name)}/.postern/whoami`, { as: 'fetch' })).status

  attack('A127', 'CSRF', "an attacker's callback in a victim's browser", async () => {
    const planted = await upTo(new Client(), 'bob', `${rig.origin('app')}/ok`, isCallback)
    const victim = new Client()
    const answer = await victim.send(planted)
    expect(answer.status).toBe(400)
    expect(await whoami(victim, 'access')).toBe(401)
    const signedIn = new Client()
    await rig.signIn(signedIn, 'alice', `${rig.origin('app')}/ok`)
    expect((await signedIn.send(planted)).status).toBe(400)
    const me = await signedIn.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })
    expect(JSON.parse(me.body)).toMatchObject({ subject: 'alice' })
    return '400; the victim stays who they were'
  })
  attack('A127b', 'CSRF', "an attacker's hand-off code in a victim's browser", async () => {
    const attacker = new Client()
    const planted = await upTo(attacker, 'bob', `${rig.origin('app')}/ok`, isHandOff)
    const victim = new Client()
    const answer = await victim.send(planted)
    expect(await whoami(victim, 'app')).toBe(401)
    const later = await attacker.send(planted)
    expect(later.header('set-cookie') ?? '').not.toContain('postern-app=')
    return `${answer.status} in the victim's browser; the presentation burned the code`
  })
  attack('A128', 'CSRF', 'a callback replayed, with other or odd state', async () => {
    const client = new Client()
    const callback = await upTo(client, 'alice', `${rig.origin('app')}/ok`, isCallback)
    const url = new URL(callback)
    const outcomes: string[] = []
    for (const state of ['', 'undefined', 'null', 'x'.repeat(500), '../..', '%00']) {
      const odd = new URL(url)
      odd.searchParams.set('state', state)
      outcomes.push(String((await client.send(odd.href)).status))
    }
    const missing = new URL(url)
    missing.searchParams.delete('state')
    outcomes.push(String((await client.send(missing.href)).status))
    const doubled = new URL(url)
    doubled.searchParams.append('state', 'other')
    outcomes.push(String((await client.send(doubled.href)).status))
    expect([...new Set(outcomes)]).toEqual(['400'])
    const first = await client.follow(callback)
    expect(first.status).toBe(200)
    const again = await client.send(callback)
    expect(again.status).toBe(400)
    expect(await whoami(client, 'app')).toBe(200)
    return `${summarise(outcomes)} for odd ones; the replay ${again.status}; the session lives`
  })
  attack('A130', 'CSRF', 'sign-out from another site', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
    const outcomes: string[] = []
    for (const name of ['access', 'app']) {
      const url = `${rig.origin(name)}/.postern/sign-out`
      for (const headers of [
        { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' },
        { 'sec-fetch-site': 'same-site', origin: rig.origin('wiki') },
        { 'sec-fetch-site': 'cross-site', origin: 'null' },
        { 'sec-fetch-site': 'cross-site' },
      ]) {
        const answer = await client.send(url, { method: 'POST', body: '', headers })
        expect(answer.status, JSON.stringify(headers)).toBe(403)
        outcomes.push(String(answer.status))
      }
      await client.send(url)
      await client.send(url, { headers: { 'sec-fetch-dest': 'image', 'sec-fetch-mode': 'no-cors', 'sec-fetch-site': 'cross-site' } })
    }
    expect(await whoami(client, 'app')).toBe(200)
    expect(await whoami(client, 'access')).toBe(200)
    return `${summarise(outcomes)} for POSTs; GETs change nothing`
  })
  attack('A132', 'CSRF', 'every parameter of the hand-off changed, dropped, doubled, elsewhere', async () => {
    const outcomes: string[] = []
    const variants: readonly ((url: URL) => void)[] = [
      (url) => url.searchParams.set('code', `${url.searchParams.get('code')?.slice(0, -1)}x`),
      (url) => url.searchParams.delete('code'),
      (url) => url.searchParams.append('code', 'second'),
      (url) => {
        url.hostname = 'wiki.corp.localhost'
      },
    ]
    for (const change of variants) {
      const client = new Client()
      const handOff = new URL(await upTo(client, 'alice', `${rig.origin('app')}/ok`, isHandOff))
      change(handOff)
      const answer = await client.send(handOff.href)
      expect([400, 303, 302]).toContain(answer.status)
      expect(answer.header('set-cookie') ?? '', handOff.href).not.toMatch(/postern-app=[A-Za-z0-9_-]{43}/)
      outcomes.push(String(answer.status))
    }
    const client = new Client()
    const handOff = await upTo(client, 'alice', `${rig.origin('app')}/ok`, isHandOff)
    expect((await client.follow(handOff)).status).toBe(200)
    const again = await client.send(handOff)
    expect(again.header('set-cookie') ?? '').not.toMatch(/postern-app=[A-Za-z0-9_-]{43}/)
    return `${summarise(outcomes)}; used twice: ${again.status}`
  })
  attack('A132b', 'CSRF', 'an attempt that another browser began', async () => {
    const attacker = new Client()
    const start = await attacker.send(`${rig.origin('app')}/ok`)
    const signInUrl = start.header('location') ?? ''
    const victim = new Client()
    await rig.signIn(victim, 'alice', `${rig.origin('wiki')}/ok`)
    const handOff = await victim.send(signInUrl)
    const code = handOff.header('location') ?? ''
    expect(isHandOff(code)).toBe(true)
    // Only the victim's browser is ever told the code, and without the attempt cookie its presentation burns it.
    const presented = await victim.send(code)
    expect(presented.header('set-cookie') ?? '').not.toMatch(/postern-app=[A-Za-z0-9_-]{43}/)
    const late = await attacker.send(code)
    expect(late.header('set-cookie') ?? '').not.toMatch(/postern-app=[A-Za-z0-9_-]{43}/)
    expect(await whoami(attacker, 'app')).toBe(401)
    return `the victim's browser ${presented.status}, afterwards the attacker's ${late.status}; nobody got a session`
  })
  attack('A133', 'CSRF', 'other methods and an error with markup', async () => {
    const url = `${rig.origin('access')}/oidc/callback`
    const posted = await new Client().send(url, {
      method: 'POST',
      body: 'code=x&state=y',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect([400, 403, 404, 405]).toContain(posted.status)
    const error = await new Client().send(`${url}?error=<script>alert(1)</script>&error_description="><img src=x onerror=alert(1)>&state=x`)
    expect(error.body).not.toMatch(/<script>alert|<img src=x/)
    expect(error.status).toBe(400)
    return `POST ${posted.status}; error page escaped`
  })
})
