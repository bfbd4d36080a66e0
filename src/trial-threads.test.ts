/** Threads that try a policy: they find what is found without them, end when nobody waits, and leave this one its priority; what is read is bounded. */

import { getPriority } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listUseTasks, packUses, readRecentUses, unpackUses } from './administration/gates-uses.ts'
import { judgeUses } from './administration/gates-verdict.ts'
import { summariseReplay } from './administration/impact-summary.ts'
import { unpackTally } from './administration/impact-tally.ts'
import { bundleOf } from './administration/policy.fixture.ts'
import { listSegmentTasks } from './administration/recorded-requests.ts'
import { compileReplayPolicy } from './commands/replay-policy.ts'
import { runReplay } from './commands/replay-run.ts'
import { openTrialRig, type TrialRig } from './compose-trial.fixture.ts'
import { createTrialThreads } from './trial-threads.ts'

const policyFor = (group: string) => `levels:
  reachable: { network: { cidrs: [192.0.2.0/24] } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:8080
    rules:
      - { name: in, allow: { groups: [${group}] } }
`
const threads = createTrialThreads()
const signal = new AbortController().signal
let rig: TrialRig
let folder: string
let since: number

beforeAll(async () => {
  rig = await openTrialRig(policyFor('staff'))
  const [one] = rig.instances
  for (let index = 0; index < 600; index++)
    one.open('wiki', { sub: `u${index % 60}`, groups: ['staff', `team-${index % 60}`] }, 20 * 3_600_000 - index * 60_000)
  await rig.settle()
  folder = one.folder
  since = rig.place.clock.now() - 24 * 3_600_000
})
afterAll(() => rig.close())

async function documentFor(group: string) {
  return (await rig.judge(bundleOf(policyFor(group)))).document ?? expect.fail()
}

describe('a thread that tries a policy', () => {
  it('replays as this one does, tells how far it is, and leaves this one its priority', async () => {
    const before = getPriority()
    const document = await documentFor('team-7')
    const period = { since, until: undefined }
    const question = { document, live: { services: [], version: '' }, scheme: 'https', period } as const
    const told: number[] = []
    const { tally } = await threads.run(
      { kind: 'replay', folder, question },
      { signal, progress: ({ fraction }) => void told.push(fraction) },
    )
    const here = await runReplay(await listSegmentTasks([folder], period), question, { threads: 1, onStep: () => undefined })
    expect(summariseReplay(unpackTally(tally), 'v')).toEqual(summariseReplay(here, 'v'))
    expect(here.unchanged).toBe(10)
    expect(told.length).toBeGreaterThan(0)
    expect(getPriority()).toBe(before)
  })

  it('reads what was used, and judges a change by it, as this one does', async () => {
    const question = { folder, since, scheme: 'https', budgetMs: 10_000 } as const
    const there = await threads.run({ kind: 'uses', question }, { signal })
    const here = await readRecentUses(await listUseTasks(question), question, () => performance.now())
    expect(here.isComplete).toBe(true)
    expect(unpackUses(there.uses)).toEqual(unpackUses(packUses(here).uses))
    const settings = { admin: undefined, auditor: undefined, helpdesk: undefined, requiredLevels: [] }
    const gate = {
      uses: [there.uses],
      before: rig.document,
      after: await documentFor('team-7'),
      settings,
      knownAdmins: new Set<string>(),
      own: undefined,
    }
    const judged = await threads.run({ kind: 'judge', question: gate }, { signal })
    expect(judged).toMatchObject([{ app: 'wiki', kept: 1, refused: 59, unclear: 0 }])
    expect(judged).toEqual(await judgeUses(gate, compileReplayPolicy))
  })

  it('ends when whoever waited gives up', async () => {
    const question = { folder, since, scheme: 'https', budgetMs: 10_000 } as const
    const reason = new Error('given up')
    await expect(threads.run({ kind: 'uses', question }, { signal: AbortSignal.abort(reason) })).rejects.toThrow('given up')
    const stop = new AbortController()
    const running = threads.run({ kind: 'uses', question }, { signal: stop.signal })
    stop.abort(reason)
    await expect(running).rejects.toThrow('given up')
  })
})

describe('what was used of late', () => {
  it('is a few uses of each person and app, the newest of each kind', async () => {
    const question = { folder, since, scheme: 'https', budgetMs: 10_000 } as const
    const { uses } = await readRecentUses(await listUseTasks(question), question, () => performance.now())
    expect(uses).toHaveLength(60)
    expect(Math.min(...uses.map(({ at }) => at))).toBe(rig.place.clock.now() - 20 * 3_600_000 + 540 * 60_000)
  })

  it('is not said to be all where the time was over', async () => {
    let at = 0
    const question = { folder, since, scheme: 'https', budgetMs: 0 } as const
    const { isComplete } = await readRecentUses(await listUseTasks(question), question, () => at++)
    expect(isComplete).toBe(false)
  })
})
