/** What is watched, and what refuses a policy: the document's files, lists of networks beside it, and its own tests. Real files, a real clock. */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadPolicy } from './config/load-policy.ts'
import { describeProblem } from './config/problems.ts'
import type { PolicyDocument } from './policy/document.ts'
import { openPolicySource, type PolicyChange, type PolicySource } from './policy-source.ts'

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
let changes: PolicyChange[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-source-'))
  outcomes = []
  changes = []
  await writeFile(join(folder, 'policy.yaml'), policy)
  await writeFile(join(folder, 'networks.txt'), '10.0.0.0/8\n')
})
afterEach(async () => {
  await source?.close()
  source = undefined
  await rm(folder, { recursive: true, force: true })
})

interface Verdict {
  /** What else is said about a document. */
  readonly object?: (document: PolicyDocument) => readonly string[]
  readonly files?: readonly string[]
  readonly whileLoading?: () => Promise<void>
}

async function open({ files = [], object = () => [], whileLoading }: Verdict = {}): Promise<PolicySource> {
  const path = join(folder, 'policy.yaml')
  const load = async () => {
    const loaded = await loadPolicy(path, { configuration: undefined })
    const objections = loaded.value === undefined ? [] : object(loaded.value)
    return { ...loaded, objections, files: [...loaded.files, ...files] }
  }
  const first = await load()
  if (first.value === undefined) throw new Error(first.problems.map(describeProblem).join('\n'))
  const options = {
    path,
    load: async () => {
      const loaded = await load()
      await whileLoading?.()
      return loaded
    },
    describe: describeProblem,
    log: pino({ level: 'silent' }),
    lookEveryMs: 15,
    recording: { durability: 'group', whenFull: undefined } as const,
    onReload: (outcome: string, _snapshot: unknown, _problems: number, change: PolicyChange) => {
      outcomes.push(outcome)
      changes.push(change)
    },
  }
  source = await openPolicySource({ value: first.value, files: first.files, named: first.named }, options)
  return source
}

const networksOf = ({ levels }: PolicyDocument) => {
  const [level] = levels
  return level?.condition.kind === 'network' ? level.condition.cidrs : undefined
}

describe('what is said of a change', () => {
  const owner = `file:${userInfo().username}`

  it('is whose files they are, the version before, and what is different', async () => {
    const opened = await open()
    expect(opened.firstAuthor).toBe(owner)
    const before = opened.current().version
    await writeFile(join(folder, 'policy.yaml'), policy.replace('groups: [staff]', 'groups: [staff, guests]'))
    expect(await opened.reload()).toBe(true)
    expect(changes).toEqual([{ from: before, author: owner, difference: ['app wiki: rule "staff" changed'] }])
    expect(opened.current().version).not.toBe(before)
  })

  it('is no difference where there is none, nor where it could not be used', async () => {
    const opened = await open()
    await opened.reload()
    await writeFile(join(folder, 'policy.yaml'), 'apps: 5\n')
    expect(await opened.reload()).toBe(false)
    const from = opened.current().version
    expect(changes).toEqual([
      { from, author: owner, difference: [] },
      { from, author: owner, difference: undefined },
    ])
  })
})

it('routes know what the instance says of recording', async () => {
  const opened = await open()
  const routed = opened.current().routes.findHostname('wiki.corp.example')?.routes[0].recording
  expect(routed).toEqual({ paths: 'full', isAwaited: true, isDemanded: false })
})

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

describe('what speaks against a policy that is whole', () => {
  it('refuses it, and lets the next one through', async () => {
    const opened = await open({
      object: ({ apps }) => (apps[0]?.rules[0]?.name === 'bad' ? ['the test `x` fails', 'the test `y` fails'] : []),
    })
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
    let isThrowing = false
    const opened = await open({
      object: () => {
        if (isThrowing) throw new Error('no such file')
        return []
      },
    })
    isThrowing = true
    expect(await opened.reload()).toBe(false)
    expect(opened.failure()).toBe(1)
  })

  it('is asked again when a file that it reads changes', async () => {
    const tests = join(folder, 'policy.test.yaml')
    await writeFile(tests, 'bad')
    let isGood = true
    const opened = await open({ object: () => (isGood ? [] : ['a test fails']), files: [tests] })
    isGood = false
    expect(await opened.reload()).toBe(false)
    isGood = true
    await writeFile(tests, 'good')
    await vi.waitFor(() => expect(opened.failure()).toBeUndefined(), { timeout: 5000, interval: 10 })
    expect(outcomes.at(-1)).toBe('loaded')
  })
})

describe('a change', () => {
  const staff = (name: string) => policy.replace('name: staff', `name: ${name}`)

  it('that comes while the policy is read overtakes it: what was read is never in force, the files as they come to rest are', async () => {
    const seenInForce = new Set<string | undefined>()
    let isFirst = true
    const opened: PolicySource = await open({
      whileLoading: async () => {
        if (!isFirst) return
        isFirst = false
        await writeFile(join(folder, 'policy.yaml'), staff('whole'))
      },
    })
    const nameInForce = () => opened.document().apps[0]?.rules[0]?.name
    await writeFile(join(folder, 'policy.yaml'), staff('half'))
    expect(await opened.reload()).toBe(false)
    expect(outcomes).toEqual([])
    await vi.waitFor(
      () => {
        seenInForce.add(nameInForce())
        expect(nameInForce()).toBe('whole')
      },
      { timeout: 5000, interval: 2 },
    )
    expect(seenInForce).not.toContain('half')
  })

  it('that comes with every load is said to be no policy', async () => {
    let times = 0
    const opened = await open({
      whileLoading: async () => {
        times += 1
        await writeFile(join(folder, 'policy.yaml'), staff(`once more ${times}`))
      },
    })
    const before = opened.current().version
    while (times < 5) expect(await opened.reload()).toBe(false)
    expect(opened.failure()).toBe(1)
    expect(outcomes.at(-1)).toBe('refused')
    expect(opened.current().version).toBe(before)
  })

  it('that is still being read when the source is closed changes nothing', async () => {
    let close: (() => void) | undefined
    const opened = await open({ whileLoading: async () => close?.() })
    close = () => void opened.close()
    await writeFile(join(folder, 'policy.yaml'), staff('late'))
    expect(await opened.reload()).toBe(false)
    expect(outcomes).toEqual([])
    expect(opened.document().apps[0]?.rules[0]?.name).toBe('staff')
  })
})

it('says whose the files are and when they were changed, as the record of a change does', async () => {
  const opened = await open()
  const by = `file:${userInfo().username}`
  const first = opened.inForce().changed
  expect(first).toEqual({ by, at: expect.any(Number) })
  expect(Math.abs(Date.now() - (first?.at ?? 0))).toBeLessThan(60_000)
  // A file system's clock ticks some hundred times a second.
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan((first?.at ?? 0) + 50), { timeout: 10_000, interval: 5 })
  await writeFile(join(folder, 'policy.yaml'), policy.replace('staff, allow', 'others, allow'))
  await vi.waitFor(() => expect(changes).toHaveLength(1), { timeout: 5_000, interval: 10 })
  const { changed } = opened.inForce()
  expect(changed?.by).toBe(changes[0]?.author)
  expect(changed?.at).toBeGreaterThan(first?.at ?? Number.POSITIVE_INFINITY)
})

it('a list of networks that becomes a pipe is refused, and looked at again until it is a file', async () => {
  const opened = await open()
  const list = join(folder, 'networks.txt')
  await rm(list)
  execFileSync('mkfifo', [list])
  // For a moment it was not there at all, which is another failure.
  await vi.waitFor(() => expect(opened.inForce().failure).toContain('not a regular file'), { timeout: 5_000, interval: 10 })
  expect(opened.failure()).toBe(1)
  await rm(list)
  await writeFile(list, '10.0.0.0/8\n192.0.2.0/24\n')
  await vi.waitFor(() => expect(opened.failure()).toBeUndefined(), { timeout: 5_000, interval: 10 })
}, 15_000)
