/** What an upstream is told: header lines, groups, and the assertion with its life. */

import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { compileSubjectReader, nobody } from '../attributes/subject-facts.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { IdentitySetting } from '../policy/document.ts'
import type { Device, Known } from '../policy/facts.ts'
import { appWith, documentWith } from '../policy/policy.fixture.ts'
import { createTestClock, createTestRing } from '../session/session.fixture.ts'
import type { Session } from '../session/session.ts'
import { createIdentityIssuer } from './identity.ts'
import { createAssertionSigner, publicKeys } from './identity-assertion.ts'
import { compileRoutes } from './route-table.ts'

type Headers = Extract<IdentitySetting, { kind: 'headers' }>

const headers: Headers = {
  kind: 'headers',
  user: 'X-Forwarded-User',
  email: 'X-Forwarded-Email',
  preferredUsername: 'X-Forwarded-Preferred-Username',
  groups: 'X-Forwarded-Groups',
  extra: [],
  groupsSeparator: ',',
  onlyGroups: undefined,
}

const readSubject = compileSubjectReader({
  claims: { groups: [['groups']] },
  groups: { stripPrefix: '', names: new Map() },
  groupsWhenMissing: 'unknown',
  email: 'verified',
})

function begin(setting: Partial<Headers> | { kind: 'none' } = {}, prefix = '/') {
  const clock = createTestClock()
  const ring = createTestRing()
  const settings = { accessUrl: new URL('https://access.corp.example'), session: { idleTimeoutSeconds: 1800, lifetimeSeconds: 43_200 } }
  const compile = () => {
    const app = appWith([], {
      identity: setting.kind === 'none' ? { kind: 'none' } : { ...headers, ...setting },
      address: { origin: 'https://wiki.corp.example', hostname: 'wiki.corp.example', port: 443, prefix },
    })
    const document = documentWith([app])
    const [route] = compileRoutes(document, compilePolicy(document)).routes
    if (route === undefined) throw new TypeError('one app, one route')
    return route
  }
  const route = compile()
  const issue = createIdentityIssuer({ signer: createAssertionSigner({ keys: () => ring, now: clock.now, settings }), now: clock.now })
  const sessionWith = (claims: object, change: Partial<Session> = {}): Session => ({
    id: 's1',
    issuer: 'https://op.example',
    sub: 'u1',
    claims: { at: clock.now(), version: 1, all: Object.assign(Object.create(null), claims) },
    signIn: { at: clock.now() - 60_000, authTime: clock.now() - 60_000, acr: 'mfa', amr: ['pwd', 'otp'] },
    tokens: { idToken: 'i', accessToken: 'a', refreshToken: undefined },
    providerSid: undefined,
    startedAt: clock.now(),
    lastUsedAt: clock.now(),
    origin: { address: '', userAgent: '' },
    device: undefined,
    ...change,
  })
  const lines = (session: Session, on = route) => new Map(issue(on, readSubject(session, 'fresh'), session))
  return { clock, ring, route, compile, issue, sessionWith, lines }
}

const full = { email: 'zoë@corp.example', email_verified: true, name: 'Zoë', preferred_username: 'zoë', groups: ['staff', 'editors'] }

describe('header lines', () => {
  test('carry UTF-8 bytes, one character each', () => {
    const { lines, sessionWith } = begin()
    const told = lines(sessionWith({ ...full, name: 'x' }))
    expect(told.get('X-Forwarded-User')).toBe('u1')
    expect(told.get('X-Forwarded-Email')).toBe(Buffer.from('zoë@corp.example').toString('latin1'))
    expect(told.get('X-Forwarded-Preferred-Username')).toBe(Buffer.from('zoë').toString('latin1'))
    expect(told.get('X-Forwarded-Groups')).toBe('staff,editors')
  })

  test.each(['a\r\nX-Forwarded-User: root', 'ro\u0000ot', 'root\u0085', 'root\u0007', ' root', 'root ', '\troot'])(
    'carry %j as nobody rather than as somebody else',
    (name) => {
      const { lines, sessionWith } = begin()
      const told = lines(sessionWith({ ...full, preferred_username: name }, { sub: name }))
      expect([...told.keys()]).toEqual(['X-Forwarded-Email', 'X-Forwarded-Groups', 'X-Postern-Assertion'])
    },
  )

  test('leave out a group that contains the separator or a control character', async () => {
    const { lines, sessionWith } = begin()
    expect(lines(sessionWith({ ...full, groups: ['staff', 'a,admins', 'b\nc', 'ok'] })).get('X-Forwarded-Groups')).toBe('staff,ok')
    const piped = begin({ groupsSeparator: '|' })
    expect(piped.lines(piped.sessionWith({ ...full, groups: ['a,b', 'c|d'] })).get('X-Forwarded-Groups')).toBe('a,b')
  })

  test('state no address that nobody vouched for', () => {
    const { lines, sessionWith } = begin()
    for (const email_verified of [false, 'true', undefined])
      expect(lines(sessionWith({ ...full, email_verified })).has('X-Forwarded-Email')).toBe(false)
  })

  test('state nothing but the subject where claims are too old', () => {
    const { issue, route, sessionWith } = begin()
    const session = sessionWith(full)
    const told = issue(route, readSubject(session, 'unknown'), session)
    expect(told.map(([name]) => name)).toEqual(['X-Forwarded-User', 'X-Postern-Assertion'])
  })

  test('follow the app’s setting: names, more claims, filtered groups', () => {
    const { lines, sessionWith } = begin({
      user: 'Remote-User',
      email: undefined,
      extra: [
        { header: 'X-Department', path: ['org', 'department'] },
        { header: 'X-Roles', path: ['roles'] },
        { header: 'X-Level', path: ['level'] },
        { header: 'X-Object', path: ['org'] },
        { header: 'X-Proto', path: ['__proto__', 'toString'] },
      ],
      onlyGroups: ['wiki-*', '*-ops', 'staff', 'a*b*c'],
    })
    const told = lines(
      sessionWith({
        ...full,
        org: { department: 'Rüstung' },
        roles: ['r1', 'r,2', 3],
        level: 7,
        groups: ['wiki-admins', 'wiki', 'net-ops', 'ops', 'staff', 'abc', 'axbyc', 'ac', 'acb', 'ab'],
      }),
    )
    expect(told.get('Remote-User')).toBe('u1')
    expect(told.has('X-Forwarded-User') || told.has('X-Forwarded-Email')).toBe(false)
    expect(told.get('X-Department')).toBe(Buffer.from('Rüstung').toString('latin1'))
    expect(told.get('X-Roles')).toBe('r1,3')
    expect(told.get('X-Level')).toBe('7')
    expect(told.has('X-Object') || told.has('X-Proto')).toBe(false)
    expect(told.get('X-Forwarded-Groups')).toBe('wiki-admins,net-ops,staff,abc,axbyc')
  })

  test('name a service as one', () => {
    const { issue, route } = begin()
    expect(issue(route, { kind: 'service', issuer: 'https://auth.example.com', names: ['billing'], claims: {} }, undefined)).toEqual([
      ['X-Forwarded-User', 'service:billing'],
    ])
  })

  test('are none for a stranger, and none where the app wants none', () => {
    const { issue, route } = begin()
    expect(issue(route, nobody, undefined)).toEqual([])
    const none = begin({ kind: 'none' })
    const session = none.sessionWith(full)
    expect(none.issue(none.route, readSubject(session, 'fresh'), session)).toEqual([])
  })
})

describe('the assertion', () => {
  test('is an ES256 JWT for this app, which an upstream can verify', async () => {
    const { lines, sessionWith, ring, clock } = begin({}, '/tools/wiki')
    const token = lines(sessionWith({ ...full, groups: ['staff', 'a,b'] })).get('X-Postern-Assertion') ?? ''
    const [jwk] = publicKeys(() => ring).keys
    const options = { issuer: 'https://access.corp.example', typ: 'postern+jwt', algorithms: ['ES256'], currentDate: new Date(clock.now()) }
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const { payload, protectedHeader } = await jwtVerify(token, key, { ...options, audience: 'https://wiki.corp.example/tools/wiki' })
    const now = clock.now() / 1000
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'postern+jwt', kid: 'test' })
    expect(payload).toEqual({
      iss: 'https://access.corp.example',
      aud: 'https://wiki.corp.example/tools/wiki',
      sub: 'u1',
      email: 'zoë@corp.example',
      name: 'Zoë',
      preferred_username: 'zoë',
      groups: ['staff', 'a,b'],
      sid: 's1',
      jti: expect.stringMatching(/^[\w-]{36}$/),
      iat: now,
      exp: now + 300,
      acr: 'mfa',
      amr: ['pwd', 'otp'],
      auth_time: now - 60,
    })
    await expect(jwtVerify(token, key, { ...options, audience: 'https://payroll.corp.example' })).rejects.toThrow(/aud/)
    const later = new Date(clock.now() + 301_000)
    await expect(jwtVerify(token, key, { ...options, currentDate: later })).rejects.toThrow(/exp/)
  })

  test('is minted anew for a stronger sign-in of the same instant', () => {
    const { issue, route, sessionWith } = begin()
    const session = sessionWith({})
    const acrOf = (one: Session) => {
      const line = new Map(issue(route, readSubject(one, 'fresh'), one)).get('X-Postern-Assertion') ?? ''
      return (JSON.parse(Buffer.from(line.split('.')[1] ?? '', 'base64url').toString()) as { acr?: string }).acr
    }
    expect(acrOf(session)).toBe('mfa')
    expect(acrOf({ ...session, signIn: { ...session.signIn, acr: 'phr' } })).toBe('phr')
  })

  test('states the device where one is identified, and is minted anew for another', async () => {
    const { issue, route, sessionWith } = begin()
    const session = sessionWith({ email: 'a@corp.example', email_verified: true })
    const on = (id: string): Known<Device> => ({
      known: true,
      value: { id, identifiedBy: 'certificate', isKnown: true, serial: undefined, tags: [], attributes: {} },
    })
    const read = (device: Known<Device> | undefined) => {
      const line = new Map(issue(route, readSubject(session, 'fresh'), session, device)).get('X-Postern-Assertion') ?? ''
      return (JSON.parse(Buffer.from(line.split('.')[1] ?? '', 'base64url').toString()) as { device?: unknown }).device
    }
    expect(read(on('laptop-7'))).toEqual({ id: 'laptop-7', identified_by: 'certificate', known: true })
    expect(read(on('laptop-8'))).toMatchObject({ id: 'laptop-8' })
    expect(read({ known: false, why: 'no_device' })).toBeUndefined()
    expect(read(undefined)).toBeUndefined()
  })

  test('never outlives the session', () => {
    const { lines, sessionWith, clock } = begin()
    const session = sessionWith(full, { startedAt: clock.now() - 43_200_000 + 120_000 })
    const payload = JSON.parse(Buffer.from((lines(session).get('X-Postern-Assertion') ?? '').split('.')[1] ?? '', 'base64url').toString())
    expect(payload.exp - payload.iat).toBe(120)
  })

  test('is minted once a minute, and anew for whatever it is made from', () => {
    const { lines, sessionWith, clock, ring, compile } = begin()
    const session = sessionWith(full)
    const first = lines(session).get('X-Postern-Assertion')
    clock.move(59_000)
    expect(lines({ ...session, lastUsedAt: clock.now() }).get('X-Postern-Assertion')).toBe(first)
    const others = [
      lines(session, compile()),
      lines({ ...session, claims: { ...session.claims, version: 2 } }),
      lines(session),
      lines({ ...session, id: 's2' }),
      lines({ ...session, signIn: { ...session.signIn, at: clock.now() } }),
      lines(session),
    ].map((told) => told.get('X-Postern-Assertion'))
    Object.assign(ring.assertion.current, { kid: 'rotated' })
    others.push(lines(session).get('X-Postern-Assertion'))
    clock.move(60_000)
    others.push(lines(session).get('X-Postern-Assertion'))
    expect(new Set([first, ...others]).size).toBe(1 + others.length)
  })
})
