/** What commands judge a managed policy by: the head in the store, what this machine remembers, or the files that it will be made of. */

import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { openPolicyRig, type PolicyInstance, type PolicyRig, policyWith } from '../compose-policy.fixture.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import { runCheck } from './check.ts'
import { loadPolicyInForce, openPolicyInForce } from './policy-in-force.ts'
import { registerTest } from './test.ts'

const soon = { timeout: 10_000, interval: 10 }

const tests = (expected: string) =>
  `tests:\n  - { name: t, given: { request: "GET https://wiki.corp.example/", as: nobody }, expect: ${expected} }\n`

describe('a managed policy', () => {
  let place: StorePlace
  let rig: PolicyRig
  let instance: PolicyInstance
  const said: string[] = []
  beforeAll(async () => {
    place = await openRedisPlace()
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    await place.redis?.clear()
    rig = await openPolicyRig(place)
    await rig.writeSeed('policy.yaml', policyWith('first'))
    said.length = 0
    for (const method of ['log', 'error'] as const) vi.spyOn(console, method).mockImplementation((text) => void said.push(String(text)))
    instance = await rig.start('a')
    await rig.publish(instance, { 'policy.yaml': policyWith('second'), 'policy.test.yaml': tests('sign_in') })
    await vi.waitFor(() => expect(instance.rule()).toBe('second'), soon)
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    process.exitCode = undefined
    await rig.close()
  })

  const configure = async (machine: string) => {
    const { value } = await loadConfiguration(await rig.configure(machine), {})
    if (value === undefined) throw new Error('the configuration has problems')
    return value
  }
  const ruleFor = async (machine: string, options = {}) =>
    (await loadPolicyInForce(await configure(machine), options)).value?.apps[0]?.rules[0]?.name

  it('is the head in the store, on any machine, and leaves nothing behind', async () => {
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('postern-policy-'))
    expect(await ruleFor('elsewhere')).toBe('second')
    expect(said).toEqual(['postern: the policy is revision 2, the head in the store'])
    const open = await openPolicyInForce(await configure('a'))
    expect(open).toMatchObject({ revision: 2, form: 'bundle', testFiles: [expect.stringMatching(/policy\.test\.yaml$/)] })
    await open.close()
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('postern-policy-'))).toEqual(before)
  })

  it('is what the machine remembers where the store is not asked or has none, and else its seed; each says so', async () => {
    await vi.waitFor(async () => expect(await ruleFor('a', { isStoreAsked: false })).toBe('second'), soon)
    expect(said.at(-1)).toMatch(/revision 2, as it was last in force on this machine; the store does not say: it was not asked/)
    expect(await ruleFor('elsewhere', { isStoreAsked: false })).toBe('first')
    expect(said.at(-1)).toMatch(/policy\.yaml, of which revision 1 is made/)
    await instance.close()
    await place.redis?.clear()
    expect(await ruleFor('a')).toBe('second')
    expect(said.at(-1)).toMatch(/the store does not say: it has no policy/)
  })

  it('is tested by the tests that it carries', async () => {
    const run = async (...args: string[]) => {
      const program = new Command('postern').exitOverride()
      registerTest(program, { now: Date.now })
      await program.parseAsync(['test', '--config', await rig.configure('a'), ...args], { from: 'user' })
      return process.exitCode
    }
    expect(await run('--json')).toBe(0)
    expect(JSON.parse(said.at(-1) ?? '')).toMatchObject({ passed: 1, failed: 0 })
    await rig.publish(instance, { 'policy.yaml': policyWith('third') })
    expect(await run()).toBe(2)
    expect(said.at(-1)).toContain('no tests in revision 3')
  })

  it('is checked as this machine knows it, without a connection', async () => {
    const probes = {} as Parameters<typeof runCheck>[1]['probes']
    const { summary } = await runCheck({ config: await rig.configure('a') }, { probes, now: Date.now })
    expect(summary.policy).toMatchObject({ path: 'revision 2', apps: 1 })
    expect(summary.tests).toMatchObject({ passed: 1, failed: 0 })
  })
})
