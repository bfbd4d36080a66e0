/** Reading recorded requests out of a trail's files: which segments, which lines, and facts wherever they are. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import { formatAuditLine } from '../audit/line.ts'
import type { Period } from '../audit/merged-lines.ts'
import { createFactsLedger } from '../audit/recorded-facts.ts'
import { facts, now, person } from '../policy/policy.fixture.ts'
import { createDecisionReader, type RecordedDecision } from './recorded-decision.ts'
import { listSegmentTasks, readSegment } from './recorded-requests.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-requests-'))
})
afterEach(() => rm(folder, { recursive: true }))

type Decided = Extract<AuditEvent, { event: 'access.decided' }>

const started: AuditEvent = { event: 'audit.segment_started', chain: 'one-w0', segment: 1, form: 1, key: 'a', publicKey: 'x' }
const line = (event: AuditEvent, at = now) => formatAuditLine(event, at, 'one', '{"seq":1,"prev":"x",')

/** A decision, and the lines of its facts. */
function decision(request: string, at = now, changes: Partial<Decided> = {}): { readonly facts: string; readonly decided: string } {
  let lines = ''
  const ledger = createFactsLedger((event) => {
    lines += line(event, at)
  })
  const event: Decided = {
    event: 'access.decided',
    request,
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1' },
    session: undefined,
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: '/',
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-1',
    address: '192.0.2.1',
    userAgent: undefined,
    claimsAt: now,
    claimsState: 'fresh',
    decidedAt: at,
    methodClass: 'read',
    facts: ledger.refer(facts(person({ sub: request })), []),
    ...changes,
  }
  return { facts: lines, decided: line(event, at) }
}

async function write(chain: string, number: number, text: string, isCompressed = false): Promise<void> {
  await mkdir(join(folder, chain), { recursive: true })
  const name = `${String(number).padStart(8, '0')}.ndjson`
  await writeFile(join(folder, chain, isCompressed ? `${name}.zst` : name), isCompressed ? zstdCompressSync(text) : text)
}

async function readAll(period: Period = {}) {
  const decided: RecordedDecision[] = []
  const counted: [string, number][] = []
  let lines = 0
  const readDecision = createDecisionReader('https')
  for (const task of await listSegmentTasks([folder], period)) {
    await readSegment(task, {
      readDecision,
      period,
      decided: (one) => void decided.push(one),
      counted: (reason, count) => void counted.push([reason, count]),
      progress: (_bytes, some) => {
        lines += some
      },
    })
  }
  return { requests: decided.map(({ request }) => request).sort((a, b) => (a < b ? -1 : 1)), decided, counted, lines }
}

describe('the requests of a trail', () => {
  it('come from every chain and segment, compressed or not, with facts of their own segment', async () => {
    const [first, second, third] = [decision('r1'), decision('r2'), decision('r3')]
    await write('one-w0', 1, line(started) + first.facts + first.decided, true)
    await write('one-w0', 2, line(started) + second.facts + second.decided)
    await write('two-w0', 1, line(started) + third.facts + third.decided)
    const { decided, lines, requests } = await readAll()
    expect(requests).toEqual(['r1', 'r2', 'r3'])
    expect(decided.every((one) => one.facts !== undefined)).toBe(true)
    expect(lines).toBe(15)
  })

  it('are passed over where a line is torn, no JSON, or only says of itself what it is', async () => {
    const { decided, facts: own } = decision('r1')
    const liar = decision('"event":"access.decided"', now, { path: '/"event":"access.decided"' }).decided
    const text = `${line(started)}${own}no json\n{"at":1}\n[]\n{"event":"access.decided"\n${decided}${liar}${decided.slice(0, -9)}`
    await write('one-w0', 1, text)
    expect((await readAll()).requests).toEqual(['"event":"access.decided"', 'r1'])
  })

  it('are those of the period by the instant that they were decided for', async () => {
    const parts = [-10, -1, 0, 5, 10].map((ms) => decision(`r${ms}`, now + ms))
    await write('one-w0', 1, line(started, now - 20) + parts.map((one) => one.facts + one.decided).join(''))
    expect((await readAll({ since: now, until: now + 10 })).requests).toEqual(['r0', 'r5'])
    // Facts that were written before the period are not lost with the lines before it.
    const late = decision('late', now + 7)
    await write(
      'two-w0',
      1,
      line(started, now - 20) + late.facts.replaceAll(new Date(now + 7).toISOString(), new Date(now - 9).toISOString()) + late.decided,
    )
    const { decided } = await readAll({ since: now })
    expect(decided.find(({ request }) => request === 'late')?.facts).toBeDefined()
  })

  it('find facts in an earlier segment only in a trail from before each could be read alone', async () => {
    const [first, second] = [decision('r1'), decision('r2')]
    await write('old', 1, first.facts + first.decided + second.facts)
    await write('old', 2, first.decided + second.decided)
    await write('new', 1, line(started) + first.facts)
    await write('new', 2, line(started) + first.decided)
    const { decided } = await readAll()
    expect(decided.filter((one) => one.facts !== undefined)).toHaveLength(3)
    expect(decided.filter(({ evidence }) => evidence === 'missing')).toHaveLength(1)
  })

  it('have no facts where the line of them is not what its hash was made of', async () => {
    const { decided: own, facts: lines } = decision('r1')
    const altered = lines.replace('staff', 'admin')
    expect(altered).not.toBe(lines)
    await write('one-w0', 1, line(started) + altered + own)
    await write('old', 1, altered)
    await write('old', 2, own)
    const { decided } = await readAll()
    expect(decided.map(({ evidence }) => evidence)).toEqual(['missing', 'missing'])
  })

  it('that were only counted are counted', async () => {
    const counted: AuditEvent = {
      event: 'access.counted',
      address: '192.0.2.9',
      app: 'wiki',
      reason: 'login_required',
      count: 7,
      since: now,
    }
    await write('one-w0', 1, line(started) + line(counted) + line({ ...counted, since: now - 60_000 }))
    expect((await readAll({ since: now })).counted).toEqual([['login_required', 7]])
  })
})
