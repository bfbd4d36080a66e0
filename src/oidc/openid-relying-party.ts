/**
 * The relying party over `openid-client`: authorization code flow with PKCE, state and nonce, always; and its upkeep.
 *
 * The order is a security property. `isAnswerTo` compares `state` and `iss` while the code is still unspent (RFC 9207, RFC
 * 9700 §4.4); only then does `completeSignIn` redeem it, once, and verify the ID Token with its signature: `openid-client`
 * leaves that out unless `enableNonRepudiationChecks` is called. Userinfo is fetched wherever the provider has it, at
 * sign-in and at each refresh alike, so that claims never depend on which of the two delivered them.
 *
 * A `Configuration` is made for each exchange. That is cheap, and it keeps the key cache ours: the library's own is bound
 * to one object, forgets its keys in an outage, and cannot follow a rotation within a minute of its last read.
 */

import {
  // biome-ignore lint/suspicious/noDeprecatedImports: called only where `permitsHttp` says so: this machine, or the admin's own words
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  Configuration,
  calculatePKCECodeChallenge,
  clockTolerance,
  customFetch,
  enableNonRepudiationChecks,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
} from 'openid-client'
import type { ProviderConfiguration } from '../config/instance.ts'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { mergeClaims, parseSub, readProviderSid, readSignIn } from './claims.ts'
import { type KnownProvider, permitsHttp, startDiscovery } from './discovery.ts'
import { checkIdToken, readJwsHeader } from './id-token.ts'
import { verifyLogoutToken } from './logout-token.ts'
import { sortFailure } from './provider-failure.ts'
import { createProviderFetch, observed, type ProviderObserver, type ProviderOperation } from './provider-fetch.ts'
import { createProviderKeys } from './provider-keys.ts'
import type { PendingSignIn, RefreshResult, RelyingParty } from './relying-party.ts'
import { wishParameters } from './sign-in-wish.ts'

/** One request to the provider. A code is worth nothing after a minute and a person waits; a provider slower than this is down. */
const defaultTimeoutSeconds = 5
/** Everything that one sign-in or refresh asks of it together: tokens, keys, userinfo. */
const budgetFactor = 1.8
/** What clocks that are kept by NTP differ at the very most. Beyond it the sign-in is refused and the log names the clock. */
const clockToleranceSeconds = 60
/** Beyond this length an end-session URL risks 414; without the hint a provider asks the person, which is the better end. */
const maxEndSessionUrl = 6000

export interface RelyingPartySettings {
  readonly configuration: ProviderConfiguration
  /** Origin of the access host; redirect and post-logout URLs are built from it, never from a request. */
  readonly accessUrl: URL
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Logger
  /** For one request to the provider, name look-up to last byte. */
  readonly timeoutSeconds?: number
  /** Hears how long the provider takes. */
  readonly observe?: ProviderObserver
}

/** Creates the relying party and starts discovery. Throws `configuration_invalid` if the issuer is plain HTTP without leave. */
export function createRelyingParty(settings: RelyingPartySettings): RelyingParty {
  const { configuration, accessUrl, now, log, timeoutSeconds = defaultTimeoutSeconds } = settings
  const { clientId, issuer } = configuration
  const allowsHttp = permitsHttp(configuration)
  if (issuer.protocol !== 'https:' && !allowsHttp) {
    throw new PosternError('configuration_invalid', `issuer ${issuer.href} is not HTTPS; dangerously_allow_http would permit it`)
  }
  // Discovery asks before it exists.
  let findKnown: () => KnownProvider | undefined = () => undefined
  const { observe = () => undefined } = settings
  const providerFetch = observed(createProviderFetch(timeoutSeconds), (url) => operationOf(url, findKnown()), observe)
  const discovery = startDiscovery({ configuration, providerFetch, timeoutSeconds, now, log })
  findKnown = discovery.find
  const keys = createProviderKeys(async () => {
    const url = getKnown().metadata.jwks_uri ?? ''
    const response = await providerFetch.fetch(url, { method: 'GET', headers: { accept: 'application/json, application/jwk-set+json' } })
    if (response.status !== 200) throw new PosternError('provider_unavailable', `jwks_uri answered ${response.status}`)
    return await response.json().catch(() => undefined)
  }, now)

  function getKnown(): KnownProvider {
    const known = discovery.find()
    if (known === undefined) throw new PosternError('provider_unavailable', `provider ${issuer.href} has not been discovered yet`)
    return known
  }

  /**
   * One exchange's configuration. Its `fetch` answers for `jwks_uri` from our cache, and notes which key an answer names; `noteRefreshToken`
   * hears of the one that the token endpoint sends, before anything else about its answer is looked at.
   */
  function configure({ metadata, authentication }: KnownProvider, noteRefreshToken?: (token: string) => void): Configuration {
    const config = new Configuration(metadata, clientId, { [clockTolerance]: clockToleranceSeconds }, authentication)
    const jwksUri = URL.parse(metadata.jwks_uri ?? '')?.href
    const tokenEndpoint = URL.parse(metadata.token_endpoint ?? '')?.href
    const budget = AbortSignal.timeout(timeoutSeconds * budgetFactor * 1000)
    let kid: string | undefined
    config[customFetch] = async (url, options) => {
      if (url === jwksUri) return Response.json(await keys.load(kid))
      const signal = options.signal === undefined ? budget : AbortSignal.any([options.signal, budget])
      const response = await providerFetch.fetch(url, { ...options, signal })
      const named = await readAnswer(response.clone())
      kid = named.kid
      const isFromTokenEndpoint = response.status === 200 && url === tokenEndpoint
      if (isFromTokenEndpoint && named.refreshToken !== undefined) noteRefreshToken?.(named.refreshToken)
      return response
    }
    config.timeout = timeoutSeconds
    enableNonRepudiationChecks(config)
    if (allowsHttp) allowInsecureRequests(config)
    return config
  }

  function alarm(error: string): void {
    if (error === 'invalid_client' || error === 'unauthorized_client') {
      log.error({ issuer: issuer.href, error }, 'the provider refuses our client credentials')
    }
  }

  async function loadUserinfo(config: Configuration, accessToken: string, sub: string): Promise<Record<string, unknown> | undefined> {
    if (config.serverMetadata().userinfo_endpoint === undefined) return undefined
    return await fetchUserInfo(config, accessToken, sub)
  }

  return {
    isReady: () => discovery.find() !== undefined,

    async beginSignIn(wish) {
      const config = configure(getKnown())
      await discovery.confirmReachable()
      const pending: PendingSignIn = {
        state: randomState(),
        nonce: randomNonce(),
        codeVerifier: randomPKCECodeVerifier(),
        begunAt: now(),
      }
      const challenge = await calculatePKCECodeChallenge(pending.codeVerifier)
      const url = buildAuthorizationUrl(config, {
        ...wishParameters(wish, config.serverMetadata().claims_parameter_supported === true),
        redirect_uri: new URL('/oidc/callback', accessUrl).href,
        scope: configuration.scopes.join(' '),
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        // Google's own word for what others grant with the scope `offline_access`; without it there is no refresh token.
        ...(configuration.preset === 'google' ? { access_type: 'offline' } : {}),
      })
      return { url, pending }
    },

    isAnswerTo(answer, pending) {
      const { metadata } = getKnown()
      const names = ['state', 'iss', 'code', 'error', 'response', 'id_token', 'access_token']
      if (names.some((name) => answer.getAll(name).length > 1)) return false
      if (answer.has('response') || answer.has('id_token') || answer.has('access_token')) return false
      if (answer.get('state') !== pending.state) return false
      const iss = answer.get('iss')
      if (iss === null) return metadata.authorization_response_iss_parameter_supported !== true
      return iss === metadata.issuer
    },

    async completeSignIn(answer, pending) {
      const known = getKnown()
      const config = configure(known)
      const url = new URL('/oidc/callback', accessUrl)
      url.search = answer.toString()
      try {
        const { codeVerifier: pkceCodeVerifier, state: expectedState, nonce: expectedNonce } = pending
        const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
        const tokens = await authorizationCodeGrant(config, url, checks)
        const claims = tokens.claims()
        if (claims === undefined || tokens.id_token === undefined) throw new PosternError('sign_in_invalid', 'the answer has no ID Token')
        const { access_token: accessToken, id_token: idToken } = tokens
        const { begunAt: requestedAt } = pending
        checkIdToken(idToken, claims, { clientId, accessToken, requestedAt, clockToleranceSeconds, at: now() })
        const identity = { issuer: known.metadata.issuer, sub: parseSub(claims.sub) }
        const userinfo = await loadUserinfo(config, accessToken, identity.sub)
        return {
          outcome: 'signed_in',
          signedIn: {
            ...identity,
            claims: mergeClaims(claims, userinfo, identity),
            signIn: readSignIn(claims, now()),
            tokens: { idToken, accessToken, refreshToken: tokens.refresh_token },
            providerSid: readProviderSid(claims),
          },
        }
      } catch (cause) {
        const failure = sortFailure(cause)
        if (failure.kind === 'failed') throw failure.error
        alarm(failure.error)
        return { outcome: 'refused', error: failure.error }
      }
    },

    async refresh(refreshToken, expected): Promise<RefreshResult> {
      // A provider that rotates has replaced the token even if userinfo then fails or a signature cannot be checked.
      let rotated: { readonly refreshToken?: string } = {}
      try {
        const known = getKnown()
        const config = configure(known, (token) => {
          if (token !== refreshToken) rotated = { refreshToken: token }
        })
        const tokens = await refreshTokenGrant(config, refreshToken)
        const claims = tokens.claims()
        const { access_token: accessToken, id_token: idToken } = tokens
        const isOfAnotherSubject = known.metadata.issuer !== expected.issuer || (claims !== undefined && claims.sub !== expected.sub)
        if (isOfAnotherSubject) return { outcome: 'refused', isOfAnotherSubject }
        if (claims !== undefined && idToken !== undefined) {
          checkIdToken(idToken, claims, { clientId, accessToken, requestedAt: undefined, clockToleranceSeconds, at: now() })
        }
        const userinfo = await loadUserinfo(config, accessToken, expected.sub)
        if (claims === undefined && userinfo === undefined) {
          throw new PosternError('provider_unavailable', 'the refresh brought no claims: neither an ID Token nor userinfo')
        }
        return {
          outcome: 'refreshed',
          signedIn: {
            issuer: expected.issuer,
            sub: expected.sub,
            claims: mergeClaims(claims, userinfo, expected),
            tokens: { idToken: idToken ?? expected.idToken ?? '', accessToken, refreshToken: tokens.refresh_token ?? refreshToken },
            providerSid: readProviderSid(claims),
          },
        }
      } catch (cause) {
        const failure = sortFailure(cause)
        if (failure.kind === 'failed') return { outcome: 'unreachable', cause: failure.error, ...rotated }
        if (failure.error === 'invalid_grant') return { outcome: 'refused' }
        alarm(failure.error)
        const error = new PosternError('provider_refused', `the provider answers ${failure.error} to a refresh`)
        return { outcome: 'unreachable', cause: error, ...rotated }
      }
    },

    endSessionUrl(idToken) {
      const known = discovery.find()
      if (known?.metadata.end_session_endpoint === undefined) return undefined
      const parameters = { post_logout_redirect_uri: new URL('/signed-out', accessUrl).href }
      const withHint = buildEndSessionUrl(configure(known), idToken === '' ? parameters : { ...parameters, id_token_hint: idToken })
      return withHint.href.length <= maxEndSessionUrl ? withHint : buildEndSessionUrl(configure(known), parameters)
    },

    async verifyLogoutToken(token) {
      const { metadata } = getKnown()
      try {
        return await verifyLogoutToken(token, keys, { issuer: metadata.issuer, clientId, clockToleranceSeconds, at: now() })
      } catch (cause) {
        const failure = sortFailure(cause)
        throw failure.kind === 'failed'
          ? failure.error
          : new PosternError('sign_in_invalid', `the logout token is refused: ${failure.error}`)
      }
    },

    close() {
      discovery.close()
      providerFetch.close()
    },
  }
}

/** Providers have their keys anywhere, also under `/.well-known/`. */
function operationOf(url: string, known: KnownProvider | undefined): ProviderOperation {
  const isAt = (endpoint: string | undefined) => endpoint !== undefined && URL.parse(endpoint)?.href === URL.parse(url)?.href
  const { jwks_uri: keys, token_endpoint: token, userinfo_endpoint: userinfo } = known?.metadata ?? {}
  if (isAt(keys)) return 'keys'
  if (isAt(token)) return 'token'
  if (isAt(userinfo)) return 'userinfo'
  return url.includes('/.well-known/') ? 'discovery' : 'other'
}

/** Of an answer of the provider: the `kid` of its ID Token, so that its key can be looked for before it is verified, and its refresh token. */
async function readAnswer(response: Response): Promise<{ readonly kid: string | undefined; readonly refreshToken: string | undefined }> {
  const text = await response.text()
  const isToken = response.headers.get('content-type')?.startsWith('application/jwt') === true
  if (isToken) return { kid: readJwsHeader(text)?.kid, refreshToken: undefined }
  try {
    const body: unknown = JSON.parse(text)
    const { id_token: idToken, refresh_token: refreshToken } = (typeof body === 'object' && body !== null ? body : {}) as TokenAnswer
    return {
      kid: typeof idToken === 'string' ? readJwsHeader(idToken)?.kid : undefined,
      refreshToken: typeof refreshToken === 'string' && refreshToken !== '' ? refreshToken : undefined,
    }
  } catch {
    return { kid: undefined, refreshToken: undefined } // Not JSON: `openid-client` says so with the reason.
  }
}

interface TokenAnswer {
  readonly id_token?: unknown
  readonly refresh_token?: unknown
}
