/**
 * A collector for tests: takes OTLP over HTTP in JSON, as any collector does, and keeps the spans with all that was said on the way.
 * It can be told to refuse, to fall silent, or to go away.
 */

import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number
  /** Milliseconds. */
  readonly startedAt: number
  readonly endedAt: number
  readonly attributes: Readonly<Record<string, unknown>>
  readonly hasFailed: boolean
}

export interface TestCollector {
  readonly url: URL
  readonly spans: CollectedSpan[]
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers']; readonly body: string }[]
  /** Attributes of the resource as the last batch had them. */
  resource(): Readonly<Record<string, unknown>>
  /** What it answers from now on; `silence` takes everything and answers nothing. */
  behave(as: 'honest' | 'refusing' | 'silence'): void
  children(of: CollectedSpan): readonly CollectedSpan[]
  stop(): Promise<void>
  /** Takes the same port again. */
  start(): Promise<void>
}

/** Starts one on 127.0.0.1. */
export async function startCollector(): Promise<TestCollector> {
  const spans: CollectedSpan[] = []
  const requests: TestCollector['requests'] = []
  const sockets = new Set<Socket>()
  let behaviour: 'honest' | 'refusing' | 'silence' = 'honest'
  let resource: Readonly<Record<string, unknown>> = {}
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    requests.push({ path: request.url ?? '', headers: request.headers, body })
    if (behaviour === 'silence') return
    if (behaviour === 'refusing') return void response.writeHead(400).end('no')
    for (const part of (JSON.parse(body) as Written).resourceSpans) {
      resource = valuesOf(part.resource.attributes)
      for (const { spans: written } of part.scopeSpans) spans.push(...written.map(read))
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    spans,
    requests,
    resource: () => resource,
    behave: (as) => {
      behaviour = as
    },
    children: (of) => spans.filter(({ parentSpanId }) => parentSpanId === of.spanId).sort((a, b) => a.startedAt - b.startedAt),
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
    start: () => listen(port),
  }
}

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface WrittenSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly Attribute[]
  readonly status: { readonly code?: number }
}

interface Written {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly WrittenSpan[] }[]
  }[]
}

function read(span: WrittenSpan): CollectedSpan {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    name: span.name,
    kind: span.kind,
    startedAt: Number(span.startTimeUnixNano) / 1e6,
    endedAt: Number(span.endTimeUnixNano) / 1e6,
    attributes: valuesOf(span.attributes),
    hasFailed: span.status.code === 2,
  }
}

function valuesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
