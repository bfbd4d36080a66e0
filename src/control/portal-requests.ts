/**
 * `/requests`: what a person asked for, asking for more, and taking it back. There only where `requests: on`.
 *
 * One may ask for an app that one may know of and that is closed, as the policy says at this very moment; every other name, whether there is
 * such an app or not, is answered alike. A form needs this origin, the token of this session, and patience: so many in a minute for a person.
 * A request is the person's own or there is none: the id of somebody else's means nothing here.
 */

import type { Request, RequestHandler, Response, Router } from 'express'
import { type AccessRequests, longestRequestText, parseRequestText } from '../administration/access-requests.ts'
import { displayNameOf } from '../attributes/subject-facts.ts'
import type { Reason } from '../policy/decision.ts'
import { createRateLimit } from '../rate-limits.ts'
import type { Notice } from './console/console-page.ts'
import { formBody, onlyMethods, readForm } from './guards.ts'
import { leaveForNextPage, takeForNextPage } from './next-page.ts'
import { emailOf, type LiveSession } from './person.ts'
import type { PortalPorts } from './portal.ts'
import { findKnownApps, gatherFacts, type KnownApp, mayAskFor, type PersonsFacts } from './portal-apps.ts'
import { type AskAgain, describeMyRequests } from './portal-requests-content.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'

export interface MyRequestsPorts extends PortalPorts {
  readonly requests: AccessRequests
  readonly browserState: RequestHandler
}

const path = '/requests'
const maxFormBytes = 8192
/** Nobody who means it asks faster. */
const formsAMinute = 10

const problemWords = {
  stands: 'You have asked for this already, and it is not answered yet.',
  many_of_yours: 'You have asked for so much that is not answered yet. Take something back first.',
  many: 'So many requests are waiting that no more are taken. Please ask the people who look after the app.',
} as const

/** Adds `/requests` to the signed-in group, behind its guard. */
export function mountMyRequests(router: Router, ports: MyRequestsPorts): void {
  const { accessUrl, answers, browserState, requests, signedIn, tokens } = ports
  const formState: RequestHandler = (request, response, next) => browserState(request, response, next)
  const limit = createRateLimit({ points: formsAMinute, seconds: 60 })

  router.get(path, formState, async (request, response) => {
    const { notice } = takeForNextPage(request, signedIn.get(request).session)
    const app = findSingle(readQuery(request), 'app')
    await show(request, response, { notice, ...(app === undefined ? {} : { again: await findForm(request, app) }) })
  })

  router.post(path, formBody(maxFormBytes), formState, async (request, response) => {
    const live = signedIn.get(request)
    const { session } = live
    const form = readForm(request.body)
    if (!tokens.isOf(session, form?.get('form_token') ?? undefined)) return answers.refuse(request, response, 'cross_origin')
    const wait = await limit.consume(`${session.issuer}\n${session.sub}`)
    if (wait !== undefined) return answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    const withdrawn = form?.get('withdraw') ?? undefined
    const app = form?.get('app') ?? undefined
    if (withdrawn !== undefined) return await withdraw(request, response, live, withdrawn)
    if (app === undefined) return answers.refuse(request, response, 'bad_request')
    await ask(request, response, { live, app, text: form?.get('reason') ?? '' })
  })

  router.all(path, onlyMethods('GET, HEAD, POST', answers))

  /** Of an app that one may not ask for there is none, as of one that there is not. */
  async function findForm(request: Request, app: string): Promise<AskAgain | undefined> {
    const facts = await gatherFacts(ports, request, signedIn.get(request))
    const known = facts.lock === undefined ? (await findKnownApps(ports, facts)).find((one) => one.app.id === app) : undefined
    if (known === undefined || !mayAskFor(known.decision)) return undefined
    return { app: known.app.id, name: known.app.name, value: '', error: undefined }
  }

  async function ask(
    request: Request,
    response: Response,
    { app, live, text }: { readonly live: LiveSession; readonly app: string; readonly text: string },
  ): Promise<void> {
    const facts = await gatherFacts(ports, request, live)
    const known = facts.lock === undefined ? (await findKnownApps(ports, facts)).find((one) => one.app.id === app) : undefined
    if (known?.decision.effect === 'allow')
      return tell(request, response, { tone: 'info', text: `${known.app.name} is open to you already.` })
    if (known === undefined || !mayAskFor(known.decision)) return answers.refuse(request, response, 'path_not_found')
    const reason = parseRequestText(text)
    if (reason === undefined) {
      const error = text.length <= longestRequestText ? 'Say in a sentence why you need it.' : 'Please say it in at most 500 characters.'
      response.status(400)
      return await show(request, response, { again: { app: known.app.id, name: known.app.name, value: text.slice(0, 2000), error } })
    }
    const asked = await requests.ask(wishOf(request, facts, known, reason))
    if (asked.outcome === 'refused') return tell(request, response, { tone: 'bad', text: problemWords[asked.problem] })
    tell(request, response, { tone: 'good', text: `Your request for ${known.app.name} is on its way. You will see the answer here.` })
  }

  function wishOf(request: Request, { live: { session }, subject }: PersonsFacts, { app, decision }: KnownApp, reason: string) {
    const unmet = decision.effect === 'deny' ? decision.unmet : []
    const email = emailOf(subject)
    return {
      person: { issuer: session.issuer, sub: session.sub },
      label: email ?? displayNameOf(session),
      email,
      app: { id: app.id, name: app.name },
      reason,
      lack: {
        reason: decision.reason as Reason,
        rule: 'rule' in decision ? decision.rule : undefined,
        unmet: unmet.slice(0, mostUnmet).map(({ condition, outcome, remedy }) => ({ condition, outcome, remedy })),
      },
      request: getContext(request).requestId,
    }
  }

  async function withdraw(request: Request, response: Response, { claimsState, session }: LiveSession, id: string): Promise<void> {
    const email = emailOf(ports.readSubject(session, claimsState))
    const { issuer, sub } = session
    const isWithdrawn = await requests.withdraw({ issuer, sub }, id, { email, request: getContext(request).requestId })
    tell(
      request,
      response,
      isWithdrawn
        ? { tone: 'good', text: 'Your request is taken back.' }
        : { tone: 'info', text: 'There was nothing to take back: it is answered, or gone.' },
    )
  }

  function tell(request: Request, response: Response, notice: Notice): void {
    leaveForNextPage(request, signedIn.get(request).session, { notice })
    answers.redirect(response, 303, new URL(path, accessUrl).href)
  }

  async function show(
    request: Request,
    response: Response,
    said: { readonly notice?: Notice | undefined; readonly again?: AskAgain | undefined },
  ): Promise<void> {
    const { claimsState, now, session } = signedIn.get(request)
    const own = await requests.listOf({ issuer: session.issuer, sub: session.sub })
    answers.page(
      response,
      ports.pages.renderPersonal({
        template: 'my-requests',
        title: 'What you asked for',
        person: { name: displayNameOf(session), email: emailOf(ports.readSubject(session, claimsState)) },
        content: describeMyRequests({ requests: own, now, formToken: tokens.issue(session), ...said }),
      }),
    )
  }
}

/** Enough to see what is the matter; a policy may have thousands of conditions. */
const mostUnmet = 20
