/** Counting of recent activity against counting by hand, on generated events written as the trail writes them. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { linePrefix } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { formatAuditLine } from '../audit/line.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import { createActivityColumns } from './activity-columns.ts'
import { countActivity, countBuckets, countSeen } from './activity-counts.ts'
import { eventOf, readActivity } from './activity-lines.ts'

type Decided = Extract<AuditEvent, { event: 'access.decided' }>
type Placed = readonly [at: number, event: AuditEvent]

const day = Date.UTC(2026, 10, 22)
const issuer = 'https://op.example'
const apps = ['wiki', 'crm', 'a"b\\é']
const subs = ['u1', 'u2', 'u3']

const instant = fc.integer({ min: 0, max: 40 }).map((minutes) => day + minutes * 60_000)
const subject = fc.oneof(
  fc.constantFrom(...subs).map((sub) => ({ kind: 'person', issuer, sub, email: `${sub}@corp.example` }) as const),
  fc.constant({ kind: 'nobody' } as const),
)
const decision: fc.Arbitrary<Decided> = fc
  .record({
    app: fc.constantFrom(undefined, ...apps),
    subject,
    outcome: fc.constantFrom(
      { effect: 'allow', reason: 'rule_matched' } as const,
      { effect: 'deny', reason: 'no_rule_matched' } as const,
      { effect: 'deny', reason: 'locked' } as const,
      { effect: 'challenge', reason: 'login_required' } as const,
    ),
    would: fc.constantFrom(
      undefined,
      { effect: 'deny', reason: 'denied_by_rule', rule: 'strict' } as const,
      { effect: 'deny', reason: 'no_rule_matched', rule: undefined } as const,
      { effect: 'allow', reason: 'rule_matched', rule: 'r' } as const,
    ),
    request: fc.nat().map((number) => `r${number}`),
  })
  .map(({ app, outcome, request, subject: who, would }) => decided(request, { app, subject: who, ...outcome, would } as Partial<Decided>))
const other: fc.Arbitrary<AuditEvent> = fc.oneof(
  fc.record({ app: fc.constantFrom(...apps), status: fc.constantFrom(200, 404, 500, 503), failed: fc.boolean() }).map(
    ({ app, failed, status }): AuditEvent => ({
      event: 'access.ended',
      request: 'r',
      app,
      status,
      bytesIn: 5,
      bytesOut: 500,
      durationMs: 5,
      outcome: failed ? 'upstream_failed' : 'completed',
      reason: undefined,
    }),
  ),
  fc.record({ app: fc.constantFrom(undefined, ...apps), count: fc.integer({ min: 1, max: 50 }), isLogin: fc.boolean() }).map(
    ({ app, count, isLogin }): AuditEvent => ({
      event: 'access.counted',
      address: '192.0.2.1',
      app,
      reason: isLogin ? 'login_required' : 'app_not_found',
      count,
      since: day,
    }),
  ),
  fc.constantFrom(...subs).map(
    (sub): AuditEvent => ({
      event: 'session.started',
      request: 'r',
      session: 's',
      subject: { kind: 'person', issuer, sub, email: `${sub}@corp.example` },
      address: undefined,
      acr: `loa-${sub}`,
      amr: ['pwd', 'otp'],
    }),
  ),
  fc.constant<AuditEvent>({ event: 'sign_in.failed', request: 'r', reason: 'provider_refused', error: undefined, address: '192.0.2.1' }),
  fc.constant<AuditEvent>({ event: 'instance.started', version: '1' }),
)
const history: fc.Arbitrary<readonly Placed[]> = fc.array(fc.tuple(instant, fc.oneof({ weight: 3, arbitrary: decision }, other)), {
  maxLength: 60,
})

function columnsOf(events: readonly Placed[], batchOf: (index: number) => number = () => 1) {
  const columns = createActivityColumns()
  events.forEach(([at, event], index) => {
    const line = formatAuditLine(event, at, 'host', linePrefix(index + 1, 'A'.repeat(43)))
    const reading = readActivity(eventOf(line), line)
    if (reading?.fact !== undefined) columns.add(reading.fact, batchOf(index))
    for (const seen of reading?.seen ?? []) columns.addSeen(seen)
  })
  return columns
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)
const subOf = (event: Decided) => (event.subject.kind === 'person' ? event.subject.sub : undefined)
const isEvent =
  <K extends AuditEvent['event']>(kind: K) =>
  (placed: Placed): placed is readonly [number, AuditEvent & { readonly event: K }] =>
    placed[1].event === kind

describe('counts', () => {
  it('equal those made by hand', () => {
    fc.assert(
      fc.property(history, (events) => {
        const counts = countActivity(columnsOf(events))
        const decisions = events.filter(isEvent('access.decided'))
        const counted = events.filter(isEvent('access.counted'))
        for (const app of apps) {
          const own = decisions.filter(([, event]) => event.app === app)
          const of = (effect: string) => own.filter(([, event]) => event.effect === effect)
          const strangers = (isLogin: boolean) =>
            sum(
              counted
                .filter(([, event]) => event.app === app && (event.reason === 'login_required') === isLogin)
                .map(([, event]) => event.count),
            )
          const failures = events
            .filter(isEvent('access.ended'))
            .filter(([, event]) => event.app === app && (event.status >= 500 || event.outcome === 'upstream_failed'))
          const expected = {
            allowed: of('allow').length,
            refused: of('deny').length + strangers(false),
            challenged: of('challenge').length + strangers(true),
            people: new Set(of('allow').flatMap(([, event]) => subOf(event) ?? [])).size,
            upstreamFailures: failures.length,
          }
          expect(counts.apps.get(app) ?? { allowed: 0, refused: 0, challenged: 0, people: 0, upstreamFailures: 0 }).toMatchObject(expected)
          const used = of('allow').map(([at]) => at)
          if (used.length > 0) expect(counts.apps.get(app)?.lastUsedAt).toBe(Math.max(...used))
          for (const reason of ['no_rule_matched', 'locked'] as const) {
            const refused = of('deny').filter(([, event]) => event.reason === reason)
            const found = counts.refusals.find((one) => one.app === app && one.reason === reason)
            expect(found?.count ?? 0).toBe(refused.length)
            expect(found?.people ?? 0).toBe(new Set(refused.flatMap(([, event]) => subOf(event) ?? [])).size)
          }
          for (const sub of subs) {
            const his = own.filter(([, event]) => subOf(event) === sub)
            const letInAt = Math.max(...his.filter(([, event]) => event.effect === 'allow').map(([at]) => at), Number.NEGATIVE_INFINITY)
            const since = his.filter(([at, event]) => event.effect === 'deny' && at > letInAt)
            const stuck = counts.stuck.find((one) => one.app === app && one.sub === sub)
            expect(stuck?.count ?? 0).toBe(since.length >= 3 ? since.length : 0)
            if (stuck === undefined) continue
            expect(stuck).toMatchObject({ issuer, email: `${sub}@corp.example`, firstAt: Math.min(...since.map(([at]) => at)) })
            expect(since.filter(([at]) => at === stuck.lastAt).map(([, event]) => event.request)).toContain(stuck.request)
          }
          for (const rule of ['strict', '']) {
            const would = of('allow').filter(
              ([, { would: one }]) => one !== undefined && one.effect !== 'allow' && (one.rule ?? '') === rule,
            )
            expect(counts.reported.find((one) => one.app === app && one.rule === rule)?.wouldRefuse ?? 0).toBe(would.length)
          }
        }
        expect(counts.signIns.succeeded).toBe(events.filter(isEvent('session.started')).length)
        expect(counts.signIns.failed).toBe(events.filter(isEvent('sign_in.failed')).length)
        const sorted = counts.refusals.map(({ count }) => count)
        expect(sorted).toEqual(sorted.toSorted((a, b) => b - a))
      }),
      { numRuns: 400 },
    )
  })

  it('of buckets hold every decision of their time once, of one app or of all', () => {
    fc.assert(
      fc.property(
        history,
        fc.constantFrom(undefined, 'wiki'),
        fc.integer({ min: 1, max: 12 }),
        fc.constantFrom(60_000, 600_000),
        (events, app, count, lengthMs) => {
          const now = day + 41 * 60_000 + 17
          const buckets = countBuckets(columnsOf(events), { app, count, lengthMs, now })
          expect(buckets).toHaveLength(count)
          expect(buckets.at(-1)?.from).toBeLessThanOrEqual(now)
          expect((buckets.at(-1)?.from ?? 0) + lengthMs).toBeGreaterThan(now)
          for (const { from, ...bucket } of buckets) {
            const within = events.filter(([at]) => at >= from && at < from + lengthMs)
            const of = (effect: string) =>
              within
                .filter(isEvent('access.decided'))
                .filter(([, event]) => event.effect === effect && (app === undefined || event.app === app)).length
            const strangers = (isLogin: boolean) =>
              sum(
                within
                  .filter(isEvent('access.counted'))
                  .filter(([, event]) => (app === undefined || event.app === app) && (event.reason === 'login_required') === isLogin)
                  .map(([, { count: times }]) => times),
              )
            expect(bucket).toEqual({
              allowed: of('allow'),
              refused: of('deny') + strangers(false),
              challenged: of('challenge') + strangers(true),
            })
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('are those of what is left once batches have left', () => {
    fc.assert(
      fc.property(history, fc.uniqueArray(fc.integer({ min: 0, max: 4 })), (events, gone) => {
        const columns = columnsOf(events, (index) => index % 5)
        columns.evict(new Set(gone))
        const left = events.filter((_, index) => !gone.includes(index % 5))
        expect(countActivity(columns)).toEqual(countActivity(columnsOf(left)))
        expect(countSeen(columns, 'email', '', 100)).toEqual(countSeen(columnsOf(left), 'email', '', 100))
      }),
      { numRuns: 200 },
    )
  })
})

describe('what occurred', () => {
  it('is offered by its beginning, that of the most people first', () => {
    const groups = (sub: string, ...value: string[]): Placed => [
      day,
      {
        event: 'facts.recorded',
        kind: 'subject',
        hash: 'h',
        facts: JSON.stringify({
          kind: 'person',
          issuer,
          sub,
          email: { known: true, value: `${sub}@Corp.example` },
          groups: { known: true, value },
        }),
      },
    ]
    const session = (sub: string): Placed => [
      day,
      {
        event: 'session.started',
        request: 'r',
        session: 's',
        subject: { kind: 'person', issuer, sub },
        address: undefined,
        acr: 'gold',
        amr: ['pwd', 'otp'],
      },
    ]
    const columns = columnsOf([
      groups('u1', 'Finance', 'staff'),
      groups('u1', 'Finance', 'staff'),
      groups('u2', 'finland', 'staff'),
      session('u1'),
      [
        day,
        decided('r', {
          circumstances: '{"country":{"known":true,"value":"DE"}}',
          subject: { kind: 'person', issuer, sub: 'u1', email: 'u1@Corp.example' },
        }),
      ],
    ])
    expect(countSeen(columns, 'group', '', 10)).toEqual([
      { value: 'staff', people: 2 },
      { value: 'Finance', people: 1 },
      { value: 'finland', people: 1 },
    ])
    expect(countSeen(columns, 'group', 'FIN', 1)).toEqual([{ value: 'Finance', people: 1 }])
    expect(countSeen(columns, 'domain', '', 10)).toEqual([{ value: 'corp.example', people: 2 }])
    expect(countSeen(columns, 'acr', 'g', 10)).toEqual([{ value: 'gold', people: 1 }])
    expect(countSeen(columns, 'amr', '', 10).map(({ value }) => value)).toEqual(['otp', 'pwd'])
    expect(countSeen(columns, 'country', '', 10)).toEqual([{ value: 'DE', people: 1 }])
  })

  it('is not learned from a line that is none', () => {
    for (const line of ['', '{}', 'not JSON', '{"seq":1,"prev":"x","at":"never","event":"access.decided"}', '[1]'])
      expect(readActivity(eventOf(line), line)).toBeUndefined()
  })
})
