/** Requests in the console: who reads and answers them, what is recorded, and what payloads become. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AccessRequests, type AccessRequestsRecord, createAccessRequests } from '../../administration/access-requests.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import { refOf } from '../../administration/person-ref.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createRequestsOperations, type RequestsOperations } from '../operations/requests.ts'
import { startConsole, type TestConsole } from './console.fixture.ts'
import { mountRequestsPages } from './requests-pages.ts'

const payload = `"><script>alert(1)</script>`
const path = '/console/requests'
let ui: TestConsole
let requests: AccessRequests
let operations: RequestsOperations
const carryOut = createCarryOut()

beforeEach(async () => {
  ui = await startConsole({
    mounts: ({ events, log, sealer, store }) => {
      requests = createAccessRequests({
        records: createDurableRecords<AccessRequestsRecord>('access_request', { store, keys: sealer.keys, log }),
        loadNow: () => store.loadNow(),
        monotonicNow: sealer.now,
        record: (event) => void events.push(event),
      })
      operations = createRequestsOperations({ requests, recordFirst: async (event) => void events.push(event) })
      return [(routes) => mountRequestsPages(routes, { requests: operations, carryOut })]
    },
  })
})
afterEach(() => ui.close())

async function ask(sub: string, app = 'payroll', reason = 'for the minutes'): Promise<string> {
  const asked = await requests.ask({
    person: { issuer: 'https://op.example', sub },
    label: `${sub}@corp.example`,
    email: undefined,
    app: { id: app, name: app },
    reason,
    lack: {
      reason: 'no_rule_matched',
      rule: 'finance',
      unmet: [{ condition: 'device', outcome: 'unknown', remedy: 'device_unidentified' }],
    },
    request: 'r1',
  })
  return asked.outcome === 'asked' ? asked.request.id : ''
}

describe('the page', () => {
  it('teaches while it is empty, then shows who, what, why and what they lacked, and is on record as read', async () => {
    expect((await ui.visit('admin', path)).body).toContain('Nothing is waiting')
    await ask('alice')
    const { body } = await ui.visit('admin', path)
    expect(body).toContain(`href="/console/people/${refOf({ issuer: 'https://op.example', sub: 'alice' })}"`)
    expect(body).toContain('href="/console/apps/payroll"')
    expect(body).toMatch(
      /for the minutes.*No rule allows this person.*finance.*does not say which device it comes from\. \(It is not known\.\)/s,
    )
    expect(ui.events).toContainEqual({
      event: 'data.read',
      actor: 'person:sub-admin',
      what: 'access_requests',
      target: undefined,
      entries: 1,
    })
  })

  it('is read by auditor and helpdesk without a form, and answered by neither', async () => {
    const id = await ask('alice')
    for (const person of ['auditor', 'helpdesk'] as const) {
      const { body, status } = await ui.visit(person, path)
      expect([status, body.includes('for the minutes'), body.includes('Mark as seen')]).toEqual([200, true, false])
      expect((await ui.submit(person, path, { id, state: 'answered', note: 'yes' })).status).toBe(403)
    }
    expect((await ui.visit('none', path)).status).toBe(403)
    expect((await requests.list()).requests[0]?.state).toBe('open')
  })

  it('takes a note as seen and as an answer, which needs one, at its field', async () => {
    const id = await ask('alice')
    const seen = await ui.submit('admin', path, { id, state: 'seen', note: '', show: 'waiting' }, { from: path })
    expect((await ui.follow('admin', seen)).body).toContain('The request of alice@corp.example for payroll is noted as seen.')
    const empty = await ui.submit('admin', path, { id, state: 'answered', note: ' ' }, { from: path })
    expect(empty.status).toBe(400)
    expect(empty.body).toMatch(/aria-invalid="true" aria-describedby="note-0-error".*Say what you answer/s)
    const answered = await ui.submit(
      'admin',
      path,
      { id, state: 'answered', note: 'From Monday on.', show: 'all' },
      { from: `${path}?show=all` },
    )
    expect(answered.location?.search).toBe('?show=all')
    expect((await ui.follow('admin', answered)).body).toMatch(
      /Answered.*From Monday on\..*by <bdi>admin@corp\.example|Answered.*From Monday on\..*by <bdi>/s,
    )
    expect((await ui.visit('admin', path)).body).toContain('Nothing is waiting')
    expect(ui.events).toContainEqual(
      expect.objectContaining({
        event: 'access.request_answered',
        actor: 'person:sub-admin',
        state: 'answered',
        reason: 'From Monday on.',
        target: 'alice',
      }),
    )
    const gone = await ui.submit('admin', path, { id: 'A'.repeat(22), state: 'seen', note: '' })
    expect((await ui.follow('admin', gone)).body).toContain('There is no such request any more.')
  })

  it('refuses a form without its token or from another site', async () => {
    const id = await ask('alice')
    expect((await ui.submit('admin', path, { id, state: 'seen', form_token: 'x' })).status).toBe(403)
    expect((await ui.submit('admin', path, { id, state: 'seen' }, { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(403)
    expect((await requests.list()).requests[0]?.state).toBe('open')
  })

  it('prints what people wrote as text', async () => {
    await ask(payload, payload, payload)
    const { body } = await ui.visit('admin', path)
    expect(body).not.toContain('<script>')
    expect(body).toContain('href="/console/apps/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E"')
  })
})

describe('the operation', () => {
  it('lists page by page, the newest first, every one once', async () => {
    for (let index = 0; index < 7; index++) await ask(`p${index}`)
    const asker = ui.asker('admin')
    const seen: string[] = []
    let after: string | undefined
    do {
      const page = await carryOut(operations.list, { limit: 3, ...(after === undefined ? {} : { after }) }, asker)
      if (page.outcome !== 'done') throw new TypeError(page.message)
      seen.push(...page.value.entries.map(({ id }) => id))
      after = page.value.next ?? undefined
    } while (after !== undefined)
    expect(seen).toEqual((await requests.list()).requests.map(({ id }) => id))
    expect(new Set(seen).size).toBe(7)
    expect(await carryOut(operations.list, { after: '1.x' }, asker)).toMatchObject({ outcome: 'refused', problem: 'malformed' })
  })

  it('is not for those who may not', async () => {
    const asker = { ...ui.asker('auditor'), permissions: new Set(['overview:read'] as const) }
    expect(await carryOut(operations.list, {}, asker)).toMatchObject({ outcome: 'refused', problem: 'not_permitted' })
  })
})
