/**
 * Pages of ours in frames of others: console, portal, sign-in, sign-out and refusals, on the page of a sibling app and on a stranger's.
 *
 * Judged in a real browser. A frame is asked for with what browsers say of frames, and again with the whole page that a browser gets which says
 * nothing; a control shows that the same page without its headers would stand there.
 */

import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { startTrap, type Trap } from '../support/trap.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('pages of ours in frames of others', () => {
  let trap: Trap

  beforeAll(async () => {
    trap = await startTrap()
  })
  afterAll(async () => {
    await trap?.close()
    await endRig(trap?.rig)
  })
  afterEach(() => mustBeAlive(trap.rig))

  /** Moves for which a page of ours asks first, or sends somebody away: no page to frame, but a place to try. */
  const moves = () => [
    trap.at('/sign-in'),
    `${trap.rig.origin('vault')}/`,
    trap.at(`/sign-in?return_to=${encodeURIComponent(trap.at('/console'))}`),
  ]

  /** Puts `url` into the page with this element, and waits until the browser is done with it. */
  async function embed(page: Page, tag: string, url: string): Promise<void> {
    await page.evaluate(
      `new Promise((done) => {
        const element = document.createElement(${JSON.stringify(tag)})
        element.onload = element.onerror = () => done()
        element.setAttribute(${JSON.stringify(tag === 'object' ? 'data' : 'src')}, ${JSON.stringify(url)})
        if (element.tagName !== 'IFRAME') element.type = 'text/html'
        document.body.append(element)
      })`,
    )
  }
  /** Every frame of the page that holds a document of ours. */
  const shown = (page: Page) =>
    page
      .frames()
      .slice(1)
      .map((frame) => frame.url())
      .filter((url) => URL.parse(url)?.port === String(trap.rig.port))

  attack('A216', 'XSS', 'every kind of page in iframe, object and embed, of a sibling app and of a stranger', async () => {
    const outcomes: string[] = []
    for (const person of ['alice', 'bob', 'nobody'] as const) {
      const urls = [
        ...trap.pages().filter(([of]) => of === person),
        ...(person === 'alice' ? moves().map((url) => [person, url] as const) : []),
      ]
      for (const origin of trap.originsFor(person)) {
        const page = await trap.open(person, origin)
        for (const [, url] of urls) {
          for (const tag of ['iframe', 'object', 'embed']) {
            await embed(page, tag, url)
            if (shown(page).length > 0) throw new Error(`${tag} of ${url} on ${origin} shows ${shown(page).join(', ')}`)
            await page.evaluate(`document.querySelectorAll('iframe, object, embed').forEach((element) => element.remove())`)
            outcomes.push(`${tag} empty`)
          }
        }
        expect(page.url()).toBe(`${origin}/`)
        await page.close()
      }
    }
    return summarise(outcomes)
  })

  attack(
    'A216b',
    'XSS',
    'the whole page, as a browser gets it that says nothing of frames; and a control without its headers',
    async () => {
      const outcomes: string[] = []
      for (const [index, [person, url, status]] of trap.pages().entries()) {
        const client = new Client()
        for (const { name, value } of await trap.context(person).cookies(url)) client.setCookie(name, value, new URL(url).hostname)
        const { body, header, status: answered } = await client.send(url)
        expect([url, answered, body.slice(0, 15)]).toEqual([url, status, '<!doctype html>'])
        const own = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, header(name) ?? '']))
        const origins = trap.originsFor(person)
        const origin = origins[index % origins.length] ?? trap.stranger
        const page = await trap.open(person, origin)
        const frameWith = async (headers: Readonly<Record<string, string>>) => {
          await page.route(url, (route) => route.fulfill({ status: 200, headers, body }))
          await embed(page, 'iframe', url)
          const found = shown(page)
          await page.unroute(url)
          return found
        }
        const type = 'content-type'
        expect(await frameWith(own(type, 'content-security-policy', 'x-frame-options')), `${url} on ${origin}`).toEqual([])
        expect(await frameWith(own(type, 'content-security-policy')), `${url} on ${origin}, by its policy alone`).toEqual([])
        expect(await frameWith(own(type, 'x-frame-options')), `${url} on ${origin}, by the older header alone`).toEqual([])
        expect(await frameWith(own(type)), 'without either').toEqual([url])
        outcomes.push('refused by either header, shown without')
        await page.close()
      }
      return summarise(outcomes)
    },
  )
})
