/** A managed policy on several instances: one first revision, followed by all, refused where it is not good, never replaced because a store forgot. */

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDurableRecords, listDurable } from './administration/durable-records.ts'
import { hashBundle } from './administration/policy-bundle.ts'
import { registerStore } from './commands/store.ts'
import { openAdministration } from './compose-administration.ts'
import { bundleOf, loadHistory, openPolicyRig, type PolicyInstance, type PolicyRig, policyWith } from './compose-policy.fixture.ts'
import { PosternError } from './errors.ts'
import { loadKeys } from './keys-file.ts'
import { openEmbeddedPlace, openRedisPlace, type StorePlace, silentLog } from './session/session.fixture.ts'

const soon = { timeout: 5_000, interval: 5 }

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('a managed policy over the %s store', (kind, openPlace) => {
  let place: StorePlace
  let rig: PolicyRig
  beforeAll(async () => {
    if (kind === 'redis') place = await openPlace()
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    if (kind === 'embedded') {
      await place?.close()
      place = await openPlace()
    } else await place.redis?.clear()
    rig = await openPolicyRig(place)
    await rig.writeSeed('policy.yaml', policyWith('first'))
  })
  afterEach(() => rig.close())

  it('begins with the seed as revision 1, once, however many start at the same time, and is not read from the seed again', async () => {
    const instances = await Promise.all(['a', 'b', 'c'].map((machine) => rig.start(machine)))
    for (const one of instances) {
      expect(one.rule()).toBe('first')
      expect(one.policy.inForce()).toMatchObject({ mode: 'managed', revision: { number: 1, predecessor: undefined }, failure: undefined })
      expect(one.policy.checkReady()).toMatchObject({ isReady: true })
    }
    const [first] = instances
    if (first === undefined) throw new Error('there is none')
    const history = await loadHistory(first)
    expect(history).toHaveLength(1)
    expect(history[0]?.published.by).toMatch(/^file:\w+/)
    expect(history[0]?.bundle.map(({ path }) => path)).toEqual(['policy.yaml'])
    expect(
      instances.flatMap(({ events }) => events.map(({ event }) => event)).filter((event) => event === 'policy.published'),
    ).toHaveLength(1)
    await rig.writeSeed('policy.yaml', policyWith('changed'))
    const another = await rig.start('d')
    expect(another.rule()).toBe('first')
    expect(await loadHistory(another)).toHaveLength(1)
  })

  it('takes along what the seed names, and its tests', async () => {
    await rig.writeSeed(
      'policy.yaml',
      `levels: { office: { network: { cidrs_file: networks/office.txt } } }\n${policyWith('first').replace('[staff] }', '[staff] }, when: office')}`,
    )
    await rig.writeSeed('networks/office.txt', '192.0.2.0/24\n')
    await rig.writeSeed(
      'policy.test.yaml',
      'people: { alice: { groups: [staff] } }\ntests:\n  - { name: t, given: { request: "GET https://wiki.corp.example/", as: alice, sign_in: { amr: [pwd], ago: 1m }, address: 192.0.2.9 }, expect: allow }\n',
    )
    const instance = await rig.start('a')
    const [seeded] = await loadHistory(instance)
    expect(seeded?.bundle.map(({ path }) => path)).toEqual(['networks/office.txt', 'policy.test.yaml', 'policy.yaml'])
    expect(seeded?.tests).toEqual({ passed: 1, failed: 0 })
  })

  it.each([
    ['', ''],
    [', where tests are required', '\npolicy_tests: required'],
  ])('runs the tests that lie in the folder of the seed%s', async (_name, more) => {
    const tests = (expected: string) =>
      `tests:\n  - { name: t, given: { request: "GET https://wiki.corp.example/" }, expect: ${expected} }\n`
    if (more !== '') {
      await expect(rig.start('a', `policy_seed: seed${more}`)).rejects.toThrow('there is no policy.test.yaml with the policy')
      await rig.writeSeed('policy.test.yaml', tests('allow'))
      await expect(rig.start('a', `policy_seed: seed${more}`)).rejects.toThrow('fails its own tests')
    }
    await rig.writeSeed('policy.test.yaml', tests('sign_in'))
    const [seeded] = await loadHistory(await rig.start('a', `policy_seed: seed${more}`))
    expect(seeded?.bundle.map(({ path }) => path)).toEqual(['policy.test.yaml', 'policy.yaml'])
    expect(seeded?.tests).toEqual({ passed: 1, failed: 0 })
  })

  it('publishes no seed that no instance could write down', async () => {
    await rig.writeSeed('Policy.yaml', '{}\n')
    await expect(rig.start('a', 'policy_seed: seed')).rejects.toThrow(/holds `\w+\.yaml` twice/)
    await rm(join(rig.folder, 'seed', 'Policy.yaml'))
    expect(await loadHistory(await rig.start('a', 'policy_seed: seed'))).toHaveLength(1)
  })

  it('tries again to mirror what could not be mirrored, and so still knows it after a restart', async () => {
    const instance = await rig.start('a')
    const headFile = join(rig.folder, 'a', 'policy', 'head.json')
    await vi.waitFor(async () => expect(await readFile(headFile, 'utf8')).toContain('"number": 1'), soon)
    await rm(headFile)
    await mkdir(join(headFile, 'in-the-way'), { recursive: true })
    await rig.publish(instance, { 'policy.yaml': policyWith('second') })
    await vi.waitFor(() => expect(instance.rule()).toBe('second'), soon)
    await instance.policy.reload()
    await rm(headFile, { recursive: true })
    await instance.policy.reload()
    expect(await readFile(headFile, 'utf8')).toContain('"number": 2')
  })

  it.each([
    ['is no policy', 'apps: 7\n', /policy.yaml:1.*list|has problems/s],
    ['leads where none may', policyWith('first').replace('wiki.internal', 'localhost'), /no service of this machine/],
    [
      'names a file that lies elsewhere',
      `levels: { office: { network: { cidrs_file: /etc/passwd } } }\n${policyWith('first')}`,
      /lies outside/,
    ],
  ])('does not begin with a seed that %s', async (_name, seed, message) => {
    await rig.writeSeed('policy.yaml', seed)
    await expect(rig.start('a')).rejects.toThrow(message)
    await rig.writeSeed('policy.yaml', policyWith('first'))
    expect(await loadHistory(await rig.start('a'))).toHaveLength(1)
  })

  it('is in force on every instance within a second of its publication', async () => {
    const [a, b] = [await rig.start('a'), await rig.start('b')]
    for (const rule of ['second', 'third']) {
      const begun = performance.now()
      await rig.publish(a, { 'policy.yaml': policyWith(rule) })
      await vi.waitFor(() => expect([a.rule(), b.rule()]).toEqual([rule, rule]), soon)
      expect(performance.now() - begun).toBeLessThan(1_000)
    }
    expect(b.reloads).toEqual(['loaded second', 'loaded third'])
    const { bundle, revision } = b.policy.inForce()
    expect(revision).toMatchObject({ number: 3, hash: hashBundle(bundle), published: { by: 'person:u1' } })
    expect(bundle[0]?.content.toString()).toContain('# what third may')
  })

  it.each([
    ['is not YAML', { 'policy.yaml': 'apps: [' }],
    ['has no document', { 'policy.test.yaml': 'tests: []' }],
    [
      'names a file out of its folder',
      { 'policy.yaml': `levels: { o: { network: { cidrs_file: ../../../head.json } } }\n${policyWith('bad')}` },
    ],
    ['names a file that is not there', { 'policy.yaml': `levels: { o: { network: { cidrs_file: none.txt } } }\n${policyWith('bad')}` }],
    ['leads to this machine', { 'policy.yaml': policyWith('bad').replace('http://wiki.internal:3000', 'http://[::ffff:127.0.0.1]:80') }],
    [
      'names a secret that this instance has not',
      { 'policy.yaml': policyWith('bad', '    set_request_headers: { X-A: { secret: nope } }\n') },
    ],
    ['is four megabytes of nothing', { 'policy.yaml': `${'#'.repeat(4 * 1024 * 1024 - 1)}\n` }],
  ])(
    'stays what it was where the revision %s, says why once, and goes on with the next',
    async (_name, files) => {
      const instance = await rig.start('a')
      await rig.publish(instance, files)
      await vi.waitFor(() => expect(instance.policy.failure()).toBeGreaterThanOrEqual(1), { timeout: 15_000, interval: 5 })
      expect(instance.rule()).toBe('first')
      expect(instance.policy.inForce()).toMatchObject({ revision: { number: 1 }, failure: expect.stringContaining('revision 2') })
      expect(instance.policy.inForce().failure).not.toContain(rig.folder)
      expect(instance.policy.checkReady()).toMatchObject({ isReady: true })
      expect(instance.reloads).toEqual(['refused first'])
      expect(await instance.policy.reload()).toBe(false)
      expect(instance.reloads).toEqual(['refused first'])
      // What an instance refuses it refuses after a restart too, and begins with what was in force.
      await instance.close()
      const again = await rig.start('a')
      expect(again.rule()).toBe('first')
      expect(again.policy.failure()).toBeGreaterThanOrEqual(1)
      await rig.publish(again, { 'policy.yaml': policyWith('third') })
      await vi.waitFor(() => expect(again.rule()).toBe('third'), soon)
      expect(again.policy.inForce()).toMatchObject({ revision: { number: 3 }, failure: undefined })
    },
    30_000,
  )

  it('has the level that the console asks for, in every revision', async () => {
    const level = 'levels: { strong: { sign_in: { within: 1h } } }\n'
    await rig.writeSeed('policy.yaml', `${level}${policyWith('first')}`)
    const instance = await rig.start('a', 'console: { roles: { admin: { groups: [admins] } }, require: [strong] }')
    await rig.publish(instance, { 'policy.yaml': policyWith('bad') })
    await vi.waitFor(() => expect(instance.policy.inForce().failure).toContain('strong'), soon)
    expect(instance.rule()).toBe('first')
  })

  it('passes its own tests where they are required', async () => {
    const tests = (expected: string) =>
      `tests:\n  - { name: t, given: { request: "GET https://wiki.corp.example/", as: nobody }, expect: ${expected} }\n`
    await rig.writeSeed('policy.test.yaml', tests('sign_in'))
    const instance = await rig.start('a', 'policy_tests: required')
    await rig.publish(instance, { 'policy.yaml': policyWith('bad'), 'policy.test.yaml': tests('allow') })
    await vi.waitFor(() => expect(instance.policy.failure()).toBe(1), { timeout: 15_000, interval: 5 })
    await rig.publish(instance, { 'policy.yaml': policyWith('untested') })
    await vi.waitFor(() => expect(instance.policy.inForce().failure).toContain('revision 3'), { timeout: 15_000, interval: 5 })
    await rig.publish(instance, { 'policy.yaml': policyWith('good'), 'policy.test.yaml': tests('sign_in') })
    await vi.waitFor(() => expect(instance.rule()).toBe('good'), { timeout: 15_000, interval: 5 })
  }, 40_000)

  it('is mirrored with its last twenty revisions, also on a machine that joins late', async () => {
    const a = await rig.start('a')
    for (let number = 2; number <= 23; number += 1) await rig.publish(a, { 'policy.yaml': policyWith(`rule${number}`) })
    const b = await rig.start('b')
    const mirrored = async (machine: string) => (await readdir(join(rig.folder, machine, 'policy', 'revisions'))).sort()
    const expected = (await loadHistory(a))
      .slice(-20)
      .map(({ hash }) => hash)
      .sort()
    for (const machine of ['a', 'b'])
      await vi.waitFor(async () => expect(await mirrored(machine)).toEqual(expected), { timeout: 20_000, interval: 50 })
    expect(b.rule()).toBe('rule23')
  }, 60_000)

  it('is served as it was published, whatever lies in the mirror', async () => {
    const a = await rig.start('a')
    const { hash } = a.policy.inForce().revision ?? { hash: '' }
    await a.close()
    const file = join(rig.folder, 'a', 'policy', 'revisions', hash, 'policy.yaml')
    await writeFile(file, policyWith('forged'))
    const again = await rig.start('a')
    expect(again.rule()).toBe('first')
    expect(await readFile(file, 'utf8')).toBe(policyWith('first'))
  })

  it('is judged like anywhere before it is published: problems at their lines, tests, nothing left behind', async () => {
    const instance = await rig.start('a')
    const bad = await instance.policy.judge(bundleOf({ 'policy.yaml': policyWith('bad').replace('groups', 'gruops') }))
    expect(bad.document).toBeUndefined()
    expect(bad.problems[0]).toMatchObject({ file: 'policy.yaml', line: 7, key: expect.stringMatching(/^apps\.0\.rules\.0/) })
    const twice = await instance.policy.judge(bundleOf({ 'a.yaml': policyWith('x'), 'b.yaml': policyWith('x') }))
    expect(JSON.stringify(twice)).not.toContain(rig.folder)
    expect(twice.problems.map(({ file }) => file)).toContain('b.yaml')
    const tests = 'tests:\n  - { name: t, given: { request: "GET https://wiki.corp.example/", as: nobody }, expect: allow }\n'
    const good = await instance.policy.judge(bundleOf({ 'policy.yaml': policyWith('good'), 'policy.test.yaml': tests }))
    expect(good).toMatchObject({ problems: [], objections: [], outcome: { passed: 0, failed: 1 }, tests: [{ name: 't', isPassed: false }] })
    expect(good.document?.apps[0]?.rules[0]?.name).toBe('good')
    expect((await instance.policy.judge(bundleOf({ '../x.yaml': '' }))).problems).toHaveLength(1)
    expect(await readdir(join(rig.folder, 'a', 'policy', 'trials'))).toEqual([])
    expect(instance.rule()).toBe('first')
  })
})

describe('a store that lost the policy', () => {
  let place: StorePlace
  let rig: PolicyRig
  let a: PolicyInstance
  const output: string[] = []
  beforeAll(async () => {
    place = await openRedisPlace()
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    await place.redis?.clear()
    rig = await openPolicyRig(place)
    await rig.writeSeed('policy.yaml', policyWith('first'))
    a = await rig.start('a')
    await rig.publish(a, { 'policy.yaml': policyWith('second') })
    await vi.waitFor(() => expect(a.rule()).toBe('second'), soon)
    await vi.waitFor(
      async () => expect(await readFile(join(rig.folder, 'a', 'policy', 'head.json'), 'utf8')).toContain('"number": 2'),
      soon,
    )
    output.length = 0
    for (const method of ['log', 'error'] as const) vi.spyOn(console, method).mockImplementation((text) => void output.push(String(text)))
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    process.exitCode = undefined
    await rig.close()
  })

  const adopt = async (machine: string, ...args: string[]) => {
    process.exitCode = undefined
    const program = new Command('postern').exitOverride()
    registerStore(program, { openAdministration })
    await program.parseAsync(['store', 'adopt', '--config', await rig.configure(machine), ...args], { from: 'user' })
    return process.exitCode ?? 0
  }
  const storedHead = () => a.policy.revisions?.head()
  const whyNotReady = (instance: PolicyInstance) => instance.policy.checkReady().detail

  it('while it runs: stays with what is in force, is not ready, seeds nothing, and is repaired by adopting', async () => {
    const b = await rig.start('b')
    const before = await loadHistory(a)
    await place.redis?.clear()
    await vi.waitFor(() => expect(whyNotReady(a)).toMatch(/no policy.*postern store adopt/), { timeout: 15_000, interval: 20 })
    await vi.waitFor(() => expect(b.policy.checkReady().isReady).toBe(false), { timeout: 15_000, interval: 20 })
    expect([a.rule(), b.rule()]).toEqual(['second', 'second'])
    await a.policy.reload()
    expect(await storedHead()).toBeUndefined()
    expect(a.policy.inForce().failure).toContain('the store has no policy')

    expect(await adopt('a')).toBe(0)
    expect(output.join()).toContain('Put back revisions 1 to 2')
    await vi.waitFor(() => expect([whyNotReady(a), whyNotReady(b)]).toEqual([undefined, undefined]), { timeout: 15_000, interval: 20 })
    expect(await loadHistory(a)).toEqual(before)
    await rig.publish(b, { 'policy.yaml': policyWith('third') })
    await vi.waitFor(() => expect([a.rule(), b.rule()]).toEqual(['third', 'third']), soon)
    expect(await adopt('a')).toBe(1)
  }, 60_000)

  it('before it starts: begins with what it remembers, is not ready, and seeds nothing', async () => {
    await a.close()
    await place.redis?.clear()
    const again = await rig.start('a')
    expect(again.rule()).toBe('second')
    expect(whyNotReady(again)).toMatch(/no policy/)
    expect(await again.policy.revisions?.head()).toBeUndefined()
    expect(again.events).toEqual([])
    expect(await adopt('a')).toBe(0)
    await vi.waitFor(() => expect(again.policy.checkReady().isReady).toBe(true), { timeout: 15_000, interval: 20 })
  }, 60_000)

  it('and was filled by a machine that knew nothing: what that published is not followed', async () => {
    await place.redis?.clear()
    await rig.writeSeed('policy.yaml', policyWith('intruder'))
    const stranger = await rig.start('stranger')
    expect(stranger.rule()).toBe('intruder')
    await vi.waitFor(() => expect(whyNotReady(a)).toMatch(/ends with revision 1/), { timeout: 15_000, interval: 20 })
    expect(a.rule()).toBe('second')
    await rig.publish(stranger, { 'policy.yaml': policyWith('intruder2') })
    await a.policy.reload()
    expect(whyNotReady(a)).toMatch(/revision 2 of the store is another one/)
    await rig.publish(stranger, { 'policy.yaml': policyWith('intruder3') })
    await a.policy.reload()
    expect(whyNotReady(a)).toMatch(/another one/)
    expect(a.rule()).toBe('second')
    // Longer than what is remembered: nothing is overwritten without being told to.
    expect(await adopt('a')).toBe(1)
    expect(output.join()).toContain('gone on to revision 3')
    expect(await adopt('a', '--accept-loss')).toBe(0)
    await vi.waitFor(() => expect(a.rule()).toBe('intruder3'), { timeout: 15_000, interval: 20 })
    expect(whyNotReady(a)).toBeUndefined()
  }, 60_000)

  it('and whose loss was accepted is given the seed, by whoever is first, and a later loss is one again', async () => {
    const b = await rig.start('b')
    await place.redis?.clear()
    await rig.writeSeed('policy.yaml', policyWith('anew'))
    await vi.waitFor(() => expect(whyNotReady(b)).toBeDefined(), { timeout: 15_000, interval: 20 })
    expect(await adopt('a', '--accept-loss')).toBe(0)
    await vi.waitFor(() => expect([a.rule(), b.rule()]).toEqual(['anew', 'anew']), { timeout: 15_000, interval: 20 })
    expect(await loadHistory(a)).toHaveLength(1)
    await vi.waitFor(
      async () => expect(await readFile(join(rig.folder, 'b', 'policy', 'head.json'), 'utf8')).toContain('"acceptance": 1'),
      soon,
    )
    await place.redis?.clear()
    await vi.waitFor(() => expect(whyNotReady(b)).toBeDefined(), { timeout: 15_000, interval: 20 })
    expect(b.rule()).toBe('anew')
  }, 60_000)

  it('and whose count of accepted losses was taken away and put back is not followed to an older head', async () => {
    const { store } = place
    const parts = { store, keys: () => loadKeys(join(rig.folder, 'keys.json'), Date.now()), log: silentLog }
    await place.redis?.clear()
    await rig.writeSeed('policy.yaml', policyWith('anew'))
    await vi.waitFor(() => expect(whyNotReady(a)).toBeDefined(), { timeout: 15_000, interval: 20 })
    expect(await adopt('a', '--accept-loss')).toBe(0)
    await vi.waitFor(() => expect(a.rule()).toBe('anew'), { timeout: 15_000, interval: 20 })
    const copy: { readonly name: string; readonly value: Buffer }[] = []
    for await (const { name, value } of listDurable(store, 'policy_head')) copy.push({ name, value })
    expect(copy).toHaveLength(2)

    await rig.publish(a, { 'policy.yaml': policyWith('stricter') })
    await vi.waitFor(() => expect(a.rule()).toBe('stricter'), { timeout: 15_000, interval: 20 })
    await createDurableRecords('policy_head', parts).remove('accepted_losses')
    expect(await a.policy.reload()).toBe(true)
    for (const { name, value } of copy) {
      await store.removeDurable(name)
      await store.createDurable(name, value)
    }
    expect(await a.policy.reload()).toBe(false)
    expect(a.rule()).toBe('stricter')
    expect(whyNotReady(a)).toMatch(/ends with revision 1/)
  }, 60_000)

  it('and a mirror that does not hold together keep an instance from starting, until the loss is accepted', async () => {
    await a.close()
    await writeFile(join(rig.folder, 'a', 'policy', 'head.json'), '{"version":1,"revisions":[]}')
    await expect(rig.start('a')).rejects.toThrow('does not hold together')
    // What cannot be put on record is not done.
    const program = new Command('postern').exitOverride()
    const recordFirst = () => Promise.reject(new PosternError('audit_unavailable', 'the disk is full'))
    registerStore(program, { openAdministration: async (...args) => ({ ...(await openAdministration(...args)), recordFirst }) })
    const command = ['store', 'adopt', '--config', await rig.configure('a'), '--accept-loss']
    await program.parseAsync(command, { from: 'user' }).catch(() => undefined)
    await expect(rig.start('a')).rejects.toThrow('does not hold together')
    expect(await adopt('a', '--accept-loss')).toBe(0)
    expect((await rig.start('a')).rule()).toBe('second')
  }, 30_000)

  it('that does not answer is no store that lost something: what is remembered is in force, and later what was published', async () => {
    await a.close()
    await place.redis?.stop()
    const again = await rig.start('a')
    expect(again.rule()).toBe('second')
    expect(again.policy.checkReady().isReady).toBe(true)
    await place.redis?.restart()
    await vi.waitFor(async () => expect(await again.policy.reload()).toBe(true), { timeout: 15_000, interval: 100 })
    await rig.publish(again, { 'policy.yaml': policyWith('third') })
    await vi.waitFor(() => expect(again.rule()).toBe('third'), { timeout: 15_000, interval: 20 })
  }, 60_000)

  it('is not adopted by a machine that remembers nothing', async () => {
    await place.redis?.clear()
    expect(await adopt('nobody')).toBe(1)
    expect(output.join()).toContain('remembers no revision')
    await rm(join(rig.folder, 'a', 'policy', 'revisions'), { recursive: true })
    expect(await adopt('a')).toBe(1)
    expect(output.join()).toContain('files of the last revision are not on this machine')
  })
})
