/**
 * A whole access host for tests: the real control plane over real sessions, the embedded store and a provider that obeys the test.
 *
 * The public URL is HTTPS while the socket is plain, as behind a balancer that ends TLS. A `Browser` keeps cookies and follows nothing by
 * itself; what it sends is exactly what a test says, since `fetch` would add headers of its own.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { type HostileProvider, startHostileProvider } from '../../e2e/support/hostile-provider.ts'
import { noBinding } from '../attributes/device-binding.ts'
import { noDevices } from '../attributes/device-facts.ts'
import { readBareEnvironment } from '../attributes/environment-facts.ts'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import type { AuditEvent } from '../audit/event.ts'
import { type ProviderConfiguration, Secret } from '../config/instance.ts'
import type { CurrentKeys } from '../keys.ts'
import { createLive } from '../live/create-live.ts'
import type { Live } from '../live/live.ts'
import type { Lock } from '../live/lock.ts'
import { describeError, type Logger } from '../log.ts'
import { createRelyingParty } from '../oidc/openid-relying-party.ts'
import type { RelyingParty } from '../oidc/relying-party.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { App, Rule, Who } from '../policy/document.ts'
import { createSealedCookies } from '../session/cookies.ts'
import { createTestRing } from '../session/session.fixture.ts'
import { createSessions, keepEndsForSeconds, type SessionService } from '../session/session-service.ts'
import type { SessionStore } from '../session/store.ts'
import { createEmbeddedStore } from '../stores/embedded.ts'
import { type ControlPlaneSettings, createControlPlane } from './app.ts'
import { createAppLogos } from './app-logos.ts'
import { createPageRenderer } from './page-renderer.ts'

export const accessUrl = new URL('https://access.corp.example')
export const wikiUrl = 'https://wiki.corp.example'
export const payrollUrl = 'https://payroll.corp.example'

export interface AccessHost {
  readonly provider: HostileProvider
  readonly relyingParty: RelyingParty
  readonly sessions: SessionService
  readonly store: SessionStore
  readonly live: Live
  /** What its values are sealed with. */
  readonly sealer: { readonly keys: CurrentKeys; readonly now: () => number }
  readonly port: number
  readonly events: AuditEvent[]
  readonly lines: string[]
  /** Moves every clock but the provider's. */
  move(milliseconds: number): void
  /** Makes each call of the store fail as a lost one does. */
  breakStore(isBroken: boolean): void
  browser(): Browser
  close(): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly location: URL | undefined
}

export interface Visit {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly form?: Record<string, string>
  readonly body?: string | Buffer
}

/** What a test may build settings of the control plane from. */
export type HostParts = Pick<AccessHost, 'provider' | 'live' | 'sessions' | 'store' | 'sealer' | 'events'> & { readonly log: Logger }

/**
 * Starts one. `change` adds to the settings of the control plane; `rules` says how old claims may be, and may hold locks, which are read
 * whenever the store tells of a change.
 */
export async function startAccessHost(
  change: Partial<ControlPlaneSettings> | ((parts: HostParts) => Partial<ControlPlaneSettings>) = {},
  apps: readonly App[] = testApps(),
  rules: {
    readonly claimsMaxAgeSeconds: number
    readonly withoutRefreshToken: 'accept' | 'reauthenticate'
    readonly locks?: readonly Lock[]
  } = {
    claimsMaxAgeSeconds: 200_000,
    withoutRefreshToken: 'accept',
  },
): Promise<AccessHost> {
  const provider = await startHostileProvider()
  const lines: string[] = []
  const write = (level: string) => (facts: unknown, message?: string) =>
    void lines.push(JSON.stringify({ level, facts, message }, printErrors))
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), fatal: write('fatal') }
  const events: AuditEvent[] = []
  let moved = 0
  let isBroken = false
  const now = () => Date.now() + moved

  const folder = mkdtempSync(join(tmpdir(), 'postern-access-'))
  const embedded = createEmbeddedStore({ file: join(folder, 'store.db'), now })
  const store = new Proxy(embedded, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function' || name === 'close') return member
      return (...given: unknown[]) => (isBroken ? Promise.reject(storeAway()) : (member.apply(target, given) as unknown))
    },
  })
  const { PosternError } = await import('../errors.ts')
  const storeAway = () => new PosternError('session_store_unavailable', 'the test took it away')
  const ring = createTestRing()
  const keys = () => ring

  const configuration: ProviderConfiguration = {
    issuer: new URL(provider.issuer),
    preset: undefined,
    clientId: provider.clientId,
    clientSecret: new Secret(provider.clientSecret),
    clientKeyFile: undefined,
    scopes: ['openid', 'profile', 'email'],
    claims: { groups: [['groups']], deviceId: undefined, posture: new Map() },
    groups: { stripPrefix: '', names: new Map() },
    groupsWhenMissing: 'unknown',
    email: 'verified',
    providerGraceSeconds: 3600,
    withoutRefreshToken: rules.withoutRefreshToken,
    dangerouslyAllowHttp: false,
    strengths: new Map(),
  }
  const relyingParty = createRelyingParty({ configuration, accessUrl, now, log: log as unknown as Logger, timeoutSeconds: 2 })
  const sessionLimits = { idleTimeoutSeconds: 1800, lifetimeSeconds: 43_200 }
  const live = createLive({
    store,
    loadLocks: async () => [...(rules.locks ?? [])],
    monotonicNow: () => performance.now() + moved,
    keepSeconds: keepEndsForSeconds(sessionLimits),
    log: log as unknown as Logger,
  })
  const sessions = createSessions({
    store,
    live,
    keys,
    now,
    monotonicNow: () => performance.now() + moved,
    settings: { ...sessionLimits, refreshAfterSeconds: 100_000, claimsMaxAgeSeconds: rules.claimsMaxAgeSeconds },
    providerSettings: { providerGraceSeconds: 3600, withoutRefreshToken: rules.withoutRefreshToken },
    refresh: relyingParty.refresh,
    onEvent: (event) => void events.push(event),
    log: log as unknown as Logger,
  })
  const policy = compilePolicy({ version: 'test', zone: 'UTC', levels: [], services: [], rules: [], apps })
  const published = apps.flatMap((app) => {
    const compiled = policy.apps.get(app.id)
    return compiled === undefined ? [] : [{ app, policy: compiled }]
  })
  const pages = createPageRenderer({
    viewsFolder: join(import.meta.dirname, '../../views'),
    brand: { name: 'Postern', logoFile: undefined, support: undefined },
    isDemo: false,
  })
  const logos = createAppLogos(pages)
  logos.publish(apps)
  const handler = createControlPlane({
    accessUrl,
    relyingParty,
    sessions,
    store,
    cookies: createSealedCookies({ keys, now }),
    keys,
    audit: {
      record: (event) => void events.push(event),
      settle: async () => true,
      segment: () => 1,
      isWritable: () => true,
      close: () => Promise.resolve(),
    },
    pages,
    log: log as unknown as Logger,
    now,
    apps: () => published,
    logoOf: logos.find,
    live,
    sessionLimits,
    readSubject: compileSubjectReader(configuration),
    readEnvironment: readBareEnvironment,
    devices: noDevices,
    binding: noBinding,
    ...(typeof change === 'function'
      ? change({ provider, live, sessions, store, sealer: { keys, now }, events, log: log as unknown as Logger })
      : change),
  })
  let requests = 0
  const server = createServer((request, response) => {
    requests += 1
    handler(request, response, { requestId: `request-${requests}`, address: '192.0.2.1' })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await vi.waitUntil(() => relyingParty.isReady(), { timeout: 8000, interval: 10 })

  return {
    provider,
    relyingParty,
    sessions,
    store,
    live,
    sealer: { keys, now },
    port,
    events,
    lines,
    move: (milliseconds) => {
      moved += milliseconds
    },
    breakStore: (broken) => {
      isBroken = broken
    },
    browser: () => new Browser(port),
    async close() {
      relyingParty.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      isBroken = false
      await sessions.close()
      await live.close()
      await embedded.close()
      await provider.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** As the real log prints them. */
function printErrors(_key: string, value: unknown): unknown {
  return value instanceof Error ? describeError(value) : value
}

/** Names of the writing calls that reach the store from here on. */
export function watchWrites(store: SessionStore): readonly string[] {
  const written: string[] = []
  const writes = [
    ...(['createRecord', 'replaceRecord', 'takeRecord', 'removeRecord', 'recordEnds', 'addToIndex', 'removeFromIndex'] as const),
    ...(['checkReady'] as const),
  ]
  for (const name of writes) {
    const original = store[name].bind(store) as (...given: unknown[]) => unknown
    Object.assign(store, {
      [name]: (...given: unknown[]) => {
        written.push(name)
        return original(...given)
      },
    })
  }
  return written
}

/** A cookie jar for the access host, and the headers of a person's navigation unless a visit says otherwise. */
export class Browser {
  readonly cookies = new Map<string, string>()
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  async visit(path: string, { method = 'GET', headers, form, body: raw }: Visit = {}): Promise<Answer> {
    const navigation = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const body = raw ?? (form === undefined ? undefined : new URLSearchParams(form).toString())
    const sent: Record<string, string | number> = { ...(headers ?? navigation), ...(cookie === '' ? {} : { cookie }) }
    if (form !== undefined && sent['content-type'] === undefined) sent['content-type'] = 'application/x-www-form-urlencoded'
    if (body !== undefined) sent['content-length'] = Buffer.byteLength(body)
    return await new Promise<Answer>((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port: this.#port, path, method, headers: sent }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          for (const line of response.headers['set-cookie'] ?? []) this.#keep(line)
          const location = response.headers.location
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
            location: location === undefined ? undefined : new URL(location, accessUrl),
          })
        })
      })
      request.on('error', reject)
      request.end(body)
    })
  }

  /** Follows a redirect to the provider and returns the path of the callback that it leads to. */
  async throughProvider(answer: Answer): Promise<string> {
    const response = await fetch(answer.location ?? 'about:blank', { redirect: 'manual' })
    const callback = new URL(response.headers.get('location') ?? 'about:blank')
    return callback.pathname + callback.search
  }

  /** Signs in and returns the answer of the callback. */
  async signIn(path = '/sign-in'): Promise<Answer> {
    return await this.visit(await this.throughProvider(await this.visit(path)))
  }

  get secret(): string | undefined {
    return this.cookies.get('__Host-postern')
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split(/; */)
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals)
    if (attributes.some((attribute) => /^max-age=0$/i.test(attribute))) this.cookies.delete(name)
    else this.cookies.set(name, pair.slice(equals + 1))
  }
}

/** `/sign-in` as an app's challenge has it. */
export function signInPath(returnTo: string, attempt: string = 'A'.repeat(43)): string {
  return `/sign-in?${new URLSearchParams({ return_to: returnTo, attempt })}`
}

/** A wiki for staff, a payroll for finance. */
export function testApps(): App[] {
  return [
    appOf('wiki', wikiUrl, [allow({ kind: 'groups', groups: ['staff'] })], { description: 'Everything we know' }),
    appOf('payroll', payrollUrl, [allow({ kind: 'groups', groups: ['finance'] })], { portal: 'if_allowed' }),
  ]
}

export function allow(who: Who): Rule {
  return {
    name: 'allow',
    verb: 'allow',
    who,
    methods: undefined,
    paths: undefined,
    require: [],
    when: [],
    unless: [],
    from: undefined,
    until: undefined,
    isReport: false,
    isAlert: false,
  }
}

export function appOf(id: string, url: string, rules: readonly Rule[], change: Partial<App> = {}): App {
  const { origin, hostname, pathname } = new URL(url)
  return {
    id,
    name: id[0]?.toUpperCase() + id.slice(1),
    description: undefined,
    owner: undefined,
    help: undefined,
    logo: undefined,
    portal: 'if_relevant',
    address: { origin, hostname, port: 443, prefix: pathname },
    upstreams: [{ origin: 'http://127.0.0.1:1', basePath: '', ca: undefined, serverName: undefined }],
    sensitivity: 'internal',
    preserveHost: true,
    identity: { kind: 'none' },
    session: { idleTimeoutSeconds: undefined, lifetimeSeconds: undefined },
    timeouts: { connectSeconds: 5, responseSeconds: 60, idleSeconds: 60 },
    calledBy: [],
    crossSitePosts: [],
    pathRules: [],
    maxBodyBytes: undefined,
    stripPrefix: false,
    passAuthorization: false,
    audit: { paths: 'full', durability: undefined, whenFull: undefined },
    setRequestHeaders: [],
    removeRequestHeaders: [],
    setResponseHeaders: [],
    report: undefined,
    rules,
    ...change,
  }
}
