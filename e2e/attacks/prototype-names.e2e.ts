/**
 * Names that reach an object's prototype, from everywhere a name can come from: claims, groups, subjects, tokens, posture reports, the
 * policy document and its tests.
 *
 * Safe: they are names like any other or refused, they never open anything, and no prototype is changed. That one is not changed
 * inside an instance shows in others: after all of it people have exactly the rights that they had.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { createSigningKey, mint, startIssuer, type TestIssuer } from '../../src/attributes/service-issuer.fixture.ts'
import { Client } from '../support/client.ts'
import { type Claims, type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, runCommand, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, summarise } from './attack.ts'

/** As text, because an object literal would set a prototype instead of naming one. */
const hostile =
  '{"__proto__":{"isAdmin":true,"role":"admin","groups":["admins"],"email":"root@corp.test","email_verified":true,"device_id":"laptop"},' +
  '"constructor":{"prototype":{"role":"admin","groups":["admins"]},"name":"admin"},"prototype":{"role":"admin"},"toString":1,' +
  '"hasOwnProperty":1,"valueOf":{"role":"admin"},"nested":{"__proto__":{"role":"admin"},"constructor":{"role":"admin"}}}'
const lie = (): Claims => JSON.parse(hostile)
const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf']

const signedIn = { signed_in: true }
const doors = [
  { allow: { groups: ['admins'] } },
  { allow: { groups: ['constructor', 'toString', '__proto__'] } },
  { allow: { claims: { role: 'admin' } } },
  { allow: { claims: { isAdmin: true } } },
  { allow: { claims: { 'nested.role': 'admin' } } },
  { allow: { users: ['root@corp.test'] } },
  { allow: { domains: ['corp.test'] } },
  ...[
    "subject.claims.role == 'admin'",
    'has(subject.claims.isAdmin)',
    "'role' in subject.claims",
    "subject.claims.nested.role == 'admin'",
    "subject.email == 'root@corp.test'",
    "'admins' in subject.groups",
    "device.attributes.ring == 'pilot'",
  ].map((expression) => ({ allow: signedIn, when: [{ expression }] })),
  { allow: signedIn, when: [{ device: { known: true } }] },
  { allow: signedIn, when: [{ device: { attributes: { ring: 'pilot' } } }] },
]

describe('names of prototype members', () => {
  let rig: Rig
  let provider: HostileProvider
  let issuer: TestIssuer
  let folder: string
  let token: string
  const key = createSigningKey('ES256', 'es-1')
  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-names-'))
    provider = await startHostileProvider()
    issuer = await startIssuer()
    issuer.keys = [key.jwk]
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret, claims: { groups: ['groups', 'realm.roles'], device_id: 'device_id' } },
      policy: {
        services: { nightly: { jwt: { issuer: issuer.issuer, audience: 'internal-services', claims: { role: 'admin' } } } },
      },
      apps: [
        {
          id: 'app',
          identity: { add: { 'X-Role': 'role' } },
          rules: [
            { name: 'start', allow: signedIn, paths: ['/'] },
            ...doors.map((door, index) => ({ name: `door ${index}`, ...door, paths: [`/door/${index}`] })),
            { name: 'service', allow: { services: ['nightly'] }, paths: ['/service'] },
          ],
        },
      ],
    })
    const registered = await runCommand(['device', 'register', 'laptop', '--config', config()])
    expect(registered.code, registered.stderr).toBe(0)
    token = (await runCommand(['token', 'create', '--name', 'MDM', '--scope', 'devices:report', '--config', config()])).stdout.trim()
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
    await issuer.close()
    await rm(folder, { recursive: true, force: true })
  })
  beforeEach(() => provider.reset())
  afterEach(() => mustBeAlive(rig))

  async function signIn(sub: string, claims: Claims): Promise<Client> {
    provider.behaviour.person = { sub, claims: {} }
    provider.behaviour.idToken = (it) => ({ ...it, ...claims })
    const client = new Client()
    const answer = await client.follow(`${rig.origin('app')}/`)
    expect(answer.status, `${sub} ${JSON.stringify(claims)} ${answer.header('x-postern')}`).toBe(200)
    return client
  }

  async function openTo(client: Client): Promise<readonly number[]> {
    const open: number[] = []
    for (const index of doors.keys())
      if ((await client.send(`${rig.origin('app')}/door/${index}`, { as: 'fetch' })).status === 200) open.push(index)
    return open
  }

  attack('A258b', 'PP', 'a whole sign-in with them in the ID Token, in userinfo and at a refresh', async () => {
    let sent = ''
    provider.behaviour.tokenResponse = (it) => {
      sent = Buffer.from(String((it as Claims)['id_token']).split('.')[1] ?? '', 'base64url').toString('utf8')
      return it
    }
    provider.behaviour.take.userinfo = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(`{"sub":"bob",${hostile.slice(1)}`)
      return true
    }
    const bob = await signIn('bob', lie())
    expect(sent).toContain('"__proto__":{"isAdmin":true')
    expect(await openTo(bob)).toEqual([])
    const me = JSON.parse((await bob.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })).body)
    expect([me.subject, me.email, me.groups, me.device]).toEqual(['bob', null, null, null])
    expect(rig.upstream('app').bytes()).not.toMatch(/^x-role|root@corp|admins/im)
    // Others are what they were, before and after.
    provider.reset()
    expect(await openTo(await signIn('carol', {}))).toEqual([])
    expect(await openTo(await signIn('dave', { groups: ['admins'], role: 'admin' }))).toEqual([0, 2, 7, 9, 12])
    return `bob is plain bob at ${doors.length} doors; nobody else is anybody else`
  })

  attack('A258c', 'PP', 'subjects and groups of these names are subjects and groups', async () => {
    for (const name of names) {
      provider.reset()
      const client = await signIn(name, { groups: [name] })
      const open = await openTo(client)
      // Door 1 names three of them as groups.
      expect(open, name).toEqual(['constructor', 'toString', '__proto__'].includes(name) ? [1] : [])
      const me = JSON.parse((await client.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })).body)
      expect([me.subject, me.groups]).toEqual([name, [name]])
    }
    provider.reset()
    const all = await signIn('bob', { groups: ['staff'] })
    expect(await openTo(all)).toEqual([])
    return `${names.length} names, each its own`
  })

  attack('A258h', 'PP', 'posture reports and devices with them', async () => {
    const url = (id: string) => `${rig.origin('access')}/api/v1/devices/${id}/reports`
    const send = async (id: string, posture: string) => {
      const body = `{"observed_at":${JSON.stringify(new Date().toISOString())},"posture":${posture}}`
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
      return (await new Client().send(url(id), { as: 'fetch', method: 'POST', headers, body })).status
    }
    const outcomes: number[] = []
    for (const posture of [
      '{"__proto__":{"managed":true}}',
      '{"managed":true,"__proto__":{"disk_encrypted":true}}',
      '{"managed":true,"constructor":{"prototype":{"disk_encrypted":true}}}',
      '{"managed":true,"attributes":{"__proto__":{"ring":"pilot"}}}',
      '{"managed":true,"attributes":{"__proto__":"pilot"}}',
      '{"managed":true,"attributes":{"constructor":"pilot"}}',
      '{"managed":true,"attributes":{"prototype":"pilot"}}',
      '{"managed":true,"attributes":{"ring":{"__proto__":"pilot"}}}',
    ]) {
      const status = await send('laptop', posture)
      expect(status, posture).toBe(400)
      outcomes.push(status)
    }
    for (const id of ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']) {
      const status = await send(id, '{"managed":true}')
      expect([400, 403, 404], id).toContain(status)
      outcomes.push(status)
      const client = await signIn('bob', { device_id: id })
      expect(await openTo(client), id).toEqual([])
    }
    // A device that is in the inventory, and has none of it.
    expect(await openTo(await signIn('bob', { device_id: 'laptop' }))).toEqual([14])
    return summarise(outcomes.map(String))
  })

  attack('A258f', 'PP', 'access tokens of services with them', async () => {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: issuer.issuer, aud: 'internal-services', sub: 'nightly', iat: now, exp: now + 300 }
    const present = (more: Claims) =>
      sendLine(rig, 'GET /service HTTP/1.1', [`Authorization: Bearer ${mint(key, { ...claims, ...more })}`, 'Connection: close'])
    rig.upstream('app').reset()
    const outcomes: string[] = []
    for (const more of [
      lie(),
      JSON.parse('{"__proto__":{"role":"admin"}}'),
      JSON.parse('{"constructor":{"role":"admin"},"sub":"__proto__"}'),
    ])
      outcomes.push(mustBeRefused(rig, await present(more), JSON.stringify(more)))
    expect((await present({ role: 'admin' })).statuses).toEqual([200])
    return summarise(outcomes)
  })

  attack('A258g', 'PP', 'a policy document, its tests and an instance configuration with them', async () => {
    const head = ['apps:', '- id: app', '  url: https://app.corp.example', '  upstream: http://app.internal:3000', '  rules:']
    const when = (text: string) => `allow: { signed_in: true }, when: [${text}]`
    const rules = [
      'allow: { claims: { __proto__.groups: x } }',
      'allow: { claims: { a.__proto__.b: x } }',
      'allow: { claims: { constructor: x } }',
      'allow: { claims: { a.prototype: x } }',
      'allow: { claims: { "__proto__": x } }',
      'allow: { services: [__proto__] }',
      'allow: { services: [constructor] }',
      'allow: { __proto__: { signed_in: true } }',
      when('__proto__'),
      when('constructor'),
      when('toString'),
      when('{ __proto__: { signed_in: true } }'),
      when('{ device: { attributes: { __proto__: x } } }'),
      when('{ device: { attributes: { constructor: x } } }'),
      when('{ sign_in: { strength: constructor } }'),
      when('{ sign_in: { strength: __proto__ } }'),
      ...[
        'subject.claims.__proto__ == "x"',
        'subject.claims["constructor"] == "x"',
        'subject.claims.a.prototype == "x"',
        'has(subject.claims.__proto__)',
        '"__proto__" in subject.claims',
        'device.attributes.__proto__ == "x"',
        'device.attributes["constructor"] == "x"',
        'subject.__proto__ == "x"',
        'subject.constructor == "x"',
        '__proto__.a == "x"',
        'constructor == "x"',
        'request["__proto__"] == "x"',
        'subject.groups.constructor == "x"',
        'subject.constructor("x")',
        'subject.email.constructor("x")',
        '["a"].constructor == "x"',
      ].map((expression) => when(`{ expression: ${JSON.stringify(expression)} }`)),
    ]
    const blocks = [
      'levels: { __proto__: { subject: { signed_in: true } } }',
      'levels: { constructor: { subject: { signed_in: true } } }',
      'services: { __proto__: { jwt: { issuer: "https://a.example", audience: a, scopes_all: [b] } } }',
    ]
    await writeFile(
      join(folder, 'policy.yaml'),
      `${[...head, ...rules.map((rule, index) => `  - { name: "r${index}", ${rule} }`)].join('\n')}\n`,
    )
    const instance = (claims: string) =>
      [
        'url: https://access.corp.example',
        'session: { store: embedded }',
        'provider:',
        '  issuer: https://login.corp.example',
        '  client_id: x',
        '  client_secret: 0123456789abcdef0123456789abcdef',
        `  claims: { ${claims} }`,
      ].join('\n')
    const file = join(folder, 'postern.yaml')
    const check = async (claims: string) => {
      await writeFile(file, instance(claims), { mode: 0o600 })
      const { code, stdout } = await runCommand(['check', '--json', '--config', file])
      const { problems } = JSON.parse(stdout) as { problems: readonly { file: string; line: number }[] }
      return { code, problems }
    }
    const first = await check('groups: [groups]')
    const lines = new Set(first.problems.filter((problem) => problem.file.endsWith('policy.yaml')).map(({ line }) => line))
    expect(rules.filter((_rule, index) => !lines.has(head.length + 1 + index))).toEqual([])
    for (const block of blocks) {
      await writeFile(join(folder, 'policy.yaml'), `${block}\n${head.join('\n')}\n  - { name: a, allow: { signed_in: true } }\n`)
      const { problems } = await check('groups: [groups]')
      expect(
        problems.map(({ line }) => line),
        block,
      ).toContain(1)
    }
    await writeFile(join(folder, 'policy.yaml'), `${head.join('\n')}\n  - { name: a, allow: { groups: [staff] } }\n`)
    const paths = [
      'groups: [__proto__.groups]',
      'groups: [groups, a.constructor]',
      'device_id: constructor.name',
      'device: { managed: __proto__.managed }',
      'device: { __proto__: a }',
      '__proto__: { groups: [a] }',
    ]
    for (const claims of paths) {
      const { code, problems } = await check(claims)
      expect([code, problems.map(({ line }) => line)], claims).toEqual([1, expect.arrayContaining([7])])
    }
    // People and devices of tests: an unknown one is a problem, and never what every object has.
    await check('groups: [groups]')
    const tested: string[] = []
    for (const given of [
      'as: constructor',
      'as: __proto__',
      'as: alice, device: constructor',
      'as: "service:constructor"',
      'as: alice, sign_in: constructor 1m ago',
    ]) {
      const asked = `given: { ${given}, request: "GET https://app.corp.example/" }`
      const tests = `people: { alice: { groups: [staff] } }\ntests:\n- { name: t, ${asked}, expect: allow }\n`
      await writeFile(join(folder, 'policy.test.yaml'), tests)
      const { code, stdout, stderr } = await runCommand(['test', '--config', file])
      expect(code, `${given}: ${stdout}${stderr}`).not.toBe(0)
      expect(stderr).not.toMatch(/\n\s+at .*:\d+:\d+\)?$/m)
      tested.push(String(code))
    }
    return `${rules.length + blocks.length + paths.length} refused with their lines; ${tested.length} tests of people who are not there`
  })
})
