/** Finding one decision and its facts, wherever in the trail they are. */

import { appendFileSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { compressSegment } from './compress.ts'
import type { AuditEvent } from './event.ts'
import { findDecision, findEnd } from './find-decision.ts'
import { readPieces } from './find-decision-pieces.ts'
import { createWrittenTrail, decided, type WrittenTrail } from './written-trail.fixture.ts'

const day = Date.UTC(2026, 10, 22)
const facts = { subject: 'S', signIn: 'I', device: 'D' }
const recorded = (kind: 'subject' | 'sign_in' | 'device', hash: string, text: string): AuditEvent => ({
  event: 'facts.recorded',
  kind,
  hash,
  facts: text,
})
const all = [recorded('subject', 'S', '"who"'), recorded('sign_in', 'I', '"how"'), recorded('device', 'D', '"where"')]
let trail: WrittenTrail
beforeEach(() => {
  trail = createWrittenTrail()
})
afterEach(() => trail.remove())

const at = (events: readonly AuditEvent[]) => events.map((event, index) => [day + index, event] as const)

it.each([true, false])('finds a decision and its facts in one segment (compressed: %s)', async (isCompressed) => {
  trail.chain('a-0').segment(at([decided('r0')]))
  const chain = trail.chain('b-0')
  chain.segment(at([...all, decided('r1', { facts }), decided('r2')]), isCompressed)
  chain.segment(at([decided('r3')]))
  const found = await findDecision(trail.folder, 'r1')
  expect(found?.decided).toMatchObject({ request: 'r1', seq: 5 })
  expect(found?.facts).toEqual({ subject: '"who"', signIn: '"how"', device: '"where"' })
})

it('finds what became of a request that was allowed, waited for its record and was refused then', async () => {
  const refused = decided('r1', { effect: 'deny', reason: 'audit_unavailable' })
  trail.chain('a-0').segment(at([decided('r1'), decided('r2'), refused, decided('r3')]))
  expect((await findDecision(trail.folder, 'r1'))?.decided).toMatchObject({ effect: 'deny', reason: 'audit_unavailable' })
})

it('finds facts of an older trail in an earlier segment, and never in another chain or a later segment', async () => {
  const chain = trail.chain('a-0')
  chain.segment(at(all.slice(0, 1)), true)
  chain.segment(at([decided('r1', { facts })]))
  chain.segment(at(all.slice(1, 2)))
  trail.chain('b-0').segment(at(all.slice(2)))
  expect((await findDecision(trail.folder, 'r1'))?.facts).toEqual({ subject: '"who"', signIn: undefined, device: undefined })
})

it('is not misled by lines that only speak of the request, nor by half a line', async () => {
  trail
    .chain('a-0')
    .segment(
      at([
        { event: 'sign_in.failed', request: 'r1', reason: 'provider_refused', error: undefined, address: '192.0.2.1' },
        decided('r2', { path: '/"request":"r1"' }),
      ]),
    )
  const path = join(trail.folder, 'a-0', '00000001.ndjson')
  appendFileSync(path, '{"seq":4,"at":"2026-11-22T00:00:00.000Z","event":"access.decided","request":"r1"')
  utimesSync(path, 1, 1)
  expect(await findDecision(trail.folder, 'r1')).toBeUndefined()
  expect(await findDecision(trail.folder, 'r9')).toBeUndefined()
})

const ended = (request: string): AuditEvent => ({
  event: 'access.ended',
  request,
  app: 'wiki',
  status: 200,
  bytesIn: 1,
  bytesOut: 2,
  durationMs: 3,
  outcome: 'completed',
  reason: undefined,
})

it.each([true, false])('finds lines wherever pieces of the file meet, past lines that are none (compressed: %s)', async (isCompressed) => {
  const chain = trail.chain('a-0')
  const requests = Array.from({ length: 12 }, (_, index) => `r${index}`)
  chain.segment(at([...all, ...requests.map((request) => decided(request)), decided('last', { facts }), ended('last')]), false)
  const path = join(trail.folder, 'a-0', '00000001.ndjson')
  // Half a megabyte in each of many lines: every piece but the first begins within one. In their middle one that no reader would hold in its memory.
  const written = readFileSync(path, 'utf8').trimEnd().split('\n')
  const long = written.map((line) => (/"request":"r\d/.test(line) ? line.replace(/\}$/, `,"x":"${'x'.repeat(517_003)}"}`) : line))
  expect(long.filter((line) => line.length > 500_000)).toHaveLength(requests.length)
  long.splice(
    long.findIndex((line) => line.includes('"r6"')),
    0,
    'y'.repeat(5_000_000),
  )
  writeFileSync(path, `${long.join('\n')}\n`)
  if (isCompressed) await compressSegment({ chain: 'a-0', number: 1, path, isCompressed: false })
  for (const request of requests) expect((await findDecision(trail.folder, request))?.decided['request']).toBe(request)
  const found = await findDecision(trail.folder, 'last', day)
  expect([found?.facts, found?.ended?.['event']]).toEqual([{ subject: '"who"', signIn: '"how"', device: '"where"' }, 'access.ended'])
})

it('finds a segment that was compressed after it was listed', async () => {
  trail.chain('a-0').segment(at([...all, decided('r1', { facts })]), true)
  const path = join(trail.folder, 'a-0', '00000001.ndjson')
  const read = async (place: string) => {
    let text = ''
    for await (const piece of readPieces({ chain: 'a-0', number: 1, path: place, isCompressed: false })) text += piece.toString()
    return text
  }
  expect((await read(path)).split('\n')).toHaveLength(6)
  await expect(read(`${path}.no`)).rejects.toMatchObject({ code: 'ENOENT' })
})

it('finds the end of what was let through in a later segment, and looks for none of what was not', async () => {
  const chain = trail.chain('a-0')
  chain.segment(at([decided('r1'), decided('r2', { effect: 'deny', reason: 'no_rule_matched', rule: undefined })]))
  chain.segment(at([ended('r1'), ended('r2')]))
  const [allowed, denied] = [await findDecision(trail.folder, 'r1'), await findDecision(trail.folder, 'r2')]
  if (allowed === undefined || denied === undefined) throw new TypeError('nothing was found')
  expect(await findEnd(trail.folder, 'r1', allowed)).toMatchObject({ request: 'r1', status: 200 })
  expect(await findEnd(trail.folder, 'r2', denied)).toBeUndefined()
})

it('hands out every line of a plain file once and whole, wherever the pieces end', async () => {
  const path = join(trail.folder, 'lines.ndjson')
  const lines = Array.from({ length: 30_000 }, (_, index) => `{"line":${index},"of":"${'x'.repeat(100 + (index % 7))}"}\n`).join('')
  writeFileSync(path, lines)
  const pieces: Buffer[] = []
  for await (const piece of readPieces({ chain: 'a-0', number: 1, path, isCompressed: false })) pieces.push(Buffer.from(piece))
  expect(pieces.length).toBeGreaterThan(2)
  expect(pieces.every((piece) => piece.at(-1) === 10)).toBe(true)
  expect(Buffer.concat(pieces).equals(Buffer.from(lines))).toBe(true)
})
