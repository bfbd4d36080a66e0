/**
 * What the enforcement point needs from the rest of the house, stated by the consumer; `compose.ts` connects it.
 *
 * This is why `src/enforcement` imports neither the control plane nor the relying party nor a store: it is handed the few
 * functions below.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DeviceReader } from '../attributes/device-facts.ts'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import type { ServiceCallers } from '../attributes/service-callers.ts'
import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { AuditTrail } from '../audit/event.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import type { CompiledPolicy } from '../policy/compile.ts'
import type { Reason, Unmet } from '../policy/decision.ts'
import type { RedactedField } from '../policy/facts.ts'
import type { KeptPosts, NotKept } from '../session/kept-posts.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Session } from '../session/session.ts'
import type { RequestCause, Sessions } from '../session/sessions.ts'
import type { RouteTable } from './route-table.ts'

/** Everything that follows the policy, behind one reference. A request takes it once and never sees half a reload. */
export interface Snapshot {
  readonly version: string
  readonly policy: CompiledPolicy
  readonly routes: RouteTable
}

/** What a page about a refusal is told; it is complete, and holds nothing that the person may not see. */
export interface RefusalView {
  readonly status: number
  readonly reason: Reason
  readonly requestId: string
  /** The app, if the person may know of it. */
  readonly app:
    | { readonly name: string; readonly url: string; readonly owner: string | undefined; readonly help: string | undefined }
    | undefined
  /** Who is signed in, as they would recognise themselves. */
  readonly person: string | undefined
  readonly unmet: readonly Unmet[]
  /** When it was decided: what instants in `unmet` are compared with. */
  readonly at: number
  /** Path on the app host that was asked for, for "try again". */
  readonly retryPath: string | undefined
  /** Where to start over: sign in (for a frame: `target=_top`), or with another account. */
  readonly signInUrl: string | undefined
  readonly signOutUrl: string | undefined
  readonly portalUrl: string
}

/** The page that asks whether a form that was kept during a sign-in is to be sent on. */
export interface KeptPostView {
  readonly person: string
  readonly appName: string
  /** Host and path, for reading. */
  readonly address: string
  /** Where the form is sent on to: the address that it was sent to. */
  readonly action: string
  /** The one-time word that sends it on. */
  readonly resume: string
  readonly discardAction: string
  readonly hasFiles: boolean
  readonly bytes: number
  /** Milliseconds since it was sent, and until it is thrown away. */
  readonly ageMs: number
  readonly leftMs: number
  readonly portalUrl: string
}

/** The page that says that a form was not sent and cannot be kept, while the browser still has it. */
export interface NotKeptView {
  readonly status: number
  readonly because: NotKept
  /** Whether somebody is signed in, and has to be so more strongly or anew. */
  readonly isStepUp: boolean
  readonly person: string | undefined
  readonly appName: string
  readonly signInUrl: string
  /** Longest body that is kept. */
  readonly maxBytes: number
  readonly requestId: string
  readonly portalUrl: string
}

export interface OwnPage {
  readonly status: number
  /** Complete response headers of the page, security headers included. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Asset {
  readonly type: string
  readonly body: Buffer
}

/** The client half of renewal in single-page apps: what an app includes, and the page that a renewal ends on. */
export interface Renewal {
  readonly script: Asset
  readonly stylesheet: Asset
  readonly renderPage: (view: {
    /** `renewed`, or why it was not. */
    readonly outcome: string
    readonly mode: 'frame' | 'popup'
  }) => OwnPage
}

/** The trace that a request says it belongs to; both ids are lower-case hexadecimal and not all zero (W3C Trace Context §3.2). */
export interface TraceParent {
  readonly traceId: string
  readonly spanId: string
  readonly isSampled: boolean
  readonly state: string | undefined
}

/** What there is to say of a guarded request when its trace begins. */
export interface TracedRequest {
  readonly id: string
  readonly app: string
  readonly method: string
  readonly host: string
  readonly port: number
  /** As the trail may record it, or `undefined` where it may not. Never a query. */
  readonly path: string | undefined
  /** Monotonic instant. */
  readonly arrivedAt: number
  readonly parent: TraceParent | undefined
  /** Whether the parent's word on sampling counts: a trusted proxy's does, a stranger's never. */
  readonly isParentTrusted: boolean
}

/** The spans of one guarded request. Nothing here throws. */
export interface RequestTrace {
  /** Begins a step of the flow; the one before it is over. `upstream` is the client's half of a call. */
  step(name: 'session' | 'facts' | 'decision' | 'audit' | 'upstream'): void
  /** What runs in here, calls of the store and the provider included, belongs to this trace. */
  within<T>(run: () => T): T
  /** What the upstream is told: the step under way is its parent. */
  carried(): { readonly traceparent: string; readonly tracestate: string | undefined }
  /** Ends the step under way and the request; what comes after it is ignored. */
  end(end: {
    readonly effect: string
    readonly reason: Reason
    readonly rule: string | undefined
    /** Status sent to the client; 0 if none was. */
    readonly status: number
  }): void
}

/** What was written that made something open be cut. */
export type CutTrigger = 'end' | 'lock' | 'policy' | 'session' | 'device'

export interface EnforcementPorts {
  readonly sessions: Sessions
  readonly cookies: SealedCookies
  readonly keys: CurrentKeys
  readonly audit: AuditTrail
  /** Ends and locks, and the news of them. */
  readonly live: Live
  readonly log: Logger
  /** What the claims of a session prove; compiled from the provider's settings. */
  readonly readSubject: SubjectReader
  /** Place, transport and user agent of a request. */
  readonly readEnvironment: EnvironmentReader
  /** Which device a request comes from. */
  readonly devices: DeviceReader
  /** Who a caller with an access token is. */
  readonly callers: ServiceCallers
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Monotonic milliseconds. */
  readonly monotonicNow: () => number

  readonly renderRefusal: (view: RefusalView) => OwnPage
  /** The sign-out page of an app host. */
  readonly renderSignOut: (view: {
    readonly person: string | undefined
    readonly appName: string
    readonly portalUrl: string
    readonly formActionOrigins: readonly string[]
  }) => OwnPage
  readonly renewal: Renewal
  /** Forms kept while their person signs in. */
  readonly keptPosts: KeptPosts
  readonly renderKeptPost: (view: KeptPostView) => OwnPage
  readonly renderNotKept: (view: NotKeptView) => OwnPage
  /** `<hash>.<ext>` to content, for `/.postern/assets/`. */
  readonly findAsset: (name: string) => Asset | undefined
  /** Ends the session, records it, and returns where the browser goes next (the provider's end-session URL, or `/signed-out`). */
  readonly signOut: (session: Session, by: RequestCause) => Promise<URL>
  /** The control plane's handler for the access host. */
  readonly handleAccessHost: (request: IncomingMessage, response: ServerResponse, context: AccessHostContext) => void
  /** Hears of every exchange's end, for metrics. */
  readonly observe: (exchange: {
    readonly app: string | undefined
    readonly effect: string
    readonly reason: Reason
    readonly status: number
    readonly seconds: number
    /** Of these, what was spent in Postern itself: without waiting for the upstream and for bodies. */
    readonly overheadSeconds: number
  }) => void
  /**
   * Hears of each cut of what was open, for metrics: what had been written that it was cut for, and how long ago. Left out where nobody
   * measures.
   */
  readonly observeCut?: ((cut: { readonly trigger: CutTrigger; readonly seconds: number }) => void) | undefined
  /** Hears of each decision by a rule with `alert: true`. */
  readonly countAlert: (appId: string) => void
  /** Begins the spans of a guarded request; `undefined` where it is not sampled. Left out unless tracing is configured: then it costs nothing. */
  readonly startTrace?: ((request: TracedRequest) => RequestTrace | undefined) | undefined
  /** Value of a secret header; `undefined` cannot happen for a checked policy. */
  readonly findSecret: (id: string) => string | undefined
}

/** What the listener knows about a request to the access host, so that the control plane never parses a header for it again. */
export interface AccessHostContext {
  readonly requestId: string
  /** Client address behind trusted proxies. */
  readonly address: string
}

/** What of each request is recorded, and what is not. How surely, each app's route says. */
export interface RecordingSettings {
  readonly query: 'drop' | 'keep'
  /** Claims that are recorded besides those that the policy speaks of. */
  readonly recordClaims: readonly (readonly string[])[]
  readonly redact: readonly RedactedField[]
  /** Where the provider states the groups: with them, these claims are kept out. */
  readonly groupClaims: readonly (readonly string[])[]
}

/** Settings of the enforcement point that need a restart. */
export interface EnforcementSettings {
  /** Origin of the access host. */
  readonly accessUrl: URL
  readonly trustedProxies: readonly string[]
  readonly limits: {
    readonly headerBytes: number
    readonly headers: number
    readonly headerSeconds: number
    readonly requestSeconds: number
    readonly idleSeconds: number
    readonly connections: number
  }
  readonly hstsSeconds: number | undefined
  /** The instance's session limits: no assertion outlives its session, and `whoami` states both. */
  readonly session: { readonly idleTimeoutSeconds: number; readonly lifetimeSeconds: number }
  readonly recording: RecordingSettings
  /** How long what is open lives on while the store cannot say whether it still may. */
  readonly storeGraceSeconds: number
  /** How long requests are decided on what is remembered while the store is away; `undefined`: not at all. Never for `restricted` apps. */
  readonly unverifiedForSeconds: number | undefined
}
