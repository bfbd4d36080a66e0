/**
 * The demo's provider as a relying party meets it: real HTTP, one cookie jar, the code flow by hand.
 *
 * Requests go to loopback with the issuer's name in Host, as a browser's would.
 */

import { createHash, randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, customFetch, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fetchLoopbackNames, lookupLoopbackNames } from './loopback-names.ts'
import { demoPeople } from './people.ts'
import { startDemoProvider } from './provider.ts'

const clientSecret = randomBytes(16).toString('hex')
let issuer: URL
let redirectUri: string
let provider: { close(): Promise<void> }
let relyingParty: Server
const logoutTokens: string[] = []

beforeAll(async () => {
  relyingParty = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      logoutTokens.push(new URLSearchParams(body).get('logout_token') ?? '')
      response.end()
    })
  })
  await new Promise<void>((resolve) => relyingParty.listen(0, '127.0.0.1', resolve))
  const port = await freePort()
  issuer = new URL(`http://login.corp.localhost:${port}`)
  const access = `http://access.corp.localhost:${(relyingParty.address() as AddressInfo).port}`
  redirectUri = `${access}/oidc/callback`
  provider = await startDemoProvider({
    issuer,
    port,
    client: {
      id: 'postern',
      secret: clientSecret,
      redirectUris: [redirectUri],
      postLogoutRedirectUris: [`${access}/signed-out`],
      backchannelLogoutUri: `${access}/oidc/backchannel-logout`,
    },
    people: demoPeople,
  })
})

afterAll(async () => {
  await provider.close()
  relyingParty.close()
})

describe('the demo’s provider', () => {
  it('states identity, groups and how the person signed in, and verifies against its keys', async () => {
    const { tokens, nonce } = await signIn(browser(), 'alice')
    const keys = createRemoteJWKSet(new URL('/jwks', issuer), {
      [customFetch]: (url, options) => fetchLoopbackNames(url, { headers: options.headers }),
    })
    const { payload } = await jwtVerify(tokens.id_token, keys, { issuer: issuer.origin, audience: 'postern', algorithms: ['RS256'] })
    expect(payload).toMatchObject({
      sub: 'alice',
      email: 'alice@corp.example',
      email_verified: true,
      groups: ['engineering', 'postern-admins'],
      acr: '1',
      amr: ['pwd'],
      nonce,
    })
    expect(typeof payload['sid']).toBe('string')
    expect(typeof payload['auth_time']).toBe('number')
  })

  it('issues refresh tokens, and rotates them', async () => {
    const { tokens } = await signIn(browser(), 'bob')
    const next = await redeem({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })
    expect(next.status).toBe(200)
    const renewed = (await next.json()) as Tokens
    expect(decodeJwt(renewed.id_token)).toMatchObject({ sub: 'bob', groups: ['finance'] })
    expect(renewed.refresh_token).not.toBe(tokens.refresh_token)
  })

  it('goes on without asking while its own session lives, and asks again for prompt=login', async () => {
    const visit = browser()
    await signIn(visit, 'carol')
    const silent = await visit(authorizationUrl().url)
    expect(silent.location).toContain('code=')
    const again = authorizationUrl()
    again.url.searchParams.set('prompt', 'login')
    const asked = await visit(again.url)
    expect(asked.body).toContain('fresh sign-in')
    expect(asked.body).toContain('Carol Castro')
  })

  it('refuses a request without PKCE, and a redirect to an address that is not registered', async () => {
    const { url } = authorizationUrl()
    url.searchParams.delete('code_challenge')
    url.searchParams.delete('code_challenge_method')
    expect((await browser()(url)).location).toContain('error=invalid_request')
    const elsewhere = authorizationUrl().url
    elsewhere.searchParams.set('redirect_uri', 'http://evil.example/')
    const refused = await browser()(elsewhere)
    expect(refused.status).toBe(400)
    expect(refused.location).toBeUndefined()
  })

  it('answers a cancelled sign-in with access_denied', async () => {
    const visit = browser()
    const asked = await visit(authorizationUrl().url)
    const answered = await visit(new URL(actionOf(asked.body), issuer), { person: '' })
    expect(answered.location).toContain('error=access_denied')
  })

  it('signs out at once on a valid hint, tells the relying party, and its refresh tokens are dead', async () => {
    const visit = browser()
    const { tokens } = await signIn(visit, 'alice')
    const page = await visit(
      new URL(
        `/session/end?id_token_hint=${tokens.id_token}&post_logout_redirect_uri=${encodeURIComponent(redirectUri.replace('oidc/callback', 'signed-out'))}`,
        issuer,
      ),
    )
    expect(page.body).toContain('data-press')
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
    const done = await visit(new URL('/session/end/confirm', issuer), { xsrf, logout: 'yes' })
    expect(done.location).toContain('/signed-out')
    const token = decodeJwt(logoutTokens.at(-1) ?? '')
    expect(token).toMatchObject({ iss: issuer.origin, aud: 'postern', sub: 'alice', sid: decodeJwt(tokens.id_token)['sid'] })
    const refused = await redeem({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })
    expect(await refused.json()).toMatchObject({ error: 'invalid_grant' })
  })

  it('asks before it signs out somebody who merely followed a link', async () => {
    const visit = browser()
    await signIn(visit, 'bob')
    expect((await visit(new URL('/session/end', issuer))).body).not.toContain('data-press')
  })

  it('answers under no other name', async () => {
    const answer = await fetchLoopbackNames(`http://evil.corp.localhost:${issuer.port}/.well-known/openid-configuration`)
    expect(answer.status).toBe(404)
  })

  it('serves pages that allow no inline code and let the form end at Postern', async () => {
    const asked = await browser()(authorizationUrl().url)
    expect(asked.policy).toContain("script-src 'self'")
    expect(asked.policy).toContain("form-action 'self' http://*.corp.localhost:*")
    expect(asked.body).not.toMatch(/<script>|style="/)
  })
})

describe('names below localhost', () => {
  it('resolve to loopback', async () => {
    const address = await new Promise((resolve, reject) => {
      lookupLoopbackNames('never-heard-of.corp.localhost', {}, (error, found) => (error === null ? resolve(found) : reject(error)))
    })
    expect(['127.0.0.1', '::1']).toContain(address)
  })

  it('are the only ones that do', async () => {
    await expect(fetchLoopbackNames('http://nothing.invalid/')).rejects.toThrow()
  })
})

interface Tokens {
  readonly id_token: string
  readonly refresh_token: string
}

interface Visit {
  readonly status: number
  readonly location: string | undefined
  readonly body: string
  readonly policy: string
}

type Browser = (url: URL, form?: Record<string, string>) => Promise<Visit>

/** Follows redirects within the provider, keeps its cookies, and stops at the relying party. */
function browser(): Browser {
  const cookies = new Map<string, string>()
  return async (first, form) => {
    let url = first
    let fields = form
    for (;;) {
      const { request } = await import('node:http')
      const body = fields === undefined ? undefined : new URLSearchParams(fields).toString()
      const answer = await new Promise<Visit & { setCookies: readonly string[] }>((resolve, reject) => {
        const sent = request(
          url,
          {
            method: body === undefined ? 'GET' : 'POST',
            lookup: lookupLoopbackNames,
            headers: {
              accept: 'text/html',
              cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
              ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
            },
          },
          (response) => {
            let text = ''
            response.on('data', (chunk) => {
              text += chunk
            })
            response.on('end', () =>
              resolve({
                status: response.statusCode ?? 0,
                location: response.headers.location,
                body: text,
                policy: String(response.headers['content-security-policy']),
                setCookies: response.headers['set-cookie'] ?? [],
              }),
            )
          },
        )
        sent.on('error', reject)
        sent.end(body)
      })
      for (const line of answer.setCookies) {
        const [pair = ''] = line.split(';')
        const at = pair.indexOf('=')
        cookies.set(pair.slice(0, at), pair.slice(at + 1))
      }
      if (answer.location === undefined) return answer
      const next = new URL(answer.location, url)
      if (next.host !== issuer.host) return answer
      url = next
      fields = undefined
    }
  }
}

function authorizationUrl(): { url: URL; verifier: string; nonce: string } {
  const verifier = randomBytes(32).toString('base64url')
  const nonce = randomBytes(8).toString('hex')
  const url = new URL('/auth', issuer)
  url.search = new URLSearchParams({
    client_id: 'postern',
    response_type: 'code',
    scope: 'openid profile email',
    redirect_uri: redirectUri,
    state: 'state',
    nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString()
  return { url, verifier, nonce }
}

async function signIn(visit: Browser, person: string): Promise<{ tokens: Tokens; nonce: string }> {
  const { url, verifier, nonce } = authorizationUrl()
  const asked = await visit(url)
  const answered = await visit(new URL(actionOf(asked.body), issuer), { person })
  const answer = new URL(answered.location ?? 'http://none.invalid/').searchParams
  expect(answer.get('iss')).toBe(issuer.origin)
  const redeemed = await redeem({
    grant_type: 'authorization_code',
    code: answer.get('code') ?? '',
    redirect_uri: redirectUri,
    code_verifier: verifier,
  })
  expect(redeemed.status).toBe(200)
  return { tokens: (await redeemed.json()) as Tokens, nonce }
}

function redeem(fields: Record<string, string>): Promise<Response> {
  return fetchLoopbackNames(new URL('/token', issuer), {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from(`postern:${clientSecret}`).toString('base64')}`,
    },
    body: new URLSearchParams(fields).toString(),
  })
}

function actionOf(body: string): string {
  return /<form method="post" action="([^"]+)"/.exec(body)?.[1] ?? '/none'
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise<void>((resolve) => probe.close(() => resolve()))
  return port
}
