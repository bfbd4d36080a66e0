/**
 * Payroll against a real key endpoint: what verifies gets in, and nothing else does, whatever the headers say.
 */

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunningApp } from './app-server.ts'
import { startPayroll } from './payroll.ts'

const audience = 'http://payroll.corp.localhost:8080'
let issuer: URL
let keys: Server
let payroll: RunningApp
let signingKey: CryptoKey
let otherKey: CryptoKey

beforeAll(async () => {
  const pair = await generateKeyPair('ES256')
  signingKey = pair.privateKey
  otherKey = (await generateKeyPair('ES256')).privateKey
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
  keys = createServer((request, response) => {
    response.writeHead(request.url === '/.postern/jwks.json' ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ keys: [jwk] }))
  })
  await new Promise<void>((resolve) => keys.listen(0, '127.0.0.1', resolve))
  issuer = new URL(`http://access.corp.localhost:${(keys.address() as AddressInfo).port}`)
  payroll = await startPayroll(0, { issuer, audience, now: () => Date.UTC(2026, 10, 22) })
})

afterAll(async () => {
  await payroll.close()
  keys.close()
})

describe('payroll', () => {
  it('lets in whom a valid assertion names', async () => {
    const headers = { 'x-postern-assertion': await assertion() }
    const page = await fetch(payroll.origin, { headers })
    expect(page.status).toBe(200)
    expect(await page.text()).toContain('bob@corp.example')
    const me = (await (await fetch(`${payroll.origin}/api/me`, { headers })).json()) as object
    expect(me).toMatchObject({ user: 'bob', groups: ['finance'], pay_day: 25 })
  })

  it.each([
    ['is missing', async () => undefined],
    ['is not a token', async () => 'x.y.z'],
    ['is signed with a key that is not published', () => assertion({ key: otherKey })],
    ['names another app', () => assertion({ audience: 'http://wiki.corp.localhost:8080' })],
    ['comes from another issuer', () => assertion({ issuer: 'http://evil.example' })],
    ['is over', () => assertion({ secondsAgo: 400 })],
    ['is of another type', () => assertion({ type: 'JWT' })],
    [
      'is not signed at all',
      async () => `${base64url({ alg: 'none', typ: 'postern+jwt' })}.${base64url({ iss: issuer.origin, aud: audience, sub: 'bob' })}.`,
    ],
  ])('refuses when the assertion %s, identity headers or not', async (_case, make) => {
    const token = await make()
    const headers = {
      'x-forwarded-user': 'bob',
      'x-forwarded-groups': 'finance,postern-admins',
      ...(token === undefined ? {} : { 'x-postern-assertion': token }),
    }
    for (const path of ['/', '/api/runs', '/admin/', '/api/nothing']) {
      const answer = await fetch(payroll.origin + path, { headers })
      expect(answer.status).toBe(401)
      expect(await answer.text()).not.toContain('Salary')
    }
  })

  it('creates and approves a run through the API, and writes down who did', async () => {
    const headers = { 'x-postern-assertion': await assertion(), 'content-type': 'application/json' }
    const created = await fetch(`${payroll.origin}/api/runs`, { method: 'POST', headers, body: JSON.stringify({ month: '2026-11' }) })
    expect(created.status).toBe(201)
    const { run } = (await created.json()) as { run: { id: number } }
    const approved = await fetch(`${payroll.origin}/api/runs/${run.id}/approval`, { method: 'POST', headers, body: '{}' })
    expect(await approved.json()).toMatchObject({ run: { state: 'approved', by: 'bob@corp.example' } })
    const again = await fetch(`${payroll.origin}/api/runs`, { method: 'POST', headers, body: JSON.stringify({ month: '2026-11' }) })
    expect(again.status).toBe(409)
    for (const body of ['{"month":"2026-13"}', 'not json', 'null', '{"month":7}']) {
      expect((await fetch(`${payroll.origin}/api/runs`, { method: 'POST', headers, body })).status).toBe(400)
    }
    const list = (await (await fetch(`${payroll.origin}/api/runs`, { headers })).json()) as { runs: { month: string }[] }
    expect(list.runs.map(({ month }) => month)).toEqual(['2026-11', '2026-10', '2026-09', '2026-08', '2026-07'])
  })

  it('changes the pay day by form', async () => {
    const headers = { 'x-postern-assertion': await assertion() }
    const change = (day: string) =>
      fetch(`${payroll.origin}/admin/pay-day`, { method: 'POST', headers, body: new URLSearchParams({ day }), redirect: 'manual' })
    expect((await change('27')).status).toBe(303)
    expect(await (await fetch(`${payroll.origin}/admin/`, { headers })).text()).toContain('value="27"')
    expect((await change('31')).status).toBe(400)
  })

  it('says 503 while the keys cannot be fetched, and lets nobody in', async () => {
    const lonely = await startPayroll(0, { issuer: new URL('http://127.0.0.1:9'), audience, now: Date.now })
    const answer = await fetch(`${lonely.origin}/api/runs`, { headers: { 'x-postern-assertion': await assertion() } })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toEqual({ error: 'assertion_keys_unavailable' })
    await lonely.close()
  })
})

interface Claims {
  key?: CryptoKey
  issuer?: string
  audience?: string
  type?: string
  secondsAgo?: number
}

function assertion(claims: Claims = {}): Promise<string> {
  const iat = Math.floor(Date.now() / 1000) - (claims.secondsAgo ?? 0)
  return new SignJWT({ email: 'bob@corp.example', preferred_username: 'bob', groups: ['finance'] })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: claims.type ?? 'postern+jwt' })
    .setIssuer(claims.issuer ?? issuer.origin)
    .setAudience(claims.audience ?? audience)
    .setSubject('bob')
    .setJti(String(iat))
    .setIssuedAt(iat)
    .setExpirationTime(iat + 300)
    .sign(claims.key ?? signingKey)
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
