/** Small builders of documents and facts for tests. */

import { type CompiledApp, compilePolicy } from './compile.ts'
import type {
  App,
  ClientCondition,
  CompanyRule,
  Condition,
  DeviceCondition,
  NetworkCondition,
  PolicyDocument,
  Rule,
  SignInCondition,
  Strength,
  TimeCondition,
  Who,
} from './document.ts'
import type { Device, EnvironmentFacts, Facts, Known, SignIn, SubjectFacts } from './facts.ts'

export function appWith(rules: readonly Rule[], changes: Partial<App> = {}): App {
  return {
    id: 'wiki',
    name: 'Wiki',
    description: undefined,
    owner: undefined,
    help: undefined,
    logo: undefined,
    portal: 'if_relevant',
    address: { origin: 'https://wiki.corp.example', hostname: 'wiki.corp.example', port: 443, prefix: '/' },
    upstreams: [{ origin: 'http://wiki.internal:3000', basePath: '', ca: undefined, serverName: undefined }],
    sensitivity: 'internal',
    preserveHost: true,
    identity: { kind: 'none' },
    session: { idleTimeoutSeconds: undefined, lifetimeSeconds: undefined },
    timeouts: { connectSeconds: 5, responseSeconds: 60, idleSeconds: 300 },
    calledBy: [],
    crossSitePosts: [],
    pathRules: [],
    maxBodyBytes: undefined,
    stripPrefix: false,
    passAuthorization: false,
    audit: { paths: 'full', durability: undefined, whenFull: undefined },
    setRequestHeaders: [],
    removeRequestHeaders: [],
    setResponseHeaders: [],
    report: undefined,
    rules,
    ...changes,
  }
}

export function documentWith(
  apps: readonly App[],
  rules: readonly CompanyRule[] = [],
  levels: PolicyDocument['levels'] = [],
): PolicyDocument {
  return { version: 'sha256-0000000000000000', zone: 'UTC', levels, services: [], rules, apps }
}

/** The one app of a policy, compiled. */
export function compileApp(
  rules: readonly Rule[],
  { levels = [], ...changes }: Partial<App> & Partial<Pick<PolicyDocument, 'levels'>> = {},
): CompiledApp {
  const app = compilePolicy(documentWith([appWith(rules, changes)], [], levels)).apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  return app
}

export function rule(verb: Rule['verb'], who: Who, changes: Partial<Rule> = {}): Rule {
  return {
    name: `${verb} ${who.kind}`,
    verb,
    who,
    methods: undefined,
    paths: undefined,
    require: [],
    when: [],
    unless: [],
    from: undefined,
    until: undefined,
    isReport: false,
    isAlert: false,
    ...changes,
  }
}

export const nobody: SubjectFacts = { kind: 'nobody' }

export function person(changes: Partial<Extract<SubjectFacts, { kind: 'person' }>> = {}): SubjectFacts {
  return {
    kind: 'person',
    issuer: 'https://op.example',
    sub: 'u1',
    email: { known: true, value: 'alice@corp.example' },
    groups: { known: true, value: ['staff'] },
    claims: { known: true, value: { department: 'finance' } },
    claimsAt: 1_799_999_900_000,
    ...changes,
  }
}

export const service: SubjectFacts = { kind: 'service', names: ['billing'], issuer: 'https://auth.example.com', claims: { azp: 'billing' } }

export function facts(subject: SubjectFacts, request: Partial<Facts['request']> = {}): Facts {
  return {
    subject,
    request: { method: 'GET', methodClass: 'read', path: '/', ...request },
    signIn: { known: false, why: 'not_a_person' },
    device: { known: false, why: 'not_a_person' },
    environment: environmentWith(),
  }
}

/** Circumstances of which nothing was gathered. */
export function environmentWith(changes: Partial<EnvironmentFacts> = {}): EnvironmentFacts {
  const notGathered = { known: false, why: 'not_gathered' } as const
  return {
    address: '192.0.2.1',
    at: now,
    country: notGathered,
    asn: notGathered,
    scheme: 'https',
    tlsVersion: notGathered,
    client: { browser: notGathered, browserVersion: notGathered, os: notGathered },
    ...changes,
  }
}

export const mfa: Strength = { name: 'mfa', acr: ['mfa', 'phishing_resistant'], amr: ['otp', 'hwk'], ask: { prompt_factor: 'second' } }
export const phishingResistant: Strength = { name: 'phishing_resistant', acr: ['phishing_resistant'], amr: ['hwk'], ask: {} }

export function signInCondition(changes: Partial<SignInCondition>): SignInCondition {
  return { kind: 'sign_in', strength: undefined, acr: undefined, amr: undefined, withinSeconds: undefined, ...changes }
}

export function deviceCondition(changes: Partial<DeviceCondition>): DeviceCondition {
  return {
    kind: 'device',
    known: undefined,
    managed: undefined,
    diskEncrypted: undefined,
    screenLock: undefined,
    firewall: undefined,
    os: undefined,
    serials: undefined,
    tags: undefined,
    attributes: undefined,
    reportedWithinSeconds: 86_400,
    isReportAsked: false,
    identifiedBy: undefined,
    ...changes,
  }
}

export function networkCondition(changes: Partial<NetworkCondition>): NetworkCondition {
  return { kind: 'network', cidrs: undefined, cidrsFile: undefined, countries: undefined, asns: undefined, ...changes }
}

export function timeCondition(changes: Partial<TimeCondition>): TimeCondition {
  return { kind: 'time', days: undefined, between: undefined, zone: 'UTC', from: undefined, until: undefined, ...changes }
}

export function level(name: string): Condition {
  return { kind: 'level', name }
}

/** When everything in these tests happens: Friday, 2027-01-15 08:00 UTC. */
export const now = 1_800_000_000_000

export function signedIn(
  changes: { readonly acr?: string; readonly amr?: readonly string[]; readonly secondsAgo?: number } = {},
): Known<SignIn> {
  const { acr, amr, secondsAgo } = changes
  return {
    known: true,
    value: {
      at: secondsAgo === undefined ? { known: false, why: 'no_auth_time' } : { known: true, value: now - secondsAgo * 1000 },
      acr: acr === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: acr },
      amr: amr === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: amr },
    },
  }
}

/** A device in the inventory that reported these attributes an hour ago. */
export function reportedDevice(attributes: Readonly<Record<string, string | boolean>> = {}, changes: Partial<Device> = {}): Known<Device> {
  const reported = Object.entries(attributes).map(([name, value]) => [name, { value, source: 'report', at: now - 3_600_000 }] as const)
  return {
    known: true,
    value: {
      id: 'laptop-7',
      identifiedBy: 'certificate',
      isKnown: true,
      serial: 'C02',
      tags: ['engineering'],
      attributes: Object.assign(Object.create(null), Object.fromEntries(reported)),
      ...changes,
    },
  }
}

export function clientCondition(keys: Partial<ClientCondition>): ClientCondition {
  return { kind: 'client', browsers: undefined, browserVersion: undefined, os: undefined, ...keys }
}
