/** Which page of another origin may read a refusal of ours: the truth table on the wire. */

import { afterEach, describe, expect, test } from 'vitest'
import { type FlowRig, get, navigation, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const boardOrigin = 'https://board.corp.example'
const board = wiki({ id: 'board', name: 'Board', address: { origin: boardOrigin, hostname: 'board.corp.example', port: 443, prefix: '/' } })

async function begin(calledBy: readonly string[] = ['board'], upstreamSays?: string): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ calledBy }), board], ...(upstreamSays === undefined ? {} : { upstreamSays }) })
  rigs.push(rig)
  return rig
}

const readable = {
  'access-control-allow-origin': boardOrigin,
  'access-control-allow-credentials': 'true',
  'access-control-expose-headers': 'WWW-Authenticate, X-Postern, X-Postern-Request',
  vary: 'Origin',
}

function corsOf(headers: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(headers).filter((name) => name.startsWith('access-control-'))
}

describe('a refusal', () => {
  test.each<[number, string, string, readonly string[]]>([
    [401, 'login_required', '/page', []],
    [403, 'denied_by_rule', '/admin/x', []],
    [400, 'bad_request', '/a%2fb', []],
    [401, 'invalid_token', '/page', ['Postern-Authorization: Bearer x.y.z']],
    [401, 'login_required', '/.postern/whoami', []],
    [404, 'path_not_found', '/.postern/nothing', []],
  ])('with %i %s is readable by a page of the calling app', async (status, reason, path, lines) => {
    const rig = await begin()
    const answer = await rig.ask(get(path, [`Origin: ${boardOrigin}`, ...lines]))
    expect(answer).toMatchObject({ status, headers: { ...readable, 'x-postern': reason } })
  })

  test('of a write from another site, and of an upstream that is away, is readable as well', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const write = [`Cookie: ${cookie}`, 'Content-Length: 0']
    await rig.upstream.close()
    expect(await rig.ask(get('/page', [...write, `Origin: ${boardOrigin}`], undefined, 'POST'))).toMatchObject({
      status: 502,
      headers: readable,
    })
  })

  test.each([
    ['no origin', []],
    ['an opaque origin', ['Origin: null']],
    ['any other origin', ['Origin: https://evil.example']],
    ['every origin', ['Origin: *']],
    ['the caller’s host on another port', ['Origin: https://board.corp.example:8443']],
    ['the caller’s host without TLS', ['Origin: http://board.corp.example']],
    ['two origins', [`Origin: ${boardOrigin}`, 'Origin: https://evil.example']],
    ['the app’s own origin', [`Origin: ${wikiOrigin}`]],
  ])('is readable by nobody else: %s', async (_name, lines) => {
    const { headers } = await (await begin()).ask(get('/page', lines))
    expect(corsOf(headers)).toEqual([])
    expect(headers['vary']).toBe('Origin')
  })

  test('of an app that is called by none says nothing of origins', async () => {
    const { headers } = await (await begin([])).ask(get('/page', [`Origin: ${boardOrigin}`]))
    expect(corsOf(headers)).toEqual([])
    expect(headers).not.toHaveProperty('vary')
  })

  test('as a page varies by origin too', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/admin/x', [...navigation, `Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 403, headers: { vary: 'Origin' } })
  })
})

test('an answer of the app is the app’s: nothing is added to it', async () => {
  const rig = await begin(['board'], 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nhello')
  const { cookie } = await rig.signIn('alice')
  const { status, headers } = await rig.ask(get('/page', [`Cookie: ${cookie}`, `Origin: ${boardOrigin}`]))
  expect(status).toBe(401)
  expect(corsOf(headers)).toEqual([])
  expect(headers).not.toHaveProperty('vary')
})
