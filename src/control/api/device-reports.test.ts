/** `POST /api/v1/devices/{id}/reports` as machines use it, over real HTTP through the whole control plane. */

import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createSigningKey,
  createTestInventory,
  reportClaims,
  type SigningKey,
  signAs,
  type TestInventory,
} from '../../administration/devices.fixture.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import { createTokens, type TokenRecord, type Tokens } from '../../administration/tokens.ts'
import { createTestRing, silentLog } from '../../session/session.fixture.ts'
import { type AccessHost, type Answer, startAccessHost } from '../control-plane.fixture.ts'

let inventory: TestInventory
let host: AccessHost
let tokens: Tokens
let key: SigningKey
let token: string
let limitedToken: string

beforeAll(async () => {
  inventory = createTestInventory()
  const ring = createTestRing()
  const records = createDurableRecords<TokenRecord>('token', { store: inventory.store, keys: () => ring, log: silentLog })
  tokens = createTokens({ records, now: inventory.clock.now, monotonicNow: inventory.clock.now, record: () => undefined })
  token = (await tokens.create({ name: 'mdm', scopes: [{ permission: 'devices:report' }], lifetimeSeconds: 3600 }, 'os:admin@test')).text
  const limited = { name: 'one', scopes: [{ permission: 'devices:report' as const, devices: ['laptop-8'] }], lifetimeSeconds: 3600 }
  limitedToken = (await tokens.create(limited, 'os:admin@test')).text
  key = createSigningKey('ES256')
  await inventory.add({ id: 'laptop-7', publicKey: key.publicPem })
  await inventory.add({ id: 'laptop-8' })
  host = await startAccessHost({ deviceReports: { reports: inventory.reports, tokens, refusalsPerMinute: 100 } })
})
afterAll(async () => {
  await host.close()
  await inventory.close()
})

const now = () => inventory.clock.now()
const signed = (changes: Record<string, unknown> = {}) => {
  inventory.clock.move(1000)
  return signAs(key, reportClaims('laptop-7', now(), { disk_encrypted: true }, changes))
}
const management = (posture: object = { disk_encrypted: true }) => JSON.stringify({ observed_at: new Date(now()).toISOString(), posture })

function post(body: string, headers: Record<string, string> = { 'content-type': 'application/jose' }, id = 'laptop-7'): Promise<Answer> {
  return host.browser().visit(`/api/v1/devices/${id}/reports`, { method: 'POST', headers, body })
}
const withToken = (text: string) => ({ 'content-type': 'application/json', authorization: `Bearer ${text}` })

describe('a report', () => {
  it('signed by the device is accepted with no cookie, origin or fetch metadata, and answered in JSON that nobody keeps', async () => {
    const answer = await post(signed())
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toEqual({
      device: 'laptop-7',
      observed_at: new Date(now()).toISOString(),
      accepted: ['disk_encrypted'],
      outdated: [],
    })
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.headers['access-control-allow-origin']).toBeUndefined()
    expect(answer.headers['x-postern-request']).toBeDefined()
  })

  it('of a management system is accepted with its token', async () => {
    const answer = await post(management(), withToken(token))
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([200, { accepted: ['disk_encrypted'] }])
  })

  it.each([
    [
      'once more',
      409,
      'not_newer',
      async () => {
        const jws = signed()
        await post(jws)
        return post(jws)
      },
    ],
    ['with a wrong signature', 401, 'not_verified', () => post(signed().slice(0, -4).concat('AAAA'))],
    ['for a device that is not there', 401, 'not_verified', () => post(signed(), undefined, 'laptop-99')],
    ['for an id that cannot be', 401, 'not_verified', () => post(signed(), undefined, '%2e%2e%2flaptop-7')],
    ['to another gateway', 401, 'wrong_audience', () => post(signed({ aud: 'https://other.example' }))],
    ['about another device', 401, 'wrong_device', () => post(signed({ sub: 'laptop-8' }))],
    ['too old', 401, 'not_current', () => post(signed({ iat: now() / 1000 - 400 }))],
    ['of no known form', 400, 'malformed', () => post(signed({ posture: { disc: true } }))],
    ['in JSON with no token', 401, 'token_required', () => post(management(), { 'content-type': 'application/json' })],
    ['in JSON with a signature for a token', 401, 'invalid_token', () => post(management(), withToken(signed()))],
    ['with a token of nobody', 401, 'invalid_token', () => post(management(), withToken(`${token.slice(0, -1)}x`))],
    ['with a token for another device', 403, 'not_permitted', () => post(management(), withToken(limitedToken))],
    ['by a token, for a device that is not there', 404, 'unknown_device', () => post(management(), withToken(token), 'laptop-99')],
    ['by a token, of no known form', 400, 'malformed', () => post('{}', withToken(token))],
    ['as a form', 415, 'unsupported_type', () => post('a=b', { 'content-type': 'application/x-www-form-urlencoded' })],
    ['as text, the way a page could send it', 415, 'unsupported_type', () => post(signed(), { 'content-type': 'text/plain' })],
    ['with nothing', 401, 'not_verified', () => post('')],
  ])('%s is %d %s', async (_what, status, error, send) => {
    const answer = await send()
    expect([answer.status, answer.headers['x-postern'], (JSON.parse(answer.body) as { error: string }).error]).toEqual([
      status,
      error,
      error,
    ])
    expect(answer.headers['www-authenticate'] !== undefined).toBe(status === 401 || error === 'not_permitted')
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  it('says the same of a device that is not there and of a wrong signature', async () => {
    const bodies = await Promise.all([post(signed(), undefined, 'laptop-99'), post(signed().slice(0, -4).concat('AAAA'))])
    const [one, other] = bodies.map(({ body, headers, status }) => {
      const { request_id: _id, ...rest } = JSON.parse(body) as Record<string, unknown>
      return { status, rest, type: headers['content-type'], length: headers['content-length'] }
    })
    expect(one).toEqual(other)
  })

  it('says what is wrong with its form, and repeats no value', async () => {
    const answer = await post(signed({ posture: { disk_encrypted: 'sesame', os_version: 14 } }))
    expect(JSON.parse(answer.body)).toMatchObject({
      problems: [expect.stringContaining('posture.disk_encrypted'), expect.stringContaining('posture.os_version')],
    })
    expect(answer.body).not.toContain('sesame')
  })

  it('of more than 16 KiB is refused, also where it says it is compressed', async () => {
    expect((await post('x'.repeat(16_385))).status).toBe(413)
    const compressed = await host.browser().visit('/api/v1/devices/laptop-7/reports', {
      method: 'POST',
      headers: { 'content-type': 'application/jose', 'content-encoding': 'gzip' },
      body: gzipSync(signed()),
    })
    expect(compressed.status).toBe(400)
  })

  it('is posted, and nothing else', async () => {
    const answer = await host.browser().visit('/api/v1/devices/laptop-7/reports', { headers: { accept: 'application/json' } })
    expect([answer.status, answer.headers.allow]).toEqual([405, 'POST'])
  })

  it('is not helped by a session: cookies prove nothing here', async () => {
    const browser = host.browser()
    await browser.signIn()
    const answer = await browser.visit('/api/v1/devices/laptop-7/reports', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
      body: management(),
    })
    expect(answer.status).toBe(401)
  })

  it.each(['cross-site', 'same-site'])('is refused before it is counted where the page of another host sends it (%s)', async (site) => {
    const headers = { 'content-type': 'application/jose', 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors' }
    expect((await post(signed(), headers)).headers['x-postern']).toBe('cross_origin')
  })

  it('is 503 while the store is away', async () => {
    const other = createTestInventory()
    const away = await startAccessHost({ deviceReports: { reports: other.reports, tokens } })
    await other.close()
    const answer = await away.browser().visit('/api/v1/devices/a/reports', {
      method: 'POST',
      headers: { 'content-type': 'application/jose' },
      body: signed(),
    })
    await away.close()
    expect([answer.status, answer.headers['x-postern']]).toEqual([503, 'session_store_unavailable'])
  })
})

it('A241b: guesses are turned away, and never keep a right report from the same address out', async () => {
  const statuses = new Set<number>()
  for (let i = 0; i < 120; i++) statuses.add((await post(management(), withToken(`pst_${i}`))).status)
  expect([...statuses]).toEqual([401, 429])
  const refused = await post(management(), withToken('pst_x'))
  expect([refused.status, Number(refused.headers['retry-after']) > 0]).toEqual([429, true])
  expect((await post(signed())).status).toBe(200)
  expect((await post(management(), withToken(token))).status).toBe(200)
})
