/** W3C Trace Context on the way through: what is continued, what is begun, and what nobody believes. */

import { afterEach, describe, expect, test } from 'vitest'
import { type FlowRig, get, startFlow, wiki } from './enforcement.fixture.ts'
import type { RequestTrace, TracedRequest } from './ports.ts'
import { createArrivalTraces, readTraceParent } from './trace-context.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'
const parent = `00-${traceId}-${spanId}-01`

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

describe('a traceparent', () => {
  test('counts in the form of its version', () => {
    const read = { traceId, spanId, isSampled: true, state: undefined }
    expect(readTraceParent({ traceparent: parent })).toEqual(read)
    expect(readTraceParent({ traceparent: `00-${traceId}-${spanId}-00` })).toEqual({ ...read, isSampled: false })
    // A later version: what this one knows of it, and no more.
    expect(readTraceParent({ traceparent: `cc-${traceId}-${spanId}-01-what-the-future-brings` })).toEqual(read)
    expect(readTraceParent({ traceparent: `cc-${traceId}-${spanId}-03` })).toEqual(read)
  })

  test.each([
    ['nothing', ''],
    ['no trace', 'x'],
    ['capitals', parent.toUpperCase()],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['a span of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['version 255', `ff${parent.slice(2)}`],
    ['more than its version has', `${parent}-x`],
    ['a later version that goes on without a dash', `cc-${traceId}-${spanId}-01x`],
    ['two of them', `${parent}, ${parent}`],
    ['a line break', `${parent}\n`],
    ['blanks', ` ${parent}`],
    ['a megabyte', parent + '0'.repeat(1_000_000)],
  ])('with %s is none', (_, traceparent) => {
    expect(readTraceParent({ traceparent })).toBeUndefined()
  })

  test('brings its state, unless that is long or holds what no state holds', () => {
    const stateOf = (tracestate: string) => readTraceParent({ traceparent: parent, tracestate })?.state
    expect(stateOf('a=1, b=2')).toBe('a=1, b=2')
    expect(stateOf('a=1\u00e9')).toBeUndefined()
    expect(stateOf(`a=${'x'.repeat(5000)}`)).toBeUndefined()
    expect(readTraceParent({ tracestate: 'a=1' })).toBeUndefined()
  })
})

describe('what goes on', () => {
  test('is the same trace with a parent of ours, as its beginner sampled it', () => {
    const { carried, id } = traceOf({ traceparent: `00-${traceId}-${spanId}-00`, tracestate: 'a=1' })
    expect(id).toBe(traceId)
    expect(carried).toEqual({ traceparent: expect.stringMatching(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`)), tracestate: 'a=1' })
    expect(carried.traceparent).not.toContain(spanId)
  })

  test('is a trace of its own for everybody else', () => {
    const seen = new Set<string>()
    for (let count = 0; count < 1000; count++) {
      const { carried, id } = traceOf({ tracestate: 'a=1' })
      expect(carried).toEqual({ traceparent: expect.stringMatching(new RegExp(`^00-${id}-[0-9a-f]{16}-01$`)), tracestate: undefined })
      expect(readTraceParent({ traceparent: carried.traceparent })).toBeDefined()
      seen.add(carried.traceparent)
    }
    expect(seen.size).toBe(1000)
  })

  test.each([{}, { traceparent: parent }])('is not sampled where spans are configured and this request has none: %o', (headers) => {
    const trace = createArrivalTraces(() => undefined).traceOf(headers, false)
    trace.begin(() => ({ id: 'r', app: 'wiki', method: 'GET', host: 'h', port: 443, path: '/', arrivedAt: 0 }))
    expect(trace.carried().traceparent).toMatch(/-00$/)
  })

  function traceOf(headers: Record<string, string>) {
    const trace = createArrivalTraces(undefined).traceOf(headers, false)
    return { id: trace.id, carried: trace.carried() }
  }
})

describe('a guarded request', () => {
  test('has the id of its trace in the line of its decision and in what the upstream is told', async () => {
    const rig = await startFlow()
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice')
    await rig.ask(get('/page', [`Cookie: ${cookie}`, `traceparent: ${parent}`]))
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    const ids = rig.events.flatMap((event) => (event.event === 'access.decided' ? [event.trace] : []))
    expect(ids).toEqual([traceId, expect.stringMatching(/^[0-9a-f]{32}$/)])
    const told = [...rig.upstream.received().matchAll(/traceparent: 00-([0-9a-f]{32})-/g)].map(([, id]) => id)
    expect(told).toEqual(ids)
  })

  test('has a span a step, in their order, and what is recorded of the path in none but a whole one', async () => {
    const traced: TracedRequest[] = []
    const steps: string[] = []
    const startTrace = (request: TracedRequest): RequestTrace => {
      traced.push(request)
      return {
        step: (name) => void steps.push(name),
        within: (run) => run(),
        carried: () => ({ traceparent: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`, tracestate: undefined }),
        end: ({ effect, reason, rule, status }) => void steps.push(`${effect} ${reason} ${rule} ${status}`),
      }
    }
    const audit = { paths: 'first_segment', durability: undefined, whenFull: undefined } as const
    const rig = await startFlow({ apps: [wiki({ audit })], ports: { startTrace } })
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice')
    await rig.ask(get('/page/4711', [`Cookie: ${cookie}`, `traceparent: ${parent}`]))
    await expect.poll(() => steps.at(-1)).toContain('allow')
    await rig.ask(get('/admin/x', [`Cookie: ${cookie}`]))
    await expect.poll(() => steps.at(-1)).toContain('deny')
    expect(steps).toEqual([
      ...['session', 'facts', 'decision', 'audit', 'upstream', 'allow rule_matched staff 200'],
      ...['session', 'facts', 'decision', 'audit', 'deny denied_by_rule admins only 403'],
    ])
    expect(traced[0]).toMatchObject({ app: 'wiki', method: 'GET', path: undefined, isParentTrusted: false, parent: { traceId } })
    // Spans that began the trace name it, in the record as well.
    expect(rig.events.find((event) => event.event === 'access.decided')).toMatchObject({ trace: 'c'.repeat(32) })
    expect(rig.upstream.received()).toContain(`traceparent: 00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`)
  })
})
