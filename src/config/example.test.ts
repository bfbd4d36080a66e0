/** What users read first: the example files load, name every key, and their editor schemas are the current ones. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { instanceSchema } from './instance-schema.ts'
import { jsonSchemaOf, printJsonSchema } from './json-schema.ts'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'
import { unwrapSchema } from './parse-value.ts'
import { policySchema } from './policy-schema.ts'

const root = join(import.meta.dirname, '..', '..')
const environment = { OIDC_CLIENT_SECRET: 'kJ83hd72hd9aKKd8s7dh', REDIS_PASSWORD: 'nOt-guess/able@1', BOARD_TOKEN: 'tok_ab38d83x' }

/** Every key of a schema, by name, with the path to its first place. */
function collectKeys(schema: z.core.$ZodType, path: string, keys: Map<string, string>, seen = new Set<unknown>()): Map<string, string> {
  const inner = unwrapSchema(schema)
  if (seen.has(inner)) return keys
  seen.add(inner)
  if (inner instanceof z.ZodObject) {
    for (const [key, member] of Object.entries(inner.shape)) {
      if (!keys.has(key)) keys.set(key, `${path}${key}`)
      collectKeys(member as z.core.$ZodType, `${path}${key}.`, keys, seen)
    }
  } else if (inner instanceof z.ZodArray) collectKeys(inner.def.element, path, keys, seen)
  else if (inner instanceof z.ZodUnion) for (const option of inner.options) collectKeys(option, path, keys, seen)
  else if (inner instanceof z.ZodRecord) collectKeys(inner.def.valueType, path, keys, seen)
  return keys
}

const keysOf = {
  config: [...collectKeys(instanceSchema, '', new Map())],
  policy: [...collectKeys(policySchema, '', new Map())],
}

describe('the example files', () => {
  it('load without a problem or a warning', async () => {
    const configuration = await loadConfiguration(join(root, 'config', 'postern.yaml'), environment)
    expect([...configuration.problems, ...configuration.warnings]).toEqual([])
    const policy = await loadPolicy(join(root, 'config', 'policy.yaml'), { configuration: configuration.value })
    expect([...policy.problems, ...policy.warnings]).toEqual([])
    expect(policy.value?.apps.map(({ id }) => id)).toEqual(['board', 'payroll', 'wiki'])
  })

  it.each(['config', 'policy'] as const)('point editors at the current schema: %s', async (file) => {
    const name = file === 'config' ? 'postern.yaml' : 'policy.yaml'
    const example = await readFile(join(root, 'config', name), 'utf8')
    expect(example.split('\n')[0]).toBe(`# yaml-language-server: $schema=schema/${file}.json`)
    const written = await readFile(join(root, 'config', 'schema', `${file}.json`), 'utf8')
    expect(written, `renew it: postern schema ${file} > config/schema/${file}.json`).toBe(printJsonSchema(file))
  })

  it('name every key of the instance configuration', async () => {
    const example = await readFile(join(root, 'config', 'postern.yaml'), 'utf8')
    const selectors = new Set(['users', 'domains', 'services', 'signed_in', 'everyone', 'public', 'all_of'])
    for (const [key, path] of keysOf.config) if (!selectors.has(key)) expect(example, path).toMatch(new RegExp(`\\b${key}: ?`))
  })

  it('show the defaults that hold, in what is commented out', async () => {
    const example = await readFile(join(root, 'config', 'postern.yaml'), 'utf8')
    const limits = /^# limits:\n((?:^# {3}\w+: \S+\n)+)/m.exec(example)?.[1]?.replace(/^# +/gm, '') ?? ''
    const shown = parseDocument(limits).toJS() as Record<string, unknown>
    expect(Object.keys(shown)).toHaveLength(7)
    expect(instanceSchema.shape.limits.parse(shown)).toEqual(instanceSchema.shape.limits.parse(undefined))
  })
})

describe('docs/configuration.md', () => {
  it.each(['config', 'policy'] as const)('explains every key of the %s file', async (file) => {
    const page = await readFile(join(root, 'docs', 'configuration.md'), 'utf8')
    const missing = keysOf[file].filter(([key]) => !page.includes(`\`${key}\``)).map(([, path]) => path)
    expect(missing).toEqual([])
  })

  it('has examples that load', async () => {
    const page = await readFile(join(root, 'docs', 'configuration.md'), 'utf8')
    const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? '')
    expect(blocks.length).toBeGreaterThan(3)
    for (const block of blocks) {
      const document = parseDocument(block)
      expect(document.errors, block).toEqual([])
      const known = new Set([...keysOf.config, ...keysOf.policy].map(([key]) => key))
      for (const key of Object.keys(document.toJS() as object)) expect(known.has(key), `${key} in ${block}`).toBe(true)
    }
  })
})

describe('the JSON Schemas', () => {
  it.each(['config', 'policy'] as const)('describe every key: %s', (file) => {
    const without: string[] = []
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return
      const { properties } = node as { properties?: Record<string, { description?: string }> }
      for (const [key, member] of Object.entries(properties ?? {})) if (member.description === undefined) without.push(`${path}.${key}`)
      for (const [key, member] of Object.entries(node)) visit(member, `${path}.${key}`)
    }
    visit(jsonSchemaOf(file), file)
    expect(without).toEqual([])
  })
})
