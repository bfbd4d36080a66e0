/**
 * The console's pages of the policy in a real browser: accessible, whole on every width, quiet under their own strict policy, and refreshed in place
 * while a draft is checked.
 *
 * The pages are those of a composed policy over a real store; a small server in front carries an admin's cookies, so that the browser needs no
 * provider. `POSTERN_TEST_SHOTS` names a folder for pictures.
 */

import { mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPolicyPages, type TestPolicyPages, waitFor } from '../src/compose-policy-pages.fixture.ts'
import { accessUrl } from '../src/control/control-plane.fixture.ts'
import { findBarriers } from './support/accessibility.ts'
import { launchBrowser } from './support/browser.ts'

const shotsFolder = process.env['POSTERN_TEST_SHOTS']
const root = '/console/policy'
const appsOf = (group: string) => `zone: Europe/Berlin
levels:
  office: { network: { cidrs: [10.0.0.0/8, 192.0.2.0/24] } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - { name: ${group} from the office, allow: { groups: [${group}] }, when: [office] }
  - id: tickets
    url: https://tickets.corp.example
    upstream: http://tickets.internal
    rules:
      - { name: everybody, allow: { signed_in: true } }
`

const policyTests = `people: { ada: { email: ada@corp.example, groups: [staff] } }
tests:
  - name: staff read the wiki in the office
    given: { as: ada, address: 10.1.2.3, request: "GET https://wiki.corp.example/" }
    expect: allow
`

let managed: TestPolicyPages
let files: TestPolicyPages
let browser: Browser
const servers: Server[] = []
const paths = new Map<string, string>()

/** What stands before the pages: the cookies of an admin, and an address that the browser can reach. */
async function serve({ console }: TestPolicyPages): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', async () => {
      const { cookie: _c, host: _h, connection: _n, 'content-length': _l, ...headers } = request.headers
      const origin = headers.origin === undefined ? {} : { origin: accessUrl.origin }
      const answer = await console.visit('admin', request.url ?? '/', {
        method: request.method ?? 'GET',
        headers: { ...(headers as Record<string, string>), ...origin },
        ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
      })
      const { 'content-length': _, 'set-cookie': _s, 'transfer-encoding': _t, 'strict-transport-security': _y, ...given } = answer.headers
      const location = answer.location === undefined ? {} : { location: `${answer.location.pathname}${answer.location.search}` }
      response.writeHead(answer.status, { ...given, ...location }).end(answer.body)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

beforeAll(async () => {
  managed = await startPolicyPages({ files: { 'policy.yaml': appsOf('staff'), 'policy.test.yaml': policyTests } })
  files = await startPolicyPages({ mode: 'files', files: { 'policy.yaml': appsOf('staff') } })
  for (let index = 0; index < 6; index++) managed.decide(`request-${index}`, 3_600_000 - index * 1000)
  const [origin, filesOrigin] = [await serve(managed), await serve(files)]
  const [wrong, moved] = [
    await managed.begin('Everybody at home as well', { 'policy.yaml': `${appsOf('staff')}oops: 1\n` }),
    await managed.begin('Only the office', { 'policy.yaml': appsOf('office'), 'policy.test.yaml': policyTests }),
  ]
  await managed.publish(
    { 'policy.yaml': appsOf('staff').replace('staff from the office', 'staff'), 'policy.test.yaml': policyTests },
    'A shorter name',
  )
  const shutting = await managed.begin('The wiki is for finance alone', {
    'policy.yaml': appsOf('finance'),
    'policy.test.yaml': policyTests,
  })
  const filesDraft = await files.begin('Contractors read', { 'policy.yaml': appsOf('contractors') })
  const started = await managed.console.submit(
    'admin',
    `${root}/drafts/${shutting}/impact`,
    { since: '24h' },
    { from: `${root}/drafts/${shutting}` },
  )
  const impact = started.location?.search ?? ''
  await waitFor(
    async () => !(await managed.console.visit('admin', `${root}/drafts/${shutting}${impact}`)).body.includes('data-draft-pending'),
  )
  const asked = new URLSearchParams({ draft: shutting, who: 'service:build', url: 'https://wiki.corp.example/page' })
  for (const [name, path] of Object.entries({
    policy: root,
    files: `${root}/files`,
    revision: `${root}/revisions/2`,
    'revision-first': `${root}/revisions/1`,
    'draft-problems': `${root}/drafts/${wrong}`,
    'draft-moved': `${root}/drafts/${moved}`,
    'draft-impact': `${root}/drafts/${shutting}${impact}`,
    'what-if': `${root}/what-if?${asked}`,
    'what-if-nobody': `${root}/what-if?${new URLSearchParams({ draft: shutting, who: 'nobody', url: 'https://wiki.corp.example/page', groups: '' })}`,
    'what-if-empty': `${root}/what-if`,
    'what-if-wrong': `${root}/what-if?who=nobody&url=nonsense`,
  }))
    paths.set(name, `${origin}${path}`)
  paths.set('policy-of-files', `${filesOrigin}${root}`)
  paths.set('draft-of-files', `${filesOrigin}${root}/drafts/${filesDraft}`)
  browser = await launchBrowser()
  if (shotsFolder !== undefined) mkdirSync(shotsFolder, { recursive: true })
}, 120_000)

afterAll(async () => {
  await browser?.close()
  for (const server of servers) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  await managed?.close()
  await files?.close()
})

const circumstances: [string, BrowserContextOptions][] = [
  ['light', { colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
  ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 800 } }],
  ['phone', { colorScheme: 'light', viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true }],
]

describe.each(circumstances)('%s', (circumstance, options) => {
  let page: Page
  const complaints: string[] = []
  beforeAll(async () => {
    const context = await browser.newContext({ ...options, reducedMotion: 'reduce' })
    page = await context.newPage()
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
  })
  afterAll(() => page?.context().close())

  it('every page is accessible, whole and quiet', async () => {
    const found: string[] = []
    for (const [name, url] of paths) {
      complaints.length = 0
      await page.goto(url)
      await page.locator('[data-draft-pending]').first().waitFor({ state: 'detached' })
      if (shotsFolder !== undefined) await page.screenshot({ path: join(shotsFolder, `${name}.${circumstance}.png`), fullPage: true })
      found.push(...(await findBarriers(page)).map((barrier) => `${name}: ${barrier}`))
      const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')
      if (overflow > 0) found.push(`${name} is ${overflow} pixels too wide`)
      // A page that was refused says so, and the browser repeats it.
      found.push(...complaints.filter((text) => !text.includes('status of 4')).map((text) => `${name}: ${text}`))
    }
    expect(found).toEqual([])
  })
})
