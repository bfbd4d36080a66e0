/**
 * Every page of the console, found by going through it: accessible in both colour schemes, whole on a phone, small, alone (nothing is
 * asked of another host), and without a word of complaint from the browser. Two instances on one Redis.
 */

import type { BrowserContextOptions } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findBarriers } from './support/accessibility.ts'
import { type Stage, startStage } from './support/console.ts'
import { crawlConsole } from './support/console-crawl.ts'
import { type ConsoleRoute, listConsoleRoutes } from './support/console-desk.ts'
import { furnish } from './support/console-furniture.ts'
import { managed } from './support/console-policy.ts'

const mostTransferBytes = 150_000

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''

/** The narrow and dark one finds most of what can be wrong; a crawl of all pages takes a minute. */
const circumstances: readonly (readonly [string, BrowserContextOptions])[] = [
  ['light, desktop', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
  ['dark, desktop', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
  ['dark, phone', { colorScheme: 'dark', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
]

/** Asked in the page. On a phone the places lie in one row that scrolls. */
const isPlaceOutOfSight = `(() => {
  const place = document.querySelector('.console-nav [aria-current]')?.getBoundingClientRect()
  return place !== undefined && (place.left < 0 || place.right > innerWidth)
})()`

describe('every page of the console', () => {
  let stage: Stage
  let routes: readonly ConsoleRoute[]
  let begin: readonly string[]

  beforeAll(async () => {
    stage = await startStage({
      configuration: { ...managed, policy_two_person: true, requests: 'on' },
      apps: [{ id: 'app', portal: 'listed', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
    })
    routes = await listConsoleRoutes()
    begin = ['/console', ...(await furnish(stage))]
  }, 120_000)
  afterAll(() => stage?.close())

  test.each(isLong ? circumstances : circumstances.slice(-1))(
    '%s: accessible, whole and quiet',
    async (_name, options) => {
      const { complaints, context, page } = await stage.seat('alice', { browser: { ...options, reducedMotion: 'reduce' } })
      const found: string[] = []
      const crawl = await crawlConsole(page, {
        origin: stage.rig.origin('access'),
        routes,
        begin,
        look: async ({ answer, path }) => {
          if (answer.status() !== 200) found.push(`${path}: ${answer.status()}`)
          for (const barrier of await findBarriers(page)) found.push(`${path}: ${barrier}`)
          if (await page.evaluate<boolean>(isPlaceOutOfSight)) found.push(`${path}: where one is lies outside of the row of places`)
          const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')
          if (overflow > 0) found.push(`${path}: ${overflow} pixels too wide`)
          for (const complaint of complaints.splice(0)) found.push(`${path}: ${complaint}`)
        },
      })
      expect(found).toEqual([])
      expect(new Set(crawl.pages.map(({ route }) => route)).size).toBeGreaterThan(20)
      await context.close()
    },
    300_000,
  )

  test('none is more than 150 kB, with everything that it is made of, to a browser that has nothing yet', async () => {
    const { context, page } = await stage.seat('alice')
    const { pages } = await crawlConsole(page, { origin: stage.rig.origin('access'), routes, begin })
    const session = await context.newCDPSession(page)
    await session.send('Network.enable')
    await session.send('Network.setCacheDisabled', { cacheDisabled: true })
    let bytes = 0
    session.on('Network.loadingFinished', ({ encodedDataLength }) => {
      bytes += encodedDataLength
    })
    const sizes: [string, number][] = []
    for (const { path } of pages) {
      bytes = 0
      await page.goto(stage.at(path), { waitUntil: 'load' })
      sizes.push([path, bytes])
    }
    expect(sizes.filter(([, size]) => size > mostTransferBytes || size === 0)).toEqual([])
    await context.close()
  }, 120_000)
})
