/** Pages of open connections on a real access host: what they show, whom they let cut, what is on record, and the live stream. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type AdministeredConnections,
  createConnections,
  type LocalConnections,
  type OpenConnection,
} from '../../administration/connections.ts'
import { createErrands, type RunningErrands } from '../../administration/errands-over-store.ts'
import { silentLog } from '../../session/session.fixture.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createConnectionsOperations } from '../operations/connections.ts'
import { bytesWords } from './connections-content.ts'
import { mountConnectionsPages } from './connections-pages.ts'
import { startConsole, type TestConsole } from './console.fixture.ts'

const hostile = '"><script>alert(1)</script>\u202e'

let entries: OpenConnection[] = []
const local: LocalConnections = {
  list({ app, id, limit, after, subject }) {
    const wanted = entries.filter(
      (one) =>
        (app === undefined || one.app === app) &&
        (id === undefined || one.id === id) &&
        (subject === undefined || one.subject.sub === subject),
    )
    const behind = wanted.filter(({ since }) => after === undefined || since < after.since).sort((a, b) => b.since - a.since)
    return {
      entries: behind.slice(0, limit),
      more: Math.max(0, behind.length - limit),
      byApp: [...new Set(wanted.map((one) => one.app))].map((one) => [one, 1] as const),
    }
  },
  count: () => entries.length,
  cut(id) {
    const before = entries.length
    entries = entries.filter((one) => one.id !== id)
    return entries.length < before
  },
}

function connection(id: string, changes: Partial<OpenConnection> = {}): OpenConnection {
  return {
    id,
    app: 'wiki',
    kind: 'websocket',
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'alice', email: 'alice@corp.example' },
    session: 's1',
    device: 'laptop-7',
    address: '192.0.2.1',
    since: Date.now() - 300_000,
    bytesIn: 1_500,
    bytesOut: 2_000_000,
    method: 'GET',
    path: '/ws',
    ...changes,
  }
}

describe('the page of open connections', () => {
  let errands: RunningErrands
  let page: TestConsole
  beforeAll(async () => {
    page = await startConsole({
      mounts: ({ events, live, sealer, store }) => {
        errands = createErrands({
          store,
          keys: sealer.keys,
          log: silentLog,
          now: sealer.now,
          monotonicNow: () => performance.now(),
          instance: 'one',
          version: '1',
          policyVersion: () => 'p',
          live,
        })
        const recordFirst = async (event: (typeof events)[number]) => void events.push(event)
        const connections: AdministeredConnections = createConnections({
          errands,
          local,
          people: { isProtected: async ({ sub }) => sub === 'boss' },
          recordFirst,
          monotonicNow: () => performance.now(),
        })
        const operations = createConnectionsOperations({ connections, recordFirst })
        return [(routes) => mountConnectionsPages(routes, { operations, connections, carryOut: createCarryOut(), now: sealer.now })]
      },
    })
  })
  beforeEach(() => {
    entries = []
    page.events.length = 0
  })
  afterAll(async () => {
    await errands.close()
    await page.close()
  })

  it('teaches what will be here while nothing is open', async () => {
    const { body, status } = await page.visit('auditor', '/console/connections?app=none-at-all')
    expect(status).toBe(200)
    expect(body).toContain('Nothing open fits')
  })

  it('shows app, person, kind, age, bytes, address, device and request, and is on record', async () => {
    entries = [connection('r1'), connection('r2', { app: 'crm', kind: 'event_stream', subject: { kind: 'nobody' }, device: undefined })]
    const { body } = await page.visit('admin', '/console/connections?a=1')
    expect(body).toContain('2 connections are open.')
    for (const text of [
      'wiki',
      'crm',
      'alice@corp.example',
      'WebSocket',
      'Event stream',
      '5 min ago',
      '1.5 kB',
      '2.0 MB',
      '192.0.2.1',
      'laptop-7',
      'GET /ws',
      'nobody',
    ])
      expect(body).toContain(text)
    expect(body).toContain('href="/console/trail/decisions/r1"')
    expect(page.events.filter(({ event }) => event === 'data.read')).toEqual([
      { event: 'data.read', actor: 'person:sub-admin', what: 'connections', target: undefined, entries: 2 },
    ])
  })

  it('prints what others chose as text', async () => {
    entries = [
      connection(hostile, {
        app: hostile,
        address: hostile,
        device: hostile,
        path: hostile,
        subject: { kind: 'person', issuer: 'https://op.example', sub: hostile, email: hostile },
      }),
    ]
    const { body } = await page.visit('admin', `/console/connections?subject=${encodeURIComponent(hostile)}`)
    expect(body).not.toContain('<script>alert')
    expect(body).toContain('&lt;script&gt;alert')
  })

  it('cuts one for the helpdesk, with the reason on record, and says so', async () => {
    entries = [connection('r1'), connection('r2')]
    const answer = await page.submit(
      'helpdesk',
      '/console/connections/cut',
      { connection: 'r1', reason: 'left', app: 'wiki' },
      { from: '/console/connections' },
    )
    expect(answer.status).toBe(303)
    expect(answer.location?.search).toContain('app=wiki')
    expect((await page.follow('helpdesk', answer)).body).toContain('The connection to wiki was cut.')
    expect(entries.map(({ id }) => id)).toEqual(['r2'])
    expect(page.events).toContainEqual({
      event: 'connection.cut',
      actor: 'person:sub-helpdesk',
      request: 'r1',
      app: 'wiki',
      target: 'alice',
      reason: 'left',
    })
    const again = await page.submit('helpdesk', '/console/connections/cut', { connection: 'r1' }, { from: '/console/connections' })
    expect((await page.follow('helpdesk', again)).body).toContain('not open any more')
  })

  it('does not let the helpdesk cut an admin, nor an auditor anybody', async () => {
    entries = [connection('r1', { subject: { kind: 'person', issuer: 'https://op.example', sub: 'boss' } })]
    const refused = await page.submit('helpdesk', '/console/connections/cut', { connection: 'r1' }, { from: '/console/connections' })
    expect(refused.status).toBe(403)
    expect((await page.submit('auditor', '/console/connections/cut', { connection: 'r1' })).status).toBe(403)
    expect((await page.visit('auditor', '/console/connections')).body).not.toContain('name="connection"')
    expect(entries).toHaveLength(1)
    expect((await page.visit('none', '/console/connections')).status).toBe(403)
  })

  it('leads through pages without losing one', async () => {
    entries = Array.from({ length: 130 }, (_, i) => connection(`r${i}`, { since: 1_000_000 + i }))
    const first = (await page.visit('admin', '/console/connections?app=wiki&subject=alice')).body
    const next = /rel="next" href="([^"]+)"/.exec(first)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const second = (await page.visit('admin', next)).body
    const idsIn = (body: string) => [...body.matchAll(/<tr data-id="(r\d+)"/g)].map(([, id]) => id)
    expect(idsIn(first)).toHaveLength(100)
    expect(new Set([...idsIn(first), ...idsIn(second)]).size).toBe(130)
    expect(second).not.toContain('data-live=')
  })

  it('keeps fresh by a stream of the same numbers', async () => {
    entries = [connection('r1', { bytesIn: 77 })]
    const browser = page.browser('auditor')
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const stop = new AbortController()
    const response = await fetch(`http://127.0.0.1:${page.host.port}/console/connections/live?subject=alice`, {
      headers: { cookie, host: 'access.corp.example', accept: 'text/event-stream', 'sec-fetch-site': 'same-origin' },
      signal: stop.signal,
    })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true })
      if (text.includes('data: ')) break
    }
    stop.abort()
    expect(JSON.parse(/data: (.*)/.exec(text)?.[1] ?? '')).toMatchObject({ total: 1, rows: [{ id: 'r1', received: '77 B' }], silent: [] })
    expect(page.events.filter(({ event }) => event === 'data.read')).toHaveLength(1)
  })

  it('says bytes shortly', () => {
    expect([0, 999, 1_000, 12_345, 999_999_999, 3e12].map(bytesWords)).toEqual(['0 B', '999 B', '1.0 kB', '12 kB', '1.0 GB', '3.0 TB'])
  })
})
