/**
 * Whether a request brings an access token that is Postern's to judge, and which (RFC 6750 §2.1).
 *
 * `Authorization: Bearer` is ours only on the paths whose rules name services; everywhere else, and with any other scheme, it belongs to
 * the app and passes untouched. `Postern-Authorization` is ours anywhere and is never forwarded. What could be read in two ways is refused:
 * two lines of one name, two tokens. Tokens in a query or a body are never looked for, since they end in logs.
 */

import type { IncomingMessage } from 'node:http'

/** What a request says of itself where a service would. */
export type ServiceToken =
  | { readonly kind: 'none' }
  /** `isAuthorization`: it came in `Authorization`, so that header must not reach the upstream unless the app wants it. */
  | { readonly kind: 'token'; readonly token: string; readonly isAuthorization: boolean }
  | { readonly kind: 'refused'; readonly reason: 'bad_request' | 'two_identities' | 'invalid_token'; readonly isAuthorization: boolean }

const none: ServiceToken = { kind: 'none' }

/** Reads the token; `isServicePath` says whether a bearer in `Authorization` is ours on the path that was asked for. */
export function readServiceToken(
  request: Pick<IncomingMessage, 'headers' | 'headersDistinct'>,
  isServicePath: () => boolean,
): ServiceToken {
  const { headers } = request
  // Of nearly every request: no second look at its lines.
  if (headers.authorization === undefined && headers['postern-authorization'] === undefined) return none
  const { authorization = [], 'postern-authorization': own = [] } = request.headersDistinct
  const bearers = authorization.filter((line) => namesBearer.test(line))
  const isAuthorization = bearers.length > 0 && isServicePath()
  if (!isAuthorization && own.length === 0) return none
  // An app that reads the other line would see another caller than we did.
  if ((isAuthorization && authorization.length > 1) || own.length > 1) return { kind: 'refused', reason: 'bad_request', isAuthorization }
  if (isAuthorization && own.length > 0) return { kind: 'refused', reason: 'two_identities', isAuthorization }
  const [, token] = bearer.exec((isAuthorization ? bearers : own)[0] ?? '') ?? []
  return token === undefined ? { kind: 'refused', reason: 'invalid_token', isAuthorization } : { kind: 'token', token, isAuthorization }
}

/** The scheme's name has no case (RFC 9110 §11.1). */
const namesBearer = /^bearer(?:[ \t,]|$)/i
const bearer = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i
