/**
 * The process behind a test's Keycloak: by a JDK of this machine where there is Maven to fetch the distribution, else by Docker.
 *
 * The distribution is fetched and prepared once and kept in the user's cache folder (`$XDG_CACHE_HOME/postern`). Each Keycloak
 * has a home of its own with its own database, so that it can be ended and started again and still know its sessions.
 */

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, realpathSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findJava, findProgram } from '../provision.ts'

export const keycloakVersion = '26.7.0'
export const administrator = 'admin'

const run = promisify(execFile)

export interface KeycloakProcessOptions {
  readonly port: number
  /** The realm to import into a new database, as text. */
  readonly realm: string
  /** Names that Keycloak has to reach, all on loopback. */
  readonly names: readonly string[]
  readonly adminPassword: string
  readonly say: (text: string) => void
}

export interface KeycloakProcess {
  /** Where it writes its log. */
  readonly logFile: string
  start(): void
  /** Its exit status once it has ended by itself; `undefined` while it runs. */
  exitCode(): number | undefined
  end(): Promise<void>
  /** Removes its home. */
  remove(): Promise<void>
}

/** What can run Keycloak here, made ready to start; or in words why nothing can. */
export async function prepareKeycloak(options: KeycloakProcessOptions): Promise<KeycloakProcess | string> {
  const javaHome = findJava()
  const distribution = javaHome === undefined ? undefined : await prepareDistribution(javaHome, options.say)
  if (javaHome === undefined || distribution === undefined) {
    const image = findImage()
    if (image !== undefined) return prepareContainer(image, options)
    return 'Keycloak needs Java 21 with Maven, or Docker with its image; neither is here'
  }
  const home = await makeHome(options)
  await mkdir(join(home, 'bin'))
  await cp(join(distribution, 'bin', 'kc.sh'), join(home, 'bin', 'kc.sh'))
  for (const folder of ['lib', 'conf', 'providers', 'themes']) await symlink(join(distribution, folder), join(home, folder))
  // Java asks the system, which need not know names below localhost (RFC 6761); this file then answers in its place.
  await writeFile(join(home, 'hosts'), ['localhost', ...options.names].map((name) => `127.0.0.1 ${name}\n`).join(''))
  const environment = {
    ...process.env,
    JAVA_HOME: javaHome,
    JAVA_OPTS_KC_HEAP: '-Xms64m -Xmx512m',
    JAVA_OPTS_APPEND: `-Djdk.net.hosts.file=${join(home, 'hosts')} -XX:TieredStopAtLevel=1`,
    KC_BOOTSTRAP_ADMIN_USERNAME: administrator,
    KC_BOOTSTRAP_ADMIN_PASSWORD: options.adminPassword,
  }
  return supervise(home, () => ({
    command: join(home, 'bin', 'kc.sh'),
    args: ['start', '--optimized', '--import-realm', '--http-enabled=true', ...addressOptions(options.port)],
    environment,
  }))
}

function addressOptions(port: number): readonly string[] {
  return ['--http-host=127.0.0.1', `--http-port=${port}`, `--hostname=http://login.corp.localhost:${port}`]
}

/** The unpacked and built distribution in the cache; `undefined` if it has to be fetched and Maven is not there. */
async function prepareDistribution(javaHome: string, say: (text: string) => void): Promise<string | undefined> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'postern')
  const ready = join(cache, `keycloak-${keycloakVersion}`)
  if (existsSync(ready)) return ready
  const maven = findProgram(['mvn'])
  if (maven === undefined) return undefined
  await mkdir(cache, { recursive: true })
  // Built beside and renamed, so that a half-made folder is never taken for a good one.
  const scratch = await mkdtemp(join(cache, 'fetching-'))
  try {
    say(`fetching Keycloak ${keycloakVersion} from Maven (once)`)
    const artifact = `org.keycloak:keycloak-quarkus-dist:${keycloakVersion}:tar.gz`
    await run(maven, ['-q', '-B', 'dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${scratch}`], {
      cwd: scratch,
      timeout: 600_000,
    })
    await run('tar', ['-xzf', join(scratch, `keycloak-quarkus-dist-${keycloakVersion}.tar.gz`), '-C', scratch])
    const unpacked = join(scratch, `keycloak-${keycloakVersion}`)
    say('preparing Keycloak (once)')
    const build = ['build', '--db=dev-file', '--cache=local', '--health-enabled=false', '--metrics-enabled=false']
    await run(join(unpacked, 'bin', 'kc.sh'), build, { env: { ...process.env, JAVA_HOME: javaHome }, timeout: 300_000 })
    await rename(unpacked, ready).catch((error: unknown) => {
      // Another test run was faster; its folder is as good.
      if (!existsSync(ready)) throw error
    })
    return ready
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

function findImage(): string | undefined {
  const image = `quay.io/keycloak/keycloak:${keycloakVersion}`
  try {
    execFileSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 })
    return image
  } catch {
    return undefined // no Docker, or nobody answers
  }
}

/** On the host's network, because Keycloak has to reach Postern on this machine's loopback. */
async function prepareContainer(image: string, options: KeycloakProcessOptions): Promise<KeycloakProcess> {
  const home = await makeHome(options)
  const name = `postern-test-keycloak-${options.port}-${process.pid}`
  // The container's user is another than ours.
  for (const folder of [home, join(home, 'data'), join(home, 'data', 'import')]) await chmod(folder, 0o777)
  const variables = [`KC_BOOTSTRAP_ADMIN_USERNAME=${administrator}`, `KC_BOOTSTRAP_ADMIN_PASSWORD=${options.adminPassword}`]
  const supervised = supervise(home, () => ({
    command: 'docker',
    args: [
      ...['run', '--rm', '--name', name, '--network', 'host'],
      ...options.names.map((host) => `--add-host=${host}:127.0.0.1`),
      ...variables.map((variable) => `--env=${variable}`),
      ...['--volume', `${join(home, 'data')}:/opt/keycloak/data`, image],
      ...['start-dev', '--import-realm', ...addressOptions(options.port)],
    ],
    environment: process.env,
  }))
  return {
    ...supervised,
    end: async () => {
      // Ending the client would leave the container; the name is ours alone.
      await run('docker', ['stop', '--time', '10', name]).catch(() => {
        // It has ended already.
      })
      await supervised.end()
    },
    remove: async () => {
      // What the container wrote is its user's; a container can remove it.
      await run('docker', [
        'run',
        '--rm',
        '--user',
        'root',
        '--entrypoint',
        'rm',
        '--volume',
        `${home}:/home-of-test`,
        image,
        '-rf',
        '/home-of-test/data',
      ])
      await supervised.remove()
    },
  }
}

async function makeHome({ port, realm }: KeycloakProcessOptions): Promise<string> {
  const home = await mkdtemp(join(realpathSync(tmpdir()), `keycloak-${port}-`))
  await mkdir(join(home, 'data', 'import'), { recursive: true })
  await writeFile(join(home, 'data', 'import', 'realm-corp.json'), realm)
  return home
}

interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly environment: NodeJS.ProcessEnv
}

function supervise(home: string, describe: () => Launch): KeycloakProcess {
  const logFile = join(home, 'keycloak.log')
  let child: ChildProcess | undefined
  const killAtExit = () => void child?.kill('SIGKILL')
  // A test run that is cut short must not leave a process behind.
  process.once('exit', killAtExit)
  return {
    logFile,
    start: () => {
      const { command, args, environment } = describe()
      const log = openSync(logFile, 'a')
      child = spawn(command, args, { cwd: home, stdio: ['ignore', log, log], env: environment })
      closeSync(log)
    },
    exitCode: () => child?.exitCode ?? undefined,
    end: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
      const ending = child
      const gone = new Promise<void>((done) => ending.once('exit', () => done()))
      ending.kill('SIGTERM')
      const impatience = setTimeout(() => ending.kill('SIGKILL'), 15_000)
      await gone
      clearTimeout(impatience)
      child = undefined
    },
    remove: async () => {
      process.off('exit', killAtExit)
      await rm(home, { recursive: true, force: true })
    },
  }
}
