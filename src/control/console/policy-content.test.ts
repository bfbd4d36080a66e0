/** Content of the pages of the policy: what hides is shown, what is not known is not good, and archives unpack. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { bundleOf } from '../../administration/policy.fixture.ts'
import { refused } from '../operations/operation.ts'
import type { ImpactOutput, TrialOutput } from '../operations/policy-trial-schemas.ts'
import { confirmationsOf, describeGates, noGates, readGates } from './draft-gates-content.ts'
import { describeImpactView } from './draft-impact-content.ts'
import { describeTrialView } from './draft-trial-content.ts'
import { writeArchive } from './policy-archive.ts'
import { describeDiff, showHidden } from './policy-difference-content.ts'

const now = Date.UTC(2026, 10, 22)

describe('a difference of files', () => {
  it('signs every line, and shows by its number what would turn or hide others', () => {
    const [file] = describeDiff(bundleOf('a\nb\n'), bundleOf('a\nb\u202e c\u2066\n'))
    expect(file?.lines.map(({ kind, text }) => [kind, text])).toEqual([
      ['at', '@@ 1 → 1 @@'],
      ['', ' a'],
      ['del', '-b'],
      ['add', '+b⟨U+202E⟩ c⟨U+2066⟩'],
    ])
    expect(showHidden('z\u200bero \u2028 \ufeff \u{e0041}')).toBe('z⟨U+200B⟩ero ⟨U+2028⟩ ⟨U+FEFF⟩ ⟨U+E0041⟩')
    expect(showHidden('Größe 中文 עברית')).toBe('Größe 中文 עברית')
  })

  it('is bounded, and says how much more there is', () => {
    const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index}\n`).join('')
    const files = describeDiff(bundleOf(''), bundleOf(lines, { 'a.txt': lines }))
    const shown = files.reduce((sum, file) => sum + file.lines.length, 0)
    expect(shown).toBeLessThanOrEqual(300)
    expect(files.every(({ leftOut }) => leftOut > 0)).toBe(true)
  })
})

describe('an archive', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-archive-'))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('is unpacked by tar to the same files, however long their names', () => {
    const long = `${'a'.repeat(60)}/${'b'.repeat(60)}/${'c'.repeat(70)}`
    const bundle = bundleOf('apps: []\n', { 'networks/a.txt': Buffer.alloc(512, 1), [long]: Buffer.from([0, 255]), empty: '' })
    writeFileSync(join(folder, 'a.tar'), writeArchive(bundle, now))
    execFileSync('tar', ['-xf', 'a.tar'], { cwd: folder })
    for (const { content, path } of bundle) expect(readFileSync(join(folder, path)).equals(content), path).toBe(true)
  })

  it('takes no path that leads out of its folder', () => {
    expect(() => writeArchive([{ path: '../x', content: Buffer.from('') }], now)).toThrow(TypeError)
  })
})

describe('words that have to be typed', () => {
  const gates = [
    { word: 'wiki', message: 'everybody would be refused' },
    { word: 'tickets', message: 'nobody would be left' },
  ]
  const closed = refused('confirmation_needed', 'x', { gates: [gates[1]] })

  it('keep what was typed right, and say at its field what was not', () => {
    const typed = readGates(new URLSearchParams('gate=wiki&confirm=wiki&gate=tickets&confirm=Tickets'))
    expect(confirmationsOf(typed)).toEqual(['wiki', 'Tickets'])
    expect(describeGates(gates, closed, typed)).toEqual([
      { word: 'wiki', message: 'Everybody would be refused.', typed: 'wiki', problem: undefined },
      {
        word: 'tickets',
        message: 'Nobody would be left.',
        typed: '',
        problem: 'This is not the word. Type it exactly as it stands above.',
      },
    ])
    expect(describeGates([], closed, typed).map(({ typed: given, word }) => [word, given])).toEqual([
      ['tickets', ''],
      ['wiki', 'wiki'],
    ])
  })

  it('are asked for before they were ever typed, without a complaint', () => {
    expect(describeGates(gates, undefined, noGates).map(({ problem }) => problem)).toEqual([undefined, undefined])
    expect(describeGates([], refused('conflict', 'x', { gates }), noGates)).toEqual([])
  })
})

describe('a trial', () => {
  const trial: TrialOutput = {
    ...{ draft: 'd', hash: 'h', policy_version: 'v', problems: [], warnings: [], tests: null, objections: [], difference: [] },
    ...{ life_warnings: [], gates: [], gates_notes: [], more: { problems: 0, warnings: 0, tests: 0, objections: 0, life_warnings: 0 } },
  }

  it('is not good before it is over', () => {
    for (const state of ['pending', undefined] as const) {
      const view = describeTrialView(state, '/d')
      expect([view.problems, view.tests, view.warnings].map(({ badge }) => badge.tone)).toEqual(['quiet', 'quiet', 'quiet'])
      expect(view.isSame).toBe(false)
    }
  })

  it('has a problem where only required tests are missing, and runs no tests where it has problems', () => {
    expect(describeTrialView({ ...trial, objections: ['it has no tests'] }, '/d').problems.badge).toEqual({
      tone: 'bad',
      word: '1 problem',
    })
    const broken = { file: 'a b.yaml', line: 3, column: 1, key: null, message: 'wrong', expected: null, suggestion: null }
    const view = describeTrialView({ ...trial, policy_version: null, problems: [broken] }, '/d')
    expect(view.tests.badge.word).toBe('not run')
    expect(view.isSame).toBe(false)
    expect(view.problems.lines).toEqual([{ text: 'Wrong.', place: 'a b.yaml:3', href: '/d/edit?file=a%20b.yaml#line-3' }])
  })
})

describe('an impact', () => {
  const result: NonNullable<ImpactOutput['result']> = {
    ...{ policy: { from: [], to: 'v' }, decided: 10, unchanged: 10, insufficient: 0, insufficientBy: {}, notPolicy: {}, strangers: 0 },
    ...{ loses: [], gains: [], shifts: [], unlisted: { loses: 0, gains: 0, shifts: 0 } },
  }
  const run: ImpactOutput = {
    ...{ id: 'i', draft: 'd', hash: 'h', is_stale: false, state: 'done', fraction: 1, instances: [], silent: [] },
    ...{ since: '2026-11-21T00:00:00Z', until: '2026-11-22T00:00:00Z', begun_at: '2026-11-22T00:00:00Z', result },
    more: { loses: 0, gains: 0, shifts: 0 },
  }
  const view = (change: Partial<ImpactOutput>) => describeImpactView({ ...run, ...change }, { now, since: undefined, problem: undefined })
  const entry = {
    ...{ subject: 'ada@corp.example', sub: 'u1', kind: 'person', app: 'wiki', count: 3, first: '2026-11-21T10:00:00Z' },
    ...{
      last: '2026-11-21T11:00:00Z',
      examples: ['a/b'],
      was: 'allow',
      becomes: 'deny',
      reason: 'no_rule_matched',
      rulesBefore: ['staff'],
    },
  }

  it('is good only where everything was told', () => {
    expect(view({}).headline?.tone).toBe('good')
    expect(view({ silent: [{ instance: 'b', why: 'gone' }] }).headline).toMatchObject({
      tone: 'info',
      text: expect.stringContaining('Not every instance'),
    })
    expect(view({ result: { ...result, insufficient: 2, insufficientBy: { facts_missing: 2 } } }).headline?.tone).toBe('info')
    expect(view({ result: null, more: null }).headline?.tone).toBe('bad')
    expect(view({ result: { ...result, decided: 0, unchanged: 0 } }).headline?.text).toBe('No request of that time is on record.')
  })

  it('counts people and not rows, and says of a list that was cut that there are more', () => {
    const loses = [entry, { ...entry, app: 'tickets' }, { ...entry, kind: 'service', subject: 'service:build' }]
    expect(view({ result: { ...result, loses } }).headline?.text).toBe('1 person and 1 service would lose access.')
    const cut = view({ result: { ...result, loses }, more: { loses: 4, gains: 0, shifts: 0 } })
    expect(cut.headline?.text).toMatch(/^At least 1 person/)
    expect(cut.lists[0]?.more).toBe(4)
    expect(cut.lists[0]?.rows[0]).toMatchObject({ examples: ['/console/trail/decisions/a%2Fb'], isRule: false, count: '3' })
  })

  it('explains every reason for which something could not be decided again', () => {
    const told = view({ result: { ...result, insufficient: 3, insufficientBy: { facts_missing: 1, address_redacted: 2 } } }).insufficient
    expect(told?.reasons.map(({ words }) => words)).toEqual([
      'the address is kept out of the trail',
      'no line of the trail holds its facts',
    ])
  })
})
