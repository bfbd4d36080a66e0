/**
 * Small builders of documents and facts for tests, and a second implementation of the decision: naive, slow, written from the
 * tables of `docs/policy.md` without a look at the compiled one, so that the two can be compared.
 */

import type { Decision } from './decision.ts'
import type { App, CompanyRule, PolicyDocument, Rule, Who } from './document.ts'
import type { EnvironmentFacts, Facts, SubjectFacts } from './facts.ts'

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
    setRequestHeaders: [],
    removeRequestHeaders: [],
    setResponseHeaders: [],
    report: undefined,
    rules,
    ...changes,
  }
}

export function documentWith(apps: readonly App[], rules: readonly CompanyRule[] = []): PolicyDocument {
  return { version: 'sha256-0000000000000000', zone: 'UTC', levels: [], services: [], rules, apps }
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
    at: 1_800_000_000_000,
    country: notGathered,
    asn: notGathered,
    scheme: 'https',
    tlsVersion: notGathered,
    client: { browser: notGathered, browserVersion: notGathered, os: notGathered },
    ...changes,
  }
}

type Truth = 'true' | 'false' | 'unknown'

/** Effect, reason and, where an allow or a deny applied, the set of rules that may be named. */
export function naiveDecision(
  rules: readonly Rule[],
  given: Facts,
): { effect: Decision['effect']; reason: Decision['reason']; rules: string[] } {
  const judged = rules.map((one) => ({ one, truth: naiveRule(one, given) }))
  const named = (verb: string, truth: Truth) =>
    judged.filter((entry) => entry.one.verb === verb && entry.truth === truth).map((entry) => entry.one.name)
  const certain = named('deny', 'true')
  const possible = named('deny', 'unknown')
  const allowing = named('allow', 'true')
  if (given.subject.kind === 'nobody') {
    if (certain.length > 0) return { effect: 'deny', reason: 'denied_by_rule', rules: certain }
    if (allowing.length === 0) return { effect: 'challenge', reason: 'login_required', rules: [] }
  }
  if (certain.length > 0) return { effect: 'deny', reason: 'denied_by_rule', rules: certain }
  if (possible.length > 0) return { effect: 'deny', reason: 'denied_by_rule', rules: possible }
  if (allowing.length > 0) {
    const specific = judged
      .filter((entry) => entry.one.verb === 'allow' && entry.truth === 'true' && !isPublic(entry.one.who))
      .map((entry) => entry.one.name)
    return specific.length > 0
      ? { effect: 'allow', reason: 'rule_matched', rules: specific }
      : { effect: 'allow', reason: 'public', rules: allowing }
  }
  return { effect: 'deny', reason: 'no_rule_matched', rules: rules.filter((one) => one.verb === 'allow').map((one) => one.name) }
}

function isPublic(who: Who): boolean {
  if (who.kind === 'any_of') return who.of.some(isPublic)
  if (who.kind === 'all_of') return who.of.every(isPublic)
  return who.kind === 'public'
}

function naiveRule(one: Rule, given: Facts): Truth {
  const truths = [naiveWho(one.who, one.verb, given.subject)]
  const { method, methodClass, path } = given.request
  if (one.methods !== undefined) {
    const byName = methodClass === 'websocket' ? false : one.methods.names.includes(method)
    truths.push(byName || one.methods.classes.includes(methodClass) ? 'true' : 'false')
  }
  // The property tests use paths whose only loose spelling is the case.
  const seen = (text: string) => (one.verb === 'deny' ? text.toLowerCase() : text)
  if (one.paths !== undefined) truths.push(one.paths.some((pattern) => naivePath(seen(pattern), seen(path))) ? 'true' : 'false')
  return all(truths)
}

function naivePath(pattern: string, path: string): boolean {
  if (!pattern.endsWith('/**')) return pattern === path
  return path === pattern.slice(0, -3) || path.startsWith(pattern.slice(0, -2))
}

function naiveWho(who: Who, verb: Rule['verb'], subject: SubjectFacts): Truth {
  const isPerson = subject.kind === 'person'
  switch (who.kind) {
    case 'public':
      return 'true'
    case 'everyone':
      return subject.kind === 'nobody' && verb === 'allow' ? 'false' : 'true'
    case 'signed_in':
      return isPerson ? 'true' : 'false'
    case 'services':
      return subject.kind === 'service' && who.names.some((name) => subject.names.includes(name)) ? 'true' : 'false'
    case 'users':
    case 'domains': {
      if (!isPerson) return 'false'
      if (!subject.email.known || subject.email.value.split('@').length !== 2) return 'unknown'
      const email = subject.email.value.toLowerCase()
      const wanted = who.kind === 'users' ? who.emails : who.domains
      return wanted.some((entry) => entry.toLowerCase() === (who.kind === 'users' ? email : email.split('@')[1])) ? 'true' : 'false'
    }
    case 'groups':
      if (!isPerson) return 'false'
      if (!subject.groups.known) return 'unknown'
      return subject.groups.value.some((group) => who.groups.includes(group)) ? 'true' : 'false'
    case 'claims':
      return all(
        who.claims.map(({ path, values }): Truth => {
          if (subject.kind === 'nobody') return 'false'
          if (isPerson && !subject.claims.known) return 'unknown'
          const claims = subject.kind === 'service' ? subject.claims : subject.claims.known ? subject.claims.value : {}
          const name = path[0] ?? ''
          const value = Object.keys(claims).includes(name) ? claims[name] : undefined
          if (value === undefined || value === null) return isPerson ? 'unknown' : 'false'
          return [value].flat().some((entry) => values.some((wanted) => wanted === entry)) ? 'true' : 'false'
        }),
      )
    case 'any_of': {
      const truths = who.of.map((one) => naiveWho(one, verb, subject))
      return truths.includes('true') ? 'true' : truths.includes('unknown') ? 'unknown' : 'false'
    }
    case 'all_of':
      return all(who.of.map((one) => naiveWho(one, verb, subject)))
  }
}

function all(truths: readonly Truth[]): Truth {
  return truths.includes('false') ? 'false' : truths.includes('unknown') ? 'unknown' : 'true'
}
