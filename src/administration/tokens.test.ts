/** Service tokens: what is valid, what is not, for how long, and what is remembered of them. */

import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AdministrativeEvent } from '../audit/event.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace } from '../session/session.fixture.ts'
import type { DurableStore } from '../session/store.ts'
import { parseAdministrativeEvent } from './administrative-event.ts'
import { permissions } from './asker.ts'
import { createDurableRecords, listDurable, openDurable } from './durable-records.ts'
import { createTokenText, parseTokenId, parseTokenText } from './token-format.ts'
import { allOf, createMakerFinder, mostAncestors, unknownMaker } from './token-makers.ts'
import { formatTokenScope, parseTokenScope, permissionsOf, permitsAccess, permitsReport, tokenPermissions } from './token-scope.ts'
import { createTokens, type TokenFacts, type TokenRecord, type Tokens } from './tokens.ts'

const admin = 'os:ada@bastion'
const day = 86_400

describe('service tokens', () => {
  let place: StorePlace
  let tokens: Tokens
  let events: AdministrativeEvent[]
  let loads: number
  /** By how much the clock that people see was set back. */
  let setBack: number
  const keys = (() => {
    const ring = createTestRing()
    return () => ring
  })()

  /** Another instance on the same store: nothing but the store is shared. */
  function openTokens(overrides: Partial<DurableStore> = {}): Tokens {
    const store: DurableStore = {
      ...place.store,
      loadDurable: (name) => {
        loads += 1
        return place.store.loadDurable(name)
      },
      ...overrides,
    }
    const records = createDurableRecords<TokenRecord>('token', { store, keys, log: { error: () => undefined } })
    return createTokens({
      records,
      now: place.clock.now,
      monotonicNow: () => place.clock.now() + setBack,
      record: (event) => void events.push(event),
    })
  }
  beforeEach(async () => {
    place = await openEmbeddedPlace()
    events = []
    loads = 0
    setBack = 0
    tokens = openTokens()
  })
  afterEach(() => place.close())

  const wish = { name: 'Intune', scopes: [{ permission: 'devices:report' }], lifetimeSeconds: 90 * day } as const
  const make = async () => (await tokens.create(wish, admin)).text
  async function listed(): Promise<readonly TokenFacts[]> {
    const all: TokenFacts[] = []
    for await (const token of tokens.list()) all.push(token)
    return all
  }

  it('are valid from their making, on every instance, with their facts', async () => {
    const { token, text } = await tokens.create(wish, admin)
    const createdAt = place.clock.now()
    const facts = { ...wish, id: token.id, createdAt, createdBy: admin, expiresAt: createdAt + 90 * day * 1000 }
    expect(text).toMatch(/^pst_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/)
    expect(token).toMatchObject({ id: facts.id, name: 'Intune', createdBy: admin, expiresAt: facts.expiresAt, revokedAt: undefined })
    expect(await openTokens().verify(text)).toMatchObject({ outcome: 'valid', token: { id: facts.id, scopes: wish.scopes } })
    expect(events).toEqual([
      { event: 'token.created', actor: admin, token: token.id, name: 'Intune', scopes: ['devices:report'], expiresAt: facts.expiresAt },
    ])
  })

  it('are nowhere in the store, as text or secret', async () => {
    const text = await make()
    const { secret } = parseTokenText(text) ?? { secret: 'x' }
    for await (const { name, value } of listDurable(place.store, undefined))
      expect(`${name}${value.toString('latin1')}`).not.toContain(secret)
    const [stored] = await place.store.listDurable('token', undefined, 10)
    expect(stored?.name).not.toContain(parseTokenText(text)?.id)
    expect(JSON.stringify([await listed(), events])).not.toContain(secret)
  })

  it('with a typing error are refused without asking the store', async () => {
    const text = await make()
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === 'x' ? 'y' : 'x'
      expect(await tokens.verify(`${text.slice(0, at)}${other}${text.slice(at + 1)}`)).toEqual({ outcome: 'invalid' })
    }
    for (const wrong of ['', 'pst_', text.slice(0, -1), `${text}x`, ` ${text}`, `${text}\n`, text.toUpperCase(), 'x'.repeat(1_000_000)])
      expect(await tokens.verify(wrong)).toEqual({ outcome: 'invalid' })
    expect(loads).toBe(0)
  })

  it('that were made up with a right checksum are refused, with the id of a living token as well', async () => {
    const living = parseTokenText(await make())
    const forged = createTokenText()
    expect(await tokens.verify(forged.text)).toEqual({ outcome: 'invalid' })
    // The format is public: anybody can compute a checksum for any secret.
    const body = `pst_${living?.id}_${createTokenText().secret}`
    expect(parseTokenText(body + checksum(body))?.id).toBe(living?.id)
    expect(await tokens.verify(body + checksum(body))).toEqual({ outcome: 'invalid' })
  })

  it('end at their expiry exactly', async () => {
    const text = await make()
    place.clock.move(90 * day * 1000 - 1)
    expect(await tokens.verify(text)).toMatchObject({ outcome: 'valid' })
    place.clock.move(1)
    expect(await tokens.verify(text)).toEqual({ outcome: 'invalid' })
    expect(await openTokens().verify(text)).toEqual({ outcome: 'invalid' })
  })

  describe('that are rotated', () => {
    const rotated = async (of: Tokens, id: string, graceSeconds: number) => {
      const rotation = await of.rotate(id, graceSeconds, 'os:eve@bastion')
      if (rotation.outcome !== 'rotated') throw new Error(rotation.outcome)
      return rotation
    }

    it('are good with both secrets until the grace ends, and with the new one alone after it', async () => {
      const { text: before, token } = await tokens.create(wish, admin)
      const { text, token: facts } = await rotated(tokens, token.id, 3_600)
      expect(text).not.toBe(before)
      expect(parseTokenText(text)?.id).toBe(token.id)
      const at = place.clock.now()
      expect(facts).toMatchObject({ rotatedAt: at, previousUntil: at + 3_600_000, expiresAt: token.expiresAt, scopes: wish.scopes })
      for (const one of [before, text]) expect(await tokens.verify(one)).toMatchObject({ outcome: 'valid', token: { id: token.id } })
      place.clock.move(3_600_000 - 1)
      expect(await tokens.verify(before)).toMatchObject({ outcome: 'valid' })
      place.clock.move(1)
      expect(await tokens.verify(before)).toEqual({ outcome: 'invalid' })
      expect(await openTokens().verify(before)).toEqual({ outcome: 'invalid' })
      expect(await tokens.verify(text)).toMatchObject({ outcome: 'valid' })
    })

    it('without grace are good with the new secret alone, at once here and within five seconds elsewhere', async () => {
      const { text: before, token } = await tokens.create(wish, admin)
      const other = openTokens()
      expect(await other.verify(before)).toMatchObject({ outcome: 'valid' })
      const { text } = await rotated(tokens, token.id, 0)
      expect(await tokens.verify(before)).toEqual({ outcome: 'invalid' })
      // An instance that remembers the token as it was asks again before it refuses.
      expect(await other.verify(text)).toMatchObject({ outcome: 'valid' })
      expect(await other.verify(before)).toEqual({ outcome: 'invalid' })
    })

    it('a second time have no more than two secrets', async () => {
      const { text: first, token } = await tokens.create(wish, admin)
      const second = await rotated(tokens, token.id, 3_600)
      const third = await rotated(tokens, token.id, 3_600)
      expect(await tokens.verify(first)).toEqual({ outcome: 'invalid' })
      for (const { text } of [second, third]) expect(await tokens.verify(text)).toMatchObject({ outcome: 'valid' })
    })

    it('end with both secrets when they are revoked or expire, and are not rotated any more', async () => {
      const { text: before, token } = await tokens.create({ ...wish, lifetimeSeconds: 600 }, admin)
      const { text, token: facts } = await rotated(tokens, token.id, 86_400)
      expect(facts.previousUntil).toBe(token.expiresAt)
      const other = await tokens.create(wish, admin)
      await tokens.revoke(other.token.id, admin)
      place.clock.move(600_000)
      for (const one of [before, text, other.text]) expect(await tokens.verify(one)).toEqual({ outcome: 'invalid' })
      for (const id of [token.id, other.token.id]) expect(await tokens.rotate(id, 0, admin)).toEqual({ outcome: 'ended' })
      expect(await tokens.rotate('000000000000', 0, admin)).toEqual({ outcome: 'unknown' })
    })

    it('are on record, with neither secret', async () => {
      const { text: before, token } = await tokens.create(wish, admin)
      const { text } = await rotated(tokens, token.id, 60)
      const scopes = ['devices:report']
      const until = place.clock.now() + 60_000
      const facts = { token: token.id, name: 'Intune', scopes, expiresAt: token.expiresAt, until }
      expect(events.slice(1)).toEqual([{ event: 'token.rotated', actor: 'os:eve@bastion', ...facts }])
      const told = JSON.stringify([events, await listed()])
      for (const one of [before, text]) expect(told).not.toContain(parseTokenText(one)?.secret)
    })

    it('and used at the same moment lose neither', async () => {
      const { text: before, token } = await tokens.create(wish, admin)
      const [, { text }] = await Promise.all([openTokens().verify(before), rotated(tokens, token.id, 3_600)])
      for (const one of [before, text]) expect(await openTokens().verify(one)).toMatchObject({ outcome: 'valid' })
    })
  })

  it('end at once where they are revoked, and within five seconds on an instance that has just seen them (A204)', async () => {
    const text = await make()
    const other = openTokens()
    expect(await other.verify(text)).toMatchObject({ outcome: 'valid' })
    expect(await tokens.verify(text)).toMatchObject({ outcome: 'valid' })
    const [facts] = await listed()
    expect(await tokens.revoke(facts?.id ?? '', 'os:eve@bastion')).toBe('revoked')
    expect(await tokens.verify(text)).toEqual({ outcome: 'invalid' })
    place.clock.move(5_000)
    expect(await other.verify(text)).toEqual({ outcome: 'invalid' })
    expect(await tokens.revoke(facts?.id ?? '', admin)).toBe('revoked_before')
    expect(await tokens.revoke('000000000000', admin)).toBe('unknown')
    expect(events.slice(1)).toEqual([{ event: 'token.revoked', actor: 'os:eve@bastion', token: facts?.id, name: 'Intune' }])
    expect((await listed())[0]).toMatchObject({ revokedAt: place.clock.now() - 5_000 })
  })

  it('are read once in five seconds, however often they are shown; a clock that goes back makes no memory last', async () => {
    const text = await make()
    await tokens.verify(text)
    for (let i = 0; i < 50; i++) await tokens.verify(text)
    expect(loads).toBe(1)
    // Time goes on by a second and a half each time, while the clock is set forth and back.
    for (const step of [4_000, -3_500, 4_000, -3_500]) {
      place.clock.move(step)
      setBack += 1_500 - step
      await tokens.verify(text)
    }
    expect(loads).toBe(2)
  })

  it('say when they were last used, written at most once a minute, and never over a revocation', async () => {
    const text = await make()
    let writes = 0
    const counted = openTokens({
      replaceDurable: (...args) => {
        writes += 1
        return place.store.replaceDurable(...args)
      },
    })
    const firstUse = place.clock.now()
    for (let i = 0; i < 20; i++) await counted.verify(text)
    await expect.poll(async () => (await listed())[0]?.lastUsedAt).toBe(firstUse)
    expect(writes).toBe(1)
    place.clock.move(59_000)
    await counted.verify(text)
    expect(writes).toBe(1)
    place.clock.move(1_000)
    await counted.verify(text)
    await expect.poll(async () => (await listed())[0]?.lastUsedAt).toBe(firstUse + 60_000)
    expect(writes).toBe(2)
    await counted.verify(text)
    await tokens.revoke((await listed())[0]?.id ?? '', admin)
    place.clock.move(60_000)
    await counted.verify(text)
    expect((await listed())[0]?.revokedAt).toBeDefined()
  })

  it('are valid although their use could not be noted', async () => {
    const text = await make()
    const failing = openTokens({ replaceDurable: () => Promise.reject(new Error('read only')) })
    expect(await failing.verify(text)).toMatchObject({ outcome: 'valid' })
  })

  it('are neither valid nor invalid while the store does not answer', async () => {
    const text = await make()
    await place.store.close()
    await expect(openTokens().verify(text)).rejects.toMatchObject({ code: 'session_store_unavailable' })
  })

  it('are revoked also while the record of another does not open, and the list shows the rest before it says so', async () => {
    const parent = await tokens.create(wish, admin)
    const child = await tokens.create(wish, `token:${parent.token.id}`)
    const damaged = await tokens.create(wish, admin)
    for await (const { name, value } of listDurable(place.store, 'token')) {
      const loaded = await place.store.loadDurable(name)
      const content = openDurable<{ readonly id: string }>({ keys, log: { error: () => undefined } }, name, value)
      if (content.id !== damaged.token.id || loaded === undefined) continue
      expect(await place.store.replaceDurable(name, { value: value.subarray(0, -1), version: loaded.version })).toBe(true)
    }
    events.length = 0
    expect(await tokens.revoke(parent.token.id, admin)).toBe('revoked')
    expect(events.map((event) => event.event === 'token.revoked' && event.token)).toEqual([parent.token.id, child.token.id])
    expect((await tokens.verify(parent.text)).outcome).toBe('invalid')
    const shown: string[] = []
    const list = async () => {
      for await (const { id } of tokens.list()) shown.push(id)
    }
    await expect(list()).rejects.toMatchObject({ code: 'record_unreadable' })
    expect(new Set(shown)).toEqual(new Set([parent.token.id, child.token.id]))
  })

  it('are revoked by one of several at once, against uses that come between', async () => {
    const text = await make()
    const [facts] = await listed()
    const results = await Promise.all([...Array(5)].map(() => tokens.revoke(facts?.id ?? '', admin)))
    expect(results.filter((outcome) => outcome === 'revoked')).toHaveLength(1)
    expect(await tokens.verify(text)).toEqual({ outcome: 'invalid' })
  })

  describe('that other tokens made', () => {
    const maker = { name: 'Maker', scopes: [{ permission: 'tokens:write' }], lifetimeSeconds: 10 * day } as const
    const factsOf = async (id: string) => (await listed()).find((facts) => facts.id === id)

    it('end no later than the one that made them, and say whom they came of, down to the person', async () => {
      const parent = await tokens.create(maker, 'person:ada')
      await tokens.rotate(parent.token.id, 0, 'person:ben')
      const child = await tokens.create({ ...wish, scopes: maker.scopes }, `token:${parent.token.id}`)
      const grandchild = await tokens.create(wish, `token:${child.token.id}`)
      for (const { token } of [child, grandchild]) expect(token.expiresAt).toBe(parent.token.expiresAt)
      // On record as well, where nobody looks at what it came of.
      const created = events.flatMap((one) => (one.event === 'token.created' ? [one.expiresAt] : []))
      expect(new Set(created)).toEqual(new Set([parent.token.expiresAt]))
      expect(grandchild.token.ancestors).toEqual([child.token.id, parent.token.id])
      expect([...grandchild.token.makers].sort()).toEqual(
        ['person:ada', 'person:ben', `token:${child.token.id}`, `token:${parent.token.id}`].sort(),
      )
    })

    it('end with the one that made them, at once here and within five seconds elsewhere, and each is on record', async () => {
      const parent = await tokens.create(maker, 'person:ada')
      const child = await tokens.create({ ...wish, scopes: maker.scopes }, `token:${parent.token.id}`)
      const grandchild = await tokens.create(wish, `token:${child.token.id}`)
      const stranger = await tokens.create(wish, admin)
      const other = openTokens()
      expect(await other.verify(grandchild.text)).toMatchObject({ outcome: 'valid' })
      events.length = 0
      expect(await tokens.revoke(parent.token.id, 'person:ben')).toBe('revoked')
      for (const { text, token } of [child, grandchild]) {
        expect(await tokens.verify(text)).toEqual({ outcome: 'invalid' })
        expect(await factsOf(token.id)).toMatchObject({ revokedAt: place.clock.now() })
        expect(await tokens.rotate(token.id, 0, admin)).toEqual({ outcome: 'ended' })
      }
      place.clock.move(5_000)
      expect(await other.verify(grandchild.text)).toEqual({ outcome: 'invalid' })
      expect(await tokens.verify(stranger.text)).toMatchObject({ outcome: 'valid' })
      expect(new Set(events.map((event) => event.event === 'token.revoked' && event.token))).toEqual(
        new Set([parent, child, grandchild].map(({ token }) => token.id)),
      )
    })

    it('are not made by one that has ended, nor in an endless line', async () => {
      const ended = await tokens.create(maker, admin)
      await tokens.revoke(ended.token.id, admin)
      await expect(tokens.create(wish, `token:${ended.token.id}`)).rejects.toThrow(TypeError)
      await expect(tokens.create(wish, 'token:000000000000')).rejects.toThrow(TypeError)
      let by = (await tokens.create(maker, admin)).token.id
      for (let generation = 0; generation < mostAncestors; generation++) by = (await tokens.create(maker, `token:${by}`)).token.id
      await expect(tokens.create(maker, `token:${by}`)).rejects.toThrow(TypeError)
    })

    it('stay ended when the one that made them is forgotten', async () => {
      const parent = await tokens.create({ ...maker, lifetimeSeconds: 300 * day }, admin)
      const child = await tokens.create({ ...wish, lifetimeSeconds: 300 * day }, `token:${parent.token.id}`)
      await tokens.revoke(parent.token.id, admin)
      place.clock.move(92 * day * 1000)
      await make()
      expect(await factsOf(parent.token.id)).toBeUndefined()
      expect(await tokens.verify(child.text)).toEqual({ outcome: 'invalid' })
      expect(await openTokens().verify(child.text)).toEqual({ outcome: 'invalid' })
    })
  })

  describe('and whoever has seen their text', () => {
    it('are told together: who made one, who rotated it, and who was behind a token that did', async () => {
      const { token } = await tokens.create(wish, 'person:ada')
      const helper = await tokens.create({ ...wish, scopes: [{ permission: 'tokens:write' }] }, 'person:carl')
      await tokens.rotate(token.id, 0, 'person:ben')
      const rotation = await tokens.rotate(token.id, 0, `token:${helper.token.id}`)
      if (rotation.outcome !== 'rotated') throw new Error(rotation.outcome)
      expect(rotation.token.rotatedBy).toEqual(['person:ben', `token:${helper.token.id}`, 'person:carl'])
      const findMakers = createMakerFinder(openTokens())
      expect(await findMakers(`token:${token.id}`)).toEqual(['person:ada', ...rotation.token.rotatedBy])
      expect(await findMakers('token:000000000000')).toEqual([unknownMaker])
    })

    it('are never fewer than there were: what cannot be told is unknown', async () => {
      const { token } = await tokens.create(wish, 'person:ada')
      for (let count = 0; count < 60; count++) await tokens.rotate(token.id, 0, `person:admin-${count}`)
      const { makers = [] } = (await listed()).find(({ id }) => id === token.id) ?? {}
      expect(makers.length).toBeLessThanOrEqual(50)
      expect(makers).toContain(unknownMaker)
      // Of earlier versions: nobody wrote down who rotated it, or who was behind the token that made it.
      expect(allOf({ createdBy: 'person:ada', rotated: { at: 1 } })).toEqual(['person:ada', unknownMaker])
      expect(allOf({ createdBy: 'token:000000000000' })).toEqual(['token:000000000000', unknownMaker])
    })
  })

  it('change only once that is on record, and are told of again when it is tried again', async () => {
    const { text, token } = await tokens.create(wish, admin)
    let isWritable = false
    const strict = createTokens({
      records: createDurableRecords<TokenRecord>('token', { store: place.store, keys, log: { error: () => undefined } }),
      now: place.clock.now,
      monotonicNow: place.clock.now,
      async record(event) {
        if (!isWritable) throw new Error('no trail')
        events.push(event)
      },
    })
    for (const attempt of [() => strict.revoke(token.id, admin), () => strict.rotate(token.id, 0, admin), () => strict.create(wish, admin)])
      await expect(attempt()).rejects.toThrow('no trail')
    expect(await listed()).toMatchObject([{ id: token.id, revokedAt: undefined, rotatedAt: undefined }])
    expect(await openTokens().verify(text)).toMatchObject({ outcome: 'valid' })
    isWritable = true
    events.length = 0
    expect(await strict.revoke(token.id, admin)).toBe('revoked')
    expect(events).toMatchObject([{ event: 'token.revoked', token: token.id }])
  })

  it('are handed out only once they are in the trail', async () => {
    const store = place.store
    const records = createDurableRecords<TokenRecord>('token', { store, keys, log: { error: () => undefined } })
    const silent = createTokens({
      records,
      now: place.clock.now,
      monotonicNow: place.clock.now,
      record: () => Promise.reject(new Error('no trail')),
    })
    await expect(silent.create(wish, admin)).rejects.toThrow('no trail')
  })

  it('that ended long ago are forgotten when another is made, and those that live are not', async () => {
    const long = await tokens.create({ ...wish, lifetimeSeconds: 400 * day }, admin)
    const short = await tokens.create({ ...wish, lifetimeSeconds: day }, admin)
    place.clock.move(92 * day * 1000)
    await make()
    expect((await listed()).map(({ id }) => id)).not.toContain(short.token.id)
    expect(await tokens.verify(long.text)).toMatchObject({ outcome: 'valid' })
  })

  it.each([
    [0, wish.scopes],
    [401 * day, wish.scopes],
    [day, []],
  ])('are not made for %s seconds with scopes %j', async (lifetimeSeconds, scopes) => {
    await expect(tokens.create({ name: 'x', lifetimeSeconds, scopes }, admin)).rejects.toThrow(TypeError)
    expect(await listed()).toEqual([])
  })
})

/** As the format describes it, written a second time. */
function checksum(body: string): string {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  let number = BigInt(`0x${createHash('sha256').update(body).digest('hex').slice(0, 16)}`) % 62n ** 6n
  let text = ''
  for (let i = 0; i < 6; i++) {
    text = digits[Number(number % 62n)] + text
    number /= 62n
  }
  return text
}

describe('the form of a token', () => {
  it('holds 256 random bits, and an id of its own each time', () => {
    const made = Array.from({ length: 500 }, () => createTokenText())
    expect(new Set(made.map(({ id }) => id)).size).toBe(500)
    expect(new Set(made.map(({ secret }) => secret)).size).toBe(500)
    for (const { id, secret, text } of made) expect(parseTokenText(text)).toEqual({ id, secret })
    // Every place of the secret takes many values; the first few digits are bounded by 2^256.
    for (let at = 1; at < 43; at++) expect(new Set(made.map(({ secret }) => secret[at])).size).toBeGreaterThan(40)
  })

  it('lets an administrator name a token by id, by what lists show, or by pasting it', () => {
    const { id, text } = createTokenText()
    for (const written of [id, `pst_${id}`, text, text.slice(0, 30)]) expect(parseTokenId(written)).toBe(id)
    for (const written of ['', 'pst_', id.slice(1), `${id}x`, `${id} `, '../../etc', `pst-${id}`])
      expect(parseTokenId(written)).toBeUndefined()
  })
})

describe('the scope of a token', () => {
  const laptop = { id: 'laptop-7', tags: ['mobile', 'berlin'] }

  it.each([
    ['devices:report', true],
    ['devices:report:tag=mobile', true],
    ['devices:report:tag=fixed', false],
    ['devices:report:id=laptop-7', true],
    ['devices:report:id=laptop-6,laptop-7', true],
    ['devices:report:id=laptop-6,laptop-70', false],
  ])('%s permits a report on laptop-7, tagged mobile and berlin: %s', (text, isPermitted) => {
    const scope = parseTokenScope(text)
    if (scope === undefined) throw new Error('not a scope')
    expect(formatTokenScope(scope)).toBe(text)
    expect(permitsReport([scope], laptop)).toBe(isPermitted)
  })

  it.each([
    '',
    'devices',
    'devices:*',
    'devices:report:',
    'devices:report:tag=',
    'devices:report:id=',
    'devices:report:id=a,,b',
    'devices:report:id=a b',
  ])('is not %j', (text) => {
    expect(parseTokenScope(text)).toBeUndefined()
  })

  it('are the permissions of people but for approving, which no program does', () => {
    expect(permissions.filter((permission) => parseTokenScope(permission) === undefined)).toEqual(['policy:approve'])
  })

  it('make an asker of whole permissions alone, unknown ones left out', () => {
    const stored = [
      { permission: 'locks:write' },
      { permission: 'devices:report', tag: 'mobile' },
      { permission: 'policy:approve' },
      { permission: 'x' },
    ]
    expect([...permissionsOf(stored as never)]).toEqual(['locks:write'])
  })

  it.each(tokenPermissions.filter((permission) => permission !== 'devices:report'))('%s permits exactly itself', (text) => {
    const scope = parseTokenScope(text)
    if (scope === undefined) throw new Error('not a scope')
    expect(formatTokenScope(scope)).toBe(text)
    expect(tokenPermissions.filter((wanted) => permitsAccess([scope], wanted))).toEqual([text])
    expect(permitsReport([scope], laptop)).toBe(false)
    expect(permitsAccess([{ ...scope, tag: 'mobile' }], text)).toBe(false)
    expect(parseTokenScope(`${text}:tag=mobile`)).toBeUndefined()
  })

  it('permits nothing where it is of a kind that this version does not know, or where there is none', () => {
    expect(permitsReport([], laptop)).toBe(false)
    expect(permitsReport([{ permission: 'devices:block' as 'devices:report' }], laptop)).toBe(false)
  })
})

describe('an administrative event from a command', () => {
  const event = { event: 'token.revoked', actor: 'os:ada@bastion', token: 't', name: 'n', scopes: undefined, expiresAt: undefined }

  it('is taken as it is', () => {
    expect(parseAdministrativeEvent(event)).toEqual(event)
  })

  it('takes along what ended for it, as revoked and as nothing else', () => {
    const ended = {
      event: 'session.ended',
      session: 's1',
      subject: { kind: 'person', sub: 'bob', issuer: 'https://op', email: undefined },
      cause: 'revoked',
    }
    const subject = { kind: 'person', sub: 'bob', issuer: 'https://op' }
    expect(parseAdministrativeEvent(ended)).toStrictEqual({ ...ended, subject })
    expect(parseAdministrativeEvent({ ...ended, event: 'subject.ended', session: undefined })).toMatchObject({ subject })
    for (const wrong of [
      { cause: 'signed_out' },
      { request: 'r1' },
      { address: '192.0.2.1' },
      { session: undefined },
      { more: 'x' },
      { subject: { kind: 'nobody' } },
      { subject: { ...subject, more: 'x' } },
      { subject: { ...subject, sub: 7 } },
    ]) {
      expect(parseAdministrativeEvent({ ...ended, ...wrong })).toBeUndefined()
    }
  })

  it.each([
    ['another event', { ...event, event: 'access.decided' }],
    ['a method of every object', { ...event, event: 'toString' }],
    ['nobody as actor', { ...event, actor: undefined }],
    ['a token as actor', { ...event, actor: 'token:abc' }],
    ['another time', { ...event, at: '2020-01-01T00:00:00.000Z' }],
    ['another instance', { ...event, instance: 'other' }],
    ['a field with a subject', { ...event, subject: { kind: 'person' } }],
    ['a field with a quote in its name', { ...event, 'a":1,"b': 'x' }],
    ['nothing', undefined],
    ['a list', [event]],
  ])('is refused with %s', (_, value) => {
    expect(parseAdministrativeEvent(value)).toBeUndefined()
  })
})
