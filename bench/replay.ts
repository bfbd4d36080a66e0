/**
 * How fast recorded requests are decided again: a trail of the six example apps and fifty people is written as the product writes lines, and
 * replayed under a changed policy in one thread and in as many as there are processors. `node bench/replay.ts [decisions] [rounds]`.
 *
 * Reading, parsing and deciding all count. Beside it, in the same rounds, what parsing the same lines alone costs, so that a slow machine is
 * told from a slow replay: the ratio is what may be compared between runs.
 */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { listSegmentTasks, type SegmentTask } from '../src/administration/recorded-requests.ts'
import type { AuditEvent } from '../src/audit/event.ts'
import { formatAuditLine } from '../src/audit/line.ts'
import { createFactsLedger } from '../src/audit/recorded-facts.ts'
import { runReplay } from '../src/commands/replay-run.ts'
import { loadConfiguration } from '../src/config/load-configuration.ts'
import { loadPolicy } from '../src/config/load-policy.ts'
import { type CompiledPolicy, compilePolicy } from '../src/policy/compile.ts'
import { decide } from '../src/policy/decide.ts'
import type { PolicyDocument } from '../src/policy/document.ts'
import type { Facts } from '../src/policy/facts.ts'

const decisions = Number(process.argv[2] ?? 400_000)
const rounds = Number(process.argv[3] ?? 5)
const segments = 8
const budget = 100_000
const at = Date.parse('2026-11-20T10:00:00Z')
const notGathered = { known: false, why: 'not_gathered' } as const
const groups = ['staff', 'developers', 'analysts', 'finance', 'contractors', 'platform']

const folder = await mkdtemp(join(tmpdir(), 'postern-replay-'))
try {
  const config = join(import.meta.dirname, '..', 'config', 'examples', 'postern.yaml')
  const { parts: configuration } = await loadConfiguration(config)
  const { problems, value: document } = await loadPolicy(join(config, '..', 'policy.yaml'), { configuration })
  if (document === undefined) throw new Error(problems.map(({ message }) => message).join('\n'))
  await writeTrail(document)
  await measure(document)
} finally {
  await rm(folder, { recursive: true })
}

async function measure(document: PolicyDocument): Promise<void> {
  const tasks = await listSegmentTasks([folder], {})
  const changed = { ...document, apps: document.apps.map((app) => (app.id === 'wiki' ? { ...app, rules: app.rules.slice(0, 1) } : app)) }
  const question = { document: changed, live: document, scheme: 'https', period: {} } as const
  const processors = availableParallelism()
  const alone: number[] = []
  const together: number[] = []
  const parsing: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    parsing.push(await rateOf(() => parseAlone(tasks)))
    alone.push(await rateOf(() => runReplay(tasks, question, { threads: 1, onStep: () => undefined })))
    together.push(await wallRateOf(() => runReplay(tasks, question, { threads: processors, onStep: () => undefined })))
  }
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0)
  console.log(
    `${decisions} decisions in ${segments} segments, ${Math.round(bytes / decisions)} bytes a line; ${rounds} rounds, median (min to max)`,
  )
  console.log(`JSON.parse of the lines alone   ${describe(parsing)} lines a second of CPU`)
  console.log(
    `replay, one thread              ${describe(alone)} decisions a second of CPU, ${(median(parsing) / median(alone)).toFixed(2)} × the time of parsing`,
  )
  console.log(`replay, ${processors} threads              ${describe(together)} decisions a second of the clock, start included`)
  const isWithin = median(alone) >= budget
  console.log(`${isWithin ? 'within' : 'OVER'} the budget of ${budget} decisions a second and thread`)
  process.exitCode = isWithin || process.env['BENCH_STRICT'] !== '1' ? 0 : 1
}

/** A second of CPU time, with everything that the process did for it: what else the machine is busy with does not count. */
async function rateOf(work: () => Promise<unknown>): Promise<number> {
  const began = process.cpuUsage()
  await work()
  const { system, user } = process.cpuUsage(began)
  return decisions / ((system + user) / 1_000_000)
}

async function wallRateOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return decisions / ((performance.now() - began) / 1000)
}

async function parseAlone(tasks: readonly SegmentTask[]): Promise<void> {
  for (const { segment } of tasks) for (const line of (await readFile(segment.path, 'utf8')).split('\n')) if (line !== '') JSON.parse(line)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

function describe(values: readonly number[]): string {
  const thousands = (value: number) => `${Math.round(value / 1000)}k`
  return `${thousands(median(values))} (${thousands(Math.min(...values))} to ${thousands(Math.max(...values))})`
}

async function writeTrail(document: PolicyDocument): Promise<void> {
  const policy = compilePolicy(document)
  const people = Array.from({ length: 50 }, (_, index) => factsOf(index))
  const visits = people.flatMap((facts) => document.apps.map((app) => ({ facts, app })))
  // People mostly open what they may.
  const [allowed = [], refused = []] = [true, false].map((isAllowed) =>
    visits.filter(({ app, facts }) => {
      const compiled = policy.apps.get(app.id)
      return compiled !== undefined && (decide(compiled, facts).effect === 'allow') === isAllowed
    }),
  )
  await mkdir(join(folder, 'one-w0'))
  for (let segment = 1; segment <= segments; segment += 1) {
    const lines: string[] = []
    const prefix = () => `{"seq":${segment * 1_000_000 + lines.length},"prev":"${'A'.repeat(43)}",`
    const add = (event: AuditEvent) => void lines.push(formatAuditLine(event, at + lines.length, 'one', prefix()))
    add({ event: 'audit.segment_started', chain: 'one-w0', segment, form: 1, key: 'a', publicKey: 'x'.repeat(43) })
    const ledger = createFactsLedger(add)
    for (let index = 0; index < decisions / segments; index += 1) {
      const visits = index % 32 === 0 ? refused : allowed
      const visit = visits[index % visits.length]
      if (visit === undefined) continue
      const path = `/pages/${index % 997}/notes`
      const facts = { ...visit.facts, request: { method: 'GET', methodClass: 'read', path } } as const
      add(decidedOf(facts, { policy, app: visit.app, request: `${segment}-${index}`, ledger }))
    }
    await writeFile(join(folder, 'one-w0', `${String(segment).padStart(8, '0')}.ndjson`), lines.join(''))
  }
}

interface DecidedParts {
  readonly policy: CompiledPolicy
  readonly app: PolicyDocument['apps'][number]
  readonly request: string
  readonly ledger: ReturnType<typeof createFactsLedger>
}

function decidedOf(facts: Facts, { app, ledger, policy, request }: DecidedParts): AuditEvent {
  const compiled = policy.apps.get(app.id)
  if (compiled === undefined || facts.subject.kind !== 'person') throw new Error('not an app, or nobody')
  const decision = decide(compiled, facts)
  const { issuer, sub } = facts.subject
  return {
    event: 'access.decided',
    request: `0196f3a2-7d4e-7c11-9b5e-${request.padStart(12, '0')}`,
    subject: { kind: 'person', issuer, sub, email: `${sub}@corp.example` },
    session: `s${sub.padEnd(21, 'x')}`,
    app: app.id,
    host: app.address.hostname,
    method: facts.request.method,
    path: facts.request.path,
    query: undefined,
    effect: decision.effect,
    reason: decision.reason,
    rule: 'rule' in decision ? decision.rule : undefined,
    policy: policy.version,
    address: facts.environment.address,
    userAgent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
    claimsAt: at,
    claimsState: 'fresh',
    decidedAt: at,
    methodClass: 'read',
    facts: ledger.refer(facts, policy.claimPaths),
    tlsVersion: 'TLSv1.3',
    circumstances: JSON.stringify({ country: { known: true, value: 'DE' } }),
    would: decision.would,
  }
}

function factsOf(index: number): Facts {
  const reported = (value: boolean | string) => ({ value, source: 'report', at: at - 3_600_000 }) as const
  return {
    subject: {
      kind: 'person',
      issuer: 'https://op.example',
      sub: `person-${index}`,
      email: { known: true, value: `person-${index}@corp.example` },
      groups: { known: true, value: [groups[index % groups.length] ?? '', groups[(index * 7 + 1) % groups.length] ?? ''] },
      claims: { known: true, value: {} },
      claimsAt: at,
    },
    signIn: {
      known: true,
      value: { at: { known: true, value: at - 60_000 }, acr: { known: true, value: '2' }, amr: { known: true, value: ['otp'] } },
    },
    device: {
      known: true,
      value: {
        id: `laptop-${index}`,
        identifiedBy: 'certificate',
        isKnown: true,
        serial: undefined,
        tags: [],
        attributes: {
          managed: reported(index % 5 !== 0),
          disk_encrypted: reported(true),
          screen_lock: reported(true),
          os: reported('macos'),
          os_version: reported('15.1'),
        },
      },
    },
    request: { method: 'GET', methodClass: 'read', path: '/' },
    environment: {
      address: `10.20.0.${index}`,
      at,
      country: { known: true, value: 'DE' },
      asn: notGathered,
      scheme: 'https',
      tlsVersion: { known: true, value: 'TLSv1.3' },
      client: { browser: notGathered, browserVersion: notGathered, os: notGathered },
    },
  }
}
