/**
 * Spans of whole requests: the real listener, real sessions, a raw upstream, and a collector that takes what was exported. The tree is that of the
 * flow, the upstream is told of its own span, and nothing secret leaves with any of them.
 */

import { afterEach, expect, test } from 'vitest'
import { type FlowRig, startFlow, wiki, wikiOrigin } from './enforcement/enforcement.fixture.ts'
import { type CollectedSpan, startCollector } from './tracing.fixture.ts'
import { createTracing } from './tracing.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parentId = 'b7ad6b7169203331'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(sample: number, options: Parameters<typeof startFlow>[0] = {}) {
  const collector = await startCollector()
  const nothing = () => undefined
  const tracing = createTracing({
    settings: { endpoint: collector.url, sample, serviceName: 'postern', headers: new Map() },
    version: '1.2.3',
    instance: 'one',
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing, flush: nothing },
    now: Date.now,
    monotonicNow: () => performance.now(),
  })
  const rig = await startFlow({ ...options, ports: { startTrace: tracing.startTrace, ...options.ports } })
  closers.push(() => collector.stop(), tracing.close, rig.close)
  return { collector, tracing, rig }
}

const page = (path: string, lines: readonly string[]) =>
  `GET ${path} HTTP/1.1\r\n${['Host: wiki.corp.example', 'Sec-Fetch-Site: same-origin', ...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`

function receivedBy(rig: FlowRig, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)$`, 'im').exec(rig.upstream.received())?.[1]?.trim()
}

test('a request is its steps, and the upstream is told of the span that waits for it', async () => {
  const { collector, tracing, rig } = await start(1)
  const { cookie } = await rig.signIn('alice', wikiOrigin)
  const answer = await rig.ask(
    page('/pages/home?token=query-secret', [`Cookie: ${cookie}`, `traceparent: 00-${traceId}-${parentId}-00`, 'tracestate: vendor=1']),
  )
  expect(answer.status).toBe(200)
  await tracing.close()
  const root = collector.spans.find(({ kind }) => kind === 2) as CollectedSpan
  expect(root).toMatchObject({ name: 'GET wiki', traceId, parentSpanId: parentId })
  expect(root.attributes).toMatchObject({
    'url.path': '/pages/home',
    'http.response.status_code': 200,
    'postern.effect': 'allow',
    'postern.reason': 'rule_matched',
    'postern.rule': 'staff',
    'postern.request_id': answer.headers['x-postern-request'],
  })
  const steps = collector.children(root)
  expect(steps.map(({ name }) => name)).toEqual(['session', 'facts', 'decision', 'audit', 'upstream'])
  const upstream = steps.at(-1) as CollectedSpan
  expect(receivedBy(rig, 'traceparent')).toBe(`00-${traceId}-${upstream.spanId}-01`)
  expect(receivedBy(rig, 'tracestate')).toBe('vendor=1')
  const said = collector.requests.map(({ body }) => body).join()
  for (const secret of ['query-secret', cookie.split('=')[1] ?? '', 'alice', '127.0.0.1', receivedBy(rig, 'x-postern-assertion') ?? '-'])
    expect(said, secret).not.toContain(secret)
})

test('a refusal and a way to sign in are spans without an upstream', async () => {
  const { collector, tracing, rig } = await start(1)
  const { cookie } = await rig.signIn('alice', wikiOrigin)
  expect((await rig.ask(page('/admin/x', [`Cookie: ${cookie}`]))).status).toBe(403)
  expect((await rig.ask(page('/pages', []))).status).toBe(401)
  // What never found an app, or is of our own paths, is no guarded request.
  await rig.ask(page('/.postern/whoami', []))
  await rig.ask(page('/a//b', []))
  await tracing.close()
  const roots = collector.spans.filter(({ kind }) => kind === 2)
  expect(
    roots
      .map(({ attributes }) => [attributes['postern.effect'], attributes['http.response.status_code']])
      .sort((a, b) => Number(a[1]) - Number(b[1])),
  ).toEqual([
    ['challenge', 401],
    ['deny', 403],
  ])
  expect(collector.spans.filter(({ name }) => name === 'upstream')).toEqual([])
})

test('a path that is not to be recorded is in no span', async () => {
  const { collector, tracing, rig } = await start(1, {
    apps: [wiki({ audit: { paths: 'first_segment', durability: undefined, whenFull: undefined } })],
  })
  const { cookie } = await rig.signIn('alice', wikiOrigin)
  await rig.ask(page('/patients/jane-doe', [`Cookie: ${cookie}`]))
  await tracing.close()
  expect(collector.spans.length).toBeGreaterThan(3)
  expect(collector.requests.map(({ body }) => body).join()).not.toContain('jane-doe')
})

test('a stranger who asks for sampling is not heard, and a trusted proxy is', async () => {
  const asking = [`traceparent: 00-${traceId}-${parentId}-01`]
  const { collector, tracing, rig } = await start(0)
  const { cookie } = await rig.signIn('alice', wikiOrigin)
  for (let i = 0; i < 20; i += 1) await rig.ask(page('/pages', [`Cookie: ${cookie}`, ...asking]))
  await tracing.close()
  expect(collector.requests).toEqual([])

  const behind = await start(0, { settings: { trustedProxies: ['127.0.0.1/32'] } })
  const there = await behind.rig.signIn('alice', wikiOrigin)
  await behind.rig.ask(page('/pages', [`Cookie: ${there.cookie}`, ...asking]))
  await behind.tracing.close()
  expect(behind.collector.spans.map(({ name }) => name)).toContain('GET wiki')
})

test('a collector that is silent holds no request up', async () => {
  const { collector, rig } = await start(1)
  collector.behave('silence')
  const { cookie } = await rig.signIn('alice', wikiOrigin)
  const startedAt = performance.now()
  for (let i = 0; i < 50; i += 1) expect((await rig.ask(page('/pages', [`Cookie: ${cookie}`]))).status).toBe(200)
  expect(performance.now() - startedAt).toBeLessThan(5000)
})
