/**
 * The session that a completed sign-in leads to: the live one of the same person, continued, or a new one.
 *
 * A session that is continued keeps its id and its cookie, so that ten tabs and step-ups disturb nobody; another person's is ended. After
 * an end only a sign-in that came later begins a session. What a session says about its sign-in is the latest authentication, whole.
 * A session that begins with a device certificate is bound to it; a sign-in on another device never takes it over.
 */

import type { Request, Response } from 'express'
import type { DeviceBinding } from '../attributes/device-binding.ts'
import type { AccessAttempt, SealedCookies } from '../session/sealed-cookies.ts'
import type { BoundDevice, Session, SessionLookup, SignedIn } from '../session/session.ts'
import type { RequestCause, Sessions } from '../session/sessions.ts'
import { isNewerThan, latestSignIn } from './fresh-sign-in.ts'
import { getContext } from './request-context.ts'
import { isMetBy, isStrongEnough } from './sign-in-step-up.ts'

export interface SessionPorts {
  readonly accessUrl: URL
  readonly cookies: SealedCookies
  readonly sessions: Sessions
  /** Which device the sign-in comes from. */
  readonly binding: DeviceBinding
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The session that a sign-in of the same person continues. One whose claims alone ran out is not over: this round is to renew them. */
export function presentOf(lookup: SessionLookup): Session | undefined {
  return lookup.state === 'live' || lookup.state === 'expired' ? lookup.session : undefined
}

/**
 * Steps 5 and 6. `undefined`: the sign-in is older than the end of what came before. A session that was live a moment ago, by memory, and
 * cannot be continued has ended; that end counts like any other.
 */
export async function establishSession(
  { accessUrl, binding, cookies, now, sessions }: SessionPorts,
  request: Request,
  response: Response,
  { attempt, signedIn }: { readonly attempt: AccessAttempt; readonly signedIn: SignedIn },
): Promise<Session | undefined> {
  const { issuer, providerSid, sub } = signedIn
  const by = getContext(request)
  const accessSecret = cookies.readSession('session', request.headers.cookie, accessUrl)
  const lookup: SessionLookup = accessSecret === undefined ? { state: 'none' } : await sessions.findByAccessSecret(accessSecret)
  const present = presentOf(lookup)
  const isSamePerson = present !== undefined && present.issuer === issuer && present.sub === sub
  const device = await binding.deviceOf(request)
  const continued = isSamePerson ? await continueSession(sessions, present, { attempt, signedIn, by, device, at: now() }) : undefined
  if (continued !== undefined) return continued

  // 5
  const isTooOld = async () => {
    const end = await sessions.findLatestEnd({ accessSecret, issuer, sub, providerSid })
    return end !== undefined && !isNewerThan(end.at, signedIn, attempt, now())
  }
  if (await isTooOld()) return undefined

  // 6
  const userAgent = request.headers['user-agent'] ?? ''
  const { secret, session } = await sessions.begin(signedIn, { address: by.address, userAgent }, by, device)
  // An end that came between the question and the beginning of the session has an earlier instant than the session, and would spare it.
  if (await isTooOld()) {
    await sessions.endSession(session.id, 'replaced', by)
    return undefined
  }
  const isOfAnother = present !== undefined && (!isSamePerson || isBoundElsewhere(present, device))
  if (isOfAnother) await sessions.endSession(present.id, 'replaced', by)
  response.append('Set-Cookie', cookies.writeSession('session', secret, accessUrl))
  return session
}

/** Straight from the store: what another tab has proved in the meantime must not be lost to what this instance remembers. */
async function continueSession(
  sessions: Sessions,
  remembered: Session,
  { attempt: { prompt, stepUp }, signedIn, by, device, at }: Continuation,
): Promise<Session | undefined> {
  const present = presentOf(await sessions.findById(remembered.id)) ?? remembered
  const { signIn: before } = present
  const { signIn: after } = signedIn
  // As strong as was asked and no fresher: the strength is a fact, and with the same time none is lost for it.
  const isStronger = stepUp !== undefined && after.authTime === before.authTime && isStrongEnough(stepUp, after, at)
  const isProof = isStronger || (stepUp !== undefined && isMetBy(stepUp, after, at))
  const signIn = latestSignIn(before, after, { isFresh: prompt === 'login', isProof })
  return await sessions.continueWith(present, { ...signedIn, signIn }, by, device)
}

function isBoundElsewhere({ device: bound }: Session, device: BoundDevice | undefined): boolean {
  return bound !== undefined && bound.certificate !== device?.certificate
}

interface Continuation {
  readonly attempt: AccessAttempt
  readonly signedIn: SignedIn
  readonly by: RequestCause
  readonly device: BoundDevice | undefined
  readonly at: number
}
