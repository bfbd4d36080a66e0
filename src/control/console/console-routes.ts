/**
 * The routes of the console: everything that must hold for all of its pages, in one place, in this order.
 *
 * 1. somebody is signed in, on the device that the session is bound to; strangers go to sign in and come back to the page;
 * 2. the roles of this very request (`console-people.ts`); one that only a better sign-in is missing for leads to one;
 * 3. the permission that the page names; without it 403, whatever else is right;
 * of a form besides, after the same-origin rule of the access host:
 * 4. a body of the one kind and of bounded size, read only now;
 * 5. the form's token, strictly: none, or another session's, is refused;
 * 6. for anything but reading, a sign-in of late (`console.sign_in_within`): else nothing is done, and the page says so and how to go on.
 *
 * What a handler throws reaches the one error handler (`failures.ts`). A page cannot be added without a permission, nor answer a method that
 * it did not name.
 */

import type { Request, RequestHandler, Response, Router } from 'express'
import type { Permission } from '../../administration/asker.ts'
import type { Logger } from '../../log.ts'
import type { StepUp } from '../../policy/decision.ts'
import { judgeSignIn, stepUpFor } from '../../policy/step-up.ts'
import type { StepUpSealer } from '../../session/sealed-step-up.ts'
import type { Sessions } from '../../session/sessions.ts'
import type { Answers } from '../answers.ts'
import { formBody, onlyMethods } from '../guards.ts'
import { leaveForNextPage, takeForNextPage } from '../next-page.ts'
import { refused } from '../operations/operation.ts'
import type { PageRenderer } from '../pages.ts'
import { findSingle, getContext, isNavigation, readQuery } from '../request-context.ts'
import { parseConsolePage } from '../return-url.ts'
import { signInPath } from '../sign-in-step-up.ts'
import type { SignedInRequests } from '../signed-in.ts'
import { createConsoleAnswers, type Surroundings } from './console-answers.ts'
import { createEventStreams, type EventStreamsPorts } from './console-events.ts'
import { describeFrame, findSearchPlaces } from './console-frame.ts'
import type { ConsoleAnswer, ConsoleFormHandler, ConsoleHandler, ConsoleRequest, ConsoleRoutes, Notice } from './console-page.ts'
import { type ConsolePeople, isPermitted, type Visitor } from './console-people.ts'
import type { ConsoleTokens } from './console-token.ts'

export interface ConsoleRoutesPorts extends StepUpSealer {
  readonly accessUrl: URL
  readonly answers: Answers
  readonly pages: Pick<PageRenderer, 'renderConsole'>
  readonly signedIn: SignedInRequests
  /** Keeps what is to be said on the next page. */
  readonly browserState: RequestHandler
  readonly people: ConsolePeople
  readonly tokens: ConsoleTokens
  readonly sessions: Pick<Sessions, 'recordUse'>
  readonly live: EventStreamsPorts['live']
  /** How old the sign-in of somebody who changes something may be. */
  readonly signInWithinSeconds: number
  readonly log: Logger
}

export interface ConsoleRouter {
  readonly routes: ConsoleRoutes
  /** After the last route: every other path and method below `/console`. */
  finish(): void
  /** Ends what is streamed; for an instance that stops. */
  close(): void
}

/** What was asked for: by whose leave, and, of a form, with what. */
interface Asked {
  readonly permission: Permission
  readonly form?: URLSearchParams
}

const root = '/console'
const usualFormBytes = 16 * 1024
const formTokenField = 'form_token'
const formPageField = 'form_page'

const notMadeNotice: Notice = {
  tone: 'info',
  text: 'The change was not made, because it needs a sign-in of late. If you have signed in since, you can send it again.',
}

/** Adds the console to `router`, which is the access host's. */
export function createConsoleRoutes(router: Router, ports: ConsoleRoutesPorts): ConsoleRouter {
  const { accessUrl, answers, browserState, now, people, sessions, signedIn, signInWithinSeconds, tokens } = ports
  const visitors = new WeakMap<Request, Visitor>()
  const pagePatterns: string[] = []
  const methods = new Map<string, Set<'GET' | 'POST'>>()
  const replies = createConsoleAnswers(ports)
  const streams = createEventStreams(ports)
  const freshSignIn = [
    { kind: 'sign_in', strength: undefined, acr: undefined, amr: undefined, withinSeconds: signInWithinSeconds } as const,
  ]
  const freshStepUp = stepUpFor(freshSignIn)
  const hasPage = (path: string) => pagePatterns.some((pattern) => matches(pattern, path))

  /** Where the browser is to come back to: the page itself; of a form the page that it stood on, as that says, or the nearest that there is. */
  function pageOf(request: Request, form?: URLSearchParams): string {
    const { pathname, search } = new URL(request.originalUrl, accessUrl)
    const own = request.method === 'POST' ? findSingle(form ?? new URLSearchParams(), formPageField) : `${pathname}${search}`
    const page = own === undefined ? undefined : parseConsolePage(new URL(own, accessUrl).href, accessUrl)
    if (page !== undefined) {
      const { pathname: path, search: query } = new URL(page)
      if (request.method !== 'POST' || hasPage(path)) return `${path}${query}`
    }
    for (let path = pathname; path.length > root.length; path = path.slice(0, path.lastIndexOf('/'))) if (hasPage(path)) return path
    return root
  }

  function signInAt(page: string, stepUp: StepUp | undefined): string {
    return signInPath(ports, accessUrl, { returnTo: new URL(page, accessUrl).href, attempt: undefined, stepUp })
  }

  function surroundingsOf(request: Request, visitor: Visitor | undefined, form?: URLSearchParams): Surroundings {
    return {
      formToken: visitor === undefined ? '' : tokens.issue(visitor.live.session),
      path: pageOf(request, form),
      notice: undefined,
      now: now(),
      asker: visitor?.asker,
      name: visitor?.name ?? '',
      hasPage,
    }
  }

  const isForm = (request: Request) => request.method !== 'GET' && request.method !== 'HEAD'

  // 1
  const signedInGuard = signedIn.guardWith((request, response) => {
    const path = signInAt(pageOf(request), undefined)
    if (!isNavigation(request)) return answers.refuse(request, response, 'login_required')
    if (!isForm(request)) {
      response.set('X-Postern', 'login_required')
      return answers.redirect(response, 302, new URL(path, accessUrl).href)
    }
    // Not redirected: the answer to a form may lead to nobody but this host, and the provider is another (`form-action`).
    return replies.askForSignIn(request, response, surroundingsOf(request, undefined), {
      reason: 'login_required',
      signInPath: path,
      isChange: true,
    })
  })

  // 2
  const roleGuard: RequestHandler = async (request, response, next) => {
    const visitor = await people.judge(request, signedIn.get(request))
    visitors.set(request, visitor)
    const { decision, live } = visitor
    if (decision.outcome === 'held') {
      sessions.recordUse(live.session)
      return next()
    }
    const around = surroundingsOf(request, visitor)
    if (decision.outcome === 'none') return replies.refuseStranger(request, response, around, decision.because)
    const path = signInAt(around.path, decision.stepUp)
    if (isNavigation(request) && !isForm(request)) {
      response.set('X-Postern', 'insufficient_user_authentication')
      return answers.redirect(response, 302, new URL(path, accessUrl).href)
    }
    const ask = { reason: 'insufficient_user_authentication', signInPath: path, isChange: isForm(request) } as const
    return replies.askForSignIn(request, response, around, ask)
  }

  // 3
  function permissionGuard(permission: Permission): RequestHandler {
    return async (request, response, next) => {
      const visitor = getVisitor(request)
      if (isPermitted(visitor, permission)) return next()
      const around = surroundingsOf(request, visitor)
      // The way in leads everybody to the first page that is theirs.
      const first =
        request.path === root ? describeFrame({ ...around, title: '', section: undefined }).navigation[0]?.entries[0] : undefined
      if (first !== undefined && !isForm(request) && isNavigation(request)) return replies.redirect(response, first.href)
      const refusal = refused('not_permitted', 'Your role does not let you do this. An admin can.', { permission })
      await replies.answer(request, response, around, { kind: 'refused', refusal })
    }
  }

  function getVisitor(request: Request): Visitor & { readonly asker: NonNullable<Visitor['asker']> } {
    const visitor = visitors.get(request)
    if (visitor?.asker === undefined) throw new TypeError('a page of the console ran without its guards')
    return { ...visitor, asker: visitor.asker }
  }

  function describeRequest(request: Request, { asker, live }: ReturnType<typeof getVisitor>): ConsoleRequest {
    const params = Object.fromEntries(
      Object.entries(request.params).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    )
    return {
      asker,
      params,
      query: readQuery(request),
      now: now(),
      requestId: getContext(request).requestId,
      formToken: tokens.issue(live.session),
      may: (permission) => asker.permissions.has(permission),
    }
  }

  /** Whether the stream of this request may go on: everything that let it begin, asked anew. */
  async function isStillPermitted(request: Request, permission: Permission): Promise<boolean> {
    const live = await signedIn.find(request)
    return live !== undefined && isPermitted(await people.judge(request, live), permission)
  }

  async function give(request: Request, response: Response, given: ConsoleAnswer, asked: Asked): Promise<void> {
    const visitor = getVisitor(request)
    if (given.kind === 'events') {
      const { id: sessionId } = visitor.live.session
      const stream = { sessionId, events: given.events, isStillPermitted: () => isStillPermitted(request, asked.permission) }
      if ((await streams.open(request, response, stream)) === 'too_many') answers.refuse(request, response, 'rate_limited')
      return
    }
    if (given.kind === 'redirect' && given.notice !== undefined) leaveForNextPage(request, visitor.live.session, { notice: given.notice })
    // What is to be said is said once, on a page that somebody sees.
    const notice =
      given.kind === 'page' && request.method === 'GET' && isNavigation(request)
        ? takeForNextPage(request, visitor.live.session).notice
        : undefined
    await replies.answer(request, response, { ...surroundingsOf(request, visitor, asked.form), notice }, given)
  }

  /** A page's own script has nothing to be told, and asks often. */
  const pageState: RequestHandler = (request, response, next) =>
    isForm(request) || isNavigation(request) ? browserState(request, response, next) : next()

  function show(permission: Permission, handler: ConsoleHandler): RequestHandler {
    return async (request, response) => {
      await give(request, response, await handler(describeRequest(request, getVisitor(request))), { permission })
    }
  }

  function act(permission: Permission, handler: ConsoleFormHandler): RequestHandler {
    return async (request, response) => {
      const visitor = getVisitor(request)
      const body: unknown = request.body
      if (typeof body !== 'string') return answers.refuse(request, response, 'bad_request')
      const form = new URLSearchParams(body)
      // 5
      if (!tokens.isOf(visitor.live.session, findSingle(form, formTokenField))) return answers.refuse(request, response, 'cross_origin')
      // 6
      const isReading = permission.endsWith(':read')
      if (!isReading && judgeSignIn(freshSignIn, visitor.facts.signIn, now()) !== 'true') {
        const around = surroundingsOf(request, visitor, form)
        if (isNavigation(request)) leaveForNextPage(request, visitor.live.session, { notice: notMadeNotice })
        return replies.askForSignIn(request, response, around, {
          reason: 'insufficient_user_authentication',
          signInPath: signInAt(around.path, freshStepUp),
          isChange: true,
        })
      }
      const asked = describeRequest(request, visitor)
      const fields = new URLSearchParams([...form].filter(([name]) => name !== formTokenField && name !== formPageField))
      await give(request, response, await handler(asked, fields), { permission, form })
    }
  }

  const note = (method: 'GET' | 'POST', path: string) => {
    if (path !== root && !path.startsWith(`${root}/`)) throw new TypeError(`${path} is not below ${root}`)
    methods.set(path, (methods.get(path) ?? new Set()).add(method))
  }

  const routes: ConsoleRoutes = {
    get(path, permission, handler) {
      note('GET', path)
      pagePatterns.push(path)
      router.get(path, signedInGuard, roleGuard, permissionGuard(permission), pageState, show(permission, handler))
    },
    post(path, permission, handler, { limitBytes = usualFormBytes } = {}) {
      note('POST', path)
      const body = formBody(limitBytes)
      router.post(path, signedInGuard, roleGuard, permissionGuard(permission), body, pageState, act(permission, handler))
    },
  }

  return {
    routes,
    finish() {
      router.get(`${root}/search`, signedInGuard, roleGuard, (request, response) => {
        const { asker } = getVisitor(request)
        const query = readQuery(request)
        const places = findSearchPlaces((permission) => asker.permissions.has(permission), hasPage)
        const place = places.find(({ name }) => name === findSingle(query, 'in')) ?? places[0]
        const text = (findSingle(query, 'q') ?? '').trim().slice(0, 200)
        replies.redirect(response, place === undefined ? root : `${place.href}${text === '' ? '' : `?${new URLSearchParams({ q: text })}`}`)
      })
      for (const [path, allowed] of methods) {
        const allow = allowed.has('GET') ? ['GET', 'HEAD', ...(allowed.has('POST') ? ['POST'] : [])] : ['POST']
        router.all(path, signedInGuard, roleGuard, onlyMethods(allow.join(', '), answers))
      }
      router.use(root, signedInGuard, roleGuard, async (request, response) => {
        const around = surroundingsOf(request, getVisitor(request))
        if (request.originalUrl === `${root}/`) return replies.redirect(response, root)
        const first = describeFrame({ ...around, title: '', section: undefined }).navigation[0]?.entries[0]
        if (request.originalUrl === root && first !== undefined) return replies.redirect(response, first.href)
        await replies.answer(request, response, around, { kind: 'not_found' })
      })
    },
    close: streams.close,
  }
}

/** Whether a path is one of this pattern, a `:name` standing for one segment. */
function matches(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern.split('/'), path.split('/')]
  return (
    wanted.length === given.length && wanted.every((part, index) => (part.startsWith(':') ? given[index] !== '' : part === given[index]))
  )
}
