/**
 * From the revisions in the store to the current snapshot, on every instance: what `policy-source.ts` is for files.
 *
 * The head is read at start, whenever the stream tells of a revision, after a gap, and every few seconds anyway. A revision is written to
 * this instance's disk, judged as its own policy would be, compiled beside the current one, and takes its place when it is whole; what cannot
 * be judged good leaves what is in force there and is said. What was seen is mirrored (`policy-mirror.ts`). A store that knows less than the
 * mirror has lost its history: then nothing is taken from it, and nothing put into it, until an administrator decides. Only a store that
 * never had a policy, for an instance that never saw one, is given the seed.
 */

import { type AcceptedLosses, judgeHistory } from './administration/policy-adoption.ts'
import type { Bundle } from './administration/policy-bundle.ts'
import type { PolicyInForce, PolicyRevisions, Revision, RevisionFacts } from './administration/policy-history.ts'
import type { Snapshot } from './enforcement/ports.ts'
import type { RecordingDefaults } from './enforcement/route-table.ts'
import { isPosternError, PosternError } from './errors.ts'
import type { Live } from './live/live.ts'
import { describeDifferenceInSteps } from './policy/difference.ts'
import type { PolicyDocument } from './policy/document.ts'
import type { JudgedPolicy } from './policy-loading.ts'
import { lastInForce, type MirroredHistory, mostMirrored, type PolicyMirror } from './policy-mirror.ts'
import { compileSnapshot, takeStepsInTurn } from './policy-snapshot.ts'
import { logWarnings, type PolicySource, type PolicySourceOptions, summarise } from './policy-source.ts'

export interface ManagedSourceOptions extends Pick<PolicySourceOptions, 'describe' | 'log' | 'onReload'> {
  readonly revisions: PolicyRevisions
  readonly losses: Pick<AcceptedLosses, 'count'>
  readonly mirror: PolicyMirror
  /** Judges the files of a revision, in their folder. Must not keep requests waiting. */
  readonly judge: (folder: string, bundle: Bundle) => Promise<JudgedPolicy>
  /** Publishes the first revision; called where there was none, for nobody. Rejects with the report of what is wrong with the seed. */
  readonly seed: () => Promise<void>
  readonly live: Pick<Live, 'listen'>
  readonly recording?: RecordingDefaults | undefined
  /** Milliseconds between two looks at the head that nobody asked for. */
  readonly lookEveryMs: number
}

/** A source that can also say why this instance should get no requests. */
export interface ManagedPolicySource extends PolicySource {
  /** The sentence; `undefined` while store and instance agree on what was published. */
  findLoss(): string | undefined
}

/** A revision that is in force or may be, with everything that takes effect. */
interface Loaded {
  readonly facts: RevisionFacts
  readonly bundle: Bundle
  readonly document: PolicyDocument
  readonly snapshot: Snapshot
}

interface Refused {
  readonly count: number
  readonly why: readonly string[]
  /** Whether judging it again would say the same. */
  readonly isLasting: boolean
}

/** How often the store is asked again at a start that has nothing else to go on. */
const startTries = 20
const startPauseMs = 500

/** Puts the head in force, or what is known of it, and follows until `close`. Rejects where nothing can be in force. */
export async function openManagedPolicySource(options: ManagedSourceOptions): Promise<ManagedPolicySource> {
  const { live, log, losses, mirror, onReload, revisions } = options
  let known: MirroredHistory | undefined = await mirror.load()
  /** Whether what is known is on the disk as well. */
  let isKept = true
  /** Whether those before the head are, too; a start looks. */
  let isFilled = true
  let inForce: Loaded | undefined
  let failure: Refused | undefined
  /** Of the revision that `failure` speaks of. */
  let failedHash: string | undefined
  let loss: string | undefined
  let isClosed = false

  /** Judges and compiles. Without a document: why not. */
  async function prepare({ bundle, ...facts }: Revision): Promise<Loaded | Refused> {
    let judged: JudgedPolicy
    let folder: string
    try {
      folder = await mirror.materialise(bundle)
      judged = await options.judge(folder, bundle)
    } catch (cause) {
      return { count: 1, why: [cause instanceof Error ? cause.message : String(cause)], isLasting: false }
    }
    // Where revisions lie on this machine is nothing for a page.
    const say = (what: string) => what.replaceAll(`${folder}/`, '').replaceAll(folder, 'the policy')
    if (judged.value === undefined || judged.problems.length > 0) {
      const why = judged.problems.map((problem) => say(options.describe(problem)))
      return { count: judged.problems.length, why, isLasting: true }
    }
    if (judged.objections.length > 0) return { count: judged.objections.length, why: judged.objections.map(say), isLasting: true }
    logWarnings(judged.warnings, { log, describe: (warning) => say(options.describe(warning)) })
    return { facts, bundle, document: judged.value, snapshot: await takeStepsInTurn(compileSnapshot(judged.value, options.recording)) }
  }

  async function remember(head: RevisionFacts, isInForce: boolean): Promise<void> {
    // Never less than was seen: a count that is taken away and put back would be a loss that is accepted once more.
    const acceptance = Math.max(await losses.count(), known?.acceptance ?? 0)
    const isNew = known === undefined || known.acceptance < acceptance
    // A history that was accepted as lost is another one.
    const older = isNew ? [] : (known?.revisions.filter(({ number }) => number < head.number) ?? [])
    const { inForce: number, standing } = isInForce ? { inForce: head.number } : keepStanding(isNew)
    known = { revisions: [head, ...older], inForce: number, acceptance, ...(standing === undefined ? {} : { standing }) }
    isKept = false
    known = await mirror.keep(known)
    isKept = true
  }

  /** What is in force stays known while nothing of another history took its place: it is what a restart begins with. */
  function keepStanding(isNew: boolean): Pick<MirroredHistory, 'inForce' | 'standing'> {
    if (known === undefined) return { inForce: 0 }
    const before = isNew ? (inForce?.facts ?? lastInForce(known)) : known.standing
    return before === undefined ? { inForce: isNew ? 0 : known.inForce } : { inForce: 0, standing: before }
  }

  /** Revisions that came while nobody looked, and those from before this instance, so that the mirror can give them all back. */
  async function fillGaps(): Promise<void> {
    const before = known
    const [head] = before?.revisions ?? []
    if (before === undefined || head === undefined) return
    isFilled = false
    const have = new Map(before.revisions.map((facts) => [facts.number, facts]))
    const listed = await revisions.list({ below: head.number + 1, limit: mostMirrored })
    for (const facts of listed) {
      if (isClosed) return
      if (have.get(facts.number)?.hash === facts.hash && (await mirror.loadBundle(facts)) !== undefined) continue
      const revision = await revisions.load(facts.number)
      if (revision === undefined || revision.hash !== facts.hash) return
      await mirror.materialise(revision.bundle)
    }
    // Something was published meanwhile: its own look will fill what is missing.
    if (known === before && !isClosed) {
      const standing = before.revisions.filter(({ number }) => number === before.inForce && listed.every((one) => one.number !== number))
      known = await mirror.keep({ ...before, revisions: [...listed, ...standing] })
      isFilled = true
    }
  }

  /** What is kept only against a loss must not keep a policy from being in force. */
  async function mirrorQuietly(work: () => Promise<void>): Promise<void> {
    if (isClosed) return
    try {
      await work()
    } catch (error) {
      if (!isClosed) log.warn({ err: error }, 'the revisions of the policy are not all mirrored on this machine; trying again')
    }
  }

  async function takeHead(head: RevisionFacts): Promise<boolean> {
    const revision = await revisions.load(head.number)
    // Another one by now; it will be told of, or looked at.
    if (revision === undefined || revision.hash !== head.hash) return false
    const { bundle: _, ...facts } = revision
    const prepared = await prepare(revision)
    if (isClosed) return false
    if ('why' in prepared) {
      refuse(facts, prepared)
      await mirrorQuietly(() => remember(facts, false))
      return false
    }
    await swap(prepared)
    isFilled = false
    await mirrorQuietly(async () => {
      await remember(facts, true)
      await fillGaps()
    })
    return true
  }

  async function swap(next: Loaded): Promise<void> {
    const before = inForce
    failure = undefined
    failedHash = undefined
    if (before === undefined) {
      inForce = next
      return
    }
    const difference = await takeStepsInTurn(describeDifferenceInSteps(before.document, next.document))
    if (isClosed) return
    inForce = next
    log.info({ policy: next.snapshot.version, revision: next.facts.number, apps: next.snapshot.policy.apps.size }, 'policy loaded')
    onReload('loaded', next.snapshot, 0, { from: before.snapshot.version, author: next.facts.published.by, difference })
  }

  function refuse(head: RevisionFacts, { count, isLasting, why }: Refused): void {
    const isNews = failedHash !== head.hash
    failure = { count, why: [`revision ${head.number} is not in force on this instance: ${summarise(why)}`], isLasting }
    failedHash = head.hash
    if (inForce === undefined || !isNews) return
    const { snapshot } = inForce
    log.error(
      { policy: snapshot.version, revision: head.number, problems: why.slice(0, 50) },
      'the published revision was refused; the previous one stays in force',
    )
    onReload('refused', snapshot, count, { from: snapshot.version, author: head.published.by, difference: undefined })
  }

  function sayLoss(why: string | undefined): void {
    if (why !== undefined && why !== loss)
      log.error({ store: why }, 'the store has lost revisions of the policy; what is in force stays, and `postern store adopt` decides')
    if (why === undefined && loss !== undefined) log.info('the store and this instance agree on the policy again')
    loss = why
  }

  async function look(isReload: boolean): Promise<boolean> {
    const head = await revisions.head()
    const [newest] = known?.revisions ?? []
    const verdict =
      known === undefined || newest === undefined
        ? undefined
        : await judgeHistory({ newest, acceptance: known.acceptance }, head, { losses, revisions })
    if (verdict?.state === 'lost') {
      sayLoss(verdict.why)
      return false
    }
    sayLoss(undefined)
    if (head === undefined) {
      await options.seed()
      const seeded = await revisions.head()
      return seeded !== undefined && (await takeHead(seeded))
    }
    if (head.hash === inForce?.facts.hash && head.number === inForce.facts.number) {
      failure = undefined
      failedHash = undefined
      // A loss that was accepted counts once, also for who had lost nothing.
      if (!isKept || verdict?.state !== 'same' || (await losses.count()) > (known?.acceptance ?? 0))
        await mirrorQuietly(() => remember(head, true))
      if (isKept && !isFilled) await mirrorQuietly(fillGaps)
      return true
    }
    if (!isReload && failedHash === head.hash && failure?.isLasting === true) {
      if (!isKept) await mirrorQuietly(() => remember(head, false))
      return false
    }
    return await takeHead(head)
  }

  /** Revisions without a head, or a head without its files, are a loss as well, and no reason to forget what is known. */
  async function lookOrLose(isReload: boolean): Promise<boolean> {
    try {
      return await look(isReload)
    } catch (error) {
      if (!isPosternError(error) || error.code !== 'record_unreadable' || known === undefined) throw error
      sayLoss(error.message)
      return false
    }
  }

  let looking: Promise<boolean> | undefined
  let isAskedAgain = false
  let isReloadAsked = false
  /** One look at a time. Who asks while one is under way hears of the next, which sees what came meanwhile, and judges again if one of them wants it. */
  function lookNow(isReload = false): Promise<boolean> {
    isReloadAsked ||= isReload
    if (looking !== undefined) isAskedAgain = true
    looking ??= (async () => {
      try {
        for (;;) {
          isAskedAgain = false
          const isForReload = isReloadAsked
          isReloadAsked = false
          const isInForce = await lookOrLose(isForReload)
          if (!isAskedAgain || isClosed) return isInForce
        }
      } finally {
        looking = undefined
        isReloadAsked = false
      }
    })()
    return looking
  }

  async function lookQuietly(): Promise<void> {
    try {
      await lookNow()
    } catch (error) {
      if (isClosed) return
      // A store that is away is said where it is used; nothing is less in force for it.
      if (isPosternError(error) && error.code === 'session_store_unavailable') return
      log.error({ err: error }, 'the published policy could not be looked at; what is in force stays')
    }
  }

  await begin()
  const first = inForce
  if (first === undefined) throw new PosternError('configuration_invalid', failure?.why[0] ?? loss ?? 'no policy is published')
  const current = () => inForce ?? first

  let timer: NodeJS.Timeout | undefined
  function lookLater(): void {
    if (isClosed) return
    timer = setTimeout(() => void lookQuietly().then(lookLater), options.lookEveryMs).unref()
  }
  lookLater()
  const stopListening = live.listen((event) => {
    if (event.kind === 'policy_revision' || event.kind === 'regained') void lookQuietly()
  })
  // What was published between the first look and the listening.
  void lookQuietly()

  /** From the store; where that cannot be asked, or has lost its history, from what is known here. */
  async function begin(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        const isInForce = await lookNow()
        // It had moved on while it was read.
        if (isInForce || failure !== undefined || loss !== undefined || tries >= startTries) break
      } catch (error) {
        const isAway = isPosternError(error) && error.code === 'session_store_unavailable'
        if (!isAway) throw error
        if (known !== undefined) {
          log.warn({ err: error }, 'the store does not answer: the policy begins as it was last in force here')
          break
        }
        if (tries >= startTries) throw error
        await new Promise((resolve) => setTimeout(resolve, startPauseMs))
      }
    }
    if (inForce === undefined) await beginWithMirror()
  }

  async function beginWithMirror(): Promise<void> {
    const facts = known === undefined ? undefined : lastInForce(known)
    const bundle = facts === undefined ? undefined : await mirror.loadBundle(facts)
    if (facts === undefined || bundle === undefined) return
    const prepared = await prepare({ ...facts, bundle })
    if ('why' in prepared) failure ??= { ...prepared, why: [`revision ${facts.number}: ${prepared.why.join('\n')}`] }
    else {
      inForce = prepared
      log.warn({ policy: prepared.snapshot.version, revision: facts.number }, 'the policy is in force as this machine remembers it')
    }
  }

  return {
    current: () => current().snapshot,
    document: () => current().document,
    reload: () => lookNow(true),
    failure: () => failure?.count,
    inForce: (): PolicyInForce => {
      const { bundle, facts, snapshot } = current()
      return { mode: 'managed', policyVersion: snapshot.version, revision: facts, bundle, failure: loss ?? failure?.why[0] }
    },
    findLoss: () => (loss === undefined ? undefined : `${loss}; \`postern store adopt\` puts it back, or accepts the store as it is`),
    firstAuthor: first.facts.published.by,
    close() {
      isClosed = true
      stopListening()
      clearTimeout(timer)
      return looking?.then(
        () => undefined,
        () => undefined,
      )
    },
  }
}
