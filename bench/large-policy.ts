/**
 * What a large policy costs: 1,000 apps with 20 rules each and 100 levels, beside one app with one rule.
 * `node bench/large-policy.ts [rounds] [decisions]`.
 *
 * First the decision alone. Somebody with six groups is let in, kept out and asked for a fresher sign-in; a stranger is asked to sign in. The
 * large policy, a policy of one app with the same twenty rules and one of one app with only the rule in question judge the same requests: one app
 * again and again, and twelve in turn (twelve policies, where each has one app). Times are taken in short
 * slices, in turn, and a ratio within its round, so that whatever else the machine does hits all alike. Then a whole instance with the
 * large policy: start, memory, and reloads while requests come in and are timed. With `BENCH_STRICT=1` an exceeded budget is a failure.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileRoutes } from '../src/enforcement/route-table.ts'
import { largeSize, memberGroups, writeLargePolicy } from '../src/large-policy.fixture.ts'
import { type CompiledApp, compilePolicy } from '../src/policy/compile.ts'
import { decide } from '../src/policy/decide.ts'
import type { PolicyDocument } from '../src/policy/document.ts'
import type { Facts, SubjectFacts } from '../src/policy/facts.ts'
import { judgePolicy } from '../src/policy-loading.ts'
import { measureReloads } from './large-policy-reload.ts'

const ratioBudget = 1.2
const delayBudgetMs = 50
const rounds = Number(process.argv[2] ?? 15)
const decisionsPerRound = Number(process.argv[3] ?? 40_000)
const sliceDecisions = 500
/** Apps that one person uses in turn, on either side of the comparison: one, and as many as a working day has. */
const appsInUse = [1, 12]
const now = Date.UTC(2026, 10, 18, 10)

/** A request, what it comes to, and the rule that does it. `undefined`: no rule does. */
interface Kind {
  readonly name: string
  readonly path: string
  readonly isStranger?: true
  readonly rule: string
  readonly expected: string
}

const kinds: readonly Kind[] = [
  {
    name: 'allow',
    path: '/docs/a/b',
    rule: '{ name: staff read, allow: { groups: [staff] }, methods: [read], paths: [/docs/**] }',
    expected: 'allow',
  },
  {
    name: 'deny by rule',
    path: '/payments/7',
    rule: '{ name: payments are closed, deny: { groups: [engineering] }, paths: [/payments/**] }',
    expected: 'deny',
  },
  {
    name: 'step up',
    path: '/changes/7',
    rule: '{ name: changes need a fresh sign-in, allow: { groups: [engineering] }, paths: [/changes/**], when: [level_0] }',
    expected: 'challenge',
  },
  {
    name: 'sign in',
    path: '/docs/a/b',
    isStranger: true,
    rule: '{ name: staff read, allow: { groups: [staff] }, methods: [read], paths: [/docs/**] }',
    expected: 'challenge',
  },
]

/** The rule of this kind in an app of its own, with the level that it may name. */
function writeSmallPolicy(rule: string): string {
  return `levels: { level_0: { sign_in: { amr: [otp, hwk], within: 1h } } }
apps:
  - id: app-0
    url: https://app-0.corp.example
    upstream: http://app-0.internal:8080
    sensitivity: internal
    rules: [${rule}]
`
}

const person: SubjectFacts = {
  kind: 'person',
  issuer: 'https://op.example',
  sub: '7f6c2d1e-alice',
  email: { known: true, value: 'alice@corp.example' },
  groups: { known: true, value: memberGroups },
  claims: { known: true, value: Object.assign(Object.create(null), { groups: memberGroups }) },
  claimsAt: now,
}
const stranger: SubjectFacts = { kind: 'nobody' }
const notGathered = { known: false, why: 'not_gathered' } as const

/** Facts are made for each request: levels remember what they saw last. */
function factsOf({ path, isStranger }: Kind): Facts {
  return {
    subject: isStranger === true ? stranger : person,
    signIn:
      isStranger === true
        ? { known: false, why: 'not_a_person' }
        : {
            known: true,
            value: {
              at: { known: true, value: now - 5 * 3_600_000 },
              acr: { known: false, why: 'claim_absent' },
              amr: { known: true, value: ['pwd'] },
            },
          },
    device: { known: false, why: 'no_device' },
    request: { method: 'GET', methodClass: 'read', path },
    environment: {
      address: '192.0.2.1',
      at: now,
      country: notGathered,
      asn: notGathered,
      scheme: 'https',
      tlsVersion: notGathered,
      client: { browser: notGathered, browserVersion: notGathered, os: notGathered },
    },
  }
}

const folder = await mkdtemp(join(tmpdir(), 'postern-bench-'))
try {
  const text = writeLargePolicy(largeSize)
  const large = await load(text)
  const within: boolean[] = []
  for (const count of appsInUse) within.push(await measureDecisions(large, count))
  const isWithinDelay = await measureReloads(delayBudgetMs)
  process.exitCode = (!within.includes(false) && isWithinDelay) || process.env['BENCH_STRICT'] !== '1' ? 0 : 1
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function load(text: string): Promise<PolicyDocument> {
  const path = join(folder, 'policy.yaml')
  await writeFile(path, text)
  const { problems, value } = await judgePolicy({ path, instance: {}, areTestsRequired: false, now })
  if (value === undefined) throw new Error(problems[0]?.message)
  return value
}

interface Contender {
  readonly kind: Kind
  readonly apps: readonly CompiledApp[]
}

async function measureDecisions(document: PolicyDocument, count: number): Promise<boolean> {
  const policy = compilePolicy(document)
  compileRoutes(document, policy)
  // Every 83rd, so that they lie apart in memory; of an `internal` app, as the small one is.
  const inUse = Array.from({ length: count }, (_, index) => findApp(policy.apps, `app-${(index * 84) % largeSize.apps}`))
  const large = kinds.map((kind): Contender => ({ kind, apps: inUse }))
  const small: Contender[] = []
  for (const kind of kinds) small.push({ kind, apps: copiesOf(await load(writeSmallPolicy(kind.rule)), count) })

  const ratios: number[] = []
  const alone = copiesOf(await load(writeLargePolicy({ ...largeSize, apps: 1 })), count)
  const twenty = kinds.map((kind): Contender => ({ kind, apps: alone }))
  const appRatios: number[] = []
  const perKind = kinds.map(() => ({ large: [] as number[], twenty: [] as number[], small: [] as number[] }))
  const singles: number[] = []
  for (let round = -2; round < rounds; round++) {
    const sums = { large: 0, twenty: 0, small: 0 }
    const kindSums = kinds.map(() => ({ large: 0, twenty: 0, small: 0 }))
    const slices = decisionsPerRound / sliceDecisions / kinds.length
    for (let slice = 0; slice < slices; slice++) {
      for (const [at, sum] of kindSums.entries()) {
        const turn = [['large', large[at]] as const, ['twenty', twenty[at]] as const, ['small', small[at]] as const]
        for (const [name, contender] of slice % 2 === 0 ? turn : turn.reverse()) {
          if (contender === undefined) continue
          const ns = timeSlice(contender)
          sum[name] += ns
          sums[name] += ns
        }
      }
    }
    if (round < 0) continue
    ratios.push(sums.large / sums.small)
    appRatios.push(sums.large / sums.twenty)
    for (const [at, sum] of kindSums.entries()) {
      perKind[at]?.large.push(sum.large / slices / sliceDecisions)
      perKind[at]?.twenty.push(sum.twenty / slices / sliceDecisions)
      perKind[at]?.small.push(sum.small / slices / sliceDecisions)
    }
    for (const contender of large) singles.push(...timeSingles(contender))
  }

  console.log(`decision, ${count} in use: ${rounds} rounds of ${decisionsPerRound}; Node ${process.version}, ${process.arch}`)
  console.table(
    Object.fromEntries(
      kinds.map(({ name }, at) => {
        const { large: many = [], twenty: some = [], small: one = [] } = perKind[at] ?? {}
        return [
          name,
          {
            'large, ns': Math.round(median(many)),
            'alone with twenty rules, ns': Math.round(median(some)),
            'alone with one rule, ns': Math.round(median(one)),
            'to twenty rules': Number((median(many) / median(some)).toFixed(2)),
            'to one rule': Number((median(many) / median(one)).toFixed(2)),
          },
        ]
      }),
    ),
  )
  singles.sort((left, right) => left - right)
  const quantile = (q: number) => ((singles[Math.floor(singles.length * q)] ?? Number.NaN) / 1000).toFixed(2)
  console.log(`single decisions with the large policy, clock included: p50 ${quantile(0.5)} µs, p99 ${quantile(0.99)} µs`)
  console.log(`mixture, against an app alone with its twenty rules: ${median(appRatios).toFixed(2)}`)
  const ratio = median(ratios)
  const isWithin = ratio <= ratioBudget
  console.log(
    `mixture, against an app alone with one rule: ${ratio.toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}); ` +
      `budget ${ratioBudget}: ${isWithin ? 'kept' : 'EXCEEDED'}\n`,
  )
  return isWithin
}

/** Nanoseconds of one slice. */
function timeSlice({ kind, apps }: Contender): number {
  const facts = Array.from({ length: sliceDecisions }, () => factsOf(kind))
  let right = 0
  const start = process.hrtime.bigint()
  for (let at = 0; at < sliceDecisions; at++) {
    const app = apps[at % apps.length]
    const one = facts[at]
    if (app !== undefined && one !== undefined && decide(app, one).effect === kind.expected) right += 1
  }
  const ns = Number(process.hrtime.bigint() - start)
  if (right !== sliceDecisions) throw new Error(`${kind.name}: ${right} of ${sliceDecisions} were decided as expected`)
  return ns
}

function timeSingles({ kind, apps }: Contender): number[] {
  return Array.from({ length: 200 }, (_, at) => {
    const facts = factsOf(kind)
    const app = apps[at % apps.length]
    const start = process.hrtime.bigint()
    if (app !== undefined) decide(app, facts)
    return Number(process.hrtime.bigint() - start)
  })
}

/** The only app of a document, compiled as often as there are apps in use. */
function copiesOf(document: PolicyDocument, count: number): readonly CompiledApp[] {
  return Array.from({ length: count }, () => findApp(compilePolicy(document).apps, 'app-0'))
}

function findApp(apps: ReadonlyMap<string, CompiledApp>, id: string): CompiledApp {
  const app = apps.get(id)
  if (app === undefined) throw new Error(`there is no ${id}`)
  return app
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] ?? Number.NaN
}
