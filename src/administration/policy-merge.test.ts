/** Merges and differences: what is taken, what is marked, that nothing is lost, and that size does not hurt. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bundle, toBundle } from './policy-bundle.ts'
import { findConflictMarks, mergeBundles } from './policy-merge.ts'
import { describeBundleDifference } from './policy-merge-difference.ts'
import { matchLines, splitLines } from './policy-merge-lines.ts'

const bundleOf = (files: Readonly<Record<string, string | Buffer>>): Bundle =>
  toBundle(Object.entries(files).map(([path, content]) => ({ path, content: Buffer.from(content) })))
const textOf = (bundle: Bundle, path = 'policy.yaml') => bundle.find((file) => file.path === path)?.content.toString()
const mergeTexts = (base: string, ours: string, theirs: string) => {
  const merge = mergeBundles(bundleOf({ 'policy.yaml': base }), bundleOf({ 'policy.yaml': ours }), bundleOf({ 'policy.yaml': theirs }))
  return { text: textOf(merge.bundle), conflicts: merge.conflicts }
}
const lines = (...all: readonly string[]) => all.map((line) => `${line}\n`).join('')

describe('a merge', () => {
  it('takes what each side changed where the other did not', () => {
    const merged = mergeTexts(lines('a', 'b', 'c', 'd', 'e'), lines('A', 'b', 'c', 'd', 'e'), lines('a', 'b', 'c', 'd', 'E', 'f'))
    expect(merged).toEqual({ text: lines('A', 'b', 'c', 'd', 'E', 'f'), conflicts: [] })
  })

  it('takes once what both sides changed alike', () => {
    expect(mergeTexts(lines('a', 'b'), lines('a', 'x'), lines('a', 'x'))).toEqual({ text: lines('a', 'x'), conflicts: [] })
  })

  it('marks as git does what both changed differently, and only that', () => {
    const merged = mergeTexts(lines('a', 'b', 'c'), lines('a', 'new', 'ours', 'c'), lines('a', 'new', 'theirs', 'c'))
    expect(merged.text).toBe(lines('a', 'new', '<<<<<<< ours', 'ours', '=======', 'theirs', '>>>>>>> theirs', 'c'))
    expect(merged.conflicts).toEqual([{ path: 'policy.yaml', count: 1 }])
  })

  it('keeps marks on lines of their own where a file has no last line feed, and the line ends of the file', () => {
    expect(mergeTexts('a', 'b', 'c').text).toBe(lines('<<<<<<< ours', 'b', '=======', 'c', '>>>>>>> theirs'))
    expect(mergeTexts('a\r\n', 'b\r\n', 'c\r\n').text).toBe('<<<<<<< ours\r\nb\r\n=======\r\nc\r\n>>>>>>> theirs\r\n')
  })

  it('adds and removes files, and asks where one side removed what the other changed', () => {
    const base = bundleOf({ 'policy.yaml': 'a\n', 'gone.txt': '1\n', 'both.txt': '1\n' })
    const ours = bundleOf({ 'policy.yaml': 'a\n', 'both.txt': '1\n2\n', 'mine.txt': 'm\n' })
    const theirs = bundleOf({ 'policy.yaml': 'a\n', 'gone.txt': '1\n', 'theirs.txt': 't\n' })
    const { bundle, conflicts } = mergeBundles(base, ours, theirs, { ours: 'this draft', theirs: 'revision 7' })
    expect(bundle.map(({ path }) => path)).toEqual(['both.txt', 'mine.txt', 'policy.yaml', 'theirs.txt'])
    expect(textOf(bundle, 'both.txt')).toBe(lines('<<<<<<< this draft', '1', '2', '=======', '>>>>>>> revision 7'))
    expect(conflicts).toEqual([{ path: 'both.txt', count: 1 }])
  })

  it('takes a picture from the side that changed it, and asks where both did', () => {
    const [old, mine, other] = [Buffer.from([0, 1]), Buffer.from([0, 2]), Buffer.from([0, 3])]
    const merge = (ours: Buffer, theirs: Buffer) =>
      mergeBundles(bundleOf({ 'a.png': old }), bundleOf({ 'a.png': ours }), bundleOf({ 'a.png': theirs }))
    expect(merge(old, other)).toEqual({ bundle: bundleOf({ 'a.png': other }), conflicts: [] })
    expect(merge(mine, old)).toEqual({ bundle: bundleOf({ 'a.png': mine }), conflicts: [] })
    expect(merge(mine, other)).toEqual({ bundle: bundleOf({ 'a.png': mine }), conflicts: [{ path: 'a.png', count: 1 }] })
  })

  it('finds the marks that are left, also where YAML would take them for words', () => {
    const flow = 'groups: [\n a,\n<<<<<<< ours\n b,\n=======\n c,\n>>>>>>> theirs\n]\n'
    expect(findConflictMarks(bundleOf({ 'policy.yaml': flow, 'n.txt': '=======\n' }))).toEqual([{ path: 'policy.yaml', line: 3 }])
  })

  const word = fc.constantFrom('allow', 'deny', 'rules:', '- a', '- b', '', '  x')
  const text = fc.array(word, { maxLength: 25 }).map((all) => lines(...all))

  it('is theirs where ours changed nothing, ours where theirs did not, and either where both are equal', () => {
    fc.assert(
      fc.property(text, text, (base, other) => {
        expect(mergeTexts(base, base, other)).toEqual({ text: other, conflicts: [] })
        expect(mergeTexts(base, other, base)).toEqual({ text: other, conflicts: [] })
        expect(mergeTexts(base, other, other)).toEqual({ text: other, conflicts: [] })
      }),
    )
  })

  it('of edits that do not touch equals making both', () => {
    const edit = fc.record({ count: fc.nat(2), put: fc.array(fc.stringMatching(/^[a-z]{1,6}$/), { maxLength: 3 }) })
    fc.assert(
      fc.property(fc.array(fc.record({ gap: fc.integer({ min: 1, max: 4 }), side: fc.boolean(), edit })), (edits) => {
        let number = 0
        const next = (count: number) => Array.from({ length: count }, () => `line ${number++}`)
        const [base, ours, theirs, both]: [string[], string[], string[], string[]] = [[], [], [], []]
        const push = (to: readonly string[][], what: readonly string[]) => to.map((one) => one.push(...what))
        for (const { edit: one, gap, side } of edits) {
          push([base, ours, theirs, both], next(gap))
          const removed = next(one.count)
          push([base, side ? theirs : ours], removed)
          push([side ? ours : theirs, both], one.put)
        }
        push([base, ours, theirs, both], next(1))
        expect(mergeTexts(lines(...base), lines(...ours), lines(...theirs))).toEqual({ text: lines(...both), conflicts: [] })
      }),
    )
  })

  it('never loses a line that a side added, and with a conflict has every line of both', () => {
    const countOf = (all: readonly string[], line: string) => all.filter((one) => one === line).length
    fc.assert(
      fc.property(text, text, text, (base, ours, theirs) => {
        const { text: merged = '', conflicts } = mergeTexts(base, ours, theirs)
        const after = splitLines(merged)
        const before = splitLines(base)
        for (const side of [splitLines(ours), splitLines(theirs)]) {
          for (const line of new Set(side)) if (countOf(before, line) === 0) expect(countOf(after, line)).toBeGreaterThan(0)
        }
        expect(conflicts.length > 0).toBe(merged.includes('<<<<<<< ours\n'))
      }),
    )
  })
})

describe('matching lines', () => {
  const line = fc.constantFrom('a\n', 'b\n', 'c\n', 'd\n', 'e\n')

  it('finds only lines that are equal, in order in both, and all at the ends', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), fc.array(line, { maxLength: 40 }), (a, b) => {
        let [lastA, lastB] = [0, 0]
        for (const match of matchLines(a, b)) {
          expect(match.a).toBeGreaterThanOrEqual(lastA)
          expect(match.b).toBeGreaterThanOrEqual(lastB)
          expect(match.length).toBeGreaterThan(0)
          expect(a.slice(match.a, match.a + match.length)).toEqual(b.slice(match.b, match.b + match.length))
          ;[lastA, lastB] = [match.a + match.length, match.b + match.length]
        }
        expect(matchLines(a, a)).toEqual(a.length === 0 ? [] : [{ a: 0, b: 0, length: a.length }])
      }),
    )
  })

  it('finds the most there is where no line is unique and little changed', () => {
    const a = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? 'a\n' : 'b\n'))
    const b = [...a.slice(0, 50), 'b\n', ...a.slice(50, 120), ...a.slice(121)]
    expect(matchLines(a, b).reduce((sum, { length }) => sum + length, 0)).toBe(199)
  })

  it('takes seconds at most for the largest files, whatever they hold', () => {
    const begun = performance.now()
    const many = 200_000
    const one = Array.from({ length: many }, (_, i) => `${i % 7}\n`)
    const other = Array.from({ length: many }, (_, i) => `${(i * 3) % 5}\n`)
    matchLines(one, other)
    const reversed = Array.from({ length: many }, (_, i) => `line ${i}\n`)
    matchLines(reversed, reversed.toReversed())
    expect(performance.now() - begun).toBeLessThan(10_000)
  })

  it('merges two thousand edits in a document of a thousand apps within a second or two', () => {
    const app = (i: number, name: string) =>
      lines(`  - id: app-${i}`, `    name: ${name}`, ...Array.from({ length: 30 }, (_, l) => `    rule: ${l % 4}`))
    const document = (name: (i: number) => string) => `apps:\n${Array.from({ length: 1000 }, (_, i) => app(i, name(i))).join('')}`
    const begun = performance.now()
    const merged = mergeTexts(
      document(() => 'x'),
      document((i) => (i % 2 === 0 ? 'ours' : 'x')),
      document((i) => (i % 2 === 1 ? 'theirs' : 'x')),
    )
    expect(merged).toEqual({ text: document((i) => (i % 2 === 0 ? 'ours' : 'theirs')), conflicts: [] })
    expect(performance.now() - begun).toBeLessThan(5_000)
  })
})

describe('a difference', () => {
  it('has three lines around each change, and hunks with their places', () => {
    const old = Array.from({ length: 20 }, (_, i) => `line ${i + 1}`)
    const fresh = [...old.slice(0, 4), 'new', ...old.slice(5, 19)]
    const [difference] = describeBundleDifference(bundleOf({ 'p.yaml': lines(...old) }), bundleOf({ 'p.yaml': lines(...fresh) }))
    const same = (from: number, to: number) => old.slice(from - 1, to).map((text) => ({ kind: 'same', text }))
    expect(difference).toEqual({
      path: 'p.yaml',
      kind: 'changed',
      isBinary: false,
      leftOut: 0,
      hunks: [
        { from: 2, to: 2, lines: [...same(2, 4), { kind: 'del', text: 'line 5' }, { kind: 'add', text: 'new' }, ...same(6, 8)] },
        { from: 17, to: 17, lines: [...same(17, 19), { kind: 'del', text: 'line 20' }] },
      ],
    })
  })

  it('says what came, went, and is no text, and nothing of what stayed', () => {
    const from = bundleOf({ 'a.yaml': 'a\n', 'gone.txt': 'x\n', 'p.png': Buffer.from([0, 1]) })
    const to = bundleOf({ 'a.yaml': 'a\n', 'new.txt': 'y\n', 'p.png': Buffer.from([0, 2]) })
    expect(describeBundleDifference(from, to)).toEqual([
      { path: 'gone.txt', kind: 'removed', isBinary: false, leftOut: 0, hunks: [{ from: 1, to: 1, lines: [{ kind: 'del', text: 'x' }] }] },
      { path: 'new.txt', kind: 'added', isBinary: false, leftOut: 0, hunks: [{ from: 1, to: 1, lines: [{ kind: 'add', text: 'y' }] }] },
      { path: 'p.png', kind: 'changed', isBinary: true, leftOut: 0, hunks: [] },
    ])
    expect(describeBundleDifference(from, from)).toEqual([])
  })

  it('applied to the old file is the new one', () => {
    const word = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 30 })
    fc.assert(
      fc.property(word, word, (old, fresh) => {
        const [difference] = describeBundleDifference(bundleOf({ p: lines(...old) }), bundleOf({ p: lines(...fresh) }))
        const made: string[] = []
        let at = 0
        for (const hunk of difference?.hunks ?? []) {
          while (at < hunk.from - 1) made.push(old[at++] ?? '')
          if (hunk.lines.some(({ kind }) => kind !== 'del')) expect(hunk.to).toBe(made.length + 1)
          for (const { kind, text } of hunk.lines) {
            if (kind !== 'add') expect(old[at++]).toBe(text)
            if (kind !== 'del') made.push(text)
          }
        }
        expect([...made, ...old.slice(at)]).toEqual(fresh)
      }),
    )
  })

  it('is cut at a bound, and says how much more there is', () => {
    const [difference] = describeBundleDifference(bundleOf({ p: '' }), bundleOf({ p: 'x\n'.repeat(6_000) }))
    expect(difference?.hunks[0]?.lines.length).toBe(5_000)
    expect(difference?.leftOut).toBe(1_000)
  })
})
