/**
 * How long the pages of the console take at the size that they are promised for: 1,000 apps, 10,000 people with a session each, 5,000 devices,
 * 200 tokens, 2,000 requests for access and 100,000 events in the window, on the embedded store and on Redis.
 * `node bench/console-pages.ts [embedded|redis] [requests] [pattern of names of pages]`.
 *
 * Everything is written by the product's own writers before the instance starts. Then each page, and the main operations of the API, is asked
 * for once to warm up and then again and again, one request after the other over one connection; a request is timed from sending it to
 * the last byte of its answer, on this machine. `CPU` is what the instance used for a request, whoever else keeps the machine busy. With
 * `BENCH_STRICT=1` a page beyond the budget is a failure.
 */

import { fork } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startRedis } from '../e2e/support/redis.ts'
import { writeLargePolicy } from '../src/large-policy.fixture.ts'
import { type ConsoleSize, fillConsole, type Loaded, subOf } from './console-load.ts'
import { measured, once } from './measured-process.ts'

const budgetMs = 100
const size: ConsoleSize = { apps: 1000, people: 10_000, devices: 5000, events: 100_000, tokens: 200, requests: 2000 }
const kinds = process.argv[2] === undefined ? (['embedded', 'redis'] as const) : [process.argv[2]]
const requests = Number(process.argv[3] ?? 100)
const only = new RegExp(process.argv[4] ?? '')

interface Instance extends Loaded {
  readonly origin: string
  readonly port: number
  readonly cpuMicroseconds: () => Promise<number>
  readonly residentBytes: () => Promise<number>
}

interface Answer {
  readonly status: number
  readonly bytes: number
  readonly body: string
  readonly ms: number
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })
let isWithin = true
for (const kind of kinds) isWithin = (await measureWith(kind)) && isWithin
agent.destroy()
process.exitCode = isWithin || process.env['BENCH_STRICT'] !== '1' ? 0 : 1

async function measureWith(kind: string): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-bench-'))
  const redis = kind === 'redis' ? await startRedis({ password: 'bench' }) : undefined
  const [port, operationsPort] = [await findFreePort(), await findFreePort()]
  try {
    const configFile = join(folder, 'postern.yaml')
    await writeFile(configFile, configuration(port, operationsPort, redis?.url ?? 'embedded'), { mode: 0o600 })
    const addresses = (index: number) => ({
      url: `http://app-${index}.corp.localhost:${port}`,
      upstream: `http://app-${index}.internal:8080`,
    })
    await writeFile(
      join(folder, 'policy.yaml'),
      writeLargePolicy({ apps: size.apps, rulesOfAnApp: 5, levels: 40 }, addresses).replaceAll('https://', 'http://'),
    )
    const startedAt = performance.now()
    const loaded = await fillConsole(configFile, size)
    console.log(`${kind}: written in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)

    const child = fork(
      fileURLToPath(new URL('../src/cli.ts', import.meta.url)),
      ['serve', '--config', configFile, '--log-level', 'error'],
      {
        execArgv: [
          '--import',
          new URL('./report-cpu.ts', import.meta.url).href,
          ...(process.env['BENCH_NODE'] ?? '').split(' ').filter((option) => option !== ''),
        ],
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    )
    const { cpuMicroseconds, residentBytes } = measured(child)
    try {
      const origin = `http://access.corp.localhost:${port}`
      const instance: Instance = { ...loaded, origin, port, cpuMicroseconds, residentBytes }
      await waitFor(operationsPort)
      return await measurePages(kind, instance)
    } finally {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
    }
  } finally {
    await redis?.close()
    await rm(folder, { recursive: true, force: true })
  }
}

function configuration(port: number, operationsPort: number, store: string): string {
  return `
url: http://access.corp.localhost:${port}
listen: 127.0.0.1:${port}
operations: 127.0.0.1:${operationsPort}
provider: { issuer: "http://127.0.0.1:1/", client_id: bench, client_secret: not-used-by-this-bench, claims: { groups: [groups] } }
session: { store: "${store}", refresh_after: 6h, claims_max_age: 6h }
keys_file: keys.json
data_dir: data
policy: managed
policy_seed: policy.yaml
console: { roles: { admin: { groups: [postern-admins] } }, sign_in_within: 6h }
requests: on
`
}

/** Pages by their address. Some are known only now. */
async function findPages(instance: Instance): Promise<readonly (readonly [string, string])[]> {
  const { allowed, issuer, refused, tokenId } = instance
  const person = (index: number) => Buffer.from(`${issuer}\n${subOf(index)}`).toString('base64url')
  const begun = await send(instance, 'POST', '/api/v1/policy/drafts', { comment: 'Measured' })
  const draft = (JSON.parse(begun.body) as { draft?: { id?: string } }).draft?.id ?? ''
  if (draft === '') throw new Error(`no draft was begun: ${begun.status} ${begun.body.slice(0, 500)}`)
  const ofDraft = `/console/policy/drafts/${draft}`
  const api = `/api/v1/policy/drafts/${draft}`
  return [
    ['overview', '/console'],
    ['overview, a week', '/console?period=week'],
    ['apps', '/console/apps'],
    ['apps, searched', '/console/apps?q=app-77'],
    ['new app', '/console/apps/new'],
    ['an app', '/console/apps/app-7'],
    ['policy', '/console/policy'],
    ['a revision', '/console/policy/revisions/1'],
    ['files of it', '/console/policy/files'],
    ['a draft', ofDraft],
    ['a draft’s text', `${ofDraft}/edit`],
    ['an app in it', `${ofDraft}/apps/app-7`],
    ['a rule in it', `${ofDraft}/apps/app-7/rules/1`],
    ['a new rule in it', `${ofDraft}/apps/app-7/rules/new`],
    ['company rules in it', `${ofDraft}/rules`],
    ['levels in it', `${ofDraft}/levels`],
    ['a level in it', `${ofDraft}/levels/level_7`],
    ['what-if', '/console/policy/what-if'],
    [
      'what-if, answered',
      `/console/policy/what-if?person=${encodeURIComponent('person.7@corp.example')}&app=app-7&method=GET&path=/docs/a`,
    ],
    ['people', '/console/people'],
    ['people, searched', '/console/people?q=person.77'],
    ['a person, busy', `/console/people/${person(0)}`],
    ['a person, quiet', `/console/people/${person(size.people - 5)}`],
    ['devices', '/console/devices'],
    ['devices, searched', '/console/devices?q=laptop-77'],
    ['a device, busy', '/console/devices/laptop-3'],
    ['a device, quiet', '/console/devices/laptop-4990'],
    ['connections', '/console/connections'],
    ['locks', '/console/locks'],
    ['trail', '/console/trail'],
    ['trail, of a person', '/console/trail?subject=person.9000%40corp.example'],
    ['trail, of a device', '/console/trail?device=laptop-4990'],
    ['trail, of an app', '/console/trail?app=app-990'],
    ['trail, changes', '/console/trail?show=changes'],
    ['trail, everything', '/console/trail?show=everything'],
    ['trail, of nothing', '/console/trail?subject=nobody%40corp.example'],
    ['a decision', `/console/trail/decisions/${allowed}`],
    ['a refusal', `/console/trail/decisions/${refused}`],
    ['verification', '/console/trail/verify'],
    ['access review', '/console/review'],
    ['requests', '/console/requests'],
    ['tokens', '/console/tokens'],
    ['a token', `/console/tokens/${tokenId}`],
    ['portal', '/'],
    ['portal, last page', '/?page=1000'],
    ['portal, searched', '/?q=application+77'],
    ['my devices', '/devices'],
    ['what I asked for', '/requests'],
    ['API: overview', '/api/v1/overview'],
    ['API: apps', '/api/v1/apps?limit=200'],
    ['API: policy', '/api/v1/policy'],
    ['API: a draft’s outline', `${api}/outline`],
    ['API: people', '/api/v1/people?limit=200'],
    ['API: a person', `/api/v1/people/${person(3)}`],
    ['API: devices', '/api/v1/devices?limit=200'],
    ['API: events', '/api/v1/audit/events?limit=200'],
    ['API: a decision', `/api/v1/audit/decisions/${refused}`],
    ['API: tokens', '/api/v1/tokens?limit=200'],
    ['API: the description', '/api/v1/openapi.json'],
  ]
}

async function measurePages(kind: string, instance: Instance): Promise<boolean> {
  const table: Record<string, object> = {}
  const beyond: string[] = []
  for (const [name, path] of (await findPages(instance)).filter(([page]) => only.test(page))) {
    const first = await send(instance, 'GET', path)
    const times: number[] = []
    const cpuBefore = await instance.cpuMicroseconds()
    for (let count = 0; count < requests && first.status === 200; count++) times.push((await send(instance, 'GET', path)).ms)
    const cpu = ((await instance.cpuMicroseconds()) - cpuBefore) / 1000 / Math.max(1, times.length)
    times.sort((a, b) => a - b)
    const at = (quantile: number) =>
      Number((times[Math.min(times.length - 1, Math.floor(times.length * quantile))] ?? Number.NaN).toFixed(1))
    table[name] = {
      status: first.status,
      first: Number(first.ms.toFixed(1)),
      p50: at(0.5),
      p99: at(0.99),
      CPU: Number(cpu.toFixed(1)),
      kB: Math.round(first.bytes / 1000),
    }
    if (first.status === 200 && !name.startsWith('API') && at(0.99) > budgetMs) beyond.push(`${name} (${at(0.99)} ms)`)
  }
  console.log(
    `${kind}, ${requests} requests each, ms; Node ${process.version}; resident ${Math.round((await instance.residentBytes()) / 1e6)} MB`,
  )
  console.table(table)
  console.log(beyond.length === 0 ? `every page within ${budgetMs} ms\n` : `EXCEEDED: ${beyond.join(', ')}\n`)
  return beyond.length === 0
}

function send({ cookie, port, token }: Instance, method: string, path: string, body?: object): Promise<Answer> {
  const isApi = path.startsWith('/api/')
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const headers = {
      host: `access.corp.localhost:${port}`,
      ...(isApi
        ? { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
        : { cookie, accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' }),
    }
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        resolve({ status: response.statusCode ?? 0, bytes: bytes.length, body: bytes.toString(), ms: performance.now() - startedAt })
      })
    })
    sent.on('error', reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Until everything is ready but the provider, which is none. */
async function waitFor(operationsPort: number): Promise<void> {
  const until = performance.now() + 60_000
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${operationsPort}/readyz`).catch(() => undefined)
    const text = (await answer?.text()) ?? '{}'
    const { checks = {} } = JSON.parse(text) as { readonly checks?: Readonly<Record<string, string>> }
    const waiting = Object.entries(checks).filter(([name, state]) => name !== 'provider' && state !== 'ready')
    if (checks['policy'] !== undefined && waiting.length === 0) return
    if (performance.now() > until) throw new Error(`the instance did not become ready: ${text}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
