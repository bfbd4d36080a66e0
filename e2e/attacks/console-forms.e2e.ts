/**
 * What a browser brings along that belongs to somebody else, or to another time: what was to be said to another person, form state and notices of one's
 * own making, the end of a stranger's sign-in, tokens of sessions that are over, forms that were opened under another role.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { Desk, listConsoleRoutes, pathOf, tokenIn } from '../support/console-desk.ts'
import { commandAt, people, type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

const host = 'access.corp.localhost'

describe('what belongs to somebody else or to another time', () => {
  let rig: Rig

  beforeAll(async () => {
    rig = await startRig({
      people: [...people, { id: 'ada', name: 'Ada', email: 'ada@corp.example', role: '', groups: ['postern-admins', 'staff'] }],
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'listed', portal: 'listed', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
      ],
      configuration: { requests: 'on', console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' } },
    })
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  const sessionOf = ({ client }: Desk) => client.cookie('postern', host) ?? ''
  const stateOf = ({ client }: Desk) => client.cookie('postern-ui', host) ?? ''

  let count = 0
  /** Each leaves something to be said on the page that follows, which is not opened. */
  const leaving: Readonly<Record<string, { readonly page: string; readonly said: RegExp; leave(desk: Desk): Promise<number> }>> = {
    'a change in the console': {
      page: '/console/devices',
      said: /notice-bar/,
      leave: async (desk) => {
        count += 1
        const form_token = tokenIn((await desk.open('/console/locks')).body) ?? ''
        return (await desk.post('/console/devices', { form_token, id: `device-${count}`, name: 'x', owner: '' }, navigation)).status
      },
    },
    'a request for access': {
      page: '/requests',
      said: /notice-bar|class="notice|role="status"/,
      leave: async (desk) => {
        const form_token = tokenIn((await desk.open('/requests?app=listed')).body) ?? ''
        return (await desk.post('/requests', { form_token, withdraw: 'nothing' })).status
      },
    },
    'an end of other sessions': {
      page: '/sessions',
      said: /role="status"/,
      leave: async (desk) => {
        const form_token = tokenIn((await desk.open('/sessions')).body) ?? ''
        return (await desk.post('/sessions', { form_token, end: 'others' })).status
      },
    },
  }

  attack('A218d', 'ADMIN', 'what was to be said to one person, found by the next one at the same browser', async () => {
    const outcomes: string[] = []
    const ada = await Desk.of(rig, 'ada')
    for (const [what, { leave, page, said }] of Object.entries(leaving)) {
      const quiet = (await ada.open(page)).body
      // A control: the one it is for is told, once.
      const alice = await Desk.of(rig, 'alice')
      expect(await leave(alice), what).toBe(303)
      const told = (await alice.open(page)).body.match(new RegExp(said, 'g'))?.length ?? 0
      const after = (await alice.open(page)).body.match(new RegExp(said, 'g'))?.length ?? 0
      expect(told, what).toBe(after + 1)
      // Her session ends elsewhere, and somebody else signs in where she sat.
      expect(await leave(alice), what).toBe(303)
      alice.client.setCookie('postern', sessionOf(ada), host)
      const { body, status } = await alice.open(page)
      expect(status).toBe(200)
      expect(body.match(new RegExp(said, 'g'))?.length ?? 0, what).toBe(quiet.match(new RegExp(said, 'g'))?.length ?? 0)
      outcomes.push('not told')
      // Nor is a browser told that a colleague's state was put into.
      const mallory = await Desk.of(rig, 'alice')
      expect(await leave(mallory)).toBe(303)
      const victim = await Desk.of(rig, 'ada')
      victim.client.setCookie('postern-ui', stateOf(mallory), host)
      expect((await victim.open(page)).body.match(new RegExp(said, 'g'))?.length ?? 0, what).toBe(after)
      outcomes.push('not told by a cookie')
    }
    return summarise(outcomes)
  })

  attack('A218e', 'ADMIN', 'notices of one’s own making: in cookies, addresses and forms', async () => {
    const outcomes: string[] = []
    const ada = await Desk.of(rig, 'ada')
    const word = 'Call 555 0100 to keep your access'
    const made = encodeURIComponent(JSON.stringify({ next: { sessionId: 'x', said: { notice: { tone: 'good', text: word } } } }))
    const pages = (await listConsoleRoutes()).filter(
      ({ method, pattern }) => method === 'GET' && !/follow$|live$|export$|files$/.test(pattern),
    )
    const names = ['notice', 'text', 'tone', 'said', 'next', 'message', 'error', 'flash', 'ended', 'reason']
    for (const route of [
      ...pages.map((page) => pathOf(page)),
      '/',
      '/requests',
      '/sessions',
      '/devices',
      '/signed-out',
      '/.postern/sign-out',
    ]) {
      const query = new URLSearchParams(names.map((name) => [name, word]))
      const { body, status } = await ada.open(`${route}?${query}`)
      expect(status).toBeLessThan(500)
      if (/notice-bar[^<]*<bdi>[^<]*555 0100/.test(body) || /role="(?:status|alert)"[^>]*>[^<]*555 0100/.test(body)) throw new Error(route)
      outcomes.push('not said')
    }
    const own = stateOf(ada)
    for (const value of [
      made,
      `s:${made}`,
      `s:x.${'A'.repeat(43)}`,
      `j:${made}`,
      `${own.slice(0, -3)}AAA`,
      `${own}${made}`,
      '%00',
      '../../x',
    ]) {
      const cookie = `postern=${sessionOf(ada)}; postern-ui=${value}; notice=${made}; flash=${made}`
      const { body, status } = await new Client().send(ada.at('/console/apps'), { headers: { cookie } })
      expect(status).toBe(200)
      expect(body).not.toContain('555 0100')
      expect(body).not.toContain('notice-bar')
      outcomes.push('not said by a cookie')
    }
    return summarise(outcomes)
  })

  attack('A218h', 'ADMIN', 'forms of the portal sent by other sites, with the true token, and by our own with no true one', async () => {
    const outcomes: string[] = []
    const bob = await Desk.of(rig, 'bob')
    const second = await Desk.of(rig, 'bob')
    const carol = await Desk.of(rig, 'carol')
    const places = [
      ['/requests', '/requests?app=listed', { app: 'listed', reason: 'forged' }],
      ['/sessions', '/sessions', { end: 'all' }],
      ['/.postern/sign-out', '/.postern/sign-out', {}],
    ] as const
    for (const [path, page, fields] of places) {
      const form_token = tokenIn((await bob.open(page)).body) ?? ''
      expect(form_token, page).not.toBe('')
      for (const headers of [
        { origin: rig.origin('app'), 'sec-fetch-site': 'same-site' },
        { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site', ...navigation },
        { origin: 'null', 'sec-fetch-site': 'cross-site' },
        { origin: rig.origin('access'), 'sec-fetch-site': 'same-site' },
        { origin: 'null', 'sec-fetch-site': 'none' },
        { origin: rig.origin('app'), 'sec-fetch-site': 'same-site', 'content-type': 'text/plain' },
      ]) {
        const { header, status } = await bob.post(path, { form_token, ...fields }, headers)
        if (status !== 403) throw new Error(`${path}: ${status} ${header('x-postern')}`)
        outcomes.push(`${status} ${header('x-postern')}`)
      }
      const foreign = [tokenIn((await carol.open(page)).body) ?? '', tokenIn((await second.open(page)).body) ?? '']
      for (const wrong of ['', 'x', `${form_token}A`, form_token.slice(1), ...foreign]) {
        const { header, status } = await bob.post(path, { form_token: wrong, ...fields })
        if (status !== 403) throw new Error(`${path}, ${wrong}: ${status}`)
        outcomes.push(`${status} ${header('x-postern')}`)
      }
      const { status } = await bob.post(path, `form_token=x&form_token=${form_token}&end=all&app=listed&reason=forged`)
      expect(status, path).toBe(403)
    }
    expect((await bob.open('/requests')).body).not.toContain('forged')
    expect((await second.open('/sessions')).status).toBe(200)
    return summarise(outcomes)
  })

  attack('A127c', 'CSRF', 'the end of somebody else’s sign-in to the console, opened by an admin and by a stranger', async () => {
    const outcomes: string[] = []
    const alice = await Desk.of(rig, 'alice')
    for (const page of ['/console/locks', '/console', '/']) {
      const mallory = new Client()
      await rig.signIn(mallory, 'bob', alice.at('/'))
      mallory.forget('postern', host)
      // As far as the provider's answer, which is not taken home but sent to somebody.
      let next = alice.at(`/sign-in?return_to=${encodeURIComponent(alice.at(page))}`)
      for (let hops = 0; hops < 10 && !next.includes('/oidc/callback'); hops += 1) {
        const answer = await mallory.send(next)
        next = new URL(answer.header('location') ?? '', next).href
      }
      expect(new URL(next).searchParams.has('code')).toBe(true)
      const before = sessionOf(alice)
      for (const [who, client] of [
        ['an admin', alice.client],
        ['a stranger', new Client()],
      ] as const) {
        for (const site of ['cross-site', 'same-site', 'none']) {
          const { header, status } = await client.send(next, { headers: { 'sec-fetch-site': site } })
          expect([who, status, header('x-postern')]).toEqual([who, 400, 'sign_in_invalid'])
          expect(header('set-cookie') ?? '').not.toMatch(/postern=\w/)
          outcomes.push(`${who} ${status}`)
        }
      }
      expect(sessionOf(alice)).toBe(before)
      expect((await alice.open('/.postern/whoami')).body).toContain('"alice@corp.example"')
    }
    return summarise(outcomes)
  })

  attack(
    'A218f',
    'ADMIN',
    'a form’s token after signing out, after an end, in a session after it, and with another’s session',
    async () => {
      const outcomes: string[] = []
      const lock = { on: 'subject', name: 'bob', reason: 'replayed' }
      const send = async (desk: Desk, form_token: string, what: string, wanted: readonly number[]) => {
        const { header, status } = await desk.post('/console/locks', { form_token, ...lock }, navigation)
        if (!wanted.includes(status)) throw new Error(`${what}: ${status} ${header('x-postern')}`)
        outcomes.push(`${status} ${header('x-postern')}`)
      }
      const alice = await Desk.of(rig, 'alice')
      const token = await alice.formToken()
      const cookie = sessionOf(alice)
      const leaving = tokenIn((await alice.open('/.postern/sign-out')).body) ?? ''
      expect((await alice.post('/.postern/sign-out', { form_token: leaving })).status).toBe(303)
      await send(alice, token, 'signed out', [401])
      alice.client.setCookie('postern', cookie, host)
      await send(alice, token, 'with the cookie put back', [401])
      const again = await Desk.of(rig, 'alice')
      await send(again, token, 'in the next session', [403])
      const ofAda = await Desk.of(rig, 'ada')
      await send(ofAda, token, 'in the session of another', [403])
      await send(again, await ofAda.formToken(), 'with the token of another', [403])
      const third = await Desk.of(rig, 'alice')
      const last = await third.formToken()
      await commandAt(rig, 'sessions', 'revoke', '--subject', 'alice')
      await send(third, last, 'revoked', [401])
      expect((await rig.audit()).filter(({ event }) => event === 'lock.set' || event === 'locked')).toEqual([])
      expect((await ofAda.open('/console/locks')).body).not.toContain('replayed')
      return summarise(outcomes)
    },
  )

  attack('A225f', 'ADMIN', 'a form that was opened as an admin and is sent as an auditor, or as nobody', async () => {
    const outcomes: string[] = []
    for (const to of ['auditor', undefined] as const) {
      await commandAt(rig, 'console', 'invite', 'bob@corp.example', '--role', 'admin', '--for', '10m')
      const bob = await Desk.of(rig, 'bob')
      await waitFor(async () => (await bob.open('/console/locks')).status === 200)
      const form_token = await bob.formToken()
      await commandAt(rig, 'console', 'uninvite', 'bob@corp.example')
      if (to !== undefined) await commandAt(rig, 'console', 'invite', 'bob@corp.example', '--role', to, '--for', '10m')
      // An invitation is remembered for two seconds at the most.
      await waitFor(async () => (await bob.open('/console/tokens/new')).status === 403, 5_000)
      for (const { method, pattern, permission } of await listConsoleRoutes()) {
        if (method !== 'POST' || permission.endsWith(':read')) continue
        const answer = await bob.post(pattern.replaceAll(/:\w+/g, '1'), {
          form_token,
          version: '0',
          reason: 'late',
          on: 'subject',
          name: 'carol',
        })
        if (answer.status !== 403) throw new Error(`${pattern}: ${answer.status}`)
        outcomes.push(`${to ?? 'nobody'} ${answer.header('x-postern')}`)
      }
      if (to !== undefined) {
        expect((await bob.open('/console/apps')).status).toBe(200)
        await commandAt(rig, 'console', 'uninvite', 'bob@corp.example')
      }
    }
    return summarise(outcomes)
  })
})
