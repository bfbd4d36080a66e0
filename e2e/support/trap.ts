/**
 * Pages that are made to catch somebody: of a sibling app, which is the same *site* as ours, so that a browser sends our cookies with what such
 * a page has it load, and of a stranger. With browsers of people who are signed in, and every kind of page of ours that there is to catch.
 */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright'
import { launchBrowser } from './browser.ts'
import { chooseAtDemoProvider } from './page.ts'
import { type Rig, startRig } from './rig.ts'

export type Caught = 'alice' | 'bob' | 'nobody'

/** A page of ours: whom it is shown to, where it is, and how it is answered in a window of its own. */
export type OwnPage = readonly [person: Caught, url: string, status: number]

export interface Trap {
  readonly rig: Rig
  /** Of a sibling app; shown to whoever may open that. */
  readonly app: string
  /** Of somebody who has nothing to do with us. */
  readonly stranger: string
  /** Those that this person can be brought to. */
  originsFor(person: Caught): readonly string[]
  context(person: Caught): BrowserContext
  /** The trap of this origin, in a tab of this person. */
  open(person: Caught, origin: string): Promise<Page>
  /** An address of the access host. */
  at(path: string): string
  /** Alice is an admin, bob holds no role, nobody is not signed in. */
  pages(): readonly OwnPage[]
  close(): Promise<void>
}

const title = 'Win a prize'
const trap = `<!doctype html><html lang="en"><title>${title}</title><h1>${title}</h1>`

/** Starts everything; the caller closes it, after `rig` was looked at. */
export async function startTrap(): Promise<Trap> {
  const rig = await startRig({
    apps: [
      { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      { id: 'vault', rules: [{ name: 'strong', allow: { groups: ['staff'] }, when: [{ sign_in: { strength: 'mfa' } }] }] },
      { id: 'closed', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
    ],
    provider: { strengths: { mfa: { amr: ['otp'] } } },
    configuration: { requests: 'on', console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' } },
  })
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(trap)}\r\n\r\n`
  rig.upstream('app').answerWith(`${head}${trap}`)
  const server = createServer((_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end(trap))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stranger = `http://evil.localhost:${(server.address() as AddressInfo).port}`
  const app = rig.origin('app')
  const browser = await launchBrowser()
  const contexts = new Map<Caught, BrowserContext>([['nobody', await browser.newContext()]])
  for (const person of ['alice', 'bob'] as const) {
    const context = await browser.newContext()
    context.setDefaultTimeout(15_000)
    contexts.set(person, context)
    const page = await context.newPage()
    await page.goto(`${app}/`)
    await chooseAtDemoProvider(page, person)
    await page.waitForURL(`${app}/`)
    // Each app has a session of its own.
    await page.goto(`${rig.origin('closed')}/`)
    await page.close()
  }
  const at = (path: string) => new URL(path, rig.origin('access')).href
  const context = (person: Caught) => {
    const found = contexts.get(person)
    if (found === undefined) throw new Error(person)
    return found
  }

  return {
    rig,
    app,
    stranger,
    originsFor: (person) => (person === 'nobody' ? [stranger] : [app, stranger]),
    context,
    async open(person, origin) {
      const page = await context(person).newPage()
      await page.goto(`${origin}/`)
      if ((await page.title()) !== title) throw new Error(`${origin} shows ${person} ${await page.title()}`)
      return page
    },
    at,
    pages: () => [
      ...['', '/apps', '/people', '/locks', '/tokens/new'].map((path): OwnPage => ['alice', at(`/console${path}`), 200]),
      ...['/', '/sessions', '/devices', '/privacy', '/requests', '/.postern/sign-out'].map((path): OwnPage => ['alice', at(path), 200]),
      ['alice', at('/console/nothing'), 404],
      ['alice', `${rig.origin('wiki')}/`, 404],
      ['alice', `${rig.origin('closed')}/`, 403],
      ['alice', `${rig.origin('closed')}/.postern/sign-out`, 200],
      ['bob', at('/console'), 403],
      ['nobody', at('/signed-out'), 200],
      ['nobody', at('/nothing'), 404],
      ['nobody', at('/oidc/callback?state=x&code=y'), 400],
    ],
    async close() {
      await browser.close()
      server.close()
    },
  }
}
