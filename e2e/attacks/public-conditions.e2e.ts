/**
 * What else a rule for everybody may say (circumstances, days, classes of methods, report mode), and attempts to make it say more.
 *
 * Safe: strangers pass where everything that the rule asks for is certain and nothing is required besides; forged circumstances are none;
 * and nobody who comes through such a door is told to the app as somebody.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

const everybody = { public: true }
const rules = [
  { name: 'start', allow: { groups: ['staff'] }, paths: ['/ok'] },
  { name: 'by expression', allow: everybody, when: [{ expression: "request.path.contains('/public/')" }], paths: ['/e/**'] },
  { name: 'by network', allow: everybody, when: [{ network: { cidrs: ['10.0.0.0/8', 'fd00::/8'] } }], paths: ['/inside'] },
  { name: 'by country', allow: everybody, when: [{ network: { countries: ['DE'] } }], paths: ['/country'] },
  { name: 'by device', allow: everybody, when: [{ device: { known: true } }], paths: ['/device'] },
  { name: 'by no device', allow: everybody, unless: [{ device: { known: true } }], paths: ['/no-device'] },
  { name: 'by sign-in', allow: everybody, when: [{ not: { sign_in: { acr: ['x'] } } }], paths: ['/no-sign-in'] },
  { name: 'by claim', allow: everybody, when: [{ expression: "subject.claims.role == 'admin'" }], paths: ['/claim'] },
  { name: 'by group', allow: everybody, when: [{ subject: { groups: ['admins'] } }], paths: ['/group'] },
  { name: 'later', allow: everybody, from: '2900-01-01', paths: ['/later'] },
  { name: 'earlier', allow: everybody, until: '2020-01-01', paths: ['/earlier'] },
  { name: 'reported', allow: everybody, mode: 'report', paths: ['/reported'] },
  { name: 'closed', allow: everybody, paths: ['/closed/**'] },
  {
    name: 'strangers need it too',
    require: [{ network: { cidrs: ['10.0.0.0/8'] } }],
    for: { everyone: true },
    paths: ['/closed/required'],
  },
  { name: 'closed for now', deny: { everyone: true }, paths: ['/closed/denied'] },
  { name: 'unless inside', deny: { everyone: true }, unless: [{ network: { countries: ['DE'] } }], paths: ['/closed/unknown'] },
  { name: 'read', allow: everybody, methods: ['read'], paths: ['/read/**'] },
  { name: 'preflights', allow: everybody, methods: ['OPTIONS'], paths: ['/api/**'] },
  { name: 'people', require: [{ expression: 'false' }], paths: ['/people'] },
  { name: 'strangers', allow: everybody, paths: ['/people'] },
]

describe('conditions of public rules', () => {
  let rig: Rig
  let bob: string
  beforeAll(async () => {
    rig = await startRig({
      apps: [
        { id: 'app', rules },
        { id: 'reversed', rules: rules.toReversed() },
        {
          id: 'trial',
          report: { until: '2900-01-01', pass: { everyone: true } },
          rules: [{ name: 'start', allow: { groups: ['staff'] }, paths: ['/ok'] }],
        },
      ],
    })
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => {
    for (const id of ['app', 'reversed', 'trial']) rig.upstream(id).reset()
  })
  afterEach(() => mustBeAlive(rig))

  const send = (line: string, headers: readonly string[] = [], app = 'app') =>
    sendLine(rig, `${line} HTTP/1.1`, [...headers, 'Connection: close'], { host: `${app}.corp.localhost:${rig.port}` })

  async function refusedAll(lines: readonly string[], headers: readonly (readonly string[])[] = [[]]): Promise<string> {
    const outcomes: string[] = []
    for (const app of ['app', 'reversed'])
      for (const line of lines)
        for (const some of headers) outcomes.push(mustBeRefused(rig, await send(line, some, app), `${app} ${line} ${some.join()}`, app))
    return summarise(outcomes)
  }

  attack('A63b', 'SKIP', 'an expression never sees the query, nor another spelling of the path', async () => {
    const outcome = await refusedAll([
      'GET /e/secret?x=/public/',
      'GET /e/secret?/public/a',
      'GET /e/secret%2Fpublic%2F',
      'GET /e/PUBLIC/x',
      'GET /e/public',
      'GET /e/x/public//',
      'GET /e/public/../secret',
      'GET /e/secret;/public/',
      'GET /public/x',
    ])
    expect((await send('GET /e/public/x')).statuses).toEqual([200])
    return outcome
  })

  attack('A64b', 'SKIP', 'circumstances that a stranger makes up', async () => {
    const names = [
      'X-Forwarded-For',
      'X-Real-IP',
      'True-Client-IP',
      'CF-Connecting-IP',
      'X-Client-IP',
      'X-Cluster-Client-IP',
      'Fastly-Client-IP',
      'X-Original-Forwarded-For',
      'X_Forwarded_For',
    ]
    const forged = [
      ...names.map((name) => [`${name}: 10.0.0.1`]),
      ['X-Forwarded-For: 127.0.0.1, 10.0.0.1'],
      ['Forwarded: for=10.0.0.1;proto=https'],
      ['CF-IPCountry: DE', 'X-Country: DE', 'X-Vercel-IP-Country: DE', 'CloudFront-Viewer-Country: DE'],
      [
        'Client-Cert: :MIIB:',
        'X-Forwarded-Client-Cert: Hash=00;Subject="CN=laptop"',
        'X-SSL-Client-Verify: SUCCESS',
        'X-Device-Id: laptop',
      ],
      ['X-Forwarded-User: alice', 'X-Forwarded-Groups: admins', 'X-Role: admin', 'Remote-User: alice'],
    ]
    const closed = [
      '/inside',
      '/country',
      '/device',
      '/no-device',
      '/no-sign-in',
      '/claim',
      '/group',
      '/closed/required',
      '/closed/denied',
      '/closed/unknown',
    ]
    return await refusedAll(
      closed.map((path) => `GET ${path}`),
      [[], ...forged],
    )
  })

  attack('A67b', 'SKIP', 'the class of reading methods opens reading alone', async () => {
    const upgrade = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ]
    const refused = await refusedAll(
      ['POST /read/x', 'PUT /read/x', 'DELETE /read/x', 'PROPFIND /read/x', 'QUERY /read/x', 'get /read/x'],
      [['Content-Length: 0'], ['Content-Length: 0', 'X-HTTP-Method-Override: GET']],
    )
    const socket = mustBeRefused(rig, await sendLine(rig, 'GET /read/x HTTP/1.1', upgrade), 'upgrade')
    for (const method of ['GET', 'HEAD', 'OPTIONS']) expect((await send(`${method} /read/x`)).statuses, method).toEqual([200])
    return `${refused}; a WebSocket: ${socket}`
  })

  attack('A69b', 'SKIP', 'days, report mode and requirements, in both orders of the rules', async () => {
    const refused = await refusedAll([
      'GET /later',
      'GET /earlier',
      'GET /reported',
      'GET /closed/denied',
      'GET /closed/required',
      'GET /closed/unknown',
    ])
    // An app in report mode passes people, and a stranger is none.
    const outcomes = [mustBeRefused(rig, await send('GET /anything', [], 'trial'), 'trial', 'trial')]
    const seen: string[] = []
    for (const app of ['app', 'reversed']) {
      const url = `${rig.origin(app)}/ok`
      const cookie = app === 'app' ? bob : await signedInCookie(rig, new Client(), 'bob', url)
      const statuses: (number | undefined)[] = []
      for (const who of [[], [`Cookie: ${cookie}`]])
        for (const path of ['/closed/x', '/people']) statuses.push((await send(`GET ${path}`, who, app)).statuses[0])
      seen.push(statuses.join())
    }
    // What is required of people is required of bob, and asks nothing of strangers, as documented.
    expect(seen).toEqual(['200,200,200,403', '200,200,200,403'])
    return `${refused}; report mode: ${outcomes.join()}`
  })

  attack('A70d', 'SKIP', 'whoever passes a public door is nobody, whatever they show', async () => {
    const upstream = rig.upstream('app')
    for (const headers of [
      ['Cookie: postern-app=x'],
      [`Cookie: postern-app=${'A'.repeat(43)}`],
      ['X-Forwarded-User: root', 'X-Forwarded-Groups: admins', 'X-Postern-Assertion: x', 'X-Forwarded-Email: root@corp.example'],
      ['Authorization: Basic cm9vdDpyb290'],
      ['Cookie: __Host-postern-app=x; postern=y', 'X-Postern-Request: mine'],
    ]) {
      upstream.reset()
      expect((await send('GET /read/x', headers)).statuses, headers.join()).toEqual([200])
      expect(upstream.bytes(), headers.join()).not.toMatch(/^x-forwarded-(?:user|groups|email|preferred-username)|^x-postern-assertion/im)
      expect(upstream.bytes()).not.toMatch(/postern-app|root@/)
    }
    upstream.reset()
    const token = mustBeRefused(rig, await send('GET /read/x', ['Postern-Authorization: Bearer x']), 'a token that proves nothing')
    return `no identity reached the app; a token that proves nothing: ${token}`
  })

  attack('A71b', 'SKIP', 'a rule for preflights opens preflights', async () => {
    const origin = ['Origin: https://evil.test', 'Access-Control-Request-Method: DELETE']
    const refused = await refusedAll(
      ['GET /api/x', 'POST /api/x', 'DELETE /api/x', 'HEAD /api/x', 'OPTIONS /admin', 'OPTIONS *'],
      [['Content-Length: 0'], [...origin, 'Content-Length: 0']],
    )
    expect((await send('OPTIONS /api/x', origin)).statuses).toEqual([200])
    return refused
  })
})
