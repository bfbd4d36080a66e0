/**
 * Windows and requests that the page of somebody else makes a browser of an admin open: what such a page can still hold, read or move of a window
 * with a page of ours in it, and what its pictures, scripts, frames and streams of the console are answered, and put on record.
 */

import type { Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { waitFor } from '../support/rig.ts'
import { startTrap, type Trap } from '../support/trap.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('windows of others with pages of ours', () => {
  let trap: Trap

  beforeAll(async () => {
    trap = await startTrap()
  })
  afterAll(async () => {
    await trap?.close()
    await endRig(trap?.rig)
  })
  afterEach(() => mustBeAlive(trap.rig))

  attack('A216c', 'XSS', 'windows: opened by an app, held by name, asked back for; and apps opened from a page of ours', async () => {
    const outcomes: string[] = []
    for (const [index, [person, url]] of trap.pages().entries()) {
      const origins = trap.originsFor(person)
      // From one page or the other, in turn: a window takes a second.
      const origin = origins[index % origins.length] ?? trap.stranger
      const page = await trap.open(person, origin)
      const opening = page.waitForEvent('popup')
      await page.evaluate(`void (window.held = window.open(${JSON.stringify(url)}, 'held'))`)
      const popup = await opening
      await popup.waitForLoadState()
      await waitFor(async () => (await page.evaluate('window.held.closed')) === true)
      expect(await popup.evaluate('window.opener'), `${url} from ${origin}`).toBe(null)
      // Neither by what it still holds nor by the name does it lead the window elsewhere or read it.
      const tried = await page.evaluate(`(() => {
          const said = []
          for (const attempt of [() => window.held.document.title, () => window.held.location.href, () => { window.held.location = '${trap.stranger}/' }, () => window.held.postMessage('x', '*'), () => window.held.close()])
            try { said.push(String(attempt())) } catch (error) { said.push(error.name) }
          return said.join(' ') + ' ' + window.held.length
        })()`)
      expect(tried).not.toContain('Postern')
      expect(popup.isClosed()).toBe(false)
      expect(popup.url()).toBe(url)
      const again = page.context().waitForEvent('page')
      await page.evaluate(`void window.open('${trap.stranger}/', 'held')`)
      const other = await again
      await other.waitForLoadState()
      expect(popup.url()).toBe(url)
      await Promise.all([other.close(), popup.close()])
      await page.close()
      outcomes.push('no hold')
    }
    for (const path of ['/', '/console/apps']) {
      const page = await trap.context('alice').newPage()
      await page.goto(trap.at(path))
      const opening = page.context().waitForEvent('page')
      await page.evaluate(`void window.open('${trap.app}/')`)
      const opened = await opening
      await opened.waitForURL(`${trap.app}/`)
      expect(await opened.evaluate('window.opener')).toBe(null)
      expect(await opened.evaluate('document.referrer')).toBe('')
      await Promise.all([opened.close(), page.close()])
      outcomes.push('no opener in an app')
    }
    return summarise(outcomes)
  })

  attack(
    'A216d',
    'XSS',
    'what a sibling app has the browser load of the console: read by nobody, and not on record as read by the admin',
    async () => {
      const alice = new Client()
      await trap.rig.signIn(alice, 'alice', trap.at('/console'))
      await waitFor(async () => (await alice.send(trap.at('/console/people'))).body.includes('bob'))
      const person = /\/console\/people\/[\w-]{10,}/.exec((await alice.send(trap.at('/console/people'))).body)?.[0] ?? ''
      const reads = async () => (await trap.rig.audit()).filter(({ event }) => event === 'data.read').length
      const began = await reads()
      await alice.send(trap.at(person))
      await waitFor(async () => (await reads()) > began)
      const before = await reads()

      const page = await trap.open('alice', trap.app)
      const answered: string[] = []
      page.on('response', (response) => answered.push(`${response.status()} ${response.request().resourceType()}`))
      const urls = [
        person,
        '/console/people?q=bob',
        '/console/trail',
        '/console/trail/export',
        '/console/review',
        '/console/connections/live',
      ]
      for (const url of [...urls, '/console/trail/follow', '/console/policy/files'].map(trap.at)) {
        for (const tag of ['img', 'script', 'iframe', 'object', 'embed', 'video', 'audio']) await embedOrTimeOut(page, tag, url)
        const said = await page.evaluate(`(async () => {
        const said = []
        for (const wish of [{ mode: 'no-cors' }, { mode: 'cors' }, { mode: 'no-cors', method: 'POST', body: 'x' }])
          said.push(await fetch(${JSON.stringify(url)}, { credentials: 'include', ...wish }).then((answer) => answer.type, (error) => error.name))
        said.push(await new Promise((done) => {
          const source = new EventSource(${JSON.stringify(url)}, { withCredentials: true })
          source.onopen = () => done('open')
          source.onerror = () => { source.close(); done('refused') }
        }))
        const sheet = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: ${JSON.stringify(url)} })
        said.push(await new Promise((done) => { sheet.onload = () => done('sheet'); sheet.onerror = () => done('none'); document.head.append(sheet) }))
        return said
      })()`)
        expect(said, url).toEqual(['TypeError', 'TypeError', 'TypeError', 'refused', 'none'])
      }
      await page.close()
      expect(answered.length).toBeGreaterThan(20)
      expect([...new Set(answered.map((one) => one.slice(0, 3)))], summarise(answered)).toEqual(['403'])
      // A read of her own comes after all of theirs in the trail.
      await alice.send(trap.at(person))
      await waitFor(async () => (await reads()) > before)
      expect(await reads()).toBe(before + 1)
      return summarise(answered)
    },
  )

  /** Some elements say nothing of what they were refused. */
  async function embedOrTimeOut(page: Page, tag: string, url: string): Promise<void> {
    const refused = page.waitForEvent('requestfinished', { predicate: (request) => request.url() === url, timeout: 2000 })
    const failed = page.waitForEvent('requestfailed', { predicate: (request) => request.url() === url, timeout: 2000 })
    await page.evaluate(
      `{ const element = document.createElement(${JSON.stringify(tag)})
        element.setAttribute(${JSON.stringify(tag === 'object' ? 'data' : 'src')}, ${JSON.stringify(url)})
        document.body.append(element) }`,
    )
    await Promise.any([refused, failed]).catch(() => undefined)
    await Promise.allSettled([refused, failed].map((one) => Promise.race([one, Promise.resolve()])))
  }
})
