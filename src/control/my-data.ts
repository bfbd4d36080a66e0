/**
 * `/privacy`: what is known of the person who looks, why, for how long, who reads it, and what was decided about them lately.
 *
 * It says what this configuration and the policy in force do, not what they usually do. Everything on it is the person's own: their session,
 * their claims, decisions about them. An app that they may not know of is not named; the address that they themselves asked for is.
 */

import type { Router } from 'express'
import { displayNameOf } from '../attributes/subject-facts.ts'
import { describeMyData } from './my-data-content.ts'
import { emailOf } from './person.ts'
import { findKnownApps, gatherFacts } from './portal-apps.ts'
import type { PersonalPorts } from './portal-pages.ts'

/** Enough to recognise one's day by. */
const shownDecisions = 25

/** Adds `/privacy` to the signed-in group, behind its guard. */
export function mountMyData(router: Router, ports: PersonalPorts): void {
  const { answers, pages, personal, readSubject, sessions, signedIn } = ports
  router.get('/privacy', async (request, response) => {
    const live = signedIn.get(request)
    const { claimsState, session } = live
    const subject = { issuer: session.issuer, sub: session.sub }
    const facts = await gatherFacts(ports, request, live)
    const [own, recent, asked] = await Promise.all([
      sessions.listSubject(session.issuer, session.sub),
      personal.trail.recentDecisions({ subject }, shownDecisions),
      personal.requests?.listOf(subject) ?? [],
    ])
    const person = { name: displayNameOf(session), email: emailOf(readSubject(session, claimsState)) }
    const content = describeMyData({
      ...{ session, rules: personal.rules, at: live.now },
      claimPaths: personal.claimPaths(),
      apps: (await findKnownApps(ports, facts)).map(({ app }) => app),
      counts: { sessions: own.length, requests: personal.requests === undefined ? undefined : asked.length },
      recent: personal.trail.isKept ? recent : undefined,
    })
    answers.page(response, pages.renderPersonal({ template: 'my-data', title: 'What is known about you', person, content }))
  })
}
