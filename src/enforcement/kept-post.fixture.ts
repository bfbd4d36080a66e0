/**
 * What tests of kept forms share: forms as a browser sends them, sessions that have run out, and a browser that comes back from a sign-in.
 */

import type { AuditEvent } from '../audit/event.ts'
import { type FlowRig, get, navigation, type ParsedAnswer, wikiOrigin } from './enforcement.fixture.ts'

/** The type of a plain form. */
export const formType = 'application/x-www-form-urlencoded'
/** What a browser says of a form that a page of the wiki sends. */
export const fromOwnPage = [...navigation.filter((line) => !line.includes('Site')), 'Sec-Fetch-Site: same-origin', `Origin: ${wikiOrigin}`]
/** Longer than the idle timeout. */
export const expiredMs = 1_860_000

/** Raw bytes of a form post as a browser's page of the wiki sends it. */
export function post(
  path: string,
  body: string,
  { lines = fromOwnPage, type = formType, cookies = [] as readonly (string | undefined)[] } = {},
): string {
  const cookie = cookies.filter((one) => one !== undefined).join('; ')
  const head = [
    ...lines,
    `Content-Type: ${type}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(cookie === '' ? [] : [`Cookie: ${cookie}`]),
  ]
  return get(path, head, undefined, 'POST') + body
}

const cookiesOf = (answer: ParsedAnswer) => [answer.headers['set-cookie'] ?? []].flat().map((line) => line.split(';')[0] ?? '')
/** What a page was told. */
export const viewOf = (answer: ParsedAnswer) => JSON.parse(answer.body) as Record<string, string>
/** What is on record of kept forms. */
export const postEvents = (rig: FlowRig) =>
  rig.events.filter(({ event }) => event.startsWith('post.')) as Extract<AuditEvent, { event: 'post.kept' }>[]

/** Signs `sub` in and lets the session expire: what its cookie then brings meets a sign-in. */
export async function expired(rig: FlowRig, sub = 'alice') {
  const signedIn = await rig.signIn(sub)
  rig.clock.move(expiredMs)
  return signedIn
}

/** What a browser does after `challenge`: signs in as `sub`, comes back with the code, and is led on. */
export async function comeBack(rig: FlowRig, challenge: ParsedAnswer, sub = 'alice') {
  const attempt = new URL(String(challenge.headers['location'])).searchParams.get('attempt') ?? ''
  const [attemptCookie] = cookiesOf(challenge)
  const { session } = await rig.signIn(sub)
  const code = await rig.sessions.issueHandOff({ sessionId: session.id, origin: wikiOrigin, attempt, returnTo: `${wikiOrigin}/edit` })
  const back = await rig.ask(get(`/.postern/callback?code=${code}`, [...navigation, `Cookie: ${attemptCookie}`]))
  const [cookie] = cookiesOf(back)
  const url = new URL(String(back.headers['location']))
  const page = () => rig.ask(get(`${url.pathname}${url.search}`, [...navigation, `Cookie: ${cookie}; ${attemptCookie}`]))
  return { attemptCookie, back, cookie, page, session, url }
}

/** The form that sends a kept one on. */
export const resume = (id: string | undefined, cookies: readonly (string | undefined)[], path = '/edit?page=7', lines = fromOwnPage) =>
  post(path, `postern_resume=${id}`, { cookies, lines })

/** A form of alice's was kept and her browser is back: the id, and the cookies to send it on with. */
export async function keep(rig: FlowRig, body = 'text=hello', type = formType) {
  const { cookie: before, session: old } = await expired(rig)
  const challenge = await rig.ask(post('/edit?page=7', body, { cookies: [before], type }))
  if (challenge.status !== 303) throw new Error(`not kept: ${challenge.status}`)
  const back = await comeBack(rig, challenge)
  const id = viewOf(await back.page())['resume'] ?? ''
  return { ...back, before, old, id }
}
