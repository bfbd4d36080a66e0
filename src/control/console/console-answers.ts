/**
 * How the console answers: what a handler returned becomes a page, a redirect, a file, JSON or a stream; what stood in its way becomes a
 * page that says so, with the same word in `X-Postern` and, for a program or a page's own script, in JSON.
 *
 * A refusal names what it takes and never what was sent. Somebody signed in who holds no role is told so and whom to ask: a 404 would only
 * hide from an employee what every employee knows. A file is streamed as fast as it is taken, and a failure half way cuts the connection: half
 * a file must not look whole.
 */

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Request, Response } from 'express'
import type { NoRole } from '../../administration/console-roles.ts'
import type { Logger } from '../../log.ts'
import { reasons } from '../../policy/decision.ts'
import { parseOwnPath } from '../contact.ts'
import { type Refused, statusByProblem } from '../operations/operation.ts'
import type { PageRenderer } from '../pages.ts'
import { getContext, isNavigation } from '../request-context.ts'
import { type ConsoleFrame, describeFrame, type FrameFacts } from './console-frame.ts'
import type { ConsoleAnswer, ConsoleSection } from './console-page.ts'

export interface ConsoleAnswersPorts {
  readonly accessUrl: URL
  readonly pages: Pick<PageRenderer, 'renderConsole'>
  readonly log: Logger
}

/** What the frame of an answer is made of, besides its title. */
export type Surroundings = Omit<FrameFacts, 'title' | 'section'>

export interface ConsoleAnswers {
  /** Everything but `redirect`'s notice and `events`, which need the session. */
  answer(request: Request, response: Response, around: Surroundings, answer: Exclude<ConsoleAnswer, { kind: 'events' }>): Promise<void>
  /** 403: somebody without a role. */
  refuseStranger(request: Request, response: Response, around: Surroundings, because: NoRole): void
  /** 401: a sign-in is missing, or a fresh one, and a form was sent or a script asks. `signInPath` from checked values only. */
  askForSignIn(request: Request, response: Response, around: Surroundings, ask: SignInAsk): void
  redirect(response: Response, path: string): void
}

export interface SignInAsk {
  readonly reason: 'login_required' | 'insufficient_user_authentication'
  readonly signInPath: string
  /** A form was sent, and did nothing. */
  readonly isChange: boolean
}

/** The answers of the console. */
export function createConsoleAnswers({ accessUrl, log, pages }: ConsoleAnswersPorts): ConsoleAnswers {
  const page = (response: Response, html: string) => void response.type('html').send(html)
  const frameOf = (around: Surroundings, title: string, section?: ConsoleSection): ConsoleFrame =>
    describeFrame({ ...around, title, section })

  function refuse(request: Request, response: Response, around: Surroundings, refusal: Refused): void {
    const { detail, message, problem } = refusal
    const { requestId } = getContext(request)
    response.status(statusByProblem[problem]).set('X-Postern', problem)
    if (!isNavigation(request)) {
      response.json({ error: problem, message, ...(detail === undefined ? {} : { detail }), request_id: requestId })
      return
    }
    const title = titleByProblem[problem] ?? 'This was not done'
    const content = { title, message, requestId, fields: fieldsOf(refusal), backHref: around.path }
    page(response, pages.renderConsole({ template: 'refused', frame: frameOf(around, title), content, scripts: [] }))
  }

  function notFound(request: Request, response: Response, around: Surroundings): void {
    const { requestId } = getContext(request)
    response.status(404).set('X-Postern', 'path_not_found')
    if (!isNavigation(request)) {
      response.json({ error: 'path_not_found', message: reasons.path_not_found, request_id: requestId })
      return
    }
    const content = { requestId }
    page(response, pages.renderConsole({ template: 'not-found', frame: frameOf(around, 'Not here'), content, scripts: [] }))
  }

  function redirect(response: Response, path: string): void {
    const own = parseOwnPath(path)
    if (own === undefined) throw new TypeError('the console redirects to paths of its own host only')
    response.status(303).set('Location', new URL(own, accessUrl).href).end()
  }

  return {
    redirect,
    async answer(request, response, around, answer) {
      switch (answer.kind) {
        case 'page': {
          const { content, scripts = [], section, status = 200, template, title } = answer
          response.status(status)
          return page(response, pages.renderConsole({ template, frame: frameOf(around, title, section), content, scripts }))
        }
        case 'redirect':
          return redirect(response, answer.to)
        case 'not_found':
          return notFound(request, response, around)
        case 'refused':
          return refuse(request, response, around, answer.refusal)
        case 'json':
          return void response.status(answer.status ?? 200).json(answer.body)
        case 'download':
          return await download(request, response, answer, log)
      }
    },
    refuseStranger(request, response, around, because) {
      const { requestId } = getContext(request)
      response.status(403).set('X-Postern', 'not_permitted')
      const message = because === 'nobody_yet' ? noAdminYet : noRoleWords[because]
      if (!isNavigation(request)) {
        response.json({ error: 'not_permitted', message, request_id: requestId })
        return
      }
      const title = because === 'nobody_yet' ? 'Nobody looks after this console yet' : 'The console is not open to you'
      const content = { title, because, message, requestId, person: around.name ?? '' }
      page(response, pages.renderConsole({ template: 'not-allowed', frame: frameOf(around, title), content, scripts: [] }))
    },
    askForSignIn(request, response, around, { isChange, reason, signInPath }) {
      const { requestId } = getContext(request)
      const message = isChange ? 'Nothing was changed: this needs a sign-in of late.' : 'This needs a sign-in of late.'
      response.status(401).set({ 'X-Postern': reason, 'WWW-Authenticate': `Postern realm="${accessUrl.hostname}"` })
      if (!isNavigation(request)) {
        response.json({ error: reason, message, sign_in: new URL(signInPath, accessUrl).href, request_id: requestId })
        return
      }
      const title = 'Sign in again'
      const content = { isChange, isStranger: reason === 'login_required', signInPath, requestId, backHref: around.path }
      page(response, pages.renderConsole({ template: 'sign-in-again', frame: frameOf(around, title), content, scripts: [] }))
    },
  }
}

const noAdminYet = 'No role is given to anybody yet: neither console.roles nor an invitation names a person.'

const noRoleWords: Readonly<Record<Exclude<NoRole, 'nobody_yet'>, string>> = {
  no_role: 'Your account holds no role here.',
  circumstances: 'Your account holds a role, but the console is not open as things are now: it asks for another device, network or time.',
  locked: 'Your account or this device is locked.',
}

const titleByProblem: Readonly<Partial<Record<Refused['problem'], string>>> = {
  not_permitted: 'Your role does not let you do this',
  target_protected: 'This is for an admin to do',
  second_person_needed: 'This needs a second person',
  conflict: 'Somebody else was faster',
  malformed: 'Something is missing or wrong',
  policy_refused: 'The policy is not good yet',
  policy_is_files: 'Files are the policy here',
  confirmation_needed: 'This needs your word',
  not_found: 'It is not there any more',
}

/** The sentences of a malformed form, for a page that cannot show them at the field. */
function fieldsOf({ detail }: Refused): readonly { readonly name: string; readonly sentence: string }[] {
  const fields: unknown = detail?.['fields']
  if (typeof fields !== 'object' || fields === null) return []
  return Object.entries(fields).flatMap(([name, sentence]) => (typeof sentence === 'string' ? [{ name, sentence }] : []))
}

async function download(
  request: Request,
  response: Response,
  { body, filename, type }: Extract<ConsoleAnswer, { kind: 'download' }>,
  log: Logger,
): Promise<void> {
  response.status(200).set({ 'Content-Type': type, 'Content-Disposition': dispositionOf(filename) })
  if (typeof body === 'string' || Buffer.isBuffer(body)) return void response.send(Buffer.from(body))
  if (request.method === 'HEAD') return void response.end()
  try {
    await pipeline(Readable.from(body, { objectMode: true, highWaterMark: 4 }), response)
  } catch (error) {
    // Gone browsers are no failure of ours; anything else was cut off by `pipeline`, and the log has why.
    if (!request.destroyed && !isGone(error))
      log.error({ err: error, request: getContext(request).requestId }, 'a download failed half way')
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ERR_STREAM_PREMATURE_CLOSE' || error.code === 'ECONNRESET')
}

/** RFC 6266 with a plain name for old clients; nothing of it can end the header or name a folder. */
function dispositionOf(filename: string): string {
  const plain = filename.replace(/[^\w.-]+/g, '_').slice(0, 120)
  const encoded = encodeURIComponent(filename.toWellFormed()).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
