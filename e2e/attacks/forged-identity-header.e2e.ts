/**
 * Headers that claim to be somebody: identity headers in every spelling, forwarding headers, device and certificate headers, and
 * `Connection` used to make ours disappear. Judged by the header lines that reach the upstream.
 */

import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import type { SeenRequest } from '../support/upstream.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

const canonical = (name: string) => name.toLowerCase().replaceAll('_', '-')
const identityNames = [
  'x-forwarded-user',
  'x-forwarded-email',
  'x-forwarded-groups',
  'x-forwarded-preferred-username',
  'x-postern-assertion',
]

describe('forged identity headers', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  /** Sends as bob and returns what the upstream saw; `undefined` if it was refused. */
  async function sendAsBob(headers: readonly string[], line = 'GET /ok HTTP/1.1'): Promise<SeenRequest | undefined> {
    rig.upstream('app').reset()
    await sendLine(rig, line, [`Host: app.corp.localhost:${rig.port}`, ...headers, `Cookie: ${bob}`])
    return rig.upstream('app').requests()[0]
  }

  /** One line for each identity header, with bob's values. */
  function mustBeBob(seen: SeenRequest | undefined): string {
    if (seen === undefined) return 'refused'
    const lines = seen.headers.filter(([name]) => identityNames.includes(canonical(name)))
    expect(lines.map(([name]) => name.toLowerCase()).sort()).toEqual([...identityNames].sort())
    expect(Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]))).toMatchObject({
      'x-forwarded-user': 'bob',
      'x-forwarded-email': 'bob@corp.example',
      'x-forwarded-groups': 'staff,finance',
      'x-forwarded-preferred-username': 'bob',
    })
    return 'only bob arrived'
  }

  const forged = [
    'X-Forwarded-User: root',
    'X-Forwarded-Email: root@corp.test',
    'X-Forwarded-Groups: admins',
    'X-Forwarded-Preferred-Username: root',
    'X-Postern-Assertion: eyJ.e30.x',
  ]

  attack('A15', 'HDR', 'identity headers under our names', async () =>
    mustBeBob(await sendAsBob([...forged, 'X-Forwarded-Access-Token: x'])),
  )
  attack('A16', 'HDR', 'thirty spellings of the same names', async () => {
    const spellings = identityNames.flatMap((name) => [
      name.toUpperCase(),
      name.replaceAll('-', '_'),
      name.toUpperCase().replaceAll('-', '_'),
      name.replace('-', '_'),
      name.replace(/-([^-]*)$/, '_$1'),
      name.replace(/(^|-)(\w)/g, (_all, dash: string, letter: string) => dash + letter.toUpperCase()),
    ])
    const outcomes: string[] = []
    for (const name of spellings) {
      const seen = await sendAsBob([`${name}: root`])
      expect(seen?.headers.filter(([, value]) => value === 'root')).toEqual([])
      outcomes.push(mustBeBob(seen))
    }
    expect(spellings.length).toBeGreaterThanOrEqual(30)
    return summarise(outcomes)
  })
  attack('A18', 'HDR', 'duplicates around Host', async () => {
    rig.upstream('app').reset()
    await sendLine(rig, 'GET /ok HTTP/1.1', [
      'X-Forwarded-User: u1',
      `Host: app.corp.localhost:${rig.port}`,
      'X-Forwarded-User: u2',
      `Cookie: ${bob}`,
    ])
    expect(rig.upstream('app').bytes()).not.toMatch(/u1|u2/)
    return mustBeBob(rig.upstream('app').requests()[0])
  })
  attack('A21', 'HDR', 'Connection names our headers', async () => {
    const seen = await sendAsBob([
      ...forged,
      'Connection: close, X-Forwarded-User, X-Forwarded-For, X-Postern-Assertion, X-Forwarded-Groups',
    ])
    expect(seen?.headers.some(([name]) => name.toLowerCase() === 'x-forwarded-for')).toBe(true)
    return mustBeBob(seen)
  })
  attack('A23', 'HDR', 'Connection names fields that carry framing, host or credentials', async () => {
    const outcomes: string[] = []
    for (const nominated of ['host', 'cookie, authorization', 'Cookie', 'content-length', 'transfer-encoding', 'authorization']) {
      rig.upstream('app').reset()
      const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [`Connection: ${nominated}`, `Cookie: ${bob}`])
      outcomes.push(mustBeRefused(rig, answer, `Connection: ${nominated}`))
      expect(answer.statuses[0]).toBe(400)
    }
    const ours = await sendAsBob(['Connection: x-forwarded-proto, x-request-id, x-forwarded-host'])
    for (const name of ['x-forwarded-proto', 'x-request-id', 'x-forwarded-host'])
      expect(ours?.headers.filter(([key]) => key.toLowerCase() === name)).toHaveLength(1)
    return `${summarise(outcomes)}; ours arrive once`
  })
  attack('A24', 'HDR', 'headers that name another target', async () => {
    const outcomes: string[] = []
    for (const name of [
      'X-Forwarded-Uri',
      'X-Original-URL',
      'X-Rewrite-URL',
      'X-Original-URI',
      'X-Forwarded-Path',
      'X-Envoy-Original-Path',
    ]) {
      rig.upstream('app').reset()
      const answer = await sendLine(rig, 'GET /admin/secret HTTP/1.1', [`${name}: /public/x`, `Cookie: ${bob}`])
      outcomes.push(mustBeRefused(rig, answer, name))
      const seen = await sendAsBob([`${name}: /admin/secret`])
      expect(seen?.headers.filter(([, value]) => value === '/admin/secret')).toEqual([])
    }
    return summarise(outcomes)
  })
  attack('A26', 'HDR', 'client address headers from a peer that is no trusted proxy', async () => {
    const seen = await sendAsBob([
      'X-Forwarded-For: 10.0.0.5',
      'X-Real-IP: 10.0.0.5',
      'True-Client-IP: 10.0.0.5',
      'CF-Connecting-IP: 10.0.0.5',
      'Forwarded: for=10.0.0.5',
    ])
    expect(JSON.stringify(seen?.headers)).not.toContain('10.0.0.5')
    expect(seen?.headers.find(([name]) => name.toLowerCase() === 'x-forwarded-for')?.[1]).toBe('127.0.0.1')
    await waitFor(async () => (await rig.audit()).length > 0)
    for (const line of await rig.audit()) expect(line['address'] ?? '127.0.0.1').toBe('127.0.0.1')
    return 'the socket address is upstream and in the audit'
  })
  attack('A29', 'HDR', 'scheme, port and host headers have no effect', async () => {
    const outcomes: string[] = []
    for (const header of [
      'X-Forwarded-Proto: https',
      'X-Forwarded-Proto: https, javascript',
      'X-Forwarded-Port: 1',
      `X-Forwarded-Host: wiki.corp.localhost:${rig.port}`,
    ]) {
      const anonymous = await sendLine(rig, 'GET /ok HTTP/1.1', [header, 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'])
      const location = /^location: (.*)$/im.exec(anonymous.text)?.[1]?.trim() ?? ''
      expect(new URL(location).origin).toBe(rig.origin('access'))
      outcomes.push(mustBeBob(await sendAsBob([header])))
      const seen = rig.upstream('app').requests()[0]
      expect(seen?.headers.find(([name]) => name.toLowerCase() === 'x-forwarded-proto')?.[1]).toBe('http')
      expect(seen?.headers.find(([name]) => name.toLowerCase() === 'x-forwarded-host')?.[1]).toBe(`app.corp.localhost:${rig.port}`)
    }
    return summarise(outcomes)
  })
  attack('A30', 'HDR', 'no header of ours means anything when a client sends it', async () => {
    const outcomes: string[] = []
    for (const name of [
      'X-Postern',
      'X-Postern-Request',
      'X-Postern-Session',
      'Postern-Authorization',
      'X-Request-Id',
      'X-Internal-Auth',
      'X-Middleware-Subrequest',
      'X-Authenticated',
    ]) {
      rig.upstream('app').reset()
      const answer = await sendLine(rig, 'GET /admin/secret HTTP/1.1', Array<string>(5).fill(`${name}: 1`))
      outcomes.push(mustBeRefused(rig, answer, name))
    }
    return summarise(outcomes)
  })
  attack('A31', 'HDR', 'device and client certificate headers', async () => {
    const headers = [
      'X-SSL-Client-Verify: SUCCESS',
      'X-SSL-Client-Cert: abc',
      'X-Client-Cert-Fingerprint: abc',
      'X-Device-Id: dev-alice',
      'X-Device-Posture: managed',
      'Client-Cert: :YWJj:',
      'X-Forwarded-Client-Cert: Hash=abc',
    ]
    const seen = await sendAsBob(headers)
    for (const header of headers)
      expect(seen?.headers.map(([name]) => name.toLowerCase())).not.toContain(header.split(':')[0]?.toLowerCase())
    return mustBeBob(seen)
  })
  attack('A35', 'HDR', 'our cookies stay here', async () => {
    const seen = await sendAsBob(['Cookie: theme=dark', 'Cookie: postern-login-abc=sealed; a=b; __Host-postern=x; __Host-postern-app=y'])
    const cookies =
      seen?.headers
        .filter(([name]) => name.toLowerCase() === 'cookie')
        .map(([, value]) => value)
        .join('; ') ?? ''
    expect(cookies).not.toContain('postern')
    return seen === undefined ? 'refused' : `upstream saw: ${cookies}`
  })
  attack('A38', 'HDR', 'an assertion is for one app', async () => {
    const seen = await sendAsBob([])
    const token = seen?.headers.find(([name]) => name.toLowerCase() === 'x-postern-assertion')?.[1] ?? ''
    const keys = createRemoteJWKSet(new URL(`${rig.origin('app')}/.postern/jwks.json`), {
      [customFetch]: async (url: string) => {
        const answer = await new Client().send(url, { as: 'fetch' })
        return new Response(answer.body, { status: answer.status, headers: { 'content-type': 'application/json' } })
      },
    })
    const expected = { issuer: rig.origin('access'), audience: rig.origin('app'), typ: 'postern+jwt', algorithms: ['ES256'] }
    const { payload } = await jwtVerify(token, keys, expected)
    expect(payload).toMatchObject({ sub: 'bob', email: 'bob@corp.example', groups: ['staff', 'finance'] })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBeLessThanOrEqual(300)
    await expect(jwtVerify(token, keys, { ...expected, audience: rig.origin('wiki') })).rejects.toThrow(/aud/)
    await expect(jwtVerify(token, keys, { ...expected, currentDate: new Date(Date.now() + 301_000) })).rejects.toThrow(/exp/)
    const [head, body, signature] = token.split('.')
    const altered = Buffer.from(JSON.stringify({ ...payload, sub: 'alice' })).toString('base64url')
    await expect(jwtVerify(`${head}.${altered}.${signature}`, keys, expected)).rejects.toThrow(/signature/)
    expect(body).not.toBe(altered)
    return 'verifies here; fails for another audience, after 5 minutes, altered'
  })
})
