/** The client half of renewal on app hosts: its files, how a renewal begins and ends, and the stops of a detour. */

import { afterEach, describe, expect, test } from 'vitest'
import type { StepUp } from '../policy/decision.ts'
import { openDetour, sealDetour } from '../session/sealed-detour.ts'
import { openStepUp, sealStepUp } from '../session/sealed-step-up.ts'
import { type FlowRig, get, navigation, type ParsedAnswer, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const accessUrl = new URL('https://access.corp.example')
const boardOrigin = 'https://board.corp.example'
const boardHost = 'board.corp.example'
const board = wiki({
  id: 'board',
  name: 'Board',
  calledBy: [wiki().id],
  address: { origin: boardOrigin, hostname: boardHost, port: 443, prefix: '/' },
})
const frame = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe', 'Sec-Fetch-Site: same-origin']

async function begin(): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki(), board] })
  rigs.push(rig)
  return rig
}

function locationOf({ headers }: ParsedAnswer): URL {
  return new URL(String(headers['location']))
}

describe('the files', () => {
  test.each([
    ['/.postern/renew.js', 'text/javascript; charset=utf-8', 'renew()'],
    ['/.postern/renew.css', 'text/css; charset=utf-8', '.postern-banner{}'],
  ])('%s is for pages of its own origin, known by its content, and for ever under its version', async (path, type, body) => {
    const rig = await begin()
    const answer = await rig.ask(get(path))
    expect(answer).toMatchObject({ status: 200, body })
    expect(answer.headers).toMatchObject({
      'content-type': type,
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'cache-control': 'public, max-age=3600, stale-while-revalidate=86400',
    })
    const etag = String(answer.headers['etag'])
    expect(etag).toMatch(/^"[0-9a-f]{20}"$/)
    const again = await rig.connect()
    again.send(get(path, [`If-None-Match: "other", W/${etag}`, 'Connection: close']))
    const unchanged = await again.until((text) => text.includes('\r\n\r\n'))
    expect(unchanged).toMatch(/^HTTP\/1\.1 304/)
    expect(unchanged).not.toMatch(/content-length/i)
    expect((await rig.ask(get(`${path}?v=${etag.slice(1, -1)}`))).headers['cache-control']).toBe('public, max-age=31536000, immutable')
    expect((await rig.ask(get(`${path}?v=old`))).headers['cache-control']).toContain('max-age=3600')
  })
})

describe('a renewal', () => {
  test('begins with an attempt of this browser, and comes back to a page of ours that no address names', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/.postern/renew?mode=frame&for=%2Fdeep%2Fpage', frame))
    expect(answer.status).toBe(303)
    const location = locationOf(answer)
    expect(location.origin + location.pathname).toBe('https://access.corp.example/sign-in')
    expect(Object.fromEntries(location.searchParams)).toEqual({
      return_to: `${wikiOrigin}/`,
      renewal: 'frame',
      attempt: expect.stringMatching(/^[\w-]{43}$/),
    })
    const cookie = String(answer.headers['set-cookie']).split(';')[0]
    const id = location.searchParams.get('attempt')?.slice(0, 16) ?? ''
    const attempt = rig.cookies.readAppAttempt(id, cookie, new URL(wikiOrigin))
    expect(attempt?.returnTo).toBe(`${wikiOrigin}/.postern/renew?mode=frame&outcome=renewed`)
  })

  test.each(['same-site', 'cross-site', 'x'])('is not begun by a page that is %s', async (site) => {
    const lines = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', `Sec-Fetch-Site: ${site}`]
    const answer = await (await begin()).ask(get('/.postern/renew?mode=popup', lines))
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'cross_origin' } })
    expect(answer.headers).not.toHaveProperty('set-cookie')
  })

  test.each(['', '?mode=', '?mode=tab', '?outcome=renewed', '?mode=window&outcome=renewed'])('is nothing else: %s', async (query) => {
    expect((await (await begin()).ask(get(`/.postern/renew${query}`, frame))).status).toBe(404)
  })

  test('ends in a word, whatever the address says', async () => {
    const rig = await begin()
    for (const [said, shown] of [
      ['renewed', 'renewed'],
      ['login_required', 'login_required'],
      ['<script>', 'failed'],
      ['A', 'failed'],
      ['x'.repeat(65), 'failed'],
      ['', 'failed'],
    ]) {
      const answer = await rig.ask(get(`/.postern/renew?mode=popup&outcome=${encodeURIComponent(said ?? '')}`, navigation))
      expect(answer.status).toBe(200)
      expect(JSON.parse(answer.body)).toEqual({ outcome: shown, mode: 'popup' })
    }
  })

  test('is held to the limits of the app that it is for, and not to those of its neighbour at the root', async () => {
    const big = wiki({ id: 'big', address: { origin: wikiOrigin, hostname: 'wiki.corp.example', port: 443, prefix: '/big' } })
    const strict = wiki({ session: { idleTimeoutSeconds: undefined, lifetimeSeconds: 600 } })
    const rig = await startFlow({ apps: [strict, big] })
    rigs.push(rig)
    const { session } = await rig.signIn('alice')
    rig.clock.move(700_000)
    const renewFor = async (path: string) => {
      const begun = await rig.ask(get(`/.postern/renew?mode=popup&for=${encodeURIComponent(path)}`, frame))
      const { searchParams } = locationOf(begun)
      const [attempt, returnTo] = [searchParams.get('attempt') ?? '', searchParams.get('return_to') ?? '']
      const code = await rig.sessions.issueHandOff({ sessionId: session.id, origin: wikiOrigin, attempt, returnTo })
      const cookie = `Cookie: ${String(begun.headers['set-cookie']).split(';')[0]}`
      return await rig.ask(get(`/.postern/callback?code=${code}`, [...navigation, cookie]))
    }
    expect(locationOf(await renewFor('/big/page')).href).toBe(`${wikiOrigin}/.postern/renew?mode=popup&outcome=renewed`)
    expect(await renewFor('/page')).toMatchObject({ status: 403, headers: { 'x-postern': 'sign_in_too_old' } })
  })

  test('takes the demand of a refusal along, sealed for its own attempt: of this origin or of one that its pages may call', async () => {
    const rig = await begin()
    const sealer = { keys: () => rig.ring, now: rig.clock.now }
    const stepUp: StepUp = { conditions: [], acrValues: ['high'], maxAgeSeconds: 60, ask: {} }
    const ask = async (url: string, boundTo: string) => {
      const query = new URLSearchParams({ mode: 'popup', for: url, step_up: sealStepUp(sealer, accessUrl, boundTo, stepUp) })
      const location = locationOf(await rig.ask(get(`/.postern/renew?${query}`, frame)))
      const sealed = location.searchParams.get('step_up')
      return sealed === null ? undefined : openStepUp(sealer, accessUrl, location.searchParams.get('attempt') ?? '', sealed)
    }
    expect(await ask(`${wikiOrigin}/page`, wikiOrigin)).toEqual(stepUp)
    expect(await ask(`${boardOrigin}/api`, boardOrigin)).toEqual(stepUp)
    // Of an origin that has nothing to do with this one, and one that was bound to another.
    expect(await ask('https://payroll.corp.example/', 'https://payroll.corp.example')).toBeUndefined()
    expect(await ask(`${wikiOrigin}/page`, boardOrigin)).toBeUndefined()
  })
})

describe('a stop of a detour', () => {
  const returnTo = `${wikiOrigin}/page`
  const seal = (rig: FlowRig, change: Partial<Parameters<typeof sealDetour>[2]> = {}) =>
    sealDetour({ keys: () => rig.ring }, accessUrl, { sessionId: 's', origins: [boardOrigin], returnTo, at: rig.clock.now(), ...change })
  const visit = (rig: FlowRig, detour: string, lines: readonly string[] = []) =>
    rig.ask(get(`/.postern/renew?detour=${detour}`, [...navigation, ...lines], boardHost))

  test('begins an attempt of the browser’s own and takes the detour along', async () => {
    const rig = await begin()
    const answer = await visit(rig, seal(rig))
    const location = locationOf(answer)
    expect(answer.status).toBe(303)
    expect(location.origin).toBe(accessUrl.origin)
    expect(location.searchParams.get('return_to')).toBe(`${boardOrigin}/`)
    expect(openDetour({ keys: () => rig.ring, now: rig.clock.now }, accessUrl, location.searchParams.get('detour') ?? '')).toMatchObject({
      returnTo,
    })
    expect(String(answer.headers['set-cookie'])).toMatch(/^__Host-postern-login-/)
  })

  test('is passed by where this origin knows the very session, and only then', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice', boardOrigin)
    expect(locationOf(await visit(rig, seal(rig, { sessionId: session.id }), [`Cookie: ${cookie}`])).href).toBe(returnTo)
    expect(locationOf(await visit(rig, seal(rig), [`Cookie: ${cookie}`])).origin).toBe(accessUrl.origin)
  })

  test('that comes too late, of another host, or of an app that is gone, is left out', async () => {
    const rig = await begin()
    const late = seal(rig)
    const origins = ['https://gone.corp.example', wikiOrigin]
    const { session, cookie } = await rig.signIn('alice', boardOrigin)
    const gone = await visit(rig, seal(rig, { sessionId: session.id, origins: [boardOrigin, ...origins] }), [`Cookie: ${cookie}`])
    expect(locationOf(gone).origin + locationOf(gone).pathname).toBe(`${wikiOrigin}/.postern/renew`)
    expect(locationOf(await visit(rig, seal(rig, { origins: [wikiOrigin] }))).href).toBe(returnTo)
    rig.clock.move(61_000)
    expect(locationOf(await visit(rig, late)).href).toBe(returnTo)
  })

  test('is none where it is not ours, does not say yet where it ends, or ends at an app that is gone', async () => {
    const rig = await begin()
    const gone = seal(rig, { returnTo: 'https://gone.corp.example/page' })
    for (const detour of ['', 'x', `${seal(rig)}&detour=x`, seal(rig, { returnTo: undefined }), gone]) {
      expect(await visit(rig, detour)).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off' } })
    }
  })

  test('that cannot take its code leads on without a cookie; the first app’s own failure is said', async () => {
    const rig = await begin()
    const failed = await rig.ask(get(`/.postern/callback?code=${'A'.repeat(43)}&detour=${seal(rig)}`, navigation, boardHost))
    expect(locationOf(failed).href).toBe(returnTo)
    expect(failed.headers).not.toHaveProperty('set-cookie')
    const first = await rig.ask(get(`/.postern/callback?code=${'A'.repeat(43)}&detour=${seal(rig, { returnTo: undefined })}`, navigation))
    expect(first).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off' } })
  })
})
