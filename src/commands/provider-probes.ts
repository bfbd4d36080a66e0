/**
 * Probes of the OpenID Provider: its discovery document, our client's credentials, and whether refresh tokens can be expected.
 *
 * The client is tried with a code that cannot exist, so nothing is spent and nobody is signed in.
 */

import { createHash, randomBytes } from 'node:crypto'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadClientAuthentication } from '../oidc/client-authentication.ts'
import { isConfiguredIssuer, isSafeEndpoint, permitsHttp } from '../oidc/discovery.ts'
import { createProviderFetch } from '../oidc/provider-fetch.ts'
import { codeOf, type ProbeResult, printable, probeMs, result } from './probe-result.ts'

/** A discovery document, not judged. */
export type Metadata = Readonly<Record<string, unknown>>
/** The discovery document, or why there is none. `at` is the middle of the exchange. */
export type Discovered =
  | { readonly metadata: Metadata; readonly dateHeader: string | null; readonly at: number }
  | { readonly failure: string; readonly hint?: string }

/** Fetches the discovery document and the provider's time. */
export async function loadMetadata(configuration: InstanceConfiguration, now: () => number): Promise<Discovered> {
  const { issuer } = configuration.provider
  const url = new URL(`${issuer.href.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const provider = createProviderFetch(probeMs / 1000)
  try {
    const before = now()
    const response = await provider.fetch(url.href, { method: 'GET', headers: { accept: 'application/json' } })
    const at = (before + now()) / 2
    if (response.status !== 200) {
      return {
        failure: `${url.href} answers ${response.status}`,
        hint: 'provider.issuer must be the issuer exactly; for Keycloak it ends in /realms/NAME',
      }
    }
    const metadata: unknown = await response.json()
    if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata))
      return { failure: `${url.href} is not a discovery document` }
    return { metadata: metadata as Metadata, dateHeader: response.headers.get('date'), at }
  } catch (error) {
    const isText = error instanceof SyntaxError
    return isText
      ? { failure: `${url.href} is not JSON`, hint: 'something else than the provider answers there' }
      : {
          failure: `the provider cannot be reached (${codeOf(error)})`,
          hint: 'a private certificate authority is made known with NODE_EXTRA_CA_CERTS',
        }
  } finally {
    provider.close()
  }
}

/** What the discovery document says about the features that Postern uses. */
export function* checkMetadata(configuration: InstanceConfiguration, metadata: Metadata): Generator<ProbeResult> {
  const stated = typeof metadata['issuer'] === 'string' ? metadata['issuer'] : ''
  if (!isConfiguredIssuer(stated, configuration.provider.issuer)) {
    yield result(
      'discovery',
      'problem',
      'the provider states another issuer than the configured one',
      `it states ${printable(stated)}; provider.issuer must be the same to the last character`,
    )
    return
  }
  const missing = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'].filter((name) => typeof metadata[name] !== 'string')
  if (missing.length > 0) yield result('discovery', 'problem', `the discovery document lacks ${missing.join(', ')}`)
  else yield result('discovery', 'good', `the provider answers as ${printable(stated)}`)
  const challenges = metadata['code_challenge_methods_supported']
  if (Array.isArray(challenges) && !challenges.includes('S256')) yield result('PKCE', 'problem', 'the provider does not support S256')
  if (typeof metadata['end_session_endpoint'] !== 'string') {
    yield result('sign-out', 'warning', 'the provider has no end-session endpoint: signing out ends the session here, not there')
  }
  if (metadata['backchannel_logout_supported'] !== true) {
    yield result('back-channel logout', 'warning', 'the provider does not announce it: a sign-out there is noticed at the next refresh')
  }
}

/** Tries the credentials on a code that cannot exist: a client that is accepted is told about the code, not about itself. */
export async function tryClient(configuration: InstanceConfiguration, metadata: Metadata): Promise<ProbeResult> {
  const probe = configuration.provider.clientKeyFile === undefined ? 'client secret' : 'client key'
  const endpoint = metadata['token_endpoint']
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) return result(probe, 'unknown', 'there is no token endpoint to try it at')
  const { issuer } = configuration.provider
  // The credentials go to the configured provider over a connection that may carry them, and nowhere else.
  if (!isConfiguredIssuer(String(metadata['issuer']), issuer)) return result(probe, 'unknown', 'not tried: this is another issuer')
  if (!isSafeEndpoint(endpoint, permitsHttp(configuration.provider)))
    return result(probe, 'problem', 'not tried: the token endpoint is not an HTTPS address')
  const provider = createProviderFetch(probeMs / 1000)
  try {
    const server = { ...metadata, issuer: String(metadata['issuer']) }
    const authenticate = await loadClientAuthentication(configuration.provider, server)
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code: `postern-check-${randomBytes(16).toString('hex')}`,
      redirect_uri: new URL('/oidc/callback', configuration.url).href,
      code_verifier: createHash('sha256').update(randomBytes(32)).digest('base64url'),
    })
    const headers = new Headers({ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' })
    await authenticate(server, { client_id: configuration.provider.clientId }, body, headers)
    const response = await provider.fetch(endpoint, { method: 'POST', headers: Object.fromEntries(headers), body })
    return judgeTokenAnswer(probe, response.status, await response.text())
  } catch (error) {
    return result(probe, 'problem', `the token endpoint does not answer (${codeOf(error)})`)
  } finally {
    provider.close()
  }
}

function judgeTokenAnswer(probe: string, status: number, body: string): ProbeResult {
  const error = /"error"\s*:\s*"([a-z_]{1,64})"/.exec(body)?.[1]
  if (error === 'invalid_grant') return result(probe, 'good', 'the provider accepts the client')
  if (status === 401 || error === 'invalid_client' || error === 'unauthorized_client') {
    return result(
      probe,
      'problem',
      `the provider refuses the client (${error ?? status})`,
      'check provider.client_id and its secret or key',
    )
  }
  return result(
    probe,
    'unknown',
    `the provider answers ${status}${error === undefined ? '' : ` ${error}`}, which tells nothing about the client`,
  )
}

/** What can be known about refresh tokens before anybody has signed in. */
export function judgeRefreshToken(configuration: InstanceConfiguration, metadata: Metadata): ProbeResult {
  const { scopes, preset, withoutRefreshToken } = configuration.provider
  const grants = metadata['grant_types_supported']
  const offered = metadata['scopes_supported']
  const consequence =
    withoutRefreshToken === 'accept'
      ? 'claims will stay as they were at sign-in'
      : 'people will be sent through the provider again when claims are old'
  if (Array.isArray(grants) && !grants.includes('refresh_token')) {
    return result('refresh token', 'warning', `the provider gives none; ${consequence}`)
  }
  if (scopes.includes('offline_access')) {
    const isOffered = !Array.isArray(offered) || offered.includes('offline_access')
    return isOffered
      ? result('refresh token', 'good', 'offline_access is asked for; the first sign-in will tell')
      : result('refresh token', 'warning', `offline_access is asked for and not offered; ${consequence}`)
  }
  if (preset === 'keycloak') return result('refresh token', 'good', 'Keycloak gives one for the length of its own session')
  return result(
    'refresh token',
    'unknown',
    `most providers give one only for the scope offline_access, which is not asked for; without one ${consequence}`,
  )
}
