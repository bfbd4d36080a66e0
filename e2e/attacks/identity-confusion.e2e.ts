/**
 * Addresses, subjects and groups that look like somebody else's, through whole sign-ins and every place of a policy that names people.
 *
 * Safe: an allow is only for exactly whom it names; a deny also holds where nobody can say for certain who it is; and whoever gets the
 * name, the address or the group of somebody who has gone inherits nothing.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

const signedIn = { signed_in: true }
const rules = [
  { name: 'start', allow: signedIn, paths: ['/', '/no/**'] },
  { name: 'domain', allow: { domains: ['corp.test'] }, paths: ['/domain'] },
  { name: 'user', allow: { users: ['alice@corp.test', 'kim@corp.test'] }, paths: ['/user'] },
  { name: 'expression', allow: signedIn, when: [{ expression: "subject.email.endsWith('@corp.test')" }], paths: ['/expression'] },
  { name: 'sub', allow: signedIn, when: [{ expression: "subject.sub == 'alice'" }], paths: ['/sub'] },
  { name: 'sub claim', allow: { claims: { sub: 'alice' } }, paths: ['/sub-claim'] },
  { name: 'finance', allow: { groups: ['finance'] }, paths: ['/finance'] },
  { name: 'no domain', deny: { domains: ['corp.test'] }, paths: ['/no/domain'] },
  { name: 'no user', deny: { users: ['alice@corp.test', 'kim@corp.test'] }, paths: ['/no/user'] },
  { name: 'no finance', deny: { groups: ['finance'] }, paths: ['/no/finance'] },
]

describe('whose identity it is', () => {
  let rig: Rig
  let provider: HostileProvider

  beforeAll(async () => {
    provider = await startHostileProvider()
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret },
      session: { refresh_after: '1s', claims_max_age: '1s' },
      apps: [{ id: 'app', rules }],
    })
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
  })
  beforeEach(() => provider.reset())
  afterEach(() => mustBeAlive(rig))

  async function signIn(sub: string, claims: Readonly<Record<string, unknown>>): Promise<Client> {
    provider.behaviour.person = { sub, claims: { ...claims } }
    const client = new Client()
    const answer = await client.follow(`${rig.origin('app')}/`)
    expect(answer.status, `${sub} ${JSON.stringify(claims)}: ${answer.header('x-postern')}`).toBe(200)
    return client
  }

  const status = async (client: Client, path: string) => (await client.send(`${rig.origin('app')}${path}`, { as: 'fetch' })).status

  /** What this address opens (200) and is kept from (403), in the order of the paths. */
  async function seenBy(claims: Readonly<Record<string, unknown>>, paths: readonly string[]): Promise<string> {
    const client = await signIn('somebody', claims)
    const seen: number[] = []
    for (const path of paths) seen.push(await status(client, path))
    return seen.join()
  }

  attack('A261b', 'IDENT', 'an address that nobody verified opens nothing, and no deny lets it by', async () => {
    const paths = ['/domain', '/user', '/expression', '/no/domain', '/no/user']
    const outcomes: string[] = []
    for (const verified of [false, undefined, 'true', 'false', 1, null, [true], {}]) {
      const seen = await seenBy({ email: 'alice@corp.test', email_verified: verified }, paths)
      expect(seen, String(verified)).toBe('403,403,403,403,403')
      outcomes.push(seen)
    }
    expect(await seenBy({ email: 'alice@corp.test', email_verified: true }, paths)).toBe('200,200,200,403,403')
    expect(await seenBy({ email: 'mallory@evil.test', email_verified: true }, paths)).toBe('403,403,403,200,200')
    return `${outcomes.length} ways not to say true: ${summarise(outcomes)}`
  })

  attack('A262', 'IDENT', 'addresses with two @, none, blanks, quotes, a dot at the end', async () => {
    const paths = ['/domain', '/user', '/expression', '/no/domain']
    const ambiguous = [
      'attacker@evil.test@corp.test',
      'alice@corp.test@evil.test',
      '@corp.test',
      'corp.test',
      'alice@',
      'alice@@corp.test',
      '',
    ]
    for (const email of ambiguous) expect(await seenBy({ email, email_verified: true }, paths), email).toBe('403,403,403,403')
    const elsewhere = [
      'alice@corp.test.',
      'alice@corp.test.evil.test',
      'alice@sub.corp.test',
      'alice@notcorp.test',
      'alice@evil.test',
      'alice@corp.tes',
    ]
    for (const email of elsewhere) expect(await seenBy({ email, email_verified: true }, paths), email).toMatch(/^403,403,403,(?:200|403)$/)
    const odd = [
      'alice@corp.test ',
      ' alice@corp.test',
      'alice@corp.test\n',
      'alice@corp.test\u0000',
      '"alice@corp.test"@evil.test',
      'alice@corp.test<evil>',
      '<alice@corp.test>',
      'alice@corp.test,mallory@evil.test',
      'alice@corp\u3002test',
      'alice@\uff43orp.test',
      'alice\uff20corp.test',
      'alice@corp.test\u200b',
      'alice%40corp.test@evil.test',
    ]
    for (const email of odd) {
      const [domain, user, expression] = (await seenBy({ email, email_verified: true }, paths)).split(',')
      // A blank in front is another mailbox of the domain at best; the person is never `alice`.
      expect(user, JSON.stringify(email)).toBe('403')
      if (!email.endsWith('@corp.test')) expect([domain, expression], JSON.stringify(email)).toEqual(['403', '403'])
    }
    for (const email of [['alice@corp.test'], { 0: 'alice@corp.test' }, 7, null, true]) {
      expect(await seenBy({ email, email_verified: true }, paths), JSON.stringify(email)).toBe('403,403,403,403')
    }
    for (const email of ['alice@corp.test', 'ALICE@Corp.Test'])
      expect(await seenBy({ email, email_verified: true }, paths)).toBe('200,200,200,403')
    return `${ambiguous.length + elsewhere.length + odd.length + 5} addresses open nothing that is another's; case alone does not matter`
  })

  attack('A264', 'IDENT', 'plus signs, dots and letters that look alike are other mailboxes', async () => {
    const others = [
      'alice+x@corp.test',
      'a.lice@corp.test',
      'alice.@corp.test',
      'alic\u0435@corp.test',
      'al\u0131ce@corp.test',
      '\u212aim@corp.test',
      '\uff4bim@corp.test',
      'kim\u00ad@corp.test',
      'KI\u0307M@corp.test',
      'alice\u0301@corp.test',
      "alice'@corp.test",
      'alice--@corp.test',
    ]
    for (const email of others) {
      const [user, denied] = (await seenBy({ email, email_verified: true }, ['/user', '/no/user'])).split(',')
      expect(user, email).toBe('403')
      // An address with a character that nobody sees is none, and then a deny holds.
      expect(denied, email).toBe(/\p{C}/u.test(email) ? '403' : '200')
    }
    return `${others.length} addresses are neither alice nor kim`
  })

  attack('A266b', 'IDENT', 'subjects in rules are compared whole, byte by byte', async () => {
    const others = [
      'Alice',
      'alice<!--x-->',
      'alice\u200b',
      '\uff41lice',
      `alice${'x'.repeat(240)}`,
      'alic',
      'al\u0131ce',
      'alice;',
      '["alice"]',
    ]
    for (const sub of others) {
      const client = await signIn(sub, {})
      for (const path of ['/sub', '/sub-claim']) expect(await status(client, path), `${sub} ${path}`).toBe(403)
      const me = JSON.parse((await client.send(`${rig.origin('access')}/.postern/whoami`, { as: 'fetch' })).body)
      expect(me.subject).toBe(sub)
    }
    const alice = await signIn('alice', {})
    expect([await status(alice, '/sub'), await status(alice, '/sub-claim')]).toEqual([200, 200])
    return `${others.length} subjects are not alice`
  })

  attack('A268', 'IDENT', 'an account that is made again, and a group', async () => {
    const claims = { email: 'alice@corp.test', email_verified: true }
    const first = await signIn('alice', { ...claims, groups: ['finance'] })
    expect([await status(first, '/finance'), await status(first, '/sub')]).toEqual([200, 200])
    // The same name and address, another account, in a browser that still has the cookies of the first.
    provider.behaviour.person = { sub: 'alice-2', claims: { ...claims, groups: [] } }
    const old = first.cookieHeader(rig.origin('app'))
    for (const host of ['access.corp.localhost', 'app.corp.localhost'])
      for (const name of ['postern', 'postern-app']) first.forget(name, host)
    expect((await first.follow(`${rig.origin('app')}/`)).status).toBe(200)
    expect([await status(first, '/finance'), await status(first, '/sub'), await status(first, '/sub-claim')]).toEqual([403, 403, 403])

    // What ends the first account ends nothing of the second, and the other way round.
    const loggedOut = await provider.logoutToken({ sub: 'alice' })
    const told = await new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, {
      method: 'POST',
      as: 'fetch',
      body: `logout_token=${loggedOut}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(told.status).toBe(200)
    const withOld = async () => (await new Client().send(`${rig.origin('app')}/finance`, { as: 'fetch', headers: { cookie: old } })).status
    await waitFor(async () => (await withOld()) === 401)
    expect(await status(first, '/')).toBe(200)

    // A group that is renamed, and a new one under the old name: membership is what the provider says now.
    provider.reset()
    const bob = await signIn('bob', { groups: ['finance'] })
    expect([await status(bob, '/finance'), await status(bob, '/no/finance')]).toEqual([200, 403])
    const says = (groups: readonly string[]) => {
      provider.behaviour.userinfo = (it) => ({ ...it, groups })
      provider.behaviour.idToken = (it) => ({ ...it, groups })
    }
    says(['finance-archive'])
    await waitFor(async () => (await status(bob, '/finance')) === 403)
    expect(await status(bob, '/no/finance')).toBe(200)
    says(['finance-archive', 'Finance', 'finance ', 'finance/emea'])
    await waitFor(async () => {
      rig.upstream('app').reset()
      await status(bob, '/')
      return /emea/.test(rig.upstream('app').bytes())
    })
    expect(await status(bob, '/finance')).toBe(403)
    return 'the new account and the new group start with nothing; sessions of the old one end alone'
  })
})
