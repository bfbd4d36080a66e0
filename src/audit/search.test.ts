/** What a query finds, and that looking at bytes first never hides a line. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import type { AuditEvent } from './event.ts'
import { mergeLines } from './merged-lines.ts'
import { type AuditQuery, compileQuery } from './search.ts'
import { parseTrailLine } from './trail-files.ts'
import { createWrittenTrail, decided, type WrittenTrail } from './written-trail.fixture.ts'

const day = Date.UTC(2026, 10, 22)
const eve = { kind: 'person', issuer: 'https://op.example', sub: 'u"2', email: 'ève@corp.example' } as const
const laptop = (id: string) => JSON.stringify({ known: true, value: { id, tags: [] } })
const factsOf = (device: string) => ({ subject: 'S', signIn: 'I', device })

const events: readonly AuditEvent[] = [
  { event: 'facts.recorded', kind: 'device', hash: 'DEV7', facts: laptop('laptop-7') },
  { event: 'facts.recorded', kind: 'device', hash: 'DEV8', facts: laptop('laptop-8') },
  { event: 'facts.recorded', kind: 'subject', hash: 'SUB', facts: laptop('laptop-7') },
  decided('r1', { facts: factsOf('DEV7') }),
  decided('r2', { app: 'payroll', effect: 'deny', reason: 'no_rule_matched', rule: undefined, facts: factsOf('DEV8') }),
  decided('r3', { subject: eve, path: '/"wiki"/u1' }),
  decided('r4', { subject: { kind: 'service', sub: 'billing' } }),
  { event: 'session.ended', request: undefined, session: 's9', subject: eve, cause: 'revoked' },
  { event: 'lock.set', actor: 'os:a@b', on: 'subject', target: 'u1', label: 'Ada@corp.example', until: undefined, reason: 'left' },
  { event: 'lock.set', actor: 'os:a@b', on: 'app', target: 'payroll', label: 'payroll', until: undefined, reason: 'audit' },
  { event: 'lock.set', actor: 'os:a@b', on: 'device', target: 'laptop-7', label: 'Ada’s', until: undefined, reason: 'lost' },
  { event: 'device.blocked', actor: 'os:a@b', device: 'laptop-7', reason: 'lost' },
  { event: 'data.read', actor: 'os:a@b', what: 'audit', target: 'ada@corp.example', entries: undefined },
  { event: 'audit.checkpoint', chain: 'a-0', key: 'k', signature: 's' },
]

let trail: WrittenTrail
beforeAll(() => {
  trail = createWrittenTrail()
  trail.chain('a-0').segment(events.map((event, index) => [day + index, event]))
})
afterAll(() => trail.remove())

async function find(query: AuditQuery): Promise<readonly string[]> {
  const found: string[] = []
  for await (const { bytes } of mergeLines([trail.folder], { selection: compileQuery(query) })) {
    const line = parseTrailLine(bytes) ?? {}
    found.push(String(line['request'] ?? `${String(line['event'])} ${String(line['on'] ?? '')}`.trim()))
  }
  return found
}

it.each<[AuditQuery, readonly string[]]>([
  [{ request: 'r2' }, ['r2']],
  [{ request: 'r' }, []],
  [{ subject: 'ADA@corp.example' }, ['r1', 'r2', 'lock.set subject', 'data.read']],
  [{ subject: 'ève@corp.example' }, ['r3', 'session.ended']],
  [{ subject: 'ÈVE@corp.example' }, ['r3', 'session.ended']],
  [{ subject: 'da@corp.example' }, []],
  [{ subject: 'u1' }, ['r1', 'r2', 'lock.set subject']],
  [{ subject: 'u"2' }, ['r3', 'session.ended']],
  [{ subject: 'billing' }, ['r4']],
  [{ app: 'payroll' }, ['r2', 'lock.set app']],
  [{ effect: 'deny' }, ['r2']],
  [{ reason: 'no_rule_matched' }, ['r2']],
  [{ reason: 'revoked' }, ['session.ended']],
  [{ device: 'laptop-7' }, ['r1', 'lock.set device', 'device.blocked']],
  [{ device: 'laptop-8' }, ['r2']],
  [{ device: 'laptop' }, []],
  [{ device: 'laptop-7', app: 'payroll' }, []],
  [{ subject: 'u1', app: 'wiki', effect: 'allow' }, ['r1']],
  [{ events: ['lock.set'], app: 'payroll' }, ['lock.set app']],
  [{ events: ['audit.checkpoint', 'device.blocked'] }, ['device.blocked', 'audit.checkpoint']],
])('%j finds %j', async (query, expected) => {
  expect(await find(query)).toEqual(expected)
})

it('without a query finds everything but what the trail holds itself together by', async () => {
  expect(await find({})).toEqual([
    'r1',
    'r2',
    'r3',
    'r4',
    'session.ended',
    'lock.set subject',
    'lock.set app',
    'lock.set device',
    'device.blocked',
    'data.read',
  ])
})
