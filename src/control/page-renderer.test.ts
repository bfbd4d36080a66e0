/**
 * The pages as text: nothing that anybody wrote becomes markup, nothing is inline, links are safe, asset names follow content.
 * How they look and behave in a browser is seen by `e2e/pages.e2e.ts`.
 */

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest'
import { samplePages } from '../../e2e/support/sample-pages.ts'
import type { EnforcementPorts } from '../enforcement/ports.ts'
import { reasons } from '../policy/decision.ts'
import { messages } from './messages.ts'
import { createPageRenderer } from './page-renderer.ts'
import type { MySessionsView, PageRenderer, RefusalView } from './pages.ts'
import { remedies } from './remedies.ts'

const viewsFolder = join(import.meta.dirname, '../../views')
const scratch = mkdtempSync(join(tmpdir(), 'postern-pages-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const brand = { name: 'Postern', logoFile: undefined, support: 'helpdesk@corp.example' }
const renderer = createPageRenderer({ viewsFolder, brand, isDemo: false })

const refusal: RefusalView = {
  status: 403,
  reason: 'no_rule_matched',
  requestId: 'r1',
  at: 1_800_000_000_000,
  app: { name: 'Payroll', url: 'https://payroll.corp.example/', owner: 'owner@corp.example', help: undefined },
  person: 'alice@corp.example',
  unmet: [],
  retryPath: '/runs',
  signInUrl: 'https://access.corp.example/sign-in',
  signOutUrl: '/.postern/sign-out',
  portalUrl: 'https://access.corp.example/',
}

/** Every page, with `text` in each field that takes text or an address. */
function pagesWith(text: string): [string, string][] {
  const hostile = createPageRenderer({ viewsFolder, brand: { name: text, logoFile: undefined, support: text }, isDemo: true })
  const common = { requestId: text, portalUrl: text, person: text }
  const card = {
    id: text,
    name: text,
    description: text,
    url: 'https://a.example/',
    logo: text,
    sensitivity: undefined,
    access: 'ask',
  } as const
  const person = { name: text, email: text }
  const refused: RefusalView = {
    ...common,
    status: 403,
    reason: 'no_rule_matched',
    at: 1_800_000_000_000,
    app: { name: text, url: text, owner: text, help: text },
    unmet: (Object.keys(remedies) as (keyof typeof remedies)[]).map((remedy) => ({ condition: 'subject', outcome: 'false', remedy })),
    retryPath: text,
    signInUrl: text,
    signOutUrl: text,
  }
  const named = { reference: text, browser: text, system: text, device: text, address: text, country: text }
  const sessions: MySessionsView = {
    ...{ person, at: 0, ended: 'others', formToken: text, signOutUrl: text, portalUrl: text },
    sessions: [
      { ...named, startedAt: 0, lastUsedAt: 0, isCurrent: true },
      { ...named, startedAt: 0, lastUsedAt: 0, isCurrent: false },
    ],
  }
  return [
    ['portal', hostile.renderPortal({ person, apps: [card, { ...card, url: text }], query: text, signOutUrl: text })],
    ['empty portal', hostile.renderPortal({ person, apps: [], query: text, signOutUrl: text })],
    ['sessions', hostile.renderMySessions(sessions)],
    ['sign out', hostile.renderSignOut({ person: text, appName: text, portalUrl: text, formActionOrigins: [text] })],
    ['signed out', hostile.renderSignedOut({ signInUrl: text, providerTold: 'unknown' })],
    ['not found', hostile.renderNotFound(common)],
    ['unavailable', hostile.renderUnavailable({ ...common, reason: 'provider_unavailable', retryPath: text })],
    ['sign-in error', hostile.renderSignInError({ ...common, reason: 'provider_refused', providerError: text, startAgainUrl: text })],
    ['error', hostile.renderError({ ...common, reason: 'internal_error' })],
    ['refusal', hostile.refusalPage(refused).body],
    ['upstream', hostile.refusalPage({ ...refused, reason: 'upstream_timeout' }).body],
    ['frame', hostile.refusalPage({ ...refused, status: 401, reason: 'login_required' }).body],
  ]
}

/** Tags of a page with their attributes, quoted values left out. */
const tagsOf = (html: string): string[] => (html.match(/<[a-z][^>]*>/gi) ?? []).map((tag) => tag.replace(/"[^"]*"/g, '""'))

describe('escaping', () => {
  const harmless = new Map(pagesWith('x'))

  it.each([
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    '</title></textarea></style><svg/onload=alert(1)>',
    '<%= process.env %><%~ "<b>" %>',
  ])('adds no tag and no attribute for %s', (text) => {
    for (const [name, html] of pagesWith(text)) {
      const allowed = new Set(tagsOf(harmless.get(name) ?? ''))
      const added = tagsOf(html).filter((tag) => !allowed.has(tag))
      expect(added, name).toEqual([])
      expect(html, name).not.toContain(text)
    }
  })

  it('prints template syntax of others as it is', () => {
    for (const [name, html] of pagesWith('{{7*191}}<%= 7*191 %>')) {
      expect(html, name).not.toContain('1337')
    }
    expect(new Map(pagesWith('{{7*7}}')).get('refusal')).toContain('{{7*7}}')
  })

  it('lets no address become a script, another scheme or another host', () => {
    for (const text of [
      'javascript:alert(1)',
      ' JaVaScRiPt:alert(1)',
      'data:text/html,x',
      'vbscript:x',
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
    ]) {
      for (const [name, html] of pagesWith(text)) {
        const links = [...html.matchAll(/(?:href|src|action|data-watch)="([^"]*)"/g)].map((match) => match[1] ?? '')
        for (const link of links)
          expect(link, `${name}: ${text}`).toMatch(/^(?:https:\/\/a\.example\/|\/sessions$|\/\.postern\/|\/$|#main$)/)
      }
    }
  })

  it('replaces control characters and lone surrogates', () => {
    for (const [name, html] of pagesWith('a\u0000b\u001b[2Jc\ud800d')) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      expect(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(html), name).toBe(false)
      expect(html.isWellFormed(), name).toBe(true)
    }
  })

  it('begins a letter that cannot be turned into another one', () => {
    const help = 'a@b.example?bcc=evil@evil.example&body=x'
    const { body } = renderer.refusalPage({
      ...refusal,
      app: { name: 'A\r\nBcc: x&cc=y', url: 'https://a.example', owner: 'o@b.example', help },
    })
    const letters = [...body.matchAll(/href="(mailto:[^"]*)"/g)].map((match) => new URL((match[1] ?? '').replaceAll('&amp;', '&')))
    expect(letters.length).toBeGreaterThan(0)
    for (const letter of letters) {
      expect(['o@b.example', 'helpdesk@corp.example']).toContain(letter.pathname)
      expect([...letter.searchParams.keys()]).toEqual(['subject', 'body'])
    }
  })
})

describe('every page', () => {
  const pages = [...samplePages(renderer)]

  it.each(pages)('%s has nothing inline, nothing from elsewhere, one heading and a language', (_name, page) => {
    expect(page.body).not.toMatch(/<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=")|javascript:/i)
    for (const [, address] of page.body.matchAll(/(?:src|<link[^>]*href)="([^"]*)"/g))
      expect(address).toMatch(/^\/\.postern\/(?:assets\/|renew\.js$)/)
    expect(page.body.match(/<h1[\s>]/g)).toHaveLength(1)
    expect(page.body).toMatch(/^<!doctype html>\n<html lang="en">/)
    expect(page.body).not.toMatch(/undefined|\[object|NaN|\{app\}/)
  })

  it.each(pages)('%s names only assets that exist', (_name, page) => {
    const names = [...page.body.matchAll(/\/\.postern\/assets\/([^"]+)"/g)].map((match) => match[1] ?? '')
    expect(names.length).toBeGreaterThan(1)
    for (const name of names) expect(renderer.findAsset(name), name).toBeDefined()
  })

  it('wears the banner only as a demo', () => {
    const demo = createPageRenderer({ viewsFolder, brand, isDemo: true })
    expect(renderer.renderNotFound({ requestId: 'r', portalUrl: '/', person: undefined })).not.toContain('This is a demo')
    expect(demo.renderNotFound({ requestId: 'r', portalUrl: '/', person: undefined })).toContain('This is a demo')
  })
})

describe('headers', () => {
  const strict =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

  it('are strict on a refusal', () => {
    const page = renderer.refusalPage(refusal)
    expect(page.status).toBe(403)
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': strict,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
    })
  })

  it('name where a sign-out leads, and nothing that is no origin', () => {
    const formActionOrigins = [
      'https://id.example/path?x',
      "https://a.example; script-src 'unsafe-inline'",
      'javascript:x',
      '*',
      'https://id.example',
    ]
    const page = renderer.signOutPage({ person: undefined, appName: 'Wiki', portalUrl: '/', formActionOrigins })
    expect(page.headers['content-security-policy']).toBe(strict.replace("form-action 'self'", "form-action 'self' https://id.example"))
  })

  it('let only the own origin frame the page for a frame, which holds one link out of it and no script', () => {
    const page = renderer.refusalPage({ ...refusal, status: 401, reason: 'login_required' })
    expect(page.headers['content-security-policy']).toBe(strict.replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
    expect(page.headers['x-frame-options']).toBe('SAMEORIGIN')
    expect(page.body.match(/<a [^>]*>/g)).toEqual([`<a class="button" target="_top" href="${refusal.signInUrl}">`])
    expect(page.body).not.toMatch(/<script|<form/)
  })
})

describe('words', () => {
  it('exist for every reason, and fit the page that is made of them', () => {
    for (const reason of Object.keys(reasons) as (keyof typeof reasons)[]) {
      const { body } = renderer.refusalPage({ ...refusal, reason })
      expect(body, reason).toContain(messages[reason].title.replaceAll('{app}', 'Payroll').slice(0, 20))
      expect(body, reason).toContain('r1')
    }
  })

  it('begin with a capital where the app may not be named', () => {
    const { body } = renderer.refusalPage({ ...refusal, reason: 'upstream_unreachable', app: undefined })
    expect(body).toContain('<h1>This app can’t be reached</h1>')
  })

  it('take their heading from the one thing in the way', () => {
    const { body } = renderer.refusalPage({ ...refusal, unmet: [{ condition: 'methods', outcome: 'false', remedy: 'read_only' }] })
    expect(body).toContain('<h1>You can read Payroll, but not change it</h1>')
  })

  describe('where the account is not what is in the way', () => {
    const disk = { condition: 'device', outcome: 'false', remedy: 'disk_not_encrypted' } as const
    const proof = { condition: 'device', outcome: 'false', remedy: 'device_not_proven' } as const
    const access = { condition: 'subject', outcome: 'false', remedy: 'ask_for_access' } as const
    const pageWith = (...unmet: RefusalView['unmet']) => renderer.refusalPage({ ...refusal, unmet }).body

    it('say so, and do not send anybody to ask for access or for another account', () => {
      const body = pageWith(disk, proof)
      expect(body).toContain('<h1>You can’t open Payroll right now</h1>')
      expect(body).toContain('Your account may open Payroll, but a few things are in the way.')
      expect(body).toContain('>Ask about this</a>')
      expect(body).not.toMatch(/Ask for access|Use another account/)
      expect(pageWith(access, disk)).toMatch(/You don’t have access to Payroll.*nothing gives this account access.*>Ask for access<\/a>/s)
    })

    it('promise of a deny only that it is one of now', () => {
      const { body } = renderer.refusalPage({
        ...refusal,
        reason: 'denied_by_rule',
        unmet: [{ ...disk, condition: 'network', remedy: 'other_country' }],
      })
      expect(body).toContain('As things are now, a rule of your organisation keeps you out.')
      expect(body).not.toContain('Your account may open')
    })

    it('look by themselves only where everything may be mended meanwhile, for the very page that was asked for', () => {
      const { body } = renderer.refusalPage({ ...refusal, unmet: [disk], retryPath: '/runs?month=11&x=1' })
      expect(body).toContain('data-watch="/runs?month=11&amp;x=1" data-watch-for="allowed" data-watch-remedies="disk_not_encrypted"')
      expect(pageWith(disk, proof)).not.toContain('data-watch=')
      expect(pageWith(disk, access)).not.toContain('data-watch=')
    })

    it('say once that a device has to report, however much has to be mended on it', () => {
      const report = 'counts from its next report'
      expect(pageWith(disk, { ...disk, remedy: 'firewall_off' }).split(report)).toHaveLength(2)
      expect(pageWith(proof)).not.toContain(report)
    })
  })

  it('lead from another device to a sign-in on this one', () => {
    const changed = renderer.refusalPage({
      ...refusal,
      reason: 'device_changed',
      signInUrl: 'https://access.corp.example/sign-in?return_to=x',
    })
    expect(changed.body).toContain('href="https://access.corp.example/sign-in?return_to=x">Sign in</a>')
    const atAccess = { reason: 'device_changed', requestId: 'r', portalUrl: '/', person: undefined, signInUrl: '/sign-in' } as const
    expect(renderer.renderError(atAccess)).toContain('href="/sign-in">Sign in</a>')
  })

  it('offer the owner of the app, and support where it names none', () => {
    const named = renderer.refusalPage(refusal).body
    expect(named).toMatch(/<a class="button" href="mailto:owner@corp\.example\?subject=Payroll%3A[^"]*r1/)
    const nameless = renderer.refusalPage({ ...refusal, app: undefined }).body
    expect(nameless).toMatch(/<a class="button" href="mailto:helpdesk@corp\.example\?/)
  })

  it('send nobody round in circles: another account begins with signing out', () => {
    expect(renderer.refusalPage(refusal).body).toContain('href="/.postern/sign-out">Use another account')
    expect(renderer.refusalPage({ ...refusal, person: undefined }).body).not.toContain('Use another account')
  })

  it('say what the provider said only where it is a known word', () => {
    const view = { reason: 'provider_refused', requestId: 'r', startAgainUrl: '/sign-in', portalUrl: '/' } as const
    expect(renderer.renderSignInError({ ...view, providerError: 'access_denied' })).toContain('The sign-in was cancelled')
    expect(renderer.renderSignInError({ ...view, providerError: 'made_up' })).toContain('sent you back without signing you in')
  })
})

describe('portal', () => {
  const app = { description: undefined, logo: undefined, sensitivity: undefined, access: 'open' } as const
  const view = { person: { name: 'Zoë', email: undefined }, query: undefined, signOutUrl: '/.postern/sign-out' }

  it('hides what does not match when searched without script, whatever case and accents', () => {
    const apps = [
      { ...app, id: 'cafe', name: 'Café menu', url: 'https://cafe.example/' },
      { ...app, id: 'wiki', name: 'Wiki', url: 'https://wiki.example/' },
    ]
    const html = renderer.renderPortal({ ...view, apps, query: 'CAFE' })
    expect(html).toMatch(/<li class="card" data-search-text="cafe menu/)
    expect(html).toMatch(/<li class="card" hidden data-search-text="wiki/)
  })

  it('shows a logo only where no other host is asked for it', () => {
    const logos = [
      'https://elsewhere.example/logo.png',
      'data:image/png;base64,AAAA',
      'data:text/html,x',
      '/.postern/assets/0.svg',
      '/logo.png',
    ]
    const html = renderer.renderPortal({
      ...view,
      apps: logos.map((logo) => ({ ...app, id: logo, name: 'A', url: 'https://a.example/', logo })),
    })
    const shown = [...html.matchAll(/<img class="tile" src="([^"]+)"/g)].map((match) => match[1])
    expect(shown).toEqual(['data:image/png;base64,AAAA', '/.postern/assets/0.svg'])
  })

  it('draws monograms that fit their script', () => {
    const names = ['Live board', 'wiki', '🍜 Lunch', 'الموارد البشرية', '人事 部']
    const html = renderer.renderPortal({ ...view, apps: names.map((name) => ({ ...app, id: name, name, url: 'https://a.example/' })) })
    const monograms = [...html.matchAll(/aria-hidden="true">([^<]+)<\/span>/g)].map((match) => match[1])
    expect(new Set(monograms)).toEqual(new Set(['LB', 'W', '🍜', 'ا', '人']))
  })
})

describe('assets', () => {
  it('are named after their content', () => {
    const copy = join(scratch, 'views')
    cpSync(viewsFolder, copy, { recursive: true })
    const before = stylesheetOf(createPageRenderer({ viewsFolder: copy, brand, isDemo: false }))
    expect(before).toBe(stylesheetOf(renderer))
    writeFileSync(join(copy, 'assets/base.css'), 'body { color: red }')
    const changed = createPageRenderer({ viewsFolder: copy, brand, isDemo: false })
    expect(stylesheetOf(changed)).not.toBe(before)
    expect(changed.findAsset(stylesheetOf(changed))?.body.toString()).toMatch(/^body { color: red }/)
  })

  it('are found by their exact name only', () => {
    for (const name of ['', 'postern.css', '../pages.ts', 'constructor', '__proto__']) expect(renderer.findAsset(name)).toBeUndefined()
  })

  it('take pictures by content, not by name', () => {
    const svg = join(scratch, 'logo.png')
    writeFileSync(svg, '<?xml version="1.0"?>\n<!-- drawn by hand --><svg xmlns="http://www.w3.org/2000/svg"/>')
    const url = renderer.logoUrl(svg)
    expect(url).toMatch(/^\/\.postern\/assets\/[0-9a-f]{20}\.svg$/)
    const page = join(scratch, 'logo.svg')
    writeFileSync(page, '<!doctype html><script>alert(1)</script>')
    expect(renderer.logoUrl(page)).toBeUndefined()
    expect(renderer.logoUrl(join(scratch, 'absent.svg'))).toBeUndefined()
  })

  it('show the logo of the brand, and refuse to start without it', () => {
    const logoFile = join(scratch, 'brand.svg')
    writeFileSync(logoFile, '<svg xmlns="http://www.w3.org/2000/svg"/>')
    const branded = createPageRenderer({ viewsFolder, brand: { ...brand, logoFile }, isDemo: false })
    const url = branded.logoUrl(logoFile)
    expect(branded.renderNotFound({ requestId: 'r', portalUrl: '/', person: undefined })).toContain(`<img src="${url}"`)
    expect(() => createPageRenderer({ viewsFolder, brand: { ...brand, logoFile: '/no/such' }, isDemo: false })).toThrow(
      expect.objectContaining({ code: 'configuration_invalid' }),
    )
  })
})

it('prints raw nothing but a template’s own parts', () => {
  const files = readdirSync(viewsFolder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.eta'))
  for (const file of files) {
    const raw = [...readFileSync(join(viewsFolder, file), 'utf8').matchAll(/<%[-_]?\s*~([\s\S]*?)%>/g)].map(
      (match) => match[1]?.trim() ?? '',
    )
    for (const print of raw) expect(print, file).toMatch(/^(?:it\.body|include\('@(?:console\/)?[a-z-]+'(?:, [^()]*)?\))$/)
  }
})

it('fits the ports of the enforcement point', () => {
  expectTypeOf<PageRenderer['refusalPage']>().toExtend<EnforcementPorts['renderRefusal']>()
  expectTypeOf<PageRenderer['signOutPage']>().toExtend<EnforcementPorts['renderSignOut']>()
  expectTypeOf<PageRenderer['findAsset']>().toExtend<EnforcementPorts['findAsset']>()
  expectTypeOf<RefusalView>().toEqualTypeOf<Parameters<EnforcementPorts['renderRefusal']>[0]>()
})

function stylesheetOf(from: PageRenderer): string {
  return /assets\/([0-9a-f]+\.css)/.exec(from.renderNotFound({ requestId: 'r', portalUrl: '/', person: undefined }))?.[1] ?? ''
}
