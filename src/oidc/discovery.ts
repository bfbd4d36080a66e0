/**
 * Knowing the provider: its metadata, fetched in the background and kept current for as long as the process lives.
 *
 * Postern starts without its provider and answers 503 for sign-in until discovery succeeds; it is retried with growing
 * pauses, then repeated every hour. What is fetched later replaces what is known only if it passes the same checks: the
 * issuer is byte for byte the configured one (OpenID Connect Discovery §4.3), and every endpoint that credentials or keys
 * travel to is HTTPS, unless plain HTTP is allowed for this provider. A bad answer is logged and changes nothing.
 */

// biome-ignore lint/suspicious/noDeprecatedImports: called only where `permitsHttp` says so: this machine, or the admin's own words
import { allowInsecureRequests, customFetch, discovery, type ServerMetadata } from 'openid-client'
import type { ProviderConfiguration } from '../config/instance.ts'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { isLocalhostName } from '../name-resolution.ts'
import { loadClientAuthentication } from './client-authentication.ts'
import { withoutMaterial } from './provider-failure.ts'
import type { ProviderFetch } from './provider-fetch.ts'

const firstPauseMs = 500
/** Short enough that people can sign in moments after the provider is back. */
const longestPauseMs = 10_000
const repeatMs = 3_600_000
const reachableMs = 10_000
/** A person is waiting; a provider this slow would lose them anyway. */
const reachableWithinMs = 3000

export interface KnownProvider {
  readonly metadata: ServerMetadata
  readonly authentication: Awaited<ReturnType<typeof loadClientAuthentication>>
}

export interface Discovery {
  /** What is known now; `undefined` until the first success. */
  find(): KnownProvider | undefined
  /**
   * Makes sure that the provider answers, before a person is sent there: an error page of ours says what to do, a browser's
   * does not. Rejects with `provider_unavailable`. Asks at most once in ten seconds while it does answer.
   */
  confirmReachable(): Promise<void>
  close(): void
}

export interface DiscoverySettings {
  readonly configuration: ProviderConfiguration
  readonly providerFetch: ProviderFetch
  readonly timeoutSeconds: number
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Logger
}

/** Starts looking for the provider at once, and never stops until closed. */
export function startDiscovery(settings: DiscoverySettings): Discovery {
  const { configuration, log, now, providerFetch } = settings
  let known: KnownProvider | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let failures = 0
  let answeredAt = Number.NEGATIVE_INFINITY
  let question: Promise<void> | undefined

  const ask = async (): Promise<void> => {
    const url = `${configuration.issuer.href.replace(/\/$/, '')}/.well-known/openid-configuration`
    const signal = AbortSignal.timeout(reachableWithinMs)
    const { status } = await providerFetch.fetch(url, { method: 'GET', headers: { accept: 'application/json' }, signal })
    // Anything but its own admission of trouble will do: what the metadata says was checked when it was taken in.
    if (status >= 500) throw new PosternError('provider_unavailable', `the provider answers ${status}`)
    answeredAt = now()
  }

  const attempt = async (): Promise<void> => {
    try {
      const found = await discover(settings)
      if (known === undefined || failures > 0) log.info({ issuer: found.metadata.issuer }, 'provider discovered')
      known = found
      answeredAt = now()
      failures = 0
    } catch (error) {
      failures += 1
      const loud = failures === 1 || failures % 10 === 0
      const facts = { issuer: configuration.issuer.href, failures, err: withoutMaterial(error) }
      if (loud) log.warn(facts, known === undefined ? 'provider not discovered yet' : 'provider metadata not refreshed; the old stands')
    }
    if (isClosed) return
    const pause = failures === 0 ? repeatMs : Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs)
    timer = setTimeout(() => void attempt(), pause)
    timer.unref()
  }
  void attempt()

  return {
    find: () => known,
    async confirmReachable() {
      if (now() - answeredAt < reachableMs) return
      question ??= ask().finally(() => {
        question = undefined
      })
      await question
    },
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

async function discover({ configuration, providerFetch, timeoutSeconds }: DiscoverySettings): Promise<KnownProvider> {
  const insecure = permitsHttp(configuration)
  const found = await discovery(configuration.issuer, configuration.clientId, undefined, undefined, {
    timeout: timeoutSeconds,
    [customFetch]: (url, options) => providerFetch.fetch(url, options),
    execute: insecure ? [allowInsecureRequests] : [],
  })
  const metadata = found.serverMetadata()
  if (!isConfiguredIssuer(metadata.issuer, configuration.issuer)) {
    throw new PosternError('provider_unavailable', `discovery names issuer ${metadata.issuer}, which is not the configured one`)
  }
  for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const) {
    if (metadata[name] === undefined) throw new PosternError('provider_unavailable', `the provider's metadata has no ${name}`)
  }
  for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri', 'userinfo_endpoint', 'end_session_endpoint'] as const) {
    const url = metadata[name]
    if (url !== undefined && !isSafeEndpoint(url, insecure)) {
      throw new PosternError('provider_unavailable', `the provider's ${name} is not an HTTPS address`)
    }
  }
  return { metadata, authentication: await loadClientAuthentication(configuration, metadata) }
}

/**
 * Whether the provider states the configured issuer, byte for byte. A parsed URL prints an empty path as `/`, so for an issuer that is a
 * bare origin both spellings are the configured one.
 */
export function isConfiguredIssuer(issuer: string, configured: URL): boolean {
  return issuer === configured.href || (configured.pathname === '/' && issuer === configured.origin)
}

/** Whether credentials may be sent to this address: HTTPS, or plain HTTP where `permitsHttp` says so. */
export function isSafeEndpoint(text: string, insecure: boolean): boolean {
  const url = URL.parse(text)
  return url !== null && url.username === '' && url.password === '' && (url.protocol === 'https:' || (insecure && url.protocol === 'http:'))
}

/** Whether plain HTTP to the provider is allowed: on this machine, or because the admin wrote so. */
export function permitsHttp({ issuer, dangerouslyAllowHttp }: ProviderConfiguration): boolean {
  if (issuer.protocol !== 'http:') return false
  const isLoopback = isLocalhostName(issuer.hostname) || /^127(\.\d+){3}$/.test(issuer.hostname) || issuer.hostname === '[::1]'
  return isLoopback || dangerouslyAllowHttp
}
