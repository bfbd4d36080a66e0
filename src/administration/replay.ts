/**
 * Replay: a recorded request decided again under another policy, as of its own time and on its own facts.
 *
 * The very `decide` that enforces is asked. What was never a question for rules (a malformed request, another site's, a store that was away)
 * is counted apart, and what the record does not suffice for is counted with why and not decided. What is outside of the rules and changes
 * with a document all the same, such as limits of a session or who may call whom, is not replayed: see `docs/replay.md`.
 */

import type { AskedFacts } from '../policy/asked-facts.ts'
import type { CompiledApp } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import type { Evidence, RecordedDecision } from './recorded-decision.ts'
import { findGap, type Gap, gapOfLack } from './recorded-gaps.ts'
import { countIn, type Direction, noteChange, noteSeen, type ReplayTally } from './replay-tally.ts'

/** An app as requests reach it under the policy that is tried. */
export interface ReplayRoute {
  readonly app: CompiledApp
  readonly asked: AskedFacts
  /** Whether the app takes paths that are spelled like this one. */
  readonly accepts: (path: string) => boolean
  /** Whether a token in `Authorization` is ours there. */
  readonly takesBearer: (path: string) => boolean
}

/** The policy that is tried. */
export interface ReplayPolicy {
  readonly version: string
  /** The app of this address; `undefined`: nobody's. `unclear`: several share the host, and the path that would tell is not whole. */
  readonly find: (host: string, path: string, isPathWhole: boolean) => ReplayRoute | 'unclear' | undefined
  readonly services: ReplayServices
}

/** What is known of services, whose tokens are not recorded. */
export interface ReplayServices {
  /** Of this policy's services of an issuer; as `SubjectFacts` has it. */
  readonly fingerprint: (issuer: string) => string
  /** Whose tokens may be a service at all. */
  readonly issuers: ReadonlySet<string>
  /** Of the policy in force. */
  readonly liveVersion: string
  /** Names that are defined as in the policy in force, and those that are not. */
  readonly kept: ReadonlySet<string>
  readonly changed: readonly { readonly name: string; readonly issuer: string }[]
}

type Effect = 'allow' | 'challenge' | 'deny'

/** What becomes of a recorded request. */
export type Replayed =
  | { readonly outcome: 'not_policy' }
  | { readonly outcome: 'stranger' }
  | { readonly outcome: 'insufficient'; readonly gap: Gap }
  | {
      readonly outcome: 'decided'
      /** `undefined` where no app has the address any more. */
      readonly app: string | undefined
      readonly effect: Effect
      readonly reason: string
      readonly rule: string | undefined
    }

/** The reasons of decisions that rules, and locks before them, made. */
const policyReasons: ReadonlySet<string> = new Set([
  'rule_matched',
  'public',
  'report_mode',
  'login_required',
  'insufficient_user_authentication',
  'no_rule_matched',
  'denied_by_rule',
  'locked',
])

/** Whether it was rules that decided, or would have been asked. */
export function isPolicyReason(reason: string): boolean {
  return policyReasons.has(reason)
}

/** Decides one recorded request. Never throws. */
export function replayDecision(recorded: RecordedDecision, policy: ReplayPolicy): Replayed {
  if (!isPolicyReason(recorded.reason) || !isEffect(recorded.effect)) return { outcome: 'not_policy' }
  const { evidence } = recorded
  if (typeof evidence === 'string') {
    if (evidence === 'none' && recorded.subject.kind === 'nobody') return { outcome: 'stranger' }
    return { outcome: 'insufficient', gap: gapOfLack(evidence) }
  }
  const { path } = evidence.facts.request
  const route = policy.find(recorded.host, path, evidence.isPathWhole)
  if (route === 'unclear') return { outcome: 'insufficient', gap: 'path_incomplete' }
  if (route === undefined) return { outcome: 'decided', app: undefined, effect: 'deny', reason: 'app_not_found', rule: undefined }
  if (evidence.isPathWhole && !route.accepts(path)) {
    return { outcome: 'decided', app: route.app.id, effect: 'deny', reason: 'bad_request', rule: undefined }
  }
  const gap = findGap(evidence, route.asked)
  if (gap !== undefined) return { outcome: 'insufficient', gap }
  if (evidence.facts.subject.kind === 'service') return replayService(recorded, evidence, route, policy.services)
  return { outcome: 'decided', app: route.app.id, ...decideFor(route.app, evidence.facts) }
}

/** As the flow does: who has no browser is not asked to sign in. */
function decideFor(
  app: CompiledApp,
  facts: Facts,
): { readonly effect: Effect; readonly reason: string; readonly rule: string | undefined } {
  const decision = decide(app, facts)
  if (facts.subject.kind === 'service' && decision.effect === 'challenge')
    return { effect: 'deny', reason: 'no_rule_matched', rule: undefined }
  return { effect: decision.effect, reason: decision.reason, rule: 'rule' in decision ? decision.rule : undefined }
}

const nobody: SubjectFacts = { kind: 'nobody' }

/** The token is not recorded: whether it would be taken, and which services it would be, has to be certain before anything is decided. */
function replayService(
  { policy }: RecordedDecision,
  { facts, isPathWhole }: Evidence,
  { app, asked, takesBearer }: ReplayRoute,
  services: ReplayServices,
): Replayed {
  const standing = judgeToken(facts.subject, { asked, services, isOfLive: policy === services.liveVersion })
  if (standing === 'unclear') return { outcome: 'insufficient', gap: 'service_changed' }
  const decision = standing === 'refused' ? ({ effect: 'deny', reason: 'invalid_token', rule: undefined } as const) : decideFor(app, facts)
  if (!isPathWhole || !takesBearer(facts.request.path)) {
    // In `Postern-Authorization` it would still count; in `Authorization` it would be the app's own, and the request a stranger's.
    const isStrangerAllowed = decide(app, { ...facts, subject: nobody }).effect === 'allow'
    if ((decision.effect === 'allow') !== isStrangerAllowed) return { outcome: 'insufficient', gap: 'token_unclear' }
  }
  return { outcome: 'decided', app: app.id, ...decision }
}

interface TokenQuestion {
  readonly asked: AskedFacts
  readonly services: ReplayServices
  /** Decided under the policy in force, so that what it is compared with is what was in force then. */
  readonly isOfLive: boolean
}

/**
 * What a token would be: `same`, as far as any rule looks at it; `refused`, no service at all; `unclear`, perhaps one that is defined otherwise.
 * A token that is no service any more is let in nowhere, not even where no rule asks which service it is.
 */
function judgeToken(subject: SubjectFacts, { asked, isOfLive, services }: TokenQuestion): 'same' | 'refused' | 'unclear' {
  if (subject.kind !== 'service') return 'unclear'
  const { definitions, issuer, names } = subject
  if (definitions === services.fingerprint(issuer)) return 'same'
  if (!services.issuers.has(issuer)) return 'refused'
  // Nothing is known of the definitions that there were then.
  if (!isOfLive) return 'unclear'
  const isLookedAt = (name: string) => asked.services.has(name) || asked.facts.has('services')
  const changed = services.changed.filter((one) => one.issuer === issuer || names.includes(one.name))
  if (changed.some(({ name }) => isLookedAt(name))) return 'unclear'
  if (!names.some((name) => services.kept.has(name))) return changed.length > 0 ? 'unclear' : 'refused'
  return names.every((name) => services.kept.has(name) || !isLookedAt(name)) ? 'same' : 'unclear'
}

/** Decides one recorded request and counts what became of it. */
export function replayInto(tally: ReplayTally, recorded: RecordedDecision, policy: ReplayPolicy): void {
  noteSeen(tally, recorded.at, recorded.policy)
  const replayed = replayDecision(recorded, policy)
  switch (replayed.outcome) {
    case 'not_policy':
      countIn(tally.notPolicy, recorded.reason)
      return
    case 'stranger':
      tally.strangers += 1
      return
    case 'insufficient':
      countIn(tally.insufficient, replayed.gap)
      return
    case 'decided': {
      const { effect: becomes, reason, rule } = replayed
      const was = recorded.effect as Effect
      tally.decided += 1
      const direction = directionOf(was, becomes)
      if (direction === undefined) {
        tally.unchanged += 1
        return
      }
      const { at, request, subject } = recorded
      const app = replayed.app ?? recorded.appId ?? recorded.host
      noteChange(tally, { direction, subject, app, rule, reason, becomes, was, ruleBefore: recorded.rule, request, at })
    }
  }
}

function directionOf(was: Effect, becomes: Effect): Direction | undefined {
  if (was === becomes) return undefined
  if (was === 'allow') return 'lost'
  return becomes === 'allow' ? 'gained' : 'shifted'
}

function isEffect(effect: string): effect is Effect {
  return effect === 'allow' || effect === 'challenge' || effect === 'deny'
}
