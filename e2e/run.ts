/**
 * `npm test`: everything a change must pass, in one command on a fresh clone. Ends with a line `N passed, N failed`.
 *
 *   npm test              types, lint, unit, contract, data plane, browser; the short form of every loop, soak and kill test
 *   npm run test:long     the same with the full form of those
 *   npm run attacks       the attack cases alone, as a table: verdict, number, class, outcome
 *
 * With `CI` set, leaving out the Keycloak stories is a failure, and so is any test that did not run for no known reason: a machine
 * that cannot run them proves nothing about them. Exit status: 0 all passed, 1 not.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Provisions, provision } from './provision.ts'
import { describeAbsent, describeAttacks, type KnownAbsence, summariseReport, type VitestReport } from './report.ts'

const root = join(import.meta.dirname, '..')
const modules = join(root, 'node_modules')
const options = new Set(process.argv.slice(2))
const isAttacksOnly = options.has('--attacks')
const isLong = options.has('--long')
const isCi = !['', '0', 'false'].includes(process.env['CI'] ?? '')
const say = (text: string) => process.stdout.write(`${text}\n`)

const total = { passed: 0, failed: 0 }
const startedAt = performance.now()
let running: ChildProcess | undefined
// Whoever stops this run stops what it started: npm and a supervisor signal one process, not its descendants.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    running?.kill(signal)
    process.once('exit', () => say(`stopped by ${signal}`))
    process.exitCode = 1
    if (running === undefined) process.exit()
  })
}

say('What the tests need:')
const wants = new Set<keyof Provisions>(isAttacksOnly ? ['redis', 'chromium'] : ['redis', 'chromium', 'keycloak', 'rsyslog', 'prometheus'])
const provisions = await provision((text) => say(`  ${text}`), wants)
const compiled = await mkdtemp(join(tmpdir(), 'postern-compiled-'))
process.once('exit', () => rmSync(compiled, { recursive: true, force: true }))
const environment = testEnvironment(provisions)
await compileOnce()

if (isAttacksOnly) {
  const report = await vitest(['--project', 'attacks'])
  if (report !== undefined) for (const line of ['', ...describeAttacks(report)]) say(line)
} else {
  await step('types', [join(modules, 'typescript', 'bin', 'tsc'), '-p', root])
  await step('lint', [join(modules, '@biomejs', 'biome', 'bin', 'biome'), 'check', root])
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
    ...(found.prometheus === undefined ? {} : { POSTERN_TEST_PROMETHEUS: found.prometheus }),
    POSTERN_TEST_KEYCLOAK: found.keycloak ?? 'none',
    NODE_COMPILE_CACHE: compiled,
    ...(isLong ? { POSTERN_TEST_LONG: '1' } : {}),
  }
}

/**
 * The tests start many hundred instances and commands from the sources. Node keeps what it made of them in a folder of this run, by the content
 * of each file, so that they are stripped and compiled once: each start then takes less than half of the work.
 */
async function compileOnce(): Promise<void> {
  const files = ['compose', 'compose-administration'].map((name) => JSON.stringify(join(root, 'src', `${name}.ts`)))
  await run(['--input-type=module', '--eval', `for (const file of [${files}]) await import(file); process.exit()`])
}

/** What may be missing from a run, and why. Everything else that does not run is unexpected. */
function knownAbsences(): readonly KnownAbsence[] {
  const hasPayloads = process.env['POSTERN_TEST_REDIRECT_PAYLOADS'] !== undefined
  const payloads = {
    title: /redirect_payloads|return addresses of a sign-in/i,
    reason: 'POSTERN_TEST_REDIRECT_PAYLOADS names no list of payloads',
  }
  return [
    {
      file: 'e2e/compose.e2e.ts',
      reason: 'the compose story needs Docker, its images and the ports 8080 and 8081; see its own line above',
    },
    ...['e2e/audit-full-disk.e2e.ts', 'src/audit/trail-full.test.ts'].map((file) => ({
      file,
      reason: 'only root may mount a small file system, and not in every container',
    })),
    ...(provisions.rsyslog === undefined
      ? [{ file: 'e2e/audit-sinks.e2e.ts', title: /rsyslog/, reason: 'no rsyslog with TLS is here, and none could be installed' }]
      : []),
    ...(provisions.prometheus === undefined
      ? [
          { file: 'e2e/metrics.e2e.ts', reason: 'no Prometheus is here, and none could be installed' },
          { file: 'docs/metrics.test.ts', title: /promtool/, reason: 'promtool comes with Prometheus, which is not here' },
        ]
      : []),
    ...(provisions.keycloak === undefined ? [{ file: 'e2e/keycloak.e2e.ts', reason: 'nothing here can run Keycloak' }] : []),
    ...(isLong
      ? []
      : [
          { file: 'e2e/shutdown.e2e.ts', title: /never ends/, reason: 'belongs to the long form' },
          { file: 'src/administration/trail-window.test.ts', title: /measures/, reason: 'belongs to the long form' },
          { file: 'src/audit/verify-mutations.test.ts', title: /a million lines/, reason: 'belongs to the long form' },
        ]),
    ...(hasPayloads ? [] : ['src/control/return-url.test.ts', 'src/control/app.test.ts'].map((file) => ({ file, ...payloads }))),
  ]
}

/** Runs one check that either holds or not. */
async function step(name: string, args: readonly string[]): Promise<void> {
  const status = await run(args)
  total[status === 0 ? 'passed' : 'failed'] += 1
  say(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}`)
}

/** Runs vitest and adds what it came to; `undefined` when it left no report, which counts as a failure. */
async function vitest(args: readonly string[]): Promise<VitestReport | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-test-'))
  const file = join(folder, 'report.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const status = await run([join(modules, 'vitest', 'vitest.mjs'), 'run', ...reporters, ...args])
    const report = JSON.parse(await readFile(file, 'utf8')) as VitestReport
    const { passed, failed, broken, absent } = summariseReport(report, root, knownAbsences())
    const unexpected = absent.filter(({ reason }) => reason === undefined)
    for (const line of [...describeAbsent(absent), ...broken.map((text) => `FAIL ${text}`)]) say(line)
    total.passed += passed
    // An unhandled error fails vitest's status and no test: its report then looks like success.
    total.failed += Math.max(failed, status === 0 ? 0 : 1) + (isCi ? unexpected.length : 0)
    return report
  } catch (error) {
    say(`The tests did not report: ${String(error)}`)
    total.failed += 1
    return undefined
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env: environment, stdio: ['ignore', 'inherit', 'inherit'] })
    running = child
    child.on('error', reject)
    child.on('exit', (code) => {
      running = undefined
      resolve(code ?? 1)
    })
  })
}
