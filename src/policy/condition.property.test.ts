/** Laws that every kind of condition keeps, on generated conditions and facts. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileClientCondition } from './client-condition.ts'
import { days, deviceWith, factsWith, hours, minutes, now, reported, signInWith } from './condition.fixture.ts'
import type { LeafCondition } from './condition.ts'
import { remedyWords } from './decision.ts'
import { compileDeviceCondition } from './device-condition.ts'
import { compileExpression } from './expression.ts'
import type { Device, DeviceAttribute, Facts, Known } from './facts.ts'
import { compileNetworkCondition } from './network-condition.ts'
import { clientCondition, deviceCondition, networkCondition, signInCondition, timeCondition } from './policy.fixture.ts'
import { compileSignInCondition } from './sign-in-condition.ts'
import { compileTimeCondition } from './time-condition.ts'

const runs = { numRuns: 10_000 }

describe('every condition', () => {
  it('names what is unmet exactly where it does not hold, and traces every key', () => {
    fc.assert(
      fc.property(conditions, anyFacts, (condition, facts) => {
        const outcome = condition.judge(facts)
        const unmet = condition.findUnmet(facts)
        expect(unmet.length === 0).toBe(outcome === 'true')
        if (outcome === 'false') expect(unmet.some((one) => one.outcome === 'false')).toBe(true)
        if (outcome === 'unknown') expect(unmet.every((one) => one.outcome === 'unknown')).toBe(true)
        for (const { remedy, details } of unmet) {
          expect(Object.hasOwn(remedyWords, remedy)).toBe(true)
          for (const text of [details?.present, details?.wanted]) expect(text).not.toBe('')
        }
        const trace = condition.trace(facts)
        expect(trace.length).toBeGreaterThan(0)
        expect(trace.every((input) => input.outcome === 'true')).toBe(outcome === 'true')
        for (const { fact, source, value } of trace) {
          expect(fact).not.toBe('')
          expect(source).not.toBe('')
          if (!value.known) expect(value.why).not.toBe('')
        }
      }),
      runs,
    )
  })

  it('never takes an unknown fact for anything: what it says stays so, whatever the fact turns out to be', () => {
    fc.assert(
      fc.property(conditions, anyFacts, knownFacts, (condition, facts, told) => {
        const before = condition.judge(facts)
        if (before !== 'unknown') expect(condition.judge(fillUnknowns(facts, told))).toBe(before)
      }),
      runs,
    )
  })

  it('says the same of the same facts, and changes nothing', () => {
    fc.assert(
      fc.property(conditions, anyFacts, (condition, facts) => {
        const before = JSON.stringify(facts)
        const first = condition.judge(facts)
        condition.findUnmet(facts)
        condition.trace(facts)
        expect(condition.judge(facts)).toBe(first)
        expect(JSON.stringify(facts)).toBe(before)
      }),
      { numRuns: 3000 },
    )
  })
})

const optional = <Value>(...values: readonly Value[]): fc.Arbitrary<Value | undefined> => fc.constantFrom(undefined, undefined, ...values)
const mfa = { name: 'mfa', acr: ['gold'], amr: ['otp'], ask: {} }
const bound = (version: string) => ({ operator: '>=', version }) as const

/** Compiled, or left out where nothing was asked for. */
function compiled<Keys>(keys: fc.Arbitrary<Keys>, compile: (keys: Keys) => LeafCondition): fc.Arbitrary<LeafCondition> {
  return keys
    .filter((given) => Object.values(given as object).some((value) => value !== undefined && value !== false))
    .map((given) => compile(given))
}

const conditions: fc.Arbitrary<LeafCondition> = fc.oneof(
  compiled(
    fc.record({
      strength: optional(mfa),
      acr: optional(['gold'], ['silver', 'gold']),
      amr: optional(['otp'], ['hwk']),
      withinSeconds: optional(60, 3600),
    }),
    (keys) => compileSignInCondition(signInCondition(keys)),
  ),
  compiled(
    fc.record({
      known: optional(true, false),
      managed: optional(true, false),
      diskEncrypted: optional(true),
      os: optional([{ name: 'macos', bound: bound('14.4') }], [{ name: 'macos', bound: undefined }]),
      serials: optional(['A']),
      tags: optional(['finance', 'ops']),
      attributes: optional([{ name: 'edr', values: ['on', true] }]),
      isReportAsked: fc.boolean(),
      identifiedBy: optional('certificate' as const, 'claim' as const),
    }),
    (keys) => compileDeviceCondition(deviceCondition({ ...keys, reportedWithinSeconds: 3600 })),
  ),
  compiled(
    fc.record({ cidrs: optional(['192.0.2.0/24'], ['2001:db8::/32'], []), countries: optional(['DE', 'FR']), asns: optional([64512]) }),
    (keys) => compileNetworkCondition(networkCondition(keys)),
  ),
  compiled(
    fc.record({
      days: optional(['fri'] as const, ['sat', 'sun'] as const),
      between: optional([{ from: 420, to: 1200 }], [{ from: 1320, to: 360 }]),
      from: optional('2027-01-15', '2027-02-01'),
      until: optional('2027-01-15', '2027-01-01'),
    }),
    (keys) => compileTimeCondition(timeCondition({ ...keys, zone: 'Europe/Berlin' })),
  ),
  compiled(fc.record({ browsers: optional(['firefox']), browserVersion: optional(bound('140')), os: optional(['macos']) }), (keys) =>
    compileClientCondition(clientCondition(keys)),
  ),
  fc
    .constantFrom(
      "subject.email.endsWith('@corp.example')",
      "device.managed && environment.country == 'DE'",
      'sign_in.age < 600 || device.attributes.edr == "on"',
      "!(device.os == 'macos') && device.known",
      'true',
    )
    .map(compileExpression),
)

const missing = { known: false, why: 'not_gathered' } as const
const knownOr = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Known<Value>> =>
  fc.oneof({ weight: 3, arbitrary: value.map((one) => ({ known: true, value: one }) as const) }, fc.constant(missing))

const instants = fc.constantFrom(now, now - 2 * minutes, now - 2 * hours, now - 2 * days, now + minutes, now + hours)
const attribute = (values: readonly DeviceAttribute['value'][]) =>
  fc
    .tuple(fc.constantFrom(...values), instants, fc.constantFrom('report', 'management', 'claim', 'inventory'))
    .map(([value, at, source]) => reported(value, at, source))
const attributes = fc.record(
  {
    managed: attribute([true, false, 'true']),
    disk_encrypted: attribute([true, false]),
    os: attribute(['macos', 'windows', 7]),
    os_version: attribute(['14.4', '14.1', '14.x', 14]),
    edr: attribute(['on', 'off', ['on'], true]),
  },
  { requiredKeys: [] },
)
const devices = fc
  .record({
    attributes,
    isKnown: fc.boolean(),
    identifiedBy: fc.constantFrom('certificate', 'claim'),
    serial: fc.constantFrom('A', 'B', undefined),
    tags: fc.subarray(['finance', 'x']),
  })
  .map(({ attributes: some, ...changes }) => deviceWith(some, changes))

const signIns = fc.record(
  { at: instants, acr: fc.constantFrom('gold', 'bronze'), amr: fc.constantFrom(['otp'], ['pwd']) },
  { requiredKeys: [] },
)

const anyFacts: fc.Arbitrary<Facts> = fc
  .record({
    signIn: fc.oneof({ weight: 4, arbitrary: signIns.map(signInWith) }, fc.constant(missing)),
    device: fc.oneof<fc.Arbitrary<Known<Device>>[]>(devices, fc.constantFrom(missing, { known: false, why: 'no_device' } as const)),
    environment: fc.record({
      address: fc.constantFrom('192.0.2.1', '2001:db8::1', '::ffff:192.0.2.7', '10.0.0.1', ''),
      at: fc.constantFrom(now, now + 15 * hours, now + 2 * days, Number.NaN),
      country: knownOr(fc.constantFrom('DE', 'SE', undefined)),
      asn: knownOr(fc.constantFrom(64512, 1, undefined)),
      client: fc.record({
        browser: knownOr(fc.constantFrom('firefox', 'safari')),
        browserVersion: knownOr(fc.constantFrom('140.0', '139', 'x')),
        os: knownOr(fc.constantFrom('macos', 'windows')),
      }),
    }),
  })
  .map(factsWith)

/** What unknown facts could turn out to be. Which device a request comes from is known where it comes from none. */
const knownFacts = fc.record({
  signIn: fc.record({
    at: fc.constantFrom(now, now - 2 * hours),
    acr: fc.constantFrom('gold', 'bronze'),
    amr: fc.constantFrom(['otp'], ['pwd']),
  }),
  device: devices,
  fresh: fc.record({
    managed: fc.boolean().map((value) => reported(value, now, 'claim')),
    disk_encrypted: fc.boolean().map((value) => reported(value, now, 'claim')),
    os: fc.constantFrom('macos', 'windows').map((value) => reported(value, now, 'claim')),
    os_version: fc.constantFrom('14.4', '14.1').map((value) => reported(value, now, 'claim')),
    edr: fc.constantFrom('on', 'off').map((value) => reported(value, now, 'claim')),
  }),
  country: fc.constantFrom('DE', 'SE', undefined),
  asn: fc.constantFrom(64512, 1),
  client: fc.constantFrom('firefox', '140.0', 'macos', 'other'),
})

type Told = typeof knownFacts extends fc.Arbitrary<infer T> ? T : never

function fillUnknowns(facts: Facts, told: Told): Facts {
  const fill = <Value>(fact: Known<Value>, value: Value): Known<Value> => (fact.known ? fact : { known: true, value })
  const { signIn, device, environment } = facts
  const { client } = environment
  return {
    ...facts,
    signIn: signIn.known
      ? {
          known: true,
          value: {
            at: fill(signIn.value.at, told.signIn.at),
            acr: fill(signIn.value.acr, told.signIn.acr),
            amr: fill<readonly string[]>(signIn.value.amr, told.signIn.amr),
          },
        }
      : signInWith(told.signIn),
    device: device.known
      ? { known: true, value: { ...device.value, attributes: { ...told.fresh, ...device.value.attributes } } }
      : device.why === 'no_device'
        ? device
        : told.device,
    environment: {
      ...environment,
      country: fill(environment.country, told.country),
      asn: fill<number | undefined>(environment.asn, told.asn),
      client: {
        browser: fill(client.browser, told.client),
        browserVersion: fill(client.browserVersion, told.client),
        os: fill(client.os, told.client),
      },
    },
  }
}
