/**
 * Who is asking, as an app behind Postern learns it: from the headers that Postern sets and that no client can.
 *
 * This is safe only while the app can be reached through Postern alone. Each app therefore listens where nobody else gets to
 * (loopback here, the compose network there). An app that cannot rely on that verifies the assertion, as payroll does.
 */

import type { IncomingMessage } from 'node:http'

/** The person of one request; `undefined` members were not stated. */
export interface Identity {
  readonly user: string
  readonly email: string | undefined
  readonly preferredUsername: string | undefined
  readonly groups: readonly string[]
}

/** The identity stated in the request's headers; `undefined` for an anonymous request, or one that bypassed Postern. */
export function readIdentity(request: IncomingMessage): Identity | undefined {
  const user = readText(request, 'x-forwarded-user')
  if (user === undefined) return undefined
  return {
    user,
    email: readText(request, 'x-forwarded-email'),
    preferredUsername: readText(request, 'x-forwarded-preferred-username'),
    groups: (readText(request, 'x-forwarded-groups') ?? '').split(',').filter((group) => group !== ''),
  }
}

/** How to call the person on a page. */
export function displayName(identity: Identity | undefined): string {
  return identity?.preferredUsername ?? identity?.email ?? identity?.user ?? 'somebody'
}

/** Postern sends UTF-8; Node reads header bytes as Latin-1, so the bytes are put together again. */
function readText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  if (typeof value !== 'string' || value === '') return undefined
  return Buffer.from(value, 'latin1').toString('utf8')
}
