/**
 * `sign_in`: how strongly, and how recently, the person authenticated, as far as the provider said so.
 *
 * A strength is met by any of its `acr` or any of its `amr`, so a provider that states only one of them can still prove it, and one that
 * states neither proves nothing. The age is that of `auth_time` (OpenID Connect Core §2) and of nothing else. Services and nobody have
 * no sign-in: every key is unknown for them.
 */

import type { LeafCondition } from './condition.ts'
import { type ConditionKey, joinKeys } from './condition-keys.ts'
import type { SignInCondition, Strength } from './document.ts'
import type { Facts, Known, SignIn } from './facts.ts'
import { firstAfter } from './next-change.ts'
import { type Outcome, or, outcomeOf } from './outcome.ts'

/** How far the provider's clock may run ahead of ours: such an authentication counts as happening now. */
const toleratedSkewMilliseconds = 60_000

/** Compiles a condition on the sign-in. Throws `TypeError` for a strength that nothing could meet. */
export function compileSignInCondition(condition: SignInCondition): LeafCondition {
  const keys: ConditionKey[] = []
  if (condition.strength !== undefined) keys.push(compileStrength(condition.strength))
  if (condition.acr !== undefined) keys.push(compileAcr(condition.acr))
  if (condition.amr !== undefined) keys.push(compileAmr(condition.amr))
  if (condition.withinSeconds !== undefined) keys.push(compileWithin(condition.withinSeconds))
  return joinKeys('sign_in', keys, [])
}

function compileStrength(strength: Strength): ConditionKey {
  if (strength.acr.length + strength.amr.length === 0) throw new TypeError(`the strength ${strength.name} names neither acr nor amr`)
  const acr = judgeAcr(strength.acr)
  const amr = judgeAmr(strength.amr)
  return {
    judge: (facts) => or(acr(facts), amr(facts)),
    findRemedy: () => ({ remedy: 'sign_in_too_weak', details: { wanted: strength.name } }),
    trace: (facts) => ({
      fact: 'sign_in.strength',
      wanted: [strength.name, ...strength.acr.map((value) => `acr ${value}`), ...strength.amr.map((value) => `amr ${value}`)].join(', '),
      value: describeStrength(facts.signIn),
      source: 'ID Token',
      at: findAuthTime(facts.signIn),
    }),
  }
}

function compileAcr(wanted: readonly string[]): ConditionKey {
  return {
    judge: judgeAcr(wanted),
    findRemedy: () => ({ remedy: 'sign_in_too_weak', details: { wanted: wanted.join(', ') } }),
    trace: (facts) => ({
      fact: 'sign_in.acr',
      wanted: wanted.join(', '),
      value: facts.signIn.known ? facts.signIn.value.acr : facts.signIn,
      source: 'ID Token',
      at: findAuthTime(facts.signIn),
    }),
  }
}

function compileAmr(wanted: readonly string[]): ConditionKey {
  return {
    judge: judgeAmr(wanted),
    findRemedy: () => ({ remedy: 'sign_in_too_weak', details: { wanted: wanted.join(', ') } }),
    trace: (facts) => ({
      fact: 'sign_in.amr',
      wanted: wanted.join(', '),
      value: facts.signIn.known ? facts.signIn.value.amr : facts.signIn,
      source: 'ID Token',
      at: findAuthTime(facts.signIn),
    }),
  }
}

function compileWithin(withinSeconds: number): ConditionKey {
  return {
    judge: ({ signIn, environment }) => {
      if (!signIn.known || !signIn.value.at.known) return 'unknown'
      const age = environment.at - signIn.value.at.value
      // An authentication in the future is a broken clock or a lie; either way its age is not known.
      return age >= -toleratedSkewMilliseconds ? outcomeOf(age <= withinSeconds * 1000) : 'unknown'
    },
    findRemedy: ({ signIn, environment }) => {
      const at = findAuthTime(signIn)
      const isPast = at !== undefined && at <= environment.at
      return { remedy: 'sign_in_not_recent', details: { ...(isPast ? { at } : {}), withinSeconds } }
    },
    trace: ({ signIn }) => ({
      fact: 'sign_in.at',
      wanted: `at most ${withinSeconds} s ago`,
      value: signIn.known ? signIn.value.at : signIn,
      source: 'ID Token',
      at: findAuthTime(signIn),
    }),
    findNextChange: ({ signIn, environment }) => {
      const at = findAuthTime(signIn)
      if (at === undefined) return Number.POSITIVE_INFINITY
      return firstAfter(environment.at, at - toleratedSkewMilliseconds, at + withinSeconds * 1000 + 1)
    },
  }
}

/** An empty list asks for nothing that could be there: `false`, also where the claim is missing. */
function judgeAcr(wanted: readonly string[]): (facts: Facts) => Outcome {
  if (wanted.length === 0) return () => 'false'
  const values = new Set(wanted)
  return ({ signIn }) => (signIn.known && signIn.value.acr.known ? outcomeOf(values.has(signIn.value.acr.value)) : 'unknown')
}

function judgeAmr(wanted: readonly string[]): (facts: Facts) => Outcome {
  if (wanted.length === 0) return () => 'false'
  const values = new Set(wanted)
  return ({ signIn }) =>
    signIn.known && signIn.value.amr.known ? outcomeOf(signIn.value.amr.value.some((method) => values.has(method))) : 'unknown'
}

function findAuthTime(signIn: Known<SignIn>): number | undefined {
  return signIn.known && signIn.value.at.known ? signIn.value.at.value : undefined
}

function describeStrength(signIn: Known<SignIn>): Known<unknown> {
  if (!signIn.known) return signIn
  const { acr, amr } = signIn.value
  if (!acr.known && !amr.known) return acr
  return { known: true, value: { ...(acr.known ? { acr: acr.value } : {}), ...(amr.known ? { amr: amr.value } : {}) } }
}
