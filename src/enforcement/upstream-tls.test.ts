/**
 * Upstreams over TLS: who they must prove to be comes from the policy, is always checked, and never from a client.
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { createTestAuthority } from '../../e2e/support/test-authority.ts'
import type { Upstream } from '../policy/document.ts'
import { appFor, connectRaw, startRig } from './forwarding.fixture.ts'

const authority = createTestAuthority()
const otherAuthority = createTestAuthority()
afterAll(() => {
  authority.remove()
  otherAuthority.remove()
})
const ca = readFileSync(authority.file, 'utf8')
const otherCa = readFileSync(otherAuthority.file, 'utf8')

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const named = authority.issue('DNS:wiki.internal')
const addressed = authority.issue('IP:127.0.0.1')
const uriNamed = authority.issue('URI:https://wiki.internal/')
const expired = authority.issue('DNS:wiki.internal', -1)

async function startUpstream({ cert, key }: { cert: string; key: string }) {
  const serverNames: (string | false | null)[] = []
  const server = createServer({ cert, key }, (_request, response) => response.end('hello'))
  server.on('secureConnection', (socket: TLSSocket) => serverNames.push(socket.servername))
  server.on('tlsClientError', () => undefined)
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    socket.on('error', () => undefined)
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, serverNames }
}

/** The status line for a request and for a WebSocket handshake. */
async function statusesOf(upstream: Partial<Upstream>): Promise<string[]> {
  const rig = await startRig(appFor([upstream]))
  closers.push(rig.close)
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  const statuses: string[] = []
  for (const more of ['', upgrade]) {
    const client = await connectRaw(rig.port)
    closers.push(() => client.socket.destroy())
    client.send(`GET / HTTP/1.1\r\nHost: evil.example\r\n${more}\r\n`)
    statuses.push((await client.until((text) => text.includes('\r\n'))).split(' ')[1] ?? '')
  }
  return statuses
}

describe('an upstream over TLS', () => {
  test('is reached with its own authority and name, and the name is not the client’s', async () => {
    const { origin, serverNames } = await startUpstream(named)
    expect(await statusesOf({ origin, ca, serverName: 'wiki.internal' })).toEqual(['200', '101'])
    expect(new Set(serverNames)).toEqual(new Set(['wiki.internal']))
  })

  test('is reached at an address that its certificate names, without a server name', async () => {
    const { origin, serverNames } = await startUpstream(addressed)
    expect(await statusesOf({ origin, ca })).toEqual(['200', '101'])
    expect(new Set(serverNames)).toEqual(new Set([false]))
  })

  test.each([
    ['of an authority nobody named', named, { serverName: 'wiki.internal' }],
    ['of another authority', named, { ca: otherCa, serverName: 'wiki.internal' }],
    ['for another name', named, { ca, serverName: 'other.internal' }],
    ['for a name, at an address', named, { ca }],
    ['that names it in a URI only', uriNamed, { ca, serverName: 'wiki.internal' }],
    ['that has expired', expired, { ca, serverName: 'wiki.internal' }],
  ])('that shows a certificate %s is not asked', async (_what, pair, upstream) => {
    const { origin } = await startUpstream(pair)
    expect(await statusesOf({ origin, ...upstream })).toEqual(['502', '502'])
  })
})
