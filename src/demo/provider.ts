/**
 * The demo's OpenID Provider: `oidc-provider` with three people, nobody's password, and everything in memory.
 *
 * It behaves like the provider of a company where it matters to a relying party: authorization code flow with PKCE required,
 * groups, `auth_time`, `acr`, `amr` and `sid` in the ID Token, a second factor where a request wants one, rotating refresh tokens that
 * die with the provider's session, RP-initiated and back-channel logout. It is not one: whoever reaches it may be anybody. It therefore listens on
 * loopback unless told otherwise and answers only to the name in its issuer, so that no foreign page can rebind a name to it.
 */

import { generateKeyPair, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { Provider, type ProviderContext } from 'oidc-provider'
import { fetchLoopbackNames } from './loopback-names.ts'
import { claimsOf, type Person } from './people.ts'
import { createProviderMemory } from './provider-memory.ts'
import { providerAssets, renderCode, renderNotice, renderSignIn, renderSignOut } from './provider-pages.ts'
import { createDemoCodes, demoLevels, lacksOnlyCode, wantsCode } from './second-factor.ts'

/** Postern's registration, as it would stand in any provider's admin console. */
export interface DemoClient {
  readonly id: string
  readonly secret: string
  readonly redirectUris: readonly string[]
  readonly postLogoutRedirectUris: readonly string[]
  readonly backchannelLogoutUri: string
}

export interface DemoProviderOptions {
  /** Public address, origin only; the port that browsers use is `port`. */
  readonly issuer: URL
  readonly port: number
  /** Address to listen on; loopback if not given. */
  readonly host?: string
  readonly client: DemoClient
  readonly people: readonly Person[]
  /** CSP sources that a sign-in may end at. Browsers apply `form-action` to every redirect that follows a form. */
  readonly signInTargets?: readonly string[]
  /** Told what is asked of the token endpoint and what it answers, by parameter: for tests that look for it where it must not be. */
  readonly onTokens?: (parameters: Readonly<Record<string, unknown>>) => void
  /** Told of a logout token that a relying party did not accept. */
  readonly onLogoutFailure?: (error: unknown) => void
}

/** Starts the provider; resolves once it listens. `close` also cuts connections that are still open. */
export async function startDemoProvider(options: DemoProviderOptions): Promise<{ close(): Promise<void> }> {
  const { issuer } = options
  const targets = options.signInTargets ?? [`${issuer.protocol}//*.${parentOf(issuer.hostname)}:*`]
  const provider = await createProvider(options)
  provider.use(async (context, next) => {
    for (const [name, value] of Object.entries(pageHeaders(targets))) context.set(name, value)
    await next()
    const { oidc, body } = context
    if (context.path === '/token' && typeof body === 'object') options.onTokens?.({ ...oidc?.params, ...body })
  })
  provider.on('backchannel.error', (_context, error) => options.onLogoutFailure?.(error))
  const protocol = provider.callback()
  const codeOf = createDemoCodes()

  const server = createServer((request, response) => {
    handle(request, response).catch(() => {
      // The interaction is unknown, expired or of another browser; all that can be done is to start again at the app.
      if (response.headersSent) response.destroy()
      else
        page(
          response,
          400,
          renderNotice(
            'This sign-in is over',
            'It took too long, or it was begun in another browser. Go back to the app and try again.',
          ).toString(),
          targets,
        )
    })
  })

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    if (request.headers.host?.toLowerCase() !== issuer.host) {
      page(response, 404, renderNotice('Nothing here', `This provider is ${issuer.origin}.`).toString(), targets)
      return
    }
    if (path === '/') {
      page(
        response,
        200,
        renderNotice('The demo’s sign-in service', 'Nothing to do here: open an app, and you are sent here to sign in.').toString(),
        targets,
      )
      return
    }
    const asset = providerAssets.get(path)
    if (asset !== undefined) {
      response.writeHead(200, { 'Content-Type': asset.type, 'Content-Length': asset.body.length, 'X-Content-Type-Options': 'nosniff' })
      response.end(asset.body)
      return
    }
    if (path.startsWith('/interaction/')) {
      await interact(request, response)
      return
    }
    await protocol(request, response)
  }

  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const interaction = await provider.interactionDetails(request, response)
    const action = `/interaction/${interaction.uid}`
    const again = options.people.find(({ id }) => id === interaction.session?.accountId)
    const wantsSecond = wantsCode(interaction.params)
    const askForCode = (person: Person, isWrong: boolean) =>
      page(response, 200, renderCode({ action, person, code: codeOf(interaction.uid, person.id), isWrong }).toString(), targets)
    if (request.method !== 'POST') {
      if (again !== undefined && wantsSecond && lacksOnlyCode(interaction.prompt.reasons)) return askForCode(again, false)
      const hint = interaction.params['login_hint']
      const view = {
        action,
        people: options.people,
        again: again?.name,
        hint: typeof hint === 'string' ? hint : undefined,
      }
      page(response, 200, renderSignIn(view).toString(), targets)
      return
    }
    // The interaction cookie is SameSite=Lax, and every app of the demo is the same site.
    if (!['same-origin', undefined].includes(fieldOf(request, 'sec-fetch-site'))) throw new Error('a form of another origin')
    const form = new URLSearchParams(await readSmallBody(request))
    const person = options.people.find(({ id }) => id === form.get('person'))
    const code = form.get('code')
    if (person !== undefined && wantsSecond && code !== codeOf(interaction.uid, person.id)) return askForCode(person, code !== null)
    const [acr, amr] = wantsSecond ? [demoLevels.code, ['pwd', 'otp']] : [demoLevels.password, ['pwd']]
    const result =
      person === undefined
        ? { error: 'access_denied', error_description: 'The person cancelled the sign-in' }
        : { login: { accountId: person.id, acr, amr, remember: true } }
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
  }

  await listen(server, options.port, options.host ?? '127.0.0.1')
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

async function createProvider({ issuer, client, people }: DemoProviderOptions): Promise<Provider> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 })
  return new Provider(issuer.origin, {
    adapter: createProviderMemory(),
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        client_name: 'Postern',
        redirect_uris: client.redirectUris,
        post_logout_redirect_uris: client.postLogoutRedirectUris,
        backchannel_logout_uri: client.backchannelLogoutUri,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'demo', alg: 'RS256', use: 'sig' }] },
    cookies: {
      keys: [randomBytes(32).toString('base64url')],
      names: { session: 'demo_session', interaction: 'demo_sign_in', resume: 'demo_resume' },
    },
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time', 'sid'],
      profile: ['name', 'given_name', 'family_name', 'preferred_username', 'groups'],
      email: ['email', 'email_verified'],
    },
    scopes: ['openid', 'offline_access'],
    acrValues: Object.values(demoLevels),
    // Groups belong in the ID Token too, as with most providers; else every refresh would need userinfo.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      claimsParameter: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: renderLogout, postLogoutSuccessSource: renderLoggedOut },
      userinfo: { enabled: true },
    },
    interactions: { url: (_context: ProviderContext, interaction: { readonly uid: string }) => `/interaction/${interaction.uid}` },
    issueRefreshToken: (_context: ProviderContext, from: { grantTypeAllowed(type: string): boolean }) =>
      from.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    loadExistingGrant,
    findAccount: (_context: ProviderContext, id: string) => {
      const person = people.find((candidate) => candidate.id === id)
      return person === undefined ? undefined : { accountId: id, claims: () => claimsOf(person) }
    },
    renderError: (context: ProviderContext, out: { readonly error?: unknown; readonly error_description?: unknown }) => {
      context.type = 'html'
      context.body = renderNotice('That did not work', `${String(out.error_description ?? out.error)}.`).toString()
    },
    ttl: {
      AccessToken: 10 * 60,
      AuthorizationCode: 60,
      Grant: 12 * 60 * 60,
      IdToken: 60 * 60,
      Interaction: 10 * 60,
      RefreshToken: 12 * 60 * 60,
      Session: 12 * 60 * 60,
    },
    // The library's dispatcher cuts connections to loopback, which is where all of the demo is.
    fetch: (url: string, { dispatcher: _dispatcher, ...rest }: Record<string, unknown>) => fetchLoopbackNames(url, rest),
  })
}

/** Nobody is asked for consent: the company runs both sides. */
async function loadExistingGrant(context: ProviderContext): Promise<unknown> {
  const { client, session, provider, result } = context.oidc
  if (client === undefined || session.accountId === undefined) return undefined
  const known = result?.consent?.grantId ?? session.grantIdFor(client.clientId)
  const existing = known === undefined ? undefined : await provider.Grant.find(known)
  if (existing !== undefined) return existing
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
  grant.addOIDCScope('openid profile email offline_access')
  await grant.save()
  return grant
}

/** A valid `id_token_hint` proves that the relying party asks, so the person is not asked a second time. */
function renderLogout(context: ProviderContext, form: string): void {
  context.body = renderSignOut({ form, isAskedByRelyingParty: context.oidc.entities.IdTokenHint !== undefined }).toString()
}

function renderLoggedOut(context: ProviderContext): void {
  context.type = 'html'
  context.body = renderNotice('You are signed out', 'Close this tab, or open an app to sign in again.').toString()
}

function pageHeaders(signInTargets: readonly string[]): Record<string, string> {
  return {
    'Content-Security-Policy': `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self' ${signInTargets.join(' ')}; frame-ancestors 'none'`,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
  }
}

function page(response: ServerResponse, status: number, body: string, signInTargets: readonly string[]): void {
  response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8', ...pageHeaders(signInTargets) })
  response.end(body)
}

function fieldOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}

/** The text of a form with one field. Rejects beyond 4 KiB. */
async function readSmallBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > 4096) throw new Error('the form is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parentOf(hostname: string): string {
  return hostname.slice(hostname.indexOf('.') + 1)
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
