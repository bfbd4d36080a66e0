/**
 * Forms that meet a sign-in, through the whole flow: kept, asked about, sent on once as they were, for whom sent them and to where. The upstream
 * is the oracle: what it never received was never sent.
 */

import { afterEach, describe, expect, test } from 'vitest'
import { mfa, rule, signInCondition } from '../policy/policy.fixture.ts'
import { createSecret } from '../session/secret.ts'
import { type FlowRig, get, navigation, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'
import { comeBack, expired, expiredMs, formType, fromOwnPage, keep, post, postEvents, resume, viewOf } from './kept-post.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: Parameters<typeof startFlow>[0] = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

describe('a form of somebody whose session has expired', () => {
  test('is kept, asked about by name, and sent on as it was', async () => {
    const rig = await begin()
    const body = `--x\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n\u0000\u0001\r\n--x--\r\n`
    const { cookie: before, session: old } = await expired(rig)
    const challenge = await rig.ask(post('/edit?page=7', body, { cookies: [before], type: 'multipart/form-data; boundary=x' }))
    expect(challenge).toMatchObject({ status: 303, headers: { 'x-postern': 'session_expired' } })
    expect(rig.upstream.received()).toBe('')

    const { attemptCookie, back, cookie, page, session, url } = await comeBack(rig, challenge)
    expect(back.status).toBe(303)
    expect(url.pathname).toBe('/.postern/kept-post')
    // Until it is settled, the page may be read again.
    const seen = [viewOf(await page()), viewOf(await page())]
    expect(seen[0]).toEqual(seen[1])
    expect(seen[0]).toMatchObject({
      person: 'Name of alice',
      appName: 'Wiki',
      address: 'wiki.corp.example/edit',
      action: `${wikiOrigin}/edit?page=7`,
      hasFiles: true,
      bytes: body.length,
    })

    const sent = await rig.ask(resume(seen[0]?.['resume'], [cookie, attemptCookie]))
    expect(sent).toMatchObject({ status: 200, body: 'hello' })
    const received = rig.upstream.received()
    expect(received.match(/POST \/edit\?page=7 HTTP/g)).toHaveLength(1)
    expect(received).toContain(body)
    expect(received).toMatch(new RegExp(`^Content-Length: ${body.length}\\r$`, 'im'))
    expect(received.match(/^content-type: .*$/gim)).toEqual(['Content-Type: multipart/form-data; boundary=x\r'.slice(0, -1)])
    expect(received).toContain('X-Forwarded-Email: alice@corp.example')
    expect(received).not.toMatch(/postern_resume|postern-login|postern-app/)

    expect(postEvents(rig)).toMatchObject([
      { event: 'post.kept', session: old.id, app: 'wiki', bytes: body.length },
      { event: 'post.resumed', session: old.id, app: 'wiki', bytes: body.length },
    ])
    const decided = rig.events.filter(({ event }) => event === 'access.decided')
    expect(decided).toMatchObject([
      { effect: 'challenge', reason: 'session_expired' },
      { effect: 'allow', reason: 'rule_matched', session: session.id, method: 'POST', methodClass: 'write' },
    ])
    const ended = () => rig.events.find(({ event }) => event === 'access.ended')
    await expect.poll(ended).toMatchObject({ status: 200, bytesIn: body.length })
  })

  test('is kept also after the session was ended', async () => {
    const rig = await begin()
    const { cookie, session } = await rig.signIn('alice')
    await rig.sessions.endSession(session.id, 'revoked')
    const challenge = await rig.ask(post('/edit?page=7', 'text=hello', { cookies: [cookie] }))
    expect(challenge).toMatchObject({ status: 303, headers: { 'x-postern': 'session_ended' } })
    expect(postEvents(rig)).toMatchObject([{ event: 'post.kept' }])
  })

  test('that comes in chunks is kept as well, and one of nothing is a plain sign-in', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const chunked = (chunks: string) =>
      rig.ask(
        get('/edit', [...fromOwnPage, `Content-Type: ${formType}`, 'Transfer-Encoding: chunked', `Cookie: ${cookie}`], undefined, 'POST') +
          chunks,
      )
    expect((await chunked('5\r\na=123\r\n0\r\n\r\n')).status).toBe(303)
    expect(postEvents(rig)).toMatchObject([{ event: 'post.kept', bytes: 5 }])
    expect((await chunked('0\r\n\r\n')).status).toBe(303)
    expect(postEvents(rig)).toHaveLength(1)
  })

  test('that asks before it sends is told to go on only when it will be kept', async () => {
    const rig = await begin()
    const { cookie } = await expired(rig)
    const head = (length: number) =>
      get(
        '/edit',
        [...fromOwnPage, `Content-Type: ${formType}`, `Content-Length: ${length}`, 'Expect: 100-continue', `Cookie: ${cookie}`],
        undefined,
        'POST',
      )
    const client = await rig.connect()
    client.send(head(3))
    await client.until((text) => text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
    client.send('a=1')
    expect(await client.until((text) => text.includes('HTTP/1.1 303'))).toContain('x-postern: session_expired')
    const refused = await rig.ask(head(2 * 1024 ** 2))
    expect(refused.status).toBe(401)
  })

  test('is thrown away on a word, and leads to its page', async () => {
    const rig = await begin()
    const { attemptCookie, cookie, id, page, url } = await keep(rig)
    const discard = (lines: readonly string[]) =>
      rig.ask(
        get(`${url.pathname}${url.search}`, [...lines, `Cookie: ${cookie}; ${attemptCookie}`, 'Content-Length: 0'], undefined, 'POST'),
      )
    expect((await discard(['Sec-Fetch-Site: same-site'])).headers['x-postern']).toBe('cross_origin')
    expect((await page()).status).toBe(200)
    const thrown = await discard(fromOwnPage)
    expect(thrown).toMatchObject({ status: 303, headers: { location: `${wikiOrigin}/edit` } })
    expect(thrown.headers['set-cookie']).toMatch(/^__Host-postern-login-.*Max-Age=0/)
    expect(await rig.ask(resume(id, [cookie]))).toMatchObject({ status: 400, headers: { 'x-postern': 'kept_post_gone' } })
    expect(postEvents(rig).map(({ event, cause }) => [event, cause])).toEqual([
      ['post.kept', undefined],
      ['post.discarded', 'by_person'],
    ])
    expect(rig.upstream.received()).toBe('')
  })
})

describe('a form that meets a step-up', () => {
  const withTwoFactors = () => [
    wiki({
      rules: [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'two factors', when: [signInCondition({ strength: mfa })] })],
    }),
  ]
  const strongly = (rig: FlowRig) => ({ signIn: { at: rig.clock.now(), authTime: rig.clock.now(), acr: mfa.acr[0], amr: ['pwd', 'otp'] } })

  test('is kept, and sent on once the person has come back with it', async () => {
    const rig = await begin({ apps: withTwoFactors() })
    const { cookie: before } = await rig.signIn('alice')
    const challenge = await rig.ask(post('/edit?page=7', 'text=hello', { cookies: [before] }))
    expect(challenge).toMatchObject({ status: 303, headers: { 'x-postern': 'insufficient_user_authentication' } })
    expect(new URL(String(challenge.headers['location'])).searchParams.has('step_up')).toBe(true)
    const { page } = await comeBack(rig, challenge)
    const { cookie } = await rig.signIn('alice', wikiOrigin, strongly(rig))
    expect((await rig.ask(resume(viewOf(await page())['resume'], [cookie]))).status).toBe(200)
    expect(rig.upstream.received()).toContain('text=hello')
  })

  test('for which it is too large is told while the person is signed in, with the app’s name', async () => {
    const rig = await begin({ apps: withTwoFactors() })
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(post('/edit', 'x'.repeat(1024 ** 2 + 1), { cookies: [cookie] }))
    expect(answer.status).toBe(401)
    expect(answer.headers['www-authenticate']).toContain('error="insufficient_user_authentication"')
    expect(viewOf(answer)).toMatchObject({ because: 'too_large', isStepUp: true, person: 'Name of alice', appName: 'Wiki' })
    expect(new URL(viewOf(answer)['signInUrl'] ?? '').searchParams.has('step_up')).toBe(true)
  })

  test('is kept again when what is sent on meets another sign-in', async () => {
    const rig = await begin()
    const { attemptCookie, cookie, id } = await keep(rig)
    rig.clock.move(expiredMs - 1_600_000)
    rig.load([wiki({ session: { idleTimeoutSeconds: 60, lifetimeSeconds: undefined } })])
    const again = await rig.ask(resume(id, [cookie, attemptCookie]))
    // A page with a link: the page that it came from allows no redirect to another origin.
    expect(again).toMatchObject({
      status: 401,
      headers: { 'x-postern': 'session_expired', 'www-authenticate': 'Postern realm="wiki.corp.example"' },
    })
    rig.load([wiki()])
    const back = await comeBack(rig, { ...again, headers: { ...again.headers, location: viewOf(again)['signInUrl'] ?? '' } })
    const sent = await rig.ask(resume(viewOf(await back.page())['resume'], [back.cookie]))
    expect(sent.status).toBe(200)
    expect(rig.upstream.received()).toContain('text=hello')
    expect(postEvents(rig).map(({ event }) => event)).toEqual(['post.kept', 'post.kept', 'post.resumed'])
  })
})

describe('sending on', () => {
  test('works once', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    expect((await rig.ask(resume(id, [cookie]))).status).toBe(200)
    const replayed = await rig.ask(resume(id, [cookie]))
    expect(replayed).toMatchObject({ status: 400, headers: { 'x-postern': 'kept_post_gone' } })
    expect(viewOf(replayed)['retryPath']).toBe('/edit')
    expect(rig.upstream.received().match(/text=hello/g)).toHaveLength(1)
  })

  test('is for the person who sent it: anybody else burns it and is told', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    const { cookie: mallory } = await rig.signIn('mallory')
    expect(await rig.ask(resume(id, [mallory]))).toMatchObject({ status: 403, headers: { 'x-postern': 'kept_post_of_another' } })
    expect((await rig.ask(resume(id, [cookie]))).headers['x-postern']).toBe('kept_post_gone')
    expect(rig.upstream.received()).toBe('')
    expect(postEvents(rig).at(-1)).toMatchObject({ event: 'post.discarded', cause: 'another_person' })
  })

  test('is for that person also where nobody need sign in', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    rig.load([wiki({ rules: [rule('allow', { kind: 'public' }, { name: 'all' })] })])
    rig.clock.move(200_000)
    const [name] = cookie?.split('=') ?? []
    expect((await rig.ask(resume(id, [`${name}=${createSecret()}`]))).headers['x-postern']).toBe('kept_post_of_another')
    expect(rig.upstream.received()).toBe('')
  })

  test('goes to where it was sent and nowhere else', async () => {
    for (const path of ['/edit', '/edit?page=8', '/other?page=7', '/edit/?page=7']) {
      const rig = await begin()
      const { cookie, id } = await keep(rig)
      expect((await rig.ask(resume(id, [cookie], path))).headers['x-postern']).toBe('kept_post_gone')
      expect((await rig.ask(resume(id, [cookie]))).headers['x-postern']).toBe('kept_post_gone')
      expect(rig.upstream.received()).toBe('')
      expect(postEvents(rig).at(-1)).toMatchObject({ event: 'post.discarded', cause: 'other_address' })
    }
  })

  test('is refused to a page of another site, like any other request', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    const lines = [...navigation.filter((line) => !line.includes('Site')), 'Sec-Fetch-Site: same-site']
    expect(await rig.ask(resume(id, [cookie], undefined, lines))).toMatchObject({ status: 403, headers: { 'x-postern': 'cross_origin' } })
    expect(rig.upstream.received()).toBe('')
    expect(postEvents(rig).at(-1)).toMatchObject({ event: 'post.discarded', cause: 'cross_origin' })
  })

  test('is decided by the rules that are in force then', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    rig.load([wiki({ rules: [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'read', paths: ['/read'] })] })])
    expect(await rig.ask(resume(id, [cookie]))).toMatchObject({ status: 403, headers: { 'x-postern': 'no_rule_matched' } })
    expect(rig.upstream.received()).toBe('')
  })

  test('is not taken for a form that says to be packed: that would go on with the kept one', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    await rig.ask(resume(id, [cookie], '/edit?page=7', [...fromOwnPage, 'Content-Encoding: gzip']))
    expect(rig.upstream.received()).toContain(`postern_resume=${id}`)
    expect((await rig.ask(resume(id, [cookie]))).status).toBe(200)
    expect(rig.upstream.received()).toContain('text=hello')
  })

  test('keeps to the longest body of the app', async () => {
    const rig = await begin()
    const { cookie, id } = await keep(rig)
    rig.load([wiki({ maxBodyBytes: 5 })])
    expect((await rig.ask(resume(id, [cookie]))).headers['x-postern']).toBe('body_too_large')
    expect(rig.upstream.received()).toBe('')
  })

  test('is over after five minutes', async () => {
    const rig = await begin()
    const { cookie, id, page } = await keep(rig)
    rig.clock.move(301_000)
    expect((await page()).headers['x-postern']).toBe('kept_post_gone')
    expect((await rig.ask(resume(id, [cookie]))).headers['x-postern']).toBe('kept_post_gone')
  })
})

describe('the page', () => {
  test('is for the browser that sent the form, and for a person to read', async () => {
    const rig = await begin()
    const { attemptCookie, cookie, url } = await keep(rig)
    const address = `${url.pathname}${url.search}`
    const ask = (cookies: string, lines = navigation) => rig.ask(get(address, [...lines, `Cookie: ${cookies}`]))
    expect((await ask(`${cookie}`)).headers['x-postern']).toBe('kept_post_gone')
    const script = ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty', 'Sec-Fetch-Site: same-origin']
    expect((await ask(`${cookie}; ${attemptCookie}`, script)).headers['x-postern']).toBe('path_not_found')
    expect((await ask(`${attemptCookie}`)).headers['x-postern']).toBe('login_required')
    expect((await ask(`${cookie}; ${attemptCookie}`)).status).toBe(200)
  })

  test('throws away what another person sent, and says so', async () => {
    const rig = await begin()
    const { cookie: before } = await expired(rig)
    const challenge = await rig.ask(post('/edit', 'text=hello', { cookies: [before] }))
    const bob = await comeBack(rig, challenge, 'bob')
    const answer = await bob.page()
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'kept_post_of_another' } })
    expect(viewOf(answer)).toMatchObject({ person: 'Name of bob', retryPath: '/edit' })
    expect((await bob.page()).headers['x-postern']).toBe('kept_post_gone')
    expect(postEvents(rig).at(-1)).toMatchObject({ event: 'post.discarded', cause: 'another_person' })
  })
})

test('nothing of a form is ever logged or recorded', async () => {
  const rig = await begin()
  const { cookie, id } = await keep(rig, 'secret-field=secret-value')
  await rig.ask(resume(id, [cookie]))
  const written = JSON.stringify([rig.logged, rig.events, rig.factLines])
  expect(written).not.toMatch(/secret-field|secret-value/)
  expect(written).not.toContain(id)
})
