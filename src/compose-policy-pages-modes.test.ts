/** The console's pages of the policy where two people are needed, and where the policy is files. */

import { userInfo } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { policyWith } from './compose-policy.fixture.ts'
import { startPolicyPages, type TestPolicyPages, waitFor } from './compose-policy-pages.fixture.ts'

const root = '/console/policy'
const draftPath = (id: string) => `${root}/drafts/${id}`

let pages: TestPolicyPages
afterEach(() => pages.close())

async function tried(id: string, person: 'admin' | 'none') {
  let page = await pages.console.visit(person, draftPath(id))
  await waitFor(async () => {
    page = await pages.console.visit(person, draftPath(id))
    return !page.body.includes('data-draft-pending')
  })
  return page
}

const has = (body: string, id: string, what: string) => body.includes(`action="${draftPath(id)}/${what}"`)

async function hashOf(id: string): Promise<string> {
  return (await pages.desk.drafts.load(id))?.hash ?? ''
}

describe('two people', () => {
  it('lets another admin approve exactly what was looked at, and the author neither by button nor by raw request', async () => {
    pages = await startPolicyPages({ isTwoPerson: true })
    const id = await pages.begin('together', { 'policy.yaml': policyWith('together') })
    const open = await tried(id, 'admin')
    expect(open.body).toContain('Nobody was asked to approve it yet.')
    expect([has(open.body, id, 'propose'), has(open.body, id, 'approve'), has(open.body, id, 'publish')]).toEqual([true, false, false])

    const early = await pages.console.submit('admin', `${draftPath(id)}/publish`, { hash: await hashOf(id) })
    expect(early.status).toBe(403)
    const { version } = (await pages.desk.drafts.load(id)) ?? { version: 0 }
    expect((await pages.console.submit('admin', `${draftPath(id)}/propose`, { version: String(version) })).status).toBe(303)

    const own = await tried(id, 'admin')
    expect(own.body).toContain('whoever began or changed it cannot approve it')
    expect([has(own.body, id, 'approve'), has(own.body, id, 'publish')]).toEqual([false, false])
    const raw = await pages.console.submit('admin', `${draftPath(id)}/approve`, { hash: await hashOf(id) })
    expect(raw.status).toBe(403)
    expect((await pages.desk.drafts.load(id))?.approvals).toEqual([])

    expect((await pages.console.visit('none', root)).body).toContain('waits for approval')
    const theirs = await tried(id, 'none')
    expect(has(theirs.body, id, 'approve')).toBe(true)
    expect((await pages.console.submit('none', `${draftPath(id)}/approve`, { hash: 'of something else' })).status).toBe(409)
    expect((await pages.console.submit('none', `${draftPath(id)}/approve`, { hash: await hashOf(id) })).status).toBe(303)

    const approved = await tried(id, 'admin')
    expect(approved.body).toContain('>approved</span>')
    expect(has(approved.body, id, 'publish')).toBe(true)
    expect(approved.body).not.toContain('name="comment"')
    const gates = [...approved.body.matchAll(/name="gate" value="([^"]*)"/g)].map(([, word = '']) => word)
    const otherwise = { hash: await hashOf(id), comment: 'not what was approved', confirmations: gates }
    expect(await pages.desk.publishing.publishDraft(id, otherwise, pages.admin)).toMatchObject({ problem: 'malformed' })
    const fields = { hash: await hashOf(id), comment: 'not what was approved', gate: gates, confirm: gates }
    const published = await pages.console.submit('admin', `${draftPath(id)}/publish`, fields)
    expect(published.status).toBe(303)
    const head = await pages.policy.revisions?.head()
    expect(head).toMatchObject({ number: 2, comment: 'together', approvals: [{ by: pages.second.actor }] })
    expect((await pages.console.follow('admin', published)).body).toContain('is published.')
  }, 60_000)

  it('voids an approval by a change, and the one who changed it approves no more', async () => {
    pages = await startPolicyPages({ isTwoPerson: true })
    const id = await pages.begin('changed', { 'policy.yaml': policyWith('one') })
    await pages.change(id, { 'policy.yaml': policyWith('two') }, { ...pages.second, actor: `person:${pages.console.session('none').sub}` })
    const { version } = (await pages.desk.drafts.load(id)) ?? { version: 0 }
    await pages.console.submit('admin', `${draftPath(id)}/propose`, { version: String(version) })
    expect(has((await tried(id, 'none')).body, id, 'approve')).toBe(false)
    expect((await pages.console.submit('none', `${draftPath(id)}/approve`, { hash: await hashOf(id) })).status).toBe(403)
  }, 60_000)

  it('says of a draft that was written on a command line that it takes two approvals, and why, and offers no publishing after one', async () => {
    pages = await startPolicyPages({ isTwoPerson: true })
    const os = { ...pages.admin, actor: 'os:ada@bastion', label: 'os:ada@bastion', subject: undefined, roles: [] }
    const id = await pages.begin('from a shell', { 'policy.yaml': policyWith('shell') }, os)
    const { version } = (await pages.desk.drafts.load(id)) ?? { version: 0 }
    await pages.console.submit('admin', `${draftPath(id)}/propose`, { version: String(version) })
    const approve = async (person: 'admin' | 'none') => {
      expect(has((await tried(id, person)).body, id, 'approve')).toBe(true)
      expect((await pages.console.submit(person, `${draftPath(id)}/approve`, { hash: await hashOf(id) })).status).toBe(303)
    }
    await approve('admin')
    const one = await tried(id, 'admin')
    expect(one.body).toContain('Two approvals are needed, by two people, because os:ada@bastion had a hand in this draft')
    expect(has(one.body, id, 'publish')).toBe(false)
    expect((await pages.console.submit('admin', `${draftPath(id)}/publish`, { hash: await hashOf(id) })).status).toBe(403)
    await approve('none')
    expect(has((await tried(id, 'admin')).body, id, 'publish')).toBe(true)
  }, 60_000)

  it('restores by a draft that waits for the other one', async () => {
    pages = await startPolicyPages({ isTwoPerson: true })
    const head = await pages.policy.revisions?.head()
    const revision = { bundle: (await pages.policy.revisions?.load(1))?.bundle ?? [], policyVersion: 'x', difference: [], tests: undefined }
    const { bundleOf } = await import('./compose-policy.fixture.ts')
    await pages.policy.revisions?.publish({
      ...{ ...revision, bundle: bundleOf({ 'policy.yaml': policyWith('other') }), comment: 'second', by: { by: 'person:x', label: 'x' } },
      ...{ predecessor: head?.number ?? 0, approvals: [] },
    })
    const page = await pages.console.visit('admin', `${root}/revisions/1`)
    expect(page.body).toContain('Propose to restore')
    const restored = await pages.console.submit('admin', `${root}/revisions/1/restore`, { comment: 'back' })
    expect(restored.status).toBe(303)
    expect(restored.location?.pathname).toMatch(/\/drafts\//)
    expect((await pages.console.follow('admin', restored)).body).toContain('waits for approval')
  }, 60_000)
})

describe('a policy of files', () => {
  it('says that the files are the truth, offers neither to publish nor to restore, and refuses both by raw request', async () => {
    pages = await startPolicyPages({ mode: 'files' })
    const page = await pages.console.visit('admin', root)
    expect(page.body).toContain('Nothing is published or restored here')
    expect(page.body).toContain(`<dt>Changed</dt><dd><bdi>${userInfo().username}</bdi>, `)
    const id = await pages.begin('in files', { 'policy.yaml': policyWith('others') })
    const draft = await tried(id, 'admin')
    expect(draft.body).toContain('nothing is published from this console')
    expect(draft.body).toContain('app wiki: rule &quot;others&quot; added')
    for (const what of ['publish', 'merge', 'propose', 'approve']) expect(has(draft.body, id, what), what).toBe(false)
    expect((await pages.console.visit('admin', `${draftPath(id)}/files?file=policy.yaml`)).body).toBe(policyWith('others'))
    expect((await pages.console.submit('admin', `${draftPath(id)}/publish`, { hash: await hashOf(id), comment: 'x' })).status).toBe(409)
    expect((await pages.console.submit('admin', `${draftPath(id)}/merge`, { version: '1' })).status).toBe(409)
    expect((await pages.console.submit('admin', `${root}/revisions/1/restore`, { comment: 'x' })).status).toBe(409)
    expect((await pages.console.visit('admin', `${root}/revisions/1`)).status).toBe(404)
    expect(pages.policy.document().apps[0]?.rules[0]?.name).toBe('staff')
  }, 60_000)
})
