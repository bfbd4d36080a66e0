/** What arrives on a connection and is not, or not quite, a request: protocol attacks on the raw socket, judged by the upstream. */

import { connect as connectTcp } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type FlowRig, type FlowRigOptions, get, isComplete, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

/** Sends, waits until Postern has closed, and returns everything it said. */
async function sendAndClose(rig: FlowRig, bytes: string): Promise<string> {
  const client = await rig.connect()
  client.send(bytes)
  await client.closed
  return client.received()
}

const host = 'Host: wiki.corp.example\r\n'
const smuggled = 'GET /public/smuggled HTTP/1.1\r\nHost: wiki.corp.example\r\nX-Smug: 1\r\n\r\n'

describe('refused with 400 and a closed connection, nothing forwarded', () => {
  test.each<[string, string]>([
    ['no Host', 'GET /public/x HTTP/1.1\r\n\r\n'],
    ['an empty Host', 'GET /public/x HTTP/1.1\r\nHost:\r\n\r\n'],
    ['two Hosts', `GET /public/x HTTP/1.1\r\n${host}${host}\r\n`],
    ['two Hosts that differ', `GET /public/x HTTP/1.1\r\n${host}Host: evil.example\r\n\r\n`],
    ['userinfo in Host', 'GET /public/x HTTP/1.1\r\nHost: u@wiki.corp.example\r\n\r\n'],
    ['a path in Host', 'GET /public/x HTTP/1.1\r\nHost: wiki.corp.example/x\r\n\r\n'],
    ['a list in Host', 'GET /public/x HTTP/1.1\r\nHost: wiki.corp.example,evil.example\r\n\r\n'],
    ['no port after a colon', 'GET /public/x HTTP/1.1\r\nHost: wiki.corp.example:\r\n\r\n'],
    ['a port beyond all ports', 'GET /public/x HTTP/1.1\r\nHost: wiki.corp.example:99999\r\n\r\n'],
    ['bytes beyond ASCII in Host', 'GET /public/x HTTP/1.1\r\nHost: w\xc3\xafki.corp.example\r\n\r\n'],
    ['an escape in Host', 'GET /public/x HTTP/1.1\r\nHost: wiki.corp.example%2eevil\r\n\r\n'],
    ['HTTP/1.0 without Host', 'GET /public/x HTTP/1.0\r\n\r\n'],
    ['HTTP/0.9', 'GET /public/x\r\n\r\n'],
    ['HTTP/2.0 in the request line', `GET /public/x HTTP/2.0\r\n${host}\r\n`],
    ['HTTP/1.2', `GET /public/x HTTP/1.2\r\n${host}\r\n`],
    ['absolute form with another authority', `GET http://evil.example/public/x HTTP/1.1\r\n${host}\r\n`],
    ['a backslash', `GET /public\\..\\admin HTTP/1.1\r\n${host}\r\n`],
    ['a fragment', `GET /public/x#y HTTP/1.1\r\n${host}\r\n`],
    ['a raw byte beyond ASCII', `GET /public/\xe9 HTTP/1.1\r\n${host}\r\n`],
    ['a raw space', `GET /public/x y HTTP/1.1\r\n${host}\r\n`],
    ['an asterisk', `GET * HTTP/1.1\r\n${host}\r\n`],
    ['a target without a slash', `GET public/x HTTP/1.1\r\n${host}\r\n`],
    ['CL.TE', `POST /public/x HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    ['TE.CL', `POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${smuggled}0\r\n\r\n`],
    ['two lengths', `POST /public/x HTTP/1.1\r\n${host}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`],
    ['a list of lengths', `POST /public/x HTTP/1.1\r\n${host}Content-Length: 2, 2\r\n\r\nab`],
    ['a signed length', `POST /public/x HTTP/1.1\r\n${host}Content-Length: +2\r\n\r\nab`],
    ['another coding before chunked', `POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${smuggled}`],
    [
      'two codings',
      `POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    ['chunked twice', `POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`],
    ['an unknown coding', `POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    [
      'chunks in HTTP/1.0',
      `POST /public/x HTTP/1.0\r\n${host}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    ['a space before a colon', `GET /public/x HTTP/1.1\r\n${host}Content-Length : 0\r\n\r\n`],
    ['a folded line', `GET /public/x HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`],
    ['bare line feeds', `GET /public/x HTTP/1.1\nHost: wiki.corp.example\n\n`],
    ['a NUL in a value', `GET /public/x HTTP/1.1\r\n${host}X-A: b\0c\r\n\r\n`],
    ['Host nominated as hop-by-hop', `GET /public/x HTTP/1.1\r\n${host}Connection: close, HOST\r\n\r\n`],
    ['cookies nominated as hop-by-hop', `GET /public/x HTTP/1.1\r\n${host}Connection: cookie , authorization\r\n\r\n`],
    ['a length nominated as hop-by-hop', `POST /public/x HTTP/1.1\r\n${host}Connection: content-length\r\nContent-Length: 2\r\n\r\nab`],
    ['TLS on a plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['garbage', '\x00\x01\x02\x03\r\n\r\n'],
  ])('%s', async (_what, bytes) => {
    const rig = await begin()
    const received = await sendAndClose(rig, bytes)
    expect(received).toMatch(/^HTTP\/1\.1 400 /)
    expect(received.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(received).toMatch(/x-postern: bad_request\r\n/i)
    expect(received).toMatch(/x-postern-request: [\w-]{36}\r\n/i)
    expect(received).toMatch(/connection: close\r\n/i)
    expect(rig.upstream.received()).toBe('')
    expect(rig.events).toMatchObject([{ event: 'access.decided', subject: { kind: 'nobody' }, effect: 'deny', reason: 'bad_request' }])
    expect((await rig.ask(get('/public/alive'))).status).toBe(200)
  })

  test.each([
    ['2;\n', '2;\nab\r\n0\r\n\r\n'],
    ['0x2', '0x2\r\nab\r\n0\r\n\r\n'],
    ['a spill', '2\r\nabc\r\n0\r\n\r\n'],
    ['a bare line feed', '2\r\nab\n0\r\n\r\n'],
    ['seventeen digits', '10000000000000002\r\nab'],
  ])('a broken chunk: %s', async (_what, body) => {
    const rig = await begin()
    const client = await rig.connect()
    client.send(`POST /public/x HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${body}${smuggled}`)
    await client.closed
    expect(client.received()).not.toMatch(/HTTP\/1\.1 [23]/)
    expect(rig.upstream.received()).not.toContain('smuggled')
  })
})

describe('a method that is never forwarded', () => {
  test.each([
    `TRACE /public/x HTTP/1.1\r\n${host}\r\n`,
    'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n',
    `CONNECT wiki.corp.example:443 HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`,
    `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
  ])('%j is 405 and closes (A102)', async (bytes) => {
    const rig = await begin()
    expect(await sendAndClose(rig, bytes)).toMatch(/^HTTP\/1\.1 405 [\s\S]*allow: GET/i)
    expect(rig.upstream.received()).toBe('')
  })
})

describe('an Upgrade', () => {
  const handshake = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']

  test('to anything but a WebSocket is an ordinary request that loses it (A103)', async () => {
    const rig = await begin()
    const answer = await rig.ask(
      get('/public/x', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA']),
    )
    expect(answer.status).toBe(200)
    expect(rig.upstream.received()).not.toMatch(/upgrade|http2-settings/i)
    expect((await rig.ask(get('/public/x', ['Connection: Upgrade', 'Upgrade: websocket, h2c']))).status).toBe(200)
    expect(
      (await rig.ask(get('/public/x', ['Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 0'], undefined, 'POST'))).status,
    ).toBe(200)
    expect(rig.upstream.received()).not.toMatch(/upgrade/i)
  })

  test('by a stranger is a plain 401 and a closed socket, never a redirect (A173)', async () => {
    const rig = await begin()
    const lines = ['Connection: Upgrade', 'Upgrade: WebSocket', ...handshake, `Origin: ${wikiOrigin}`, 'Accept: text/html']
    const received = await sendAndClose(rig, get('/live', lines))
    expect(received).toMatch(/^HTTP\/1\.1 401 [\s\S]*"error":"login_required"/)
    expect(received).not.toMatch(/location|set-cookie/i)
    expect(rig.upstream.received()).toBe('')
    expect(rig.events).toMatchObject([{ effect: 'challenge', reason: 'login_required' }])
  })

  test('is decided as a websocket, which no rule about reading opens', async () => {
    const rig = await begin({ apps: [wiki()] })
    const { cookie } = await rig.signIn('alice')
    const lines = ['Connection: Upgrade', 'Upgrade: websocket', ...handshake, `Origin: ${wikiOrigin}`, `Cookie: ${cookie}`]
    expect(await sendAndClose(rig, get('/admin/live', lines))).toMatch(/^HTTP\/1\.1 403 [\s\S]*denied_by_rule/)
    expect(rig.upstream.received()).toBe('')
  })

  test('reaches the upstream with the identity once it is allowed', async () => {
    const accept =
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
    const rig = await begin({ upstreamSays: accept })
    const { cookie } = await rig.signIn('alice')
    const client = await rig.connect()
    client.send(get('/live', ['Connection: Upgrade', 'Upgrade: websocket', ...handshake, `Origin: ${wikiOrigin}`, `Cookie: ${cookie}`]))
    await client.until((text) => text.startsWith('HTTP/1.1 101 ') && text.includes('\r\n\r\n'))
    expect(rig.upstream.received()).toMatch(/X-Forwarded-User: alice\r\n/i)
    client.socket.destroy()
    await expect.poll(() => rig.events.at(-1)).toMatchObject({ event: 'access.ended', app: 'wiki' })
  })

  test('with a body is refused: it could be read as either', async () => {
    const rig = await begin()
    const lines = ['Connection: Upgrade', 'Upgrade: websocket', ...handshake, `Origin: ${wikiOrigin}`, `Content-Length: ${smuggled.length}`]
    expect(await sendAndClose(rig, get('/public/x', lines) + smuggled)).toMatch(/^HTTP\/1\.1 400 /)
    expect(rig.upstream.received()).toBe('')
  })

  test('behind a request that is still under way gets nothing: it would be taken for that one’s answer', async () => {
    const rig = await begin({ upstreamSays: '' })
    const client = await rig.connect()
    client.send(get('/public/slow'))
    await expect.poll(() => rig.upstream.received()).toContain('/public/slow')
    client.send(get('/live', ['Connection: Upgrade', 'Upgrade: websocket', ...handshake]))
    await client.closed
    expect(client.received()).toBe('')
  })
})

test('nothing that came together with a malformed request is looked at', async () => {
  const rig = await begin()
  const received = await sendAndClose(rig, `GET /a/../b HTTP/1.1\r\n${host}\r\n${smuggled}${get('/public/y')}GARBAGE\r\n\r\n`)
  expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400'])
  expect(rig.upstream.received()).toBe('')
  expect(rig.events).toHaveLength(1)
})

describe('broken bytes behind a request', () => {
  test('that is under way close the connection without a word', async () => {
    const rig = await begin({ upstreamSays: '' })
    const client = await rig.connect()
    client.send(get('/public/slow'))
    await expect.poll(() => rig.upstream.received()).toContain('/public/slow')
    client.send('GARBAGE\r\n\r\n')
    await client.closed
    expect(client.received()).toBe('')
  })

  test('that was answered get an answer of their own', async () => {
    const rig = await begin()
    const client = await rig.connect()
    client.send(get('/public/x'))
    await client.until((text) => text.endsWith('hello'))
    client.send('GARBAGE\r\n\r\n')
    await client.closed
    expect(client.received().match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
  })
})

describe('limits', () => {
  const limits = { headerBytes: 8192, headers: 20, headerSeconds: 10, requestSeconds: 60, idleSeconds: 10, connections: 1000 }

  test('too large a head is 431, and the next connection works', async () => {
    const rig = await begin({ settings: { limits } })
    expect(await sendAndClose(rig, get('/public/x', [`X-A: ${'a'.repeat(9000)}`]))).toMatch(/^HTTP\/1\.1 431 [\s\S]*headers_too_large/)
    expect(await sendAndClose(rig, get(`/public/${'a'.repeat(9000)}`))).toMatch(/^HTTP\/1\.1 431 /)
    expect(rig.upstream.received()).toBe('')
    expect((await rig.ask(get('/public/x'))).status).toBe(200)
  })

  test('too many headers are 431, none of them forgotten', async () => {
    const rig = await begin({ settings: { limits } })
    const many = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: y`)
    expect((await rig.ask(get('/public/x', many(19)))).status).toBe(200)
    expect(await sendAndClose(rig, get('/public/x', many(20)))).toMatch(/^HTTP\/1\.1 431 [\s\S]*headers_too_large/)
    expect(await sendAndClose(rig, get('/public/x', many(500)))).toMatch(/^HTTP\/1\.1 431 /)
  })

  test('what is no request is answered with the date, as everything is', async () => {
    const rig = await begin()
    const date = new Date(rig.clock.now()).toUTCString()
    expect(await sendAndClose(rig, 'nonsense\r\n\r\n')).toContain(`\r\ndate: ${date}\r\n`)
    expect((await sendAndClose(rig, get('/page', ['Connection: close']))).match(/^date: .*$/gim)).toEqual([`date: ${date}`])
  })

  test('HTTP/1.0 gets no 100 from the access host, and no Upgrade', async () => {
    const rig = await begin()
    const body = 'Content-Length: 2\r\nExpect: 100-continue\r\n\r\nab'
    expect(await sendAndClose(rig, `POST /x HTTP/1.0\r\nHost: access.corp.example\r\n${body}`)).toMatch(/^HTTP\/1\.1 200 /)
    const handshake = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
    await sendAndClose(rig, `GET /public/x HTTP/1.0\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n${handshake}\r\n`)
    expect(rig.upstream.received()).toContain('GET /public/x HTTP/1.1\r\n')
    expect(rig.upstream.received()).not.toMatch(/^upgrade:/im)
  })

  test('a limit above Node’s own counts, and nothing within it is forgotten', async () => {
    const rig = await begin({ settings: { limits: { ...limits, headers: 2500, headerBytes: 65_536 } } })
    const many = Array.from({ length: 2200 }, (_, i) => `X-${i}: y`)
    expect((await rig.ask(get('/public/x', many))).status).toBe(200)
    expect(rig.upstream.received()).toContain('X-2199: y\r\n')
  })

  test('a head that never ends is cut with 408 (A245)', async () => {
    const rig = await begin({ settings: { limits: { ...limits, headerSeconds: 1 } } })
    const silent = await rig.connect()
    const client = await rig.connect()
    client.send('GET /public/x HTTP/1.1\r\nHost: wiki')
    await client.closed
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 [\s\S]*request_timeout/)
    await silent.closed
    expect(rig.upstream.received()).toBe('')
  })

  test('a connection that is idle between requests is closed', async () => {
    const rig = await begin({ settings: { limits: { ...limits, idleSeconds: 1 } } })
    const client = await rig.connect()
    client.send(get('/public/x'))
    await client.until((text) => text.endsWith('hello'))
    await client.closed
  })

  test('connections beyond the limit are not taken', async () => {
    const rig = await begin({ settings: { limits: { ...limits, connections: 2 } } })
    const [first, second] = [await rig.connect(), await rig.connect()]
    first.send(get('/public/x'))
    second.send(get('/public/x'))
    await first.until(isComplete)
    await second.until(isComplete)
    const third = connectTcp(rig.port, '127.0.0.1')
    third.on('error', () => undefined)
    await new Promise((resolve) => third.once('close', resolve))
    first.send(get('/public/x'))
    await first.until((text) => text.split('hello').length === 3)
  })
})

describe('the client’s address', () => {
  const forwarded = 'X-Forwarded-For: 10.0.0.5, 203.0.113.9'

  test('is the socket’s where nobody is trusted (A26)', async () => {
    const rig = await begin()
    await rig.ask(get('/public/x', [forwarded, 'X-Real-IP: 10.0.0.5', 'Forwarded: for=10.0.0.5']))
    expect(rig.events[0]).toMatchObject({ address: '127.0.0.1' })
    expect(rig.upstream.received()).toContain('X-Forwarded-For: 127.0.0.1\r\n')
    expect(rig.upstream.received()).not.toContain('10.0.0.5')
  })

  test('is the right-most hop that is not trusted, over all lines (A28)', async () => {
    const rig = await begin({ settings: { trustedProxies: ['127.0.0.0/8', '203.0.113.0/24'] } })
    await rig.ask(get('/public/x', ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-For: ::ffff:198.51.100.7', 'X-Forwarded-For: 203.0.113.9']))
    expect(rig.events[0]).toMatchObject({ address: '198.51.100.7' })
  })
})
