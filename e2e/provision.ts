/**
 * Finds, or brings, what the tests need that npm does not: a Redis server, a Chromium, a Keycloak.
 *
 * Order: what is on this machine; else the system's package manager (as root, or where sudo asks for no password); else
 * Playwright's own browser, or a container. It says what it does, and what it could not do and why.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface Provisions {
  readonly redis: string | undefined
  readonly chromium: string | undefined
  readonly keycloak: 'java' | 'docker' | undefined
  /** Whether containers can run here at all. */
  readonly hasDocker: boolean
}

const redisNames = ['redis-server', 'valkey-server']
const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome']

export async function provision(say: (text: string) => void): Promise<Provisions> {
  const redis =
    process.env['POSTERN_TEST_REDIS'] ??
    findProgram(redisNames) ??
    install('Redis', { apt: 'redis-server', dnf: 'redis', apk: 'redis', brew: 'redis', pacman: 'redis' }, redisNames, say)
  const chromium =
    process.env['POSTERN_TEST_CHROMIUM'] ??
    findProgram(chromiumNames) ??
    (await findPlaywrightBrowser()) ??
    install('Chromium', { apt: 'chromium', dnf: 'chromium', apk: 'chromium', pacman: 'chromium' }, chromiumNames, say) ??
    (await downloadPlaywrightBrowser(say))
  const hasDocker = succeeds('docker', ['info'])
  const keycloak = findJava() !== undefined && findProgram(['mvn']) !== undefined ? 'java' : hasDocker ? 'docker' : undefined
  say(`Redis:    ${redis ?? 'not found, and it could not be installed'}`)
  say(`Chromium: ${chromium ?? 'not found, and it could not be installed'}`)
  say(
    `Keycloak: ${keycloak === undefined ? 'cannot be brought here (neither Java 21 with Maven nor Docker)' : `by ${keycloak === 'java' ? 'Java and Maven' : 'Docker'}`}`,
  )
  say(`Docker:   ${hasDocker ? 'answers' : 'does not answer'}`)
  return { redis, chromium, keycloak, hasDocker }
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

type PackageNames = Readonly<Partial<Record<'apt' | 'dnf' | 'apk' | 'brew' | 'pacman', string>>>

function install(what: string, packages: PackageNames, programs: readonly string[], say: (text: string) => void): string | undefined {
  const isRoot = process.getuid?.() === 0
  const sudo = isRoot ? [] : succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n'] : undefined
  const plans: readonly (readonly [
    program: string,
    needsRoot: boolean,
    name: string | undefined,
    commands: readonly (readonly string[])[],
  ])[] = [
    [
      'apt-get',
      true,
      packages.apt,
      [
        ['apt-get', 'update', '-qq'],
        ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', packages.apt ?? ''],
      ],
    ],
    ['dnf', true, packages.dnf, [['dnf', 'install', '-y', '-q', packages.dnf ?? '']]],
    ['apk', true, packages.apk, [['apk', 'add', '--no-progress', packages.apk ?? '']]],
    ['pacman', true, packages.pacman, [['pacman', '-Sy', '--noconfirm', packages.pacman ?? '']]],
    ['brew', false, packages.brew, [['brew', 'install', '--quiet', packages.brew ?? '']]],
  ]
  for (const [program, needsRoot, name, commands] of plans) {
    if (name === undefined || findProgram([program]) === undefined || (needsRoot && sudo === undefined)) continue
    say(`${what} is not here: installing the package ${name} with ${program} ...`)
    for (const command of commands) {
      const [first = '', ...rest] = needsRoot ? [...(sudo ?? []), ...command] : command
      const result = spawnSync(first, rest, {
        stdio: ['ignore', 'ignore', 'pipe'],
        encoding: 'utf8',
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      })
      if (result.status !== 0) {
        say(`  ${command.join(' ')} failed: ${result.stderr.trim().split('\n').at(-1) ?? ''}`)
        break
      }
    }
    const found = findProgram(programs)
    if (found !== undefined) return found
  }
  return undefined
}

async function findPlaywrightBrowser(): Promise<string | undefined> {
  const { chromium } = await import('playwright')
  const file = chromium.executablePath()
  return existsSync(file) ? file : undefined
}

async function downloadPlaywrightBrowser(say: (text: string) => void): Promise<string | undefined> {
  say("Chromium is not here: downloading Playwright's own ...")
  spawnSync(
    process.execPath,
    [join(import.meta.dirname, '..', 'node_modules', 'playwright', 'cli.js'), 'install', '--with-deps', 'chromium'],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  return findPlaywrightBrowser()
}

function succeeds(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore', timeout: 15_000 }).status === 0
}
