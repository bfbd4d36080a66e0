/** Loading in a process of its own: the same verdict as here, nothing of the instance's secrets, an end to crashes and hangs, requests in between. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { describeInstance } from './config/known-instance.ts'
import { loadConfiguration } from './config/load-configuration.ts'
import { describeProblem } from './config/problems.ts'
import { writeLargePolicy } from './large-policy.fixture.ts'
import { createPolicyLoader, type PolicyLoader, type PolicyLoaderOptions } from './policy-loader.ts'
import { judgePolicy, type PolicyQuestion } from './policy-loading.ts'
import { openPolicySource } from './policy-source.ts'

const clientSecret = 'a-client-secret-0123456789abcdef'

let folder: string
let loader: PolicyLoader
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-loader-'))
  loader = createPolicyLoader()
})
afterEach(async () => {
  loader.close()
  await rm(folder, { recursive: true, force: true })
})

const write = async (name: string, text: string) => {
  const file = join(folder, name)
  await writeFile(file, text, { mode: 0o600 })
  return file
}

async function ask(policy: string, more: Partial<PolicyQuestion> = {}): Promise<PolicyQuestion> {
  const path = await write('policy.yaml', policy)
  const configuration = await write(
    'postern.yaml',
    `url: https://access.corp.example
session: { store: "redis://:a-store-password-0123@redis.internal:6379" }
secrets: { wiki_token: a-wiki-token-0123456789abcdef }
provider:
  issuer: https://login.corp.example
  client_id: x
  client_secret: ${clientSecret}
  strengths: { strong: { amr: [hwk], ask: { prompt_level: "2" } } }
`,
  )
  const { value, problems } = await loadConfiguration(configuration, {})
  if (value === undefined) throw new Error(problems.map(describeProblem).join('\n'))
  return { path, instance: describeInstance(value), areTestsRequired: false, now: Date.UTC(2026, 10, 22), ...more }
}

const policy = `levels:
  strong: { sign_in: { strength: strong, within: 1h } }
  office: { network: { cidrs_file: networks.txt } }
services:
  nightly: { jwt: { issuer: "https://auth.example.com", audience: internal, scopes_all: [read] } }
rules:
  - { name: guests stay out, deny: { groups: [guests] } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    set_request_headers: { X-Token: { secret: wiki_token } }
    rules:
      - { name: staff, allow: { groups: [staff] }, when: [strong, office] }
`

/** A loader that does something else, once it is asked. */
const broken = async (body: string, options: PolicyLoaderOptions = {}) =>
  createPolicyLoader({ program: pathToFileURL(await write('program.mjs', body)), ...options })

const asked = (body: string) => `process.once('message', () => { ${body} })`

describe('a policy loaded in a process of its own', () => {
  it('is the policy loaded here, with everything that is said about it', async () => {
    await write('networks.txt', '10.0.0.0/8\n')
    const question = await ask(policy)
    const here = await judgePolicy(question)
    expect(here.value?.levels).toHaveLength(2)
    expect(await loader.load(question)).toEqual(here)
  })

  it('is the same where it is large', async () => {
    const question = await ask(writeLargePolicy({ apps: 35, rulesOfAnApp: 6, levels: 24 }))
    const here = await judgePolicy(question)
    expect(here.problems).toEqual([])
    expect(await loader.load(question)).toEqual(here)
  })

  it('is judged by its instance: strengths, secrets by name, the store', async () => {
    await write('networks.txt', '10.0.0.0/8\n')
    const broken = policy
      .replace('strength: strong', 'strength: strange')
      .replace('secret: wiki_token', 'secret: wiki_tokn')
      .replace('http://wiki.internal:3000', 'http://redis.internal:6379')
    const { problems, value } = await loader.load(await ask(broken))
    expect(value).toBeUndefined()
    expect(problems.map(({ message }) => message)).toEqual([
      'there is no strength `strange`',
      'the instance configuration has no secret `wiki_tokn`',
      'this is the session store',
    ])
  })

  it('is held to its own tests where they are required', async () => {
    await write('networks.txt', '10.0.0.0/8\n')
    const question = await ask(policy, { areTestsRequired: true })
    expect((await loader.load(question)).objections).toEqual([
      '`policy_tests: required`, and there is no policy.test.yaml beside the policy',
    ])
    const tests = await write(
      'policy.test.yaml',
      `people: { bob: { groups: [staff] } }
tests:
  - name: staff without a strong sign-in
    given: { as: bob, sign_in: password 5m ago, address: 10.1.2.3, request: "GET https://wiki.corp.example/" }
    expect: allow
`,
    )
    const failing = await loader.load(question)
    expect(failing.value).toBeDefined()
    expect(failing.objections.join('\n')).toContain('FAILED  staff without a strong sign-in')
    expect(failing.files).toContain(tests)
    await writeFile(tests, '{]')
    expect((await loader.load(question)).objections).toHaveLength(1)
  })

  it('is asked about with nothing secret', async () => {
    const question = await ask(policy)
    const known = JSON.stringify(question.instance, (_key, value: unknown) =>
      value instanceof Map || value instanceof Set ? [...(value as Iterable<unknown>)] : value,
    )
    expect(known).toContain('wiki_token')
    for (const secret of [clientSecret, 'a-store-password-0123', 'a-wiki-token-0123456789abcdef']) expect(known).not.toContain(secret)
    expect(structuredClone(question)).toEqual(question)
  })

  it('says at most a thousand things, and how many more there are', async () => {
    const rules = Array.from({ length: 1200 }, (_, index) => `      - { name: r${index}, alow: { groups: [staff] } }`)
    const { problems } = await loader.load(await ask(policy.replace(/ {6}- .*\n$/, `${rules.join('\n')}\n`)))
    expect(problems).toHaveLength(1001)
    expect(problems.at(-1)?.message).toMatch(/and \d{3,} more/)
  })
})

describe('a loader that', () => {
  it.each([
    ['throws', asked('throw new Error("no such luck")')],
    ['throws later', asked('setTimeout(() => { throw new Error("later") }, 10)')],
    ['answers nothing', asked('process.disconnect()')],
    ['exits', 'process.exit(0)'],
    ['is killed', asked('process.kill(process.pid, "SIGKILL")')],
    ['cannot be read', 'this is no program'],
    ['takes all memory', asked('const all = []; for (;;) all.push({ [all.length]: all.length })')],
  ])('%s is a load that fails', { timeout: 60_000 }, async (_what, body) => {
    const one = await broken(body, { heapMb: 40 })
    await expect(one.load(await ask(policy))).rejects.toThrow(/its loader ended without an answer/)
  })

  it.each([
    ['never answers', 'setInterval(() => undefined, 1000)'],
    ['spins', asked('for (;;);')],
  ])('%s is a load that fails after its time, and is ended', async (_what, body) => {
    const pids = join(folder, 'pid')
    const one = await broken(
      `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(pids)}, String(process.pid)); ${body}`,
      { timeLimitMs: 700 },
    )
    await expect(one.load(await ask(policy))).rejects.toThrow('not loaded within 0.7 s')
    const pid = await readFile(pids, 'utf8').catch(() => undefined)
    if (pid !== undefined) await vi.waitFor(() => expect(() => process.kill(Number(pid), 0)).toThrow(), { timeout: 5000, interval: 10 })
  })

  it('is still at work when it is closed ends, and with it the load', async () => {
    const one = await broken(asked('for (;;);'))
    const load = expect(one.load(await ask(policy))).rejects.toThrow(/SIGKILL/)
    one.close()
    await load
  })

  it('fails refuses the policy: the one before stays, it is said, and the next load counts', async () => {
    await write('networks.txt', '10.0.0.0/8\n')
    const question = await ask(policy)
    const spinning = await broken(asked('for (;;);'), { timeLimitMs: 300 })
    const { files, named, value } = await judgePolicy(question)
    if (value === undefined) throw new Error('it has problems')
    const outcomes: string[] = []
    let current = spinning
    const source = await openPolicySource(
      { value, files, named },
      {
        path: question.path,
        load: () => current.load(question),
        describe: describeProblem,
        log: pino({ level: 'silent' }),
        lookEveryMs: 60_000,
        onReload: (outcome) => void outcomes.push(outcome),
      },
    )
    expect(await source.reload()).toBe(false)
    expect(source.failure()).toBe(1)
    expect(source.current().version).toBe(value.version)
    current = loader
    expect(await source.reload()).toBe(true)
    expect(source.failure()).toBeUndefined()
    expect(outcomes).toEqual(['refused', 'loaded'])
    await source.close()
  })
})

describe('a large policy', () => {
  it('is reloaded without keeping requests waiting: no pause comes near what loading it takes', { timeout: 120_000 }, async () => {
    const text = writeLargePolicy({ apps: 250, rulesOfAnApp: 20, levels: 50 })
    const question = await ask(text)
    const before = process.cpuUsage()
    const { files, named, value } = await judgePolicy(question)
    const { system, user } = process.cpuUsage(before)
    const workMs = (system + user) / 1000
    if (value === undefined) throw new Error('it has problems')
    const source = await openPolicySource(
      { value, files, named },
      {
        path: question.path,
        load: () => loader.load(question),
        describe: describeProblem,
        log: pino({ level: 'silent' }),
        lookEveryMs: 60_000,
        onReload: () => undefined,
      },
    )
    await writeFile(question.path, text.replaceAll('staff read', 'people read'))
    const delays = monitorEventLoopDelay({ resolution: 5 })
    delays.enable()
    expect(await source.reload()).toBe(true)
    delays.disable()
    expect(source.document().apps[0]?.rules[0]?.name).toBe('people read')
    expect(delays.max / 1e6).toBeLessThan(workMs / 4)
    await source.close()
  })
})
