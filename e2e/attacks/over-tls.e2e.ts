/**
 * The same door over HTTPS: the listener that only redirects, cookies with `__Host-` and `Secure`, cookies without the prefix that a sibling
 * tossed in, and claims too many for any cookie.
 */

import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { findFreePort } from '../support/free-port.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { sendRaw } from '../support/raw.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { createTestAuthority, type TestAuthority } from '../support/test-authority.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, summarise } from './attack.ts'

const rules = [
  { name: 'open', allow: { public: true }, paths: ['/public/**'] },
  { name: 'staff', allow: { groups: ['staff'] } },
]

describe('over TLS', () => {
  let rig: Rig
  let provider: HostileProvider
  let authority: TestAuthority
  let ca: string
  let port: number
  let redirectPort: number
  const origin = (name: string) => `https://${name}.corp.localhost:${port}`
  const app = () => `${origin('app')}/ok`

  beforeAll(async () => {
    authority = createTestAuthority()
    ca = readFileSync(authority.file, 'utf8')
    const { certFile, keyFile } = authority.issue('DNS:access.corp.localhost,DNS:app.corp.localhost,DNS:wiki.corp.localhost')
    provider = await startHostileProvider()
    port = await findFreePort()
    redirectPort = await findFreePort()
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret },
      apps: ['app', 'wiki'].map((id) => ({ id, url: origin(id), rules })),
      configuration: {
        url: origin('access'),
        listen: `127.0.0.1:${port}`,
        http_redirect: `127.0.0.1:${redirectPort}`,
        hsts: '1d',
        tls: [{ cert_file: certFile, key_file: keyFile }],
      },
    })
    await waitFor(async () => (await new Client({ ca }).follow(app())).status === 200)
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
    authority.remove()
  })
  beforeEach(() => {
    provider.reset()
    rig.upstream('app').reset()
  })
  afterEach(() => mustBeAlive(rig))

  const overTls = (lines: readonly string[]) =>
    sendRaw(`${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`, { port, tls: true, serverName: 'app.corp.localhost' })

  attack('A10b', 'REDIR', 'the plain port redirects to configured origins only', async () => {
    const outcomes: string[] = []
    const own = 'Host: app.corp.localhost'
    for (const [line, ...headers] of [
      ['GET //evil.test/ HTTP/1.1', own],
      ['GET /\\evil.test/ HTTP/1.1', own],
      ['GET /%2F%2Fevil.test HTTP/1.1', own],
      ['GET http://evil.test/ HTTP/1.1', own],
      ['GET http://evil.test/ HTTP/1.1', 'Host: evil.test'],
      ['GET / HTTP/1.1', 'Host: evil.test'],
      ['GET / HTTP/1.1', 'Host: app.corp.localhost.evil.test'],
      ['GET / HTTP/1.1', 'Host: app.corp.localhost@evil.test'],
      ['GET /ok HTTP/1.1', own, 'X-Forwarded-Host: evil.test'],
      ['GET /ok HTTP/1.1', own, 'X-Forwarded-Prefix: //evil.test'],
      ['GET /ok HTTP/1.1', own, 'X-Forwarded-Proto: javascript'],
      ['GET /ok%0d%0aSet-Cookie:x HTTP/1.1', own],
      ['GET @evil.test/ HTTP/1.1', own],
    ] as const) {
      const text = `${[line, ...headers].join('\r\n')}\r\nConnection: close\r\n\r\n`
      const answer = await sendRaw(text, { port: redirectPort })
      const location = /^location: (.*)$/im.exec(answer.text)?.[1]?.trim()
      if (location !== undefined) expect(new URL(location).origin, line).toBe(origin('app'))
      else expect([400, 404, 421], line).toContain(answer.statuses[0])
      expect(answer.text, line).not.toMatch(/^set-cookie/im)
      outcomes.push(location === undefined ? String(answer.statuses[0]) : `${answer.statuses[0]} to ${new URL(location).pathname}`)
    }
    expect(rig.upstream('app').bytes()).toBe('')
    return summarise(outcomes)
  })
  attack('A159b', 'COOK', 'attributes over HTTPS', async () => {
    const client = new Client({ ca })
    const seen: string[] = []
    let url = app()
    for (let hops = 0; hops < 12; hops += 1) {
      const answer = await client.send(url)
      const set = answer.headers['set-cookie']
      if (url.startsWith('https:') && Array.isArray(set)) seen.push(...set)
      const location = answer.header('location')
      if (location === undefined) break
      url = new URL(location, url).href
    }
    const signedOut = await client.send(`${origin('access')}/.postern/sign-out`, {
      method: 'POST',
      body: '',
      headers: { 'sec-fetch-site': 'same-origin', origin: origin('access') },
    })
    const cleared = signedOut.headers['set-cookie'] ?? []
    seen.push(...(Array.isArray(cleared) ? cleared : [cleared]))
    expect(seen.length).toBeGreaterThanOrEqual(4)
    for (const line of seen) {
      expect(line).toMatch(/^__Host-postern/)
      for (const attribute of [/; Secure(;|$)/, /; HttpOnly(;|$)/, /; SameSite=Lax(;|$)/, /; Path=\/(;|$)/]) expect(line).toMatch(attribute)
      expect(line).not.toMatch(/domain=/i)
    }
    return `${seen.length} cookies, those that clear included`
  })
  attack('A153c', 'COOK', 'a cookie without the prefix, tossed in by a sibling, counts for nothing', async () => {
    const client = new Client({ ca })
    expect((await client.follow(app())).status).toBe(200)
    const secret = client.cookie('__Host-postern-app', 'app.corp.localhost') ?? ''
    rig.upstream('app').reset()
    const outcomes: string[] = []
    for (const cookie of [
      `postern-app=${secret}`,
      `__Secure-postern-app=${secret}`,
      `__host-postern-app=${secret}`,
      `__Host-postern=${secret}`,
      `x=1; postern-app=${secret}`,
    ]) {
      const answer = await overTls(['GET /ok HTTP/1.1', `Host: app.corp.localhost:${port}`, `Cookie: ${cookie}`])
      outcomes.push(mustBeRefused(rig, answer, cookie.slice(0, 24)))
    }
    const both = await overTls([
      'GET /ok HTTP/1.1',
      `Host: app.corp.localhost:${port}`,
      `Cookie: postern-app=${'A'.repeat(43)}; __Host-postern-app=${secret}; theme=dark`,
    ])
    expect(both.statuses).toEqual([200])
    expect(rig.upstream('app').bytes()).not.toContain(secret)
    expect(
      rig
        .upstream('app')
        .requests()[0]
        ?.headers.find(([name]) => name.toLowerCase() === 'cookie')?.[1],
    ).toBe('theme=dark')
    return `${summarise(outcomes)}; the prefixed one still works beside a tossed one`
  })
  attack('A157b', 'COOK', 'a person in four hundred groups', async () => {
    const groups = ['staff', ...Array.from({ length: 400 }, (_, index) => `group-${index}-${'x'.repeat(140)}`)]
    provider.behaviour.person = { sub: 'busy', claims: { groups } }
    const client = new Client({ ca })
    expect((await client.follow(`${origin('app')}/public/x`)).status).toBe(200)
    const answer = await client.follow(app())
    expect(provider.count('token')).toBe(1)
    const cookies = `${client.cookieHeader(app())}; ${client.cookieHeader(origin('access'))}`
    expect(cookies).toMatch(/__Host-postern-app=/)
    expect(cookies.length).toBeLessThan(200)
    expect(answer.status).toBe(200)
    provider.behaviour.person = { sub: 'busy', claims: { groups: ['staff'] } }
    return `signed in with ${cookies.length} bytes of cookies; the app answered ${answer.status}`
  })
})
