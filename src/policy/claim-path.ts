/**
 * The one resolver of claim paths: `realm_access.roles`, already split at its dots, in claims that came from outside.
 *
 * Rules, group mapping and identity headers all read claims through here, so that no two of them can read the same path
 * differently. Only own properties of plain objects count, and the names that reach a prototype are refused outright: a
 * provider (or whoever can edit an attribute there) must not be able to make `__proto__` or `constructor` mean anything.
 */

import type { ClaimSet } from './facts.ts'

/** The value at `path`, or `undefined` if any step of it is absent. JSON `null` counts as absent. Never throws, never changes anything. */
export function findClaim(claims: ClaimSet, path: readonly string[]): unknown {
  if (path.length === 0) return undefined
  let value: unknown = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    if (isPrototypeName(name) || !Object.hasOwn(value, name)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[name]
  }
  return value ?? undefined
}

/** Whether a name could reach an object's prototype; configuration refuses it in a path, and look-up does again. */
export function isPrototypeName(name: string): boolean {
  return name === '__proto__' || name === 'constructor' || name === 'prototype'
}
