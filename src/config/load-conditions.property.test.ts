/** Whatever is written: loading never throws, and what loads without a problem is what the policy engine compiles. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compilePolicy } from '../policy/compile.ts'
import type { InstanceConfiguration } from './instance.ts'
import { loadPolicy } from './load-policy.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-conditions-'))
  await writeFile(join(folder, 'networks.txt'), '192.0.2.0/24\n')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const junk = fc.constantFrom<unknown>(true, 7, '', 'x', null, [], {}, [null], { a: 1 }, '__proto__', 'constructor', '0.0.0.0/0')
/** Policies of what belongs there; with `isBroken`, now and then of what does not. */
function policies(isBroken: boolean) {
  const some = (keys: Readonly<Record<string, fc.Arbitrary<unknown>>>) =>
    fc.record(keys, { requiredKeys: [] }).filter((map) => isBroken || Object.keys(map).some((key) => key !== 'zone'))
  const few = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: isBroken ? 0 : 1, maxLength: 3 })
  const mostly = (...values: readonly unknown[]) =>
    fc.oneof({ weight: 12, arbitrary: fc.constantFrom<unknown>(...values) }, { weight: isBroken ? 1 : 0, arbitrary: junk })

  const who = fc.oneof(
    mostly({ groups: ['a'] }, { users: ['a@b.example'] }, { domains: ['b.example'] }, { signed_in: true }, { everyone: true }),
    mostly({ services: ['one'] }, { claims: { a: ['b', 1, true] } }, { all_of: [{ groups: ['a'] }, { signed_in: true }] }, [
      { groups: ['a'] },
    ]),
  )
  const leaf = fc.oneof(
    fc.record({ subject: who }),
    fc.record({ sign_in: some({ strength: mostly('mfa'), acr: mostly(['1'], '2'), amr: mostly(['otp']), within: mostly('5m', '1h') }) }),
    fc.record({
      device: some({
        managed: mostly(true, false),
        known: mostly(true),
        os: mostly(['macos >= 14.4', 'linux'], 'windows < 10.0.22631.1'),
        attributes: mostly({ ring: 1 }, { 'a.b': ['x', true] }),
        reported_within: mostly('1h'),
        identified_by: mostly('claim', 'certificate'),
        tags: mostly(['t']),
        serials: mostly(['s']),
      }),
    }),
    fc.record({
      network: fc.oneof(
        some({ cidrs: mostly(['10.0.0.0/8', 'fd00::/8'], '192.0.2.1', ['2001:DB8::/32']), countries: mostly(['DE', 'NO']) }),
        some({ cidrs_file: mostly('networks.txt'), asns: mostly([64_512, 'AS1']) }),
      ),
    }),
    fc.record({
      time: some({
        days: mostly(['mon-fri'], 'fri-mon', ['sun']),
        between: mostly('07:00-20:00', ['22:00-06:00', '00:00-24:00']),
        zone: mostly('Europe/Berlin', 'Australia/Lord_Howe'),
        from: mostly('2026-01-01'),
        until: mostly('2026-12-31', '2020-01-01'),
      }),
    }),
    fc.record({ client: some({ browser: mostly('chrome', ['edge']), browser_version: mostly('>= 120', '<9.1'), os: mostly('macos') }) }),
    fc.record({ expression: mostly("subject.email == 'a@b.example'", 'true', "device.os == 'linux'") }),
  )
  const { condition } = fc.letrec<{ condition: unknown }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 3 },
      leaf,
      mostly('one', 'two', 'three'),
      fc.record({ all_of: few(tie('condition')) }),
      fc.record({ any_of: few(tie('condition')) }),
      fc.record({ not: tie('condition') }),
      isBroken ? fc.tuple(leaf, leaf).map(([a, b]) => ({ ...a, ...b })) : leaf,
    ),
  }))
  const conditions = fc.oneof(condition, few(condition))
  const rule = fc
    .record(
      {
        verb: fc.constantFrom('allow', 'deny', 'require'),
        who,
        require: conditions,
        when: conditions,
        unless: conditions,
        mode: mostly('report'),
      },
      { requiredKeys: ['verb', 'who', 'require'] },
    )
    .map(({ verb, who: whom, require, ...rest }) => (verb === 'require' ? { require, for: whom, ...rest } : { [verb]: whom, ...rest }))
  const named = isBroken ? condition : leaf
  return fc.record({
    levels: fc.record({ one: named, two: named, three: named }),
    services: fc.constant({ one: { jwt: { issuer: 'https://i.example', audience: 'a', scopes_all: ['s'] } } }),
    rules: fc.array(rule, { maxLength: 2 }),
    apps: fc.array(rule, { maxLength: 3 }).map((rules) => [{ id: 'wiki', url: 'https://wiki.example', upstream: 'http://w:1', rules }]),
  })
}

const instance = {
  url: new URL('https://access.example'),
  facts: { countryFile: undefined, asnFile: undefined },
  clientCertificate: undefined,
  provider: {
    claims: { groups: [], deviceId: undefined, posture: new Map() },
    strengths: new Map([['mfa', { name: 'mfa', acr: ['2'], amr: [], ask: {} }]]),
  },
} as unknown as Partial<InstanceConfiguration>

async function load(written: unknown) {
  const file = join(folder, 'policy.yaml')
  await writeFile(file, JSON.stringify(written))
  const loaded = await loadPolicy(file, { configuration: instance, now: Date.UTC(2026, 5, 1) })
  for (const { line, message } of [...loaded.problems, ...loaded.warnings]) expect(line, message).toBeGreaterThan(0)
  return loaded
}

describe('loading a policy', () => {
  it('takes what is well formed, and the engine compiles it', async () => {
    await fc.assert(
      fc.asyncProperty(policies(false), async (written) => {
        const { value, problems } = await load(written)
        expect(problems).toEqual([])
        if (value !== undefined) compilePolicy(value)
      }),
      { numRuns: 250 },
    )
  })

  it('never throws at what is not, and gives no value for it', async () => {
    await fc.assert(
      fc.asyncProperty(policies(true), async (written) => {
        const { value, problems } = await load(written)
        expect(value === undefined).toBe(problems.length > 0)
      }),
      { numRuns: 250 },
    )
    expect(({} as Record<string, unknown>)['a']).toBeUndefined()
  })
})
