/** Asking for access on the portal: for what one may ask, that it is one's own, that the form is ours, and what payloads become. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { App, Rule } from '../policy/document.ts'
import { accessUrl, allow, appOf, type Browser, watchWrites } from './control-plane.fixture.ts'
import { formHeaders, type PersonalHost, startPersonalHost, tokenOf } from './portal.fixture.ts'

const payload = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`
const board: Rule = allow({ kind: 'groups', groups: ['board'] })
const apps: readonly App[] = [
  appOf('payroll', 'https://payroll.corp.example', [board], { portal: 'listed' }),
  appOf('evil', 'https://evil.corp.example', [board], {
    portal: 'listed',
    name: payload,
    description: payload,
    help: `javascript:${payload}`,
  }),
  appOf('layoffs', 'https://layoffs.corp.example', [board]),
  appOf('wiki', 'https://wiki.corp.example', [allow({ kind: 'groups', groups: ['staff'] })]),
]

let host: PersonalHost
let alice: Browser

beforeEach(async () => {
  host = await startPersonalHost({ apps })
  alice = await host.signInAs('alice')
})
afterEach(() => host.close())

const token = async (browser = alice) => tokenOf(await browser.visit('/'))
async function send(form: Record<string, string>, browser = alice, headers: Record<string, string> = formHeaders) {
  return await browser.visit('/requests', { method: 'POST', headers, form })
}
const ask = async (app: string, reason = 'for the minutes', browser = alice) =>
  await send({ form_token: await token(browser), app, reason }, browser)
const idsIn = (body: string) => [...body.matchAll(/name="withdraw" value="([^"]+)"/g)].map((match) => match[1] ?? '')

describe('asking', () => {
  it('is offered beside what is closed, said once, recorded, and shown to the person alone', async () => {
    expect((await alice.visit('/')).body).toContain('Request access<span class="visually-hidden"> to <bdi>Payroll</bdi>')
    const answer = await ask('payroll')
    expect([answer.status, answer.location?.href]).toEqual([303, `${accessUrl.origin}/requests`])
    const { body } = await alice.visit('/requests')
    expect(body).toContain('Your request for Payroll is on its way.')
    expect(body).toMatch(/<bdi>Payroll<\/bdi>.*Not looked at yet.*for the minutes/s)
    expect((await alice.visit('/requests')).body).not.toContain('on its way')
    expect((await alice.visit('/')).body).toContain('You asked for access')
    expect(await host.requests.listOf({ issuer: host.provider.issuer, sub: 'alice' })).toMatchObject([
      { label: 'alice@corp.test', app: { id: 'payroll' }, lack: { reason: 'no_rule_matched', unmet: [{ condition: 'subject' }] } },
    ])
    expect(host.events).toContainEqual(
      expect.objectContaining({
        event: 'access.requested',
        app: 'payroll',
        reason: 'for the minutes',
        subject: expect.objectContaining({ sub: 'alice' }),
      }),
    )
    const bob = await host.signInAs('bob')
    expect((await bob.visit('/requests')).body).not.toContain('minutes')
    expect((await ask('payroll')).status).toBe(303)
    expect((await alice.visit('/requests')).body).toContain('You have asked for this already')
  })

  it('shows what was answered, and does not say who', async () => {
    await ask('payroll')
    const [request] = (await host.requests.list()).requests
    await host.requests.answer(
      request?.id ?? '',
      { state: 'answered', note: `No. ${payload}` },
      { actor: 'person:root', label: 'root@corp.test' },
    )
    const { body } = await alice.visit('/requests')
    expect(body).toContain('No. &quot;&gt;&lt;script&gt;')
    expect(body).not.toContain('root@corp.test')
    expect(idsIn(body)).toEqual([])
  })

  it('for an app that is not on the portal is answered as for none, and for one that is open as that', async () => {
    const answers = await Promise.all(['layoffs', 'nowhere', '__proto__', ''].map((app) => ask(app)))
    expect(answers.map(({ body, status }) => [status, body.replaceAll(/request-\d+/g, 'r')])).toEqual(
      answers.map(() => [404, answers[0]?.body.replaceAll(/request-\d+/g, 'r')]),
    )
    expect((await ask('wiki')).status).toBe(303)
    expect((await alice.visit('/requests')).body).toContain('Wiki is open to you already.')
    expect((await host.requests.list()).requests).toEqual([])
  })

  it('has a form of its own for each app that one may ask for, and for no other', async () => {
    const formIn = async (app: string) => (await alice.visit(`/requests?${new URLSearchParams({ app })}`)).body.includes('name="reason"')
    expect([await formIn('payroll'), await formIn('layoffs'), await formIn('nowhere'), await formIn('wiki')]).toEqual([
      true,
      false,
      false,
      false,
    ])
  })

  it('without a reason, or with a long one, stands with its error at the field and keeps what was written', async () => {
    const none = await ask('payroll', ' \u200b ')
    expect(none.status).toBe(400)
    expect(none.body).toMatch(/aria-invalid="true" aria-describedby="reason-again-error".*Say in a sentence why you need it/s)
    const long = await ask('evil', `${payload}${'x'.repeat(600)}`)
    expect(long.body).toContain('at most 500 characters')
    expect(long.body).toContain('&quot;&gt;&lt;script&gt;alert(1)')
    expect((await host.requests.list()).requests).toEqual([])
  })

  it('so often in a minute is too often', async () => {
    const given = await token()
    const statuses = []
    for (let form = 0; form < 12; form++) statuses.push((await send({ form_token: given, withdraw: 'A'.repeat(22) })).status)
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 303), 429, 429])
    const bob = await host.signInAs('bob')
    expect((await send({ form_token: await token(bob), withdraw: 'A'.repeat(22) }, bob)).status).toBe(303)
  })
})

describe('taking back', () => {
  it('ends one’s own, and nobody else’s', async () => {
    await ask('payroll')
    const [id = ''] = idsIn((await alice.visit('/requests')).body)
    const mallory = await host.signInAs('mallory')
    expect((await send({ form_token: await token(mallory), withdraw: id }, mallory)).status).toBe(303)
    expect((await mallory.visit('/requests')).body).toContain('There was nothing to take back')
    expect((await host.requests.list()).requests).toHaveLength(1)
    expect((await send({ form_token: await token(), withdraw: id })).status).toBe(303)
    expect((await alice.visit('/requests')).body).toContain('Your request is taken back.')
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'access.request_withdrawn', accessRequest: id }))
  })
})

describe('a form', () => {
  it.each<[string, Record<string, string>]>([
    ['from a sibling app', { ...formHeaders, 'sec-fetch-site': 'same-site' }],
    ['from another site', { ...formHeaders, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['from nowhere that is stated', { accept: 'text/html' }],
  ])('%s is refused', async (_name, headers) => {
    expect((await send({ form_token: await token(), app: 'payroll', reason: 'x' }, alice, headers)).status).toBe(403)
    expect((await host.requests.list()).requests).toEqual([])
  })

  it('without its token, with another person’s, or with two is refused, and writes nothing', async () => {
    const mallory = await host.signInAs('mallory')
    const others = await token(mallory)
    const written = watchWrites(host.store)
    expect((await send({ app: 'payroll', reason: 'x' })).status).toBe(403)
    expect((await send({ form_token: others, app: 'payroll', reason: 'x' })).status).toBe(403)
    const twice = `form_token=${await token()}&form_token=${others}&app=payroll&reason=x`
    const headers = { ...formHeaders, 'content-type': 'application/x-www-form-urlencoded' }
    expect((await alice.visit('/requests', { method: 'POST', headers, body: twice })).status).toBe(403)
    expect((await alice.visit('/requests', { method: 'POST', headers, body: `reason=${'x'.repeat(9000)}` })).status).toBe(413)
    expect(written).toEqual([])
    expect((await send({ form_token: await token() })).status).toBe(400)
  })
})

it('payloads in names, descriptions, contacts, claims and reasons are text on every page', async () => {
  const eve = await host.signInAs(`eve${payload.slice(0, 20)}`, { name: payload, department: payload, [payload]: payload })
  await ask('evil', payload, eve)
  for (const path of ['/', `/?q=${encodeURIComponent(payload)}`, '/requests', '/privacy', '/devices']) {
    const { body, status } = await eve.visit(path)
    expect([path, status]).toEqual([path, 200])
    expect(body).not.toMatch(/<script>|<img src=x|href="javascript:/)
    expect(body).toContain('&lt;script&gt;')
  }
})
