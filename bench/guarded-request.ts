/**
 * What guarding costs: CPU time of one request through Postern (a session, a policy of twenty rules, the assertion, audit on) beside
 * a bare pass-through on the same HTTP client and beside `http-proxy`. `node bench/guarded-request.ts [rounds] [requests]`.
 *
 * Each contender is a process; all forward to one upstream process; load comes from another. A round is dealt out in slices of a
 * fraction of a second, in turn and in another order each time, and a ratio is taken within its round: so whatever else the machine
 * does hits all alike. Absolute times mean little; the ratios are what the budget speaks of. `PROFILE=folder` writes a CPU profile of
 * Postern; with `BENCH_STRICT=1` an exceeded budget is a failure. With `--policies` the same request is guarded by a policy of one app and
 * one rule, and by one of a thousand apps: what the size of a policy costs a request. With `--audit` it is guarded with the audit trail off,
 * `relaxed` and `group`: what the record of a request costs.
 */

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { largeSize, writeLargePolicy } from '../src/large-policy.fixture.ts'
import { type MeasuredProcess, once, startMeasured } from './measured-process.ts'
import { startPostern, twentyRules, type WritePolicy } from './postern-instance.ts'

const budget = 1.6
const connections = 32
const policyBudget = 1.2
/** Of a guarded request without any trail. */
const auditBudgets = { relaxed: 1.1, group: 1.25 } as const
const comparesPolicies = process.argv.includes('--policies')
const comparesAudit = process.argv.includes('--audit')
const [roundsText, requestsText] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const rounds = Number(roundsText ?? 15)
const requestsPerRound = Number(requestsText ?? 12_000)
const sliceRequests = 1000
const warmUpRounds = 6
const profileFolder = process.env['PROFILE']

interface Contender extends MeasuredProcess {
  readonly name: string
  readonly port: number
  readonly head: string
  /** CPU microseconds a request, one a round. */
  readonly costs: number[]
}

/** What a browser sends with a fetch of its page; the cookie beside ours is the app's own. */
function requestHead(host: string, cookie: string): string {
  return [
    `GET ${comparesPolicies ? '/docs' : '/api'}/items?page=1 HTTP/1.1`,
    `Host: ${host}`,
    'Connection: keep-alive',
    'sec-ch-ua: "Chromium";v="156", "Not:A-Brand";v="24"',
    'sec-ch-ua-mobile: ?0',
    'sec-ch-ua-platform: "Linux"',
    'User-Agent: Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
    'Accept: application/json, text/plain, */*',
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    `Referer: http://${host}/items`,
    'Accept-Encoding: gzip, deflate, br, zstd',
    'Accept-Language: en-GB,en;q=0.9,de;q=0.8',
    `Cookie: theme=dark; ${cookie}; app_session=3f0c9a7e5d1b`,
    '',
    '',
  ].join('\r\n')
}

const upstream = await startMeasured<{ port: number }>('./contenders.ts', ['upstream'])
const upstreamOrigin = `http://127.0.0.1:${upstream.first.port}`
const load = fork(fileURLToPath(new URL('./load.ts', import.meta.url)))

const profiling = profileFolder === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileFolder]
const guard = async (name: string, write?: WritePolicy, options: readonly string[] = []): Promise<Contender> => {
  const postern = await startPostern(upstreamOrigin, [...profiling, ...options], write)
  return { ...postern, name, head: requestHead(postern.host, postern.cookie), costs: [] }
}
const guards = await startGuards()
const head = guards[0]?.head ?? ''
const bare = async (name: 'pass-through' | 'http-proxy'): Promise<Contender> => {
  const server = await startMeasured<{ port: number }>('./contenders.ts', [name, upstreamOrigin], ['--no-deprecation'])
  return { ...server, name, port: server.first.port, head, costs: [] }
}
const passThrough = await bare('pass-through')
const contenders: readonly Contender[] = [passThrough, ...(comparesPolicies || comparesAudit ? [] : [await bare('http-proxy')]), ...guards]

try {
  // Unmeasured at first: V8's compilers take 4 to 8 µs a request beside it for the first 70,000, and less than one after.
  await runRound(warmUpRounds * requestsPerRound)
  for (let round = 0; round < rounds; round++) {
    const costs = await runRound(requestsPerRound)
    for (const [i, contender] of contenders.entries()) contender.costs.push(costs[i] ?? Number.NaN)
  }
  process.exitCode = report()
} finally {
  load.disconnect()
  for (const { stop } of [...contenders, upstream]) await stop()
}

async function startGuards(): Promise<readonly Contender[]> {
  if (comparesPolicies) return [await guard('one rule', writeOneRule), await guard('1,000 apps', writeThousandApps)]
  if (!comparesAudit) return [await guard('postern')]
  return [
    await guard('audit off', undefined, ['--import', new URL('./audit-off.ts', import.meta.url).href]),
    await guard('relaxed'),
    await guard('group', (url, upstreamUrl) => twentyRules(url, upstreamUrl, 'audit: { durability: group }')),
  ]
}

/** CPU microseconds a request of each contender. */
async function runRound(requests: number): Promise<readonly number[]> {
  const slices = Math.max(1, Math.round(requests / sliceRequests))
  const sums = contenders.map(() => 0)
  for (let slice = 0; slice < slices; slice++) {
    for (let i = 0; i < contenders.length; i++) {
      const turn = (slice + i) % contenders.length
      const contender = contenders[turn]
      if (contender !== undefined) sums[turn] = (sums[turn] ?? 0) + (await runSlice(contender))
    }
  }
  return sums.map((sum) => sum / (slices * sliceRequests))
}

/** CPU microseconds of one slice. */
async function runSlice({ port, head: request, cpuMicroseconds }: Contender): Promise<number> {
  const before = await cpuMicroseconds()
  load.send({ port, head: request, connections, requests: sliceRequests })
  const [{ problem }] = (await once(load, 'message')) as [{ problem?: string }]
  if (problem !== undefined) throw new Error(problem)
  return (await cpuMicroseconds()) - before
}

function report(): number {
  console.log(
    `${rounds} rounds of ${requestsPerRound} requests each, ${connections} connections; Node ${process.version}, ${process.arch}\n`,
  )
  console.log('                 CPU a request (µs)         ratio to pass-through')
  console.log('                 median     min     max     median     min     max')
  let ratioOfPostern = Number.NaN
  for (const { name, costs } of contenders) {
    const ratios = costs.map((cost, round) => cost / (passThrough.costs[round] ?? Number.NaN))
    if (name === 'postern') ratioOfPostern = median(ratios)
    const cells = [median(costs), Math.min(...costs), Math.max(...costs)].map((value) => value.toFixed(1).padStart(8))
    const ratioCells = [median(ratios), Math.min(...ratios), Math.max(...ratios)].map((value) => value.toFixed(2).padStart(8))
    console.log(`${name.padEnd(14)} ${cells.join('')}   ${ratioCells.join('')}`)
  }
  if (comparesPolicies) return reportPolicies()
  if (comparesAudit) return reportAudit()
  const isWithin = ratioOfPostern <= budget
  console.log(`\nbudget: postern ≤ ${budget} × pass-through: ${isWithin ? 'kept' : 'EXCEEDED'} (${ratioOfPostern.toFixed(2)})`)
  // A busy machine must not fail whoever only wants to look; who relies on the figure asks for it.
  return isWithin || process.env['BENCH_STRICT'] !== '1' ? 0 : 1
}

function reportPolicies(): number {
  const [small, large] = guards
  const ratio = median((large?.costs ?? []).map((cost, round) => cost / (small?.costs[round] ?? Number.NaN)))
  const isWithin = ratio <= policyBudget
  console.log(`\nbudget: 1,000 apps ≤ ${policyBudget} × one rule: ${isWithin ? 'kept' : 'EXCEEDED'} (${ratio.toFixed(2)})`)
  return isWithin || process.env['BENCH_STRICT'] !== '1' ? 0 : 1
}

function reportAudit(): number {
  const [off, ...on] = guards
  let isWithin = true
  console.log('')
  for (const [index, budgeted] of [auditBudgets.relaxed, auditBudgets.group].entries()) {
    const { costs = [], name = '' } = on[index] ?? {}
    const ratio = median(costs.map((cost, round) => cost / (off?.costs[round] ?? Number.NaN)))
    const isKept = ratio <= budgeted
    isWithin &&= isKept
    console.log(`budget: ${name} ≤ ${budgeted} × audit off: ${isKept ? 'kept' : 'EXCEEDED'} (${ratio.toFixed(2)})`)
  }
  return isWithin || process.env['BENCH_STRICT'] !== '1' ? 0 : 1
}

/** The rule that lets the request in, alone. */
function writeOneRule(url: string, upstreamUrl: string): string {
  return `apps: [{ id: app-0, url: "${url}", upstream: "${upstreamUrl}", rules: [{ name: staff read, allow: { groups: [staff] }, methods: [read], paths: [/docs/**] }] }]`
}

/** The same rule among twenty, of one app among a thousand. */
function writeThousandApps(url: string, upstreamUrl: string): string {
  return writeLargePolicy(largeSize, (index) => ({
    url: index === 0 ? url : url.replace('bench.', `app-${index}.`),
    upstream: index === 0 ? upstreamUrl : `http://app-${index}.internal:8080`,
  }))
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
