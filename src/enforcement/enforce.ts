/**
 * The policy enforcement point: everything that happens to a request for a protected app, in order. Plain requests and WebSocket
 * handshakes take the same way.
 *
 *   1 target      one canonical form is matched, judged, logged and forwarded
 *   2 host        ours, an app's, or nobody's
 *   3 own paths   `/.postern/` leaves the flow here and is never forwarded
 *   4 route       the app, whether it keeps what is unusual in this path, and whether this connection can show what it asks for
 *   5 kept form   one that was kept during a sign-in takes the place of the word to send it on, and is judged like any other
 *   6 judgement   session, cross-origin check, facts, decision, identity: any error in here is a denial, never a pass
 *   7 audit       on record, and where the app asks for it on the disk, before the first byte is forwarded in either direction
 *   8 act         forward, send to sign in, or refuse
 *
 * Absence of a match is a denial at every step.
 */

import { challenge, deny, enterAccessHost, forward, turnAway } from './act.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { isAmbiguouslyFramed } from './framing.ts'
import { judge } from './judge.ts'
import { holdToSender, mayBringKeptPost, recordResumption, takeKeptPost } from './kept-post.ts'
import { putOnRecord } from './on-record.ts'
import { answerOwnPath, answerUnknownHost, isOwnPath } from './own-endpoints.ts'
import { isHostOf, matchRoute, type Route } from './route-table.ts'
import { type ParsedTarget, readTarget } from './target.ts'
import { describeTraced } from './trace-context.ts'

/** Decides one request and acts on the decision. Settles when the exchange is over; rejects only through a mistake of ours. */
export async function enforce(point: EnforcementPoint, arrival: Arrival): Promise<void> {
  // 1 target
  const target = readTarget(arrival.request)
  if ('problem' in target) return turnAway(point, arrival, target.problem === 'method_refused' ? 'method_not_allowed' : 'bad_request')
  if (isAmbiguouslyFramed(arrival.request, arrival.isUpgrade)) return turnAway(point, arrival, 'bad_request', target)

  // 2 host
  if (isHostOf(point.settings.accessUrl, target)) return enterAccessHost(point, arrival, target)
  const host = arrival.snapshot.routes.findHost(target.hostname, target.port)
  if (host === undefined) return answerUnknownHost(point, arrival, target)

  // 3 own paths
  if (isOwnPath(target.path)) return await answerOwnPath(point, arrival, host, target)

  // 4 route
  const route = matchRoute(host, target.path)
  if (route === undefined) return turnAway(point, arrival, 'app_not_found', target)
  if (!target.uses.every((unusual) => route.keeps.has(unusual))) return turnAway(point, arrival, 'bad_request', target)
  // A device shown under one name is none under another, and a connection that was not asked is no device that is missing.
  if (route.policy.needs.has('device') && arrival.isMisdirectedFor(target.hostname))
    return turnAway(point, arrival, 'misdirected_request', target)

  // 5 kept form
  const whole = mayBringKeptPost(point, arrival, route) ? await takeKeptPost(point, arrival, route, target) : arrival
  if (whole === undefined) return
  if (typeof whole === 'string') return turnAway(point, arrival, whole, target)
  whole.trace.begin(() => describeTraced(whole, route, target))
  return await whole.trace.within(() => judgeAndAct(point, whole, route, target))
}

async function judgeAndAct(point: EnforcementPoint, arrival: Arrival, route: Route, target: ParsedTarget): Promise<void> {
  // 6 judgement
  const { heard } = point.news
  const judged = holdToSender(arrival, await judge(point, arrival, route, target))

  // 7 audit: where the app asks for it, nothing goes on before this is on the disk; what cannot be recorded may be refused here
  arrival.trace.step('audit')
  const judgement = await putOnRecord(point, arrival, judged, heard)
  recordResumption(point, arrival, judgement)

  // 8 act
  switch (judgement.decision.effect) {
    case 'allow':
      return await forward(point, arrival, judgement)
    case 'challenge':
      return await challenge(point, arrival, judgement)
    case 'deny':
      return deny(point, arrival, judgement)
  }
}
