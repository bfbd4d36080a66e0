/**
 * Circumstances that somebody wrote down, for `explain`, `test` and what-if questions, made into facts of the same shape as a request's.
 *
 * What was not said is unknown and never assumed in favour of anybody. A person who is said to have signed in strongly gets what the
 * strength's definition accepts first, so that the rule that asks for it is judged by that very definition.
 */

import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import { findServicesOf } from '../attributes/service-callers.ts'
import type { Scalar, Service, Strength } from '../policy/document.ts'
import type { ClaimSet, Device, DeviceAttribute, Facts, Known, RequestFacts, SignIn, SubjectFacts } from '../policy/facts.ts'

export interface Given {
  readonly subject: GivenSubject
  readonly signIn: GivenSignIn | undefined
  /** Of the inventory, or made up. */
  readonly device: Device | GivenDevice | undefined
  readonly at: number
  readonly address: string
  /** `undefined`: unknown. `none`: known to be in no country. */
  readonly country: string | undefined
  readonly asn: number | undefined
  readonly userAgent: string | undefined
}

export type GivenSubject =
  | { readonly kind: 'nobody' }
  /** A token that has just what the service asks for. `services`: all of the document, since it may prove others as well. */
  | { readonly kind: 'service'; readonly service: Service; readonly services: readonly Service[] }
  /** Facts as they were last seen. */
  | { readonly kind: 'seen'; readonly facts: Extract<SubjectFacts, { kind: 'person' }> }
  | {
      readonly kind: 'person'
      readonly issuer: string
      readonly sub: string
      readonly email: string | undefined
      readonly groups: readonly string[] | undefined
      readonly claims: Readonly<Record<string, unknown>>
      /** `undefined`: as of `at`. */
      readonly claimsAt?: number
    }

export type GivenSignIn = {
  /** `undefined`: it is not known when. */
  readonly agoSeconds: number | undefined
} & ({ readonly strength: Strength } | { readonly acr: string | undefined; readonly amr: readonly string[] | undefined })

export interface GivenDevice {
  readonly id: string
  readonly isKnown: boolean
  readonly identifiedBy: Device['identifiedBy']
  readonly serial: string | undefined
  readonly tags: readonly string[]
  readonly attributes: Readonly<Record<string, Scalar | readonly Scalar[]>>
  readonly reportedSecondsAgo: number
}

/** The facts of a request under given circumstances. */
export function factsOf(given: Given, request: RequestFacts, readEnvironment: EnvironmentReader, scheme: 'https' | 'http'): Facts {
  const { address, at, userAgent } = given
  const seen = readEnvironment({ address, at, scheme, tlsVersion: undefined, userAgent }, new Set(['client', 'country', 'asn']))
  const country: Facts['environment']['country'] =
    given.country === undefined ? seen.country : { known: true, value: given.country === 'none' ? undefined : given.country }
  const asn: Facts['environment']['asn'] = given.asn === undefined ? seen.asn : { known: true, value: given.asn }
  const isPerson = given.subject.kind === 'person' || given.subject.kind === 'seen'
  return {
    subject: subjectOf(given),
    signIn: isPerson ? signInOf(given) : { known: false, why: 'not_a_person' },
    device: isPerson ? deviceOf(given) : { known: false, why: 'not_a_person' },
    request,
    environment: { ...seen, country, asn },
  }
}

function subjectOf({ subject, at }: Given): SubjectFacts {
  switch (subject.kind) {
    case 'nobody':
      return { kind: 'nobody' }
    case 'seen':
      return subject.facts
    case 'service': {
      const { issuer, jwksUri } = subject.service
      const claims = claimsOf(subject.service)
      return { kind: 'service', names: findServicesOf(claims, subject.services, jwksUri), issuer, claims }
    }
    case 'person': {
      const { claims, claimsAt = at, email, groups, issuer, sub } = subject
      return {
        kind: 'person',
        issuer,
        sub,
        email: email === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: email },
        groups: groups === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: groups },
        claims: { known: true, value: claims },
        claimsAt,
      }
    }
  }
}

/** The least that a token has to say so that it is this service's; of several values that would do, the first. */
function claimsOf({ audience, claims, issuer, scopesAll }: Service): ClaimSet {
  const stated: Record<string, unknown> = Object.assign(Object.create(null), { iss: issuer, aud: audience, scope: scopesAll.join(' ') })
  for (const { path, values } of claims) {
    const last = path.at(-1)
    let map = stated
    for (const name of path.slice(0, -1)) {
      const found = map[name]
      const inner = (typeof found === 'object' && found !== null ? found : Object.create(null)) as Record<string, unknown>
      map[name] = inner
      map = inner
    }
    if (last !== undefined) map[last] = values[0]
  }
  return stated
}

function signInOf({ signIn, at }: Given): Known<SignIn> {
  const absent = { known: false, why: 'claim_absent' } as const
  if (signIn === undefined) return { known: true, value: { at: { known: false, why: 'no_auth_time' }, acr: absent, amr: absent } }
  const acr = 'strength' in signIn ? signIn.strength.acr[0] : signIn.acr
  const amr = 'strength' in signIn ? (acr === undefined ? signIn.strength.amr.slice(0, 1) : undefined) : signIn.amr
  const { agoSeconds } = signIn
  return {
    known: true,
    value: {
      at: agoSeconds === undefined ? { known: false, why: 'no_auth_time' } : { known: true, value: at - agoSeconds * 1000 },
      acr: acr === undefined ? absent : { known: true, value: acr },
      amr: amr === undefined || amr.length === 0 ? absent : { known: true, value: amr },
    },
  }
}

function deviceOf({ device, at }: Given): Known<Device> {
  if (device === undefined) return { known: false, why: 'no_device' }
  if (!('reportedSecondsAgo' in device)) return { known: true, value: device }
  const { id, identifiedBy, isKnown, reportedSecondsAgo, serial, tags } = device
  const attributes: Record<string, DeviceAttribute> = Object.create(null)
  for (const [name, value] of Object.entries(device.attributes)) {
    attributes[name] = { value, source: 'report', at: at - reportedSecondsAgo * 1000 }
  }
  return { known: true, value: { id, identifiedBy, isKnown, serial, tags, attributes } }
}
