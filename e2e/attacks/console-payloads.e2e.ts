/**
 * Words of strangers, employees and colleagues that would be markup, script, another address or another direction of writing, on every page of the
 * console and portal that they can reach. Judged in a real browser: no dialog, no refused content (there is nothing to refuse), no element
 * that is not ours, and no word without its own direction; and by the raw bytes of every page for every parameter.
 */

import { join } from 'node:path'
import type { Browser, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { tokenPermissions } from '../../src/administration/token-scope.ts'
import { launchBrowser } from '../support/browser.ts'
import { Client } from '../support/client.ts'
import { Desk, listConsoleRoutes, parameterNames, pathOf } from '../support/console-desk.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { collectComplaints } from '../support/page.ts'
import { type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { noteSecret } from '../support/secret-watch.ts'
import { attack, endRig, mustBeAlive, sendLine } from './attack.ts'

const image = `"'><img src=x onerror=alert(1)>`
const script = `</title></textarea></script></pre><script>document.title='owned';alert(2)</script>`
const bidi = '\u202egpj.exe\u2066\u200f'
const template = '{{7*7}}<%= 7*7 %>#{7*7}'
/** Where a word may be long. */
const long = `${image}${script}${template}`
/** Where it is a name. */
const short = `${image}${template}`

/** Elements and attributes that no page of ours has; and words with a direction of their own that stand in no element that keeps it. */
const findForeign = `(() => {
  const found = []
  for (const element of document.querySelectorAll('*')) {
    for (const { name, value } of element.attributes) {
      if (name.startsWith('on') || name === 'srcdoc') found.push(element.tagName + ' ' + name)
      if (/^(href|src|action|formaction)$/.test(name) && !/^(\\/(?!\\/)|#|\\?|https?:|mailto:)/.test(value)) found.push(element.tagName + ' ' + name + '=' + value)
      if (/^(src|action|formaction)$/.test(name) && new URL(value, location.href).origin !== location.origin) found.push(name + '=' + value)
    }
    if (/^(IFRAME|OBJECT|EMBED|BASE|MARQUEE|STYLE)$/.test(element.tagName)) found.push(element.tagName)
    if (element.tagName === 'SCRIPT' && (element.textContent !== '' || !element.src.startsWith(location.origin))) found.push('SCRIPT')
    if (element.tagName === 'IMG' && !element.getAttribute('src').startsWith('/')) found.push('IMG')
  }
  if (document.title === 'owned') found.push('title')
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    if (!/[\\u202a-\\u202e\\u2066-\\u2069]/.test(node.data)) continue
    if (node.parentElement.closest('bdi, textarea, pre, code, option, title, [dir]') === null) found.push('bidi: ' + node.parentElement.outerHTML.slice(0, 200))
  }
  return found
})()`

describe('words of others on the pages of the console', () => {
  let provider: HostileProvider
  let rig: Rig
  let browser: Browser
  let alice: Desk
  let token: string

  beforeAll(async () => {
    provider = await startHostileProvider()
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret, scopes: ['openid'], claims: { groups: ['groups'], device_id: 'device_id' } },
      apps: [
        {
          id: 'app',
          name: `App ${short}`,
          description: `For ${image}`,
          help: `Ask ${image}`,
          owner: `owner ${short}`,
          rules: [
            { name: `everybody ${image}`, allow: { signed_in: true } },
            { name: `barred ${image}`, deny: { groups: [`barred ${image}`] } },
          ],
        },
      ],
      policy: { levels: { fresh: { sign_in: { within: '12h' } } } },
      configuration: {
        policy: 'managed',
        policy_seed: 'policy.yaml',
        upstreams: { allow: ['127.0.0.0/8'] },
        trusted_proxies: ['127.0.0.1/32'],
        audit: { query: 'keep' },
        console: { roles: { admin: { groups: ['postern-admins'] } }, sign_in_within: '1h' },
      },
    })
    provider.behaviour.person = {
      sub: 'alice',
      claims: { name: `Alice ${short}`, email: 'alice@corp.test', email_verified: true, groups: ['postern-admins', `g ${image}`] },
    }
    alice = await Desk.of(rig, 'alice')
    browser = await launchBrowser()
    token = await command('token', 'create', '--name', `Token ${short}${bidi}`, ...tokenPermissions.flatMap((one) => ['--scope', one]))
  })
  afterAll(async () => {
    await browser?.close()
    await endRig(rig)
    await provider.stop()
  })
  afterEach(() => mustBeAlive(rig))

  async function command(...args: string[]): Promise<string> {
    const { code, stderr, stdout } = await runCommand([...args, '--config', join(rig.instance.folder, '..', 'postern-0.yaml')])
    if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  const order = async (method: string, path: string, body?: object) => {
    let answer = await alice.api(method, path, token, body)
    // Where another direction of writing is no word at all, the rest of it is.
    if (answer.status === 400) answer = await alice.api(method, path, token, JSON.stringify(body).replaceAll(bidi, ''))
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`)
    return JSON.parse(answer.body) as { readonly draft?: { readonly id: string; readonly version: number } }
  }

  /** Whatever anybody can leave behind. */
  async function leaveWords(): Promise<string> {
    for (const [sub, name, groups] of [
      [`sub ${short}`, `Mallory ${long}`, [`g ${image}`, `barred ${image}`]],
      ['plain', `Bidi ${bidi}`, [`g${bidi}`]],
    ] as const) {
      provider.behaviour.person = {
        sub,
        claims: { name, email: `${sub === 'plain' ? 'm' : 'img'}@corp.test`, email_verified: true, groups, device_id: 'laptop-7' },
      }
      const client = new Client()
      await client.follow(`${rig.origin('app')}/`, { headers: { 'user-agent': `UA ${long}` } })
      const cookie = client.cookieHeader(`${rig.origin('app')}/`)
      for (const path of [`/${encodeURIComponent(script)}?q=${encodeURIComponent(image)}`, '/%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E'])
        await sendLine(rig, `GET ${path} HTTP/1.1`, [`Cookie: ${cookie}`, `User-Agent: UA ${long}`, 'Connection: close'])
    }
    const named = ['--name', `Laptop ${image}`, '--owner', `owner ${image}`, '--serial', `S${image}`, '--tag', 'fleet']
    await command('device', 'register', 'laptop-7', ...named, '--attribute', `ring=<img src=x onerror=alert(3)>`)
    await command('device', 'register', 'laptop-8', '--name', script.slice(0, 120))
    await command('device', 'block', 'laptop-8', '--reason', `blocked ${short}`)
    await command('console', 'invite', `"<img/src=x>"@corp.test`, '--role', 'auditor').catch(() =>
      command('console', 'invite', 'x<img@corp.test', '--role', 'auditor').catch(() => 'refused'),
    )
    await order('POST', '/locks', { on: 'subject', name: `sub ${short}`, reason: `left ${short}${bidi}` })
    await order('POST', '/locks', { on: 'app', name: 'app', reason: `closed ${image}` }).catch(() => undefined)
    const { draft } = await order('POST', '/policy/drafts', { comment: `Draft ${short}${bidi}` })
    if (draft === undefined) throw new Error('no draft')
    const form = { form_token: await alice.formToken() }
    await alice.post(`/console/policy/drafts/${draft.id}/edit`, {
      ...form,
      file: 'policy.yaml',
      version: String(draft.version),
      text: `# ${long}${bidi}\n`,
      intent: 'save',
    })
    return draft.id
  }

  /** Signs a browser in as the admin whose name is the worst. */
  async function openBrowser(): Promise<{ readonly page: Page; readonly complaints: string[]; readonly dialogs: string[] }> {
    provider.behaviour.person = {
      sub: 'alice',
      claims: { name: `Alice ${long}${bidi}`, email: 'alice@corp.test', email_verified: true, groups: ['postern-admins', `g ${image}`] },
    }
    const context = await browser.newContext({ userAgent: `Browser ${image}` })
    const complaints = collectComplaints(context)
    const dialogs: string[] = []
    const page = await context.newPage()
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message())
      void dialog.dismiss()
    })
    await page.goto(`${rig.origin('access')}/console`)
    return { page, complaints, dialogs }
  }

  attack(
    'A214',
    'XSS',
    'names, groups, subjects, agents, paths, devices, locks, tokens, comments, rules, texts: every page that a link leads to',
    async () => {
      const draft = await leaveWords()
      await waitFor(async () => (await alice.open('/console/trail')).body.includes('onerror'))
      const { complaints, dialogs, page } = await openBrowser()
      const origin = rig.origin('access')
      const waiting = [
        '/console',
        '/',
        '/sessions',
        ...(await listConsoleRoutes())
          .filter(({ method, pattern }) => method === 'GET' && !pattern.includes(':'))
          .map(({ pattern }) => pattern),
      ]
      waiting.push(`/console/policy/drafts/${draft}`, `/console/policy/drafts/${draft}/edit`, `/console/policy/drafts/${draft}/apps/app`)
      const seen = new Set<string>()
      const shapes = new Map<string, number>()
      let withWords = 0
      while (waiting.length > 0 && seen.size < 160) {
        const path = waiting.shift() ?? ''
        const { pathname } = new URL(path, origin)
        const shape = pathname.replace(/[\w-]{12,}/g, '*').replace(/\d+/g, '#')
        // A list has many entries of one kind: some of each are enough.
        if (seen.has(path) || (shapes.get(shape) ?? 0) >= 4 || /\/(?:live|follow|export|files)$/.test(pathname)) continue
        seen.add(path)
        shapes.set(shape, (shapes.get(shape) ?? 0) + 1)
        const answer = await page.goto(`${origin}${path}`, { waitUntil: 'domcontentloaded' })
        const foreign = (await page.evaluate(findForeign)) as readonly string[]
        if (foreign.length > 0) throw new Error(`${path} (${answer?.status()}): ${foreign.slice(0, 5).join('; ')}`)
        if (dialogs.length > 0 || complaints.length > 0) throw new Error(`${path}: ${[...dialogs, ...complaints].join('; ')}`)
        const text = (await page.evaluate('document.documentElement.outerHTML')) as string
        // What the templates of others would have made of it.
        if (/>\s*49\s*</.test(text) && text.includes('7*7') === false) throw new Error(`${path}: a template ran`)
        if (text.includes('onerror')) withWords += 1
        const links = (await page.evaluate(`[...document.querySelectorAll('a[href]')].map((link) => link.href)`)) as readonly string[]
        for (const link of links) {
          const url = new URL(link)
          if (url.origin === origin && url.pathname.startsWith('/console') && !seen.has(`${url.pathname}${url.search}`))
            waiting.push(`${url.pathname}${url.search}`)
        }
      }
      await page.context().close()
      expect(withWords).toBeGreaterThan(10)
      return `${seen.size} pages, ${withWords} of them with such words`
    },
  )

  attack('A214b', 'XSS', 'every parameter of every page, and every field of every form, as a stranger’s link would have them', async () => {
    let asked = 0
    const mustBeText = (where: string, body: string) => {
      asked += 1
      if (/<img src=x|<script>|<svg\/|"'>/.test(body))
        throw new Error(`${where}: ${/.{0,200}(?:<img src=x|<script>|<svg\/|"'>).{0,100}/s.exec(body)?.[0]}`)
    }
    const form_token = await alice.formToken()
    for (const route of await listConsoleRoutes()) {
      if (/live$|follow$|export$|files$/.test(route.pattern)) continue
      const fields = new URLSearchParams(parameterNames.map((name) => [name, long]))
      if (route.method === 'GET') {
        for (const path of [pathOf(route), pathOf(route, encodeURIComponent(`${image}<svg/onload=1>`))]) {
          const { body, status } = await alice.open(`${path}?${fields}`)
          if (status >= 500) throw new Error(`${path}: ${status}`)
          mustBeText(path, body)
        }
        for (const name of parameterNames)
          mustBeText(`${route.pattern} ${name}`, (await alice.open(`${pathOf(route)}?${new URLSearchParams({ [name]: long })}`)).body)
      } else {
        for (const more of [
          'reason',
          'comment',
          'text',
          'yaml',
          'id',
          'owner',
          'tags',
          'who',
          'scope',
          'lifetime_seconds',
          'upstream',
          'intent',
          'on',
          'verb',
          'serial',
        ])
          fields.set(more, long)
        fields.set('form_token', form_token)
        const answer = await alice.post(pathOf(route), fields.toString())
        if (answer.status >= 500) throw new Error(`${route.pattern}: ${answer.status}`)
        mustBeText(`POST ${route.pattern}`, answer.body)
        if (answer.status === 303)
          mustBeText(`after ${route.pattern}`, (await alice.client.send(answer.header('location') ?? alice.at('/console'))).body)
      }
    }
    return `${asked} pages`
  })

  attack('A214c', 'XSS', 'where a form or a sign-in leads back to, and what a downloaded file is called', async () => {
    const form_token = await alice.formToken()
    const pages = [
      'https://evil.example/',
      '//evil.example',
      '/\\evil.example',
      'javascript:alert(1)',
      '/console/../..//evil.example',
      '/console\r\nSet-Cookie: x=1',
      '/console@evil.example',
      `${rig.origin('app')}/`,
    ]
    for (const form_page of pages) {
      const { body, header, status } = await alice.post('/console/tokens/new', { form_token, form_page, name: '' })
      expect(status).toBeLessThan(500)
      expect(`${header('location') ?? ''}${header('set-cookie') ?? ''}`).not.toMatch(/evil|x=1/)
      expect(body).not.toMatch(/(?:href|action)="(?:[^"/#?]|\/\/|\/\\)[^"]*evil/)
      const stale = await new Client().send(
        alice.at(`/console/tokens?x=${encodeURIComponent(form_page)}&return_to=${encodeURIComponent(form_page)}`),
      )
      expect(new URL(stale.header('location') ?? '').origin).toBe(rig.origin('access'))
    }
    const files = ['/console/policy/files', '/console/policy/revisions/1/files', '/console/trail/export', '/console/review/export']
    const odd = `?file=${encodeURIComponent(`x"\r\nSet-Cookie: x=1;${bidi}.html`)}&format=${encodeURIComponent('csv"\r\n')}&run=x`
    const said: string[] = []
    for (const path of files) {
      for (const query of ['', odd]) {
        const answer = await alice.open(`${path}${query}`)
        const disposition = answer.header('content-disposition')
        if (answer.status === 200 && disposition !== undefined) {
          expect(disposition).toMatch(/^attachment; filename="[\w.-]+"; filename\*=UTF-8''[\w.%~!-]+$/)
          expect(answer.header('content-type')).not.toMatch(/html|xml|svg/)
        }
        said.push(`${answer.status}`)
      }
    }
    noteSecret(form_token, 'a token of a form')
    return `no way out; downloads ${said.join(' ')}`
  })
})
