/**
 * Step 7 of the flow: a decision is on record before anything comes of it.
 *
 * Where the app asks for it (`durability: group`), an allowed request waits here until its line is on the disk; one write serves all who
 * wait. Who waited may have been ended or locked meanwhile, so what was allowed is held against what is known by then. What cannot
 * be recorded is refused where the app demands a record (`when_full: deny`), and that is recorded as far as anything can be.
 */

import type { Arrival, EnforcementPoint } from './arrival.ts'
import { isOffTheRecord, type Judgement, judge, withoutRecord } from './judge.ts'
import { holdToSender } from './kept-post.ts'
import { recordDecision } from './record.ts'

/**
 * Records what was judged and resolves to what may be acted upon. `heardBefore` is the number of news before it was judged: what is told between
 * the decision and its record counts too.
 */
export async function putOnRecord(point: EnforcementPoint, arrival: Arrival, judged: Judgement, heardBefore: number): Promise<Judgement> {
  recordDecision(point, arrival, judged)
  const { decision, route } = judged
  if (decision.effect !== 'allow') return judged
  const { isAwaited, isDemanded } = route.recording
  const isKept = isAwaited ? await point.ports.audit.settle() : true
  // The line that found no room may have been this very one.
  if ((isDemanded && !isKept) || isOffTheRecord(point, judged)) return recordInstead(point, arrival, withoutRecord(judged))
  if (!isAwaited) return judged
  const isStill = point.news.heard === heardBefore && point.ports.live.isCurrent()
  if (isStill || isStanding(point, arrival, judged)) return judged
  const { heard } = point.news
  const again = holdToSender(arrival, await judge(point, arrival, route, judged.target))
  // Allowed again, to whom it was: what is on the disk says so already. As nobody, where strangers are let in, it is another decision: the
  // app must not be told a name that has ended.
  const isSame = again.decision.effect === 'allow' && again.session?.id === judged.session?.id
  return isSame ? judged : putOnRecord(point, arrival, again, heard)
}

function recordInstead(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): Judgement {
  recordDecision(point, arrival, judgement)
  return judgement
}

/** Whether nothing that memory knows of ended or locked it while it waited. */
function isStanding({ ports }: EnforcementPoint, { request }: Arrival, { deviceId, route, session, subject }: Judgement): boolean {
  const { cookies, live, sessions } = ports
  if (!live.isCurrent() || live.findLock({ subject, deviceId, appId: route.app.id }) !== undefined) return false
  if (session === undefined) return true
  // Which device it is was of no interest as long as none was locked.
  if (deviceId === undefined && live.hasDeviceLocks()) return false
  const secret = cookies.readSession('app', request.headers.cookie, route.origin)
  return secret !== undefined && sessions.recallByAppSecret(secret, route.app.address.origin)?.state === 'live'
}
