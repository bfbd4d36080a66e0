/**
 * What a stronger or fresher sign-in has to bring, on its way through the browser from an app host to the access host.
 *
 * The app host knows the rule, the access host asks the provider; between them is only the browser's address line. So the demand is
 * sealed under our keys for this purpose, this access host and this one attempt: nobody can write a demand of their own, change one,
 * or take it to another attempt, and it is worth nothing after five minutes. What a program is told has no attempt and is bound to the
 * app's origin instead. It is a wish, not a permission: whatever becomes of it, the app decides again on the facts of the session.
 *
 * An address line has little room. A demand is deflated, and one that still is too long travels without what can be done without.
 */

import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { CurrentKeys } from '../keys.ts'
import type { StepUp } from '../policy/decision.ts'
import type { SignInCondition } from '../policy/document.ts'
import { open, type Place, seal } from './seal.ts'

/** As long as the attempt that it belongs to. */
const lifetimeMs = 300_000
/** With its seal some 1,700 characters: balancers pass an address with that and a long `return_to`, and a cookie holds it. */
const maxPackedBytes = 1_200
/** Sealed by us, so this bounds a mistake of ours and no attack. */
const maxUnpackedBytes = 65_536

export interface StepUpSealer {
  readonly keys: CurrentKeys
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The value of `step_up` in the address of `/sign-in`, for one attempt (the hash that travels as `attempt`), or without one for an origin. */
export function sealStepUp({ keys, now }: StepUpSealer, accessUrl: URL, boundTo: string, stepUp: StepUp): string {
  const at = Buffer.alloc(8)
  at.writeDoubleBE(now())
  return seal(keys(), placeOf(accessUrl, boundTo), Buffer.concat([at, packStepUp(stepUp)])).toString('base64url')
}

/** The demand; `undefined` for one that is forged, changed, of another attempt or access host, or too old. */
export function openStepUp({ keys, now }: StepUpSealer, accessUrl: URL, boundTo: string, sealed: string): StepUp | undefined {
  const plaintext = open(keys(), placeOf(accessUrl, boundTo), Buffer.from(sealed, 'base64url'))
  if (plaintext === undefined) return undefined
  const ageMs = now() - plaintext.readDoubleBE(0)
  // A clock that was set back must not make it immortal.
  return ageMs >= -lifetimeMs && ageMs < lifetimeMs ? unpackStepUp(plaintext.subarray(8)) : undefined
}

/**
 * The shortest form, for a place that is sealed already. The app decides again in any case, so a demand without its conditions is judged
 * one round later, and one without what to ask for leaves that to the provider.
 */
export function packStepUp(stepUp: StepUp): Buffer {
  const forms = [stepUp, { ...stepUp, conditions: [] }, { ...stepUp, conditions: [], acrValues: [], ask: {} }]
  const packed = forms.map((form) => deflateRawSync(JSON.stringify(form)))
  return packed.find(({ length }) => length <= maxPackedBytes) ?? Buffer.concat(packed.slice(-1))
}

/** What `packStepUp` made, with the `undefined` that JSON has not. */
export function unpackStepUp(packed: Buffer): StepUp {
  const { conditions, acrValues, maxAgeSeconds, ask } = JSON.parse(
    inflateRawSync(packed, { maxOutputLength: maxUnpackedBytes }).toString(),
  ) as StepUp
  return { conditions: conditions.map(restoreCondition), acrValues, maxAgeSeconds: maxAgeSeconds ?? undefined, ask }
}

function restoreCondition({ strength, acr, amr, withinSeconds }: SignInCondition): SignInCondition {
  return {
    kind: 'sign_in',
    strength: strength ?? undefined,
    acr: acr ?? undefined,
    amr: amr ?? undefined,
    withinSeconds: withinSeconds ?? undefined,
  }
}

function placeOf({ host }: URL, boundTo: string): Place {
  return { purpose: 'step_up', name: `${host}/${boundTo}` }
}
