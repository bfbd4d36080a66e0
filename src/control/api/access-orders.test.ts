/** Locks and sessions over the API, as programs use it, over real HTTP through the whole control plane; and the page of an emergency sign-in. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { AccessOrders, LockOrder } from '../../administration/access-orders.ts'
import type { BreakGlassDoor, BreakGlassEntry } from '../../administration/break-glass.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import type { AdministeredSessions } from '../../administration/sessions.ts'
import { type AccessPermission, accessPermissions } from '../../administration/token-scope.ts'
import { createTokens, type TokenRecord } from '../../administration/tokens.ts'
import { readBareEnvironment } from '../../attributes/environment-facts.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { PosternError } from '../../errors.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace, signedInAs, silentLog } from '../../session/session.fixture.ts'
import { type AccessHost, type Answer, startAccessHost } from '../control-plane.fixture.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createLocksOperations } from '../operations/locks.ts'
import { createSessionsOperations } from '../operations/sessions.ts'

let place: StorePlace
let host: AccessHost
const tokens = new Map<AccessPermission, string>()
const given: unknown[] = []
const code = 'c'.repeat(43)
let entry: BreakGlassEntry
let isOvertaken = false

const lock = { on: 'subject' as const, target: 'bob', label: 'bob', since: '2026-11-22T08:00:00.000Z', until: null, reason: 'r', by: 'b' }
const orders: AccessOrders = {
  lock: async (order: LockOrder, actor) => {
    given.push({ order, actor })
    if (order.name === 'shared@corp.example')
      return { outcome: 'refused', problem: 'subject_ambiguous', message: 'several', matches: ['a', 'b'] }
    return { outcome: 'done', value: lock }
  },
  unlock: async (order, actor) => {
    given.push({ order, actor })
    return { outcome: 'refused', problem: 'not_locked', message: 'is not locked' }
  },
  async *listLocks() {
    yield lock
  },
  listSessions: async (subject) => {
    given.push({ subject })
    return { outcome: 'done', value: (async function* () {})() }
  },
  revoke: async (order, actor) => {
    given.push({ order, actor })
    return { outcome: 'done', value: { revoked: ['x'], ended_before: [], unknown: [] } }
  },
}
const neverRead = { readAt: undefined, isReading: false, people: 0, sessions: 0, isCut: false }
/** Sessions that nobody has: whose they are is not what is asked here. */
const noSessions: AdministeredSessions = {
  async *list() {},
  findByHash: async () => undefined,
  findOwner: async () => undefined,
  listOrigins: async () => [],
  revoke: async () => ({ revoked: [], endedBefore: [], unknown: [] }),
  revokeSubject: async () => [],
  revokeMatching: async () => [],
}
const recorded: AuditEvent[] = []
let isOnDisk = true
const grant = { issuer: 'https://op', sub: 'bob', email: 'bob@corp.example', name: '<b>Bob</b>', seconds: 1800, issuedAt: 0 }
const breakGlass: BreakGlassDoor = {
  find: async (shown) => (shown === code ? grant : undefined),
  spend: async (shown) => {
    given.push({ spent: shown })
    return shown === code ? entry : { outcome: 'unknown' }
  },
  isOvertaken: async () => isOvertaken,
}

beforeAll(async () => {
  place = await openEmbeddedPlace()
  const ring = createTestRing()
  const records = createDurableRecords<TokenRecord>('token', { store: place.store, keys: () => ring, log: silentLog })
  const all = createTokens({ records, now: place.clock.now, monotonicNow: place.clock.now, record: () => undefined })
  for (const permission of accessPermissions) {
    tokens.set(permission, (await all.create({ name: permission, scopes: [{ permission }], lifetimeSeconds: 3600 }, 'os:admin@test')).text)
  }
  const recordFirst = async (event: AuditEvent) => {
    recorded.push(event)
    if (!isOnDisk) throw new PosternError('audit_unavailable', 'the test took the disk away')
  }
  const people = { findPeople: async () => [], findPerson: async () => undefined }
  const protection = { isProtected: async () => false, isProtectedPerson: async () => false }
  const locks = createLocksOperations({
    ...{ orders, people, protection, issuers: ['https://op'] },
    devices: { find: async () => undefined },
    deviceProtection: { isProtectedDevice: async () => false },
    names: () => ({ apps: new Set(), services: new Set() }),
  })
  const sessions = createSessionsOperations({
    ...{ orders, people, protection, recordFirst, issuers: ['https://op'], apps: () => [], readEnvironment: readBareEnvironment },
    directory: { ready: async () => undefined, sessions: async () => ({ entries: [], next: undefined, total: 0 }), state: () => neverRead },
    sessions: noSessions,
  })
  const operations = [...Object.values(locks), ...Object.values(sessions)]
  const api = { operations, carryOut: createCarryOut(), tokens: all, version: '0', refusalsPerMinute: 100 }
  host = await startAccessHost({ api, breakGlass })
})
afterAll(async () => {
  await host.close()
  await place.close()
})
beforeEach(() => {
  given.length = 0
  recorded.length = 0
  isOnDisk = true
  isOvertaken = false
  entry = { outcome: 'entered', signedIn: signedInAs('bob', { tokens: { idToken: '', accessToken: '', refreshToken: undefined } }), grant }
})

function ask(method: string, path: string, permission?: AccessPermission, body?: unknown): Promise<Answer> {
  const headers: Record<string, string> = {
    ...(permission === undefined ? {} : { authorization: `Bearer ${tokens.get(permission)}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return host.browser().visit(path, { method, headers, ...(body === undefined ? {} : { body: text }) })
}
const paths: [string, string, AccessPermission, unknown][] = [
  ['GET', '/api/v1/locks', 'locks:read', undefined],
  ['POST', '/api/v1/locks', 'locks:write', { on: 'subject', name: 'bob', reason: 'left', until: '8h' }],
  ['DELETE', '/api/v1/locks/subject/bob', 'locks:write', { reason: 'back' }],
  ['GET', '/api/v1/sessions', 'sessions:read', undefined],
  ['POST', '/api/v1/sessions/revoke', 'sessions:revoke', { subject: 'bob' }],
]

describe('the API that cuts people off', () => {
  it.each(paths)('%s %s asks for its one permission', async (method, path, permission, body) => {
    expect((await ask(method, path, permission, body)).status).toBe(method === 'DELETE' ? 404 : 200)
    given.length = 0
    const without = await ask(method, path, undefined, body)
    expect([without.status, without.headers['www-authenticate']]).toEqual([401, 'Bearer'])
    for (const other of accessPermissions.filter((one) => one !== permission)) {
      const answer = await ask(method, path, other, body)
      expect([answer.status, JSON.parse(answer.body)]).toMatchObject([403, { error: 'not_permitted' }])
      expect(answer.headers['www-authenticate']).toContain(permission)
    }
    expect(given).toEqual([])
  })

  it('hands an order on whole, with the token as actor, and answers in JSON that nobody keeps', async () => {
    const answer = await ask('POST', '/api/v1/locks', 'locks:write', { on: 'subject', name: 'bob', reason: 'left', until: '8h' })
    expect(JSON.parse(answer.body)).toEqual(lock)
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(given).toEqual([
      { order: { on: 'subject', name: 'bob', reason: 'left', until: '8h' }, actor: expect.stringMatching(/^token:[0-9A-Za-z]{12}$/) },
    ])
    await ask('DELETE', '/api/v1/locks/subject/bob%40corp.example', 'locks:write', { reason: 'back' })
    expect(given[1]).toMatchObject({ order: { on: 'subject', name: 'bob@corp.example', reason: 'back' } })
    await ask('GET', '/api/v1/sessions?subject=bob', 'sessions:read')
    expect(given[2]).toEqual({ subject: 'bob' })
  })

  it('says nothing of sessions until it is on record that they were asked for', async () => {
    expect((await ask('GET', '/api/v1/sessions?subject=bob', 'sessions:read')).status).toBe(200)
    const actor = expect.stringMatching(/^token:[0-9A-Za-z]{12}$/)
    expect(recorded).toEqual([{ event: 'data.read', actor, what: 'sessions', target: 'bob', entries: 0 }])
    isOnDisk = false
    const answer = await ask('GET', '/api/v1/sessions', 'sessions:read')
    expect([answer.status, answer.headers['x-postern']]).toEqual([503, 'audit_unavailable'])
    expect(answer.body).not.toContain('sessions')
  })

  it('says whom an address may mean', async () => {
    const answer = await ask('POST', '/api/v1/locks', 'locks:write', { on: 'subject', name: 'shared@corp.example', reason: 'r' })
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([409, { error: 'subject_ambiguous', matches: ['a', 'b'] }])
  })

  it.each([
    ['no JSON', '{'],
    ['a list', []],
    ['a key besides', { on: 'app', name: 'wiki', reason: 'r', force: true }],
    ['no reason', { on: 'app', name: 'wiki' }],
    ['a number', { on: 'app', name: 7, reason: 'r' }],
    ['an end that is no text', { on: 'app', name: 'wiki', reason: 'r', until: 7 }],
  ])('takes no body with %s', async (_, body) => {
    const answer = await ask('POST', '/api/v1/locks', 'locks:write', body)
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([400, { error: 'malformed' }])
    expect(given).toEqual([])
  })

  it('takes neither a form, nor a page’s background request, nor another method', async () => {
    const authorization = `Bearer ${tokens.get('locks:write')}`
    const form = { authorization, 'content-type': 'application/x-www-form-urlencoded' }
    expect((await host.browser().visit('/api/v1/locks', { method: 'POST', headers: form, body: 'on=app' })).status).toBe(415)
    const page = { authorization, 'content-type': 'application/json', 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-site' }
    expect((await host.browser().visit('/api/v1/locks', { method: 'POST', headers: page, body: '{}' })).status).toBe(403)
    expect((await ask('PUT', '/api/v1/locks', 'locks:write', {})).status).toBe(405)
    expect((await ask('GET', '/api/v1/sessions?subject=a&subject=b', 'sessions:read')).status).toBe(400)
    expect(given).toEqual([])
  })
})

describe('the page of an emergency sign-in', () => {
  const sameOrigin = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'same-origin' }
  const press = (shown: string, headers: Record<string, string> = sameOrigin) =>
    host.browser().visit('/sign-in', { method: 'POST', headers, form: { break_glass: shown } })

  it('names the person and spends nothing, however often it is looked at', async () => {
    for (const method of ['GET', 'HEAD', 'GET']) {
      const page = await host.browser().visit(`/sign-in?break_glass=${code}`, { method })
      expect([page.status, page.headers['set-cookie']]).toEqual([200, undefined])
      if (method === 'GET') expect(page.body).toContain('&lt;b&gt;Bob&lt;/b&gt;')
    }
    expect((await host.browser().visit('/sign-in?break_glass=x')).status).toBe(400)
    expect(given).toEqual([])
  })

  it('begins a session by a button of its own, alerts, and goes to the portal', async () => {
    const entered = await press(code)
    expect([entered.status, entered.location?.pathname]).toEqual([303, '/'])
    expect(String(entered.headers['set-cookie'])).toMatch(/^__Host-postern=/)
    expect(host.lines.join('\n')).toContain('"message":"alert"')
    expect(host.lines.join('\n')).not.toContain(code)
  })

  it('is not taken from another site, nor without saying from where, and then nothing is spent', async () => {
    for (const site of ['same-site', 'cross-site', 'none']) {
      expect((await press(code, { ...sameOrigin, 'sec-fetch-site': site })).status).toBe(403)
    }
    expect((await press(code, { accept: 'text/html' })).status).toBe(403)
    expect(given).toEqual([])
  })

  it.each([
    ['locked', 403],
    ['unknown', 400],
    ['overtaken', 400],
  ] as const)('refuses a code that is %s', async (outcome, status) => {
    entry = { outcome }
    const refused = await press(code)
    expect([refused.status, refused.headers['set-cookie']]).toEqual([status, undefined])
    expect(host.events.at(-1)).toMatchObject({ event: 'sign_in.failed', error: `break_glass_${outcome}` })
  })

  it('leaves no session behind where everything of the person was ended while it began', async () => {
    isOvertaken = true
    const refused = await press(code)
    expect([refused.status, refused.headers['set-cookie']]).toEqual([400, undefined])
    expect(host.events.slice(-3)).toMatchObject([
      { event: 'session.started' },
      { event: 'session.ended', cause: 'revoked' },
      { event: 'sign_in.failed', error: 'break_glass_overtaken' },
    ])
  })
})
