/** What the composition root connects behind the console: publishing asks the gates, and the gates know who was in the console. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Asker } from './administration/asker.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import { personAsker } from './administration/policy.fixture.ts'
import { createTokens, type TokenRecord } from './administration/tokens.ts'
import { createEnvironmentReader } from './attributes/environment-facts.ts'
import { composeAccess } from './compose-access.ts'
import { type ComposedConsole, composeConsole } from './compose-console.ts'
import { policyWith } from './compose-policy.fixture.ts'
import { composePolicy } from './compose-policy.ts'
import { loadConfiguration, printProblems } from './config/load-configuration.ts'
import { createCarryOut } from './control/operations/carry-out.ts'
import type { Outcome } from './control/operations/operation.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { createLive } from './live/create-live.ts'
import type { Facts } from './policy/facts.ts'
import { facts } from './policy/policy.fixture.ts'
import { openEmbeddedPlace, silentLog } from './session/session.fixture.ts'

const policyFor = (network: string) => `levels: { office: { network: { cidrs: ["${network}"] } } }\n${policyWith('staff')}`
const issuer = 'https://login.corp.example'

let console: ComposedConsole
let closers: (() => unknown)[]
let isWritten: boolean
beforeEach(async () => {
  isWritten = true
  closers = []
  const folder = await mkdtemp(join(tmpdir(), 'postern-console-'))
  closers.push(() => rm(folder, { recursive: true, force: true }))
  createKeysFile(join(folder, 'keys.json'), Date.now())
  await mkdir(join(folder, 'policy'))
  await writeFile(join(folder, 'policy', 'policy.yaml'), policyFor('192.0.2.0/24'))
  await writeFile(
    join(folder, 'postern.yaml'),
    `url: https://access.corp.example
session: { store: embedded }
keys_file: keys.json
data_dir: data
policy: managed
policy_seed: policy
upstreams: { allow: ["*.internal"] }
console: { roles: { admin: { groups: [postern-admins] } }, require: [office] }
provider: { issuer: ${issuer}, client_id: postern, client_secret: a-client-secret-0123456789abcdef }
`,
    { mode: 0o600 },
  )
  const { problems, value: configuration } = await loadConfiguration(join(folder, 'postern.yaml'), {})
  if (configuration === undefined) throw new Error(printProblems(problems, 'error'))
  const place = await openEmbeddedPlace()
  closers.push(() => place.close())
  const ring = loadKeys(configuration.keysFile, Date.now())
  const sealed = { store: place.store, keys: () => ring, log: silentLog }
  const common = { ...sealed, configuration, now: Date.now, monotonicNow: () => performance.now() }
  const record = () => undefined
  const audit = { record, settle: async () => isWritten, isWritable: () => true, segment: () => 1, close: async () => undefined }
  const live = createLive({ ...common, loadLocks: async () => [], keepSeconds: 3600 })
  closers.push(() => live.close())
  const policy = await composePolicy({ ...common, lookEveryMs: 50, onReload: record, revisions: { ...common, live, audit, record } })
  closers.push(() => policy.close())
  const noEnds = { endSessions: async () => ({ ended: 0 }) as never, endSubject: async () => ({ ended: 0 }) as never }
  console = composeConsole({
    ...{ ...common, live, audit, policy, version: '1.2.3' },
    access: composeAccess({ ...common, ends: noEnds, record }),
    tokens: createTokens({ ...common, records: createDurableRecords<TokenRecord>('token', sealed), record }),
    readEnvironment: createEnvironmentReader({}),
    localConnections: () => ({ list: () => ({ entries: [], more: 0, byApp: [] }), count: () => 0, cut: () => false }) as never,
    checkReadiness: async () => [],
    findWarnings: () => ({}),
  })
  closers.push(() => console.close())
  await live.confirm()
})
afterEach(async () => {
  for (const close of closers.toReversed()) await close()
})

const ada: Asker = { ...personAsker('ada'), subject: { issuer, sub: 'ada' } }

async function ask(id: string, input: object): Promise<Outcome<Record<string, unknown>>> {
  const operation = console.api.operations.find((one) => one.id === id)
  if (operation === undefined) throw new TypeError(`there is no ${id}`)
  return (await createCarryOut()(operation, input, ada)) as Outcome<Record<string, unknown>>
}

it('lets nobody publish unasked what takes the console from an admin whom it let in', async () => {
  const bare = facts({
    kind: 'person',
    issuer,
    sub: 'ada',
    email: { known: true, value: 'ada@corp.example' },
    groups: { known: true, value: ['postern-admins'] },
    claims: { known: true, value: {} },
    claimsAt: Date.now(),
  })
  const inOffice: Facts = { ...bare, environment: { ...bare.environment, at: Date.now(), address: '192.0.2.7' } }
  expect(await console.roles.decide(inOffice)).toMatchObject({ outcome: 'held', roles: ['admin'] })
  const files = [{ path: 'policy.yaml', text: policyFor('198.51.100.0/24') }]
  const wish = { files, predecessor: 1, comment: 'another office' }
  expect(await ask('policy.push', wish)).toMatchObject({
    outcome: 'refused',
    problem: 'confirmation_needed',
    detail: { gates: [{ word: 'all admins' }, { word: 'yes, my own access' }] },
  })
  const confirmed = await ask('policy.push', { ...wish, confirmations: ['all admins', 'yes, my own access'] })
  expect(confirmed).toMatchObject({ outcome: 'done', value: { outcome: 'published', revision: { number: 2 } } })
})

it('hands nothing out by an operation whose event does not reach the disk', async () => {
  isWritten = false
  await expect(ask('overview.get', {})).rejects.toMatchObject({ code: 'audit_unavailable' })
  isWritten = true
  expect(await ask('overview.get', {})).toMatchObject({ outcome: 'done' })
})
