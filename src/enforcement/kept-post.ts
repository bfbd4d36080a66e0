/**
 * Forms that meet a sign-in: kept before it, taken back after it.
 *
 * Keeping comes after the decision: whether a form may be kept at all is settled from its head (a form of the app's own page, small
 * enough, from a browser whose cookie leads to a session on record), then room is taken in the store, and only then is the body read.
 * What cannot be kept is never lost in silence: the person is told while the browser still has it.
 *
 * Taking back comes before the decision: a form with exactly our one field stands for the one that was kept. Any presentation burns that.
 * It goes on to where it was sent and nowhere else, for the person who sent it and nobody else, and is judged like any other request.
 * Neither a body nor the name of a field of one is ever logged.
 */

import type { IncomingMessage } from 'node:http'
import type { DenyReason } from '../policy/decision.ts'
import { type FormAddress, type FormRoom, formArrivalMs, type KeptPost, type NotKept } from '../session/kept-posts.ts'
import { isSecret } from '../session/secret.ts'
import { hashSubject } from '../session/session-record.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { isSameOriginPost } from './cross-origin.ts'
import type { Target } from './exchange.ts'
import { type Judgement, reasonOf } from './judge.ts'
import { hasBody } from './request-body.ts'
import { readAudience } from './respond.ts'
import type { Route } from './route-table.ts'

/** The one field of the form that sends a kept one on. Reserved: a form of an app with this field alone and such a value is taken for ours. */
export const resumeField = 'postern_resume'

/** A secret's 43 characters, and nothing that would have to be encoded. */
const resumeFormBytes = resumeField.length + 1 + 43

/** A minute is ample for 58 bytes, and nobody should hold a connection for them. */
const resumeArrivalMs = 60_000

/** What became of a form that met a sign-in. `nothing`: there was none. `gone`: nobody is there to be answered. */
export type Keeping =
  | { readonly outcome: 'nothing' | 'gone' }
  | { readonly outcome: 'kept'; readonly id: string }
  | { readonly outcome: 'not_kept'; readonly because: NotKept }
  | { readonly outcome: 'failed'; readonly reason: DenyReason }

/** Whether a request may bring the word to send on what was kept. Cheap: asked for each. */
export function mayBringKeptPost({ ports }: EnforcementPoint, arrival: Arrival, route: Route): boolean {
  const { request, isUpgrade } = arrival
  return (
    request.method === 'POST' &&
    !isUpgrade &&
    request.headers['content-length'] === String(resumeFormBytes) &&
    request.headers.expect === undefined &&
    request.headers['content-encoding'] === undefined &&
    ports.keptPosts.maxBytes > 0 &&
    essenceOf(request) === 'application/x-www-form-urlencoded' &&
    readAudience(request) === 'page' &&
    ports.cookies.readSession('app', request.headers.cookie, route.origin) !== undefined
  )
}

/**
 * Looks whether a form is the word to send on a kept one, and takes that. The arrival that comes back has been received and is judged
 * from there on; a reason, where there is nothing to judge; `undefined`, where nobody is there to be answered.
 */
export async function takeKeptPost(
  point: EnforcementPoint,
  arrival: Arrival,
  route: Route,
  target: Target,
): Promise<Arrival | DenyReason | undefined> {
  const { ports } = point
  const idleMs = route.app.timeouts.idleSeconds * 1000
  const reception = await arrival.receive({ maxBytes: resumeFormBytes, idleMs, withinMs: resumeArrivalMs })
  if (reception.outcome !== 'received') return reception.outcome === 'gone' ? undefined : 'request_timeout'
  const { bytes } = reception
  const id = readResumeForm(bytes)
  // An app's own form of that length goes on as it came.
  if (id === undefined) return { ...arrival, received: { contentType: contentTypeOf(arrival.request), bytes, kept: undefined } }

  try {
    const kept = await ports.keptPosts.take(id)
    if (kept === undefined) return 'kept_post_gone'
    if (kept.origin !== route.app.address.origin || kept.path !== target.path || kept.query !== target.query) {
      recordPost(point, arrival, route, { event: 'post.discarded', kept, cause: 'other_address' })
      return 'kept_post_gone'
    }
    return { ...arrival, received: { contentType: kept.contentType, bytes: kept.body, kept } }
  } catch (cause) {
    return reasonOf(cause)
  }
}

/** Holds what is sent on to the person who sent it: whoever else is signed in now, or nobody, does not send it in their own name. */
export function holdToSender(arrival: Arrival, judgement: Judgement): Judgement {
  const sender = arrival.received?.kept?.sender
  const { decision, session } = judgement
  if (sender === undefined || decision.effect === 'deny') return judgement
  const isAnother = session === undefined ? decision.effect === 'allow' : hashSubject(session.issuer, session.sub) !== sender.subjectHash
  if (!isAnother) return judgement
  return { ...judgement, decision: { effect: 'deny', reason: 'kept_post_of_another', rule: undefined, unmet: [] }, identity: [] }
}

/** Records what becomes of a form that was taken back. One that meets another sign-in is kept again, and says so itself. */
export function recordResumption(point: EnforcementPoint, arrival: Arrival, { decision, route }: Judgement): void {
  const kept = arrival.received?.kept
  if (kept === undefined || decision.effect === 'challenge') return
  if (decision.effect === 'allow') recordPost(point, arrival, route, { event: 'post.resumed', kept })
  else recordPost(point, arrival, route, { event: 'post.discarded', kept, cause: causeOf(decision.reason) })
}

/** Keeps the form of a person who is sent to sign in, if it may be kept. Never rejects. */
export async function keepPost(point: EnforcementPoint, arrival: Arrival, { route, target }: Judgement): Promise<Keeping> {
  const { received, request } = arrival
  if (request.method !== 'POST' || (received === undefined && !hasBody(request))) return { outcome: 'nothing' }
  // A stranger, or a form from another site: it is redirected like any navigation of nobody.
  if (received === undefined && point.ports.cookies.readSession('app', request.headers.cookie, route.origin) === undefined) {
    return { outcome: 'nothing' }
  }
  // What the app would not take after the sign-in either need not be kept for it, and is told now, while the browser has it.
  const { maxBodyBytes = Number.POSITIVE_INFINITY } = route.app
  if (received === undefined && Number(request.headers['content-length'] ?? 0) > maxBodyBytes) {
    return { outcome: 'failed', reason: 'body_too_large' }
  }
  try {
    const form = await findAddress(point, arrival, route, target)
    if (typeof form === 'string') return dismiss(point, arrival, route, form)
    const announced = received?.bytes.length ?? request.headers['content-length']
    const room = await point.ports.keptPosts.reserve(form, announced === undefined ? point.ports.keptPosts.maxBytes : Number(announced))
    if (typeof room === 'string') return dismiss(point, arrival, route, room)
    return await fill(point, arrival, { form, room, route })
  } catch (cause) {
    return { outcome: 'failed', reason: reasonOf(cause) }
  }
}

/** Records what became of a kept form. `session` is that of whoever sent it. */
export function recordPost(
  { ports }: EnforcementPoint,
  { id }: Pick<Arrival, 'id'>,
  { app }: Pick<Route, 'app'>,
  {
    event,
    kept,
    cause,
  }: {
    readonly event: 'post.kept' | 'post.resumed' | 'post.discarded'
    readonly kept: Pick<KeptPost, 'sender' | 'body'>
    readonly cause?: string
  },
): void {
  ports.audit.record({ event, request: id, session: kept.sender.sessionId, app: app.id, bytes: kept.body.length, cause })
}

/** What is settled from the head alone; in the order of its cost, and the store last. */
async function findAddress(
  { ports }: EnforcementPoint,
  { received, request }: Arrival,
  route: Route,
  { path, query }: Target,
): Promise<FormAddress | NotKept> {
  const { maxBytes } = ports.keptPosts
  const contentType = received?.contentType ?? contentTypeOf(request)
  if (maxBytes === 0) return 'switched_off'
  if (!formTypes.has(essenceOf(contentType)) || request.headers['content-encoding'] !== undefined) return 'other_type'
  if (!isSameOriginPost(route.origin, request.headers)) return 'other_site'
  if ((received?.bytes.length ?? Number(request.headers['content-length'] ?? 0)) > maxBytes) return 'too_large'
  const { origin } = route.app.address
  const secret = ports.cookies.readSession('app', request.headers.cookie, route.origin)
  const sender = secret === undefined ? undefined : await ports.keptPosts.findSender(secret, origin)
  if (sender === undefined) return 'unknown_session'
  if (received?.kept !== undefined && received.kept.sender.subjectHash !== sender.subjectHash) return 'another_person'
  return { origin, path, query, contentType, sender }
}

/** Receives the body into its room. Whatever goes wrong on the way gives the room back. */
async function fill(
  point: EnforcementPoint,
  arrival: Arrival,
  { form, room, route }: { readonly form: FormAddress; readonly room: FormRoom; readonly route: Route },
): Promise<Keeping> {
  let isKept = false
  try {
    const body = arrival.received?.bytes ?? (await receive(point, arrival, route))
    if (!Buffer.isBuffer(body)) return body
    // What comes in chunks may turn out to be nothing.
    if (body.length === 0) return { outcome: 'nothing' }
    const id = await room.keep(body)
    isKept = true
    recordPost(point, arrival, route, { event: 'post.kept', kept: { sender: form.sender, body } })
    return { outcome: 'kept', id }
  } finally {
    if (!isKept) await room.release()
  }
}

async function receive({ ports }: EnforcementPoint, arrival: Arrival, route: Route): Promise<Buffer | Keeping> {
  const idleMs = route.app.timeouts.idleSeconds * 1000
  const reception = await arrival.receive({ maxBytes: ports.keptPosts.maxBytes, idleMs, withinMs: formArrivalMs })
  switch (reception.outcome) {
    case 'received':
      return reception.bytes
    case 'too_large':
      return { outcome: 'not_kept', because: 'too_large' }
    case 'too_slow':
      return { outcome: 'failed', reason: 'request_timeout' }
    case 'gone':
      return { outcome: 'gone' }
  }
}

/** A form that was taken back and cannot be kept again is out of the store: that is on record. */
function dismiss(point: EnforcementPoint, arrival: Arrival, route: Route, because: NotKept): Keeping {
  const kept = arrival.received?.kept
  if (kept !== undefined) recordPost(point, arrival, route, { event: 'post.discarded', kept, cause: because })
  return { outcome: 'not_kept', because }
}

function causeOf(reason: string): string {
  return reason === 'kept_post_of_another' ? 'another_person' : reason
}

/** The id in a form that has our field, once, and nothing else; `undefined` for any other. */
function readResumeForm(bytes: Buffer): string | undefined {
  const text = bytes.toString('latin1')
  const id = text.slice(resumeField.length + 1)
  return text.startsWith(`${resumeField}=`) && isSecret(id) ? id : undefined
}

const formTypes = new Set(['application/x-www-form-urlencoded', 'multipart/form-data'])

function contentTypeOf({ headers }: IncomingMessage): string {
  return headers['content-type'] ?? ''
}

/** The media type without its parameters (RFC 9110 §8.3.1). */
function essenceOf(of: string | IncomingMessage): string {
  const contentType = typeof of === 'string' ? of : contentTypeOf(of)
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}
