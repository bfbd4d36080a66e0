/**
 * The guard of the `signedIn` group: a live session, or an answer that leads to one. Handlers behind it get the session from here.
 */

import type { Request, RequestHandler, Response } from 'express'
import type { DeviceBinding } from '../attributes/device-binding.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Answers } from './answers.ts'
import type { LiveSession } from './person.ts'
import { isNavigation } from './request-context.ts'

export interface SignedInRequests {
  /** Sends strangers to sign in; a program gets 401 with the address. */
  readonly guard: RequestHandler
  /** The same with another answer for strangers. */
  guardWith(answerStranger: (request: Request, response: Response) => void): RequestHandler
  /** The session of a request that passed the guard. */
  get(request: Request): LiveSession
  /** Looks once more; `undefined` if there is none any more, or it is elsewhere. */
  find(request: Request): Promise<LiveSession | undefined>
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

  async function look(request: Request): Promise<LiveSession | 'elsewhere' | undefined> {
    const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
    const lookup = secret === undefined ? undefined : await sessions.findByAccessSecret(secret)
    if (lookup?.state !== 'live') return undefined
    return (await binding.isElsewhere(request, lookup.session)) ? 'elsewhere' : lookup
  }

  function guardWith(answerStranger: (request: Request, response: Response) => void): RequestHandler {
    return async (request, response, next) => {
      const found = await look(request)
      if (found === 'elsewhere') return answers.refuse(request, response, 'device_changed')
      if (found === undefined) return answerStranger(request, response)
      live.set(request, found)
      next()
    }
  }

  return {
    guard: guardWith((request, response) => {
      if (!isNavigation(request)) return answers.refuse(request, response, 'login_required')
      response.set('X-Postern', 'login_required')
      answers.redirect(response, request.method === 'GET' || request.method === 'HEAD' ? 302 : 303, new URL('/sign-in', accessUrl).href)
    }),
    guardWith,
    async find(request) {
      const found = await look(request)
      return found === 'elsewhere' ? undefined : found
    },
    get(request) {
      const found = live.get(request)
      if (found === undefined) throw new TypeError('a controller of the signedIn group ran without its guard')
      return found
    },
  }
}
