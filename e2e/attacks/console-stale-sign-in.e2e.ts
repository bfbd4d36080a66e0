/**
 * An admin who signed in too long ago (`console.sign_in_within`), as somebody is whose browser was left open: every form that there is, also one that was
 * opened in time, every order of the API by cookie, every stream and every page. What changes something is refused and changes nothing; what
 * reads goes on. Every route of a permission that is no reading one is a case by itself; each that reads by a form is named here.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { type ApiOperation, type ConsoleRoute, Desk, listApiOperations, listConsoleRoutes, pathOf } from '../support/console-desk.ts'
import { people, type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

/** Forms that begin a long reading, and change nothing. */
const readingForms = ['/console/policy/drafts/:draft/impact', '/console/review', '/console/trail/verify']

describe('a sign-in of yesterday', () => {
  let rig: Rig
  let routes: readonly ConsoleRoute[]
  let operations: readonly ApiOperation[]
  let alice: Desk
  let openForm: string

  beforeAll(async () => {
    rig = await startRig({
      people: [...people, { id: 'hank', name: 'Hank', email: 'hank@corp.example', role: '', groups: ['helpdesk', 'staff'] }],
      configuration: {
        policy: 'managed',
        policy_seed: 'policy.yaml',
        upstreams: { allow: ['127.0.0.0/8'] },
        requests: 'on',
        trusted_proxies: ['127.0.0.1/32'],
        console: { roles: { admin: { groups: ['postern-admins'] }, helpdesk: { groups: ['helpdesk'] } }, sign_in_within: '2s' },
      },
    })
    routes = await listConsoleRoutes()
    alice = await Desk.of(rig, 'alice')
    // A form that was opened in time, and is sent when it is late.
    openForm = await alice.formToken()
    operations = await listApiOperations(alice)
    await waitFor(async () => (await post(alice, '/console/locks', { form_token: openForm })).status === 401)
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  const forms = () => routes.filter(({ method }) => method === 'POST')
  const post = (desk: Desk, path: string, fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}) =>
    desk.post(path, fields, { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', ...headers })
  async function administrative(): Promise<readonly string[]> {
    const usual = /^(?:access\.|session\.started|sign_in\.|trail\.|audit\.|checkpoint|instance\.|data\.read|policy\.(?:loaded|in_force))/
    return (await rig.audit()).map((line) => String(line['event'])).filter((event) => !usual.test(event))
  }
  /** What would do something if it were not late. */
  const meant: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    '/console/locks': { on: 'subject', name: 'bob', reason: 'late' },
    '/console/devices': { id: 'late-device', name: 'x' },
    '/console/tokens/new': { name: 'late', scope: 'audit:read', lifetime_seconds: '86400' },
    '/console/policy/drafts': { comment: 'late' },
  }

  attack('A225c', 'ADMIN', 'every form, with its true token, from its own page: of an admin and of the helpdesk', async () => {
    expect(forms().flatMap(({ pattern, permission }) => (permission.endsWith(':read') ? [pattern] : []))).toEqual(readingForms)
    const before = await administrative()
    const outcomes: string[] = []
    const hank = await Desk.of(rig, 'hank')
    const ofHank = await hank.formToken()
    await waitFor(async () => (await post(hank, '/console/locks', { form_token: ofHank })).status === 401)
    for (const [who, desk, form_token] of [
      ['admin', alice, openForm],
      ['helpdesk', hank, ofHank],
    ] as const) {
      for (const route of forms()) {
        if (readingForms.includes(route.pattern)) continue
        const fields = { form_token, form_page: '/console/apps', version: '0', reason: 'late', ...meant[route.pattern] }
        for (const [how, headers] of [
          ['a page', {}],
          ['a script', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
        ] as const) {
          const answer = await post(desk, pathOf(route), fields, headers)
          const reason = answer.header('x-postern')
          const isRefused = who === 'helpdesk' && answer.status === 403 && reason === 'not_permitted'
          if (!isRefused && (answer.status !== 401 || reason !== 'insufficient_user_authentication'))
            throw new Error(`${who}, ${how}: ${route.pattern}: ${answer.status} ${reason}`)
          outcomes.push(`${who} ${answer.status}`)
        }
      }
    }
    expect(await administrative()).toEqual(before)
    for (const list of ['/console/locks', '/console/devices', '/console/tokens', '/console/policy']) {
      const { body, status } = await alice.open(list)
      expect(status).toBe(200)
      expect(body.replace(/notice-bar.*?<\/p>/s, '')).not.toMatch(/\blate\b|late-device/)
    }
    return summarise(outcomes)
  })

  attack('A225d', 'ADMIN', 'every order of the API by the cookie, and with the token of a form in its place', async () => {
    const before = await administrative()
    const outcomes: string[] = []
    let address = 0
    for (const { id, method, path } of operations) {
      for (const authorization of [undefined, `Bearer ${openForm}`, `Postern ${openForm}`]) {
        address += 1
        const answer = await alice.client.send(alice.at(`/api/v1${path.replaceAll(/\{\w+\}/g, 'x')}`), {
          as: 'fetch',
          method,
          headers: {
            'sec-fetch-site': 'same-origin',
            origin: rig.origin('access'),
            'content-type': 'application/json',
            'x-forwarded-for': `198.51.${Math.trunc(address / 250)}.${address % 250}`,
            ...(authorization === undefined ? {} : { authorization }),
          },
          ...(method === 'GET' ? {} : { body: '{}' }),
        })
        if (answer.status !== 401) throw new Error(`${id}: ${answer.status}`)
        outcomes.push(String(answer.status))
      }
    }
    expect(await administrative()).toEqual(before)
    return summarise(outcomes)
  })

  attack(
    'A225e',
    'ADMIN',
    'pages and streams go on to read, and offer the way to a sign-in; none of them does anything by being asked for',
    async () => {
      const before = await administrative()
      const outcomes: string[] = []
      for (const route of routes.filter(({ method }) => method === 'GET')) {
        const isStream = /\/(?:follow|live)$/.test(route.pattern)
        for (const method of isStream ? ['HEAD'] : ['GET', 'HEAD']) {
          const { status } = await alice.client.send(alice.at(pathOf(route)), { method })
          if (![200, 303, 404].includes(status)) throw new Error(`${method} ${route.pattern}: ${status}`)
          outcomes.push(String(status))
        }
      }
      expect(await administrative()).toEqual(before)
      const asked = await post(alice, '/console/locks', { form_token: openForm, form_page: '/console/locks', ...meant['/console/locks'] })
      const [, way = ''] = /href="(\/sign-in\?[^"]+)"/.exec(asked.body) ?? []
      const url = new URL(way.replaceAll('&amp;', '&'), rig.origin('access'))
      expect(url.searchParams.get('return_to')).toBe(alice.at('/console/locks'))
      // The wish that goes along is sealed for this host: it cannot be altered, and is dropped on the way to another.
      const sealed = url.searchParams.get('step_up') ?? ''
      const follow = async (name: string, value: string) => {
        const altered = new URL(url)
        altered.searchParams.set(name, value)
        const { header, status } = await alice.client.send(altered.href)
        return [status, header('x-postern') ?? header('location')]
      }
      expect(await follow('step_up', `${sealed.slice(0, -4)}AAAA`)).toEqual([400, 'sign_in_invalid'])
      expect(await follow('step_up', 'AAAA')).toEqual([400, 'sign_in_invalid'])
      expect(await follow('return_to', `${rig.origin('app')}/`)).toEqual([302, `${rig.origin('app')}/`])
      return summarise(outcomes)
    },
  )
})
