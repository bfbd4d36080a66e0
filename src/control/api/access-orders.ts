/**
 * `/api/v1/locks` and `/api/v1/sessions`: cutting people off, for programs with a service token.
 *
 * The same orders as at the command line, carried out by the same use cases; the actor is `token:<id>`. No cookie is read, set or believed: the
 * proof is a bearer token that no page of another site could add, so this stands before the same-origin rule. Each path asks for one
 * permission, and what a body says is taken whole or not at all. Whoever shows no good token is counted by address, whoever does by token.
 */

import { type Request, type RequestHandler, type Response, type Router, text } from 'express'
import type { AccessOrders, Ordered, OrderProblem } from '../../administration/access-orders.ts'
import { type AccessPermission, permitsAccess } from '../../administration/token-scope.ts'
import type { TokenFacts, Tokens } from '../../administration/tokens.ts'
import type { AuditTrail } from '../../audit/event.ts'
import { createRateLimit, type RateLimit } from '../../rate-limits.ts'
import type { Answers } from '../answers.ts'
import { noBackgroundRequests, onlyMethods } from '../guards.ts'
import { findSingle, getContext, readQuery } from '../request-context.ts'
import { parseLockBody, parseRevokeBody, parseUnlockBody } from './access-bodies.ts'

/** What the endpoints need; `compose.ts` connects it. */
export interface AccessApiPorts {
  readonly orders: AccessOrders
  readonly tokens: Pick<Tokens, 'verify'>
  /** Takes down that somebody read, before they are answered. */
  readonly audit: Pick<AuditTrail, 'record' | 'settle'>
  /** Per address and minute; for tests. */
  readonly refusalsPerMinute?: number
}

/** A thousand ids and a reason. */
const maxBodyBytes = 64 * 1024
const refusalsPerMinuteByDefault = 120
/** An incident is a few hundred orders; a program that loops is more. */
const ordersPerMinute = 1_200
/** A list is one answer, and the memory it takes is bounded; whoever has more asks for one subject. */
const mostListed = 10_000

type ApiRefusal = OrderProblem | 'token_required' | 'invalid_token' | 'not_permitted' | 'unsupported_type' | 'malformed'

/** The table in docs/administration.md says the same. */
export const statusByOrderRefusal: Readonly<Record<ApiRefusal, number>> = {
  malformed: 400,
  invalid_order: 400,
  until_passed: 400,
  token_required: 401,
  invalid_token: 401,
  not_permitted: 403,
  subject_never_seen: 404,
  device_unknown: 404,
  not_locked: 404,
  session_unknown: 404,
  subject_ambiguous: 409,
  unsupported_type: 415,
}

const locksPath = '/api/v1/locks'
const lockPath = '/api/v1/locks/:on/:name'
const sessionsPath = '/api/v1/sessions'
const revokePath = '/api/v1/sessions/revoke'

/** Adds the paths of locks and sessions. */
export function mountAccessOrders(
  router: Router,
  { answers, audit, orders, ...ports }: AccessApiPorts & { readonly answers: Answers },
): void {
  const gate = createGate(ports, answers)
  const body = text({ type: 'application/json', limit: maxBodyBytes, inflate: false, defaultCharset: 'utf-8' })

  router.get(locksPath, ...gate('locks:read'), async (request, response) => {
    if (hasUnknownQuery(request, [])) return refuse(request, response, 'malformed', { message: 'This path takes no query.' })
    const { entries, isCut } = await collect(orders.listLocks())
    response.json({ locks: entries, truncated: isCut })
  })
  router.post(locksPath, ...gate('locks:write'), body, async (request, response) => {
    const order = readBody(request, response, parseLockBody)
    if (order !== undefined) answer(request, response, await orders.lock(order, actorOf(request)))
  })
  router.all(locksPath, onlyMethods('GET, HEAD, POST', answers))

  router.delete(lockPath, ...gate('locks:write'), body, async (request, response) => {
    const { name, on } = request.params
    const order = readBody(request, response, parseUnlockBody)
    if (order !== undefined && typeof on === 'string' && typeof name === 'string') {
      answer(request, response, await orders.unlock({ on, name, ...order }, actorOf(request)))
    }
  })
  router.all(lockPath, onlyMethods('DELETE', answers))

  router.get(sessionsPath, ...gate('sessions:read'), async (request, response) => {
    const subject = findSingle(readQuery(request), 'subject')
    if (hasUnknownQuery(request, subject === undefined ? [] : ['subject'])) {
      return refuse(request, response, 'malformed', { message: 'The one parameter that this path takes is `subject`, once.' })
    }
    const found = await orders.listSessions(subject)
    if (found.outcome === 'refused') return answer(request, response, found)
    const { entries, isCut } = await collect(found.value)
    audit.record({ event: 'data.read', actor: actorOf(request), what: 'sessions', target: subject, entries: entries.length })
    if (!(await audit.settle())) return answers.refuse(request, response, 'audit_unavailable')
    response.json({ sessions: entries, truncated: isCut })
  })
  router.all(sessionsPath, onlyMethods('GET, HEAD', answers))

  router.post(revokePath, ...gate('sessions:revoke'), body, async (request, response) => {
    const order = readBody(request, response, parseRevokeBody)
    if (order !== undefined) answer(request, response, await orders.revoke(order, actorOf(request)))
  })
  router.all(revokePath, onlyMethods('POST', answers))
}

type Gate = (permission: AccessPermission) => RequestHandler[]

/** Who passed the gate. */
const bearers = new WeakMap<Request, TokenFacts>()

/** Lets in whoever shows a living token with the permission, and counts everybody else. It stands before a body is read. */
function createGate({ refusalsPerMinute, tokens }: Omit<AccessApiPorts, 'orders' | 'audit'>, answers: Answers): Gate {
  const refusals = createRateLimit({ points: refusalsPerMinute ?? refusalsPerMinuteByDefault, seconds: 60 })
  const orders = createRateLimit({ points: ordersPerMinute, seconds: 60 })

  async function judge(request: Request, permission: AccessPermission): Promise<TokenFacts | ApiRefusal> {
    const [, shown] = /^Bearer +([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '') ?? []
    if (shown === undefined) return 'token_required'
    const verification = await tokens.verify(shown)
    if (verification.outcome === 'invalid') return 'invalid_token'
    return permitsAccess(verification.token.scopes, permission) ? verification.token : 'not_permitted'
  }

  async function count(limit: RateLimit, key: string, request: Request, response: Response): Promise<boolean> {
    const wait = await limit.consume(key)
    if (wait !== undefined) answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    return wait === undefined
  }

  return (permission) => [
    // A page that an employee visits must not use up what their office may send.
    noBackgroundRequests(answers),
    async (request, response, next) => {
      const token = await judge(request, permission)
      if (typeof token !== 'string') {
        bearers.set(request, token)
        if (await count(orders, token.id, request, response)) next()
      } else if (await count(refusals, getContext(request).address, request, response)) {
        refuse(request, response, token, { message: tokenWords[token] ?? token, permission })
      }
    },
  ]
}

const tokenWords: Readonly<Partial<Record<ApiRefusal, string>>> = {
  token_required: 'This path needs a service token: Authorization: Bearer pst_…',
  invalid_token: 'The service token is unknown, expired or revoked.',
  not_permitted: 'The service token has not the scope that this needs.',
}

function actorOf(request: Request): string {
  const token = bearers.get(request)
  if (token === undefined) throw new TypeError('an order was carried out without its gate')
  return `token:${token.id}`
}

/** The body as the order that it is; `undefined`, and answered, for anything else. */
function readBody<T>(request: Request, response: Response, parse: (value: unknown) => T | string): T | undefined {
  const body: unknown = request.body
  if (typeof body !== 'string') {
    refuse(request, response, 'unsupported_type', { message: 'An order is application/json.' })
    return undefined
  }
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    // The parser's message would repeat what was sent.
    refuse(request, response, 'malformed', { message: 'The body is not JSON.' })
    return undefined
  }
  const order = parse(value)
  if (typeof order !== 'string') return order
  refuse(request, response, 'malformed', { message: order })
  return undefined
}

function hasUnknownQuery(request: Request, known: readonly string[]): boolean {
  return [...readQuery(request).keys()].length !== known.length
}

async function collect<T>(found: AsyncIterable<T>): Promise<{ readonly entries: readonly T[]; readonly isCut: boolean }> {
  const entries: T[] = []
  for await (const entry of found) {
    if (entries.length === mostListed) return { entries, isCut: true }
    entries.push(entry)
  }
  return { entries, isCut: false }
}

function answer<T extends object>(request: Request, response: Response, ordered: Ordered<T>): void {
  if (ordered.outcome === 'done') {
    response.json(ordered.value)
    return
  }
  const { matches, message, problem } = ordered
  response.status(statusByOrderRefusal[problem]).set('X-Postern', problem)
  const more = matches === undefined ? {} : { matches }
  response.json({ error: problem, message, ...more, request_id: getContext(request).requestId })
}

function refuse(
  request: Request,
  response: Response,
  reason: ApiRefusal,
  { message, permission }: { readonly message: string; readonly permission?: AccessPermission },
): void {
  const status = statusByOrderRefusal[reason]
  response.status(status).set('X-Postern', reason)
  if (status === 401) response.set('WWW-Authenticate', reason === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer')
  if (reason === 'not_permitted') response.set('WWW-Authenticate', `Bearer error="insufficient_scope", scope="${permission ?? ''}"`)
  response.json({ error: reason, message, request_id: getContext(request).requestId })
}
