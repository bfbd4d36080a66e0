/**
 * The address of a Redis store, taken apart: one server, Sentinels that know the primary, or nodes of a cluster.
 *
 * `redis://user:password@host:port/DB`, `redis+sentinel://user:password@s1:26379,s2:26379/NAME/DB`, `redis+cluster://h1:6379,h2:6379`, each also
 * as `rediss…` for TLS, which is always verified. User and password in front of the hosts are the servers'; Sentinels have their own,
 * if any, in `?sentinel_user=…&sentinel_password=…`. Every other option in a query is refused: it could switch off verification.
 * The configuration is checked, upstreams are told from the store and the client is made with this one reading of it. The text may
 * carry passwords, so no refusal repeats any of it.
 */

/** Where something listens. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** As whom to sign in. */
export interface RedisCredentials {
  readonly username?: string
  readonly password?: string
}

/** A parsed address; holds passwords. */
export interface RedisAddress {
  /** Who stands at the hosts: the one server, Sentinels, or nodes of a cluster. */
  readonly kind: 'server' | 'sentinel' | 'cluster'
  /** At least one; exactly one with `server`. */
  readonly hosts: readonly [HostPort, ...HostPort[]]
  /** What the Sentinels call the primary; empty for the others. */
  readonly primaryName: string
  readonly credentials: RedisCredentials
  readonly sentinelCredentials: RedisCredentials
  readonly db: number
  readonly tls: { readonly rejectUnauthorized: true; readonly minVersion: 'TLSv1.2' } | undefined
}

const shape = /^(redis|rediss)(?:\+(sentinel|cluster))?:\/\/([^/?#\s\\]*)(?:\/([^?#\s\\]*))?(?:\?([^#\s]*))?$/
const knownScheme = /^rediss?(?:\+(?:sentinel|cluster))?:\/\//

/** The parts of a store's address, or a sentence that says what is wrong with it. */
export function parseRedisAddress(text: string): RedisAddress | { readonly refusal: string } {
  const [isMatch, scheme, kind = 'server', authority = '', path = '', query] = shape.exec(text) ?? []
  if (isMatch === undefined)
    return { refusal: knownScheme.test(text) ? 'the store URL has a fragment, a blank or a backslash' : 'this is not a store' }
  if (query !== undefined && kind !== 'sentinel') return { refusal: 'the store URL has a query' }
  const sentinelCredentials = parseSentinelCredentials(query ?? '')
  if (sentinelCredentials === undefined)
    return { refusal: 'the query of the store URL may hold `sentinel_user` and `sentinel_password`, each once, and nothing else' }

  const at = authority.lastIndexOf('@')
  const hosts = authority.slice(at + 1).split(',')
  if (kind === 'server' && hosts.length > 1) return { refusal: 'a store URL with several hosts is one of Sentinels or of a cluster' }
  const [first, ...others] = hosts.flatMap((host) => parseHostPort(host, kind === 'sentinel' ? 26_379 : 6_379) ?? [])
  if (first === undefined || others.length + 1 < hosts.length) return { refusal: 'the store URL has no host, or one that is not valid' }

  const [primaryName = '', database = '', ...rest] = kind === 'sentinel' ? path.split('/') : ['', path]
  if (kind === 'sentinel' && (!/^[\w.-]{1,100}$/.test(primaryName) || rest.length > 0))
    return { refusal: 'the path of the store URL is the name that the Sentinels have for the primary, and perhaps a database number' }
  if (!/^\d{0,4}$/.test(database)) return { refusal: 'the path of the store URL is a database number' }
  if (kind === 'cluster' && Number(database) !== 0) return { refusal: 'a Redis Cluster has database 0 only' }
  return {
    kind: kind === 'sentinel' || kind === 'cluster' ? kind : 'server',
    hosts: [first, ...others],
    primaryName,
    credentials: at === -1 ? {} : parseUserInfo(authority.slice(0, at)),
    sentinelCredentials,
    db: Number(database),
    tls: scheme === 'rediss' ? { rejectUnauthorized: true, minVersion: 'TLSv1.2' } : undefined,
  }
}

function parseHostPort(text: string, defaultPort: number): HostPort | undefined {
  if (text === '' || !URL.canParse(`redis://${text}`)) return undefined
  const url = new URL(`redis://${text}`)
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return host === '' ? undefined : { host, port: url.port === '' ? defaultPort : Number(url.port) }
}

function parseUserInfo(text: string): RedisCredentials {
  const [name = '', password = ''] = text.split(/:(.*)/s)
  return credentialsOf(name, password)
}

function parseSentinelCredentials(query: string): RedisCredentials | undefined {
  const values = new Map<string, string>()
  for (const part of query === '' ? [] : query.split('&')) {
    const [name = '', value = ''] = part.split(/=(.*)/s)
    if ((name !== 'sentinel_user' && name !== 'sentinel_password') || values.has(name)) return undefined
    values.set(name, value)
  }
  return credentialsOf(values.get('sentinel_user') ?? '', values.get('sentinel_password') ?? '')
}

function credentialsOf(username: string, password: string): RedisCredentials {
  return {
    ...(username === '' ? {} : { username: decoded(username) }),
    ...(password === '' ? {} : { password: decoded(password) }),
  }
}

/** A percent sign that begins no escape stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // Not an escape sequence; the error would repeat the text.
    return text
  }
}
