/**
 * An OpenID Provider that lies in its ID Token, its userinfo or its answer, against the whole relying party over HTTP.
 *
 * Safe: no session on any host, nothing at the upstream, every refusal in the audit trail, and a page that says so. Each lie is told alone
 * in an otherwise honest sign-in, and an honest one follows, so that a case cannot pass because nothing works.
 */

import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import type { Answer } from '../support/client.ts'
import { Client } from '../support/client.ts'
import { type Claims, forgeToken, type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('relying party validation', () => {
  let rig: Rig
  let provider: HostileProvider
  /** Reasons of every refused sign-in. */
  const refused: string[] = []

  beforeAll(async () => {
    provider = await startHostileProvider()
    rig = await startRig({ issuer: provider.issuer, provider: { client_secret: provider.clientSecret } })
  })
  afterAll(async () => {
    // Refused sign-ins are lines, and beyond ten a minute and address a count; together they are all there.
    await rig.instance.stop('SIGTERM')
    const lines = await rig.audit()
    const listed = lines.filter((line) => line['event'] === 'sign_in.failed')
    const counted = lines.filter((line) => line['event'] === 'access.counted' && refused.includes(String(line['reason'])))
    await endRig(rig)
    await provider.stop()
    expect(listed.length).toBeGreaterThan(0)
    expect(listed.length + counted.reduce((sum, line) => sum + Number(line['count']), 0)).toBe(refused.length)
  })
  beforeEach(() => {
    provider.reset()
    rig.upstream('app').reset()
  })
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`

  /** A whole sign-in must end without a session anywhere; `what` names the lie. */
  async function mustNotSignIn(what: string, statuses: readonly number[] = [400]): Promise<string> {
    const client = new Client()
    const answer = await client.follow(app())
    await mustBeNobody(client, answer, what, statuses)
    return `${answer.status} ${answer.header('x-postern')}`
  }

  async function mustBeNobody(client: Client, answer: Answer, what: string, statuses: readonly number[]): Promise<void> {
    expect(statuses, `${what}: ${answer.url}`).toContain(answer.status)
    expect(client.cookie('postern', 'access.corp.localhost'), what).toBeUndefined()
    expect(client.cookie('postern-app', 'app.corp.localhost'), what).toBeUndefined()
    for (const name of ['access', 'app']) {
      expect((await client.send(`${rig.origin(name)}/.postern/whoami`, { as: 'fetch' })).status, what).toBe(401)
    }
    expect(rig.upstream('app').bytes(), what).toBe('')
    refused.push(answer.header('x-postern') ?? '')
    expect(answer.body, what).toContain(answer.header('x-postern-request'))
    expect(answer.body, what).not.toMatch(/\bat \w+ \(|node:internal/)
  }

  async function mustSignIn(): Promise<void> {
    provider.reset()
    expect((await new Client().follow(app())).status).toBe(200)
    rig.upstream('app').reset()
  }

  /** Tells each lie in the ID Token, one sign-in each. */
  async function eachClaim(lies: Readonly<Record<string, (honest: Claims) => Claims>>): Promise<string> {
    const outcomes: string[] = []
    for (const [what, lie] of Object.entries(lies)) {
      provider.reset()
      provider.behaviour.idToken = lie
      outcomes.push(await mustNotSignIn(what))
      expect(provider.count('token'), what).toBe(1)
    }
    await mustSignIn()
    return summarise(outcomes)
  }

  const without = (name: string) => (honest: Claims) => Object.fromEntries(Object.entries(honest).filter(([key]) => key !== name))

  attack('A135', 'OIDC', 'nonce missing, wrong, of an earlier sign-in, of another type', async () => {
    let earlier: unknown
    provider.behaviour.idToken = (it) => {
      earlier = it['nonce']
      return it
    }
    expect((await new Client().follow(app())).status).toBe(200)
    expect(typeof earlier).toBe('string')
    rig.upstream('app').reset()
    return await eachClaim({
      missing: without('nonce'),
      wrong: (it) => ({ ...it, nonce: 'other' }),
      reused: (it) => ({ ...it, nonce: earlier }),
      empty: (it) => ({ ...it, nonce: '' }),
      list: (it) => ({ ...it, nonce: [it['nonce']] }),
      longer: (it) => ({ ...it, nonce: `${String(it['nonce'])}x` }),
    })
  })
  attack('A137', 'OIDC', 'iss wrong, missing, almost right', () =>
    eachClaim({
      missing: without('iss'),
      wrong: (it) => ({ ...it, iss: 'https://idp2.test' }),
      slash: (it) => ({ ...it, iss: `${String(it['iss'])}/` }),
      case: (it) => ({ ...it, iss: String(it['iss']).toUpperCase() }),
      list: (it) => ({ ...it, iss: [it['iss']] }),
      userinfo: (it) => ({ ...it, iss: String(it['iss']).replace('://', '://x@') }),
    }),
  )
  attack('A138', 'OIDC', 'aud missing, of another client, of several; azp of another', async () => {
    const outcome = await eachClaim({
      missing: without('aud'),
      other: (it) => ({ ...it, aud: 'other' }),
      'empty list': (it) => ({ ...it, aud: [] }),
      'several, no azp': (it) => ({ ...it, aud: ['postern', 'other'] }),
      'several, other azp': (it) => ({ ...it, aud: ['postern', 'other'], azp: 'other' }),
      'one, other azp': (it) => ({ ...it, azp: 'other' }),
      case: (it) => ({ ...it, aud: 'Postern' }),
      prefix: (it) => ({ ...it, aud: 'postern2' }),
    })
    provider.behaviour.idToken = (it) => ({ ...it, aud: ['postern', 'api'], azp: 'postern' })
    expect((await new Client().follow(app())).status).toBe(200)
    return `${outcome}; several with azp naming us pass, as documented`
  })
  attack('A139', 'OIDC', 'sub missing, empty, endless, no text, or another in userinfo', async () => {
    const outcome = await eachClaim({
      missing: without('sub'),
      empty: (it) => ({ ...it, sub: '' }),
      long: (it) => ({ ...it, sub: 'a'.repeat(300) }),
      number: (it) => ({ ...it, sub: 7 }),
      list: (it) => ({ ...it, sub: ['alice'] }),
      null: (it) => ({ ...it, sub: null }),
    })
    const outcomes: string[] = []
    for (const [what, sub] of Object.entries({ other: 'mallory', missing: undefined, case: 'Alice', list: ['alice'], empty: '' })) {
      provider.reset()
      provider.behaviour.userinfo = (it) => ({ ...it, sub, groups: ['staff', 'admins'] })
      outcomes.push(await mustNotSignIn(`userinfo sub ${what}`))
    }
    // Consistent lies: token and userinfo agree on a subject that no header can carry.
    for (const sub of ['a'.repeat(300), 'alice\u0000x', ' alice', 'alice\n']) {
      provider.reset()
      provider.behaviour.person.sub = sub
      outcomes.push(await mustNotSignIn(`sub ${JSON.stringify(sub.slice(0, 12))}`))
    }
    await mustSignIn()
    return `${outcome}; userinfo: ${summarise(outcomes)}`
  })
  attack('A139b', 'OIDC', 'userinfo never changes who it is', async () => {
    provider.behaviour.userinfo = (it) => ({
      ...it,
      iss: 'https://idp2.test',
      aud: 'other',
      acr: 'high',
      amr: ['hwk'],
      auth_time: 1,
      sid: 'x',
    })
    const client = new Client()
    expect((await client.follow(app())).status).toBe(200)
    const me = JSON.parse((await client.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })).body)
    expect(me).toMatchObject({ subject: 'alice' })
    expect(JSON.stringify(me.sign_in)).not.toMatch(/high|hwk/)
    return 'issuer, subject and strength stay as the ID Token states them'
  })
  attack('A141', 'OIDC', 'alg none, HMAC with our secret or the public key, broken and foreign signatures', async () => {
    const foreign = await startHostileProvider()
    const outcomes: string[] = []
    const kid = provider.keys.at(-1)?.kid
    const publicJwk = provider.keys.at(-1)?.publicJwk
    const rsa = await foreign.addKey('RS256', kid)
    const ec = await foreign.addKey('ES256', kid)
    await foreign.stop()
    const flipped = (token: string) => {
      const [head = '', body = '', signature = ''] = token.split('.')
      const bytes = Buffer.from(signature, 'base64url')
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
      return `${head}.${body}.${bytes.toString('base64url')}`
    }
    const signatures: Readonly<Record<string, (claims: Claims) => Promise<string>>> = {
      none: (claims) => forgeToken({ alg: 'none' }, claims),
      None: (claims) => forgeToken({ alg: 'None' }, claims),
      'none with kid': (claims) => forgeToken({ alg: 'none', kid }, claims),
      'no alg': (claims) => forgeToken({ kid }, claims),
      'hmac with our secret': (claims) => forgeToken({ kid }, claims, provider.clientSecret),
      'hmac with the modulus': (claims) => forgeToken({ kid }, claims, publicJwk?.n ?? ''),
      'foreign RSA': (claims) => provider.signWith(rsa, claims),
      'foreign EC under an RSA kid': (claims) => provider.signWith(ec, claims),
      flipped: async (claims) => flipped(await provider.signWith(provider.keys[0] ?? rsa, claims)),
      unsigned: async (claims) => (await provider.signWith(provider.keys[0] ?? rsa, claims)).replace(/[^.]*$/, ''),
      'own key in the header': (claims) => provider.signWith(rsa, claims, { jwk: rsa.publicJwk }),
    }
    for (const [what, sign] of Object.entries(signatures)) {
      provider.reset()
      provider.behaviour.sign = (claims) => sign(claims)
      outcomes.push(await mustNotSignIn(what))
    }
    await mustSignIn()
    return summarise(outcomes)
  })
  attack('A142', 'OIDC', 'at_hash of another access token', async () => {
    const outcome = await eachClaim({
      wrong: (it) => ({ ...it, at_hash: createHash('sha256').update('other').digest().subarray(0, 16).toString('base64url') }),
      empty: (it) => ({ ...it, at_hash: '' }),
      list: (it) => ({ ...it, at_hash: [] }),
      null: (it) => ({ ...it, at_hash: null }),
    })
    return outcome
  })
  attack('A146', 'OIDC', 'errors of the provider are pages and never loops', async () => {
    const outcomes: string[] = []
    for (const [error, status, rounds] of [
      ['access_denied', 403, 1],
      ['login_required', 403, 1],
      ['interaction_required', 403, 1],
      ['temporarily_unavailable', 503, 2],
      ['server_error', 503, 1],
      ['invalid_scope', 403, 1],
      ['<script>alert(1)</script>', 403, 1],
    ] as const) {
      provider.reset()
      provider.behaviour.answer = (it) =>
        new URLSearchParams({
          error,
          error_description: '"><img src=x onerror=alert(1)>',
          state: it.get('state') ?? '',
          iss: provider.issuer,
        })
      const client = new Client()
      const answer = await client.follow(app())
      await mustBeNobody(client, answer, error, [status])
      expect(provider.count('authorize'), error).toBe(rounds)
      expect(provider.count('token'), error).toBe(0)
      expect(answer.body, error).not.toMatch(/<script>alert|<img src=x/)
      const links = [...answer.body.matchAll(/class="button[^>]* href="([^"]*)"/g)].map((match) => new URL(match[1] ?? '', answer.url).href)
      expect(
        links.some((link) => link.startsWith(rig.origin('app')) || link.startsWith(`${rig.origin('access')}/sign-in`)),
        `${error}: ${links}`,
      ).toBe(true)
      outcomes.push(`${error.slice(0, 24)} ${answer.status}`)
    }
    await mustSignIn()
    return outcomes.join(', ')
  })
  attack('A258', 'PP', 'claims named like prototype members', async () => {
    const hostile = '{"__proto__":{"isAdmin":true,"groups":["admins"]},"constructor":{"prototype":{"groups":["admins"]}},"toString":1}'
    provider.behaviour.person = { sub: 'bob', claims: { groups: ['staff'] } }
    provider.behaviour.take.userinfo = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(`{"sub":"bob","groups":["staff"],${hostile.slice(1)}`)
      return true
    }
    const client = new Client()
    expect((await client.follow(app())).status).toBe(200)
    rig.upstream('app').reset()
    expect((await client.send(`${rig.origin('app')}/admin/secret`)).status).toBe(403)
    expect(rig.upstream('app').bytes()).toBe('')
    return 'signed in as plain bob; /admin stays closed'
  })
  attack('A266', 'IDENT', 'subjects that look alike are different people', async () => {
    const seen: string[] = []
    for (const sub of ['alice', 'Alice', 'alice<!--x-->', `alice${'x'.repeat(240)}1`, `alice${'x'.repeat(240)}2`, 'ａlice']) {
      provider.reset()
      provider.behaviour.person.sub = sub
      const client = new Client()
      expect((await client.follow(app())).status, sub).toBe(200)
      const line =
        rig
          .upstream('app')
          .requests()
          .at(-1)
          ?.headers.find(([name]) => name.toLowerCase() === 'x-forwarded-user')?.[1] ?? ''
      expect(Buffer.from(line, 'latin1').toString('utf8')).toBe(sub)
      seen.push(line)
    }
    expect(new Set(seen).size).toBe(seen.length)
    return `${seen.length} subjects, byte for byte`
  })
  attack('A261', 'IDENT', 'an address that nobody verified is no address', async () => {
    for (const verified of [false, undefined, 'true', 'false', 1, null]) {
      provider.reset()
      provider.behaviour.person = {
        sub: `s${randomBytes(4).toString('hex')}`,
        claims: { email: 'root@corp.test', email_verified: verified, groups: ['staff'] },
      }
      const answer = await new Client().follow(app())
      expect(answer.status, `${String(verified)} ${rig.instance.log().slice(-1500)}`).toBe(200)
      expect(JSON.stringify(rig.upstream('app').requests().at(-1)?.headers)).not.toContain('root@corp.test')
    }
    return 'no e-mail header for false, missing, text, number, null'
  })
})
