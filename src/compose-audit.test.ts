/**
 * What hangs on the trail of an instance, over a real store and a real folder: what the store remembers of it, who counts, who keeps within
 * the limits, and who still hears the last line when it stops.
 */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import { checkChain } from './audit/chain-check.fixture.ts'
import { decided } from './audit/opened-trail.fixture.ts'
import { openAuditTrail } from './audit/trail.ts'
import { createAuditWindow } from './audit/window.ts'
import { type ComposedAudit, composeAudit } from './compose-audit.ts'
import type { AuditConfiguration } from './config/instance.ts'
import { open, seal } from './session/seal.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace, silentLog } from './session/session.fixture.ts'

const ring = createTestRing()
const keys = () => ring
const chain = `${hostname().replace(/[^A-Za-z0-9._-]/g, '_')}-0`
const instant = Date.parse('2026-11-22T10:00:00Z')

let dataDir: string
let place: StorePlace
let composed: ComposedAudit[]
let lost: number
let fsyncs: number[]

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'postern-compose-audit-'))
  place = await openEmbeddedPlace()
  composed = []
  lost = 0
  fsyncs = []
})
afterEach(async () => {
  await Promise.all(composed.map((one) => one.close()))
  await place.close()
  rmSync(dataDir, { recursive: true, force: true })
})

async function compose(changes: Partial<AuditConfiguration> = {}): Promise<ComposedAudit> {
  const audit: AuditConfiguration = {
    query: 'drop',
    durability: undefined,
    whenFull: undefined,
    keep: { ageSeconds: 86_400, bytes: 1024 * 1024 },
    recordClaims: [],
    redact: [],
    windowEvents: 0,
    sinks: [],
    ...changes,
  }
  const one = await composeAudit({
    configuration: { audit, dataDir },
    store: place.store,
    keys,
    log: silentLog,
    now: () => instant,
    monotonicNow: () => performance.now(),
    metrics: {
      countLostAuditLine: () => {
        lost += 1
      },
      observeAuditFsync: (seconds) => void fsyncs.push(seconds),
    },
  })
  composed.push(one)
  return one
}

const folder = () => join(dataDir, 'audit')
const anchors = () => createAuditAnchors({ store: place.store, keys, log: silentLog })
const check = () => checkChain(folder(), chain, { [ring.audit.current.kid]: ring.audit.current.publicKey })
const window = () =>
  createAuditWindow({
    store: place.store,
    seal: (name, plaintext) => seal(ring, { purpose: 'window', name }, plaintext),
    open: (name, sealed) => open(ring, { purpose: 'window', name }, sealed),
    keepEvents: 100,
    log: silentLog,
  })

it('signs with the audit key, and the store remembers the very last line', async () => {
  const { close, trail } = await compose()
  trail.record(decided({ request: 'only' }))
  await close()
  const { lines, signedThrough } = check()
  expect(signedThrough).toBe(lines.length)
  expect(await anchors().load(chain)).toMatchObject({ chain, seq: lines.length })
})

it('goes on behind what the store remembers, and says that lines are missing', async () => {
  await anchors().save({ chain, seq: 40, hash: 'a'.repeat(64), segment: 1, at: instant })
  const { close } = await compose()
  await close()
  expect(check().events).toEqual([])
  expect(check().lines.find(({ event }) => event === 'audit.repaired')).toMatchObject({ anchored_seq: 40 })
})

it('tells the metrics how long the disk took, and of each line that is lost', async () => {
  const { close, trail } = await compose()
  trail.record(decided())
  expect(await trail.settle()).toBe(true)
  expect(fsyncs.length).toBeGreaterThan(0)
  expect(lost).toBe(0)
  await close()
  trail.record(decided())
  expect(lost).toBe(1)
})

it('keeps the trail within the limits of the configuration, and has the store forget what went', async () => {
  const old = await openAuditTrail({
    folder: folder(),
    instance: 'gone',
    process: '0',
    key: () => ring.audit.current,
    anchors: anchors(),
    now: () => instant - 2 * 86_400_000,
    log: silentLog,
    reserveBytes: 0,
  })
  old.record(decided())
  await old.close()
  expect(await anchors().load('gone-0')).toBeDefined()
  const { usage } = await compose({ keep: { ageSeconds: 86_400, bytes: 123_456_789 } })
  expect(usage().limitBytes).toBe(123_456_789)
  await vi.waitFor(() => expect(existsSync(join(folder(), 'gone-0'))).toBe(false), { timeout: 5000 })
  expect(await anchors().load('gone-0')).toBeUndefined()
})

it('lets the last lines reach the receivers that take them, from positions that stand beside the evidence', async () => {
  const path = join(dataDir, 'copy.ndjson')
  const { close, sinks, trail } = await compose({ sinks: [{ name: 'copy', type: 'file', path }], windowEvents: 100 })
  trail.record(decided({ request: 'the-first' }))
  await vi.waitFor(() => expect(readFileSync(path, 'utf8')).toContain('the-first'), { timeout: 10_000 })
  trail.record(decided({ request: 'the-last' }))
  await close()
  const written = readdirSync(join(folder(), chain))
    .filter((name) => name.endsWith('.ndjson'))
    .map((name) => readFileSync(join(folder(), chain, name), 'utf8'))
  expect(readFileSync(path, 'utf8')).toBe(written.join(''))
  expect(sinks()).toMatchObject([{ name: 'copy', type: 'file' }])
  const recent = (await window().load({ limit: 10 })).lines.map(
    ({ bytes }) => (JSON.parse(bytes.toString()) as { request: string }).request,
  )
  expect(recent).toEqual(['the-last', 'the-first'])
  expect(readdirSync(folder())).toEqual([chain])
  expect(readdirSync(join(dataDir, 'audit-positions')).length).toBeGreaterThan(0)
})

it('puts nothing into the store for a console that nobody asked for', async () => {
  const { close, trail } = await compose({ windowEvents: 0 })
  trail.record(decided())
  await trail.settle()
  await close()
  expect(await place.store.listWindow(undefined, 10)).toEqual([])
  expect(existsSync(join(dataDir, 'audit-positions'))).toBe(false)
})
