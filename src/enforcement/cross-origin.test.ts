/** Which requests may spend the person's cookie: the truth table, and the same on the wire (A172). */

import { afterEach, describe, expect, test } from 'vitest'
import { type FlowRig, get, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const board = wiki({
  id: 'board',
  name: 'Board',
  address: { origin: 'https://board.corp.example', hostname: 'board.corp.example', port: 443, prefix: '/' },
})
const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']

const own = `Origin: ${wikiOrigin}`
const sibling = 'Origin: https://payroll.corp.example'
const caller = 'Origin: https://board.corp.example'

describe('with our cookie', () => {
  test.each<[string, readonly string[], boolean]>([
    ['POST', [own], true],
    ['POST', ['Sec-Fetch-Site: same-origin'], true],
    ['POST', ['Sec-Fetch-Site: none'], true],
    ['POST', [caller], true],
    ['POST', ['Sec-Fetch-Site: same-site', caller], true],
    ['POST', ['Sec-Fetch-Site: cross-site', caller], true],
    ['POST', [], false],
    ['POST', [sibling], false],
    ['POST', ['Origin: null'], false],
    ['POST', ['Origin: https://wiki.corp.example.evil.example'], false],
    ['POST', ['Origin: http://wiki.corp.example'], false],
    ['POST', ['Origin: https://wiki.corp.example:8443'], false],
    ['POST', [own, sibling], false],
    ['POST', ['Sec-Fetch-Site: same-site', sibling], false],
    ['POST', ['Sec-Fetch-Site: same-site'], false],
    ['POST', ['Sec-Fetch-Site: cross-site', own], false],
    ['POST', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site'], false],
    ['POST', ['Sec-Fetch-Site: SAME-ORIGIN'], false],
    ['POST', ['Sec-Fetch-Site: '], false],
    ['PUT', [sibling], false],
    ['DELETE', [], false],
    ['PROPFIND', [sibling], false],
    ['GET', [sibling, 'Sec-Fetch-Site: cross-site'], true],
    ['HEAD', [], true],
    ['OPTIONS', [sibling], true],
    ['WEBSOCKET', [own], true],
    ['WEBSOCKET', [own, 'Sec-Fetch-Site: cross-site'], true],
    ['WEBSOCKET', [caller], true],
    ['WEBSOCKET', [], false],
    ['WEBSOCKET', ['Origin: https://evil.example'], false],
    ['WEBSOCKET', ['Origin: null'], false],
    ['WEBSOCKET', ['Origin: https://wiki.corp.example.evil.example'], false],
    ['WEBSOCKET', ['Origin: http://wiki.corp.example'], false],
    ['WEBSOCKET', ['Sec-Fetch-Site: same-site', sibling], false],
  ])('%s with %j passes: %s', async (method, lines, passes) => {
    const rig = await startFlow({ apps: [wiki({ calledBy: ['board'] }), board] })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice')
    const isUpgrade = method === 'WEBSOCKET'
    const more = [
      ...lines,
      `Cookie: ${cookie}`,
      ...(isUpgrade ? upgrade : []),
      ...(isUpgrade || method === 'GET' || method === 'HEAD' ? [] : ['Content-Length: 0']),
    ]
    const client = await rig.connect()
    client.send(get('/page', more, undefined, isUpgrade ? 'GET' : method))
    if (passes) {
      await expect.poll(() => rig.upstream.received()).toContain('/page')
    } else {
      expect(await client.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 403 [\s\S]*x-postern: cross_origin/i)
      expect(rig.upstream.received()).toBe('')
      expect(rig.events).toMatchObject([{ reason: 'cross_origin', subject: { sub: 'alice' } }])
    }
  })
})

test('a stranger’s post is a stranger’s, wherever it comes from', async () => {
  const rig = await startFlow()
  rigs.push(rig)
  expect((await rig.ask(get('/public/x', [sibling, 'Content-Length: 0'], undefined, 'POST'))).status).toBe(200)
})

test('cross_site_posts open one endpoint, for POST alone', async () => {
  const rig = await startFlow({ apps: [wiki({ crossSitePosts: ['/saml/acs'] })] })
  rigs.push(rig)
  const { cookie } = await rig.signIn('alice')
  const lines = [`Cookie: ${cookie}`, 'Sec-Fetch-Site: cross-site', 'Origin: https://op.example', 'Content-Length: 0']
  expect((await rig.ask(get('/saml/acs', lines, undefined, 'POST'))).status).toBe(200)
  expect((await rig.ask(get('/saml/acs', lines, undefined, 'PUT'))).status).toBe(403)
  expect((await rig.ask(get('/saml/acs/x', lines, undefined, 'POST'))).status).toBe(403)
  expect((await rig.ask(get('/saml/ACS', lines, undefined, 'POST'))).status).toBe(403)
})
