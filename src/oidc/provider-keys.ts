/**
 * The provider's signing keys: read once, kept, and read again when a token names a key that is not among them.
 *
 * ID Tokens and logout tokens are verified with the same set. A token with an unknown `kid` causes at most one read a
 * minute, so nobody can make us hammer the provider with invented ones; a rotation that signs with its new key at once
 * still works, because that one read is not delayed by the ordinary ones. An outage, or an answer that is not a key set,
 * leaves the last good set in force for a day: longer, and a key that was withdrawn for cause would live on.
 */

import { PosternError } from '../errors.ts'

export type JsonWebKeySet = { readonly keys: readonly Readonly<Record<string, unknown>>[] }

/** The age at which a set is read again although every `kid` is known: a removed key is refused after this. */
const freshMs = 5 * 60_000
/** OpenID Connect Core §10.1.1 asks to look again for an unknown `kid`; this is how often. */
const unknownKidMs = 60_000
/** How soon a failed read is tried again while an old set still serves. */
const retryMs = 10_000
const lastGoodMs = 24 * 3_600_000
/** While there is no set at all, a flood of tokens must not become a flood of reads. */
const emptyRetryMs = 1000

export interface ProviderKeys {
  /** The set in force, read again if `kid` is not in it. Rejects with `provider_unavailable` if there is none at all. */
  load(kid: string | undefined): Promise<JsonWebKeySet>
}

/** Creates the cache over `read`, which asks the provider. */
export function createProviderKeys(read: () => Promise<unknown>, now: () => number): ProviderKeys {
  let known: { readonly set: JsonWebKeySet; readonly readAt: number } | undefined
  let triedAt = Number.NEGATIVE_INFINITY
  let unknownKidAt = Number.NEGATIVE_INFINITY
  let flight: Promise<JsonWebKeySet> | undefined
  let failure: unknown

  const readOnce = (): Promise<JsonWebKeySet> => {
    if (flight !== undefined) return flight
    triedAt = now()
    flight = read()
      .then((value) => {
        const set = parseKeySet(value)
        known = { set, readAt: now() }
        return set
      })
      .catch((error: unknown) => {
        failure = error
        throw error
      })
      .finally(() => {
        flight = undefined
      })
    return flight
  }

  return {
    async load(kid) {
      const at = now()
      if (known === undefined || at - known.readAt > lastGoodMs) {
        if (flight === undefined && failure !== undefined && at - triedAt < emptyRetryMs) throw failure
        return await readOnce()
      }
      const { set, readAt } = known
      const isUnknown = kid !== undefined && !set.keys.some((key) => key['kid'] === kid)
      if (isUnknown && at - unknownKidAt >= unknownKidMs) {
        unknownKidAt = at
        return await readOnce().catch(() => set)
      }
      if (isUnknown && flight !== undefined) return await flight.catch(() => set)
      if (at - readAt < freshMs || at - triedAt < retryMs) return set
      return await readOnce().catch(() => set)
    },
  }
}

function parseKeySet(value: unknown): JsonWebKeySet {
  const keys = typeof value === 'object' && value !== null ? (value as { keys?: unknown }).keys : undefined
  const isSet =
    Array.isArray(keys) && keys.length > 0 && keys.every((key) => typeof key === 'object' && key !== null && !Array.isArray(key))
  if (!isSet) throw new PosternError('provider_unavailable', 'jwks_uri answered with something that is not a key set')
  return { keys }
}
