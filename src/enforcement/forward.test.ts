/**
 * Forwarding against upstreams and clients that misbehave. Judged by what arrived at either end, byte by byte.
 */

import { afterEach, describe, expect, test } from 'vitest'
import type { App } from '../policy/document.ts'
import {
  appFor,
  connectRaw,
  eventually,
  type RawConnection,
  type RawUpstream,
  type Rig,
  type RigOptions,
  startRawUpstream,
  startRig,
  startUpstreamSaying,
} from './forwarding.fixture.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function begin(
  upstream: RawUpstream,
  changes: Partial<App> = {},
  options: RigOptions = {},
): Promise<{ rig: Rig; client: RawConnection }> {
  const rig = await startRig(appFor([upstream.origin], changes), options)
  closers.push(upstream.close, rig.close)
  return { rig, client: await connect(rig) }
}

async function connect(rig: Rig): Promise<RawConnection> {
  const client = await connectRaw(rig.port)
  closers.push(async () => {
    client.socket.destroy()
  })
  return client
}

const get = 'GET /page?q=1 HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n'
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

describe('a plain exchange', () => {
  test('passes request and answer, and keeps both connections for the next', async () => {
    const upstream = await startUpstreamSaying(ok)
    const { rig, client } = await begin(upstream)
    client.send(get)
    expect(await client.until((text) => text.endsWith('hello'))).toContain('HTTP/1.1 200 OK\r\n')
    client.send(get)
    await client.until((text) => text.split('hello').length === 3)
    expect(upstream.connections).toHaveLength(1)
    expect(upstream.received().match(/GET \/page\?q=1 HTTP\/1\.1\r\nhost: wiki\.corp\.example\r\n/g)).toHaveLength(2)
    expect(await rig.outcome(1)).toEqual({
      status: 200,
      bytesIn: 0,
      bytesOut: 5,
      ownMs: expect.any(Number),
      outcome: 'completed',
      refusal: undefined,
    })
  })

  test('answers HEAD without a body and with the length', async () => {
    const { client } = await begin(await startUpstreamSaying('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'))
    client.send('HEAD / HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\nGET / HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
    const text = await client.until((received) => received.includes('\r\n\r\nHTTP/1.1 200 OK'))
    expect(text).toMatch(/content-length: 5/i)
  })

  test.each([204, 304])('sends %s without a body, whatever the upstream sends behind it', async (status) => {
    const upstream = await startUpstreamSaying(`HTTP/1.1 ${status} Fine\r\nContent-Length: 7\r\n\r\nillegal`)
    const { rig, client } = await begin(upstream)
    client.send(get)
    const text = await client.until((received) => received.includes('\r\n\r\n'))
    expect(text).not.toContain('illegal')
    client.send(get)
    await rig.outcome(1)
    expect((await client.until((received) => received.split(`HTTP/1.1 ${status}`).length === 3)).includes('illegal')).toBe(false)
    expect(upstream.connections).toHaveLength(2)
  })

  test.each([1, 256, 12 * 1024, 12 * 1024 + 1])('passes a body of %i bytes of every kind as it is', async (length) => {
    const body = Array.from({ length }, (_, index) => String.fromCharCode((index + 128) % 256)).join('')
    const { client } = await begin(
      await startUpstreamSaying(`HTTP/1.1 200 OK\r\nX-Name: J\xfcrgen\r\nContent-Length: ${length}\r\n\r\n${body}`),
    )
    client.send(get)
    const text = await client.until((received) => received.length - received.indexOf('\r\n\r\n') - 4 >= length)
    expect(text).toMatch(/x-name: J\xfcrgen\r\n/i)
    expect(text.slice(text.indexOf('\r\n\r\n') + 4) === body).toBe(true)
  })

  test('passes the bytes of header values in both directions', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 200 OK\r\nX-Name: J\xfcrgen \xc5\x81\r\nContent-Length: 0\r\n\r\n')
    const { client } = await begin(upstream)
    client.send('GET / HTTP/1.1\r\nHost: wiki.corp.example\r\nX-Name: \xc3\xa9\xe9\r\n\r\n')
    expect(await client.until((text) => text.includes('\r\n\r\n'))).toMatch(/x-name: J\xfcrgen \xc5\x81\r\n/i)
    expect(upstream.received()).toContain('X-Name: \xc3\xa9\xe9\r\n')
  })

  test('passes trailer fields of an answer, and none that would steer the connection or set a cookie', async () => {
    const { client } = await begin(
      await startUpstreamSaying(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: abc\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\n\r\n',
      ),
    )
    client.send(get)
    const text = await client.until((received) => received.endsWith('\r\n\r\n') && received.includes('0\r\n'))
    expect(text).toContain('5\r\nhello\r\n0\r\n')
    expect(text).toMatch(/x-checksum: abc/i)
    expect(text).not.toMatch(/content-type|set-cookie/i)
  })

  test('takes a length in trailer fields for the nonsense it is', async () => {
    const { rig, client } = await begin(
      await startUpstreamSaying('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n'),
    )
    client.send(get)
    await client.closed
    expect(client.received()).not.toMatch(/0\r\n\r\n$/)
    expect((await rig.outcome()).outcome).toBe('upstream_failed')
  })

  test('passes Early Hints to HTTP/1.1 clients and the answer after them', async () => {
    const { client } = await begin(
      await startUpstreamSaying(`HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\nX-Postern-Assertion: a\r\n\r\n${ok}`),
    )
    client.send(get)
    const text = await client.until((received) => received.endsWith('hello'))
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload; as=style\r\n\r\nHTTP\/1\.1 200 OK/)
  })

  test('does not wait for a body to send a head', async () => {
    const { client } = await begin(await startUpstreamSaying('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n'))
    client.send(get)
    expect(await client.until((text) => text.includes('\r\n\r\n'))).toContain('event-stream')
  })

  test('never follows a redirect', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n')
    const { client } = await begin(upstream)
    client.send(get)
    expect(await client.until((text) => text.includes('\r\n\r\n'))).toMatch(/location: http:\/\/169\.254\.169\.254\//i)
    expect(upstream.received().split('GET ').length).toBe(2)
  })

  test('passes compressed bytes as they are', async () => {
    const body = Buffer.from([0x1f, 0x8b, 0, 1, 2, 3, 255, 128])
    const head = Buffer.from('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n')
    const { client } = await begin(await startUpstreamSaying(Buffer.concat([head, body])))
    client.send(get)
    expect(await client.until((text) => text.length > 20 && text.endsWith(body.toString('latin1')))).toMatch(/content-encoding: gzip/i)
  })

  test('ends an answer without length to an HTTP/1.0 client with the connection', async () => {
    const { client } = await begin(
      await startUpstreamSaying('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'),
    )
    client.send('GET / HTTP/1.0\r\nHost: wiki.corp.example\r\n\r\n')
    await client.closed
    expect(client.received()).toMatch(/\r\n\r\nhello$/)
    expect(client.received()).not.toMatch(/transfer-encoding/i)
  })
})

describe('request bodies', () => {
  const post = (framing: string, rest: string) => `POST /form HTTP/1.1\r\nHost: wiki.corp.example\r\n${framing}\r\n\r\n${rest}`
  const answering = () =>
    startRawUpstream((connection, head) => {
      const isComplete = (text: string) =>
        text.endsWith('\r\n0\r\n\r\n') || text.endsWith('body') || /content-length: 0\r\n\r\n$/i.test(text)
      if (isComplete(head)) connection.send(ok)
      else
        connection.until(isComplete).then(
          () => connection.send(ok),
          () => undefined,
        )
    })

  test('keep a given length', async () => {
    const upstream = await answering()
    const { rig, client } = await begin(upstream)
    client.send(post('Content-Length: 4', 'body'))
    await client.until((text) => text.endsWith('hello'))
    expect(upstream.received()).toMatch(/content-length: 4\r\n\r\nbody$/i)
    expect(upstream.received()).not.toMatch(/transfer-encoding/i)
    expect((await rig.outcome()).bytesIn).toBe(4)
  })

  test('without a length are chunked anew, and their trailer fields end here', async () => {
    const upstream = await answering()
    const { client } = await begin(upstream)
    client.send(post('Transfer-Encoding: chunked\r\nTrailer: X-T', '2;ext=1\r\nbo\r\n'))
    await eventually(() => upstream.received().includes('2\r\nbo'), 'the first chunk')
    client.send('2\r\ndy\r\n0\r\nX-T: 1\r\n\r\n')
    await client.until((text) => text.endsWith('hello'))
    expect(upstream.received()).toMatch(/transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n$/i)
    expect(upstream.received()).not.toMatch(/X-T|ext=1|trailer/i)
  })

  test.each(['GET', 'DELETE', 'OPTIONS'])('of %s requests are framed, so that what is in them is never another request', async (method) => {
    const smuggled = 'GET /secret HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n'
    for (const framing of [`Content-Length: ${smuggled.length}`, 'Transfer-Encoding: chunked']) {
      const upstream = await startRawUpstream((connection) => {
        void connection
          .until((text) => text.includes('/secret'))
          .then(
            () => connection.send(ok),
            () => undefined,
          )
      })
      const { client } = await begin(upstream)
      const body = framing.startsWith('T') ? `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n` : smuggled
      client.send(`${method} /form HTTP/1.1\r\nHost: wiki.corp.example\r\n${framing}\r\n\r\n${body}`)
      await client.until((text) => text.endsWith('hello'))
      const received = upstream.received()
      const [head = '', ...rest] = received.split('\r\n\r\n')
      expect(head).toMatch(new RegExp(`content-length: ${smuggled.length}|transfer-encoding: chunked`, 'i'))
      expect(rest.join('\r\n\r\n')).toContain(smuggled)
    }
  })

  test.each(['POST', 'PUT', 'PATCH'])('that are missing give %s a length of 0', async (method) => {
    const upstream = await answering()
    const { client } = await begin(upstream)
    client.send(`${method} / HTTP/1.1\r\nHost: wiki.corp.example\r\nContent-Length: 0\r\n\r\n`)
    await client.until((text) => text.endsWith('hello'))
    expect(upstream.received()).toMatch(/content-length: 0\r\n\r\n$/i)
  })

  test('that are expected are asked for by us, and the upstream hears nothing of it', async () => {
    const upstream = await answering()
    const { client } = await begin(upstream)
    client.send(post('Content-Length: 4\r\nExpect: 100-continue', ''))
    await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n')
    expect(upstream.connections).toHaveLength(0)
    client.send('body')
    await client.until((text) => text.endsWith('hello'))
    expect(upstream.received()).not.toMatch(/expect/i)
  })

  test('that never begin cost the upstream no connection and end in a refusal', async () => {
    const upstream = await answering()
    const { rig, client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 0.2 } })
    client.send(post('Content-Length: 1000', ''))
    expect((await rig.outcome()).refusal).toBe('request_timeout')
    await client.closed
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 /)
    expect(upstream.connections).toHaveLength(0)
  })

  test('that stop in the middle end in a refusal, and the upstream is cut off', async () => {
    const upstream = await answering()
    const { rig, client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 0.3 } })
    client.send(post('Content-Length: 1000', 'begun'))
    expect((await rig.outcome()).refusal).toBe('request_timeout')
    await upstream.connections[0]?.closed
    expect(upstream.received()).toMatch(/begun$/)
  })

  test('larger than allowed by their length are refused before the upstream is asked', async () => {
    const upstream = await answering()
    const { rig, client } = await begin(upstream, { maxBodyBytes: 3 })
    client.send(post('Content-Length: 4\r\nExpect: 100-continue', ''))
    await client.until((text) => text.startsWith('HTTP/1.1 413 ') && text.includes('body_too_large'))
    expect((await rig.outcome()).refusal).toBe('body_too_large')
    expect(upstream.connections).toHaveLength(0)
  })

  test('that grow past the limit are refused, and the upstream never sees their end', async () => {
    const upstream = await answering()
    const { client } = await begin(upstream, { maxBodyBytes: 8 })
    client.send(post('Transfer-Encoding: chunked', '5\r\n12345\r\n'))
    await eventually(() => upstream.received().includes('12345'), 'the first chunk')
    client.send('5\r\n67890\r\n0\r\n\r\n')
    await client.until((text) => text.startsWith('HTTP/1.1 413 '))
    await upstream.connections[0]?.closed
    expect(upstream.received()).not.toMatch(/67890|0\r\n\r\n$/)
  })

  test('that the upstream refuses early leave the client with that answer and a closed connection', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge')
    const { rig, client } = await begin(upstream)
    client.send(post('Content-Length: 104857600', ''))
    const chunk = Buffer.alloc(65_536, 'x')
    const upload = setInterval(() => client.socket.writable && client.socket.write(chunk), 1)
    const text = await client.until((received) => received.endsWith('large')).finally(() => clearInterval(upload))
    expect(text).toMatch(/^HTTP\/1\.1 413 Too Large\r\n/)
    expect(text).toMatch(/connection: close/i)
    expect(await rig.outcome()).toMatchObject({ status: 413, outcome: 'completed' })
    await client.closed
  })
})

describe('an upstream that misbehaves', () => {
  test.each([
    ['an unsolicited 101', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
    ['a 101 without Upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['an unsolicited 100', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['status 099', 'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a control byte in a header', 'HTTP/1.1 200 OK\r\nX-A: a\x01b\r\nContent-Length: 0\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
    ['a head of 40 KB', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(40_000)}\r\nContent-Length: 0\r\n\r\n`],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a thousand progress reports', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000) + ok],
  ])('by sending %s is 502', async (_what, bytes) => {
    const upstream = await startUpstreamSaying(bytes)
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.replace(/^(HTTP\/1\.1 102 Processing\r\n\r\n)*/, '').startsWith('HTTP/1.1 502 '))
    expect(await rig.outcome()).toMatchObject({ status: 0, outcome: 'upstream_failed', refusal: 'upstream_protocol_error' })
    await upstream.connections[0]?.closed
  })

  test('by resetting before it answers is 502, not retried', async () => {
    const upstream = await startRawUpstream((connection) => connection.socket.resetAndDestroy())
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 502 '))
    expect((await rig.outcome()).refusal).toBe('upstream_unreachable')
    expect(upstream.connections).toHaveLength(1)
  })

  test('by dying within its head is 502', async () => {
    const upstream = await startRawUpstream((connection) => {
      connection.send('HTTP/1.1 200 OK\r\nContent-')
      connection.socket.end()
    })
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 502 '))
    expect((await rig.outcome()).refusal).toBe('upstream_protocol_error')
  })

  test('by staying silent is 504, and it is let go', async () => {
    const upstream = await startRawUpstream(() => undefined)
    const { rig, client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 0.2, idleSeconds: 5 } })
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 504 '))
    expect((await rig.outcome()).refusal).toBe('upstream_timeout')
    await upstream.connections[0]?.closed
  })

  test('by answering after its time does not answer the next request', async () => {
    let late: RawConnection | undefined
    const upstream = await startRawUpstream((connection) => {
      if (late === undefined) late = connection
      else connection.send(ok)
    })
    const { client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 0.2, idleSeconds: 5 } })
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 504 '))
    late?.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate')
    client.send(get)
    expect(await client.until((text) => text.endsWith('hello'))).not.toContain('late')
  })

  test('by sending bytes behind its answer does not poison the next one', async () => {
    const upstream = await startUpstreamSaying(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`)
    const { client } = await begin(upstream)
    for (let i = 2; i < 5; i++) {
      client.send(get)
      await client.until((text) => text.split('hello').length === i)
    }
    expect(client.received()).not.toContain('poison')
  })

  test.each([
    ['with a length', 'Content-Length: 100\r\n\r\nhello', 'HTTP/1.1'],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'HTTP/1.1'],
    ['in chunks, to an HTTP/1.0 client', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'HTTP/1.0'],
  ])('by dying within a body %s cuts the client, and nothing looks like an end', async (_what, rest, version) => {
    const upstream = await startRawUpstream((connection) => {
      connection.send(`HTTP/1.1 200 OK\r\n${rest}`)
      setTimeout(() => connection.socket.destroy(), 50)
    })
    const { rig, client } = await begin(upstream)
    const errors: string[] = []
    client.socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''))
    client.send(`GET / ${version}\r\nHost: wiki.corp.example\r\n\r\n`)
    await client.closed
    expect(client.received()).toContain('hello')
    expect(client.received()).not.toMatch(/0\r\n\r\n$/)
    if (version === 'HTTP/1.0') expect(errors).toEqual(['ECONNRESET'])
    expect(await rig.outcome()).toMatchObject({ status: 200, bytesOut: 5, outcome: 'upstream_failed', refusal: undefined })
  })

  test('by falling silent within a body cuts the client', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello')
    const { rig, client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 0.3 } })
    client.send(get)
    await client.closed
    expect((await rig.outcome()).outcome).toBe('upstream_failed')
    await upstream.connections[0]?.closed
  })

  test('by a shorter gzip body than announced cuts the client after the bytes it sent', async () => {
    const upstream = await startRawUpstream((connection) => {
      connection.send('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 50\r\n\r\nshort')
      connection.socket.end()
    })
    const { client } = await begin(upstream)
    client.send(get)
    await client.closed
    expect(client.received()).toMatch(/\r\n\r\nshort$/)
  })

  test('by dripping its answer is waited for, byte by byte', async () => {
    const upstream = await startRawUpstream((connection) => {
      const bytes = [...ok]
      const drip = setInterval(() => {
        const next = bytes.shift()
        if (next === undefined) clearInterval(drip)
        else connection.send(next)
      }, 2)
    })
    const { client } = await begin(upstream)
    client.send(get)
    expect(await client.until((text) => text.endsWith('hello'))).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  test('by closing an idle connection as a request sets out is asked again on another, if nothing can have happened', async () => {
    let requests = 0
    const upstream = await startRawUpstream((connection) => {
      requests++
      if (requests === 2) connection.socket.resetAndDestroy()
      else connection.send(ok)
    })
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.endsWith('hello'))
    client.send(get)
    await client.until((text) => text.split('hello').length === 3)
    expect((await rig.outcome(1)).status).toBe(200)

    requests = 1
    client.send('DELETE /page HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
    await client.until((text) => text.includes('HTTP/1.1 502 '))
    expect(upstream.received().split('DELETE ').length).toBe(2)
  })
})

describe('which upstream', () => {
  test('is the next one while one refuses connections, for uploads too, and the dead one is left alone for a while', async () => {
    const dead = await startUpstreamSaying(ok)
    await dead.close()
    const alive = await startRawUpstream((connection) => {
      void connection
        .until((text) => text.endsWith('body'))
        .then(
          () => connection.send(ok),
          () => undefined,
        )
    })
    const rig = await startRig(appFor([dead.origin, alive.origin]))
    closers.push(alive.close, rig.close)
    const client = await connect(rig)
    client.send('POST / HTTP/1.1\r\nHost: wiki.corp.example\r\nContent-Length: 4\r\n\r\nbody')
    await client.until((text) => text.endsWith('hello'))
    expect(await rig.outcome()).toMatchObject({ status: 200, bytesIn: 4 })
  })

  test('refused by all is 502', async () => {
    const dead = await startUpstreamSaying(ok)
    await dead.close()
    const rig = await startRig(appFor([dead.origin, dead.origin]))
    closers.push(rig.close)
    const client = await connect(rig)
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 502 '))
    expect((await rig.outcome()).refusal).toBe('upstream_unreachable')
  })

  test.each([
    ['link-local', 'http://169.254.169.254', {}],
    ['mapped link-local', 'http://[::ffff:169.254.169.254]:80', {}],
    ['unspecified', 'http://0.0.0.0:9464', {}],
    ['our operations address', 'http://127.0.0.1:9464', { forbiddenAddresses: [{ host: '127.0.0.1', port: 9464 }] }],
    ['our operations address, mapped', 'http://[::ffff:127.0.0.1]:9464', { forbiddenAddresses: [{ host: '127.0.0.1', port: 9464 }] }],
    ['our operations address by name', 'http://ops.localhost:9464', { forbiddenAddresses: [{ host: '0.0.0.0', port: 9464 }] }],
    ['the store by name', 'http://redis.corp.localhost:6379', { forbiddenAddresses: [{ host: 'redis.corp.localhost', port: 6379 }] }],
  ])('is never one with an address that is %s', async (_what, origin, forwarding) => {
    const rig = await startRig(appFor([origin]), { forwarding })
    closers.push(rig.close)
    const client = await connect(rig)
    client.send(get)
    await client.until((text) => text.startsWith('HTTP/1.1 502 '))
    expect(rig.log.at(-1)?.facts['err']).toMatchObject({ code: 'POSTERN_ADDRESS_FORBIDDEN' })
  })

  test('is found under a name below localhost that the system does not know', async () => {
    const upstream = await startUpstreamSaying(ok)
    const rig = await startRig(appFor([`http://wiki.corp.localhost:${upstream.port}`]))
    closers.push(upstream.close, rig.close)
    const client = await connect(rig)
    client.send(get)
    await client.until((text) => text.endsWith('hello'))
  })
})

describe('a client that misbehaves', () => {
  test.each(['before the answer', 'within the answer'])('by leaving %s aborts the upstream at once', async (when) => {
    const upstream = await startRawUpstream((connection) => {
      if (when === 'within the answer') connection.send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello')
    })
    const { rig, client } = await begin(upstream)
    client.send(get)
    await eventually(() => upstream.received().length > 0, 'the request')
    if (when === 'within the answer') await client.until((text) => text.endsWith('hello'))
    client.socket.destroy()
    await upstream.connections[0]?.closed
    expect((await rig.outcome()).outcome).toBe('client_gone')
  })

  test('by leaving within an upload aborts the upstream, which never sees an end', async () => {
    const upstream = await startRawUpstream(() => undefined)
    const { rig, client } = await begin(upstream)
    client.send('POST / HTTP/1.1\r\nHost: wiki.corp.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
    await eventually(() => upstream.received().includes('hello'), 'the upload')
    client.socket.destroy()
    await upstream.connections[0]?.closed
    expect(upstream.received()).toMatch(/hello$/)
    expect((await rig.outcome()).outcome).toBe('client_gone')
  })

  test('by reading nothing holds its upstream back, then is cut', async () => {
    const upstream = await startRawUpstream((connection) => {
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
      const chunk = Buffer.alloc(65_536)
      const more = () => {
        while (connection.socket.writable && connection.socket.write(chunk));
      }
      connection.socket.on('drain', more)
      more()
    })
    const { rig, client } = await begin(upstream, { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 1 } })
    client.send(get)
    client.socket.pause()
    const outcome = await rig.outcome()
    expect(outcome.outcome).toBe('client_gone')
    expect(outcome.bytesOut).toBeLessThan(50_000_000)
    await upstream.connections[0]?.closed
  })

  test('by pipelining gets its answers in order', async () => {
    const upstream = await startRawUpstream((connection, head) => {
      const path = head.split(' ')[1] ?? ''
      setTimeout(() => connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`), path === '/a' ? 60 : 1)
    })
    const { client } = await begin(upstream)
    client.send(['/a', '/b', '/c'].map((path) => `GET ${path} HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n`).join(''))
    const text = await client.until((received) => received.endsWith('/c'))
    expect(text.match(/\r\n\r\n\/[abc]/g)).toEqual(['\r\n\r\n/a', '\r\n\r\n/b', '\r\n\r\n/c'])
  })
})

describe('authentication that is bound to a connection', () => {
  test('never shares that connection with the next person, and the log says so once', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n')
    const { rig, client } = await begin(upstream)
    for (let i = 0; i < 2; i++) {
      client.send('GET / HTTP/1.1\r\nHost: wiki.corp.example\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n')
      await rig.outcome(i)
      await upstream.connections[i]?.closed
    }
    expect(upstream.connections).toHaveLength(2)
    expect(rig.log.filter(({ message }) => message.includes('NTLM'))).toHaveLength(1)
  })
})

describe('cutting', () => {
  test('ends an open answer so that it cannot look complete', async () => {
    const upstream = await startUpstreamSaying('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.includes('hello'))
    expect(rig.forwarding.cut('request-1', 1008)).toBe(true)
    await client.closed
    await upstream.connections[0]?.closed
    expect(client.received()).toMatch(/hello\r\n$/)
    expect((await rig.outcome()).outcome).toBe('cut')
    expect(rig.forwarding.cut('request-1', 1008)).toBe(false)
  })

  test('lets go of upstreams that no app has any more, and takes them up again if asked', async () => {
    const upstream = await startUpstreamSaying(ok)
    const { rig, client } = await begin(upstream)
    client.send(get)
    await client.until((text) => text.endsWith('hello'))
    rig.forwarding.retain([])
    await upstream.connections[0]?.closed
    client.send(get)
    await client.until((text) => text.split('hello').length === 3)
  })
})
