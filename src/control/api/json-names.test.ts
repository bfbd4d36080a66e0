/** Names that stand twice in one object, however they are written; and everything that only looks so. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { repeatsName } from './json-names.ts'

it.each([
  '{"a":1,"a":2}',
  '{"a":1,"\\u0061":2}',
  '{"x":{"a":[{"b":1,"c":2,"b":3}]}}',
  '[{"a":1},{"a":1,"a":1}]',
  '{"a":[1,2],"b":"x","a":{}}',
  '{"a\\\\":1,"a\\\\":1}',
  '{"":1,"":2}',
  '{"__proto__":1,"__proto__":2}',
  '{ "a" : 1 ,\n\t"a" : 2 }',
])('%s repeats a name', (text) => {
  JSON.parse(text)
  expect(repeatsName(text)).toBe(true)
})

it.each([
  '{}',
  '[]',
  '"a"',
  'null',
  '{"a":"a","b":"a"}',
  '{"a":{"a":{"a":1}}}',
  '[{"a":1},{"a":2}]',
  '["a","a"]',
  '{"a":["b","b"],"b":1}',
  '{"a":"\\"b\\":1,","b":"{\\"a\\":"}',
  '{"a":"\\\\","b":",","c":"\\\\\\""}',
])('%s repeats none', (text) => {
  JSON.parse(text)
  expect(repeatsName(text)).toBe(false)
})

it('never finds one in what was written from a value', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => !repeatsName(JSON.stringify(value))))
})

it('looks at ten megabytes of text, and at thirty thousand brackets, without waiting', () => {
  const startedAt = performance.now()
  expect(repeatsName(JSON.stringify({ files: [{ path: 'policy.yaml', text: 'a "quoted" \\ line\n'.repeat(600_000) }] }))).toBe(false)
  expect(repeatsName(`${'['.repeat(30_000)}${']'.repeat(30_000)}`)).toBe(false)
  expect(repeatsName(JSON.stringify({ text: '\\'.repeat(2_000_000) }))).toBe(false)
  expect(performance.now() - startedAt).toBeLessThan(3000)
})
