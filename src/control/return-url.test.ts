/**
 * Where a sign-in may end. The oracle is the WHATWG parser, as in a browser: whatever comes out is on an origin of ours, or nothing does.
 */

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { accessUrl, appOf, payrollUrl, wikiUrl } from './control-plane.fixture.ts'
import { findAppOf, parseReturnUrl } from './return-url.ts'

const apps = [appOf('wiki', wikiUrl, []), appOf('payroll', payrollUrl, []), appOf('tool', 'https://tools.corp.example:8443/tool', [])].map(
  (app) => ({ app }),
)
const ours = new Set(apps.map(({ app }) => app.address.origin))
const parse = (text: string | undefined) => parseReturnUrl(text, apps)

describe('a return address', () => {
  it.each([
    [wikiUrl, `${wikiUrl}/`],
    [`${wikiUrl}/a/b?c=d&e=//evil.test`, `${wikiUrl}/a/b?c=d&e=//evil.test`],
    [`${wikiUrl}/a#fragment`, `${wikiUrl}/a`],
    [`${wikiUrl}:443/a`, `${wikiUrl}/a`],
    ['HTTPS://WIKI.corp.EXAMPLE/A', `${wikiUrl}/A`],
    [`${wikiUrl}/a/../b`, `${wikiUrl}/b`],
    [`${wikiUrl}/ä?ö`, `${wikiUrl}/%C3%A4?%C3%B6`],
    [`${wikiUrl}/%0d%0aSet-Cookie:%20x`, `${wikiUrl}/%0d%0aSet-Cookie:%20x`],
    [`${wikiUrl}/.posternish`, `${wikiUrl}/.posternish`],
    ['https://tools.corp.example:8443/tool/x', 'https://tools.corp.example:8443/tool/x'],
  ])('%s is %s', (text, expected) => {
    expect(parse(text)).toBe(expected)
  })

  it.each([
    ['nothing', undefined],
    ['the empty text', ''],
    ['a path', '/'],
    ['a path that leaves', '//evil.test/x'],
    ['a backslash path', '/\\evil.test/x'],
    ['an encoded backslash path', '/%5cevil.test/x'],
    ['two backslashes', '\\\\evil.test'],
    ['a backslash after the scheme', 'https:\\\\wiki.corp.example\\x'],
    ['a backslash in the path', `${wikiUrl}/\\evil.test`],
    ['a tab within', 'https://wiki.corp.example\t.evil.test/'],
    ['a leading space', ` ${wikiUrl}/`],
    ['a trailing newline', `${wikiUrl}/\n`],
    ['a NUL', `${wikiUrl}/\u0000`],
    ['a soft hyphen in the host', 'https://wiki.corp.exam\u00adple/'],
    ['a zero-width space', 'https://wiki.corp\u200b.example/'],
    ['half a character', `${wikiUrl}/\ud800`],
    ['one slash', 'https:/wiki.corp.example/'],
    ['no slash', 'https:wiki.corp.example/'],
    ['three slashes', 'https:///wiki.corp.example/'],
    ['another scheme', 'javascript:alert(1)//https://wiki.corp.example/'],
    ['plain HTTP', 'http://wiki.corp.example/'],
    ['another port', `${wikiUrl}:444/`],
    ['no port where the app has one', 'https://tools.corp.example/tool'],
    ['a port as user information', `${wikiUrl}:99@evil.test/`],
    ['a user', 'https://alice@wiki.corp.example/'],
    ['a user and a password', 'https://a:b@wiki.corp.example/'],
    ['a longer name', 'https://wiki.corp.example.evil.test/'],
    ['a name with a prefix', 'https://evilwiki.corp.example/'],
    ['a sub domain', 'https://x.wiki.corp.example/'],
    ['the parent domain', 'https://corp.example/'],
    ['a trailing dot', 'https://wiki.corp.example./'],
    ['an ideographic full stop', 'https://wiki。corp。example.evil.test/'],
    ['the access host', `${accessUrl.origin}/`],
    ['our own callback', `${wikiUrl}/.postern/callback?code=x`],
    ['our own sign-out', `${wikiUrl}/.postern/sign-out`],
    ['our prefix alone', `${wikiUrl}/.postern`],
    ['our prefix, encoded', `${wikiUrl}/%2Epostern/callback`],
    ['our prefix, wholly encoded', `${wikiUrl}/%2e%70%6f%73%74%65%72%6e/callback`],
    ['our prefix in capitals', `${wikiUrl}/.POSTERN/callback`],
    ['our prefix behind dots', `${wikiUrl}/x/../.postern/callback`],
    ['our prefix behind a slash more', `${wikiUrl}//.postern/callback`],
    ['too long an address', `${wikiUrl}/${'x'.repeat(2048)}`],
    ['an address that grows too long', `${wikiUrl}/${'ä'.repeat(1000)}`],
  ])('is none: %s', (_name, text) => {
    expect(parse(text)).toBeUndefined()
  })

  it.each(['/%09/evil.test', '/%0a/evil.test', '/%20/evil.test', '/%E3%80%B1evil.test', '%EF%BC%8F%EF%BC%8Fevil.test'])(
    'decoded from %s is none',
    (text) => {
      expect(parse(decodeURIComponent(text))).toBeUndefined()
      expect(parse(text)).toBeUndefined()
    },
  )

  it('never leaves our origins, whatever is appended to, or put into, a good one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.nat(60), (noise, at) => {
        const good = `${wikiUrl}/path?x=1`
        for (const text of [noise, good + noise, good.slice(0, at) + noise + good.slice(at), noise + good]) {
          const parsed = parse(text)
          if (parsed === undefined) continue
          expect(ours.has(new URL(parsed).origin)).toBe(true)
          expect(parse(parsed)).toBe(parsed)
        }
      }),
      { numRuns: 2000 },
    )
  })

  const file = process.env['POSTERN_TEST_REDIRECT_PAYLOADS']
  it.skipIf(file === undefined)('stays on our origins for every payload of the list that POSTERN_TEST_REDIRECT_PAYLOADS names', () => {
    const payloads = readFileSync(file ?? '', 'utf8')
      .split('\n')
      .filter(Boolean)
    expect(payloads.length).toBeGreaterThan(500)
    for (const payload of payloads) {
      for (const text of [payload, safeDecode(payload), `${wikiUrl}${payload}`, `${wikiUrl}/${payload}`]) {
        const parsed = parse(text)
        if (parsed !== undefined) expect(ours.has(new URL(parsed, accessUrl).origin), text).toBe(true)
      }
    }
  })
})

describe('the app of an address', () => {
  const shared = ['/', '/tools', '/tools/wiki'].map((path) => ({ app: appOf(path, `https://apps.corp.example${path}`, []) }))
  it.each([
    ['/x', '/'],
    ['/tools', '/tools'],
    ['/toolshed', '/'],
    ['/tools/wiki/a', '/tools/wiki'],
    ['/tools/wiki-admin', '/tools'],
  ])('%s is the one with prefix %s', (path, prefix) => {
    expect(findAppOf(`https://apps.corp.example${path}`, shared)?.app.address.prefix).toBe(prefix)
  })
})

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
