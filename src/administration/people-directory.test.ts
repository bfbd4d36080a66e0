/** The directory of people and sessions, on real stores: what it finds, how it hears, and how long a page takes with a thousand; POSTERN_TEST_LONG=1: ten thousand. */

import { performance } from 'node:perf_hooks'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import { createPeople } from '../session/people.ts'
import { createSealedRecords } from '../session/sealed-records.ts'
import {
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
  silentLog,
  type TestSessions,
} from '../session/session.fixture.ts'
import { hashOrigin } from '../session/session-record.ts'
import { createPeopleDirectory, type PeopleDirectory } from './people-directory.ts'
import type { PeopleQuery, SessionsQuery } from './people-directory-index.ts'
import { parseRef } from './person-ref.ts'
import { type AdministeredSessions, createAdministeredSessions } from './sessions.ts'

const soon = { timeout: 10_000, interval: 10 }

const many = process.env['POSTERN_TEST_LONG'] === '1' ? 10_000 : 1_000
const issuer = 'https://op.corp.example'
const wiki = 'https://wiki.corp.example'
const any = { text: undefined, group: undefined, address: undefined, device: undefined, origin: undefined, after: undefined, limit: 50 }

interface Office {
  readonly place: StorePlace
  readonly one: TestSessions
  readonly sessions: AdministeredSessions
  readonly directory: PeopleDirectory
}

async function openOffice(open: () => Promise<StorePlace>): Promise<Office> {
  const place = await open()
  const ring = createTestRing()
  const one = createTestSessions(place, ring)
  const records = createSealedRecords(place.store, () => ring, silentLog)
  const people = createPeople(place.store, records)
  const limits = { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 }
  const sessions = createAdministeredSessions({ store: place.store, records, people, limits, ends: one.sessions, record: () => undefined })
  const directory = createPeopleDirectory({
    people,
    sessions,
    live: one.live,
    readSubject: compileSubjectReader({
      claims: { groups: [['groups']] },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
    }),
    isProtectedPerson: async ({ sub }) => sub === 'ada',
    deviceIdClaim: ['device'],
    now: place.clock.now,
    log: silentLog,
  })
  return { place, one, sessions, directory }
}

async function closeOffice({ directory, one, place }: Office): Promise<void> {
  await directory.close()
  await one.sessions.close()
  await place.close()
}

const begin = ({ one }: Office, sub: string, claims: Record<string, unknown> = {}, address = '192.0.2.7') =>
  one.sessions.begin(
    signedInAs(sub, { claims: Object.assign(Object.create(null), { sub, email: `${sub}@corp.example`, name: sub, ...claims }) }),
    { address, userAgent: 'Test/1.0' },
  )
const subs = (office: Office, query: Partial<PeopleQuery & SessionsQuery>) =>
  office.directory.people({ ...any, ...query }).entries.map(({ sub }) => sub)

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('the directory over the %s store', (_, open) => {
  let office: Office
  beforeAll(async () => {
    office = await openOffice(open)
    await begin(office, 'ada', { groups: ['admins', 'staff'] })
    await begin(office, 'bob', { groups: ['staff', '/Finance'], device: 'LAPTOP-7' }, '2001:db8::7')
    await begin(office, 'carol')
    const { session } = await begin(office, 'bob', { groups: ['staff', '/Finance'] }, '198.51.100.9')
    await office.one.sessions.openAppSession(session.id, wiki)
    await office.directory.ready(5_000)
  })
  afterAll(() => closeOffice(office))

  it('finds people by address, name, sub and group, all words of a question together', () => {
    expect(subs(office, {})).toEqual(['ada', 'bob', 'carol'])
    expect(subs(office, { text: 'BOB corp' })).toEqual(['bob'])
    expect(subs(office, { text: 'bob ada' })).toEqual([])
    expect(subs(office, { group: '/fin' })).toEqual(['bob'])
    expect(subs(office, { group: 'admins', text: 'ada' })).toEqual(['ada'])
    const [bob] = office.directory.people({ ...any, text: 'bob' }).entries
    expect(bob).toMatchObject({ sessions: 2, groups: ['staff', '/Finance'], isProtected: false })
    expect(parseRef(bob?.ref ?? '')).toEqual({ issuer, sub: 'bob' })
    const [carol] = office.directory.people({ ...any, text: 'carol' }).entries
    expect(carol?.groups).toBeUndefined()
  })

  it('pages, and a cursor of nobody is a place in the order and no error', () => {
    const first = office.directory.people({ ...any, limit: 2 })
    expect([first.entries.map(({ sub }) => sub), first.total]).toEqual([['ada', 'bob'], 3])
    const second = office.directory.people({ ...any, limit: 2, after: first.next })
    expect([second.entries.map(({ sub }) => sub), second.next]).toEqual([['carol'], undefined])
    expect(office.directory.people({ ...any, after: '\u{1F600}%%%' }).entries.length).toBeLessThanOrEqual(3)
  })

  it('finds sessions by person, network address, device and app', async () => {
    const found = async (query: Partial<PeopleQuery & SessionsQuery>) =>
      (await office.directory.sessions({ ...any, ...query })).entries.map(({ facts, person }) => [person.sub, facts.session.origin.address])
    expect(await found({ text: 'bob' })).toHaveLength(2)
    expect(await found({ address: '2001:db8' })).toEqual([['bob', '2001:db8::7']])
    expect(await found({ device: 'laptop' })).toEqual([['bob', '2001:db8::7']])
    expect(await found({ origin: hashOrigin(wiki) })).toEqual([['bob', '198.51.100.9']])
    expect(await found({ origin: hashOrigin('https://other.corp.example') })).toEqual([])
  })

  it('hears of a session that began and of one that ended, without reading all again', async () => {
    const { session } = await begin(office, 'dave')
    await vi.waitFor(() => expect(subs(office, { text: 'dave' })).toEqual(['dave']), soon)
    await office.one.sessions.endSession(session.id, 'revoked')
    await vi.waitFor(() => expect(office.directory.people({ ...any, text: 'dave' }).entries).toMatchObject([{ sessions: 0 }]), soon)
    const other = await begin(office, 'dave')
    await vi.waitFor(() => expect(office.directory.people({ ...any, text: 'dave' }).entries).toMatchObject([{ sessions: 1 }]), soon)
    await office.one.sessions.endSubject(issuer, 'dave', 'revoked')
    await vi.waitFor(() => expect(office.directory.people({ ...any, text: 'dave' }).entries).toMatchObject([{ sessions: 0 }]), soon)
    expect(other.session.id).not.toBe(session.id)
  })

  it('shows no session that is over, whatever it remembers', async () => {
    await begin(office, 'eve')
    await vi.waitFor(() => expect(office.directory.people({ ...any, text: 'eve' }).entries).toMatchObject([{ sessions: 1 }]), soon)
    office.place.clock.move(1_800_000)
    expect((await office.directory.sessions({ ...any, text: 'eve' })).entries).toEqual([])
  })

  it(`answers within a tenth of a second with ${many} people and sessions`, { timeout: 240_000 }, async () => {
    for (let from = 0; from < many; from += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (__, n) => begin(office, `person${from + n}`, { groups: ['staff', `team-${(from + n) % 40}`] })),
      )
    }
    const reading = performance.now()
    await office.directory.refresh()
    const readMs = Math.round(performance.now() - reading)
    expect(office.directory.state().sessions).toBeGreaterThanOrEqual(many)
    const times: number[] = []
    for (let n = 0; n < 20; n++) {
      const start = performance.now()
      office.directory.people({ ...any, text: `person${n}` })
      await office.directory.sessions({ ...any, text: 'corp' })
      times.push(performance.now() - start)
    }
    times.sort((a, b) => a - b)
    const measured = { kind: office.place.kind, readMs, p50: times[10]?.toFixed(1), worst: times.at(-1)?.toFixed(1) }
    if (process.env['PRINT_MEASURED'] !== undefined) console.log(measured)
    expect(times[10]).toBeLessThan(100)
  })
})

describe('the directory', () => {
  it('names no more people than it has room for, and says so', async () => {
    const office = await openOffice(openEmbeddedPlace)
    try {
      for (const sub of ['a', 'b', 'c']) await begin(office, sub)
      const small = createPeopleDirectory({
        people: { listPeople: async () => ({ total: 3, people: peopleOf(['a', 'b', 'c']) }), findPerson: async () => undefined },
        sessions: office.sessions,
        live: office.one.live,
        readSubject: () => ({ kind: 'nobody' }),
        isProtectedPerson: async () => false,
        deviceIdClaim: undefined,
        now: office.place.clock.now,
        log: silentLog,
        bounds: { people: 2, sessions: 1 },
      })
      await small.ready(5_000)
      expect(small.state()).toMatchObject({ people: 2, sessions: 1, isCut: true })
      await small.close()
    } finally {
      await closeOffice(office)
    }
  })
})

async function* peopleOf(all: readonly string[]) {
  for (const sub of all) yield { issuer, sub, email: undefined, name: undefined, claims: {}, signIns: undefined, seenAt: 0 }
}
