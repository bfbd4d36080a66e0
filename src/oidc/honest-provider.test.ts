/**
 * The relying party with a real OpenID Provider (`oidc-provider`, as the demo runs it): sign-in, refresh, sign-out, logout token.
 */

import { randomBytes } from 'node:crypto'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { Secret } from '../config/instance.ts'
import { demoPeople } from '../demo/people.ts'
import { startDemoProvider } from '../demo/provider.ts'
import { lookupName } from '../name-resolution.ts'
import { createRelyingParty } from './openid-relying-party.ts'
import type { RelyingParty } from './relying-party.ts'

const secret = randomBytes(16).toString('hex')
const logoutTokens: string[] = []
let accessHost: Server
let provider: { close(): Promise<void> }
let issuer: URL
let rp: RelyingParty
const observed: { readonly operation: string; readonly seconds: number; readonly isAnswered: boolean }[] = []

beforeAll(async () => {
  accessHost = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      logoutTokens.push(new URLSearchParams(body).get('logout_token') ?? '')
      response.end()
    })
  })
  const accessUrl = new URL(`http://access.corp.localhost:${await listen(accessHost)}`)
  const probe = createServer()
  const port = await listen(probe)
  await new Promise((resolve) => probe.close(resolve))
  issuer = new URL(`http://login.corp.localhost:${port}`)
  provider = await startDemoProvider({
    issuer,
    port,
    client: {
      id: 'postern',
      secret,
      redirectUris: [`${accessUrl.origin}/oidc/callback`],
      postLogoutRedirectUris: [`${accessUrl.origin}/signed-out`],
      backchannelLogoutUri: `${accessUrl.origin}/oidc/backchannel-logout`,
    },
    people: demoPeople,
  })
  rp = createRelyingParty({
    configuration: {
      issuer,
      preset: undefined,
      clientId: 'postern',
      clientSecret: new Secret(secret),
      clientKeyFile: undefined,
      scopes: ['openid', 'profile', 'email'],
      claims: { groups: [['groups']], deviceId: undefined, posture: new Map() },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
      providerGraceSeconds: 3600,
      withoutRefreshToken: 'reauthenticate',
      dangerouslyAllowHttp: false,
      strengths: new Map(),
    },
    accessUrl,
    now: () => Date.now(),
    log: pino({ level: 'silent' }),
    observe: (operation, seconds, isAnswered) => void observed.push({ operation, seconds, isAnswered }),
  })
  await vi.waitUntil(() => rp.isReady(), { timeout: 8000, interval: 10 })
})

afterAll(async () => {
  rp.close()
  await provider.close()
  accessHost.close()
})

it('signs in, refreshes, and after a sign-out believes the logout token and gets no more refreshes', async () => {
  const visit = browser()
  const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined })
  const form = await visit(url)
  const answer = await submit(visit, form, { person: 'alice' })
  expect(rp.isAnswerTo(answer, pending)).toBe(true)
  const result = await rp.completeSignIn(answer, pending)
  if (result.outcome !== 'signed_in') throw new Error(result.error)
  const { signedIn } = result
  expect(signedIn).toMatchObject({
    issuer: issuer.origin,
    sub: 'alice',
    claims: { groups: ['engineering', 'postern-admins'], email: 'alice@corp.example', email_verified: true },
    signIn: { acr: '1', amr: ['pwd'] },
  })
  expect(signedIn.providerSid).toBeDefined()
  expect(Math.abs(signedIn.signIn.at - Date.now())).toBeLessThan(60_000)
  // The code was spent: the same answer is refused.
  expect(await rp.completeSignIn(answer, pending)).toEqual({ outcome: 'refused', error: 'invalid_grant' })

  const again = await rp.beginSignIn({ prompt: 'login', loginHint: undefined })
  expect((await visit(again.url)).body).toContain('<form')

  const second = await signInAs(visit, 'alice')
  const expected = { issuer: issuer.origin, sub: 'alice' }
  const refreshed = await rp.refresh(second.tokens.refreshToken ?? '', expected)
  expect(refreshed).toMatchObject({
    outcome: 'refreshed',
    signedIn: { sub: 'alice', claims: { groups: ['engineering', 'postern-admins'] } },
  })
  if (refreshed.outcome !== 'refreshed') return

  const end = rp.endSessionUrl(second.tokens.idToken)
  const page = await visit(end ?? issuer)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
  await visit(new URL('/session/end/confirm', issuer), { xsrf, logout: 'yes' })
  await vi.waitUntil(() => logoutTokens.length > 0)
  expect(await rp.verifyLogoutToken(logoutTokens.at(-1) ?? '')).toMatchObject({ ...expected, sid: second.providerSid })
  expect(await rp.refresh(refreshed.signedIn.tokens.refreshToken ?? '', expected)).toEqual({ outcome: 'refused' })
})

it('tells how long each exchange took, by what was asked', async () => {
  observed.length = 0
  const { tokens } = await signInAs(browser(), 'alice')
  await rp.refresh(tokens.refreshToken ?? '', { issuer: issuer.origin, sub: 'alice' })
  const operations = observed.map(({ operation }) => operation)
  expect(operations.filter((operation) => operation === 'token')).toHaveLength(2)
  expect(operations.filter((operation) => operation === 'userinfo')).toHaveLength(2)
  expect(operations.filter((operation) => !['token', 'userinfo', 'keys', 'discovery'].includes(operation))).toEqual([])
  expect(observed.every(({ isAnswered, seconds }) => isAnswered && seconds > 0 && seconds < 10)).toBe(true)
})

it('asks for a second factor by an essential claim, gets it, and a fresh one when that is wanted too', async () => {
  const visit = browser()
  const first = await signInAs(visit, 'bob')
  expect(first.signIn).toMatchObject({ acr: '1', amr: ['pwd'] })

  const stepUp = { acrValues: ['2'], maxAgeSeconds: 3600, ask: {} }
  const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined, stepUp })
  expect(url.searchParams.has('acr_values')).toBe(false)
  const page = await visit(url)
  // Who it is, is known: only the code is asked for.
  const wrong = await visit(new URL(/action="([^"]+)"/.exec(page.body)?.[1] ?? '', issuer), { person: 'bob', code: '' })
  expect(wrong.location).toBeUndefined()
  const answer = await submit(visit, wrong, { person: 'bob', code: codeOn(wrong) })
  const result = await rp.completeSignIn(answer, pending)
  if (result.outcome !== 'signed_in') throw new Error(result.error)
  expect(result.signedIn.signIn).toMatchObject({ acr: '2', amr: ['pwd', 'otp'] })
  expect(result.signedIn.signIn.authTime).toBeGreaterThanOrEqual(first.signIn.authTime ?? Number.POSITIVE_INFINITY)

  // Strong and recent enough: nobody is asked.
  expect(
    (await visit((await rp.beginSignIn({ prompt: undefined, loginHint: undefined, stepUp })).url)).location?.searchParams.has('code'),
  ).toBe(true)
  const fresh = { ...stepUp, maxAgeSeconds: 1 }
  await vi.waitUntil(() => Date.now() > (result.signedIn.signIn.authTime ?? 0) + 1_000, { timeout: 3000, interval: 50 })
  const again = await visit((await rp.beginSignIn({ prompt: undefined, loginHint: undefined, stepUp: fresh })).url)
  expect(again.location).toBeUndefined()
  expect(again.body).toContain('fresh sign-in')
})

it('gets access_denied when the person cancels', async () => {
  const visit = browser()
  const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined })
  const answer = await submit(visit, await visit(url), { person: '' })
  expect(rp.isAnswerTo(answer, pending)).toBe(true)
  expect(await rp.completeSignIn(answer, pending)).toEqual({ outcome: 'refused', error: 'access_denied' })
})

interface Page {
  readonly location: URL | undefined
  readonly body: string
}
type Visit = (url: URL, form?: Record<string, string>) => Promise<Page>

async function signInAs(visit: Visit, person: string) {
  const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined })
  const page = await visit(url)
  const answer = page.location === undefined ? await submit(visit, page, { person }) : page.location.searchParams
  const result = await rp.completeSignIn(answer, pending)
  if (result.outcome !== 'signed_in') throw new Error(result.error)
  return result.signedIn
}

function codeOn({ body }: Page): string {
  return /<p class="code">(\d{6})<\/p>/.exec(body)?.[1] ?? ''
}

async function submit(visit: Visit, page: Page, fields: Record<string, string>): Promise<URLSearchParams> {
  const action = /<form method="post" action="([^"]+)"/.exec(page.body)?.[1] ?? '/none'
  const answered = await visit(new URL(action, issuer), fields)
  return answered.location?.searchParams ?? new URLSearchParams()
}

/** Keeps the provider's cookies, follows redirects within it, and stops where one leads elsewhere. */
function browser(): Visit {
  const cookies = new Map<string, string>()
  const send = (url: URL, body: string | undefined) =>
    new Promise<Page>((resolve, reject) => {
      const headers = {
        accept: 'text/html',
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }),
      }
      const method = body === undefined ? 'GET' : 'POST'
      const request = httpRequest(url, { method, headers, lookup: lookupName }, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        response.on('end', () => {
          for (const line of response.headers['set-cookie'] ?? []) {
            const pair = line.split(';', 1)[0] ?? ''
            cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
          }
          const { location } = response.headers
          resolve({ location: location === undefined ? undefined : new URL(location, url), body: text })
        })
      })
      request.on('error', reject)
      request.end(body)
    })
  return async (url, form) => {
    let page = await send(url, form === undefined ? undefined : new URLSearchParams(form).toString())
    while (page.location?.host === issuer.host) page = await send(page.location, undefined)
    return page
  }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}
