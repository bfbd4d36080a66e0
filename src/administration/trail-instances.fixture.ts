/**
 * Two instances with a trail each, over one store: chains on the disk, signed and anchored as the writer does, with decisions whose facts are
 * recorded; their errands served, their window filled. For tests of what asks about trails.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditEvent } from '../audit/event.ts'
import { createLineBatch } from '../audit/follow-batch.ts'
import { createFactsLedger } from '../audit/recorded-facts.ts'
import { buildChain, type ChainBuilder, createTestAuditKey } from '../audit/verify.fixture.ts'
import { type AuditWindow, createAuditWindow } from '../audit/window.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Live } from '../live/live.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import { appWith, deviceCondition, documentWith, facts, person, reportedDevice, rule } from '../policy/policy.fixture.ts'
import { open, seal } from '../session/seal.ts'
import { silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { createAuditAnchors } from './audit-anchors.ts'
import type { PolicyInForce } from './decision-explanation.ts'
import { createErrands, type RunningErrands } from './errands-over-store.ts'
import { createTrailDesk, type TrailDesk } from './trail-desk.ts'
import { serveTrailErrands } from './trail-errands.ts'
import { createTrailRuns, type TrailRuns } from './trail-runs.ts'
import { createTrailThreads } from './trail-threads.ts'
import { createTrailWindow, type TrailWindow } from './trail-window.ts'

export interface TestInstance {
  readonly name: string
  /** Its `data_dir/audit`. */
  readonly folder: string
  readonly chain: ChainBuilder
  /** A decision with its facts. */
  decide(request: string, changes?: Parameters<typeof decided>[1], on?: Partial<Facts>): void
  add(event: AuditEvent): void
  /** Files of its chain, the oldest first. */
  files(): readonly string[]
}

export interface TestTrails {
  readonly instances: readonly [TestInstance, TestInstance]
  readonly window: TrailWindow
  readonly auditWindow: AuditWindow
  readonly desk: TrailDesk
  readonly runs: TrailRuns
  readonly policy: PolicyInForce
  /** Signs and anchors what was added, and hands it to the window. */
  settle(): Promise<void>
  /** Stops the second instance, as a process that ends does. */
  stopSecond(): Promise<void>
  close(): Promise<void>
}

export interface TestTrailsParts {
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly now: () => number
  /** One for each instance. */
  readonly lives: readonly [Live, Live]
  /** When the first line was written, epoch milliseconds. */
  readonly startAt: number
  readonly subjects?: readonly SubjectFacts[]
}

export const subject = person({ sub: 'u1', email: { known: true, value: 'ada@corp.example' } })

/** The wiki, for staff on an encrypted disk. */
export function trailPolicy(): PolicyDocument {
  const encrypted = deviceCondition({ diskEncrypted: true })
  return documentWith([appWith([rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff', when: [encrypted] })])])
}

/** Reported encrypted at this instant. */
export function encryptedDevice(at: number): Facts['device'] {
  return reportedDevice({}, { attributes: Object.assign(Object.create(null), { disk_encrypted: { value: true, source: 'report', at } }) })
}

/** Starts both. */
export async function startTestTrails({ keys, lives, now, startAt, store, subjects = [subject] }: TestTrailsParts): Promise<TestTrails> {
  const key = createTestAuditKey()
  const anchors = createAuditAnchors({ store, keys, log: silentLog })
  const document = trailPolicy()
  const policy = { document, compiled: compilePolicy(document) }
  const auditWindow = createAuditWindow({
    store,
    seal: (name, plaintext) => seal(keys(), { purpose: 'window', name }, plaintext),
    open: (name, sealed) => open(keys(), { purpose: 'window', name }, sealed),
    keepEvents: 100_000,
    log: silentLog,
  })
  const errands: RunningErrands[] = []
  const folders: string[] = []

  function startInstance(name: string, live: Live): TestInstance {
    const folder = mkdtempSync(join(tmpdir(), `postern-trail-${name}-`))
    folders.push(folder)
    const chain = buildChain(folder, `${name}-1`, key, startAt)
    const ledger = createFactsLedger((event) => chain.add(event))
    const served = createErrands({
      ...{ store, keys, log: silentLog, now, instance: name, version: '1', policyVersion: () => document.version, live },
      monotonicNow: () => performance.now(),
    })
    errands.push(served)
    serveTrailErrands({
      ...{ errands: served, threads: createTrailThreads(), folder, anchors, isStoreShared: true, now },
      auditKeys: () => new Map([[key.kid, key.publicKey]]),
    })
    const files = () =>
      readdirSync(join(folder, chain.chain))
        .sort((a, b) => (a < b ? -1 : 1))
        .map((file) => join(folder, chain.chain, file))
    return {
      ...{ name, folder, chain, files },
      add: (event) => chain.add(event),
      decide(request, changes = {}, on = {}) {
        const known = { ...facts(subject), device: encryptedDevice(startAt - 3_600_000), ...on }
        const device = known.device.known ? known.device.value.id : undefined
        chain.add(decided(request, { policy: document.version, methodClass: 'read', facts: ledger.refer(known, []), device, ...changes }))
      },
    }
  }

  const instances = [startInstance('one', lives[0]), startInstance('two', lives[1])] as const
  const [first] = errands
  if (first === undefined) throw new TypeError('no instance was started')
  await Promise.all(lives.map((live) => live.confirm()))
  await Promise.all(errands.map((one) => one.instances()))
  const threads = createTrailThreads()
  const sent = new Map<string, number>()
  return {
    instances: [instances[0], instances[1]],
    auditWindow,
    window: createTrailWindow({ window: auditWindow, monotonicNow: () => performance.now() }),
    desk: createTrailDesk({ errands: first, anchors }),
    runs: createTrailRuns({
      ...{ errands: first, threads, now, anchors, document: () => document },
      async *listSubjects() {
        yield* subjects
      },
    }),
    policy,
    async settle() {
      for (const { chain, files } of instances) {
        chain.checkpoint()
        await anchors.save(chain.anchor())
        for (const file of files()) {
          const bytes = readFileSync(file)
          const from = sent.get(file) ?? 0
          sent.set(file, bytes.length)
          if (bytes.length > from)
            await auditWindow.consumer.send(createLineBatch(chain.chain, bytes.subarray(from)), new AbortController().signal)
        }
      }
    },
    stopSecond: async () => void (await errands[1]?.close()),
    async close() {
      await Promise.all(errands.map((one) => one.close()))
      for (const folder of folders) rmSync(folder, { recursive: true, force: true })
    },
  }
}
