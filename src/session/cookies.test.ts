/** Cookies of ours: attributes, sealed attempts, and what must never pass to or from an app. */

import { describe, expect, it } from 'vitest'
import { createSealedCookies } from './cookies.ts'
import type { AccessAttempt, AppAttempt } from './sealed-cookies.ts'
import { createSecret } from './secret.ts'
import { createTestRing } from './session.fixture.ts'

const https = new URL('https://wiki.corp.example')
const plain = new URL('http://wiki.corp.localhost:8080')
const ring = createTestRing()
let time = 1_000_000
const cookies = createSealedCookies({ keys: () => ring, now: () => time })
const appAttempt = (returnTo = 'https://wiki.corp.example/page'): AppAttempt => ({ secret: createSecret(), returnTo })
const accessAttempt: AccessAttempt = {
  state: 's',
  nonce: 'n',
  codeVerifier: 'v',
  begunAt: 1,
  attempt: undefined,
  returnTo: undefined,
  prompt: undefined,
  stepUp: undefined,
  restarts: 0,
}
/** What a browser would send back after these answers. */
function browser() {
  const jar = new Map<string, string>()
  return {
    take(lines: readonly string[]) {
      for (const line of lines) {
        const [pair = '', ...attributes] = line.split('; ')
        const name = pair.slice(0, pair.indexOf('='))
        if (attributes.includes('Max-Age=0')) jar.delete(name)
        else jar.set(name, pair.slice(name.length + 1))
      }
    },
    header: () => (jar.size === 0 ? undefined : [...jar].map(([name, value]) => `${name}=${value}`).join('; ')),
    jar,
  }
}

describe('session cookies', () => {
  it('have exactly the attributes of the contract (A159)', () => {
    const secret = createSecret()
    expect(cookies.writeSession('session', secret, https)).toBe(`__Host-postern=${secret}; Path=/; HttpOnly; SameSite=Lax; Secure`)
    expect(cookies.writeSession('app', secret, https)).toBe(`__Host-postern-app=${secret}; Path=/; HttpOnly; SameSite=Lax; Secure`)
    expect(cookies.writeSession('app', secret, plain)).toBe(`postern-app=${secret}; Path=/; HttpOnly; SameSite=Lax`)
    expect(cookies.clearSession('app', https)).toBe('__Host-postern-app=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0')
    expect(cookies.nameOf('ui', https)).toBe('__Host-postern-ui')
    expect(cookies.nameOf('ui', new URL('https://wiki.corp.localhost'))).toBe('__Host-postern-ui')
    expect(cookies.nameOf('ui', new URL('http://wiki.corp.example'))).toBe('__Host-postern-ui')
    expect(cookies.nameOf('ui', new URL('http://localhost.corp.example'))).toBe('__Host-postern-ui')
  })

  it('carry nothing but a secret', () => {
    expect(() => cookies.writeSession('app', 'x; Domain=.corp.example', https)).toThrow(TypeError)
  })

  it('are read by RFC 6265 alone', () => {
    const [a, b] = [createSecret(), createSecret()]
    const read = (header: string | undefined, url = https) => cookies.readSession('app', header, url)
    expect(read(`__Host-postern-app=${a}`)).toBe(a)
    expect(read(`x=1;\t__Host-postern-app = ${a} ;y=2`)).toBe(a)
    expect(read(`__Host-postern-app=${a}; __Host-postern-app=${a}`)).toBe(a)
    expect(read(`__Host-postern-app=${a}; __Host-postern-app=${b}`)).toBeUndefined()
    expect(read(`__Host-postern-app=${a}; __Host-postern-app=`)).toBeUndefined()
    expect(read(undefined)).toBeUndefined()
    // A153: only the prefixed name counts where the prefix protects it.
    expect(read(`postern-app=${a}`)).toBeUndefined()
    expect(read(`__host-postern-app=${a}`)).toBeUndefined()
    expect(read(`__Host-postern=${a}`)).toBeUndefined()
    expect(read(`postern-app=${a}`, plain)).toBe(a)
    expect(read(`=__Host-postern-app=${a}`)).toBeUndefined()
    expect(read(`"__Host-postern-app"=${a}`)).toBeUndefined()
    expect(read(`__Host-postern-app="${a}"`)).toBeUndefined()
    expect(read(`__Host-postern-app=${a}x`)).toBeUndefined()
    expect(read(`__Host-postern-app=${a},__Host-postern-app=${b}`)).toBeUndefined()
  })

  it('are not found by a cookie sandwich (A155)', () => {
    const [mine, evil] = [createSecret(), createSecret()]
    const header = `$Version=1; x="a; __Host-postern-app=${mine}; y=b"; __Host-postern-app=${evil}`
    expect(cookies.readSession('app', header, https)).toBeUndefined()
    const quoted = `$Version=1; x="a; __Host-postern-app=${mine}; y=b"`
    expect(cookies.readSession('app', quoted, https)).toBe(mine)
    expect(cookies.withoutOurs(header)).toBe('$Version=1; x="a; y=b"')
  })
})

describe('attempt cookies', () => {
  it('carry what a stronger sign-in has to bring, also beside a long address', () => {
    const client = browser()
    const strength = { name: 'mfa', acr: ['2', 'urn:corp:mfa'], amr: ['otp'], ask: { kc_hint: 'otp' } }
    const stepUp = {
      conditions: [{ kind: 'sign_in', strength, acr: undefined, amr: undefined, withinSeconds: 3600 } as const],
      acrValues: strength.acr,
      maxAgeSeconds: 3600,
      ask: strength.ask,
    }
    const returnTo = `https://wiki.corp.example/${'x'.repeat(1_900)}`
    const lines = cookies.writeAttempt('up', { ...accessAttempt, returnTo, stepUp }, undefined, https)
    expect(lines.every((line) => line.length <= 4095)).toBe(true)
    client.take(lines)
    expect(cookies.readAccessAttempt('up', client.header(), https)).toStrictEqual({ ...accessAttempt, returnTo, stepUp })
  })

  it('come back as they were written, on their host and under their id alone', () => {
    const client = browser()
    const attempt = appAttempt()
    client.take(cookies.writeAttempt('one', attempt, undefined, https))
    expect(cookies.readAppAttempt('one', client.header(), https)).toEqual(attempt)
    expect(cookies.readAppAttempt('two', client.header(), https)).toBeUndefined()
    expect(cookies.readAccessAttempt('one', client.header(), https)).toBeUndefined()
    expect(cookies.readAppAttempt('one', client.header(), new URL('https://other.corp.example'))).toBeUndefined()
    expect(cookies.readAppAttempt('one', client.header()?.replace('login-one', 'login-two'), https)).toBeUndefined()
    expect(cookies.readAppAttempt('two', client.header()?.replace('login-one', 'login-two'), https)).toBeUndefined()
    client.take(cookies.writeAttempt('three', accessAttempt, client.header(), https))
    expect(cookies.readAccessAttempt('three', client.header(), https)).toEqual(accessAttempt)
    client.take([cookies.clearAttempt('three', https)])
    expect(cookies.readAccessAttempt('three', client.header(), https)).toBeUndefined()
  })

  it('show nothing and bear no change', () => {
    const client = browser()
    client.take(cookies.writeAttempt('one', { ...appAttempt(), secret: 'MARKER' }, undefined, https))
    const value = client.jar.get('__Host-postern-login-one') ?? ''
    expect(Buffer.from(value, 'base64url').toString('latin1')).not.toContain('MARKER')
    const bytes = Buffer.from(value, 'base64url')
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes)
      changed[i] = (changed[i] ?? 0) ^ 1
      expect(cookies.readAppAttempt('one', `__Host-postern-login-one=${changed.toString('base64url')}`, https)).toBeUndefined()
    }
  })

  it('end after five minutes', () => {
    const client = browser()
    client.take(cookies.writeAttempt('one', appAttempt(), undefined, https))
    time += 299_999
    expect(cookies.readAppAttempt('one', client.header(), https)).toBeDefined()
    time += 1
    expect(cookies.readAppAttempt('one', client.header(), https)).toBeUndefined()
  })

  it('keep the newest 16 within 8 KiB a host, and clear away the rest', () => {
    const client = browser()
    for (let i = 0; i < 30; i++) {
      time += 1_000
      client.take(cookies.writeAttempt(`a${i}`, appAttempt(), client.header(), https))
    }
    expect(client.jar.size).toBe(16)
    expect([...client.jar.keys()].every((name) => Number(name.slice('__Host-postern-login-a'.length)) >= 14)).toBe(true)
    const long = browser()
    for (let i = 0; i < 10; i++) {
      time += 1_000
      const lines = cookies.writeAttempt(`a${i}`, appAttempt(`https://wiki.corp.example/${'x'.repeat(2000)}`), long.header(), https)
      expect(lines.every((line) => line.length < 4096)).toBe(true)
      long.take(lines)
      expect(long.header()?.length).toBeLessThanOrEqual(8192)
    }
    expect(long.jar.size).toBe(2)
    expect(long.jar.has('__Host-postern-login-a9')).toBe(true)
  })

  it('clear away what is not theirs or too old, and survive a flood of forged ones (A157)', () => {
    const flood = Array.from({ length: 500 }, (_, i) => `__Host-postern-login-${i}=${'A'.repeat(50)}`).join('; ')
    const lines = cookies.writeAttempt('mine', appAttempt(), flood, https)
    expect(lines).toHaveLength(501)
    expect(lines.slice(1).every((line) => line.endsWith('Max-Age=0'))).toBe(true)
  })

  it('drop a return address that would make them too large', () => {
    const client = browser()
    client.take(cookies.writeAttempt('one', appAttempt(`https://wiki.corp.example/${'x'.repeat(5000)}?q#f`), undefined, https))
    expect(cookies.readAppAttempt('one', client.header(), https)?.returnTo).toBe('https://wiki.corp.example/')
  })

  it('refuse an id that could write attributes', () => {
    expect(() => cookies.writeAttempt('a; Domain=x', appAttempt(), undefined, https)).toThrow(TypeError)
    expect(cookies.readAppAttempt('a;b', 'a;b=c', https)).toBeUndefined()
  })
})

describe('towards and from an app', () => {
  const ours = [
    '__Host-postern',
    '__Host-postern-app',
    '__Host-postern-ui',
    '__Host-postern-login-abc',
    'postern',
    'postern-app',
    'POSTERN-APP',
    '__HOST-Postern',
    '__Secure-postern',
    '__host-postern-login-',
    '__Http-postern',
    '__Host-Http-postern-app',
  ]
  const theirs = ['posternx', 'my-postern', '__Host-posternish', 'postern-theme', 'postern-apps', '__Host-session', 'x', 'x-postern']

  it('no cookie of ours is forwarded, and every other is', () => {
    for (const name of ours) {
      expect(cookies.withoutOurs(`${name}=1`)).toBeUndefined()
      expect(cookies.withoutOurs(`a=1; ${name}=2; b=3`)).toBe('a=1; b=3')
      expect(cookies.withoutOurs(`a=1;\t ${name} =2;b=3`)).toBe('a=1; b=3')
      expect(cookies.withoutOurs(`${name}; b=3`)).toBe('b=3')
      expect(cookies.withoutOurs(`=${name}=2; b=3`)).toBe('b=3')
    }
    for (const name of theirs) expect(cookies.withoutOurs(`${name}=1; __Host-postern=2`)).toBe(`${name}=1`)
    expect(cookies.withoutOurs(' ; ;')).toBeUndefined()
    expect(cookies.withoutOurs('a=b=c; d="x, y"')).toBe('a=b=c; d="x, y"')
  })

  it('no app sets or clears one of ours, in any spelling a browser would store', () => {
    for (const name of ours) {
      for (const line of [
        `${name}=x`,
        `${name}=x; Domain=.corp.example; Path=/admin`,
        `${name}=; Max-Age=0`,
        ` \t${name}=x`,
        `${name} =x`,
        `${name}\t=x`,
        `=${name}=x`,
        ` = ${name}=x`,
        `==${name}=x`,
        name,
        `${name}; Path=/`,
        `"${name}"=x`,
        `\u0000${name}=x`,
        `\u00a0${name}=x`,
      ]) {
        expect(cookies.isOurs(line), JSON.stringify(line)).toBe(true)
      }
    }
    for (const name of theirs) expect(cookies.isOurs(`${name}=__Host-postern; Path=/`)).toBe(false)
    expect(cookies.isOurs('')).toBe(false)
    expect(cookies.isOurs('theme=dark; Path=/; postern=x')).toBe(false)
  })
})
