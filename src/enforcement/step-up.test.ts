/** A rule that wants a stronger or fresher sign-in, on real sockets: who is sent where, with what, and what is on record. */

import { afterEach, describe, expect, test } from 'vitest'
import type { Condition } from '../policy/document.ts'
import { mfa, rule, signInCondition } from '../policy/policy.fixture.ts'
import { openStepUp } from '../session/sealed-step-up.ts'
import type { SignedIn } from '../session/session.ts'
import { type FlowRig, get, navigation, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const access = new URL('https://access.corp.example')
const mfaWithinAnHour = signInCondition({ strength: mfa, withinSeconds: 3600 })

async function begin(when: readonly Condition[] = [mfaWithinAnHour]): Promise<FlowRig> {
  const staff = rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff with two factors', when })
  const rig = await startFlow({ apps: [wiki({ rules: [staff] })] })
  rigs.push(rig)
  return rig
}

/** A sign-in that happened this many seconds ago. */
const signedIn = (rig: FlowRig, secondsAgo: number, acr?: string): Partial<SignedIn> => {
  const at = rig.clock.now() - secondsAgo * 1000
  return { signIn: { at, authTime: at, acr, amr: acr === undefined ? [] : ['pwd', acr] } }
}

const stepUpIn = (rig: FlowRig, url: URL, boundTo: string) =>
  openStepUp({ keys: () => rig.ring, now: rig.clock.now }, access, boundTo, url.searchParams.get('step_up') ?? '')

describe('somebody whose sign-in is too weak or too old', () => {
  test('is sent to the access host with what is wanted, sealed for this attempt', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 10))
    const answer = await rig.ask(get('/page?q=1', [...navigation, `Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 302, headers: { 'x-postern': 'insufficient_user_authentication', 'cache-control': 'no-store' } })
    const location = new URL(String(answer.headers['location']))
    expect(location.origin + location.pathname).toBe('https://access.corp.example/sign-in')
    expect(location.searchParams.get('return_to')).toBe(`${wikiOrigin}/page?q=1`)
    const attempt = location.searchParams.get('attempt') ?? ''
    expect(stepUpIn(rig, location, attempt)).toMatchObject({ maxAgeSeconds: 3600, acrValues: mfa.acr, ask: mfa.ask })
    expect(stepUpIn(rig, location, 'A'.repeat(43))).toBeUndefined()
    const kept = rig.cookies.readAppAttempt(attempt.slice(0, 16), String(answer.headers['set-cookie']).split(';')[0], new URL(wikiOrigin))
    expect(kept?.returnTo).toBe(`${wikiOrigin}/page?q=1`)
    expect(location.href.length).toBeLessThan(2048)
    expect(rig.upstream.received()).toBe('')
  })

  test('is on record with the rule that wants it', async () => {
    const rig = await begin()
    const { cookie, session } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 10))
    await rig.ask(get('/page', [...navigation, `Cookie: ${cookie}`]))
    expect(rig.events).toMatchObject([
      {
        event: 'access.decided',
        effect: 'challenge',
        reason: 'insufficient_user_authentication',
        rule: 'staff with two factors',
        session: session.id,
        subject: { sub: 'alice' },
      },
    ])
    expect(rig.observed).toMatchObject([{ effect: 'challenge', reason: 'insufficient_user_authentication', status: 302 }])
  })

  test('who posts a form comes back to the path alone', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 10))
    const sameOrigin = [...navigation.filter((line) => !line.includes('Site')), 'Sec-Fetch-Site: same-origin', 'Content-Length: 0']
    const answer = await rig.ask(get('/edit?token=1', [...sameOrigin, `Cookie: ${cookie}`], undefined, 'POST'))
    expect(answer.status).toBe(303)
    const location = new URL(String(answer.headers['location']))
    expect(location.searchParams.get('return_to')).toBe(`${wikiOrigin}/edit`)
    expect(location.searchParams.has('step_up')).toBe(true)
  })

  test('is let in with a strong and recent one, until it is too old', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 3590, 'otp'))
    const ask = () => rig.ask(get('/page', [...navigation, `Cookie: ${cookie}`]))
    expect((await ask()).status).toBe(200)
    rig.clock.move(11_000)
    expect((await ask()).headers['x-postern']).toBe('insufficient_user_authentication')
  })

  test('is not let in for a sign-in of which the provider stated no time', async () => {
    const rig = await begin()
    const untold = { at: rig.clock.now(), authTime: undefined, acr: undefined, amr: ['otp'] }
    const { cookie } = await rig.signIn('alice', wikiOrigin, { signIn: untold })
    expect((await rig.ask(get('/', [...navigation, `Cookie: ${cookie}`]))).headers['x-postern']).toBe('insufficient_user_authentication')
  })
})

describe('a program of such a person', () => {
  test('is told what is wanted, as RFC 9470 has it, and where its person can bring it', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 10))
    const answer = await rig.ask(
      get('/api', ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty', 'Sec-Fetch-Site: same-origin', `Cookie: ${cookie}`]),
    )
    expect(answer.status).toBe(401)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.headers['www-authenticate']).toContain('error="insufficient_user_authentication"')
    expect(answer.headers['www-authenticate']).toContain('max_age="3600"')
    const body = JSON.parse(answer.body) as Record<string, unknown>
    expect(body).toMatchObject({ error: 'insufficient_user_authentication', max_age: 3600, app: { name: 'Wiki' } })
    expect(body['acr_values']).toBe(mfa.acr.join(' '))
    const signIn = new URL(String(body['sign_in']))
    expect(signIn.searchParams.get('return_to')).toBe(wikiOrigin)
    expect(signIn.searchParams.has('attempt')).toBe(false)
    expect(stepUpIn(rig, signIn, wikiOrigin)?.conditions).toEqual([mfaWithinAnHour])
    expect(stepUpIn(rig, signIn, 'https://payroll.corp.example')).toBeUndefined()
  })

  test('in a frame is a page that leads out of it', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', wikiOrigin, signedIn(rig, 10))
    const frame = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe', 'Sec-Fetch-Site: same-origin']
    const answer = await rig.ask(get('/framed?x=1', [...frame, `Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 401, headers: { 'content-type': 'text/html; charset=utf-8' } })
    const view = JSON.parse(answer.body) as Record<string, unknown>
    expect(view).toMatchObject({ reason: 'insufficient_user_authentication', person: 'Name of alice', app: { name: 'Wiki' } })
    expect(new URL(String(view['signInUrl'])).searchParams.get('return_to')).toBe(`${wikiOrigin}/framed?x=1`)
  })
})
