/** Operations on the policy's history, as the API and the pages carry them out: forms, permissions, refusals, over a real store. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Asker } from '../../administration/asker.ts'
import { bundleOf, openHistory, personAsker, publicationOf, tokenAsker } from '../../administration/policy.fixture.ts'
import { hashBundle } from '../../administration/policy-bundle.ts'
import type { PolicyInForce } from '../../administration/policy-history.ts'
import { createPublishing } from '../../administration/policy-publishing.ts'
import { openEmbeddedPlace, type StorePlace } from '../../session/session.fixture.ts'
import { createCarryOut } from './carry-out.ts'
import type { AnyOperation, Outcome } from './operation.ts'
import { createPolicyHistoryOperations } from './policy-history.ts'

const ada = personAsker('ada')
const ben = personAsker('ben')
const document = { version: 'sha256-x', zone: 'UTC', levels: [], services: [], rules: [], apps: [] }
const judged = { document, problems: [], warnings: [], tests: [], outcome: undefined, objections: [] }

describe('operations on the policy', () => {
  let place: StorePlace
  let history: ReturnType<typeof openHistory>
  beforeEach(async () => {
    place = await openEmbeddedPlace()
    history = openHistory(place)
    await history.revisions.publish(publicationOf('one', 0, { bundle: bundleOf('one\n', { 'a.png': Buffer.from([0, 1]) }) }))
  })
  afterEach(() => place.close())

  function open(mode: PolicyInForce['mode'] = 'managed', isTwoPerson = false) {
    const inForce = async (): Promise<PolicyInForce> => {
      const revision = mode === 'files' ? undefined : await history.revisions.load(1)
      return { mode, policyVersion: 'sha256-x', revision, bundle: bundleOf('one\n'), failure: undefined }
    }
    const publishing = createPublishing({
      ...history,
      mode,
      judge: async () => judged,
      inForce,
      isTwoPerson,
      findGates: async () => [],
      findTokenMakers: async () => [],
      mayStillApprove: async () => true,
      recordFirst: async () => undefined,
    })
    return createPolicyHistoryOperations({
      publishing,
      drafts: history.drafts,
      revisions: mode === 'files' ? undefined : history.revisions,
      inForce,
    })
  }

  /** As the API does it, and what comes out in the form that was promised. */
  async function ask(operation: AnyOperation, input: object, asker: Asker = ada): Promise<Outcome<Record<string, unknown>>> {
    const outcome = (await createCarryOut()(operation, input, asker)) as Outcome<Record<string, unknown>>
    if (outcome.outcome === 'refused') {
      const always = ['malformed', 'not_permitted']
      expect([...always, ...operation.problems]).toContain(outcome.problem)
      return outcome
    }
    expect(operation.output.parse(JSON.parse(JSON.stringify(outcome.value)))).toEqual(JSON.parse(JSON.stringify(outcome.value)))
    return outcome
  }
  const files = (text: string) => [{ path: 'policy.yaml', text }]

  it('show what is in force, every revision by page, and each with its files', async () => {
    const operations = open()
    expect(await ask(operations.read, {})).toMatchObject({ value: { mode: 'managed', revision: { number: 1 }, files: files('one\n') } })
    for (const number of [1, 2]) await ask(operations.push, { files: files(`${number}\n`), predecessor: number, comment: 'c' })
    expect(await ask(operations.listRevisions, { limit: '2' })).toMatchObject({
      value: { entries: [{ number: 3 }, { number: 2 }], next: '2' },
    })
    expect(await ask(operations.listRevisions, { limit: '2', after: '2' })).toMatchObject({
      value: { entries: [{ number: 1 }], next: null },
    })
    expect(await ask(operations.listRevisions, { after: '../..' })).toMatchObject({ value: { entries: [], next: null } })
    expect(await ask(operations.readRevision, { number: '1' })).toMatchObject({
      value: { number: 1, files: [{ path: 'a.png', base64: 'AAE=' }, ...files('one\n')] },
    })
    expect(await ask(operations.readRevision, { number: '9' })).toMatchObject({ problem: 'not_found' })
  })

  it('publish, refuse what came too late with what has to be done, and restore', async () => {
    const operations = open()
    const push = { files: files('two\n'), predecessor: 1, comment: 'by the pipeline' }
    expect(await ask(operations.push, push, tokenAsker('ci'))).toMatchObject({ value: { outcome: 'published', revision: { number: 2 } } })
    expect(await ask(operations.push, push, tokenAsker('ci'))).toMatchObject({ value: { outcome: 'unchanged' } })
    expect(await ask(operations.push, { ...push, files: files('late\n') })).toMatchObject({
      problem: 'conflict',
      detail: { head: 2, conflicts: [{ path: 'policy.yaml', count: 1 }] },
    })
    expect(await ask(operations.restore, { number: 1, comment: 'back' })).toMatchObject({ value: { revision: { number: 3, restores: 1 } } })
  })

  it('take files only where they are files', async () => {
    const operations = open()
    for (const wrong of [
      [{ path: '../x', text: '' }],
      [{ path: 'a', text: 'x', base64: 'eA==' }],
      [{ path: 'a' }],
      'x',
      [...files('a'), ...files('b')],
    ]) {
      expect(await ask(operations.push, { files: wrong, predecessor: 1, comment: 'c' })).toMatchObject({ problem: 'malformed' })
      expect(await ask(operations.beginDraft, { files: wrong, comment: 'c' })).toMatchObject({ problem: 'malformed' })
    }
  })

  it('lead a draft from its beginning over a second person to a revision', async () => {
    const operations = open('managed', true)
    const begun = await ask(operations.beginDraft, { comment: 'contractors', files: files('mine\n') })
    const hash = hashBundle(bundleOf('mine\n'))
    expect(begun).toMatchObject({ value: { outcome: 'drafted', draft: { hash, version: 1, base: { revision: 1 } } } })
    const [{ id = '' } = {}] = await history.drafts.list()
    const at = { draft: id }
    expect(await ask(operations.proposeDraft, { ...at, version: 1 })).toMatchObject({ outcome: 'done' })
    expect(await ask(operations.publishDraft, { ...at, hash })).toMatchObject({ problem: 'second_person_needed' })
    expect(await ask(operations.approveDraft, { ...at, hash })).toMatchObject({ problem: 'second_person_needed' })
    expect(await ask(operations.approveDraft, { ...at, hash }, ben)).toMatchObject({ outcome: 'done' })
    expect(await ask(operations.readDraft, at)).toMatchObject({ value: { approvals: [{ by: 'person:ben' }], files: files('mine\n') } })
    expect(await ask(operations.publishDraft, { ...at, hash })).toMatchObject({ value: { outcome: 'published', revision: { number: 2 } } })
    expect(await ask(operations.discardDraft, { ...at, version: 3 })).toMatchObject({ problem: 'conflict' })
    const pushed = await ask(operations.beginDraft, { comment: 'c', files: files('x\n'), predecessor: 1 }, tokenAsker('ci'))
    expect(pushed).toMatchObject({ value: { draft: { state: 'proposed', base: { revision: 1 } } } })
    const [waiting] = await history.drafts.list()
    expect(await ask(operations.mergeDraft, { draft: waiting?.id, version: waiting?.version })).toMatchObject({
      value: { conflicts: [{ path: 'policy.yaml', count: 1 }] },
    })
  })

  it('page through drafts', async () => {
    const operations = open()
    for (let count = 0; count < 5; count++) await ask(operations.beginDraft, { comment: `draft ${count}` })
    const first = await ask(operations.listDrafts, { limit: 3 })
    const next = first.outcome === 'done' ? first.value['next'] : undefined
    const second = await ask(operations.listDrafts, { limit: 3, after: next })
    const ids = [first, second].flatMap((page) => (page.outcome === 'done' ? (page.value['entries'] as { readonly id: string }[]) : []))
    expect(new Set(ids.map(({ id }) => id)).size).toBe(5)
    expect(second).toMatchObject({ value: { next: null } })
  })

  it('publish nothing where the policy is files, and draft all the same', async () => {
    const operations = open('files')
    expect(await ask(operations.listRevisions, {})).toMatchObject({ problem: 'policy_is_files' })
    expect(await ask(operations.push, { files: files('x'), predecessor: 0, comment: 'c' })).toMatchObject({ problem: 'policy_is_files' })
    expect(await ask(operations.read, {})).toMatchObject({ value: { mode: 'files', revision: null } })
    expect(await ask(operations.beginDraft, { comment: 'c' })).toMatchObject({ value: { draft: { base: { revision: null } } } })
  })

  it('let an auditor read and nothing else', async () => {
    const auditor: Asker = { ...ada, roles: ['auditor'], permissions: new Set(['policy:read']) }
    const all = Object.values(open() as Readonly<Record<string, AnyOperation>>)
    for (const operation of all.filter(({ method }) => method !== 'GET')) {
      expect(await ask(operation, {}, auditor)).toMatchObject({ problem: 'not_permitted' })
    }
  })
})
