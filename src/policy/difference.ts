/**
 * What changed from one policy document to another, in a line each, for the record and for people who read it.
 *
 * A line says where and what (`app wiki: rule "staff" changed`), never what a value was: the documents themselves are kept elsewhere, and a
 * record is no place for lists of addresses. The order of rules means nothing and is no change. Names come from the documents; lines are
 * bounded in number and in length.
 */

import type { App, CompanyRule, PolicyDocument, Rule } from './document.ts'
import { type Steps, takeSteps } from './steps.ts'

/** More is said as a number. */
const mostLines = 100
const mostCharacters = 240

/** What is different in `after`; empty where they mean the same. */
export function describeDifference(before: PolicyDocument, after: PolicyDocument): readonly string[] {
  return takeSteps(describeDifferenceInSteps(before, after))
}

/** The same an app at a time, for whoever has requests to serve in between. */
export function* describeDifferenceInSteps(before: PolicyDocument, after: PolicyDocument): Steps<readonly string[]> {
  const lines: string[] = []
  if (before.zone !== after.zone) lines.push('time zone changed')
  compareNamed(
    before.levels,
    after.levels,
    ({ name }) => name,
    (name, what) => lines.push(`level ${name} ${what}`),
  )
  compareNamed(
    before.services,
    after.services,
    ({ name }) => name,
    (name, what) => lines.push(`service ${name} ${what}`),
  )
  compareRules(before.rules, after.rules, 'company', lines)
  const former = new Map(before.apps.map((app) => [app.id, app]))
  for (const app of after.apps) {
    yield
    const earlier = former.get(app.id)
    if (earlier === undefined) lines.push(`app ${app.id} added`)
    else compareApps(earlier, app, lines)
    former.delete(app.id)
  }
  for (const id of former.keys()) lines.push(`app ${id} removed`)
  // A version is made of everything: also of what is drawn, and of what comes before what.
  if (lines.length === 0 && before.version !== after.version) lines.push('nothing but a picture or the order of rules changed')
  return bound(lines)
}

function bound(lines: readonly string[]): readonly string[] {
  const kept = lines.length <= mostLines ? lines : [...lines.slice(0, mostLines - 1), `and ${lines.length - mostLines + 1} more`]
  return kept.map((line) => (line.length <= mostCharacters ? line : `${line.slice(0, mostCharacters - 1)}…`))
}

function compareApps(before: App, after: App, lines: string[]): void {
  const about = `app ${after.id}`
  for (const key of Object.keys(after) as (keyof App)[]) {
    if (key !== 'rules' && isDifferent(before[key], after[key])) lines.push(`${about}: ${wordsOf[key]} changed`)
  }
  compareRules(before.rules, after.rules, about, lines)
}

/** As the document names what it can say of an app. */
const wordsOf: Readonly<Record<keyof App, string>> = {
  id: 'id',
  name: 'name',
  description: 'description',
  owner: 'owner',
  help: 'help',
  logo: 'logo',
  portal: 'portal',
  address: 'url',
  upstreams: 'upstream',
  sensitivity: 'sensitivity',
  preserveHost: 'preserve_host',
  identity: 'identity',
  session: 'session',
  timeouts: 'timeouts',
  calledBy: 'called_by',
  crossSitePosts: 'cross_site_posts',
  pathRules: 'path_rules',
  maxBodyBytes: 'max_body',
  stripPrefix: 'strip_prefix',
  passAuthorization: 'pass_authorization',
  setRequestHeaders: 'set_request_headers',
  removeRequestHeaders: 'remove_request_headers',
  setResponseHeaders: 'set_response_headers',
  report: 'report',
  audit: 'audit',
  rules: 'rules',
}

function compareRules(
  before: readonly (Rule | CompanyRule)[],
  after: readonly (Rule | CompanyRule)[],
  about: string,
  lines: string[],
): void {
  const said = (name: string, what: string) => lines.push(`${about === 'company' ? 'company' : `${about}:`} rule "${name}" ${what}`)
  compareNamed(before, after, ({ name }) => name, said)
}

function compareNamed<T>(
  before: readonly T[],
  after: readonly T[],
  nameOf: (one: T) => string,
  say: (name: string, what: string) => void,
): void {
  const former = new Map(before.map((one) => [nameOf(one), one]))
  for (const one of after) {
    const name = nameOf(one)
    const earlier = former.get(name)
    if (earlier === undefined) say(name, 'added')
    else if (isDifferent(earlier, one)) say(name, 'changed')
    former.delete(name)
  }
  for (const name of former.keys()) say(name, 'removed')
}

/** Where a list of networks lies is not what it says. */
const placeKeys: ReadonlySet<string> = new Set(['cidrsFile'])

/** Keys in any order, and a key without a value is no key. */
function isDifferent(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return false
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return true
  if (Array.isArray(left) !== Array.isArray(right)) return true
  const one = left as Readonly<Record<string, unknown>>
  const other = right as Readonly<Record<string, unknown>>
  if (Array.isArray(left) && Array.isArray(right) && left.length !== right.length) return true
  const keys = new Set([...Object.keys(one), ...Object.keys(other)])
  return [...keys].some((key) => !placeKeys.has(key) && isDifferent(one[key], other[key]))
}
