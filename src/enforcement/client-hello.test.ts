/**
 * The ClientHello reader against what real TLS libraries write, cut and framed in every way, and against whatever bytes there are.
 */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type ConnectionOptions, connect } from 'node:tls'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { type ClientHello, ClientHelloReader, parseClientHello } from './client-hello.ts'

/** What a client writes first, to somebody who never answers. */
async function recordHello(dial: (port: number) => void): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const connected = once(server, 'connection')
  dial(typeof address === 'object' ? (address?.port ?? 0) : 0)
  const [socket] = (await connected) as [import('node:net').Socket]
  const reader = new ClientHelloReader()
  for await (const chunk of socket) if (reader.add(chunk as Buffer).state !== 'incomplete') break
  socket.destroy()
  server.close()
  return reader.bytes
}

function helloOfNode(options: ConnectionOptions): Promise<Buffer> {
  return recordHello(
    (port) => void connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }).on('error', () => undefined),
  )
}

function helloOfOpenssl(...options: string[]): Promise<Buffer> {
  return recordHello((port) => void execFile('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...options], () => undefined))
}

const named = (name: string | undefined): ClientHello => ({ state: 'complete', name })

describe('a hello', () => {
  test.each([
    ['of TLS 1.3', { servername: 'payroll.corp.example' }, 'payroll.corp.example'],
    ['of TLS 1.2', { servername: 'payroll.corp.example', maxVersion: 'TLSv1.2' }, 'payroll.corp.example'],
    ['that offers protocols', { servername: 'payroll.corp.example', ALPNProtocols: ['h2', 'http/1.1'] }, 'payroll.corp.example'],
    ['in capitals', { servername: 'PayRoll.Corp.EXAMPLE' }, 'payroll.corp.example'],
    ['without a name', {}, undefined],
  ] as const)('%s from Node is read', async (_what, options, name) => {
    expect(parseClientHello(await helloOfNode({ ...options, ALPNProtocols: [] }))).toEqual(named(name))
  })

  test.each([
    ['TLS 1.3', ['-servername', 'wiki.corp.example', '-tls1_3'], 'wiki.corp.example'],
    ['TLS 1.2', ['-servername', 'wiki.corp.example', '-tls1_2'], 'wiki.corp.example'],
    ['no name', ['-noservername'], undefined],
  ] as const)('of openssl with %s is read', async (_what, options, name) => {
    expect(parseClientHello(await helloOfOpenssl(...options))).toEqual(named(name))
  })

  test('with GREASE, an outer ECH and what else browsers add is read', () => {
    const hello = build({
      suites: Buffer.from('0a0a130113021303', 'hex'),
      extensions: [
        [0x1a1a, Buffer.alloc(0)],
        [0xfe0d, Buffer.alloc(250, 7)],
        [51, Buffer.alloc(1300, 1)],
        serverName('payroll.corp.example'),
        [0x3a3a, Buffer.from([0])],
      ],
    })
    expect(parseClientHello(hello)).toEqual(named('payroll.corp.example'))
  })

  test('of TLS 1.2 without any extension names nobody', () => {
    expect(parseClientHello(build({ extensions: undefined }))).toEqual(named(undefined))
  })

  test('in which the root’s dot is written is read without it', () => {
    expect(parseClientHello(build({ extensions: [serverName('payroll.corp.example.')] }))).toEqual(named('payroll.corp.example'))
  })
})

describe('cut and framed in any way', () => {
  let hello: Buffer
  beforeAll(async () => {
    hello = await helloOfNode({ servername: 'payroll.corp.example' })
  })

  test('it is incomplete at every byte but the last, and then says the same', () => {
    for (let end = 0; end < hello.length; end += 1) expect(parseClientHello(hello.subarray(0, end)).state).toBe('incomplete')
    const reader = new ClientHelloReader()
    for (const byte of hello.subarray(0, -1)) expect(reader.add(Buffer.from([byte])).state).toBe('incomplete')
    expect(reader.add(hello.subarray(-1))).toEqual(named('payroll.corp.example'))
    expect(reader.bytes.equals(hello)).toBe(true)
  })

  test('what follows it changes nothing and is kept', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (rest) => {
        const reader = new ClientHelloReader()
        const all = Buffer.concat([hello, rest])
        expect(reader.add(all)).toEqual(named('payroll.corp.example'))
        expect(reader.bytes.equals(all)).toBe(true)
      }),
    )
  })

  test('it may be spread over records, arriving in any pieces', () => {
    const message = hello.subarray(5)
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: message.length - 1 }), { maxLength: 10 }),
        fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 30 }),
        (cuts, pieces) => {
          const edges = [0, ...new Set(cuts.sort((a, b) => a - b)), message.length]
          const framed = Buffer.concat(edges.slice(1).map((edge, index) => record(message.subarray(edges[index], edge))))
          const reader = new ClientHelloReader()
          let said: ClientHello = { state: 'incomplete' }
          for (let at = 0, turn = 0; at < framed.length && said.state === 'incomplete'; turn += 1) {
            const length = pieces[turn % pieces.length] ?? 1
            said = reader.add(framed.subarray(at, at + length))
            at += length
          }
          expect(said).toEqual(named('payroll.corp.example'))
        },
      ),
    )
  })

  test('a changed byte never makes it throw, nor name a host in other than its own bytes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: hello.length - 1 }), fc.integer({ min: 0, max: 255 }), (index, value) => {
        const changed = Buffer.from(hello)
        changed[index] = value
        const said = parseClientHello(changed)
        if (said.state === 'complete' && said.name !== undefined) expect(changed.toString('latin1').toLowerCase()).toContain(said.name)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('refused', () => {
  test('is whatever is no TLS, by its first bytes', () => {
    for (const text of ['GET / HTTP/1.1\r\n', 'PRI * HTTP/2.0\r\n', 'SSH-2.0-x\r\n', '\0', 'PROXY TCP4 '])
      expect(parseClientHello(Buffer.from(text))).toEqual({ state: 'refused', why: 'not_tls' })
    // The hello of SSL 2, and an alert.
    expect(parseClientHello(Buffer.from('802e010301001500000010', 'hex'))).toEqual({ state: 'refused', why: 'not_tls' })
    expect(parseClientHello(Buffer.from('1503010002022800', 'hex'))).toEqual({ state: 'refused', why: 'not_tls' })
  })

  const name = serverName('payroll.corp.example')
  test.each([
    ['two lists of names', build({ extensions: [name, serverName('wiki.corp.example')] })],
    [
      'two names in a list',
      build({ extensions: [[0, Buffer.concat([vector(2, Buffer.concat([hostName('a.example'), hostName('b.example')]))])]] }),
    ],
    ['an empty name', build({ extensions: [serverName('')] })],
    ['an empty list', build({ extensions: [[0, vector(2, Buffer.alloc(0))]] })],
    ['a name of another type', build({ extensions: [[0, vector(2, Buffer.concat([Buffer.from([1]), vector(2, Buffer.from('x'))]))]] })],
    ['bytes after the list', build({ extensions: [[0, Buffer.concat([vector(2, hostName('a.example')), Buffer.from([0])])]] })],
    ['bytes after the extensions', build({ extensions: [name], rest: Buffer.from([0]) })],
    ['an odd list of suites', build({ suites: Buffer.from([1, 2, 3]) })],
    ['no suites', build({ suites: Buffer.alloc(0) })],
    ['a session id that is too long', build({ sessionId: Buffer.alloc(33) })],
    ['an extension that is cut off', build({ extensions: [name], shorten: 1 })],
    ['another handshake message', record(Buffer.from([2, 0, 0, 1, 0]))],
    ['a record without content', Buffer.concat([record(Buffer.from([1, 0])), record(Buffer.alloc(0))])],
    ['another record in between', Buffer.concat([record(Buffer.from([1, 0])), Buffer.from([20, 3, 3, 0, 1, 1])])],
  ])('is %s', (_what, bytes) => {
    expect(parseClientHello(bytes)).toEqual({ state: 'refused', why: 'malformed' })
  })

  test('is what would be too large, before it has arrived, and a hello in crumbs', () => {
    expect(parseClientHello(Buffer.from([22, 3, 1, 0x40, 1]))).toEqual({ state: 'refused', why: 'too_large' })
    expect(parseClientHello(record(Buffer.from([1, 0, 0x40, 1])))).toEqual({ state: 'refused', why: 'too_large' })
    const crumbs = Buffer.concat(Array.from({ length: 17 }, (_, index) => record(Buffer.from(index === 0 ? [1] : [0]))))
    expect(parseClientHello(crumbs).state).not.toBe('incomplete')
  })

  test('nothing makes it throw or keep more than its bound', () => {
    const start = fc.constantFrom(Buffer.alloc(0), Buffer.from([22, 3, 1]), Buffer.from([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]))
    fc.assert(
      fc.property(start, fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 30 }), (begin, chunks) => {
        const reader = new ClientHelloReader()
        for (const chunk of [begin, ...chunks]) {
          if (reader.add(Buffer.from(chunk)).state !== 'incomplete') return
          expect(reader.bytes.length).toBeLessThan(20_000)
        }
      }),
      { numRuns: 3000 },
    )
  })
})

function vector(lengthBytes: 1 | 2, content: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(content.length, 0, lengthBytes)
  return Buffer.concat([length, content])
}

function hostName(name: string): Buffer {
  return Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name, 'latin1'))])
}

function serverName(name: string): [type: number, content: Buffer] {
  return [0, vector(2, hostName(name))]
}

function record(content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([22, 3, 1]), vector(2, content)])
}

interface HelloParts {
  readonly suites?: Buffer
  readonly sessionId?: Buffer
  readonly extensions?: readonly (readonly [type: number, content: Buffer])[] | undefined
  readonly rest?: Buffer
  /** Cuts so many bytes off the last extension without telling its length. */
  readonly shorten?: number
}

function build(parts: HelloParts): Buffer {
  const { suites = Buffer.from([0x13, 1]), sessionId = Buffer.alloc(32), rest = Buffer.alloc(0), shorten = 0 } = parts
  const extensions = (parts.extensions ?? []).map(([type, content]) =>
    Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, content)]),
  )
  const joined = Buffer.concat(extensions)
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 9),
    vector(1, sessionId),
    vector(2, suites),
    vector(1, Buffer.from([0])),
    'extensions' in parts && parts.extensions === undefined ? Buffer.alloc(0) : vector(2, joined.subarray(0, joined.length - shorten)),
    rest,
  ])
  const length = Buffer.alloc(3)
  length.writeUIntBE(body.length, 0, 3)
  return record(Buffer.concat([Buffer.from([1]), length, body]))
}
