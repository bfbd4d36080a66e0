/** Host headers and authorities that choose a route they should not. Safe: 400 and closed, or 404; never the first route. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

describe('host and authority', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  async function tryHosts(hosts: readonly string[], allowed: readonly number[]): Promise<string> {
    const outcomes: string[] = []
    for (const [host, cookie] of hosts.flatMap((each) => [[each, ''] as const, [each, `Cookie: ${bob}\r\n`] as const])) {
      const head = `GET /ok HTTP/1.1\r\nHost:${host === '' ? '' : ` ${host}`}\r\n${cookie}`
      // Twice on one connection: the second is refused like the first, or never read.
      const answer = await sendRaw(`${head}\r\n${head}Connection: close\r\n\r\n`, { port: rig.port })
      outcomes.push(mustBeRefused(rig, answer, `Host ${host}`))
      for (const status of answer.statuses) expect(allowed, `Host ${host}`).toContain(status)
      if (answer.statuses[0] === 400) expect([answer.closed, answer.statuses.length], `Host ${host} is closed`).toEqual([true, 1])
    }
    return summarise(outcomes)
  }

  attack('A73', 'HOST', 'another case of a host name is the same host', async () => {
    const answer = await sendLine(rig, 'GET /admin/secret HTTP/1.1', [`Host: APP.Corp.LocalHost:${rig.port}`, `Cookie: ${bob}`])
    return mustBeRefused(rig, answer, 'upper-case host')
  })
  attack('A74', 'HOST', 'a trailing dot is the same host with the same policy', async () => {
    const denied = await sendLine(rig, 'GET /admin/secret HTTP/1.1', [`Host: app.corp.localhost.:${rig.port}`, `Cookie: ${bob}`])
    const outcome = mustBeRefused(rig, denied, 'trailing dot')
    return `${outcome}; ${await tryHosts([`app..corp.localhost:${rig.port}`, `.app.corp.localhost:${rig.port}`, `app.corp.localhost..:${rig.port}`], [400, 404, 421])}`
  })
  attack('A77', 'HOST', 'malformed Host', async () => {
    const bad = [
      '',
      `app.corp.localhost:${rig.port}/x`,
      `u@app.corp.localhost:${rig.port}`,
      'app.corp.localhost,wiki.corp.localhost',
      'app.corp.localhost:abc',
      'app.corp.localhost:99999',
      '[::1',
      'app corp',
      'app.corp.localhost:',
      'app.corp.localhost:0',
    ]
    const first = await tryHosts(bad, [400])
    const none = await sendRaw('GET /ok HTTP/1.0\r\n\r\n', { port: rig.port })
    const old = await sendRaw('GET /ok\r\n\r\n', { port: rig.port })
    const double = await sendLine(rig, 'GET /ok HTTP/1.1', [
      `Host: app.corp.localhost:${rig.port}`,
      `Host: wiki.corp.localhost:${rig.port}`,
    ])
    return [first, ...[none, old, double].map((answer) => mustBeRefused(rig, answer, 'no or two Hosts'))].join('; ')
  })
  attack('A79', 'HOST', 'unknown hosts have no default', () =>
    tryHosts(
      [
        `127.0.0.1:${rig.port}`,
        'localhost',
        'unknown.test',
        '203.0.113.7',
        'redis.internal',
        '[::1]',
        `app.corp.localhost:${rig.port + 1}`,
        'app.corp.localhost',
      ],
      [404, 421],
    ),
  )
  attack('A80', 'HOST', 'the operations address answers no foreign name', async () => {
    const port = rig.instance.operationsPort
    const rebound = await sendRaw('GET /metrics HTTP/1.1\r\nHost: attacker.rebind.test\r\nConnection: close\r\n\r\n', { port })
    const posted = await sendRaw(
      'POST /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.test\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      { port },
    )
    const fine = await sendRaw('GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', { port })
    expect([rebound.statuses[0], posted.statuses[0], fine.statuses[0]]).toEqual([421, 405, 200])
    return '421 for a foreign name, 405 for a POST'
  })
  attack('A82', 'HOST', 'international and odd names', () =>
    tryHosts(
      [
        'xn--pp-fka.corp.localhost',
        '\xc3\xa4pp.corp.localhost',
        'app_x.corp.localhost',
        'app.corp.localhost%2eevil',
        'xn--a',
        'xn--',
        `${'a'.repeat(300)}.test`,
      ],
      [400, 404, 421],
    ),
  )
  attack('A83', 'HOST', 'no Host changes the redirect URI sent to the provider', async () => {
    const answer = await sendLine(rig, 'GET /sign-in HTTP/1.1', [
      `Host: ACCESS.corp.localhost.:${rig.port}`,
      'X-Forwarded-Host: evil.test',
      'X-Forwarded-Proto: https',
      'Forwarded: host=evil.test',
    ])
    const location = /^location: (.*)$/im.exec(answer.text)?.[1]?.trim() ?? ''
    expect(location).not.toContain('evil')
    if (location.startsWith(rig.issuer))
      expect(new URL(location).searchParams.get('redirect_uri')).toBe(`${rig.origin('access')}/oidc/callback`)
    return `${answer.statuses[0]}, redirect URI as configured`
  })
  attack('A10', 'REDIR', 'no redirect is built from a request', async () => {
    const outcomes: string[] = []
    for (const headers of [[], ['X-Forwarded-Host: evil.test'], ['X-Forwarded-Prefix: //evil.test'], ['X-Forwarded-Proto: javascript']]) {
      for (const line of ['GET //evil.test/ HTTP/1.1', 'GET /ok HTTP/1.1', 'GET /\\evil.test HTTP/1.1']) {
        const answer = await sendLine(rig, line, headers)
        const location = /^location: (.*)$/im.exec(answer.text)?.[1]?.trim()
        if (location !== undefined) expect(new URL(location).origin).toBe(rig.origin('access'))
        outcomes.push(mustBeRefused(rig, answer, line))
      }
    }
    return summarise(outcomes)
  })
})
