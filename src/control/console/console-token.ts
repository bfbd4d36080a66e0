/**
 * The token of the console's forms: proof, beside the origin, that a form was shown to the session that sends it.
 *
 * It is a MAC over the session's internal id, which never leaves the server, under a key of the ring for this purpose: nobody else can make
 * one, and it needs no record that could be lost between two tabs, overtaken, or gone while a long form is being filled in. It ends with
 * the session. After a rotation tokens of older keys still hold. Unlike a sign-out, a change without it is refused.
 */

import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { CurrentKeys, SealingKey } from '../../keys.ts'
import type { Session } from '../../session/session.ts'

export interface ConsoleTokens {
  /** For the pages of this session. */
  issue(session: Pick<Session, 'id'>): string
  /** Whether `token` was issued for this session. No token is no proof. */
  isOf(session: Pick<Session, 'id'>, token: string | undefined): boolean
}

/** Tokens under the current ring. */
export function createConsoleTokens(keys: CurrentKeys): ConsoleTokens {
  const derived = new WeakMap<SealingKey, Buffer>()
  const keyOf = (key: SealingKey): Buffer => {
    const known = derived.get(key) ?? Buffer.from(hkdfSync('sha256', key.key, '', 'postern/v1/console-form', 32))
    derived.set(key, known)
    return known
  }
  const macOf = (key: SealingKey, { id }: Pick<Session, 'id'>) => createHmac('sha256', keyOf(key)).update(id).digest('base64url')
  return {
    issue: (session) => macOf(keys().sealing.current, session),
    isOf(session, token) {
      const shown = Buffer.from(token ?? '')
      return [...keys().sealing.all.values()].some((key) => {
        const expected = Buffer.from(macOf(key, session))
        return shown.length === expected.length && timingSafeEqual(shown, expected)
      })
    },
  }
}
