/** One line an event, whatever a stranger put into it. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AuditEvent } from './event.ts'
import { formatAuditLine } from './line.ts'

const at = Date.parse('2026-11-22T10:00:00.123Z')
const full: AuditEvent = {
  event: 'access.decided',
  request: 'r1',
  subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: 'alice@corp.example' },
  session: 's1',
  app: 'wiki',
  host: 'wiki.corp.example',
  method: 'GET',
  path: '/a',
  query: '?x=1',
  effect: 'deny',
  reason: 'no_rule_matched',
  rule: 'staff',
  policy: 'sha256-0',
  address: '192.0.2.1',
  userAgent: 'test',
  claimsAt: at,
  claimsState: 'fresh',
}

describe('a line', () => {
  it('of a decision has all its fields in snake_case', () => {
    expect(JSON.parse(formatAuditLine(full, at, 'one'))).toEqual({
      at: '2026-11-22T10:00:00.123Z',
      event: 'access.decided',
      instance: 'one',
      request: 'r1',
      subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: 'alice@corp.example' },
      session: 's1',
      app: 'wiki',
      host: 'wiki.corp.example',
      method: 'GET',
      path: '/a',
      query: '?x=1',
      effect: 'deny',
      reason: 'no_rule_matched',
      rule: 'staff',
      policy: 'sha256-0',
      address: '192.0.2.1',
      user_agent: 'test',
      claims_at: '2026-11-22T10:00:00.123Z',
      claims_state: 'fresh',
    })
  })

  it('leaves out what is not there', () => {
    const { session: _, ...rest } = full
    const line = formatAuditLine(
      {
        ...rest,
        session: undefined,
        query: undefined,
        app: undefined,
        rule: undefined,
        userAgent: undefined,
        claimsAt: undefined,
        claimsState: undefined,
      },
      at,
      'one',
    )
    for (const name of ['session', 'query', 'app', 'rule', 'user_agent', 'claims_at', 'claims_state'])
      expect(line).not.toContain(`"${name}"`)
  })

  it.each<[AuditEvent, Record<string, unknown>]>([
    [
      {
        event: 'access.ended',
        request: 'r1',
        app: 'wiki',
        status: 200,
        bytesIn: 1,
        bytesOut: 2,
        durationMs: 3.5,
        outcome: 'completed',
        reason: undefined,
      },
      { request: 'r1', app: 'wiki', status: 200, bytes_in: 1, bytes_out: 2, duration_ms: 3.5, outcome: 'completed' },
    ],
    [
      { event: 'access.counted', address: '*', app: undefined, reason: 'login_required', count: 7, since: at },
      { address: '*', reason: 'login_required', count: 7, since: '2026-11-22T10:00:00.123Z' },
    ],
    [
      {
        event: 'session.started',
        request: undefined,
        session: 's',
        subject: { kind: 'person', sub: 'u' },
        address: undefined,
        acr: '2',
        amr: ['pwd', 'otp'],
      },
      { session: 's', subject: { kind: 'person', sub: 'u' }, acr: '2', amr: ['pwd', 'otp'] },
    ],
    [
      { event: 'policy.refused', policy: 'sha256-0', problems: 2 },
      { policy: 'sha256-0', problems: 2 },
    ],
  ])('of %j is what docs/audit.md says', (event, fields) => {
    expect(JSON.parse(formatAuditLine(event, at, 'one'))).toEqual({
      at: '2026-11-22T10:00:00.123Z',
      event: event.event,
      instance: 'one',
      ...fields,
    })
  })

  it('is one line of JSON without an active character, for any text in any field', () => {
    const text = fc.string({ unit: 'binary', maxLength: 50 })
    const edge = fc.constantFrom(
      '\n',
      '\r\n{"event":"forged"}',
      '\u2028',
      '\u2029',
      '\u001b[2J',
      '\u009b31m',
      '\u0085',
      '\u202e',
      '\ud800',
      '"',
      '\\',
      '\u0000',
      '\u007f',
    )
    const any = fc.oneof(
      text,
      fc.tuple(text, edge, text).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(any, any, any, (first, second, third) => {
        const events: AuditEvent[] = [
          { ...full, path: first, userAgent: second, subject: { kind: 'person', sub: third }, host: first, method: second, address: third },
          { event: 'sign_in.failed', request: first, reason: 'provider_refused', error: second, address: third },
          {
            event: 'session.started',
            request: first,
            session: second,
            subject: { kind: 'person', sub: third },
            address: first,
            acr: second,
            amr: [third],
          },
        ]
        for (const event of events) {
          const line = formatAuditLine(event, at, 'one')
          expect(line.endsWith('\n')).toBe(true)
          expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}]/u)
          expect(JSON.parse(line)).toMatchObject({ event: event.event })
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('keeps text whole up to its limit and marks what it cut', () => {
    const path = `/${'x'.repeat(2047)}`
    expect(JSON.parse(formatAuditLine({ ...full, path }, at, 'one')).path).toBe(path)
    expect(JSON.parse(formatAuditLine({ ...full, path: `${path}y` }, at, 'one')).path).toBe(`${path}…`)
    expect(formatAuditLine({ ...full, path: '/'.repeat(1e6), userAgent: 'x'.repeat(1e6) }, at, 'one').length).toBeLessThan(4000)
  })

  it('is made even for an instant that no date can hold', () => {
    for (const instant of [Number.NaN, Number.POSITIVE_INFINITY, 1e300])
      expect(() => JSON.parse(formatAuditLine(full, instant, 'one'))).not.toThrow()
  })
})
