/** The published form of lines against real lines of every event, made by what the trail makes them with. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { genesis, lineForm, linePrefix } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { allEvents, everyEvent } from '../audit/every-event.fixture.ts'
import { formatAuditLine } from '../audit/line.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import { auditLineEvents, auditLineForm, findLineProblems, printAuditLineSchema } from './audit-line-schema.ts'

const lineOf = (event: AuditEvent, instance = 'host-0') =>
  JSON.parse(formatAuditLine(event, Date.UTC(2026, 10, 22), instance, linePrefix(4711, genesis))) as Record<string, unknown>

describe('the schema of lines', () => {
  it('is the published one', async () => {
    const written = await readFile(join(import.meta.dirname, '..', '..', 'config', 'schema', 'audit-line.json'), 'utf8')
    expect(written, 'renew it: postern schema audit > config/schema/audit-line.json').toBe(printAuditLineSchema())
  })

  it('is of the form that segments name', () => {
    expect(auditLineForm).toBe(lineForm)
  })

  it('knows every event and no other', () => {
    expect(new Set(auditLineEvents)).toEqual(new Set(Object.keys(everyEvent)))
  })

  it.each(allEvents.map((event) => [event.event, event] as const))(
    'takes a line of %s as it is written, and judges as published',
    (_kind, event) => {
      expect(findLineProblems(lineOf(event))).toEqual([])
      expect(published.safeParse(lineOf(event)).success).toBe(true)
    },
  )

  it('takes the longest that a line can hold', () => {
    const long = 'x'.repeat(10_000)
    const event = decided(long, {
      subject: { kind: 'person', issuer: long, sub: long, email: long },
      session: long,
      app: long,
      host: long,
      method: long,
      path: long,
      query: long,
      rule: long,
      policy: long,
      address: long,
      userAgent: long,
      circumstances: long,
    })
    expect(findLineProblems(lineOf(event, long))).toEqual([])
  })

  it.each<[string, Record<string, unknown>]>([
    ['an event that there is not', { event: 'access.granted' }],
    ['a field that there is not', { token: 'x' }],
    ['no place', { seq: undefined }],
    ['a place that is none', { seq: 0 }],
    ['a hash that is none', { prev: 'x' }],
    ['a time with another zone', { at: '2026-11-22T08:00:00+01:00' }],
    ['an effect that there is not', { effect: 'pass' }],
    ['no subject', { subject: undefined }],
    ['a subject with more', { subject: { kind: 'person', password: 'x' } }],
  ])('takes no line with %s', (_what, change) => {
    expect(findLineProblems({ ...lineOf(decided('r1')), ...change })).not.toEqual([])
  })

  it('describes every event', () => {
    const { oneOf, anyOf } = JSON.parse(printAuditLineSchema()) as Record<'oneOf' | 'anyOf', { description?: string }[] | undefined>
    for (const { description } of oneOf ?? anyOf ?? []) expect(description).toBeTypeOf('string')
  })
})

const published = z.fromJSONSchema(JSON.parse(printAuditLineSchema()) as Parameters<typeof z.fromJSONSchema>[0])
