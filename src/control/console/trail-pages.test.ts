/** The pages of the trail and the access review on a real access host: what they show, to whom, what is on record, and that no text becomes markup. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startTestTrails, subject, type TestTrails } from '../../administration/trail-instances.fixture.ts'
import { person } from '../../policy/policy.fixture.ts'
import { createTestLive } from '../../session/session.fixture.ts'
import { createAccessReviewOperations } from '../operations/access-review.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createTrailOperations } from '../operations/trail.ts'
import { createTrailExport } from '../operations/trail-export.ts'
import { startConsole, type TestConsole } from './console.fixture.ts'
import { mountReviewPages } from './review-pages.ts'
import { mountTrailPages } from './trail-pages.ts'

const hostile = '"><script>alert(1)</script>\u202e'
const escaped = '&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;'

describe('the pages of the trail', () => {
  let page: TestConsole
  let trails: TestTrails
  let startAt: number
  beforeAll(async () => {
    let starting: Promise<TestTrails> | undefined
    // The host builds its pages before the trails are there: they are asked for when a page is.
    const later = <T extends object>(find: (ready: TestTrails) => T): T =>
      new Proxy({} as T, { get: (_, name) => Reflect.get(find(trails), name) as unknown })
    page = await startConsole({
      mounts: ({ events, live, sealer, store }) => {
        startAt = sealer.now() - 3_600_000
        const lives = [live, createTestLive({ store, clock: { now: sealer.now, move: () => undefined } })] as const
        starting = startTestTrails({
          store,
          keys: sealer.keys,
          now: sealer.now,
          lives,
          startAt,
          subjects: [subject, person({ sub: 'u2' })],
        })
        const recordFirst = async (event: (typeof events)[number]) => void events.push(event)
        const carryOut = createCarryOut()
        const window = later((ready) => ready.window)
        const desk = later((ready) => ready.desk)
        const runs = later((ready) => ready.runs)
        const operations = createTrailOperations({ window, desk, runs, policy: () => trails.policy, scheme: 'https', recordFirst })
        const exportTrail = createTrailExport({ desk, recordFirst })
        const review = createAccessReviewOperations({ runs, hasApp: (id) => id === 'wiki', recordFirst })
        return [
          (routes) => mountTrailPages(routes, { operations, exportTrail, carryOut, window, recordFirst }),
          (routes) => mountReviewPages(routes, { operations: review, carryOut, listApps: () => ['wiki'] }),
        ]
      },
    })
    trails = await (starting ?? expect.fail())
    const [one, two] = trails.instances
    one.decide('r1', { path: `/${hostile}`, userAgent: hostile })
    one.add({
      event: 'access.ended',
      request: 'r1',
      app: 'wiki',
      status: 200,
      bytesIn: 0,
      bytesOut: 5,
      durationMs: 12,
      outcome: 'completed',
      reason: undefined,
    })
    two.decide('r2', {
      effect: 'deny',
      reason: 'no_rule_matched',
      rule: undefined,
      subject: { kind: 'person', issuer: 'https://op.example', sub: hostile, email: hostile },
    })
    two.add({ event: 'lock.set', actor: hostile, on: 'app', target: hostile, label: hostile, until: undefined, reason: hostile })
    await trails.settle()
  }, 30_000)
  beforeEach(() => {
    page.events.length = 0
  })
  afterAll(async () => {
    await trails.close()
    await page.close()
  })

  it.each(['/console/trail', '/console/trail/decisions/r1', '/console/trail/verify', '/console/trail/export', '/console/review'])(
    'are for auditors and admins: %s',
    async (path) => {
      expect((await page.visit('admin', path)).status).toBe(200)
      expect((await page.visit('auditor', path)).status).toBe(200)
      for (const who of ['helpdesk', 'none'] as const) expect((await page.visit(who, path)).status).toBe(403)
    },
  )

  it('list events newest first, each with who, what, how it came out and why, and are on record', async () => {
    const { body } = await page.visit('auditor', '/console/trail?effect=deny')
    expect(body).toContain('No rule allows this person to do this.')
    expect(body).toContain('<span class="badge bad">denied</span>')
    expect(body).toContain('href="/console/trail/decisions/r2"')
    expect(body).not.toContain('decisions/r1"')
    expect(page.events).toMatchObject([{ event: 'data.read', actor: 'person:sub-auditor', what: 'audit' }])
    expect((await page.visit('auditor', '/console/trail?q=ada@corp.example')).location?.search).toBe(
      '?subject=ada%40corp.example&show=everything',
    )
  })

  it('list decisions first, changes and everything by tabs that keep the filters, and one event wherever it is named', async () => {
    const rowsOf = async (query: string) => {
      const { body, status } = await page.visit('auditor', `/console/trail${query}`)
      const [tabs = ''] = /<nav class="tabs trail-tabs".*?<\/nav>/s.exec(body) ?? []
      const current = /aria-current="page">([^<]+)/.exec(tabs)?.[1]
      const table = body.slice(body.indexOf('<tbody>'), body.indexOf('</tbody>'))
      const shown = { decisions: /decisions\/r2"/.test(table), changes: />Lock set</.test(table), ends: />Access ended</.test(table) }
      return { status, current, body, shown: Object.entries(shown).flatMap(([name, is]) => (is ? name : [])) }
    }
    expect(await rowsOf('')).toMatchObject({ current: 'Decisions', shown: ['decisions'] })
    expect(await rowsOf('?show=decisions')).toMatchObject({ current: 'Decisions', shown: ['decisions'] })
    expect(await rowsOf('?show=changes')).toMatchObject({ status: 200, current: 'Changes', shown: ['changes'] })
    expect(await rowsOf('?show=everything')).toMatchObject({ current: 'Everything', shown: ['decisions', 'changes', 'ends'] })
    expect(await rowsOf('?show=whatever')).toMatchObject({ current: 'Decisions', shown: ['decisions'] })
    // What a decision alone does not tell is shown whole, and an event is narrower than every tab.
    expect(await rowsOf('?request=r1')).toMatchObject({ current: 'Everything', shown: ['ends'] })
    expect(await rowsOf('?reason=suspicion')).toMatchObject({ current: 'Everything' })
    expect(await rowsOf('?event=access.ended&show=decisions')).toMatchObject({ current: undefined, shown: ['ends'] })
    const { body } = await rowsOf('?app=wiki&event=access.ended&show=changes')
    expect(body).toContain('href="/console/trail?app=wiki&amp;show=decisions"')
    const filtered = (await rowsOf('?app=wiki&effect=allow&show=everything')).body
    expect(filtered).toContain('<input type="hidden" name="show" value="everything">')
    expect(filtered).toContain('href="/console/trail?app=wiki&amp;effect=allow&amp;show=changes"')
    expect(filtered).toMatch(/data-trail-follow="[^"]*&amp;show=everything"/)
    const empty = (await rowsOf('?app=nowhere&show=changes')).body
    expect(empty).toContain('Among the changes that are recent there is none like this.')
    expect(empty).toContain('href="/console/trail?app=nowhere&amp;show=everything"')
  })

  it('print what strangers chose as text, in rows, details and explanations', async () => {
    for (const path of ['/console/trail', '/console/trail/decisions/r1', `/console/trail?subject=${encodeURIComponent(hostile)}`]) {
      const { body } = await page.visit('auditor', path)
      expect(body).not.toContain('<script>alert')
      expect(body).toContain(escaped)
      // Turned round it would only be within its own <bdi>.
      for (const [, before] of body.matchAll(/(<bdi>|value=")[^<"]*\u202e/g)) expect(before).toBeDefined()
    }
  })

  it('say which field cannot be searched for, and show nothing', async () => {
    const { body, status } = await page.visit('auditor', '/console/trail?effect=perhaps&since=yesterday')
    expect(status).toBe(400)
    expect(body).toContain('id="trail-since-error"')
    expect(page.events).toEqual([])
  })

  it('search the files of every instance where the recent events are not enough', async () => {
    const { body } = await page.visit('auditor', '/console/trail?where=files&app=wiki')
    expect(body).toContain('decisions/r1')
    expect(body).toContain('decisions/r2')
  })

  it('explain a decision: rule, condition, what it was, source and age, how it ended, and where to try it again', async () => {
    const { body } = await page.visit('admin', '/console/trail/decisions/r1')
    for (const text of [
      'staff',
      'device.disk_encrypted',
      'this decided',
      'report',
      '1 h',
      'completed, status 200',
      '/console/policy/what-if?request=r1',
    ])
      expect(body).toContain(text)
    expect(page.events).toMatchObject([{ event: 'data.read', what: 'explanation', target: 'r1' }])
    const missing = await page.visit('admin', '/console/trail/decisions/none')
    expect(missing.status).toBe(404)
    expect(missing.body).toContain('No trail has a decision about this request')
  })

  it('verify with a button, show how far it is, and the verdict in words', async () => {
    const begun = await page.submit('auditor', '/console/trail/verify', {}, { from: '/console/trail/verify' })
    expect(begun.status).toBe(303)
    const path = `${begun.location?.pathname}${begun.location?.search}`
    await expect
      .poll(async () => (await page.visit('auditor', path)).body, { timeout: 15_000 })
      .toContain('<strong>Verified and complete</strong>')
    expect((await page.visit('auditor', path)).body).toContain('verified and complete: lines 1 to')
    expect((await page.visit('auditor', '/console/trail/verify?run=aaaaaaaaaaaaaaaaaaaaaa')).body).toContain('not known any more')
    expect((await page.submit('helpdesk', '/console/trail/verify')).status).toBe(403)
  }, 30_000)

  it('export what fits as a file, and refuse a period that is none', async () => {
    const period = `since=${new Date(startAt - 1000).toISOString()}&until=${new Date(startAt + 3_600_000).toISOString()}`
    const { body, headers, status } = await page.visit(
      'auditor',
      `/console/trail/export?download=1&format=csv&event=access.decided&${period}`,
    )
    expect(status).toBe(200)
    expect(headers['content-disposition']).toContain('attachment; filename="audit-')
    expect(body.split('\r\n').filter((line) => line.includes('access.decided'))).toHaveLength(2)
    expect(body.startsWith('time,event,')).toBe(true)
    const bad = await page.visit('auditor', `/console/trail/export?download=1&format=csv&since=${new Date(startAt).toISOString()}`)
    expect(bad.status).toBe(409)
    expect(bad.body).toContain('id="export-until-error"')
  })

  it('follow live: what is written appears as a row, as text', async () => {
    const { body } = await page.visit('auditor', '/console/trail?app=wiki')
    expect(body).toContain('data-trail-follow="/console/trail/follow?app=wiki"')
    const cookie = [...page.browser('auditor').cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(`http://127.0.0.1:${page.host.port}/console/trail/follow?subject=u9`, {
      headers: { cookie, host: 'access.corp.example', accept: 'text/event-stream', 'sec-fetch-site': 'same-origin' },
    })
    expect(response.status).toBe(200)
    expect(page.events).toMatchObject([{ what: 'audit' }, { event: 'data.read', what: 'audit', target: 'u9' }])
    const decoder = new TextDecoder()
    let text = ''
    // The stream tells of what is written after its first look: one is written whenever it has looked.
    const adding = (async () => {
      for (let round = 0; round < 20 && !text.includes('r9'); round += 1) {
        trails.instances[0].decide('r9', { subject: { kind: 'person', issuer: 'https://op.example', sub: 'u9' }, path: `/${hostile}` })
        await trails.settle()
        await expect
          .poll(() => text.includes('r9'), { timeout: 1_500 })
          .toBe(true)
          .catch(() => undefined)
      }
    })()
    for await (const chunk of response.body ?? expect.fail()) {
      text += decoder.decode(chunk as Uint8Array, { stream: true })
      if (/data: .*r9/.test(text)) break
    }
    await adding
    expect(JSON.parse(/data: (\{.*\})/.exec(text)?.[1] ?? '')).toMatchObject({
      what: `GET wiki.corp.example/${hostile}`,
      href: '/console/trail/decisions/r9',
      who: { text: 'u9' },
    })
  }, 30_000)

  it('review who has access to what, mark what is not used, and hand it out as a table', async () => {
    const begun = await page.submit('auditor', '/console/review', { app: 'wiki' }, { from: '/console/review' })
    const path = `${begun.location?.pathname}${begun.location?.search}`
    await expect.poll(async () => (await page.visit('auditor', path)).body, { timeout: 15_000 }).toContain('<h1>Access review</h1>')
    await expect.poll(async () => (await page.visit('auditor', path)).body, { timeout: 15_000 }).toContain('Ada@corp.example')
    const { body } = await page.visit('auditor', `${path}&mark=unused`)
    expect(body).toContain('alice@corp.example')
    expect(body).not.toContain('Ada@corp.example')
    const csv = await page.visit('auditor', path.replace('/console/review', '/console/review/export'))
    expect(csv.body).toMatch(/^app,subject,kind,sub,issuer,rule,today,uses,first_used,last_used,mark\r\nwiki,/)
    expect(page.events.at(-1)).toMatchObject({ event: 'data.read', what: 'access_review', target: 'wiki' })
    const bad = await page.submit('auditor', '/console/review', { app: 'none' }, { from: '/console/review' })
    expect(bad.status).toBe(400)
    expect(bad.body).toContain('The policy has no app of this id.')
  }, 30_000)

  it('refuse an export that would lack a trail, unless it is asked for without it', async () => {
    await trails.stopSecond()
    const path = `/console/trail/export?download=1&format=ndjson&since=${new Date(startAt - 1000).toISOString()}&until=${new Date(startAt + 3_600_000).toISOString()}`
    const refused = await page.visit('auditor', path)
    expect(refused.status).toBe(409)
    expect(refused.body).toContain('two-1 (no instance that answered has this chain)')
    expect(refused.body).toContain('name="partial"')
    const { body, status } = await page.visit('auditor', `${path}&partial=1`)
    expect(status).toBe(200)
    expect(body).toContain('"request":"r1"')
    expect(body).not.toContain('"request":"r2"')
  })
})
