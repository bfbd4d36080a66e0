/**
 * An OpenID Provider that does exactly what a test tells it to, on `node:http` and `jose`.
 *
 * Left alone it is honest: discovery, authorization (it asks nobody and signs in `person`), token endpoint with client
 * authentication, PKCE, single-use codes and rotating refresh tokens, userinfo, keys, end of session. Every part can be
 * bent: claims, header, key and algorithm of an ID Token, the metadata, the answer's parameters, or the whole HTTP answer of
 * an endpoint, down to raw bytes. It records each request it received; judging by that record is what makes a test honest.
 */

import { createHash, type KeyObject, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { noteParameters, noteSecret, noteToken } from './secret-watch.ts'

export type Claims = Record<string, unknown>
export type Endpoint = 'discovery' | 'authorize' | 'token' | 'userinfo' | 'jwks' | 'end_session'

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey | KeyObject
  readonly publicJwk: JWK
}

export interface Person {
  sub: unknown
  /** Claims for the ID Token and, unless `userinfo` says otherwise, for userinfo. */
  claims: Claims
  authTime?: number | undefined
  sid?: string
  acr?: string
  amr?: string[]
}

/** How the provider bends. Tests assign to it; `reset` restores the honest one. */
export interface Behaviour {
  person: Person
  metadata: (honest: Claims) => unknown
  /** Parameters of the authorization answer. */
  answer: (honest: URLSearchParams, request: URLSearchParams) => URLSearchParams
  idToken: (honest: Claims) => Claims
  /** Header of the ID Token; `kid: undefined` leaves it out. */
  idTokenHeader: (honest: Claims) => Claims
  /** Signs; the default uses the newest key. */
  sign: (claims: Claims, header: Claims) => Promise<string>
  tokenResponse: (honest: Claims) => unknown
  userinfo: (honest: Claims) => unknown
  /** Keys as published. */
  jwks: (honest: readonly JWK[]) => unknown
  /** Takes over an endpoint; returning `false` lets the honest one go on. */
  take: Partial<Record<Endpoint, (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>>>
  /** Refresh tokens are refused with this error. */
  refuseRefresh: string | undefined
  refreshIdToken: boolean
}

export interface Recorded {
  readonly endpoint: Endpoint | 'other'
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface HostileProvider {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly behaviour: Behaviour
  readonly received: Recorded[]
  readonly keys: SigningKey[]
  reset(): void
  count(endpoint: Recorded['endpoint']): number
  addKey(alg?: string, kid?: string): Promise<SigningKey>
  signWith(key: SigningKey, claims: Claims, header?: Claims): Promise<string>
  logoutToken(claims: Claims, header?: Claims): Promise<string>
  /** Stops accepting and cuts what is open; `start` takes the same port again. */
  stop(): Promise<void>
  start(): Promise<void>
}

interface Grant {
  readonly nonce: string | undefined
  readonly challenge: string | null
  readonly redirectUri: string
  readonly person: Person
}

export const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/** Starts one on 127.0.0.1; `hostname` is what its issuer calls it. */
export async function startHostileProvider(options: { hostname?: string; port?: number } = {}): Promise<HostileProvider> {
  const sockets = new Set<Socket>()
  const codes = new Map<string, Grant>()
  const refreshTokens = new Map<string, Person>()
  const accessTokens = new Map<string, Person>()
  const clientId = 'postern'
  const clientSecret = 'a secret with: colons, + and ümlauts'
  noteSecret(clientSecret, 'the client secret')
  const received: Recorded[] = []
  const keys: SigningKey[] = []
  let issuer = ''

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      console.error('hostile provider:', error)
      response.destroy()
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  })

  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(options.port ?? 0)
  const { port } = server.address() as AddressInfo
  issuer = `http://${options.hostname ?? '127.0.0.1'}:${port}`

  const honest = (): Behaviour => ({
    person: { sub: 'alice', claims: { name: 'Alice', email: 'alice@corp.test', email_verified: true, groups: ['staff'] } },
    metadata: (it) => it,
    answer: (it) => it,
    idToken: (it) => it,
    idTokenHeader: (it) => it,
    sign: (claims, header) => {
      const key = keys.at(-1)
      if (key === undefined) throw new Error('the provider has no key')
      return provider.signWith(key, claims, header)
    },
    tokenResponse: (it) => it,
    userinfo: (it) => it,
    jwks: (it) => ({ keys: it }),
    take: {},
    refuseRefresh: undefined,
    refreshIdToken: true,
  })
  const behaviour = honest()

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', issuer)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const endpoint = endpoints[url.pathname] ?? 'other'
    noteParameters(url.searchParams, 'at the provider')
    noteParameters(new URLSearchParams(body), 'at the provider')
    received.push({ endpoint, method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
    if (endpoint === 'other') {
      response.writeHead(404).end()
      return
    }
    if ((await behaviour.take[endpoint]?.(request, response)) === true) return
    switch (endpoint) {
      case 'discovery':
        return json(response, 200, behaviour.metadata(metadata()))
      case 'jwks':
        return json(response, 200, behaviour.jwks(keys.map((key) => key.publicJwk)))
      case 'authorize':
        return authorize(url.searchParams, response)
      case 'token':
        return await token(request, new URLSearchParams(body), response)
      case 'userinfo':
        return userinfo(request, response)
      case 'end_session': {
        const back = url.searchParams.get('post_logout_redirect_uri')
        response.writeHead(303, { location: back ?? '/' }).end()
      }
    }
  }

  function metadata(): Claims {
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/userinfo`,
      jwks_uri: `${issuer}/jwks`,
      end_session_endpoint: `${issuer}/end-session`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
      authorization_response_iss_parameter_supported: true,
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    }
  }

  function authorize(query: URLSearchParams, response: ServerResponse): void {
    const redirectUri = query.get('redirect_uri') ?? ''
    const code = randomBytes(16).toString('base64url')
    const nonce = query.get('nonce') ?? undefined
    noteSecret(code, 'an authorization code')
    codes.set(code, { nonce, challenge: query.get('code_challenge'), redirectUri, person: structuredClone(behaviour.person) })
    const honestAnswer = new URLSearchParams({ code, state: query.get('state') ?? '', iss: issuer })
    const location = new URL(redirectUri)
    location.search = behaviour.answer(honestAnswer, query).toString()
    response.writeHead(303, { location: location.href }).end()
  }

  async function token(request: IncomingMessage, form: URLSearchParams, response: ServerResponse): Promise<void> {
    if (!isOurClient(request, form)) return json(response, 401, { error: 'invalid_client' })
    if (form.get('grant_type') === 'refresh_token') {
      const person = refreshTokens.get(form.get('refresh_token') ?? '')
      refreshTokens.delete(form.get('refresh_token') ?? '')
      if (behaviour.refuseRefresh !== undefined) return json(response, 400, { error: behaviour.refuseRefresh })
      if (person === undefined) return json(response, 400, { error: 'invalid_grant' })
      return json(response, 200, behaviour.tokenResponse(await issue(person, undefined, behaviour.refreshIdToken)))
    }
    const code = form.get('code') ?? ''
    const grant = codes.get(code)
    codes.delete(code)
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (grant === undefined || grant.redirectUri !== form.get('redirect_uri') || grant.challenge !== challenge) {
      return json(response, 400, { error: 'invalid_grant' })
    }
    return json(response, 200, behaviour.tokenResponse(await issue(grant.person, grant.nonce, true)))
  }

  async function issue(person: Person, nonce: string | undefined, withIdToken: boolean): Promise<Claims> {
    const accessToken = randomBytes(16).toString('base64url')
    const refreshToken = randomBytes(16).toString('base64url')
    noteSecret(accessToken, 'an access token')
    noteSecret(refreshToken, 'a refresh token')
    accessTokens.set(accessToken, person)
    refreshTokens.set(refreshToken, person)
    const now = Math.floor(Date.now() / 1000)
    const claims = behaviour.idToken({
      iss: issuer,
      sub: person.sub,
      aud: clientId,
      iat: now,
      exp: now + 300,
      ...(nonce === undefined ? {} : { nonce }),
      ...('authTime' in person ? (person.authTime === undefined ? {} : { auth_time: person.authTime }) : { auth_time: now }),
      ...(person.sid === undefined ? {} : { sid: person.sid }),
      ...(person.acr === undefined ? {} : { acr: person.acr }),
      ...(person.amr === undefined ? {} : { amr: person.amr }),
      ...person.claims,
    })
    const newest = keys.at(-1)
    const header = behaviour.idTokenHeader({ alg: newest?.alg, kid: newest?.kid, typ: 'JWT' })
    return {
      access_token: accessToken,
      refresh_token: refreshToken,
      token_type: 'Bearer',
      expires_in: 300,
      ...(withIdToken ? { id_token: await behaviour.sign(claims, header) } : {}),
    }
  }

  function userinfo(request: IncomingMessage, response: ServerResponse): void {
    const person = accessTokens.get((request.headers.authorization ?? '').replace(/^Bearer /, ''))
    if (person === undefined) {
      response.setHeader('www-authenticate', 'Bearer error="invalid_token"')
      json(response, 401, { error: 'invalid_token' })
      return
    }
    json(response, 200, behaviour.userinfo({ sub: person.sub, ...person.claims }))
  }

  function isOurClient(request: IncomingMessage, form: URLSearchParams): boolean {
    const basic = /^Basic (.*)$/.exec(request.headers.authorization ?? '')?.[1]
    if (basic !== undefined) {
      const [id, secret] = Buffer.from(basic, 'base64')
        .toString()
        .split(':')
        .map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
      return id === clientId && secret === clientSecret
    }
    if (form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') return form.has('client_assertion')
    return form.get('client_id') === clientId && form.get('client_secret') === clientSecret
  }

  const provider: HostileProvider = {
    get issuer() {
      return issuer
    },
    clientId,
    clientSecret,
    behaviour,
    received,
    keys,
    reset() {
      for (const name of Object.keys(behaviour)) delete (behaviour as unknown as Claims)[name]
      Object.assign(behaviour, honest())
      received.length = 0
    },
    count: (endpoint) => received.filter((request) => request.endpoint === endpoint).length,
    async addKey(alg = 'RS256', kid = randomBytes(4).toString('hex')) {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
      const key: SigningKey = { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
      keys.push(key)
      return key
    },
    async signWith(key, claims, header = {}) {
      const protectedHeader = { alg: key.alg, kid: key.kid, ...header }
      const token = await new SignJWT(claims).setProtectedHeader(JSON.parse(JSON.stringify(protectedHeader))).sign(key.privateKey)
      noteToken(token, 'a token of the provider')
      return token
    },
    async logoutToken(claims, header = {}) {
      const key = keys.at(-1)
      if (key === undefined) throw new Error('the provider has no key')
      const now = Math.floor(Date.now() / 1000)
      const honestClaims = { iss: issuer, aud: clientId, iat: now, exp: now + 120, jti: randomBytes(8).toString('hex') }
      const all: Claims = { ...honestClaims, events: { [logoutEvent]: {} }, ...claims }
      for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name]
      return await provider.signWith(key, all, { typ: 'logout+jwt', ...header })
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
    start: () => listen(port),
  }
  await provider.addKey()
  return provider
}

const endpoints: Readonly<Record<string, Endpoint>> = {
  '/.well-known/openid-configuration': 'discovery',
  '/authorize': 'authorize',
  '/token': 'token',
  '/userinfo': 'userinfo',
  '/jwks': 'jwks',
  '/end-session': 'end_session',
}

function json(response: ServerResponse, status: number, body: unknown): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(text)
}

/** A compact JWS with any header, and either no signature or an HMAC under `secret`: what no honest signer would produce. */
export async function forgeToken(header: Claims, claims: Claims, secret?: string): Promise<string> {
  if (secret !== undefined) {
    return await new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256' }).sign(new TextEncoder().encode(secret))
  }
  const part = (value: Claims) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part(claims)}.`
}
