/** The recent window over the embedded store: what goes in, what comes out, in which order, and what nobody can read there. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { open, seal } from '../session/seal.ts'
import { createTestRing } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { createEmbeddedStore } from '../stores/embedded.ts'
import { linePrefix } from './chain.ts'
import type { AuditEvent } from './event.ts'
import { createLineBatch } from './follow-batch.ts'
import { formatAuditLine } from './line.ts'
import { compileQuery } from './search.ts'
import { parseTrailLine } from './trail-files.ts'
import { type AuditWindow, createAuditWindow, type WindowQuery } from './window.ts'
import { decided } from './written-trail.fixture.ts'

const day = Date.UTC(2026, 10, 22)
let folder: string
let store: SessionStore
const warnings: string[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-window-'))
  store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: Date.now })
})
afterEach(async () => {
  warnings.length = 0
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

function createWindow(keepEvents = 1_000): AuditWindow {
  const ring = createTestRing()
  return createAuditWindow({
    store,
    seal: (name, plaintext) => seal(ring, { purpose: 'window', name }, plaintext),
    open: (name, sealed) => open(ring, { purpose: 'window', name }, sealed),
    keepEvents,
    log: { warn: (_facts: object, text?: string) => void warnings.push(text ?? '') },
  })
}

function batch(chain: string, firstSeq: number, events: readonly (readonly [minute: number, event: AuditEvent])[]) {
  const lines = events.map(([minute, event], index) =>
    formatAuditLine(event, day + minute * 60_000, chain, linePrefix(firstSeq + index, 'A'.repeat(43))),
  )
  return createLineBatch(chain, Buffer.from(lines.join('')))
}
const signal = new AbortController().signal

async function readAll(window: AuditWindow, query: Partial<WindowQuery> = {}): Promise<readonly unknown[]> {
  const found: unknown[] = []
  for (let after: string | undefined; ; ) {
    const page = await window.load({ limit: 3, ...query, after })
    expect(page.lines.length).toBeLessThanOrEqual(query.limit ?? 3)
    found.push(...page.lines.map(({ bytes }) => parseTrailLine(bytes)?.['request']))
    after = page.next
    if (after === undefined) return found
  }
}

it('hands out the lines of all instances, newest first, page by page, whatever order their batches came in', async () => {
  const window = createWindow()
  const minutes = Array.from({ length: 60 }, (_, index) => index)
  const batches = [0, 1, 2].flatMap((chain) => {
    const own = minutes.filter((minute) => minute % 3 === chain)
    // Batches that overlap in time, of different lengths.
    return [own.slice(0, 5), own.slice(5, 6), own.slice(6)].map((part, index) =>
      batch(
        `host-${chain}`,
        [1, 6, 7][index] ?? 0,
        part.map((minute) => [minute, decided(`r${minute}`)] as const),
      ),
    )
  })
  for (const one of batches.toReversed()) await window.consumer.send(one, signal)
  const expected = minutes.toReversed().map((minute) => `r${minute}`)
  for (const limit of [1, 3, 7, 60, 100]) expect(await readAll(window, { limit })).toEqual(expected)
  expect(await readAll(window, { selection: compileQuery({ request: 'r31' }) })).toEqual(['r31'])
})

it('keeps lines of one instant apart, and a batch that is sent again, or in other pieces, once', async () => {
  const window = createWindow()
  const events = Array.from({ length: 6 }, (_, index) => [7, decided(`r${index}`)] as const)
  await window.consumer.send(batch('host-0', 1, events), signal)
  await window.consumer.send(batch('host-0', 1, events), signal)
  await window.consumer.send(batch('host-0', 3, events.slice(2)), signal)
  expect(await readAll(window, { limit: 2 })).toEqual(['r5', 'r4', 'r3', 'r2', 'r1', 'r0'])
})

it('keeps the newest, and nothing that only holds the trail together', async () => {
  const window = createWindow(4)
  for (let minute = 0; minute < 9; minute += 1) {
    await window.consumer.send(
      batch('host-0', minute * 2 + 1, [
        [minute, decided(`r${minute}`)],
        [minute, { event: 'audit.checkpoint', chain: 'c', key: 'k', signature: 's' }],
      ]),
      signal,
    )
  }
  await window.consumer.send(batch('host-0', 99, [[10, { event: 'facts.recorded', kind: 'device', hash: 'h', facts: '{}' }]]), signal)
  expect(await readAll(window)).toEqual(['r8', 'r7', 'r6', 'r5'])
})

it('writes nothing readable', async () => {
  const window = createWindow()
  await window.consumer.send(batch('host-0', 1, [[0, decided('r0', { path: '/sesame' })]]), signal)
  await store.close()
  expect(readFileSync(join(folder, 'store.sqlite')).toString('latin1')).not.toMatch(/sesame|corp\.example/)
})

it('passes over a batch that does not open, and one that stands in another’s place', async () => {
  const window = createWindow()
  await window.consumer.send(batch('host-0', 1, [[0, decided('r0')]]), signal)
  const [stored] = await store.listWindow(undefined, 1)
  await store.appendWindow({ position: '2027-01-01T00:00:00.000Z:moved', value: stored?.value ?? Buffer.alloc(0), entries: 1 }, 1_000)
  await store.appendWindow({ position: '2027-01-01T00:00:00.000Z:noise', value: Buffer.from('noise'), entries: 1 }, 1_000)
  expect(await readAll(window)).toEqual(['r0'])
  expect(warnings).toHaveLength(2)
})

it('begins at the beginning for a page that there is not', async () => {
  const window = createWindow()
  await window.consumer.send(batch('host-0', 1, [[0, decided('r0')]]), signal)
  for (const after of ['', 'x', Buffer.from('[1,2]').toString('base64url'), 'y'.repeat(5_000)]) {
    expect((await window.load({ limit: 1, after })).lines).toHaveLength(1)
  }
})

it('rejects while the store is away, so that the follower sends the batch again', async () => {
  const window = createWindow()
  await store.close()
  await expect(window.consumer.send(batch('host-0', 1, [[0, decided('r0')]]), signal)).rejects.toMatchObject({
    code: 'session_store_unavailable',
  })
})
