/**
 * The stage of the console's stories: two instances on one Redis, people with and without a role, and browsers that are served by the
 * instance that a story names. What the stories look at was made by driving the product: sign-ins, requests, refusals.
 */

import type { Browser, BrowserContext, Page } from 'playwright'
import { expect } from 'vitest'
import type { Person } from '../../src/demo/people.ts'
import { launchBrowser } from './browser.ts'
import { type Answer, Client } from './client.ts'
import { chooseAtDemoProvider } from './page.ts'
import { switching } from './raw-websocket.ts'
import { people, type Rig, type RigOptions, startRig } from './rig.ts'
import { noteSecret } from './secret-watch.ts'
import { type SocksDetour, startSocksDetour } from './socks-detour.ts'
import type { SeenRequest } from './upstream.ts'

/** Alice and Adele are admins, Audrey is an auditor, Henry is of the helpdesk; bob and carol hold no role. */
export const consolePeople: readonly Person[] = [
  ...people,
  person('adele', 'Adele Ames', ['staff', 'postern-admins']),
  person('audrey', 'Audrey Ash', ['staff', 'postern-auditors']),
  person('henry', 'Henry Hall', ['staff', 'postern-helpdesk']),
]

export const consoleRoles = {
  admin: { groups: ['postern-admins'] },
  auditor: { groups: ['postern-auditors'] },
  helpdesk: { groups: ['postern-helpdesk'] },
}

/** One browser profile on the stage. */
export interface Seat {
  readonly context: BrowserContext
  readonly page: Page
  /** Everything that its pages complained of, and every request to another host than those of this system. */
  readonly complaints: string[]
}

export interface Stage {
  readonly rig: Rig
  readonly browser: Browser
  /** An address of the access host. */
  at(path: string): string
  /** Signs `person` in with a profile of their own at `url`; everything is served by that instance. */
  seat(person: string, options?: SeatOptions): Promise<Seat>
  /** The same without a screen. */
  client(person: string, instance?: number): Promise<Client>
  close(): Promise<void>
}

export interface SeatOptions {
  /** 0, unless said otherwise. */
  readonly instance?: number
  /** Where they end; the overview of the console, if left out. */
  readonly url?: string
  readonly browser?: Parameters<Browser['newContext']>[0]
}

/** Starts everything; the caller closes it. */
export async function startStage(options: RigOptions = {}): Promise<Stage> {
  const rig = await startRig({
    store: 'redis',
    instances: 2,
    people: consolePeople,
    ...options,
    configuration: { console: { roles: consoleRoles }, ...options.configuration },
  })
  const browser = await launchBrowser()
  const detours: (SocksDetour | undefined)[] = []
  for (const { port } of rig.instances) detours.push(port === rig.port ? undefined : await startSocksDetour(new Map([[rig.port, port]])))
  const at = (path: string) => new URL(path, rig.origin('access')).href

  return {
    rig,
    browser,
    at,
    async seat(who, { browser: wishes, instance = 0, url = at('/console') } = {}) {
      const detour = detours[instance]
      const context = await browser.newContext({ ...wishes, ...(detour === undefined ? {} : { proxy: { server: detour.server } }) })
      context.setDefaultTimeout(15_000)
      const page = await context.newPage()
      await page.goto(url)
      await chooseAtDemoProvider(page, who)
      await page.waitForURL(url)
      return { context, page, complaints: collectEverything(context, rig) }
    },
    async client(who, instance = 0) {
      const client = new Client()
      client.detours.set(rig.port, rig.instances[instance]?.port ?? rig.port)
      await rig.signIn(client, who, at('/console'))
      return client
    },
    async close() {
      await browser.close()
      await Promise.all(detours.map((detour) => detour?.close()))
      await rig.stop()
    },
  }
}

/** Whatever a page may not do: raise an error, write one to its console, break the policy for content, ask another host. */
function collectEverything(context: BrowserContext, rig: Rig): string[] {
  const complaints: string[] = []
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return
    // The browser's own word for an answer that a story asked for, such as a refusal.
    if (/Failed to load resource: the server responded with a status of 4\d\d/.test(message.text())) return
    complaints.push(`${message.type()}: ${message.text()}`)
  })
  context.on('request', (request) => {
    const { hostname, port } = new URL(request.url())
    const isOurs = hostname.endsWith('.corp.localhost') && (port === String(rig.port) || rig.issuer.endsWith(`:${port}`))
    if (!isOurs) complaints.push(`asked ${request.url()}`)
  })
  return complaints
}

/** Sends a form of a page, by hand: with its token, as the page itself would, or as `wish` says. */
export function submitRaw(
  client: Client,
  url: string,
  fields: Readonly<Record<string, string>>,
  {
    page,
    origin = new URL(url).origin,
    site = 'same-origin',
  }: { readonly page?: Answer; readonly origin?: string; readonly site?: string },
): Promise<Answer> {
  const token = page === undefined ? '' : readFormToken(page.body)
  return client.send(url, {
    method: 'POST',
    body: new URLSearchParams({ form_token: token, form_page: '/console', ...fields }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin, 'sec-fetch-site': site },
  })
}

/** The token of the forms of a page; empty where there is none. */
export const readFormToken = (body: string): string => /name="form_token" value="([^"]+)"/.exec(body)?.[1] ?? ''

/** An app whose page opens a WebSocket at once and says on screen what became of it. */
export function answerWithSocketPage(socket: { write(bytes: string | Buffer): unknown }, { headers, target }: SeenRequest): void {
  const key = headers.find(([name]) => name.toLowerCase() === 'sec-websocket-key')?.[1]
  if (target.startsWith('/ws') && key !== undefined) {
    socket.write(switching(key))
    return
  }
  const body = target.startsWith('/socket')
    ? `<!doctype html><html lang="en"><title>An app</title><h1>An app</h1><p id="state">opening</p><script>
const state = document.querySelector('#state'), socket = new WebSocket('/ws')
socket.onopen = () => { state.textContent = 'open' }
socket.onclose = ({ code }) => { state.textContent = 'closed ' + code; window.closedAt = Date.now() }
</script>`
    : '<!doctype html><html lang="en"><title>An app</title><h1>An app</h1>'
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

/** Opens that page and waits until its WebSocket is open. */
export async function openSocketPage(page: Page, url: string): Promise<void> {
  await page.goto(url)
  await page.locator('#state', { hasText: 'open' }).waitFor()
}

/** Waits until the page says that its WebSocket was closed, and tells with which code, and when (epoch milliseconds). */
export async function awaitClosedSocket(page: Page): Promise<{ readonly code: number; readonly at: number }> {
  await page.locator('#state', { hasText: 'closed' }).waitFor()
  const text = await page.locator('#state').innerText()
  return { code: Number(text.slice('closed '.length)), at: await page.evaluate<number>('window.closedAt') }
}

/** Makes a service token through the console, as an admin does. */
export async function makeToken(stage: Stage, admin: Client, name: string, scopes: readonly string[]): Promise<string> {
  const page = await admin.send(stage.at('/console/tokens/new'))
  const body = new URLSearchParams({
    form_token: readFormToken(page.body),
    form_page: '/console/tokens/new',
    name,
    lifetime_seconds: '604800',
  })
  for (const scope of scopes) body.append('scope', scope)
  const made = await admin.send(stage.at('/console/tokens/new'), {
    method: 'POST',
    body: body.toString(),
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      origin: stage.rig.origin('access'),
      'sec-fetch-site': 'same-origin',
    },
  })
  expect(made.status, made.body.slice(0, 2000)).toBe(200)
  const [token = ''] = /pst_[0-9A-Za-z_]{62}/.exec(made.body) ?? []
  noteSecret(token, `the token ${name}`)
  return token
}

function person(id: string, name: string, groups: readonly string[]): Person {
  return { id, name, email: `${id}@corp.example`, role: groups.join(', '), groups }
}
