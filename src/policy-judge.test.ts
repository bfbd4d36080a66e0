/** Trials: a bounded number at once, however they arrive, and none that begins after the end. */

import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bundleOf, policyWith } from './compose-policy.fixture.ts'
import { createPolicyJudge, type PolicyJudge } from './policy-judge.ts'

describe('a judge', () => {
  let folder: string
  let judge: PolicyJudge
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-judge-'))
    const question = () => ({ instance: {}, areTestsRequired: false, now: Date.now() })
    judge = createPolicyJudge({ folder, question, monotonicNow: () => performance.now() })
  })
  afterEach(async () => {
    judge.close()
    await rm(folder, { recursive: true, force: true })
  })

  const large = (rule: string) => bundleOf({ 'policy.yaml': `${policyWith(rule)}#${'x'.repeat(17_000)}\n` })

  it('has room for a few that come at the same moment, and ends those that wait when it closes', async () => {
    const trials = Array.from({ length: 60 }, (_, i) => judge.judgeBundle(large(`r${i}`)))
    const settled = Promise.allSettled(trials)
    // The last finds no room at once, while the first is under way.
    expect((await trials.at(-1))?.problems[0]?.message).toContain('try again')
    judge.close()
    const begun = performance.now()
    const outcomes = await settled
    expect(performance.now() - begun).toBeLessThan(2_000)
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeLessThanOrEqual(17)
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThanOrEqual(16)
    expect(existsSync(folder) ? await readdir(folder) : []).toEqual([])
  })
})
