/**
 * The part of the composition root about trying a policy before it is published: gates, trials of drafts, their impact on recorded requests, and
 * what-if questions; and what this instance does on its own trail for whichever instance asks.
 *
 * The words of warnings are those of `postern check --live`, replays run through the machinery of `postern replay`, and what-ifs ask as `postern
 * explain` does. Gates are made first, since publishing asks them; everything else needs the drafts.
 */

import { join } from 'node:path'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import type { Errands } from './administration/errands.ts'
import { createGates, type Gates, type GatesPart, type GatesParts, gatesErrand, gatesLookBackMs } from './administration/gates.ts'
import type { AdminVisits } from './administration/gates-console.ts'
import { listUseTasks, packUses, readRecentUses, type UsesQuestion } from './administration/gates-uses.ts'
import { judgeUses, narrowDocument } from './administration/gates-verdict.ts'
import { createImpactRuns, serveImpact } from './administration/impact-runs.ts'
import type { PolicyDrafts } from './administration/policy-history.ts'
import { createTrailDesk } from './administration/trail-desk.ts'
import type { TrailWindow } from './administration/trail-window.ts'
import { createTryDraft, type LifeWarning } from './administration/trial-draft.ts'
import { createWhatIf, type WhatIfPolicy } from './administration/what-if.ts'
import type { EnvironmentReader } from './attributes/environment-facts.ts'
import { compileSubjectReader } from './attributes/subject-facts.ts'
import { listChains } from './audit/trail-files.ts'
import { compareWithSeen } from './commands/live-probes.ts'
import { compileReplayPolicy } from './commands/replay-policy.ts'
import type { Access } from './compose-access.ts'
import type { ComposedPolicy } from './compose-policy.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import type { AnyOperation } from './control/operations/operation.ts'
import { createPolicyTrialOperations, type PolicyTrialOperations } from './control/operations/policy-trial.ts'
import type { RecordFirst } from './control/operations/trail.ts'
import { createWhatIfOperations, type WhatIfOperations } from './control/operations/what-if.ts'
import { findAsked } from './enforcement/asked.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import type { CurrentKeys } from './keys.ts'
import type { Logger } from './log.ts'
import { compilePolicy } from './policy/compile.ts'
import { describeDifferenceInSteps } from './policy/difference.ts'
import type { PolicyDocument } from './policy/document.ts'
import { takeStepsInTurn } from './policy-snapshot.ts'
import type { SessionStore } from './session/store.ts'
import { createTrialThreads, type TrialThreads } from './trial-threads.ts'

type Configuration = Pick<InstanceConfiguration, 'clientCertificate' | 'console' | 'dataDir' | 'provider' | 'url'>

export interface ComposeGatesParts {
  readonly configuration: Configuration
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly errands: Errands
  readonly policy: Pick<ComposedPolicy, 'document'>
  /** Of this instance's console. */
  readonly visits: Pick<AdminVisits, 'list'>
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  /** Two seconds together, if left out. */
  readonly timeouts?: GatesParts['timeouts']
}

export interface ComposedGates {
  readonly gates: Gates
  readonly threads: TrialThreads
}

/** Reading less takes less time than a thread does to start. */
const smallTrailBytes = 2 * 1024 * 1024
/** The same of uses, compressed. */
const smallUsesBytes = 64 * 1024
/** Of the time for all instances; the rest is for the way there and back. */
const readBudgetMs = 500
/** Of people, and of devices: who waits for a page waits for this. */
const lifeLimitMs = 400
/** Of what goes through the store. */
const mostVisitBytes = 400_000

/** Connects the gates, and serves what this instance hands in for them. Holds nothing that needs closing. */
export function composeGates(parts: ComposeGatesParts): ComposedGates {
  const { configuration, errands, monotonicNow, now, policy, timeouts, visits } = parts
  const threads = createTrialThreads()
  errands.serve<object, GatesPart>(gatesErrand, async (_input, { signal }) => {
    const since = now() - gatesLookBackMs
    const question: UsesQuestion = { folder: folderOf(configuration), since, scheme: schemeOf(configuration), budgetMs: readBudgetMs }
    const tasks = await listUseTasks(question)
    const isSmall = tasks.reduce((sum, { bytes }) => sum + bytes, 0) <= smallTrailBytes
    const packed = isSmall
      ? packUses(await readRecentUses(tasks, question, monotonicNow))
      : await threads.run({ kind: 'uses', question }, { signal })
    return { ...packed, visits: fitting(visits.list(since)), chains: await listChains(question.folder) }
  })
  const gates = createGates({
    ...{ anchors: createAuditAnchors(parts), errands, monotonicNow, now },
    ...(timeouts === undefined ? {} : { timeouts }),
    inForce: policy.document,
    settings: configuration.console,
    async judge(question, signal) {
      const isSmall = question.uses.reduce((sum, { length }) => sum + length, 0) <= smallUsesBytes
      return isSmall ? await judgeUses(question, compileReplayPolicy) : await threads.run({ kind: 'judge', question }, { signal })
    },
  })
  return { gates, threads }
}

/** The newest of them. */
function fitting(visits: GatesPart['visits']): GatesPart['visits'] {
  let bytes = 0
  return visits.toReversed().filter((visit) => {
    bytes += JSON.stringify(visit).length
    return bytes <= mostVisitBytes
  })
}

export interface ComposeTrialParts extends ComposedGates {
  readonly configuration: Configuration
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly now: () => number
  readonly errands: Errands
  readonly policy: Pick<ComposedPolicy, 'document' | 'current' | 'judge'>
  readonly drafts: Pick<PolicyDrafts, 'load'>
  readonly access: Pick<Access, 'people' | 'devices' | 'locks'>
  readonly readEnvironment: EnvironmentReader
  readonly window: Pick<TrailWindow, 'findDecision'>
  readonly recordFirst: RecordFirst
}

export interface ComposedTrial {
  readonly trial: PolicyTrialOperations
  readonly whatIf: WhatIfOperations
  /** Of both, for the API. */
  readonly operations: readonly AnyOperation[]
}

/** Connects the rest, and serves this instance's part of impacts. Holds nothing that needs closing. */
export function composeTrial(parts: ComposeTrialParts): ComposedTrial {
  const { access, configuration, drafts, errands, gates, now, policy, recordFirst, threads } = parts
  const { judge } = policy
  const folder = folderOf(configuration)
  const scheme = schemeOf(configuration)
  const anchors = createAuditAnchors(parts)
  serveImpact({
    ...{ drafts, errands, judge },
    inForce: policy.document,
    listChains: () => listChains(folder),
    async replay(question, context) {
      const { tally } = await threads.run({ kind: 'replay', folder, question: { ...question, scheme } }, context)
      return { tally, chains: await listChains(folder) }
    },
  })
  const tryDraft = createTryDraft({
    ...{ drafts, gates, judge },
    inForce: policy.document,
    compare: (before, after) => takeStepsInTurn(describeDifferenceInSteps(before, after)),
    findLifeWarnings: (document) => findLifeWarnings(document, configuration, access, now),
  })
  const whatIf = createWhatIf({
    ...{ drafts, judge, scheme, people: access.people, devices: access.devices, loadLocks: access.locks.loadAll },
    inForce: () => ({ document: policy.document(), compiled: policy.current().policy }),
    compileFor: (document, hostname) => compileFor(document, hostname, policy.document()),
    readSubject: compileSubjectReader(configuration.provider),
    readEnvironment: parts.readEnvironment,
    desk: createTrailDesk({ errands, anchors }),
    findWhen: async (request) => (await parts.window.findDecision(request))?.at,
    issuer: configuration.provider.issuer.href,
  })
  const impacts = createImpactRuns({ anchors, drafts, errands, judge })
  const trial = createPolicyTrialOperations({ impacts, now, recordFirst, tryDraft })
  const asking = createWhatIfOperations({ now, recordFirst, whatIf })
  return { trial, whatIf: asking, operations: [...Object.values(trial), ...Object.values(asking)] }
}

async function findLifeWarnings(
  document: PolicyDocument,
  configuration: Configuration,
  { devices, people }: ComposeTrialParts['access'],
  now: () => number,
): Promise<readonly LifeWarning[]> {
  const said = await compareWithSeen(configuration, document, { people, devices }, { now, limitMs: lifeLimitMs })
  return said
    .filter(({ outcome }) => outcome !== 'good')
    .map(({ hint, message, outcome, probe }) => ({ about: probe, isCertain: outcome !== 'unknown', message, hint }))
    .sort((a, b) => Number(b.isCertain) - Number(a.isCertain))
}

/** A request finds its app by its host alone: the others need not be compiled. */
function compileFor(document: PolicyDocument, hostname: string, live: PolicyDocument): WhatIfPolicy {
  const narrow = narrowDocument(document, new Set([hostname]))
  const routes = compileRoutes(narrow, compilePolicy(narrow))
  return {
    version: document.version,
    replay: compileReplayPolicy(narrow, live),
    find(asked) {
      const found = findAsked({ routes }, asked)
      return found.outcome === 'refused' ? found : { outcome: 'found', app: found.route.policy, request: found.request }
    },
  }
}

function folderOf({ dataDir }: Pick<InstanceConfiguration, 'dataDir'>): string {
  return join(dataDir, 'audit')
}

function schemeOf({ url }: Pick<InstanceConfiguration, 'url'>): 'https' | 'http' {
  return url.protocol === 'https:' ? 'https' : 'http'
}
