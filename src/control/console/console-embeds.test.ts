/** What a page of another origin has a browser load of the console is refused before a page of it is made; a link that is followed is not. */

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { startConsole, type TestConsole } from './console.fixture.ts'

let console: TestConsole
let looks = 0

beforeAll(async () => {
  console = await startConsole({
    mounts: [
      (routes) =>
        routes.get('/console/people', 'people:read', async () => {
          looks += 1
          return { kind: 'json', body: { of: 'others' } }
        }),
    ],
  })
})
afterAll(() => console.close())
beforeEach(() => {
  looks = 0
})

const asked = [
  ['no-cors', 'image'],
  ['no-cors', 'script'],
  ['no-cors', 'empty'],
  ['cors', 'empty'],
  ['navigate', 'iframe'],
  ['navigate', 'object'],
  ['navigate', 'embed'],
] as const

it.each(asked)('a %s request for an %s is refused to sibling apps and to strangers, and nobody has looked', async (mode, destination) => {
  for (const site of ['same-site', 'cross-site']) {
    const headers = { accept: 'text/html', 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': destination }
    for (const path of ['/console/people', '/console', '/console/nothing']) {
      const answer = await console.visit('admin', path, { headers })
      expect([answer.status, answer.headers['x-postern']], `${site} ${path}`).toEqual([403, 'cross_origin'])
    }
  }
  expect(looks).toBe(0)
})

it('a link in a mail, a typed address and a page’s own script are answered', async () => {
  const ways = [
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    {},
  ]
  for (const headers of ways) expect((await console.visit('admin', '/console/people', { headers })).status).toBe(200)
  expect(looks).toBe(ways.length)
})

it('a page that is loaded ahead of time for another page is not made', async () => {
  const headers = { 'sec-purpose': 'prefetch', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  expect((await console.visit('admin', '/console/people', { headers })).status).toBe(403)
  expect(looks).toBe(0)
})
