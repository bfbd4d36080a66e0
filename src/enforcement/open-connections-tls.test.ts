/** Cuts over TLS, where no reset can be asked for: the client must still see that something is missing. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { get as httpsGet } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, afterEach, expect, test } from 'vitest'
import { rule } from '../policy/policy.fixture.ts'
import { type FlowRig, startFlow, wiki } from './enforcement.fixture.ts'
import { eventually } from './forwarding.fixture.ts'
import { answerOpen, switching, websocketHead } from './open-connections.fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-cut-'))
const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
execFileSync(
  'openssl',
  [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=wiki', '-days', '2'],
    ...['-addext', 'subjectAltName=DNS:*.corp.example', '-out', files.certFile, '-keyout', files.keyFile],
  ],
  { stdio: 'ignore' },
)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(upstreamAnswers = answerOpen): Promise<FlowRig> {
  const apps = [wiki({ rules: [rule('allow', { kind: 'signed_in' })] })]
  const rig = await startFlow({ apps, upstreamAnswers, listener: { tls: [files] } })
  rigs.push(rig)
  return rig
}

const reach = (rig: FlowRig, path: string, headers: Record<string, string>) => ({
  host: '127.0.0.1',
  port: rig.port,
  path,
  servername: 'wiki.corp.example',
  rejectUnauthorized: false,
  headers: { host: 'wiki.corp.example', ...headers },
})

test.each(['/events', '/download'])('an answer on %s is aborted and never whole', async (path) => {
  const rig = await begin()
  const { session, cookie } = await rig.signIn('alice')
  const ended = new Promise<{ readonly isWhole: boolean; readonly code: unknown }>((resolve, reject) => {
    const request = httpsGet(reach(rig, path, { cookie }), (response) => {
      response.on('error', (error: NodeJS.ErrnoException) => resolve({ isWhole: response.complete, code: error.code }))
      response.on('end', () => resolve({ isWhole: true, code: undefined }))
      response.once('data', () => void rig.sessions.endSession(session.id, 'revoked'))
    })
    request.on('error', reject)
  })
  expect(await ended).toEqual({ isWhole: false, code: 'ECONNRESET' })
  await eventually(() => rig.forwarding.open.size === 0, 'an empty registry')
})

test.each([
  ['between two frames is told why', '', '\x88\x02\x11\x31'],
  ['within a frame loses the connection and nothing else', '\x82\x7e\x10\x00half', 'half'],
])('a WebSocket that is cut %s', async (_when, first, last) => {
  const rig = await begin((connection, head) => (head.startsWith('GET /ws') ? connection.send(switching + first) : undefined))
  const { session, cookie } = await rig.signIn('alice')
  const socket = connect({ host: '127.0.0.1', port: rig.port, servername: 'wiki.corp.example', rejectUnauthorized: false })
  let received = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(websocketHead([`Cookie: ${cookie}`, 'Origin: https://wiki.corp.example']))
  await eventually(() => received.includes('\r\n\r\n') && received.endsWith(first), 'the first frame')
  await rig.sessions.endSession(session.id, 'revoked')
  await closed
  expect(received.endsWith(last)).toBe(true)
  expect(received.slice(received.indexOf('\r\n\r\n') + 4)).toBe(first === '' ? last : first)
})
