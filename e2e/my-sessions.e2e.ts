/**
 * The list of one's own sessions in a real browser, by a person with two of them: found from the portal, ended one by one or all together,
 * without script, by keyboard, and under the page's own strict policy all the way through the provider.
 */

import type { Browser, BrowserContext, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { chooseAtDemoProvider, collectComplaints } from './support/page.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

describe('my sessions', () => {
  let rig: Rig
  let browser: Browser
  const phone =
    'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1'

  beforeAll(async () => {
    rig = await startRig({ store: 'redis' })
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await rig?.stop()
  })

  async function signIn(
    person: string,
    options: Parameters<Browser['newContext']>[0] = {},
  ): Promise<{ context: BrowserContext; page: Page }> {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    await page.goto(`${rig.origin('app')}/ok`)
    await chooseAtDemoProvider(page, person)
    await page.waitForURL(`${rig.origin('app')}/ok`)
    return { context, page }
  }
  /** Asked beside the browser, whose page may have no script. */
  const isIn = async (page: Page) => {
    const cookie = (await page.context().cookies(rig.origin('app'))).map(({ name, value }) => `${name}=${value}`).join('; ')
    return (await new Client().send(`${rig.origin('app')}/ok`, { as: 'fetch', headers: { cookie } })).status === 200
  }

  test.each([
    ['with script', 'alice', true],
    ['without script', 'bob', false],
  ] as const)('%s: one is ended, then all', async (_how, person, javaScriptEnabled) => {
    const other = await signIn(person, { userAgent: phone })
    const mine = await signIn(person, { javaScriptEnabled })
    const complaints = collectComplaints(mine.context)
    const { page } = mine
    await page.goto(`${rig.origin('access')}/`)
    await page.getByRole('link', { name: 'Where you are signed in' }).click()
    await page.waitForURL(`${rig.origin('access')}/sessions`)
    const cards = page.locator('.session')
    expect(await cards.count()).toBe(2)
    expect(await cards.first().innerText()).toContain('This browser')
    const phoneCard = cards.filter({ hasText: 'Safari on iOS' })
    expect(await phoneCard.innerText()).toContain('127.0.0.1')

    expect(await isIn(other.page)).toBe(true)
    await phoneCard.getByRole('button', { name: 'End this session' }).press('Enter')
    await page.getByText('That session has ended.').waitFor()
    expect(await cards.count()).toBe(1)
    await waitFor(async () => !(await isIn(other.page)))
    expect(await isIn(page)).toBe(true)

    await page.getByRole('button', { name: 'Sign out everywhere' }).click()
    await page.waitForURL(/\/signed-out|\/session\/end/)
    // The demo's provider asks once more, as providers do that were not told by whom.
    const confirm = page.locator('button[name="logout"]')
    if (!page.url().includes('/signed-out') && (await confirm.count()) > 0) await confirm.click()
    await page.waitForURL(`${rig.origin('access')}/signed-out**`)
    expect(await isIn(page)).toBe(false)
    expect(complaints).toEqual([])
    await other.context.close()
    await mine.context.close()
  })
})
