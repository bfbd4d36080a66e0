/** Path patterns against an oracle that is slow and obvious, and the known spellings that slip past path rules elsewhere. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePathPattern, findPatternProblem, headOf, headsOf } from './path-pattern.ts'

const exact = (pattern: string, path: string) => compilePathPattern(pattern, 'exact')(path)
const loose = (pattern: string, path: string) => compilePathPattern(pattern, 'loose')(path)

describe('an exact pattern', () => {
  it.each([
    ['/', '/', true],
    ['/', '/a', false],
    ['/a', '/a', true],
    ['/a', '/a/', false],
    ['/a', '/A', false],
    ['/a', '/ab', false],
    ['/**', '/', true],
    ['/**', '/a/b', true],
    ['/x/**', '/x', true],
    ['/x/**', '/x/', true],
    ['/x/**', '/x/a/b', true],
    ['/x/**', '/xy', false],
    ['/x/**', '/', false],
    ['/*', '/', true],
    ['/*', '/a', true],
    ['/*', '/a/b', false],
    ['/a/*/c', '/a/b/c', true],
    ['/a/*/c', '/a//c', true],
    ['/a/*/c', '/a/b/b/c', false],
    ['/a/*', '/a', false],
    ['/a/*.json', '/a/b.json', true],
    ['/a/*.json', '/a/.json', true],
    ['/a/*.json', '/a/b.json/c', false],
    ['/*/x/**', '/a/x', true],
    ['/*/x/**', '/a/x/b', true],
    ['/*/x/**', '/a/xb', false],
    ['/ab*ba', '/aba', false],
    ['/ab*ba', '/abba', true],
    ['/a*b*c', '/axxbxxbc', true],
    ['/files/*', '/files/a%2Fb', true],
    ['/files/a/b', '/files/a%2Fb', false],
  ])('%s on %s is %s', (pattern, path, expected) => {
    expect(exact(pattern, path)).toBe(expected)
  })

  it('agrees with a naive interpreter', () => {
    fc.assert(
      fc.property(patterns, paths, (pattern, path) => {
        expect(exact(pattern, path)).toBe(naiveMatch(pattern, path))
      }),
      { numRuns: 20_000 },
    )
  })
})

describe('a loose pattern', () => {
  it.each([
    ['/admin', '/ADMIN'],
    ['/admin', '/admin/'],
    ['/admin', '/admin.'],
    ['/admin', '/admin...'],
    ['/admin', '/admin;jsessionid=1'],
    ['/admin', '/;x/admin'],
    ['/admin', '/admin%3Bx'],
    ['/admin', '//admin'],
    ['/admin', '/admin//'],
    ['/admin/**', '/Admin./secret'],
    ['/admin/**', '/admin;x=1/secret'],
    ['/admin/**', '/admin%2Fsecret'],
    ['/admin/**', '/public/..%2Fadmin%2Fsecret'],
    ['/admin/**', '/public/..;/admin/secret'],
    ['/admin/**', '/public/..%3Bx/admin/secret'],
    ['/admin/secret', '/admin/%C5%BFecret'],
    ['/admin', '/%EF%BD%81dmin'],
    ['/admin', '/adm%C4%B1n'],
    ['/Ädmin'.replace('Ä', '%C3%84'), '/%C3%A4dmin'],
    ['/admin/', '/admin'],
    ['/files/*/secret', '/files/a%2Fb/secret'],
    ['/files/a/b', '/files/a%2Fb'],
    ['/files/a%2Fb', '/files/A%2Fb/'],
    ['/x/*.json', '/x/A.JSON;v=1'],
    ['/', '/'],
    ['/a%2Ab', '/A%2Ab'],
  ])('%s matches %s', (pattern, path) => {
    expect(loose(pattern, path)).toBe(true)
  })

  it.each([
    ['/admin', '/administrator'],
    ['/admin', '/public/admin'],
    ['/admin/**', '/public/x'],
    ['/a;v=1', '/a'],
    ['/a%2Ab', '/axxb'],
    ['/*.', '/anything'],
    ['/admin', '/admin%20x'],
    ['/', '/a'],
  ])('%s does not match %s', (pattern, path) => {
    expect(loose(pattern, path)).toBe(false)
  })

  it('matches whatever the exact one matches, and all its plain respellings', () => {
    fc.assert(
      fc.property(patterns, paths, fc.constantFrom('', '/', '.', ';x=1', './'), (pattern, path, ending) => {
        if (!exact(pattern, path)) return
        expect(loose(pattern, path)).toBe(true)
        // A segment that consists of what is ignored has nothing left to compare.
        if (pattern.includes('*') || /\/[.;]|\/\/|\/$/.test(path)) return
        expect(loose(pattern, path.toUpperCase() + ending)).toBe(true)
      }),
      { numRuns: 20_000 },
    )
  })

  it('never throws on any text', () => {
    fc.assert(
      fc.property(patterns, fc.string({ unit: 'binary' }), (pattern, path) => {
        expect(typeof loose(pattern, path)).toBe('boolean')
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('a head', () => {
  it.each([
    ['/docs', 'docs'],
    ['/docs/', undefined],
    ['/docs/a/b', 'docs'],
    ['/Docs/a', undefined],
    ['/docs./a', undefined],
    ['/docs/a;v=1', undefined],
    ['/x/..;/docs', undefined],
    ['/do%63s', undefined],
    ['/', undefined],
  ])('of %s is %s', (path, head) => {
    expect(headOf(path)).toBe(head)
  })

  it.each([
    ['/docs/**', 'exact', ['docs']],
    ['/Docs./x', 'loose', ['Docs.', 'docs']],
    ['/a%2Fb/c', 'loose', ['a%2Fb', 'a%2fb', 'a']],
    ['/**', 'exact', undefined],
    ['/d*/x', 'loose', undefined],
  ] as const)('of the pattern %s, %s, are %j', (pattern, mode, heads) => {
    expect(headsOf(pattern, mode)?.toSorted()).toEqual(heads?.toSorted())
  })

  it.each(['exact', 'loose'] as const)('leaves out no path that a pattern matches, %s', (mode) => {
    const plain = fc.array(segment(['a', 'b', '.', '0']), { minLength: 1, maxLength: 3 }).map((segments) => `/${segments.join('/')}`)
    let matched = 0
    fc.assert(
      fc.property(
        fc.oneof(
          patterns,
          plain.map((path) => path.toUpperCase()),
          plain,
          fc.constantFrom('/%61/**', '/a%2Fb', '/A./b', '/a;b/**'),
        ),
        fc.oneof(paths, plain),
        (pattern, path) => {
          const head = headOf(path)
          if (head === undefined || findPatternProblem(pattern) !== undefined || !compilePathPattern(pattern, mode)(path)) return
          matched += 1
          expect(headsOf(pattern, mode) ?? [head]).toContain(head)
        },
      ),
      { numRuns: 20_000 },
    )
    expect(matched).toBeGreaterThan(100)
  })
})

it('takes linear time on input that would make a backtracking matcher exponential', () => {
  const pattern = `/${'a*'.repeat(100)}b`
  const matches = compilePathPattern(pattern, 'loose')
  const began = performance.now()
  expect(matches(`/${'a'.repeat(32_768)}`)).toBe(false)
  expect(performance.now() - began).toBeLessThan(2000)
})

it.each(['admin', '', '/a/**/b', '/a**', '/a/../b', '/./a', '/a?b', '/a#b', '/a\\b'])('refuses the pattern %j', (pattern) => {
  expect(findPatternProblem(pattern)).toBeTypeOf('string')
  expect(() => compilePathPattern(pattern, 'exact')).toThrow(TypeError)
})

const segment = (unit: readonly string[]) => fc.array(fc.constantFrom(...unit), { maxLength: 5 }).map((letters) => letters.join(''))
const isPath = (text: string) => !text.split('/').some((part) => part === '.' || part === '..')
const paths = fc
  .array(segment(['a', 'b', 'A', '.', ';', '%2F', '%41']), { minLength: 1, maxLength: 4 })
  .map((segments) => `/${segments.join('/')}`)
  .filter(isPath)
const patterns = fc
  .tuple(fc.array(segment(['a', 'b', '*', '.']), { maxLength: 4 }), fc.boolean())
  .map(([segments, isTree]) => `/${[...segments, ...(isTree ? ['**'] : [])].join('/')}`)
  .filter((pattern) => findPatternProblem(pattern) === undefined)

/** Tries every way to divide the text: exponential, and so short that it can be seen to be right. */
function naiveMatch(pattern: string, path: string): boolean {
  if (pattern.endsWith('/**')) {
    const base = pattern.slice(0, -3)
    const cuts = [...path].flatMap((character, at) => (character === '/' ? [at] : []))
    return naiveMatch(base, path) || cuts.some((at) => naiveMatch(base, path.slice(0, at)))
  }
  const [head, rest] = [pattern[0], pattern.slice(1)]
  if (head === undefined) return path === ''
  if (head !== '*') return path[0] === head && naiveMatch(rest, path.slice(1))
  return naiveMatch(rest, path) || (path !== '' && path[0] !== '/' && naiveMatch(pattern, path.slice(1)))
}
