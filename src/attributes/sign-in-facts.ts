/**
 * How and when the person behind a session authenticated, as far as the provider said so.
 *
 * Only `auth_time` is the time of an authentication (OpenID Connect Core §2): without it the session's own beginning may have been a
 * silent round of single sign-on, and proves nothing. A claim that the ID Token left out is unknown, never "none".
 */

import type { Known, SignIn } from '../policy/facts.ts'
import type { Session } from '../session/session.ts'

/** The sign-in facts of nobody and of services. */
export const noSignIn: Known<SignIn> = { known: false, why: 'not_a_person' }

const remembered = new WeakMap<Session['signIn'], Known<SignIn>>()

/** Facts about the sign-in of a session; the same object for the same sign-in. */
export function readSignInFacts({ signIn }: Pick<Session, 'signIn'>): Known<SignIn> {
  const earlier = remembered.get(signIn)
  if (earlier !== undefined) return earlier
  const { acr, amr, authTime } = signIn
  const facts: Known<SignIn> = {
    known: true,
    value: {
      at: authTime === undefined ? { known: false, why: 'no_auth_time' } : { known: true, value: authTime },
      acr: acr === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: acr },
      amr: amr.length === 0 ? { known: false, why: 'claim_absent' } : { known: true, value: amr },
    },
  }
  remembered.set(signIn, facts)
  return facts
}
