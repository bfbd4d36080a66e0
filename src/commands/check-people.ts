/**
 * What `check --live` says about the names that a policy uses for people: groups, domains, addresses, claims and strengths of sign-ins
 * that no sign-in on record carried, each with the nearest that one did.
 *
 * Words only; the counting is `administration/policy-against-life-people.ts`. Addresses of people are named only as the policy has them,
 * never as they were seen. Somebody who has not come yet is no mistake: of single people, and of what was not read to its end, it is
 * only a note.
 */

import type { LifeComparison } from '../administration/policy-against-life.ts'
import type { Places, SignInDemand } from '../administration/policy-against-life-demands.ts'
import type { PeopleSeen } from '../administration/policy-against-life-people.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { findNearest, quote } from '../config/problems.ts'
import type { Scalar } from '../policy/document.ts'
import type { UnknownReason } from '../policy/facts.ts'
import { describeSeen, namePlaces } from './check-words.ts'
import { type ProbeResult, result } from './probe-result.ts'

/** Nobody reads more of a kind. */
const maxOfKind = 20

type Provider = InstanceConfiguration['provider']

/** One line about who was seen, and one for each name that nobody carried. */
export function describePeople({ demands, people }: LifeComparison, provider: Provider, hasServices: boolean): readonly ProbeResult[] {
  if (people.read === 0) {
    const message = 'nobody has signed in here yet: what the policy says of people was not compared'
    return [result('people', 'unknown', message)]
  }
  const read = people.read < people.total ? `${people.read} of ${people.total} people on record were read` : peopleOnRecord(people.total)
  return [
    result('people', 'good', read),
    ...few(describeGroups(demands.groups, people, provider)),
    ...few(describeAddresses({ users: demands.users, domains: demands.domains }, people)),
    ...few(describeClaims(demands.claims, people, hasServices)),
    ...few(describeSignIns(demands.signIns, people)),
  ]
}

function peopleOnRecord(total: number): string {
  return total === 1 ? '1 person on record was read' : `${total} people on record were read`
}

function few(results: readonly ProbeResult[]): readonly ProbeResult[] {
  const last = results[maxOfKind]
  if (last === undefined) return results
  return [...results.slice(0, maxOfKind), result(last.probe, last.outcome, `and ${results.length - maxOfKind} more`)]
}

/** Of people who were not read, nobody can say what they carried. */
function doubt({ read, total }: PeopleSeen): 'warning' | 'unknown' {
  return read < total ? 'unknown' : 'warning'
}

function hint(places: Places): string {
  return `asked for by ${namePlaces(places)}`
}

const groupReasons: Partial<Record<UnknownReason, string>> = {
  groups_overage: 'the provider leaves groups out because they are too many (overage)',
}

function describeGroups(wanted: ReadonlyMap<string, Places>, people: PeopleSeen, provider: Provider): readonly ProbeResult[] {
  if (wanted.size === 0) return []
  const unknown = sum(people.withoutGroups)
  if (unknown === people.read) {
    const [reason = 'claim_absent'] = people.withoutGroups.keys()
    const paths = provider.claims.groups.map((path) => quote(path.join('.'))).join(' or ')
    const message = groupReasons[reason] ?? `no sign-in on record carried groups in ${paths}`
    return [result('groups', doubt(people), `${message}: every rule about groups is unknown for everybody`, 'see `provider.claims.groups`')]
  }
  const all = new Set([...people.groups.others, ...people.groups.wanted])
  return [...wanted].flatMap(([group, places]) => {
    if (people.groups.wanted.has(group)) return []
    const message = `no sign-in on record carried ${quote(group)}; ${describeSeen(group, all)}`
    return [result('groups', doubt(people), message, hint(places))]
  })
}

function describeAddresses(
  { users, domains }: { readonly users: ReadonlyMap<string, Places>; readonly domains: ReadonlyMap<string, Places> },
  people: PeopleSeen,
): readonly ProbeResult[] {
  if (users.size + domains.size === 0) return []
  if (sum(people.withoutEmail) === people.read) {
    const [reason] = people.withoutEmail.keys()
    const why =
      reason === 'email_unverified' ? 'the provider vouched for no e-mail address' : 'no sign-in on record carried an e-mail address'
    return [result('e-mail', doubt(people), `${why}: \`users\` and \`domains\` match nobody`, 'see `provider.email` and the scope `email`')]
  }
  const unseen = [...users.keys()].filter((email) => !people.users.has(email))
  const named = unseen.slice(0, 5).map(quote).join(', ')
  const note = `not seen yet: ${named}${unseen.length > 5 ? ` and ${unseen.length - 5} more` : ''}`
  return [
    ...(unseen.length === 0 ? [] : [result('e-mail', 'unknown', note)]),
    ...[...domains].flatMap(([domain, places]) => {
      if (people.domains.wanted.has(domain)) return []
      const near = findNearest(domain, people.domains.others)
      const message = `nobody on record has an address at ${quote(domain)}${near === undefined ? '' : `; seen: ${quote(near)}`}`
      return [result('e-mail', near === undefined ? 'unknown' : doubt(people), message, hint(places))]
    }),
  ]
}

function describeClaims(wanted: LifeComparison['demands']['claims'], people: PeopleSeen, hasServices: boolean): readonly ProbeResult[] {
  // What people lack, a service's token may well have.
  const outcome = hasServices ? 'unknown' : doubt(people)
  return wanted.flatMap(({ path, places, values }, position) => {
    const seen = people.claims[position]
    const name = quote(path.join('.'))
    if (seen === undefined || seen.carried === 0)
      return [result('claims', outcome, `no sign-in on record carried the claim ${name}`, hint(places))]
    const texts = new Set([...seen.values.wanted, ...seen.values.others].map(String))
    return [...values].flatMap(([value, at]) => {
      if (seen.values.wanted.has(value)) return []
      return [result('claims', outcome, `the claim ${name} was never ${describeValue(value, seen.values.others, texts)}`, hint(at))]
    })
  })
}

/** `1` is not `"1"`, and looks the same. */
function describeValue(value: Scalar, others: ReadonlySet<Scalar>, texts: ReadonlySet<string>): string {
  const twin = [...others].find((one) => typeof one !== typeof value && String(one) === String(value))
  if (twin !== undefined) return `the ${typeof value} ${quote(String(value))}; seen: the ${typeof twin}`
  return `${quote(String(value))}; ${describeSeen(String(value), texts)}`
}

function describeSignIns(wanted: readonly SignInDemand[], people: PeopleSeen): readonly ProbeResult[] {
  const lacks = new Map<string, ProbeResult>()
  const say = (message: string, help: string) => {
    if (!lacks.has(message)) lacks.set(message, result('sign-ins', doubt(people), message, help))
  }
  for (const { condition, places } of wanted) {
    const { acr, amr, strength, withinSeconds } = condition
    if (strength !== undefined && !hasAny(strength.acr, people.acr) && !hasAny(strength.amr, people.amr)) {
      const means = [...strength.acr.map((value) => `acr ${quote(value)}`), ...strength.amr.map((value) => `amr ${quote(value)}`)]
      const seen = `${list('acr', people.acr)}, ${list('amr', people.amr)}`
      say(`no sign-in on record was ${quote(strength.name)} (${means.join(' or ')}); seen: ${seen}`, hint(places))
    }
    if (acr !== undefined && !hasAny(acr, people.acr))
      say(`no sign-in on record stated an \`acr\` of ${acr.map(quote).join(' or ')}; seen: ${list('acr', people.acr)}`, hint(places))
    if (amr !== undefined && !hasAny(amr, people.amr))
      say(`no sign-in on record stated an \`amr\` of ${amr.map(quote).join(' or ')}; seen: ${list('amr', people.amr)}`, hint(places))
    if (withinSeconds !== undefined && people.timed === 0) {
      say(
        'the provider never stated `auth_time`, so `within` is unknown for everybody',
        'a provider that states it only when asked does so at the first step-up; see its client settings',
      )
    }
  }
  return [...lacks.values()]
}

function hasAny(wanted: readonly string[], seen: ReadonlySet<string>): boolean {
  return wanted.some((value) => seen.has(value))
}

function list(name: string, seen: ReadonlySet<string>): string {
  if (seen.size === 0) return `no ${name}`
  const some = [...seen].sort().slice(0, 5)
  return `${name} ${some.map((value) => quote(value)).join(', ')}${seen.size > some.length ? ' and others' : ''}`
}

function sum(counts: ReadonlyMap<unknown, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
