/**
 * W3C Trace Context on the way through: a trace that a request brings is continued, else one begins here, and the upstream is told of it
 * with a parent of its own. Its id stands in the line of the decision, so that a trace leads to the evidence and back.
 *
 * The headers are a stranger's strings. They count only in the strict form of the recommendation (§3.2), are never logged as they came, and
 * decide nothing; whether spans are made of a trace is for `startTrace` to say, which believes in this only what a trusted proxy sent.
 * Ids come from a pool of random bytes: one call of the generator serves some hundred requests.
 */

import { randomFillSync } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Reason } from '../policy/decision.ts'
import type { Arrival } from './arrival.ts'
import type { Target } from './exchange.ts'
import type { RequestTrace, TracedRequest, TraceParent } from './ports.ts'
import type { Route } from './route-table.ts'

/** What the upstream is sent. */
export interface CarriedTrace {
  readonly traceparent: string
  readonly tracestate: string | undefined
}

/** What is known of a guarded request when its trace begins. */
export type TraceBeginning = Omit<TracedRequest, 'parent' | 'isParentTrusted'>

type StartTrace = ((request: TracedRequest) => RequestTrace | undefined) | undefined

/** The trace of one request. Nothing here throws, and without spans it is two ids. */
export interface ArrivalTrace {
  /** Thirty-two lower-case hexadecimal digits. */
  readonly id: string
  /** Begins the spans of a request that has found its app. */
  begin(describe: () => TraceBeginning): void
  step: RequestTrace['step']
  within: RequestTrace['within']
  /** For the upstream; the step under way is its parent. */
  carried(): CarriedTrace
  end(end: { readonly effect: string; readonly reason: Reason; readonly rule: string | undefined; readonly status: number }): void
}

/** What makes traces, for one listener. */
export interface ArrivalTraces {
  /** Of a request with these headers; `isTrusted`: the peer is a proxy of ours. */
  traceOf(headers: IncomingHttpHeaders, isTrusted: boolean): ArrivalTrace
}

/** Creates them. `startTrace` is left out where no spans are made. */
export function createArrivalTraces(startTrace: StartTrace): ArrivalTraces {
  return { traceOf: (headers, isTrusted) => new PassingTrace(headers, isTrusted, startTrace) }
}

/** What spans say of a request. Of an app whose paths are not recorded in full they say none. */
export function describeTraced({ arrivedAt, id, request }: Arrival, { app, recording }: Route, target: Target): TraceBeginning {
  return {
    id,
    app: app.id,
    method: request.method ?? '',
    host: target.hostname,
    port: app.address.port,
    path: recording.paths === 'full' ? target.path : undefined,
    arrivedAt,
  }
}

class PassingTrace implements ArrivalTrace {
  readonly #parent: TraceParent | undefined
  readonly #isTrusted: boolean
  readonly #start: StartTrace
  #id: string | undefined
  #spans: RequestTrace | undefined

  constructor(headers: IncomingHttpHeaders, isTrusted: boolean, start: StartTrace) {
    this.#parent = readTraceParent(headers)
    this.#isTrusted = isTrusted
    this.#start = start
    this.#id = this.#parent?.traceId
  }

  get id(): string {
    this.#id ??= randomHex(traceIdBytes)
    return this.#id
  }

  begin(describe: () => TraceBeginning): void {
    if (this.#start === undefined) return
    this.#spans = this.#start({ ...describe(), parent: this.#parent, isParentTrusted: this.#isTrusted })
    // Spans that begin a trace name it.
    if (this.#spans !== undefined) this.#id = traceIdOf(this.#spans.carried().traceparent)
  }

  step(name: Parameters<RequestTrace['step']>[0]): void {
    this.#spans?.step(name)
  }

  within<T>(run: () => T): T {
    return this.#spans === undefined ? run() : this.#spans.within(run)
  }

  carried(): CarriedTrace {
    if (this.#spans !== undefined) return this.#spans.carried()
    const flags = this.#isSampled() ? '01' : '00'
    return { traceparent: `00-${this.id}-${randomHex(spanIdBytes)}-${flags}`, tracestate: this.#parent?.state }
  }

  end(end: Parameters<ArrivalTrace['end']>[0]): void {
    this.#spans?.end(end)
  }

  /**
   * Who began the trace chose, and what begins here is recorded, in the trail, so that an upstream which follows its parent still traces. Where
   * spans are configured, this request was left out of them, and the upstream is to leave it out as well: a stranger's flag would fill the
   * very collector, by way of the upstream's spans.
   */
  #isSampled(): boolean {
    return this.#start === undefined && (this.#parent?.isSampled ?? true)
  }
}

const traceIdBytes = 16
const spanIdBytes = 8

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s
const noTrace = '0'.repeat(32)
const noSpan = '0'.repeat(16)

/** Longer is no state that anybody has to pass on (§3.3.1.5 asks for 512 characters). */
const longestState = 2048

/** The trace that these headers name; `undefined` where they name none, or not in the form that counts. */
export function readTraceParent(headers: IncomingHttpHeaders): TraceParent | undefined {
  const written = headers['traceparent']
  // Node joins what is there twice with a comma, which is no form of this header.
  if (typeof written !== 'string') return undefined
  const parts = form.exec(written)
  if (parts === null) return undefined
  const [, version, traceId = noTrace, spanId = noSpan, flags = '00', rest] = parts
  // A later version may say more behind what this one knows; version 255 is never one.
  if (version === 'ff' || (version === '00' && rest !== undefined) || traceId === noTrace || spanId === noSpan) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1, state: readState(headers['tracestate']) }
}

/** Counts only beside a parent (§3.3). Ours is not in it, so it goes on as it came. */
function readState(written: string | string[] | undefined): string | undefined {
  if (written === undefined) return undefined
  const state = typeof written === 'string' ? written : written.join(',')
  return state.length <= longestState && /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(state) ? state : undefined
}

function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35)
}

const randomBytes = Buffer.alloc((traceIdBytes + spanIdBytes) * 128)
/** Two digits a byte, all written at once: cutting an id out costs less than writing one. */
let digits = ''
let used = 0

/** Random bytes as hexadecimal digits. That all of them are zero will not be seen. */
function randomHex(bytes: number): string {
  if (used + 2 * bytes > digits.length) {
    digits = randomFillSync(randomBytes).toString('hex')
    used = 0
  }
  used += 2 * bytes
  return digits.slice(used - 2 * bytes, used)
}
