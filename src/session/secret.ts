/**
 * Secrets that a browser carries, and the hashes under which a store knows them.
 *
 * A secret is 256 random bits in base64url and nothing else: it says nothing and can be checked for form before anything is
 * looked up. Stores see SHA-256 only, so that a dump of one lets nobody in.
 */

import { hash, randomBytes } from 'node:crypto'

const secretForm = /^[A-Za-z0-9_-]{43}$/

/** A new secret, 43 characters. */
export function createSecret(): string {
  return randomBytes(32).toString('base64url')
}

/** A new name of a session, 22 characters. None begins with a hyphen: at a command line that would be an option, `-h` for one. */
export function createSessionId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

/** Whether `text` has the form of a secret. */
export function isSecret(text: string): boolean {
  return secretForm.test(text)
}

/** SHA-256 in base64url of the parts, joined by line feeds; no part but the last may come from outside unchecked. */
export function hashOf(...parts: readonly string[]): string {
  return hash('sha256', parts.join('\n'), 'base64url')
}
