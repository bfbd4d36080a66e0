/**
 * Paths that need no sign-in, and attempts to make everything one of them: queries, health-check agents, methods, any credential at all,
 * preflights. And the same denial for HEAD, ranges and conditional requests as for GET.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

const open = { name: 'open', allow: { public: true }, paths: ['/public/**'], methods: ['GET'] }
const share = { name: 'shared', allow: { public: true }, paths: ['/share/**'] }
const sealed = { name: 'sealed', deny: { signed_in: true }, paths: ['/share/sealed/**'] }
const staff = { name: 'staff', allow: { groups: ['staff'] }, paths: ['/', '/ok', '/share/**'] }

describe('public paths and what pretends to be one', () => {
  let rig: Rig
  let bob: string
  let bobElsewhere: string

  beforeAll(async () => {
    rig = await startRig({
      apps: [
        { id: 'app', rules: [open, share, sealed, staff] },
        { id: 'reversed', rules: [staff, sealed, share, open] },
      ],
    })
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
    bobElsewhere = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('reversed')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => {
    rig.upstream('app').reset()
    rig.upstream('reversed').reset()
  })
  afterEach(() => mustBeAlive(rig))

  async function allRefused(requests: readonly (readonly [line: string, ...headers: string[]])[]): Promise<string> {
    const outcomes: string[] = []
    for (const [line, ...headers] of requests) {
      outcomes.push(mustBeRefused(rig, await sendLine(rig, line, [...headers, 'Connection: close']), `${line} ${headers.join()}`))
    }
    return summarise(outcomes)
  }

  attack('A63', 'SKIP', 'a query is no path', () =>
    allRefused([
      ['GET /admin/secret?x=/public/ HTTP/1.1'],
      ['GET /admin/secret?/public/a HTTP/1.1'],
      ['GET /?/public/ HTTP/1.1'],
      ['GET /publicity HTTP/1.1'],
      ['GET /x/public/a HTTP/1.1'],
    ]),
  )
  attack('A64', 'SKIP', 'health checkers are nobody', () =>
    allRefused([
      ['GET /admin/secret HTTP/1.1', 'User-Agent: GoogleHC/1.0'],
      ['GET /admin/secret HTTP/1.1', 'User-Agent: kube-probe/1.29'],
      ['GET /admin/secret HTTP/1.1', 'User-Agent: ELB-HealthChecker/2.0'],
      ['GET /admin/secret HTTP/1.1', 'X-Health-Check: 1'],
      ['GET /healthz HTTP/1.1', 'User-Agent: kube-probe/1.29'],
      ['GET /livez HTTP/1.1'],
      ['GET /readyz HTTP/1.1'],
      ['GET /metrics HTTP/1.1'],
    ]),
  )
  attack('A67', 'SKIP', 'only the method that the rule names', async () => {
    const refused = await allRefused([
      ['POST /public/x HTTP/1.1', 'Content-Length: 0'],
      ['HEAD /public/x HTTP/1.1'],
      ['OPTIONS /public/x HTTP/1.1'],
      ['get /public/x HTTP/1.1'],
      ['DELETE /public/x HTTP/1.1'],
      ['POST /public/x?_method=GET HTTP/1.1', 'X-HTTP-Method-Override: GET', 'Content-Length: 0'],
    ])
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X_HTTP_Method_Override']) {
      rig.upstream('app').reset()
      await sendLine(rig, 'GET /public/x HTTP/1.1', [`${name}: DELETE`, 'Connection: close'])
      expect(rig.upstream('app').requests(), name).toHaveLength(1)
      expect(rig.upstream('app').bytes(), name).not.toContain('DELETE')
    }
    return `${refused}; overrides never arrive`
  })
  attack('A69', 'SKIP', 'the order of rules decides nothing', async () => {
    const seen: string[] = []
    for (const [id, cookie] of [
      ['app', bob],
      ['reversed', bobElsewhere],
    ] as const) {
      for (const who of [[], [`Cookie: ${cookie}`]]) {
        const statuses: (number | undefined)[] = []
        for (const target of ['/share/x', '/share/sealed/x']) {
          const answer = await sendLine(rig, `GET ${target} HTTP/1.1`, [...who, 'Connection: close'], {
            host: `${id}.corp.localhost:${rig.port}`,
          })
          statuses.push(answer.statuses[0])
        }
        seen.push(statuses.join('/'))
      }
    }
    expect(seen.slice(0, 2)).toEqual(seen.slice(2))
    expect(seen[1]).toBe('200/403')
    return `anonymous ${seen[0]}, bob ${seen[1]}, in both orders`
  })
  attack('A70', 'SKIP', 'a credential is no proof', () =>
    allRefused([
      ['GET /admin/secret HTTP/1.1', 'Authorization: Bearer x'],
      ['GET /admin/secret?access_token=x HTTP/1.1'],
      ['GET /admin/secret HTTP/1.1', 'Authorization: Basic Og=='],
      ['GET /ok HTTP/1.1', 'Authorization: Basic Og=='],
      ['GET /ok HTTP/1.1', `Cookie: postern-app=${'x'.repeat(43)}`],
      ['GET /ok HTTP/1.1', 'Cookie: postern-app=x', 'Authorization: Bearer x'],
      ['GET /ok HTTP/1.1', 'Postern-Authorization: Bearer x'],
      ['GET /ok HTTP/1.1', `Cookie: __Host-postern-app=${bob.split('=')[1]}`],
    ]),
  )
  attack('A71', 'SKIP', 'a preflight opens nothing', async () => {
    const outcomes: string[] = []
    for (const method of ['GET', 'DELETE']) {
      for (const headers of [[], [`Cookie: ${bob}`]]) {
        const lines = ['Origin: https://evil.test', `Access-Control-Request-Method: ${method}`, ...headers, 'Connection: close']
        const answer = await sendLine(rig, 'OPTIONS /admin/secret HTTP/1.1', lines)
        outcomes.push(mustBeRefused(rig, answer, method))
        expect(answer.text).not.toMatch(/^access-control-/im)
      }
    }
    return `${summarise(outcomes)}; no CORS header of ours`
  })
  attack('A171', 'CACHE', 'HEAD, ranges and conditions are denied like GET, and tell nothing', async () => {
    rig
      .upstream('app')
      .answerWith('HTTP/1.1 206 Partial Content\r\nETag: "secret-etag"\r\nContent-Range: bytes 0-0/4711\r\nContent-Length: 1\r\n\r\nx')
    const outcomes: string[] = []
    for (const [method, header] of [
      ['HEAD', 'X-A: 1'],
      ['GET', 'Range: bytes=0-0'],
      ['GET', 'If-None-Match: "secret-etag"'],
      ['GET', 'If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT'],
      ['HEAD', 'If-Match: *'],
      ['GET', 'If-Range: "secret-etag"'],
    ]) {
      for (const cookie of [[], [`Cookie: ${bob}`]]) {
        const answer = await sendLine(rig, `${method} /admin/secret HTTP/1.1`, [header ?? '', ...cookie, 'Connection: close'])
        outcomes.push(mustBeRefused(rig, answer, `${method} ${header}`))
        expect([401, 403]).toContain(answer.statuses[0])
        expect(answer.text).toMatch(/^cache-control: no-store/im)
        expect(answer.text).not.toMatch(/secret-etag|4711|^etag|^content-range|^last-modified/im)
      }
    }
    return summarise(outcomes)
  })
})
