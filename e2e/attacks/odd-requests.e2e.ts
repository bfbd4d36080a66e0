/**
 * Requests that are legal, or nearly, and rare: pipelines over HTTP/1.0, an absolute form against its Host, expectations, header bombs,
 * odd targets. Judged by the upstream's log and by whether the next ordinary request is answered.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, signedInCookie, summarise } from './attack.ts'

describe('odd requests', () => {
  let rig: Rig
  let bob: string
  let host: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
    host = `Host: app.corp.localhost:${rig.port}`
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(async () => {
    mustBeAlive(rig)
    rig.upstream('app').reset()
    const next = await send(head('GET /b HTTP/1.1', ['Connection: close']))
    expect(next.text).toContain('"target":"/b"')
  })

  const send = (text: string, options: { readonly quietMs?: number; readonly timeoutMs?: number } = {}): Promise<RawAnswer> =>
    sendRaw(text, { port: rig.port, ...options })
  const head = (line: string, headers: readonly string[] = [], cookie = bob) =>
    `${line}\r\n${[host, `Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', ...headers].join('\r\n')}\r\n\r\n`
  const targets = () =>
    rig
      .upstream('app')
      .requests()
      .map((seen) => seen.target)

  attack('A104b', 'SMUG', 'a pipeline over HTTP/1.0 with keep-alive', async () => {
    const one = (path: string) => head(`GET ${path} HTTP/1.0`, ['Connection: keep-alive'])
    const answer = await send(one('/a') + one('/admin/secret') + one('/b'), { quietMs: 800 })
    for (const target of targets()) expect(['/a', '/b']).toContain(target)
    expect(answer.statuses[0]).toBe(200)
    expect(answer.statuses.filter((status) => status === 200).length).toBe(targets().length)
    return `${answer.statuses.join(', ')}; the upstream saw ${targets().join(' ')}`
  })
  attack('A106b', 'SMUG', 'a pipeline in which the person changes', async () => {
    const answer = await send(
      head('GET /a HTTP/1.1') +
        head('GET /x HTTP/1.1', [], `postern-app=${'A'.repeat(43)}`) +
        head('GET /b HTTP/1.1') +
        head('GET /ok HTTP/1.1', ['Connection: close'], 'theme=dark'),
      { quietMs: 800 },
    )
    expect(targets()).toEqual(['/a', '/b'])
    expect(answer.statuses).toEqual([200, 401, 200, 401])
    return '200, 401, 200, 401: each request by its own cookie'
  })
  attack('A57b', 'PATH', 'an absolute form and another Host', async () => {
    const outcomes: string[] = []
    for (const [target, hosts] of [
      [`http://wiki.corp.localhost:${rig.port}/ok`, [host]],
      [`http://app.corp.localhost:${rig.port}/ok`, [`Host: wiki.corp.localhost:${rig.port}`]],
      [`http://app.corp.localhost:${rig.port}/ok`, ['Host: evil.test']],
      [`http://app.corp.localhost:${rig.port}/ok`, []],
      [`http://app.corp.localhost:${rig.port}/ok`, [host, host]],
      ['http://app.corp.localhost/ok', [host]],
      [`http://app.corp.localhost:${rig.port + 1}/ok`, [host]],
      [`ws://app.corp.localhost:${rig.port}/ok`, [host]],
      [`ftp://app.corp.localhost:${rig.port}/ok`, [host]],
      [`http:/app.corp.localhost:${rig.port}/ok`, [host]],
      [`http://app.corp.localhost:${rig.port}/admin/secret`, [host]],
    ] as const) {
      rig.upstream('wiki').reset()
      const answer = await send(`GET ${target} HTTP/1.1\r\n${[...hosts, `Cookie: ${bob}`, 'Connection: close'].join('\r\n')}\r\n\r\n`)
      outcomes.push(mustBeRefused(rig, answer, `${target} ${hosts.join()}`))
      expect(rig.upstream('wiki').bytes()).toBe('')
    }
    return summarise(outcomes)
  })
  attack('A253', 'DOS', 'targets that make careless parsers throw', async () => {
    const outcomes: string[] = []
    for (const target of [
      '//x@x',
      '/%',
      '/%zz',
      '/%E0%A4%A',
      '/[',
      '/{',
      '*',
      '/ok?%',
      '/ok?%zz',
      '/ok?__proto__[x]=1',
      '/__proto__',
      '/constructor/prototype',
    ]) {
      rig.upstream('app').reset()
      const answer = await send(head(`GET ${target} HTTP/1.1`, ['Connection: close']))
      expect(answer.statuses[0], target).toBeLessThan(500)
      for (const seen of targets()) expect(seen, target).toBe(target)
      outcomes.push(`${answer.statuses[0]}`)
    }
    return summarise(outcomes)
  })
  attack('A253b', 'DOS', 'expectations: met after the decision, never forwarded, nothing else expected', async () => {
    const outcomes: string[] = []
    const body = 'x'.repeat(2000)
    const allowed = await send(
      head('POST /ok HTTP/1.1', ['Expect: 100-continue', `Content-Length: ${body.length}`, 'Connection: close']) + body,
    )
    expect(allowed.statuses).toEqual([100, 200])
    expect(rig.upstream('app').bytes()).not.toMatch(/^expect:/im)
    expect(rig.upstream('app').requests()[0]?.body).toBe(body)
    for (const [line, headers] of [
      ['POST /admin/secret HTTP/1.1', ['Expect: 100-continue', 'Content-Length: 2000']],
      ['POST /ok HTTP/1.1', ['Expect: 100-continue', 'Content-Length: 2000', 'Transfer-Encoding: chunked']],
    ] as const) {
      rig.upstream('app').reset()
      const answer = await send(head(line, headers))
      expect(answer.statuses, line).not.toContain(100)
      outcomes.push(mustBeRefused(rig, answer, line))
    }
    for (const expectation of ['x', '200-ok', '100-continue, x', '100-Continue', '']) {
      rig.upstream('app').reset()
      const answer = await send(head('GET /ok HTTP/1.1', [`Expect: ${expectation}`, 'Connection: close']))
      expect(answer.statuses.at(-1), expectation).toBeLessThan(500)
      expect(rig.upstream('app').bytes(), expectation).not.toMatch(/^expect:/im)
      outcomes.push(`Expect ${expectation}: ${answer.statuses.join('/')}`)
    }
    return `100 then 200 for an allowed upload; ${outcomes.join(', ')}`
  })
  attack('A249', 'DOS', 'header bombs are refused, and the next request is answered', async () => {
    const outcomes: string[] = []
    const bombs: Readonly<Record<string, string>> = {
      '20 KB header': head('GET /admin/x HTTP/1.1', [`X-A: ${'a'.repeat(20_000)}`]),
      '40 KB header': head('GET /ok HTTP/1.1', [`X-A: ${'a'.repeat(40_000)}`]),
      '40 KB target': head(`GET /ok/${'a'.repeat(40_000)} HTTP/1.1`),
      '1999 headers': head(
        'GET /ok HTTP/1.1',
        Array.from({ length: 1999 }, (_, index) => `X-${index}: `),
      ),
      '101 headers': head(
        'GET /ok HTTP/1.1',
        Array.from({ length: 101 }, () => 'X-A: 1'),
      ),
      '60 cookies of 600 B': head(
        'GET /ok HTTP/1.1',
        Array.from({ length: 60 }, (_, index) => `Cookie: c${index}=${'x'.repeat(600)}`),
      ),
      'a 1 MB name': head('GET /ok HTTP/1.1', [`${'X'.repeat(1_000_000)}: 1`]),
    }
    for (const [what, bomb] of Object.entries(bombs)) {
      rig.upstream('app').reset()
      const answer = await send(bomb)
      outcomes.push(`${what} ${mustBeRefused(rig, answer, what).split(',')[0]}`)
    }
    return outcomes.join(', ')
  })
  attack('A23b', 'HDR', 'Connection names our cookies, and fields of other spellings', async () => {
    const outcomes: string[] = []
    for (const value of [
      'close, postern-app',
      'close, X_Forwarded_User',
      'close, x-postern-assertion, X-Forwarded-User',
      'close,,,',
      'close, sec-fetch-mode',
    ]) {
      rig.upstream('app').reset()
      await send(head('GET /ok HTTP/1.1', [`Connection: ${value}`, 'X-Forwarded-User: root', 'X_Forwarded_User: root']))
      const [seen] = rig.upstream('app').requests()
      const users = seen?.headers.filter(([name]) => name.toLowerCase().replaceAll('_', '-') === 'x-forwarded-user') ?? []
      expect(users, value).toHaveLength(1)
      expect(users[0]?.[1], value).toBe('bob')
      expect(
        seen?.headers.some(([name]) => name.toLowerCase() === 'x-postern-assertion'),
        value,
      ).toBe(true)
      outcomes.push('bob')
    }
    const nominated = await send(head('GET /ok HTTP/1.1', ['Connection: close', 'Connection: Cookie']))
    expect(nominated.statuses).toEqual([400])
    return `${summarise(outcomes)}; a second Connection line that names Cookie is 400`
  })
  attack('A16b', 'HDR', 'names with blanks, tabs, dots and marks around our names', async () => {
    const outcomes: string[] = []
    for (const name of [
      'X-Forwarded-User ',
      ' X-Forwarded-User',
      'X-Forwarded-User\t',
      'X-Forwarded-User\x0b',
      'X-Forwarded User',
      'X-Forwarded-User\xa0',
    ]) {
      rig.upstream('app').reset()
      outcomes.push(mustBeRefused(rig, await send(head('GET /ok HTTP/1.1', [`${name}: root`, 'Connection: close'])), JSON.stringify(name)))
    }
    for (const name of [
      'X.Forwarded.User',
      "X'Forwarded'User",
      'X-Forwarded-User.',
      'X-Forwarded-User-',
      'X+Forwarded+User',
      'X~Forwarded~User',
      'Remote-User',
      'REMOTE_USER',
      'X-Remote-User',
    ]) {
      rig.upstream('app').reset()
      await send(head('GET /ok HTTP/1.1', [`${name}: root`, 'Connection: close']))
      expect(rig.upstream('app').requests(), name).toHaveLength(1)
      expect(rig.upstream('app').bytes(), name).not.toContain('root')
      outcomes.push('removed')
    }
    return summarise(outcomes)
  })
})
