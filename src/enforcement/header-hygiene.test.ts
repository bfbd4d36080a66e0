/**
 * Which header lines cross, judged by what a raw upstream received and what a raw client got.
 */

import { afterEach, describe, expect, test } from 'vitest'
import type { App } from '../policy/document.ts'
import type { HeaderLine } from './exchange.ts'
import { appFor, connectRaw, type RigOptions, startRawUpstream, startRig } from './forwarding.fixture.ts'
import { createLocationRewriter, upstreamTarget } from './upstream-locations.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const identity: readonly HeaderLine[] = [
  ['X-Forwarded-User', 'bob'],
  ['X-Forwarded-Email', 'bob@corp.example'],
  ['X-Forwarded-Groups', 'finance,staff'],
  ['X-Postern-Assertion', 'our.own.jwt'],
]

/** What the upstream receives for these lines, lower-case names. */
async function receivedFor(
  lines: readonly string[],
  changes: Partial<App> = {},
  options: RigOptions = { identity },
): Promise<[string, string][]> {
  const upstream = await startRawUpstream((connection) => connection.send('HTTP/1.1 204 No Content\r\n\r\n'))
  const rig = await startRig(appFor([upstream.origin], changes), options)
  closers.push(upstream.close, rig.close)
  const client = await connectRaw(rig.port)
  closers.push(() => client.socket.destroy())
  client.send(`GET /page HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join('')}Host: wiki.corp.example\r\n\r\n`)
  await client.until((text) => text.includes('\r\n\r\n'))
  expect(client.received()).toMatch(/^HTTP\/1\.1 204 /)
  const [head = ''] = upstream.received().split('\r\n\r\n')
  return head
    .split('\r\n')
    .slice(1)
    .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])
}

/** What the client receives when the upstream answers with these lines. */
async function answeredFor(lines: readonly string[], changes: Partial<App> = {}, options: RigOptions = { identity }): Promise<string> {
  const head = ['HTTP/1.1 200 OK', ...lines, 'Content-Length: 0', '', ''].join('\r\n')
  const upstream = await startRawUpstream((connection) => connection.send(head.replaceAll('ORIGIN', upstream.origin)))
  const rig = await startRig(appFor([upstream.origin], changes), options)
  closers.push(upstream.close, rig.close)
  const client = await connectRaw(rig.port)
  closers.push(() => client.socket.destroy())
  client.send('GET /page HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
  return client.until((text) => text.includes('\r\n\r\n'))
}

describe('an identity', () => {
  test.each([
    ['in its own name', ['X-Forwarded-User: root', 'X-Forwarded-Email: root@corp.example', 'X-Forwarded-Groups: admins']],
    ['in another case', ['x-FORWARDED-user: root', 'X-FORWARDED-EMAIL: r', 'x-forwarded-groups: admins']],
    ['with underscores', ['X_Forwarded_User: root', 'X_FORWARDED_USER: root', 'X-Forwarded_User: root', 'x_forwarded-user: root']],
    ['with dots', ['X.Forwarded.User: root', 'X-Forwarded.User: root']],
    ['with other punctuation', ['X!Forwarded~User: root', 'X|Forwarded^User: root', "X'Forwarded`User: root", 'X*Forwarded$User: root']],
    ['twice', ['X-Forwarded-User: root', 'X-Forwarded-User: root2']],
    ['nominated away', ['Connection: close, X-Forwarded-User, X-Forwarded-For, X-Postern-Assertion, X-Request-Id']],
    ['under Remote-User', ['Remote-User: root', 'REMOTE_USER: root', 'X-Remote-User: root']],
    ['as an assertion', ['X-Postern-Assertion: eyJ', 'X_Postern_Assertion: eyJ', 'X-Postern-Anything: eyJ', 'x-postern: eyJ']],
    ['of further kinds', ['X-Forwarded-Preferred-Username: root', 'X-Forwarded-Access-Token: root', 'X-Forwarded-Whatever: root']],
    ['by certificate', ['Client-Cert: :AA=:', 'Client-Cert-Chain: :AA=:', 'X-SSL-Client-Verify: SUCCESS', 'X-Client-Cert-Fingerprint: a']],
    ['by device', ['X-Device-Id: dev-alice', 'X-Device-Posture: managed', 'X-Forwarded-Client-Cert: Hash=root', 'SSL_CLIENT_CERT: root']],
  ])('that a client claims %s never arrives; ours does, once', async (_how, lines) => {
    const received = await receivedFor(lines)
    for (const [name, value] of received) expect([name, value].join(' ')).not.toMatch(/root|admins|eyj|managed|success|dev-alice/i)
    const normal = received.map(([name, value]) => [name.replace(/[^a-z0-9]/g, '-'), value] as const)
    for (const [name, value] of identity) {
      expect(normal.filter(([key]) => key === name.toLowerCase())).toEqual([[name.toLowerCase(), value]])
    }
    expect(normal.filter(([key]) => key === 'x-forwarded-for')).toEqual([['x-forwarded-for', '203.0.113.7']])
    expect(normal.filter(([key]) => key === 'x-request-id')).toEqual([['x-request-id', 'request-1']])
  })

  test('that is nobody leaves no header of that name, whatever the client sends', async () => {
    const received = await receivedFor(
      ['X-Forwarded-User: root', 'X_Forwarded_User: root', 'X-Forwarded-Groups: admins'],
      {},
      { identity: [] },
    )
    expect(received.filter(([name]) => /user|groups/.test(name))).toEqual([])
  })

  test('under the names of the app’s own setting never comes from a client', async () => {
    const setting: App['identity'] = {
      kind: 'headers',
      user: 'auth-user',
      email: undefined,
      preferredUsername: undefined,
      groups: 'auth-groups',
      extra: [{ header: 'department', path: ['department'] }],
      groupsSeparator: ',',
      onlyGroups: undefined,
    }
    const received = await receivedFor(
      ['Auth-User: root', 'AUTH_USER: root', 'auth_groups: root', 'Department: root', 'X-Forwarded-User: root'],
      { identity: setting },
      { identity: [['Auth-User', 'bob']] },
    )
    expect(received.filter(([, value]) => value === 'root')).toEqual([])
    expect(received).toContainEqual(['auth-user', 'bob'])
  })

  test('cannot be set over by a setting of the app', async () => {
    const received = await receivedFor([], {
      setRequestHeaders: [{ name: 'X_Forwarded_User', value: { kind: 'text', text: 'root' } }],
      removeRequestHeaders: ['x-forwarded-user'],
    })
    expect(received.filter(([name]) => name.includes('user'))).toEqual([['x-forwarded-user', 'bob']])
  })
})

describe('towards the upstream', () => {
  test('go the lines of a client unchanged, in order, duplicates included', async () => {
    const received = await receivedFor([
      'Accept: a',
      'X-Custom: 1',
      'Accept: b',
      'x-custom: 2',
      'Authorization: Bearer app',
      'Range: bytes=0-1',
    ])
    expect(received.filter(([name]) => ['accept', 'x-custom', 'authorization', 'range'].includes(name))).toEqual([
      ['accept', 'a'],
      ['x-custom', '1'],
      ['accept', 'b'],
      ['x-custom', '2'],
      ['authorization', 'Bearer app'],
      ['range', 'bytes=0-1'],
    ])
  })

  test('goes nothing that concerns this connection, other proxies’ claims, or another target', async () => {
    const received = await receivedFor([
      'Connection: keep-alive, X-Hop',
      'X-Hop: 1',
      'Keep-Alive: 5',
      'TE: trailers',
      'Trailer: X',
      'Proxy-Authorization: a',
      'Proxy-Connection: a',
      'HTTP2-Settings: AAMAAABk',
      'Upgrade: h2c',
      'Forwarded: for=10.0.0.5',
      'Via: 1.1 x',
      'X-Forwarded-For: 10.0.0.5',
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Prefix: //evil.example',
      'X-Real-IP: 10.0.0.5',
      'True-Client-IP: 10.0.0.5',
      'CF-Connecting-IP: 10.0.0.5',
      'X-Original-URL: /public/x',
      'X-Rewrite-URL: /public/x',
      'X-Original-URI: /public/x',
      'X-HTTP-Method-Override: DELETE',
      'X-HTTP-Method: DELETE',
      'X_Method_Override: DELETE',
      'Postern-Authorization: Bearer x',
      'X-Request-Id: mine',
      'Content_Length: 5',
      'Transfer_Encoding: chunked',
    ])
    expect(new Set(received.map(([name]) => name))).toEqual(
      new Set([
        ...['host', 'connection', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'x-request-id'],
        'traceparent',
        ...['x-forwarded-user', 'x-forwarded-email', 'x-forwarded-groups', 'x-postern-assertion'],
      ]),
    )
    expect(received).toContainEqual(['x-forwarded-proto', 'https'])
    expect(received).toContainEqual(['x-forwarded-host', 'wiki.corp.example'])
    expect(received).toContainEqual(['x-forwarded-port', '443'])
  })

  test('go the app’s cookies and none of ours', async () => {
    const received = await receivedFor(['Cookie: __Host-postern-app=s; theme=dark; a=b', 'Cookie: postern=x', 'Cookie_: postern=y'])
    expect(received.filter(([name]) => name === 'cookie')).toEqual([['cookie', 'theme=dark; a=b']])
  })

  test('go the settings of the app, in place of what the client sends under their names', async () => {
    const received = await receivedFor(['X-Api-Key: forged', 'x_api_key: forged', 'Referer: x', 'X-Team: forged'], {
      setRequestHeaders: [
        { name: 'X-Api-Key', value: { kind: 'secret', id: 'wiki_key' } },
        { name: 'X-Team', value: { kind: 'text', text: 'Zürich' } },
        { name: 'Content-Length', value: { kind: 'text', text: '5' } },
      ],
      removeRequestHeaders: ['Referer', 'X-Forwarded-Port'],
    })
    expect(received.filter(([name]) => name.includes('key'))).toEqual([['x-api-key', 'secret of wiki_key']])
    expect(received).toContainEqual(['x-team', Buffer.from('Zürich').toString('latin1')])
    expect(received.filter(([name]) => ['referer', 'x-forwarded-port', 'content-length'].includes(name))).toEqual([])
  })

  test('goes the public Host, or the upstream’s own', async () => {
    expect(await receivedFor([])).toContainEqual(['host', 'wiki.corp.example'])
    const [, host] = (await receivedFor([], { preserveHost: false })).find(([name]) => name === 'host') ?? []
    expect(host).toMatch(/^127\.0\.0\.1:\d+$/)
    const set = await receivedFor([], { setRequestHeaders: [{ name: 'Host', value: { kind: 'text', text: 'inner.example' } }] })
    expect(set.filter(([name]) => name === 'host')).toEqual([['host', 'inner.example']])
  })

  test('goes a trace that is one, with its state and a parent of ours, and no other', async () => {
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const traceOf = (received: readonly (readonly [string, string])[]) => received.filter(([name]) => name.startsWith('trace'))
    const good = traceOf(await receivedFor([`traceparent: ${parent}`, 'tracestate: a=1']))
    expect(good).toEqual([
      ['traceparent', expect.stringMatching(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)],
      ['tracestate', 'a=1'],
    ])
    expect(good[0]?.[1]).not.toBe(parent)
    const begun = [['traceparent', expect.stringMatching(/^00-(?!0af7651916cd43dd8448eb211c80319c)[0-9a-f]{32}-[0-9a-f]{16}-01$/)]]
    for (const bad of ['x', `${parent}-x`, parent.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32)), `ff${parent.slice(2)}`]) {
      const received = await receivedFor([`traceparent: ${bad}`, 'tracestate: a=1'])
      expect(traceOf(received)).toEqual(begun)
    }
    expect(traceOf(await receivedFor([`traceparent: ${parent}`, `traceparent: ${parent}`]))).toEqual(begun)
  })
})

describe('towards the client', () => {
  test('goes nothing that is ours to say or concerns the other connection', async () => {
    const answer = await answeredFor([
      'X-Postern: rule_matched',
      'X-Postern-Request: forged',
      'X-Postern-Assertion: a',
      'Alt-Svc: h3=":443"',
      'Keep-Alive: timeout=99',
      'Proxy-Authenticate: Basic',
      'Upgrade: h2c',
      'Connection: X-Inner, keep-alive',
      'X-Inner: 1',
      'Set-Cookie: app=1; Path=/',
      'Set-Cookie: __Host-postern-app=stolen; Secure; Path=/',
      'Set-Cookie: other=2',
      'X-Kept: yes',
    ])
    expect(answer).not.toMatch(/x-postern:|forged|assertion|alt-svc|timeout=99|proxy-auth|h2c|x-inner|stolen/i)
    expect(answer.match(/set-cookie: .*/gi)).toEqual(['set-cookie: app=1; Path=/', 'set-cookie: other=2'])
    expect(answer).toMatch(/x-kept: yes\r\n/i)
    expect(answer).toMatch(/x-postern-request: request-1\r\n/i)
  })

  test.each([
    ['"cookies"', undefined],
    ['"*"', undefined],
    ['"cache", "Cookies", "storage"', '"cache", "storage"'],
    ['"cache","*"', '"cache"'],
  ])('Clear-Site-Data %s becomes %s', async (sent, got) => {
    const line = (await answeredFor([`Clear-Site-Data: ${sent}`])).match(/clear-site-data: (.*)\r\n/i)?.[1]
    expect(line).toBe(got)
  })

  test.each([
    ['public, max-age=60', 'private, max-age=60'],
    ['max-age=60, PUBLIC, s-maxage=5', 'private, max-age=60, s-maxage=5'],
    ['no-store', 'no-store'],
    ['max-age=60', 'max-age=60'],
    ['private="set-cookie", max-age=5', 'private="set-cookie", max-age=5'],
  ])('Cache-Control %s of an app that is not public becomes %s', async (sent, got) => {
    expect((await answeredFor([`Cache-Control: ${sent}`])).match(/cache-control: (.*)\r\n/i)?.[1]).toBe(got)
  })

  test('a public page stays public, and the page of somebody on the same app does not', async () => {
    const lines = ['Cache-Control: public, max-age=60']
    expect(await answeredFor(lines, {}, { isPublic: true, identity: [] })).toMatch(/cache-control: public, max-age=60/i)
    expect(await answeredFor(lines, {}, { isPublic: true, identity })).toMatch(/cache-control: private, max-age=60/i)
  })

  test('go the settings of the app in place of its own lines', async () => {
    const answer = await answeredFor(['X-Frame-Options: ALLOWALL', 'x-frame-options: x'], {
      setResponseHeaders: [{ name: 'X-Frame-Options', value: { kind: 'text', text: 'DENY' } }],
    })
    expect(answer.match(/x-frame-options: .*/gi)).toEqual(['X-Frame-Options: DENY'])
  })

  test('goes no address of the upstream itself', async () => {
    const answer = await answeredFor(['Location: ORIGIN/x?a=b#c', 'Content-Location: ORIGIN/y', 'Refresh: 0;url=ORIGIN/z'])
    expect(answer).toMatch(/\nlocation: https:\/\/wiki\.corp\.example\/x\?a=b#c\r\n/i)
    expect(answer).toMatch(/content-location: https:\/\/wiki\.corp\.example\/y\r\n/i)
    expect(answer).toMatch(/refresh: 0;url=https:\/\/wiki\.corp\.example\/z\r\n/i)
    expect(answer).not.toContain('127.0.0.1')
  })
})

describe('addresses', () => {
  const app = appFor([{ origin: 'http://10.0.0.5:8080', basePath: '/base' }], {
    address: { origin: 'https://tools.corp.example', hostname: 'tools.corp.example', port: 443, prefix: '/wiki' },
    stripPrefix: true,
  })
  const [upstream] = app.upstreams
  if (upstream === undefined) throw new TypeError('an app has an upstream')
  const target = (path: string, query = '') =>
    upstreamTarget(app, upstream, { hostname: 'tools.corp.example', port: undefined, path, query })

  test('lose their prefix at a segment boundary only', () => {
    expect(target('/wiki')).toBe('/base/')
    expect(target('/wiki/')).toBe('/base/')
    expect(target('/wiki/a/b', '?q=%2F')).toBe('/base/a/b?q=%2F')
    expect(target('/wikileaks/a')).toBe('/base/wikileaks/a')
  })

  test.each([
    ['http://10.0.0.5:8080/base/x', 'https://tools.corp.example/wiki/x'],
    ['http://10.0.0.5:8080/base', 'https://tools.corp.example/wiki/'],
    ['HTTP://10.0.0.5:8080/base/x', 'https://tools.corp.example/wiki/x'],
    ['//10.0.0.5:8080/base/x', 'https://tools.corp.example/wiki/x'],
    ['/\\10.0.0.5:8080/base/x', 'https://tools.corp.example/wiki/x'],
    ['http://10.0.0.5:8080/elsewhere', 'https://tools.corp.example/wiki/elsewhere'],
    ['http://10.0.0.5:8080/basement', 'https://tools.corp.example/wiki/basement'],
    ['http://10.0.0.5/x', 'http://10.0.0.5/x'],
    ['https://accounts.example/login?next=http://10.0.0.5:8080/', 'https://accounts.example/login?next=http://10.0.0.5:8080/'],
    ['/x?next=http://10.0.0.5:8080/', '/x?next=http://10.0.0.5:8080/'],
    ['x/y', 'x/y'],
    ['mailto:a@b', 'mailto:a@b'],
    ['http://[', 'http://['],
  ])('in %s become %s', (sent, got) => {
    expect(createLocationRewriter(app)(sent)).toBe(got)
  })
})
