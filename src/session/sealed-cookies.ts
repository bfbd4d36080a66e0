/**
 * Cookies of ours: their names, their attributes, and the sealed ones that carry a pending sign-in.
 *
 * Names are `__Host-…` with `Secure`, except where the public URL is `http://*.localhost`: the same names without prefix and
 * Secure. A sealed value is AES-256-GCM under a key derived for purpose and host, so that it opens on no other host, for no
 * other purpose, and not after its time.
 */

import type { StepUp } from '../policy/decision.ts'

/** What the attempt cookie of an app host keeps. */
export interface AppAttempt {
  /** 256 bits; its hash travels as `attempt`. */
  readonly secret: string
  /** Absolute URL on the app's origin. */
  readonly returnTo: string
  /** The id of the form that was kept when this sign-in began. */
  readonly kept?: string | undefined
}

/** What the login cookie of the access host keeps while the browser is at the provider. */
export interface AccessAttempt {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  readonly begunAt: number
  /** Attempt hash of the app host, if the sign-in began there. */
  readonly attempt: string | undefined
  readonly returnTo: string | undefined
  readonly prompt: 'login' | 'none' | undefined
  /** What the sign-in has to bring beyond naming somebody; what comes back is judged by it. */
  readonly stepUp: StepUp | undefined
  /** Begun from within a page that is open: what becomes of it is told there. In a hidden frame nobody is asked anything. */
  readonly renewal?: 'frame' | 'popup' | undefined
  /** How often this attempt was restarted by itself. */
  readonly restarts: number
}

export type CookieName = 'session' | 'app' | 'ui'

export interface SealedCookies {
  /** The name to use under this public URL, e.g. `__Host-postern-app`. */
  nameOf(cookie: CookieName, url: URL): string
  /** `Set-Cookie` value for a session secret. */
  writeSession(cookie: 'session' | 'app', secret: string, url: URL): string
  /** `Set-Cookie` value that removes it, with the same attributes. */
  clearSession(cookie: 'session' | 'app', url: URL): string
  /** The secret in a `Cookie` header; `undefined` if there is none, or more than one with different values. */
  readSession(cookie: 'session' | 'app', header: string | undefined, url: URL): string | undefined

  /** New pending attempt: the `Set-Cookie` values to send (the new one, and removals that keep the newest 16 and 8 KiB). */
  writeAttempt<T extends AppAttempt | AccessAttempt>(id: string, attempt: T, cookieHeader: string | undefined, url: URL): readonly string[]
  readAppAttempt(id: string, cookieHeader: string | undefined, url: URL): AppAttempt | undefined
  readAccessAttempt(id: string, cookieHeader: string | undefined, url: URL): AccessAttempt | undefined
  /** Ids of the attempts present, newest first by their own time. */
  clearAttempt(id: string, url: URL): string

  /** The client's `Cookie` header without any cookie of ours; `undefined` if nothing is left. */
  withoutOurs(cookieHeader: string): string | undefined
  /** Whether a `Set-Cookie` value of an app would set one of ours (any prefix, any case, also by `Domain`). */
  isOurs(setCookie: string): boolean
}
