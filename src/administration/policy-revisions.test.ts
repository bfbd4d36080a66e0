/** Revisions of the policy on both stores: one after the other, whole or not at all, and never mistaken for none. */

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hashOf } from '../session/secret.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { connectToInstance } from '../stores/control-client.ts'
import { controlSocketPath, listenForCommands } from '../stores/control-server.ts'
import { listDurable } from './durable-records.ts'
import { bundleOf, openHistory, publicationOf } from './policy.fixture.ts'
import { hashBundle, mostBundleBytes } from './policy-bundle.ts'
import { resealDurable } from './resealing.ts'

/** As a command reaches the embedded store of a running instance. */
async function openSocketPlace(): Promise<StorePlace> {
  const place = await openEmbeddedPlace()
  const folder = mkdtempSync(join(tmpdir(), 'postern-revisions-'))
  const server = await listenForCommands({ folder, store: place.store, record: () => true, log: silentLog })
  const store = await connectToInstance(controlSocketPath(folder))
  if (store === undefined) throw new TypeError('nobody listens')
  return {
    ...place,
    store,
    async close() {
      await store.close()
      await server.close()
      await place.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const places = { 'in the embedded store': openEmbeddedPlace, 'through the control socket': openSocketPlace, 'in Redis': openRedisPlace }

for (const [where, open] of Object.entries(places)) {
  describe(`revisions ${where}`, () => {
    let place: StorePlace
    beforeAll(async () => {
      place = await open()
    })
    afterAll(() => place.close())

    /** A store without records: of the durable state, all that there is. */
    async function openEmpty(...options: Parameters<typeof openHistory> extends [unknown, ...infer O] ? O : never) {
      for await (const { name } of listDurable(place.store, undefined)) await place.store.removeDurable(name)
      return openHistory(place, ...options)
    }
    async function countRecords(kind: string | undefined): Promise<number> {
      let count = 0
      for await (const _ of listDurable(place.store, kind)) count += 1
      return count
    }

    it('are none at first, then numbered from 1, with author, time, comment, difference, tests and predecessor', async () => {
      const { heard, revisions } = await openEmpty()
      expect(await revisions.head()).toBeUndefined()
      expect(await revisions.load(1)).toBeUndefined()
      expect(await revisions.list({ below: undefined, limit: 10 })).toEqual([])
      const first = await revisions.publish(publicationOf('one', 0))
      const second = await revisions.publish(
        publicationOf('two', 1, { tests: undefined, approvals: [{ by: 'person:b', label: 'b', at: 7 }] }),
      )
      const facts = {
        number: 2,
        hash: hashBundle(bundleOf('two')),
        policyVersion: 'sha256-two',
        published: { by: 'person:ada', label: 'ada@corp.example', at: expect.any(Number) },
        comment: 'about two',
        predecessor: 1,
        difference: ['app two added'],
        tests: undefined,
        approvals: [{ by: 'person:b', label: 'b', at: 7 }],
        restores: undefined,
      }
      expect(first).toMatchObject({ outcome: 'published', revision: { number: 1, predecessor: undefined } })
      expect(second).toEqual({ outcome: 'published', revision: facts })
      expect(await revisions.head()).toEqual(facts)
      expect(await revisions.load(2)).toEqual({ ...facts, bundle: bundleOf('two') })
      expect((await revisions.load(1))?.bundle).toEqual(bundleOf('one'))
      expect(heard.map((one) => ('told' in one ? one : `${one.event} ${'revision' in one ? one.revision : ''}`))).toEqual([
        'policy.published 1',
        { told: 1 },
        'policy.published 2',
        { told: 2 },
      ])
      expect(heard[2]).toMatchObject({ actor: 'person:ada', policy: 'sha256-two', from: 'sha256-one', approvals: ['person:b'] })
    })

    it('are listed from the newest on, page by page', async () => {
      const { revisions } = await openEmpty()
      for (let number = 0; number < 7; number++) await revisions.publish(publicationOf(`text ${number}`, number))
      const numbers = async (below: number | undefined, limit: number) =>
        (await revisions.list({ below, limit })).map(({ number }) => number)
      expect(await numbers(undefined, 3)).toEqual([7, 6, 5])
      expect(await numbers(5, 3)).toEqual([4, 3, 2])
      expect(await numbers(2, 3)).toEqual([1])
      expect(await numbers(1, 3)).toEqual([])
      expect(await revisions.load(8)).toBeUndefined()
      expect(await revisions.load(0)).toBeUndefined()
    })

    it('do not follow a predecessor that is not the head', async () => {
      const { heard, revisions } = await openEmpty()
      await revisions.publish(publicationOf('one', 0))
      await revisions.publish(publicationOf('two', 1))
      heard.length = 0
      for (const predecessor of [0, 1, 3]) {
        expect(await revisions.publish(publicationOf('late', predecessor))).toMatchObject({ outcome: 'moved_on', head: { number: 2 } })
      }
      expect(heard).toEqual([])
    })

    it('of two publishers at once one wins and the other is told, fifty times over, without a gap', async () => {
      const { ring, revisions } = await openEmpty()
      const others = openHistory(place, { keys: ring }).revisions
      for (let round = 0; round < 50; round++) {
        const texts = [`ours ${round}`, `theirs ${round}`]
        const answers = await Promise.all([revisions, others].map((one, side) => one.publish(publicationOf(texts[side] ?? '', round))))
        expect(answers.map(({ outcome }) => outcome).sort()).toEqual(['moved_on', 'published'])
        const winner = texts[answers.findIndex(({ outcome }) => outcome === 'published')]
        for (const answer of answers) {
          const after = answer.outcome === 'published' ? answer.revision : answer.head
          expect(after).toMatchObject({ number: round + 1, comment: `about ${winner}` })
        }
      }
      const all = await revisions.list({ below: undefined, limit: 100 })
      expect(all.map(({ number }) => number)).toEqual(Array.from({ length: 50 }, (_, i) => 50 - i))
      expect(await countRecords('policy_writing')).toBe(0)
      expect(await countRecords('policy_files')).toBe(50)
      expect(await countRecords('policy_revision')).toBe(50)
    })

    it('of publishers who do not even see each other’s lock one wins, and nothing of the other remains', async () => {
      const blind: Partial<SessionStore> = { acquireLock: async () => 'nobody looks' }
      const { ring, revisions } = await openEmpty({ store: blind })
      const others = openHistory(place, { keys: ring, store: blind }).revisions
      for (let round = 0; round < 20; round++) {
        const answers = await Promise.all([revisions, others].map((one, side) => one.publish(publicationOf(`${side} ${round}`, round))))
        expect(answers.map(({ outcome }) => outcome).sort()).toEqual(['moved_on', 'published'])
      }
      expect(await countRecords('policy_revision')).toBe(20)
      expect(await countRecords('policy_files')).toBe(20)
      expect((await revisions.list({ below: undefined, limit: 50 })).length).toBe(20)
    })

    it('that a crash left before the head was moved never count, and are swept once their number is taken', async () => {
      const { ring, revisions } = await openEmpty()
      await revisions.publish(publicationOf('one', 0))
      const crash = new Error('the process is gone')
      const never = async () => Promise.reject(crash)
      const crashing = openHistory(place, { keys: ring, store: { replaceDurable: never, removeDurable: never } }).revisions
      await expect(crashing.publish(publicationOf('crashed', 1))).rejects.toThrow('the process is gone')
      expect(await countRecords('policy_revision')).toBe(2)
      expect(await revisions.head()).toMatchObject({ number: 1 })
      await revisions.publish(publicationOf('two', 1))
      expect(await revisions.load(2)).toMatchObject({ comment: 'about two', bundle: bundleOf('two') })
      place.clock.move(11 * 60_000)
      await revisions.publish(publicationOf('three', 2))
      expect(await countRecords('policy_revision')).toBe(3)
      expect(await countRecords('policy_files')).toBe(3)
      expect(await countRecords('policy_writing')).toBe(0)
    })

    it('are published although the head was sealed anew in the same moment', async () => {
      const { ring, revisions } = await openEmpty()
      await revisions.publish(publicationOf('one', 0))
      let times = 0
      const replaceDurable: SessionStore['replaceDurable'] = async (name, record) => {
        // As an instance does with a record of an older key: the content stays, the version grows.
        const present = name.startsWith('policy_head:') && times++ === 0 ? await place.store.loadDurable(name) : undefined
        if (present !== undefined) await place.store.replaceDurable(name, present)
        return place.store.replaceDurable(name, record)
      }
      const unlucky = openHistory(place, { keys: ring, store: { replaceDurable } }).revisions
      expect(await unlucky.publish(publicationOf('two', 1))).toMatchObject({ outcome: 'published', revision: { number: 2 } })
      expect(times).toBe(2)
      expect(await revisions.load(2)).toMatchObject({ bundle: bundleOf('two') })
    })

    it('are not published where the trail cannot have them first', async () => {
      const { parts, revisions } = await openEmpty()
      const { createPolicyRevisions } = await import('./policy-revisions.ts')
      const mute = createPolicyRevisions({ ...parts, recordFirst: () => Promise.reject(new Error('no trail')) })
      await expect(mute.publish(publicationOf('one', 0))).rejects.toThrow('no trail')
      expect(await revisions.head()).toBeUndefined()
      expect(await countRecords(undefined)).toBe(0)
    })

    it('are in force although nobody could be told', async () => {
      const { parts, revisions } = await openEmpty()
      const { createPolicyRevisions } = await import('./policy-revisions.ts')
      const lonely = createPolicyRevisions({ ...parts, tell: () => Promise.reject(new Error('no stream')) })
      expect(await lonely.publish(publicationOf('one', 0))).toMatchObject({ outcome: 'published' })
      expect(await revisions.head()).toMatchObject({ number: 1 })
    })

    it('hold four megabytes that nothing compresses, and refuse more', async () => {
      const { revisions } = await openEmpty()
      const large = bundleOf('apps: []', { 'networks/random.bin': randomBytes(mostBundleBytes - 100) })
      await revisions.publish(publicationOf('one', 0, { bundle: large }))
      expect(hashBundle((await revisions.load(1))?.bundle ?? [])).toBe(hashBundle(large))
      const tooLarge = bundleOf('apps: []', { 'a.bin': randomBytes(mostBundleBytes) })
      await expect(revisions.publish(publicationOf('two', 1, { bundle: tooLarge }))).rejects.toThrow(TypeError)
      await expect(revisions.publish(publicationOf('two', 1, { bundle: bundleOf('', { '../x': '' }) }))).rejects.toThrow(TypeError)
      expect(await revisions.head()).toMatchObject({ number: 1 })
    })

    it('that were changed, lost, moved or sealed with another key are unreadable, and never none', async () => {
      const unreadable = { code: 'record_unreadable' }
      const { parts, revisions } = await openEmpty()
      await revisions.publish(publicationOf('one', 0, { bundle: bundleOf('one', { 'b.bin': randomBytes(300_000) }) }))
      await revisions.publish(publicationOf('two', 1))
      await expect(openHistory(place, { keys: createTestRing() }).revisions.head()).rejects.toMatchObject(unreadable)
      const headName = `policy_head:${hashOf('policy_head', 'head')}`
      const head = await place.store.loadDurable(headName)
      if (head === undefined) throw new TypeError('there is a head')
      const without = async (name: string, then: () => Promise<void>) => {
        const kept = await place.store.loadDurable(name)
        await place.store.removeDurable(name)
        await then()
        await place.store.createDurable(name, kept?.value ?? Buffer.alloc(0))
      }
      await without(headName, async () => {
        await expect(revisions.head()).rejects.toMatchObject(unreadable)
        await expect(revisions.list({ below: undefined, limit: 5 })).rejects.toMatchObject(unreadable)
        await expect(revisions.publish(publicationOf('seed', 0))).rejects.toMatchObject(unreadable)
      })
      for await (const { name } of listDurable(place.store, 'policy_revision')) {
        await without(name, async () => {
          await expect(revisions.load(1).then(() => revisions.head())).rejects.toMatchObject(unreadable)
        })
      }
      const pieces: string[] = []
      for await (const { name } of listDurable(place.store, 'policy_files')) pieces.push(name)
      expect(pieces.length).toBeGreaterThan(3)
      for (const name of pieces) {
        await without(name, async () => {
          await expect(revisions.load(1).then(() => revisions.load(2))).rejects.toMatchObject(unreadable)
        })
      }
      // A record put in the place of another does not open there: the place is part of the seal.
      const [one = '', other = ''] = pieces
      const moved = await place.store.loadDurable(other)
      await without(one, async () => {
        await place.store.createDurable(one, moved?.value ?? Buffer.alloc(0))
        await expect(revisions.load(1).then(() => revisions.load(2))).rejects.toMatchObject(unreadable)
        await place.store.removeDurable(one)
      })
      expect(await openHistory({ store: parts.store }, { keys: parts.keys() }).revisions.load(2)).toMatchObject({ bundle: bundleOf('two') })
    })

    it('are sealed again with a new key, and go on', async () => {
      const { ring, revisions } = await openEmpty()
      await revisions.publish(publicationOf('one', 0))
      const fresh = createTestRing()
      const both = { ...ring, sealing: { current: fresh.sealing.current, all: new Map([...ring.sealing.all, ...fresh.sealing.all]) } }
      const later = openHistory(place, { keys: both })
      await resealDurable(later.parts)
      const rotated = openHistory(place, { keys: { ...both, sealing: fresh.sealing } }).revisions
      expect(await rotated.load(1)).toMatchObject({ bundle: bundleOf('one') })
      expect(await rotated.publish(publicationOf('two', 1))).toMatchObject({ outcome: 'published' })
    })

    it('show the store nothing that can be read', async () => {
      const { revisions } = await openEmpty()
      await revisions.publish(publicationOf('a-very-readable-text', 0))
      for await (const { name, value } of listDurable(place.store, undefined)) {
        expect(value.toString('latin1')).not.toMatch(/readable|ada|cG9saWN5/)
        expect(name).toMatch(/^policy_[a-z_]+:[\w-]{43}$/)
      }
    })
  })
}
