/**
 * The rig for tests of the flow: the real listener with real sessions on the embedded store, real cookies and real forwarding to a raw
 * upstream, which is the oracle. Pages are rendered as their view model, so that a test can read what a page would be told.
 */

import { noDevices } from '../attributes/device-facts.ts'
import { readBareEnvironment } from '../attributes/environment-facts.ts'
import { noServiceCallers } from '../attributes/service-callers.ts'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { KeyRing } from '../keys.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { App, PolicyDocument } from '../policy/document.ts'
import { appWith, documentWith, rule } from '../policy/policy.fixture.ts'
import { createSealedCookies } from '../session/cookies.ts'
import { createKeptPosts } from '../session/kept-posts.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  signedInAs,
  type TestClock,
} from '../session/session.fixture.ts'
import type { Session, SignedIn } from '../session/session.ts'
import type { SessionService, SessionServiceOptions } from '../session/session-service.ts'
import type { Sessions } from '../session/sessions.ts'
import { connectRaw, type RawConnection, type RawUpstream, startRawUpstream, startUpstreamSaying } from './forwarding.fixture.ts'
import { createForwarding, type Forwarding } from './forwarding.ts'
import { createListener, type Listener, type ListenerOptions } from './listener.ts'
import { createTestLive, type TestLive } from './live.fixture.ts'
import type { EnforcementPorts, EnforcementSettings, OwnPage, Snapshot } from './ports.ts'
import { compileRoutes } from './route-table.ts'

export interface ParsedAnswer {
  readonly status: number
  /** Lower-case names; several lines of one name as a list. */
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: string
}

export interface FlowRig {
  readonly port: number
  readonly listener: Listener
  readonly upstream: RawUpstream
  readonly sessions: Sessions
  readonly cookies: SealedCookies
  readonly ring: KeyRing
  readonly clock: TestClock
  readonly live: TestLive
  readonly forwarding: Forwarding
  readonly events: AuditEvent[]
  readonly observed: Parameters<EnforcementPorts['observe']>[0][]
  /** Ids of the apps that an alert was raised for. */
  readonly alerts: string[]
  readonly factLines: AuditEvent[]
  readonly signedOut: Session[]
  readonly logged: { readonly level: string; readonly facts: unknown; readonly message: unknown }[]
  /** The sessions of another instance on the same store. */
  anotherInstance(): { readonly sessions: SessionService }
  /** Puts another policy in force. */
  load(apps: readonly App[]): void
  connect(): Promise<RawConnection>
  /** Sends raw bytes on a new connection and reads one answer. */
  ask(raw: string): Promise<ParsedAnswer>
  /** Signs a person in on an app origin: the session, and the `Cookie` header that stands for it there. */
  signIn(sub: string, origin?: string, change?: Partial<SignedIn>): Promise<{ readonly session: Session; readonly cookie: string }>
  close(): Promise<void>
}

export interface FlowRigOptions {
  readonly apps?: readonly App[]
  /** Company rules, levels and services. */
  readonly document?: Partial<Pick<PolicyDocument, 'rules' | 'levels' | 'services'>>
  readonly upstreamSays?: string
  /** Answers each request head instead. */
  readonly upstreamAnswers?: Parameters<typeof startRawUpstream>[0]
  /** The monotonic clock is the test's as well, and stands still unless moved. */
  readonly isTimeStill?: boolean
  readonly settings?: Partial<EnforcementSettings>
  readonly ports?: Partial<EnforcementPorts>
  readonly sessions?: Partial<SessionServiceOptions>
  readonly listener?: Partial<ListenerOptions>
}

export const wikiOrigin = 'https://wiki.corp.example'

/** Staff may open the wiki; `/admin/**` is for nobody but admins; `/public/**` for everyone. */
export function wiki(changes: Partial<App> = {}): App {
  return appWith(
    [
      rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' }),
      rule('allow', { kind: 'public' }, { name: 'public', paths: ['/public/**'] }),
      rule('deny', { kind: 'everyone' }, { name: 'admins only', paths: ['/admin/**'] }),
    ],
    {
      identity: {
        kind: 'headers',
        user: 'X-Forwarded-User',
        email: 'X-Forwarded-Email',
        preferredUsername: 'X-Forwarded-Preferred-Username',
        groups: 'X-Forwarded-Groups',
        extra: [],
        groupsSeparator: ',',
        onlyGroups: undefined,
      },
      ...changes,
    },
  )
}

export async function startFlow(options: FlowRigOptions = {}): Promise<FlowRig> {
  const upstream =
    options.upstreamAnswers === undefined
      ? await startUpstreamSaying(options.upstreamSays ?? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
      : await startRawUpstream(options.upstreamAnswers)
  const place = await openEmbeddedPlace()
  const ring = createTestRing()
  const monotonicNow = options.isTimeStill === true ? place.clock.now : () => performance.now()
  const live = createTestLive({ now: place.clock.now, monotonicNow })
  const { sessions } = createTestSessions(place, ring, { live, ...options.sessions })
  const cookies = createSealedCookies({ keys: () => ring, now: place.clock.now })
  const events: AuditEvent[] = []
  const observed: FlowRig['observed'] = []
  const alerts: string[] = []
  const factLines: AuditEvent[] = []
  const signedOut: Session[] = []
  const logged: FlowRig['logged'] = []
  const say = (level: string) => (facts: unknown, message?: unknown) => void logged.push({ level, facts, message })
  const log = {
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
    fatal: say('fatal'),
    flush: () => undefined,
  }

  const settings: EnforcementSettings = {
    accessUrl: new URL('https://access.corp.example'),
    trustedProxies: [],
    limits: { headerBytes: 16_384, headers: 100, headerSeconds: 10, requestSeconds: 60, idleSeconds: 10, connections: 1000 },
    hstsSeconds: undefined,
    session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 },
    recording: { query: 'drop', recordClaims: [], redact: [], groupClaims: [['groups']] },
    storeGraceSeconds: 30,
    unverifiedForSeconds: undefined,
    ...options.settings,
  }
  const ports: EnforcementPorts = {
    live,
    sessions,
    cookies,
    keys: () => ring,
    // What decisions were made from has tests of its own; here it would stand between a request and its line.
    audit: {
      record: (event) => void (event.event === 'facts.recorded' ? factLines : events).push(event),
      settle: async () => true,
      segment: () => 1,
      isWritable: () => true,
      close: () => Promise.resolve(),
    },
    log,
    readSubject: compileSubjectReader({
      claims: { groups: [['groups']] },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
    }),
    readEnvironment: readBareEnvironment,
    devices: noDevices,
    callers: noServiceCallers,
    now: place.clock.now,
    monotonicNow,
    renderRefusal: (view) => page(view.status, view),
    renderSignOut: (view) => page(200, view),
    renewal: {
      script: { type: 'text/javascript; charset=utf-8', body: Buffer.from('renew()') },
      stylesheet: { type: 'text/css; charset=utf-8', body: Buffer.from('.postern-banner{}') },
      renderPage: (view) => page(200, view),
    },
    keptPosts: createKeptPosts({ store: place.store, keys: () => ring, maxBytes: 1024 ** 2, log }),
    renderKeptPost: (view) => page(200, view),
    renderNotKept: (view) => page(view.status, view),
    findAsset: (name) => (name === 'abc.css' ? { type: 'text/css', body: Buffer.from('body{}') } : undefined),
    signOut: async (session) => {
      signedOut.push(session)
      await sessions.endSession(session.id, 'signed_out')
      return new URL('https://op.corp.example/logout')
    },
    handleAccessHost: (request, response, context) => {
      response.end(JSON.stringify({ url: request.url, headers: request.headers, context }))
    },
    observe: (exchange) => void observed.push(exchange),
    countAlert: (appId) => void alerts.push(appId),
    findSecret: () => undefined,
    ...options.ports,
  }
  const forwarding = createForwarding({
    log,
    monotonicNow: ports.monotonicNow,
    cookies,
    accessUrl: settings.accessUrl,
    limits: settings.limits,
  })

  let snapshot: Snapshot
  const load = (apps: readonly App[]) => {
    const upstreams = [{ origin: upstream.origin, basePath: '', ca: undefined, serverName: undefined }]
    const document = { ...documentWith(apps.map((app) => ({ ...app, upstreams }))), ...options.document }
    const policy = compilePolicy(document)
    snapshot = { version: document.version, policy, routes: compileRoutes(document, policy) }
  }
  load(options.apps ?? [wiki()])

  const listener = createListener({
    settings,
    listen: { host: '127.0.0.1', port: 0 },
    tls: [],
    httpRedirect: undefined,
    snapshot: () => snapshot,
    ports,
    forwarding,
    ...options.listener,
  })
  const { port } = await listener.listen()
  const clients: RawConnection[] = []
  const connect = async () => {
    const client = await connectRaw(port)
    clients.push(client)
    return client
  }

  return {
    port,
    listener,
    upstream,
    sessions,
    cookies,
    ring,
    clock: place.clock,
    live,
    forwarding,
    events,
    observed,
    alerts,
    factLines,
    signedOut,
    logged,
    anotherInstance: () => createTestSessions(place, ring, options.sessions),
    load,
    connect,
    async ask(raw) {
      const client = await connect()
      client.send(raw)
      return parseAnswer(await client.until(isComplete))
    },
    async signIn(sub, origin = wikiOrigin, change = {}) {
      const { session } = await sessions.begin(
        signedInAs(sub, { signIn: { at: place.clock.now(), authTime: undefined, acr: undefined, amr: ['pwd'] }, ...change }),
        browserOrigin,
      )
      const secret = await sessions.openAppSession(session.id, origin)
      if (secret === undefined) throw new Error('the session has ended')
      return { session, cookie: `${cookies.nameOf('app', new URL(origin))}=${secret}` }
    },
    async close() {
      for (const { socket } of clients) socket.destroy()
      await listener.close(0)
      await forwarding.close()
      await upstream.close()
      await sessions.close()
      await place.close()
    },
  }
}

/** A request head; `lines` are further headers, without line ends. */
export function get(path: string, lines: readonly string[] = [], host = 'wiki.corp.example', method = 'GET'): string {
  return `${[`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines].join('\r\n')}\r\n\r\n`
}

export const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: none']

/** Whether one answer has arrived in full. */
export function isComplete(received: string): boolean {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return false
  const { headers } = parseAnswer(received)
  const body = received.slice(end + 4)
  return headers['content-length'] === undefined ? body.endsWith('0\r\n\r\n') : body.length >= Number(headers['content-length'])
}

export function parseAnswer(received: string): ParsedAnswer {
  const end = received.indexOf('\r\n\r\n')
  const [first = '', ...lines] = received.slice(0, end).split('\r\n')
  const headers: Record<string, string | string[]> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const known = headers[name]
    headers[name] = known === undefined ? value : [known, value].flat()
  }
  return { status: Number(first.split(' ')[1]), headers, body: received.slice(end + 4) }
}

function page(status: number, view: object): OwnPage {
  return {
    status,
    headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'none'" },
    body: JSON.stringify(view),
  }
}
