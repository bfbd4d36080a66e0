/**
 * The composed system on this machine: real `postern serve` processes, a real OpenID Provider, raw upstreams as oracles, and Redis
 * where asked. Every name is `NAME.corp.localhost`.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listChains, listSegments, readLines } from '../../src/audit/trail-files.ts'
import type { Person } from '../../src/demo/people.ts'
import { startDemoProvider } from '../../src/demo/provider.ts'
import type { Answer, Client } from './client.ts'
import { findFreePort } from './free-port.ts'
import { startRedis, type TestRedis } from './redis.ts'
import { countTrailBytes, findSecrets, findSecretsInTrail, noteKeyFile, noteParameters, noteSecret, noteUrl } from './secret-watch.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const root = join(import.meta.dirname, '..', '..')
const sources = join(root, 'src', 'cli.ts')

export const people: readonly Person[] = [
  person('alice', 'Alice Archer', ['staff', 'admins', 'engineering', 'postern-admins']),
  person('bob', 'Bob Baker', ['staff', 'finance']),
  person('carol', 'Carol Cole', ['contractors']),
]

export interface AppWish {
  readonly id: string
  /** Rules and any other keys of an app; `url` and `upstream` are filled in. */
  readonly [key: string]: unknown
}

export interface RigOptions {
  readonly store?: 'embedded' | 'redis'
  /** Apps with their keys; each gets an oracle upstream of its own unless it names one. Defaults to `app` and `wiki`. */
  readonly apps?: readonly AppWish[]
  /** Further top-level keys of the policy document. */
  readonly policy?: Readonly<Record<string, unknown>>
  /** Further keys of the instance configuration, merged at the top level. */
  readonly configuration?: Readonly<Record<string, unknown>>
  /** Merged into `provider:`. */
  readonly provider?: Readonly<Record<string, unknown>>
  /** Another provider than the demo's: its issuer. */
  readonly issuer?: string
  /** Merged into `session:`. */
  readonly session?: Readonly<Record<string, unknown>>
  readonly instances?: number
  /** Another address of the store for one of the instances: of a link that can be broken. */
  readonly storeUrlOf?: (instance: number, url: string) => string
  readonly people?: readonly Person[]
  /** Scheme of every public URL; with `https`, `configuration` brings `tls`. Defaults to `http`. */
  readonly scheme?: 'http' | 'https'
  /** Another program than the sources: `cli.js` of a build. */
  readonly program?: string
  /** `debug` for a story about what is said then; `info` if left out. */
  readonly logLevel?: 'debug'
  /** Added to the environment of the instances. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Instance {
  readonly port: number
  readonly operationsPort: number
  readonly folder: string
  readonly pid: number
  /** Everything it wrote to its log. */
  log(): string
  /** Sends a signal and resolves with how it ended. */
  stop(signal?: NodeJS.Signals): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Starts the same instance again after `stop`. */
  start(): Promise<void>
  isRunning(): boolean
}

export interface Rig {
  readonly port: number
  readonly issuer: string
  readonly instance: Instance
  readonly instances: readonly Instance[]
  readonly redis: TestRedis | undefined
  readonly policyFile: string
  /** Origin of a name: `origin('app')` is `http://app.corp.localhost:PORT`. */
  origin(name: string): string
  upstream(id: string): Upstream
  /** Signs `person` in through the provider, as a browser would, ending at `url`. */
  signIn(client: Client, person: string, url: string): Promise<Answer & { readonly trail: readonly string[] }>
  /** All audit lines of an instance so far, parsed. */
  audit(instance?: Instance): Promise<readonly Readonly<Record<string, unknown>>[]>
  writePolicy(document: Readonly<Record<string, unknown>> | string): Promise<void>
  policy: Readonly<Record<string, unknown>>
  providerStop(): Promise<void>
  providerStart(): Promise<void>
  stop(): Promise<void>
}

/** Starts everything and resolves when every instance is ready. */
export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-rig-'))
  const port = await findFreePort()
  const providerPort = await findFreePort()
  const issuer = options.issuer ?? `http://login.corp.localhost:${providerPort}`
  const origin = (name: string) => `${options.scheme ?? 'http'}://${name}.corp.localhost:${port}`
  const redis = options.store === 'redis' ? await startRedis({ password: redisPassword, persist: true }) : undefined
  noteSecretsOf(options)

  const upstreams = new Map<string, Upstream>()
  const apps: Record<string, unknown>[] = []
  for (const wish of options.apps ?? defaultApps) {
    if (wish['upstream'] === undefined) upstreams.set(wish.id, await startUpstream())
    apps.push({ url: origin(wish.id), upstream: upstreams.get(wish.id)?.origin, ...wish })
  }
  const policy = { ...options.policy, apps }
  const policyFile = join(folder, 'policy.yaml')
  await writeFile(policyFile, JSON.stringify(policy, undefined, 1))

  const instances: Instance[] = []
  for (let index = 0; index < (options.instances ?? 1); index += 1) {
    const operationsPort = await findFreePort()
    const dataFolder = join(folder, `data-${index}`)
    const configuration = {
      url: origin('access'),
      listen: `127.0.0.1:${index === 0 ? port : await findFreePort()}`,
      operations: `127.0.0.1:${operationsPort}`,
      provider: {
        issuer,
        client_id: 'postern',
        client_secret: clientSecret,
        scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
        ...options.provider,
      },
      data_dir: dataFolder,
      keys_file: join(folder, 'keys.json'),
      policy: policyFile,
      ...options.configuration,
      session: { store: redis === undefined ? 'embedded' : (options.storeUrlOf?.(index, redis.url) ?? redis.url), ...options.session },
    }
    const file = join(folder, `postern-${index}.yaml`)
    await writeFile(file, JSON.stringify(configuration, undefined, 1), { mode: 0o600 })
    const listenPort = Number(String(configuration.listen).split(':')[1])
    const level = options.logLevel === undefined ? [] : ['--log-level', options.logLevel]
    const command = [options.program ?? sources, file, ...level] as const
    instances.push(createInstance(command, { port: listenPort, operationsPort, folder: dataFolder }, options.environment))
  }
  if (redis !== undefined) await runCommand(['keys', 'generate', '--config', join(folder, 'postern-0.yaml')])

  let provider: { close(): Promise<void> } | undefined
  const providerStart = async () => {
    if (options.issuer !== undefined) return
    provider = await startDemoProvider({
      issuer: new URL(issuer),
      port: providerPort,
      people: options.people ?? people,
      onTokens: (parameters) => noteParameters(parameters, 'of the provider'),
      client: {
        id: 'postern',
        secret: clientSecret,
        redirectUris: [`${origin('access')}/oidc/callback`],
        postLogoutRedirectUris: [`${origin('access')}/signed-out`],
        backchannelLogoutUri: `${origin('access')}/oidc/backchannel-logout`,
      },
    })
  }
  const providerStop = async () => {
    await provider?.close()
    provider = undefined
  }
  const keysFile = join(folder, 'keys.json')
  const stop = async () => {
    await noteKeyFile(keysFile)
    const leaks = (await Promise.all(instances.map(findLeaks))).flat()
    await Promise.all(instances.filter((each) => each.isRunning()).map((each) => each.stop('SIGKILL')))
    await provider?.close()
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()))
    await redis?.close()
    await rm(folder, { recursive: true, force: true })
    if (leaks.length > 0) throw new Error(`secrets of this story were said:\n${leaks.join('\n')}`)
  }
  const [instance] = instances
  if (instance === undefined) throw new Error('a rig needs an instance')
  try {
    await providerStart()
    for (const each of instances) await each.start()
    await noteKeyFile(keysFile)
  } catch (error) {
    await stop()
    throw error
  }

  return {
    port,
    issuer,
    instance,
    instances,
    redis,
    policyFile,
    policy,
    origin,
    upstream: (id) => {
      const found = upstreams.get(id)
      if (found === undefined) throw new Error(`no upstream ${id}`)
      return found
    },
    signIn: (client, who, url) => signIn(client, who, url),
    audit: (of = instance) => readAudit(of.folder),
    writePolicy: (document) => writeFile(policyFile, typeof document === 'string' ? document : JSON.stringify(document, undefined, 1)),
    providerStart,
    providerStop,
    stop,
  }
}

const clientSecret = 'rig-client-secret-0123456789abcdef'
const redisPassword = 'rig-redis-password'

/** What the configuration of a rig holds that no instance may ever say. */
function noteSecretsOf({ configuration = {}, environment = {}, provider = {} }: RigOptions): void {
  noteSecret(clientSecret, 'the client secret')
  noteSecret(redisPassword, 'the password of the store')
  noteParameters(provider, 'of the provider')
  for (const [name, secret] of Object.entries(configuration['secrets'] ?? {})) noteSecret(String(secret), `the secret ${name}`)
  for (const [name, value] of Object.entries(environment))
    if (/SECRET|PASSWORD|TOKEN/.test(name)) noteSecret(value, `the environment’s ${name}`)
}

/** Every secret that an instance said: in its log, in its trail, and in its metrics if it still runs. */
async function findLeaks(instance: Instance): Promise<readonly string[]> {
  const metrics = instance.isRunning()
    ? await fetch(`http://127.0.0.1:${instance.operationsPort}/metrics`, { signal: AbortSignal.timeout(2000) })
        .then((answer) => answer.text())
        // It may be stopped, frozen or short of connections, as the story left it.
        .catch(() => '')
    : ''
  const said = [...findSecrets(instance.log(), 'the log'), ...findSecrets(metrics, 'the metrics')]
  const audit = join(instance.folder, 'audit')
  // Lines are written some milliseconds after what they tell of: what is read must be all.
  let bytes = -1
  await waitFor(async () => {
    const before = bytes
    bytes = await countTrailBytes(audit)
    return bytes === before
  }, 2000).catch(() => undefined)
  return [...said, ...(await findSecretsInTrail(audit))]
}

const defaultApps: readonly AppWish[] = [
  {
    id: 'app',
    rules: [
      { name: 'open to all', allow: { public: true }, paths: ['/public/**', '/health'] },
      { name: 'administration', allow: { groups: ['admins'] }, paths: ['/admin/**'] },
      { name: 'only admins administer', deny: { signed_in: true }, paths: ['/never/**'] },
      {
        name: 'staff',
        allow: { groups: ['staff'] },
        paths: ['/', '/ok', '/ok/**', '/a', '/b', '/x', '/ws', '/upload', '/download', '/echo', '/echo/**'],
      },
    ],
  },
  { id: 'wiki', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
]

function person(id: string, name: string, groups: readonly string[]): Person {
  return { id, name, email: `${id}@corp.example`, role: groups.join(', '), groups }
}

/** Follows redirects, and where the provider asks who it is, answers. */
async function signIn(client: Client, who: string, url: string): Promise<Answer & { readonly trail: readonly string[] }> {
  let answer = await client.follow(url)
  const trail = [...answer.trail]
  for (let forms = 0; forms < 3 && answer.url.includes('/interaction/'); forms += 1) {
    const origin = new URL(answer.url).origin
    const posted = await client.send(answer.url, {
      method: 'POST',
      body: `person=${who}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin, 'sec-fetch-site': 'same-origin' },
    })
    answer = await client.follow(new URL(posted.header('location') ?? '/', answer.url).href)
    trail.push(...answer.trail)
  }
  return Object.assign(answer, { trail })
}

/** Every whole line. A segment that is compressed while it is being read has another name then: it is read once more. */
async function readAudit(folder: string, isAgain = false): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const lines: Record<string, unknown>[] = []
  const base = join(folder, 'audit')
  try {
    for (const chain of await listChains(base))
      for (const segment of await listSegments(base, chain))
        for await (const { bytes, isWhole } of readLines(segment)) if (isWhole) lines.push(JSON.parse(bytes.toString()))
    return lines
  } catch (error) {
    if (isAgain || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return await readAudit(folder, true)
  }
}

function createInstance(
  [program, file, ...more]: readonly [string, string, ...string[]],
  facts: Pick<Instance, 'port' | 'operationsPort' | 'folder'>,
  environment: Readonly<Record<string, string>> = {},
): Instance {
  let child: ChildProcess | undefined
  let log = ''
  return {
    ...facts,
    get pid() {
      return child?.pid ?? 0
    },
    log: () => log,
    isRunning: () => child !== undefined,
    start: async () => {
      const started = spawn(process.execPath, [program, 'serve', '--config', file, ...more], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...environment },
      })
      child = started
      started.stdout.on('data', (chunk: Buffer) => {
        log += chunk.toString('utf8')
      })
      started.stderr.on('data', (chunk: Buffer) => {
        log += chunk.toString('utf8')
      })
      const from = log.length
      started.once('exit', () => {
        if (child === started) child = undefined
      })
      await waitFor(
        () => log.slice(from).includes('"msg":"ready"') || child === undefined,
        20_000,
        () => `postern did not become ready:\n${log}`,
      )
      if (child === undefined) throw new Error(`postern ended at start:\n${log}`)
    },
    stop: (signal = 'SIGTERM') =>
      new Promise((resolve) => {
        const ending = child
        if (ending === undefined) return resolve({ code: null, signal: null })
        ending.once('exit', (code, bySignal) => {
          child = undefined
          resolve({ code, signal: bySignal })
        })
        ending.kill(signal)
      }),
  }
}

/** Runs a command on the configuration of the rig's first instance. What it says; rejects with its complaint if it fails. */
export async function commandAt({ instance }: Pick<Rig, 'instance'>, ...args: readonly string[]): Promise<string> {
  const { code, stderr, stdout } = await runCommand([...args, '--config', join(instance.folder, '..', 'postern-0.yaml')])
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  return stdout.trim()
}

/** Runs a `postern` command to its end; `program` as in `RigOptions`. */
export function runCommand(
  args: readonly string[],
  input = '',
  environment: Readonly<Record<string, string>> = {},
  program = sources,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8')
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8')
    })
    child.on('error', reject)
    child.on('exit', (code) => {
      const leaks = findSecrets(`${stdout}\n${stderr}`, `postern ${args.join(' ')}`)
      if (leaks.length > 0) return reject(new Error(`secrets of this story were said:\n${leaks.join('\n')}`))
      for (const [token] of stdout.matchAll(/\bpst_\w{12}_\w{40,}/g)) noteSecret(token, 'a service token')
      for (const [url] of stdout.matchAll(/\bhttps?:\/\/\S+/g)) noteUrl(url, 'of a command')
      resolve({ code, stdout, stderr })
    })
    child.stdin.end(input)
  })
}

/** Waits until `condition` holds; the condition is looked at again every few milliseconds. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
  describe: () => string = () => 'the condition never held',
): Promise<void> {
  const until = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(describe())
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}
