/** The section `audit:` of the instance configuration: what it means when left out, how the environment sets it, and what is refused. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-audit-keys-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function load(section: string, environment: Record<string, string> = {}) {
  const file = join(folder, 'postern.yaml')
  const provider = 'provider: { issuer: "https://id.corp.example", client_id: postern, client_secret: kJ83hd72hd9aKKd8s7dh }'
  await writeFile(file, `url: https://access.corp.example\n${provider}\n${section}\n`)
  const { problems, value, warnings } = await loadConfiguration(file, environment)
  return { audit: value?.audit, said: [...problems, ...warnings].map(({ message, path }) => `${path}: ${message}`) }
}

describe('the settings of the trail', () => {
  it('leave to each app what nobody said, and keep 400 days or 20 GiB', async () => {
    const left = {
      query: 'drop',
      durability: undefined,
      whenFull: undefined,
      keep: { ageSeconds: 400 * 86_400, bytes: 20 * 1024 ** 3 },
      recordClaims: [],
      redact: [],
      windowEvents: 100_000,
      sinks: [],
    }
    expect(await load('')).toEqual({ audit: left, said: [] })
  })

  it('are all there, once written', async () => {
    const section = `audit:
  durability: group
  when_full: deny
  keep: { age: 3660d, size: 1TiB }
  record_claims: [department, realm_access.roles]
  redact: [user_agent, email, user_agent]
  window: 0`
    expect(await load(section)).toMatchObject({
      audit: {
        durability: 'group',
        whenFull: 'deny',
        keep: { ageSeconds: 3660 * 86_400, bytes: 1024 ** 4 },
        recordClaims: [['department'], ['realm_access', 'roles']],
        redact: ['user_agent', 'email'],
        windowEvents: 0,
      },
      said: [],
    })
  })

  it('are set by the environment as any other', async () => {
    const environment = { POSTERN_AUDIT__WINDOW: '5', POSTERN_AUDIT__KEEP__SIZE: '64MiB', POSTERN_AUDIT__REDACT: '[address]' }
    const { audit } = await load('audit: { window: 7, keep: { age: 30d } }', environment)
    expect(audit).toMatchObject({ windowEvents: 5, keep: { ageSeconds: 30 * 86_400, bytes: 64 * 1024 ** 2 }, redact: ['address'] })
  })

  it.each([
    ['durability: always', /^audit\.durability/],
    ['when_full: allow', /^audit\.when_full/],
    ['keep: { age: 20y }', /^audit\.keep\.age/],
    ['keep: { age: 3661d }', /^audit\.keep\.age: this is longer than 3660d/],
    ['keep: { size: 1MiB }', /^audit\.keep\.size: this is smaller/],
    ['redact: [sub]', /^audit\.redact\[0\]/],
    ['redact: []', /^audit\.redact: this list is empty/],
    ['record_claims: ["a..b"]', /^audit\.record_claims\[0\]/],
    ['window: 10000001', /^audit\.window: this must be a whole number from 0 to 10000000/],
    ['window: 1.5', /^audit\.window/],
    ['windows: 5', /^audit\.windows/],
  ])('refuse `%s`, and say where', async (line, message) => {
    const { audit, said } = await load(`audit: { ${line} }`)
    expect(audit).toBeUndefined()
    expect(said).toEqual([expect.stringMatching(message)])
  })

  it('warn of claims that look like secrets, and of those that are left out again', async () => {
    const { said } = await load('audit: { record_claims: [department, vault.api_key, pin, spinning], redact: [claims] }')
    expect(said).toEqual([
      'audit.record_claims[1]: this claim looks like a secret, and the trail is kept for years',
      'audit.record_claims[2]: this claim looks like a secret, and the trail is kept for years',
      'audit.record_claims: `redact` leaves all claims out, these among them',
    ])
  })
})
