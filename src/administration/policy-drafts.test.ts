/** Drafts on both stores: two hands never overwrite each other, approvals are of what was seen, and nothing stays for ever. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import { openEmbeddedPlace, openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import { listDurable } from './durable-records.ts'
import { ada, ben, bundleOf, openHistory } from './policy.fixture.ts'
import { hashBundle } from './policy-bundle.ts'
import { createPolicyDrafts } from './policy-drafts.ts'
import type { DraftFacts, PolicyDrafts } from './policy-history.ts'

const day = 86_400_000
const carl = { by: 'person:carl', label: 'carl@corp.example' }
const baseBundle = bundleOf('base')
const base = { revision: 3, policyVersion: 'sha256-base', hash: hashBundle(baseBundle), bundle: baseBundle }

for (const open of [openEmbeddedPlace, openRedisPlace]) {
  describe(open === openEmbeddedPlace ? 'drafts in the embedded store' : 'drafts in Redis', () => {
    let place: StorePlace
    beforeAll(async () => {
      place = await open()
    })
    afterAll(() => place.close())

    async function openEmpty() {
      for await (const { name } of listDurable(place.store, undefined)) await place.store.removeDurable(name)
      return openHistory(place)
    }
    async function begin(drafts: PolicyDrafts, text = 'mine', by = ada): Promise<DraftFacts> {
      const draft = await drafts.begin({ comment: 'wiki for contractors', by, base, bundle: bundleOf(text) })
      if (typeof draft === 'string') throw new TypeError(draft)
      return draft
    }
    async function countRecords(kind: string): Promise<number> {
      let count = 0
      for await (const _ of listDurable(place.store, kind)) count += 1
      return count
    }

    it('have an author, what they began from, and both bundles', async () => {
      const { drafts, heard } = await openEmpty()
      const facts = await begin(drafts)
      const authorship = { ...ada, at: expect.any(Number) }
      expect(facts).toEqual({
        id: expect.stringMatching(/^[\w][\w-]{11}$/),
        comment: 'wiki for contractors',
        begun: authorship,
        changed: authorship,
        state: 'open',
        base: { revision: 3, policyVersion: 'sha256-base', hash: base.hash },
        hash: hashBundle(bundleOf('mine')),
        approvals: [],
        contributors: ['person:ada'],
        version: 1,
        published: undefined,
      })
      expect(await drafts.load(facts.id)).toEqual({ ...facts, bundle: bundleOf('mine'), baseBundle })
      expect(await drafts.list()).toEqual([facts])
      expect(await drafts.load('AAAAAAAAAAAA')).toBeUndefined()
      expect(heard).toEqual([{ event: 'policy.drafted', actor: 'person:ada', draft: facts.id, hash: facts.hash, comment: facts.comment }])
    })

    it('take a change only from who saw the last one', async () => {
      const { drafts } = await openEmpty()
      const { id } = await begin(drafts)
      expect(await drafts.change(id, { bundle: bundleOf('second'), by: ben, version: 1 })).toBe('changed')
      expect(await drafts.change(id, { bundle: bundleOf('third'), by: ada, version: 1 })).toBe('moved_on')
      expect(await drafts.change(id, { comment: 'said better', by: ada, version: 2 })).toBe('changed')
      expect(await drafts.load(id)).toMatchObject({
        bundle: bundleOf('second'),
        comment: 'said better',
        changed: ada,
        contributors: ['person:ada', 'person:ben'],
        version: 3,
      })
      expect(await drafts.change('AAAAAAAAAAAA', { by: ada, version: 1 })).toBe('unknown')
      expect(await drafts.change(id, { bundle: bundleOf('x', { '../y': '' }), by: ada, version: 3 })).toBe('too_large')
    })

    it('of two who change at once one wins, and no file of the other remains', async () => {
      const { drafts } = await openEmpty()
      const { id } = await begin(drafts)
      for (let version = 1; version <= 20; version++) {
        const answers = await Promise.all(
          [ada, ben].map((by) => drafts.change(id, { bundle: bundleOf(`${by.by} ${version}`), by, version })),
        )
        expect(answers.toSorted()).toEqual(['changed', 'moved_on'])
        const winner = [ada, ben][answers.indexOf('changed')]
        expect((await drafts.load(id))?.bundle).toEqual(bundleOf(`${winner?.by} ${version}`))
      }
      expect(await countRecords('policy_files')).toBe(2)
      expect(await countRecords('policy_writing')).toBe(0)
    })

    it('move to another base with the files that came of a merge', async () => {
      const { drafts } = await openEmpty()
      const { id } = await begin(drafts)
      const later = { revision: 4, policyVersion: 'sha256-later', hash: hashBundle(bundleOf('later')), bundle: bundleOf('later') }
      expect(await drafts.change(id, { bundle: bundleOf('merged'), base: later, by: ada, version: 1 })).toBe('changed')
      expect(await drafts.load(id)).toMatchObject({ base: { revision: 4 }, bundle: bundleOf('merged'), baseBundle: bundleOf('later') })
      expect(await drafts.change(id, { base: { ...later, revision: undefined }, by: ada, version: 2 })).toBe('changed')
      expect(await drafts.load(id)).toMatchObject({
        base: { revision: undefined },
        bundle: bundleOf('merged'),
        baseBundle: bundleOf('later'),
      })
      expect(await countRecords('policy_files')).toBe(2)
    })

    it('are approved by others alone, for exactly what they say, and on the record first', async () => {
      const { drafts, heard } = await openEmpty()
      const { hash, id } = await begin(drafts)
      await drafts.change(id, { comment: 'better', by: ben, version: 1 })
      expect(await drafts.approve(id, hash, ada)).toBe('same_person')
      expect(await drafts.approve(id, hash, ben)).toBe('same_person')
      expect(await drafts.approve(id, hash, { by: 'token:abc', label: 'pipeline' })).toBe('same_person')
      expect(await drafts.approve(id, hashBundle(bundleOf('other')), carl)).toBe('other_hash')
      expect(await drafts.approve(id, hash, carl)).toBe('changed')
      expect(await drafts.approve(id, hash, carl)).toBe('changed')
      expect((await drafts.load(id))?.approvals).toEqual([{ ...carl, at: expect.any(Number) }])
      expect(heard.filter((one) => 'event' in one && one.event === 'policy.approved')).toEqual([
        { event: 'policy.approved', actor: 'person:carl', draft: id, hash, comment: 'better' },
      ])
    })

    it('lose their approvals with any change, and are open again', async () => {
      const { drafts } = await openEmpty()
      const { hash, id } = await begin(drafts)
      await drafts.setState(id, { state: 'proposed', by: ada, version: 1 })
      await drafts.approve(id, hash, carl)
      expect(await drafts.load(id)).toMatchObject({ state: 'proposed', approvals: [carl] })
      expect(await drafts.change(id, { bundle: bundleOf('changed after approval'), by: ben, version: 2 })).toBe('changed')
      expect(await drafts.load(id)).toMatchObject({ state: 'open', approvals: [] })
    })

    it('race between an approval and a change so that no approval is of files that nobody approved', async () => {
      const { drafts } = await openEmpty()
      for (let round = 0; round < 20; round++) {
        const { hash, id } = await begin(drafts, `round ${round}`)
        await Promise.all([
          drafts.approve(id, hash, carl),
          drafts.change(id, { bundle: bundleOf(`changed ${round}`), by: ben, version: 1 }),
        ])
        const after = await drafts.load(id)
        expect(after?.bundle).toEqual(bundleOf(`changed ${round}`))
        expect(after?.approvals).toEqual([])
      }
    })

    it('end as published or discarded, and take nothing any more', async () => {
      const { drafts, heard } = await openEmpty()
      const one = await begin(drafts)
      const other = await begin(drafts, 'other')
      expect(await drafts.setState(one.id, { state: 'published', by: ben, version: 1, published: 4 })).toBe('changed')
      expect(await drafts.setState(other.id, { state: 'discarded', by: ben, version: 7 })).toBe('moved_on')
      expect(await drafts.setState(other.id, { state: 'discarded', by: ben, version: 1 })).toBe('changed')
      for (const { hash, id } of [one, other]) {
        expect(await drafts.change(id, { comment: 'x', by: ada, version: 2 })).toBe('closed')
        expect(await drafts.approve(id, hash, carl)).toBe('closed')
        expect(await drafts.setState(id, { state: 'open', by: ada, version: 2 })).toBe('closed')
      }
      expect(await drafts.load(one.id)).toMatchObject({ state: 'published', published: 4 })
      expect(heard.at(-1)).toMatchObject({ event: 'policy.discarded', actor: 'person:ben', draft: other.id })
      const last = await begin(drafts, 'last')
      expect((await drafts.list()).map(({ id }) => id)[0]).toBe(last.id)
    })

    it('leave 30 days after their end, and 90 after their last change, with their files', async () => {
      const { drafts } = await openEmpty()
      const ended = await begin(drafts)
      await drafts.setState(ended.id, { state: 'discarded', by: ada, version: 1 })
      const forgotten = await begin(drafts)
      place.clock.move(31 * day)
      await begin(drafts, 'third')
      expect(await drafts.load(ended.id)).toBeUndefined()
      expect(await drafts.load(forgotten.id)).toBeDefined()
      place.clock.move(60 * day)
      const last = await begin(drafts, 'fourth')
      expect(await drafts.load(forgotten.id)).toBeUndefined()
      expect((await drafts.list()).length).toBe(2)
      expect((await drafts.list())[0]?.id).toBe(last.id)
      expect(await countRecords('policy_files')).toBe(4)
    })

    it('that a crash cut short leave files that are swept later, and never those that somebody names', async () => {
      const { drafts, ring } = await openEmpty()
      const kept = await begin(drafts)
      const never = async () => Promise.reject(new Error('the process is gone'))
      const crashing = openHistory(place, { keys: ring, store: { replaceDurable: never, removeDurable: never } }).drafts
      await expect(crashing.change(kept.id, { bundle: bundleOf('half'), by: ada, version: 1 })).rejects.toThrow('gone')
      await expect(crashing.begin({ comment: 'c', by: ada, base, bundle: bundleOf('x') })).rejects.toThrow('gone')
      // Two of the first draft, one of the change, two of the second draft, whose record was written.
      expect(await countRecords('policy_files')).toBe(5)
      place.clock.move(11 * 60_000)
      await begin(drafts, 'later')
      expect(await countRecords('policy_writing')).toBe(0)
      expect(await countRecords('policy_files')).toBe(6)
      expect((await drafts.list()).length).toBe(3)
      for (const { id } of await drafts.list()) expect(await drafts.load(id)).toBeDefined()
    })

    it('do nothing that is not on record, and put it there once it can be', async () => {
      const { drafts, heard, parts } = await openEmpty()
      const { hash, id } = await begin(drafts)
      let isWritable = false
      const strict = createPolicyDrafts({
        ...parts,
        async recordFirst(event) {
          if (!isWritable) throw new PosternError('audit_unavailable', 'no room')
          heard.push(event)
        },
      })
      const filesBefore = await countRecords('policy_files')
      const attempts = [
        () => strict.begin({ comment: 'c', by: ada, base, bundle: bundleOf('x') }),
        () => strict.change(id, { bundle: bundleOf('changed'), by: ben, version: 1 }),
        () => strict.setState(id, { state: 'proposed', by: ada, version: 1 }),
        () => strict.setState(id, { state: 'discarded', by: ada, version: 1 }),
      ]
      for (const attempt of attempts) await expect(attempt()).rejects.toMatchObject({ code: 'audit_unavailable' })
      expect(await drafts.list()).toMatchObject([{ id, hash, state: 'open', version: 1 }])
      expect(await countRecords('policy_files')).toBe(filesBefore)
      isWritable = true
      heard.length = 0
      expect(await strict.setState(id, { state: 'discarded', by: ada, version: 1 })).toBe('changed')
      expect(heard).toMatchObject([{ event: 'policy.discarded', draft: id }])
    })

    it('are at most a hundred open ones', async () => {
      const { drafts } = await openEmpty()
      for (let count = 0; count < 100; count++) await begin(drafts, `draft ${count}`)
      expect(await drafts.begin({ comment: 'one more', by: ada, base, bundle: baseBundle })).toBe('too_many')
      const [first] = await drafts.list()
      await drafts.setState(first?.id ?? '', { state: 'discarded', by: ada, version: 1 })
      expect(await begin(drafts)).toMatchObject({ state: 'open' })
    }, 30_000)
  })
}
