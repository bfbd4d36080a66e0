/**
 * A detour's way over the access host: from the app that is to be opened ahead, straight back to it with a hand-off.
 *
 * The hand-off is for exactly the session that the detour is of, and only if this browser has it: whoever is led here with somebody else's
 * detour keeps their own session and gets nothing. From whatever else happens the way leads on to the page that was asked for.
 */

import type { Request } from 'express'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import { openDetour } from '../session/sealed-detour.ts'
import { getContext } from './request-context.ts'
import type { CallableApp } from './sign-in-companions.ts'
import type { SessionPorts } from './sign-in-session.ts'

interface DetourPorts extends SessionPorts {
  readonly apps: () => Iterable<CallableApp>
  readonly keys: CurrentKeys
  readonly log: Logger
}

/** Where the browser goes from here; `undefined` for a detour that is not ours. Never rejects. */
export async function passBy(
  { accessUrl, apps, binding, cookies, keys, log, now, sessions }: DetourPorts,
  request: Request,
  { sealed, returnTo, attempt }: { readonly sealed: string; readonly returnTo: string | undefined; readonly attempt: string | undefined },
): Promise<string | undefined> {
  const detour = openDetour({ keys, now }, accessUrl, sealed)
  if (detour?.returnTo === undefined) return undefined
  // One may be kept for longer than an app is: this host redirects to none that is gone.
  const end = new URL(detour.returnTo).origin
  if (![...apps()].some(({ app }) => app.address.origin === end)) return undefined
  const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
  if (returnTo === undefined || attempt === undefined || secret === undefined) return detour.returnTo
  const { origin } = new URL(returnTo)
  if (origin !== detour.origins[0]) return detour.returnTo
  try {
    const lookup = await sessions.findByAccessSecret(secret)
    const isItsOwn = lookup.state === 'live' && lookup.session.id === detour.sessionId
    if (!isItsOwn || (await binding.isElsewhere(request, lookup.session))) return detour.returnTo
    const code = await sessions.issueHandOff({ sessionId: lookup.session.id, origin, attempt, returnTo })
    return callbackOf(returnTo, { code, detour: sealed })
  } catch (error) {
    log.warn({ request: getContext(request).requestId, err: error }, 'an app that another calls could not be opened ahead')
    return detour.returnTo
  }
}

/** The address on an app's host that takes a hand-off. */
export function callbackOf(returnTo: string, parameters: Readonly<Record<string, string>>): string {
  const url = new URL('/.postern/callback', returnTo)
  url.search = new URLSearchParams(parameters).toString()
  return url.href
}
