/** `postern check` and its live probes, against real servers on loopback. */

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createUpstreamLookup } from '../compose-reach.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { PosternError } from '../errors.ts'
import { isSafeEndpoint } from '../oidc/discovery.ts'
import { silentLog } from '../session/session.fixture.ts'
import { describeOutcome, registerCheck, runCheck } from './check.ts'
import { createLiveProbes, type StoreFacts } from './live-probes.ts'
import type { ProbeResult } from './probe-result.ts'
import { checkMetadata } from './provider-probes.ts'
import { registerSchema } from './schema.ts'

const marker = 'MARKER-client-secret-9913'
let folder: string
const servers: Server[] = []

beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('POSTERN_')) delete process.env[name]
  folder = await mkdtemp(join(tmpdir(), 'postern-check-'))
})
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
  process.exitCode = undefined
  await rm(folder, { recursive: true, force: true })
})

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle)
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

interface ProviderSetting {
  readonly tokenAnswer?: readonly [number, unknown]
  readonly metadata?: Record<string, unknown>
  readonly date?: string
}

/** A provider that answers discovery and refuses every code. */
async function serveProvider(
  setting: ProviderSetting = {},
): Promise<{ origin: string; tokenRequests: { body: string; authorization: string }[] }> {
  const tokenRequests: { body: string; authorization: string }[] = []
  const origin: string = await serve((request, response) => {
    response.setHeader('content-type', 'application/json')
    if (setting.date !== undefined) response.setHeader('date', setting.date)
    if (request.url === '/.well-known/openid-configuration') {
      const metadata = {
        issuer: origin,
        authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`,
        jwks_uri: `${origin}/jwks`,
        end_session_endpoint: `${origin}/end`,
        backchannel_logout_supported: true,
        grant_types_supported: ['authorization_code', 'refresh_token'],
        ...setting.metadata,
      }
      response.end(JSON.stringify(metadata))
      return
    }
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += String(chunk)
    })
    request.on('end', () => {
      tokenRequests.push({ body, authorization: request.headers.authorization ?? '' })
      const [status, answer] = setting.tokenAnswer ?? [400, { error: 'invalid_grant' }]
      response.statusCode = status
      response.end(JSON.stringify(answer))
    })
  })
  return { origin, tokenRequests }
}

async function writeFiles(issuer: string, upstream: string, store = 'embedded'): Promise<string> {
  const config = join(folder, 'postern.yaml')
  await writeFile(join(folder, 'secret'), marker, { mode: 0o600 })
  await writeFile(
    config,
    `url: http://access.corp.localhost:1\nlisten: 127.0.0.1:2\nprovider: { issuer: "${issuer}", client_id: postern, client_secret_file: secret }\nsession: { store: "${store}" }\n`,
  )
  await writeFile(
    join(folder, 'policy.yaml'),
    `apps:\n  - { id: wiki, url: "http://wiki.corp.localhost:1", upstream: "${upstream}", rules: [{ allow: { groups: [staff] } }] }\n`,
  )
  return config
}

const now = () => Date.now()

/** Live checks with a store that says `facts` of itself and where nobody was ever seen. */
const probesWith = (facts: StoreFacts | undefined = undefined) => ({
  now,
  probes: createLiveProbes({
    lookupOf: createUpstreamLookup,
    now,
    log: silentLog,
    storeReport: async () => facts,
    openLife: async () => undefined,
  }),
})

function outcomeOf(live: readonly ProbeResult[] | undefined, probe: string): string | undefined {
  return live?.find((result) => result.probe === probe)?.outcome
}

describe('check', () => {
  it('answers 0 for good files, 1 for problems, 2 for a file that is not there', async () => {
    const config = await writeFiles('https://id.corp.example', 'http://wiki.internal:1')
    expect((await runCheck({ config }, probesWith())).status).toBe(0)
    await writeFile(join(folder, 'policy.yaml'), 'apps: [{ id: wiki }]\n')
    const broken = await runCheck({ config }, probesWith())
    expect(broken.status).toBe(1)
    expect(broken.summary.problems.map(({ path }) => path)).toEqual(['apps[0].url', 'apps[0].upstream'])
    expect((await runCheck({ config: join(folder, 'none.yaml') }, probesWith())).status).toBe(2)
  })

  it('reports both files at once', async () => {
    const config = await writeFiles('http://id.corp.example', 'http://wiki.internal:1')
    await writeFile(join(folder, 'policy.yaml'), 'aps: []\n')
    const { summary } = await runCheck({ config }, probesWith())
    expect(summary.problems.map(({ file }) => file)).toEqual([config, join(folder, 'policy.yaml')])
  })

  it('reports the policy also where the configuration cannot be read as one, or names it wrongly', async () => {
    const config = await writeFiles('https://id.corp.example', 'http://wiki.internal:1')
    await writeFile(join(folder, 'policy.yaml'), 'aps: []\n')
    for (const text of ['url: "https://access.corp.example\n', '- a list\n', 'policy: 5\n']) {
      await writeFile(config, text)
      const { summary, status } = await runCheck({ config }, probesWith())
      expect(new Set(summary.problems.map(({ file }) => file)), text).toEqual(new Set([config, join(folder, 'policy.yaml')]))
      expect(status).toBe(1)
    }
  })

  it('says when it left the live checks out, and why', async () => {
    const config = await writeFiles('https://id.corp.example', 'ftp://x')
    expect(describeOutcome(await runCheck({ config, live: true }, probesWith()))).toContain('nothing was tried live')
  })

  it('lets warnings count only when strict', async () => {
    const config = await writeFiles('https://id.corp.example', 'http://wiki.internal:1')
    await writeFile(join(folder, 'policy.yaml'), 'apps: [{ id: wiki, url: "http://wiki.corp.localhost", upstream: "http://w:1" }]\n')
    expect((await runCheck({ config }, probesWith())).status).toBe(0)
    expect((await runCheck({ config, strict: true }, probesWith())).status).toBe(1)
  })

  it('prints one JSON object and sets the exit status', async () => {
    const config = await writeFiles('https://id.corp.example', 'http://169.254.169.254')
    const lines: string[] = []
    vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line))
    const program = new Command().exitOverride()
    registerCheck(program, probesWith())
    await program.parseAsync(['node', 'postern', 'check', '--config', config, '--json'])
    expect(process.exitCode).toBe(1)
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ ok: false, config, problems: [{ file: join(folder, 'policy.yaml'), line: 2 }] })
    await program.parseAsync(['node', 'postern', 'check', '--config', config])
    expect(lines[1]).toMatch(/policy\.yaml:2:\d+: error: .*\n {4}at apps\[0\]\.upstream\n.*1 problem, 0 warnings$/s)
  })
})

describe('check --live', () => {
  it('is all good where everything answers', async () => {
    const provider = await serveProvider()
    const upstream = await serve((_request, response) => response.end())
    const outcome = await runCheck({ config: await writeFiles(provider.origin, upstream), live: true }, probesWith())
    const { live } = outcome.summary
    for (const probe of ['discovery', 'clock', 'client secret', 'store', 'upstream of wiki'])
      expect(outcomeOf(live, probe), probe).toBe('good')
    expect(provider.tokenRequests).toHaveLength(1)
    expect(provider.tokenRequests[0]?.body).toContain('grant_type=authorization_code')
    expect(describeOutcome(outcome)).not.toContain(marker)
    expect(JSON.stringify(outcome.summary)).not.toContain(marker)
  })

  it.each([
    ['a refused secret', { tokenAnswer: [401, { error: 'invalid_client', error_description: 'x' }] }, 'client secret', 'problem'],
    ['a refused secret as Keycloak says it', { tokenAnswer: [400, { error: 'unauthorized_client' }] }, 'client secret', 'problem'],
    ['an answer that tells nothing', { tokenAnswer: [500, {}] }, 'client secret', 'unknown'],
    ['another issuer', { metadata: { issuer: 'https://other.example' } }, 'discovery', 'problem'],
    ['a clock that is a minute off', { date: new Date(Date.now() - 60_000).toUTCString() }, 'clock', 'problem'],
    ['a clock that is ten seconds off', { date: new Date(Date.now() + 10_000).toUTCString() }, 'clock', 'warning'],
    ['no refresh tokens', { metadata: { grant_types_supported: ['authorization_code'] } }, 'refresh token', 'warning'],
    ['no PKCE', { metadata: { code_challenge_methods_supported: ['plain'] } }, 'PKCE', 'problem'],
    ['no back-channel logout', { metadata: { backchannel_logout_supported: false } }, 'back-channel logout', 'warning'],
    ['no end-session endpoint', { metadata: { end_session_endpoint: undefined } }, 'sign-out', 'warning'],
  ] as const)('notices %s', async (_name, setting, probe, expected) => {
    const provider = await serveProvider(setting as ProviderSetting)
    const { summary, status } = await runCheck(
      { config: await writeFiles(provider.origin, 'http://127.0.0.1:9'), live: true },
      probesWith(),
    )
    expect(outcomeOf(summary.live, probe)).toBe(expected)
    expect(status).toBe(1)
  })

  it('sends the client secret to nobody but the configured provider, and never in the clear', async () => {
    const thief = await serveProvider()
    const elsewhere = `http://thief.example:${new URL(thief.origin).port}/token`
    for (const metadata of [
      { issuer: thief.origin, token_endpoint: `${thief.origin}/token` },
      { token_endpoint: 'ftp://127.0.0.1/token' },
    ]) {
      const provider = await serveProvider({ metadata })
      const config = await writeFiles(provider.origin, 'http://127.0.0.1:9')
      const { summary } = await runCheck({ config, live: true }, probesWith())
      expect(summary.live?.find(({ probe }) => probe === 'client secret')?.message).toContain('not tried')
    }
    expect(thief.tokenRequests).toEqual([])
    expect(isSafeEndpoint(elsewhere, false)).toBe(false)
  })

  it('takes no issuer for good that the sign-in will refuse', async () => {
    const provider = await serveProvider()
    const config = await writeFiles(`${provider.origin}/realms/corp/`, 'http://127.0.0.1:9')
    const { value } = await loadConfiguration(config)
    if (value === undefined) throw new Error('the configuration does not load')
    const stated = (issuer: string) => [...checkMetadata(value, { issuer })][0]?.outcome
    expect(stated(`${provider.origin}/realms/corp`)).toBe('problem')
  })

  it('notices a provider and an upstream that are down, and a store that forgets', async () => {
    const config = await writeFiles('http://127.0.0.1:9', 'http://127.0.0.1:9', 'redis://127.0.0.1:7')
    const { summary, status } = await runCheck({ config, live: true }, probesWith({ evictionPolicy: 'allkeys-lru', persistence: 'none' }))
    expect(status).toBe(1)
    expect(outcomeOf(summary.live, 'discovery')).toBe('problem')
    expect(outcomeOf(summary.live, 'upstream of wiki')).toBe('problem')
    expect(outcomeOf(summary.live, 'store eviction')).toBe('warning')
    expect(outcomeOf(summary.live, 'store persistence')).toBe('warning')
  })

  it('notices a store that does not answer', async () => {
    const config = await writeFiles('http://127.0.0.1:9', 'http://127.0.0.1:9', 'redis://127.0.0.1:7')
    const probes = createLiveProbes({
      lookupOf: createUpstreamLookup,
      now,
      log: silentLog,
      storeReport: async () => Promise.reject(Object.assign(new Error(`redis://:${marker}@x`), { code: 'ECONNREFUSED' })),
      openLife: async () => Promise.reject(new PosternError('session_store_unavailable', `redis://:${marker}@x`)),
    })
    const { summary } = await runCheck({ config, live: true }, { probes, now })
    expect(outcomeOf(summary.live, 'store')).toBe('problem')
    expect(outcomeOf(summary.seen, 'people')).toBe('unknown')
    expect(JSON.stringify(summary)).not.toContain(marker)
  })

  it('notices an upstream that does not speak TLS', async () => {
    const server = createTcpServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400\r\n\r\n'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const provider = await serveProvider()
      const config = await writeFiles(provider.origin, `https://127.0.0.1:${(server.address() as AddressInfo).port}`)
      const { summary } = await runCheck({ config, live: true }, probesWith())
      expect(outcomeOf(summary.live, 'upstream of wiki')).toBe('problem')
    } finally {
      server.close()
    }
  })

  it('tries nothing while the files have problems', async () => {
    const config = await writeFiles('https://id.corp.example', 'ftp://x')
    const { summary } = await runCheck({ config, live: true }, probesWith())
    expect(summary.live).toBeUndefined()
  })
})

describe('schema', () => {
  it.each(['config', 'policy'])('prints the JSON Schema of %s', async (file) => {
    const chunks: string[] = []
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => chunks.push(String(chunk)) > 0)
    const program = new Command().exitOverride()
    registerSchema(program)
    await program.parseAsync(['node', 'postern', 'schema', file])
    vi.restoreAllMocks()
    expect(JSON.parse(chunks.join(''))).toMatchObject({ type: 'object', additionalProperties: false })
  })
})
