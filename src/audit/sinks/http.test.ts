/** HTTP sinks against receivers that fail, answer slowly or in halves, go away and come back: nothing lost, order kept. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hashLine } from '../chain.ts'
import { createTestChain, type TestChain, until } from '../follow.fixture.ts'
import { createSinks, type Sinks, type SinksOptions } from '../sinks.ts'
import { startHttpReceiver, type TestHttpReceiver } from './receiver.fixture.ts'
import type { HttpSettings } from './sink-settings.ts'

type Json = Readonly<Record<string, unknown>>
const token = 'token-that-nobody-sees-9f3a'
let folder: string
let chain: TestChain
let receiver: TestHttpReceiver
const running: Sinks[] = []
const logged: string[] = []
const keep = (facts: unknown, text?: string) =>
  void logged.push(
    `${text} ${JSON.stringify(facts, (_, value: unknown) => (value instanceof Error ? `${value.message} ${String(value.cause)}` : value))}`,
  )
const log = { info: keep, warn: keep, error: keep } as unknown as SinksOptions['log']

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-http-sink-'))
  chain = await createTestChain(join(folder, 'audit'), 'host-0')
  receiver = await startHttpReceiver()
  logged.length = 0
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.close(0)))
  await receiver.close()
  await rm(folder, { recursive: true, force: true })
  expect(logged.join('\n')).not.toContain(token)
})

function start(settings: Partial<HttpSettings> = {}, batchLines = 10): Sinks {
  const sinks = createSinks({
    configurations: [
      {
        name: 'siem',
        type: 'http',
        url: receiver.url,
        format: 'json',
        token: { reveal: () => token },
        index: undefined,
        caFile: undefined,
        ...settings,
      },
    ],
    folder: join(folder, 'audit'),
    positionsFolder: join(folder, 'positions'),
    hostname: 'host.example',
    writeLines: async () => undefined,
    now: Date.now,
    monotonicNow: () => performance.now(),
    log,
    pace: { lookMs: 5, leastPauseMs: 5, mostPauseMs: 20, saveMs: 0, batchLines, lookForChainsMs: 20, timeoutMs: 400 },
  })
  running.push(sinks)
  return sinks
}

const sent = (sinks: Sinks, lines: number) =>
  until(
    () => sinks.status()[0]?.sent === lines,
    () => JSON.stringify([sinks.status(), logged.slice(-3)]),
  )
const linesOf = ({ body }: { readonly body: string }) => (JSON.parse(body) as Json[]).map((line) => JSON.stringify(line))

describe('a JSON receiver', () => {
  it('that fails every third time, cuts answers and answers too late gets every line in order, and twice only what it did not confirm', async () => {
    await chain.grow(1, 300)
    const accepted: string[] = []
    receiver.answer = (call, response, count) => {
      if (count % 3 === 0) return void response.writeHead(500).end('no')
      accepted.push(...linesOf(call))
      if (count % 7 === 1) return void response.writeHead(200, { 'content-length': '100' }).write('{', () => response.destroy())
      if (count % 11 === 1) return void setTimeout(() => response.end('{}'), 600)
      response.end('{}')
    }
    const sinks = start({}, 20)
    await sent(sinks, 300)
    const firsts = accepted.filter((line, index) => accepted.indexOf(line) === index)
    expect(firsts).toEqual(chain.lines)
    expect(accepted.length).toBeGreaterThan(300)
    expect(sinks.status()[0]).toMatchObject({ name: 'siem', lost: 0, skipped: 0, lagBytes: 0 })
  })

  it('that dies and comes back gets the rest', async () => {
    await chain.grow(1, 50)
    const sinks = start()
    await sent(sinks, 50)
    const port = Number(receiver.url.port)
    await receiver.close()
    await chain.grow(1, 50)
    await until(() => (sinks.status()[0]?.failures ?? 0) > 2)
    const early = receiver.calls
    receiver = await startHttpReceiver(port)
    await sent(sinks, 100)
    expect([...early, ...receiver.calls].flatMap(linesOf)).toEqual(chain.lines)
  })

  it('that closes an idle connection in the moment it is taken up again gets the batch on a new one, and that is no failure', async () => {
    await chain.grow(1, 5)
    const sinks = start()
    await sent(sinks, 5)
    receiver.answer = (_call, response, count) => void (count === 2 ? response.destroy() : response.end('{}'))
    await chain.grow(1, 5)
    await sent(sinks, 10)
    expect(receiver.calls).toHaveLength(3)
    expect(sinks.status()[0]?.failures).toBe(0)
  })

  it('gets the token as a bearer token, the name of the chain, and the bytes of the lines', async () => {
    await chain.grow(1, 2)
    await sent(start(), 2)
    const [call] = receiver.calls
    expect(call?.headers).toMatchObject({ authorization: `Bearer ${token}`, 'postern-chain': 'host-0', 'content-type': 'application/json' })
    expect(call?.body).toBe(`[${chain.lines.join(',\n')}]`)
  })

  it('that asks for a pause with Retry-After is left alone for so long', async () => {
    await chain.grow(1, 1)
    const at: number[] = []
    receiver.answer = (_call, response, count) => {
      at.push(performance.now())
      if (count === 1) response.writeHead(429, { 'retry-after': '1' }).end()
      else response.end()
    }
    await sent(start(), 1)
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(950)
  })

  it('that redirects is not followed, and its refusals are said loudly while lines wait', async () => {
    await chain.grow(1, 5)
    const other = await startHttpReceiver()
    let isMended = false
    receiver.answer = (_call, response) => {
      if (isMended) response.end()
      else response.writeHead(307, { location: other.url.href }).end()
    }
    const sinks = start()
    await until(() => (sinks.status()[0]?.failures ?? 0) >= 6)
    expect(sinks.status()[0]).toMatchObject({ sent: 0, lagLines: 5, lastError: 'the receiver answered 307' })
    expect(logged.some((line) => line.includes('refuses what it is sent, again and again'))).toBe(true)
    isMended = true
    await sent(sinks, 5)
    expect(other.calls).toEqual([])
    await other.close()
  })

  it('that takes less at once gets halves', async () => {
    await chain.grow(1, 16)
    receiver.answer = (call, response) => void response.writeHead(linesOf(call).length > 4 ? 413 : 200).end()
    const sinks = start({}, 16)
    await sent(sinks, 16)
    expect(receiver.calls.filter((call) => linesOf(call).length <= 4).flatMap(linesOf)).toEqual(chain.lines)
  })
})

describe('Splunk', () => {
  it('gets events with their time, one after the other, and has taken them when it says code 0', async () => {
    await chain.grow(1, 3)
    receiver.answer = (_call, response, count) =>
      void response.end(count === 1 ? '{"text":"Server is busy","code":9}' : '{"text":"Success","code":0}')
    const sinks = start({ format: 'splunk' })
    await sent(sinks, 3)
    const [first, second] = receiver.calls
    expect(receiver.calls).toHaveLength(2)
    expect(first?.body).toBe(second?.body)
    expect(second?.path).toBe('/services/collector/event')
    expect(second?.headers.authorization).toBe(`Splunk ${token}`)
    const events = (second?.body ?? '').split('\n').map((line) => JSON.parse(line) as Json)
    expect(events.map(({ event }) => JSON.stringify(event))).toEqual(chain.lines)
    expect(events[0]).toMatchObject({ time: 1_700_000_000.001, source: 'postern:host-0', fields: { chain: 'host-0', seq: '1' } })
  })
})

describe('Elastic', () => {
  /** As `_bulk` does it: documents by id, a conflict for what is there, and a mapping that some lines do not fit. */
  function elastic(stored: Map<string, Json>, refuses: (id: string, document: Json) => string | undefined = () => undefined) {
    receiver.answer = (call, response, count) => {
      const rows = call.body
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Json)
      const items = []
      for (let index = 0; index < rows.length; index += 2) {
        const { _id: id } = (rows[index] as { create: { _id: string } }).create
        const document = rows[index + 1] ?? {}
        const type = refuses(id, document)
        if (type !== undefined) items.push({ create: { status: type === 'busy' ? 429 : 400, error: { type } } })
        else if (stored.has(id)) items.push({ create: { status: 409, error: { type: 'version_conflict_engine_exception' } } })
        else {
          stored.set(id, document)
          items.push({ create: { status: 201 } })
        }
      }
      // Half of the answers are lost after everything was stored.
      if (count % 2 === 1) return void response.destroy()
      response.end(JSON.stringify({ errors: items.some(({ create }) => create.status > 299), items }))
    }
  }

  it('stores a line that comes twice once, under an id of chain, number and hash', async () => {
    await chain.grow(1, 40)
    const stored = new Map<string, Json>()
    elastic(stored)
    await sent(start({ format: 'elastic', index: 'postern' }), 40)
    expect([...stored.keys()]).toEqual(chain.lines.map((line, index) => `host-0-${index + 1}-${hashLine(line).slice(0, 12)}`))
    expect([...stored.values()][6]).toMatchObject({ '@timestamp': '2023-11-14T22:13:20.007Z', trail: 'host-0', seq: 7, effect: 'deny' })
    expect(receiver.calls[0]).toMatchObject({ headers: { authorization: `ApiKey ${token}`, 'content-type': 'application/x-ndjson' } })
    expect(receiver.calls[0]?.path).toMatch(/^\/_bulk\?filter_path=/)
    expect(receiver.calls[0]?.body).toContain('"_index":"postern"')
  })

  it('that refuses single lines gets them as text, and only what it refuses even then is left out, counted and named', async () => {
    await chain.grow(1, 10)
    const stored = new Map<string, Json>()
    let busy = 2
    elastic(stored, (id, document) => {
      if (id.startsWith('host-0-9-') && busy-- > 0) return 'busy'
      if (id.startsWith('host-0-4-') && document['line'] === undefined) return 'document_parsing_exception'
      return id.startsWith('host-0-6-') ? 'mapper_parsing_exception' : undefined
    })
    const sinks = start({ format: 'elastic', index: 'postern' })
    await sent(sinks, 10)
    expect(stored.size).toBe(9)
    expect([...stored].find(([id]) => id.startsWith('host-0-4-'))?.[1]).toMatchObject({ seq: 4, line: chain.lines[3] })
    expect(sinks.status()[0]).toMatchObject({ skipped: 1, lost: 0 })
    expect(logged.filter((line) => line.includes('left out') && line.includes('"seq":6'))).toHaveLength(1)
  })

  it('whose index is missing is waited for: no line is left out', async () => {
    await chain.grow(1, 3)
    let isMissing = true
    receiver.answer = (call, response) => {
      const items = call.body
        .trimEnd()
        .split('\n')
        .filter((_, index) => index % 2 === 0)
        .map(() => (isMissing ? { create: { status: 404, error: { type: 'index_not_found_exception' } } } : { create: { status: 201 } }))
      response.end(JSON.stringify({ errors: isMissing, items }))
    }
    const sinks = start({ format: 'elastic', index: 'postern' })
    await until(() => (sinks.status()[0]?.failures ?? 0) > 8)
    isMissing = false
    await sent(sinks, 3)
    expect(sinks.status()[0]?.skipped).toBe(0)
  })

  it.each([1, 5])('that stores nothing at all for the setup of its index is waited for, with %i lines at a time', async (batchLines) => {
    await chain.grow(1, 5)
    const stored = new Map<string, Json>()
    let isMisconfigured = true
    elastic(stored, () => (isMisconfigured ? 'illegal_argument_exception' : undefined))
    const sinks = start({ format: 'elastic', index: 'postern' }, batchLines)
    await until(() => (sinks.status()[0]?.failures ?? 0) > 30)
    isMisconfigured = false
    await sent(sinks, 5)
    expect([sinks.status()[0]?.skipped, stored.size]).toEqual([0, 5])
  })
})

describe('a receiver that changes the protocol', () => {
  it('holds up nothing for longer than one attempt: it is a failure like any other', async () => {
    await chain.grow(1, 3)
    receiver.answer = (_call, response, count) => {
      if (count > 2) return void response.end('{}')
      response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n')
    }
    const sinks = start()
    await sent(sinks, 3)
    expect(sinks.status()[0]).toMatchObject({ failures: 2 })
  })
})

describe('an OpenTelemetry collector', () => {
  it('gets records with 64-bit numbers as text, severities and the line as body', async () => {
    await chain.grow(1, 7)
    await sent(start({ format: 'otlp' }), 7)
    const [call] = receiver.calls
    expect(call?.path).toBe('/v1/logs')
    expect(call?.headers.authorization).toBe(`Bearer ${token}`)
    const { resourceLogs } = JSON.parse(call?.body ?? '') as { resourceLogs: [{ resource: Json; scopeLogs: [{ logRecords: Json[] }] }] }
    const records = resourceLogs[0].scopeLogs[0].logRecords
    expect(resourceLogs[0].resource).toEqual({
      attributes: [
        { key: 'service.name', value: { stringValue: 'postern' } },
        { key: 'postern.audit.chain', value: { stringValue: 'host-0' } },
      ],
    })
    expect(records.map(({ body }) => (body as { stringValue: string }).stringValue)).toEqual(chain.lines)
    expect(records[0]).toMatchObject({ timeUnixNano: '1700000000001000000', severityNumber: 9 })
    expect(records[6]).toMatchObject({ severityNumber: 13, severityText: 'warning' })
    expect(records[6]?.['attributes']).toContainEqual({ key: 'postern.audit.seq', value: { intValue: '7' } })
    expect(records[6]?.['attributes']).toContainEqual({ key: 'postern.effect', value: { stringValue: 'deny' } })
  })

  it('that rejects some records is not sent them again, as its specification asks, and they are counted', async () => {
    await chain.grow(1, 10)
    receiver.answer = (_call, response) => void response.end('{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"bad"}}')
    const sinks = start({ format: 'otlp' })
    await sent(sinks, 10)
    expect(receiver.calls).toHaveLength(1)
    expect(sinks.status()[0]?.skipped).toBe(2)
  })
})

describe('several chains', () => {
  it('are sent to one receiver, a chain that a command leaves later included', async () => {
    await chain.grow(1, 5)
    const sinks = start()
    await sent(sinks, 5)
    const command = await createTestChain(join(folder, 'audit'), 'host-command')
    await command.grow(1, 4)
    await sent(sinks, 9)
    const names = receiver.calls.map(({ headers }) => headers['postern-chain'])
    expect(new Set(names)).toEqual(new Set(['host-0', 'host-command']))
  })

  it('are each followed by one of several processes, and taken over from one that ends', async () => {
    await chain.grow(1, 5)
    const first = start()
    await sent(first, 5)
    const second = start()
    await chain.grow(1, 5)
    await sent(first, 10)
    expect(second.status()[0]).toMatchObject({ sent: 0 })
    await first.close()
    running.splice(running.indexOf(first), 1)
    await chain.grow(1, 5)
    await sent(second, 5)
    expect(receiver.calls.flatMap(linesOf)).toEqual(chain.lines)
  })
})
