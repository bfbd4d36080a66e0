/** The pages about people and locks, over real HTTP through the whole console: what they show, what they do, and whom they leave alone. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Session } from '../../session/session.ts'
import type { TestPerson } from './console.fixture.ts'
import { hostile, laptop, openPeopleOffice, type PeopleOffice } from './people.fixture.ts'

let office: PeopleOffice
beforeAll(async () => {
  office = await openPeopleOffice()
})
afterAll(() => office.close())

const pageOf = (sub: string) => `/console/people/${office.ref(sub)}`
const isLive = async ({ id }: Session) => (await office.console.host.sessions.findById(id)).state === 'live'
const lockOn = (sub: string) => office.access.locks.find({ kind: 'subject', issuer: office.console.host.provider.issuer, sub })
const visit = (person: TestPerson, path: string) => office.console.visit(person, path)
async function notice(person: TestPerson, path: string, fields: Record<string, string>, from: string): Promise<string> {
  const sent = await office.console.submit(person, path, fields, { from })
  if (sent.status !== 303) throw new Error(`${sent.status}: ${sent.body.slice(0, 2_000)}`)
  return /class="notice-bar [a-z]+" role="status"><bdi>([^<]*)/.exec((await office.console.follow(person, sent)).body)?.[1] ?? ''
}

describe('finding people', () => {
  it('is by address, name, sub and group, and on record before anything is shown', async () => {
    await office.signIn('finn', { groups: ['/finance'] })
    await office.signIn('fiona')
    const page = await visit('helpdesk', '/console/people?q=fin')
    expect(page.status).toBe(200)
    expect(page.body).toContain(`href="${pageOf('finn')}"`)
    expect(page.body).not.toContain(pageOf('fiona'))
    expect(office.reads.at(-1)).toMatchObject({
      event: 'data.read',
      actor: 'person:sub-helpdesk',
      what: 'people',
      target: 'fin',
      entries: 1,
    })
    expect((await visit('helpdesk', '/console/people?group=%2Ffin')).body).toContain(pageOf('finn'))
  })

  it('shows nothing where it cannot be put on record', async () => {
    office.setWritable(false)
    for (const path of ['/console/people', '/console/people?show=sessions', pageOf('finn')]) {
      const page = await visit('admin', path)
      expect([path, page.status]).toEqual([path, 503])
      expect(page.body).not.toContain('finn')
    }
    office.setWritable(true)
  })

  it('teaches where nobody fits, and takes a cursor and a filter of nonsense', async () => {
    expect((await visit('admin', '/console/people?q=nobody-at-all')).body).toContain('Nobody fits')
    expect((await visit('admin', '/console/people?after=%00%FF&group=%00')).status).toBe(200)
    expect((await visit('admin', `/console/people?q=${'x'.repeat(300)}`)).status).toBe(400)
  })

  it('shows the sessions of all, with what they were let into', async () => {
    const session = await office.signIn('sue', {}, { address: '198.51.100.77' })
    await office.console.host.sessions.openAppSession(session.id, 'https://wiki.corp.example')
    const page = await visit('helpdesk', '/console/people?show=sessions&address=198.51.100.77')
    expect(page.body).toContain('sue@corp.example')
    expect(page.body).toContain('Firefox on Linux')
    expect(page.body).toContain('<bdi>Wiki</bdi>')
    expect((await visit('helpdesk', '/console/people?show=sessions&app=payroll')).body).toContain('No session fits')
  })
})

describe('the page of a person', () => {
  it('says who they are, as last seen, and never a token', async () => {
    await office.signIn('alice', { groups: ['staff', '/Finance'], secret_claim: 'not-named' })
    const { body } = await visit('helpdesk', pageOf('alice'))
    expect(body).toContain('alice@corp.example')
    expect(body).toContain('<bdi>/Finance</bdi>')
    expect(body).toContain('Firefox on Linux')
    expect(body).toContain('pwd, otp')
    expect(body).not.toMatch(/secret-(id|access|refresh)-token|not-named/)
    expect(office.reads.at(-1)).toMatchObject({ what: 'person', target: 'alice@corp.example' })
  })

  it('shows refusals to the helpdesk, and every decision with its explanation to who may read the trail', async () => {
    await office.signIn('dora')
    await office.decide(
      { request: 'req-allowed', sub: 'dora', effect: 'allow', path: '/private/diary' },
      { request: 'req-refused', sub: 'dora', effect: 'deny' },
    )
    const helpdesk = (await visit('helpdesk', pageOf('dora'))).body
    expect(helpdesk).toContain('Recent refusals')
    expect(helpdesk).toContain('no rule matched')
    expect(helpdesk).not.toMatch(/diary|\/console\/trail/)
    const auditor = (await visit('auditor', pageOf('dora'))).body
    expect(auditor).toContain('href="/console/trail/decisions/req-refused"')
    expect(auditor).toContain('/private/diary')
  })

  it.each(['x', '%00', '..%2f..', 'bm9ib2R5', 'aHR0cHM6Ly9vcC5leGFtcGxlCm5vYm9keQ'])('is not there for the reference %s', async (ref) => {
    expect((await visit('admin', `/console/people/${ref}`)).status).toBe(404)
  })

  it('is nothing to somebody without a role', async () => {
    expect((await visit('none', pageOf('alice'))).status).toBe(403)
    expect((await visit('none', pageOf('alice'))).body).not.toContain('alice@')
  })
})

describe('ending sessions', () => {
  it('ends one and says so; another time it says that it was over', async () => {
    const [first, second] = [await office.signIn('bob'), await office.signIn('bob')]
    expect(await notice('helpdesk', `${pageOf('bob')}/revoke`, { session: first.id }, pageOf('bob'))).toContain('1 session ended')
    expect([await isLive(first), await isLive(second)]).toEqual([false, true])
    expect(await notice('helpdesk', `${pageOf('bob')}/revoke`, { session: first.id }, pageOf('bob'))).toContain('ended already')
  })

  it('ends all, with what is open under them', async () => {
    const sessions = [await office.signIn('ben'), await office.signIn('ben')]
    office.setConnections(1)
    const said = await notice('helpdesk', `${pageOf('ben')}/revoke`, {}, pageOf('ben'))
    expect(said).toBe('2 sessions ended; 1 open connection is being closed.')
    office.setConnections(undefined)
    expect(await Promise.all(sessions.map(isLive))).toEqual([false, false])
    const recorded = office.console.events.filter(({ event }) => event === 'sessions.revoked').at(-1)
    expect(recorded).toMatchObject({ actor: 'person:sub-helpdesk', target: 'ben' })
  })

  it('ends no session of somebody else by its id', async () => {
    const [bob, carol] = [await office.signIn('bob'), await office.signIn('carol')]
    await office.console.submit('helpdesk', `${pageOf('bob')}/revoke`, { session: carol.id }, { from: pageOf('bob') })
    expect([await isLive(bob), await isLive(carol)]).toEqual([true, true])
  })
})

describe('locking a person', () => {
  it('is with a reason and an end, and is lifted again', async () => {
    await office.signIn('lou')
    const form = { reason: 'left the company', until: '8h' }
    expect(await notice('helpdesk', `${pageOf('lou')}/lock`, form, pageOf('lou'))).toMatch(/^lou@corp\.example is locked until 20/)
    expect(await lockOn('lou')).toMatchObject({ reason: 'left the company', by: 'person:sub-helpdesk' })
    expect((await visit('auditor', pageOf('lou'))).body).toContain('left the company')
    expect(await notice('helpdesk', `${pageOf('lou')}/unlock`, { reason: 'back' }, pageOf('lou'))).toContain('is lifted')
    expect(await lockOn('lou')).toBeUndefined()
  })

  it.each([
    [{ reason: '', until: '8h' }, 'lock-reason-error'],
    [{ reason: 'x', until: 'at', until_at: '' }, 'lock-until-at-error'],
    [{ reason: 'x', until: 'at', until_at: '2020-01-01T00:00' }, 'lock-until-at-error'],
    [{ reason: 'x', until: 'tomorrow' }, 'lock-until-at-error'],
  ])('says what is wrong with %j at its field', async (form, field) => {
    await office.signIn('moe')
    const page = await office.console.submit('helpdesk', `${pageOf('moe')}/lock`, form, { from: pageOf('moe') })
    expect(page.status).toBe(400)
    expect(page.body).toContain(`id="${field}"`)
    expect(await lockOn('moe')).toBeUndefined()
  })

  it('asks once more where it is oneself', async () => {
    const own = `/console/people/${office.ref('sub-admin')}`
    const asked = await office.console.submit('admin', `${own}/lock`, { reason: 'a test', until: '' }, { from: own })
    expect([asked.status, await lockOn('sub-admin')]).toEqual([409, undefined])
    expect(asked.body).toContain('value="lock me out"')
    const byLocks = { on: 'subject', name: 'sub-admin', reason: 'a test', until: '1h' }
    expect((await office.console.submit('admin', '/console/locks', byLocks, { from: '/console/locks' })).status).toBe(409)
    expect(await lockOn('sub-admin')).toBeUndefined()
    await office.console.submit('admin', `${own}/lock`, { reason: 'a test', until: '1h', confirm: 'lock me out' }, { from: own })
    expect(await lockOn('sub-admin')).toBeDefined()
    await office.access.orders.unlock({ on: 'subject', name: 'sub-admin', reason: 'over' }, 'os:test@test')
  })
})

describe('the helpdesk', () => {
  it('does nothing against an admin, by any form and any name', async () => {
    const admin = office.console.session('admin')
    const own = `/console/people/${office.ref('sub-admin')}`
    const bob = await office.signIn('bob')
    await office.access.devices.register(laptop('ada-laptop', { owner: 'admin@corp.example' }), 'os:test@test')
    const shown = (await visit('helpdesk', own)).body
    expect(shown).toContain('only another admin')
    expect(shown).not.toMatch(/<form[^>]+method="post"/)
    const attempts: [string, Record<string, string>][] = [
      [`${own}/revoke`, {}],
      [`${own}/lock`, { reason: 'x', until: '8h' }],
      [`${own}/unlock`, { reason: 'x' }],
      ['/console/locks', { on: 'subject', name: 'admin@corp.example', reason: 'x', until: '' }],
      ['/console/locks', { on: 'subject', name: 'ADMIN@corp.example', reason: 'x', until: '' }],
      ['/console/locks', { on: 'subject', name: 'sub-admin', reason: 'x', until: '' }],
      ['/console/locks', { on: 'device', name: 'ada-laptop', reason: 'x', until: '' }],
      ['/console/locks', { on: 'app', name: 'wiki', reason: 'x', until: '' }],
      ['/console/locks/lift', { on: 'subject', name: 'sub-admin' }],
      ['/console/locks/lift', { on: 'app', name: 'wiki' }],
      ['/console/devices/ada-laptop/block', { reason: 'x' }],
      ['/console/devices/ada-laptop/unblock', {}],
    ]
    for (const [path, fields] of attempts) {
      const answer = await office.console.submit('helpdesk', path, fields)
      expect([path, fields, answer.status, answer.headers['x-postern']]).toEqual([path, fields, 403, 'target_protected'])
    }
    // A session's id is no way around it: not on the admin's page, not on another's.
    expect((await office.console.submit('helpdesk', `${own}/revoke`, { session: admin.id })).status).toBe(403)
    await office.console.submit('helpdesk', `/console/people/${office.ref('bob')}/revoke`, { session: admin.id })
    expect([await isLive(admin), await isLive(bob)]).toEqual([true, true])
    expect(await office.access.locks.loadAll()).toEqual([])
    expect((await office.access.devices.find('ada-laptop'))?.status.state).toBe('active')
  })

  it('neither registers, tags nor removes devices, and is shown no form for it', async () => {
    await office.access.devices.register(laptop('tablet-1'), 'os:test@test')
    const page = (await visit('helpdesk', '/console/devices/tablet-1')).body
    expect(page).toContain('/console/devices/tablet-1/block')
    expect(page).not.toMatch(/\/tags"|\/remove"/)
    expect((await visit('helpdesk', '/console/devices')).body).not.toContain('Register a device')
    for (const [path, fields] of [
      ['/console/devices', { id: 'mine' }],
      ['/console/devices/tablet-1/tags', { tags: 'finance' }],
      ['/console/devices/tablet-1/remove', { typed: 'tablet-1' }],
    ] as const) {
      expect((await office.console.submit('helpdesk', path, fields)).status).toBe(403)
    }
    expect(await office.access.devices.find('tablet-1')).toMatchObject({ tags: [] })
  })
})

const changes = (): [string, Record<string, string>][] => [
  [`${pageOf('bob')}/revoke`, {}],
  [`${pageOf('bob')}/lock`, { reason: 'x', until: '1h' }],
  [`${pageOf('bob')}/unlock`, { reason: 'x' }],
  ['/console/locks', { on: 'subject', name: 'bob', reason: 'x', until: '' }],
  ['/console/locks/lift', { on: 'subject', name: 'bob' }],
  ['/console/devices', { id: 'new-device' }],
  ['/console/devices/tablet-1/block', { reason: 'x' }],
  ['/console/devices/tablet-1/unblock', {}],
  ['/console/devices/tablet-1/tags', { tags: 'x' }],
  ['/console/devices/tablet-1/remove', { typed: 'tablet-1' }],
]

describe('a change', () => {
  it('is refused to an auditor, to somebody without a role, without the token, and from elsewhere', async () => {
    const bob = await office.signIn('bob')
    for (const [path, fields] of changes()) {
      const told = [
        (await office.console.submit('auditor', path, fields)).status,
        (await office.console.submit('none', path, fields)).status,
      ]
      const untokened = await office.console.submit('admin', path, { ...fields, form_token: 'x' })
      const foreign = await office.console.submit('admin', path, fields, {
        headers: { origin: 'https://wiki.corp.example', 'sec-fetch-site': 'same-site' },
      })
      expect([path, ...told, untokened.status, foreign.status]).toEqual([path, 403, 403, 403, 403])
    }
    expect(await isLive(bob)).toBe(true)
    expect(await office.access.locks.loadAll()).toEqual([])
    expect(await office.access.devices.find('new-device')).toBeUndefined()
  })
})

describe('the page of locks', () => {
  it.each([
    [{ on: 'app', name: 'no-app' }, 'has no app of this id'],
    [{ on: 'service', name: 'no-service' }, 'has no service of this name'],
    [{ on: 'device', name: 'no-device' }, 'has no device'],
    [{ on: 'subject', name: 'nobody@corp.example' }, 'Nobody has signed in here'],
    [{ on: 'everything', name: 'x' }, 'subject, service, device or app'],
  ])('refuses %j, which would lock nothing', async (what, words) => {
    const page = await office.console.submit('admin', '/console/locks', { ...what, reason: 'x', until: '1h' }, { from: '/console/locks' })
    expect([page.status, page.body.includes('id="lock-name-error"')]).toEqual([400, true])
    expect(page.body).toContain(words)
    expect(await office.access.locks.loadAll()).toEqual([])
  })

  it('locks an app and lifts it', async () => {
    const form = { on: 'app', name: 'wiki', reason: 'an incident', until: '1h' }
    expect(await notice('admin', '/console/locks', form, '/console/locks')).toContain('wiki is locked until')
    const helpdesk = (await visit('helpdesk', '/console/locks')).body
    expect(helpdesk).toContain('an incident')
    expect(helpdesk).not.toMatch(/value="app"|action="\/console\/locks\/lift"/)
    expect((await visit('admin', '/console/locks')).body).toContain('action="/console/locks/lift"')
    expect(await notice('admin', '/console/locks/lift', { on: 'app', name: 'wiki' }, '/console/locks')).toContain('is lifted')
    expect(await notice('admin', '/console/locks/lift', { on: 'app', name: 'wiki' }, '/console/locks')).toContain('is not locked')
  })
})

describe('what others chose', () => {
  it('is text on every page that it reaches', async () => {
    await office.signIn(
      hostile,
      { email: `${hostile}@corp.example`, name: hostile, groups: [hostile], preferred_username: hostile, device: 'evil-1' },
      { userAgent: hostile, address: '203.0.113.66', device: { certificate: 'ab'.repeat(32), names: [hostile] } },
    )
    await office.access.devices.register(
      laptop('evil-1', { name: hostile, owner: hostile, serial: hostile, attributes: { os: hostile } }),
      `person:${hostile}`,
    )
    await office.access.locks.set(
      {
        target: { kind: 'subject', issuer: office.console.host.provider.issuer, sub: hostile },
        label: hostile,
        until: undefined,
        reason: hostile,
      },
      `person:${hostile}`,
    )
    await office.decide({ request: 'req-evil', sub: hostile, effect: 'deny', path: `/${hostile}` })
    for (const path of [
      `/console/people?q=${encodeURIComponent('onerror')}`,
      `/console/people?q=${encodeURIComponent(hostile)}&group=${encodeURIComponent(hostile)}`,
      `/console/people?show=sessions&address=203.0.113.66&device=${encodeURIComponent(hostile)}`,
      pageOf(hostile),
      `/console/devices?q=${encodeURIComponent(hostile)}&tag=${encodeURIComponent('<script>')}`,
      '/console/devices?q=evil',
      '/console/devices/evil-1',
      '/console/locks',
    ]) {
      const { body, status } = await visit('admin', path)
      expect([path, status]).toEqual([path, 200])
      expect(body).not.toMatch(/<img src=x|<script>|onerror=alert\(1\)>/)
      expect(body).not.toContain(hostile)
      if (!path.includes('evil-1')) expect(body).toContain('&lt;img src=x')
    }
    const back = await office.console.submit('admin', '/console/locks', { on: hostile, name: hostile, reason: hostile, until: hostile })
    expect(back.status).toBe(400)
    expect(back.body).not.toContain('<img src=x')
    await office.access.orders.unlock({ on: 'subject', name: hostile, reason: 'over' }, 'os:test@test')
  })
})
