/** Hostile and unlucky YAML: bounded in time and memory, reported with a place, never echoed. */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPolicy } from './load-policy.ts'
import type { Problem } from './problems.ts'
import { loadFile, loadYamlSource, parseYamlSource } from './yaml-source.ts'

function parse(text: string) {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  return { ...parseYamlSource('f.yaml', text, lists), problems: lists.problems }
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-yaml-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function load(bytes: Buffer | string) {
  const file = join(folder, `${Math.random()}.yaml`)
  await writeFile(file, bytes)
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  return { ...(await loadYamlSource(file, lists)), problems: lists.problems }
}

it('a pipe is refused at once, and not waited for by a thread that reads files for everybody', async () => {
  const pipe = join(folder, 'networks.txt')
  execFileSync('mkfifo', [pipe])
  const policy = join(folder, 'pipe.yaml')
  await writeFile(
    policy,
    'levels:\n  office: { network: { cidrs_file: networks.txt } }\napps:\n  - { id: wiki, url: "https://wiki.corp.example", upstream: "http://wiki.internal", rules: [{ allow: { signed_in: true }, when: office }] }\n',
  )
  const begun = performance.now()
  expect(await loadFile(pipe, 1_000)).toBe('this is not a regular file')
  const { problems } = await loadPolicy(policy, { configuration: undefined })
  expect(problems).toMatchObject([{ message: 'this is not a regular file', path: expect.stringContaining('cidrs_file') }])
  expect(performance.now() - begun).toBeLessThan(5_000)
}, 10_000)

describe('bombs', () => {
  it('refuses aliases that multiply', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    for (let level = 1; level < 12; level += 1)
      lines.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      )
    const started = performance.now()
    const { data, problems } = parse(lines.join('\n'))
    expect(data).toBeUndefined()
    expect(problems).toMatchObject([{ message: 'aliases multiply to more values than a configuration has' }])
    expect(performance.now() - started).toBeLessThan(5000)
  })

  it('refuses an alias that contains itself', () => {
    expect(parse('a: &a [1, *a]').problems).toMatchObject([{ line: 1, column: 11, message: 'this alias contains itself' }])
  })

  it('refuses nesting deeper than any configuration', () => {
    for (const depth of [100, 20_000]) {
      const { data, problems } = parse(`a: ${'['.repeat(depth)}${']'.repeat(depth)}`)
      expect(data).toBeUndefined()
      expect(problems).toHaveLength(1)
      expect(problems[0]?.message).toMatch(/nested too deeply/)
    }
  })

  it('refuses a file of more than five megabytes without parsing it', async () => {
    const { data, problems } = await load(Buffer.alloc(5_000_001, 'a: 1\n'))
    expect(data).toBeUndefined()
    expect(problems).toMatchObject([{ line: 0, message: 'the file is larger than 5000000 bytes' }])
  })

  it('judges ten thousand rules within seconds and finds the one mistake', async () => {
    const rules = Array.from({ length: 10_000 }, (_, index) => `      - { name: r${index}, allow: { groups: [g${index}] } }`)
    rules[7000] = '      - { name: r7000, allow: { group: [g] } }'
    const file = join(folder, 'many.yaml')
    await writeFile(file, `apps:\n  - id: a\n    url: https://a.corp.example\n    upstream: http://a:1\n    rules:\n${rules.join('\n')}\n`)
    const { problems } = await loadPolicy(file, { configuration: undefined })
    expect(problems).toMatchObject([{ line: 7006, message: 'unknown key `group`' }])
  })
})

describe('what a file may be', () => {
  it('reads a byte order mark', async () => {
    expect((await load('\ufeffa: 1\n')).data).toEqual({ a: 1 })
  })

  it.each([
    ['bytes that are not UTF-8', Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]), /UTF-8/],
    ['an empty file', '', /empty/],
    ['comments alone', '# nothing\n', /empty/],
    ['UTF-16', Buffer.from('a: 1', 'utf16le'), /control character/],
  ])('refuses %s', async (_name, bytes, message) => {
    const { data, problems } = await load(bytes)
    expect(data).toBeUndefined()
    expect(problems[0]?.message).toMatch(message)
  })

  it('refuses a folder and a missing file in words', async () => {
    const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
    await loadYamlSource(folder, lists)
    await loadYamlSource(join(folder, 'nowhere.yaml'), lists)
    expect(lists.problems.map(({ message }) => message)).toEqual(['this is a folder, not a file', 'the file does not exist'])
  })

  it('reads NO, on and yes as text', () => {
    expect(parse('a: [NO, on, yes, true, "true"]').data).toEqual({ a: ['NO', 'on', 'yes', true, 'true'] })
  })

  it('refuses a key that is not text', () => {
    expect(parse('1: a').problems).toMatchObject([{ line: 1, column: 1, message: 'a key must be text' }])
  })

  it('keeps __proto__ an ordinary key', () => {
    const { data } = parse('__proto__: { polluted: true }')
    expect(Object.keys(data as object)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

describe('any text', () => {
  it('is read or refused, and never quoted in a message', () => {
    const secret = 'zq9-secret-zq9'
    const piece = fc.constantFrom(
      'a: ',
      '- ',
      '\n',
      '  ',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '&x ',
      '*x ',
      '!t ',
      '| ',
      '> ',
      '%',
      '@',
      '\t',
      ': ',
      '# ',
      '? ',
      secret,
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const { data, problems } = parse(pieces.join(''))
        expect(data !== undefined || problems.length > 0).toBe(true)
        for (const problem of problems) {
          expect(problem.line).toBeGreaterThan(0)
          expect(JSON.stringify(problem)).not.toContain(secret)
        }
      }),
      { numRuns: 500 },
    )
  })
})
