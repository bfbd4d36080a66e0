/**
 * `npm test`: everything a change must pass, in one command on a fresh clone. Ends with a line `N passed, N failed`.
 *
 *   npm test              types, lint, unit, contract, data plane, browser; the short form of every loop, soak and kill test
 *   npm run test:long     the same with the full form of those
 *   npm run attacks       the attack cases alone, as a table: number, class, outcome, verdict
 *
 * With `CI` set, leaving out the Keycloak stories is a failure: a machine that cannot run them proves nothing about them.
 */

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Provisions, provision } from './provision.ts'

interface Count {
  passed: number
  failed: number
}

interface VitestReport {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numTotalTests: number
  readonly success: boolean
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly title: string
      readonly status: string
      readonly meta: Readonly<Record<string, unknown>>
    }[]
  }[]
}

const root = join(import.meta.dirname, '..')
const modules = join(root, 'node_modules')
const options = new Set(process.argv.slice(2))
const isCi = process.env['CI'] !== undefined && process.env['CI'] !== 'false'
const say = (text: string) => process.stdout.write(`${text}\n`)

const total: Count = { passed: 0, failed: 0 }
const startedAt = performance.now()
say('What the tests need:')
const provisions = await provision((text) => say(`  ${text}`))
const environment = testEnvironment(provisions)

if (options.has('--attacks')) {
  const report = await vitest(['--project', 'e2e', 'e2e/attacks'])
  printAttacks(report)
} else {
  await step('types', 'tsc', [join(modules, 'typescript', 'bin', 'tsc'), '-p', root])
  await step('lint', 'biome', [join(modules, '@biomejs', 'biome', 'bin', 'biome'), 'check', root])
  await vitest([])
  if (provisions.keycloak === undefined) {
    say(`The Keycloak stories did not run: ${isCi ? 'with CI set that is a failure' : 'Java 21 with Maven, or Docker, would bring it'}.`)
    if (isCi) total.failed += 1
  }
}
say(`in ${Math.round((performance.now() - startedAt) / 1000)} s`)
say(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1

function testEnvironment(found: Provisions): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...(found.redis === undefined ? {} : { POSTERN_TEST_REDIS: found.redis }),
    ...(found.chromium === undefined ? {} : { POSTERN_TEST_CHROMIUM: found.chromium }),
    POSTERN_TEST_KEYCLOAK: found.keycloak ?? 'none',
    POSTERN_TEST_DOCKER: found.hasDocker ? '1' : '',
    ...(options.has('--long') ? { POSTERN_TEST_LONG: '1' } : {}),
  }
}

/** Runs one check that either holds or not. */
async function step(name: string, title: string, args: readonly string[]): Promise<void> {
  const status = await run(args)
  total[status === 0 ? 'passed' : 'failed'] += 1
  say(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${title})`)
}

async function vitest(args: readonly string[]): Promise<VitestReport | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-test-'))
  const file = join(folder, 'report.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const status = await run([join(modules, 'vitest', 'vitest.mjs'), 'run', ...reporters, ...args])
    const report = JSON.parse(await readFile(file, 'utf8')) as VitestReport
    total.passed += report.numPassedTests
    total.failed += report.numFailedTests
    // A file that could not be loaded has no failed test in it, and must still fail the run.
    if (status !== 0 && report.numFailedTests === 0) total.failed += 1
    return report
  } catch (error) {
    say(`The tests did not report: ${String(error)}`)
    total.failed += 1
    return undefined
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** One line a case: number, class, what came out of it, verdict. */
function printAttacks(report: VitestReport | undefined): void {
  const cases = (report?.testResults ?? []).flatMap((file) => file.assertionResults)
  const rows = cases
    .map((result) => ({
      title: result.title,
      outcome: typeof result.meta['outcome'] === 'string' ? result.meta['outcome'] : '',
      status: result.status,
    }))
    .sort((a, b) => number(a.title) - number(b.title))
  say('')
  for (const row of rows)
    say(`${row.status === 'passed' ? 'safe  ' : row.status === 'failed' ? 'UNSAFE' : 'not run'}  ${row.title.padEnd(90)}  ${row.outcome}`)
}

function number(title: string): number {
  return Number(/^A(\d+)/.exec(title)?.[1] ?? 9999)
}

function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env: environment, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
