/** The section `tracing:`: what is filled in, what is refused with its line, and that a header's secret is one. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-tracing-'))
  await writeFile(join(folder, 'word'), 'Bearer from-a-file-0123\n', { mode: 0o600 })
  await writeFile(join(folder, 'policy.yaml'), 'apps: []\n')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function load(tracing: unknown, environment: Readonly<Record<string, string>> = {}) {
  const file = join(folder, 'postern.yaml')
  const provider = { issuer: 'https://login.corp.example', client_id: 'postern', client_secret: 'correct-horse-battery-staple' }
  await writeFile(file, JSON.stringify({ url: 'https://access.corp.example', provider, ...(tracing === undefined ? {} : { tracing }) }), {
    mode: 0o600,
  })
  return await loadConfiguration(file, environment)
}

test('is none unless it is written, and then has defaults', async () => {
  expect((await load(undefined)).value?.tracing).toBeUndefined()
  const { value, problems } = await load({ endpoint: 'http://127.0.0.1:4318' })
  expect(problems).toEqual([])
  expect(value?.tracing).toMatchObject({ sample: 0.1, serviceName: 'postern' })
  expect(value?.tracing?.endpoint.href).toBe('http://127.0.0.1:4318/')
  expect(value?.tracing?.headers.size).toBe(0)
})

test('takes secrets for headers in each of the three ways, and never shows one', async () => {
  const headers = { 'x-api-key': 'written-here-0123', 'x-tenant': `\${TENANT}`, authorization_file: 'word' }
  const { value, problems } = await load({ endpoint: 'https://collector.corp.example/otlp', headers }, { TENANT: 'from-the-environment' })
  expect(problems).toEqual([])
  const found = Object.fromEntries([...(value?.tracing?.headers ?? [])].map(([name, secret]) => [name, secret.reveal()]))
  expect(found).toEqual({ 'x-api-key': 'written-here-0123', 'x-tenant': 'from-the-environment', authorization: 'Bearer from-a-file-0123' })
  expect(JSON.stringify([...(value?.tracing?.headers ?? [])])).not.toContain('written-here')
})

test.each([
  ['an address that is none', { endpoint: 'collector:4318' }, /not an http/],
  ['a user name in the address', { endpoint: 'http://me:word@collector:4318' }, /user name or password/],
  ['the address of the traces themselves', { endpoint: 'http://collector:4318/v1/traces' }, /the path is added/],
  ['an address of cloud metadata', { endpoint: 'http://169.254.169.254' }, /link-local/],
  ['more than all', { endpoint: 'http://collector:4318', sample: 2 }, /from 0 to 1/],
  ['no number', { endpoint: 'http://collector:4318', sample: 'half' }, /does not fit/],
  ['a name that is no header', { endpoint: 'http://collector:4318', headers: { 'x y': 'a-secret-word-0123' } }, /header name/],
  ['a header that anybody would guess', { endpoint: 'http://collector:4318', headers: { authorization: 'changeme' } }, /guess/],
  ['a key that does nothing', { endpoint: 'http://collector:4318', exporter: 'zipkin' }, /exporter/],
])('refuses %s', async (_what, tracing, why) => {
  const { value, problems } = await load(tracing)
  expect(value).toBeUndefined()
  expect(problems.map(({ message, path }) => `${path} ${message}`).join('\n')).toMatch(why)
  expect(JSON.stringify(problems)).not.toContain('a-secret-word')
})
