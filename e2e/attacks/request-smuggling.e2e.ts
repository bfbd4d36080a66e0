/**
 * Requests that two parsers could cut differently. Judged by what the upstream received: never a request that nobody decided about.
 *
 * `smuggled` is the request that must never arrive on its own; it carries `X-Smug`.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, summarise } from './attack.ts'

describe('request smuggling and response desync', () => {
  let rig: Rig
  let bob: string
  let alice: string
  let host: string
  let smuggled: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie('bob')
    alice = await signedInCookie('alice')
    host = `Host: app.corp.localhost:${rig.port}`
    smuggled = `GET /admin/secret HTTP/1.1\r\n${host}\r\nX-Smug: 1\r\n\r\n`
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  async function signedInCookie(person: string): Promise<string> {
    const client = new Client()
    const url = `${rig.origin('app')}/ok`
    const answer = await rig.signIn(client, person, url)
    expect(answer.status).toBe(200)
    return client.cookieHeader(url)
  }

  const send = (text: string, options: { readonly quietMs?: number; readonly timeoutMs?: number } = {}): Promise<RawAnswer> =>
    sendRaw(text, { port: rig.port, ...options })
  const head = (line: string, headers: readonly string[] = []) =>
    `${line}\r\n${[host, `Cookie: ${bob}`, 'Sec-Fetch-Site: same-origin', ...headers].join('\r\n')}\r\n\r\n`

  function nothingSmuggled(answer: RawAnswer, what: string): string {
    expect(rig.upstream('app').bytes(), what).not.toMatch(/^GET \/admin\/secret/m)
    for (const seen of rig.upstream('app').requests()) {
      expect(seen.target, what).not.toContain('admin')
      expect(
        seen.headers.some(([name]) => name.toLowerCase() === 'x-smug'),
        what,
      ).toBe(false)
    }
    return `${answer.statuses.join('/') || 'closed'}, ${rig.upstream('app').requests().length} at the upstream`
  }

  async function eachRefused(inputs: readonly string[]): Promise<string> {
    const outcomes: string[] = []
    // As bob, and as nobody: what is malformed is refused before anybody asks who sent it.
    for (const input of inputs.flatMap((each) => [each, each.replace(`Cookie: ${bob}\r\n`, '')])) {
      rig.upstream('app').reset()
      const answer = await send(input, { timeoutMs: 8000 })
      outcomes.push(mustBeRefused(rig, answer, JSON.stringify(input.slice(0, 300))))
      expect(answer.closed, `closed after ${JSON.stringify(input.slice(0, 300))}`).toBe(true)
    }
    return summarise(outcomes)
  }

  /** The next request of somebody else gets its own answer. */
  async function nextIsOwn(): Promise<void> {
    const answer = await send(`GET /b HTTP/1.1\r\n${host}\r\nCookie: ${alice}\r\nConnection: close\r\n\r\n`)
    expect(answer.text).toContain('"target":"/b"')
  }

  attack('A88', 'SMUG', 'Content-Length and Transfer-Encoding', async () => {
    const outcome = nothingSmuggled(
      await send(`${head('POST /ok HTTP/1.1', ['Content-Length: 4', 'Transfer-Encoding: chunked'])}0\r\n\r\n${smuggled}`),
      'CL.TE',
    )
    await nextIsOwn()
    return outcome
  })
  attack('A89', 'SMUG', 'Transfer-Encoding and Content-Length', async () => {
    const outcome = nothingSmuggled(
      await send(
        `${head('POST /ok HTTP/1.1', ['Transfer-Encoding: chunked', 'Content-Length: 4'])}${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
      ),
      'TE.CL',
    )
    await nextIsOwn()
    return outcome
  })
  attack('A90', 'SMUG', 'several or odd transfer codings', () =>
    eachRefused(
      [
        ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
        ['Transfer-Encoding: chunked, identity'],
        ['Transfer-Encoding: identity, chunked'],
        ['Transfer-Encoding: chunked, chunked'],
        ['Transfer-Encoding: chunkedchunked'],
        ['Transfer-Encoding: gzip, chunked'],
      ].map((headers) => `${head('POST /ok HTTP/1.1', headers)}0\r\n\r\n${smuggled}`),
    ),
  )
  attack('A91', 'SMUG', 'transfer codings in disguise', () =>
    eachRefused(
      [
        'Transfer-Encoding: xchunked',
        'Transfer-Encoding: "chunked"',
        'Transfer-Encoding: chunked;ext=1',
        'Transfer-Encoding: ch\x96nked',
        'Transfer-Encoding: \x0bchunked',
        'Transfer-Encoding: chunked\x0c',
        'Transfer-Encoding : chunked',
        ' Transfer-Encoding: chunked',
        'Transfer_Encoding: chunked\r\nTransfer-Encoding: x',
      ].map((header) => `${head('POST /ok HTTP/1.1', [header])}0\r\n\r\n${smuggled}`),
    ),
  )
  attack('A93', 'SMUG', 'folded headers', () =>
    eachRefused([
      `${head('POST /ok HTTP/1.1', ['Transfer-Encoding:\r\n chunked'])}0\r\n\r\n`,
      head('GET /ok HTTP/1.1', ['X-A: b\r\n c']),
      head('GET /ok HTTP/1.1', ['X-A: b\r\n\tc']),
    ]),
  )
  attack('A94', 'SMUG', 'bare line feeds and carriage returns', () =>
    eachRefused([
      `GET /ok HTTP/1.1\n${host}\nCookie: ${bob}\n\n`,
      head('GET /ok HTTP/1.1', ['X-A: b\rX-C: d']),
      head('GET /ok HTTP/1.1', ['X-A: b\nX-C: d']),
      `GET /ok HTTP/1.1\r\n${host}\r\n\rXGET /admin/secret HTTP/1.1\r\n\r\n`,
      `GET /ok HTTP/1.1\r\n${host}\r\nX-A: \x00\r\n\r\n`,
    ]),
  )
  attack('A95', 'SMUG', 'odd content lengths', () =>
    eachRefused(
      ['1 2', '+2', '-1', '0x2', '', '2, 2', '2\r\nContent-Length: 3', '2\r\nContent-Length: 2', '99999999999999999999'].map(
        (length) => `${head('POST /ok HTTP/1.1', [`Content-Length: ${length}`])}ab`,
      ),
    ),
  )
  attack('A96', 'SMUG', 'odd chunks', async () => {
    const outcomes: string[] = []
    for (const body of [
      '2;\nab\r\n0\r\n\r\n',
      '2\nab\r\n0\r\n\r\n',
      '2\rab\r\n0\r\n\r\n',
      '0x2\r\nab\r\n0\r\n\r\n',
      '+2\r\nab\r\n0\r\n\r\n',
      '1_0\r\nab\r\n0\r\n\r\n',
      '-1\r\nab\r\n0\r\n\r\n',
      '11111111111111111\r\nab\r\n0\r\n\r\n',
      '2\r\nab\n0\r\n\r\n',
      `2\r\nabcd\r\n0\r\n\r\n${smuggled}`,
    ]) {
      rig.upstream('app').reset()
      const answer = await send(head('POST /ok HTTP/1.1', ['Transfer-Encoding: chunked']) + body, { timeoutMs: 8000 })
      expect(answer.closed, JSON.stringify(body)).toBe(true)
      expect(rig.upstream('app').requests(), JSON.stringify(body)).toEqual([])
      outcomes.push(nothingSmuggled(answer, JSON.stringify(body)))
    }
    return summarise(outcomes)
  })
  attack('A97', 'SMUG', 'a chunk extension without end', async () => {
    const answer = await send(`${head('POST /ok HTTP/1.1', ['Transfer-Encoding: chunked'])}1;${'a'.repeat(4_000_000)}`, { timeoutMs: 8000 })
    expect(answer.closed).toBe(true)
    return nothingSmuggled(answer, 'extension')
  })
  attack('A98', 'SMUG', 'odd header names', async () => {
    const outcome = await eachRefused([
      `${head('POST /ok HTTP/1.1', ['Content-Length : 2'])}ab`,
      `POST /ok HTTP/1.1\r\n Content-Length: 2\r\n${host}\r\n\r\nab`,
      head('GET /ok HTTP/1.1', ['no colon here']),
      head('GET /ok HTTP/1.1', [': v']),
    ])
    rig.upstream('app').reset()
    const padded = await send(`${head('POST /ok HTTP/1.1', ['Content-Length: 2   ', 'Connection: close'])}ab`)
    expect(padded.statuses).toEqual([200])
    expect(rig.upstream('app').requests()[0]?.body).toBe('ab')
    return `${outcome}; padded length read right`
  })
  attack('A102', 'SMUG', 'CONNECT and TRACE', () =>
    eachRefused([
      'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n',
      `CONNECT app.corp.localhost:${rig.port} HTTP/1.1\r\n${host}\r\nCookie: ${bob}\r\nContent-Length: 3\r\n\r\nabc`,
      `TRACE /ok HTTP/1.1\r\n${host}\r\nCookie: ${bob}\r\n\r\n`,
    ]),
  )
  attack('A103', 'SMUG', 'upgrade to h2c', async () => {
    const answer = await send(
      head('GET /ok HTTP/1.1', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA']),
    )
    expect(answer.statuses).not.toContain(101)
    for (const seen of rig.upstream('app').requests())
      expect(seen.headers.map(([name]) => name.toLowerCase())).not.toEqual(expect.arrayContaining(['upgrade']))
    expect(rig.upstream('app').bytes()).not.toMatch(/h2c|http2-settings/i)
    return `${answer.statuses.join('/')}, no Upgrade at the upstream`
  })
  attack('A104', 'SMUG', 'HTTP/1.0 with Transfer-Encoding', async () => {
    const answer = await send(`${head('POST /ok HTTP/1.0', ['Transfer-Encoding: chunked', 'Connection: keep-alive'])}0\r\n\r\n${smuggled}`)
    expect(answer.closed).toBe(true)
    return nothingSmuggled(answer, 'HTTP/1.0')
  })
  attack('A105', 'SMUG', 'line breaks in a path', async () => {
    const outcomes: string[] = []
    for (const target of ['/ok%0d%0aX:%20y', '/ok/\u010d\u010a', '/ok/\xe9', '/ok%0aGET%20/admin']) {
      rig.upstream('app').reset()
      outcomes.push(mustBeRefused(rig, await send(Buffer.from(head(`GET ${target} HTTP/1.1`), 'utf8').toString('latin1')), target))
    }
    return summarise(outcomes)
  })
  attack('A106', 'SMUG', 'three pipelined requests are decided one by one', async () => {
    const answer = await send(head('GET /a HTTP/1.1') + head('GET /admin/secret HTTP/1.1') + head('GET /b HTTP/1.1'), { quietMs: 800 })
    expect(
      rig
        .upstream('app')
        .requests()
        .map((seen) => seen.target),
    ).toEqual(['/a', '/b'])
    expect(answer.statuses).toEqual([200, 403, 200])
    return '200, 403, 200 in order; the middle one never arrived'
  })
  attack('A107', 'SMUG', 'answers of the upstream that are not HTTP', async () => {
    const outcomes: string[] = []
    const bad = [
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc',
      'HTTP/1.1 200 OK\nContent-Length: 2\n\nab',
      'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n',
      `HTTP/1.1 200 OK\r\nX-Big: ${'a'.repeat(200_000)}\r\nContent-Length: 0\r\n\r\n`,
      'HTTP/1.1 200 OK\r\nX-Bad: \x01\r\nContent-Length: 0\r\n\r\n',
      'garbage\r\n\r\n',
    ]
    for (const raw of bad) {
      rig.upstream('app').reset()
      rig.upstream('app').answerWith(raw)
      const answer = await send(head('GET /ok HTTP/1.1', ['Connection: close']))
      expect(answer.statuses, JSON.stringify(raw.slice(0, 80))).toEqual([502])
      outcomes.push('502')
    }
    rig.upstream('app').answerWith('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello')
    const empty = await send(head('GET /ok HTTP/1.1', ['Connection: close']))
    expect([204, 502]).toContain(empty.statuses[0])
    expect(empty.text).not.toContain('hello')
    rig.upstream('app').reset()
    await nextIsOwn()
    return summarise(outcomes)
  })
  attack('A109', 'SMUG', 'a 101 nobody asked for', async () => {
    rig.upstream('app').answerWith('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')
    const answer = await send(head('GET /ok HTTP/1.1', ['Connection: close']), { timeoutMs: 8000 })
    expect(answer.statuses).toEqual([502])
    return '502'
  })
})
