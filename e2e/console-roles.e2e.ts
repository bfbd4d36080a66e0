/**
 * What an auditor, the helpdesk and a token may, and nothing else: by what their pages offer, and by raw requests to every route and every
 * operation that there is. Nothing is listed here: routes are those that the page modules mount, operations those of the API's description.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Permission, permissionsByRole } from '../src/administration/asker.ts'
import { tokenPermissions } from '../src/administration/token-scope.ts'
import type { Answer } from './support/client.ts'
import { Client } from './support/client.ts'
import { makeToken, readFormToken, type Stage, startStage, submitRaw } from './support/console.ts'
import { type Crawl, crawlConsole, findRoute } from './support/console-crawl.ts'
import { type ConsoleRoute, listConsoleRoutes, pathOf } from './support/console-desk.ts'
import { furnish } from './support/console-furniture.ts'

interface ApiOperation {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly scope: Permission
}

const people = { auditor: 'audrey', helpdesk: 'henry' } as const

describe('roles', () => {
  let stage: Stage
  let routes: readonly ConsoleRoute[]
  let ofAdmin: Crawl

  beforeAll(async () => {
    stage = await startStage({
      configuration: {
        policy: 'managed',
        policy_seed: 'policy.yaml',
        policy_two_person: true,
        upstreams: { allow: ['127.0.0.0/8'] },
        trusted_proxies: ['127.0.0.1/32'],
        requests: 'on',
      },
      apps: [{ id: 'app', portal: 'listed', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
    })
    routes = await listConsoleRoutes()
    const begun = await furnish(stage)
    const { context, page } = await stage.seat('alice')
    ofAdmin = await crawlConsole(page, { origin: stage.rig.origin('access'), routes, begin: ['/console', ...begun], mostOfRoute: 8 })
    await context.close()
  }, 120_000)
  afterAll(() => stage?.close())

  const names = (of: Iterable<ConsoleRoute>) =>
    [...of].map(({ method, pattern }) => `${method} ${pattern}`).sort((a, b) => a.localeCompare(b))

  test('an admin finds a page, link or button for every route', () => {
    expect(ofAdmin.astray).toEqual([])
    const reached = new Set([...ofAdmin.forms, ...ofAdmin.links])
    // What pages ask for by their scripts.
    const byScript = routes.filter(({ pattern }) => /\/(?:follow|live)$/.test(pattern))
    expect(names(routes.filter((route) => !reached.has(route) && !byScript.includes(route)))).toEqual([])
  })

  describe.each(['auditor', 'helpdesk'] as const)('%s', (role) => {
    const held = (route: ConsoleRoute) => permissionsByRole[role].has(route.permission)

    test.each([0, 1])('is offered nothing on instance %i that is not theirs, and can look at all that is', async (instance) => {
      const { complaints, context, page } = await stage.seat(people[role], {
        instance,
        // The way in leads everybody to the first page that is theirs.
        url: stage.at(permissionsByRole[role].has('overview:read') ? '/console' : '/console/people'),
      })
      const statuses: string[] = []
      const crawl = await crawlConsole(page, {
        origin: stage.rig.origin('access'),
        routes,
        begin: [new URL(page.url()).pathname],
        look: async ({ answer, path }) => {
          if (answer.status() !== 200) statuses.push(`${answer.status()} ${path}`)
        },
      })
      expect(statuses).toEqual([])
      expect(crawl.astray).toEqual([])
      expect(names([...crawl.forms, ...crawl.links].filter((route) => !held(route)))).toEqual([])
      expect(crawl.forms.size, 'an auditor begins a verification, the helpdesk locks').toBeGreaterThan(0)
      expect(complaints).toEqual([])
      await context.close()
    })

    test('is refused by raw request what is not theirs, and nothing else, on both instances', async () => {
      for (const instance of [0, 1]) {
        const client = await stage.client(people[role], instance)
        const page = await client.send(stage.at(role === 'auditor' ? '/console/trail/verify' : '/console/locks'))
        expect(readFormToken(page.body)).not.toBe('')
        const wrong: string[] = []
        for (const route of routes) {
          const url = stage.at(pathOf(route, 'x'))
          // Two routes can fit one path: what is asked is decided by the one that stands first.
          const asked = findRoute(routes, route.method, new URL(url).pathname)
          if (asked !== route) throw new Error(`${route.pattern} is answered as ${asked?.pattern}`)
          if (route.method === 'GET' && /\/(?:follow|live)$/.test(route.pattern) && held(route)) continue
          const answer = route.method === 'GET' ? await client.send(url) : await submitRaw(client, url, {}, { page })
          if (held(route) === isForbidden(answer, route)) wrong.push(`${answer.status} ${route.method} ${route.pattern}`)
        }
        expect(wrong).toEqual([])
      }
    })
  })

  test('an auditor may do nothing but read, and the helpdesk nothing about the policy', () => {
    expect([...permissionsByRole.auditor].filter((permission) => !permission.endsWith(':read'))).toEqual([])
    const helpdesk = [...permissionsByRole.helpdesk]
    expect(helpdesk.filter((permission) => /^(?:policy|tokens|audit):|^devices:(?:write|report)/.test(permission))).toEqual([])
  })

  test('the helpdesk can do nothing against an admin, on screen or by request', async () => {
    const { context, page } = await stage.seat('henry', { url: stage.at('/console/people') })
    await page.goto(stage.at('/console/people?q=adele@corp.example'))
    await page.getByRole('region', { name: 'People' }).getByRole('rowheader').first().getByRole('link').click()
    await page.getByText('This is an admin').waitFor()
    expect(
      await page
        .locator('main')
        .getByRole('button', { name: /End|Lock/ })
        .count(),
    ).toBe(0)
    const path = new URL(page.url()).pathname
    const client = await stage.client('henry')
    const form = await client.send(stage.at('/console/locks'))
    for (const [what, fields] of [
      ['revoke', {}],
      ['lock', { reason: 'because', until: '' }],
      ['unlock', { reason: 'because' }],
    ] as const) {
      const answer = await submitRaw(client, stage.at(`${path}/${what}`), fields, { page: form })
      expect([what, answer.status, answer.header('x-postern')]).toEqual([what, 403, expect.any(String)])
    }
    const adele = await stage.client('adele')
    expect((await adele.send(stage.at('/console'))).status).toBe(200)
    await context.close()
  })

  test('somebody without a role finds no page', async () => {
    const bob = await stage.client('bob')
    for (const route of routes) {
      const url = stage.at(pathOf(route, 'x'))
      const answer = route.method === 'GET' ? await bob.send(url) : await submitRaw(bob, url, {}, {})
      expect([route.pattern, answer.status]).toEqual([route.pattern, 403])
    }
  })

  test('a token of one scope does what that scope says, and is refused everything else', async () => {
    const alice = await stage.client('alice')
    const operations = await listOperations(alice)
    expect(operations.length).toBeGreaterThan(40)
    const wrong: string[] = []
    let count = 0
    for (const scope of tokenPermissions) {
      const token = await makeToken(stage, alice, `only ${scope}`, [scope])
      for (const operation of operations) {
        count += 1
        const answer = await ask(operation, token, `198.51.${Math.trunc(count / 100)}.7`)
        const isRefused = answer.status === 403
        // What a draft would do to people tells what the draft says: it takes both.
        if (operation.id === 'policy_impact_start') expect(isRefused).toBe(true)
        else if (isRefused !== (operation.scope !== scope))
          wrong.push(`${scope}: ${answer.status} ${operation.id} ${answer.body.slice(0, 200)}`)
      }
    }
    expect(wrong).toEqual([])
    // Reports have a path of their own, which no operation describes.
    const opened = new Set(operations.map(({ scope }) => scope))
    expect(tokenPermissions.filter((scope) => !opened.has(scope) && scope !== 'devices:report')).toEqual([])
    const none = await Promise.all(operations.map((operation, index) => ask(operation, undefined, `198.51.200.${index}`)))
    expect(none.filter(({ status }) => status !== 401)).toEqual([])
  })

  /** An order about things that are not there: whoever may give it is told so. */
  function ask({ method, path }: ApiOperation, token: string | undefined, address: string): Promise<Answer> {
    return new Client().send(stage.at(path.replaceAll(/\{\w+\}/g, 'x')), {
      as: 'fetch',
      method,
      headers: {
        'x-forwarded-for': address,
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(method === 'GET' ? {} : { body: '{}' }),
    })
  }

  async function listOperations(client: Client): Promise<readonly ApiOperation[]> {
    const { paths } = JSON.parse((await client.send(stage.at('/api/v1/openapi.json'))).body) as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string; readonly description: string }>>>>
    }
    return Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { description, operationId }]) => ({
        id: operationId,
        method: method.toUpperCase(),
        path,
        scope: (/Scope: `([a-z:_]+)`/.exec(description)?.[1] ?? '') as Permission,
      })),
    )
  }
})

/** The way in leads everybody on to the first page that is theirs; every other page says 403. */
function isForbidden({ status }: Answer, { method, pattern }: ConsoleRoute): boolean {
  return status === 403 || (method === 'GET' && pattern === '/console' && status === 303)
}
