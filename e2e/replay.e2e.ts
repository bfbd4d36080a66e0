/**
 * A recorded day, decided again: six apps are visited by many people through the real product, five edited policies are replayed over what it
 * recorded, and the difference is that of a naive re-evaluation, which reads the trail and decides by itself. `explain` agrees request by
 * request. What is recorded about others is read on the record.
 *
 * Short: some thousand requests of twelve people. Long: two hundred thousand of fifty.
 */

import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { Agent, createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfiguration } from '../src/config/load-configuration.ts'
import { loadPolicy } from '../src/config/load-policy.ts'
import type { PolicyDocument } from '../src/policy/document.ts'
import type { Facts } from '../src/policy/facts.ts'
import { naiveDecision } from '../src/policy/naive-decision.fixture.ts'
import { Client } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, runCommand, startRig } from './support/rig.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''
const peopleCount = isLong ? 50 : 12
const requestCount = isLong ? 205_000 : 3000
const explainedOfEach = isLong ? 6 : 2
const longMs = isLong ? 1_800_000 : 240_000

type Line = Readonly<Record<string, unknown>>
type Written = Readonly<Record<string, unknown>>

interface Change {
  readonly subject: string
  readonly sub?: string
  readonly app: string
  readonly rule?: string
  readonly count: number
  readonly was: string
  readonly becomes: string
  readonly examples: readonly string[]
}

interface Replay {
  readonly policy: { readonly from: readonly string[]; readonly to: string }
  readonly decided: number
  readonly unchanged: number
  readonly insufficient: number
  readonly insufficientBy: Readonly<Record<string, number>>
  readonly loses: readonly Change[]
  readonly gains: readonly Change[]
  readonly shifts: readonly Change[]
}

const levels = {
  mfa: { sign_in: { strength: 'mfa' } },
  managed: { device: { managed: true, reported_within: '24h' } },
  healthy: { device: { managed: true, disk_encrypted: true, reported_within: '24h' } },
  office: { network: { cidrs: ['10.0.0.0/8'] } },
}
const company = [{ name: 'restricted apps want MFA', require: ['mfa'], sensitivity: ['restricted'] }]
const apps: readonly { readonly id: string; readonly sensitivity?: string; readonly rules: readonly Written[] }[] = [
  {
    id: 'grafana',
    rules: [
      { name: 'staff', allow: { groups: ['staff'] } },
      { name: 'platform administrates', require: [{ subject: { groups: ['platform'] } }], paths: ['/admin/**'] },
    ],
  },
  {
    id: 'jenkins',
    rules: [
      { name: 'developers', allow: { groups: ['developers'] }, when: ['managed'] },
      { name: 'hooks', allow: { public: true }, methods: ['POST'], paths: ['/hook/**'] },
    ],
  },
  { id: 'notebooks', sensitivity: 'confidential', rules: [{ name: 'analysts', allow: { groups: ['analysts'] } }] },
  { id: 'payroll', sensitivity: 'restricted', rules: [{ name: 'finance', allow: { groups: ['finance'] } }] },
  {
    id: 'wiki',
    rules: [
      { name: 'staff', allow: { groups: ['staff'] } },
      { name: 'contractors read', allow: { groups: ['contractors'] }, methods: ['read'] },
      { name: 'only in the office', deny: { everyone: true }, unless: ['office'], mode: 'report' },
    ],
  },
  { id: 'data', rules: [{ name: 'staff query', allow: { groups: ['staff'] }, paths: ['/api/**'] }] },
]
const memberships = [
  ['staff', 'developers'],
  ['staff', 'finance'],
  ['staff', 'analysts', 'platform'],
  ['contractors'],
  ['contractors', 'developers'],
  ['guests'],
]

/** Five edits, each of the whole document, and which of its apps then ask for what was not recorded. */
const edits: readonly {
  readonly name: string
  readonly edit: (document: Written) => Written
  readonly lacks?: (line: Line, app: string, facts: Facts) => boolean
}[] = [
  { name: 'a rule is taken away', edit: (document) => withRules(document, 'wiki', ([staff, , ...rest]) => [staff ?? {}, ...rest]) },
  {
    name: 'a company rule keeps contractors in the office',
    edit: (document) => ({
      ...document,
      rules: [...company, { name: 'contractors in the office', deny: { groups: ['contractors'] }, unless: ['office'] }],
    }),
  },
  {
    name: 'internal apps want a healthy device',
    edit: (document) => ({
      ...document,
      rules: [...company, { name: 'healthy devices', require: ['healthy'], sensitivity: ['internal', 'confidential'] }],
    }),
    lacks: (_line, app, { device, subject }) =>
      app !== 'payroll' && subject.kind === 'person' && !device.known && device.why === 'not_gathered',
  },
  {
    name: 'some read only, and everybody reads a part',
    edit: (document) =>
      withRules(
        withRules(document, 'grafana', ([staff, ...rest]) => [{ ...staff, methods: ['read'] }, ...rest]),
        'payroll',
        (rules) => [...rules, { name: 'slips', allow: { signed_in: true }, paths: ['/slips/**'] }],
      ),
  },
  {
    name: 'an app goes away, and one asks for a claim that nobody recorded',
    edit: (document) =>
      withRules(
        { ...document, apps: (document['apps'] as readonly Written[]).filter(({ id }) => id !== 'jenkins') },
        'notebooks',
        (rules) => [...rules, { name: 'by department', allow: { claims: { department: ['science'] } } }],
      ),
    lacks: (_line, app, { subject }) => app === 'notebooks' && subject.kind === 'person',
  },
]

function withRules(document: Written, id: string, change: (rules: readonly Written[]) => readonly Written[]): Written {
  const changed = (document['apps'] as readonly Written[]).map((app) =>
    app['id'] === id ? { ...app, rules: change(app['rules'] as readonly Written[]) } : app,
  )
  return { ...document, apps: changed }
}

let rig: Rig
let provider: HostileProvider
let upstream: Server
let lines: readonly Line[]
let config: string

beforeAll(async () => {
  provider = await startHostileProvider()
  upstream = createServer((incoming, response) => incoming.resume().on('end', () => response.end('here you are')))
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  rig = await startRig({
    issuer: provider.issuer,
    provider: {
      client_secret: provider.clientSecret,
      scopes: ['openid'],
      claims: { groups: ['groups'], device_id: 'device_id', device: { managed: 'managed', disk_encrypted: 'disk_encrypted' } },
      strengths: { mfa: { acr: ['2'] } },
    },
    configuration: { trusted_proxies: ['127.0.0.0/8'] },
    policy: { levels, rules: company },
    apps: apps.map((app) => ({ ...app, upstream: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` })),
  })
  config = join(rig.instance.folder, '..', 'postern-0.yaml')
  await liveADay(await enter())
  // What was on its way to the disk is there once it has stopped.
  await rig.instance.stop()
  lines = await readTrail(join(rig.instance.folder, 'audit'))
}, longMs)

afterAll(async () => {
  await rig?.stop()
  upstream?.close()
  await provider?.stop()
})

describe('a recorded day', () => {
  test('is as long as it was meant to be', () => {
    const decided = lines.filter(({ event, facts }) => event === 'access.decided' && facts !== undefined)
    expect(decided.length).toBeGreaterThanOrEqual(requestCount)
    expect(new Set(decided.map(({ effect }) => effect)).size).toBe(3)
    expect(new Set(decided.map(({ app }) => app)).size).toBe(apps.length)
  })

  test('comes out as it did under the policy that decided it', async () => {
    const { code, replay } = await replayed(['--against', 'live', '--expect-none'])
    expect(code).toBe(0)
    expect(replay).toMatchObject({ insufficient: 0, loses: [], gains: [], shifts: [] })
    expect(replay.policy.from).toEqual([replay.policy.to])
    expect(replay.decided).toBe(replay.unchanged)
  })

  test.each(edits)(
    'changes as a naive re-evaluation says where $name',
    async ({ edit, lacks = () => false, name }) => {
      const file = join(rig.instance.folder, '..', `edit-${edits.findIndex((one) => one.name === name)}.yaml`)
      await writeFile(file, JSON.stringify(edit(rig.policy)))
      const document = await load(file)
      const naive = reevaluate(document, lacks)
      const { code, replay } = await replayed(['--policy', file])
      expect(code).toBe(0)
      expect(replay.policy.to).toBe(document.version)
      expect(countsOf(replay)).toEqual(naive.changes)
      expect(naive.changes.size).toBeGreaterThan(0)
      expect({ decided: replay.decided, insufficient: replay.insufficient }).toEqual({
        decided: naive.decided,
        insufficient: naive.insufficient,
      })
      for (const change of [...replay.loses, ...replay.gains, ...replay.shifts]) {
        const rules = naive.rulesOf(change.examples[0] ?? '')
        if (rules.length > 0) expect(rules).toContain(change.rule)
      }
      await expectExplained(file, replay)
    },
    longMs,
  )

  test('answers a pipeline by its status', async () => {
    const file = join(rig.instance.folder, '..', 'edit-0.yaml')
    expect((await replayed(['--policy', file, '--expect-none'])).code).toBe(1)
    expect(
      (
        await runCommand([
          'replay',
          '--policy',
          file,
          '--since',
          '2020-01-01',
          '--until',
          '2020-01-02',
          '--expect-none',
          '--config',
          config,
        ])
      ).code,
    ).toBe(2)
    const { code, stderr } = await runCommand(['replay', '--config', config])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--policy') as string })
  })

  test('is told to people in a page that says what it rests on', async () => {
    const { stdout } = await runCommand(['replay', '--policy', join(rig.instance.folder, '..', 'edit-0.yaml'), '--config', config])
    expect(stdout).toContain('WOULD LOSE')
    expect(stdout).toMatch(/×\s+person-\d+@corp\.example\s+wiki\s+allow → deny/)
    expect(stdout).toContain('until now by "contractors read"')
  })

  test('is the same of several folders, in several threads', async () => {
    const copy = join(rig.instance.folder, '..', 'copied-audit')
    const file = join(rig.instance.folder, '..', 'edit-1.yaml')
    await cp(join(rig.instance.folder, 'audit'), copy, { recursive: true })
    const once = await replayed(['--policy', file, '--dir', copy])
    const twice = await replayed(['--policy', file, '--dir', copy, join(rig.instance.folder, 'audit'), '--threads', '2'])
    expect(twice.replay.decided).toBe(once.replay.decided * 2)
    expect(countsOf(twice.replay)).toEqual(new Map([...countsOf(once.replay)].map(([key, count]) => [key, count * 2])))
  })

  test('is read on the record', async () => {
    const read = (await readTrail(join(rig.instance.folder, 'audit'))).filter(({ event }) => event === 'data.read')
    expect(read.map(({ what }) => what)).toContain('replay')
    expect(read[0]).toMatchObject({ actor: expect.stringMatching(/^os:.+@.+/) as string })
  })

  test('says what a rule in report mode would have done', async () => {
    const { code, stdout } = await runCommand(['rollout', '--json', '--config', config])
    expect(code).toBe(0)
    const { rollout } = JSON.parse(stdout) as { readonly rollout: readonly Line[] }
    const held = lines.filter(({ app, would }) => app === 'wiki' && would !== undefined)
    const refused = held.filter(({ effect, would }) => effect === 'allow' && (would as Line)['effect'] !== 'allow')
    expect(refused.length).toBeGreaterThan(0)
    expect(rollout).toEqual([
      expect.objectContaining({
        app: 'wiki',
        rule: 'only in the office',
        verb: 'deny',
        in_report_mode: true,
        requests: held.length,
        verdict: 'refuses',
        refused: expect.objectContaining({
          requests: refused.length,
          subject_count: new Set(refused.map(({ subject }) => (subject as Line)['sub'])).size,
        }) as unknown,
        let_in: expect.objectContaining({ requests: 0 }) as unknown,
      }),
    ])
    expect((await runCommand(['rollout', '--config', config])).stdout).toContain('Somebody would have been refused')
  })

  test('shows who has access, by which rule and when', async () => {
    const { code, stdout } = await runCommand(['access', 'review', '--format', 'csv', '--config', config])
    expect(code).toBe(0)
    const [header, ...rows] = stdout.trimEnd().split('\r\n')
    expect(header).toBe('app,subject,kind,sub,issuer,rule,today,uses,first_used,last_used,mark')
    const uses = new Map(
      rows.map((row) => row.split(',')).map(([app, , , sub, , rule, , count]) => [`${app} ${sub} ${rule}`, Number(count)]),
    )
    const allowed = lines.filter(({ effect, event }) => event === 'access.decided' && effect === 'allow')
    for (const [key, count] of countBy(allowed, ({ app, rule, subject }) => `${app} ${(subject as Line)['sub'] ?? ''} ${rule}`)) {
      expect([key, uses.get(key)]).toEqual([key, count])
    }
    expect(rows.some((row) => row.includes(',used'))).toBe(true)
  })
})

async function enter(): Promise<readonly { readonly cookies: ReadonlyMap<string, string> }[]> {
  const visitors: { readonly cookies: ReadonlyMap<string, string> }[] = []
  for (let index = 0; index < peopleCount; index += 1) {
    provider.behaviour.person = {
      sub: `person-${index}`,
      sid: `sid-${index}`,
      authTime: Math.floor(Date.now() / 1000),
      acr: index % 7 === 0 ? '1' : '2',
      claims: {
        email: `person-${index}@corp.example`,
        email_verified: true,
        groups: memberships[index % memberships.length],
        ...(index % 4 === 3 ? {} : { device_id: `laptop-${index}`, managed: index % 4 !== 2, disk_encrypted: index % 4 === 0 }),
      },
    }
    const client = new Client()
    for (const { id } of apps) await client.follow(`${rig.origin(id)}/start`)
    visitors.push({ cookies: new Map(apps.map(({ id }) => [id, client.cookieHeader(rig.origin(id))])) })
  }
  return visitors
}

const paths = ['/', '/start', '/admin/users', '/api/query', '/hook/push', '/slips/7', '/terminals/1', '/pages/9']

async function liveADay(visitors: readonly { readonly cookies: ReadonlyMap<string, string> }[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  let next = 0
  const drive = async () => {
    for (let index = next++; index < requestCount + 200; index = next++) {
      const visitor = visitors[index % visitors.length]
      // Everybody comes to every app, and in each of them to every path.
      const round = Math.floor(index / visitors.length)
      const app = apps[round % apps.length]?.id ?? ''
      const path = paths[Math.floor(round / apps.length) % paths.length] ?? '/'
      const method = (index + round) % 5 === 0 ? 'POST' : 'GET'
      // Now and then a hook of nobody's, which a public rule lets in.
      const isStranger = index % 40 === 0
      await ask(agent, {
        app: isStranger ? 'jenkins' : app,
        path: isStranger ? '/hook/push' : path,
        method: isStranger ? 'POST' : method,
        cookie: isStranger ? undefined : visitor?.cookies.get(app),
        address: (index + round) % 3 === 0 ? `10.1.0.${index % 200}` : `192.0.2.${index % 200}`,
      })
    }
  }
  await Promise.all(Array.from({ length: 16 }, drive))
  agent.destroy()
}

interface Asked {
  readonly app: string
  readonly path: string
  readonly method: string
  readonly cookie: string | undefined
  readonly address: string
}

function ask(agent: Agent, { address, app, cookie, method, path }: Asked): Promise<number> {
  const host = `${app}.corp.localhost:${rig.port}`
  const headers = {
    host,
    accept: 'application/json',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'cors',
    'x-forwarded-for': address,
    ...(method === 'POST' ? { 'content-length': '0', origin: `http://${host}` } : {}),
    ...(cookie === undefined ? {} : { cookie }),
  }
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: rig.port, path, method, headers, agent }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
    })
      .on('error', reject)
      .end()
  })
}

/** Most of a long day's lines are of no use here, and whole they would not fit. */
const wantedEvents = /"event":"(?:access\.decided|facts\.recorded|data\.read)"/
const unused = ['seq', 'prev', 'at', 'instance', 'session', 'user_agent', 'claims_at', 'claims_state', 'policy', 'trace', 'circumstances']

async function readTrail(folder: string): Promise<readonly Line[]> {
  const read: Line[] = []
  for (const chain of await readdir(folder)) {
    const files = (await readdir(join(folder, chain))).filter((name) => /\.ndjson(?:\.zst)?$/.test(name)).sort()
    for (const file of files) {
      const bytes = await readFile(join(folder, chain, file))
      for (const line of (file.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes).toString('utf8').split('\n')) {
        if (!wantedEvents.test(line)) continue
        read.push(JSON.parse(line, (key, value: unknown) => (unused.includes(key) ? undefined : value)) as Line)
      }
    }
  }
  return read
}

async function load(file: string): Promise<PolicyDocument> {
  const { value: configuration } = await loadConfiguration(config)
  if (configuration === undefined) throw new Error('the configuration has problems')
  const { problems, value } = await loadPolicy(file, { configuration })
  if (value === undefined) throw new Error(problems.map(({ message }) => message).join('\n'))
  return value
}

async function replayed(options: readonly string[]): Promise<{ readonly code: number | null; readonly replay: Replay }> {
  const { code, stderr, stdout } = await runCommand(['replay', ...options, '--json', '--config', config])
  expect(stderr).toBe('')
  return { code, replay: JSON.parse(stdout) as Replay }
}

/** How many requests of whom, in which app, go which way. */
function countsOf({ gains, loses, shifts }: Replay): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { app, becomes, count, sub, was } of [...loses, ...gains, ...shifts]) {
    const key = `${sub ?? 'nobody'} ${app}: ${was} to ${becomes}`
    counts.set(key, (counts.get(key) ?? 0) + count)
  }
  return counts
}

interface Reevaluated {
  readonly changes: ReadonlyMap<string, number>
  readonly decided: number
  readonly insufficient: number
  rulesOf(request: string): readonly string[]
}

/** The whole trail once more, by nothing that the product does: its lines, the document, and the naive decision. */
function reevaluate(document: PolicyDocument, lacks: (line: Line, app: string, facts: Facts) => boolean): Reevaluated {
  const recorded = new Map(lines.filter(({ event }) => event === 'facts.recorded').map(({ facts, hash }) => [hash, String(facts)]))
  const rules = new Map<string, readonly string[]>()
  const changes = new Map<string, number>()
  let decided = 0
  let insufficient = 0
  for (const line of lines) {
    if (line['event'] !== 'access.decided' || line['facts'] === undefined) continue
    const facts = factsOf(line, recorded)
    const app = document.apps.find(({ address }) => address.hostname === line['host'])
    if (app !== undefined && lacks(line, app.id, facts)) {
      insufficient += 1
      continue
    }
    decided += 1
    const again = app === undefined ? { effect: 'deny', rules: [] } : naiveDecision({ ...document, apps: [app] }, facts).decided
    rules.set(String(line['request']), again.rules)
    if (again.effect === line['effect']) continue
    const key = `${(line['subject'] as Line)['sub'] ?? 'nobody'} ${line['app']}: ${line['effect']} to ${again.effect}`
    changes.set(key, (changes.get(key) ?? 0) + 1)
  }
  return { changes, decided, insufficient, rulesOf: (id) => rules.get(id) ?? [] }
}

function factsOf(line: Line, recorded: ReadonlyMap<unknown, string>): Facts {
  const hashes = line['facts'] as Readonly<Record<string, string>>
  const read = (name: string): unknown => JSON.parse(recorded.get(hashes[name]) ?? 'null')
  const subject = read('subject') as { claims?: unknown }
  const pairs = (Array.isArray(subject.claims) ? subject.claims : (subject.claims as { value?: unknown })?.value) as
    | [string[], unknown][]
    | undefined
  const claims = Object.fromEntries((pairs ?? []).map(([path, value]) => [path[0], value]))
  const unknown = { known: false, why: 'not_gathered' } as const
  return {
    subject: { ...subject, claims: Array.isArray(subject.claims) ? claims : { known: true, value: claims } },
    signIn: read('sign_in'),
    device: read('device'),
    request: { method: line['method'], methodClass: line['method_class'], path: line['path'] },
    environment: {
      address: line['address'],
      at: Date.parse(String(line['decided_at'])),
      country: unknown,
      asn: unknown,
      scheme: 'http',
      tlsVersion: unknown,
      client: { browser: unknown, browserVersion: unknown, os: unknown },
    },
  } as unknown as Facts
}

/** `explain` of recorded requests, with the edited policy in force, says of each what the replay counted it as. */
async function expectExplained(policy: string, replay: Replay): Promise<void> {
  const other = join(rig.instance.folder, '..', 'explained.yaml')
  await writeFile(other, JSON.stringify({ ...(JSON.parse(await readFile(config, 'utf8')) as Written), policy }), { mode: 0o600 })
  for (const { becomes, examples, rule } of [...replay.loses, ...replay.gains, ...replay.shifts].slice(0, explainedOfEach)) {
    const { stdout } = await runCommand(['explain', examples[0] ?? '', '--json', '--config', other])
    const { decision, notes } = JSON.parse(stdout) as { decision?: { effect: string; rule?: string }; notes: readonly string[] }
    // An app that the policy has no more cannot be explained, and the explanation says so.
    if (decision === undefined) expect(notes).toContain('its app is not in the present policy')
    else expect({ effect: decision.effect, rule: decision.rule }).toEqual({ effect: becomes, rule })
  }
}

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1)
  return counts
}
