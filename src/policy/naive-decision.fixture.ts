/**
 * A second implementation of the decision: naive, slow, written from the tables of the language without a look at the compiled one, so
 * that the two can be compared. Step-up is found by trying every set of sign-in conditions there is.
 */

import type { Decision } from './decision.ts'
import type { Condition, PolicyDocument, Rule, SignInCondition, Who } from './document.ts'
import type { Facts } from './facts.ts'

type Truth = 'true' | 'false' | 'unknown'
/** What a `sign_in` condition is taken for. */
type World = (condition: SignInCondition) => Truth

export interface NaiveDecision {
  readonly effect: Decision['effect']
  readonly reason: Decision['reason']
  /** Names of which the decision names one; empty where it names none. */
  readonly rules: readonly string[]
  /** For a step-up: whether a set of conditions is enough, and the fewest of them that do not hold yet, and at all. */
  readonly stepUp?: {
    readonly isEnough: (conditions: readonly SignInCondition[]) => boolean
    readonly pending: number
    readonly size: number
  }
}

/** Decides as the rules in force and the app's report mode say, and as all of them would. */
export function naiveDecision(document: PolicyDocument, given: Facts): { decided: NaiveDecision; would: NaiveDecision | undefined } {
  const [app] = document.apps
  if (app === undefined) throw new Error('the app is missing')
  const company = document.rules.filter(
    (one) =>
      (one.apps === undefined || one.apps.includes(app.id)) && (one.sensitivity === undefined || one.sensitivity.includes(app.sensitivity)),
  )
  const rules: readonly Rule[] = [...app.rules, ...company]
  const enforced = rules.filter((one) => !one.isReport)
  const passes =
    app.report !== undefined &&
    given.subject.kind !== 'nobody' &&
    (app.report.until === undefined || dayOf(given) <= app.report.until) &&
    naiveWho(app.report.pass, false, given) === 'true'
  const hasReport = app.report !== undefined || enforced.length < rules.length
  return {
    decided: decideNaively(new Interpreter(document, given), enforced, passes),
    would: hasReport ? decideNaively(new Interpreter(document, given), rules, false) : undefined,
  }
}

function decideNaively(interpreter: Interpreter, rules: readonly Rule[], passes: boolean): NaiveDecision {
  const { given } = interpreter
  const actual: World = (condition) => naiveSignIn(condition, given)
  const mended: World = () => 'true'
  const denies = rules.filter(({ verb }) => verb === 'deny')
  const allows = rules.filter(({ verb }) => verb === 'allow')
  const requires = rules.filter(({ verb }) => verb === 'require')
  const namesOf = (some: readonly Rule[]) => some.map(({ name }) => name)
  const denying = (world: World, wanted: Truth) => denies.filter((one) => interpreter.rule(one, world) === wanted)
  const allowing = (world: World) => allows.filter((one) => interpreter.allow(one, requires, world) === 'true')

  const certain = denying(actual, 'true')
  const possible = denying(actual, 'unknown')
  const allowed = allowing(actual)
  if (given.subject.kind === 'nobody') {
    if (certain.length > 0) return { effect: 'deny', reason: 'denied_by_rule', rules: namesOf(certain) }
    if (allowed.length === 0) return { effect: 'challenge', reason: 'login_required', rules: [] }
  }
  const stepUp = (): NaiveDecision | undefined => {
    if (given.subject.kind !== 'person') return undefined
    if ([...certain, ...possible].some((one) => interpreter.rule(one, mended) !== 'false')) return undefined
    if (!passes && allowing(mended).length === 0) return undefined
    const disproved = denying(mended, 'false')
    const isEnough = (conditions: readonly SignInCondition[]) => {
      const keys = conditions.map(keyOf)
      const world: World = (condition) => (keys.includes(keyOf(condition)) ? 'true' : 'unknown')
      return disproved.every((one) => interpreter.rule(one, world) === 'false') && (passes || allowing(world).length > 0)
    }
    const sizes = subsets(interpreter.signInConditions(rules))
      .filter(isEnough)
      .map((set) => [set.filter((one) => actual(one) !== 'true').length, set.length] as const)
      .sort(([left, a], [right, b]) => left - right || a - b)
    const [pending, size] = sizes[0] ?? [Number.NaN, Number.NaN]
    const rest = [...requires, ...allows]
    const named = certain.length > 0 ? certain : possible.length > 0 ? possible : rest
    return { effect: 'challenge', reason: 'insufficient_user_authentication', rules: namesOf(named), stepUp: { isEnough, pending, size } }
  }
  if (certain.length + possible.length > 0)
    return stepUp() ?? { effect: 'deny', reason: 'denied_by_rule', rules: namesOf(certain.length > 0 ? certain : possible) }
  if (allowed.length > 0) {
    const specific = allowed.filter(({ who }) => !isPublic(who))
    return specific.length > 0
      ? { effect: 'allow', reason: 'rule_matched', rules: namesOf(specific) }
      : { effect: 'allow', reason: 'public', rules: namesOf(allowed) }
  }
  const near = namesOf([...allows, ...(allows.length > 0 ? requires : [])])
  if (passes) return { effect: 'allow', reason: 'report_mode', rules: near.length > 0 ? near : [''] }
  return stepUp() ?? { effect: 'deny', reason: 'no_rule_matched', rules: near }
}

class Interpreter {
  readonly document: PolicyDocument
  readonly given: Facts

  constructor(document: PolicyDocument, given: Facts) {
    this.document = document
    this.given = given
  }

  allow(one: Rule, requires: readonly Rule[], world: World): Truth {
    const added = requires.map((require) =>
      any([opposite(this.rule(require, world)), all(require.require.map((demand) => this.condition(demand, world)))]),
    )
    return all([this.rule(one, world), ...added])
  }

  rule(one: Rule, world: World): Truth {
    const { method, methodClass, path } = this.given.request
    const truths = [naiveWho(one.who, one.verb === 'deny' || one.verb === 'require', this.given)]
    if (one.methods !== undefined) {
      const byName = methodClass === 'websocket' ? false : one.methods.names.includes(method)
      truths.push(byName || one.methods.classes.includes(methodClass) ? 'true' : 'false')
    }
    // The property tests use paths whose only loose spelling is the case.
    const seen = (text: string) => (one.verb === 'allow' ? text : text.toLowerCase())
    if (one.paths !== undefined) truths.push(truth(one.paths.some((pattern) => naivePath(seen(pattern), seen(path)))))
    if (one.from !== undefined) truths.push(truth(dayOf(this.given) >= one.from))
    if (one.until !== undefined) truths.push(truth(dayOf(this.given) <= one.until))
    for (const condition of one.when) truths.push(this.condition(condition, world))
    if (one.unless.length > 0) truths.push(opposite(any(one.unless.map((condition) => this.condition(condition, world)))))
    return all(truths)
  }

  condition(condition: Condition, world: World): Truth {
    const { device, environment } = this.given
    switch (condition.kind) {
      case 'level':
        return this.condition(this.level(condition.name), world)
      case 'all_of':
        return all(condition.of.map((one) => this.condition(one, world)))
      case 'any_of':
        return any(condition.of.map((one) => this.condition(one, world)))
      case 'not':
        return opposite(this.condition(condition.of, world))
      case 'subject':
        return naiveWho(condition.who, false, this.given)
      case 'sign_in':
        return world(condition)
      case 'device': {
        if (!device.known) return 'unknown'
        const { attributes } = device.value
        const wanted = { managed: condition.managed, disk_encrypted: condition.diskEncrypted }
        return all(
          Object.entries(wanted).map(([name, value]): Truth => {
            const attribute = attributes[name]
            if (value === undefined) return 'true'
            if (attribute === undefined || environment.at - attribute.at > condition.reportedWithinSeconds * 1000) return 'unknown'
            return truth(attribute.value === value)
          }),
        )
      }
      case 'network': {
        const truths: Truth[] = []
        // The property tests know two networks by the beginning of their addresses.
        if (condition.cidrs !== undefined)
          truths.push(truth(condition.cidrs.some((cidr) => environment.address.startsWith(cidr.startsWith('10.') ? '10.' : '192.0.2.'))))
        if (condition.countries !== undefined)
          truths.push(environment.country.known ? naiveCountry(condition.countries, environment.country.value) : 'unknown')
        return all(truths)
      }
      case 'time': {
        const date = new Date(environment.at)
        const minute = date.getUTCHours() * 60 + date.getUTCMinutes()
        const day = (['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const)[date.getUTCDay()]
        const days = condition.days === undefined || condition.days.some((one) => one === day)
        return truth(days && (condition.between === undefined || condition.between.some(({ from, to }) => minute >= from && minute < to)))
      }
      case 'client':
        return condition.browsers === undefined || !environment.client.browser.known
          ? 'unknown'
          : truth(condition.browsers.includes(environment.client.browser.value))
      case 'expression':
        return naiveExpression(condition.source, this.given)
    }
  }

  /** Every one that some rule rests on, once. */
  signInConditions(rules: readonly Rule[]): readonly SignInCondition[] {
    const found = new Map<string, SignInCondition>()
    const visit = (condition: Condition): void => {
      if (condition.kind === 'sign_in') found.set(keyOf(condition), condition)
      else if (condition.kind === 'level') visit(this.level(condition.name))
      else if (condition.kind === 'not') visit(condition.of)
      else if (condition.kind === 'all_of' || condition.kind === 'any_of') condition.of.forEach(visit)
    }
    for (const one of rules) [...one.when, ...one.unless, ...one.require].forEach(visit)
    return [...found.values()]
  }

  private level(name: string): Condition {
    const found = this.document.levels.find((one) => one.name === name)
    if (found === undefined) throw new Error(`the level ${name} is missing`)
    return found.condition
  }
}

/** The expressions of the property tests, in TypeScript. */
export const expressions: Readonly<Record<string, (given: Facts) => Truth>> = {
  "request.method == 'GET'": ({ request }) => truth(request.method === 'GET'),
  "'staff' in subject.groups": ({ subject }) => {
    if (subject.kind !== 'person') return 'false'
    return subject.groups.known ? truth(subject.groups.value.includes('staff')) : 'unknown'
  },
}

function naiveExpression(source: string, given: Facts): Truth {
  const evaluate = expressions[source]
  if (evaluate === undefined) throw new Error(`nobody knows ${source}`)
  return evaluate(given)
}

function naiveSignIn({ strength, acr, amr, withinSeconds }: SignInCondition, { signIn, environment }: Facts): Truth {
  if (!signIn.known) return 'unknown'
  const { value } = signIn
  const byAcr = (wanted: readonly string[]): Truth => (value.acr.known ? truth(wanted.includes(value.acr.value)) : 'unknown')
  const byAmr = (wanted: readonly string[]): Truth =>
    value.amr.known ? truth(value.amr.value.some((method) => wanted.includes(method))) : 'unknown'
  const truths: Truth[] = []
  if (strength !== undefined) {
    const ways = [strength.acr.length > 0 ? byAcr(strength.acr) : 'false', strength.amr.length > 0 ? byAmr(strength.amr) : 'false'] as const
    truths.push(any(ways))
  }
  if (acr !== undefined) truths.push(byAcr(acr))
  if (amr !== undefined) truths.push(byAmr(amr))
  if (withinSeconds !== undefined) truths.push(value.at.known ? truth(environment.at - value.at.value <= withinSeconds * 1000) : 'unknown')
  return all(truths)
}

function naivePath(pattern: string, path: string): boolean {
  if (!pattern.endsWith('/**')) return pattern === path
  return path === pattern.slice(0, -3) || path.startsWith(pattern.slice(0, -2))
}

function naiveWho(who: Who, includesStrangers: boolean, given: Facts): Truth {
  const { subject } = given
  const isPerson = subject.kind === 'person'
  switch (who.kind) {
    case 'public':
      return 'true'
    case 'everyone':
      return truth(subject.kind !== 'nobody' || includesStrangers)
    case 'signed_in':
      return truth(isPerson)
    case 'services':
      return truth(subject.kind === 'service' && who.names.some((name) => subject.names.includes(name)))
    case 'users':
    case 'domains': {
      if (!isPerson) return 'false'
      if (!subject.email.known || subject.email.value.split('@').length !== 2) return 'unknown'
      const email = subject.email.value.toLowerCase()
      const wanted = who.kind === 'users' ? who.emails : who.domains
      return truth(wanted.some((entry) => entry.toLowerCase() === (who.kind === 'users' ? email : email.split('@')[1])))
    }
    case 'groups':
      if (!isPerson) return 'false'
      return subject.groups.known ? truth(subject.groups.value.some((group) => who.groups.includes(group))) : 'unknown'
    case 'claims':
      return all(
        who.claims.map(({ path, values }): Truth => {
          if (subject.kind === 'nobody') return 'false'
          if (isPerson && !subject.claims.known) return 'unknown'
          const claims = subject.kind === 'service' ? subject.claims : subject.claims.known ? subject.claims.value : {}
          const name = path[0] ?? ''
          const value = Object.keys(claims).includes(name) ? claims[name] : undefined
          if (value === undefined || value === null) return isPerson ? 'unknown' : 'false'
          return truth([value].flat().some((entry) => values.some((wanted) => wanted === entry)))
        }),
      )
    case 'any_of':
      return any(who.of.map((one) => naiveWho(one, includesStrangers, given)))
    case 'all_of':
      return all(who.of.map((one) => naiveWho(one, includesStrangers, given)))
  }
}

function isPublic(who: Who): boolean {
  if (who.kind === 'any_of') return who.of.some(isPublic)
  if (who.kind === 'all_of') return who.of.every(isPublic)
  return who.kind === 'public'
}

/** The zone of these documents is UTC. */
function dayOf({ environment }: Facts): string {
  return new Date(environment.at).toISOString().slice(0, 10)
}

function keyOf({ strength, acr, amr, withinSeconds }: SignInCondition): string {
  return JSON.stringify({ strength: strength?.name, acr: acr?.toSorted(), amr: amr?.toSorted(), withinSeconds })
}

function subsets<Value>(values: readonly Value[]): readonly (readonly Value[])[] {
  return Array.from({ length: 2 ** values.length }, (_, chosen) => values.filter((_value, index) => ((chosen >> index) & 1) === 1))
}

function naiveCountry(wanted: readonly string[], country: string | undefined): Truth {
  return truth(country !== undefined && wanted.includes(country))
}

function truth(holds: boolean): Truth {
  return holds ? 'true' : 'false'
}

function opposite(one: Truth): Truth {
  return one === 'unknown' ? one : truth(one === 'false')
}

function all(truths: readonly Truth[]): Truth {
  return truths.includes('false') ? 'false' : truths.includes('unknown') ? 'unknown' : 'true'
}

function any(truths: readonly Truth[]): Truth {
  return truths.includes('true') ? 'true' : truths.includes('unknown') ? 'unknown' : 'false'
}
