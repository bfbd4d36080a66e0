/** The portal: what is shown of an app for every kind of reason and every visibility, in which words, and that nothing else leaves a trace. */

import { afterEach, describe, expect, it } from 'vitest'
import type { App, Condition, Rule, Who } from '../policy/document.ts'
import { deviceCondition, mfa, networkCondition, signInCondition, timeCondition } from '../policy/policy.fixture.ts'
import { accessUrl, allow, appOf } from './control-plane.fixture.ts'
import { type PersonalHost, type PersonalHostOptions, startPersonalHost } from './portal.fixture.ts'

let host: PersonalHost | undefined
afterEach(async () => {
  await host?.close()
  host = undefined
})

async function start(apps: readonly App[], options: Omit<PersonalHostOptions, 'apps'> = {}): Promise<PersonalHost> {
  host = await startPersonalHost({ apps, ...options })
  return host
}

const staff: Who = { kind: 'groups', groups: ['staff'] }
const board: Who = { kind: 'groups', groups: ['board'] }
const rule = (who: Who, change: Partial<Rule> = {}): Rule => ({ ...allow(who), ...change })
const withCondition = (...when: Condition[]): Rule => rule(staff, { when })
const deny = (who: Who, change: Partial<Rule> = {}): Rule => rule(who, { verb: 'deny', name: 'deny', ...change })
const who = (of: Who): Condition => ({ kind: 'subject', who: of })
/** Far from the present hour, whichever it is. */
const laterHour = (new Date().getUTCHours() + 12) % 24
const later = timeCondition({ between: [{ from: laterHour * 60, to: laterHour * 60 + 30 }], days: undefined })

const visibilities = ['listed', 'hidden', 'if_allowed', 'if_relevant'] as const
type Shown = 'open' | 'step up' | 'closed' | 'no'

/** Of each kind of reason, what the portal shows by visibility. */
const kinds: readonly (readonly [kind: string, rules: readonly Rule[], shown: Record<(typeof visibilities)[number], Shown>])[] = [
  ['open', [rule(staff)], { listed: 'open', hidden: 'no', if_allowed: 'open', if_relevant: 'open' }],
  ['for others', [rule(board)], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'no' }],
  ['without a rule', [], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'no' }],
  ['for others by a condition', [withCondition(who(board))], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'no' }],
  ['denied to this person', [rule(staff), deny(staff)], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'no' }],
  [
    'denied by a condition on the person',
    [rule(staff), deny({ kind: 'everyone' }, { when: [who(staff)] })],
    { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'no' },
  ],
  [
    'after a stronger sign-in',
    [withCondition(signInCondition({ strength: mfa }))],
    { listed: 'step up', hidden: 'no', if_allowed: 'step up', if_relevant: 'step up' },
  ],
  [
    'on a managed device',
    [withCondition(deviceCondition({ managed: true }))],
    { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'closed' },
  ],
  ['at another hour', [withCondition(later)], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'closed' }],
  [
    'from another network',
    [withCondition(networkCondition({ cidrs: ['203.0.113.0/24'] }))],
    { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'closed' },
  ],
  ['on another path', [rule(staff, { paths: ['/docs/**'] })], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'closed' }],
  ['later', [rule(staff, { from: '2099-01-01' })], { listed: 'closed', hidden: 'no', if_allowed: 'no', if_relevant: 'closed' }],
]

const appsOf = (keep: (visibility: App['portal'], kind: number) => boolean) =>
  kinds.flatMap(([, rules], kind) =>
    visibilities.flatMap((portal) =>
      keep(portal, kind)
        ? [
            appOf(`zq${kind}${portal.replace('_', '')}`, `https://zq${kind}${portal.replace('_', '')}.corp.example`, rules, {
              portal,
              description: `Zqtext ${kind} ${portal}`,
            }),
          ]
        : [],
    ),
  )
describe('the portal shows', () => {
  it('each kind of reason exactly where the visibility of the app says so', async () => {
    const { signInAs } = await start(appsOf(() => true))
    const { body } = await (await signInAs('alice')).visit('/')
    const [open = '', closed = ''] = body.split('Not open to you now')
    for (const [index, [kind, , expected]] of kinds.entries()) {
      for (const visibility of visibilities) {
        const address = `https://zq${index}${visibility.replace('_', '')}.corp.example/`
        const card = (open.split('<li class="card"').find((one) => one.includes(address)) ?? '').split('</li>')[0] ?? ''
        const found: Shown = closed.includes(address) ? 'closed' : card === '' ? 'no' : card.includes('Sign in again') ? 'step up' : 'open'
        expect(`${kind}, ${visibility}: ${found}`).toBe(`${kind}, ${visibility}: ${expected[visibility]}`)
      }
    }
  })

  it('nothing at all of what it does not show: not a byte is different without it', async () => {
    const isShown = (visibility: App['portal'], kind: number) => kinds[kind]?.[2][visibility] !== 'no'
    const pages: string[] = []
    for (const apps of [appsOf(() => true), appsOf(isShown)]) {
      const { close, signInAs } = await start(apps)
      const browser = await signInAs('alice')
      for (const path of ['/', '/?q=zq', '/?page=2', '/devices', '/privacy', '/requests']) {
        for (const accept of ['text/html', 'application/json']) {
          const { body, headers } = await browser.visit(path, { headers: { accept } })
          const plain = body
            .replaceAll(/name="form_token" value="[^"]+"/g, '')
            .replaceAll(/127\.0\.0\.1:\d+/g, 'provider')
            .replaceAll(/\b\d+ (?:second|minute)s?(?: ago)?|just now|in \d+ h \d+ min/g, 'then')
            .replaceAll(/request-\d+/g, 'request')
            .replaceAll(/\b1\d{9}\b/g, 'instant')
          pages.push(`${path} ${accept} ${Object.keys(headers).join()} ${plain}`)
        }
      }
      await close()
      host = undefined
    }
    const half = pages.length / 2
    expect(pages[0]).toContain('https://zq0listed.corp.example/')
    expect(pages.slice(0, half)).toEqual(pages.slice(half))
    expect(pages.join()).not.toContain('zq1ifrelevant')
  })

  it('no app whose rule asks for a fact that is unknown', async () => {
    const { signInAs } = await start([
      appOf('layoffs', 'https://layoffs.corp.example', [rule(board)]),
      appOf('wiki', 'https://wiki.corp.example', [rule(staff)]),
    ])
    const { body } = await (await signInAs('carol', { groups: undefined })).visit('/')
    expect(body).not.toMatch(/layoffs|wiki/i)
    expect(body).toContain('No apps are open to you yet')
  })
})

describe('what is closed says', () => {
  const closed = (id: string, rules: readonly Rule[], change: Partial<App> = {}) =>
    appOf(id, `https://${id}.corp.example`, rules, { portal: 'listed', ...change })
  const cardOf = (body: string, id: string) =>
    body
      .split('<li class="closed-card"')
      .slice(1)
      .find((one) => one.includes(`https://${id}.corp.example/`)) ?? ''

  it('what would help, in the words of its refusal, and whom to ask', async () => {
    const { signInAs } = await start([
      closed('payroll', [rule(board)], { help: 'help@corp.test', owner: 'https://owner.corp.test/' }),
      closed('vault', [withCondition(deviceCondition({ diskEncrypted: true }))]),
      closed('shop', [withCondition(later)]),
      closed('plant', [withCondition(networkCondition({ cidrs: ['203.0.113.0/24'] }))]),
    ])
    const { body } = await (await signInAs('alice')).visit('/')
    expect(cardOf(body, 'payroll')).toContain('You don’t have access to Payroll')
    expect(cardOf(body, 'payroll')).toContain('href="mailto:help@corp.test')
    expect(cardOf(body, 'payroll')).toContain('href="https://owner.corp.test/"')
    expect(cardOf(body, 'vault')).toContain('Your device is not known here')
    expect(cardOf(body, 'shop')).toMatch(
      new RegExp(`Shop is closed now.*opens at ${String(laterHour).padStart(2, '0')}:00 \\(UTC\\), in 1[12] h`, 's'),
    )
    expect(cardOf(body, 'plant')).toContain('Use another network')
    expect(body).not.toContain('203.0.113')
  })

  it('which setting of the device is wrong', async () => {
    const { inventory, signInAs } = await start([
      closed('vault', [withCondition(deviceCondition({ diskEncrypted: true }))]),
      closed('lab', [withCondition(deviceCondition({ managed: true }))]),
    ])
    await register(inventory, 'laptop-7', { disk_encrypted: 'false', managed: 'true' })
    const { body } = await (await signInAs('alice', { device_id: 'laptop-7' })).visit('/')
    expect(cardOf(body, 'vault')).toContain('Your disk is not encrypted')
    expect(cardOf(body, 'lab')).toBe('')
  })

  it('to sign in again where groups did not come, as a link that does it', async () => {
    const { signInAs } = await start([closed('payroll', [rule(board)])])
    const { body } = await (await signInAs('carol', { groups: undefined })).visit('/')
    expect(cardOf(body, 'payroll')).toContain('Your groups are not known')
    expect(cardOf(body, 'payroll')).toContain('href="/.postern/sign-out">Sign out and in again</a>')
  })

  it('that a better sign-in opens it, by the address that leads through it', async () => {
    const { signInAs } = await start([
      closed('payroll', [withCondition(signInCondition({ strength: mfa }))]),
      closed('bank', [withCondition(signInCondition({ withinSeconds: 60 }))]),
    ])
    const alice = await signInAs('alice', {})
    host?.move(600_000)
    const { body } = await alice.visit('/')
    expect(body).toMatch(/class="step-up-link" href="https:\/\/payroll\.corp\.example\/">Sign in again with a second factor/)
    expect(body).toMatch(/class="step-up-link" href="https:\/\/bank\.corp\.example\/">Sign in again</)
  })
})

it('where much is closed, each app has a link to its form', async () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, at) => appOf(`app${at}`, `https://app${at}.corp.example`, [rule(board)], { portal: 'listed' }))
  for (const count of [20, 21]) {
    const { close, signInAs } = await start(many(count))
    const { body } = await (await signInAs('alice')).visit('/')
    expect([count, body.split('name="reason"').length - 1, body.split('href="/requests?app=').length - 1]).toEqual(
      count === 20 ? [20, 20, 0] : [21, 0, 21],
    )
    await close()
    host = undefined
  }
})

describe('of many apps', () => {
  /** 300 that open, 200 that are listed and closed, 200 that must not be known of. */
  const many = Array.from({ length: 700 }, (_, at) =>
    appOf(`app${at}`, `https://app${at}.corp.example`, [rule(at < 300 ? staff : board)], {
      name: `Application ${at}`,
      portal: at < 500 ? 'listed' : 'if_allowed',
      description: `Number ${at} of many. ${'Long words about it. '.repeat(100)}`,
      owner: 'owner@corp.test',
      sensitivity: 'restricted',
    }),
  )
  const shownOn = (body: string) =>
    [...body.matchAll(/<h[23][^>]*><a href="https:\/\/app(\d+)\.corp\.example\/"/g)].map(([, number]) => Number(number))

  it('each is on exactly one page, open ones first, closed ones then, and no page is long', async () => {
    const alice = await (await start(many)).signInAs('alice')
    const seen: number[] = []
    let path: string | undefined = '/'
    let pages = 0
    while (path !== undefined) {
      const { body } = await alice.visit(path)
      expect(Buffer.byteLength(body)).toBeLessThan(110_000)
      seen.push(...shownOn(body))
      pages += 1
      path = /rel="next" href="([^"]+)"/.exec(body)?.[1]
      if (path !== undefined)
        expect(body).toContain(`Page ${pages} of 7, ${500 - seen.length} more apps on the next ${pages === 6 ? 'page' : 'pages'}`)
    }
    expect([pages, seen]).toEqual([7, Array.from({ length: 500 }, (_, at) => at)])
  })

  it('all are searched, pages of what is found too, and a page that there is not is the nearest', async () => {
    const alice = await (await start(many)).signInAs('alice')
    const { body: one } = await alice.visit('/?q=N%C3%9CMBER+498')
    expect(shownOn(one)).toEqual([498])
    expect(one).toContain('1 of your 500 apps matches “NÜMBER 498”.')
    expect(one).not.toContain('rel="next"')
    const { body: none } = await alice.visit('/?q=number+600')
    expect([shownOn(none), none.includes('0 of your 500 apps match'), /data-search-none>/.test(none)]).toEqual([[], true, true])
    const { body: first } = await alice.visit('/?q=Application+1')
    expect(first).toContain('rel="next" href="/?q=Application+1&amp;page=2"')
    expect(shownOn((await alice.visit('/?q=Application+1&page=2')).body)[0]).toBeGreaterThan(1)
    for (const page of ['0', '-1', 'x', '1e3', '']) expect(shownOn((await alice.visit(`/?page=${page}`)).body)[0]).toBe(0)
    expect(shownOn((await alice.visit('/?page=99999')).body).at(-1)).toBe(499)
  })

  it('the script is not told that what is here is all', async () => {
    const alice = await (await start(many)).signInAs('alice')
    expect((await alice.visit('/')).body).toContain('data-search="server"')
    await host?.close()
    expect((await (await (await start(many.slice(0, 100))).signInAs('alice')).visit('/')).body).toContain('data-search="here"')
  })
})

describe('a lock', () => {
  const apps = [appOf('wiki', 'https://wiki.corp.example', [rule(staff)]), appOf('crm', 'https://crm.corp.example', [rule(staff)])]
  const lockOn = (target: object) => ({ target, label: 'x', since: 0, until: undefined, reason: 'suspicion', by: 'os:root@host' })

  it('on the person shuts everything and says so, without its reason, and nothing can be asked for', async () => {
    const locks = [] as never[]
    const { live, provider, signInAs, store } = await start(apps, { locks })
    const alice = await signInAs('alice')
    locks.push(lockOn({ kind: 'subject', issuer: provider.issuer, sub: 'alice' }) as never)
    await store.publish({ kind: 'locks', detail: '' })
    await expect.poll(() => live.findLock({ subject: personOf(provider.issuer), deviceId: undefined, appId: 'x' })).toBeDefined()
    const { body } = await alice.visit('/')
    expect(body).toContain('An administrator has locked your account, so no app opens.')
    expect(body).not.toMatch(/<li class="card"|Request access|suspicion/)
    expect(body).toContain('class="closed-card"')
    const { body: requests, status } = await alice.visit('/requests')
    expect(status).toBe(200)
    expect(requests).not.toContain('suspicion')
  })

  it('on an app closes that one alone', async () => {
    const locks = [] as never[]
    const { live, provider, signInAs, store } = await start(apps, { locks })
    const alice = await signInAs('alice')
    locks.push(lockOn({ kind: 'app', id: 'wiki' }) as never)
    await store.publish({ kind: 'locks', detail: '' })
    await expect.poll(() => live.findLock({ subject: personOf(provider.issuer), deviceId: undefined, appId: 'wiki' })).toBeDefined()
    const { body } = await alice.visit('/')
    const [open = '', shut = ''] = body.split('Not open to you now')
    expect([open.includes('https://crm.corp.example/'), shut.includes('https://wiki.corp.example/')]).toEqual([true, true])
    expect(shut).toContain('Access is locked')
    expect(shut).not.toContain('Request access')
  })
})

describe('the way to the console', () => {
  it('is shown to those whom its roles name', async () => {
    const { signInAs } = await start([appOf('wiki', 'https://wiki.corp.example', [rule(staff)])])
    expect((await (await signInAs('alice')).visit('/')).body).not.toContain('/console')
    expect((await (await signInAs('root')).visit('/')).body).toContain('href="/console"')
  })
})

describe('pages about oneself', () => {
  it('are for signed-in people, and requests only where they are on', async () => {
    const { browser, signInAs } = await start([], { areRequestsOn: false })
    const alice = await signInAs('alice')
    expect((await alice.visit('/')).body).not.toContain('/requests')
    expect((await alice.visit('/requests')).status).toBe(404)
    expect((await browser().visit('/requests')).status).toBe(404)
    for (const path of ['/devices', '/privacy']) {
      expect((await browser().visit(path)).location?.pathname).toBe('/sign-in')
      expect((await browser().visit(path, { headers: { accept: 'application/json' } })).status).toBe(401)
      expect((await alice.visit(path)).status).toBe(200)
      expect(
        (await alice.visit(path, { method: 'POST', headers: { origin: accessUrl.origin, 'sec-fetch-site': 'same-origin' } })).status,
      ).toBe(405)
    }
  })
})

const personOf = (issuer: string) =>
  ({
    kind: 'person',
    issuer,
    sub: 'alice',
    email: { known: false, why: 'claim_absent' },
    groups: { known: false, why: 'claim_absent' },
    claims: { known: true, value: {} },
    claimsAt: 0,
  }) as const

async function register(inventory: PersonalHost['inventory'], id: string, attributes: Record<string, string>): Promise<void> {
  const { define } = await import('../administration/devices.fixture.ts')
  expect(await inventory.register(define({ id, attributes }), 'os:root@host')).toEqual([])
}
