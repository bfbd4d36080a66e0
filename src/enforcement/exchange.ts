/**
 * One exchange: an allowed request on its way to an upstream, as `enforce` hands it to `forward` and `tunnel`.
 *
 * Everything in it was decided before: the target is canonical, the identity headers are ours alone. Forwarding adds no
 * judgement; it moves bytes and reports how that ended.
 */

import type { IncomingMessage } from 'node:http'
import type { CompiledApp } from '../policy/compile.ts'
import type { Reason } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { Arrival } from './arrival.ts'
import type { Judgement } from './judge.ts'
import type { CarriedTrace } from './trace-context.ts'

/** A request target in its one canonical form: what is matched, judged, logged and forwarded. */
export interface Target {
  /** Lower-case, without a trailing dot. */
  readonly hostname: string
  /** Port as the client named it in Host; `undefined` if it named none. */
  readonly port: number | undefined
  /** Starts with `/`. */
  readonly path: string
  /** Starts with `?`, or is empty. Never part of a decision. */
  readonly query: string
}

/** An app as the request path sees it. */
export interface Route {
  readonly app: App
  readonly policy: CompiledApp
}

/** A header line as it goes on the wire. */
export type HeaderLine = readonly [name: string, value: string]

/** A body that was received before the decision. */
export interface ExchangeBody {
  readonly contentType: string
  readonly bytes: Buffer
}

/** What an exchange was allowed on: enough to decide it again. */
export interface Standing {
  readonly arrival: Arrival
  readonly judgement: Judgement
}

/** Why an open exchange was cut, for the record of its end. */
export interface CutCause {
  readonly reason: Reason
  readonly rule: string | undefined
  /** The policy version that it was decided under. */
  readonly policy: string
}

export interface Exchange {
  readonly id: string
  readonly request: IncomingMessage
  readonly target: Target
  readonly route: Route
  /** Client address behind trusted proxies. */
  readonly address: string
  /** What the upstream is told of the trace. */
  readonly trace: CarriedTrace
  /** Identity headers and assertion for this upstream; empty for anonymous requests and `identity: none`. */
  readonly identity: readonly HeaderLine[]
  /** `Authorization` held an access token for us: it goes no further, unless the app asks for it (`pass_authorization`). */
  readonly isAuthorizationOurs?: boolean
  /** A CORS preflight, which proves nobody: of the answer only the head goes back, without anything of its content. */
  readonly isPreflight?: boolean
  /** Forwarded in place of the request's own body, which was received already. */
  readonly body?: ExchangeBody | undefined
  /** Resolves the value of a `{ secret: ID }` header. */
  readonly findSecret: (id: string) => string | undefined
  /** Left out where nobody will decide it again. */
  readonly standing?: Standing
}

/** How an exchange ended; the values of `access.ended`. */
export interface ExchangeOutcome {
  /** Status sent to the client; 0 if none was. */
  readonly status: number
  /** Body bytes from the client, and to it. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of the time since it was handed over, what was spent in here and not waiting for the upstream or for a body; milliseconds. */
  readonly ownMs: number
  readonly outcome: 'completed' | 'client_gone' | 'upstream_failed' | 'cut'
  /** Set where nothing was sent to the client yet and the caller must answer with this refusal. */
  readonly refusal:
    | Extract<Reason, 'upstream_unreachable' | 'upstream_timeout' | 'upstream_protocol_error' | 'body_too_large' | 'request_timeout'>
    | undefined
  /** Of what was cut because it no longer stood. */
  readonly cause?: CutCause | undefined
}
