/** Open connections of two instances over one store: listing, paging, cutting, who may, and what is on record. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestLive, createTestRing, openRedisPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import { type Asker, permissionsByRole, type Role } from './asker.ts'
import { type AdministeredConnections, createConnections, type LocalConnections, type OpenConnection } from './connections.ts'
import { createErrands, type RunningErrands } from './errands-over-store.ts'

const ring = createTestRing()
const boss = { issuer: 'https://op.example', sub: 'boss' }

function connection(id: string, changes: Partial<OpenConnection> = {}): OpenConnection {
  return {
    id,
    app: 'wiki',
    kind: 'websocket',
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'alice', email: 'alice@corp.example' },
    session: 's1',
    device: undefined,
    address: '192.0.2.1',
    since: 1_000,
    bytesIn: 1,
    bytesOut: 2,
    method: 'GET',
    path: '/ws',
    ...changes,
  }
}

function askerWith(role: Role): Asker {
  const subject = { issuer: 'https://op.example', sub: role }
  return { actor: `person:${role}`, label: role, subject, roles: [role], permissions: permissionsByRole[role] }
}

/** What is open on one instance, as a test says. */
function createLocal(entries: OpenConnection[]): LocalConnections {
  return {
    list({ after, app, id, limit }) {
      const wanted = entries.filter((entry) => (app === undefined || entry.app === app) && (id === undefined || entry.id === id))
      const behind = wanted.filter(({ since }) => after === undefined || since < after.since).sort((a, b) => b.since - a.since)
      const counts = new Map<string, number>()
      for (const entry of wanted) counts.set(entry.app, (counts.get(entry.app) ?? 0) + 1)
      return { entries: behind.slice(0, limit), more: Math.max(0, behind.length - limit), byApp: [...counts] }
    },
    count: ({ sessions }) => entries.filter(({ session }) => sessions === undefined || sessions.includes(session ?? '')).length,
    cut(id) {
      const at = entries.findIndex((entry) => entry.id === id)
      if (at !== -1) entries.splice(at, 1)
      return at !== -1
    },
  }
}

describe('open connections of all instances', () => {
  let place: StorePlace
  const running: RunningErrands[] = []
  let records: unknown[] = []
  let recording: 'works' | 'fails' = 'works'
  beforeAll(async () => {
    place = await openRedisPlace()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((errands) => errands.close()))
    records = []
    recording = 'works'
  })
  afterAll(() => place.close())

  async function start(instance: string, entries: OpenConnection[], isDeaf = false): Promise<AdministeredConnections> {
    const live = createTestLive(place)
    await live.confirm()
    const errands = createErrands({
      store: place.store,
      keys: () => ring,
      log: silentLog,
      now: place.clock.now,
      monotonicNow: () => performance.now(),
      instance,
      version: '1',
      policyVersion: () => 'p',
      live: isDeaf ? { listen: () => () => undefined } : live,
    })
    running.push(errands)
    await errands.instances()
    return createConnections({
      errands,
      local: createLocal(entries),
      people: { isProtected: async ({ sub }) => sub === boss.sub },
      recordFirst: async (event) => {
        if (recording === 'fails') throw new Error('the disk is full')
        records.push({ ...event, open: entries.length })
      },
      monotonicNow: () => performance.now(),
    })
  }

  it('are listed together, the newest first, with counts of everything and the instance of each', async () => {
    const one = await start('one', [connection('a', { since: 10 }), connection('b', { since: 30 })])
    await start('two', [connection('c', { since: 20, app: 'crm' }), connection('d', { since: 5 })])
    const page = await one.list({ limit: 3 }, 'person:x')
    expect(page.entries.map(({ id, instance }) => `${id} on ${instance}`)).toEqual(['b on one', 'c on two', 'a on one'])
    expect(page.byApp).toEqual([
      { app: 'wiki', count: 3 },
      { app: 'crm', count: 1 },
    ])
    expect(page.total).toBe(4)
    const rest = await one.list({ limit: 3, after: page.next }, 'person:x')
    expect(rest.entries.map(({ id }) => id)).toEqual(['d'])
    expect(rest.next).toBeUndefined()
    expect(rest.instances).toEqual([
      { name: 'one', hasAnswered: true },
      { name: 'two', hasAnswered: true },
    ])
  })

  it('name an instance that does not answer, and list what the others have', async () => {
    const one = await start('one', [connection('a')])
    await start('deaf', [connection('b')], true)
    const page = await one.list({ limit: 10 }, 'person:x')
    expect(page.entries.map(({ id }) => id)).toEqual(['a'])
    expect(page.instances).toEqual([
      { name: 'deaf', hasAnswered: false },
      { name: 'one', hasAnswered: true },
    ])
  })

  it('are counted on all instances, and not at all where one does not say', async () => {
    const one = await start('one', [connection('a'), connection('b', { session: 's2' })])
    await start('two', [connection('c')])
    expect(await one.countOpen({ sessions: ['s1'] })).toBe(2)
    await start('deaf', [], true)
    expect(await one.countOpen({ sessions: ['s1'] })).toBeUndefined()
  })

  it('share one question among all who ask the same at once', async () => {
    const entries = [connection('a')]
    const one = await start('one', entries)
    const [first, second] = await Promise.all([one.list({ limit: 10 }, 'person:x'), one.list({ limit: 10 }, 'person:y')])
    expect(second).toBe(first)
    entries.push(connection('b', { since: 2_000 }))
    await expect.poll(async () => (await one.list({ limit: 10 }, 'person:x')).total).toBe(2)
  })

  it('are cut wherever they are, on record first, in less than a second', async () => {
    const there = [connection('far'), connection('other')]
    const one = await start('one', [])
    await start('two', there)
    const begun = performance.now()
    expect(await one.cut('far', askerWith('helpdesk'), 'lost laptop')).toMatchObject({ outcome: 'cut', connection: { app: 'wiki' } })
    expect(performance.now() - begun).toBeLessThan(1_000)
    expect(there.map(({ id }) => id)).toEqual(['other'])
    expect(records).toEqual([
      {
        event: 'connection.cut',
        actor: 'person:helpdesk',
        request: 'far',
        app: 'wiki',
        target: 'alice',
        reason: 'lost laptop',
        open: 0,
      },
    ])
    expect((await one.list({ limit: 10 }, 'person:x')).total).toBe(1)
  })

  it('stay open where the order cannot be put on record', async () => {
    const entries = [connection('a')]
    const one = await start('one', entries)
    recording = 'fails'
    await expect(one.cut('a', askerWith('admin'), undefined)).rejects.toThrow('disk')
    expect(entries).toHaveLength(1)
  })

  it('of an admin are cut by an admin and not by the helpdesk', async () => {
    const entries = [connection('a', { subject: { kind: 'person', ...boss } })]
    const one = await start('one', entries)
    expect(await one.cut('a', askerWith('helpdesk'), undefined)).toEqual({ outcome: 'protected' })
    expect(entries).toHaveLength(1)
    expect(records).toEqual([])
    expect(await one.cut('a', askerWith('admin'), undefined)).toMatchObject({ outcome: 'cut' })
    expect(entries).toEqual([])
  })

  it('that are over already leave no record, and instances that did not answer are named', async () => {
    const one = await start('one', [])
    expect(await one.cut('gone', askerWith('admin'), undefined)).toEqual({ outcome: 'not_open', unheard: [] })
    await start('deaf', [connection('gone')], true)
    expect(await one.cut('gone', askerWith('admin'), undefined)).toEqual({ outcome: 'not_open', unheard: ['deaf'] })
    expect(records).toEqual([])
  })
})
