/**
 * Step-up: from the `sign_in` conditions that have to hold of the next sign-in to what the provider is asked for, and the judgement of
 * what it brought back.
 *
 * The very condition that refused the old sign-in judges the new one, so the two cannot differ. What is asked for is the
 * best request that RFC 9470 and OpenID Connect can express, never a proof: an ID Token names one `acr`, so of several demands the values
 * common to all are asked for.
 */

import type { LeafCondition } from './condition.ts'
import type { StepUp } from './decision.ts'
import type { SignInCondition, Strength } from './document.ts'
import type { Facts, Known, SignIn } from './facts.ts'
import { and, type Outcome } from './outcome.ts'
import { compileSignInCondition } from './sign-in-condition.ts'

/** What to ask the provider for, so that all of the conditions hold afterwards. */
export function stepUpFor(conditions: readonly SignInCondition[]): StepUp {
  const strengths = strengthsOf(conditions)
  const within = conditions.flatMap(({ withinSeconds }) => (withinSeconds === undefined ? [] : [withinSeconds]))
  return {
    conditions,
    acrValues: chooseAcrValues(conditions, strengths),
    maxAgeSeconds: within.length === 0 ? undefined : Math.min(...within),
    ask: mergeAsk(strengths),
  }
}

/**
 * Whether a sign-in is what a step-up asked for. `at`: now, epoch milliseconds. `unknown` where the provider did not say: it is no
 * success. All of no conditions is true.
 */
export function judgeSignIn(conditions: readonly SignInCondition[], signIn: Known<SignIn>, at: number): Outcome {
  const facts = { ...bareFacts, signIn, environment: { ...bareFacts.environment, at } }
  return conditions.map((condition) => leafFor(condition).judge(facts)).reduce(and, 'true')
}

/** Of the same name, the first: a name is defined once. In the order of names, so that the document's never matters. */
function strengthsOf(conditions: readonly SignInCondition[]): readonly Strength[] {
  const byName = new Map<string, Strength>()
  for (const { strength } of conditions) if (strength !== undefined) byName.set(strength.name, strength)
  return [...byName.values()].sort((left, right) => (left.name < right.name ? -1 : 1))
}

/**
 * The values that satisfy every demand. Where there is none, an `acr:` counts before a strength, which an `amr` can meet as well; then the
 * first by name, narrowed by each further one that leaves something to ask for.
 */
function chooseAcrValues(conditions: readonly SignInCondition[], strengths: readonly Strength[]): readonly string[] {
  const written = conditions.flatMap(({ acr }) => (acr === undefined ? [] : [acr]))
  const demands = [...written.sort((left, right) => (left.join(' ') < right.join(' ') ? -1 : 1)), ...strengths.map(({ acr }) => acr)]
  let chosen: readonly string[] = []
  for (const values of demands) {
    if (chosen.length === 0) chosen = values
    else {
      const common = chosen.filter((value) => values.includes(value))
      if (common.length > 0) chosen = common
    }
  }
  return [...new Set(chosen)]
}

/** Where two strengths ask for different values of one parameter, the first by name is asked for. */
function mergeAsk(strengths: readonly Strength[]): Readonly<Record<string, string>> {
  const merged = new Map<string, string>()
  for (const { ask } of strengths) for (const [name, value] of Object.entries(ask)) if (!merged.has(name)) merged.set(name, value)
  return Object.fromEntries(merged)
}

const compiled = new WeakMap<SignInCondition, LeafCondition>()

function leafFor(condition: SignInCondition): LeafCondition {
  let leaf = compiled.get(condition)
  if (leaf === undefined) {
    leaf = compileSignInCondition(condition)
    compiled.set(condition, leaf)
  }
  return leaf
}

/** A sign-in is judged by itself: the rest is unknown, and no `sign_in` condition reads it. */
const unread = { known: false, why: 'not_gathered' } as const
const bareFacts: Facts = {
  subject: { kind: 'nobody' },
  signIn: unread,
  device: unread,
  request: { method: 'GET', methodClass: 'read', path: '/' },
  environment: {
    address: '',
    at: 0,
    country: unread,
    asn: unread,
    scheme: 'https',
    tlsVersion: unread,
    client: { browser: unread, browserVersion: unread, os: unread },
  },
}
