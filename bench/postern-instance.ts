/**
 * A complete Postern for benchmarks: generated configuration, a policy of twenty rules for the app, the embedded store, audit on, and
 * one signed-in session that is put into the store before the instance starts. No provider is needed: the claims stay fresh for longer
 * than any benchmark runs.
 */

import { fork } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfiguration, printProblems } from '../src/config/load-configuration.ts'
import { createKeysFile, loadKeys } from '../src/keys-file.ts'
import { createLive } from '../src/live/create-live.ts'
import { createLogger } from '../src/log.ts'
import { createSessions, keepEndsForSeconds } from '../src/session/session-service.ts'
import { createEmbeddedStore } from '../src/stores/embedded.ts'
import { type MeasuredProcess, measured, once } from './measured-process.ts'

export interface PosternInstance extends MeasuredProcess {
  readonly port: number
  readonly host: string
  /** `Cookie` header of the signed-in person. */
  readonly cookie: string
  /** From the start of the process until it says that it is ready. */
  readonly startMs: number
  /** Writes another policy. Resolves once the log holds `message` as often as it does plus one. */
  readonly change: (policy: string, message: string) => Promise<void>
  /** Asks for the next answer to a message of a preloaded script. */
  readonly ask: (question: string) => Promise<unknown>
}

/** Writes a policy whose app `https://` or `http://` URL and upstream are these. */
export type WritePolicy = (appUrl: string, upstreamOrigin: string) => string

/** Starts it and resolves once it answers. */
export async function startPostern(
  upstreamOrigin: string,
  nodeOptions: readonly string[],
  write: WritePolicy = twentyRules,
): Promise<PosternInstance> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-bench-'))
  const [port, operationsPort] = [await findFreePort(), await findFreePort()]
  const host = `bench.corp.localhost:${port}`
  const configFile = join(folder, 'postern.yaml')
  await writeFile(configFile, configuration(port, operationsPort))
  const policyFile = join(folder, 'policy.yaml')
  await writeFile(policyFile, write(`http://${host}`, upstreamOrigin))
  const cookie = await signIn(configFile, `http://${host}`)

  const startedAt = performance.now()
  const entry = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
  const child = fork(entry, ['serve', '--config', configFile, '--log-level', 'info'], {
    execArgv: [...nodeOptions, '--import', new URL('./report-cpu.ts', import.meta.url).href],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  let output = ''
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (data: Buffer) => {
      output += data.toString()
      if (output.includes('"msg":"ready"')) resolve()
    })
    child.on('exit', (code) => reject(new Error(`postern exited with ${code}: ${output}`)))
  })
  const startMs = performance.now() - startedAt
  const count = (message: string) => output.split(`"msg":"${message}"`).length
  const change = async (text: string, message: string) => {
    const wanted = count(message) + 1
    await writeFile(policyFile, text)
    while (count(message) < wanted) await once(child.stdout ?? child, 'data')
  }
  const ask = async (question: string) => {
    child.send(question)
    return (await once(child, 'message'))[0]
  }
  const stop = async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
  return { ...measured(child), stop, port, host, cookie, startMs, change, ask }
}

function configuration(port: number, operationsPort: number): string {
  return `
url: http://access.corp.localhost:${port}
listen: 127.0.0.1:${port}
operations: 127.0.0.1:${operationsPort}
provider: { issuer: "http://127.0.0.1:1/", client_id: bench, client_secret: not-used-by-this-bench, claims: { groups: [groups] } }
session: { store: embedded, refresh_after: 6h, claims_max_age: 6h }
keys_file: keys.json
data_dir: data
policy: policy.yaml
`
}

/** Twenty rules that touch the app: the one that lets in is neither the first nor the only one that has to be looked at. `more`: a key of the app. */
export function twentyRules(url: string, upstream: string, more = ''): string {
  const teams = Array.from({ length: 12 }, (_, i) => `      - { name: team ${i}, allow: { groups: [team-${i}] }, paths: [/teams/${i}/**] }`)
  const denied = Array.from({ length: 5 }, (_, i) => `      - { name: not for ${i}, deny: { groups: [barred-${i}] }, paths: [/api/**] }`)
  return `
rules:
  - { name: contractors stay out, deny: { groups: [contractors] } }
apps:
  - id: bench
    url: ${url}
    upstream: ${upstream}
    ${more}
    rules:
${[...teams, ...denied].join('\n')}
      - { name: staff, allow: { groups: [staff] }, methods: [read], paths: [/api/**] }
      - { name: administrators, allow: { groups: [admins] } }
`
}

async function signIn(configFile: string, appOrigin: string): Promise<string> {
  const { value, problems } = await loadConfiguration(configFile)
  if (value === undefined) throw new Error(printProblems(problems, 'error'))
  createKeysFile(value.keysFile, Date.now())
  const ring = loadKeys(value.keysFile, Date.now())
  const store = createEmbeddedStore({ file: join(value.dataDir, 'store.sqlite'), now: () => Date.now() })
  const live = createLive({
    store,
    loadLocks: async () => [],
    monotonicNow: () => performance.now(),
    keepSeconds: keepEndsForSeconds(value.session),
    log: createLogger('error'),
  })
  const sessions = createSessions({
    store,
    live,
    keys: () => ring,
    now: () => Date.now(),
    monotonicNow: () => performance.now(),
    settings: value.session,
    providerSettings: value.provider,
    refresh: () => Promise.reject(new Error('nothing is refreshed here')),
    onEvent: () => undefined,
    log: createLogger('error'),
  })
  const { session } = await sessions.begin(
    {
      issuer: value.provider.issuer.href,
      sub: '7f6c2d1e-alice',
      claims: {
        email: 'alice@corp.example',
        email_verified: true,
        name: 'Alice Example',
        preferred_username: 'alice',
        groups: ['staff', 'engineering', 'wiki-editors', 'on-call'],
      },
      signIn: { at: Date.now(), authTime: undefined, acr: undefined, amr: ['pwd'] },
      tokens: { idToken: 'a.b.c', accessToken: 'a', refreshToken: undefined },
      providerSid: undefined,
    },
    { address: '127.0.0.1', userAgent: 'bench' },
  )
  const secret = await sessions.openAppSession(session.id, appOrigin)
  await sessions.close()
  await live.close()
  await store.close()
  if (secret === undefined) throw new Error('the session could not be opened')
  return `postern-app=${secret}`
}

/** Asked of the system and let go again; the gap is a moment. */
async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
