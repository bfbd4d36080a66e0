/** Every example of `audit-sinks.md` is a configuration that loads, and says what the text around it says. */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestAuthority, type TestAuthority } from '../e2e/support/test-authority.ts'
import { loadConfiguration } from '../src/config/load-configuration.ts'

const text = await readFile(join(import.meta.dirname, 'audit-sinks.md'), 'utf8')
const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml]) => yaml ?? '')

let folder: string
let authority: TestAuthority
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-sink-docs-'))
  authority = createTestAuthority()
  const { cert, key } = authority.issue('DNS:postern.example')
  await mkdir(join(folder, 'tls'))
  await mkdir(join(folder, 'secrets'))
  for (const [name, content] of [
    ['tls/log-authority.pem', cert],
    ['tls/postern-log.pem', cert],
    ['tls/postern-log.key', key],
    ['secrets/collector-token', 'kJ83hd72hd9aKKd8s7dh'],
    ['secrets/hec-token', 'kJ83hd72hd9aKKd8s7dh'],
    ['secrets/elastic-key', 'kJ83hd72hd9aKKd8s7dh'],
    ['secrets/otel-token', 'kJ83hd72hd9aKKd8s7dh'],
  ] as const)
    await writeFile(join(folder, name), content, { mode: 0o600 })
})
afterAll(async () => {
  authority.remove()
  await rm(folder, { recursive: true, force: true })
})

describe('the examples', () => {
  it('are one for each kind of receiver', () => {
    expect(examples).toHaveLength(7)
  })

  it.each(examples.map((yaml) => ({ yaml, name: /type: \w+(?:, format: \w+)?/.exec(yaml)?.[0] })))('load: $name', async ({ yaml }) => {
    const file = join(folder, 'postern.yaml')
    const instance =
      'url: https://access.corp.example\nprovider: { issuer: "https://id.corp.example", client_id: postern, client_secret: kJ83hd72hd9aKKd8s7dh }\n'
    await writeFile(file, `${instance}${yaml}`, { mode: 0o600 })
    const { value, problems, warnings } = await loadConfiguration(file, {})
    expect([...problems, ...warnings]).toEqual([])
    expect(value?.audit.sinks).toHaveLength(1)
  })

  it('have a template for Elastic that is JSON', () => {
    const [, json = ''] = /```json\n([\s\S]*?)```/.exec(text) ?? []
    expect(JSON.parse(json)).toHaveProperty('template.mappings.date_detection', false)
  })
})
