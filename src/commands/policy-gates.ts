/**
 * What has to be confirmed before a command publishes: the same questions that the console asks, answered by the instances that run.
 *
 * A command that has the store needs nobody's leave to publish, but it knows as little as anybody whom that would shut out. So it asks the
 * instances, through the store, and judges their answers as they do themselves. Where none runs, or what is in force cannot be read here,
 * nobody could be asked; that is said, and has to be confirmed as well: unknown is no yes.
 */

import { createAuditAnchors } from '../administration/audit-anchors.ts'
import { createErrandQuestion } from '../administration/errand-question.ts'
import type { Errands } from '../administration/errands.ts'
import { createGates, uncheckedWord } from '../administration/gates.ts'
import { judgeUses } from '../administration/gates-verdict.ts'
import type { PolicyRevisions } from '../administration/policy-history.ts'
import type { PublishingParts } from '../administration/policy-publishing.ts'
import type { JudgeBundle } from '../administration/policy-trial.ts'
import type { Administration } from '../compose-administration.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import type { Logger } from '../log.ts'
import { compileReplayPolicy } from './replay-policy.ts'

/** What a command asks with. */
export interface CommandGatesParts extends Pick<Administration, 'store' | 'keys'> {
  readonly configuration: Pick<InstanceConfiguration, 'console'>
  readonly judge: JudgeBundle
  readonly revisions: Pick<PolicyRevisions, 'head' | 'load'>
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Nobody looks at a page meanwhile. */
const timeouts = { askMs: 5_000, judgeMs: 60_000 }

/** Finds the gates of a policy that a command is to publish. */
export function createCommandGates({ configuration, judge, now, revisions, ...sealed }: CommandGatesParts): PublishingParts['findGates'] {
  const monotonicNow = () => performance.now()
  const question = createErrandQuestion({ ...sealed, monotonicNow })

  return async (judged, asker) => {
    const head = await revisions.head()
    const published = head === undefined ? undefined : await revisions.load(head.number)
    // The first policy takes nothing from anybody.
    if (published === undefined || judged.document === undefined) return []
    const before = (await judge(published.bundle)).document
    if (before === undefined)
      return [{ word: uncheckedWord, message: 'what is published cannot be read here, so whom this would shut out is not known' }]
    let isAnybodyThere = true
    const ask: Errands['ask'] = async <P>(...asked: Parameters<Errands['ask']>) => {
      const state = await question.ask<P>(...asked)
      isAnybodyThere = state.parts.length > 0
      return state
    }
    const gates = createGates({
      ...{ errands: { ask }, anchors: createAuditAnchors(sealed), now, monotonicNow, timeouts },
      inForce: () => before,
      settings: configuration.console,
      judge: (uses) => judgeUses(uses, compileReplayPolicy),
    })
    const found = await gates.find(judged, asker)
    return isAnybodyThere ? found : [{ word: uncheckedWord, message: 'no instance runs that could be asked whom this would shut out' }]
  }
}
