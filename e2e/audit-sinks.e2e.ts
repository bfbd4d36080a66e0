/**
 * Sinks of a real instance: a real rsyslog over TLS that goes away and comes back, an HTTP receiver that fails every third time, an instance
 * that is killed in the middle, and a receiver that is dead while people work. Nothing is lost, and nobody waits for a receiver.
 */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startHttpReceiver } from '../src/audit/sinks/receiver.fixture.ts'
import { listChains, listSegments, readLines } from '../src/audit/trail-files.ts'
import { Client } from './support/client.ts'
import { findFreePort } from './support/free-port.ts'
import { median, readCpuMs, readMemory } from './support/process-facts.ts'
import { type Instance, type Rig, startRig, waitFor } from './support/rig.ts'
import { createRsyslog, type Rsyslog, rsyslogProgram } from './support/rsyslog.ts'
import { createTestAuthority } from './support/test-authority.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''

let rig: Rig | undefined
let folder: string
const closers: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-sinks-'))
})
afterEach(async () => {
  await rig?.stop()
  rig = undefined
  for (const close of closers.splice(0).reverse()) await close()
  await rm(folder, { recursive: true, force: true })
})

/** Every whole line of every chain of an instance, chain by chain. */
async function readTrail(instance: Instance): Promise<ReadonlyMap<string, readonly string[]>> {
  const audit = join(instance.folder, 'audit')
  const chains = new Map<string, string[]>()
  for (const chain of await listChains(audit)) {
    const lines: string[] = []
    for (const segment of await listSegments(audit, chain))
      for await (const { bytes, isWhole } of readLines(segment)) if (isWhole) lines.push(bytes.toString('utf8'))
    chains.set(chain, lines)
  }
  return chains
}

const firstOfEach = (lines: readonly string[]) => [...new Set(lines)]

/** Waits until a receiver has every line of the trail, and says which chain is not there in order. */
async function expectWholeTrail(instance: Instance, received: () => Promise<readonly string[]> | readonly string[]): Promise<number> {
  let missing = ''
  await waitFor(
    async () => {
      const got = new Set(await received())
      missing = [...(await readTrail(instance)).values()].flat().find((line) => !got.has(line)) ?? ''
      return missing === ''
    },
    30_000,
    () => `never arrived: ${missing.slice(0, 200)}\n${instance.log().slice(-1500)}`,
  )
  const got = firstOfEach(await received())
  let total = 0
  for (const lines of (await readTrail(instance)).values()) {
    const ours = new Set(lines)
    expect(got.filter((line) => ours.has(line))).toEqual(lines.filter((_, index) => index < got.filter((line) => ours.has(line)).length))
    total += lines.length
  }
  return total
}

async function work(of: Rig, client: Client, requests: number): Promise<void> {
  for (let done = 0; done < requests; done += 10) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => client.send(`${of.origin('app')}/ok`, { as: 'fetch' })))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  }
}

describe('a syslog receiver over TLS', () => {
  test.skipIf(rsyslogProgram === undefined)(
    'a real rsyslog that is stopped, killed and started again, beside an instance that is killed, has every line in order',
    { timeout: 120_000 },
    async () => {
      const authority = createTestAuthority()
      closers.push(async () => authority.remove())
      const mine = authority.issue('DNS:postern.corp.localhost')
      const receiver: Rsyslog = await createRsyslog(join(folder, 'rsyslog'), await findFreePort(), {
        authority,
        own: authority.issue('DNS:log.corp.localhost'),
      })
      closers.push(() => receiver.stop('SIGKILL'))
      await receiver.start()
      const sink = {
        name: 'siem',
        type: 'syslog',
        address: `tls://log.corp.localhost:${receiver.port}`,
        ca_file: authority.file,
        cert_file: mine.certFile,
        key_file: mine.keyFile,
      }
      rig = await startRig({ configuration: { audit: { sinks: [sink] } } })
      const client = new Client()
      await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
      await work(rig, client, 100)
      await waitFor(
        async () => (await receiver.received()).length > 100,
        20_000,
        () => `rsyslog got nothing:\n${rig?.instance.log().slice(-1500)}`,
      )
      await receiver.stop()
      await work(rig, client, 100)
      await receiver.start()
      await work(rig, client, 100)
      await rig.instance.stop('SIGKILL')
      await rig.instance.start()
      await work(rig, client, 50)
      await receiver.stop('SIGKILL')
      await receiver.start()
      await work(rig, client, 50)
      await rig.instance.stop()
      await rig.instance.start()
      const total = await expectWholeTrail(rig.instance, receiver.received)
      expect(total).toBeGreaterThan(700)
    },
  )
})

describe('an HTTP receiver', () => {
  test('that fails every third time, beside an instance that is killed and one that is stopped, has every line in order', {
    timeout: 90_000,
  }, async () => {
    const receiver = await startHttpReceiver()
    closers.push(() => receiver.close())
    const taken: string[] = []
    receiver.answer = ({ body }, response, count) => {
      if (count % 3 === 0) return void response.writeHead(503, { 'retry-after': '0' }).end()
      // Bytes as they came: each line stands on one line of the array.
      taken.push(...body.slice(1, -1).split(',\n'))
      response.end('{}')
    }
    const copy = join(folder, 'trail.ndjson')
    rig = await startRig({
      configuration: {
        audit: {
          sinks: [
            { type: 'http', url: receiver.url.href, token: 'e2e-sink-token-41' },
            { type: 'file', path: copy },
          ],
        },
      },
    })
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
    await work(rig, client, 200)
    await rig.instance.stop('SIGKILL')
    await rig.instance.start()
    await work(rig, client, 200)
    const before = taken.length
    await rig.instance.stop()
    // What was written last, the end of the instance itself, went out before the process ended.
    await waitFor(() => taken.some((line) => line.includes('"event":"instance.stopped"')), 1000)
    expect(taken.length).toBeGreaterThan(before)
    await rig.instance.start()
    expect(await expectWholeTrail(rig.instance, () => taken)).toBeGreaterThan(700)
    const { readFile } = await import('node:fs/promises')
    await expectWholeTrail(rig.instance, async () => (await readFile(copy, 'utf8')).split('\n').slice(0, -1))
    expect(rig.instance.log()).not.toContain('e2e-sink-token-41')
    expect(await readdir(join(rig.instance.folder, 'audit-positions'))).not.toEqual([])
  })
})

describe('a dead receiver', () => {
  /** Requests one after the other, in turns with the other instance, so that what else the machine does is the same for both. */
  async function compare(
    ms: number,
    requests: number,
  ): Promise<{ readonly latency: number; readonly cpu: number; readonly grownMib: number }> {
    const swallowing = await startHttpReceiver()
    closers.push(() => swallowing.close())
    swallowing.answer = () => undefined
    const dead = [
      { name: 'silent', type: 'http', url: swallowing.url.href },
      { name: 'refusing', type: 'syslog', address: `tcp://127.0.0.1:${await findFreePort()}` },
    ]
    const withSinks = await startRig({ configuration: { audit: { sinks: dead } } })
    closers.push(() => withSinks.stop())
    rig = await startRig()
    const both = [rig, withSinks].map((of) => ({ of, client: new Client(), times: [] as number[] }))
    for (const { of, client } of both) {
      await of.signIn(client, 'alice', `${of.origin('app')}/ok`)
      await work(of, client, 300)
    }
    const startMemory = await Promise.all(both.map(({ of }) => readMemory(of.instance.pid)))
    const startCpu = await Promise.all(both.map(({ of }) => readCpuMs(of.instance.pid)))
    const medians: number[] = []
    const until = performance.now() + ms
    for (let round = 0; performance.now() < until || round < 4; round += 1) {
      const inTurn = round % 2 === 0 ? both : both.toReversed()
      for (const { of: here, client, times } of inTurn) {
        times.length = 0
        for (let index = 0; index < requests; index += 1) {
          const from = performance.now()
          const { status } = await client.send(`${here.origin('app')}/ok`, { as: 'fetch' })
          times.push(performance.now() - from)
          expect(status).toBe(200)
        }
      }
      medians.push(median(both[1]?.times ?? []) / median(both[0]?.times ?? []))
    }
    const endCpu = await Promise.all(both.map(({ of }) => readCpuMs(of.instance.pid)))
    const [without = 1, with_ = 1] = endCpu.map((cpu, index) => cpu - (startCpu[index] ?? 0))
    const endMemory = await Promise.all(both.map(({ of }) => readMemory(of.instance.pid)))
    const [grown = 0, grownWith = 0] = endMemory.map(({ resident }, index) => resident - (startMemory[index]?.resident ?? 0))
    expect(swallowing.calls.length).toBeGreaterThan(0)
    if (isLong) {
      // A quarter of a gigabyte each, which the rig would search for secrets for minutes.
      for (const { of } of both) {
        await of.instance.stop('SIGKILL')
        await rm(join(of.instance.folder, 'audit'), { recursive: true })
      }
    }
    expect(withSinks.instance.log()).toContain('an audit sink did not take what it was sent')
    return { latency: median(medians), cpu: with_ / without, grownMib: grownWith - grown }
  }

  test('changes the latency of requests by nothing measurable, and memory stays flat', { timeout: 900_000 }, async () => {
    const { latency, cpu, grownMib } = await compare(isLong ? 600_000 : 8_000, 150)
    console.log(
      `a dead receiver: latency × ${latency.toFixed(3)}, CPU × ${cpu.toFixed(3)}, memory grew by ${grownMib} MiB more than without`,
    )
    expect(latency).toBeLessThan(isLong ? 1.05 : 1.2)
    // What lives is the same for both (looked at with the garbage collected); how much garbage the runtime lets lie varies by this much.
    expect(grownMib).toBeLessThan(120)
  })
})
