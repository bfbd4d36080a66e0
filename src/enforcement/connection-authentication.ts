/**
 * Schemes that authenticate a connection instead of a request: NTLM and its kin (RFC 4559 §6; NTLM over HTTP).
 *
 * Nobody else may come after on a connection on which somebody authenticated, so what carries them never shares one; and since NTLM takes
 * several requests on one connection it cannot complete through a proxy at all, which an operator had better hear once than search for.
 */

import type { Logger } from '../log.ts'
import type { App } from '../policy/document.ts'
import type { ParsedHeaders } from './header-hygiene.ts'

/** Whether a value of `Authorization` or `WWW-Authenticate` is of such a scheme. */
export function authenticatesConnection(value: string | undefined): boolean {
  return value !== undefined && /^\s*(?:ntlm|negotiate)\b/i.test(value)
}

/** Hears of each 401 of an app. */
export type ChallengeWatch = (app: App, headers: ParsedHeaders) => void

/** Says in the log, once an app, that it asks for such a scheme. */
export function createChallengeWatch(log: Logger): ChallengeWatch {
  const warned = new WeakSet<App>()
  return (app, headers) => {
    const challenges = headers['www-authenticate']
    if (challenges === undefined || warned.has(app)) return
    if (![challenges].flat().some(authenticatesConnection)) return
    warned.add(app)
    log.warn({ app: app.id }, 'the app asks for NTLM or Negotiate; connections that carry it are never shared, so NTLM cannot complete')
  }
}
