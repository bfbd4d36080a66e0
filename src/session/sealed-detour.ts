/**
 * A detour: after the sign-in to one app, the browser goes by other apps that its pages call, so that each of them knows it as well.
 *
 * Which apps, and the page to end at, travel in the address line, sealed under our keys for this access host. Nobody can write a detour of
 * their own, so it leads to no page that a sign-in did not lead to. It is bound to one session and worth nothing for another, and it carries
 * no right: at each app the browser takes an attempt of its own to the access host, where its own session cookie decides.
 */

import type { CurrentKeys } from '../keys.ts'
import { open, type Place, seal } from './seal.ts'

/** From the hand-off to the last stop. A browser needs a second or two; what takes longer is left out, and the person gets to their page. */
const lifetimeMs = 60_000

export interface Detour {
  readonly sessionId: string
  /** Origins still to be visited, the next one first. */
  readonly origins: readonly string[]
  /** Where it ends: an absolute URL of ours. `undefined` until the app that was signed in to has taken its own hand-off and says so. */
  readonly returnTo: string | undefined
  /** When the access host planned it. */
  readonly at: number
}

export interface DetourSealer {
  readonly keys: CurrentKeys
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The value of `detour` in an address. */
export function sealDetour({ keys }: Pick<DetourSealer, 'keys'>, accessUrl: URL, detour: Detour): string {
  return seal(keys(), placeOf(accessUrl), Buffer.from(JSON.stringify(detour))).toString('base64url')
}

/** The detour; `undefined` for one that is not ours. One that is too old has no stops left, and still says where it ends. */
export function openDetour({ keys, now }: DetourSealer, accessUrl: URL, sealed: string): Detour | undefined {
  const plaintext = open(keys(), placeOf(accessUrl), Buffer.from(sealed, 'base64url'))
  if (plaintext === undefined) return undefined
  const { sessionId, origins, returnTo, at } = JSON.parse(plaintext.toString()) as Detour
  const ageMs = now() - at
  // A clock that was set back must not make it immortal.
  const isFresh = ageMs >= -lifetimeMs && ageMs < lifetimeMs
  return { sessionId, origins: isFresh ? origins : [], returnTo: returnTo ?? undefined, at }
}

function placeOf({ host }: URL): Place {
  return { purpose: 'detour', name: host }
}
