/**
 * What if: a request under given circumstances, or one that is on record, decided by the policy in force and by a draft beside it.
 *
 * The very `decide` that enforces is asked, on the way that a request takes through host, prefix and spelling of its path. Of a recorded request
 * the policy in force explains what it always explains (`decision-explanation.ts`), and the draft decides as a replay would
 * (`replay.ts`): where the record does not suffice, nothing is decided. Nothing is changed.
 */

import { isIP } from 'node:net'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { Lock } from '../live/lock.ts'
import type { CompiledApp } from '../policy/compile.ts'
import { type Reason, reasons } from '../policy/decision.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { type Explanation, explainDecision } from '../policy/explain.ts'
import type { Device, Facts, RequestFacts } from '../policy/facts.ts'
import type { People } from '../session/people.ts'
import { explainRecorded, explanationGapWords, type PolicyInForce } from './decision-explanation.ts'
import type { Devices } from './devices.ts'
import { factsOf, type Given, type GivenSignIn, type GivenSubject } from './given.ts'
import { parseRef } from './person-ref.ts'
import type { PolicyDrafts } from './policy-history.ts'
import type { JudgeBundle } from './policy-trial.ts'
import type { RecordedDecision } from './recorded-decision.ts'
import { gapWords } from './recorded-gaps.ts'
import { type ReplayPolicy, replayDecision } from './replay.ts'
import type { SilentInstance, TrailDesk } from './trail-desk.ts'
import { compareVerdicts } from './what-if-difference.ts'
import { findGivenDevice, findGivenLock, findGivenPerson, readGivenSignIn } from './what-if-known.ts'

/** Everything but who, what and where. */
export interface WhatIfCircumstances {
  /** Epoch milliseconds. */
  readonly at: number
  readonly groups: readonly string[] | undefined
  readonly acr: string | undefined
  readonly amr: readonly string[] | undefined
  /** Such as `10m`. */
  readonly signedInAgo: string | undefined
  /** Id in the inventory. */
  readonly device: string | undefined
  readonly address: string | undefined
  readonly country: string | undefined
  readonly userAgent: string | undefined
}

/** A request that nobody sent, as far as it says where it goes. */
export interface WhatIfRequest {
  readonly method: string
  readonly isUpgrade: boolean
  readonly url: URL
}

export type WhatIfQuestion =
  | ({ readonly kind: 'given'; readonly who: string; readonly circumstances: WhatIfCircumstances } & WhatIfRequest)
  | { readonly kind: 'recorded'; readonly request: string }

/** What one policy says. */
export interface WhatIfVerdict {
  readonly version: string
  /** Id of the app that would answer. */
  readonly app: string | undefined
  readonly effect: 'allow' | 'challenge' | 'deny' | undefined
  readonly reason: Reason | undefined
  readonly rule: string | undefined
  readonly explanation: Explanation | undefined
  /** Why it cannot be told, in words. */
  readonly gap: string | undefined
}

export interface WhatIfAnswer {
  readonly at: number
  readonly notes: readonly string[]
  readonly recorded:
    | (Pick<RecordedDecision, 'request' | 'effect' | 'reason' | 'rule' | 'policy' | 'at'> & { readonly instance: string })
    | undefined
  readonly inForce: WhatIfVerdict
  readonly draft: { readonly id: string; readonly hash: string; readonly verdict: WhatIfVerdict } | undefined
  /** What the draft says otherwise, in sentences. */
  readonly differs: readonly string[]
  readonly facts: Facts | undefined
  readonly silent: readonly SilentInstance[]
}

export type WhatIfOutcome =
  | { readonly outcome: 'answered'; readonly answer: WhatIfAnswer }
  /** `field`: of the operation's input. */
  | { readonly outcome: 'malformed'; readonly field: string; readonly message: string }
  | { readonly outcome: 'not_found' | 'policy_refused'; readonly message: string }

/** Asks. `by` is the actor. Whoever calls has seen to it that this may be asked, and that it is on record. */
export type WhatIf = (question: WhatIfQuestion, draft: string | undefined, by: string) => Promise<WhatIfOutcome>

/** A policy as it is asked about one host. */
export interface WhatIfPolicy {
  readonly version: string
  readonly find: (
    asked: WhatIfRequest,
  ) =>
    | { readonly outcome: 'found'; readonly app: CompiledApp; readonly request: RequestFacts }
    | { readonly outcome: 'refused'; readonly reason: Reason }
  readonly replay: ReplayPolicy
}

export interface WhatIfParts {
  readonly inForce: () => PolicyInForce
  readonly drafts: Pick<PolicyDrafts, 'load'>
  readonly judge: JudgeBundle
  /** Compiles what concerns a host: of a thousand apps that is a thousandth of the work. */
  readonly compileFor: (document: PolicyDocument, hostname: string) => WhatIfPolicy
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  readonly devices: Pick<Devices, 'find'>
  readonly loadLocks: () => Promise<readonly Lock[]>
  readonly readSubject: SubjectReader
  readonly readEnvironment: EnvironmentReader
  readonly desk: Pick<TrailDesk, 'findDecision'>
  /** About when a request was, if the recent window has it. */
  readonly findWhen: (request: string) => Promise<number | undefined>
  /** Of `provider:`. */
  readonly issuer: string
  /** Of the public URL. */
  readonly scheme: 'https' | 'http'
}

/** A draft that can be asked. */
interface AskedDraft {
  readonly id: string
  readonly hash: string
  readonly document: PolicyDocument
}

type Problem = Exclude<WhatIfOutcome, { readonly outcome: 'answered' }>

const malformed = (field: string, message: string): Problem => ({ outcome: 'malformed', field, message })

/** The simulator. Holds nothing. */
export function createWhatIf(parts: WhatIfParts): WhatIf {
  const { compileFor, inForce, scheme } = parts

  async function loadDraft(id: string): Promise<AskedDraft | Problem> {
    const draft = await parts.drafts.load(id)
    if (draft === undefined) return { outcome: 'not_found', message: 'there is no such draft' }
    const { document } = await parts.judge(draft.bundle)
    if (document === undefined) return { outcome: 'policy_refused', message: 'the draft has problems: mend them first' }
    return { id, hash: draft.hash, document }
  }

  async function askGiven(question: Extract<WhatIfQuestion, { kind: 'given' }>, draft: AskedDraft | undefined): Promise<WhatIfOutcome> {
    const { circumstances, who } = question
    const { address = '192.0.2.1', amr = [], at, country, device: deviceId, groups = [], userAgent } = circumstances
    if (isIP(address) === 0) return malformed('address', 'this is no IP address')
    if (country !== undefined && !/^(?:[A-Z]{2}|none)$/.test(country)) return malformed('country', 'write a code such as DE, or none')
    const signIn = readGivenSignIn({ acr: circumstances.acr, amr, signedInAgo: circumstances.signedInAgo })
    if (signIn === 'not_an_age') return malformed('signed_in_ago', 'write an age such as 10m')

    const notes: string[] = []
    const isPerson = who !== 'nobody' && !who.startsWith('service:')
    const lookup = { ...parts, at, groups, words: { given: 'as given', how: 'say' }, notes }
    const person = isPerson ? await findGivenPerson(parseRef(who) ?? who, lookup) : undefined
    if (typeof person === 'string') return malformed('who', person)
    const device = isPerson && deviceId !== undefined ? await findGivenDevice(deviceId, parts.devices, notes) : undefined
    const locks = await parts.loadLocks()
    const given = { signIn, at, address, country, asn: undefined, userAgent, device }

    const live = inForce().document
    const ask = (document: PolicyDocument, told: string[]) => {
      const subject = person ?? subjectOf(who, document)
      return judge(compileFor(document, question.url.hostname), { question, subject, given, locks, notes: told })
    }
    if (!isPerson && [live, draft?.document].every((one) => one === undefined || subjectOf(who, one) === undefined))
      return malformed('who', `the policy has no ${who}`)
    const now = ask(live, notes)
    // What is said of locks is said once.
    const then = draft === undefined ? undefined : ask(draft.document, [])
    return answered({ at, notes, recorded: undefined, facts: now.facts ?? then?.facts, silent: [] }, now.verdict, then?.verdict, draft)
  }

  interface Asked {
    readonly question: WhatIfRequest
    /** `undefined`: this policy does not have this service. */
    readonly subject: GivenSubject | undefined
    readonly given: Omit<Given, 'subject' | 'signIn'> & { readonly signIn: GivenSignIn | undefined; readonly device: Device | undefined }
    readonly locks: readonly Lock[]
    readonly notes: string[]
  }

  function judge(
    policy: WhatIfPolicy,
    { given, locks, notes, question, subject }: Asked,
  ): { verdict: WhatIfVerdict; facts: Facts | undefined } {
    const found = policy.find(question)
    if (found.outcome === 'refused') return { verdict: refusedBy(policy, found.reason), facts: undefined }
    const { app, request } = found
    if (subject === undefined) return { verdict: { ...refusedBy(policy, 'invalid_token'), app: app.id }, facts: undefined }
    const bare = factsOf({ ...given, subject }, request, parts.readEnvironment, scheme)
    const { device } = given
    const lockedDevice = device?.isKnown === true || device?.isBlocked === true ? device.id : undefined
    const question_ = { subject: bare.subject, deviceId: lockedDevice, appId: app.id }
    const facts = { ...bare, lock: findGivenLock(locks, question_, given.at, notes) }
    const explanation = explainDecision(app, facts)
    return { verdict: verdictOf(policy, app.id, explanation), facts }
  }

  async function askRecorded(request: string, draft: AskedDraft | undefined, by: string): Promise<WhatIfOutcome> {
    const near = await parts.findWhen(request)
    const asked = await parts.desk.findDecision(request, { near, by })
    const { found, silent } = asked.found === undefined && near !== undefined ? await parts.desk.findDecision(request, { by }) : asked
    if (found === undefined) {
      const named = silent.map(({ instance, why }) => `${instance} (${why})`).join(', ')
      return {
        outcome: 'not_found',
        message: `no trail has a decision about this request${named === '' ? '' : `; without an answer: ${named}`}`,
      }
    }
    const { explanation, facts, gap, notes, policyNow, recorded } = explainRecorded(found, inForce(), scheme)
    const now: WhatIfVerdict =
      explanation === undefined
        ? { ...nothingTold(policyNow, explanationGapWords[gap ?? 'no_facts']), app: recorded.appId }
        : { ...verdictOf({ version: policyNow }, recorded.appId, explanation) }
    const then = draft === undefined ? undefined : replay(compileFor(draft.document, recorded.host), recorded)
    const { at, effect, policy, reason, rule } = recorded
    const head = { at, notes, facts, silent, recorded: { request, instance: found.instance, effect, reason, rule, policy, at } }
    return answered(head, now, then, draft)
  }

  return async (question, draftId, by) => {
    const draft = draftId === undefined ? undefined : await loadDraft(draftId)
    if (draft !== undefined && 'outcome' in draft) return draft
    return question.kind === 'given' ? await askGiven(question, draft) : await askRecorded(question.request, draft, by)
  }
}

function answered(
  head: Omit<WhatIfAnswer, 'inForce' | 'draft' | 'differs'>,
  inForce: WhatIfVerdict,
  verdict: WhatIfVerdict | undefined,
  draft: AskedDraft | undefined,
): WhatIfOutcome {
  const asked = verdict === undefined || draft === undefined ? undefined : { id: draft.id, hash: draft.hash, verdict }
  return {
    outcome: 'answered',
    answer: { ...head, inForce, draft: asked, differs: verdict === undefined ? [] : compareVerdicts(inForce, verdict) },
  }
}

function subjectOf(who: string, { services }: PolicyDocument): GivenSubject | undefined {
  if (who === 'nobody') return { kind: 'nobody' }
  const service = services.find(({ name }) => name === who.slice('service:'.length))
  return service === undefined ? undefined : { kind: 'service', service, services }
}

function replay({ replay: policy, version }: WhatIfPolicy, recorded: RecordedDecision): WhatIfVerdict {
  const replayed = replayDecision(recorded, policy)
  switch (replayed.outcome) {
    case 'not_policy':
      return nothingTold(version, `it was settled outside of the rules: ${recorded.reason}`)
    case 'stranger':
      return nothingTold(version, 'of a stranger no facts are recorded')
    case 'insufficient':
      return nothingTold(version, `it cannot be decided again: ${gapWords[replayed.gap]}`)
    case 'decided': {
      const { app, effect, reason, rule } = replayed
      const { evidence } = recorded
      const route = typeof evidence === 'string' ? undefined : policy.find(recorded.host, evidence.facts.request.path, evidence.isPathWhole)
      const isFound = route !== undefined && route !== 'unclear' && typeof evidence !== 'string'
      const explanation = isFound && reason !== 'bad_request' ? explainDecision(route.app, evidence.facts) : undefined
      return {
        version,
        app,
        effect,
        reason: Object.hasOwn(reasons, reason) ? (reason as Reason) : undefined,
        rule,
        explanation,
        gap: undefined,
      }
    }
  }
}

function nothingTold(version: string, gap: string): WhatIfVerdict {
  return { version, app: undefined, effect: undefined, reason: undefined, rule: undefined, explanation: undefined, gap }
}

function refusedBy({ version }: Pick<WhatIfPolicy, 'version'>, reason: Reason): WhatIfVerdict {
  return { version, app: undefined, effect: 'deny', reason, rule: undefined, explanation: undefined, gap: undefined }
}

function verdictOf({ version }: Pick<WhatIfPolicy, 'version'>, app: string | undefined, explanation: Explanation): WhatIfVerdict {
  const { decision } = explanation
  const rule = 'rule' in decision && decision.rule !== '' ? decision.rule : undefined
  return { version, app, effect: decision.effect, reason: decision.reason, rule, explanation, gap: undefined }
}
