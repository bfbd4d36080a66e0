/**
 * Upgrades: from pages of other sites, without a session, to other protocols, with a body, in the middle of a pipeline.
 *
 * Safe: refused in plain HTTP, the socket closed, and not one byte at the upstream; anything but a GET to `websocket` is an ordinary
 * request that loses its Upgrade. Cross-site WebSocket hijacking is the attack that cookies alone do not stop.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, signedInCookie, summarise } from './attack.ts'

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const accepted =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
const websocket = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`]

describe('upgrades', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    const rules = [
      { name: 'staff', allow: { groups: ['staff'] }, paths: ['/ws', '/ok', '/read'] },
      { name: 'no sockets here', deny: { everyone: true }, paths: ['/read'], methods: ['websocket'] },
      { name: 'open', allow: { public: true }, paths: ['/public/**'], methods: ['GET'] },
    ]
    rig = await startRig({
      apps: [
        { id: 'app', rules },
        { id: 'wiki', rules },
      ],
    })
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => {
    rig.upstream('app').reset()
    rig.upstream('app').answerWith(accepted)
  })
  afterEach(() => mustBeAlive(rig))

  const send = (line: string, headers: readonly string[], more = ''): Promise<RawAnswer> =>
    sendRaw(`${line}\r\nHost: app.corp.localhost:${rig.port}\r\n${headers.join('\r\n')}\r\n\r\n${more}`, { port: rig.port })

  attack('A172', 'WS', 'from pages of other origins', async () => {
    const outcomes: string[] = []
    const port = rig.port
    for (const headers of [
      ['Origin: https://evil.test'],
      ['Origin: null'],
      [],
      [`Origin: http://app.corp.localhost.evil.test:${port}`],
      [`Origin: https://app.corp.localhost:${port}`],
      [`Origin: http://app.corp.localhost:${port + 1}`],
      ['Origin: http://app.corp.localhost'],
      [`Origin: ${rig.origin('wiki')}`, 'Sec-Fetch-Site: same-site'],
      [`Origin: ${rig.origin('access')}`],
      ['Origin: https://evil.test', 'Sec-Fetch-Site: cross-site'],
      [`Origin: ${rig.origin('app')}`, 'Origin: https://evil.test'],
      [`Origin: ${rig.origin('app')}, https://evil.test`],
      [`Origin: ${rig.origin('app').toUpperCase()}`],
      [`Origin: ${rig.origin('app')}/`],
      ['Sec-Fetch-Site: cross-site'],
      ['Sec-Fetch-Site: same-origin, cross-site'],
    ]) {
      rig.upstream('app').reset()
      rig.upstream('app').answerWith(accepted)
      const answer = await send('GET /ws HTTP/1.1', [...websocket, `Cookie: ${bob}`, ...headers])
      outcomes.push(mustBeRefused(rig, answer, headers.join()))
      expect(answer.statuses, headers.join()).toEqual([403])
      expect(answer.closed, headers.join()).toBe(true)
    }
    const own = await send('GET /ws HTTP/1.1', [...websocket, `Cookie: ${bob}`, `Origin: ${rig.origin('app')}`])
    expect(own.statuses).toEqual([101])
    return `${summarise(outcomes)}; the app's own page gets its socket`
  })
  attack('A173', 'WS', 'without a session, with a dead one, where the policy says no', async () => {
    const outcomes: string[] = []
    const own = `Origin: ${rig.origin('app')}`
    for (const [line, headers, status] of [
      ['GET /ws HTTP/1.1', [], 401],
      ['GET /ws HTTP/1.1', ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html'], 401],
      ['GET /ws HTTP/1.1', [`Cookie: postern-app=${'A'.repeat(43)}`], 401],
      ['GET /admin/ws HTTP/1.1', [`Cookie: ${bob}`], 403],
      ['GET /read HTTP/1.1', [`Cookie: ${bob}`], 403],
      ['GET /public/ws HTTP/1.1', [], 401],
      ['GET /../ws HTTP/1.1', [`Cookie: ${bob}`], 400],
      ['GET /.postern/ws HTTP/1.1', [`Cookie: ${bob}`], 404],
      ['GET /ws HTTP/1.0', [], 401],
    ] as const) {
      rig.upstream('app').reset()
      rig.upstream('app').answerWith(accepted)
      const answer = await send(line, [...websocket, own, ...headers])
      outcomes.push(mustBeRefused(rig, answer, line))
      expect(answer.statuses, `${line} ${headers.join()}`).toEqual([status])
      expect(answer.closed, line).toBe(true)
      expect(answer.text, line).not.toMatch(/^location:/im)
    }
    return summarise(outcomes)
  })
  attack('A103b', 'SMUG', 'other protocols, other methods, a list, a lie', async () => {
    const outcomes: string[] = []
    const own = [`Cookie: ${bob}`, `Origin: ${rig.origin('app')}`, 'Sec-Fetch-Site: same-origin']
    for (const [line, headers] of [
      ['GET /ok HTTP/1.1', ['Connection: Upgrade', 'Upgrade: h2c']],
      ['GET /ok HTTP/1.1', ['Connection: Upgrade', 'Upgrade: TLS/1.2']],
      ['GET /ok HTTP/1.1', ['Connection: Upgrade', 'Upgrade: websocket, h2c', `Sec-WebSocket-Key: ${key}`]],
      ['GET /ok HTTP/1.1', ['Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: websocket']],
      ['GET /ok HTTP/1.1', ['Connection: close', 'Upgrade: websocket', `Sec-WebSocket-Key: ${key}`]],
      ['GET /ok HTTP/1.1', ['Upgrade: foo']],
      ['POST /ok HTTP/1.1', ['Connection: Upgrade', 'Upgrade: websocket', `Sec-WebSocket-Key: ${key}`, 'Content-Length: 0']],
      // RFC 9110 §7.8: HTTP/1.0 knows no Upgrade.
      ['GET /ok HTTP/1.0', websocket],
    ] as const) {
      rig.upstream('app').reset()
      const answer = await send(line, [...own, ...headers])
      expect(answer.statuses, headers.join()).not.toContain(101)
      expect(rig.upstream('app').bytes(), headers.join()).not.toMatch(/^(?:upgrade|http2-settings):/im)
      expect(rig.upstream('app').bytes(), headers.join()).not.toMatch(/^connection:.*upgrade/im)
      outcomes.push(`${answer.statuses.join('/')}, ${rig.upstream('app').requests().length} at the upstream`)
    }
    return summarise(outcomes)
  })
  attack('A109b', 'SMUG', 'a 101 that is no handshake opens no tunnel', async () => {
    const outcomes: string[] = []
    const after = `GET /admin/secret HTTP/1.1\r\nHost: app.corp.localhost:${rig.port}\r\nX-Smug: 1\r\n\r\n`
    for (const answered of [
      accepted.replace('websocket', 'h2c'),
      accepted.replace(/Sec-WebSocket-Accept: .*\r\n/, ''),
      accepted.replace('s3pPLMBi', 'AAAAAAAA'),
      accepted.replace('\r\n\r\n', '\r\nSec-WebSocket-Protocol: never-offered\r\n\r\n'),
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    ]) {
      rig.upstream('app').reset()
      rig.upstream('app').answerWith(answered)
      const answer = await send('GET /ws HTTP/1.1', [...websocket, `Cookie: ${bob}`, `Origin: ${rig.origin('app')}`], after)
      expect(answer.statuses, answered.slice(0, 40)).not.toContain(101)
      expect(answer.closed).toBe(true)
      expect(rig.upstream('app').bytes(), answered).not.toContain('X-Smug')
      outcomes.push(String(answer.statuses[0]))
    }
    return summarise(outcomes)
  })
  attack('A103c', 'SMUG', 'an upgrade with a body, or behind a request that has no answer yet', async () => {
    const own = [...websocket, `Cookie: ${bob}`, `Origin: ${rig.origin('app')}`]
    const outcomes: string[] = []
    for (const framing of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
      rig.upstream('app').reset()
      const answer = await send('GET /ws HTTP/1.1', [...own, framing], framing.startsWith('C') ? 'hello' : '5\r\nhello\r\n0\r\n\r\n')
      outcomes.push(mustBeRefused(rig, answer, framing))
    }
    rig.upstream('app').reset()
    rig.upstream('app').answerWith(() => undefined)
    const head = (line: string, headers: readonly string[]) =>
      `${line}\r\nHost: app.corp.localhost:${rig.port}\r\n${headers.join('\r\n')}\r\n\r\n`
    const answer = await sendRaw(head('GET /ok HTTP/1.1', [`Cookie: ${bob}`]) + head('GET /ws HTTP/1.1', own), { port: rig.port })
    expect(answer.statuses).not.toContain(101)
    expect(rig.upstream('app').bytes()).not.toMatch(/^GET \/ws/m)
    return `${summarise(outcomes)}; out of turn: closed`
  })
})
