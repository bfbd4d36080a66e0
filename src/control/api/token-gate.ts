/**
 * The gate of the API: a living service token with the permission, or nothing.
 *
 * No cookie is read, set or believed here: the proof is a bearer token that no page of another site could add, so this stands before the
 * same-origin rule. Whoever shows no good token is counted by address, whoever does by token. It stands before a body is read.
 */

import type { Request, RequestHandler, Response } from 'express'
import type { Asker, Permission } from '../../administration/asker.ts'
import { permitsAccess } from '../../administration/token-scope.ts'
import type { TokenFacts, Tokens } from '../../administration/tokens.ts'
import { createRateLimit, type RateLimit } from '../../rate-limits.ts'
import type { Answers } from '../answers.ts'
import { noBackgroundRequests } from '../guards.ts'
import { refused } from '../operations/operation.ts'
import { getContext } from '../request-context.ts'
import { refuse } from './api-answers.ts'

export interface TokenGatePorts {
  readonly answers: Answers
  readonly tokens: Pick<Tokens, 'verify'>
  /** Per address and minute. */
  readonly refusalsPerMinute?: number | undefined
}

export interface TokenGate {
  /** Lets in whoever shows a living token with the permission. */
  require(permission: Permission): RequestHandler[]
  /** Who passed the gate. */
  asker(request: Request): Asker
}

const refusalsPerMinuteByDefault = 120
/** An incident is a few hundred orders; a program that loops is more. */
const ordersPerMinute = 1_200

const refusals = {
  token_required: refused('token_required', 'This path needs a service token: Authorization: Bearer pst_…'),
  invalid_token: refused('invalid_token', 'The service token is unknown, expired or revoked.'),
  not_permitted: refused('not_permitted', 'The service token has not the scope that this needs.'),
} as const

/** The gate over the service tokens. */
export function createTokenGate({ answers, refusalsPerMinute, tokens }: TokenGatePorts): TokenGate {
  const passed = new WeakMap<Request, Asker>()
  const strangers = createRateLimit({ points: refusalsPerMinute ?? refusalsPerMinuteByDefault, seconds: 60 })
  const orders = createRateLimit({ points: ordersPerMinute, seconds: 60 })

  async function judge(request: Request, permission: Permission): Promise<TokenFacts | keyof typeof refusals> {
    const [, shown] = /^Bearer +([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '') ?? []
    if (shown === undefined) return 'token_required'
    const verification = await tokens.verify(shown)
    if (verification.outcome === 'invalid') return 'invalid_token'
    return permitsAccess(verification.token.scopes, permission) ? verification.token : 'not_permitted'
  }

  async function isCounted(limit: RateLimit, key: string, request: Request, response: Response): Promise<boolean> {
    const wait = await limit.consume(key)
    if (wait !== undefined) answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    return wait === undefined
  }

  return {
    require: (permission) => [
      // A page that an employee visits must not use up what their office may send.
      noBackgroundRequests(answers),
      async (request, response, next) => {
        const token = await judge(request, permission)
        if (typeof token !== 'string') {
          passed.set(request, askerOf(token))
          if (await isCounted(orders, token.id, request, response)) next()
        } else if (await isCounted(strangers, getContext(request).address, request, response)) {
          refuse(request, response, refusals[token], permission)
        }
      },
    ],
    asker(request) {
      const asker = passed.get(request)
      if (asker === undefined) throw new TypeError('an order was carried out without its gate')
      return asker
    },
  }
}

/** Scopes that are narrowed to some devices permit nothing here: they are for reports, which have a door of their own. */
function askerOf({ id, name, scopes }: TokenFacts): Asker {
  const permissions = scopes.filter(({ permission }) => permitsAccess(scopes, permission)).map(({ permission }) => permission)
  return { actor: `token:${id}`, label: name, subject: undefined, roles: [], permissions: new Set(permissions) }
}
