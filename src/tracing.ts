/**
 * OpenTelemetry, behind its one door: spans of what a guarded request, a sign-in and their calls of the store and the provider go through.
 *
 * This file is loaded only where `tracing:` is configured. It stands beside the flow and never in it: whatever fails here costs spans and no
 * request. Memory is bounded by the queue, time by the limits on a batch and on the end. Names follow the semantic conventions for HTTP; a
 * span holds no token, cookie, query, address or e-mail, and of an error its code and never its words.
 *
 * Whether a request is traced is ours to say, by chance and not by the trace that it names: a stranger who could choose would
 * choose always. Only the word of a trusted proxy counts.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Attributes, type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BatchSpanProcessor, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace'
import type { TracingConfiguration } from './config/instance.ts'
import type { AccessHostContext, RequestTrace, TracedRequest } from './enforcement/ports.ts'
import { isPosternError } from './errors.ts'
import type { Logger } from './log.ts'

export interface TracingOptions {
  readonly settings: TracingConfiguration
  /** Postern's own. */
  readonly version: string
  /** Name of this instance, as in the audit trail. */
  readonly instance: string
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Monotonic milliseconds. */
  readonly monotonicNow: () => number
}

type HandleAccessHost = (request: IncomingMessage, response: ServerResponse, context: AccessHostContext) => void

export interface Tracing {
  /** Begins the spans of a guarded request; `undefined` where it is not traced. */
  startTrace(request: TracedRequest): RequestTrace | undefined
  /** The control plane with a span a request. */
  traceAccessHost(handle: HandleAccessHost): HandleAccessHost
  /** The same object; calls of these methods have a span each while something that is traced waits for them, and else cost nothing. */
  traceCalls<T extends object>(target: T, of: 'store' | 'provider', methods: readonly (keyof T & string)[]): T
  /** Sends what is left, for two seconds at the most. Never rejects. */
  close(): Promise<void>
}

/** Several hundred requests' worth. What comes while it is full is lost. */
const mostWaitingSpans = 2048
const batchSpans = 512
/** A batch, its repetitions included. */
const exportTimeoutMs = 3000
const exportDelayMs = 2000
const closeTimeoutMs = 2000
/** A path may be as long as a request head. */
const mostAttributeCharacters = 1000

/** Pages of the access host by which spans are named; what else is asked for there is one name, so that strangers cannot make names. */
const accessHostRoutes = ['/', '/sign-in', '/oidc/callback', '/oidc/backchannel-logout', '/signed-out'] as const

/** What is under way: what a call that is made meanwhile belongs to. */
interface Scope {
  readonly startCall: (name: string, attributes: Attributes) => { end(error?: unknown): void }
}

/** Creates the tracing of one process. Connects to nothing before there is something to send. */
export function createTracing({ settings, version, instance, log, now, monotonicNow }: TracingOptions): Tracing {
  const url = `${settings.endpoint.href.replace(/\/$/, '')}/v1/traces`
  const exporter = new OTLPTraceExporter({
    url,
    headers: Object.fromEntries([...settings.headers].map(([name, secret]) => [name, secret.reveal()])),
    timeoutMillis: exportTimeoutMs,
    concurrencyLimit: mostWaitingSpans / batchSpans,
  })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': settings.serviceName,
      'service.version': version,
      'service.instance.id': instance,
    }),
    // Only what is traced gets this far.
    sampler: new AlwaysOnSampler(),
    spanLimits: { attributeValueLengthLimit: mostAttributeCharacters },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: watchExporter(exporter, settings.endpoint.origin, log),
        maxQueueSize: mostWaitingSpans,
        maxExportBatchSize: batchSpans,
        scheduledDelayMillis: exportDelayMs,
        exportTimeoutMillis: exportTimeoutMs + 500,
      }),
    ],
  })
  const tracer = provider.getTracer('postern', version)
  const scopes = new AsyncLocalStorage<Scope>()

  /** One clock for all spans of a trace: the wall's at its beginning, and the monotonic one from there. */
  function startClock(): () => number {
    const offset = now() - monotonicNow()
    return () => offset + monotonicNow()
  }

  function startCallIn(parent: () => Context, clock: () => number): Scope['startCall'] {
    return (name, attributes) => {
      const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes, startTime: clock() }, parent())
      return {
        end(error) {
          if (error !== undefined) markFailed(span, typeOf(error))
          span.end(clock())
        },
      }
    }
  }

  function startTrace(request: TracedRequest): RequestTrace | undefined {
    const { parent } = request
    const isTraced = parent !== undefined && request.isParentTrusted ? parent.isSampled : Math.random() < settings.sample
    if (!isTraced) return undefined
    const clock = startClock()
    const begunAt = clock() - (monotonicNow() - request.arrivedAt)
    const root = tracer.startSpan(
      `${request.method} ${request.app}`,
      { kind: SpanKind.SERVER, attributes: describeRequest(request), startTime: begunAt },
      parent === undefined ? ROOT_CONTEXT : contextOf(parent),
    )
    const inRoot = trace.setSpan(ROOT_CONTEXT, root)
    let step: { readonly span: Span; readonly name: string; readonly context: Context } | undefined
    let isEnded = false
    const scope: Scope = { startCall: startCallIn(() => step?.context ?? inRoot, clock) }
    return {
      step(name) {
        if (isEnded) return
        const at = clock()
        step?.span.end(at)
        const isCall = name === 'upstream'
        const attributes = isCall ? { 'http.request.method': request.method } : {}
        const kind = isCall ? SpanKind.CLIENT : SpanKind.INTERNAL
        const span = tracer.startSpan(name, { kind, attributes, startTime: at }, inRoot)
        step = { span, name, context: trace.setSpan(inRoot, span) }
      },
      within: (run) => scopes.run(scope, run),
      carried() {
        const { traceId, spanId } = (step?.span ?? root).spanContext()
        return { traceparent: `00-${traceId}-${spanId}-01`, tracestate: parent?.state }
      },
      end({ effect, reason, rule, status }) {
        if (isEnded) return
        isEnded = true
        const isUpstreams = reason.startsWith('upstream_')
        if (step?.name === 'upstream') {
          if (isUpstreams) markFailed(step.span, reason)
          else if (status > 0) step.span.setAttribute('http.response.status_code', status)
        }
        const at = clock()
        step?.span.end(at)
        root.setAttributes({ 'postern.effect': effect, 'postern.reason': reason })
        if (rule !== undefined) root.setAttribute('postern.rule', rule)
        endServerSpan(root, status, isUpstreams ? reason : undefined, at)
      },
    }
  }

  function traceAccessHost(handle: HandleAccessHost): HandleAccessHost {
    return (request, response, context) => {
      if (Math.random() >= settings.sample) return handle(request, response, context)
      const clock = startClock()
      const path = request.url?.replace(/\?.*$/s, '')
      const route = accessHostRoutes.find((known) => known === path)
      const { method = '' } = request
      const span = tracer.startSpan(
        `${method} ${route ?? 'access host'}`,
        {
          kind: SpanKind.SERVER,
          startTime: clock(),
          attributes: {
            'http.request.method': method,
            'postern.request_id': context.requestId,
            ...(route === undefined ? {} : { 'http.route': route }),
          },
        },
        ROOT_CONTEXT,
      )
      response.once('close', () => endServerSpan(span, response.headersSent ? response.statusCode : 0, undefined, clock()))
      const inSpan = trace.setSpan(ROOT_CONTEXT, span)
      scopes.run({ startCall: startCallIn(() => inSpan, clock) }, handle, request, response, context)
    }
  }

  function traceCalls<T extends object>(target: T, of: 'store' | 'provider', methods: readonly (keyof T & string)[]): T {
    const traced = new Map<PropertyKey, unknown>()
    for (const name of methods) {
      const method = target[name]
      if (typeof method !== 'function') throw new TypeError(`${of} has no method ${name}`)
      traced.set(name, (...asked: unknown[]) => {
        const call = scopes.getStore()?.startCall(`${of} ${name}`, { [`postern.${of}.operation`]: name })
        const result: unknown = method.apply(target, asked)
        // Whoever called hears of a failure; this only looks on.
        if (call !== undefined) {
          if (result instanceof Promise) result.then(() => call.end(), call.end)
          else call.end()
        }
        return result
      })
    }
    return new Proxy(target, {
      get(of, name) {
        const own = traced.get(name)
        if (own !== undefined) return own
        const value: unknown = Reflect.get(of, name, of)
        return typeof value === 'function' ? value.bind(of) : value
      },
    })
  }

  return {
    startTrace,
    traceAccessHost,
    traceCalls,
    async close() {
      let timer: NodeJS.Timeout | undefined
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, closeTimeoutMs)
      })
      // What could not be sent is lost, and was told already.
      await Promise.race([provider.shutdown().catch(() => undefined), patience])
      clearTimeout(timer)
    },
  }
}

function describeRequest({ id, app, method, host, port, path }: TracedRequest): Attributes {
  return {
    'http.request.method': method,
    'server.address': host,
    'server.port': port,
    ...(path === undefined ? {} : { 'url.path': path }),
    'postern.app': app,
    'postern.request_id': id,
  }
}

function contextOf({ traceId, spanId }: NonNullable<TracedRequest['parent']>): Context {
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true })
}

/** A server's own failure is an error, a refusal is none (semantic conventions for HTTP server spans). */
function endServerSpan(span: Span, status: number, failure: string | undefined, at: number): void {
  if (status > 0) span.setAttribute('http.response.status_code', status)
  if (failure !== undefined || status >= 500) markFailed(span, failure ?? String(status))
  span.end(at)
}

function markFailed(span: Span, type: string): void {
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** Of an error only what it is: its words may repeat what somebody sent. */
function typeOf(error: unknown): string {
  return isPosternError(error) ? error.code : error instanceof Error ? error.name : 'error'
}

/** Says once that the collector is away, and once that it is back, with how many spans were lost meanwhile. */
function watchExporter(exporter: SpanExporter, endpoint: string, log: Logger): SpanExporter {
  let isAway = false
  let lost = 0
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const isTaken = result.error === undefined && result.code === 0
        if (isTaken) {
          if (isAway) log.info({ endpoint, lost }, 'the collector of traces takes spans again')
          lost = 0
        } else {
          lost += spans.length
          if (!isAway) log.warn({ endpoint, err: result.error }, 'the collector of traces does not take spans')
        }
        isAway = !isTaken
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  }
}
