/** Edits of policy texts: they say what was meant, and touch nothing else. */

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { editPolicy, type PolicyEdit } from './edit-policy.ts'
import { dataAt, editYaml, moveYaml, readYamlData, withDataAt } from './edit-yaml.ts'
import { pieceCutter } from './edit-yaml-pieces.ts'
import { isListData, type YamlData } from './edit-yaml-text.ts'

const texts = ['config/policy.yaml', 'config/examples/policy.yaml'].map((name) => readFileSync(name, 'utf8'))
const [shipped = '', examples = ''] = texts

function edited(text: string, edit: PolicyEdit): string {
  const result = editPolicy(text, edit)
  if (result.outcome !== 'changed') throw new Error(result.message)
  return result.text
}

/** Lines that went and lines that came, where everything before and after is the same. */
function difference(before: string, after: string): { readonly gone: readonly string[]; readonly come: readonly string[] } {
  const old = before.split('\n')
  const now = after.split('\n')
  let head = 0
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1
  let tail = 0
  while (tail < Math.min(old.length, now.length) - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail += 1
  return { gone: old.slice(head, old.length - tail), come: now.slice(head, now.length - tail) }
}

describe('an edit of a policy text', () => {
  it('changes one field in its line, beside its comment', () => {
    const after = edited(shipped, { kind: 'set_app_field', app: 'payroll', field: ['sensitivity'], value: 'internal' })
    expect(difference(shipped, after)).toEqual({
      gone: ['    sensitivity: restricted                 # open, internal, confidential or restricted'],
      come: ['    sensitivity: internal                 # open, internal, confidential or restricted'],
    })
  })

  it('adds a field where documents have it, and takes one away', () => {
    const added = edited(shipped, { kind: 'set_app_field', app: 'wiki', field: ['owner'], value: 'platform@corp.example' })
    expect(difference(shipped, added)).toEqual({ gone: [], come: ['    owner: platform@corp.example'] })
    expect(added.indexOf('owner: platform')).toBeLessThan(added.indexOf('url: https://wiki'))
    expect(edited(added, { kind: 'set_app_field', app: 'wiki', field: ['owner'], value: undefined })).toBe(shipped)
    const nested = edited(shipped, { kind: 'set_app_field', app: 'payroll', field: ['session', 'lifetime'], value: undefined })
    expect(difference(shipped, nested).come).toEqual(['    session: { idle_timeout: 10m }'])
  })

  it('adds an app behind the others with the blank line that separates them, and removes it again', () => {
    const app = {
      id: 'new',
      url: 'https://new.corp.example',
      upstream: 'http://new.internal',
      rules: [{ name: 'NO', allow: { groups: ['on'] } }],
    }
    const added = edited(examples, { kind: 'add_app', app })
    expect(difference(examples, added)).toEqual({
      gone: [],
      come: [
        '  - id: new',
        '    url: https://new.corp.example',
        '    upstream: http://new.internal',
        '    rules:',
        '      - { name: "NO", allow: { groups: ["on"] } }',
        '',
      ],
    })
    expect(edited(added, { kind: 'remove_app', app: 'new' })).toBe(examples)
    expect(editPolicy(added, { kind: 'add_app', app })).toMatchObject({ outcome: 'refused', why: 'exists' })
  })

  it('removes an app with the comment right above it, and keeps those of its neighbours', () => {
    const after = edited(examples, { kind: 'remove_app', app: 'jenkins' })
    const { come, gone } = difference(examples, after)
    expect(come).toEqual([])
    expect(gone.join('\n')).toContain('# Builds: people with a session')
    expect(after).toContain('# Dashboards: everybody looks')
    expect(after).toContain('# Notebooks: a WebSocket')
  })

  it('begins the sections that a document does not have', () => {
    const after = edited('# ours\nversion: 1\n', { kind: 'add_app', app: { id: 'a', rules: [] } })
    expect(readYamlData(after).data).toEqual({ version: 1, apps: [{ id: 'a', rules: [] }] })
    expect(after.startsWith('# ours\nversion: 1\n')).toBe(true)
    const withLevel = edited(after, { kind: 'set_level', name: 'x', condition: { expression: 'a\n&& b' } })
    expect(withLevel).toContain('levels:\n  x:\n    expression: |-\n      a\n      && b\n')
    expect(readYamlData(edited('', { kind: 'add_rule', of: undefined, rule: { deny: { everyone: true } } })).data).toEqual({
      rules: [{ deny: { everyone: true } }],
    })
    expect(edited(withLevel, { kind: 'remove_level', name: 'x' })).not.toContain('levels')
    const ruled = edited(after, { kind: 'add_rule', of: 'a', rule: { allow: { groups: ['s'] } } })
    expect(readYamlData(ruled).data).toMatchObject({ apps: [{ rules: [{ allow: { groups: ['s'] } }] }] })
  })

  it('moves a rule with its comment', () => {
    const text = 'rules:\n  # one\n  - { name: a } # beside\n\n  - name: b\n    deny: { everyone: true }\n  # three\n  - { name: c }\n'
    const after = edited(text, { kind: 'move_rule', of: undefined, from: 0, to: 2 })
    expect(after).toBe(
      'rules:\n  - name: b\n    deny: { everyone: true }\n\n  # three\n  - { name: c }\n  # one\n  - { name: a } # beside\n',
    )
  })

  it('puts what somebody wrote in place of a rule, comments and all, and cuts it out again', () => {
    const text = 'name: hooks   # theirs\nallow:\n  public: true\n  # nobody signs in there\nmethods: [POST]'
    const after = edited(examples, { kind: 'replace_rule_text', of: 'jenkins', index: 1, text })
    expect(pieceCutter(after)(['apps', 1, 'rules', 1])).toEqual({ text, line: 94 })
    const added = edited(examples, { kind: 'add_rule_text', of: 'jenkins', text })
    expect(pieceCutter(added)(['apps', 1, 'rules', 3])?.text).toBe(text)
    expect(difference(examples, added).gone).toEqual([])
  })

  it('refuses what is not there, what cannot be read, and what would change another part as well', () => {
    expect(editPolicy('a: [', { kind: 'remove_app', app: 'x' })).toMatchObject({ why: 'unreadable' })
    expect(editPolicy(shipped, { kind: 'remove_rule', of: 'wiki', index: 9 })).toMatchObject({ why: 'not_found' })
    expect(editPolicy(shipped, { kind: 'replace_rule_text', of: 'wiki', index: 0, text: '{' })).toMatchObject({ why: 'unreadable' })
    const shared = 'rules:\n  - &one { name: a, allow: { groups: [x] } }\n  - *one\n'
    expect(editPolicy(shared, { kind: 'replace_rule', of: undefined, index: 0, rule: { name: 'b' } })).toMatchObject({
      why: 'not_editable',
    })
  })

  it('writes texts so that every version of YAML reads them as texts', () => {
    for (const value of [
      'NO',
      'on',
      'y',
      '~',
      'null',
      'True',
      '010',
      '1_000',
      '0x1F',
      '1e3',
      '12:30',
      '2026-11-30',
      '1.10',
      '=',
      '<<',
      '- a',
      'a: b',
    ]) {
      const after = edited(shipped, { kind: 'set_app_field', app: 'wiki', field: ['name'], value })
      for (const version of ['1.1', '1.2'] as const) {
        expect((parse(after, { version }) as { apps: { name: unknown }[] }).apps[1]?.name, `${value} in ${version}`).toBe(value)
      }
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary-ascii' }), fc.string({ unit: 'grapheme' })), (value) => {
        const after = edited(shipped, { kind: 'set_app_field', app: 'wiki', field: ['name'], value })
        expect(dataAt(readYamlData(after).data ?? null, ['apps', 1, 'name'])).toBe(value)
      }),
    )
  })

  it('keeps the line ends of another system', () => {
    const windows = shipped.replaceAll('\n', '\r\n')
    const after = edited(windows, { kind: 'add_rule', of: 'wiki', rule: { name: 'x', allow: { groups: ['y'] } } })
    expect(after.replaceAll('\r\n', '\n')).not.toContain('\r')
    expect(after.match(/(?<!\r)\n/)).toBeNull()
  })

  it('says exactly what was meant and keeps every comment of what stays, for any change of any value', () => {
    const value: fc.Arbitrary<YamlData> = fc.letrec<{ value: YamlData }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 2 },
        fc.constantFrom<YamlData>('x', 'NO', 1, true, 'a\nb', '# c', ''),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('name', 'a', 'b c', 'on'), tie('value'), { maxKeys: 3 }),
      ),
    })).value
    for (const text of texts) {
      const { data } = readYamlData(text)
      if (data === undefined) throw new Error('unreadable')
      const paths = everyPath(data)
      fc.assert(
        fc.property(fc.constantFrom(...paths), value, (path, next) => {
          const wanted = withDataAt(data, path, next)
          const result = editYaml(text, () => wanted)
          expect(result).toMatchObject({ outcome: 'changed' })
          if (result.outcome !== 'changed') return
          expect(readYamlData(result.text).data).toEqual(wanted)
          const { gone } = difference(text, result.text)
          expect(gone.length).toBeLessThanOrEqual(pieceLines(text, path))
        }),
        { numRuns: 150 },
      )
    }
  })

  it('takes any entry away, and moves any to any place', () => {
    for (const text of texts) {
      const { data } = readYamlData(text)
      if (data === undefined) throw new Error('unreadable')
      for (const path of everyPath(data)) {
        if (path.length === 0) continue
        const wanted = withDataAt(data, path, undefined)
        expect(
          editYaml(text, () => wanted),
          path.join('.'),
        ).toMatchObject({ outcome: 'changed' })
        const list = dataAt(data, path)
        if (isListData(list) && list.length > 1)
          expect(moveYaml(text, path, 0, list.length - 1), path.join('.')).toMatchObject({ outcome: 'changed' })
      }
    }
  })
})

function everyPath(data: YamlData, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof data !== 'object' || data === null) return [path]
  const inner = isListData(data)
    ? data.flatMap((entry, index) => everyPath(entry, [...path, index]))
    : Object.entries(data).flatMap(([key, entry]) => everyPath(entry, [...path, key]))
  return [path, ...inner]
}

/** How many lines the value at a path has, with the key's. */
function pieceLines(text: string, path: readonly (string | number)[]): number {
  return (pieceCutter(text)(path)?.text.split('\n').length ?? 0) + 1
}
