/** The console's pages of a managed policy: what is shown, published, merged, restored and refused, over a real store, judge and trail. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { policyWith } from './compose-policy.fixture.ts'
import { startPolicyPages, type TestPolicyPages, waitFor } from './compose-policy-pages.fixture.ts'

const payload = `"><script>alert(1)</script>'&`
const shown = '&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;'
const root = '/console/policy'

let pages: TestPolicyPages
beforeAll(async () => {
  pages = await startPolicyPages()
  // Gates look at what was used of late, and keep for a few seconds what they saw.
  pages.decide('gate-1', 60_000)
}, 60_000)
afterAll(() => pages.close())

const draftPath = (id: string) => `${root}/drafts/${id}`

/** The page of a draft once it has been tried. */
async function tried(id: string, person: 'admin' | 'none' | 'auditor' = 'admin', query = '') {
  let page = await pages.console.visit(person, `${draftPath(id)}${query}`)
  await waitFor(async () => {
    page = await pages.console.visit(person, `${draftPath(id)}${query}`)
    return !page.body.includes('data-draft-pending')
  })
  return page
}

/** Hidden fields of the form that is sent to `action`. */
function fieldsOf(body: string, action: string): Record<string, string> {
  const form = new RegExp(`<form[^>]*action="${action}"[^>]*>([\\s\\S]*?)</form>`).exec(body)?.[1]
  if (form === undefined) throw new TypeError(`no form ${action}`)
  return Object.fromEntries(
    [...form.matchAll(/<input[^>]* name="(hash|version|head|comment)"[^>]*? value="([^"]*)"/g)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  )
}

describe('the page of the policy', () => {
  it('shows what is in force, since when, by whom, and that every instance agrees', async () => {
    const page = await pages.console.visit('admin', root)
    expect(page.status).toBe(200)
    expect(page.body).toContain('Revision 1')
    expect(page.body).toContain('made of the files that the instance configuration names')
    expect(page.body).toContain('The one instance decides')
    expect(page.body).toContain('Begin a draft')
  })

  it('begins a draft, whose comment is asked for', async () => {
    const empty = await pages.console.submit('admin', `${root}/drafts`, { comment: ' ' }, { from: root })
    expect(empty.status).toBe(400)
    expect(empty.body).toContain('id="begin-error"')
    const begun = await pages.console.submit('admin', `${root}/drafts`, { comment: payload }, { from: root })
    expect(begun.status).toBe(303)
    const draft = await pages.console.follow('admin', begun)
    expect(draft.body).toContain('The draft is begun')
    expect(draft.body).toContain(shown)
    const list = await pages.console.visit('admin', root)
    expect(list.body).toContain(shown)
    expect(list.body).not.toContain('<script>alert')
  })

  it('takes no comment that is longer than the history keeps', async () => {
    const long = await pages.console.submit('admin', `${root}/drafts`, { comment: 'x'.repeat(501) }, { from: root })
    expect(long.status).toBe(400)
    expect(long.body).toContain('id="begin-error"')
    const huge = await pages.console.submit('admin', `${root}/drafts`, { comment: 'x'.repeat(100_000) })
    expect(huge.status).toBe(413)
  })
})

describe('a draft', () => {
  it('says what it changes, passes, is published with a comment of its own, and leads to its revision', async () => {
    const id = await pages.begin('people of the group on', { 'policy.yaml': policyWith('others') })
    const page = await tried(id)
    expect(page.status).toBe(200)
    expect(page.body).toContain('app wiki: rule &quot;others&quot; added')
    expect(page.body).toMatch(/<span class="del"><bdi>-\s+- \{ name: staff/)
    expect(page.body).toMatch(/<span class="add"><bdi>\+\s+- \{ name: others/)
    const fields = fieldsOf(page.body, `${draftPath(id)}/publish`)
    const words = [...page.body.matchAll(/name="gate" value="([^"]*)"/g)].map(([, word = '']) => word)
    const published = await pages.console.submit(
      'admin',
      `${draftPath(id)}/publish`,
      { ...fields, comment: 'as it goes into the history', gate: words, confirm: words },
      { from: draftPath(id) },
    )
    expect(published.status).toBe(303)
    const revision = await pages.console.follow('admin', published)
    expect(revision.body).toContain('is published. Every instance follows')
    expect(revision.body).toContain('as it goes into the history')
    expect(revision.body).toContain('app wiki: rule &quot;others&quot; added')
    expect((await pages.console.visit('admin', draftPath(id))).body).toContain('This draft became')
    expect(pages.events).toContainEqual(expect.objectContaining({ event: 'policy.published', comment: 'as it goes into the history' }))
  })

  it('shows problems with their lines, and nothing to publish', async () => {
    const id = await pages.begin('wrong', { 'policy.yaml': `${policyWith('staff')}nonsense: 1\n` })
    const page = await tried(id)
    expect(page.body).toContain(`href="${draftPath(id)}/edit?file=policy.yaml#line-8"`)
    expect(page.body).toContain('It has problems: mend them first.')
    expect(page.body).not.toContain(`action="${draftPath(id)}/publish"`)
    const { hash } = (await pages.desk.drafts.load(id)) ?? { hash: '' }
    const raw = await pages.console.submit('admin', `${draftPath(id)}/publish`, { hash, comment: 'x' })
    expect(raw.status).toBe(422)
    expect(raw.body).toContain('Nothing was changed')
  })
})

describe('publishing', () => {
  it('asks for the word of every gate at its field, refuses a wrong one there, and takes the right one', async () => {
    const head = await pages.policy.revisions?.head()
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'for gates')
    const id = await pages.begin('only finance', { 'policy.yaml': policyWith('staff').replace('groups: [staff]', 'groups: [finance]') })
    const page = await tried(id)
    const words = [...page.body.matchAll(/name="gate" value="([^"]*)"/g)].map(([, word = '']) => word)
    expect(words).toContain('wiki')
    const fields = fieldsOf(page.body, `${draftPath(id)}/publish`)
    const wrong = await pages.console.submit('admin', `${draftPath(id)}/publish`, {
      ...fields,
      gate: words,
      confirm: words.map(() => 'no'),
    })
    expect(wrong.status).toBe(409)
    expect(wrong.body).toContain('This is not the word.')
    expect(wrong.body).toMatch(/id="publish-gate-0"[^>]*aria-invalid="true"/)
    expect((await pages.desk.drafts.load(id))?.state).toBe('open')
    const right = await pages.console.submit('admin', `${draftPath(id)}/publish`, { ...fields, gate: words, confirm: words })
    expect(right.status).toBe(303)
    expect((await pages.policy.revisions?.head())?.number).toBeGreaterThan(head?.number ?? 0)
  })

  it('says to the second of two admins who was faster, offers a merge, and loses nothing', async () => {
    const before = policyWith('staff')
    await pages.publish({ 'policy.yaml': before }, 'start of two')
    const mine = before.replace('# what staff may', '# what all of us may')
    const id = await pages.begin('a comment of mine', { 'policy.yaml': mine })
    const page = await tried(id)
    const fields = fieldsOf(page.body, `${draftPath(id)}/publish`)
    const theirs = `${before}zone: Europe/Berlin\n`
    const number = await pages.publish({ 'policy.yaml': theirs }, `theirs ${payload}`)
    const late = await pages.console.submit('admin', `${draftPath(id)}/publish`, fields)
    expect(late.status).toBe(409)
    expect(late.body).toContain(`Revision ${number}</a> by <bdi`)
    expect(late.body).toContain('second@corp.example')
    expect(late.body).toContain(shown)
    expect(late.body).toContain('A merge into this draft has no conflict.')
    expect((await pages.desk.drafts.load(id))?.bundle[0]?.content.toString()).toBe(mine)
    const merged = await pages.console.submit('admin', `${draftPath(id)}/merge`, fieldsOf(late.body, `${draftPath(id)}/merge`))
    expect(merged.status).toBe(303)
    const text = (await pages.desk.drafts.load(id))?.bundle[0]?.content.toString()
    expect(text).toBe(`${mine}zone: Europe/Berlin\n`)
  })

  it('shows conflicts of a merge before and after it, with links to their lines, and publishes none of it', async () => {
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'start of a conflict')
    const id = await pages.begin('mine', { 'policy.yaml': policyWith('mine') })
    await pages.publish({ 'policy.yaml': policyWith('theirs') }, 'theirs')
    const page = await pages.console.visit('admin', draftPath(id))
    expect(page.body).toContain('A merge has conflicts')
    await pages.console.submit('admin', `${draftPath(id)}/merge`, fieldsOf(page.body, `${draftPath(id)}/merge`))
    const marked = await tried(id)
    expect(marked.body).toContain('A merge is not decided yet')
    expect(marked.body).toMatch(/edit\?file=policy\.yaml#line-\d+/)
    expect(marked.body).not.toContain(`action="${draftPath(id)}/publish"`)
  })

  it('refuses what is not what was looked at any more, and shows it again', async () => {
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'start of stale')
    const id = await pages.begin('stale', { 'policy.yaml': policyWith('one') })
    const fields = fieldsOf((await tried(id)).body, `${draftPath(id)}/publish`)
    await pages.change(id, { 'policy.yaml': policyWith('two') }, pages.second)
    const answer = await pages.console.submit('admin', `${draftPath(id)}/publish`, fields)
    expect(answer.status).toBe(409)
    expect(answer.body).toContain('The draft is not what you looked at any more')
    expect(answer.body).toContain('name: two')
    const stale = await pages.console.submit('admin', `${draftPath(id)}/discard`, { version: '1' })
    expect(stale.status).toBe(409)
    expect((await pages.desk.drafts.load(id))?.state).toBe('open')
  })

  it('publishes no comment that is longer than the history keeps, and says so at the field', async () => {
    const id = await pages.begin('long', { 'policy.yaml': policyWith('long') })
    const fields = fieldsOf((await tried(id)).body, `${draftPath(id)}/publish`)
    const answer = await pages.console.submit('admin', `${draftPath(id)}/publish`, { ...fields, comment: 'x'.repeat(501) })
    expect(answer.status).toBe(400)
    expect(answer.body).toMatch(/id="publish-comment"[^>]*aria-invalid="true"/)
  })
})

describe('revisions', () => {
  it('are restored as the next one, which says so', async () => {
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'to be restored')
    const wanted = (await pages.policy.revisions?.head())?.number ?? 0
    await pages.publish({ 'policy.yaml': `${policyWith('staff')}zone: UTC\n` }, 'a mistake')
    const path = `${root}/revisions/${wanted}`
    const page = await pages.console.visit('admin', path)
    const fields = { ...fieldsOf(page.body, `${path}/restore`), comment: 'back again' }
    const none = await pages.console.submit('admin', `${path}/restore`, { ...fields, comment: '' })
    expect(none.status).toBe(400)
    expect(none.body).toContain('id="restore-comment-error"')
    const stale = await pages.console.submit('admin', `${path}/restore`, { ...fields, head: String(wanted) })
    expect(stale.status).toBe(409)
    const restored = await pages.console.submit('admin', `${path}/restore`, fields)
    expect(restored.status).toBe(303)
    expect((await pages.console.follow('admin', restored)).body).toContain(`>revision ${wanted}</a>`)
  })

  it('are not there for a number that is none', async () => {
    for (const number of ['0', '01', '-1', '1e2', '99999', 'x', '%3Cscript%3E', '99999999999999999999'])
      expect((await pages.console.visit('admin', `${root}/revisions/${number}`)).status, number).toBe(404)
  })
})

describe('files', () => {
  it('are handed out byte for byte, one by one and together, always as files to keep', async () => {
    const text = `${policyWith('staff')}# \u202e${payload}\n`
    const picture = Buffer.from([0, 255, 1])
    const id = await pages.begin('files', { 'policy.yaml': text, 'logos/a.png': picture })
    const list = await pages.console.visit('admin', `${draftPath(id)}/files`)
    expect(list.body).toContain('logos%2Fa.png')
    const file = await pages.console.visit('admin', `${draftPath(id)}/files?file=policy.yaml`)
    expect(file.body).toBe(text)
    expect(file.headers['content-disposition']).toContain('attachment; filename="policy.yaml"')
    expect(file.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(file.headers['x-content-type-options']).toBe('nosniff')
    const archive = await pages.console.visit('admin', `${draftPath(id)}/files?archive=1`)
    expect(archive.headers['content-disposition']).toContain('.tar')
    const missing = await pages.console.visit('admin', `${draftPath(id)}/files?file=..%2F..%2Fetc%2Fpasswd`)
    expect(missing.status).toBe(404)
    const page = await pages.console.visit('admin', draftPath(id))
    expect(page.body).toContain('⟨U+202E⟩')
    expect(page.body).not.toContain('\u202e')
    expect(page.body).not.toContain('<script>alert')
  })
})

describe('impact', () => {
  it('lists who would lose what, links examples, and says when the draft has changed since', async () => {
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'start of impact')
    pages.decide('impact-1', 50_000, { sub: 'eve', groups: ['staff'] })
    const id = await pages.begin('impact', { 'policy.yaml': policyWith('staff').replace('groups: [staff]', 'groups: [finance]') })
    const begun = await pages.console.submit('admin', `${draftPath(id)}/impact`, { since: '1h' })
    expect(begun.status).toBe(303)
    const query = begun.location?.search ?? ''
    const page = await tried(id, 'admin', query)
    expect(page.body).toContain('would lose access.')
    expect(page.body).toContain('eve@corp.example')
    expect(page.body).toContain('/console/trail/decisions/impact-1')
    expect(page.body).toContain('<option value="1h" selected>')
    expect(pages.events).toContainEqual(expect.objectContaining({ event: 'data.read', what: 'impact', target: id }))
    await pages.change(id, { 'policy.yaml': policyWith('others') })
    expect((await tried(id)).body).toContain('The draft has changed since.')
    const wrong = await pages.console.submit('admin', `${draftPath(id)}/impact`, { since: '0h' })
    expect(wrong.status).toBe(422)
    expect(wrong.body).toContain('id="impact-error"')
    expect((await pages.console.visit('admin', `${draftPath(id)}?impact=0123456789abcdef0123`)).body).toContain('not known any more')
  })
})

describe('what if', () => {
  it('decides under what is in force and under a draft, every condition explained, and marks what differs', async () => {
    await pages.publish({ 'policy.yaml': policyWith('staff') }, 'start of what if')
    const open = policyWith('staff').replace('groups: [staff]', 'public: true')
    const id = await pages.begin(payload, { 'policy.yaml': open })
    const query = new URLSearchParams({ draft: id, who: 'nobody', url: 'https://wiki.corp.example/page' })
    const page = await pages.console.visit('admin', `${root}/what-if?${query}`)
    expect(page.status).toBe(200)
    expect(page.body).toContain('What the draft says otherwise')
    expect(page.body).toContain('In force')
    expect(page.body).toContain('Under the draft')
    expect(page.body).toContain('>differs</span>')
    expect(page.body).toContain('this decided')
    expect(page.body).not.toContain('<script>alert')
    expect((await pages.console.visit('admin', `${draftPath(id)}`)).body).toContain(`/console/policy/what-if?draft=${id}`)
  })

  it('says at the field what cannot be asked', async () => {
    const page = await pages.console.visit('admin', `${root}/what-if?${new URLSearchParams({ who: payload, url: payload, at: payload })}`)
    expect(page.status).toBe(400)
    expect(page.body).toMatch(/id="what-if-at"[^>]*aria-invalid="true"/)
    expect(page.body).not.toContain('<script>alert')
    expect((await pages.console.visit('admin', `${root}/what-if?who=nobody&url=nonsense`)).body).toMatch(
      /id="what-if-url"[^>]*aria-invalid/,
    )
    const unknown = await pages.console.visit('admin', `${root}/what-if?request=nothing`)
    expect(unknown.status).toBe(404)
    expect(unknown.body).toContain('role="alert"')
  })
})

describe('whoever is no admin', () => {
  const forms = (id: string) =>
    [
      [`${root}/drafts`, { comment: 'x' }],
      [`${root}/revisions/1/restore`, { comment: 'x' }],
      ...['publish', 'merge', 'propose', 'approve', 'discard'].map((what) => [`${draftPath(id)}/${what}`, { version: '1', hash: 'x' }]),
    ] as [string, Record<string, string>][]

  it('reads everything as an auditor and finds no form that changes anything, nor is one taken', async () => {
    const id = await pages.begin('for auditors', { 'policy.yaml': policyWith('auditors') })
    for (const path of [root, `${root}/files`, `${root}/revisions/1`, `${root}/what-if`, draftPath(id), `${draftPath(id)}/files`]) {
      const page = await pages.console.visit('auditor', path)
      expect(page.status, path).toBe(200)
      expect(
        [...page.body.matchAll(/method="post" action="([^"]*)"/g)].map(([, to]) => to).filter((to) => !to?.endsWith('/impact')),
        path,
      ).toEqual([])
    }
    for (const [path, fields] of forms(id)) expect((await pages.console.submit('auditor', path, fields)).status, path).toBe(403)
    expect((await pages.desk.drafts.load(id))?.state).toBe('open')
  })

  it('sees nothing of the policy as the helpdesk, without a role, or as a stranger', async () => {
    const id = await pages.begin('for nobody', { 'policy.yaml': policyWith('nobody') })
    for (const path of [
      root,
      `${root}/files?archive=1`,
      `${root}/revisions/1`,
      `${root}/what-if?who=nobody&url=https://wiki.corp.example/`,
      draftPath(id),
    ]) {
      const page = await pages.console.visit('helpdesk', path)
      expect(page.status, path).toBe(403)
      expect(page.body).not.toContain('wiki.internal')
      expect((await pages.console.visit('stranger', path)).status, path).toBe(302)
    }
    for (const [path, fields] of [...forms(id), [`${draftPath(id)}/impact`, { since: '1h' }]] as [string, Record<string, string>][])
      expect((await pages.console.submit('helpdesk', path, fields)).status, path).toBe(403)
  })

  it('is told of a draft that is not theirs to see that there is none', async () => {
    for (const id of ['nothing', '%2e%2e', '%3Cscript%3E', 'x'.repeat(100), 'policy_head'])
      expect((await pages.console.visit('admin', `${root}/drafts/${id}`)).status, id).toBe(404)
    for (const [path, fields] of forms('nothing').slice(2))
      expect((await pages.console.submit('admin', path, fields)).status, path).toBe(404)
  })

  it('sends nothing from elsewhere, nor without the token', async () => {
    const id = await pages.begin('from elsewhere', { 'policy.yaml': policyWith('elsewhere') })
    for (const [path, fields] of forms(id)) {
      const foreign = await pages.console.submit('admin', path, fields, {
        headers: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
      })
      expect(foreign.status, path).toBe(403)
      expect((await pages.console.submit('admin', path, { ...fields, form_token: 'x' })).status, path).toBe(403)
    }
    expect((await pages.desk.drafts.load(id))?.state).toBe('open')
  })
})
