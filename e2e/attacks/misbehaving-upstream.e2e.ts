/** Upstreams that die, stall, lie about lengths or answer too early. Safe: 502 or 504, or a clean cut; never a hang, never a crash. */

import { createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, signedInCookie, summarise } from './attack.ts'

const everything = [{ name: 'staff', allow: { groups: ['staff'] } }]

describe('misbehaving upstreams', () => {
  let rig: Rig
  let silent: Server
  const unread: Socket[] = []
  const cookies = new Map<string, string>()

  beforeAll(async () => {
    silent = createServer({ pauseOnConnect: true }, (socket) => {
      unread.push(socket)
      socket.on('error', () => socket.destroy())
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const address = silent.address()
    const silentPort = typeof address === 'object' && address !== null ? address.port : 0
    rig = await startRig({
      apps: [
        { id: 'app', rules: everything, timeouts: { response: '2s', idle: '2s' } },
        { id: 'silent', upstream: `http://127.0.0.1:${silentPort}`, rules: everything, timeouts: { response: '2s' } },
        { id: 'refused', upstream: 'http://127.0.0.1:1', rules: everything },
        { id: 'unresolved', upstream: 'http://no-such-host.invalid', rules: everything },
      ],
    })
    for (const id of ['app', 'silent', 'refused', 'unresolved']) {
      const client = new Client()
      const url = `${rig.origin(id)}/`
      if (id === 'app') cookies.set(id, await signedInCookie(rig, client, 'bob', url))
      else {
        await rig.signIn(client, 'bob', url)
        cookies.set(id, client.cookieHeader(url))
      }
    }
  })
  afterAll(async () => {
    await endRig(rig)
    // A paused socket never hears that its other end is gone.
    for (const socket of unread) socket.destroy()
    await new Promise<void>((resolve) => silent.close(() => resolve()))
  })
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  function ask(id = 'app', line = 'GET /ok HTTP/1.1', headers: readonly string[] = [], body = ''): Promise<RawAnswer> {
    const all = [
      `Host: ${id}.corp.localhost:${rig.port}`,
      `Cookie: ${cookies.get(id) ?? ''}`,
      'Sec-Fetch-Site: same-origin',
      'Connection: close',
      ...headers,
    ]
    return sendRaw(`${line}\r\n${all.join('\r\n')}\r\n\r\n${body}`, { port: rig.port, timeoutMs: 9000, quietMs: 8000 })
  }

  attack('A291', 'UP', 'reset, half a head, silence', async () => {
    const outcomes: string[] = []
    rig.upstream('app').answerWith((socket) => socket.resetAndDestroy())
    outcomes.push(`reset ${(await ask()).statuses[0]}`)
    rig.upstream('app').answerWith((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Le')
      setImmediate(() => socket.resetAndDestroy())
    })
    outcomes.push(`half a head ${(await ask()).statuses[0]}`)
    rig.upstream('app').answerWith(() => undefined)
    outcomes.push(`silence ${(await ask()).statuses[0]}`)
    const count = rig.upstream('app').requests().length
    expect(outcomes).toEqual(['reset 502', 'half a head 502', 'silence 504'])
    rig.upstream('app').reset()
    rig.upstream('app').answerWith((socket) => socket.resetAndDestroy())
    await ask('app', 'POST /ok HTTP/1.1', ['Content-Length: 2'], 'ab')
    expect(rig.upstream('app').requests()).toHaveLength(1)
    return `${outcomes.join(', ')}; ${count} requests; a POST is sent once`
  })
  attack('A293', 'UP', 'accepts and never reads, refuses, has no name', async () => {
    const outcomes = [
      `silent ${(await ask('silent')).statuses[0]}`,
      `refused ${(await ask('refused')).statuses[0]}`,
      `no name ${(await ask('unresolved')).statuses[0]}`,
    ]
    expect(outcomes).toEqual(['silent 504', 'refused 502', 'no name 502'])
    expect((await ask()).statuses).toEqual([200])
    for (const id of ['refused', 'unresolved'])
      expect((await ask(id)).text).not.toMatch(/127\.0\.0\.1:1\b|no-such-host|ECONNREFUSED|ENOTFOUND/)
    return `${outcomes.join(', ')}; others go on; no page names the upstream`
  })
  attack('A295', 'UP', 'interim answers, bodies where none may be', async () => {
    rig
      .upstream('app')
      .answerWith('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab')
    const hinted = await ask()
    expect(hinted.statuses.at(-1)).toBe(200)
    expect(hinted.text.endsWith('ab')).toBe(true)
    rig.upstream('app').answerWith('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n')
    expect((await ask()).statuses).toEqual([304])
    rig.upstream('app').answerWith('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')
    const head = await ask('app', 'HEAD /ok HTTP/1.1')
    expect(head.statuses).toEqual([200])
    expect(head.text).toMatch(/content-length: 5/i)
    rig.upstream('app').answerWith(`${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(40_000)}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`)
    const flood = await ask()
    expect(flood.statuses.filter((status) => status >= 200)).toEqual([502])
    return '103 then 200, 304, HEAD with a length; a megabyte of interim answers is 502'
  })
  attack('A295b', 'UP', 'a 100 that nobody expected, an interim answer without an end', async () => {
    const outcomes: string[] = []
    for (const raw of [
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab',
      'HTTP/1.1 103 Early Hints\r\n\r\n',
      'HTTP/1.1 199 Odd\r\nContent-Length: 5\r\n\r\nhello',
    ]) {
      rig.upstream('app').answerWith(raw)
      const answer = await ask()
      const final = answer.statuses.filter((status) => status >= 200)
      expect([['502'], ['504'], ['200']].map(String), raw).toContain(String(final))
      outcomes.push(final.join())
      rig.upstream('app').reset()
      expect((await ask()).text).toContain('"target":"/ok"')
    }
    return `${outcomes.join(', ')}; the next request gets its own answer`
  })
  attack('A297', 'UP', 'a body shorter or longer than announced', async () => {
    rig.upstream('app').answerWith((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'))
    const short = await ask()
    expect(short.closed).toBe(true)
    rig.upstream('app').answerWith('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
    const long = await ask()
    expect(long.text).not.toContain('evil')
    rig.upstream('app').reset()
    expect((await ask()).text).toContain('"target":"/ok"')
    return 'short is cut, the surplus is thrown away'
  })
  attack('A298', 'UP', 'authentication bound to a connection is not shared', async () => {
    const ports: (number | undefined)[] = []
    rig.upstream('app').answerWith((socket, request) => {
      ports.push(socket.remotePort)
      const isKnown = request.headers.some(([name]) => name.toLowerCase() === 'authorization')
      if (isKnown) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      else socket.write('HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n')
    })
    await ask()
    for (const credentials of ['NTLM TlRMTVNTUAAB', 'Negotiate YII', 'ntlm x', 'NEGOTIATE x', 'NTLM']) {
      await ask('app', 'GET /ok HTTP/1.1', [`Authorization: ${credentials}`])
      const authenticated = ports.at(-1)
      for (let round = 0; round < 3; round += 1) await ask()
      expect(ports.slice(-3), credentials).not.toContain(authenticated)
    }
    return 'a connection that carried NTLM or Negotiate carries nothing else'
  })
  attack('A300', 'UP', 'an answer before the upload is over', async () => {
    rig.upstream('app').answerWith(undefined)
    const early = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.once('data', () => socket.end('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig'))
    })
    await new Promise<void>((resolve) => early.listen(0, '127.0.0.1', resolve))
    const address = early.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const own = await startRig({ apps: [{ id: 'app', upstream: `http://127.0.0.1:${port}`, rules: everything }] })
    try {
      const client = new Client()
      await own.signIn(client, 'bob', `${own.origin('app')}/`)
      const cookie = client.cookieHeader(`${own.origin('app')}/`)
      const lines = [
        'POST /upload HTTP/1.1',
        `Host: app.corp.localhost:${own.port}`,
        `Cookie: ${cookie}`,
        'Sec-Fetch-Site: same-origin',
        'Content-Length: 100000000',
      ]
      const answer = await sendRaw([`${lines.join('\r\n')}\r\n\r\n`, 'x'.repeat(100_000)], {
        port: own.port,
        timeoutMs: 8000,
        quietMs: 6000,
      })
      expect(answer.statuses).toEqual([413])
      expect(answer.closed).toBe(true)
      return '413 delivered, then closed'
    } finally {
      await own.stop()
      await new Promise<void>((resolve) => early.close(() => resolve()))
    }
  })
  attack('A301', 'UP', 'internal addresses in an answer', async () => {
    const origin = rig.upstream('app').origin
    rig
      .upstream('app')
      .answerWith(
        `HTTP/1.1 302 Found\r\nLocation: ${origin}/x?y=1\r\nContent-Location: ${origin}/x\r\nRefresh: 0;url=${origin}/y\r\nContent-Length: 0\r\n\r\n`,
      )
    const answer = await ask()
    expect(answer.text).not.toContain(origin)
    expect(answer.text).toContain(`${rig.origin('app')}/x?y=1`)
    return 'rewritten to the public origin'
  })
  attack('A207', 'SSRF', 'redirects of an upstream are never followed', async () => {
    const outcomes: string[] = []
    for (const location of ['http://169.254.169.254/', 'http://127.0.0.1:9000/admin', '//evil.test/']) {
      rig.upstream('app').answerWith(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`)
      const answer = await ask()
      outcomes.push(String(answer.statuses[0]))
    }
    expect(rig.upstream('app').requests()).toHaveLength(3)
    return summarise(outcomes)
  })
})
