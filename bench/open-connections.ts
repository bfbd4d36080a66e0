/**
 * What watching over open connections costs: `node bench/open-connections.ts [connections] [sessions]`.
 *
 * The watch itself over real sessions on the embedded store and a policy of twenty rules; the exchanges are entries of the registry
 * without sockets, so that nothing but watching is measured. Prints the CPU that an idle second costs (ticks and the turns that come in
 * it), how long one event takes to cut, and how long the longest pause of the event loop is while everything is decided again. All in CPU
 * time of this process, so that a busy machine does not count.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { noDevices } from '../src/attributes/device-facts.ts'
import { readBareEnvironment } from '../src/attributes/environment-facts.ts'
import { noServiceCallers } from '../src/attributes/service-callers.ts'
import { compileSubjectReader } from '../src/attributes/subject-facts.ts'
import type { Arrival, EnforcementPoint } from '../src/enforcement/arrival.ts'
import { judge } from '../src/enforcement/judge.ts'
import { createTestLive } from '../src/enforcement/live.fixture.ts'
import { type OpenConnections, watchOpenConnections } from '../src/enforcement/open-connections.ts'
import { type OpenExchange, OpenExchanges } from '../src/enforcement/open-exchanges.ts'
import { compileRoutes } from '../src/enforcement/route-table.ts'
import { compilePolicy } from '../src/policy/compile.ts'
import { appWith, documentWith, rule } from '../src/policy/policy.fixture.ts'
import { createSealedCookies } from '../src/session/cookies.ts'
import { browserOrigin, createTestRing, createTestSessions, signedInAs, silentLog } from '../src/session/session.fixture.ts'
import { hashSessionId } from '../src/session/session-record.ts'
import { createEmbeddedStore } from '../src/stores/embedded.ts'

const [connections = 10_000, sessionCount = 1_000] = process.argv.slice(2).map(Number)
const idleSeconds = 30

const now = () => Date.now()
const monotonicNow = () => performance.now()
const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'))
const store = createEmbeddedStore({ file: join(folder, 'store.db'), now })
const ring = createTestRing()
const live = createTestLive({ now, monotonicNow })
const { sessions } = createTestSessions({ store, clock: { now, move: () => undefined } }, ring, { live, monotonicNow })
const cookies = createSealedCookies({ keys: () => ring, now })

const teams = Array.from({ length: 18 }, (_, i) => rule('allow', { kind: 'groups', groups: [`team-${i}`] }, { name: `team ${i}` }))
const document = documentWith([
  appWith([
    ...teams,
    rule('deny', { kind: 'groups', groups: ['barred'] }),
    rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' }),
  ]),
])
const policy = compilePolicy(document)
const snapshot = { version: document.version, policy, routes: compileRoutes(document, policy) }
const [route] = snapshot.routes.routes
if (route === undefined) throw new Error('there is no route')

const point = {
  settings: {
    session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 },
    accessUrl: new URL('https://access.corp.example'),
    storeGraceSeconds: 30,
  },
  ports: {
    sessions,
    cookies,
    live,
    log: silentLog,
    now,
    monotonicNow,
    audit: { isWritable: () => true },
    readSubject: compileSubjectReader({
      claims: { groups: [['groups']] },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
    }),
    readEnvironment: readBareEnvironment,
    devices: noDevices,
    callers: noServiceCallers,
  },
  issueIdentity: () => [],
} as unknown as EnforcementPoint

const open = new OpenExchanges(monotonicNow)
let watch: OpenConnections | undefined
function watchThem(): void {
  watch = watchOpenConnections({ point, snapshot: () => snapshot, open })
}
const target = { hostname: 'wiki.corp.example', port: undefined, path: '/', query: '', uses: [] }
const hashes: string[] = []
let cuts = 0

for (let i = 0; i < sessionCount; i++) {
  const { session } = await sessions.begin(signedInAs(`user-${i}`), browserOrigin)
  hashes.push(hashSessionId(session.id))
  const secret = await sessions.openAppSession(session.id, route.origin.origin)
  const cookie = `${cookies.nameOf('app', route.origin)}=${secret}`
  for (let j = 0; j < connections / sessionCount; j++) await openEntry(`${i}-${j}`, cookie)
}

/** Of the measuring itself. */
const nothing = await measure(() => delay(5_000))
watchThem()
await delay(1_000)
const idle = await measure(() => delay(idleSeconds * 1000))
console.log(`${open.size} open by ${sessionCount} sessions, each decided again every 30 s`)
console.log(
  `idle: ${(idle.cpuMs / idleSeconds - nothing.cpuMs / 5).toFixed(1)} ms of CPU a second, longest pause ${idle.longestPauseMs.toFixed(1)} ms`,
)

const samples: number[] = []
for (const idHash of hashes.slice(0, 200)) {
  const began = cpuNow()
  live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash, at: 0, cause: 'revoked' }] })
  samples.push(cpuNow() - began)
}
samples.sort((a, b) => a - b)
console.log(
  `one session ended: median ${samples[100]?.toFixed(3)} ms, longest ${samples.at(-1)?.toFixed(3)} ms to cut ${cuts / 200} of ${connections}`,
)

for (const kind of ['policy_changed', 'regained'] as const) {
  const again = await measure(async () => {
    const [began, cpuBefore] = [monotonicNow(), cpuNow()]
    live.tell({ kind })
    const heldMs = cpuNow() - cpuBefore
    while (isBusy()) await delay(2)
    console.log(`${kind}: ${open.size} decided again in ${(monotonicNow() - began).toFixed(0)} ms, ${heldMs.toFixed(1)} ms of them at once`)
  })
  console.log(`  ${again.cpuMs.toFixed(0)} ms of CPU, longest pause ${again.longestPauseMs.toFixed(1)} ms`)
}

watch?.close()
open.close(1001)
await sessions.close()
await store.close()
rmSync(folder, { recursive: true, force: true })

async function openEntry(id: string, cookie: string): Promise<void> {
  if (route === undefined) return
  const request = { method: 'GET', headers: { cookie }, socket: {} } as unknown as IncomingMessage
  const arrival = { id, request, snapshot, isUpgrade: false, address: '192.0.2.1', arrivedAt: monotonicNow() } as unknown as Arrival
  const judgement = await judge(point, arrival, route, target)
  if (judgement.decision.effect !== 'allow') throw new Error(`not allowed: ${judgement.decision.reason}`)
  const entry: OpenExchange = {
    bytesIn: 0,
    bytesOut: 0,
    exchangeId: id,
    openIndex: -1,
    dueAt: 0,
    watched: undefined,
    standing: { arrival, judgement },
    checkTime: () => undefined,
    cut: () => {
      cuts++
      open.remove(entry)
    },
  }
  open.add(entry)
}

function isBusy(): boolean {
  let isSome = false
  open.forEach(({ watched }) => {
    isSome ||= watched?.review !== 'resting'
  })
  return isSome
}

/** CPU of this process, and the most of it in one go, while nothing else could run. */
async function measure(work: () => Promise<void>): Promise<{ readonly cpuMs: number; readonly longestPauseMs: number }> {
  let last = cpuNow()
  let longestPauseMs = 0
  const clock = setInterval(() => {
    const at = cpuNow()
    longestPauseMs = Math.max(longestPauseMs, at - last)
    last = at
  }, 1)
  const before = cpuNow()
  await work()
  clearInterval(clock)
  return { cpuMs: cpuNow() - before, longestPauseMs }
}

function cpuNow(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
