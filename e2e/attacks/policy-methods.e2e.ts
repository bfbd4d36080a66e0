/**
 * Methods and classes of methods against everything a client can write in their place: other names, other case, upgrades that are none.
 *
 * Each kind of request goes to each kind of rule; what arrived at the upstream is compared with what the rule names, as a whole. An
 * upgrade needs a right of its own, and what is not let through as one reaches the upstream as none.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, signedInCookie } from './attack.ts'

type Class = 'read' | 'write' | 'websocket'

interface Sent {
  readonly line: (path: string) => string
  readonly headers?: readonly string[]
  readonly name: string
  readonly class: Class
}

const handshake = ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
const plain = (name: string, kind: Class, headers: readonly string[] = []): Sent => ({
  ...{ name, class: kind, headers },
  line: (path) => `${name} ${path} HTTP/1.1`,
})

/** What the flow takes it for: by its name, and as what class. Nothing here is malformed. */
const requests: Readonly<Record<string, Sent>> = {
  GET: plain('GET', 'read'),
  HEAD: plain('HEAD', 'read'),
  OPTIONS: plain('OPTIONS', 'read'),
  POST: plain('POST', 'write', ['Content-Length: 0']),
  PUT: plain('PUT', 'write', ['Content-Length: 0']),
  PATCH: plain('PATCH', 'write', ['Content-Length: 0']),
  DELETE: plain('DELETE', 'write'),
  PROPFIND: plain('PROPFIND', 'write'),
  MKCOL: plain('MKCOL', 'write'),
  REPORT: plain('REPORT', 'write'),
  SEARCH: plain('SEARCH', 'write'),
  QUERY: plain('QUERY', 'write', ['Content-Length: 0']),
  'a WebSocket': plain('GET', 'websocket', ['Connection: Upgrade', ...handshake]),
  'a WebSocket in capitals': plain('GET', 'websocket', [
    'CONNECTION: UPGRADE',
    ...handshake.map((line) => line.replace('websocket', 'WEBSOCKET')),
  ]),
  'h2c by GET': plain('GET', 'read', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__']),
  'an upgrade that the connection does not name': plain('GET', 'read', [...handshake, 'Connection: close']),
  'a connection that names no upgrade': plain('GET', 'read', ['Connection: Upgrade, close']),
  'a WebSocket by POST': plain('POST', 'write', ['Connection: Upgrade', ...handshake, 'Content-Length: 0']),
  'two protocols': plain('GET', 'read', ['Connection: Upgrade', 'Upgrade: h2c, websocket']),
  'a WebSocket by HTTP/1.0': {
    ...plain('GET', 'read', ['Connection: Upgrade', ...handshake]),
    line: (path) => `GET ${path} HTTP/1.0`,
  },
}

/** Rules, and whom of the above they let through. */
const paths: Readonly<Record<string, { readonly rules: readonly object[]; readonly passes: (sent: Sent) => boolean }>> = {
  '/get': { rules: [{ allow: 'staff', methods: ['GET'] }], passes: ({ name, class: kind }) => name === 'GET' && kind === 'read' },
  '/post': { rules: [{ allow: 'staff', methods: ['POST'] }], passes: ({ name }) => name === 'POST' },
  '/query': { rules: [{ allow: 'staff', methods: ['QUERY', 'PROPFIND'] }], passes: ({ name }) => name === 'QUERY' || name === 'PROPFIND' },
  '/read': { rules: [{ allow: 'staff', methods: ['read'] }], passes: (sent) => sent.class === 'read' },
  '/write': { rules: [{ allow: 'staff', methods: ['write'] }], passes: (sent) => sent.class === 'write' },
  '/websocket': { rules: [{ allow: 'staff', methods: ['websocket'] }], passes: (sent) => sent.class === 'websocket' },
  '/mixed': {
    rules: [{ allow: 'staff', methods: ['websocket', 'GET'] }],
    passes: ({ name, class: kind }) => kind === 'websocket' || name === 'GET',
  },
  '/no-write': { rules: [{ allow: 'staff' }, { deny: 'staff', methods: ['write'] }], passes: (sent) => sent.class !== 'write' },
  '/no-websocket': { rules: [{ allow: 'staff' }, { deny: 'staff', methods: ['websocket'] }], passes: (sent) => sent.class !== 'websocket' },
  '/no-post': { rules: [{ allow: 'staff' }, { deny: 'staff', methods: ['POST'] }], passes: ({ name }) => name !== 'POST' },
  '/no-get': {
    rules: [{ allow: 'staff' }, { deny: 'staff', methods: ['GET', 'websocket'] }],
    passes: ({ name }) => name !== 'GET',
  },
  '/required': {
    rules: [{ allow: 'staff' }, { require: [{ expression: 'false' }], methods: ['write', 'websocket'] }],
    passes: (sent) => sent.class === 'read',
  },
  '/expression': {
    rules: [{ allow: 'staff', when: [{ expression: "request.method == 'GET' && request.method_class == 'read'" }] }],
    passes: ({ name, class: kind }) => name === 'GET' && kind === 'read',
  },
}

describe('methods that a rule names', () => {
  let rig: Rig
  let cookie: string

  beforeAll(async () => {
    const rules = Object.entries(paths).flatMap(([path, { rules: of }]) =>
      of.map((rule, index) => ({
        name: `${path} ${index}`,
        paths: [path],
        ...Object.fromEntries(Object.entries(rule).map(([key, value]) => [key, value === 'staff' ? { groups: ['staff'] } : value])),
      })),
    )
    rig = await startRig({ apps: [{ id: 'app', rules: [{ name: 'start', allow: { groups: ['staff'] }, paths: ['/ok'] }, ...rules] }] })
    cookie = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  const send = (line: string, headers: readonly string[]) =>
    sendLine(rig, line, [...headers, `Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin'])

  attack('A235', 'POL', 'each kind of rule about methods, each kind of request', async () => {
    const wrong: string[] = []
    const upstream = rig.upstream('app')
    let passed = 0
    for (const [path, { passes }] of Object.entries(paths)) {
      for (const [what, sent] of Object.entries(requests)) {
        upstream.reset()
        // The answer of a plain HTTP server to a handshake: passed on, and the connection is over.
        upstream.answerWith('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        const headers = sent.headers ?? []
        const isClosing = headers.some((header) => /^connection:/i.test(header))
        const answer = await send(sent.line(path), isClosing ? headers : [...headers, 'Connection: close'])
        const arrived = upstream.requests().map(({ method }) => method)
        if (arrived.join() !== (passes(sent) ? sent.name : ''))
          wrong.push(`${what} at ${path}: ${arrived.join() || answer.statuses.join()}`)
        const isUpgrade = /^upgrade:/im.test(upstream.bytes())
        if (isUpgrade && sent.class !== 'websocket') wrong.push(`${what} at ${path}: the upstream saw an upgrade`)
        passed += arrived.length
      }
    }
    expect(wrong).toEqual([])
    const count = Object.keys(paths).length * Object.keys(requests).length
    return `${count} requests, ${passed} passed, as the rules name them`
  })

  attack('A235b', 'POL', 'a method spelled in another way is another method', async () => {
    const statuses = new Set<number>()
    for (const method of [
      'get',
      'Get',
      'GETT',
      'GET\t',
      'G\x00ET',
      'GE',
      '"GET"',
      'GET,POST',
      'post',
      'POST\x0b',
      'constructor',
      '__proto__',
      'read',
      'write',
    ]) {
      for (const path of ['/get', '/post', '/no-post', '/read', '/no-get', '/no-write']) {
        const answer = await send(`${method} ${path} HTTP/1.1`, ['Connection: close'])
        for (const status of answer.statuses) statuses.add(status)
        expect(
          answer.statuses.every((status) => status === 400 || status === 403 || status === 405),
          `${method} ${path}: ${answer.statuses}`,
        ).toBe(true)
      }
    }
    expect(rig.upstream('app').bytes()).toBe('')
    return `${[...statuses].join('/')}, upstream 0 bytes`
  })
})
