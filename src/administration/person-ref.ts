/**
 * How the console and the API name a person in an address: base64url of `issuer\nsub`, in one spelling only.
 *
 * A `sub` may hold anything, an e-mail address and slashes among it, and means nothing without its issuer; a reference stands in a path as it
 * is. Nothing is secret in it and it proves nothing: whoever reads one treats it as a stranger's word, and another spelling of the
 * same bytes is no reference, so that two addresses never mean one page.
 */

import type { Subject } from './subject-lookup.ts'

/** Issuer and `sub` are a few hundred bytes; more is nobody's. */
const longestRef = 2_048
const refForm = /^[A-Za-z0-9_-]+$/
const control = /[\p{Cc}\p{Zl}\p{Zp}]/u

/** The reference of a person. */
export function refOf({ issuer, sub }: Subject): string {
  return Buffer.from(`${issuer}\n${sub}`, 'utf8').toString('base64url')
}

/** Whom a reference names; `undefined` for anything that `refOf` would not have written. */
export function parseRef(text: string): Subject | undefined {
  if (text.length > longestRef || !refForm.test(text)) return undefined
  const named = Buffer.from(text, 'base64url').toString('utf8')
  const at = named.indexOf('\n')
  const subject = { issuer: named.slice(0, Math.max(at, 0)), sub: named.slice(at + 1) }
  if (at < 1 || subject.sub === '' || control.test(subject.issuer) || control.test(subject.sub)) return undefined
  return refOf(subject) === text ? subject : undefined
}
