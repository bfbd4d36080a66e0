/** A managed policy when things happen at once, or half: somebody publishes while a store is repaired, a reload during a look, a mirror with gaps, files that a refused head must not cost. */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { listDurable } from './administration/durable-records.ts'
import type { PolicyRevisions, Revision } from './administration/policy-history.ts'
import { createRevisionRestoring } from './administration/policy-restoring.ts'
import { createPolicyRevisions } from './administration/policy-revisions.ts'
import { registerStore } from './commands/store.ts'
import { openAdministration } from './compose-administration.ts'
import { bundleOf, loadHistory, openPolicyRig, type PolicyInstance, type PolicyRig, policyWith } from './compose-policy.fixture.ts'
import { loadKeys } from './keys-file.ts'
import type { Live } from './live/live.ts'
import { judgePolicy } from './policy-loading.ts'
import { type ManagedPolicySource, openManagedPolicySource } from './policy-managed-source.ts'
import { mirrorFolder, openPolicyMirror } from './policy-mirror.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace, silentLog } from './session/session.fixture.ts'

const soon = { timeout: 10_000, interval: 10 }

describe('a store that lost the policy', () => {
  let place: StorePlace
  let rig: PolicyRig
  let a: PolicyInstance
  let stranger: PolicyInstance
  beforeAll(async () => {
    place = await openRedisPlace()
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    await place.redis?.clear()
    rig = await openPolicyRig(place)
    await rig.writeSeed('policy.yaml', policyWith('first'))
    a = await rig.start('a')
    await rig.publish(a, { 'policy.yaml': policyWith('second') })
    await rig.publish(a, { 'policy.yaml': policyWith('third') })
    await vi.waitFor(async () => expect((await mirrorOf('a').load())?.inForce).toBe(3), soon)
    await place.redis?.clear()
    await rig.writeSeed('policy.yaml', policyWith('other'))
    stranger = await rig.start('stranger')
    await vi.waitFor(() => expect(a.policy.checkReady().isReady).toBe(false), soon)
    for (const method of ['log', 'error'] as const) vi.spyOn(console, method).mockImplementation(() => undefined)
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    process.exitCode = undefined
    await rig.close()
  })

  const mirrorOf = (machine: string) => openPolicyMirror(mirrorFolder(join(rig.folder, machine)))

  /** With what happens between the decision and the deed. */
  async function adopt(meanwhile: () => Promise<unknown>, ...args: string[]) {
    const program = new Command('postern').exitOverride()
    registerStore(program, {
      openAdministration: async (...asked) => {
        const administration = await openAdministration(...asked)
        const recordFirst: typeof administration.recordFirst = async (event) => {
          await administration.recordFirst(event)
          await meanwhile()
        }
        return { ...administration, recordFirst }
      },
    })
    await program.parseAsync(['store', 'adopt', '--config', await rig.configure('a'), ...args], { from: 'user' })
    return process.exitCode ?? 0
  }

  async function expectHistoryOf(rules: readonly string[]) {
    const history = await loadHistory(stranger)
    expect(history.map(({ bundle }) => /what (\w+) may/.exec(String(bundle[0]?.content))?.[1])).toEqual(rules)
  }

  it('is left alone where somebody published since it was looked at', async () => {
    expect(await adopt(() => rig.publish(stranger, { 'policy.yaml': policyWith('rival') }))).toBe(1)
    await expectHistoryOf(['other', 'rival'])
    await rig.publish(stranger, { 'policy.yaml': policyWith('later') })
    await expectHistoryOf(['other', 'rival', 'later'])
    expect(a.rule()).toBe('third')
  }, 30_000)

  it('is left as it was where somebody publishes while revisions are put back, and goes on', async () => {
    const known = await mirrorOf('a').loadRevisions()
    expect(known).toHaveLength(3)
    const ring = loadKeys(join(rig.folder, 'keys.json'), Date.now())
    const parts = { keys: () => ring, log: silentLog, tell: async () => undefined }
    const count = async () => {
      let records = 0
      for await (const { name } of listDurable(place.store, undefined)) if (name.startsWith('policy_')) records += 1
      return records
    }
    const restoring = createRevisionRestoring({ ...parts, store: place.store })
    const rival = async () => {
      await rig.publish(stranger, { 'policy.yaml': policyWith('rival') })
      return true
    }
    expect(await restoring.restore(known, rival)).toBe('moved_on')
    await expectHistoryOf(['other', 'rival'])
    const before = await count()
    await rig.publish(stranger, { 'policy.yaml': policyWith('later') })
    await rig.publish(stranger, { 'policy.yaml': policyWith('latest') })
    await expectHistoryOf(['other', 'rival', 'later', 'latest'])
    expect(await count()).toBeGreaterThan(before)

    expect(await restoring.restore(known, async () => false)).toBe('moved_on')
    await expectHistoryOf(['other', 'rival', 'later', 'latest'])
  }, 40_000)

  it('and that putting back left half way is published to again once the loss is accepted', async () => {
    const ring = loadKeys(join(rig.folder, 'keys.json'), Date.now())
    const store = {
      ...place.store,
      async replaceDurable(...args: Parameters<typeof place.store.replaceDurable>) {
        if (args[0].startsWith('policy_head:')) throw new Error('the process was killed')
        return await place.store.replaceDurable(...args)
      },
    }
    const killed = createRevisionRestoring({ store, keys: () => ring, log: silentLog, tell: async () => undefined })
    const known = await mirrorOf('a').loadRevisions()
    await expect(killed.restore(known, async () => true)).rejects.toThrow('killed')
    expect(await adopt(async () => undefined, '--accept-loss')).toBe(0)
    const rules = ['other']
    for (let number = 2; number <= 5; number += 1) {
      await rig.publish(stranger, { 'policy.yaml': policyWith(`later${number}`) })
      rules.push(`later${number}`)
    }
    await expectHistoryOf(rules)
  }, 30_000)

  it('and whose loss was accepted costs nobody what is in force: a head that is refused here leaves its files, also over a restart', async () => {
    const bad = policyWith('bad', '    set_request_headers: { X-A: { secret: nope } }\n')
    await rig.publish(stranger, { 'policy.yaml': bad })
    const { hash = '' } = a.policy.inForce().revision ?? {}
    expect(await adopt(async () => undefined, '--accept-loss')).toBe(0)
    await vi.waitFor(() => expect(a.policy.inForce().failure).toContain('revision 2 is not in force'), soon)
    await vi.waitFor(async () => expect((await mirrorOf('a').load())?.acceptance).toBe(1), soon)
    expect(a.rule()).toBe('third')
    await a.close()
    const again = await rig.start('a')
    expect(again.rule()).toBe('third')
    expect(again.policy.checkReady().isReady).toBe(true)
    expect(await readdir(join(mirrorFolder(join(rig.folder, 'a')), 'revisions'))).toContain(hash)
    // Until its successor is taken.
    await rig.publish(stranger, { 'policy.yaml': policyWith('good') })
    await vi.waitFor(() => expect(again.rule()).toBe('good'), soon)
    await vi.waitFor(async () => expect(await mirrorOf('a').load()).toMatchObject({ inForce: 3 }), soon)
    await vi.waitFor(async () => expect(await readdir(join(mirrorFolder(join(rig.folder, 'a')), 'revisions'))).not.toContain(hash), soon)
    expect(await mirrorOf('a').load()).not.toHaveProperty('standing')
  }, 40_000)
})

describe('following the head', () => {
  let place: StorePlace
  let folder: string
  let source: ManagedPolicySource | undefined
  let hear: Parameters<Live['listen']>[0] = () => undefined
  beforeEach(async () => {
    place = await openEmbeddedPlace()
    folder = await mkdtemp(join(tmpdir(), 'postern-follow-'))
  })
  afterEach(async () => {
    await source?.close()
    await place.close()
    await rm(folder, { recursive: true, force: true })
  })

  const ring = createTestRing()
  const revisionsOf = (): PolicyRevisions =>
    createPolicyRevisions({
      ...{ store: place.store, keys: () => ring, log: silentLog },
      recordFirst: async () => undefined,
      tell: async () => undefined,
    })
  async function publish(revisions: PolicyRevisions, rule: string, predecessor: number): Promise<void> {
    await revisions.publish({
      ...{ bundle: bundleOf({ 'policy.yaml': policyWith(rule) }), policyVersion: rule, difference: [], tests: undefined, comment: '' },
      ...{ by: { by: 'person:u1', label: 'u1' }, predecessor, approvals: [] },
    })
  }
  async function open(revisions: PolicyRevisions, isRefused: () => boolean = () => false) {
    source = await openManagedPolicySource({
      revisions,
      losses: { count: async () => 0 },
      mirror: openPolicyMirror(folder),
      async judge(path) {
        const judged = await judgePolicy({ path, form: 'bundle', instance: {}, areTestsRequired: false, now: Date.now() })
        return isRefused() ? { ...judged, objections: ['not today'] } : judged
      },
      seed: () => Promise.reject(new Error('nothing is seeded here')),
      describe: ({ message }) => message,
      log: silentLog,
      live: {
        listen(listener) {
          hear = listener
          return () => undefined
        },
      },
      lookEveryMs: 3_600_000,
      onReload: () => undefined,
    })
    return source
  }

  it('judges again for a reload that came while a look was under way', async () => {
    const inner = revisionsOf()
    let hold: Promise<void> | undefined
    let heads = 0
    const revisions: PolicyRevisions = {
      ...inner,
      async head() {
        heads += 1
        const found = await inner.head()
        await hold
        return found
      },
    }
    await publish(inner, 'first', 0)
    let isRefused = false
    const opened = await open(revisions, () => isRefused)
    isRefused = true
    await publish(inner, 'second', 1)
    expect(await opened.reload()).toBe(false)
    expect(opened.inForce().failure).toContain('not today')
    const held = Promise.withResolvers<void>()
    hold = held.promise
    const before = heads
    hear({ kind: 'policy_revision', hash: '' })
    await expect.poll(() => heads).toBeGreaterThan(before)
    // What is known to be refused is judged again for nobody but a reload.
    isRefused = false
    const reload = opened.reload()
    held.resolve()
    expect(await reload).toBe(true)
    expect(opened.document().apps[0]?.rules[0]?.name).toBe('second')
  })

  it('fills the gaps of the mirror later where it could not at once', async () => {
    const inner = revisionsOf()
    for (const [index, rule] of ['first', 'second', 'third'].entries()) await publish(inner, rule, index)
    let isBroken = true
    const revisions: PolicyRevisions = {
      ...inner,
      list: (page) => (isBroken ? Promise.reject(new Error('the connection broke')) : inner.list(page)),
    }
    const opened = await open(revisions)
    const mirrored = async (): Promise<readonly number[]> =>
      (await openPolicyMirror(folder).loadRevisions()).map(({ number }: Revision) => number)
    await opened.reload()
    expect(await mirrored()).toEqual([3])
    isBroken = false
    await opened.reload()
    expect(await mirrored()).toEqual([1, 2, 3])
  })
})
