/**
 * Bodies larger than the memory that may hold them: whole on both ends, in constant memory, with backpressure through Postern, and gone
 * at once when a client is gone. Judged by the upstream and by the kernel.
 */

import { once } from 'node:events'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type BuiltProgram, buildProgram } from './support/built-program.ts'
import { Client } from './support/client.ts'
import { forgetPeak, median, readMemory, settledSockets, socketsBackTo } from './support/process-facts.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { generate, type StreamingUpstream, startStreamingUpstream, type Transfer } from './support/streaming-upstream.ts'

const mebibyte = 1024 * 1024
const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''
const bytes = (isLong ? 2048 : 256) * mebibyte
const limitMs = isLong ? 300_000 : 60_000

/** Resident memory of an instance may grow by so much over what it has when nothing happens, in MiB; most of it is V8's room for what is new. */
const mostGrowth = 70

describe('big bodies', () => {
  let rig: Rig
  let upstream: StreamingUpstream
  let client: Client
  let baseline: number
  let memoryLimit: number
  let program: BuiltProgram

  beforeAll(async () => {
    program = await buildProgram()
    upstream = await startStreamingUpstream()
    rig = await startRig({
      program: program.file,
      apps: [
        { id: 'app', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'impatient', upstream: upstream.origin, timeouts: { idle: '3s' }, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
    })
    client = new Client()
    for (const name of ['app', 'impatient']) expect((await rig.signIn(client, 'bob', `${rig.origin(name)}/`)).status).toBe(200)
    baseline = await settledSockets(rig.instance.pid)
    const { resident } = await readMemory(rig.instance.pid)
    console.log(`idle: ${resident} MiB resident`)
    memoryLimit = resident + mostGrowth
  })
  afterAll(async () => {
    await rig?.stop()
    await upstream?.close()
    await program?.remove()
  })

  function open(path: string, method = 'GET', headers: Record<string, string> = {}, name = 'app'): ClientRequest {
    const host = `${name}.corp.localhost:${rig.port}`
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port: rig.port,
      path,
      method,
      agent: false,
      headers: { host, cookie: client.cookieHeader(rig.origin(name)), 'sec-fetch-site': 'same-origin', ...headers },
    })
    // A request that a test gives up ends with an error; what must not fail is awaited where it is used.
    outgoing.on('error', () => undefined)
    return outgoing
  }

  async function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    response.on('error', () => undefined)
    return response
  }

  async function readAll(response: IncomingMessage): Promise<{ bytes: number; sum: number }> {
    const read = { bytes: 0, sum: 0 }
    response.on('data', (chunk: Buffer) => {
      read.bytes += chunk.length
      read.sum = crc32(chunk, read.sum)
    })
    await finished(response)
    return read
  }

  async function send(outgoing: ClientRequest): Promise<number> {
    let sum = 0
    for (const piece of generate(bytes)) {
      sum = crc32(piece, sum)
      if (!outgoing.write(piece)) await once(outgoing, 'drain')
    }
    outgoing.end()
    return sum
  }

  function transfer(id: string): Transfer {
    return upstream.transfers.get(id) ?? { bytes: 0, sum: 0, isWhole: false, abortedAt: undefined }
  }

  async function mustStaySmall(what: string): Promise<void> {
    const memory = await readMemory(rig.instance.pid)
    console.log(`${what}: peak ${memory.peak} MiB, now ${memory.resident} MiB resident`)
    expect(memory.peak, what).toBeLessThan(memoryLimit)
  }

  for (const framing of ['length', 'chunked'] as const) {
    test(
      `an upload with ${framing} arrives whole in constant memory`,
      async () => {
        await forgetPeak(rig.instance.pid)
        const outgoing = open(`/upload?id=up-${framing}`, 'POST', framing === 'length' ? { 'content-length': String(bytes) } : {})
        const answered = answerTo(outgoing)
        const sum = await send(outgoing)
        const response = await answered
        let text = ''
        for await (const chunk of response) text += String(chunk)
        expect(response.statusCode).toBe(200)
        expect(JSON.parse(text)).toEqual({ bytes, sum, framing: framing === 'length' ? `length ${bytes}` : 'chunked' })
        await mustStaySmall(`upload, ${framing}`)
      },
      limitMs,
    )

    test(
      `a download with ${framing} arrives whole in constant memory`,
      async () => {
        await forgetPeak(rig.instance.pid)
        const outgoing = open(`/download?id=down-${framing}&bytes=${bytes}&framing=${framing}`)
        outgoing.end()
        const response = await answerTo(outgoing)
        expect(response.headers['content-length']).toBe(framing === 'length' ? String(bytes) : undefined)
        expect(await readAll(response)).toEqual({ bytes, sum: transfer(`down-${framing}`).sum })
        await mustStaySmall(`download, ${framing}`)
      },
      limitMs,
    )
  }

  async function latency(): Promise<number> {
    const times: number[] = []
    for (let round = 0; round < 40; round += 1) {
      const from = performance.now()
      expect((await client.send(`${rig.origin('app')}/quick`, { as: 'fetch' })).status).toBe(200)
      times.push(performance.now() - from)
    }
    return median(times)
  }

  /** What was moved when it has not grown for a while. */
  async function stalledAt(moved: () => number): Promise<number> {
    let last = -1
    let since = performance.now()
    await waitFor(
      () => {
        if (moved() !== last) since = performance.now()
        last = moved()
        return last > 0 && performance.now() - since > 750
      },
      20_000,
      () => `it goes on and on: ${last} bytes`,
    )
    return last
  }

  test('a client that does not read stalls its upstream, nobody else, and gets everything once it reads', async () => {
    const total = 128 * mebibyte
    const before = await latency()
    await forgetPeak(rig.instance.pid)
    const outgoing = open(`/download?id=slow&bytes=${total}`)
    outgoing.end()
    const response = await answerTo(outgoing)
    const stalled = await stalledAt(() => transfer('slow').bytes)
    const meanwhile = await latency()
    console.log(
      `the upstream stalled at ${(stalled / mebibyte).toFixed(1)} MiB of ${total / mebibyte}; others: ${before.toFixed(1)} ms before, ${meanwhile.toFixed(1)} ms meanwhile`,
    )
    // What two hops of kernel buffers hold, and next to nothing between them.
    expect(stalled).toBeLessThan(48 * mebibyte)
    expect(meanwhile).toBeLessThan(Math.max(5 * before, 50))
    await mustStaySmall('one client that does not read')
    expect(await readAll(response)).toEqual({ bytes: total, sum: transfer('slow').sum })
  })

  test('an upstream that does not read stalls the client that sends to it, until the idle limit tells it so', async () => {
    const outgoing = open('/silence', 'POST', {}, 'impatient')
    const answered = answerTo(outgoing)
    let handed = 0
    let isStalled = false
    for (const piece of generate(128 * mebibyte)) {
      handed += piece.length
      if (outgoing.write(piece)) continue
      const patience = new AbortController()
      const drained = once(outgoing, 'drain', { signal: patience.signal }).then(
        () => true,
        () => false,
      )
      const timer = setTimeout(() => patience.abort(), 1500)
      isStalled = !(await drained)
      clearTimeout(timer)
      if (isStalled) break
    }
    console.log(`an upstream that does not read: the client stalled after ${(handed / mebibyte).toFixed(1)} MiB`)
    expect(isStalled).toBe(true)
    expect(handed).toBeLessThan(48 * mebibyte)
    expect((await answered).statusCode).toBe(504)
    outgoing.destroy()
  })

  for (const [how, leave] of [
    ['leaves', (outgoing: ClientRequest) => outgoing.destroy()],
    ['resets', (outgoing: ClientRequest) => outgoing.socket?.resetAndDestroy()],
  ] as const) {
    test(`a client that ${how} in mid-upload takes the upstream's request with it at once`, async () => {
      const id = `gone-up-${how}`
      const outgoing = open(`/upload?id=${id}`, 'POST', { 'content-length': String(bytes) })
      for (const piece of generate(4 * mebibyte)) outgoing.write(piece)
      await waitFor(() => transfer(id).bytes >= 4 * mebibyte)
      const left = performance.now()
      leave(outgoing)
      await waitFor(
        () => transfer(id).abortedAt !== undefined,
        3000,
        () => 'the upstream still waits',
      )
      expect((transfer(id).abortedAt ?? 0) - left).toBeLessThan(1000)
      expect(transfer(id).isWhole).toBe(false)
    })

    test(`a client that ${how} in mid-download takes the upstream's answer with it at once`, async () => {
      const id = `gone-down-${how}`
      const outgoing = open(`/download?id=${id}&bytes=${bytes}`)
      outgoing.end()
      const response = await answerTo(outgoing)
      await once(response, 'data')
      const left = performance.now()
      leave(outgoing)
      await waitFor(
        () => transfer(id).abortedAt !== undefined,
        3000,
        () => 'the upstream still sends',
      )
      expect((transfer(id).abortedAt ?? 0) - left).toBeLessThan(1000)
      expect(transfer(id).bytes).toBeLessThan(bytes)
    })
  }

  test('afterwards no socket is left over, and every exchange has its end in the trail', async () => {
    await socketsBackTo(baseline, rig.instance.pid)
    await waitFor(async () => {
      const lines = await rig.audit()
      const allowed = lines.filter((line) => line['event'] === 'access.decided' && line['effect'] === 'allow')
      const ended = new Set(lines.filter((line) => line['event'] === 'access.ended').map((line) => line['request']))
      return allowed.length > 0 && allowed.every((line) => ended.has(line['request']))
    })
    const gone = (await rig.audit()).filter((line) => line['outcome'] === 'client_gone')
    expect(gone.length).toBeGreaterThanOrEqual(4)
  })
})
