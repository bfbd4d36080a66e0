/**
 * The demo without Postern: files that pass Postern's own checks, ports that are free, parts that answer and stop.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readBareEnvironment } from '../attributes/environment-facts.ts'
import { runPolicyTests } from '../commands/policy-tests.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { loadPolicy } from '../config/load-policy.ts'
import { findPolicyTests, loadPolicyTests } from '../config/load-policy-tests.ts'
import { compileRoutes } from '../enforcement/route-table.ts'
import { compilePolicy } from '../policy/compile.ts'
import { tellDemo } from './demo-story.ts'
import { findFreePort } from './free-port.ts'
import { fetchLoopbackNames } from './loopback-names.ts'
import { type RunningDemo, startDemo } from './start-demo.ts'

let parentFolder: string
let demo: RunningDemo | undefined

beforeEach(async () => {
  parentFolder = await mkdtemp(join(tmpdir(), 'demo-test-'))
  demo = undefined
})

afterEach(async () => {
  await demo?.close()
  await rm(parentFolder, { recursive: true, force: true })
})

describe('the demo', () => {
  it('writes a configuration and a policy without a problem or a warning', async () => {
    demo = await start()
    const configuration = await loadConfiguration(demo.configurationFile, {})
    expect(configuration.problems).toEqual([])
    expect(configuration.warnings).toEqual([])
    if (configuration.value === undefined) throw new Error('unreachable')
    const policy = await loadPolicy(configuration.value.policyPath, { configuration: configuration.value })
    expect(policy.problems).toEqual([])
    expect(policy.warnings).toEqual([])
    expect(policy.value?.apps.map(({ id }) => id)).toEqual(['board', 'payroll', 'wiki'])
  })

  it('comes with tests of its policy, which pass', async () => {
    demo = await start()
    const { value } = await loadConfiguration(demo.configurationFile, {})
    if (value === undefined) throw new Error('the configuration does not load')
    const policy = await loadPolicy(value.policyPath, { configuration: value })
    if (policy.value === undefined) throw new Error('the policy does not load')
    const files = await findPolicyTests(value.policyPath)
    expect(files).toHaveLength(1)
    const { problems, value: tests } = await loadPolicyTests(files, { strengths: value.provider.strengths, services: [], at: Date.now() })
    expect(problems).toEqual([])
    const results = runPolicyTests({ routes: compileRoutes(policy.value, compilePolicy(policy.value)) }, tests ?? [], readBareEnvironment)
    expect(results.map(({ got, isPassed, test }) => (isPassed ? 'passed' : `${test.name}: ${got}`))).toEqual(Array(5).fill('passed'))
  })

  it('has a provider under its issuer, and three apps under their upstreams', async () => {
    demo = await start()
    const { issuer, apps } = demo.addresses
    const discovery = await fetchLoopbackNames(new URL('/.well-known/openid-configuration', issuer))
    expect(await discovery.json()).toMatchObject({ issuer: issuer.origin, backchannel_logout_supported: true })
    expect((await fetch(apps.wiki.upstream)).status).toBe(200)
    expect((await fetch(apps.board.upstream)).status).toBe(200)
    expect((await fetch(apps.payroll.upstream)).status).toBe(401)
  })

  it('takes the next free port, and a folder of its own with it', async () => {
    const first = await start()
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(first.addresses.port, '127.0.0.1', resolve))
    demo = await startDemo({ port: first.addresses.port, parentFolder, now: Date.now })
    expect(demo.addresses.port).toBeGreaterThan(first.addresses.port)
    expect(demo.folder).not.toBe(first.folder)
    expect(await readFile(first.policyFile, 'utf8')).toContain(`:${first.addresses.port}\n`)
    await first.close()
    blocker.close()
  })

  it('is told with every address, and what each person may open', async () => {
    demo = await start()
    const text = tellDemo(demo, parentFolder)
    for (const { url } of Object.values(demo.addresses.apps)) expect(text).toContain(url)
    expect(text).toContain(demo.addresses.access.origin)
    for (const name of ['alice', 'bob', 'carol', '/etc/hosts', 'Ctrl-C']) expect(text).toContain(name)
    expect(text.split('\n').every((line) => line.length <= 120)).toBe(true)
  })

  it('leaves nothing listening', async () => {
    const stopped = await start()
    await stopped.close()
    await expect(fetch(stopped.addresses.apps.wiki.upstream)).rejects.toThrow()
    await expect(fetchLoopbackNames(stopped.addresses.issuer)).rejects.toThrow()
  })
})

async function start(): Promise<RunningDemo> {
  // A range of its own, away from what a developer runs beside the tests.
  return startDemo({ port: await findFreePort(21_000 + Math.floor(Math.random() * 20_000)), parentFolder, now: Date.now })
}
