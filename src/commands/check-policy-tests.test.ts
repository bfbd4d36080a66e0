/** `check` runs the tests beside a policy: a failing one is a warning, or a problem where they are required. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createUpstreamLookup } from '../compose-reach.ts'
import { silentLog } from '../session/session.fixture.ts'
import { type CheckOutcome, describeOutcome, runCheck } from './check.ts'
import { createLiveProbes } from './live-probes.ts'

const now = () => Date.now()
const probes = createLiveProbes({
  lookupOf: createUpstreamLookup,
  now,
  log: silentLog,
  storeReport: async () => undefined,
  openLife: async () => undefined,
})
let folder: string

beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('POSTERN_')) delete process.env[name]
  folder = await mkdtemp(join(tmpdir(), 'postern-check-tests-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const people = 'people: { alice: { email: alice@corp.example, groups: [staff] } }\n'
const test = (name: string, expected: string) =>
  `  - { name: ${name}, given: { as: alice, request: "GET https://wiki.corp.example/" }, expect: ${expected} }\n`

async function check(tests: string | undefined, required = false, strict = false): Promise<CheckOutcome> {
  const config = join(folder, 'postern.yaml')
  await writeFile(join(folder, 'secret'), 'K7d02hqTz91mWc4x', { mode: 0o600 })
  await writeFile(
    config,
    `url: https://access.corp.example\nlisten: 127.0.0.1:2\nprovider: { issuer: "https://id.corp.example", client_id: postern, client_secret_file: secret }\nsession: { store: embedded }\n${required ? 'policy_tests: required\n' : ''}`,
  )
  await writeFile(
    join(folder, 'policy.yaml'),
    'apps:\n  - { id: wiki, url: "https://wiki.corp.example", upstream: "http://w:1", rules: [{ allow: { groups: [staff] } }] }\n',
  )
  if (tests !== undefined) await writeFile(join(folder, 'policy.test.yaml'), tests)
  return runCheck({ config, strict }, { probes, now })
}

it('says how many passed', async () => {
  const outcome = await check(`${people}tests:\n${test('in', 'allow')}`)
  expect(outcome).toMatchObject({ status: 0, summary: { tests: { file: join(folder, 'policy.test.yaml'), passed: 1, failed: 0 } } })
  expect(describeOutcome(outcome)).toContain('1 of 1 test passed')
})

it('warns of those that fail, and counts them where it is strict', async () => {
  const tests = `${people}tests:\n${test('in', 'allow')}${test('out', 'deny')}${test('away', 'deny')}`
  const { status, summary } = await check(tests)
  expect(status).toBe(0)
  expect(summary.tests).toMatchObject({ passed: 1, failed: 2 })
  expect(summary.warnings).toContainEqual(
    expect.objectContaining({ line: 4, message: '2 of 3 tests of the policy fail', suggestion: '`postern test` says which, and why' }),
  )
  expect((await check(tests, false, true)).status).toBe(1)
})

it('reports a policy that an instance would refuse: tests that fail, are missing, or cannot be read', async () => {
  const missing = await check(undefined, true)
  expect(missing.status).toBe(1)
  expect(missing.summary.problems.map(({ message }) => message)).toEqual([
    '`policy_tests: required`, and there is no test beside the policy',
  ])
  for (const [tests, message] of [
    [`${people}tests:\n${test('out', 'deny')}`, '1 of 1 test of the policy fails'],
    [`${people}tests:\n  - { nam: x }\n`, expect.stringContaining('')],
    [`${people}tests: []\n`, expect.stringContaining('no test')],
  ] as const) {
    const { status, summary } = await check(tests, true)
    expect(status, tests).toBe(1)
    expect(summary.problems[0]?.message).toEqual(message)
    expect(summary.problems.every(({ file }) => file === join(folder, 'policy.test.yaml'))).toBe(true)
  }
  expect((await check(`${people}tests:\n${test('in', 'allow')}`, true)).status).toBe(0)
})

it('only warns of tests that cannot be read where nobody requires them, and needs none', async () => {
  const broken = await check(`${people}tests:\n  - { nam: x }\n`)
  expect(broken.status).toBe(0)
  expect(broken.summary.warnings.length).toBeGreaterThan(0)
  await rm(join(folder, 'policy.test.yaml'))
  expect((await check(undefined)).summary).toMatchObject({ ok: true, tests: undefined })
})
