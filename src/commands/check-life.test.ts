/**
 * `postern check --live` against people who signed in and devices that reported, in a store as an instance leaves it: embedded, held by a
 * running instance, and Redis. Everything there was put there by the use cases themselves.
 */

import { existsSync, mkdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startRedis } from '../../e2e/support/redis.ts'
import { type DeviceInput, parseDeviceDefinition } from '../administration/device-definition.ts'
import { createSigningKey, reportClaims, signAs } from '../administration/devices.fixture.ts'
import { createDevices, type DeviceRecord } from '../administration/devices.ts'
import { createDurableRecords } from '../administration/durable-records.ts'
import { createPostureReports } from '../administration/posture-report.ts'
import { liveProbes } from '../compose-life.ts'
import { now } from '../compose-machine.ts'
import { listenForAdministration, openAdministeredStore, openStore } from '../compose-store.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { parseManagementReport, parseSignedReport } from '../config/posture-report-schema.ts'
import { createKeysFile, loadKeys } from '../keys-file.ts'
import { browserOrigin, createTestSessions, signedInAs, silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { describeOutcome, runCheck } from './check.ts'
import type { ProbeResult } from './probe-result.ts'

let folder: string
let config: string
const cleanUps: (() => unknown)[] = []

beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('POSTERN_')) delete process.env[name]
  folder = await mkdtemp(join(tmpdir(), 'postern-life-'))
  config = join(folder, 'postern.yaml')
  cleanUps.push(() => rm(folder, { recursive: true, force: true }))
})
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

interface Files {
  readonly provider?: string
  readonly store?: string
  readonly more?: string
}

async function configure(policy: string, { provider = '', store = 'embedded', more = '' }: Files = {}): Promise<InstanceConfiguration> {
  await writeFile(join(folder, 'policy.yaml'), policy)
  await writeFile(join(folder, 'secret'), 'K7d02hqTz91mWc4x', { mode: 0o600 })
  await writeFile(
    config,
    `url: http://access.corp.localhost:1
listen: 127.0.0.1:2
provider: { issuer: "http://127.0.0.1:9", client_id: postern, client_secret_file: secret, ${provider} }
session: { store: "${store}" }
data_dir: data
keys_file: keys.json
${more}
`,
  )
  const { value, problems } = await loadConfiguration(config)
  if (value === undefined) throw new Error(JSON.stringify(problems))
  return value
}

const wiki = (rules: string) =>
  `apps:\n  - { id: wiki, url: "http://wiki.corp.localhost:1", upstream: "http://127.0.0.1:9", rules: [${rules}] }\n`
const identified = 'claims: { device_id: device }'
const nothing = async () => undefined

/** Does what people and devices do, over a store, and leaves that to the caller. */
async function live(store: SessionStore, configuration: InstanceConfiguration) {
  createKeysFile(configuration.keysFile, now())
  const ring = loadKeys(configuration.keysFile, now())
  const { sessions } = createTestSessions({ store, clock: { now, move: () => undefined } }, ring)
  cleanUps.push(() => sessions.close())
  const records = createDurableRecords<DeviceRecord>('device', { store, keys: () => ring, log: silentLog })
  const devices = createDevices({
    records,
    now,
    onEvent: () => undefined,
    tell: nothing,
    lock: nothing,
    unlock: nothing,
    endSessions: nothing,
  })
  const reports = createPostureReports({
    devices,
    forms: { signed: parseSignedReport, management: parseManagementReport },
    accessUrl: configuration.url,
    now,
    onEvent: () => undefined,
    onAccepted: () => undefined,
  })
  return {
    signIn: (sub: string, claims: Record<string, unknown>, signIn: { acr?: string; authTime?: number; amr?: readonly string[] } = {}) =>
      sessions.begin(
        signedInAs(sub, {
          claims: { sub, email: `${sub}@corp.example`, email_verified: true, ...claims },
          signIn: { at: now(), authTime: signIn.authTime, acr: signIn.acr, amr: signIn.amr ?? [] },
        }),
        browserOrigin,
      ),
    async register(input: DeviceInput, posture?: object) {
      const key = createSigningKey()
      const definition = parseDeviceDefinition({ ...input, publicKey: key.publicPem })
      if ('problems' in definition) throw new Error(definition.problems.join())
      expect(await devices.register(definition, 'os:admin@test')).toEqual([])
      if (posture === undefined) return
      const claims = reportClaims(input.id, Math.floor(now() / 1000) * 1000, posture, { aud: configuration.url.origin })
      const origin = { requestId: 'r', address: '192.0.2.1' }
      expect(await reports.acceptSigned(input.id, signAs(key, claims), origin)).toMatchObject({ outcome: 'accepted' })
    },
  }
}

/** The same over the embedded store, closed afterwards as by an instance that stopped. */
async function liveEmbedded(configuration: InstanceConfiguration, work: (life: Awaited<ReturnType<typeof live>>) => Promise<unknown>) {
  mkdirSync(configuration.dataDir, { recursive: true })
  const store = await openStore(configuration, { now, log: silentLog })
  await work(await live(store, configuration))
  await store.close()
}

async function check(): Promise<readonly ProbeResult[]> {
  const { summary } = await runCheck({ config, live: true }, { probes: liveProbes(silentLog), now })
  expect(summary.problems).toEqual([])
  return summary.seen ?? []
}

/** `outcome message` of the results of one probe. */
const said = (results: readonly ProbeResult[], probe: string) =>
  results.filter((result) => result.probe === probe).map(({ message, outcome }) => `${outcome} ${message}`)

describe('names that no sign-in carried', () => {
  it('are said with the nearest that one did', async () => {
    const configuration = await configure(
      wiki(`
        { name: money, allow: { groups: [finance, staff] } },
        { name: north, allow: { claims: { office: berlin, desk: "7" } } },
        { name: mail, allow: { domains: [corp.exmaple] } },
        { name: one, allow: { users: [ALICE@corp.example, zoe@corp.example] } },
        { name: text, allow: { groups: [staff] }, when: [{ expression: "subject.claims.department == 'it'" }] }`),
      { more: 'console: { roles: { admin: { groups: [postern-admins] } } }' },
    )
    await liveEmbedded(configuration, async ({ signIn }) => {
      await signIn('alice', { groups: ['/finance', 'staff'], office: 'Berlin', desk: 7 })
      await signIn('bob', { groups: ['staff'] })
    })
    const results = await check()
    expect(said(results, 'people')).toEqual(['good 2 people on record were read'])
    expect(said(results, 'groups')).toEqual([
      'warning no sign-in on record carried `finance`; seen: `/finance`',
      'warning no sign-in on record carried `postern-admins`; seen: `/finance`, `staff`',
    ])
    expect(said(results, 'claims')).toEqual([
      'warning the claim `office` was never `berlin`; seen: `Berlin`',
      'warning the claim `desk` was never the string `7`; seen: the number',
      'warning no sign-in on record carried the claim `department`',
    ])
    expect(said(results, 'e-mail')).toEqual([
      'unknown not seen yet: `zoe@corp.example`',
      'warning nobody on record has an address at `corp.exmaple`; seen: `corp.example`',
    ])
    expect(results.find(({ probe }) => probe === 'groups')?.hint).toBe('asked for by rule `money` of `wiki`')
  })

  it('are said once where the provider states no groups, or vouches for no address, at all', async () => {
    const configuration = await configure(wiki('{ allow: { groups: [a, b, c] } }, { allow: { users: [alice@corp.example] } }'))
    await liveEmbedded(configuration, async ({ signIn }) => {
      await signIn('alice', { email_verified: false, roles: ['a'] })
    })
    const results = await check()
    expect(said(results, 'groups')).toEqual([
      'warning no sign-in on record carried groups in `groups`: every rule about groups is unknown for everybody',
    ])
    expect(said(results, 'e-mail')).toEqual(['warning the provider vouched for no e-mail address: `users` and `domains` match nobody'])
  })

  it('are no mistake where services may be meant', async () => {
    const configuration = await configure(
      `services: { b: { jwt: { issuer: "https://auth.example.com", audience: x, scopes_all: [r] } } }\n${wiki('{ allow: { claims: { azp: b } } }')}`,
    )
    await liveEmbedded(configuration, ({ signIn }) => signIn('alice', {}))
    expect(said(await check(), 'claims')).toEqual(['unknown no sign-in on record carried the claim `azp`'])
  })

  it('are strengths, too: whatever was ever stated counts, not only the last', async () => {
    const strengths = 'strengths: { mfa: { acr: ["2"], amr: [otp] }, hard: { acr: ["9"], amr: [hwk] } }'
    const configuration = await configure(
      wiki(`
        { name: a, allow: { signed_in: true }, when: [{ sign_in: { strength: mfa } }] },
        { name: b, allow: { signed_in: true }, when: [{ sign_in: { strength: hard, within: 1h } }] },
        { name: c, allow: { signed_in: true }, when: [{ sign_in: { acr: [gold], amr: [otp] } }] },
        { name: d, allow: { signed_in: true }, when: [{ sign_in: { acr: [platinum] } }], mode: report }`),
      { provider: strengths },
    )
    await liveEmbedded(configuration, async ({ signIn }) => {
      await signIn('alice', {}, { acr: '2' })
      const then = now()
      while (now() <= then) await new Promise((resolve) => setImmediate(resolve))
      await signIn('alice', {}, { acr: '1', amr: ['pwd'] })
    })
    expect(said(await check(), 'sign-ins')).toEqual([
      'warning no sign-in on record was `hard` (acr `9` or amr `hwk`); seen: acr `1`, `2`, amr `pwd`',
      'warning the provider never stated `auth_time`, so `within` is unknown for everybody',
      'warning no sign-in on record stated an `acr` of `gold`; seen: acr `1`, `2`',
      'warning no sign-in on record stated an `amr` of `otp`; seen: amr `pwd`',
    ])
  })

  it('are not looked for where all is well, or where nobody has come yet', async () => {
    const configuration = await configure(wiki('{ allow: { groups: [staff], }, when: [{ sign_in: { acr: ["2"], within: 1h } }] }'))
    expect(said(await check(), 'people')).toEqual([expect.stringMatching(/^unknown there is no store/)])
    expect(existsSync(configuration.dataDir)).toBe(false)
    expect(existsSync(configuration.keysFile)).toBe(false)
    await liveEmbedded(configuration, async () => undefined)
    expect(said(await check(), 'people')).toEqual([expect.stringMatching(/^unknown nobody has signed in here yet/)])
    await liveEmbedded(configuration, ({ signIn }) => signIn('alice', { groups: ['staff'] }, { acr: '2', authTime: now() - 1000 }))
    const results = await check()
    for (const probe of ['groups', 'claims', 'e-mail', 'sign-ins', 'devices']) expect(said(results, probe), probe).toEqual([])
    expect(said(results, 'people')).toEqual(['good 1 person on record was read'])
  })
})

describe('conditions that no device meets', () => {
  const levels = `levels:
  healthy: { device: { disk_encrypted: true, firewall: true, reported_within: 24h } }
  ours: { device: { known: true } }
  tagged: { device: { tags: [finance] } }
`
  const rules = `
    { name: in, allow: { groups: [staff] }, when: [healthy] },
    { name: elsewhere, allow: { groups: [guests] }, when: [{ any_of: [healthy, { network: { cidrs: [10.0.0.0/8] } }] }] },
    { name: out, deny: { signed_in: true }, when: [{ device: { screen_lock: false } }] },
    { name: reported, allow: { signed_in: true }, when: [{ device: { attributes: { ring: pilot } } }], mode: report }`

  it('say whom their rules would refuse or keep out', async () => {
    const configuration = await configure(
      levels + wiki(`${rules}, { name: inventory, allow: { groups: [staff] }, when: [ours, tagged] }`),
      {
        provider: identified,
      },
    )
    await liveEmbedded(configuration, async ({ signIn }) => {
      await signIn('alice', { groups: ['staff'], device: 'laptop-1' })
      await signIn('bob', { groups: ['staff'] })
      await signIn('carol', { groups: ['guests'] })
    })
    const results = await check()
    expect(said(results, 'devices')).toEqual(['good 0 devices registered, 0 ever reported'])
    expect(said(results, 'level healthy')).toEqual([
      'warning no device has ever reported (0 devices registered): rule `in` of `wiki` would refuse all 2 people seen whom it is for',
    ])
    expect(said(results, 'level ours')).toEqual([
      'warning no device is registered: rule `inventory` of `wiki` would refuse all 2 people seen whom it is for',
    ])
    expect(said(results, 'device condition')).toEqual([
      'warning no device has ever reported (0 devices registered): rule `out` of `wiki` would keep out all 3 people seen',
    ])
  })

  it('name the attribute that nobody states, the tag that no device has, and the numbers where there are some', async () => {
    const configuration = await configure(
      levels +
        wiki(`${rules}, { name: inventory, allow: { groups: [staff] }, when: [ours, tagged] },
          { name: systems, allow: { groups: [staff] }, when: [{ device: { os: [macos] } }] },
          { name: lately, allow: { groups: [staff] }, when: [{ device: { reported_within: 24h } }] },
          { name: clever, allow: { groups: [staff] }, when: [{ expression: "device.attributes.risk == 'low'" }] }`),
      { provider: identified },
    )
    await liveEmbedded(configuration, async ({ signIn, register }) => {
      await signIn('alice', { groups: ['staff'], device: 'laptop-1' })
      await register({ id: 'laptop-1' }, { disk_encrypted: true, screen_lock: true, os: 'linux' })
      await register({ id: 'laptop-2' }, { disk_encrypted: true, os: 'linux' })
      await register({ id: 'laptop-3', tags: ['sales'] })
    })
    const results = await check()
    expect(said(results, 'devices')).toEqual(['good 3 devices registered, 2 ever reported'])
    expect(said(results, 'level healthy')).toEqual([
      'warning no device has ever reported `firewall`: rule `in` of `wiki` would refuse all 1 person seen',
    ])
    expect(said(results, 'level ours')).toEqual(['good rule `inventory` of `wiki`: 3 of 3 devices meet it now'])
    expect(said(results, 'level tagged')).toEqual([
      'warning no registered device has the tag `finance`: rule `inventory` of `wiki` would refuse all 1 person seen',
    ])
    expect(said(results, 'device condition')).toEqual([
      // A deny that no device is caught by is as it should be.
      'good rule `out` of `wiki`: 2 of 3 devices reported within 24h, 1 stated `screen_lock`, 0 meet it now',
      'warning none of 3 devices meets it: rule `systems` of `wiki` would refuse all 1 person seen',
      'good rule `lately` of `wiki`: 2 of 3 devices reported within 24h, 2 meet it now',
      'warning no device has ever reported `risk`: asked for by rule `clever` of `wiki`',
    ])
  })

  it('count posture that the provider claims, and notice that it names no device', async () => {
    const configuration = await configure(levels + wiki('{ name: in, allow: { groups: [staff] }, when: [healthy] }'), {
      provider: 'claims: { device_id: device, device: { disk_encrypted: encrypted, firewall: wall } }',
    })
    await liveEmbedded(configuration, ({ signIn }) => signIn('alice', { groups: ['staff'], encrypted: true, wall: true }))
    const results = await check()
    expect(said(results, 'level healthy')).toEqual([expect.stringMatching(/^good /)])
    expect(said(results, 'devices')[1]).toBe('warning no sign-in on record named a device in the claim `device`: every device is unknown')
  })

  it('are left to the check of the files where nothing tells devices apart', async () => {
    const configuration = await configure(levels + wiki('{ name: in, allow: { groups: [staff] }, when: [healthy] }'))
    await liveEmbedded(configuration, ({ signIn }) => signIn('alice', { groups: ['staff'] }))
    const results = await check()
    expect(results.filter(({ probe }) => /device|level/.test(probe))).toEqual([])
  })
})

describe('the store', () => {
  it('is asked through the instance that has it open', async () => {
    const configuration = await configure(wiki('{ allow: { groups: [finance] } }'))
    mkdirSync(configuration.dataDir)
    const store = await openStore(configuration, { now, log: silentLog })
    cleanUps.push(() => store.close())
    const commands = await listenForAdministration(configuration, { store, record: () => true, log: silentLog })
    cleanUps.push(() => commands.close())
    const { signIn } = await live(store, configuration)
    await signIn('alice', { groups: ['staff'] })
    expect(said(await check(), 'groups')).toEqual(['warning no sign-in on record carried `finance`; seen: `staff`'])
  })

  it('is asked without `--live` as well where it is a file, and what is well is not mentioned', async () => {
    const configuration = await configure(wiki('{ allow: { groups: [staff, finance] } }'))
    await liveEmbedded(configuration, ({ signIn }) => signIn('alice', { groups: ['staff'] }))
    const outcome = await runCheck({ config }, { probes: liveProbes(silentLog), now })
    expect(outcome).toMatchObject({ status: 0, summary: { ok: true, live: undefined } })
    expect(describeOutcome(outcome).split('\n')).toEqual([
      'warning groups: no sign-in on record carried `finance`; seen: `staff`',
      '        asked for by rule `allow 1` of `wiki`',
      expect.stringMatching(/^good: 1 app/),
    ])
    expect((await runCheck({ config, strict: true }, { probes: liveProbes(silentLog), now })).status).toBe(1)
  })

  it('is not connected to without `--live`', async () => {
    await configure(wiki('{ allow: { groups: [finance] } }'), { store: 'redis://127.0.0.1:7' })
    const { status, summary } = await runCheck({ config }, { probes: liveProbes(silentLog), now })
    expect(summary.problems).toEqual([])
    expect(status).toBe(0)
    expect(summary.seen).toBeUndefined()
  })

  it('is asked itself where it is Redis', async () => {
    const redis = await startRedis({ password: 'a-password' })
    cleanUps.push(() => redis.close())
    const configuration = await configure(wiki('{ name: in, allow: { groups: [finance] }, when: [{ device: { firewall: true } }] }'), {
      store: redis.url,
      provider: identified,
    })
    const { store } = await openAdministeredStore(configuration, { now, log: silentLog })
    cleanUps.push(() => store.close())
    const { signIn, register } = await live(store, configuration)
    for (let number = 0; number < 250; number += 1) await signIn(`person-${number}`, { groups: ['staff'], device: 'laptop-1' })
    await register({ id: 'laptop-1' }, { firewall: true })
    const results = await check()
    expect(said(results, 'people')).toEqual(['good 250 people on record were read'])
    expect(said(results, 'groups')).toEqual(['warning no sign-in on record carried `finance`; seen: `staff`'])
    expect(said(results, 'device condition')).toEqual(['good rule `in` of `wiki`: 1 of 1 device reported within 24h, 1 meets it now'])
    await redis.stop()
    expect(said(await check(), 'people')).toEqual([
      'unknown people and devices seen were not compared with the policy (session_store_unavailable)',
    ])
  })

  it('is not concluded about where its records do not open', async () => {
    const configuration = await configure(wiki('{ name: in, allow: { groups: [finance] }, when: [{ device: { firewall: true } }] }'), {
      provider: identified,
    })
    await liveEmbedded(configuration, async ({ signIn, register }) => {
      await signIn('alice', { groups: ['staff'] })
      await register({ id: 'laptop-1' }, { firewall: true })
    })
    await rm(configuration.keysFile)
    createKeysFile(configuration.keysFile, now())
    const results = await check()
    expect(said(results, 'groups')).toEqual([])
    expect(said(results, 'people')).toEqual([expect.stringMatching(/^unknown /)])
    expect(said(results, 'devices')).toContain('warning some devices of the inventory do not open')
  })
})
