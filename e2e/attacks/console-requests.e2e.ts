/**
 * Requests that a page of somebody else makes a browser of an admin send, and requests of people with too small a role: to every route that the
 * console and the API have. Judged by the audit trail as well: nothing administrative may stand there afterwards.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { permissionsByRole } from '../../src/administration/asker.ts'
import { type Answer, Client } from '../support/client.ts'
import { type ApiOperation, type ConsoleRoute, Desk, listApiOperations, listConsoleRoutes, pathOf } from '../support/console-desk.ts'
import { people, type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, summarise } from './attack.ts'

const person = (id: string, groups: readonly string[]) => ({ id, name: id, email: `${id}@corp.example`, role: '', groups })

describe('every route of the console and of its API', () => {
  let rig: Rig
  let routes: readonly ConsoleRoute[]
  let operations: readonly ApiOperation[]
  let alice: Desk
  let otherAdmin: Desk
  const others = new Map<'auditor' | 'helpdesk' | 'nobody', Desk>()

  beforeAll(async () => {
    rig = await startRig({
      people: [...people, person('audrey', ['auditors']), person('hank', ['helpdesk']), person('ada', ['postern-admins'])],
      configuration: {
        trusted_proxies: ['127.0.0.1/32'],
        requests: 'on',
        console: {
          roles: { admin: { groups: ['postern-admins'] }, auditor: { groups: ['auditors'] }, helpdesk: { groups: ['helpdesk'] } },
          sign_in_within: '1h',
        },
      },
    })
    routes = await listConsoleRoutes()
    alice = await Desk.of(rig, 'alice')
    otherAdmin = await Desk.of(rig, 'ada')
    for (const [role, name] of [
      ['auditor', 'audrey'],
      ['helpdesk', 'hank'],
      ['nobody', 'bob'],
    ] as const)
      others.set(role, await Desk.of(rig, name))
    operations = await listApiOperations(alice)
    // Whatever a module adds is mounted, or its guards are tested by nobody.
    const absent: string[] = []
    for (const route of routes.filter(({ method }) => method === 'POST'))
      if ((await alice.post(pathOf(route), 'x=1')).header('x-postern') === 'path_not_found') absent.push(route.pattern)
    expect(absent).toEqual([])
    expect(routes.length).toBeGreaterThan(60)
    expect(operations.length).toBeGreaterThan(40)
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  /** What the trail has besides sign-ins and decisions. */
  async function administrative(): Promise<readonly string[]> {
    const usual = /^(?:access\.|session\.started|sign_in\.|trail\.|audit\.|checkpoint|instance\.|policy\.(?:loaded|in_force))/
    return (await rig.audit()).map((line) => String(line['event'])).filter((event) => !usual.test(event))
  }
  async function mustChangeNothing(run: () => Promise<string>): Promise<string> {
    const before = await administrative()
    const outcome = await run()
    expect(await administrative()).toEqual(before)
    return outcome
  }
  const forms = () => routes.filter(({ method }) => method === 'POST')
  const statusOf = ({ header, status }: Answer) => `${status} ${header('x-postern') ?? ''}`.trim()

  let address = 0
  /** Refusals are counted by address: whoever guesses has many. */
  const nextAddress = () => ({ 'x-forwarded-for': `198.51.${Math.trunc(++address / 250)}.${address % 250}` })
  const app = () => rig.origin('app')
  /** What a browser says of requests that another page made. */
  const crossings = (): readonly (readonly [string, Readonly<Record<string, string>>])[] => [
    ['a form on the page of an app', { origin: app(), 'sec-fetch-site': 'same-site' }],
    ['a form of a stranger', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
    ['no-cors', { origin: app(), 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors', 'content-type': 'text/plain' }],
    ['JSON as text', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site', 'content-type': 'text/plain' }],
    ['a sandboxed frame', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
    ['typed', { 'sec-fetch-site': 'none', origin: 'null' }],
    ['two answers to where from', { 'sec-fetch-site': 'same-origin, cross-site' }],
    ['letters', { 'sec-fetch-site': 'Same-Origin' }],
    ['empty', { 'sec-fetch-site': '' }],
  ]
  /** Of browsers that say no more than `Origin`, or nothing. */
  const oldBrowsers = () => [
    ...[undefined, app(), 'null', '', 'https://evil.example', `${rig.origin('access')}.evil.example`, `${rig.origin('access')}/`],
    ...[rig.origin('access').toUpperCase(), `${rig.origin('access')} ${app()}`],
    ...[rig.origin('access').replace(/:\d+$/, ''), rig.origin('access').replace('http:', 'https:')],
  ]

  attack('A218', 'ADMIN', 'forms of other sites, with the true token in them, to every form of the console', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      const form_token = await alice.formToken()
      for (const route of forms()) {
        for (const [how, headers] of crossings()) {
          const isText = headers['content-type'] === 'text/plain'
          const answer = await alice.post(pathOf(route), isText ? `{"form_token":"${form_token}","x":"="}` : { form_token }, headers)
          if (answer.status !== 403) throw new Error(`${route.pattern}, ${how}: ${statusOf(answer)}`)
          outcomes.push(statusOf(answer))
        }
      }
      const [first] = forms()
      if (first === undefined) throw new Error('there is no form')
      const body = new URLSearchParams({ form_token }).toString()
      for (const origin of oldBrowsers()) {
        const headers = [
          `Cookie: ${alice.client.cookieHeader(alice.at('/'))}`,
          'Content-Type: application/x-www-form-urlencoded',
          `Content-Length: ${body.length}`,
          ...(origin === undefined ? [] : [`Origin: ${origin}`]),
          'Connection: close',
        ]
        const { statuses } = await sendLine(rig, `POST ${pathOf(first)} HTTP/1.1`, headers, { host: new URL(alice.at('/')).host, body })
        if (statuses[0] !== 403) throw new Error(`Origin ${origin}: ${statuses.join('/')}`)
        outcomes.push(`old browser ${statuses[0]}`)
      }
      return summarise(outcomes)
    }),
  )

  attack(
    'A218b',
    'ADMIN',
    'no token, a forged one, that of another admin, of another session of the same one, two, and other kinds of body',
    () =>
      mustChangeNothing(async () => {
        const outcomes: string[] = []
        const own = await alice.formToken()
        const second = await Desk.of(rig, 'alice')
        const [foreign, ofSecond] = [await otherAdmin.formToken(), await second.formToken()]
        const auditors = await others.get('auditor')?.formToken()
        const altered = `${own.slice(0, -2)}${own.endsWith('A') ? 'BB' : 'AA'}`
        const bodies: readonly (readonly [string, string, Record<string, string>?])[] = [
          ['none', 'x=1'],
          ['nothing at all', ''],
          ['empty', 'form_token='],
          ['another admin’s', `form_token=${foreign}`],
          ['an auditor’s', `form_token=${auditors}`],
          ['of another session', `form_token=${ofSecond}`],
          ['altered', `form_token=${altered}`],
          ['cut', `form_token=${own.slice(0, 10)}`],
          ['lengthened', `form_token=${own}A`],
          ['two, the true one last', `form_token=x&form_token=${own}`],
          ['two, the true one first', `form_token=${own}&form_token=x`],
          ['twice the same', `form_token=${own}&form_token=${own}`],
          ['as a list', `form_token[]=${own}`],
          ['JSON', JSON.stringify({ form_token: own }), { 'content-type': 'application/json' }],
          ['text', `form_token=${own}`, { 'content-type': 'text/plain' }],
          [
            'multipart',
            `--b\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n${own}\r\n--b--`,
            { 'content-type': 'multipart/form-data; boundary=b' },
          ],
          ['no type', `form_token=${own}`, { 'content-type': '' }],
          ['compressed', `form_token=${own}`, { 'content-encoding': 'gzip' }],
        ]
        for (const route of forms()) {
          for (const [how, body, headers] of bodies) {
            const answer = await alice.post(pathOf(route), body, headers)
            if (![400, 403, 415].includes(answer.status)) throw new Error(`${route.pattern}, ${how}: ${statusOf(answer)}`)
            outcomes.push(statusOf(answer))
          }
          const inQuery = await alice.post(`${pathOf(route)}?form_token=${own}`, 'x=1')
          if (inQuery.status !== 403) throw new Error(`${route.pattern}, in the query: ${statusOf(inQuery)}`)
        }
        return summarise(outcomes)
      }),
  )

  attack('A218c', 'ADMIN', 'the API with nothing but the cookie of an admin, by whatever kind of request', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      for (const { method, path } of operations) {
        const target = path.replaceAll(/\{\w+\}/g, '1')
        const ways: readonly Record<string, string>[] = [
          { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example', 'content-type': 'text/plain' },
          { 'sec-fetch-site': 'same-site', origin: app(), 'content-type': 'application/json' },
          { 'sec-fetch-site': 'same-origin', origin: rig.origin('access'), 'content-type': 'application/json' },
          { authorization: 'Bearer ', 'content-type': 'application/json' },
          { authorization: `Bearer ${alice.client.cookieHeader(alice.at('/')).split('=')[1] ?? ''}` },
        ]
        for (const headers of ways) {
          const answer = await alice.client.send(alice.at(`/api/v1${target}`), {
            as: 'fetch',
            method,
            headers: { ...headers, ...nextAddress() },
            ...(method === 'GET' ? {} : { body: '{}' }),
          })
          if (![400, 401, 403].includes(answer.status)) throw new Error(`${method} ${path}: ${statusOf(answer)}`)
          if (answer.header('access-control-allow-origin') !== undefined) throw new Error(`${path} answers other sites`)
          outcomes.push(statusOf(answer))
        }
        const overridden = await alice.client.send(alice.at(`/api/v1${target}?_method=${method}`), {
          as: 'fetch',
          method: 'POST',
          body: '{}',
          headers: { 'x-http-method-override': method, 'content-type': 'application/json', ...nextAddress() },
        })
        if (overridden.status < 400) throw new Error(`${method} ${path}, overridden: ${statusOf(overridden)}`)
      }
      return summarise(outcomes)
    }),
  )

  attack('A222', 'ADMIN', 'every page and form by a role that may not, and by nobody', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      for (const [role, desk] of others) {
        const may = role === 'nobody' ? new Set<string>() : permissionsByRole[role]
        const token = role === 'nobody' ? 'x' : await desk.formToken()
        for (const route of routes.filter(({ permission }) => !may.has(permission))) {
          // The way in leads to the first page that is theirs.
          if (route.pattern === '/console' && role !== 'nobody') continue
          for (const path of [pathOf(route), pathOf(route, '%F0%9F%92%A5%20x')]) {
            const answer = route.method === 'GET' ? await desk.open(path) : await desk.post(path, { form_token: token, version: '0' })
            if (answer.status !== 403 || answer.header('x-postern') !== 'not_permitted')
              throw new Error(`${role}: ${route.method} ${path}: ${statusOf(answer)}`)
            outcomes.push(`${role} ${statusOf(answer)}`)
          }
        }
      }
      for (const route of routes) {
        const answer = await new Client().send(alice.at(pathOf(route)), {
          method: route.method,
          ...(route.method === 'GET' ? {} : { body: 'x=1' }),
          headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
        })
        if (![302, 401].includes(answer.status)) throw new Error(`a stranger: ${route.pattern}: ${statusOf(answer)}`)
        outcomes.push(`a stranger ${answer.status}`)
      }
      return summarise(outcomes)
    }),
  )

  attack('A222b', 'ADMIN', 'other spellings of paths and ids: letters, slashes, escapes, dots', async () => {
    const outcomes: string[] = []
    const nobody = others.get('nobody')
    const helpdesk = others.get('helpdesk')
    if (nobody === undefined || helpdesk === undefined) throw new Error('nobody signed in')
    const spellings = [
      '/Console/tokens',
      '/CONSOLE/TOKENS',
      '/console/Tokens',
      '/console/tokens/',
      '/console//tokens',
      '/console/%74okens',
      '/console/tokens%2F',
      '/console/tokens;x',
      '/console/people/../tokens',
      '/console/people/%2e%2e/tokens',
      '/console/tokens%00',
      '/console/tokens.json',
      '/console/tokens?form_page=/console',
      '//console/tokens',
      '/console/.//tokens',
    ]
    for (const path of spellings) {
      for (const desk of [nobody, helpdesk]) {
        const answer = await desk.client.send(`${rig.origin('access')}${path}`)
        if (answer.status < 400 && !(answer.status === 303 && answer.header('location') === desk.at('/console')))
          throw new Error(`${path}: ${statusOf(answer)}`)
        expect(answer.body).not.toContain('Service tokens</h1>')
        outcomes.push(String(answer.status))
      }
    }
    return summarise(outcomes)
  })

  attack('A168b', 'CACHE', 'nothing of the console is kept by anybody, framed, sniffed or read by another window', async () => {
    const outcomes: string[] = []
    const desks = [alice, ...others.values()]
    for (const route of routes.filter(({ method, pattern }) => method === 'GET' && !/live$|follow$/.test(pattern))) {
      for (const desk of desks) {
        const { header, status } = await desk.open(pathOf(route))
        const where = `${route.pattern} (${status})`
        const policy = header('content-security-policy') ?? ''
        if (!/\bno-store\b/.test(header('cache-control') ?? '')) throw new Error(`${where} may be kept: ${header('cache-control')}`)
        if (header('x-content-type-options') !== 'nosniff') throw new Error(`${where} may be sniffed`)
        if (!policy.includes("frame-ancestors 'none'") || header('x-frame-options') !== 'DENY') throw new Error(`${where} may be framed`)
        if (/unsafe-|\*|data:\s*;|https?:/.test(policy.replace(/img-src[^;]*/, ''))) throw new Error(`${where}: ${policy}`)
        if (header('cross-origin-opener-policy') !== 'same-origin') throw new Error(`${where}: another window may reach it`)
        if (header('referrer-policy') !== 'no-referrer') throw new Error(`${where} tells where it was`)
        if (header('etag') !== undefined || header('last-modified') !== undefined) throw new Error(`${where} has a validator`)
        outcomes.push(String(status))
      }
    }
    return summarise(outcomes)
  })
})
