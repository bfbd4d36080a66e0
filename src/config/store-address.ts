/**
 * `session.store`: which store, and its URL as a secret, because the URL carries the password.
 *
 * Refusals describe the URL without repeating any of it.
 */

import { Secret, type SessionConfiguration } from './instance.ts'
import type { Report } from './problems.ts'
import { type Environment, expandReferences, isGuessable, loadSecretFile } from './secret-values.ts'
import { isLoopbackName, unbracket } from './web-address.ts'

const expected = '`embedded`, or a URL such as `redis://redis:6379` or `rediss://…`'

interface WrittenSession {
  readonly store?: string | undefined
  readonly store_file?: string | undefined
}

/** The store; `embedded` where nothing is written. `undefined` after reporting what is wrong. */
export async function resolveStore(
  written: WrittenSession | undefined,
  environment: Environment,
  report: Report,
  absolute: (path: string) => string,
): Promise<SessionConfiguration['store'] | undefined> {
  const filePath = ['session', 'store_file']
  if (written?.store_file !== undefined && written.store !== undefined) {
    report.problem(filePath, 'the store is given twice', { suggestion: 'keep one of store and store_file', at: 'key' })
    return undefined
  }
  const path = written?.store_file === undefined ? ['session', 'store'] : filePath
  const text =
    written?.store_file === undefined
      ? expandReferences(written?.store ?? 'embedded', environment, report, path)
      : await loadSecretFile(absolute(written.store_file), report, path)
  if (text === undefined) return undefined
  if (text === 'embedded') return { kind: 'embedded' }

  const url = URL.canParse(text) && !/[\s\p{C}]/u.test(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'redis:' && url.protocol !== 'rediss:')) {
    const isNear = /^emb/i.test(text)
    report.problem(path, 'this is not a store', { expected, suggestion: isNear ? 'did you mean `embedded`?' : undefined })
    return undefined
  }
  if (url.hostname === '') report.problem(path, 'the store URL has no host', { expected })
  else if (url.hash !== '' || url.search !== '') report.problem(path, 'the store URL has a query or fragment', { expected })
  else if (!/^\/?\d{0,4}$/.test(url.pathname)) report.problem(path, 'the path of the store URL is a database number', { expected })
  else if (url.password !== '' && isGuessable(decode(url.password)))
    report.problem(path, 'the password of the store is one that anybody would guess')
  else {
    if (url.protocol === 'redis:' && url.password === '' && !isLoopbackName(url.hostname)) {
      report.warning(path, 'the store URL has no password and no TLS: whoever reaches the store can end and delay sessions')
    }
    return { kind: 'redis', url: new Secret(text) }
  }
  return undefined
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // Not an escape sequence, so the text stands for itself.
    return text
  }
}

/** Host and port of a Redis URL, for telling upstreams from the store. */
export function storeAddress(url: Secret): { readonly host: string; readonly port: number } {
  const parsed = new URL(url.reveal())
  return { host: unbracket(parsed.hostname).toLowerCase(), port: parsed.port === '' ? 6379 : Number(parsed.port) }
}
