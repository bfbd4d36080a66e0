/**
 * `express-session`, for what a form needs between two pages, under a cookie of its own and for signed-in people only.
 *
 * The signed-in session is not in here: that belongs to `src/session`. The id is signed with a key derived from the key ring, so
 * that nobody can name an id of their own choosing; after a rotation, ids signed with the older keys still open.
 */

import { hkdfSync, randomBytes } from 'node:crypto'
import type { RequestHandler } from 'express'
import session from 'express-session'
import type { CurrentKeys, KeyRing } from '../keys.ts'
import type { Logger } from '../log.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import { createSealedRecords } from '../session/sealed-records.ts'
import type { SessionStore } from '../session/store.ts'
import { BrowserStateStore } from './browser-state-store.ts'

export interface BrowserStatePorts {
  readonly accessUrl: URL
  readonly cookies: SealedCookies
  readonly keys: CurrentKeys
  readonly store: SessionStore
  readonly log: Logger
}

/** The middleware. It writes nothing until a handler puts something into `request.session`. */
export function createBrowserState({ accessUrl, cookies, keys, log, store }: BrowserStatePorts): RequestHandler {
  const stateStore = new BrowserStateStore({ store, records: createSealedRecords(store, keys, log) })
  let built: { readonly ring: KeyRing; readonly handler: RequestHandler } | undefined

  const build = (ring: KeyRing): RequestHandler =>
    session({
      name: cookies.nameOf('ui', accessUrl),
      secret: signingSecrets(ring),
      store: stateStore,
      genid: () => randomBytes(32).toString('base64url'),
      resave: false,
      saveUninitialized: false,
      rolling: false,
      unset: 'destroy',
      cookie: { httpOnly: true, sameSite: 'lax', path: '/', secure: accessUrl.protocol === 'https:' },
    })

  return (request, response, next) => {
    const ring = keys()
    if (built?.ring !== ring) built = { ring, handler: build(ring) }
    return built.handler(request, response, next)
  }
}

/** The current key's first: it signs, all verify. */
function signingSecrets({ sealing: { all, current } }: KeyRing): string[] {
  const derive = (key: Buffer) => Buffer.from(hkdfSync('sha256', key, '', 'postern/v1/ui-cookie', 32)).toString('base64url')
  return [derive(current.key), ...[...all.values()].filter(({ id }) => id !== current.id).map(({ key }) => derive(key))]
}
