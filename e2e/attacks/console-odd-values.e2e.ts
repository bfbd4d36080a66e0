/**
 * Values that nobody means, in every place where the console and its API take one: parameters of paths and queries, fields of forms, properties of orders. The
 * places are those that routes, forms and the description of the API name themselves. Each is answered as found wrong or not found: never a
 * failure, never a stack, never slow, and who signs in next is let in as before.
 */

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { tokenPermissions } from '../../src/administration/token-scope.ts'
import { Client } from '../support/client.ts'
import { type ConsoleRoute, Desk, listConsoleRoutes, parameterNames, pathOf } from '../support/console-desk.ts'
import { managed } from '../support/console-policy.ts'
import { type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64url')
/** For one segment of a path, or a value of a query or form. */
const odd: readonly string[] = [
  ...['0', '-1', '1e9', '99999999999999999999', 'NaN', '1.5', '0x10', ' 1', '١', 'true', 'null', 'undefined', '[object Object]'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', '*', '**', '?', '%', '$where', '{}', '[]', '"', "'", '`', ';'],
  ...['\u0000', '\r\nX: y', '\u2028', '\ud83d\ude00', '\u202e', '\ufeff', 'A'.repeat(5000), 'é', '..', '.', '../../etc/passwd', '\\', '~'],
  ...[
    base64('no line'),
    base64('https://issuer\nsub'),
    base64('\n'),
    base64('a\nb\nc'),
    base64(Uint8Array.of(0xff, 0xfe, 0x0a, 0x80)),
    base64(`x\n${'y'.repeat(3000)}`),
  ],
  ...[
    '2026-13-45',
    '2026-02-30T25:61:61Z',
    '0000-01-01T00:00:00Z',
    '+275760-09-13T00:00:00Z',
    '2026-11-22T10:00:00+99:99',
    '-1d',
    '999999999d',
    '1w',
  ],
  ...['fe80::1%eth0', '10.0.0.0/33', '0.0.0.0/0', '::', 'ＡＢＣ', 'app,app', 'sha256-', '(a+)+$', '{"a":1}', '--', '<x>', 'latest', 'all'],
]

interface Described {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: { readonly properties?: Readonly<Record<string, Schema>> } }>>
  }
}
interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
}

describe('values that nobody means', () => {
  let rig: Rig
  let routes: readonly ConsoleRoute[]
  let alice: Desk
  /** A token may order so much in a minute, and no more: several take turns. */
  let tokens: readonly string[]
  let form_token: string

  beforeAll(async () => {
    rig = await startRig({
      apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
      configuration: {
        ...managed,
        requests: 'on',
        console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' },
      },
    })
    routes = await listConsoleRoutes()
    alice = await Desk.of(rig, 'alice')
    form_token = await alice.formToken()
    const scopes = tokenPermissions.flatMap((one) => ['--scope', one])
    const made = await runCommand([
      'token',
      'create',
      '--name',
      'x',
      ...scopes,
      '--config',
      join(rig.instance.folder, '..', 'postern-0.yaml'),
    ])
    const order = { name: 'more', scopes: tokenPermissions, lifetime_seconds: 86_400 }
    const others = await Promise.all(Array.from({ length: 9 }, () => alice.api('POST', '/tokens', made.stdout.trim(), order)))
    tokens = [made.stdout.trim(), ...others.map(({ body }) => (JSON.parse(body) as { readonly text: string }).text)]
  })
  afterAll(() => endRig(rig))
  afterEach(async () => {
    mustBeAlive(rig)
    expect((await new Client().send(alice.at('/sign-in'))).status).toBe(302)
  })

  let orders = 0
  const turn = () => {
    orders += 1
    return tokens[orders % tokens.length]
  }

  const outcomes: string[] = []
  async function mustBeAnswered(where: string, ask: () => ReturnType<Desk['open']>): Promise<string> {
    const startedAt = performance.now()
    const { body, header, status } = await ask()
    const tookMs = performance.now() - startedAt
    // A value may be about something that is away: that is told, and is no failure of ours.
    if (status >= 500 && header('x-postern') === 'internal_error')
      throw new Error(`${where}: ${status}\n${rig.instance.log().slice(-2000)}`)
    if (status === 429) throw new Error(`${where} was not looked at`)
    if (tookMs > 10_000) throw new Error(`${where} took ${tookMs} ms`)
    if (/\bat \S+ \(file:|node:internal|TypeError|ZodError/.test(body)) throw new Error(`${where}: ${body.slice(0, 500)}`)
    return String(status)
  }

  attack('A253c', 'DOS', 'in every parameter of the paths and queries of pages, and every field of forms', async () => {
    outcomes.length = 0
    const fields = [
      'id',
      'name',
      'owner',
      'reason',
      'until',
      'on',
      'comment',
      'file',
      'content',
      'text',
      'version',
      'hash',
      'who',
      'who_kind',
      'url',
      'upstream',
      'scope',
      'lifetime_seconds',
      'grace_seconds',
      'app',
      'since',
      'method',
      'path',
      'at',
      'device',
      'strength',
      'serial',
      'tags',
      'attribute',
      'yaml',
      'intent',
      'confirm',
      'sensitivity',
    ]
    for (const route of routes) {
      if (/follow$|live$/.test(route.pattern)) continue
      for (const [index, value] of odd.entries()) {
        // A third of them for a page, others for the next.
        if ((index + routes.indexOf(route)) % 3 !== 0) continue
        const path = route.pattern.includes(':') ? route.pattern.replaceAll(/:\w+/g, encodeURIComponent(value)) : pathOf(route)
        if (route.method === 'GET') {
          if (route.pattern.includes(':'))
            outcomes.push(await mustBeAnswered(`${route.pattern} ${value.slice(0, 40)}`, () => alice.open(path)))
          const query = new URLSearchParams(
            parameterNames.filter((_, at) => (at + index) % 3 === 0).map((name) => [name, value.slice(0, 500)]),
          )
          outcomes.push(await mustBeAnswered(`${route.pattern}?${query}`.slice(0, 200), () => alice.open(`${pathOf(route)}?${query}`)))
        } else {
          const form = new URLSearchParams([...fields.map((name) => [name, value.slice(0, 300)]), ['form_token', form_token]])
          outcomes.push(await mustBeAnswered(`POST ${route.pattern} ${value.slice(0, 40)}`, () => alice.post(path, form.toString())))
        }
      }
    }
    return summarise(outcomes)
  })

  attack('A253d', 'DOS', 'in every parameter and property that the API describes', async () => {
    outcomes.length = 0
    const { paths } = JSON.parse((await alice.api('GET', '/openapi.json', undefined)).body) as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>
    }
    const oddJson: readonly unknown[] = [
      null,
      '',
      [],
      {},
      [null],
      -1,
      1e308,
      2 ** 53,
      0.5,
      true,
      '\u0000',
      '\ud800',
      'x'.repeat(9000),
      { __proto__: null, a: 1 },
      [[[]]],
      '2026-02-30T00:00:00Z',
      ...odd.slice(13, 30),
    ]
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { parameters = [], requestBody }] of Object.entries(methods)) {
        const target = path.replace(/^\/api\/v1/, '')
        const where = `${method} ${path}`
        if (method === 'get') {
          const names = parameters.filter((one) => one.in === 'query').map(({ name }) => name)
          for (const [index, value] of odd.entries()) {
            if (index % 2 === path.length % 2) continue
            const full = target.replaceAll(/\{\w+\}/g, encodeURIComponent(value))
            const query = new URLSearchParams(names.length === 0 ? [] : [[names[index % names.length] ?? '', value.slice(0, 500)]])
            outcomes.push(await mustBeAnswered(`${where} ${value.slice(0, 40)}`, () => alice.api('GET', `${full}?${query}`, turn())))
          }
          continue
        }
        const properties = Object.values(requestBody?.content ?? {})[0]?.schema.properties ?? {}
        const usual = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, sampleOf(schema)]))
        for (const name of Object.keys(properties)) {
          for (const [index, value] of oddJson.entries()) {
            if ((index + name.length) % 2 === 0) continue
            const full = target.replaceAll(/\{\w+\}/g, 'nothing')
            const order = { ...usual, [name]: value }
            outcomes.push(
              await mustBeAnswered(`${where} ${name}: ${JSON.stringify(value).slice(0, 60)}`, () =>
                alice.api(method.toUpperCase(), full, turn(), order),
              ),
            )
          }
        }
      }
    }
    // The token that asked all of that is good for more.
    await waitFor(async () => (await alice.api('GET', '/locks', tokens[0])).status === 200)
    return summarise(outcomes)
  })
})

function sampleOf({ const: constant, enum: values, format, type }: Schema): unknown {
  if (constant !== undefined) return constant
  if (values !== undefined) return values[0]
  if (format === 'date-time') return '2030-01-01T00:00:00Z'
  switch (type) {
    case 'integer':
    case 'number':
      return 86_400
    case 'boolean':
      return false
    case 'array':
      return []
    case 'object':
      return {}
    default:
      return 'sample'
  }
}
