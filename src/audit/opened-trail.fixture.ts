/** Trails on a real disk for tests of the writer: opened in a folder of their own, closed and removed after each test. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import type { AuditKey } from '../keys.ts'
import type { Anchor, Anchors } from './chain.ts'
import { type CheckedChain, checkChain } from './chain-check.fixture.ts'
import type { AuditEvent } from './event.ts'
import { type AuditTrailOptions, openAuditTrail, type WrittenTrail } from './trail.ts'
import { createTestAuditKey } from './verify.fixture.ts'

export interface TestTrails {
  /** `data_dir/audit`. */
  readonly folder: string
  readonly key: AuditKey
  /** What was logged as an error, since the test began. */
  readonly errors: readonly string[]
  open(changes?: Partial<AuditTrailOptions>): Promise<WrittenTrail>
  check(chain?: string): CheckedChain
}

/** Trails of one test file. Call it once, outside of tests. */
export function useTrails(): TestTrails {
  const key = createTestAuditKey()
  let folder = ''
  let trails: WrittenTrail[] = []
  let errors: string[] = []

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-audit-'))
    errors = []
  })
  afterEach(async () => {
    await Promise.all(trails.map((trail) => trail.close()))
    trails = []
    await rm(folder, { recursive: true, force: true })
  })

  return {
    get folder() {
      return folder
    },
    get errors() {
      return errors
    },
    key,
    async open(changes = {}) {
      const report = (_fields: unknown, message?: string) => void errors.push(message ?? '')
      const trail = await openAuditTrail({
        folder,
        instance: 'one',
        process: '1',
        key: () => key,
        now: () => Date.parse('2026-11-22T10:00:00Z'),
        log: { warn: () => undefined, error: report },
        reserveBytes: 0,
        ...changes,
      })
      trails.push(trail)
      return trail
    },
    check: (chain = 'one-1') => checkChain(folder, chain, { [key.kid]: key.publicKey }),
  }
}

/** A decision about somebody; what a test is about is given. */
export function decided(changes: Partial<Extract<AuditEvent, { event: 'access.decided' }>> = {}): AuditEvent {
  return {
    event: 'access.decided',
    request: 'r',
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1' },
    session: 's1',
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: '/',
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-0',
    address: '192.0.2.1',
    userAgent: undefined,
    claimsAt: undefined,
    claimsState: undefined,
    ...changes,
  }
}

/** An end, for which there is always room. */
export const ended: AuditEvent = {
  event: 'session.ended',
  request: undefined,
  session: 's1',
  subject: { kind: 'person' },
  cause: 'revoked',
}

/** Anchors in memory; `fail` makes every call reject. */
export function createTestAnchors(): Anchors & { readonly saved: Anchor[]; fail: boolean } {
  const saved: Anchor[] = []
  const refuseIfAsked = () => {
    if (anchors.fail) throw new Error('the store is away')
  }
  const anchors = {
    saved,
    fail: false,
    load: async (chain: string) => {
      refuseIfAsked()
      return saved.findLast((anchor) => anchor.chain === chain)
    },
    save: async (anchor: Anchor) => {
      refuseIfAsked()
      saved.push(anchor)
    },
    remove: async () => undefined,
    async *list() {
      yield* saved
    },
  }
  return anchors
}
