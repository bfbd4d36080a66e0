/** From host and path to one app. */

import { describe, expect, test } from 'vitest'
import { compilePolicy } from '../policy/compile.ts'
import type { App } from '../policy/document.ts'
import { appWith, documentWith, nobody, person, rule } from '../policy/policy.fixture.ts'
import { compileRoutes, isHiddenFrom, matchRoute } from './route-table.ts'

function app(id: string, url: string, changes: Partial<App> = {}): App {
  const { origin, hostname, port, protocol, pathname } = new URL(url)
  const address = { origin, hostname, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port), prefix: pathname }
  return appWith([], { id, address, ...changes })
}

function compile(...apps: App[]) {
  const document = documentWith(apps)
  return compileRoutes(document, compilePolicy(document))
}

describe('a host', () => {
  const table = compile(app('wiki', 'https://wiki.corp.example/'), app('demo', 'http://demo.corp.localhost:8080/'))

  test.each([
    ['wiki.corp.example', undefined, 'wiki'],
    ['wiki.corp.example', 443, 'wiki'],
    ['wiki.corp.example', 80, undefined],
    ['wiki.corp.example', 8443, undefined],
    ['demo.corp.localhost', 8080, 'demo'],
    ['demo.corp.localhost', undefined, undefined],
    ['demo.corp.localhost', 80, undefined],
    ['corp.example', undefined, undefined],
    ['a.wiki.corp.example', undefined, undefined],
    ['__proto__', undefined, undefined],
  ])('%s on port %s is %s', (hostname, port, id) => {
    expect(table.findHost(hostname, port)?.routes[0].app.id).toBe(id)
  })

  test('is found without its port for redirects alone', () => {
    expect(table.findHostname('demo.corp.localhost')?.origin.origin).toBe('http://demo.corp.localhost:8080')
    expect(table.findHostname('other')).toBeUndefined()
  })
})

describe('a path', () => {
  const table = compile(
    app('tool', 'https://x.example/tools/a'),
    app('deep', 'https://x.example/tools/a/b'),
    app('other', 'https://x.example/other'),
  )
  test.each([
    ['/tools/a', 'tool'],
    ['/tools/a/', 'tool'],
    ['/tools/a/b', 'deep'],
    ['/tools/a/b/c', 'deep'],
    ['/tools/a/bc', 'tool'],
    ['/tools/ab', undefined],
    ['/tools', undefined],
    ['/', undefined],
    ['/Tools/a', undefined],
    ['/other', 'other'],
  ])('%s leads to %s', (path, id) => {
    const host = table.findHost('x.example', undefined)
    expect(host === undefined ? 'no host' : matchRoute(host, path)?.app.id).toBe(id)
  })
})

test('an address is claimed once, and a hostname by one origin', () => {
  expect(() => compile(app('a', 'https://x.example/'), app('b', 'https://x.example/'))).toThrow(TypeError)
  expect(() => compile(app('a', 'https://x.example/'), app('b', 'https://x.example:8443/b'))).toThrow(TypeError)
})

test('a hidden app is hidden from whom it holds nothing for', () => {
  const rules = [rule('allow', { kind: 'groups', groups: ['board'] }, { paths: ['/minutes'] })]
  const [hidden] = compile(app('a', 'https://x.example/', { portal: 'hidden', rules })).routes
  const [shown] = compile(app('a', 'https://x.example/', { rules })).routes
  if (hidden === undefined || shown === undefined) throw new TypeError('one app, one route')
  expect(isHiddenFrom(hidden, person())).toBe(true)
  expect(isHiddenFrom(hidden, nobody)).toBe(true)
  expect(isHiddenFrom(hidden, person({ groups: { known: true, value: ['board'] } }))).toBe(false)
  expect(isHiddenFrom(shown, person())).toBe(false)
})
