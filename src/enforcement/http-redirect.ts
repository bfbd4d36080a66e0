/**
 * The `http_redirect` listener: sends plain HTTP to the public address of what was asked for, and does nothing else.
 *
 * Every Location is built from a configured origin; Host only chooses which, and chooses nothing if nobody knows it. No header of the
 * request, and no other form of its path than the canonical one, can make this lead elsewhere.
 */

import type { Server } from 'node:http'
import type { EnforcementSettings } from './ports.ts'
import { sendAnswer, sendRawAnswer } from './reply.ts'
import { createRequestId } from './request-id.ts'
import type { Responder } from './respond.ts'
import type { RouteTable } from './route-table.ts'
import { readTarget } from './target.ts'

/** Makes `server` that listener. */
export function attachHttpRedirect(
  server: Server,
  {
    settings,
    responder,
    routes,
  }: { readonly settings: EnforcementSettings; readonly responder: Responder; readonly routes: () => RouteTable },
): void {
  const { accessUrl } = settings
  const refuse = (reason: 'bad_request' | 'method_not_allowed' | 'app_not_found') =>
    responder.refuse({ reason, requestId: createRequestId(), audience: 'program' })

  server.on('request', (request, response) => {
    const target = readTarget(request)
    if ('problem' in target) {
      const reason = target.problem === 'method_refused' ? 'method_not_allowed' : 'bad_request'
      return sendAnswer(request, response, refuse(reason))
    }
    // The port that was asked for is this listener's; the public one comes with the origin.
    const origin = target.hostname === accessUrl.hostname ? accessUrl : routes().findHostname(target.hostname)?.origin
    if (origin === undefined) return sendAnswer(request, response, refuse('app_not_found'))
    // 308 keeps method and body: an old link to a form must not turn into something else on its way (RFC 9110 §15.4.9).
    const location = `${origin.origin}${target.path}${target.query}`
    return sendAnswer(request, response, responder.redirect(308, location, { requestId: createRequestId() }))
  })
  for (const event of ['upgrade', 'connect'] as const) server.on(event, (_request, socket) => sendRawAnswer(socket, refuse('bad_request')))
  server.on('clientError', (_error, socket) => (socket.writable ? sendRawAnswer(socket, refuse('bad_request')) : socket.destroy()))
}
