/** Operations over the API, over real HTTP through the whole control plane: who is let in, what is taken, what is answered. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Asker } from '../../administration/asker.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import type { TokenPermission } from '../../administration/token-scope.ts'
import { createTokens, type TokenRecord, type Tokens } from '../../administration/tokens.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace, silentLog } from '../../session/session.fixture.ts'
import { type AccessHost, type Answer, startAccessHost } from '../control-plane.fixture.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { type AnyOperation, defineOperation, done, refused } from '../operations/operation.ts'

let place: StorePlace
let host: AccessHost
let tokens: Tokens
const texts = new Map<string, string>()
const given: { readonly input: unknown; readonly asker: Asker }[] = []

const output = z.strictObject({ ok: z.literal(true) })
const common = { summary: 's', description: 'd', output, problems: [] }
const take = async (input: unknown, asker: Asker) => {
  given.push({ input, asker })
  return done({ ok: true as const })
}
const operations: readonly AnyOperation[] = [
  defineOperation({
    ...common,
    id: 'things.get',
    method: 'GET',
    path: '/things/{id}',
    permission: 'people:read',
    input: z.strictObject({ id: z.string(), limit: z.coerce.number().int().default(5) }),
    carryOut: take,
  }),
  defineOperation({
    ...common,
    id: 'things.search',
    method: 'GET',
    path: '/things/search',
    permission: 'people:read',
    input: z.strictObject({}),
    carryOut: take,
  }),
  defineOperation({
    ...common,
    id: 'things.change',
    method: 'PUT',
    path: '/things/{id}',
    permission: 'devices:write',
    input: z.strictObject({ id: z.string(), name: z.string().max(20) }),
    carryOut: take,
  }),
  defineOperation({
    ...common,
    id: 'things.refuse',
    method: 'POST',
    path: '/things/{id}/refuse',
    permission: 'devices:write',
    input: z.strictObject({ id: z.string() }),
    problems: ['conflict'],
    carryOut: async () => refused('conflict', 'Somebody was faster.', { head: 7, error: 'overwritten', request_id: 'overwritten' }),
  }),
  defineOperation({
    ...common,
    id: 'things.leak',
    method: 'GET',
    path: '/leak',
    permission: 'people:read',
    input: z.strictObject({}),
    carryOut: async () => done({ ok: true, secret: 'sesame' } as unknown as { ok: true }),
  }),
  defineOperation({
    ...common,
    id: 'things.leak_within',
    method: 'GET',
    path: '/leak/within',
    permission: 'people:read',
    input: z.strictObject({}),
    output: z.strictObject({ thing: z.object({ name: z.string() }) }),
    carryOut: async () => done({ thing: { name: 'n', secret: 'sesame' } }),
  }),
  defineOperation({
    ...common,
    id: 'things.many',
    method: 'POST',
    path: '/many',
    permission: 'devices:write',
    input: z.strictObject({ names: z.array(z.string()) }),
    carryOut: take,
  }),
]

beforeAll(async () => {
  place = await openEmbeddedPlace()
  const ring = createTestRing()
  const records = createDurableRecords<TokenRecord>('token', { store: place.store, keys: () => ring, log: silentLog })
  tokens = createTokens({ records, now: place.clock.now, monotonicNow: place.clock.now, record: () => undefined })
  for (const permission of ['people:read', 'devices:write', 'devices:report'] satisfies TokenPermission[]) {
    texts.set(
      permission,
      (await tokens.create({ name: permission, scopes: [{ permission }], lifetimeSeconds: 3600 }, 'os:admin@test')).text,
    )
  }
  host = await startAccessHost({ api: { operations, carryOut: createCarryOut(), tokens, version: '1.2.3', refusalsPerMinute: 200 } })
})
afterAll(async () => {
  await host.close()
  await place.close()
})
beforeEach(() => {
  given.length = 0
})

function ask(method: string, path: string, permission?: string, body?: unknown): Promise<Answer> {
  return askWith({}, { method, path, permission, body })
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly permission?: string | undefined
  readonly body?: unknown
}

function askWith(more: Record<string, string>, { body, method, path, permission }: Asked): Promise<Answer> {
  const headers: Record<string, string> = {
    ...(permission === undefined ? {} : { authorization: `Bearer ${texts.get(permission)}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...more,
  }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return host.browser().visit(`/api/v1${path}`, { method, headers, ...(body === undefined ? {} : { body: text }) })
}
const change = (body: unknown): Asked => ({ method: 'PUT', path: '/things/a', permission: 'devices:write', body })
const read = ({ body, status }: Answer) => [status, JSON.parse(body) as Record<string, unknown>]

describe('an operation over the API', () => {
  it('is carried out for a token with its scope, with path and query as one input', async () => {
    expect(read(await ask('GET', '/things/a%2Fb?limit=9', 'people:read'))).toEqual([200, { ok: true }])
    expect(given).toMatchObject([
      {
        input: { id: 'a/b', limit: 9 },
        asker: { actor: expect.stringMatching(/^token:/), label: 'people:read', subject: undefined, roles: [] },
      },
    ])
  })

  it.each([
    ['GET', '/things/a', 'people:read', undefined],
    ['PUT', '/things/a', 'devices:write', { name: 'n' }],
    ['POST', '/things/a/refuse', 'devices:write', undefined],
  ])('%s %s is refused without a token, with a wrong one, and with another scope', async (method, path, permission, body) => {
    expect(read(await ask(method, path, undefined, body))).toMatchObject([401, { error: 'token_required' }])
    const wrong = await askWith({ authorization: 'Bearer pst_nobody' }, { method, path, body })
    expect(read(wrong)).toMatchObject([401, { error: 'invalid_token' }])
    for (const other of texts.keys()) {
      if (other === permission) continue
      const answer = await ask(method, path, other, body)
      expect(read(answer)).toMatchObject([403, { error: 'not_permitted' }])
      expect(answer.headers['www-authenticate']).toContain(permission)
    }
    expect(given).toEqual([])
  })

  it('is not helped by a session: cookies prove nothing here', async () => {
    const browser = host.browser()
    await browser.signIn()
    const answer = await browser.visit('/api/v1/things/a', { headers: { 'sec-fetch-site': 'same-origin' } })
    expect(answer.status).toBe(401)
  })

  it.each(['cross-site', 'same-site'])('is refused where the page of another host asks in the background (%s)', async (site) => {
    const answer = await askWith({ 'sec-fetch-site': site, 'sec-fetch-mode': 'cors' }, change({ name: 'n' }))
    expect([answer.status, answer.headers['x-postern']]).toEqual([403, 'cross_origin'])
    expect(given).toEqual([])
  })

  it.each([
    ['no JSON', '{'],
    ['a list', []],
    ['a key besides', { name: 'n', force: true }],
    ['a name that is too long', { name: 'n'.repeat(21) }],
    ['what stands in the path', { id: 'b', name: 'n' }],
    ['a prototype', '{"name":"n","__proto__":{"x":1}}'],
    ['a name twice', '{"name":"n","name":"m"}'],
    ['nothing', undefined],
  ])('takes no body with %s', async (_, body) => {
    expect(read(await ask('PUT', '/things/a', 'devices:write', body))).toMatchObject([400, { error: 'malformed' }])
    expect(given).toEqual([])
  })

  it('takes no parameter twice, and none that it does not know', async () => {
    expect((await ask('GET', '/things/a?limit=1&limit=2', 'people:read')).status).toBe(400)
    expect((await ask('GET', '/things/a?other=1', 'people:read')).status).toBe(400)
    expect((await ask('GET', '/things/a?id=b', 'people:read')).status).toBe(400)
    expect(given).toEqual([])
  })

  it('takes no list that is longer than that of any order, whatever its own form says', async () => {
    const many = (count: number) => ask('POST', '/many', 'devices:write', { names: Array.from({ length: count }, () => 'n') })
    expect((await many(2_000)).status).toBe(200)
    given.length = 0
    expect(read(await many(2_001))).toMatchObject([400, { error: 'malformed', message: 'A list is too long.' }])
    expect(given).toEqual([])
  })

  it('looks at no body of a token without its scope', async () => {
    for (const body of ['{', { name: 'n'.repeat(70_000) }]) {
      expect(read(await ask('PUT', '/things/a', 'people:read', body))).toMatchObject([403, { error: 'not_permitted' }])
    }
  })

  it('takes no form, no compressed body and no body that is too long', async () => {
    const as = (type: string) => ({ 'content-type': type })
    expect((await askWith(as('application/x-www-form-urlencoded'), change('name=n'))).status).toBe(415)
    expect((await askWith(as('text/plain'), change('{"name":"n"}'))).status).toBe(415)
    expect((await ask('PUT', '/things/a', 'devices:write', { name: 'n'.repeat(70_000) })).status).toBe(413)
    const compressed = await askWith({ 'content-encoding': 'gzip' }, change({ name: 'n' }))
    expect(compressed.status).toBeGreaterThanOrEqual(400)
    expect(given).toEqual([])
  })

  it('is found before one whose parameter would take its name, and no other method is', async () => {
    await ask('GET', '/things/search', 'people:read')
    expect(given).toMatchObject([{ input: {} }])
    const answer = await ask('DELETE', '/things/a', 'devices:write')
    expect([answer.status, answer.headers.allow]).toEqual([405, 'GET, HEAD, PUT'])
  })

  it('answers a refusal with its word and detail, which never stand in place of what we say', async () => {
    const answer = await ask('POST', '/things/a/refuse', 'devices:write')
    expect(answer.headers['x-postern']).toBe('conflict')
    const [status, body] = read(answer)
    expect([status, body]).toMatchObject([409, { error: 'conflict', message: 'Somebody was faster.', head: 7 }])
    expect((body as { request_id: string }).request_id).toMatch(/^request-/)
  })

  it('hands nothing out that it does not state', async () => {
    const answer = await ask('GET', '/leak', 'people:read')
    expect(answer.status).toBe(500)
    expect(answer.body).not.toContain('sesame')
    // A form that is not strict takes more than it states, and lets no more through.
    expect(read(await ask('GET', '/leak/within', 'people:read'))).toEqual([200, { thing: { name: 'n' } }])
  })
})

describe('/api/v1/openapi.json', () => {
  it('describes every operation, for anybody, and takes no other method', async () => {
    const answer = await ask('GET', '/openapi.json')
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8'])
    const { info, openapi, paths } = JSON.parse(answer.body) as {
      openapi: string
      info: { version: string }
      paths: Record<string, object>
    }
    expect([openapi, info.version]).toEqual(['3.1.1', '1.2.3'])
    const described = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
    expect(described.sort()).toEqual(operations.map(({ method, path }) => `${method.toLowerCase()} /api/v1${path}`).sort())
    expect((await ask('POST', '/openapi.json', undefined, {})).status).toBe(405)
  })
})
