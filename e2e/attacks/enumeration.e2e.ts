/**
 * What answers give away about what there is: apps that a person may not know of, sessions, requests and people of others, tokens. Whoever may not see a thing
 * is answered as if there were none, letter for letter, and as fast.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { refOf } from '../../src/administration/person-ref.ts'
import { type Answer, Client } from '../support/client.ts'
import { Desk, tokenIn } from '../support/console-desk.ts'
import { commandAt, people, type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('what there is and may not be known', () => {
  let rig: Rig
  let bob: Desk
  let carol: Desk
  let alice: Desk
  let tokens: Readonly<Record<'none' | 'locks' | 'revoked' | 'reports', string>>

  beforeAll(async () => {
    rig = await startRig({
      people: [...people, { id: 'hank', name: 'Hank', email: 'hank@corp.example', role: '', groups: ['helpdesk', 'staff'] }],
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'listed', portal: 'listed', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
        { id: 'layoffs', name: 'Layoffs in spring', portal: 'hidden', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
        { id: 'hushed', name: 'Hushedly', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
      ],
      configuration: {
        requests: 'on',
        trusted_proxies: ['127.0.0.1/32'],
        console: { roles: { admin: { groups: ['postern-admins'] }, helpdesk: { groups: ['helpdesk'] } }, sign_in_within: '1h' },
      },
    })
    alice = await Desk.of(rig, 'alice')
    bob = await Desk.of(rig, 'bob')
    carol = await Desk.of(rig, 'carol')
    for (const id of ['app', 'layoffs', 'hushed']) await rig.signIn(bob.client, 'bob', `${rig.origin(id)}/`)
    const make = (...scopes: readonly string[]) =>
      commandAt(rig, 'token', 'create', '--name', 'x', ...scopes.flatMap((one) => ['--scope', one]))
    tokens = {
      none: await make('overview:read'),
      locks: await make('locks:read'),
      revoked: await make('people:read'),
      reports: await make('devices:report:id=laptop-1'),
    }
    await commandAt(rig, 'token', 'revoke', tokens.revoked.split('_')[1] ?? '')
    await commandAt(rig, 'device', 'register', 'laptop-7', '--name', 'Laptop 7')
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  let address = 0
  /** Whoever guesses is counted by address, and has many. */
  const elsewhere = () => ({ 'x-forwarded-for': `198.51.${Math.trunc(++address / 250)}.${address % 250}` })

  /** All that is answered, but for what names this very request and what was asked for. */
  function shapeOf({ body, headers, status, url }: Answer, named: readonly string[]): string {
    const { date: _date, 'x-postern-request': id, ...rest } = headers
    const { hostname, pathname } = new URL(url)
    let text = JSON.stringify([status, rest, body])
    for (const word of [String(id), ...named, hostname, encodeURIComponent(pathname), pathname].filter((one) => one.length > 1))
      text = text.replaceAll(word, '·')
    // Lengths are compared by what they are lengths of.
    return text.replace(/"content-length":"\d+"/, '')
  }
  /** Fails unless all are answered alike. */
  function mustBeAlike(what: string, answers: readonly (readonly [named: string, answer: Answer])[]): string {
    const [first, ...others] = answers.map(([named, answer]) => shapeOf(answer, [named]))
    for (const other of others) expect(other, what).toBe(first)
    return `${answers[0]?.[1].status} alike`
  }
  const asking = [
    { as: 'navigation' as const },
    { as: 'fetch' as const },
    { as: 'fetch' as const, method: 'POST', headers: { 'sec-fetch-site': 'same-origin' }, body: '' },
  ]

  attack(
    'A165',
    'LEAK',
    'a hidden app and ones unheard of: their hosts, the forms that ask for them, the pages about oneself',
    async () => {
      const outcomes: string[] = []
      for (const wish of asking) {
        for (const path of ['/', '/a/b?c=d']) {
          const answers: (readonly [string, Answer])[] = []
          for (const id of ['layoffs', 'unheard', 'unheard-too'])
            answers.push([id, await bob.client.send(`${rig.origin(id)}${path}`, wish)])
          outcomes.push(mustBeAlike(`hosts, ${path}`, answers))
        }
      }
      const form = async (fields: Readonly<Record<string, string>>) => {
        const form_token = tokenIn((await bob.open('/')).body) ?? tokenIn((await bob.open('/requests?app=listed')).body) ?? ''
        expect(form_token).not.toBe('')
        return bob.post('/requests', { form_token, ...fields })
      }
      const names = ['layoffs', 'hushed', 'nothing-at-all']
      const sent: (readonly [string, Answer])[] = []
      for (const app of names) sent.push([app, await form({ app, reason: 'I would like to' })])
      outcomes.push(mustBeAlike('a request for it', sent))
      const shown: (readonly [string, Answer])[] = []
      for (const app of names) shown.push([app, await bob.open(`/requests?app=${app}`)])
      outcomes.push(mustBeAlike('the form for it', shown))
      for (const path of ['/', '/?q=layoffs', '/devices', '/privacy', '/requests', '/sessions', '/.postern/whoami']) {
        const { body } = await bob.open(path)
        expect(body, path).not.toMatch(/hushedly|in spring/i)
        // What is known about oneself tells of the addresses that one asked for.
        if (path !== '/privacy') expect(body.replace('value="layoffs"', ''), path).not.toContain('layoffs')
      }
      const { body } = await bob.client.send(`${rig.origin('layoffs')}/.postern/sign-out`)
      expect(body).not.toContain('in spring')
      return summarise(outcomes)
    },
  )

  attack('A165b', 'LEAK', 'sessions and requests of others, by those who are signed in; unknown ones alike', async () => {
    const outcomes: string[] = []
    await rig.signIn(alice.client, 'alice', `${rig.origin('app')}/`)
    const second = await Desk.of(rig, 'alice')
    const [, theirs = ''] =
      /value="([\w-]{43})"/.exec((await second.open('/sessions')).body.replaceAll(/name="form_token" value="[^"]+"/g, '')) ?? []
    expect(theirs).not.toBe('')
    const ended: (readonly [string, Answer])[] = []
    for (const reference of [theirs, 'A'.repeat(43), `${theirs.slice(0, 42)}${theirs.endsWith('A') ? 'B' : 'A'}`]) {
      const form_token = tokenIn((await bob.open('/sessions')).body) ?? ''
      const answer = await bob.post('/sessions', { form_token, end: reference })
      ended.push([reference, answer])
      ended.push([reference, { ...(await bob.client.send(answer.header('location') ?? '')), url: answer.url }])
    }
    outcomes.push(
      mustBeAlike(
        'ending one',
        ended.filter((_, index) => index % 2 === 0),
      ),
    )
    expect((await second.open('/sessions')).status).toBe(200)

    const ofCarol = tokenIn((await carol.open('/requests?app=listed')).body) ?? ''
    expect((await carol.post('/requests', { form_token: ofCarol, app: 'listed', reason: 'I need it' })).status).toBe(303)
    const [, request = ''] = /name="withdraw" value="([^"]+)"/.exec((await carol.open('/requests')).body) ?? []
    expect(request).not.toBe('')
    const own = tokenIn((await bob.open('/requests?app=listed')).body) ?? ''
    const withdrawn: (readonly [string, Answer])[] = []
    const told: (readonly [string, Answer])[] = []
    for (const id of [request, `${request.slice(0, -1)}${request.endsWith('A') ? 'B' : 'A'}`, '../x']) {
      const answer = await bob.post('/requests', { form_token: own, withdraw: id })
      withdrawn.push([id, answer])
      told.push([id, await bob.client.send(answer.header('location') ?? '')])
    }
    outcomes.push(mustBeAlike('taking one back', withdrawn), mustBeAlike('what is said of it', told))
    expect((await carol.open('/requests')).body).toContain(request)
    return summarise(outcomes)
  })

  attack('A165c', 'LEAK', 'people, devices, drafts and decisions, by those who may not look: there or not', async () => {
    const outcomes: string[] = []
    const there = refOf({ issuer: rig.issuer, sub: 'alice' })
    const away = refOf({ issuer: rig.issuer, sub: 'nobody-of-this-name' })
    await waitFor(async () => (await alice.open(`/console/people/${there}`)).status === 200)
    expect((await alice.open(`/console/people/${away}`)).status).toBe(404)
    const hank = await Desk.of(rig, 'hank')
    for (const wish of asking) {
      for (const [who, desk, kinds] of [
        ['bob', bob, ['people', 'devices', 'policy/drafts', 'tokens', 'nothing']],
        ['the helpdesk', hank, ['policy/drafts', 'tokens', 'trail/decisions']],
      ] as const) {
        for (const kind of kinds) {
          const answers: (readonly [string, Answer])[] = []
          for (const id of [kind === 'people' ? there : 'laptop-7', kind === 'people' ? away : 'laptop-x'])
            answers.push([id, await desk.client.send(desk.at(`/console/${kind}/${id}`), wish)])
          expect([403, 405]).toContain(answers[0]?.[1].status)
          outcomes.push(mustBeAlike(`${who}, ${kind}`, answers))
        }
      }
    }
    for (const token of [undefined, tokens.none, tokens.revoked]) {
      for (const [path, ids] of [
        ['/people/', [there, away]],
        ['/devices/', ['laptop-7', 'laptop-x']],
        ['/tokens/', [tokens.locks.split('_')[1] ?? '', 'A'.repeat(12)]],
      ] as const) {
        const answers: (readonly [string, Answer])[] = []
        for (const id of ids) answers.push([id, await call(`${path}${id}`, token)])
        expect([401, 403]).toContain(answers[0]?.[1].status)
        outcomes.push(mustBeAlike(path, answers))
      }
    }
    const reported: (readonly [string, Answer])[] = []
    for (const id of ['laptop-7', 'laptop-x'])
      reported.push([id, await call(`/devices/${id}/reports`, tokens.reports, 'POST', '{"attributes":{"os_version":"1"}}')])
    expect([403, 401]).toContain(reported[0]?.[1].status)
    outcomes.push(mustBeAlike('a report by a token for another device', reported))
    return summarise(outcomes)
  })

  function call(path: string, token: string | undefined, method = 'GET', body?: string): Promise<Answer> {
    return new Client().send(alice.at(`/api/v1${path}`), {
      as: 'fetch',
      method,
      headers: {
        ...elsewhere(),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
    })
  }

  /** Tokens that are none: of the right form, with an id that is there and one that is not, taken back. */
  function falseTokens(): Readonly<Record<string, string>> {
    const [prefix, id = '', secret = ''] = tokens.locks.split('_')
    const other = `${secret.slice(0, -1)}${secret.endsWith('a') ? 'b' : 'a'}`
    return {
      'unknown id': `${prefix}_${[...id].reverse().join('')}_${secret}`,
      'wrong at its end': `${prefix}_${id}_${other}`,
      'wrong at its beginning': `${prefix}_${id}_${secret.startsWith('a') ? 'b' : 'a'}${secret.slice(1)}`,
      revoked: tokens.revoked,
    }
  }

  attack('A165d', 'LEAK', 'tokens: unknown, wrong, revoked; sessions: unknown, signed out: one answer', async () => {
    const outcomes: string[] = []
    const answers: (readonly [string, Answer])[] = []
    for (const token of Object.values(falseTokens())) answers.push(['', await call('/locks', token)])
    expect(answers[0]?.[1].status).toBe(401)
    outcomes.push(mustBeAlike('tokens', answers))
    const left = await Desk.of(rig, 'carol')
    const cookie = left.client.cookieHeader(left.at('/'))
    const form_token = tokenIn((await left.open('/.postern/sign-out')).body) ?? ''
    expect((await left.post('/.postern/sign-out', { form_token })).status).toBe(303)
    const name = /(?:^|; )(\w*postern)=/.exec(cookie)?.[1] ?? ''
    for (const path of ['/console', '/', '/.postern/whoami', '/console/trail/follow']) {
      for (const as of ['navigation', 'fetch'] as const) {
        const known: (readonly [string, Answer])[] = []
        for (const value of [cookie, `${name}=${'A'.repeat(43)}`, `${name}=${'Z'.repeat(43)}`])
          known.push([value, await new Client().send(left.at(path), { as, headers: { cookie: value } })])
        expect([302, 401]).toContain(known[0]?.[1].status)
        outcomes.push(mustBeAlike(`sessions, ${path}`, known))
      }
    }
    return summarise(outcomes)
  })

  attack('A165e', 'LEAK', 'the time that an answer takes', async () => {
    const tokensThatAreNone = falseTokens()
    const times: Record<string, Record<string, () => Promise<Answer>>> = {
      tokens: Object.fromEntries(Object.entries(tokensThatAreNone).map(([what, token]) => [what, () => call('/locks', token)])),
      apps: Object.fromEntries(['layoffs', 'hushed'].map((id) => [id, () => bob.client.send(`${rig.origin(id)}/`, { as: 'fetch' })])),
      people: Object.fromEntries(
        ['alice', 'nobody-of-this-name'].map((sub) => [
          sub,
          () => bob.client.send(bob.at(`/console/people/${refOf({ issuer: rig.issuer, sub })}`), { as: 'fetch' }),
        ]),
      ),
    }
    const said: string[] = []
    for (const [what, kinds] of Object.entries(times)) {
      const taken = new Map<string, number[]>(Object.keys(kinds).map((kind) => [kind, []]))
      // In turn, so that what else the machine does falls on all of them alike.
      for (let round = 0; round < 200; round += 1) {
        for (const [kind, ask] of Object.entries(kinds)) {
          const startedAt = performance.now()
          await ask()
          taken.get(kind)?.push(performance.now() - startedAt)
        }
      }
      const medians = [...taken.values()].map((all) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0)
      const [least, most] = [Math.min(...medians), Math.max(...medians)]
      // What a secret's first letters could tell is a millionth of a millisecond; this shows that no kind costs a look-up more.
      if (most - least > 0.5 + least * 0.25) throw new Error(`${what}: ${[...taken.keys()].join(', ')}: ${medians.join(', ')} ms`)
      said.push(`${what} ${least.toFixed(2)} to ${most.toFixed(2)} ms`)
    }
    return said.join('; ')
  })
})
