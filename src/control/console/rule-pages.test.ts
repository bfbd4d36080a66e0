/** The editor of drafts: by form and by YAML, in step; comments stay; what is wrong stands at its field and line. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEditor, type TestEditor } from './editor.fixture.ts'

const payload = `"><script>alert(1)</script>'&`
let editor: TestEditor

beforeAll(async () => {
  editor = await startEditor({ seen: { group: ['/finance'], acr: [payload] } })
}, 60_000)
afterAll(() => editor.close())

/** Every field of the form of a page, as a browser would send it. */
function fieldsOf(body: string): Record<string, string | string[]> {
  const form = /<form[^>]*data-step[^>]*>([\s\S]*?)<\/form>/.exec(body)?.[1] ?? ''
  const sent = new URLSearchParams()
  const plain = (text: string) =>
    text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&')
  for (const [, attributes = ''] of form.matchAll(/<input([^>]*)>/g)) {
    const name = / name="([^"]*)"/.exec(attributes)?.[1]
    const isBox = attributes.includes('type="checkbox"')
    if (name === undefined || name.startsWith('form_') || (isBox && !/ checked/.test(attributes))) continue
    sent.append(plain(name), plain(/ value="([^"]*)"/.exec(attributes)?.[1] ?? ''))
  }
  for (const [, name = '', text = ''] of form.matchAll(/<textarea[^>]* name="([^"]*)"[^>]*>\n?([\s\S]*?)<\/textarea>/g))
    sent.append(plain(name), plain(text))
  for (const [, name = '', options = ''] of form.matchAll(/<select[^>]* name="([^"]*)"[^>]*>([\s\S]*?)<\/select>/g)) {
    sent.append(plain(name), plain(/value="([^"]*)" selected/.exec(options)?.[1] ?? ''))
  }
  return Object.fromEntries([...new Set(sent.keys())].map((name) => [name, sent.getAll(name)]))
}

const yamlOf = (body: string) => (fieldsOf(body)['yaml'] as string[])[0] ?? ''

describe('the page of a rule', () => {
  it('changes a rule by its form and keeps every comment and everything else as it is', async () => {
    const draft = await editor.begin()
    const before = await editor.text(draft)
    const path = `/console/policy/drafts/${draft}/apps/data-api/rules/1`
    const page = await editor.console.visit('admin', path)
    expect(page.status).toBe(200)
    expect(page.body).toContain('<option value="services" selected>')
    expect(page.body).toContain('<option value="/finance">')
    const fields = {
      ...fieldsOf(page.body),
      name: 'services read and write',
      methods: ['read', 'write'],
      'when.0.kind': 'level',
      'when.0.level': 'office_network',
    }
    const saved = await editor.console.submit('admin', path, { ...fields, intent: 'save' }, { from: path })
    expect(saved.status).toBe(303)
    expect(saved.location?.pathname).toBe(`/console/policy/drafts/${draft}/apps/data-api`)
    const after = await editor.text(draft)
    expect(after).toBe(
      before.replace(
        '{ name: services read, allow: { services: [nightly, importer] }, methods: [read], paths: ["/api/internal/**"] }',
        '{ name: services read and write, allow: { services: [nightly, importer] }, methods: [read, write], paths: ["/api/internal/**"], when: [office_network] }',
      ),
    )
    expect((await editor.console.follow('admin', saved)).body).toContain(
      'The services nightly and importer, from office network, may read and write',
    )
  })

  it('shows the form and sends it back unchanged for every rule, without a change of the text', async () => {
    const draft = await editor.begin()
    const before = await editor.text(draft)
    for (const app of editor.document.apps) {
      for (const index of app.rules.keys()) {
        const path = `/console/policy/drafts/${draft}/apps/${app.id}/rules/${index}`
        const page = await editor.console.visit('admin', path)
        const form = await editor.console.submit('admin', path, { ...fieldsOf(page.body), intent: 'form' })
        expect(yamlOf(form.body), path).toBe(yamlOf(page.body))
        expect((await editor.console.submit('admin', path, { ...fieldsOf(page.body), intent: 'save' })).status, path).toBe(303)
      }
    }
    expect(await editor.text(draft)).toBe(before)
  })

  it('takes what is written as YAML over into the form, and saves it with its comments', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const page = await editor.console.visit('admin', path)
    const yaml = 'name: staff # ours\n# since spring\nallow:\n  groups: [staff, on]\nwhen:\n  - device: { managed: true }\n'
    const stepped = await editor.console.submit('admin', path, { ...fieldsOf(page.body), yaml, intent: 'yaml' })
    expect(stepped.status).toBe(200)
    expect(stepped.body).toContain('value="on"')
    expect(stepped.body).toContain('<option value="device" selected>')
    const saved = await editor.console.submit('admin', path, { ...fieldsOf(stepped.body), intent: 'save' })
    expect(saved.status).toBe(303)
    expect(await editor.text(draft)).toContain(
      '      - name: staff # ours\n        # since spring\n        allow:\n          groups: [staff, on]\n',
    )
  })

  it('says beside the form what is saved, in words, and of a new rule nothing', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const said = (body: string) => /id="rule-sentence".*?<bdi>(.*?)<\/bdi>/s.exec(body)?.[1]
    const { body } = await editor.console.visit('admin', path)
    expect(said(body)).toMatch(/^Members of staff/)
    const yaml = 'name: staff\nallow: { groups: [others] }\n'
    const stepped = await editor.console.submit('admin', path, { ...fieldsOf(body), yaml, intent: 'yaml' })
    expect(said(stepped.body)).toBe(said(body))
    await editor.console.submit('admin', path, { ...fieldsOf(stepped.body), intent: 'save' })
    expect(said((await editor.console.visit('admin', path)).body)).toMatch(/^Members of others/)
    expect(said((await editor.console.visit('admin', `/console/policy/drafts/${draft}/apps/wiki/rules/new`)).body)).toBeUndefined()
  })

  it('keeps the comments of what is typed when the form is changed as well, step by step', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const start = fieldsOf((await editor.console.visit('admin', path)).body)
    const yaml = 'name: staff\n# who\nallow: { groups: [staff] } # all'
    const first = await editor.console.submit('admin', path, { ...start, yaml, intent: 'yaml' })
    const second = await editor.console.submit('admin', path, { ...fieldsOf(first.body), from: '2026-12-01', intent: 'form' })
    expect(yamlOf(second.body)).toBe('name: staff\n# who\nallow: { groups: [staff] } # all\nfrom: "2026-12-01"')
    const both = await editor.console.submit('admin', path, { ...start, yaml, name: 'another', intent: 'save' })
    expect(both.status).toBe(409)
    expect(both.body).toContain('Form and YAML were both changed')
  })

  it('says what is wrong at its field and at its line, and saves nothing', async () => {
    const draft = await editor.begin()
    const before = await editor.text(draft)
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const start = fieldsOf((await editor.console.visit('admin', path)).body)
    const wrong = await editor.console.submit('admin', path, {
      ...start,
      paths: 'admin',
      from: 'soon',
      'who.0.kind': 'users',
      intent: 'save',
    })
    expect(wrong.status).toBe(422)
    expect(wrong.body).toMatch(/id="paths-error"><bdi>The pattern must start with/)
    expect(wrong.body).toMatch(/id="from-error"><bdi>This is not a date/)
    expect(wrong.body).toMatch(/id="who-0-error"><p class="error"><bdi>/)
    expect(wrong.body).toMatch(/data-go-line="1">Line 1</)
    const yaml = 'name: staff\nallow: { groups: [staff] }\nwhen:\n  - { sign_in: { within: 5 } }\ncolour: red\n'
    const lines = await editor.console.submit('admin', path, { ...start, yaml, intent: 'save' })
    expect(lines.status).toBe(422)
    expect(lines.body).toMatch(/data-go-line="4">/)
    expect(lines.body).toMatch(/id="when-0-error"/)
    expect(lines.body).toMatch(/id="rest-error"/)
    const broken = await editor.console.submit('admin', path, { ...start, yaml: 'name: [', intent: 'save' })
    expect(broken.body).toContain('No form for this')
    expect(await editor.text(draft)).toBe(before)
  })

  it('shows what only the whole policy tells, at the field of the rule that it concerns', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const start = fieldsOf((await editor.console.visit('admin', path)).body)
    const saved = await editor.console.submit('admin', path, {
      ...start,
      'when.0.kind': 'level',
      'when.0.level': 'office_hour',
      intent: 'save',
    })
    expect(saved.status).toBe(303)
    const page = await editor.console.visit('admin', path)
    expect(page.body).toMatch(/id="when-0-error"><p class="error"><bdi>.*office_hours/)
    expect((await editor.console.visit('admin', `/console/policy/drafts/${draft}/apps/wiki`)).body).toContain('Not right')
  })

  it('adds a rule of an app and of the company, moves it and takes it away', async () => {
    const draft = await editor.begin()
    const base = `/console/policy/drafts/${draft}`
    const start = fieldsOf((await editor.console.visit('admin', `${base}/apps/wiki/rules/new`)).body)
    const added = await editor.console.submit('admin', `${base}/apps/wiki/rules/new`, {
      ...start,
      name: 'nobody at night',
      verb: 'deny',
      'who.0.kind': 'everyone',
      'unless.0.kind': 'level',
      'unless.0.level': 'office_hours',
      intent: 'save',
    })
    expect(added.status).toBe(303)
    expect(await editor.text(draft)).toContain('nobody at night')
    const version = async () => String((await editor.drafts.load(draft))?.version)
    await editor.console.submit('admin', `${base}/apps/wiki/rules/2/up`, { version: await version() })
    const { body } = await editor.console.visit('admin', `${base}/apps/wiki`)
    expect([...body.matchAll(/rules\/(\d)"><bdi>([^<]*)</g)].map(([, , name]) => name)).toEqual([
      'staff',
      'nobody at night',
      'contractors read',
    ])
    expect(body).toContain('Nobody may do anything, except during office hours.')
    const before = await editor.text(draft)
    const stale = await editor.console.submit('admin', `${base}/apps/wiki/rules/1/remove`, { version: '1' })
    expect(stale.status).toBe(409)
    expect(await editor.text(draft)).toBe(before)
    await editor.console.submit('admin', `${base}/apps/wiki/rules/1/remove`, { version: await version() })
    expect(await editor.text(draft)).not.toContain('nobody at night')

    const company = `${base}/rules/new?file=policy.yaml`
    const fields = fieldsOf((await editor.console.visit('admin', company)).body)
    const saved = await editor.console.submit('admin', company, {
      ...fields,
      name: 'open apps from Europe',
      verb: 'require',
      'who.0.kind': '',
      'require.0.kind': 'level',
      'require.0.level': 'in_europe',
      sensitivity: ['open'],
      apps: ['wiki'],
      intent: 'save',
    })
    expect(saved.status).toBe(303)
    expect(saved.location?.pathname).toBe(`${base}/rules`)
    expect((await editor.console.follow('admin', saved)).body).toContain(
      'In wiki, as far as they are open, everybody who may come in needs to be in europe.',
    )
  })

  it('escapes whatever stands in a policy', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki/rules/0`
    const start = fieldsOf((await editor.console.visit('admin', path)).body)
    const fields = { ...start, name: payload, 'who.0.values': [payload], rest: `x: ${JSON.stringify(payload)}`, intent: 'form' }
    const stepped = await editor.console.submit('admin', path, fields)
    expect(stepped.body).not.toContain('<script>alert')
    const { rest: _rest, ...rightOnes } = fields
    expect((await editor.console.submit('admin', path, { ...rightOnes, intent: 'save' })).status).toBe(303)
    for (const at of [path, `/console/policy/drafts/${draft}/apps/wiki`, `/console/policy/drafts/${draft}/edit`]) {
      const { body } = await editor.console.visit('admin', at)
      expect(body, at).toContain('&lt;script&gt;alert(1)')
      expect(body, at).not.toContain('<script>alert')
    }
  })

  it('is read by an auditor, who sends nothing, and is not for the helpdesk', async () => {
    const draft = await editor.begin()
    const base = `/console/policy/drafts/${draft}`
    for (const path of ['/edit', '/apps/wiki', '/apps/wiki/rules/0', '/rules', '/rules/0', '/levels', '/levels/mfa']) {
      const seen = await editor.console.visit('auditor', base + path)
      expect(seen.status, path).toBe(200)
      expect(seen.body, path).not.toContain('Save in the draft')
      expect(seen.body, path).not.toContain('Remove app')
      expect((await editor.console.visit('helpdesk', base + path)).status, path).toBe(403)
    }
    const before = await editor.text(draft)
    for (const path of [
      '/edit',
      '/apps/wiki',
      '/apps/wiki/remove',
      '/apps/wiki/rules/0',
      '/apps/wiki/rules/0/remove',
      '/rules/0/up',
      '/levels/mfa',
    ]) {
      const fields = { version: '1', file: 'policy.yaml', content: 'x', intent: 'save', yaml: 'x' }
      for (const person of ['auditor', 'helpdesk'] as const)
        expect((await editor.console.submit(person, base + path, fields)).status, path).toBe(403)
    }
    expect(await editor.text(draft)).toBe(before)
    for (const path of ['/apps/none', '/apps/wiki/rules/99', '/apps/wiki/rules/x', '/rules/99', '/levels/..', '/edit?file=../secret']) {
      expect((await editor.console.visit('admin', base + path)).status, path).toBe(404)
    }
    expect((await editor.console.visit('admin', '/console/policy/drafts/AAAAAAAAAAAA/edit')).status).toBe(404)
  })
})

describe('an app in a draft', () => {
  it('changes the fields that were changed, and shows what is wrong at its field', async () => {
    const draft = await editor.begin()
    const before = await editor.text(draft)
    const path = `/console/policy/drafts/${draft}/apps/payroll`
    const saved = await editor.console.submit('admin', path, {
      version: '1',
      intent: 'fields',
      name: 'Payroll',
      owner: 'hr@corp.example',
      'session.lifetime': 'long',
    })
    expect(saved.status).toBe(303)
    const after = await editor.text(draft)
    expect(after).toBe(
      before
        .replace('owner: finance-systems@corp.example', 'owner: hr@corp.example')
        .replace('    portal: if_allowed\n', '    portal: if_allowed\n    session: { lifetime: long }\n'),
    )
    expect((await editor.console.follow('admin', saved)).body).toMatch(/id="app-session-lifetime-error"><bdi>This is not a duration/)
  })

  it('takes its whole text, and says so when somebody else was faster', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/apps/wiki`
    const yaml = 'id: wiki # the one\nurl: https://wiki.corp.example\nupstream: http://wiki.internal:3000\nrules: []'
    expect((await editor.console.submit('admin', path, { version: '1', intent: 'text', yaml })).status).toBe(303)
    expect(await editor.text(draft)).toContain('  - id: wiki # the one\n    url: https://wiki.corp.example\n')
    const late = await editor.console.submit('admin', path, { version: '1', intent: 'text', yaml: `${yaml} # late` })
    expect(late.status).toBe(409)
    expect(late.body).toContain('Somebody changed this draft meanwhile')
    expect(late.body).toContain('# late')
    const removed = await editor.console.submit('admin', `${path}/remove`, { version: '2' })
    expect(removed.status).toBe(303)
    expect(await editor.text(draft)).not.toContain('id: wiki')
  })
})

describe('a level in a draft', () => {
  it('is begun, changed by form and by YAML, and taken away', async () => {
    const draft = await editor.begin()
    const base = `/console/policy/drafts/${draft}/levels`
    expect((await editor.console.submit('admin', base, { name: 'a b' })).body).toContain('id="level-error"')
    const begun = await editor.console.submit('admin', base, { name: 'weekend' })
    const start = fieldsOf((await editor.console.follow('admin', begun)).body)
    const step = await editor.console.submit('admin', `${base}/weekend`, { ...start, 'condition.kind': 'time', intent: 'form' })
    expect(step.body).toContain('name="condition.days"')
    const saved = await editor.console.submit('admin', `${base}/weekend`, {
      ...fieldsOf(step.body),
      'condition.days': 'sat-sun',
      intent: 'save',
    })
    expect(saved.status).toBe(303)
    expect(await editor.text(draft)).toContain('  weekend: { time: { days: [sat-sun] } }\n')
    expect((await editor.console.follow('admin', saved)).body).toContain('Weekend: on Saturday and Sunday (Europe/Berlin).')
    const page = fieldsOf((await editor.console.visit('admin', `${base}/weekend`)).body)
    const wrong = await editor.console.submit('admin', `${base}/weekend`, {
      ...page,
      yaml: '{ time: { days: [sometime] } }',
      intent: 'save',
    })
    expect(wrong.status).toBe(422)
    expect(wrong.body).toContain('data-go-line="1"')
    expect((await editor.console.submit('admin', `${base}/weekend`, { version: '2', intent: 'remove' })).status).toBe(303)
    expect(await editor.text(draft)).not.toContain('weekend')
  })
})

describe('a file of a draft', () => {
  it('is saved right or wrong, with what is wrong at its line', async () => {
    const draft = await editor.begin()
    const path = `/console/policy/drafts/${draft}/edit?file=policy.yaml`
    const text = 'version: 1\napps:\n  - id: wiki\n    url: nowhere\n    upstream: http://wiki.internal\n    rules: [\n'
    const saved = await editor.console.submit('admin', path, { version: '1', file: 'policy.yaml', content: text.replaceAll('\n', '\r\n') })
    expect(saved.status).toBe(303)
    expect(await editor.text(draft)).toBe(text)
    const { body } = await editor.console.follow('admin', saved)
    expect(body).toMatch(/data-go-line="\d+">/)
    const late = await editor.console.submit('admin', path, { version: '1', file: 'policy.yaml', content: 'mine: 1' })
    expect(late.status).toBe(409)
    expect(late.body).toContain('mine: 1')
    expect(await editor.text(draft)).toBe(text)
  })

  it('too large for a page is changed an app at a time', async () => {
    const apps = Array.from(
      { length: 700 },
      (_, index) =>
        `  - id: app-${index}\n    url: https://app-${index}.corp.example\n    upstream: http://app-${index}.internal:8080\n    rules:\n      - { name: staff, allow: { groups: [staff] } }\n`,
    )
    const draft = await editor.begin({ 'policy.yaml': `apps:\n${apps.join('')}` })
    const page = await editor.console.visit('admin', `/console/policy/drafts/${draft}/edit`)
    expect(page.body).toContain('too large for a page')
    expect(page.body.length).toBeLessThan(100_000)
    expect(page.body).toContain('rel="next"')
    const found = await editor.console.visit('admin', `/console/policy/drafts/${draft}/edit?file=policy.yaml&q=app-699`)
    expect(found.body).toContain(`/console/policy/drafts/${draft}/apps/app-699"`)
    const saved = await editor.console.submit('admin', `/console/policy/drafts/${draft}/apps/app-699`, {
      version: '1',
      intent: 'fields',
      name: 'The last',
    })
    expect(saved.status).toBe(303)
    expect(await editor.text(draft)).toContain('  - id: app-699\n    name: The last\n')
  }, 30_000)
})
