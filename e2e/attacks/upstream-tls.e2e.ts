/**
 * Upstreams over TLS that cannot prove who they are. Safe: 502, not one byte of the request to them, and no fall-back to less.
 *
 * The name that is asked for and verified comes from the policy document alone; a client's Host chooses nothing.
 */

import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { sendRaw } from '../support/raw.ts'
import { type AppWish, type Rig, startRig } from '../support/rig.ts'
import { createTestAuthority, type TestAuthority, type TestCertificate } from '../support/test-authority.ts'
import { attack, endRig, mustBeAlive } from './attack.ts'

const rules = [{ name: 'everybody', allow: { public: true } }]

describe('upstreams over TLS', () => {
  let rig: Rig
  let ours: TestAuthority
  let theirs: TestAuthority
  const servers: Server[] = []
  let arrived: string[] = []
  let askedFor: (string | undefined)[] = []

  async function serve(name: string, { cert, key }: TestCertificate): Promise<number> {
    const server = createServer({ cert, key, SNICallback: undefined }, (request, response) => {
      arrived.push(`${name} ${request.method} ${request.url} ${request.headers.host}`)
      const { servername } = request.socket as { servername?: string | false }
      askedFor.push(servername === false ? undefined : servername)
      response.end('hello from inside')
    })
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    servers.push(server)
    return (server.address() as AddressInfo).port
  }

  beforeAll(async () => {
    ours = createTestAuthority()
    theirs = createTestAuthority()
    const good = await serve('good', ours.issue('IP:127.0.0.1'))
    const named = await serve('named', ours.issue('DNS:payroll.internal'))
    const expired = await serve('expired', ours.issue('IP:127.0.0.1', -1))
    const uri = await serve('uri', ours.issue('URI:https://127.0.0.1/,URI:spiffe://payroll.internal'))
    const wildcard = await serve('wildcard', ours.issue('DNS:*.corp.internal'))
    const foreign = await serve('foreign', theirs.issue('IP:127.0.0.1'))
    const at = (port: number, more: object = { ca_file: ours.file }) => ({ url: `https://127.0.0.1:${port}`, ...more })
    const named2 = (port: number, server_name: string) => at(port, { ca_file: ours.file, server_name })
    const apps: AppWish[] = Object.entries({
      good: at(good),
      named: named2(named, 'payroll.internal'),
      wildcard: named2(wildcard, 'payroll.corp.internal'),
      expired: at(expired),
      'wrong-host': at(named),
      'wrong-name': named2(named, 'wiki.internal'),
      'public-name': named2(good, 'payroll.internal'),
      'uri-name': at(uri),
      deeper: named2(wildcard, 'a.b.corp.internal'),
      foreign: at(foreign),
      'no-ca': at(good, {}),
      'plain-port': { url: 'https://127.0.0.1:1', ca_file: ours.file },
    }).map(([id, upstream]) => ({ id, upstream, rules }))
    rig = await startRig({ apps })
  })
  afterAll(async () => {
    await endRig(rig)
    for (const server of servers) server.close()
    ours.remove()
    theirs.remove()
  })
  beforeEach(() => {
    arrived = []
    askedFor = []
  })
  afterEach(() => mustBeAlive(rig))

  const ask = (id: string, as: 'navigation' | 'fetch' = 'fetch') =>
    new Client().send(`${rig.origin(id)}/ok`, { as, headers: { authorization: 'Bearer secret', cookie: 'theme=secret' } })

  attack('A299', 'UP', 'certificates that run out, name another, or come from nowhere', async () => {
    const outcomes: string[] = []
    for (const id of ['expired', 'wrong-host', 'wrong-name', 'public-name', 'uri-name', 'deeper', 'foreign', 'no-ca']) {
      for (const as of ['fetch', 'navigation', 'fetch'] as const) {
        const answer = await ask(id, as)
        expect([answer.status, answer.header('x-postern')], id).toEqual([502, 'upstream_unreachable'])
        expect(answer.body, id).not.toMatch(/CERT|certificate|127\.0\.0\.1|internal\b|altname/i)
      }
      outcomes.push(id)
    }
    expect(arrived).toEqual([])
    for (const id of ['good', 'named', 'wildcard']) {
      const answer = await ask(id)
      expect([answer.status, answer.body], id).toEqual([200, 'hello from inside'])
    }
    return `502 and nothing arrived: ${outcomes.join(', ')}; the right ones pass`
  })
  attack('A299b', 'UP', 'the name asked for comes from the configuration, never from a Host', async () => {
    for (const host of [`named.corp.localhost:${rig.port}`, `NAMED.corp.localhost.:${rig.port}`]) {
      await sendRaw(`GET /ok HTTP/1.1\r\nHost: ${host}\r\nX-Forwarded-Host: wiki.internal\r\nConnection: close\r\n\r\n`, { port: rig.port })
    }
    await ask('good')
    expect(askedFor).toEqual(['payroll.internal', 'payroll.internal', undefined])
    expect(arrived.map((line) => line.split(' ').at(-1))).toEqual([
      ...Array(2).fill(`named.corp.localhost:${rig.port}`),
      `good.corp.localhost:${rig.port}`,
    ])
    return 'server_name where it is set, none for an address; the public Host only inside'
  })
  attack('A299c', 'UP', 'a WebSocket is verified like any request', async () => {
    const outcomes: string[] = []
    for (const id of ['expired', 'wrong-name', 'foreign']) {
      const lines = [
        'GET /ws HTTP/1.1',
        `Host: ${id}.corp.localhost:${rig.port}`,
        `Origin: ${rig.origin(id)}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ]
      const answer = await sendRaw(`${lines.join('\r\n')}\r\n\r\n`, { port: rig.port, quietMs: 3000 })
      expect(answer.statuses, id).toEqual([502])
      outcomes.push(`${id} 502`)
    }
    expect(arrived).toEqual([])
    return outcomes.join(', ')
  })
})
