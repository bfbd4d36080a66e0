/** CORS preflights: which go to the app in nobody's name, and that a lock or a deny on everyone stops them (A71). */

import { afterEach, describe, expect, test, vi } from 'vitest'
import { rule } from '../policy/policy.fixture.ts'
import { type FlowRig, get, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'
import { decidePreflight, isPreflight } from './preflight.ts'
import type { Route } from './route-table.ts'

const soon = { timeout: 10_000, interval: 10 }

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const boardOrigin = 'https://board.corp.example'
const board = wiki({ id: 'board', name: 'Board', address: { origin: boardOrigin, hostname: 'board.corp.example', port: 443, prefix: '/' } })
const caller = `Origin: ${boardOrigin}`
const asks = 'Access-Control-Request-Method: PUT'

async function begin(upstreamSays?: string): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ calledBy: ['board'] }), board], ...(upstreamSays === undefined ? {} : { upstreamSays }) })
  rigs.push(rig)
  return rig
}

describe('a preflight', () => {
  test('of a calling app goes to the app as nobody’s, and is on record as what it is', async () => {
    const rig = await begin()
    const lines = [caller, asks, 'Access-Control-Request-Headers: content-type', 'X-Forwarded-User: mallory', 'X-Postern-Assertion: x']
    expect((await rig.ask(get('/page', lines, undefined, 'OPTIONS'))).status).toBe(200)
    const received = rig.upstream.received()
    expect(received).toMatch(/^OPTIONS \/page /)
    expect(received).toContain(caller)
    expect(received).toMatch(/access-control-request-headers: content-type/i)
    expect(received).not.toMatch(/mallory|x-forwarded-user|x-postern-assertion|^cookie/im)
    expect(rig.events[0]).toMatchObject({ effect: 'allow', reason: 'cors_preflight', subject: { kind: 'nobody' }, app: wiki().id })
  })

  test.each([
    ['of a known length', 'Content-Length: 6\r\n\r\nsecret', false],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n', false],
    ['that never ends', 'Transfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n', true],
    ['that never begins', 'Transfer-Encoding: chunked\r\n\r\n', true],
  ])('shows nobody an answer %s: only its head goes back', async (_name, rest, isEndless) => {
    const facts = ['Set-Cookie: stranger=1', 'ETag: "v1"', 'Location: /secret', 'Content-Type: text/html']
    const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </secret.css>; rel=preload; as=style\r\n\r\n'
    const rig = await begin([`${hint}HTTP/1.1 200 OK`, `Access-Control-Allow-Origin: ${boardOrigin}`, ...facts, rest].join('\r\n'))
    const answer = await rig.ask(get('/page', [caller, asks], undefined, 'OPTIONS'))
    expect(answer).toMatchObject({ status: 200, body: '', headers: { 'content-length': '0', 'access-control-allow-origin': boardOrigin } })
    for (const name of ['set-cookie', 'etag', 'location', 'content-type']) expect(answer.headers).not.toHaveProperty(name)
    await vi.waitFor(() => expect(rig.events.at(-1)).toMatchObject({ event: 'access.ended', outcome: 'completed', bytesOut: 0 }), soon)
    // Nor does a stranger leave a connection behind that waits for the rest.
    if (isEndless) await rig.upstream.connections[0]?.closed
  })

  test('of somebody who is known is answered in full', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [caller, asks, `Cookie: ${cookie}`], undefined, 'OPTIONS'))).body).toBe('hello')
  })

  test.each<[string, readonly string[]]>([
    ['nobody in particular', [asks]],
    ['a sandboxed page', ['Origin: null', asks]],
    ['another site', ['Origin: https://evil.example', asks]],
    ['a site that looks like it', ['Origin: https://board.corp.example.evil.example', asks]],
    ['the app itself', [`Origin: ${wikiOrigin}`, asks]],
    ['two origins', [caller, 'Origin: https://evil.example', asks]],
    ['a calling app without a question', [caller]],
    ['a calling app with a body', [caller, asks, 'Content-Length: 1']],
    ['a calling app with a chunked body', [caller, asks, 'Transfer-Encoding: chunked']],
    ['a calling app with a cookie', [caller, asks, 'Cookie: a=b']],
    ['a calling app with a token', [caller, asks, 'Authorization: Bearer x']],
  ])('of %s is judged like any request', async (_name, lines) => {
    const rig = await begin()
    const body = lines.includes('Content-Length: 1') ? 'x' : lines.includes('Transfer-Encoding: chunked') ? '0\r\n\r\n' : ''
    const answer = await rig.ask(get('/page', lines, undefined, 'OPTIONS') + body)
    expect(answer).toMatchObject({ status: 401, headers: { 'x-postern': 'login_required' } })
    expect(rig.upstream.received()).toBe('')
  })

  test('with our cookie is the person’s request, and names the person', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [caller, asks, `Cookie: ${cookie}`], undefined, 'OPTIONS'))).status).toBe(200)
    expect(rig.upstream.received()).toMatch(/x-forwarded-user: alice/i)
    expect(rig.events[0]).toMatchObject({ reason: 'rule_matched', subject: { sub: 'alice' } })
  })

  test('does not pass a deny that holds for everyone', async () => {
    const rig = await begin()
    expect(await rig.ask(get('/admin/x', [caller, asks], undefined, 'OPTIONS'))).toMatchObject({
      status: 403,
      headers: { 'x-postern': 'denied_by_rule', 'access-control-allow-origin': boardOrigin },
    })
    expect(rig.upstream.received()).toBe('')
  })

  test('does not pass a lock', async () => {
    const rig = await begin()
    expect((await rig.ask(get('/page', [caller, asks], undefined, 'OPTIONS'))).status).toBe(200)
    const route = { calledBy: new Set([boardOrigin]), policy: throwingPolicy } as unknown as Route
    const request = { method: 'OPTIONS', headers: { origin: boardOrigin, 'access-control-request-method': 'PUT' } }
    const facts = { lock: { on: 'app', until: undefined }, subject: { kind: 'nobody' }, request: { methodClass: 'read' } }
    expect(isPreflight(request)).toBe(true)
    expect(decidePreflight(route, request, facts as never)).toMatchObject({ effect: 'deny', reason: 'locked' })
    // Nor a failure: what cannot be decided is not forwarded.
    expect(decidePreflight(route, request, { ...facts, lock: undefined, device: { known: false } } as never)).toMatchObject({
      effect: 'deny',
      reason: 'evaluation_failed',
    })
  })

  test('is no reading of a path that its app would refuse to carry', async () => {
    const rig = await begin()
    expect((await rig.ask(get('/a%2fb', [caller, asks], undefined, 'OPTIONS'))).status).toBe(400)
    const rules = [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })]
    rig.load([wiki({ calledBy: [], rules }), board])
    expect((await rig.ask(get('/page', [caller, asks], undefined, 'OPTIONS'))).status).toBe(401)
  })
})

const throwingPolicy = {
  get enforced(): never {
    throw new Error('no policy')
  },
}
