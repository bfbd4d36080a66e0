/**
 * The portal: the apps of one person, judged by the very policy that will judge the click.
 *
 * What a person may not know of is not in the page at all; searching hides cards and never finds more.
 */

import { TLSSocket } from 'node:tls'
import type { Router } from 'express'
import type { DeviceReader } from '../attributes/device-facts.ts'
import type { Circumstances, EnvironmentReader } from '../attributes/environment-facts.ts'
import { readSignInFacts } from '../attributes/sign-in-facts.ts'
import { displayNameOf } from '../attributes/subject-facts.ts'
import type { CompiledApp } from '../policy/compile.ts'
import type { App } from '../policy/document.ts'
import type { FactGroup } from '../policy/facts.ts'
import { decidePortal } from '../policy/portal.ts'
import type { Answers } from './answers.ts'
import type { AppCardView, PageRenderer } from './pages.ts'
import { emailOf, type ReadPerson } from './person.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'
import type { SignedInRequests } from './signed-in.ts'

/** An app as the snapshot in force has it. */
export interface PublishedApp {
  readonly app: App
  readonly policy: CompiledApp
}

export interface PortalPorts extends ReadPerson {
  readonly accessUrl: URL
  readonly apps: () => Iterable<PublishedApp>
  /** The address of an app's picture. */
  readonly logoOf: (appId: string) => string | undefined
  readonly answers: Answers
  readonly pages: PageRenderer
  readonly signedIn: SignedInRequests
  readonly readEnvironment: EnvironmentReader
  readonly devices: DeviceReader
  readonly now: () => number
}

/** Adds `/`. */
export function mountPortal(router: Router, ports: PortalPorts): void {
  const { accessUrl, answers, apps, devices, logoOf, now, pages, readEnvironment, readSubject, signedIn } = ports
  router.get('/', async (request, response) => {
    const { session, claimsState } = signedIn.get(request)
    const subject = readSubject(session, claimsState)
    const reading = devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
    const signIn = readSignInFacts(session)
    const circumstances: Circumstances = {
      address: getContext(request).address,
      at: now(),
      scheme: accessUrl.protocol === 'https:' ? 'https' : 'http',
      tlsVersion: request.socket instanceof TLSSocket ? (request.socket.getProtocol() ?? undefined) : undefined,
      userAgent: request.headers['user-agent'],
    }
    const environment = readEnvironment(circumstances, everything)
    const cards: AppCardView[] = []
    for (const { app, policy } of apps()) {
      const { isVisible, decision } = decidePortal(policy, { subject, signIn, device: reading.device, environment })
      if (isVisible) cards.push({ ...cardOf(app, decision.effect === 'allow' ? 'open' : 'ask'), logo: logoOf(app.id) })
    }
    const view = {
      person: { name: displayNameOf(session), email: emailOf(subject) },
      apps: cards,
      query: findSingle(readQuery(request), 'q'),
      signOutUrl: new URL('/.postern/sign-out', accessUrl).href,
    }
    answers.page(response, pages.renderPortal(view))
  })
}

/** The apps of a portal ask for different facts; one look-up serves them all. */
const everything: ReadonlySet<FactGroup> = new Set(['device', 'country', 'asn', 'client'])

function cardOf({ address, description, id, name, sensitivity }: App, access: AppCardView['access']): Omit<AppCardView, 'logo'> {
  return { id, name, description, url: `${address.origin}${address.prefix}`, sensitivity, access }
}
