/**
 * A stronger or fresher sign-in, on the access host: what an app host wants, whether a sign-in brings it, and that it ends after one round.
 *
 * The demand comes sealed from the app host. What is judged here is only whether going on makes sense: the app decides again. That is why
 * a browser could go round for ever where the two disagree (clocks that differ, a claim that one sees and the other does not), and why
 * returns to the same page for the same demand are counted. RFC 9470, OpenID Connect Core §3.1.2.1.
 */

import { readSignInFacts } from '../attributes/sign-in-facts.ts'
import type { StepUp } from '../policy/decision.ts'
import type { SignInCondition } from '../policy/document.ts'
import { judgeSignIn } from '../policy/step-up.ts'
import { openStepUp, type StepUpSealer, sealStepUp } from '../session/sealed-step-up.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'

/** Returns through the provider within `turnSeconds`: one for the person, and one for two tabs or a page that was reloaded half way. */
const maxRounds = 2
/** A loop takes less than a second a round; a rule that wants an authentication every few seconds still gets it. */
const longestTurnSeconds = 60
const shortestTurnSeconds = 5

/** What a sign-in lacks that was asked to be stronger or fresher; pages have a sentence for each. */
export type Shortfall = 'auth_time_missing' | 'sign_in_not_recent' | 'sign_in_too_weak' | 'app_not_satisfied'

/** `step_up` of the address: `none` without one, `invalid` for one that is not ours, not for this attempt or origin, or too old. */
export function readStepUp(
  sealer: StepUpSealer,
  accessUrl: URL,
  { returnTo, attempt, values }: { readonly returnTo: string; readonly attempt: string | undefined; readonly values: readonly string[] },
): StepUp | 'none' | 'invalid' {
  const [value, ...others] = values
  if (value === undefined) return 'none'
  return others.length > 0 ? 'invalid' : (openStepUp(sealer, accessUrl, attempt ?? new URL(returnTo).origin, value) ?? 'invalid')
}

/** Where a sign-in starts over on this host, from checked values only. A demand is sealed anew: the one that came may be about to run out. */
export function signInPath(
  sealer: StepUpSealer,
  accessUrl: URL,
  {
    returnTo,
    attempt,
    stepUp,
  }: { readonly returnTo: string | undefined; readonly attempt: string | undefined; readonly stepUp?: StepUp | undefined },
): string {
  if (returnTo === undefined) return '/sign-in'
  const query = new URLSearchParams({ return_to: returnTo })
  if (attempt !== undefined) query.set('attempt', attempt)
  if (stepUp !== undefined) query.set('step_up', sealStepUp(sealer, accessUrl, attempt ?? new URL(returnTo).origin, stepUp))
  return `/sign-in?${query}`
}

/** Whether a sign-in is known to bring what is wanted. A demand that had to leave its conditions behind is met by none. */
export function isMetBy(stepUp: StepUp, signIn: Session['signIn'], at: number): boolean {
  return stepUp.conditions.length > 0 && judge(stepUp.conditions, signIn, at)
}

/** Whether a sign-in is as strong as is wanted, however old it is. */
export function isStrongEnough({ conditions }: StepUp, signIn: Session['signIn'], at: number): boolean {
  // One that is about the age alone asks for no strength at all.
  const aboutStrength = conditions.filter(({ acr, amr, strength }) => strength !== undefined || acr !== undefined || amr !== undefined)
  const ofAnyAge = aboutStrength.map((condition) => ({ ...condition, withinSeconds: undefined }))
  return conditions.length > 0 && judge(ofAnyAge, signIn, at)
}

/** What a round that was asked for it did not bring; `undefined` if the session has it, or the app has to see for itself. */
export function findShortfall(
  stepUp: StepUp,
  { session, round }: { readonly session: Session['signIn']; readonly round: Session['signIn'] },
  at: number,
): Shortfall | undefined {
  if (stepUp.conditions.length === 0 || isMetBy(stepUp, session, at)) return undefined
  if (!isStrongEnough(stepUp, round, at)) return 'sign_in_too_weak'
  return round.authTime === undefined ? 'auth_time_missing' : 'sign_in_not_recent'
}

/**
 * Whether the browser may go back to its page with what it has: `at_once` without a visit to the provider, or `after_round`. The same
 * page with the same demand gets a limited number of each in a short time; the app was not satisfied with those before.
 */
export async function takeTurn(
  sessions: Pick<Sessions, 'takeOnce'>,
  kind: 'at_once' | 'after_round',
  { session, returnTo, stepUp }: { readonly session: Session; readonly returnTo: string | undefined; readonly stepUp: StepUp },
): Promise<boolean> {
  const seconds = Math.max(shortestTurnSeconds, Math.min(longestTurnSeconds, stepUp.maxAgeSeconds ?? longestTurnSeconds))
  const turns = kind === 'at_once' ? 1 : maxRounds
  for (let turn = 0; turn < turns; turn += 1) {
    const id = JSON.stringify(['step_up', kind, turn, session.id, returnTo, stepUp])
    if (await sessions.takeOnce('attempt', id, seconds)) return true
  }
  return false
}

function judge(conditions: readonly SignInCondition[], signIn: Session['signIn'], at: number): boolean {
  return judgeSignIn(conditions, readSignInFacts({ signIn }), at) === 'true'
}
