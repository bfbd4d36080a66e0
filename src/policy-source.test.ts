/** What is watched, and what refuses a policy: the document's files, lists of networks beside it, and its own tests. Real files, a real clock. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadPolicy } from './config/load-policy.ts'
import { describeProblem } from './config/problems.ts'
import type { PolicyDocument } from './policy/document.ts'
import { openPolicySource, type PolicySource } from './policy-source.ts'

const policy = `levels:
  office: { network: { cidrs_file: networks.txt } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - { name: staff, allow: { groups: [staff] }, when: [office] }
`

let folder: string
let source: PolicySource | undefined
let outcomes: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-source-'))
  outcomes = []
  await writeFile(join(folder, 'policy.yaml'), policy)
  await writeFile(join(folder, 'networks.txt'), '10.0.0.0/8\n')
})
afterEach(async () => {
  source?.close()
  source = undefined
  await rm(folder, { recursive: true, force: true })
})

async function open(
  verify?: (document: PolicyDocument) => Promise<readonly string[]>,
  verifiedBy?: readonly string[],
): Promise<PolicySource> {
  const path = join(folder, 'policy.yaml')
  const load = () => loadPolicy(path, { configuration: undefined })
  const { value, problems } = await load()
  if (value === undefined) throw new Error(problems.map(describeProblem).join('\n'))
  source = await openPolicySource(value, {
    path,
    load,
    verify,
    verifiedBy,
    describe: describeProblem,
    log: pino({ level: 'silent' }),
    lookEveryMs: 15,
    onReload: (outcome) => void outcomes.push(outcome),
  })
  return source
}

const networksOf = ({ levels }: PolicyDocument) => {
  const [level] = levels
  return level?.condition.kind === 'network' ? level.condition.cidrs : undefined
}

describe('a list of networks', () => {
  it('that changes is another policy, without a touch of the document', async () => {
    const opened = await open()
    const before = opened.current().version
    await writeFile(join(folder, 'networks.txt'), '10.0.0.0/8\n192.0.2.0/24\n')
    await vi.waitFor(() => expect(networksOf(opened.document())).toEqual(['10.0.0.0/8', '192.0.2.0/24']), { timeout: 5000, interval: 10 })
    expect(opened.current().version).not.toBe(before)
  })

  it('with a line that is no network leaves the policy in force, and counts again once it is mended', async () => {
    const opened = await open()
    const before = opened.current().version
    await writeFile(join(folder, 'networks.txt'), '10.0.0.0/8\n0.0.0.0/0\n')
    await vi.waitFor(() => expect(opened.failure()).toBe(1), { timeout: 5000, interval: 10 })
    expect(opened.current().version).toBe(before)
    expect(outcomes).toContain('refused')
    await writeFile(join(folder, 'networks.txt'), '10.1.0.0/16\n')
    await vi.waitFor(() => expect(networksOf(opened.document())).toEqual(['10.1.0.0/16']), { timeout: 5000, interval: 10 })
    expect(opened.failure()).toBeUndefined()
  })

  it('that a refused document names is watched, so that making it is enough', async () => {
    const opened = await open()
    await writeFile(join(folder, 'policy.yaml'), policy.replace('networks.txt', 'other.txt'))
    await vi.waitFor(() => expect(opened.failure()).toBe(1), { timeout: 5000, interval: 10 })
    await writeFile(join(folder, 'other.txt'), '198.51.100.0/24\n')
    await vi.waitFor(() => expect(networksOf(opened.document())).toEqual(['198.51.100.0/24']), { timeout: 5000, interval: 10 })
  })
})

describe('what verifies a policy', () => {
  it('refuses it with what it says, and lets the next one through', async () => {
    const opened = await open(async ({ apps }) => (apps[0]?.rules[0]?.name === 'bad' ? ['the test `x` fails', 'the test `y` fails'] : []))
    const before = opened.current().version
    await writeFile(join(folder, 'policy.yaml'), policy.replace('name: staff', 'name: bad'))
    expect(await opened.reload()).toBe(false)
    expect(opened.failure()).toBe(2)
    expect(opened.current().version).toBe(before)
    await writeFile(join(folder, 'policy.yaml'), policy.replace('name: staff', 'name: good'))
    expect(await opened.reload()).toBe(true)
    expect(opened.document().apps[0]?.rules[0]?.name).toBe('good')
  })

  it('refuses it by throwing as well', async () => {
    const opened = await open(async () => {
      throw new Error('no such file')
    })
    expect(await opened.reload()).toBe(false)
    expect(opened.failure()).toBe(1)
  })

  it('is asked again when a file that it reads changes', async () => {
    const tests = join(folder, 'policy.test.yaml')
    await writeFile(tests, 'bad')
    let isGood = false
    const opened = await open(async () => (isGood ? [] : ['a test fails']), [tests])
    expect(await opened.reload()).toBe(false)
    isGood = true
    await writeFile(tests, 'good')
    await vi.waitFor(() => expect(opened.failure()).toBeUndefined(), { timeout: 5000, interval: 10 })
    expect(outcomes.at(-1)).toBe('loaded')
  })
})
