/** Canonical targets: the tables of attack cases A39–A62, A73–A82, A105 and A253, and what must hold of any input. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAuthority, parsePath, readTarget } from './target.ts'

function read(url: string, hosts: readonly string[] = ['app.corp.example'], method = 'GET') {
  return readTarget({ method, url, rawHeaders: ['Accept', '*/*', ...hosts.flatMap((host) => ['HoSt', host])] })
}

function pathOf(url: string): string | undefined {
  const target = read(url)
  return 'problem' in target ? undefined : target.path
}

describe('a path', () => {
  test.each([
    ['/', '/'],
    ['/a/b/', '/a/b/'],
    ['/a.b/.hidden/..a/a..', '/a.b/.hidden/..a/a..'],
    ['/...', '/...'],
    ["/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"],
    ['/%61dmin', '/admin'],
    ['/%7euser/%2D%5f%2E%31', '/~user/-_.1'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/a%20b%3f%23', '/a%20b%3F%23'],
    ['/%252e%252e/x', '/%252e%252e/x'],
    ['/%2561dmin', '/%2561dmin'],
    ['/{a}|"<b>^`[c]', '/%7Ba%7D|%22%3Cb%3E%5E%60[c]'],
    ['/admin/secret%20', '/admin/secret%20'],
    ['/%EF%BD%81dmin', '/%EF%BD%81dmin'],
  ])('%s is canonical as %s', (raw, canonical) => {
    expect(pathOf(raw)).toBe(canonical)
  })

  test.each([
    ...['/./admin', '/admin/./x', '/x/../admin', '/public/../admin', '/..', '/.', '/a/..', '/a/.'],
    ...['/public/%2e%2e/admin', '/public/%2E%2E/admin', '/public/.%2e/admin', '/public/%2e./admin', '/%2e/admin'],
    ...['/public/..%2fadmin', '/public%2f..%2fadmin', '/public/%2e%2e%2Fadmin', '/public/..%2f..%2f', '/a%2f.'],
    ...['/public/..;/admin', '/public/..;x=1/admin', '/public/.;/admin', '/public/..%3b/admin', '/public/%2e%2e%3B/admin'],
    ...['/public/..%5cadmin%5csecret', '/public\\..\\admin', '/\\admin', '/a%5Cb'],
    ...['/%c0%ae%c0%ae/admin', '/%e0%80%ae', '/%ed%a0%80', '/%ff', '/%c3', '/%80', '/%f4%90%80%80', '/%E0%A4%A'],
    ...['/%u0061dmin', '/%', '/%zz', '/%2', '/a%', '/%%34%31'],
    ...['/admin%00/secret', '/admin/secret%00.png', '/admin/secret%0a', '/ok%0d%0aX:%20y', '/%09/x', '/%7f', '/%c2%85'],
    ...['/a#b', '/a b', '/a\u0000b', '/a\tb', '/caf\u00e9', '/\u010d', '/a?b#c', '/a?b c', '/a?\u00e9', '/a?b\u0007'],
  ])('%j is refused', (raw) => {
    expect(read(raw)).toEqual({ problem: 'target_malformed' })
  })

  test.each([
    ['/a%2fb', '/a%2Fb', ['encoded_slash']],
    ['/a;v=1/b', '/a;v=1/b', ['semicolon']],
    ['/a%3bv', '/a%3Bv', ['semicolon']],
    ['//admin/secret', '//admin/secret', ['double_slash']],
    ['/admin/secret//', '/admin/secret//', ['double_slash']],
    ['//x@x', '//x@x', ['double_slash']],
  ])('%s says what an app must keep for it to pass', (raw, path, uses) => {
    expect(read(raw)).toMatchObject({ path, uses })
  })

  test('loses its query unchanged, and a query is never part of it', () => {
    expect(read('/public?/../admin/secret')).toMatchObject({ path: '/public', query: '?/../admin/secret' })
    expect(read('/a?b=%2e%2E&c=?d')).toMatchObject({ path: '/a', query: '?b=%2e%2E&c=?d' })
    expect(read('/public%3f/x')).toMatchObject({ path: '/public%3F/x', query: '' })
  })
})

describe('an authority', () => {
  test.each([
    ['App.CORP.example', { hostname: 'app.corp.example', port: undefined }],
    ['app.corp.example.', { hostname: 'app.corp.example', port: undefined }],
    ['app.corp.example.:8443', { hostname: 'app.corp.example', port: 8443 }],
    ['app.corp.example:65535', { hostname: 'app.corp.example', port: 65535 }],
    ['127.0.0.1:8443', { hostname: '127.0.0.1', port: 8443 }],
    ['[::1]:80', { hostname: '[::1]', port: 80 }],
    ['[2001:DB8::1]', { hostname: '[2001:db8::1]', port: undefined }],
    ['xn--pp-fka.corp.example', { hostname: 'xn--pp-fka.corp.example', port: undefined }],
    ['app_x.corp.example', { hostname: 'app_x.corp.example', port: undefined }],
  ])('%s is understood', (text, authority) => {
    expect(parseAuthority(text)).toEqual(authority)
  })

  test.each([
    ...['', '.', 'a..b', 'app.corp.example..', '-a.example', 'a-.example', '.a', 'a b', ' app', 'app ', 'a\tb'],
    ...['app/x', 'u@app', 'app,wiki', 'app:abc', 'app:99999', 'app:0', 'app:', 'app:080', 'app:+80', 'app:80:80', ':80'],
    ...['[::1', '::1', '[::1]x', '[]', '[g::1]', 'app%2eevil', '\u00e4pp.corp.example', 'app\\x', 'app?x', 'app#x', 'a"b'],
    ...['\u212a.example', `${'a'.repeat(64)}.example`, `${'a.'.repeat(130)}a`, 'app\u0000'],
  ])('%j is refused', (text) => {
    expect(parseAuthority(text)).toBeUndefined()
  })
})

describe('a request', () => {
  test('without Host has no target', () => {
    expect(read('/', [])).toEqual({ problem: 'host_missing' })
  })
  test('with two Hosts has none, also if they agree', () => {
    expect(read('/', ['app.corp.example', 'app.corp.example'])).toEqual({ problem: 'host_duplicate' })
  })
  test('with a Host that is no authority has none', () => {
    expect(read('/', ['app,wiki'])).toEqual({ problem: 'authority_malformed' })
  })

  test.each([
    ['http://app.corp.example/admin', '/admin', ''],
    ['HTTP://APP.corp.example:80/admin?x', '/admin', '?x'],
    ['https://app.corp.example', '/', ''],
    ['https://app.corp.example?x', '/', '?x'],
  ])('in absolute form is read where it names the authority of Host: %s', (url, path, query) => {
    expect(read(url)).toMatchObject({ hostname: 'app.corp.example', path, query })
  })
  test.each(['http://wiki.corp.example/', 'http://app.corp.example:81/', 'https://app.corp.example:80/'])(
    'in absolute form with another authority has no target: %s',
    (url) => {
      expect(read(url)).toEqual({ problem: 'authority_contradicted' })
    },
  )
  test.each([
    ...['http://u@app.corp.example/', 'http:///x', 'ftp://app.corp.example/', 'admin/secret', '@evil.example/', ':80/admin', ''],
    ...['http://app.corp.example\\x', 'http://app.corp.example/../x', 'javascript:alert(1)', '*/admin', '*'],
  ])('in any other form has none: %j', (url) => {
    expect(read(url)).toEqual({ problem: 'target_malformed' })
  })
  test.each([
    ['TRACE', '/'],
    ['CONNECT', 'app.corp.example:443'],
    ['OPTIONS', '*'],
  ])('with %s %s is refused for its method', (method, url) => {
    expect(read(url, undefined, method)).toEqual({ problem: 'method_refused' })
  })
})

describe('whatever arrives', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '/',
      '//',
      '.',
      '..',
      ';',
      '%2f',
      '%2F',
      '%2e',
      '%5c',
      '%00',
      '%c3%a9',
      '%25',
      '%41',
      '%7E',
      'a',
      'B',
      '?',
      '#',
      '{',
      '|',
      '"',
    ),
    fc.string({ maxLength: 3 }),
    fc.nat(255).map((byte) => `%${byte.toString(16).padStart(2, '0')}`),
  )
  const raw = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)

  test('canonicalising twice changes nothing', () => {
    fc.assert(
      fc.property(raw, (text) => {
        const once = parsePath(text)
        if (once !== undefined) expect(parsePath(once.path)).toEqual(once)
      }),
      { numRuns: 3000 },
    )
  })

  test('a path that passes is the path that a browser would ask for', () => {
    fc.assert(
      fc.property(raw, (text) => {
        const parsed = parsePath(text)
        if (parsed !== undefined) expect(new URL(`https://app.corp.example${parsed.path}`).pathname).toBe(parsed.path)
      }),
      { numRuns: 3000 },
    )
  })

  test('no path that passes climbs, in whatever layer it is decoded once', () => {
    fc.assert(
      fc.property(raw, (text) => {
        const parsed = parsePath(text)
        if (parsed === undefined) return
        const names = decodeURIComponent(parsed.path)
          .split(/[/\\]/)
          .map((segment) => segment.split(';')[0])
        expect(names).not.toContain('..')
        expect(names).not.toContain('.')
      }),
      { numRuns: 3000 },
    )
  })

  test('it has a target or a problem, and nothing is thrown', () => {
    const header = fc.oneof(fc.constant('app.corp.example'), fc.string(), fc.webAuthority())
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(header, { maxLength: 2 }),
        fc.constantFrom('GET', 'OPTIONS', 'TRACE', 'x'),
        (url, hosts, method) => {
          const target = read(url, hosts, method)
          expect('problem' in target || target.path.startsWith('/')).toBe(true)
        },
      ),
      { numRuns: 3000 },
    )
  })

  test('takes time in proportion to its length', () => {
    // The best of three: what else this machine does meanwhile is not what is measured.
    const best = (parse: () => unknown) =>
      Math.min(
        ...Array.from({ length: 3 }, () => {
          const started = performance.now()
          parse()
          return performance.now() - started
        }),
      )
    for (const text of [`${'/a'.repeat(50_000)}%`, `/${'a'.repeat(100_000)}\\`, `/${'%2e'.repeat(30_000)}`, '/'.repeat(100_000)])
      expect(best(() => parsePath(text))).toBeLessThan(500)
    expect(best(() => parseAuthority(`${'a-'.repeat(120)}!`))).toBeLessThan(50)
  })
})
