/**
 * What a policy asks of devices, of sign-ins and of the names that a provider uses for people, gathered with the rules that rest on it.
 *
 * The first half of comparing a policy with what was really seen (`policy-against-life.ts`). Pure. Levels are followed, and each
 * condition is listed once however many rules come to it. Names count in every rule; devices and sign-ins only in rules that are in force,
 * since a rule in report mode refuses nobody.
 */

import { compileDeviceCondition } from '../policy/device-condition.ts'
import type { ClaimSelector, Condition, DeviceCondition, PolicyDocument, Rule, Scalar, SignInCondition, Who } from '../policy/document.ts'
import { expressionClaims, expressionFacts } from '../policy/expression.ts'
import type { Facts } from '../policy/facts.ts'
import type { Outcome } from '../policy/outcome.ts'
import { normaliseEmail } from '../policy/who.ts'

/** Where something is asked for, in words: the first places, and how many there are. */
export interface Places {
  readonly first: readonly string[]
  readonly count: number
}

/** A rule that falls with a condition: that nobody can meet it refuses those whom it is for, or keeps them out. */
export interface Dependent {
  readonly where: string
  readonly effect: 'refuses' | 'keeps_out'
  readonly who: Who
}

/** A condition that at least one rule in force comes to. */
export interface Demand {
  /** The first level that it is written in; `undefined` where it is written in a rule. */
  readonly level: string | undefined
  readonly places: Places
  /** Some of them, no two for the same people and with the same effect. */
  readonly dependents: readonly Dependent[]
}

/** What one condition asks of a device. */
export interface DeviceDemand extends Demand {
  /** Posture that has to be known, by name. */
  readonly attributes: readonly string[]
  readonly withinSeconds: number
  readonly isReportAsked: boolean
  readonly condition: DeviceCondition | undefined
  /** Whether a device meets it, however that was identified; `undefined` of an expression, which asks for more than the device. */
  readonly judge: ((facts: Facts) => Outcome) | undefined
}

export interface SignInDemand extends Demand {
  readonly condition: SignInCondition
}

/** A claim that rules look at; no `values`: an expression reads it. */
export interface ClaimDemand {
  readonly path: readonly string[]
  readonly values: ReadonlyMap<Scalar, Places>
  readonly places: Places
}

export interface PolicyDemands {
  readonly devices: readonly DeviceDemand[]
  readonly signIns: readonly SignInDemand[]
  readonly groups: ReadonlyMap<string, Places>
  /** Addresses and domains as they are compared: in small letters. */
  readonly users: ReadonlyMap<string, Places>
  readonly domains: ReadonlyMap<string, Places>
  readonly claims: readonly ClaimDemand[]
}

type Comparable = Pick<PolicyDocument, 'levels' | 'rules' | 'apps'>

const shownPlaces = 3
/** More different circles of people than this do not hang on one condition, and each is counted over everybody. */
const maxDependents = 8

/** Gathers it. `others` are further selectors with what to call their place, such as the roles of the console. */
export function collectDemands(policy: Comparable, others: readonly { readonly where: string; readonly who: Who }[] = []): PolicyDemands {
  const names = createNames()
  const leaves = createLeaves(policy)
  const collected = new Map<string, Collected>()
  for (const { rule, where } of listRules(policy)) {
    names.addWho(rule.who, where)
    for (const keyword of ['require', 'when', 'unless'] as const) {
      for (const condition of rule[keyword]) {
        for (const leaf of leaves(condition)) {
          names.addLeaf(leaf.condition, where)
          if (rule.isReport) continue
          const known = collected.get(leaf.key) ?? { leaf, places: createPlaces(), dependents: new Map<string, Dependent>() }
          collected.set(leaf.key, known)
          known.places.add(where)
          const effect = leaf.isNecessary ? effectOf(rule.verb, keyword) : undefined
          if (effect === undefined || known.dependents.size >= maxDependents) continue
          const key = JSON.stringify([effect, rule.who])
          if (!known.dependents.has(key)) known.dependents.set(key, { where, effect, who: rule.who })
        }
      }
    }
  }
  for (const { id, report } of policy.apps) if (report !== undefined) names.addWho(report.pass, `report mode of \`${id}\``)
  for (const { who, where } of others) names.addWho(who, where)
  const all = [...collected.values()]
  return { devices: all.flatMap(deviceDemandOf), signIns: all.flatMap(signInDemandOf), ...names.collected() }
}

interface Collected {
  readonly leaf: Leaf
  readonly places: ReturnType<typeof createPlaces>
  readonly dependents: Map<string, Dependent>
}

function* listRules({ rules, apps }: Comparable): Generator<{ readonly rule: Rule; readonly where: string }> {
  for (const rule of rules) yield { rule, where: `company rule \`${rule.name}\`` }
  for (const app of apps) for (const rule of app.rules) yield { rule, where: `rule \`${rule.name}\` of \`${app.id}\`` }
}

/**
 * What becomes of a rule of which a condition is never known to be true. In a `when` of a `require` it narrows the requirement, and in an
 * `unless` of an allow or a require it takes nothing away that had been there.
 */
function effectOf(verb: Rule['verb'], keyword: 'require' | 'when' | 'unless'): Dependent['effect'] | undefined {
  if (verb === 'deny') return 'keeps_out'
  return (verb === 'allow' && keyword === 'when') || keyword === 'require' ? 'refuses' : undefined
}

type LeafCondition = Exclude<Condition, { readonly kind: 'level' | 'all_of' | 'any_of' | 'not' }>

interface Leaf {
  readonly key: string
  readonly condition: LeafCondition
  readonly level: string | undefined
  /** Nothing but it can make true what it stands in. */
  readonly isNecessary: boolean
}

/** The conditions that one comes to, through the levels it names. What a level comes to is worked out once. */
function createLeaves({ levels }: Comparable): (condition: Condition) => readonly Leaf[] {
  const conditions = new Map(levels.map(({ name, condition }) => [name, condition]))
  const known = new Map<string, readonly Leaf[]>()
  const find = (condition: Condition, level: string | undefined): readonly Leaf[] => {
    switch (condition.kind) {
      case 'level': {
        const earlier = known.get(condition.name)
        if (earlier !== undefined) return earlier
        const named = conditions.get(condition.name)
        const leaves = named === undefined ? [] : unique(find(named, condition.name))
        known.set(condition.name, leaves)
        return leaves
      }
      case 'all_of':
        return condition.of.flatMap((one) => find(one, level))
      case 'any_of':
        return condition.of.flatMap((one) => (condition.of.length === 1 ? find(one, level) : find(one, level).map(optional)))
      case 'not':
        return find(condition.of, level).map(optional)
      default:
        return [{ key: JSON.stringify(condition), condition, level, isNecessary: true }]
    }
  }
  return (condition) => find(condition, undefined)
}

function optional(leaf: Leaf): Leaf {
  return leaf.isNecessary ? { ...leaf, isNecessary: false } : leaf
}

/** Levels build on each other; a leaf that several of them come to is one. */
function unique(leaves: readonly Leaf[]): readonly Leaf[] {
  const found = new Map<string, Leaf>()
  for (const leaf of leaves) if (found.get(leaf.key)?.isNecessary !== true) found.set(leaf.key, leaf)
  return [...found.values()]
}

function demandOf({ leaf, places, dependents }: Collected): Demand {
  return { level: leaf.level, places: places.collected(), dependents: [...dependents.values()] }
}

function signInDemandOf(collected: Collected): readonly SignInDemand[] {
  const { condition } = collected.leaf
  return condition.kind === 'sign_in' ? [{ ...demandOf(collected), condition }] : []
}

function deviceDemandOf(collected: Collected): readonly DeviceDemand[] {
  const { condition } = collected.leaf
  if (condition.kind === 'expression') {
    const attributes = expressionFacts(condition.source).flatMap(attributeOfFact)
    if (attributes.length === 0) return []
    // An expression sees posture of the last day, and may come to its end without it.
    const asked = { attributes, withinSeconds: 86_400, isReportAsked: false, condition: undefined, judge: undefined }
    return [{ ...demandOf(collected), ...asked, dependents: [] }]
  }
  if (condition.kind !== 'device') return []
  const {
    attributes = [],
    diskEncrypted,
    firewall,
    isReportAsked,
    managed,
    os,
    reportedWithinSeconds: withinSeconds,
    screenLock,
  } = condition
  const settings = Object.entries({ managed, disk_encrypted: diskEncrypted, screen_lock: screenLock, firewall, os })
  const asked = settings.flatMap(([name, wanted]) => (wanted === undefined ? [] : [name]))
  if (os?.some(({ bound }) => bound !== undefined) === true) asked.push('os_version')
  const { judge } = compileDeviceCondition(condition)
  const names = [...asked, ...attributes.map(({ name }) => name)]
  return [{ ...demandOf(collected), attributes: names, withinSeconds, isReportAsked, condition, judge }]
}

const postureFields: ReadonlySet<string> = new Set(['managed', 'disk_encrypted', 'screen_lock', 'firewall', 'os', 'os_version'])

function attributeOfFact(fact: string): readonly string[] {
  const [variable, field = '', ...rest] = fact.split('.')
  if (variable !== 'device') return []
  if (field === 'attributes') return rest.length === 0 ? [] : [rest.join('.')]
  return postureFields.has(field) ? [field] : []
}

function createPlaces() {
  const first = new Set<string>()
  let count = 0
  let last: string | undefined
  return {
    add(where: string) {
      // The same rule may come to a name several times, one after the other.
      if (where !== last) count += 1
      last = where
      if (first.size < shownPlaces) first.add(where)
    },
    collected: (): Places => ({ first: [...first], count: Math.max(count, first.size) }),
  }
}

type Found<K> = Map<K, ReturnType<typeof createPlaces>>

/** Names that only a provider can give somebody. */
function createNames() {
  const groups: Found<string> = new Map()
  const users: Found<string> = new Map()
  const domains: Found<string> = new Map()
  const claims = new Map<string, { path: readonly string[]; values: Found<Scalar>; places: ReturnType<typeof createPlaces> }>()
  const add = <K>(found: Found<K>, name: K, where: string) => {
    const places = found.get(name) ?? createPlaces()
    found.set(name, places)
    places.add(where)
  }
  const addClaim = ({ path, values }: ClaimSelector, where: string) => {
    const key = JSON.stringify(path)
    const known = claims.get(key) ?? { path, values: new Map() as Found<Scalar>, places: createPlaces() }
    claims.set(key, known)
    known.places.add(where)
    for (const value of values) add(known.values, value, where)
  }
  const addWho = (who: Who, where: string): void => {
    if (who.kind === 'groups') for (const name of who.groups) add(groups, name, where)
    else if (who.kind === 'users') for (const email of who.emails) add(users, normaliseEmail(email) ?? email, where)
    else if (who.kind === 'domains') for (const domain of who.domains) add(domains, domain.toLowerCase(), where)
    else if (who.kind === 'claims') for (const selector of who.claims) addClaim(selector, where)
    else if (who.kind === 'any_of' || who.kind === 'all_of') for (const one of who.of) addWho(one, where)
  }
  const collect = <K>(found: Found<K>): ReadonlyMap<K, Places> => new Map([...found].map(([name, places]) => [name, places.collected()]))
  return {
    addWho,
    addLeaf(condition: LeafCondition, where: string) {
      if (condition.kind === 'subject') addWho(condition.who, where)
      else if (condition.kind === 'expression') for (const path of expressionClaims(condition.source)) addClaim({ path, values: [] }, where)
    },
    collected: () => ({
      groups: collect(groups),
      users: collect(users),
      domains: collect(domains),
      claims: [...claims.values()].map(({ path, values, places }) => ({ path, values: collect(values), places: places.collected() })),
    }),
  }
}
