/**
 * What the slowest expressions cost that a policy may hold, each beside a trivial one. `node bench/expression.ts [rounds]`.
 *
 * The facts are as large as an expression can get to see, and such that no expression is spared anything: nothing is found before the end,
 * and patterns meet text that they almost match. Rounds take all expressions in turn, so that whatever else the machine does hits all
 * alike. `maxWork` in `src/policy/expression-subset.ts` rests on these figures.
 */

import { compileExpression } from '../src/policy/expression.ts'
import { factLimits } from '../src/policy/expression-values.ts'
import type { Facts } from '../src/policy/facts.ts'

const rounds = Number(process.argv[2] ?? 15)
const now = Date.UTC(2026, 10, 22, 12)

const { items, allText, text, values } = factLimits
const groups = Array.from({ length: items }, (_, index) => `${`${index}`.padStart(allText / items - 2, 'a')}bc`)
/** Of its share of values a row spends five on itself: the map, two names, a number and the list. */
const rows = Array.from({ length: items - 2 }, (_, index) => ({
  n: index,
  of: Array.from({ length: values / items - 5 }, (_unused, at) => at),
}))
const notGathered = { known: false, why: 'not_gathered' } as const

const facts: Facts = {
  subject: {
    kind: 'person',
    issuer: 'https://op.example',
    sub: 'u1',
    email: { known: true, value: 'alice@corp.example' },
    groups: { known: true, value: groups },
    claims: { known: true, value: { rows, text: 'a'.repeat(text), texts: groups, numbers: groups.map((_, index) => index) } },
    claimsAt: now,
  },
  signIn: { known: false, why: 'not_a_person' },
  device: { known: false, why: 'no_device' },
  request: { method: 'GET', methodClass: 'read', path: `/${'a'.repeat(text - 3)}bc` },
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

/** Each is filled up until the next would be refused. */
const growing: readonly (readonly [string, (size: number) => string])[] = [
  ['comparisons in one comprehension', (size) => `subject.groups.exists(g, ${repeat(size, (at) => `g == '${at}'`)})`],
  ['searches in one comprehension', (size) => `subject.groups.exists(g, ${repeat(size, (at) => `g.endsWith('x${at}')`)})`],
  ['failures in one comprehension', (size) => `subject.claims.rows.exists(r, ${repeat(size, () => 'r.nothing == 1')})`],
  ['failures of types', (size) => `subject.claims.texts.exists(r, ${repeat(size, (at) => `r < ${at}`)})`],
  ['failures one after the other', (size) => repeat(size, () => 'device.managed')],
  ['a list within each entry', (size) => `subject.claims.rows.exists(r, r.of.exists(o, ${repeat(size, (at) => `o == ${at + 100}`)}))`],
  ['a list of our own for each entry', (size) => `subject.groups.exists(g, [${list(size)}].exists(n, g == n))`],
  ['membership for each entry', (size) => `subject.claims.numbers.exists(n, ${repeat(size, () => 'n in [1000, 1001, 1002]')})`],
  ['filters of filters', (size) => `size(subject.groups${".filter(g, g != 'x')".repeat(size)}) == 0`],
  ['a pattern on the path', (size) => `request.path.re('^/(a?){${size}}b$')`],
  ['an alternative on the path', (size) => `request.path.re('(${Array.from({ length: size }, () => 'a*').join('|')})b$')`],
  ['nested repetition on the path', (size) => repeat(size, (at) => `request.path.re('^/(a+)+b{${at + 1}}$')`)],
  ['a pattern on every group', (size) => `subject.groups.exists(g, g.re('^(a?){${size}}a*[0-9]+b$'))`],
  ['a simple pattern on every group', (size) => `subject.groups.exists(g, ${repeat(size, (at) => `g.re('^[a-z]*[0-9]*${at}$')`)})`],
  ['text put together', (size) => `size(${Array.from({ length: size }, () => 'request.path').join(' + ')}) < 0`],
  ['nodes without number', (size) => repeat(size, () => '1 == 2')],
]

const trivial = measureOf('trivial', "request.method == 'POST'")
const measured = growing.map(([name, write]) => measureOf(name, findLargest(write)))

for (let round = 0; round < rounds; round++) for (const one of [trivial, ...measured]) one.times.push(time(one))

const baseline = median(trivial.times)
console.log(`trivial: ${baseline.toFixed(2)} µs`)
console.table(
  Object.fromEntries(
    measured
      .map(({ name, source, times }) => ({ name, source, micros: median(times), worst: Math.max(...times) }))
      .sort((left, right) => right.micros - left.micros)
      .map(({ name, source, micros, worst }) => [
        name,
        {
          µs: Math.round(micros),
          'slowest round': Math.round(worst),
          'times trivial': Math.round(micros / baseline),
          source: source.slice(0, 60),
        },
      ]),
  ),
)

interface Measured {
  readonly name: string
  readonly source: string
  readonly judge: (facts: Facts) => unknown
  readonly calls: number
  /** Microseconds for one judgement, one a round. */
  readonly times: number[]
}

function measureOf(name: string, source: string): Measured {
  const { judge } = compileExpression(source)
  const once = time({ name, source, judge, calls: 3, times: [] })
  return { name, source, judge, calls: Math.max(3, Math.round(20_000 / Math.max(once, 0.2))), times: [] }
}

function time({ judge, calls }: Measured): number {
  const start = process.hrtime.bigint()
  for (let call = 0; call < calls; call++) judge(facts)
  return Number(process.hrtime.bigint() - start) / 1000 / calls
}

function findLargest(write: (size: number) => string): string {
  let largest = write(1)
  for (let size = 1; size <= 250 && isAccepted(write(size)); size++) largest = write(size)
  return largest
}

function isAccepted(source: string): boolean {
  try {
    compileExpression(source)
    return true
  } catch {
    // Refused: the one before was the largest.
    return false
  }
}

function repeat(size: number, write: (at: number) => string): string {
  return Array.from({ length: size }, (_, at) => write(at)).join(' || ')
}

function list(size: number): string {
  return Array.from({ length: size }, (_, at) => `'${at}x'`).join(', ')
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((left, right) => left - right)[Math.floor(numbers.length / 2)] ?? Number.NaN
}
