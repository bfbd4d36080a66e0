/**
 * `session.store`: which store, and its URL as a secret, because the URL carries the password.
 *
 * One server, Sentinels or a cluster, as `redis-address.ts` reads it. Refusals describe the URL without repeating any of it.
 */

import { type HostPort, parseRedisAddress } from '../redis-address.ts'
import { Secret, type SessionConfiguration } from './instance.ts'
import type { Report } from './problems.ts'
import { type Environment, expandReferences, isGuessable, loadSecretFile } from './secret-values.ts'
import { isLoopbackName } from './web-address.ts'

const expected =
  '`embedded`, or a URL such as `redis://redis:6379`, `redis+sentinel://s1,s2,s3/NAME` or `redis+cluster://h1,h2`, each also with `rediss`'

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

  const address = parseRedisAddress(text)
  if ('refusal' in address) {
    const isNear = /^emb/i.test(text)
    report.problem(path, address.refusal, { expected, suggestion: isNear ? 'did you mean `embedded`?' : undefined })
    return undefined
  }
  if ([address.credentials, address.sentinelCredentials].some(({ password }) => password !== undefined && isGuessable(password))) {
    report.problem(path, 'the password of the store is one that anybody would guess')
    return undefined
  }
  if (address.tls === undefined && address.hosts.some(({ host }) => !isLoopbackName(host))) {
    if (address.credentials.password === undefined)
      report.warning(path, 'the store URL has no password and no TLS: whoever reaches the store can end and delay sessions')
    else if (address.kind === 'sentinel' && address.sentinelCredentials.password === undefined)
      report.warning(
        path,
        'the store URL has no password for the Sentinels and no TLS: whoever reaches one can name another server the store',
      )
  }
  if (address.kind === 'sentinel' && address.hosts.length < 3)
    report.warning(path, 'the store URL names fewer than three Sentinels: where no majority of them answers, requests are refused')
  return { kind: 'redis', url: new Secret(text) }
}

/** Host and port of everybody that a store's URL names, for telling upstreams from the store. */
export function storeAddresses(url: Secret): readonly HostPort[] {
  const address = parseRedisAddress(url.reveal())
  return 'refusal' in address ? [] : address.hosts
}
