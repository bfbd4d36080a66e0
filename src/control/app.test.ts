/**
 * Everything on the access host that is not the sign-in itself: the portal, signing out, logout tokens, form state, headers, refusals.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { forgeToken } from '../../e2e/support/hostile-provider.ts'
import { statusOf } from '../enforcement/respond.ts'
import { PosternError } from '../errors.ts'
import { type ControlReason, statusByReason } from './answers.ts'
import {
  type AccessHost,
  accessUrl,
  allow,
  appOf,
  type Browser,
  signInPath,
  startAccessHost,
  watchWrites,
  wikiUrl,
} from './control-plane.fixture.ts'
import { reasonOf } from './failures.ts'
import type { PageRenderer } from './pages.ts'

const program = { accept: 'application/json' }
let host: AccessHost
let browser: Browser

beforeEach(async () => {
  host = await startAccessHost()
  browser = host.browser()
})
afterEach(() => host.close())

const stateOf = async (secret: string | undefined) => (await host.sessions.findByAccessSecret(secret ?? '')).state

describe('the portal', () => {
  it('sends a stranger to sign in, and tells a program so', async () => {
    const answer = await browser.visit('/')
    expect(answer.status).toBe(302)
    expect(answer.location?.href).toBe(`${accessUrl.origin}/sign-in`)
    const json = await browser.visit('/', { headers: program })
    expect(json.status).toBe(401)
    expect(JSON.parse(json.body)).toMatchObject({
      error: 'login_required',
      sign_in: `${accessUrl.origin}/sign-in`,
      request_id: 'request-2',
    })
    expect(json.headers['www-authenticate']).toContain('Postern')
    expect(
      (await browser.visit('/', { headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', accept: 'text/html' } })).status,
    ).toBe(401)
  })

  it('shows exactly what this person may open', async () => {
    await browser.signIn()
    const page = await browser.visit('/')
    expect(page.status).toBe(200)
    expect(page.body).toContain('Wiki')
    expect(page.body).toContain('Everything we know')
    expect(page.body).toContain(wikiUrl)
    expect(page.body).not.toContain('Payroll')
    host.provider.behaviour.person.claims = { groups: ['finance'], name: 'Bob' }
    host.provider.behaviour.person.sub = 'bob'
    const other = host.browser()
    await other.signIn()
    const his = await other.visit('/')
    expect(his.body).toContain('Payroll')
    expect(his.body).not.toContain('Everything we know')
  })

  it('shows nothing when the provider no longer states groups', async () => {
    host.provider.behaviour.person.claims = { name: 'Alice' }
    await browser.signIn()
    expect((await browser.visit('/')).body).not.toContain('Everything we know')
  })
})

describe('the picture of an app', () => {
  it('is shown from an address of ours, which serves it and lets it run nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-logo-'))
    const logo = join(folder, 'wiki.svg')
    writeFileSync(logo, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    await host.close()
    host = await startAccessHost({}, [appOf('wiki', wikiUrl, [allow({ kind: 'signed_in' })], { logo })])
    rmSync(folder, { recursive: true })
    browser = host.browser()
    await browser.signIn()
    const address = /<img class="tile" src="([^"]+)"/.exec((await browser.visit('/')).body)?.[1] ?? ''
    expect(address).toMatch(/^\/\.postern\/assets\/[0-9a-f]{20}\.svg$/)
    const picture = await browser.visit(address)
    expect(picture.headers['content-type']).toBe('image/svg+xml; charset=utf-8')
    expect(picture.headers['content-security-policy']).toContain('sandbox')
  })
})

describe('whoami', () => {
  it('states the session in the public form, and nothing to strangers', async () => {
    expect((await browser.visit('/.postern/whoami', { headers: program })).status).toBe(401)
    Object.assign(host.provider.behaviour.person, { acr: 'high', amr: ['pwd', 'otp'] })
    await browser.signIn()
    const body = JSON.parse((await browser.visit('/.postern/whoami', { headers: program })).body) as Record<string, unknown>
    expect(body).toMatchObject({
      subject: 'alice',
      email: 'alice@corp.test',
      name: 'Alice',
      groups: ['staff'],
      sign_in: { acr: 'high', amr: ['pwd', 'otp'] },
      device: null,
    })
    const { started_at: startedAt, ends_at: endsAt, idle_ends_at: idleEndsAt } = body['session'] as Record<string, number>
    expect((endsAt ?? 0) - (startedAt ?? 0)).toBe(43_200)
    expect((idleEndsAt ?? 0) - (startedAt ?? 0)).toBe(1800)
    expect(Math.abs((startedAt ?? 0) - Date.now() / 1000)).toBeLessThan(60)
  })
})

describe('signing out', () => {
  const sameOrigin = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'same-origin' }
  const tokenOf = (page: string) => /name="form_token" value="([A-Za-z0-9_-]{43})"/.exec(page)?.[1] ?? ''

  beforeEach(async () => {
    host.provider.behaviour.person.sid = 's1'
    await browser.signIn()
  })

  it('ends the session here and leads to the provider, which leads to the last page', async () => {
    const secret = browser.secret
    const page = await browser.visit('/.postern/sign-out')
    expect(page.status).toBe(200)
    expect(page.headers['content-security-policy']).toContain(`form-action 'self' ${host.provider.issuer}`)
    const answer = await browser.visit('/.postern/sign-out', {
      method: 'POST',
      headers: sameOrigin,
      form: { form_token: tokenOf(page.body) },
    })
    expect(answer.status).toBe(303)
    expect(answer.location?.origin).toBe(host.provider.issuer)
    expect(answer.location?.searchParams.get('id_token_hint')).toBeTruthy()
    expect(answer.location?.searchParams.get('post_logout_redirect_uri')).toBe(`${accessUrl.origin}/signed-out`)
    expect(browser.secret).toBeUndefined()
    expect(await stateOf(secret)).toBe('ended')
    const by = { request: expect.stringMatching(/^request-/), address: '192.0.2.1' }
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'signed_out', ...by }))
    expect((await browser.visit('/signed-out?state=provider-told')).status).toBe(200)
    // The same session at the provider is no way back in.
    host.provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) - 60
    expect((await browser.signIn()).location?.searchParams.get('prompt')).toBe('login')
  })

  it('ends what parallel tabs began on the same session at the provider', async () => {
    const [one, two] = [host.browser(), host.browser()]
    await Promise.all([one.signIn(), two.signIn()])
    await browser.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: {} })
    expect([await stateOf(one.secret), await stateOf(two.secret)]).toEqual(['ended', 'ended'])
  })

  it.each<[string, Record<string, string>]>([
    ['a GET', {}],
    ['neither Sec-Fetch-Site nor Origin', { accept: 'text/html' }],
    ['a sibling app', { accept: 'text/html', 'sec-fetch-site': 'same-site', origin: accessUrl.origin }],
    ['another site', { accept: 'text/html', 'sec-fetch-site': 'cross-site' }],
    ['an Origin of elsewhere', { accept: 'text/html', origin: 'https://evil.test' }],
    ['the null origin', { accept: 'text/html', origin: 'null' }],
    ['an Origin with another port', { accept: 'text/html', origin: `${accessUrl.origin}:444` }],
  ])('does not happen by %s', async (name, headers) => {
    const method = name === 'a GET' ? 'GET' : 'POST'
    const answer = await browser.visit('/.postern/sign-out', method === 'GET' ? {} : { method, headers, form: {} })
    expect(answer.status).toBe(method === 'GET' ? 200 : 403)
    expect(await stateOf(browser.secret)).toBe('live')
  })

  it('needs the token of the form that was shown, where one was', async () => {
    await browser.visit('/.postern/sign-out')
    const wrong = await browser.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: { form_token: 'x'.repeat(43) } })
    expect(wrong.status).toBe(403)
    expect(await stateOf(browser.secret)).toBe('live')
  })

  it('works with an Origin alone, as older browsers send it', async () => {
    const headers = { accept: 'text/html', origin: accessUrl.origin }
    expect((await browser.visit('/.postern/sign-out', { method: 'POST', headers, form: {} })).status).toBe(303)
  })

  it('of somebody whose session is over leads to the last page', async () => {
    const stranger = host.browser()
    const answer = await stranger.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: {} })
    expect(answer.location?.pathname).toBe('/signed-out')
  })

  it('of somebody who was idle for too long ends the session at the provider, which would let the next person in', async () => {
    host.move(1801_000)
    expect(await stateOf(browser.secret)).toBe('expired')
    const answer = await browser.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: {} })
    expect(answer.location?.origin).toBe(host.provider.issuer)
    expect(answer.location?.searchParams.has('id_token_hint')).toBe(false)
    expect(browser.secret).toBeUndefined()
  })

  it('of somebody whose claims ran out ends the session, which a sign-in would continue', async () => {
    await host.close()
    host = await startAccessHost({}, undefined, { claimsMaxAgeSeconds: 600, withoutRefreshToken: 'reauthenticate' })
    host.provider.behaviour.tokenResponse = ({ refresh_token: _none, ...others }) => others
    browser = host.browser()
    await browser.signIn()
    host.move(700_000)
    const secret = browser.secret
    expect(await stateOf(secret)).toBe('expired')
    const answer = await browser.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: {} })
    expect(answer.location?.searchParams.get('id_token_hint')).toBeTruthy()
    expect(await stateOf(secret)).toBe('ended')
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'signed_out' }))
  })

  it('is not claimed by a link to its last page while the session goes on', async () => {
    const answer = await browser.visit('/signed-out?state=provider-told')
    expect(answer.location?.pathname).toBe('/.postern/sign-out')
    expect(await stateOf(browser.secret)).toBe('live')
  })

  it('is 503 while the store is away, and the cookie stays', async () => {
    host.breakStore(true)
    host.move(6000)
    const answer = await browser.visit('/.postern/sign-out', { method: 'POST', headers: sameOrigin, form: {} })
    expect(answer.status).toBe(503)
    expect(browser.secret).toBeDefined()
  })

  it('takes a body of a few bytes only, uncompressed', async () => {
    const send = (more: Record<string, string>, body: string | Buffer) =>
      browser.visit('/.postern/sign-out', { method: 'POST', headers: { ...sameOrigin, ...more }, body })
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await send(type, `form_token=${'x'.repeat(5000)}`)).status).toBe(413)
    expect((await send({ ...type, 'content-encoding': 'gzip' }, gzipSync('form_token='))).status).toBe(400)
    expect(await stateOf(browser.secret)).toBe('live')
  })
})

describe('form state', () => {
  it('does not exist for strangers: no page writes to the store or sets a cookie, whatever cookie they come with', async () => {
    const written = watchWrites(host.store)
    const paths = [
      ...['/', '/signed-out', '/signed-out?state=provider-told', '/.postern/sign-out', '/.postern/whoami', '/.postern/jwks.json'],
      ...['/.postern/assets/x.css', '/favicon.ico', '/robots.txt', '/nowhere', '/%ff', '/console/', '/api/v1/sessions'],
      ...['/oidc/callback', `/oidc/callback?state=${'s'.repeat(43)}&code=x`, '/oidc/backchannel-logout'],
      `/sign-in?${new URLSearchParams({ return_to: `${wikiUrl}/x` })}`,
    ]
    const stranger = host.browser()
    for (const cookie of [undefined, '__Host-postern-ui', '__Host-postern']) {
      if (cookie !== undefined) stranger.cookies.set(cookie, 'x'.repeat(43))
      for (const path of paths) {
        for (const method of ['GET', 'HEAD']) {
          const { headers } = await stranger.visit(path, { method })
          expect([path, headers['set-cookie']]).toEqual([path, undefined])
        }
      }
      const form = { accept: 'text/html', 'sec-fetch-site': 'same-origin' }
      const answer = await stranger.visit('/.postern/sign-out', { method: 'POST', headers: form, form: { form_token: 'x' } })
      expect(answer.headers['set-cookie']?.every((line) => line.endsWith('; Max-Age=0'))).toBe(true)
    }
    expect(written).toEqual([])
  })

  it('is kept under a cookie of its own, for signed-in people alone, and sealed in the store', async () => {
    await browser.visit('/.postern/sign-out')
    expect([...browser.cookies.keys()]).toEqual([])
    await browser.signIn()
    await browser.visit('/')
    expect(browser.cookies.has('__Host-postern-ui')).toBe(false)
    const page = await browser.visit('/.postern/sign-out')
    const line = page.headers['set-cookie']?.find((one) => one.startsWith('__Host-postern-ui='))
    expect(line).toMatch(/; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
    const again = await browser.visit('/.postern/sign-out')
    const token = /form_token" value="([^"]+)"/
    expect(token.exec(again.body)?.[1]).toBe(token.exec(page.body)?.[1])
  })
})

describe('a logout token', () => {
  const path = '/oidc/backchannel-logout'
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const post = (token: string) => browser.visit(path, { method: 'POST', headers: form, form: { logout_token: token } })

  beforeEach(async () => {
    host.provider.behaviour.person.sid = 's1'
    await browser.signIn()
  })

  it('for a sid ends exactly the sessions of that sid', async () => {
    host.provider.behaviour.person.sid = 's2'
    const other = host.browser()
    await other.signIn()
    const answer = await post(await host.provider.logoutToken({ sid: 's1' }))
    expect(answer.status).toBe(200)
    expect(answer.headers['cache-control']).toBe('no-store')
    expect([await stateOf(browser.secret), await stateOf(other.secret)]).toEqual(['ended', 'live'])
    const by = { request: expect.stringMatching(/^request-/), address: '192.0.2.1' }
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'back_channel', ...by }))
  })

  it('for a sub ends every session of that subject and nobody else’s', async () => {
    const second = host.browser()
    await second.signIn()
    host.provider.behaviour.person = { sub: 'bob', claims: {}, sid: 's3' }
    const bob = host.browser()
    await bob.signIn()
    expect((await post(await host.provider.logoutToken({ sub: 'alice' }))).status).toBe(200)
    expect([await stateOf(browser.secret), await stateOf(second.secret), await stateOf(bob.secret)]).toEqual(['ended', 'ended', 'live'])
  })

  it('for a sid also ends a session of that subject that never learned its sid', async () => {
    delete host.provider.behaviour.person.sid
    const other = host.browser()
    await other.signIn()
    await post(await host.provider.logoutToken({ sid: 'unknown', sub: 'alice' }))
    expect([await stateOf(browser.secret), await stateOf(other.secret)]).toEqual(['live', 'ended'])
  })

  it.each([
    ['with the subject', { sid: 's1', sub: 'alice' }],
    ['alone', { sid: 's1' }],
  ])('for a sid %s has the person’s other sessions asked about at once: what is refused ends', async (_name, claims) => {
    host.provider.behaviour.person.sid = 's2'
    const other = host.browser()
    await other.signIn()
    host.provider.behaviour.person = { sub: 'bob', claims: {}, sid: 's3' }
    const bob = host.browser()
    await bob.signIn()
    host.provider.behaviour.refuseRefresh = 'invalid_grant'
    expect((await post(await host.provider.logoutToken(claims))).status).toBe(200)
    await vi.waitUntil(async () => (await stateOf(other.secret)) === 'ended', { interval: 10, timeout: 4000 })
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'refused' }))
    expect([await stateOf(browser.secret), await stateOf(bob.secret)]).toEqual(['ended', 'live'])
  })

  it('for a sid brings the person’s other sessions what changed, and keeps the provider waiting for none of it', async () => {
    host.provider.behaviour.person.sid = 's2'
    const other = host.browser()
    await other.signIn()
    let answerNow: () => void = () => undefined
    const asked = new Promise<void>((resolve) => {
      host.provider.behaviour.take.token = async () => {
        resolve()
        await new Promise<void>((next) => (answerNow = next))
        return false
      }
    })
    host.provider.behaviour.userinfo = (it) => ({ ...it, groups: ['visitors'] })
    host.provider.behaviour.idToken = (it) => ({ ...it, groups: ['visitors'] })
    expect((await post(await host.provider.logoutToken({ sid: 's1', sub: 'alice' }))).status).toBe(200)
    await asked
    answerNow()
    const groups = async () => {
      const lookup = await host.sessions.findByAccessSecret(other.secret ?? '')
      return lookup.state === 'live' ? lookup.session.claims.all['groups'] : lookup.state
    }
    await vi.waitUntil(async () => JSON.stringify(await groups()) === '["visitors"]', { interval: 10, timeout: 4000 })
  })

  it('of somebody who is not here is accepted', async () => {
    expect((await post(await host.provider.logoutToken({ sub: 'nobody' }))).status).toBe(200)
  })

  it('counts once', async () => {
    const token = await host.provider.logoutToken({ sub: 'alice' })
    expect((await post(token)).status).toBe(200)
    host.move(2000)
    host.provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 2, exp: Number(it['exp']) + 2 })
    host.provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) + 2
    await browser.signIn()
    expect((await post(token)).status).toBe(400)
    expect(await stateOf(browser.secret)).toBe('live')
  })

  it('is 503 while it cannot be recorded, and honoured when it comes again', async () => {
    const token = await host.provider.logoutToken({ sub: 'alice' })
    host.breakStore(true)
    const away = await post(token)
    expect(away.status).toBe(503)
    expect(away.headers['retry-after']).toBe('5')
    host.breakStore(false)
    expect((await post(token)).status).toBe(200)
    expect(await stateOf(browser.secret)).toBe('ended')
  })

  it('that was taken but not recorded is honoured when it comes again', async () => {
    const token = await host.provider.logoutToken({ sub: 'alice' })
    const { recordEnds } = host.store
    Object.assign(host.store, { recordEnds: () => Promise.reject(new PosternError('session_store_unavailable', 'lost in between')) })
    expect((await post(token)).status).toBe(503)
    Object.assign(host.store, { recordEnds })
    expect((await post(token)).status).toBe(200)
    expect((await post(token)).status).toBe(400)
  })

  it('is 503 while the provider is unknown and its keys cannot be had', async () => {
    host.provider.behaviour.take.jwks = (_request, response) => {
      response.writeHead(500).end()
      return true
    }
    const fresh = await startAccessHost()
    fresh.provider.behaviour.take.jwks = host.provider.behaviour.take.jwks
    const answer = await fresh
      .browser()
      .visit(path, { method: 'POST', headers: form, form: { logout_token: await fresh.provider.logoutToken({ sub: 'alice' }) } })
    await fresh.close()
    expect(answer.status).toBe(503)
  })

  it.each<[string, (token: string) => { headers?: Record<string, string>; body: string }]>([
    ['twice in the form', (token) => ({ body: `logout_token=${token}&logout_token=${token}` })],
    ['beside another name twice', (token) => ({ body: `logout_token=${token}&a=1&a=2` })],
    ['as JSON', (token) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify({ logout_token: token }) })],
    ['as text', (token) => ({ headers: { 'content-type': 'text/plain' }, body: `logout_token=${token}` })],
    ['empty', () => ({ body: 'logout_token=' })],
    ['not at all', () => ({ body: '' })],
    ['in garbage', () => ({ body: '%%%=&&&' })],
  ])('is 400 when it comes %s', async (_name, make) => {
    const { headers = form, body } = make(await host.provider.logoutToken({ sub: 'alice' }))
    const answer = await browser.visit(path, { method: 'POST', headers, body })
    expect(answer.status).toBe(400)
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(JSON.parse(answer.body)).toMatchObject({ error: 'invalid_request' })
    expect(await stateOf(browser.secret)).toBe('live')
  })

  it('is refused when forged, and after enough of those the address waits; a right one costs nothing', async () => {
    await host.close()
    host = await startAccessHost({ rateLimits: { signInsPerMinute: 100, wrongLogoutTokensPerMinute: 2 } })
    browser = host.browser()
    for (let round = 0; round < 4; round += 1) expect((await post(await host.provider.logoutToken({ sub: 'nobody' }))).status).toBe(200)
    const forged = await forgeToken({ alg: 'none' }, { sub: 'alice', iss: host.provider.issuer })
    expect([(await post(forged)).status, (await post(forged)).status, (await post(forged)).status]).toEqual([400, 400, 429])
    // Who shares the provider's address cannot keep anybody signed in.
    expect((await post(await host.provider.logoutToken({ sub: 'nobody' }))).status).toBe(200)
    const refusals = host.lines.filter((line) => line.includes('a logout token was refused'))
    expect(refusals).toHaveLength(2)
  })

  it('is not read beyond its limit, and only by POST', async () => {
    expect((await browser.visit(path, { method: 'POST', headers: form, body: `logout_token=${'x'.repeat(110_000)}` })).status).toBe(413)
    expect((await browser.visit(path)).status).toBe(405)
  })
})

describe('every answer', () => {
  it('carries the security headers and the request id, and no trace of the framework', async () => {
    await browser.signIn()
    for (const path of ['/', '/signed-out', '/nowhere', '/.postern/sign-out', '/.postern/whoami', '/sign-in']) {
      const { headers } = await browser.visit(path)
      expect(headers['content-security-policy']).toMatch(/default-src 'none';.*frame-ancestors 'none'/)
      expect(headers['x-content-type-options']).toBe('nosniff')
      expect(headers['x-frame-options']).toBe('DENY')
      expect(headers['cross-origin-opener-policy']).toBe('same-origin')
      expect(headers['referrer-policy']).toBe('no-referrer')
      expect(headers['cache-control']).toBe('no-store')
      expect(headers['x-postern-request']).toMatch(/^request-\d+$/)
      expect(headers['x-powered-by']).toBeUndefined()
      expect(headers['etag']).toBeUndefined()
      expect(headers['strict-transport-security']).toBeUndefined()
    }
  })

  it('to an unknown path is a 404 that repeats nothing of it', async () => {
    for (const path of [
      '/nowhere',
      '/%3Csvg/onload=alert(1)%3E',
      '/SIGN-IN',
      '/sign-in/',
      '/console',
      '/oidc/callback/',
      '/.postern/assets/../../package.json',
      '/%',
    ]) {
      const answer = await browser.visit(path)
      expect([400, 404]).toContain(answer.status)
      expect(answer.body).not.toContain('svg/onload')
      expect(answer.body).not.toMatch(/at .*\.ts:\d+|node_modules/)
    }
    expect(JSON.parse((await browser.visit('/nowhere', { headers: program })).body)).toMatchObject({ error: 'path_not_found' })
  })

  it('to something malformed leaves no line in the log that a stranger could fill', async () => {
    for (const path of ['/.postern/assets/%ff', '/%ff']) await browser.visit(path)
    await browser.visit('/oidc/backchannel-logout', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'x'.repeat(110_000),
    })
    expect(host.lines.filter((line) => !line.includes('"level":"debug"') && !line.includes('provider discovered'))).toEqual([])
  })

  it('to HEAD has the headers of GET and no body', async () => {
    const answer = await browser.visit('/signed-out', { method: 'HEAD' })
    expect(answer.status).toBe(200)
    expect(answer.body).toBe('')
  })

  it('to a method that is not there names those that are', async () => {
    const headers = { 'sec-fetch-site': 'same-origin' }
    for (const [path, allow] of [
      ['/sign-in', 'GET, HEAD'],
      ['/signed-out', 'GET, HEAD'],
      ['/.postern/sign-out', 'GET, HEAD, POST'],
      ['/.postern/jwks.json', 'GET, HEAD'],
    ]) {
      const answer = await browser.visit(path ?? '', { method: path === '/.postern/sign-out' ? 'PUT' : 'POST', headers })
      expect(answer.status).toBe(405)
      expect(answer.headers.allow).toBe(allow)
    }
  })

  it('is 503 with Retry-After while the store is away, and never a page of somebody', async () => {
    await browser.signIn()
    host.move(6000)
    host.breakStore(true)
    for (const path of ['/', '/.postern/whoami', '/.postern/sign-out', signInPath(`${wikiUrl}/x`)]) {
      const answer = await browser.visit(path)
      expect(answer.status).toBe(503)
      expect(answer.headers['x-postern']).toBe('session_store_unavailable')
      expect(answer.headers['retry-after']).toBe('5')
      expect(answer.body).not.toContain('Alice')
    }
  })

  it('to a broken controller is a 500 with the request id, while the log has the cause once', async () => {
    await host.close()
    host = await startAccessHost({
      apps: () => {
        throw new RangeError('a secret of the inside')
      },
    })
    const answer = await host.browser().visit('/sign-in')
    expect(answer.status).toBe(500)
    expect(answer.headers['x-postern']).toBe('internal_error')
    expect(answer.body).toContain('request-1')
    expect(answer.body).not.toContain('secret of the inside')
    expect(host.lines.filter((line) => line.includes('a secret of the inside'))).toHaveLength(1)
  })

  it('shows no stack even where the page about a failure fails', async () => {
    await host.close()
    const broken = () => {
      throw new RangeError('a secret of the inside')
    }
    const pages = new Proxy({} as PageRenderer, { get: () => broken })
    host = await startAccessHost({ pages })
    const answer = await host.browser().visit('/nowhere')
    expect(answer.status).toBe(500)
    expect(answer.body).toBe('Something went wrong. Request: request-1\n')
    expect(host.lines.join()).toContain('the page about a failure failed')
  })

  it('believes no header about scheme, host or address', async () => {
    const headers = {
      accept: 'text/html',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'evil.test',
      forwarded: 'host=evil.test;proto=http',
      'x-forwarded-for': '6.6.6.6',
    }
    const start = await browser.visit('/sign-in', { headers })
    expect(start.location?.searchParams.get('redirect_uri')).toBe(`${accessUrl.origin}/oidc/callback`)
    await browser.signIn()
    const page = await browser.visit('/.postern/sign-out', { headers })
    expect(page.headers['set-cookie']?.[0]).toContain('; Secure')
    expect(page.body).not.toContain('evil.test')
  })
})

describe('small paths', () => {
  it('serve our keys, our assets, and an answer for crawlers', async () => {
    const keys = await browser.visit('/.postern/jwks.json')
    expect(JSON.parse(keys.body)).toMatchObject({ keys: [{ kid: 'test', alg: 'ES256' }] })
    expect(keys.body).not.toContain('"d"')
    expect(keys.headers['cache-control']).toBe('public, max-age=300')
    const page = await browser.visit('/signed-out')
    const stylesheet = /href="(\/\.postern\/assets\/[^"]+\.css)"/.exec(page.body)?.[1] ?? ''
    const asset = await browser.visit(stylesheet)
    expect(asset.status).toBe(200)
    expect(asset.headers['content-type']).toContain('text/css')
    expect(asset.headers['cache-control']).toContain('immutable')
    expect((await browser.visit('/.postern/assets/unknown.css')).status).toBe(404)
    expect((await browser.visit('/favicon.ico')).status).toBe(204)
    expect((await browser.visit('/robots.txt')).body).toContain('Disallow: /')
  })
})

describe('the return addresses of a sign-in', () => {
  const file = process.env['POSTERN_TEST_REDIRECT_PAYLOADS']
  it.skipIf(file === undefined)(
    'never leave our origins, over HTTP, raw and encoded, signed in and not',
    { timeout: 120_000 },
    async () => {
      await host.close()
      host = await startAccessHost({ rateLimits: { signInsPerMinute: 1e6, wrongLogoutTokensPerMinute: 1 } })
      const signedIn = host.browser()
      await signedIn.signIn()
      const allowed = new Set([wikiUrl, 'https://payroll.corp.example', accessUrl.origin])
      for (const payload of readFileSync(file ?? '', 'utf8')
        .split('\n')
        .filter(Boolean)) {
        const raw = /^[\x21-\x7e]+$/.test(payload) ? [payload.replaceAll('#', '%23')] : []
        for (const text of [encodeURIComponent(payload), ...raw]) {
          for (const more of ['', `&attempt=${'A'.repeat(43)}`]) {
            const answer = await signedIn.visit(`/sign-in?return_to=${text}${more}`)
            expect(answer.status, payload).toBe(303)
            expect(allowed.has(answer.location?.origin ?? ''), payload).toBe(true)
            expect(answer.headers.location, payload).not.toContain('\\')
          }
        }
      }
    },
  )
})

describe('reasons', () => {
  it('have the same status on both planes', () => {
    for (const [reason, status] of Object.entries(statusByReason)) expect(statusOf(reason as ControlReason), reason).toBe(status)
  })

  it('of failures are closed words', () => {
    expect(reasonOf(new PosternError('provider_unavailable', 'x'))).toBe('provider_unavailable')
    expect(reasonOf(new PosternError('upstream_timeout', 'x'))).toBe('internal_error')
    expect(reasonOf(Object.assign(new Error('x'), { status: 413 }))).toBe('body_too_large')
    expect(reasonOf(Object.assign(new Error('x'), { status: 415 }))).toBe('bad_request')
    expect(reasonOf(Object.assign(new Error('x'), { status: 500 }))).toBe('internal_error')
    expect(reasonOf('text')).toBe('internal_error')
  })
})
