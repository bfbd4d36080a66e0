/**
 * The guard of the `signedIn` group: a live session, or an answer that leads to one. Handlers behind it get the session from here.
 */

import type { Request, RequestHandler } from 'express'
import type { DeviceBinding } from '../attributes/device-binding.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Answers } from './answers.ts'
import type { LiveSession } from './person.ts'
import { isNavigation } from './request-context.ts'

export interface SignedInRequests {
  /** Sends strangers to sign in; a program gets 401 with the address. */
  readonly guard: RequestHandler
  /** The session of a request that passed the guard. */
  get(request: Request): LiveSession
}

export interface SignedInPorts {
  readonly accessUrl: URL
  readonly sessions: Sessions
  readonly binding: DeviceBinding
  readonly cookies: SealedCookies
  readonly answers: Answers
}

/** The guard and the sessions it let through. */
export function createSignedInRequests({ accessUrl, answers, binding, cookies, sessions }: SignedInPorts): SignedInRequests {
  const live = new WeakMap<Request, LiveSession>()
  return {
    guard: async (request, response, next) => {
      const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
      const lookup = secret === undefined ? undefined : await sessions.findByAccessSecret(secret)
      if (lookup?.state === 'live' && (await binding.isElsewhere(request, lookup.session))) {
        answers.refuse(request, response, 'device_changed')
      } else if (lookup?.state === 'live') {
        live.set(request, lookup)
        next()
      } else if (isNavigation(request)) {
        response.set('X-Postern', 'login_required')
        answers.redirect(response, request.method === 'GET' || request.method === 'HEAD' ? 302 : 303, new URL('/sign-in', accessUrl).href)
      } else {
        answers.refuse(request, response, 'login_required')
      }
    },
    get(request) {
      const found = live.get(request)
      if (found === undefined) throw new TypeError('a controller of the signedIn group ran without its guard')
      return found
    },
  }
}
