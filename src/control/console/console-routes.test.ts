/**
 * What holds for every page of the console: who gets in, what a form needs, what becomes of each kind of answer. Attacks "Control plane".
 */

import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Permission, permissions, permissionsByRole, type Role, roles } from '../../administration/asker.ts'
import { PosternError } from '../../errors.ts'
import type { Level } from '../../policy/document.ts'
import { refused } from '../operations/operation.ts'
import { formHeaders, startConsole, type TestConsole, tokenIn } from './console.fixture.ts'
import type { ConsoleRoutes } from './console-page.ts'

const origin = 'https://access.corp.example'
let console: TestConsole
let done: string[] = []
let released = 0

const page = { kind: 'page', template: 'not-found', title: 'Sample', section: 'tokens', content: { requestId: 'x' } } as const

function mountSamples(routes: ConsoleRoutes): void {
  for (const permission of permissions) {
    const path = `/console/p/${permission.replace(':', '-')}`
    routes.get(path, permission, async () => page)
    routes.post(path, permission, async () => {
      done.push(permission)
      return { kind: 'redirect', to: path, notice: { tone: 'good', text: `Done <${permission}>` } }
    })
  }
  routes.get('/console/tokens', 'tokens:read', async () => page)
  routes.get('/console/people', 'people:read', async () => page)
  routes.get('/console/things/:thing', 'people:read', async ({ params, query }) => ({ kind: 'json', body: { params, q: query.get('q') } }))
  routes.post('/console/things/:thing/change', 'locks:write', async (_request, form) => ({ kind: 'json', body: { fields: [...form] } }))
  routes.get('/console/file', 'audit:read', async () => ({ kind: 'download', type: 'text/csv', filename: 'a "b"\r\nc.csv', body: lines() }))
  routes.get('/console/broken-file', 'audit:read', async () => ({ kind: 'download', type: 'text/csv', filename: 'a', body: brokenLines() }))
  routes.get('/console/refused', 'people:read', async () => ({
    kind: 'refused',
    refusal: refused('conflict', 'It <b>moved</b>.', { revision: 7 }),
  }))
  routes.get('/console/gone', 'people:read', async () => ({ kind: 'not_found' }))
  routes.get('/console/away', 'people:read', async () => {
    throw new PosternError('audit_unavailable', 'no disk')
  })
  routes.get('/console/mistake', 'people:read', async () => {
    throw new TypeError('secret words')
  })
  routes.get('/console/elsewhere', 'people:read', async () => ({ kind: 'redirect', to: '//evil.example/' }))
  routes.get('/console/live', 'audit:read', async () => ({ kind: 'events', events: ticks }))
}

async function* lines() {
  for (let index = 0; index < 1000; index++) yield `${index},${'x'.repeat(100)}\n`
}

async function* brokenLines() {
  yield 'first\n'
  await nextTurn()
  throw new Error('the disk is gone')
}

async function* ticks(signal: AbortSignal) {
  try {
    yield { text: 'a\nb' }
    await once(signal, 'abort')
  } finally {
    released += 1
  }
}

beforeAll(async () => {
  console = await startConsole({ mounts: [mountSamples] })
})
afterAll(() => console.close())
beforeEach(() => {
  done = []
})

const pathOf = (permission: Permission) => `/console/p/${permission.replace(':', '-')}`

describe('who gets in', () => {
  it('sends strangers to sign in, and back to the very page', async () => {
    const answer = await console.visit('stranger', '/console/tokens?q=a%20b')
    expect(answer.status).toBe(302)
    expect(answer.location?.pathname).toBe('/sign-in')
    expect(answer.location?.searchParams.get('return_to')).toBe(`${origin}/console/tokens?q=a%20b`)
    expect(answer.headers['x-postern']).toBe('login_required')
  })

  it('brings somebody who signs in back to the page of the console', async () => {
    const browser = console.host.browser()
    const { location } = await browser.visit('/console/people?q=x')
    const back = await browser.signIn(`${location?.pathname}${location?.search}`)
    expect(back.location?.href).toBe(`${origin}/console/people?q=x`)
  })

  it('sends nobody to a page that is not the console’s', async () => {
    for (const to of ['/', '/sessions', '/.postern/sign-out', '/consolex', '/console/../sessions', '/console\\x']) {
      const browser = console.host.browser()
      const back = await browser.signIn(`/sign-in?${new URLSearchParams({ return_to: `${origin}${to}` })}`)
      expect(back.location?.href, to).toBe(`${origin}/`)
    }
    for (const to of [
      'https://evil.example/console',
      'https://access.corp.example.evil.example/console',
      'http://access.corp.example/console',
    ]) {
      const back = await console.host.browser().signIn(`/sign-in?${new URLSearchParams({ return_to: to })}`)
      expect(back.location?.href, to).toBe(`${origin}/`)
    }
  })

  it('tells somebody without a role so, for pages that exist and pages that do not', async () => {
    for (const path of ['/console', '/console/tokens', '/console/nothing']) {
      const answer = await console.visit('none', path)
      expect(answer.status, path).toBe(403)
      expect(answer.headers['x-postern']).toBe('not_permitted')
      expect(answer.body).toContain('none@corp.example')
      expect(answer.body).toContain('ask whoever looks after access')
      expect(answer.body).not.toContain('console-nav')
    }
  })

  it('answers a script of somebody without a session or a role in JSON', async () => {
    const headers = { accept: 'application/json', 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
    const stranger = await console.visit('stranger', '/console/tokens', { headers })
    expect([stranger.status, JSON.parse(stranger.body).error]).toEqual([401, 'login_required'])
    const nobody = await console.visit('none', '/console/tokens', { headers })
    expect([nobody.status, JSON.parse(nobody.body).error]).toEqual([403, 'not_permitted'])
  })

  it.each(roles)('lets %s see and do exactly what the role permits, by page and by raw request', async (role) => {
    for (const permission of permissions) {
      const isPermitted = permissionsByRole[role].has(permission)
      const seen = await console.visit(role, pathOf(permission))
      expect(seen.status, `GET ${permission}`).toBe(isPermitted ? 200 : 403)
      const sent = await console.submit(role, pathOf(permission))
      expect(sent.status, `POST ${permission}`).toBe(isPermitted ? 303 : 403)
      if (!isPermitted) expect([seen.headers['x-postern'], sent.headers['x-postern']]).toEqual(['not_permitted', 'not_permitted'])
    }
    expect(done).toEqual(permissions.filter((permission) => permissionsByRole[role].has(permission)))
  })

  it('shows in the navigation only what is there and may be read, the current entry marked', async () => {
    const { body } = await console.visit('admin', '/console/tokens')
    expect([...body.matchAll(/<li><a href="(\/console\/[a-z]+)"/g)].map(([, href]) => href)).toEqual(['/console/people', '/console/tokens'])
    expect(body).toContain('href="/console/tokens" aria-current="page"')
    expect((await console.visit('helpdesk', '/console/people')).body).not.toContain('/console/tokens')
  })

  it('leads from the way in to the first page that a role may read', async () => {
    for (const role of roles) expect((await console.visit(role, '/console')).location?.pathname).toBe('/console/people')
    expect((await console.visit('admin', '/console/')).location?.pathname).toBe('/console')
  })

  it('keeps a session that works in the console from idling', async () => {
    const { id } = console.session('auditor')
    const before = await console.host.sessions.findById(id)
    console.host.move(120_000)
    await console.visit('auditor', '/console/people')
    await vi.waitUntil(async () => {
      const now = await console.host.sessions.findById(id)
      return now.state === 'live' && before.state === 'live' && now.session.lastUsedAt > before.session.lastUsedAt
    })
  })
})

describe('a form', () => {
  const changing = permissions.filter((permission) => permissionsByRole.admin.has(permission))

  it.each(changing)('of %s is refused without its token, with another one, from another site and as another type', async (permission) => {
    const path = pathOf(permission)
    const own = console.token('admin')
    const post = (body: string, headers: Record<string, string> = {}) =>
      console.visit('admin', path, {
        method: 'POST',
        body,
        headers: { ...formHeaders, 'content-type': 'application/x-www-form-urlencoded', ...headers },
      })
    const { 'sec-fetch-site': _site, origin: _origin, ...without } = formHeaders
    const attempts = [
      post(''),
      post('form_token='),
      post(`form_token=${console.token('auditor')}`),
      post(`form_token=${own.slice(0, -1)}${own.endsWith('A') ? 'B' : 'A'}`),
      post(`form_token=${own}&form_token=${own}`),
      post(`form_token=${own}`, { 'sec-fetch-site': 'same-site' }),
      post(`form_token=${own}`, { 'sec-fetch-site': 'cross-site' }),
      console.visit('admin', path, {
        method: 'POST',
        body: `form_token=${own}`,
        headers: { ...without, 'content-type': 'application/x-www-form-urlencoded' },
      }),
      console.visit('admin', path, {
        method: 'POST',
        body: `form_token=${own}`,
        headers: { ...without, origin: 'null', 'content-type': 'application/x-www-form-urlencoded' },
      }),
    ]
    for (const [index, answer] of (await Promise.all(attempts)).entries()) {
      expect([answer.status, answer.headers['x-postern']], `attempt ${index}`).toEqual([403, 'cross_origin'])
    }
    for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x']) {
      expect((await post(`form_token=${own}`, { 'content-type': type })).status, type).toBe(400)
    }
    expect(done).toEqual([])
  })

  it('is not taken from a stranger, who is told that nothing was changed and how to go on', async () => {
    const answer = await console.submit('stranger', pathOf('locks:write'))
    expect([answer.status, answer.headers['x-postern']]).toEqual([401, 'login_required'])
    expect(answer.body).toContain('Nothing was changed')
    expect(answer.body).toContain(`href="/sign-in?return_to=${encodeURIComponent(`${origin}${pathOf('locks:write')}`)}"`)
    expect(done).toEqual([])
  })

  it('with the page’s own token is done, said once on the next page, and escaped there', async () => {
    const first = await console.submit('admin', pathOf('locks:write'))
    expect([first.status, first.location?.pathname]).toEqual([303, pathOf('locks:write')])
    expect((await console.follow('admin', first)).body).toMatch(/<p class="notice-bar good" role="status"><bdi>Done &lt;locks:write&gt;/)
    expect((await console.follow('admin', first)).body).not.toContain('notice-bar')
  })

  it('is handed over with its own fields only, several of a name among them', async () => {
    const answer = await console.submit('admin', '/console/things/7/change', { scope: ['a', 'b'], x: '1' })
    expect(JSON.parse(answer.body).fields).toEqual([
      ['scope', 'a'],
      ['scope', 'b'],
      ['x', '1'],
    ])
  })

  it('that is larger than it may be is refused', async () => {
    expect((await console.submit('admin', pathOf('locks:write'), { x: 'x'.repeat(20_000) })).status).toBe(413)
    expect(done).toEqual([])
  })

  it('keeps its token over another tab, and loses it with the session', async () => {
    expect(console.token('admin')).toBe(console.token('admin'))
    expect(console.token('admin')).not.toBe(console.token('auditor'))
  })
})

describe('a sign-in that is older than changes may be', () => {
  let late: TestConsole
  beforeAll(async () => {
    late = await startConsole({ mounts: [mountSamples], signInWithinSeconds: 600 })
    late.host.move(601_000)
  })
  afterAll(() => late.close())

  it.each(permissions.filter((permission) => permissionsByRole.admin.has(permission)))(
    'lets %s read, and changes nothing',
    async (permission) => {
      const answer = await late.submit('admin', pathOf(permission))
      if (permission.endsWith(':read')) return expect(answer.status).toBe(303)
      expect([answer.status, answer.headers['x-postern']]).toEqual([401, 'insufficient_user_authentication'])
      expect(done).toEqual([])
    },
  )

  it('leads through a fresh sign-in back to the page, which says that the change was not made', async () => {
    const answer = await late.submit('admin', '/console/things/7/change', {}, { headers: {} })
    expect(answer.body).toContain('Nothing was changed.')
    const href = /href="(\/sign-in\?[^"]+)"/.exec(answer.body)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const query = new URL(href, origin).searchParams
    expect(query.get('return_to')).toBe(`${origin}/console/things/7`)
    expect(query.get('step_up')).toBeTruthy()
    const atProvider = await late.visit('admin', href)
    expect(Number(atProvider.location?.searchParams.get('max_age'))).toBeLessThanOrEqual(600)
    expect((await late.visit('admin', '/console/people')).body).toMatch(/<p class="notice-bar info"[^>]*><bdi>The change was not made/)
  })

  it('goes back to the page that the form names, if it is one of ours', async () => {
    const returnTo = async (page: string) => {
      const { body } = await late.visit('admin', '/console/things/7/change', {
        method: 'POST',
        body: new URLSearchParams({ form_token: late.token('admin'), form_page: page }).toString(),
        headers: { ...formHeaders, 'content-type': 'application/x-www-form-urlencoded' },
      })
      const href = /href="(\/sign-in\?[^"]+)"/.exec(body)?.[1]?.replaceAll('&amp;', '&') ?? ''
      return new URL(href, origin).searchParams.get('return_to')
    }
    expect(await returnTo('/console/people?q=%3Cx')).toBe(`${origin}/console/people?q=%3Cx`)
    for (const page of ['//evil.example/console', 'https://evil.example/console', '/sessions', '/console/nothing', 'javascript:alert(1)']) {
      expect(await returnTo(page), page).toBe(`${origin}/console/things/7`)
    }
  })

  it('tells a script where to sign in', async () => {
    const headers = { accept: 'application/json', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
    const answer = await late.submit('admin', '/console/things/7/change', {}, { headers })
    expect(answer.status).toBe(401)
    const told = JSON.parse(answer.body)
    expect(told.error).toBe('insufficient_user_authentication')
    expect(new URL(told.sign_in).pathname).toBe('/sign-in')
  })
})

describe('a level that the console asks for', () => {
  const levels: readonly Level[] = [
    {
      name: 'mfa',
      condition: {
        kind: 'sign_in',
        strength: { name: 'mfa', acr: ['gold'], amr: ['otp'], ask: {} },
        acr: undefined,
        amr: undefined,
        withinSeconds: undefined,
      },
    },
  ]
  let strict: TestConsole
  beforeAll(async () => {
    strict = await startConsole({ mounts: [mountSamples], roles: { requiredLevels: ['mfa'] }, levels: () => levels })
  })
  afterAll(() => strict.close())

  it('leads a page through a stronger sign-in and back', async () => {
    const answer = await strict.visit('admin', '/console/people?q=1')
    expect([answer.status, answer.headers['x-postern']]).toEqual([302, 'insufficient_user_authentication'])
    expect(answer.location?.searchParams.get('return_to')).toBe(`${origin}/console/people?q=1`)
    const atProvider = await strict.visit('admin', `${answer.location?.pathname}${answer.location?.search}`)
    expect(atProvider.location?.searchParams.get('acr_values')).toBe('gold')
  })

  it('keeps forms and scripts out, without a redirect that their answer could not follow', async () => {
    const form = await strict.submit('admin', pathOf('locks:write'))
    expect([form.status, form.headers['x-postern']]).toEqual([401, 'insufficient_user_authentication'])
    const script = await strict.visit('admin', '/console/people', { headers: { accept: 'application/json' } })
    expect([script.status, JSON.parse(script.body).error]).toEqual([401, 'insufficient_user_authentication'])
    expect(done).toEqual([])
  })

  it('asks nobody to sign in again who holds no role', async () => {
    expect((await strict.visit('none', '/console/people')).status).toBe(403)
  })
})

it('says how the first admin gets in where no role is given to anybody', async () => {
  const empty = await startConsole({ mounts: [mountSamples], roles: { admin: undefined, auditor: undefined, helpdesk: undefined } })
  const { body, status } = await empty.visit('admin', '/console')
  await empty.close()
  expect(status).toBe(403)
  expect(body).toContain('postern console invite you@example.com --role admin --for 1h')
})

describe('answers', () => {
  it('decode parameters and hand over the query', async () => {
    expect(JSON.parse((await console.visit('admin', '/console/things/a%2Fb?q=1')).body)).toEqual({ params: { thing: 'a/b' }, q: '1' })
    expect((await console.visit('admin', '/console/things/%E0%A4%A')).status).toBe(400)
  })

  it('refuse with the word of the problem, as a page and as JSON', async () => {
    const shown = await console.visit('admin', '/console/refused')
    expect([shown.status, shown.headers['x-postern']]).toEqual([409, 'conflict'])
    expect(shown.body).toContain('It &lt;b&gt;moved&lt;/b&gt;.')
    const told = await console.visit('admin', '/console/refused', { headers: { accept: 'application/json' } })
    expect(JSON.parse(told.body)).toMatchObject({ error: 'conflict', message: 'It <b>moved</b>.', detail: { revision: 7 } })
  })

  it('are 404 within the console for what is not there, and 405 for a method that no page names', async () => {
    for (const path of ['/console/gone', '/console/nothing', '/console/tokens/x']) {
      const answer = await console.visit('admin', path)
      expect([answer.status, answer.headers['x-postern']], path).toEqual([404, 'path_not_found'])
      expect(answer.body).toContain('console-nav')
    }
    const wrong = await console.submit('admin', '/console/tokens')
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'GET, HEAD'])
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      expect((await console.visit('admin', pathOf('locks:write'), { method, headers: { ...formHeaders } })).status).toBe(405)
    }
  })

  it('turn failures into their status, and tell nothing of a mistake', async () => {
    const away = await console.visit('admin', '/console/away')
    expect([away.status, away.headers['x-postern']]).toEqual([503, 'audit_unavailable'])
    const mistake = await console.visit('admin', '/console/mistake')
    expect([mistake.status, mistake.headers['x-postern']]).toEqual([500, 'internal_error'])
    expect(mistake.body).not.toContain('secret words')
    expect((await console.visit('admin', '/console/elsewhere')).status).toBe(500)
  })

  it('stream a file under a name that ends no header, and cut one that fails half way', async () => {
    const file = await console.visit('admin', '/console/file')
    expect(file.headers['content-disposition']).toBe(`attachment; filename="a_b_c.csv"; filename*=UTF-8''a%20%22b%22%0D%0Ac.csv`)
    expect(file.body.split('\n')).toHaveLength(1001)
    expect((await console.visit('admin', '/console/file', { method: 'HEAD' })).body).toBe('')
    await expect(console.visit('admin', '/console/broken-file')).rejects.toThrow()
  })

  it('carry the strict headers of every page of the access host', async () => {
    const { headers } = await console.visit('admin', '/console/tokens')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).toContain("form-action 'self';")
    expect(headers['cache-control']).toBe('no-store')
    expect(headers['x-frame-options']).toBe('DENY')
  })

  it('have a token in each form of a page that its frame gives', async () => {
    const { body } = await console.visit('admin', '/console/tokens')
    expect(() => tokenIn({ body })).toThrow()
  })
})

describe('the search', () => {
  it('leads to the list that was chosen, if it may be read', async () => {
    const search = async (role: 'admin' | 'helpdesk', query: string) =>
      (await console.visit(role, `/console/search?${query}`)).location?.href
    expect(await search('admin', 'in=people&q=a%26b')).toBe(`${origin}/console/people?q=a%26b`)
    expect(await search('admin', 'in=trail&q=x')).toBe(`${origin}/console/people?q=x`)
    expect(await search('helpdesk', 'q=')).toBe(`${origin}/console/people`)
  })
})

describe('events', () => {
  it('are one line of JSON each, and end when the browser leaves', async () => {
    const before = released
    const stream = await openStream('admin')
    await vi.waitUntil(() => stream.text().includes('data: {"text":"a\\nb"}\n\n'))
    expect(stream.response.headers['content-type']).toContain('text/event-stream')
    stream.response.destroy()
    await vi.waitUntil(() => released === before + 1)
  })

  it('end at once when the session does', async () => {
    const { session, secret } = await console.host.sessions.begin(
      {
        issuer: console.session('admin').issuer,
        sub: 'sub-leaving',
        claims: { email: 'l@corp.example', groups: ['postern-auditors'] },
        signIn: { at: 1, authTime: 1, acr: undefined, amr: [] },
        tokens: { idToken: 'x', accessToken: 'x', refreshToken: undefined },
        providerSid: undefined,
      },
      { address: '', userAgent: '' },
    )
    const before = released
    const stream = await openStream('auditor', `__Host-postern=${secret}`)
    await vi.waitUntil(() => stream.text().includes('data:'))
    await console.host.sessions.endSession(session.id, 'revoked')
    await stream.ended
    await vi.waitUntil(() => released === before + 1)
  })

  it('are refused to a session that has eight, and to a role that may not', async () => {
    const streams = await Promise.all(Array.from({ length: 8 }, () => openStream('admin')))
    expect(streams.map(({ response }) => response.statusCode)).toEqual(Array.from({ length: 8 }, () => 200))
    const ninth = await openStream('admin')
    expect(ninth.response.statusCode).toBe(429)
    for (const { response } of streams) response.destroy()
    expect((await openStream('helpdesk')).response.statusCode).toBe(403)
    await vi.waitUntil(async () => {
      const again = await openStream('admin')
      again.response.destroy()
      return again.response.statusCode === 200
    })
  })
})

describe('somebody whose role is taken away', () => {
  let invited: readonly Role[] = ['auditor']
  let other: TestConsole
  beforeAll(async () => {
    other = await startConsole({ mounts: [mountSamples], findInvitation: async (email) => (email.startsWith('none@') ? invited : []) })
  })
  afterAll(() => other.close())

  it('is out at the next request, in the session that they have, and their streams end (A225)', async () => {
    expect((await other.visit('none', '/console/people')).status).toBe(200)
    const stream = await openStream('none', undefined, other)
    await vi.waitUntil(() => stream.text().includes('data:'))
    invited = []
    expect((await other.visit('none', '/console/people')).status).toBe(403)
    expect((await other.submit('none', pathOf('locks:write'))).status).toBe(403)
    other.host.live.announce({ kind: 'policy_changed' })
    await stream.ended
  })
})

async function openStream(role: 'admin' | 'auditor' | 'helpdesk' | 'none', cookie?: string, of = console) {
  const own = [...of.browser(role).cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { accept: 'text/event-stream', cookie: cookie ?? own }
    httpRequest({ host: '127.0.0.1', port: of.host.port, path: '/console/live', headers }, resolve).on('error', reject).end()
  })
  let text = ''
  response.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const ended = new Promise<void>((resolve) => response.on('close', resolve))
  response.on('error', () => undefined)
  return { response, text: () => text, ended }
}
