/**
 * Conditions, whole: levels, `all_of`, `any_of`, `not` and `subject` over the leaves, compiled once into closures.
 *
 * A level is compiled once and shared by every rule that names it. It remembers the answer for the facts that it saw last, so that
 * levels which build on each other are judged once a request, however often they are named; facts are never changed, which is what makes
 * remembering right. Judging allocates nothing.
 *
 * *Mended* is the world after the best sign-in there could be: every `sign_in` condition is true in it, wherever it stands, also under
 * a `not`. Only a person can sign in better, so nobody else is ever judged that way.
 */

import { compileClientCondition } from './client-condition.ts'
import type { LeafCondition, TraceInput } from './condition.ts'
import type { Unmet } from './decision.ts'
import { compileDeviceCondition } from './device-condition.ts'
import type { Condition, Level, SignInCondition } from './document.ts'
import { compileExpression } from './expression.ts'
import type { FactGroup, Facts } from './facts.ts'
import { beyondMending, type Mending, mendAll, mendAny, nothingToMend } from './mending.ts'
import { compileNetworkCondition, gatherNetworks } from './network-condition.ts'
import { joinNextChanges, type Timed } from './next-change.ts'
import { and, not, type Outcome, or } from './outcome.ts'
import { compileSignInCondition } from './sign-in-condition.ts'
import { type Steps, takeSteps } from './steps.ts'
import { compileTimeCondition } from './time-condition.ts'
import { nearestUnmet } from './unmet.ts'
import { compileWho } from './who.ts'

/** How a condition is wanted to come out: a `not` and a deny want `false`. */
export type Wanted = 'true' | 'false'

/** A condition of any depth. */
export interface CompiledCondition extends Timed {
  /** `isMended`: with every `sign_in` condition taken for true. For people only. */
  readonly judge: (facts: Facts, isMended?: boolean) => Outcome
  /** What keeps it from coming out as wanted, along the nearest way; empty exactly when it does. */
  readonly findUnmet: (facts: Facts, wanted: Wanted) => readonly Unmet[]
  /** The sign-ins that would make it come out as wanted; none exactly where the mended outcome is another. For people only. */
  readonly findMendings: (facts: Facts, wanted: Wanted) => readonly Mending[]
  /** The whole of it with every input. A level is opened where it is first met; `shown` holds those that were. */
  readonly trace: (facts: Facts, shown?: Set<string>) => ConditionTrace
  readonly needs: readonly FactGroup[]
  /** Levels it rests on, also through others. */
  readonly levels: readonly string[]
}

/** A condition as an explanation shows it. */
export interface ConditionTrace {
  readonly kind: Condition['kind'] | 'methods' | 'paths' | 'dates'
  /** Of a level, its name. */
  readonly name?: string
  readonly outcome: Outcome
  /** What a leaf was judged on. */
  readonly inputs: readonly TraceInput[]
  readonly of: readonly ConditionTrace[]
}

export type CompiledLevels = ReadonlyMap<string, CompiledCondition>

/** Compiles every level of a document, each once. Throws `TypeError` for one that is missing or rests on itself. */
export function compileLevels(levels: readonly Level[]): CompiledLevels {
  return takeSteps(compileLevelsInSteps(levels))
}

/** The same a level at a time. */
export function* compileLevelsInSteps(levels: readonly Level[]): Steps<CompiledLevels> {
  const compiled = new Map<string, CompiledCondition>()
  const written = new Map(levels.map(({ name, condition }) => [name, condition]))
  const open = new Set<string>()
  const find = (name: string): CompiledCondition => {
    const done = compiled.get(name)
    if (done !== undefined) return done
    const condition = written.get(name)
    if (condition === undefined) throw new TypeError(`there is no level ${name}`)
    if (open.has(name)) throw new TypeError(`the level ${name} rests on itself`)
    open.add(name)
    const level = asLevel(name, compileCondition(condition, find))
    compiled.set(name, level)
    return level
  }
  for (const { name, condition } of levels) {
    yield* prepareCondition(condition)
    find(name)
    yield
  }
  return compiled
}

/** Does the part of compiling a condition that may take long. */
export function* prepareCondition(condition: Condition): Steps<void> {
  if (condition.kind === 'network' && condition.cidrs !== undefined) yield* gatherNetworks(condition.cidrs)
  else if (condition.kind === 'not') yield* prepareCondition(condition.of)
  else if (condition.kind === 'all_of' || condition.kind === 'any_of') for (const one of condition.of) yield* prepareCondition(one)
}

/** Compiles one condition; `findLevel` throws for a level that does not exist. */
export function compileCondition(condition: Condition, findLevel: (name: string) => CompiledCondition): CompiledCondition {
  switch (condition.kind) {
    case 'level':
      return findLevel(condition.name)
    case 'all_of':
    case 'any_of':
      return compose(
        condition.kind,
        condition.of.map((one) => compileCondition(one, findLevel)),
      )
    case 'not':
      return negate(compileCondition(condition.of, findLevel))
    case 'subject': {
      const who = compileWho(condition.who, 'condition')
      return fromLeaf('subject', {
        judge: ({ subject }) => who.judge(subject),
        findUnmet: ({ subject }) => {
          const outcome = who.judge(subject)
          return outcome === 'true' ? [] : [{ condition: 'subject', outcome, remedy: who.findRemedy(subject) }]
        },
        trace: ({ subject }) => who.trace(subject),
        needs: [],
      })
    }
    case 'sign_in':
      return fromSignIn(condition)
    case 'device':
      return fromLeaf(condition.kind, compileDeviceCondition(condition))
    case 'network':
      return fromLeaf(condition.kind, compileNetworkCondition(condition))
    case 'time':
      return fromLeaf(condition.kind, compileTimeCondition(condition))
    case 'client':
      return fromLeaf(condition.kind, compileClientCondition(condition))
    case 'expression':
      return fromLeaf(condition.kind, compileExpression(condition.source))
  }
}

/** A leaf, which no sign-in can change. */
export function fromLeaf(kind: ConditionTrace['kind'], leaf: LeafCondition): CompiledCondition {
  return {
    judge: leaf.judge,
    findUnmet: (facts, wanted) => (wanted === 'true' ? leaf.findUnmet(facts) : findUndisproved(leaf, facts)),
    findMendings: (facts, wanted) => (leaf.judge(facts) === wanted ? nothingToMend : beyondMending),
    trace: (facts) => ({ kind, outcome: leaf.judge(facts), inputs: leaf.trace(facts), of: [] }),
    needs: leaf.needs,
    levels: [],
    ...joinNextChanges([leaf]),
  }
}

function fromSignIn(condition: SignInCondition): CompiledCondition {
  const leaf = compileSignInCondition(condition)
  const key = signInKey(condition)
  return {
    ...fromLeaf(condition.kind, leaf),
    judge: (facts, isMended) => (isMended === true ? 'true' : leaf.judge(facts)),
    findMendings: (facts, wanted) =>
      wanted === 'true' ? [{ steps: [{ condition, key, isPending: leaf.judge(facts) !== 'true' }] }] : beyondMending,
  }
}

/** What is wrong is that it holds, which has no remedy of its own; what is unknown might disprove it once it is known. */
function findUndisproved(leaf: LeafCondition, facts: Facts): readonly Unmet[] {
  switch (leaf.judge(facts)) {
    case 'false':
      return []
    case 'true':
      return [{ condition: 'circumstances', outcome: 'false', remedy: 'condition_not_met' }]
    case 'unknown': {
      const missing = leaf.findUnmet(facts).filter(({ outcome }) => outcome === 'unknown')
      return missing.length > 0 ? missing : [{ condition: 'circumstances', outcome: 'unknown', remedy: 'condition_unknown' }]
    }
  }
}

/** An empty list is refused: all of nothing would be true, and a list that asks for nothing must not open anything. */
function compose(kind: 'all_of' | 'any_of', parts: readonly CompiledCondition[]): CompiledCondition {
  if (parts.length === 0) throw new TypeError('a list of conditions must not be empty')
  const isAll = kind === 'all_of'
  const decisive: Outcome = isAll ? 'false' : 'true'
  const join = isAll ? and : or
  /** Whether every part has to come out as wanted, or one is enough. */
  const takesEvery = (wanted: Wanted) => isAll === (wanted === 'true')
  return {
    judge: (facts, isMended) => {
      let outcome: Outcome = isAll ? 'true' : 'false'
      for (const part of parts) {
        outcome = join(outcome, part.judge(facts, isMended))
        if (outcome === decisive) return outcome
      }
      return outcome
    },
    findUnmet: (facts, wanted) => {
      const ways = parts.map((part) => part.findUnmet(facts, wanted))
      return takesEvery(wanted) ? ways.flat() : nearestUnmet(ways)
    },
    findMendings: (facts, wanted) => {
      const ways = parts.map((part) => part.findMendings(facts, wanted))
      return takesEvery(wanted) ? mendAll(ways) : mendAny(ways)
    },
    trace: (facts, shown = new Set()) => {
      const of = parts.map((part) => part.trace(facts, shown))
      return { kind, outcome: of.map(({ outcome }) => outcome).reduce(join), inputs: [], of }
    },
    needs: union(parts.map(({ needs }) => needs)),
    levels: union(parts.map(({ levels }) => levels)),
    ...joinNextChanges(parts),
  }
}

/** The opposite of a condition. */
export function negate(inner: CompiledCondition): CompiledCondition {
  const opposite = (wanted: Wanted): Wanted => (wanted === 'true' ? 'false' : 'true')
  return {
    judge: (facts, isMended) => not(inner.judge(facts, isMended)),
    findUnmet: (facts, wanted) => inner.findUnmet(facts, opposite(wanted)),
    findMendings: (facts, wanted) => inner.findMendings(facts, opposite(wanted)),
    trace: (facts, shown) => {
      const of = inner.trace(facts, shown)
      return { kind: 'not', outcome: not(of.outcome), inputs: [], of: [of] }
    },
    needs: inner.needs,
    levels: inner.levels,
    ...joinNextChanges([inner]),
  }
}

function asLevel(name: string, inner: CompiledCondition): CompiledCondition {
  const judge = rememberLast((facts) => inner.judge(facts))
  const judgeMended = rememberLast((facts) => inner.judge(facts, true))
  const unmet = {
    true: rememberLast((facts) => inner.findUnmet(facts, 'true')),
    false: rememberLast((facts) => inner.findUnmet(facts, 'false')),
  }
  const mendings = {
    true: rememberLast((facts) => inner.findMendings(facts, 'true')),
    false: rememberLast((facts) => inner.findMendings(facts, 'false')),
  }
  return {
    judge: (facts, isMended) => (isMended === true ? judgeMended(facts) : judge(facts)),
    findUnmet: (facts, wanted) => unmet[wanted](facts),
    findMendings: (facts, wanted) => mendings[wanted](facts),
    trace: (facts, shown = new Set()) => {
      const outcome = judge(facts)
      if (shown.has(name)) return { kind: 'level', name, outcome, inputs: [], of: [] }
      shown.add(name)
      return { kind: 'level', name, outcome, inputs: [], of: [inner.trace(facts, shown)] }
    },
    needs: inner.needs,
    levels: union([[name], inner.levels]),
    ...joinNextChanges([inner]),
  }
}

/** One answer is kept, whatever anybody sends. One that could not be found is looked for again. */
function rememberLast<Answer extends object | string>(find: (facts: Facts) => Answer): (facts: Facts) => Answer {
  let asked: Facts | undefined
  let answer: Answer | undefined
  return (facts) => {
    if (answer === undefined || asked !== facts) {
      answer = find(facts)
      asked = facts
    }
    return answer
  }
}

function signInKey({ strength, acr, amr, withinSeconds }: SignInCondition): string {
  return JSON.stringify([strength?.name, acr?.toSorted(), amr?.toSorted(), withinSeconds])
}

function union<Value>(lists: readonly (readonly Value[])[]): readonly Value[] {
  return [...new Set(lists.flat())]
}
