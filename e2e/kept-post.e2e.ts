/**
 * A form that meets a sign-in or a step-up, in a real browser: it comes back, is asked about, and arrives as it was sent; and where it
 * cannot be kept, the person is told while the browser still has it. The store is a real Redis, whose content is read as a thief would.
 */

import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findBarriers } from './support/accessibility.ts'
import { launchBrowser } from './support/browser.ts'
import { type Answer, Client } from './support/client.ts'
import { chooseAtDemoProvider, collectComplaints, typeCodeAtDemoProvider } from './support/page.ts'
import { forgetPeak, readMemory } from './support/process-facts.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

const longMs = 120_000
const idleSeconds = 3
/** Of ten forms of a mebibyte each; in the short form still more than memory may grow by, were they kept there. */
const rounds = process.env['POSTERN_TEST_LONG'] === '1' ? 40 : 20
const marker = 'the-treasure-is-under-the-stairs'
const shotsFolder = process.env['POSTERN_TEST_SHOTS']

/** The form of every app here; `/elsewhere` posts to the notes from another app's page. */
const formPage = (
  action: string,
) => `<!doctype html><html lang="en"><title>Notes</title><form method="post" action="${action}" enctype="multipart/form-data">
<label>Text <input name="text"></label><label>File <input type="file" name="file"></label><button>Save</button></form></html>`

let folder: string
let rig: Rig
let browser: Browser

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-kept-'))
  rig = await startRig({
    store: 'redis',
    apps: [
      {
        id: 'notes',
        name: 'Notes',
        session: { idle_timeout: `${idleSeconds}s` },
        rules: [{ name: 'staff', allow: { groups: ['staff'] } }],
      },
      {
        id: 'vault',
        name: 'Vault',
        rules: [
          { name: 'look', allow: { groups: ['staff'] }, methods: ['read'] },
          { name: 'write', allow: { groups: ['staff'] }, methods: ['write'], when: ['mfa'] },
        ],
      },
    ],
    policy: { levels: { mfa: { sign_in: { strength: 'mfa' } } } },
    provider: { strengths: { mfa: { acr: ['2'] } } },
  })
  for (const id of ['notes', 'vault']) {
    rig.upstream(id).answerWith((socket, { method, target }) => {
      const action = target === '/elsewhere' ? `${rig.origin('notes')}/edit?page=7` : '/edit?page=7'
      const body = method === 'POST' ? '<!doctype html><html lang="en"><title>Saved</title><p>Saved</p></html>' : formPage(action)
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
    })
  }
  browser = await launchBrowser()
}, longMs)

afterAll(async () => {
  await browser?.close()
  await rig?.stop()
  await rm(folder, { recursive: true, force: true })
})

let context: BrowserContext
let page: Page
beforeEach(async () => {
  await context?.close()
  context = await browser.newContext()
  page = await context.newPage()
})

/** What arrived at an app by POST since the last look, oldest first. */
function posted(id: string, from = 0) {
  return rig
    .upstream(id)
    .requests()
    .slice(from)
    .filter(({ method }) => method === 'POST')
}

async function openForm(id: string, person = 'alice', path = '/edit?page=7'): Promise<void> {
  await page.goto(`${rig.origin(id)}${path}`)
  if (page.url().includes('/interaction/')) await chooseAtDemoProvider(page, person)
  await page.waitForURL(`${rig.origin(id)}${path}`)
}

/** Waits until the session is over for this app, without using it. */
async function outlast(): Promise<void> {
  const cookie = (await context.cookies(rig.origin('notes'))).map(({ name, value }) => `${name}=${value}`).join('; ')
  const isOver = async () =>
    (await new Client().send(`${rig.origin('notes')}/.postern/whoami`, { as: 'fetch', headers: { cookie } })).status === 401
  await waitFor(isOver, 20_000)
}

/** The file is one on the disk, as a person's is: a browser reads it again when it sends the form again. */
async function fillIn(bytes: Buffer | undefined): Promise<void> {
  await page.locator('input[name=text]').fill(marker)
  if (bytes === undefined) return
  const file = join(folder, 'a.bin')
  await writeFile(file, bytes)
  await page.locator('input[name=file]').setInputFiles(file)
}

/** Sends forms as this browser would from a page of the notes, without following what comes. */
async function senderOf(of: BrowserContext): Promise<(body: string) => Promise<Answer>> {
  const cookie = (await of.cookies(rig.origin('notes'))).map(({ name, value }) => `${name}=${value}`).join('; ')
  const headers = {
    cookie,
    'content-type': 'application/x-www-form-urlencoded',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
  }
  return (body) => new Client().send(`${rig.origin('notes')}/edit`, { method: 'POST', body, headers })
}

const save = () => page.locator('button', { hasText: 'Save' }).click()
const sendIt = (of: Page = page) => of.locator('button', { hasText: 'Send it' }).click()
const hashOf = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')

/** The file in a multipart body as the oracle wrote it down, one character a byte. */
function fileIn(body: string): Buffer {
  const start = body.indexOf('\r\n\r\n', body.indexOf('filename="a.bin"')) + 4
  return Buffer.from(body.slice(start, body.indexOf('\r\n------', start)), 'latin1')
}

describe('a form with a file', () => {
  test(
    'comes through an expired session whole, once, and unreadable on the way',
    async () => {
      const complaints = collectComplaints(context)
      const file = randomBytes(600_000)
      await openForm('notes')
      await outlast()
      await fillIn(file)
      const seen = rig.upstream('notes').requests().length
      await save()
      await page.waitForURL(/\/\.postern\/kept-post\?attempt=/)

      const words = await page.locator('main').innerText()
      for (const word of ['Notes', `notes.corp.localhost:${rig.port}/edit`, 'Alice Archer', '586 KiB']) expect(words).toContain(word)
      expect(words).not.toContain(marker)
      expect(await page.locator('form').first().getAttribute('action')).toBe(`${rig.origin('notes')}/edit?page=7`)
      expect(await findBarriers(page)).toEqual([])
      if (shotsFolder !== undefined) await page.screenshot({ path: `${shotsFolder}/kept-post-live.png`, fullPage: true })

      expect(posted('notes', seen)).toEqual([])
      const dump = (await rig.redis?.dump()) ?? ''
      expect(dump).toContain('record:kept_post:')
      expect(dump).not.toContain(marker)
      expect(dump).not.toMatch(/multipart|a\.bin|\/edit/)
      expect(dump).not.toContain((await page.locator('input[name=postern_resume]').getAttribute('value')) ?? '')

      await page.reload()
      await sendIt()
      await page.waitForURL(`${rig.origin('notes')}/edit?page=7`)
      expect(await page.locator('p').innerText()).toBe('Saved')
      const [arrived, ...more] = posted('notes', seen)
      expect(more).toEqual([])
      expect(arrived?.body).toContain(marker)
      expect(hashOf(fileIn(arrived?.body ?? ''))).toBe(hashOf(file))
      const headers = new Map(arrived?.headers.map(([name, value]) => [name.toLowerCase(), value]))
      expect(headers.get('content-type')).toMatch(/^multipart\/form-data; boundary=/)
      expect(headers.get('content-length')).toBe(String(arrived?.body.length))
      expect(headers.get('origin')).toBe(rig.origin('notes'))
      expect(headers.get('referer')).toBe(`${rig.origin('notes')}/`)
      expect(headers.get('x-forwarded-email')).toBe('alice@corp.example')
      expect(arrived?.body).not.toContain('postern_resume')

      const lines = await rig.audit()
      const resumed = lines.find((line) => line['event'] === 'post.resumed')
      expect(lines.find((line) => line['event'] === 'access.decided' && line['request'] === resumed?.['request'])).toMatchObject({
        effect: 'allow',
        method: 'POST',
        path: '/edit',
      })
      expect(lines.some((line) => line['event'] === 'post.kept' && line['bytes'] === arrived?.body.length)).toBe(true)
      expect(JSON.stringify(lines) + rig.instance.log()).not.toContain(marker)
      expect(complaints).toEqual([])

      // Back, and once more: it is gone, and said.
      await page.goBack()
      if (await page.locator('button', { hasText: 'Send it' }).isVisible()) await sendIt()
      await page.locator('h1', { hasText: 'not here any more' }).waitFor()
      expect(posted('notes', seen)).toHaveLength(1)
      expect(await rig.redis?.dump()).not.toContain('record:kept_post:')
    },
    longMs,
  )

  test(
    'comes through a step-up',
    async () => {
      const file = randomBytes(100_000)
      await openForm('vault')
      const seen = rig.upstream('vault').requests().length
      await fillIn(file)
      await save()
      await typeCodeAtDemoProvider(page)
      await page.waitForURL(/\/\.postern\/kept-post\?attempt=/)
      expect(posted('vault', seen)).toEqual([])
      await sendIt()
      await page.waitForURL(`${rig.origin('vault')}/edit?page=7`)
      expect(hashOf(fileIn(posted('vault', seen)[0]?.body ?? ''))).toBe(hashOf(file))
    },
    longMs,
  )

  test(
    'comes through without JavaScript, or is thrown away',
    async () => {
      context = await browser.newContext({ javaScriptEnabled: false, colorScheme: 'dark' })
      page = await context.newPage()
      for (const [button, arrived] of [
        ['Throw it away', 0],
        ['Send it', 1],
      ] as const) {
        await openForm('notes')
        await outlast()
        await fillIn(undefined)
        const seen = rig.upstream('notes').requests().length
        await save()
        await page.waitForURL(/\/\.postern\/kept-post\?attempt=/)
        await page.locator('button', { hasText: button }).click()
        await page.waitForURL(new RegExp(`^${rig.origin('notes')}/edit`))
        expect(posted('notes', seen)).toHaveLength(arrived)
      }
    },
    longMs,
  )
})

describe('a form that cannot be kept', () => {
  test(
    'because it is too large is still in the browser: after a sign-in in a new tab, reloading sends it',
    async () => {
      const file = randomBytes(3_000_000)
      await openForm('notes')
      await outlast()
      await fillIn(file)
      const seen = rig.upstream('notes').requests().length
      await save()
      await page.locator('h1', { hasText: 'has not been sent' }).waitFor()
      expect(await page.locator('main').innerText()).toContain('longer than the 1 MiB')
      expect(await findBarriers(page)).toEqual([])
      if (shotsFolder !== undefined) await page.screenshot({ path: `${shotsFolder}/post-not-kept-live.png`, fullPage: true })
      const [tab] = await Promise.all([context.waitForEvent('page'), page.locator('a', { hasText: 'Sign in' }).click()])
      await tab.waitForURL(`${rig.origin('notes')}/edit`)
      await page.reload()
      await page.locator('p', { hasText: 'Saved' }).waitFor()
      expect(hashOf(fileIn(posted('notes', seen)[0]?.body ?? ''))).toBe(hashOf(file))
    },
    longMs,
  )

  test(
    'because five of this browser are kept already is told, and another browser’s is kept',
    async () => {
      await openForm('notes')
      await outlast()
      const send = await senderOf(context)
      for (let i = 0; i < 5; i += 1) expect((await send(`a=${i}`)).status).toBe(303)
      await fillIn(undefined)
      await save()
      await page.locator('h1', { hasText: 'has not been sent' }).waitFor()
      expect(await page.locator('main').innerText()).toContain('Five forms of yours')

      context = await browser.newContext()
      page = await context.newPage()
      await openForm('notes', 'bob')
      await outlast()
      await fillIn(undefined)
      await save()
      await page.waitForURL(/\/\.postern\/kept-post\?attempt=/)
    },
    longMs,
  )

  test(
    'because it comes from a page of another app is refused, and nothing is kept',
    async () => {
      await openForm('notes')
      await openForm('vault', 'alice', '/elsewhere')
      await outlast()
      const kept = (await rig.audit()).filter((line) => line['event'] === 'post.kept').length
      const seen = rig.upstream('notes').requests().length
      await fillIn(undefined)
      const [answer] = await Promise.all([page.waitForResponse(`${rig.origin('notes')}/edit?page=7`), save()])
      expect(answer.status()).toBe(403)
      expect(answer.headers()['x-postern']).toBe('cross_origin')
      expect((await rig.audit()).filter((line) => line['event'] === 'post.kept')).toHaveLength(kept)
      expect(posted('notes', seen)).toEqual([])
    },
    longMs,
  )
})

describe('a kept form and somebody else', () => {
  /** Alice's browser at the page that asks; its address and the one-time word. */
  async function keepOne(): Promise<{ readonly url: string; readonly id: string }> {
    await openForm('notes')
    await outlast()
    await fillIn(undefined)
    await save()
    await page.waitForURL(/\/\.postern\/kept-post\?attempt=/)
    return { url: page.url(), id: (await page.locator('input[name=postern_resume]').getAttribute('value')) ?? '' }
  }

  test(
    'another browser neither sees it nor sends it on, and what it tries burns it',
    async () => {
      const { id, url } = await keepOne()
      const seen = rig.upstream('notes').requests().length
      const other = await browser.newContext()
      const alicesPage = page
      page = await other.newPage()
      await openForm('notes', 'bob')
      await page.goto(url)
      await page.locator('h1', { hasText: 'not here any more' }).waitFor()

      await openForm('notes', 'bob')
      await page.evaluate(`(() => { const form = document.querySelector('form'); form.enctype = 'application/x-www-form-urlencoded'
        form.innerHTML = '<input name="postern_resume" value="${id}">'; form.submit() })()`)
      await page.locator('h1', { hasText: 'sent by somebody else' }).waitFor()
      await sendIt(alicesPage)
      await alicesPage.locator('h1', { hasText: 'not here any more' }).waitFor()
      expect(posted('notes', seen)).toEqual([])
      await other.close()
    },
    longMs,
  )

  test(
    'who signs in as another person is told that it was thrown away',
    async () => {
      await openForm('notes')
      await outlast()
      const cookies = await context.cookies()
      // Only the app knows this browser still: at the access host and the provider somebody else signs in.
      await context.clearCookies()
      await context.addCookies(cookies.filter(({ domain }) => domain === 'notes.corp.localhost'))
      await fillIn(undefined)
      const seen = rig.upstream('notes').requests().length
      await save()
      await chooseAtDemoProvider(page, 'bob')
      await page.locator('h1', { hasText: 'sent by somebody else' }).waitFor()
      expect(posted('notes', seen)).toEqual([])
      expect((await rig.audit()).at(-1)).toBeDefined()
      expect((await rig.audit()).some((line) => line['event'] === 'post.discarded' && line['cause'] === 'another_person')).toBe(true)
    },
    longMs,
  )
})

test(
  'while the store is away a form is answered 503 and kept nowhere; memory stays bounded under many',
  async () => {
    await openForm('notes')
    await outlast()
    const send = await senderOf(context)

    await send('a=1')
    await forgetPeak(rig.instance.pid)
    const before = await readMemory(rig.instance.pid)
    const mebibyte = 'x'.repeat(1024 ** 2 - 2)
    const statuses = new Set<number>()
    for (let round = 0; round < rounds; round += 1) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => send(`a=${mebibyte}`)))
      for (const { status } of answers) statuses.add(status)
    }
    expect([...statuses].sort()).toEqual([303, 401])
    const { peak } = await readMemory(rig.instance.pid)
    expect(peak - before.resident).toBeLessThan(120)

    await rig.redis?.stop()
    await fillIn(undefined)
    await waitFor(async () => (await send('a=1')).status === 503, 10_000)
    const [answer] = await Promise.all([page.waitForResponse(`${rig.origin('notes')}/edit?page=7`), save()])
    expect(answer.status()).toBe(503)
    await rig.redis?.restart()
  },
  longMs,
)
