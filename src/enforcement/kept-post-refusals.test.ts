/**
 * Forms that are not kept: what the person is told while the browser still has them, what happens while the store is away or the client does not
 * finish, and forms of an app that only look like ours.
 */

import { afterEach, describe, expect, test } from 'vitest'
import { PosternError } from '../errors.ts'
import { createKeptPosts, type KeptPosts } from '../session/kept-posts.ts'
import { createSecret, hashOf } from '../session/secret.ts'
import { createTestRing, openEmbeddedPlace, silentLog } from '../session/session.fixture.ts'
import { type FlowRig, get, navigation, startFlow, wiki } from './enforcement.fixture.ts'
import { expired, expiredMs, formType, fromOwnPage, keep, post, postEvents, resume, viewOf } from './kept-post.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: Parameters<typeof startFlow>[0] = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

describe('what is not kept is told in place of a redirect', () => {
  const cases: readonly (readonly [string, string, (cookie: string) => string])[] = [
    ['too large', 'too_large', (cookie) => post('/edit', 'x'.repeat(1024 ** 2 + 1), { cookies: [cookie] })],
    ['of a made-up cookie', 'unknown_session', () => post('/edit', 'a=1', { cookies: [`__Host-postern-app=${createSecret()}`] })],
    [
      'begun by nobody’s page',
      'other_site',
      (cookie) => post('/edit', 'a=1', { cookies: [cookie], lines: [...navigation.slice(0, 2), 'Sec-Fetch-Site: none'] }),
    ],
    ['no form', 'other_type', (cookie) => post('/edit', 'a=1', { cookies: [cookie], type: 'text/plain' })],
  ]
  test.each(cases)('%s', async (_name, because, ask) => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const answer = await rig.ask(ask(cookie))
    expect(answer.status).toBe(401)
    expect(answer.headers['www-authenticate']).toBe('Postern realm="wiki.corp.example"')
    expect(viewOf(answer)).toMatchObject({ because, appName: 'wiki.corp.example', maxBytes: 1024 ** 2 })
    expect(viewOf(answer)['signInUrl']).toContain('https://access.corp.example/sign-in?return_to=')
    expect(postEvents(rig)).toEqual([])
    expect(rig.upstream.received()).toBe('')
  })

  test.each([
    ['of a stranger', []],
    ['of another site, without our cookie', ['Sec-Fetch-Site: cross-site']],
  ])('but one %s is redirected like any other navigation', async (_name, lines) => {
    const rig = await begin()
    const own = lines.length === 0 ? {} : { lines: [...navigation.slice(0, 2), ...lines] }
    const answer = await rig.ask(post('/edit', 'a=1', own))
    expect(answer).toMatchObject({ status: 303, headers: { 'x-postern': 'login_required' } })
    expect(postEvents(rig)).toEqual([])
  })

  test('a form that the app itself would not take is refused before anybody signs in for it', async () => {
    const rig = await begin({ apps: [wiki({ maxBodyBytes: 5 })] })
    const { cookie } = await expired(rig)
    expect(await rig.ask(post('/edit', 'a=1', { cookies: [cookie] }))).toMatchObject({ status: 303 })
    const answer = await rig.ask(post('/edit', 'text=hello', { cookies: [cookie] }))
    expect(answer).toMatchObject({ status: 413, headers: { 'x-postern': 'body_too_large' } })
    expect(postEvents(rig)).toHaveLength(1)
    expect(rig.upstream.received()).toBe('')
  })

  test('another site with our cookie is refused before anything else', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const answer = await rig.ask(
      post('/edit', 'a=1', { cookies: [cookie], lines: [...navigation.slice(0, 2), 'Sec-Fetch-Site: same-site'] }),
    )
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'cross_origin' } })
  })

  test('one that grows too large on the way, and its room is free again', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const chunk = `${(2 ** 18).toString(16)}\r\n${'x'.repeat(2 ** 18)}\r\n`
    const head = get(
      '/edit',
      [...fromOwnPage, `Content-Type: ${formType}`, 'Transfer-Encoding: chunked', `Cookie: ${cookie}`],
      undefined,
      'POST',
    )
    for (let round = 0; round < 7; round += 1)
      expect(viewOf(await rig.ask(head + chunk.repeat(5))) as object).toMatchObject({ because: 'too_large' })
    expect((await rig.ask(post('/edit', 'a=1', { cookies: [cookie] }))).status).toBe(303)
  })

  test('the sixth of one browser', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const other = await rig.signIn('bob')
    rig.clock.move(expiredMs)
    const { cookie: fresh } = await rig.signIn('alice')
    rig.clock.move(expiredMs)
    for (let i = 0; i < 5; i += 1) expect((await rig.ask(post('/edit', `a=${i}`, { cookies: [fresh] }))).status).toBe(303)
    expect(viewOf(await rig.ask(post('/edit', 'a=6', { cookies: [fresh] })))).toMatchObject({ because: 'too_many' })
    expect((await rig.ask(post('/edit', 'a=1', { cookies: [other.cookie] }))).status).toBe(303)
    expect((await rig.ask(post('/edit', 'a=1', { cookies: [cookie] }))).status).toBe(303)
  })

  test('everything where it is switched off, and an app may then use our word', async () => {
    const place = await openEmbeddedPlace()
    const keptPosts = createKeptPosts({ store: place.store, keys: () => createTestRing(), maxBytes: 0, log: silentLog })
    const rig = await begin({ ports: { keptPosts } })
    const { cookie } = await expired(rig)
    expect(viewOf(await rig.ask(post('/edit', 'a=1', { cookies: [cookie] })))).toMatchObject({ because: 'switched_off' })
    const live = await rig.signIn('alice')
    expect((await rig.ask(resume(createSecret(), [live.cookie]))).status).toBe(200)
    expect(rig.upstream.received()).toContain('postern_resume=')
    await place.close()
  })
})

describe('while the store is away', () => {
  const away = () => Promise.reject(new PosternError('session_store_unavailable', 'away'))

  test.each(['findSender', 'reserve'] as const)('a form that needs %s is answered 503, and nothing is kept', async (method) => {
    const sender = { sessionId: 's', subjectHash: hashOf('s') }
    const broken: KeptPosts = { maxBytes: 1024, findSender: async () => sender, reserve: away, find: away, take: away, [method]: away }
    const rig = await begin({ ports: { keptPosts: broken } })
    const { cookie } = await expired(rig)
    const answer = await rig.ask(post('/edit', 'a=1', { cookies: [cookie] }))
    expect(answer).toMatchObject({ status: 503, headers: { 'x-postern': 'session_store_unavailable', 'retry-after': '5' } })
    expect(postEvents(rig)).toEqual([])
    const live = await rig.signIn('alice')
    expect((await rig.ask(resume(createSecret(), [live.cookie]))).headers['x-postern']).toBe('session_store_unavailable')
    expect(rig.upstream.received()).toBe('')
  })
})

describe('a client that does not finish', () => {
  test('and leaves gives its room back', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const head = get('/edit', [...fromOwnPage, `Content-Type: ${formType}`, 'Content-Length: 1000', `Cookie: ${cookie}`], undefined, 'POST')
    for (let i = 0; i < 7; i += 1) {
      const client = await rig.connect()
      client.send(`${head}half`)
      client.socket.end()
      client.socket.destroy()
      await client.closed
    }
    await expect.poll(async () => (await rig.ask(post('/edit', 'a=1', { cookies: [cookie] }))).status).toBe(303)
  })

  test('and is silent is told so', async () => {
    const base = wiki()
    const rig = await begin({ apps: [{ ...base, timeouts: { ...base.timeouts, idleSeconds: 0.2 } }] })
    const { cookie } = await expired(rig)
    const head = get('/edit', [...fromOwnPage, `Content-Type: ${formType}`, 'Content-Length: 1000', `Cookie: ${cookie}`], undefined, 'POST')
    expect(await rig.ask(`${head}half`)).toMatchObject({ status: 408, headers: { 'x-postern': 'request_timeout' } })
  })
})

describe('a form of an app that looks like ours', () => {
  test.each([
    ['another field of that length', `postern_resumx=${'a'.repeat(43)}`],
    ['a value that is no id', `postern_resume=${'%'.repeat(43)}`],
    ['a second field', `postern_resume=${'a'.repeat(41)}&b`],
    ['a longer value', `postern_resume=${'a'.repeat(44)}`],
  ])('%s goes on as it came', async (_name, body) => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(post('/edit', body, { cookies: [cookie] }))).status).toBe(200)
    expect(rig.upstream.received().endsWith(`\r\n\r\n${body}`)).toBe(true)
    expect(rig.upstream.received()).toMatch(/content-type: application\/x-www-form-urlencoded\r/i)
  })

  test('a program’s is not taken for ours', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const lines = ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty', 'Sec-Fetch-Site: same-origin']
    const body = `postern_resume=${createSecret()}`
    expect((await rig.ask(post('/edit', body, { cookies: [cookie], lines }))).status).toBe(200)
    expect(rig.upstream.received()).toContain(body)
  })

  test('of that length that meets a sign-in is kept like any other', async () => {
    const rig = await begin()
    const body = `x=${'y'.repeat(56)}`
    const { cookie, id } = await keep(rig, body)
    expect((await rig.ask(resume(id, [cookie]))).status).toBe(200)
    expect(rig.upstream.received()).toContain(body)
  })
})
