/**
 * Requests to the console that no page of ours sends: other methods, overridden ones, other spellings of paths and hosts, fields named after
 * prototypes, forms too large, places to be led to. As a stranger, as somebody without a role, and as an admin whose cookie and token came along.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type ConsoleRoute, Desk, listConsoleRoutes, pathOf } from '../support/console-desk.ts'
import { managed } from '../support/console-policy.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, summarise } from './attack.ts'

describe('requests that no page of the console sends', () => {
  let rig: Rig
  let routes: readonly ConsoleRoute[]
  let alice: Desk
  let bob: Desk
  let form_token: string

  beforeAll(async () => {
    rig = await startRig({
      configuration: {
        ...managed,
        requests: 'on',
        console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' },
      },
    })
    routes = await listConsoleRoutes()
    alice = await Desk.of(rig, 'alice')
    bob = await Desk.of(rig, 'bob')
    form_token = await alice.formToken()
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  const lastHost = () => new URL(alice.at('/')).host
  async function mustChangeNothing(run: () => Promise<string>): Promise<string> {
    const administrative = async () => {
      const usual = /^(?:access\.|session\.started|sign_in\.|trail\.|audit\.|checkpoint|instance\.|data\.read|policy\.(?:loaded|in_force))/
      return (await rig.audit()).map((line) => String(line['event'])).filter((event) => !usual.test(event))
    }
    const before = await administrative()
    const outcome = await run()
    expect(await administrative()).toEqual(before)
    return outcome
  }
  const harmful = { on: 'subject', name: 'bob', reason: 'x', id: 'device-1', comment: 'x' }

  attack('A218g', 'ADMIN', 'every other method on every route, and methods in headers, fields and queries, with cookie and token', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      const body = new URLSearchParams({ form_token, _method: 'POST', ...harmful }).toString()
      const ours = { origin: rig.origin('access'), 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' }
      for (const pattern of new Set(routes.map((route) => route.pattern))) {
        const takes = new Set(routes.filter((route) => route.pattern === pattern).map(({ method }) => method))
        const path = pattern.replaceAll(/:\w+/g, '1')
        for (const method of ['OPTIONS', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'SEARCH', ...(takes.has('GET') ? [] : ['HEAD', 'GET'])]) {
          const { header, status } = await alice.client.send(alice.at(path), {
            method,
            headers: ours,
            ...(method === 'HEAD' || method === 'GET' ? {} : { body }),
          })
          if (status < 400 || status >= 500) throw new Error(`${method} ${pattern}: ${status}`)
          if (header('access-control-allow-origin') !== undefined) throw new Error(`${method} ${pattern} answers other origins`)
          outcomes.push(`${method} ${status}`)
        }
        if (takes.has('POST') && !takes.has('GET')) {
          for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override', '_method']) {
            const { status } = await alice.client.send(`${alice.at(path)}?_method=POST&${body}`, { headers: { ...ours, [name]: 'POST' } })
            if (status < 400 || status >= 500) throw new Error(`GET ${pattern} as POST by ${name}: ${status}`)
            outcomes.push(`overridden ${status}`)
          }
        }
      }
      for (const method of ['TRACE', 'CONNECT']) {
        const { statuses } = await sendLine(
          rig,
          `${method} /console/locks HTTP/1.1`,
          [`Cookie: ${alice.client.cookieHeader(alice.at('/'))}`],
          {
            host: lastHost(),
          },
        )
        if (statuses.some((status) => status < 400)) throw new Error(`${method}: ${statuses.join()}`)
      }
      return summarise(outcomes)
    }),
  )

  attack('A222d', 'ADMIN', 'other spellings of console, API and host: dots, slashes, escapes, letters, absolute forms', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      const page = (await alice.open('/console/locks')).body
      expect(page).toContain('<h1')
      const targets = [
        ...['/console/%2e%2e/api/v1/apps', '/console/../api/v1/apps', '/api/v1/%2e%2e/%2e%2e/console/locks', '/api/v1/../../console/locks'],
        ...['/.postern/../console/locks', '/.postern/%2e%2e/console/locks', '/.postern/assets/..%2f..%2fconsole/locks', '/console/./locks'],
        ...[
          '//console/locks',
          '/console//locks',
          '///console/locks',
          '/\\console/locks',
          '/console\\locks',
          '/console%2flocks',
          '/console%5clocks',
        ],
        ...[
          '/Console/locks',
          '/CONSOLE/LOCKS',
          '/console/Locks',
          '/console./locks',
          '/console/locks.',
          '/console/locks/',
          '/console /locks',
        ],
        ...[
          '/console;x/locks',
          '/console/locks;x',
          '/console/locks%00',
          '/console/locks%0a',
          '/console/%6cocks%20',
          '/console/locks%23',
          '/console/locks%3f',
        ],
        ...['/%2fconsole/locks', '/%2e/console/locks', '/x/%2e%2e/console/locks', '/public/../console/locks', '/sign-in/../console/locks'],
        ...[
          '/console/\u006cocks\u00ad'.replace('\u00ad', '\xad'),
          '/console/locks#',
          '/console/locks%c0%af',
          '/c%6Fnsole/locks',
          '/console/%6c%6F%63ks',
        ],
        ...[
          `http://${lastHost()}/console/locks`,
          `http://evil.example/console/locks`,
          'http:///console/locks',
          `https://${lastHost()}@evil/console/locks`,
        ],
        ...['console/locks', '*', '?/console/locks', '/?/console/locks', '//evil.example/console/locks', '/console@evil.example/locks'],
      ]
      const people = [
        ['a stranger', undefined],
        ['bob', bob],
        ['alice', alice],
      ] as const
      for (const target of targets) {
        for (const [who, desk] of people) {
          const cookie = desk === undefined ? [] : [`Cookie: ${desk.client.cookieHeader(desk.at('/'))}`]
          const seen = await sendLine(rig, `GET ${target} HTTP/1.1`, [...cookie, 'Accept: text/html', 'Connection: close'], {
            host: lastHost(),
          })
          const [status = 0] = seen.statuses
          const isShown = seen.text.includes('Lock') && seen.text.includes('console-nav')
          if (status >= 500 || (isShown && who !== 'alice')) throw new Error(`${who}: GET ${target}: ${status}`)
          const [, location] = /^location: *(.*)$/im.exec(seen.text) ?? []
          if (location !== undefined && ![rig.origin('access'), rig.issuer].includes(new URL(location, 'http://nowhere.example').origin))
            throw new Error(`${target} leads to ${location}`)
          // Whatever it is read as, a change needs its token, and a page of ours that sends it.
          const body = new URLSearchParams(harmful).toString()
          const type = ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`, 'Connection: close']
          for (const lines of [['Sec-Fetch-Site: same-origin'], ['Sec-Fetch-Site: same-site', `X-Form-Token: ${form_token}`]]) {
            const sent = await sendLine(rig, `POST ${target} HTTP/1.1`, [...cookie, ...type, ...lines], { host: lastHost(), body })
            const [answered = 0] = sent.statuses
            if (answered < 300 || answered >= 500 || (answered < 400 && who === 'alice'))
              throw new Error(`${who}: POST ${target}: ${answered}`)
          }
          outcomes.push(`${who} ${status}`)
        }
      }
      for (const host of [
        'ACCESS.corp.localhost',
        'access.corp.localhost.',
        'access.corp.localhost@evil',
        'app.corp.localhost',
        'evil.example',
        '',
      ]) {
        const lines = [
          `Host: ${host}:${rig.port}`,
          `Cookie: ${bob.client.cookieHeader(bob.at('/'))}`,
          'Accept: text/html',
          'Connection: close',
        ]
        const { text } = await sendLine(rig, 'GET /console/locks HTTP/1.1', lines)
        if (/^HTTP\/1\.1 2/.test(text)) throw new Error(`Host: ${host}: ${text.slice(0, 300)}`)
      }
      return summarise(outcomes)
    }),
  )

  attack('A172b', 'WS', 'upgrades to the console, its streams and the API, by our own page and by others', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      const paths = ['/console', '/console/trail/follow', '/console/connections/live', '/console/locks', '/api/v1/locks', '/', '/nothing']
      for (const path of paths) {
        for (const origin of [rig.origin('access'), rig.origin('app'), 'https://evil.example', 'null']) {
          for (const protocol of ['websocket', 'h2c', 'TLS/1.0', 'connect-udp']) {
            const { statuses, text } = await sendLine(
              rig,
              `GET ${path} HTTP/1.1`,
              [
                `Cookie: ${alice.client.cookieHeader(alice.at('/'))}`,
                `Origin: ${origin}`,
                `Sec-Fetch-Site: ${origin === rig.origin('access') ? 'same-origin' : 'same-site'}`,
                'Connection: Upgrade',
                `Upgrade: ${protocol}`,
                'Sec-WebSocket-Version: 13',
                'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
              ],
              { host: lastHost() },
            )
            // Who asks for a protocol may be answered in the one there is (RFC 9110 §7.8), and never by a switch.
            const isOwn = origin === rig.origin('access') || path === '/'
            if (statuses.some((status) => status < (isOwn ? 200 : 300) || status >= 500))
              throw new Error(`${protocol} ${path} from ${origin}: ${text.slice(0, 300)}`)
            outcomes.push(`${protocol} ${statuses.join('/') || 'closed'}`)
          }
        }
      }
      return summarise(outcomes)
    }),
  )

  attack('A250c', 'DOS', 'forms that are larger than they may be, have more fields than anybody fills in, or name prototypes', () =>
    mustChangeNothing(async () => {
      const outcomes: string[] = []
      const large = 'x'.repeat(12 * 1024 * 1024)
      const many = Array.from({ length: 4000 }, (_, field) => `f${field}=1`).join('&')
      const prototypes = `__proto__[admin]=1&__proto__=1&constructor[prototype][x]=1&constructor=1&toString=1&hasOwnProperty=1&valueOf=x&form_page=__proto__`
      for (const route of routes.filter(({ method }) => method === 'POST')) {
        const path = pathOf(route)
        const tooLarge = await alice.post(path, `form_token=${form_token}&x=${large}`).catch((error: unknown) => error as Error)
        // Closed in the middle of sending is refused as well.
        if (!(tooLarge instanceof Error) && tooLarge.status !== 413) throw new Error(`${route.pattern}, large: ${tooLarge.status}`)
        outcomes.push(tooLarge instanceof Error ? 'closed' : '413')
        for (const body of [many, prototypes, 'x='.repeat(4000), '%', '%ff=%ff', '='.repeat(8000), '\u0000=1', 'form_token[]=1', '&&&&']) {
          const { status } = await alice.post(path, body)
          if (![400, 403, 413].includes(status)) throw new Error(`${route.pattern}, ${body.slice(0, 20)}: ${status}`)
        }
        const startedAt = performance.now()
        const stranger = await new Client().send(alice.at(path), {
          method: 'POST',
          body: 'x=1',
          headers: { 'sec-fetch-site': 'same-origin' },
        })
        expect([401, 404]).toContain(stranger.status)
        if (performance.now() - startedAt > 5000) throw new Error(`others waited at ${route.pattern}`)
      }
      // With the true token, fields of such names are fields and nothing else.
      const named = await alice.post('/console/policy/what-if', `form_token=${form_token}&${prototypes}`)
      expect(named.status).toBeLessThan(500)
      const drafted = await alice.post('/console/devices', `form_token=${form_token}&${prototypes}`)
      expect([400, 422]).toContain(drafted.status)
      expect(({} as { admin?: unknown }).admin).toBeUndefined()
      expect((await alice.open('/console/apps')).status).toBe(200)
      return summarise(outcomes)
    }),
  )

  attack('A1c', 'REDIR', 'every parameter by which a page of the console or portal could lead somewhere else', async () => {
    const outcomes: string[] = []
    const places = [
      'https://evil.example/',
      '//evil.example',
      '/\\evil.example',
      '///evil.example',
      'javascript:alert(1)',
      '/%09/evil.example',
      '.evil.example',
      '@evil.example',
      '/console@evil.example',
      '%0d%0aLocation: https://evil.example',
    ]
    const names = [
      'return',
      'return_to',
      'returnTo',
      'next',
      'to',
      'url',
      'redirect',
      'redirect_uri',
      'back',
      'form_page',
      'page',
      'in',
      'q',
      'after',
      'first',
      'goto',
      'rd',
    ]
    const pages = routes.filter(({ method, pattern }) => method === 'GET' && !/follow$|live$/.test(pattern)).map((route) => pathOf(route))
    for (const path of [
      ...pages,
      '/console/search',
      '/console/',
      '/',
      '/sessions',
      '/requests',
      '/devices',
      '/privacy',
      '/signed-out',
      '/.postern/sign-out',
    ]) {
      for (const place of places) {
        const query = new URLSearchParams(names.map((name) => [name, place]))
        for (const client of [alice.client, bob.client, new Client()]) {
          const { body, header, status } = await client.send(`${alice.at(path)}?${query}`)
          if (status >= 500) throw new Error(`${path} ${place}: ${status}`)
          const location = header('location')
          if (location !== undefined && ![rig.origin('access'), rig.issuer].includes(new URL(location, alice.at('/')).origin))
            throw new Error(`${path} ${place} leads to ${location}`)
          const [bad] = /(?:href|action|src|content)="[^"]*?(?:^|url=|")(?:https?:)?[/\\]{2,}[^"/]*evil[^"]*"/.exec(body) ?? []
          if (bad !== undefined || /href="(?:javascript|data|\/\/|\/\\)/.test(body)) throw new Error(`${path} ${place}: ${bad}`)
          outcomes.push(location === undefined ? 'led nowhere' : 'led home')
        }
      }
    }
    return summarise(outcomes)
  })
})
