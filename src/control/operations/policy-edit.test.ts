/** Operations on drafts as a program calls them: versions, files, several changes at once; and when each app was last changed. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RevisionFacts } from '../../administration/policy-history.ts'
import { startEditor, type TestEditor } from '../console/editor.fixture.ts'
import { createAppHistory } from './apps-history.ts'
import { createCarryOut } from './carry-out.ts'

const carryOut = createCarryOut()
let editor: TestEditor
beforeAll(async () => {
  editor = await startEditor()
}, 60_000)
afterAll(() => editor.close())

describe('a draft, as programs change it', () => {
  it('takes several changes at once, all of them or none, from who saw the last version', async () => {
    const draft = await editor.begin()
    const { change, outline, readFile } = editor.editing
    const edits = [
      { kind: 'set_app_field', app: 'wiki', field: ['session', 'lifetime'], value: '8h' },
      { kind: 'add_rule', of: null, rule: { name: 'nobody', deny: { everyone: true } } },
    ]
    expect(await carryOut(change, { draft, version: 1, edits }, editor.asker)).toEqual({
      outcome: 'done',
      value: { version: 2, file: 'policy.yaml' },
    })
    expect(await carryOut(change, { draft, version: 1, edits }, editor.asker)).toMatchObject({ problem: 'conflict' })
    const half = [edits[1], { kind: 'remove_level', name: 'nowhere' }]
    expect(await carryOut(change, { draft, version: 2, edits: half }, editor.asker)).toMatchObject({ problem: 'not_found' })
    const said = await carryOut(outline, { draft }, editor.asker)
    expect(said).toMatchObject({ outcome: 'done', value: { version: 2 } })
    if (said.outcome === 'refused') return
    const rules = said.value.files.find(({ path }) => path === 'policy.yaml')?.rules.map(({ name }) => name)
    expect(rules?.filter((name) => name === 'nobody')).toEqual(['nobody'])
    expect(await carryOut(readFile, { draft, path: 'networks/github-hooks.txt' }, editor.asker)).toMatchObject({ outcome: 'done' })
    expect(await carryOut(change, { draft: 'AAAAAAAAAAAA', version: 1, edits }, editor.asker)).toMatchObject({ problem: 'not_found' })
  })

  it('adds and removes files, and none that leads elsewhere', async () => {
    const draft = await editor.begin()
    const { putFile, removeFile } = editor.editing
    expect(await carryOut(putFile, { draft, version: 1, path: 'more.yaml', content: 'apps: []\n' }, editor.asker)).toMatchObject({
      value: { version: 2 },
    })
    expect(await editor.text(draft, 'more.yaml')).toBe('apps: []\n')
    expect(await carryOut(removeFile, { draft, version: 2, path: 'more.yaml' }, editor.asker)).toMatchObject({ value: { version: 3 } })
    expect(await carryOut(removeFile, { draft, version: 3, path: 'more.yaml' }, editor.asker)).toMatchObject({ problem: 'not_found' })
    for (const path of ['../x.yaml', '/etc/x', 'a//b', '.hidden']) {
      expect(await carryOut(putFile, { draft, version: 3, path, content: '' }, editor.asker), path).toMatchObject({ problem: 'malformed' })
    }
  })
})

describe('when an app was last changed', () => {
  it('is what the newest revision that names it says, read once for each head', async () => {
    const revision = (number: number, difference: readonly string[]) =>
      ({ number, difference, published: { at: number * 1000, by: 'person:ada', label: `ada ${number}` } }) as unknown as RevisionFacts
    const revisions = [revision(3, ['app wiki: url changed', 'level x added']), revision(2, ['app payroll added', 'app wiki added'])]
    let reads = 0
    const lastChanges = createAppHistory({
      head: async () => revisions[0],
      list: async ({ below }) => {
        reads += 1
        return revisions.filter(({ number }) => below === undefined || number < below)
      },
    })
    const changes = await lastChanges()
    expect(changes.get('wiki')).toEqual({ at: 3000, by: 'ada 3', revision: 3 })
    expect(changes.get('payroll')).toEqual({ at: 2000, by: 'ada 2', revision: 2 })
    await lastChanges()
    expect(reads).toBe(1)
    revisions.unshift(revision(4, ['app payroll removed']))
    expect((await lastChanges()).get('payroll')?.revision).toBe(4)
  })
})
