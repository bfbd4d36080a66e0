/** Publishing: what is asked before, who may, who comes too late, and what is on record of it. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { openEmbeddedPlace, type StorePlace } from '../session/session.fixture.ts'
import { bundleOf, openHistory, personAsker, publicationOf, tokenAsker } from './policy.fixture.ts'
import { type Bundle, hashBundle } from './policy-bundle.ts'
import type { PolicyInForce } from './policy-history.ts'
import { createPublishing, type PublishingParts } from './policy-publishing.ts'
import { createPolicyRevisions } from './policy-revisions.ts'
import type { JudgedBundle } from './policy-trial.ts'
import { unknownMaker } from './token-makers.ts'

const ada = personAsker('ada')
const ben = personAsker('ben')
const carl = personAsker('carl')
const lines = (...all: readonly string[]) => all.map((line) => `${line}\n`).join('')
const first = lines('zone: UTC', 'a', 'b', 'c', 'd')
const none = { confirmations: [] }

/** A judge by words: what says `broken` has a problem, what says `failing` fails a required test. Its zone is the first line. */
async function judge(bundle: Bundle): Promise<JudgedBundle> {
  const text = bundle.map(({ content }) => content.toString()).join('')
  const problem = {
    file: 'policy.yaml',
    line: 2,
    column: 1,
    key: 'apps.0',
    message: 'this is broken',
    expected: undefined,
    suggestion: undefined,
  }
  const problems = text.includes('broken') ? [problem] : []
  const [zone = ''] = text.split('\n')
  const document: PolicyDocument = {
    version: `sha256-${hashBundle(bundle).slice(0, 8)}`,
    zone,
    levels: [],
    services: [],
    rules: [],
    apps: [],
  }
  return {
    document: problems.length > 0 ? undefined : document,
    problems,
    warnings: [],
    tests: [],
    outcome: { passed: 1, failed: 0 },
    objections: text.includes('failing') ? ['1 of 2 tests fails'] : [],
  }
}

describe('publishing', () => {
  let place: StorePlace
  let history: ReturnType<typeof openHistory>
  let refused: AuditEvent[]
  beforeEach(async () => {
    place = await openEmbeddedPlace()
    history = openHistory(place)
    refused = []
    await history.revisions.publish(publicationOf('seed', 0, { bundle: bundleOf(first) }))
    history.heard.length = 0
  })
  afterEach(() => place.close())

  function open(change: Partial<PublishingParts> = {}) {
    return createPublishing({
      mode: 'managed',
      revisions: history.revisions,
      drafts: history.drafts,
      judge,
      inForce: () => Promise.reject(new Error('nobody asks')),
      isTwoPerson: false,
      findGates: async () => [],
      findTokenMakers: async () => [unknownMaker],
      mayStillApprove: async () => true,
      recordFirst: async (event) => void refused.push(event),
      ...change,
    })
  }
  async function draftOf(text: string, publishing = open(), asker = ada) {
    const begun = await publishing.begin({ comment: 'about it', bundle: bundleOf(text) }, asker)
    if (begun.outcome === 'refused') throw new TypeError(begun.message)
    return begun.draft
  }

  it('makes a draft the next revision, with what changed, its tests, its comment and its author', async () => {
    const publishing = open()
    const draft = await draftOf(lines('zone: Europe/Paris', 'a', 'b', 'c', 'd'), publishing)
    expect(await publishing.publishDraft(draft.id, { ...none, hash: draft.hash }, ben)).toMatchObject({
      outcome: 'published',
      revision: {
        number: 2,
        predecessor: 1,
        comment: 'about it',
        published: { by: 'person:ben', label: 'ben@corp.example' },
        difference: ['time zone changed'],
        tests: { passed: 1, failed: 0 },
      },
    })
    expect(await history.drafts.load(draft.id)).toMatchObject({ state: 'published', published: 2 })
    expect(await publishing.publishDraft(draft.id, { ...none, hash: draft.hash }, ben)).toMatchObject({
      problem: 'conflict',
      message: 'this draft became revision 2',
    })
  })

  it('refuses what has problems, fails required tests, holds marks of a merge, or changes nothing', async () => {
    const publishing = open()
    const attempt = async (text: string) => {
      const draft = await draftOf(text, publishing)
      return publishing.publishDraft(draft.id, { ...none, hash: draft.hash }, ada)
    }
    expect(await attempt('broken')).toMatchObject({
      problem: 'policy_refused',
      message: 'the policy has a problem',
      detail: { problems: [{ file: 'policy.yaml', line: 2, column: 1, key: 'apps.0', message: 'this is broken' }] },
    })
    expect(await attempt('failing')).toMatchObject({ problem: 'policy_refused', message: '1 of 2 tests fails' })
    expect(await attempt('a: [\n<<<<<<< ours\nb\n=======\nc\n>>>>>>> theirs\n]')).toMatchObject({
      problem: 'policy_refused',
      message: 'a merge is not decided yet: policy.yaml, line 2',
    })
    expect(await attempt(first)).toMatchObject({ problem: 'conflict' })
    expect(await history.revisions.head()).toMatchObject({ number: 1 })
    expect(await publishing.begin({ comment: '  ' }, ada)).toMatchObject({ problem: 'malformed' })
    expect(await publishing.publishDraft('AAAAAAAAAAAA', { ...none, hash: '' }, ada)).toMatchObject({ problem: 'not_found' })
  })

  it('publishes only what was seen', async () => {
    const publishing = open()
    const draft = await draftOf('mine', publishing)
    await history.drafts.change(draft.id, { bundle: bundleOf('changed'), by: { by: 'person:ben', label: 'ben' }, version: 1 })
    expect(await publishing.publishDraft(draft.id, { ...none, hash: draft.hash }, ada)).toMatchObject({ problem: 'conflict' })
  })

  it('never overwrites a revision that came in between: it offers a merge, which keeps both, and records the attempt', async () => {
    const publishing = open()
    const mine = await draftOf(first.replace('a\n', 'A\n'), publishing)
    const theirs = await draftOf(first.replace('d\n', 'D\n'), publishing, ben)
    await publishing.publishDraft(theirs.id, { ...none, hash: theirs.hash }, ben)
    expect(await publishing.publishDraft(mine.id, { ...none, hash: mine.hash }, ada)).toMatchObject({
      outcome: 'refused',
      problem: 'conflict',
      message: expect.stringContaining('revision 2 was published by ben@corp.example: about it; a merge has no conflict'),
      detail: { head: 2, predecessor: 1, conflicts: [] },
    })
    expect(refused).toEqual([
      { event: 'policy.publication_refused', actor: 'person:ada', hash: mine.hash, comment: 'about it', predecessor: 1, head: 2 },
    ])
    expect(await publishing.merge(mine.id, 7, ada)).toMatchObject({ problem: 'conflict' })
    expect(await publishing.merge(mine.id, mine.version, ada)).toEqual({ outcome: 'merged', conflicts: [] })
    const merged = await history.drafts.load(mine.id)
    expect(merged?.bundle[0]?.content.toString()).toBe(first.replace('a\n', 'A\n').replace('d\n', 'D\n'))
    expect(await publishing.publishDraft(mine.id, { ...none, hash: merged?.hash ?? '' }, ada)).toMatchObject({ revision: { number: 3 } })
  })

  it('leaves conflicts in the draft, which is refused until somebody has decided', async () => {
    const publishing = open()
    const mine = await draftOf(first.replace('a\n', 'ours\n'), publishing)
    await publishing.push(
      { ...none, bundle: bundleOf(first.replace('a\n', 'theirs\n')), predecessor: 1, comment: 'c', asDraft: false },
      ben,
    )
    expect(await publishing.publishDraft(mine.id, { ...none, hash: mine.hash }, ada)).toMatchObject({
      detail: { conflicts: [{ path: 'policy.yaml', count: 1 }] },
    })
    expect(await publishing.merge(mine.id, mine.version, ada)).toEqual({
      outcome: 'merged',
      conflicts: [{ path: 'policy.yaml', count: 1 }],
    })
    const merged = await history.drafts.load(mine.id)
    expect(merged?.bundle[0]?.content.toString()).toContain('<<<<<<< this draft\nours\n=======\ntheirs\n>>>>>>> revision 2\n')
    expect(await publishing.publishDraft(mine.id, { ...none, hash: merged?.hash ?? '' }, ada)).toMatchObject({ problem: 'policy_refused' })
  })

  it('of two admins at the same moment lets one through and tells the other, whichever check they got past', async () => {
    const publishing = open()
    const drafts = [await draftOf('mine', publishing), await draftOf('theirs', publishing, ben)]
    const answers = await Promise.all(
      drafts.map(({ hash, id }, index) => publishing.publishDraft(id, { ...none, hash }, index === 0 ? ada : ben)),
    )
    expect(answers.map((one) => (one.outcome === 'refused' ? one.problem : one.outcome)).sort()).toEqual(['conflict', 'published'])
    expect(refused.length).toBe(1)
    expect(await history.revisions.head()).toMatchObject({ number: 2 })
  })

  it.each([
    ['given up', (id: string) => history.drafts.setState(id, { state: 'discarded', by: { by: 'person:ben', label: 'ben' }, version: 1 })],
    ['changed', (id: string) => history.drafts.change(id, { bundle: bundleOf('x'), by: { by: 'person:ben', label: 'ben' }, version: 1 })],
  ] as const)('does not publish a draft that was %s in the last moment, and says so on record', async (_, interfere) => {
    let mine: string | undefined
    // After everything was asked, and just before the head moves.
    const recordFirst = async (event: AuditEvent) => {
      history.heard.push(event as never)
      if (event.event === 'policy.published' && mine !== undefined) expect(await interfere(mine)).toBe('changed')
    }
    const revisions = createPolicyRevisions({ ...history.parts, recordFirst })
    const publishing = open({ revisions })
    const { hash, id } = await draftOf('mine', publishing)
    mine = id
    expect(await publishing.publishDraft(id, { ...none, hash }, ada)).toMatchObject({ outcome: 'refused', problem: 'conflict' })
    expect(await history.revisions.head()).toMatchObject({ number: 1 })
    expect(refused).toEqual([
      { event: 'policy.publication_refused', actor: 'person:ada', hash, comment: 'about it', predecessor: 1, head: 1 },
    ])
  })

  it('asks for each word that a gate wants, every time anew', async () => {
    let gates = [
      { word: 'wiki', message: 'it refuses everyone who used wiki' },
      { word: 'yes', message: 'it takes away your own access' },
    ]
    const publishing = open({ findGates: async () => gates })
    const { hash, id } = await draftOf('mine', publishing)
    const publish = (...confirmations: readonly string[]) => publishing.publishDraft(id, { hash, confirmations }, ada)
    expect(await publish()).toMatchObject({ problem: 'confirmation_needed', detail: { gates } })
    expect(await publish('wiki')).toMatchObject({ problem: 'confirmation_needed', detail: { gates: [gates[1]] } })
    gates = [...gates, { word: 'crm', message: 'it refuses everyone who used crm' }]
    expect(await publish('wiki', 'yes')).toMatchObject({ problem: 'confirmation_needed', detail: { gates: [gates[2]] } })
    expect(await publish('wiki', 'yes', 'crm')).toMatchObject({ outcome: 'published' })
  })

  it('restores any revision as a new one that says so', async () => {
    const publishing = open()
    const push = (text: string, predecessor: number) =>
      publishing.push({ ...none, bundle: bundleOf(text), predecessor, comment: text, asDraft: false }, ada)
    await push('two', 1)
    await push('three', 2)
    expect(await publishing.restore(1, { ...none, comment: 'back' }, ben)).toMatchObject({
      outcome: 'published',
      revision: { number: 4, restores: 1, comment: 'back', predecessor: 3 },
    })
    expect((await history.revisions.load(4))?.bundle).toEqual(bundleOf(first))
    expect(await publishing.restore(1, { ...none, comment: 'again' }, ben)).toMatchObject({ outcome: 'unchanged' })
    expect(await publishing.restore(2, { ...none, comment: 'late', predecessor: 3 }, ben)).toMatchObject({ problem: 'conflict' })
    expect(await publishing.restore(9, { ...none, comment: 'none' }, ben)).toMatchObject({ problem: 'not_found' })
    expect(history.heard.at(-2)).toMatchObject({ event: 'policy.published', restores: 1 })
  })

  it('takes a push of a pipeline, is idempotent, and refuses one that was made from an older revision', async () => {
    const publishing = open()
    const wish = { ...none, bundle: bundleOf('pushed'), predecessor: 1, comment: 'by the pipeline', asDraft: false }
    expect(await publishing.push(wish, tokenAsker('ci'))).toMatchObject({
      outcome: 'published',
      revision: { number: 2, published: { by: 'token:ci' } },
    })
    expect(await publishing.push(wish, tokenAsker('ci'))).toMatchObject({ outcome: 'unchanged', revision: { number: 2 } })
    expect(await publishing.push({ ...wish, bundle: bundleOf('late') }, tokenAsker('ci'))).toMatchObject({
      problem: 'conflict',
      detail: { head: 2 },
    })
    expect(await publishing.push({ ...wish, bundle: [] }, tokenAsker('ci'))).toMatchObject({ problem: 'malformed' })
    const drafted = await publishing.push({ ...wish, bundle: bundleOf('later'), predecessor: 2, asDraft: true }, tokenAsker('ci'))
    expect(drafted).toMatchObject({ outcome: 'drafted', draft: { state: 'proposed', begun: { by: 'token:ci' } } })
    expect(await history.revisions.head()).toMatchObject({ number: 2 })
  })

  describe('by two people', () => {
    const twoPerson = { isTwoPerson: true }

    it('needs another person’s approval of exactly what is published', async () => {
      const publishing = open(twoPerson)
      const draft = await draftOf('mine', publishing)
      const publish = (hash: string, asker = ada) => publishing.publishDraft(draft.id, { ...none, hash }, asker)
      expect(await publishing.propose(draft.id, 1, ada)).toEqual({ outcome: 'done' })
      expect(await publish(draft.hash)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publish(draft.hash, ben)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(draft.id, draft.hash, ada)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(draft.id, 'another hash', ben)).toMatchObject({ problem: 'conflict' })
      expect(await publishing.approve(draft.id, draft.hash, ben)).toEqual({ outcome: 'done' })
      // Carl changes it after the approval: it is void, and Carl is one of its authors.
      await history.drafts.change(draft.id, { bundle: bundleOf('changed'), by: { by: 'person:carl', label: 'carl' }, version: 2 })
      const changed = hashBundle(bundleOf('changed'))
      expect(await publish(changed)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(draft.id, changed, carl)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(draft.id, changed, ben)).toEqual({ outcome: 'done' })
      expect(await publish(changed)).toMatchObject({ outcome: 'published', revision: { approvals: [{ by: 'person:ben' }] } })
    })

    it('knows the same person in another role, through another provider’s account of the same name, and behind a token', async () => {
      const publishing = open({ ...twoPerson, findTokenMakers: async (actor) => (actor === 'token:ci' ? ['person:ben'] : [unknownMaker]) })
      const draft = await draftOf('mine', publishing)
      const auditor = { ...ada, roles: ['auditor'] as const, label: 'Ada Lovelace' }
      const elsewhere = { ...ada, subject: { issuer: 'https://other.example', sub: 'ada' } }
      for (const asker of [auditor, elsewhere]) {
        expect(await publishing.approve(draft.id, draft.hash, asker)).toMatchObject({ problem: 'second_person_needed' })
      }
      expect(await publishing.approve(draft.id, draft.hash, tokenAsker('ci'))).toMatchObject({ problem: 'second_person_needed' })
      // What ben's token drafted, ben does not approve.
      const pushed = await publishing.push(
        { ...none, bundle: bundleOf('pushed'), predecessor: 1, comment: 'c', asDraft: false },
        tokenAsker('ci'),
      )
      if (pushed.outcome !== 'drafted') throw new TypeError('two people are needed')
      const { hash, id } = pushed.draft
      expect(await publishing.approve(id, hash, ben)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.publishDraft(id, { ...none, hash }, ben)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(id, hash, carl)).toEqual({ outcome: 'done' })
      expect(await publishing.publishDraft(id, { ...none, hash }, tokenAsker('ci'))).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.publishDraft(id, { ...none, hash }, ben)).toMatchObject({ outcome: 'published' })
    })

    const pushedBy = async (publishing: ReturnType<typeof open>, actor: string, text = 'pushed') => {
      const push = { ...none, bundle: bundleOf(text), predecessor: 1, comment: 'c', asDraft: false }
      const pushed = await publishing.push(push, { ...tokenAsker('x'), actor })
      if (pushed.outcome !== 'drafted') throw new TypeError('two people are needed')
      return pushed.draft
    }

    it('counts everybody who made or rotated the token that drafted it, down to the people behind other tokens', async () => {
      const makers = ['token:parent', 'person:ben', 'person:carl']
      const publishing = open({ ...twoPerson, findTokenMakers: async (actor) => (actor === 'token:child' ? makers : [unknownMaker]) })
      const { hash, id } = await pushedBy(publishing, 'token:child')
      for (const maker of [ben, carl]) {
        expect(await publishing.approve(id, hash, maker)).toMatchObject({ problem: 'second_person_needed' })
        // Past the use case, as an earlier version would have taken it.
        await history.drafts.approve(id, hash, { by: maker.actor, label: maker.label })
        expect(await publishing.publishDraft(id, { ...none, hash }, maker)).toMatchObject({ problem: 'second_person_needed' })
      }
      expect(await publishing.approve(id, hash, ada)).toEqual({ outcome: 'done' })
      const published = await publishing.publishDraft(id, { ...none, hash }, ben)
      expect(published.outcome === 'published' && published.revision.approvals.map(({ by }) => by)).toEqual(['person:ada'])
    })

    it('is approved by nobody where it is not known who made or rotated the token that drafted it', async () => {
      const publishing = open({ ...twoPerson, findTokenMakers: async () => ['person:ben', unknownMaker] })
      const { hash, id } = await pushedBy(publishing, 'token:ci')
      for (const asker of [ada, ben, carl]) {
        expect(await publishing.approve(id, hash, asker)).toMatchObject({
          problem: 'second_person_needed',
          message: expect.stringContaining('not known any more who made or rotated it'),
        })
        await history.drafts.approve(id, hash, { by: asker.actor, label: asker.label })
      }
      expect(await publishing.publishDraft(id, { ...none, hash }, ada)).toMatchObject({ problem: 'second_person_needed' })
    })

    it.each([
      ['by an account of a machine', 'os:ada@bastion'],
      ['with a token that one made', 'token:ci'],
    ])('takes two approvals, by two people, of what was written %s, which may be anybody', async (_, actor) => {
      const publishing = open({ ...twoPerson, findTokenMakers: async () => ['os:ada@bastion'] })
      const { hash, id } = await pushedBy(publishing, actor)
      const publish = () => publishing.publishDraft(id, { ...none, hash }, ada)
      expect(await publishing.approve(id, hash, ada)).toEqual({ outcome: 'done' })
      expect(await publishing.approve(id, hash, ada)).toEqual({ outcome: 'done' })
      expect(await publish()).toMatchObject({
        problem: 'second_person_needed',
        message: expect.stringMatching(/two approvals are needed, .*os:ada@bastion.*there is one$/),
      })
      expect(await publishing.approve(id, hash, ben)).toEqual({ outcome: 'done' })
      expect(await publish()).toMatchObject({ outcome: 'published' })
    })

    it('counts no approval by somebody who may not approve any more, and says whose', async () => {
      const locked = new Set(['person:ben'])
      const publishing = open({ ...twoPerson, mayStillApprove: async (actor) => !locked.has(actor) })
      const { hash, id } = await draftOf('mine', publishing)
      expect(await publishing.approve(id, hash, ben)).toEqual({ outcome: 'done' })
      const publish = () => publishing.publishDraft(id, { ...none, hash }, ada)
      expect(await publish()).toMatchObject({
        problem: 'second_person_needed',
        message: expect.stringContaining('ben@corp.example approved it and may not any more'),
      })
      locked.clear()
      expect(await publish()).toMatchObject({ outcome: 'published', revision: { approvals: [{ by: 'person:ben' }] } })
    })

    it('counts no approval by whoever turns out to have had a hand in it', async () => {
      let makers = ['person:dora']
      const publishing = open({ ...twoPerson, findTokenMakers: async () => makers })
      const { hash, id } = await pushedBy(publishing, 'token:ci')
      expect(await publishing.approve(id, hash, ben)).toEqual({ outcome: 'done' })
      makers = ['person:ben']
      expect(await publishing.publishDraft(id, { ...none, hash }, ada)).toMatchObject({ problem: 'second_person_needed' })
      expect(await publishing.approve(id, hash, carl)).toEqual({ outcome: 'done' })
      const published = await publishing.publishDraft(id, { ...none, hash }, ada)
      expect(published.outcome === 'published' && published.revision.approvals.map(({ by }) => by)).toEqual(['person:carl'])
    })

    it('makes drafts of what one person restores or pushes', async () => {
      await open().push({ ...none, bundle: bundleOf('two'), predecessor: 1, comment: 'two', asDraft: false }, ada)
      const publishing = open(twoPerson)
      expect(await publishing.restore(1, { ...none, comment: 'back' }, ada)).toMatchObject({
        outcome: 'drafted',
        draft: { state: 'proposed' },
      })
      const push = { ...none, bundle: bundleOf('three'), predecessor: 2, comment: 'c', asDraft: false }
      expect(await publishing.push(push, { ...tokenAsker('x'), actor: 'os:root@host' })).toMatchObject({ outcome: 'drafted' })
      expect(await history.revisions.head()).toMatchObject({ number: 2 })
      const [one] = await history.drafts.list()
      expect(await publishing.discard(one?.id ?? '', one?.version ?? 0, carl)).toEqual({ outcome: 'done' })
    })
  })

  it('where the policy is files makes drafts of them, and publishes nothing', async () => {
    const inForce: PolicyInForce = {
      mode: 'files',
      policyVersion: 'sha256-files',
      revision: undefined,
      bundle: bundleOf('files'),
      failure: undefined,
    }
    const publishing = open({ mode: 'files', inForce: async () => inForce })
    const draft = await draftOf('mine', publishing)
    expect(draft.base).toEqual({ revision: undefined, policyVersion: 'sha256-files', hash: hashBundle(bundleOf('files')) })
    const push = { ...none, bundle: bundleOf('x'), predecessor: 1, comment: 'c', asDraft: false }
    for (const answer of [
      await publishing.publishDraft(draft.id, { ...none, hash: draft.hash }, ada),
      await publishing.restore(1, { ...none, comment: 'c' }, ada),
      await publishing.push(push, ada),
      await publishing.merge(draft.id, 1, ada),
    ])
      expect(answer).toMatchObject({ outcome: 'refused', problem: 'policy_is_files' })
    expect(await history.revisions.head()).toMatchObject({ number: 1 })
  })
})
