/**
 * Every secret that a story uses, looked for in all that the console, the portal, the API, its description, exports, errors and debug lines say; in what
 * upstreams and strangers learn as `Referer`, and in the history of a real browser. What instances say is searched again when the rig stops.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { tokenPermissions } from '../../src/administration/token-scope.ts'
import { launchBrowser } from '../support/browser.ts'
import { Client } from '../support/client.ts'
import { Desk, listApiOperations, listConsoleRoutes, pathOf } from '../support/console-desk.ts'
import { type ForeignServer, startForeignServer } from '../support/foreign-server.ts'
import { chooseAtDemoProvider } from '../support/page.ts'
import { sendRaw } from '../support/raw.ts'
import { commandAt, type Rig, startRig, waitFor } from '../support/rig.ts'
import { countSecrets, findSecrets, noteSecret } from '../support/secret-watch.ts'
import { attack, endRig, mustBeAlive, sendLine, summarise } from './attack.ts'

const upstreamKey = 'upstream-key-0f4b9c7d2e8a6135'
const nobody = 'of-nothing-here'
const strangers = 'Xk29-a-strangers-secret-7QpLw'

describe('secrets', () => {
  let rig: Rig
  let alice: Desk
  let bob: Desk
  let token: string
  let foreign: ForeignServer

  beforeAll(async () => {
    foreign = await startForeignServer()
    rig = await startRig({
      logLevel: 'debug',
      apps: [
        {
          id: 'app',
          set_request_headers: { 'X-Api-Key': { secret: 'upstream_key' } },
          rules: [{ name: 'staff', allow: { groups: ['staff'] } }],
        },
        { id: 'wiki', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
      configuration: {
        policy: 'managed',
        policy_seed: 'policy.yaml',
        upstreams: { allow: ['127.0.0.0/8'] },
        secrets: { upstream_key: upstreamKey },
        requests: 'on',
        trusted_proxies: ['127.0.0.1/32'],
        console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' },
      },
    })
    alice = await Desk.of(rig, 'alice')
    bob = await Desk.of(rig, 'bob')
    await rig.signIn(bob.client, 'bob', `${rig.origin('app')}/ok`)
    await rig.signIn(alice.client, 'alice', `${rig.origin('app')}/ok`)
    token = await commandAt(rig, 'token', 'create', '--name', 'all', ...tokenPermissions.flatMap((one) => ['--scope', one]))
    await commandAt(rig, 'device', 'register', 'laptop-7', '--name', 'Laptop 7')
    noteSecret(strangers, 'a credential of a stranger')
    expect(countSecrets()).toBeGreaterThan(20)
  })
  afterAll(async () => {
    await foreign?.close()
    await endRig(rig)
  })
  afterEach(() => mustBeAlive(rig))

  function mustBeSilent(where: string, text: string): void {
    const found = findSecrets(text, where)
    if (found.length > 0) throw new Error(found.join('\n'))
  }
  const said = (answer: { readonly headers: object; readonly body: string }) =>
    `${JSON.stringify({ ...answer.headers, 'set-cookie': undefined })}\n${answer.body}`

  attack('A162', 'LEAK', 'paths that tell of a session, of the process or of its files, on every host', async () => {
    const outcomes: string[] = []
    const paths = [
      ...[
        '/.postern/whoami',
        '/.postern/session',
        '/.postern/userinfo',
        '/.postern/jwks.json',
        '/userinfo',
        '/session',
        '/token',
        '/tokens',
      ],
      ...[
        '/debug/pprof/',
        '/debug/vars',
        '/debug',
        '/metrics',
        '/livez',
        '/readyz',
        '/healthz',
        '/health',
        '/status',
        '/server-status',
        '/info',
      ],
      ...[
        '/env',
        '/.env',
        '/actuator/env',
        '/heapdump',
        '/json/version',
        '/keys.json',
        '/postern.yaml',
        '/policy.yaml',
        '/.git/config',
        '/package.json',
      ],
      ...[
        '/oidc/.well-known/openid-configuration',
        '/.well-known/openid-configuration',
        '/api/v1',
        '/api/v1/openapi.json',
        '/api/v1/config',
        '/console/config',
      ],
    ]
    for (const origin of [rig.origin('access'), rig.origin('wiki'), rig.origin('unheard')]) {
      for (const path of paths) {
        for (const client of [bob.client, alice.client, new Client()]) {
          const answer = await client.send(`${origin}${path}`, { as: 'fetch' })
          mustBeSilent(`${origin}${path}`, said(answer))
          const isOurs = origin !== rig.origin('wiki') || path.startsWith('/.postern/')
          const isPublic = /whoami|jwks|openapi/.test(path)
          // The app's own paths are the app's.
          if (isOurs && !isPublic && answer.status < 400) throw new Error(`${origin}${path}: ${answer.status}`)
          outcomes.push(String(answer.status))
        }
      }
    }
    for (const path of ['/livez', '/readyz', '/metrics', '/nothing']) {
      const answer = await fetch(`http://127.0.0.1:${rig.instance.operationsPort}${path}`)
      mustBeSilent(`operations ${path}`, await answer.text())
      // Reached by a name that somebody else's page rebinds, it tells nothing.
      const rebound = await sendOperations(path, 'evil.example')
      expect(rebound).toMatch(/^HTTP\/1\.1 421/)
    }
    return summarise(outcomes)
  })

  async function sendOperations(path: string, host: string): Promise<string> {
    const { text } = await sendRaw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, {
      port: rig.instance.operationsPort,
    })
    return text
  }

  attack('A162b', 'LEAK', 'every page, operation, export and error of console, portal and API', async () => {
    const outcomes: string[] = []
    const look = (where: string, answer: Awaited<ReturnType<Desk['open']>>) => {
      mustBeSilent(where, said(answer))
      outcomes.push(String(answer.status))
    }
    const waiting = [
      ...['/', '/sessions', '/devices', '/privacy', '/requests'],
      ...(await listConsoleRoutes()).flatMap((route) =>
        route.method === 'GET' && !/follow$|live$/.test(route.pattern) ? [pathOf(route)] : [],
      ),
      ...['/console/trail/export?format=ndjson', '/console/trail/export?format=csv', '/console/policy/revisions/1/files'],
    ]
    const seen = new Set<string>()
    while (waiting.length > 0 && seen.size < 90) {
      const path = waiting.shift() ?? ''
      if (seen.has(path)) continue
      seen.add(path)
      const answer = await alice.open(path)
      look(path, answer)
      for (const [, href = ''] of answer.body.matchAll(/href="(\/console[^"]*)"/g)) {
        const next = href.replaceAll('&amp;', '&')
        if (!seen.has(next)) waiting.push(next)
      }
    }
    const { body } = await alice.api('GET', '/people', token)
    const ids = [...body.matchAll(/"(?:ref|id)": ?"([^"]+)"/g)].map(([, id]) => id ?? '').slice(0, 2)
    for (const { method, path } of await listApiOperations(alice)) {
      for (const id of [...ids, 'laptop-7', token.split('_')[1] ?? '', 'app', '1', nobody]) {
        if (method !== 'GET' && id !== nobody) continue
        const target = path.replaceAll(/\{\w+\}/g, encodeURIComponent(id))
        look(
          `${method} ${path}`,
          await alice.api(method, target, token, method === 'GET' ? undefined : { nonsense: strangers, reason: [strangers] }),
        )
        if (target === path) break
      }
    }
    look('openapi', await alice.api('GET', '/openapi.json', undefined))
    const form = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
    for (const route of (await listConsoleRoutes()).filter(({ method }) => method === 'POST')) {
      look(`POST ${route.pattern}`, await alice.post(pathOf(route), { form_token: strangers }, form))
    }
    // A secret of the instance is named by its id and by nothing else, wherever the policy is shown.
    expect((await alice.open('/console/policy/files')).status).toBe(200)
    return `${seen.size} pages; ${summarise(outcomes)}`
  })

  attack(
    'A163',
    'LEAK',
    'a whole sign-in in a browser: history, final addresses, and the Referer that upstreams and strangers get',
    async () => {
      const page1 = `<!doctype html><title>An app</title><img src="${foreign.origin}/pixel.png"><script src="${foreign.origin}/s.js"></script><a id="out" href="${foreign.origin}/out">out</a>`
      rig
        .upstream('wiki')
        .answerWith(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(page1)}\r\n\r\n${page1}`)
      const browser = await launchBrowser()
      try {
        const context = await browser.newContext()
        context.setDefaultTimeout(15_000)
        const page = await context.newPage()
        await page.goto(`${rig.origin('wiki')}/?deep=link`)
        await chooseAtDemoProvider(page, 'bob')
        await page.waitForURL(`${rig.origin('wiki')}/?deep=link`)
        await waitFor(() => foreign.received.some((request) => request.includes('/pixel.png')))
        await page.click('#out')
        await page.waitForURL(`${foreign.origin}/out`)
        await page.goto(`${rig.origin('access')}/`)
        await page
          .locator(`a[href^="${rig.origin('wiki')}/"]`)
          .first()
          .click()
        await page.waitForURL((url) => url.origin === rig.origin('wiki'))
        const session = await context.newCDPSession(page)
        const { entries } = await session.send('Page.getNavigationHistory')
        // The provider's own addresses are the provider's.
        const visited = entries.map(({ url }) => url).filter((url) => !url.startsWith(rig.issuer))
        const kept = visited.filter((url) => /[?&](?:code|state|nonce|attempt|id_token|access_token)=/.test(url))
        expect(kept).toEqual([])
        mustBeSilent('history', visited.join('\n'))
      } finally {
        await browser.close()
      }
      const requests = rig.upstream('wiki').requests()
      const referers = requests.flatMap(({ headers }) =>
        headers.filter(([name]) => name.toLowerCase() === 'referer').map(([, value]) => value),
      )
      mustBeSilent('Referer to an app', referers.join('\n'))
      expect(referers.filter((url) => new URL(url).origin === rig.origin('access') || /code=|state=|callback/.test(url))).toEqual([])
      mustBeSilent('what a stranger received', foreign.received.join('\n'))
      const outside = foreign.received.flatMap((text) => /"referer":"([^"]+)"/.exec(text)?.[1] ?? [])
      expect(outside.length).toBeGreaterThan(0)
      expect(outside.filter((url) => url !== `${rig.origin('wiki')}/` && !url.startsWith(foreign.origin))).toEqual([])
      return `${outside.length} requests outside knew the app’s origin and no more; ${referers.length} referers inside`
    },
  )

  attack('A164', 'LEAK', 'credentials in every place of a request, at log level debug', async () => {
    const words = Array.from({ length: 14 }, (_, index) => `${String.fromCharCode(65 + index)}${strangers}${index}`)
    for (const word of words) noteSecret(word, 'a credential of a stranger')
    const [basic = '', bearer = '', query = '', field = '', cookie = '', json = '', host = ''] = words
    const lines = [
      `Authorization: Basic ${Buffer.from(`bob:${basic}`).toString('base64')}`,
      `Proxy-Authorization: Bearer ${bearer}`,
      `Postern-Authorization: Bearer pst_aaaaaaaaaaaa_${bearer}`,
      `Cookie: postern=${cookie}; postern-app=${cookie}; postern-ui=s:${cookie}; postern-login-${cookie.slice(0, 8)}=${cookie}`,
      `X-Api-Key: ${bearer}`,
      'Connection: close',
    ]
    noteSecret(Buffer.from(`bob:${basic}`).toString('base64'), 'basic credentials')
    const paths = [
      '/ok',
      '/console/locks',
      '/api/v1/locks',
      '/oidc/callback',
      '/sign-in',
      '/.postern/callback',
      '/oidc/backchannel-logout',
      '/requests',
    ]
    const parameters = [
      'access_token',
      'code',
      'state',
      'token',
      'id_token',
      'logout_token',
      'password',
      'break_glass',
      'step_up',
      'attempt',
      'detour',
      'iss',
      'error',
    ]
    const outcomes: string[] = []
    await rig.signIn(alice.client, 'alice', `${rig.origin('wiki')}/`)
    for (const origin of [rig.origin('access'), rig.origin('wiki')]) {
      const { host: authority } = new URL(origin)
      const signedIn = [...lines.filter((line) => !line.startsWith('Cookie')), `Cookie: ${alice.client.cookieHeader(`${origin}/`)}`]
      for (const [path, own] of paths.flatMap((one) => [[one, lines] as const, [one, signedIn] as const])) {
        const at = `${path}?${parameters.map((name) => `${name}=${query}`).join('&')}`
        const { statuses } = await sendLine(rig, `GET ${at} HTTP/1.1`, own, { host: authority })
        outcomes.push(String(statuses[0]))
        const ours = [...own, `Origin: ${origin}`, 'Sec-Fetch-Site: same-origin']
        for (const [type, body] of [
          ['application/x-www-form-urlencoded', parameters.map((name) => `${name}=${field}`).join('&')],
          ['application/x-www-form-urlencoded', `form_token=${field}&x=${field.repeat(4000)}`],
          ['application/x-www-form-urlencoded; charset=x-unheard', `form_token=${field}`],
          [`application/x-www-form-urlencoded; charset=${field}`, `form_token=${field}`],
          ['application/json', `{"password":"${json}","token":${json}}`],
          ['application/json', `{"password":"${json}`],
          ['application/jose', `${json}.${json}.${json}`],
          ['text/plain', field],
          ['application/x-www-form-urlencoded\r\nContent-Encoding: gzip', field],
        ] as const) {
          const all = [...ours, `Content-Type: ${type}`, `Content-Length: ${Buffer.byteLength(body)}`]
          const sent = await sendLine(rig, `POST ${path} HTTP/1.1`, all, { host: authority, body })
          outcomes.push(String(sent.statuses[0]))
        }
      }
    }
    for (const line of [
      `GET / HTTP/1.1\r\nHost: user:${host}@access.corp.localhost`,
      `GET http://u:${host}@access.corp.localhost/ HTTP/1.1\r\nHost: x`,
    ])
      await sendLine(rig, line, ['Connection: close'], { host: 'x' }).catch(() => undefined)
    expect(rig.instance.log()).toContain('"level":20')
    mustBeSilent('the log', rig.instance.log())
    return `${summarise(outcomes)}; ${rig.instance.log().split('"level":20').length - 1} debug lines`
  })
})
