/**
 * The pages of ours in a real browser: accessible, whole on every width, quiet under their own strict policy, usable by
 * keyboard and without script.
 *
 * Each page is served with exactly the headers that its plane sends. `POSTERN_TEST_SHOTS` names a folder for pictures.
 */

import { mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { assetHeaders } from '../src/control/page-headers.ts'
import { createPageRenderer } from '../src/control/page-renderer.ts'
import { findBarriers } from './support/accessibility.ts'
import { launchBrowser } from './support/browser.ts'
import { samplePages } from './support/sample-pages.ts'

const renderer = createPageRenderer({
  viewsFolder: join(import.meta.dirname, '../views'),
  brand: { name: 'Postern', logoFile: undefined, support: 'helpdesk@corp.example' },
  isDemo: true,
})
const pages = samplePages(renderer)
const shotsFolder = process.env['POSTERN_TEST_SHOTS']
const isLong = process.env['POSTERN_TEST_LONG'] === '1' || shotsFolder !== undefined

/** A page of an app that frames one of ours. */
const framing = (name: string): string => `<!doctype html><title>An app</title><iframe src="/${name}"></iframe>`

/** What `/runs/2026-11`, the page that the refusals are about, answers to the page that waits for it. */
let appAnswer: { status: number; headers: Record<string, string>; body: string }
let asked: string[]
let server: Server
let browser: Browser
let origin: string

function findFile(path: string) {
  if (path === '/.postern/renew.js') return renderer.renewal.script
  return path.startsWith('/.postern/assets/') ? renderer.findAsset(path.slice('/.postern/assets/'.length)) : undefined
}

beforeAll(async () => {
  server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    asked.push(`${request.method} ${path}`)
    const asset = findFile(path)
    const page = pages.get(path.slice(1))
    if (asset !== undefined) response.writeHead(200, { ...assetHeaders, 'content-type': asset.type }).end(asset.body)
    else if (page !== undefined) response.writeHead(200, page.headers).end(page.body)
    else if (path === '/runs/2026-11') response.writeHead(appAnswer.status, appAnswer.headers).end(appAnswer.body)
    else if (path.startsWith('/framing-'))
      response.writeHead(200, { 'content-type': 'text/html' }).end(framing(path.slice('/framing-'.length)))
    else response.writeHead(404, { 'content-type': 'text/plain' }).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  browser = await launchBrowser()
  if (shotsFolder !== undefined) mkdirSync(shotsFolder, { recursive: true })
})

afterAll(async () => {
  await browser?.close()
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
})

let page: Page
let complaints: string[]

/** Opens a page in a browser profile of its own, and collects every message of the console: a violation of the policy is one. */
async function open(name: string, options: BrowserContextOptions = {}): Promise<void> {
  const context = await browser.newContext(options)
  page = await context.newPage()
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  await visit(name)
}

async function visit(name: string): Promise<void> {
  asked = []
  complaints = []
  appAnswer = { status: 502, headers: { 'x-postern': 'upstream_unreachable' }, body: '' }
  await page.goto(`${origin}/${name}`)
}

async function close(): Promise<void> {
  await page.context().close()
}

/** Pixels by which the page is wider than the window. */
const overflow = (): Promise<number> => page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')

/** A property of the element that has the focus. Expressions are text: the house compiles without the types of a browser. */
const focused = (property: string): Promise<unknown> => page.evaluate<unknown>(`document.activeElement.${property}`)

const circumstances: [string, BrowserContextOptions][] = [
  ['light, desktop', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
  ['dark, desktop', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
  ['light, phone', { colorScheme: 'light', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
  ['dark, narrow', { colorScheme: 'dark', viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }],
]

/** In the short form each page is seen in one of the wide circumstances and one of the narrow ones, one of them light and one dark. */
function pagesFor(circumstance: string): readonly string[] {
  const names = [...pages.keys()]
  const at = circumstances.findIndex(([name]) => name === circumstance)
  return isLong ? names : names.filter((_, index) => index % 2 === (at === 0 || at === 3 ? 0 : 1))
}

describe.each(circumstances)('%s', (circumstance, options) => {
  beforeAll(() => open('signed-out', { ...options, reducedMotion: 'reduce' }))
  afterAll(close)

  it.each(pagesFor(circumstance))('%s is accessible, whole and quiet', async (name) => {
    await visit(name)
    if (shotsFolder !== undefined) {
      await page.screenshot({ path: join(shotsFolder, `${name}.${circumstance.replaceAll(/\W+/g, '-')}.png`), fullPage: true })
    }
    expect(await findBarriers(page)).toEqual([])
    expect(await overflow()).toBeLessThanOrEqual(0)
    expect(complaints).toEqual([])
  })
})

describe('every page', () => {
  afterEach(close)

  it('offers targets of at least 44 pixels to a finger', async () => {
    await open('signed-out', { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true })
    for (const name of pages.keys()) {
      await visit(name)
      const small = await page.evaluate<string[]>(`[...document.querySelectorAll('a:not(.skip), button, input')].flatMap((element) => {
        const box = (element.closest('.card') ?? element).getBoundingClientRect()
        return box.width === 0 || (box.height >= 44 && box.width >= 44) ? [] : [element.outerHTML + box.width + ' × ' + box.height]
      })`)
      expect(small, name).toEqual([])
    }
  })

  it('stays whole at twice the size, by zoom and by type alone', async () => {
    await open('signed-out', { viewport: { width: 640, height: 400 } })
    for (const name of pages.keys()) {
      await visit(name)
      expect(await overflow(), name).toBeLessThanOrEqual(0)
      await page.evaluate("document.documentElement.style.fontSize = '200%'")
      expect(await overflow(), `${name}, large type`).toBeLessThanOrEqual(0)
    }
  })
})

describe('by keyboard', () => {
  afterEach(close)

  it('the first stop skips to the content', async () => {
    await open('denied')
    await page.keyboard.press('Tab')
    expect(await focused('textContent')).toBe('Skip to content')
    await page.keyboard.press('Enter')
    expect(await focused('id')).toBe('main')
  })

  it('every stop shows where it is', async () => {
    await open('denied')
    for (let stop = 0; stop < 9; stop++) {
      await page.keyboard.press('Tab')
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
    }
  })

  it('finds an app by typing and opens it', async () => {
    await open('portal')
    await page.keyboard.press('/')
    await page.keyboard.type('lager')
    expect(await page.locator('.card:visible').count()).toBe(1)
    expect(await page.locator('[data-search-status]').textContent()).toBe('1 app matches')
    await page.keyboard.press('Escape')
    expect(await page.locator('.card:visible').count()).toBeGreaterThan(5)
    await page.keyboard.type('wiki')
    const opened = page.waitForRequest('http://wiki.corp.localhost:8080/')
    await page.keyboard.press('Enter')
    await opened
  })

  it('walks through the cards by arrows, row by row', async () => {
    await open('portal', { viewport: { width: 1280, height: 800 } })
    const here = (): Promise<unknown> => focused('textContent')
    await page.keyboard.press('/')
    await page.keyboard.press('ArrowDown')
    const first = await here()
    await page.keyboard.press('ArrowRight')
    expect(await here()).not.toBe(first)
    await page.keyboard.press('ArrowLeft')
    expect(await here()).toBe(first)
    await page.keyboard.press('ArrowDown')
    const below = await focused('getBoundingClientRect().left')
    await page.keyboard.press('ArrowUp')
    expect(await here()).toBe(first)
    expect(await focused('getBoundingClientRect().left')).toBe(below)
    await page.keyboard.press('ArrowUp')
    expect(await focused('id')).toBe('q')
  })

  it('says when nothing matches, and leads back', async () => {
    await open('portal')
    await page.keyboard.press('/')
    await page.keyboard.type('zzz')
    await page.getByText('No app matches.').waitFor()
    await page.getByRole('link', { name: 'Show all apps' }).press('Enter')
    expect(await page.locator('.card:visible').count()).toBeGreaterThan(5)
  })
})

describe('with script', () => {
  afterEach(close)

  it('copies the details', async () => {
    await open('denied', { permissions: ['clipboard-read', 'clipboard-write'] })
    await page.getByRole('button', { name: 'Copy details' }).click()
    await page.getByText('Copied.').waitFor()
    const copied = await page.evaluate<string>('navigator.clipboard.readText()')
    expect(copied).toBe('App: Payroll\nSigned in as: alice@corp.example\nReason: no_rule_matched\nRequest: 01JE4X8Q5ZK7R2M9')
  })
})

describe('an app that is away', () => {
  afterEach(close)

  it('is looked for again, and opened when it is back', async () => {
    await open('upstream-down')
    await expect.poll(() => asked.filter((line) => line === 'HEAD /runs/2026-11').length, { timeout: 15_000 }).toBe(1)
    expect(page.url()).toBe(`${origin}/upstream-down`)
    appAnswer = { status: 500, headers: { 'content-type': 'text/html' }, body: '<h1>Error of the app itself</h1>' }
    await page.waitForURL(`${origin}/runs/2026-11`, { timeout: 20_000 })
  })

  it('that is closed to somebody is looked for again, and read anew when something else is in the way', async () => {
    await open('in-the-way-disk')
    await page.getByText('Next look in').waitFor()
    const refused = (remedy: string) => ({
      status: 403,
      headers: { 'x-postern': 'no_rule_matched', 'content-type': 'application/json' },
      body: JSON.stringify({ unmet: [{ remedy }] }),
    })
    appAnswer = refused('disk_not_encrypted')
    await expect.poll(() => asked.filter((line) => line === 'GET /runs/2026-11').length, { timeout: 15_000 }).toBe(1)
    expect(page.url()).toBe(`${origin}/in-the-way-disk`)
    appAnswer = refused('os_outdated')
    await page.waitForURL(`${origin}/runs/2026-11`, { timeout: 20_000 })
  })

  it('offers a link without script', async () => {
    await open('upstream-down', { javaScriptEnabled: false })
    expect(await page.getByText('Looking again').count()).toBe(0)
    expect(await page.getByRole('link', { name: 'Try again' }).getAttribute('href')).toBe('/runs/2026-11')
  })
})

describe('without script', () => {
  afterEach(close)

  it('the portal searches by a form, and hides nothing that matches', async () => {
    await open('portal-searched', { javaScriptEnabled: false })
    expect(await page.locator('.card:visible').count()).toBe(0)
    await page.getByText('No app matches.').waitFor()
    await page.getByRole('button', { name: 'Search' }).waitFor()
    expect(await page.getByRole('link', { name: 'Show all apps' }).getAttribute('href')).toBe('/')
  })

  it('no control is shown that would do nothing', async () => {
    await open('denied', { javaScriptEnabled: false })
    expect(await page.getByRole('button').count()).toBe(0)
  })
})

describe('in a frame', () => {
  afterEach(close)

  it('shows the sign-in link inside a frame of its own origin, and leads out of the frame', async () => {
    await open('framing-frame')
    const link = page.frameLocator('iframe').getByRole('link', { name: 'Sign in' })
    const left = page.waitForRequest(
      (request) => request.url().startsWith('http://access.corp.localhost:8080/sign-in') && request.frame() === page.mainFrame(),
    )
    await link.click()
    await left
  })

  it('of its own origin nothing else is shown', async () => {
    await open('framing-denied')
    await expect.poll(() => complaints.join()).toContain('frame-ancestors')
    expect(await page.frameLocator('iframe').getByRole('heading').count()).toBe(0)
  })
})
