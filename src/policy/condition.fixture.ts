/** Small builders of facts, for tests of conditions: everything unknown, and what a test changes. */

import type { Device, DeviceAttribute, EnvironmentFacts, Facts, Known, SignIn, SubjectFacts } from './facts.ts'
import { environmentWith, facts, person } from './policy.fixture.ts'

/** 2027-01-15T08:00:00Z, a Friday; the instant of `environmentWith`. */
export const now = 1_800_000_000_000

export const minutes = 60_000
export const hours = 3_600_000
export const days = 86_400_000

export function known<T>(value: T): Known<T> {
  return { known: true, value }
}

export function factsWith(changes: {
  readonly subject?: SubjectFacts
  readonly signIn?: Known<SignIn>
  readonly device?: Known<Device>
  readonly environment?: Partial<EnvironmentFacts>
  readonly request?: Partial<Facts['request']>
}): Facts {
  const { subject = person(), environment = {}, request = {}, signIn, device } = changes
  return {
    ...facts(subject, request),
    signIn: signIn ?? { known: false, why: 'not_a_person' },
    device: device ?? { known: false, why: 'no_device' },
    environment: environmentWith(environment),
  }
}

/** A sign-in of which the given is known. */
export function signInWith(given: { at?: number; acr?: string; amr?: readonly string[] }): Known<SignIn> {
  return known({
    at: given.at === undefined ? { known: false, why: 'no_auth_time' } : known(given.at),
    acr: given.acr === undefined ? { known: false, why: 'claim_absent' } : known(given.acr),
    amr: given.amr === undefined ? { known: false, why: 'claim_absent' } : known(given.amr),
  })
}

/** A registered laptop that proved itself; attributes as reported a minute ago, or as given. */
export function deviceWith(
  attributes: Readonly<Record<string, DeviceAttribute | DeviceAttribute['value']>> = {},
  changes: Partial<Device> = {},
): Known<Device> {
  const all: Record<string, DeviceAttribute> = Object.create(null) as Record<string, DeviceAttribute>
  for (const [name, given] of Object.entries(attributes)) all[name] = isAttribute(given) ? given : reported(given)
  return known({
    id: 'laptop-7',
    identifiedBy: 'certificate',
    isKnown: true,
    serial: 'C02XL0GYJGH5',
    tags: ['finance'],
    attributes: all,
    ...changes,
  })
}

export function reported(
  value: DeviceAttribute['value'],
  at = now - minutes,
  source: DeviceAttribute['source'] = 'report',
): DeviceAttribute {
  return { value, source, at }
}

/** Minutes after midnight of `07:00`. */
export function clock(text: string): number {
  const [hour = 0, minute = 0] = text.split(':').map(Number)
  return hour * 60 + minute
}

function isAttribute(given: DeviceAttribute | DeviceAttribute['value']): given is DeviceAttribute {
  return typeof given === 'object' && 'source' in given
}
