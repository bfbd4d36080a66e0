/**
 * Whose request it is: a cookie and a token together, tokens in the wrong place, the app's own tokens, and valid ones that no rule names.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { mint } from '../../src/attributes/service-issuer.fixture.ts'
import { Client } from '../support/client.ts'
import { data, startTokenRig, type TokenRig } from '../support/token-rig.ts'
import { attack, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

describe('a token and whose it is', () => {
  let tokens: TokenRig
  beforeAll(async () => {
    tokens = await startTokenRig()
  })
  afterAll(() => tokens?.stop())
  beforeEach(() => tokens.rig.upstream('app').reset())
  afterEach(() => tokens.check())

  attack('A203', 'JWT', 'a cookie of one and a token of another, in one request', async () => {
    const { rig, rsa, claims } = tokens
    const bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
    rig.upstream('app').reset()
    const cookie = `Cookie: ${bob}`
    const outcomes: string[] = []
    for (const token of [mint(rsa, claims()), 'x']) {
      for (const lines of [
        [`Authorization: Bearer ${token}`, cookie],
        [`Postern-Authorization: Bearer ${token}`, cookie],
        [`Authorization: Bearer ${token}`, `Postern-Authorization: Bearer ${token}`],
      ]) {
        const answer = await sendLine(rig, `GET ${data} HTTP/1.1`, [...lines, 'Connection: close'])
        outcomes.push(mustBeRefused(rig, answer, lines.join()))
        expect(answer.text).toMatch(/^x-postern: two_identities/im)
      }
      const twice = await sendLine(rig, `GET ${data} HTTP/1.1`, [
        `Authorization: Bearer ${token}`,
        `Authorization: Bearer ${token}`,
        'Connection: close',
      ])
      outcomes.push(mustBeRefused(rig, twice, 'two lines'))
      expect(twice.statuses).toEqual([400])
    }
    return summarise(outcomes)
  })

  attack('A203b', 'JWT', 'whose token it is: the app’s own passes, ours never does', async () => {
    const { rig, rsa, claims } = tokens
    const bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
    rig.upstream('app').reset()
    await sendLine(rig, 'GET /ok HTTP/1.1', ['Authorization: Bearer of-the-app', `Cookie: ${bob}`, 'Connection: close'])
    expect(rig.upstream('app').bytes()).toMatch(/^authorization: bearer of-the-app/im)
    rig.upstream('app').reset()
    const token = mint(rsa, claims())
    const answer = await sendLine(rig, `GET ${data} HTTP/1.1`, [
      `Postern-Authorization: Bearer ${token}`,
      'X-Forwarded-User: root',
      'Connection: close',
    ])
    expect(answer.statuses).toEqual([200])
    expect(rig.upstream('app').bytes()).toMatch(/^x-forwarded-user: service:internal/im)
    expect(rig.upstream('app').bytes()).not.toMatch(/root|postern-authorization/i)
    expect(rig.upstream('app').bytes()).not.toContain(token)
    const lines = await rig.audit()
    expect(JSON.stringify(lines)).not.toContain(token.slice(-40))
    expect(rig.instance.log()).not.toContain(token.slice(-40))
    return 'the app’s own is forwarded; ours reached neither app, trail nor log'
  })

  attack('A70b', 'JWT', 'any credential at all, where a token is asked for', async () => {
    const { rig, rsa, claims } = tokens
    const outcomes: string[] = []
    const token = mint(rsa, claims())
    for (const [line, ...headers] of [
      [`GET ${data} HTTP/1.1`],
      [`GET ${data} HTTP/1.1`, 'Authorization: Bearer x'],
      [`GET ${data} HTTP/1.1`, 'Authorization: Bearer'],
      [`GET ${data} HTTP/1.1`, `Authorization: Bearer ${token} ${token}`],
      [`GET ${data} HTTP/1.1`, `Authorization: Basic ${token}`],
      [`GET ${data} HTTP/1.1`, `Authorization: DPoP ${token}`],
      [`GET ${data} HTTP/1.1`, 'Authorization: Basic Og=='],
      [`GET ${data} HTTP/1.1`, `X-Authorization: Bearer ${token}`],
      [`GET ${data} HTTP/1.1`, `Proxy-Authorization: Bearer ${token}`],
      [`GET ${data} HTTP/1.1`, `Postern_Authorization: Bearer ${token}`],
      [`GET ${data} HTTP/1.1`, `Cookie: access_token=${token}`],
      [`GET ${data}?access_token=${token} HTTP/1.1`],
      [`GET /api/internal HTTP/1.1`, `Postern-Authorization: Bearer ${token}`],
      [`GET /API/internal/rows HTTP/1.1`, `Authorization: Bearer ${token}`],
      [`DELETE ${data} HTTP/1.1`, `Authorization: Bearer ${token}`],
      [`GET /ok HTTP/1.1`, `Postern-Authorization: Bearer ${token}`],
      [`GET /admin HTTP/1.1`, `Postern-Authorization: Bearer ${token}`],
    ] as const) {
      outcomes.push(mustBeRefused(rig, await sendLine(rig, line, [...headers, 'Connection: close']), `${line} ${headers.join()}`))
    }
    return summarise(outcomes)
  })

  attack('A70c', 'JWT', 'a valid token without the scope', async () => {
    const { rsa, claims, allRefused } = tokens
    const outcome = await allRefused(
      {
        'no scope': mint(rsa, claims({ scope: undefined })),
        'another scope': mint(rsa, claims({ scope: 'data:write' })),
        'a longer scope': mint(rsa, claims({ scope: 'data:read:all' })),
        'the scope as a key': mint(rsa, claims({ scope: { 'data:read': true } })),
        'a claim called scopes': mint(rsa, claims({ scope: '', scopes: ['data:read'] })),
      },
      403,
    )
    return outcome
  })
})
