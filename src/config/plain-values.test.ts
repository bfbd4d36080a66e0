/** Single values: patterns that are accepted can be compiled, and names that are accepted cannot do harm. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePathPattern, findPatternProblem } from '../policy/path-pattern.ts'
import { findHeaderProblem, findHeaderValueProblem } from './header-names.ts'
import { claimPath, domain, duration, email, id, method, pathPattern, size } from './plain-values.ts'
import { findNearest } from './problems.ts'

describe('path patterns', () => {
  it('that are accepted are accepted by the compiler too', () => {
    const piece = fc.constantFrom('/', '*', '**', '.', '..', 'a', 'B', '%2F', '%41', '%zz', '?', '#', '\\', ';', ' ', 'é', '{', '%2E')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join('')
        if (!pathPattern.safeParse(text).success) return
        expect(findPatternProblem(text)).toBeUndefined()
        compilePathPattern(text, 'loose')
      }),
      { numRuns: 2000 },
    )
  })
  it.each(['/', '/**', '/admin/**', '/reports/*', '/a/*/b', '/a;v=1', '/a%2Fb', '/x.json'])('%s is read', (text) => {
    expect(pathPattern.safeParse(text).success).toBe(true)
  })
})

describe('durations and sizes', () => {
  it.each([
    ['90s', 90],
    ['15m', 900],
    ['8h', 28_800],
    ['30d', 2_592_000],
  ])('%s is read', (text, seconds) => {
    expect(duration().parse(text)).toBe(seconds)
  })
  it.each(['0s', '1', '1.5h', '-1s', '1w', '1 h', '31d', '', '١s'])('the duration "%s" is refused', (text) => {
    expect(duration().safeParse(text).success).toBe(false)
  })
  it.each([
    ['1B', 1],
    ['32KiB', 32_768],
    ['2GiB', 2 ** 31],
  ])('%s is read', (text, bytes) => {
    expect(size().parse(text)).toBe(bytes)
  })
  it.each(['0B', '1', '1kb', '1K', '1.5MiB'])('the size "%s" is refused', (text) => {
    expect(size().safeParse(text).success).toBe(false)
  })
})

describe('names', () => {
  it.each([
    'bob@evil.example@corp.example',
    'bob',
    '@corp.example',
    'bob@corp',
    'bob@corp.example ',
    'a,b@corp.example',
    '"bob"@corp.example',
    'bob@[10.0.0.1]',
    '*@corp.example',
  ])('the address "%s" is refused', (text) => {
    expect(email.safeParse(text).success).toBe(false)
  })
  it('addresses and domains are compared in lower case', () => {
    expect(email.parse('Bob@Corp.Example')).toBe('bob@corp.example')
    expect(domain.parse('Corp.Example')).toBe('corp.example')
  })
  it.each(['*.corp.example', '@corp.example', 'corp', 'corp.example.', 'corp..example', 'https://corp.example'])(
    'the domain "%s" is refused',
    (text) => {
      expect(domain.safeParse(text).success).toBe(false)
    },
  )
  it.each(['__proto__', 'a.constructor', 'prototype.a', 'a..b', '.a', ''])('the claim path "%s" is refused', (text) => {
    expect(claimPath.safeParse(text).success).toBe(false)
  })
  it.each(['Wiki', 'a b', '-a', 'a/b', '__proto__', ''])('the id "%s" is refused', (text) => {
    expect(id.safeParse(text).success).toBe(false)
  })
  it.each(['get', 'Read', 'TRACE', 'CONNECT', 'GE T', '', 'DELTE', 'POSTS'])('the method "%s" is refused', (text) => {
    expect(method.safeParse(text).success).toBe(false)
  })
})

describe('headers', () => {
  it.each([
    'Host',
    'cookie',
    'CONNECTION',
    'Transfer-Encoding',
    'content-length',
    'X-Forwarded-User',
    'x_forwarded_groups',
    'X-Forwarded-For',
    'X-Postern-Anything',
    'te',
    'Upgrade',
    'Sec-WebSocket-Key',
    'Set-Cookie',
    'a b',
    'a:b',
    '',
    'é',
  ])('%s is never set towards an upstream', (name) => {
    expect(findHeaderProblem(name, 'request')).toBeDefined()
  })
  it.each(['Set-Cookie', 'X-Postern', 'Connection', 'Content-Length'])('%s is never set towards a browser', (name) => {
    expect(findHeaderProblem(name, 'response')).toBeDefined()
  })
  it('ordinary ones may be', () => {
    expect(findHeaderProblem('Authorization', 'request')).toBeUndefined()
    expect(findHeaderProblem('Remote-User', 'identity')).toBeUndefined()
    expect(findHeaderProblem('X-Forwarded-User', 'identity')).toBeUndefined()
    expect(findHeaderProblem('Content-Security-Policy', 'response')).toBeUndefined()
  })
  it.each(['a\r\nb', 'a\nb', 'a\0b', 'é', ' a', 'a ', '\u{110a}'])('the value %j is refused', (value) => {
    expect(findHeaderValueProblem(value)).toBeDefined()
  })
})

describe('the nearest name', () => {
  it.each([
    ['upstrem', 'upstream'],
    ['clientId', 'client_id'],
    ['idle-timeout', 'idle_timeout'],
    ['gruops', 'groups'],
  ])('for %s is %s', (name, nearest) => {
    expect(findNearest(name, ['upstream', 'client_id', 'idle_timeout', 'groups', 'rules'])).toBe(nearest)
  })
  it('is nobody if nothing is near', () => {
    expect(findNearest('elephant', ['upstream', 'rules'])).toBeUndefined()
  })
})
