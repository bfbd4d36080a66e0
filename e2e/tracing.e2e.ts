/**
 * Traces of the whole system: a real instance exports to a real collector over HTTP. One sign-in and one page, each with what they waited for;
 * nothing secret leaves; a collector that goes away, and an end of the process, change nothing for anybody.
 */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CollectedSpan, startCollector, type TestCollector } from '../src/tracing.fixture.ts'
import { Client } from './support/client.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { findSecrets, noteSecret } from './support/secret-watch.ts'

const collectorWord = 'Bearer the-word-for-the-collector-9f2c'

let collector: TestCollector
let rig: Rig

beforeAll(async () => {
  noteSecret(collectorWord, 'the word for the collector')
  collector = await startCollector()
  rig = await startRig({
    store: 'redis',
    configuration: {
      tracing: { endpoint: collector.url.href, sample: 1, service_name: 'front-door', headers: { authorization: collectorWord } },
    },
  })
})
afterAll(async () => {
  await rig?.stop()
  await collector?.stop()
})

const named = (name: string) => collector.spans.filter((span) => span.name === name)
const attribute = (name: string, value: unknown) => (span: CollectedSpan) => span.attributes[name] === value

test('a sign-in and a page are traces with what they waited for, and hold no secret', async () => {
  const client = new Client()
  const page = await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
  expect(page.status).toBe(200)
  const isThere = attribute('postern.request_id', page.header('x-postern-request'))
  await waitFor(() => collector.spans.some(isThere))

  const root = collector.spans.find(isThere) as CollectedSpan
  expect(root).toMatchObject({ name: 'GET app', kind: 2, parentSpanId: undefined, hasFailed: false })
  const steps = collector.children(root)
  expect(steps.map(({ name }) => name)).toEqual(['session', 'facts', 'decision', 'audit', 'upstream'])
  // The first page after a sign-in is remembered by nobody: the session is read from the store.
  expect(collector.children(steps[0] as CollectedSpan).map(({ name }) => name)).toContain('store loadRecord')
  const told = rig
    .upstream('app')
    .requests()
    .at(-1)
    ?.headers.find(([name]) => name.toLowerCase() === 'traceparent')?.[1]
  expect(told).toBe(`00-${root.traceId}-${steps.at(-1)?.spanId}-01`)
  // A trace leads to the evidence, and back.
  const decided = (await rig.audit()).find(
    (line) => line['event'] === 'access.decided' && line['request'] === root.attributes['postern.request_id'],
  )
  expect(decided?.['trace']).toBe(root.traceId)

  const [callback] = named('GET /oidc/callback')
  expect(collector.children(callback as CollectedSpan).map(({ name }) => name)).toEqual(
    expect.arrayContaining(['provider completeSignIn', 'store createRecord']),
  )
  expect(collector.resource()).toMatchObject({ 'service.name': 'front-door' })
  expect(collector.requests[0]?.headers.authorization).toBe(collectorWord)
  expect(findSecrets(collector.requests.map(({ body }) => body).join('\n'), 'the traces')).toEqual([])
  expect(collector.requests.map(({ body }) => body).join()).not.toMatch(/alice|corp\.example/)
})

test('a collector that is away is told once and costs no request, and the rest is sent at the end', async () => {
  const client = new Client()
  await rig.signIn(client, 'bob', `${rig.origin('app')}/ok`)
  await collector.stop()
  for (let i = 0; i < 50; i += 1) expect((await client.send(`${rig.origin('app')}/ok`)).status).toBe(200)
  await waitFor(() => rig.instance.log().includes('the collector of traces does not take spans'), 15_000)
  await collector.start()
  const before = collector.spans.length
  const last = await client.send(`${rig.origin('app')}/ok`)
  await rig.instance.stop()
  expect(rig.instance.log().match(/the collector of traces does not take spans/g)).toHaveLength(1)
  expect(collector.spans.slice(before).some(attribute('postern.request_id', last.header('x-postern-request')))).toBe(true)
})
