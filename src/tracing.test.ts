/**
 * Spans as a collector receives them, over real HTTP: their tree, what they say and what they never say, whose word on sampling counts, and
 * what a collector that is away costs.
 */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Secret } from './config/instance.ts'
import type { TracedRequest } from './enforcement/ports.ts'
import { PosternError } from './errors.ts'
import { type CollectedSpan, startCollector, type TestCollector } from './tracing.fixture.ts'
import { createTracing, type Tracing } from './tracing.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parent = { traceId, spanId: 'b7ad6b7169203331', isSampled: true, state: 'vendor=1' }

let collector: TestCollector
let logged: { level: string; facts: Record<string, unknown>; message: string }[]
const opened: Tracing[] = []

beforeEach(async () => {
  collector = await startCollector()
  logged = []
})

afterEach(async () => {
  await Promise.all(opened.splice(0).map((tracing) => tracing.close()))
  await collector.stop()
})

function open(sample = 1): Tracing {
  const note = (level: string) => (facts: unknown, message?: unknown) =>
    void logged.push({ level, facts: facts as Record<string, unknown>, message: String(message) })
  const log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error'), fatal: note('fatal'), flush() {} }
  const tracing = createTracing({
    settings: {
      endpoint: collector.url,
      sample,
      serviceName: 'front-door',
      headers: new Map([['authorization', new Secret('Bearer collector-word')]]),
    },
    version: '1.2.3',
    instance: 'one',
    log: log as never,
    now: Date.now,
    monotonicNow: () => performance.now(),
  })
  opened.push(tracing)
  return tracing
}

function requestWith(changes: Partial<TracedRequest> = {}): TracedRequest {
  return {
    id: 'request-1',
    app: 'wiki',
    method: 'GET',
    host: 'wiki.corp.example',
    port: 443,
    path: '/pages',
    arrivedAt: performance.now() - 2,
    parent: undefined,
    isParentTrusted: false,
    ...changes,
  }
}

function find(name: string): CollectedSpan {
  const found = collector.spans.find((span) => span.name === name)
  if (found === undefined) throw new Error(`no span ${name} among ${collector.spans.map((span) => span.name).join(', ')}`)
  return found
}

describe('a guarded request', () => {
  test('is a server span with a child a step, the last of which the upstream hears of', async () => {
    const tracing = open()
    const spans = tracing.startTrace(requestWith({ parent, isParentTrusted: true }))
    if (spans === undefined) throw new Error('it is traced')
    for (const step of ['session', 'facts', 'decision', 'audit', 'upstream'] as const) spans.step(step)
    const carried = spans.carried()
    spans.end({ effect: 'allow', reason: 'rule_matched', rule: 'staff', status: 200 })
    await tracing.close()

    const root = find('GET wiki')
    expect(root).toMatchObject({ kind: 2, traceId, parentSpanId: parent.spanId, hasFailed: false })
    expect(root.attributes).toEqual({
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'server.address': 'wiki.corp.example',
      'server.port': 443,
      'url.path': '/pages',
      'postern.app': 'wiki',
      'postern.request_id': 'request-1',
      'postern.effect': 'allow',
      'postern.reason': 'rule_matched',
      'postern.rule': 'staff',
    })
    const children = collector.children(root)
    expect(children.map(({ name, kind }) => [name, kind])).toEqual([
      ['session', 1],
      ['facts', 1],
      ['decision', 1],
      ['audit', 1],
      ['upstream', 3],
    ])
    const upstream = find('upstream')
    expect(upstream.attributes).toEqual({ 'http.request.method': 'GET', 'http.response.status_code': 200 })
    expect(carried).toEqual({ traceparent: `00-${traceId}-${upstream.spanId}-01`, tracestate: 'vendor=1' })
    // One clock: a step begins where the one before it ended, and all lie within the request.
    for (const [index, child] of children.entries()) {
      expect(child.startedAt).toBeCloseTo(children[index - 1]?.endedAt ?? child.startedAt, 3)
      expect(child.startedAt).toBeGreaterThanOrEqual(root.startedAt)
      expect(child.endedAt).toBeLessThanOrEqual(root.endedAt)
    }
    expect(Math.abs(root.startedAt - Date.now())).toBeLessThan(60_000)
    expect(collector.resource()).toMatchObject({
      'service.name': 'front-door',
      'service.version': '1.2.3',
      'service.instance.id': 'one',
    })
    expect(collector.requests[0]).toMatchObject({ path: '/v1/traces', headers: { authorization: 'Bearer collector-word' } })
    expect(logged).toEqual([])
  })

  test('begins a trace where there is none, and says nothing of a path that is not to be recorded', async () => {
    const tracing = open()
    const spans = tracing.startTrace(requestWith({ path: undefined }))
    spans?.end({ effect: 'deny', reason: 'no_rule_matched', rule: undefined, status: 403 })
    spans?.step('upstream')
    spans?.end({ effect: 'allow', reason: 'rule_matched', rule: undefined, status: 200 })
    await tracing.close()
    const root = find('GET wiki')
    expect(collector.spans).toEqual([root])
    expect(root.parentSpanId).toBeUndefined()
    expect(root.attributes).not.toHaveProperty('url.path')
    expect(root).toMatchObject({ hasFailed: false, attributes: { 'http.response.status_code': 403, 'postern.effect': 'deny' } })
  })

  test('has failed where the upstream did, or we did', async () => {
    const tracing = open()
    const failing = tracing.startTrace(requestWith())
    failing?.step('upstream')
    failing?.end({ effect: 'allow', reason: 'upstream_timeout', rule: 'staff', status: 504 })
    const away = tracing.startTrace(requestWith({ app: 'board' }))
    away?.end({ effect: 'deny', reason: 'session_store_unavailable', rule: undefined, status: 503 })
    await tracing.close()
    expect(find('upstream')).toMatchObject({ hasFailed: true, attributes: { 'error.type': 'upstream_timeout' } })
    expect(find('GET wiki')).toMatchObject({ hasFailed: true, attributes: { 'error.type': 'upstream_timeout' } })
    expect(find('GET board')).toMatchObject({ hasFailed: true, attributes: { 'error.type': '503' } })
  })

  test('is traced by chance, or by the word of a trusted proxy, and never by that of a stranger', () => {
    const never = open(0)
    expect(never.startTrace(requestWith())).toBeUndefined()
    expect(never.startTrace(requestWith({ parent, isParentTrusted: false }))).toBeUndefined()
    expect(never.startTrace(requestWith({ parent, isParentTrusted: true }))).toBeDefined()
    const always = open(1)
    expect(always.startTrace(requestWith({ parent: { ...parent, isSampled: false }, isParentTrusted: true }))).toBeUndefined()
    expect(always.startTrace(requestWith({ parent: { ...parent, isSampled: false }, isParentTrusted: false }))).toBeDefined()
    // One trace, named again and again: whether it is recorded is not to be had by choosing a name.
    const half = open(0.5)
    const outcomes = Array.from({ length: 200 }, () => half.startTrace(requestWith({ parent })) !== undefined)
    expect(new Set(outcomes)).toEqual(new Set([true, false]))
  })

  test('keeps a long path short', async () => {
    const tracing = open()
    tracing
      .startTrace(requestWith({ path: `/${'x'.repeat(20_000)}` }))
      ?.end({ effect: 'deny', reason: 'locked', rule: undefined, status: 403 })
    await tracing.close()
    expect(String(find('GET wiki').attributes['url.path'])).toHaveLength(1000)
  })
})

describe('a call', () => {
  const store = {
    calls: 0,
    async load(name: string): Promise<string> {
      this.calls += 1
      if (name === 'gone') throw new PosternError('session_store_unavailable', 'redis at secret-host said nothing')
      return name
    },
    clock: () => 7,
  }

  test('is a span of the step that waits for it, and of nothing where nothing is traced', async () => {
    const tracing = open()
    const traced = tracing.traceCalls(store, 'store', ['load'])
    expect(await traced.load('before')).toBe('before')
    const spans = tracing.startTrace(requestWith())
    await spans?.within(async () => {
      spans.step('session')
      expect(await traced.load('within')).toBe('within')
      spans.step('facts')
      await expect(traced.load('gone')).rejects.toThrow('secret-host')
      expect(traced.clock()).toBe(7)
    })
    spans?.end({ effect: 'deny', reason: 'session_store_unavailable', rule: undefined, status: 503 })
    await tracing.close()
    expect(store.calls).toBe(3)
    const [first] = collector.children(find('session'))
    const [second] = collector.children(find('facts'))
    expect(first).toMatchObject({ name: 'store load', kind: 3, hasFailed: false })
    expect(second).toMatchObject({ name: 'store load', hasFailed: true, attributes: { 'error.type': 'session_store_unavailable' } })
    expect(collector.spans.filter(({ name }) => name === 'store load')).toHaveLength(2)
    expect(JSON.stringify(collector.requests.map(({ body }) => body))).not.toContain('secret-host')
  })

  test('at the access host belongs to its request, which is named by a closed list and holds no query', async () => {
    const tracing = open()
    const traced = tracing.traceCalls(store, 'provider', ['load'])
    const server = createServer((request, response) => {
      tracing.traceAccessHost((_request, answer) => {
        traced.load('code').then(
          () => answer.writeHead(302).end(),
          () => answer.destroy(),
        )
      })(request, response, { requestId: 'request-9', address: '127.0.0.1' })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    for (const path of ['/oidc/callback?code=the-code&state=the-state', '/whatever/a/stranger/likes'])
      await fetch(origin + path, { redirect: 'manual', headers: { connection: 'close' } })
    await new Promise((resolve) => server.close(resolve))
    await tracing.close()
    const callback = find('GET /oidc/callback')
    expect(callback).toMatchObject({ kind: 2, attributes: { 'http.route': '/oidc/callback', 'http.response.status_code': 302 } })
    expect(collector.children(callback).map(({ name }) => name)).toEqual(['provider load'])
    expect(find('GET access host').attributes).toEqual({
      'http.request.method': 'GET',
      'http.response.status_code': 302,
      'postern.request_id': 'request-9',
    })
    expect(collector.requests.map(({ body }) => body).join()).not.toMatch(/the-code|the-state|stranger/)
  })
})

describe('a collector that is away', () => {
  const traceMany = (tracing: Tracing, many: number) => {
    for (let i = 0; i < many; i += 1)
      tracing.startTrace(requestWith())?.end({ effect: 'allow', reason: 'rule_matched', rule: undefined, status: 200 })
  }

  test('is told once, loses what does not fit, and is heard of again when it is back', async () => {
    collector.behave('refusing')
    const tracing = open()
    traceMany(tracing, 600)
    await expect.poll(() => logged.length, { timeout: 10_000 }).toBe(1)
    expect(logged[0]).toMatchObject({ level: 'warn', facts: { endpoint: collector.url.origin } })
    traceMany(tracing, 5000)
    await expect.poll(() => collector.requests.length, { timeout: 10_000 }).toBeGreaterThan(3)
    expect(logged).toHaveLength(1)
    collector.behave('honest')
    await expect
      .poll(
        () => {
          traceMany(tracing, 1)
          return logged.length
        },
        { timeout: 10_000 },
      )
      .toBe(2)
    expect(logged[1]).toMatchObject({ level: 'info' })
    // Never more than the queue, however many there were.
    expect(Number(logged[1]?.facts['lost'])).toBeLessThanOrEqual(600 + 2048 + 512)
    expect(JSON.stringify(logged)).not.toContain('collector-word')
  })

  test('holds nobody up at the end, whether it is silent or not there', async () => {
    for (const absence of ['silence', 'stopped'] as const) {
      const tracing = open()
      if (absence === 'silence') collector.behave('silence')
      else await collector.stop()
      traceMany(tracing, 3000)
      const startedAt = performance.now()
      await tracing.close()
      expect(performance.now() - startedAt).toBeLessThan(3000)
    }
    await collector.start()
  })
})
