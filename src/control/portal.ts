/**
 * The portal: the apps of one person, judged by the very policy that will judge the click, and of each that is closed why, and what would help.
 *
 * What a person may not know of is not in the page at all; searching hides cards and never finds more. Many apps come in pages.
 */

import type { Router } from 'express'
import { displayNameOf } from '../attributes/subject-facts.ts'
import type { Answers } from './answers.ts'
import type { ConsoleTokens } from './console/console-token.ts'
import type { AppCardView, PageRenderer, PortalView } from './pages.ts'
import { emailOf } from './person.ts'
import { findKnownApps, gatherFacts, type KnownApp, mayAskFor, type PersonsFacts, type PortalAppsPorts } from './portal-apps.ts'
import { pageOfApps } from './portal-listing.ts'
import { type PersonalSettings, personalPathsOf } from './portal-settings.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'
import { isStrongEnough } from './sign-in-step-up.ts'
import type { SignedInRequests } from './signed-in.ts'

export type { PublishedApp } from './portal-apps.ts'

export interface PortalPorts extends PortalAppsPorts {
  /** The address of an app's picture. */
  readonly logoOf: (appId: string) => string | undefined
  readonly answers: Answers
  readonly pages: PageRenderer
  readonly signedIn: SignedInRequests
  readonly tokens: ConsoleTokens
  /** What else there is about oneself; without it there are no such pages. */
  readonly personal?: PersonalSettings | undefined
}

/** Adds `/`. */
export function mountPortal(router: Router, ports: PortalPorts): void {
  const { accessUrl, answers, logoOf, pages, personal, signedIn, tokens } = ports
  router.get('/', async (request, response) => {
    const live = signedIn.get(request)
    const { session } = live
    const facts = await gatherFacts(ports, request, live)
    const person = { name: displayNameOf(session), email: emailOf(facts.subject) }
    const roles = (await personal?.rolesOf(facts.subject)) ?? []
    const asked = new Map<string, number>()
    for (const one of (await personal?.requests?.listOf(session)) ?? []) if (one.state !== 'answered') asked.set(one.app.id, one.askedAt)
    const { requestId } = getContext(request)
    const asking = readQuery(request)
    const query = findSingle(asking, 'q')
    const { apps, listing } = pageOfApps(await findKnownApps(ports, facts), { query, page: findSingle(asking, 'page') })
    const cards = apps.map((known): AppCardView => {
      const { id } = known.app
      const mayAsk = personal?.requests !== undefined && facts.lock === undefined && mayAskFor(known.decision)
      const card = describeCard(known, facts, { requestId, person: person.email ?? person.name })
      return { ...card, logo: logoOf(id), request: mayAsk ? { askedAt: asked.get(id) } : undefined }
    })
    const view: PortalView = {
      person,
      apps: cards,
      query,
      listing,
      signOutUrl: new URL('/.postern/sign-out', accessUrl).href,
      at: facts.environment.at,
      locked: facts.lock?.on === 'device' ? 'device' : facts.lock === undefined ? undefined : 'person',
      pages: roles.length === 0 ? personalPathsOf(personal) : [...personalPathsOf(personal), '/console'],
      formToken: tokens.issue(session),
      requestId,
    }
    answers.page(response, pages.renderPortal(view))
  })
}

function describeCard(
  { app, decision }: KnownApp,
  { environment, live }: PersonsFacts,
  who: { readonly requestId: string; readonly person: string },
): Omit<AppCardView, 'logo'> {
  const { address, description, help, id, name, owner, sensitivity } = app
  const card = { id, name, description, url: `${address.origin}${address.prefix}`, sensitivity }
  switch (decision.effect) {
    case 'allow':
      return { ...card, access: 'open' }
    case 'challenge': {
      const isOnlyOld = decision.challenge === 'step_up' && isStrongEnough(decision.stepUp, live.session.signIn, environment.at)
      return { ...card, access: 'step_up', wanted: isOnlyOld ? 'fresher' : 'stronger' }
    }
    case 'deny': {
      const { reason, unmet } = decision
      return { ...card, access: 'ask', refusal: { ...who, reason, unmet, owner, help } }
    }
  }
}
