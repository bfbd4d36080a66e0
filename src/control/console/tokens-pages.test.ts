/**
 * Pages and operations of service tokens on a real access host: what they show, who may make and end one, and that no secret is kept anywhere.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Asker, Permission } from '../../administration/asker.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import { parseTokenText } from '../../administration/token-format.ts'
import { type TokenPermission, tokenPermissions } from '../../administration/token-scope.ts'
import { createTokens, type TokenRecord, type Tokens } from '../../administration/tokens.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createTokenOperations, type TokenOperations } from '../operations/tokens.ts'
import { startConsole, type TestConsole } from './console.fixture.ts'
import { describeScopes, describeTokenRow } from './tokens-content.ts'
import { mountTokensPages } from './tokens-pages.ts'

const carryOut = createCarryOut()
const day = 86_400
const hostile = '"><script>alert(1)</script>\u202e{{7*7}}'

let page: TestConsole
let tokens: Tokens
let operations: TokenOperations
const recorded: AuditEvent[] = []

beforeAll(async () => {
  page = await startConsole({
    mounts: ({ log, sealer, store }) => {
      tokens = createTokens({
        records: createDurableRecords<TokenRecord>('token', { store, keys: sealer.keys, log }),
        now: sealer.now,
        monotonicNow: () => performance.now(),
        record: (event) => void recorded.push(event),
      })
      operations = createTokenOperations({ tokens, now: sealer.now, mayStill: async (actor) => actor !== 'person:gone' })
      return [(routes) => mountTokensPages(routes, { operations, carryOut })]
    },
  })
})
afterAll(() => page.close())

const shownIn = (body: string) => /<pre class="code"[^>]*>(pst_\w+)</.exec(body)?.[1] ?? ''
const wish = { name: 'Intune', scope: 'devices:report', lifetime_seconds: String(30 * day) }

describe('the pages', () => {
  it('teach what a token is for where there is none, with a button for those who may', async () => {
    expect((await page.visit('admin', '/console/tokens')).body).toMatch(/No program has a token.*href="\/console\/tokens\/new"/s)
    const { body } = await page.visit('auditor', '/console/tokens')
    expect(body).toContain('No program has a token')
    expect(body).not.toContain('/console/tokens/new')
  })

  it('show a new token once, on the answer to its form, and keep it nowhere', async () => {
    const made = await page.submit(
      'admin',
      '/console/tokens/new',
      { ...wish, scope: ['policy:read', 'locks:write'] },
      { from: '/console/tokens/new' },
    )
    expect(made.status).toBe(200)
    const text = shownIn(made.body)
    expect(await tokens.verify(text)).toMatchObject({
      outcome: 'valid',
      token: { name: 'Intune', createdBy: 'person:sub-admin', scopes: [{ permission: 'policy:read' }, { permission: 'locks:write' }] },
    })
    const { id = '', secret = 'x' } = parseTokenText(text) ?? {}
    for (const path of ['/console/tokens', `/console/tokens/${id}`]) {
      const { body } = await page.visit('admin', path)
      expect(body).toContain(id)
      expect(body).not.toContain(secret)
    }
    expect(JSON.stringify([recorded, page.host.lines, page.events])).not.toContain(secret)
    expect(recorded.at(-1)).toMatchObject({ event: 'token.created', actor: 'person:sub-admin', token: id })
  })

  it('stand errors at their field, with what was typed', async () => {
    const answer = await page.submit('admin', '/console/tokens/new', {
      name: ' ',
      lifetime_seconds: '1',
      report_scope: `devices:report:tag=${hostile}`,
    })
    expect(answer.status).toBe(422)
    expect(answer.body).toContain('id="name-error">Say what it is for.')
    expect(answer.body).toContain('id="scopes-error">This is not a scope.')
    expect(answer.body).toContain('id="lifetime-error"')
    expect(answer.body).toContain('value="devices:report:tag=&quot;&gt;&lt;script&gt;')
    const chosen = await page.submit('admin', '/console/tokens/new', { name: '', scope: ['locks:write'], lifetime_seconds: String(day) })
    expect(chosen.body).toMatch(/value="locks:write" checked/)
    expect((await page.submit('admin', '/console/tokens/new', { name: 'x', lifetime_seconds: String(day) })).body).toContain(
      'Choose what it may do.',
    )
  })

  it('narrow reports to some devices', async () => {
    const made = await page.submit('admin', '/console/tokens/new', { ...wish, report_scope: 'devices:report:id=laptop-7' })
    expect(await tokens.verify(shownIn(made.body))).toMatchObject({
      token: { scopes: [{ permission: 'devices:report', devices: ['laptop-7'] }] },
    })
  })

  it('give no token that approves, however it is asked for', async () => {
    expect((await page.submit('admin', '/console/tokens/new', { ...wish, scope: 'policy:approve' })).status).toBe(422)
    expect((await page.visit('admin', '/console/tokens/new')).body).not.toContain('policy:approve')
  })

  it('rotate with the grace that was chosen, and end a token', async () => {
    const { text, token } = await tokens.create({ name: 'Rotated', scopes: [{ permission: 'locks:read' }], lifetimeSeconds: day }, 'os:a@b')
    const path = `/console/tokens/${token.id}`
    const rotated = await page.submit('admin', `${path}/rotate`, { grace_seconds: '0' }, { from: path })
    expect(await tokens.verify(text)).toEqual({ outcome: 'invalid' })
    expect(await tokens.verify(shownIn(rotated.body))).toMatchObject({ outcome: 'valid' })
    const revoked = await page.submit('admin', `${path}/revoke`)
    expect([revoked.status, revoked.location?.pathname]).toEqual([303, path])
    const after = await page.follow('admin', revoked)
    expect(after.body).toContain('is revoked. It ends on every instance')
    expect(after.body).not.toContain(`${path}/rotate`)
    expect(await tokens.verify(shownIn(rotated.body))).toEqual({ outcome: 'invalid' })
    expect((await page.submit('admin', `${path}/rotate`, { grace_seconds: '0' })).status).toBe(409)
  })

  it('know no token that there is not, and change none of it', async () => {
    for (const id of ['000000000000', 'x', '..%2F..', encodeURIComponent(hostile)]) {
      expect((await page.visit('admin', `/console/tokens/${id}`)).status, id).toBe(404)
    }
    expect((await page.submit('admin', '/console/tokens/000000000000/revoke')).status).toBe(404)
  })

  it('print names that are markup as text', async () => {
    const { token } = await tokens.create(
      { name: hostile, scopes: [{ permission: 'devices:report', tag: 'a"b' }], lifetimeSeconds: day },
      hostile,
    )
    for (const path of ['/console/tokens', `/console/tokens/${token.id}`]) {
      const { body } = await page.visit('admin', path)
      expect(body, path).toContain('&lt;script&gt;alert(1)')
      expect(body, path).not.toMatch(/<script>alert|tag=a"b/)
    }
  })

  it.each(['auditor', 'helpdesk', 'none'] as const)('let %s make, rotate and end nothing', async (person) => {
    const { token } = await tokens.create({ name: 'Kept', scopes: [{ permission: 'locks:read' }], lifetimeSeconds: day }, 'os:a@b')
    const path = `/console/tokens/${token.id}`
    const attempts = [
      page.submit(person, '/console/tokens/new', wish),
      page.submit(person, `${path}/rotate`),
      page.submit(person, `${path}/revoke`),
    ]
    for (const answer of await Promise.all(attempts)) expect([answer.status, answer.headers['x-postern']]).toEqual([403, 'not_permitted'])
    expect((await page.visit(person, '/console/tokens/new')).status).toBe(403)
    expect((await page.visit(person, path)).status).toBe(person === 'auditor' ? 200 : 403)
    let kept: number | undefined = 0
    for await (const facts of tokens.list()) if (facts.id === token.id) kept = facts.revokedAt
    expect(kept).toBeUndefined()
  })
})

describe('the operations', () => {
  const program = (...permissions: Permission[]): Asker => as('t', permissions)
  const as = (id: string, permissions: readonly Permission[]): Asker => ({
    actor: `token:${id}`,
    label: 't',
    subject: undefined,
    roles: [],
    permissions: new Set(permissions),
  })

  it('let a token make and rotate only what is no more than itself', async () => {
    const own = ['tokens:write', 'tokens:read', 'locks:read'] as const
    const wanted = { name: 'Acting', scopes: own.map((permission) => ({ permission })), lifetimeSeconds: day }
    const acting = (await tokens.create(wanted, 'os:a@b')).token
    const asker = as(acting.id, own)
    const make = (scopes: readonly string[]) => carryOut(operations.create, { name: 'x', scopes }, asker)
    expect(await make(['locks:read', 'tokens:read'])).toMatchObject({
      outcome: 'done',
      value: { token: { parents: [acting.id], expires_at: new Date(acting.expiresAt).toISOString() } },
    })
    expect(await make(['locks:read', 'locks:write'])).toMatchObject({
      outcome: 'refused',
      problem: 'not_permitted',
      detail: { missing: ['locks:write'] },
    })
    expect(await make(['devices:report:tag=mobile'])).toMatchObject({ outcome: 'refused', problem: 'not_permitted' })
    const { token } = await tokens.create({ name: 'Greater', scopes: [{ permission: 'policy:publish' }], lifetimeSeconds: day }, 'os:a@b')
    expect(await carryOut(operations.rotate, { id: token.id }, asker)).toMatchObject({ outcome: 'refused', problem: 'not_permitted' })
    expect(await carryOut(operations.create, { name: 'x', scopes: ['locks:read'] }, program(...own))).toMatchObject({
      outcome: 'refused',
      problem: 'not_permitted',
      message: 'This token has ended.',
    })
  })

  it('let a token revoke itself and what is no more than itself, and nothing that may more', async () => {
    const make = async (permission: TokenPermission) =>
      (await tokens.create({ name: permission, scopes: [{ permission }], lifetimeSeconds: day }, 'os:a@b')).token.id
    const [own, greater, equal] = [await make('tokens:write'), await make('policy:publish'), await make('tokens:write')]
    const revoke = (id: string) => carryOut(operations.revoke, { id }, as(own, ['tokens:write']))
    expect(await revoke(greater)).toMatchObject({ outcome: 'refused', problem: 'not_permitted', detail: { missing: ['policy:publish'] } })
    expect(await carryOut(operations.get, { id: greater }, program('tokens:read'))).toMatchObject({ value: { state: 'active' } })
    expect(await revoke(equal)).toMatchObject({ outcome: 'done' })
    expect(await revoke('000000000000')).toMatchObject({ problem: 'not_found' })
    const narrow = await tokens.create({ name: 'n', scopes: [{ permission: 'devices:report', tag: 'a' }], lifetimeSeconds: day }, 'os:a@b')
    expect(await revoke(narrow.token.id)).toMatchObject({ problem: 'not_permitted' })
    expect(await revoke(own)).toMatchObject({ outcome: 'done', value: { already: false } })
  })

  it('say of whoever made a living token whether they may still make one', async () => {
    const make = async (by: string) =>
      (await tokens.create({ name: by, scopes: [{ permission: 'locks:read' }], lifetimeSeconds: day }, by)).token.id
    const get = async (id: string) => {
      const found = await carryOut(operations.get, { id }, program('tokens:read'))
      return found.outcome === 'done' ? found.value.maker_may : undefined
    }
    const left = await make('person:gone')
    expect(await get(left)).toBe(false)
    expect(await get(await make('person:ada'))).toBe(true)
    expect(await get(await make('os:a@b'))).toBeNull()
    for (const path of ['/console/tokens', `/console/tokens/${left}`])
      expect((await page.visit('auditor', path)).body).toContain('may make none now')
    await tokens.revoke(left, 'person:ada')
    expect(await get(left)).toBeNull()
  })

  it('list all of them in pages, each once, newest first', async () => {
    const asker = program('tokens:read')
    const seen: string[] = []
    let after: string | undefined
    do {
      const listed = await carryOut(operations.list, { limit: 2, ...(after === undefined ? {} : { after }) }, asker)
      if (listed.outcome === 'refused') throw new Error(listed.message)
      seen.push(...listed.value.entries.map(({ id }) => id))
      after = listed.value.next ?? undefined
    } while (after !== undefined)
    const all: string[] = []
    for await (const { id } of tokens.list()) all.push(id)
    expect(seen).toHaveLength(all.length)
    expect(new Set(seen)).toEqual(new Set(all))
    expect(await carryOut(operations.list, { after: hostile }, asker)).toMatchObject({ outcome: 'done' })
  })

  it('give what their schema says', async () => {
    const listed = await carryOut(operations.list, {}, program('tokens:read'))
    if (listed.outcome === 'refused') throw new Error(listed.message)
    expect(operations.list.output.safeParse(listed.value).success).toBe(true)
  })
})

describe('what pages are told', () => {
  it('has words for every permission that a token can have, once', () => {
    const choices = describeScopes(['locks:write']).flatMap((group) => group.choices)
    expect(choices.map(({ scope }) => scope).sort()).toEqual([...tokenPermissions].sort())
    expect(choices.filter(({ isChosen }) => isChosen).map(({ scope }) => scope)).toEqual(['locks:write'])
    for (const { words } of choices) expect(words).not.toBe('')
  })

  it('says when a token is about to end', () => {
    const now = Date.UTC(2026, 10, 22)
    const at = (days: number) => new Date(now + days * day * 1000).toISOString()
    const token = {
      id: 'a',
      name: 'n',
      state: 'active',
      scopes: [] as string[],
      created_at: at(-1),
      created_by: 'x',
      maker_may: null,
      rotated_by: [],
      parents: [],
      last_used_at: null,
      revoked_at: null,
      rotated_at: null,
      previous_until: null,
    } as const
    expect(describeTokenRow({ ...token, expires_at: at(6) }, now)).toMatchObject({ endsSoon: true, tone: 'warn', isLiving: true })
    expect(describeTokenRow({ ...token, expires_at: at(8) }, now)).toMatchObject({ endsSoon: false, tone: 'good' })
    expect(describeTokenRow({ ...token, state: 'revoked', revoked_at: at(-1), expires_at: at(8) }, now)).toMatchObject({
      isLiving: false,
      tone: 'bad',
      ends: { text: '1 day ago' },
    })
  })
})
