/**
 * What admins are told: `postern explain` of a person and of a recorded request, and `postern test`, on a system that runs; and a
 * policy that fails its own tests, which is never in force.
 */

import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

interface Explained {
  readonly decision: { readonly effect: string; readonly reason: string; readonly rule?: string }
  readonly rules: readonly { readonly name: string; readonly standing: string; readonly isDeciding: boolean }[]
  readonly facts: { readonly subject: { readonly groups: unknown } }
  readonly notes: readonly string[]
  readonly recorded?: { readonly effect: string; readonly reason: string }
}

describe.each(['embedded', 'redis'] as const)('postern explain, on a running system with %s', (store) => {
  let rig: Rig
  let client: Client
  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const explain = (...args: string[]) => runCommand(['explain', ...args, '--config', config()])
  const explained = async (...args: string[]) => {
    const { code, stdout, stderr } = await explain(...args, '--json')
    expect(stderr).toBe('')
    return { code, ...(JSON.parse(stdout) as Explained) }
  }

  beforeAll(async () => {
    rig = await startRig({
      store,
      policy: {
        zone: 'Europe/Berlin',
        levels: {
          office_hours: { time: { days: ['mon-fri'], between: '07:00-20:00' } },
          healthy: { device: { managed: true, disk_encrypted: true } },
        },
      },
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'staff', allow: { groups: ['staff'] } },
            { name: 'own words', allow: { claims: { department: ['legal'] } } },
            { name: 'no deleting', deny: { everyone: true }, methods: ['DELETE'], unless: ['office_hours'] },
            { name: 'no patching', deny: { everyone: true }, methods: ['PATCH'], alert: true },
          ],
        },
        { id: 'wiki', rules: [{ name: 'from a healthy device', allow: { groups: ['staff'] }, when: ['healthy'] }] },
      ],
    })
    client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
  })
  afterAll(() => rig?.stop())

  test('shows nothing that a terminal would act upon, whoever chose the name of a group', async () => {
    const { code, stdout } = await explain('alice@corp.example', `${rig.origin('app')}/page`, '--group', 'a\u001b[2J\u009b2J\u202eb\nALLOW')
    expect(code).toBe(1)
    expect(stdout).toContain('groups: a?[2J?2J?b?ALLOW')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]|^ALLOW/m)
  })

  test('takes the groups that were last seen, and says so', async () => {
    const { code, decision, facts, notes } = await explained('alice@corp.example', `${rig.origin('app')}/page`)
    expect(code).toBe(0)
    expect(decision).toMatchObject({ effect: 'allow', rule: 'staff' })
    expect(facts.subject.groups).toMatchObject({ known: true })
    expect(notes.join('\n')).toContain('as last seen')
  })

  test('takes groups from the command line instead, and assumes none of somebody who was never seen', async () => {
    const given = await explained('alice@corp.example', `${rig.origin('app')}/page`, '--group', 'contractors')
    expect(given).toMatchObject({ code: 1, decision: { effect: 'deny', reason: 'no_rule_matched' } })
    expect(given.notes.join('\n')).toContain('as given on the command line')
    const unseen = await explained('zoe@corp.example', `${rig.origin('app')}/page`)
    expect(unseen.code).toBe(1)
    expect(unseen.notes.join('\n')).toContain('has never signed in here')
  })

  test('decides for the instant, the method and the device that are asked about', async () => {
    const url = `${rig.origin('app')}/page`
    const night = await explained('alice@corp.example', url, '-X', 'DELETE', '--at', '2026-11-25T22:00+01:00')
    expect(night).toMatchObject({ code: 1, decision: { reason: 'denied_by_rule', rule: 'no deleting' } })
    const day = await explained('alice@corp.example', url, '-X', 'DELETE', '--at', '2026-11-25T10:00+01:00')
    expect(day).toMatchObject({ code: 0, decision: { effect: 'allow' } })
    expect((await explain('alice@corp.example', `${rig.origin('wiki')}/`, '--device', 'laptop-7')).stdout).toContain(
      'laptop-7 is not in the inventory',
    )
  })

  test('shows each rule with each condition, its input and whether it holds', async () => {
    const { stdout } = await explain('alice@corp.example', `${rig.origin('app')}/page`, '-X', 'DELETE', '--at', '2026-11-25T22:00+01:00')
    expect(stdout).toMatch(/^DENY {2}denied_by_rule, by the rule "no deleting"$/m)
    expect(stdout).toMatch(/level office_hours/)
    expect(stdout).toMatch(/allow "staff"/)
    expect(stdout).toContain('[ID Token and userinfo, ')
  })

  test('explains a recorded refusal from its audit line, with the facts that it was decided on', async () => {
    await rig.signIn(client, 'alice', `${rig.origin('wiki')}/page`)
    const answer = await client.send(`${rig.origin('wiki')}/page`, { as: 'fetch' })
    expect(answer.status).toBe(403)
    const id = String(answer.headers['x-postern-request'])
    await waitFor(async () => (await rig.audit()).some((line) => line['request'] === id && line['event'] === 'access.decided'))
    const { code, decision, recorded, rules } = await explained(id)
    expect(code).toBe(1)
    expect(recorded).toMatchObject({ effect: 'deny', reason: 'no_rule_matched' })
    expect(decision).toMatchObject({ effect: 'deny', rule: 'from a healthy device', unmet: [{ remedy: 'device_unidentified' }] })
    expect(rules).toHaveLength(1)
  })

  test('explains a decision about a person with the facts of then, also when the policy has changed since', async () => {
    const answer = await client.send(`${rig.origin('app')}/page`, { as: 'fetch' })
    expect(answer.status).toBe(200)
    const id = String(answer.headers['x-postern-request'])
    await waitFor(async () => (await rig.audit()).some((line) => line['request'] === id && line['event'] === 'access.decided'))
    const before = await explained(id)
    expect(before).toMatchObject({
      code: 0,
      recorded: { effect: 'allow', reason: 'rule_matched' },
      decision: { effect: 'allow', rule: 'staff' },
    })
    expect(before.facts.subject.groups).toMatchObject({ known: true, value: expect.arrayContaining(['staff']) })

    const apps = rig.policy['apps'] as readonly Record<string, unknown>[]
    await rig.writePolicy({ ...rig.policy, apps: apps.map((app) => ({ ...app, rules: [{ name: 'closed', deny: { everyone: true } }] })) })
    const after = await explained(id)
    expect(after).toMatchObject({ recorded: { effect: 'allow' }, decision: { effect: 'deny', rule: 'closed' } })
    expect(after.notes.join('\n')).toContain('the policy has changed since')
    await rig.writePolicy(rig.policy)
  })

  test('raises an alert where the deciding rule asks for one', async () => {
    const from = rig.instance.log().length
    const url = `${rig.origin('app')}/page`
    await waitFor(async () => (await client.send(url, { as: 'fetch' })).status === 200)
    expect(rig.instance.log().slice(from)).not.toContain('"msg":"alert"')
    const { status } = await client.send(url, { as: 'fetch', method: 'PATCH', headers: { origin: rig.origin('app') } })
    expect(status).toBe(403)
    await waitFor(() => rig.instance.log().slice(from).includes('"msg":"alert"'))
    const metrics = await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/metrics`)
    expect(metrics.body).toMatch(/postern_alerts_total\{app="app"\} 1/)
    await waitFor(async () => (await rig.audit()).some((line) => line['rule'] === 'no patching' && line['alert'] === true))
  })

  test.each([
    [['nobody-knows-this-id'], 'no decision about a request'],
    [['alice@corp.example', 'not a url'], 'not a URL'],
    [['alice@corp.example', 'http://app.corp.localhost/', '--at', 'tomorrow'], '--at is not an instant'],
    [['service:ghost', 'http://app.corp.localhost/'], ''],
  ])('could not tell: %j', async (args, words) => {
    const { code, stderr } = await explain(...args)
    if (words !== '') expect(stderr).toContain(words)
    expect(code).not.toBe(0)
  })
})

describe('a policy with tests of its own', () => {
  let rig: Rig
  let testsFile: string
  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const staffMayRead = () => [
    { name: 'staff read', given: { as: 'alice', request: `GET ${rig.origin('app')}/page` }, expect: 'allow' },
    { name: 'strangers do not', given: { request: `GET ${rig.origin('app')}/page` }, expect: 'sign_in' },
  ]
  const writeTests = (tests: readonly unknown[]) =>
    writeFile(testsFile, JSON.stringify({ people: { alice: { email: 'alice@corp.example', groups: ['staff'] } }, tests }))

  beforeAll(async () => {
    rig = await startRig({ apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }] })
    testsFile = rig.policyFile.replace(/\.yaml$/, '.test.yaml')
    await writeTests(staffMayRead())
  })
  afterAll(() => rig?.stop())

  test('postern test runs them, and says of a failure what was expected, what came and why', async () => {
    expect(await runCommand(['test', '--config', config()])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('2 passed, 0 failed'),
    })
    await writeTests([
      ...staffMayRead(),
      { name: 'nobody writes', given: { as: 'alice', request: `POST ${rig.origin('app')}/page` }, expect: 'deny' },
    ])
    const { code, stdout } = await runCommand(['test', '--config', config()])
    expect(code).toBe(1)
    expect(stdout).toMatch(/FAILED {2}nobody writes {2}\(.*policy\.test\.yaml:\d+\)/)
    expect(stdout).toContain('expected  deny')
    expect(stdout).toContain('got       allow: staff')
    expect(stdout).toContain('2 passed, 1 failed')
    const printed = await runCommand(['test', '--config', config(), '--json'])
    expect(JSON.parse(printed.stdout)).toMatchObject({ passed: 2, failed: 1 })
  })

  test('a test that names what is not there is a problem with its line, and not a test that passes', async () => {
    await writeTests([{ name: 'x', given: { as: 'alise', request: 'GET http://app.corp.localhost/' }, expect: 'allow' }])
    const { code, stderr } = await runCommand(['test', '--config', config()])
    expect(code).toBe(2)
    expect(stderr).toMatch(/policy\.test\.yaml:\d+:\d+: error: there is no `alise` among the people/)
    expect(stderr).toContain('did you mean `alice`?')
  })

  test('is not in force while it fails them: the one before stays', async () => {
    await writeTests(staffMayRead())
    const strict = await startRig({
      apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
      configuration: { policy_tests: 'optional' },
    })
    try {
      const file = strict.policyFile.replace(/\.yaml$/, '.test.yaml')
      const origin = strict.origin('app')
      const tests = [{ name: 'staff read', given: { as: 'alice', request: `GET ${origin}/page` }, expect: 'allow' }]
      await writeFile(file, JSON.stringify({ people: { alice: { groups: ['staff'] } }, tests }))
      const path = join(strict.instance.folder, '..', 'postern-0.yaml')
      const configuration = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
      await writeFile(path, JSON.stringify({ ...configuration, policy_tests: 'required' }))
      await strict.instance.stop()
      await strict.instance.start()
      const alice = new Client()
      await strict.signIn(alice, 'alice', `${origin}/ok`)
      const ask = async () => (await alice.send(`${origin}/page`, { as: 'fetch' })).status
      expect(await ask()).toBe(200)

      const from = strict.instance.log().length
      const apps = strict.policy['apps'] as readonly Record<string, unknown>[]
      await strict.writePolicy({ apps: apps.map((app) => ({ ...app, rules: [{ name: 'closed', deny: { everyone: true } }] })) })
      await waitFor(() => strict.instance.log().slice(from).includes('the changed policy was refused'))
      await waitFor(() => strict.instance.log().slice(from).includes('staff read'))
      expect(await ask()).toBe(200)

      // Mending the tests is enough: the same policy is looked at again.
      await writeFile(file, JSON.stringify({ tests: [{ ...tests[0], given: { request: `GET ${origin}/page` }, expect: 'deny' }] }))
      await waitFor(async () => (await ask()) === 403)
    } finally {
      await strict.stop()
    }
  })

  test('does not start where tests are required and there are none', async () => {
    const { code, stderr } = await runCommand(['serve', '--config', await writeStrict('policy-without-tests.yaml')])
    expect(stderr).toContain('the policy fails its own tests')
    expect(code).toBe(2)
  })

  /** The same instance in words, with tests required and another policy file beside it. */
  async function writeStrict(policyName: string): Promise<string> {
    const configuration = JSON.parse(await readFile(config(), 'utf8')) as Record<string, unknown>
    const policy = join(dirname(rig.policyFile), policyName)
    await writeFile(policy, JSON.stringify(rig.policy))
    const file = join(dirname(rig.policyFile), 'strict.yaml')
    await writeFile(file, JSON.stringify({ ...configuration, policy, policy_tests: 'required', data_dir: 'strict' }))
    return file
  }
})
