/**
 * Finds, or brings, what the tests need that npm does not: a Redis server, a Chromium, a Keycloak.
 *
 * Order: what the environment names (`POSTERN_TEST_REDIS`, `POSTERN_TEST_CHROMIUM`) or this machine has; else the system's package
 * manager (as root, or where sudo asks for no password); else, for the browser, Playwright's own download. Keycloak may run in a
 * container; Redis not, since tests start, stop and pause servers of their own many times. It says what it does, and what it could not do.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** What was found or brought; `undefined` where it could not be, or was not asked for. */
export interface Provisions {
  /** Path of the server's program. */
  readonly redis: string | undefined
  readonly chromium: string | undefined
  /** What can run Keycloak. */
  readonly keycloak: 'java' | 'docker' | undefined
  /** A syslog receiver that speaks TLS: path of its program. */
  readonly rsyslog: string | undefined
  /** Path of the server's program; promtool comes with it. */
  readonly prometheus: string | undefined
}

const redisNames = ['redis-server', 'valkey-server']
const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome']

/** Longest that a package manager may take: a mirror that hangs must not hang the tests. */
const installMs = 600_000

/** Provides what is wanted, saying each step. It never throws for want of something: the tests that need it fail and say so. */
export async function provision(say: (text: string) => void, wants: ReadonlySet<keyof Provisions>): Promise<Provisions> {
  const redis = wants.has('redis') ? provideRedis(say) : undefined
  const chromium = wants.has('chromium') ? await provideChromium(say) : undefined
  const keycloak = wants.has('keycloak') ? findKeycloakRunner() : undefined
  const rsyslog = wants.has('rsyslog') ? provideRsyslog(say) : undefined
  const prometheus = wants.has('prometheus') ? providePrometheus(say) : undefined
  if (wants.has('redis'))
    say(`Redis:    ${redis ?? 'none. Put redis-server in PATH, or name one in POSTERN_TEST_REDIS; tests that need it will fail'}`)
  if (wants.has('chromium'))
    say(`Chromium: ${chromium ?? 'none. Put chromium in PATH, or name one in POSTERN_TEST_CHROMIUM; tests that need it will fail'}`)
  if (wants.has('keycloak'))
    say(
      `Keycloak: ${{ java: 'by Java and Maven', docker: 'by Docker', none: 'none: neither Java 21 with Maven nor Docker is here' }[keycloak ?? 'none']}`,
    )
  if (wants.has('rsyslog')) say(`rsyslog:  ${rsyslog ?? 'none with TLS. The packages rsyslog and rsyslog-gnutls would bring it'}`)
  if (wants.has('prometheus')) say(`Prometheus: ${prometheus ?? 'none. The package prometheus would bring it'}`)
  return { redis, chromium, keycloak, rsyslog, prometheus }
}

function provideRedis(say: (text: string) => void): string | undefined {
  const names = { apt: 'redis-server', dnf: 'redis', apk: 'redis', brew: 'redis', pacman: 'redis' }
  return process.env['POSTERN_TEST_REDIS'] ?? findProgram(redisNames) ?? install({ what: 'Redis', names, programs: redisNames, say })
}

async function provideChromium(say: (text: string) => void): Promise<string | undefined> {
  const names = { apt: 'chromium', dnf: 'chromium', apk: 'chromium', pacman: 'chromium' }
  return (
    process.env['POSTERN_TEST_CHROMIUM'] ??
    findProgram(chromiumNames) ??
    (await findPlaywrightBrowser()) ??
    install({ what: 'Chromium', names, programs: chromiumNames, say }) ??
    (await downloadPlaywrightBrowser(say))
  )
}

function providePrometheus(say: (text: string) => void): string | undefined {
  const names = { apt: 'prometheus', brew: 'prometheus', pacman: 'prometheus' }
  return (
    process.env['POSTERN_TEST_PROMETHEUS'] ??
    findProgram(['prometheus']) ??
    install({ what: 'Prometheus', names, programs: ['prometheus'], say })
  )
}

function provideRsyslog(say: (text: string) => void): string | undefined {
  const names = { apt: 'rsyslog-gnutls', dnf: 'rsyslog-gnutls' }
  const found = findRsyslog()
  if (found === undefined) install({ what: 'rsyslog with TLS', names, programs: ['rsyslogd'], say })
  return found ?? findRsyslog()
}

/** Full path of an rsyslog that can speak TLS. Its program is where only root's PATH may lead. */
export function findRsyslog(): string | undefined {
  const driver = 'rsyslog/lmnsd_gtls.so'
  const libraries = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib']
  if (!libraries.some((folder) => existsSync(join(folder, driver)))) return undefined
  return ['/usr/sbin/rsyslogd', '/usr/bin/rsyslogd'].find((file) => existsSync(file)) ?? findProgram(['rsyslogd'])
}

function findKeycloakRunner(): Provisions['keycloak'] {
  if (findJava() !== undefined && findProgram(['mvn']) !== undefined) return 'java'
  return succeeds('docker', ['info']) ? 'docker' : undefined
}

/** Full path of the first of `names` that PATH has. */
export function findProgram(names: readonly string[]): string | undefined {
  for (const name of names) {
    for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
      const file = join(folder, name)
      if (folder !== '' && existsSync(file)) return file
    }
  }
  return undefined
}

/** Home of the newest Java of at least 21: Keycloak runs on nothing older. */
export function findJava(): string | undefined {
  const homes = [
    process.env['JAVA_HOME'],
    ...(existsSync('/usr/lib/jvm') ? readdirSync('/usr/lib/jvm').map((name) => join('/usr/lib/jvm', name)) : []),
  ]
  const found = homes.flatMap((home) => {
    if (home === undefined || !existsSync(join(home, 'bin', 'java'))) return []
    const { stderr, stdout } = spawnSync(join(home, 'bin', 'java'), ['-version'], { encoding: 'utf8' })
    const major = Number(/version "(\d+)/.exec(`${stderr}${stdout}`)?.[1] ?? 0)
    return major >= 21 ? [{ home, major }] : []
  })
  return found.sort((a, b) => b.major - a.major)[0]?.home
}

type PackageManager = 'apt' | 'dnf' | 'apk' | 'brew' | 'pacman'

interface Wanted {
  readonly what: string
  /** Its package, by package manager. */
  readonly names: Readonly<Partial<Record<PackageManager, string>>>
  readonly programs: readonly string[]
  readonly say: (text: string) => void
}

interface InstallPlan {
  readonly manager: PackageManager
  readonly program: string
  readonly needsRoot: boolean
  readonly commands: (name: string) => readonly (readonly string[])[]
}

const installPlans: readonly InstallPlan[] = [
  {
    manager: 'apt',
    program: 'apt-get',
    needsRoot: true,
    commands: (name) => [
      ['apt-get', 'update', '-qq'],
      ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', name],
    ],
  },
  { manager: 'dnf', program: 'dnf', needsRoot: true, commands: (name) => [['dnf', 'install', '-y', '-q', name]] },
  { manager: 'apk', program: 'apk', needsRoot: true, commands: (name) => [['apk', 'add', '--no-progress', name]] },
  { manager: 'pacman', program: 'pacman', needsRoot: true, commands: (name) => [['pacman', '-Sy', '--noconfirm', name]] },
  { manager: 'brew', program: 'brew', needsRoot: false, commands: (name) => [['brew', 'install', '--quiet', name]] },
]

function install({ what, names, programs, say }: Wanted): string | undefined {
  const sudo = findSudo()
  for (const { manager, program, needsRoot, commands } of installPlans) {
    const name = names[manager]
    if (name === undefined || findProgram([program]) === undefined) continue
    if (needsRoot && sudo === undefined) {
      say(`${what} is not here, and installing the package ${name} needs root: sudo asks for a password`)
      continue
    }
    say(`${what} is not here: installing the package ${name} with ${program} ...`)
    const failure = commands(name)
      .map((command) => runQuietly(needsRoot ? [...(sudo ?? []), ...command] : command))
      .find(Boolean)
    if (failure !== undefined) say(failure)
    const found = findProgram(programs)
    if (found !== undefined) return found
  }
  return undefined
}

/** What to put before a command that needs root; `undefined` where nothing does. */
function findSudo(): readonly string[] | undefined {
  if (process.getuid?.() === 0) return []
  return succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n'] : undefined
}

/** Runs a command and returns its last words if it failed. */
function runQuietly(command: readonly string[]): string | undefined {
  const [program = '', ...args] = command
  const result = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: installMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (result.status === 0) return undefined
  const words = result.stderr?.trim().split('\n').at(-1) || result.error?.message || `status ${result.status}`
  return `${command.join(' ')} failed: ${words}`
}

async function findPlaywrightBrowser(): Promise<string | undefined> {
  const { chromium } = await import('playwright')
  const file = chromium.executablePath()
  return existsSync(file) ? file : undefined
}

async function downloadPlaywrightBrowser(say: (text: string) => void): Promise<string | undefined> {
  say("Chromium is not here: downloading Playwright's own ...")
  const cli = join(import.meta.dirname, '..', 'node_modules', 'playwright', 'cli.js')
  // Its system libraries need root as well.
  const dependencies = findSudo() === undefined ? [] : ['--with-deps']
  const failure = runQuietly([process.execPath, cli, 'install', ...dependencies, 'chromium'])
  if (failure !== undefined) say(failure)
  return findPlaywrightBrowser()
}

function succeeds(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore', timeout: 15_000 }).status === 0
}
