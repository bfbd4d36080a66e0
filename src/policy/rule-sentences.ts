/**
 * Rules as sentences: "Members of finance, on a healthy device, signed in with MFA within the last hour, may do anything."
 *
 * For people who approve, review and look things up, and who do not read YAML. A sentence is made from the compiled document's own values and not
 * from text beside them, so that it cannot say something else than what is enforced. It is plain text: whoever shows it escapes it.
 */

import type { App, CompanyRule, Condition, Level, Rule, Who } from './document.ts'
import { describeCondition, describeWho, type FindLevel, listOf, named } from './rule-sentences-conditions.ts'

/** Finds the levels of a document by name. */
export function levelFinder(levels: readonly Level[]): FindLevel {
  const byName = new Map(levels.map(({ condition, name }) => [name, condition]))
  return (name) => byName.get(name)
}

/** One rule: whom it concerns, under which circumstances, and what they may, may not or need. One sentence, and one each for what is special. */
export function describeRule(rule: Rule | CompanyRule, findLevel: FindLevel): string {
  const scope = describeScope(rule)
  const sentence = describeEffect(rule, findLevel) + describeExceptions(rule, findLevel)
  return [
    `${scope === '' ? capitalised(sentence) : `${capitalised(scope)}, ${sentence}`}.`,
    ...describeDates(rule),
    ...(rule.isReport ? ['On trial: it only records what it would do.'] : []),
    ...(rule.isAlert ? ['Raises an alert whenever it decides.'] : []),
  ].join(' ')
}

/** A level: "healthy device: on a device that is managed and has its disk encrypted." */
export function describeLevel({ condition, name }: Level, findLevel: FindLevel): string {
  return `${capitalised(name.replace(/[_-]+/g, ' '))}: ${describeCondition(condition, findLevel)}.`
}

/** Every rule that holds for an app: its own and those of the company, each with its sentence. */
export function describeRules(rules: readonly (Rule | CompanyRule)[], findLevel: FindLevel): readonly string[] {
  return rules.map((rule) => describeRule(rule, findLevel))
}

/** Whether a rule of the company holds for this app. */
export function concerns(rule: CompanyRule, app: Pick<App, 'id' | 'sensitivity'>): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}

/** Names of the levels that these conditions name, and those that stand behind them. */
export function levelsUsed(rules: readonly Rule[], findLevel: FindLevel): readonly string[] {
  const names = new Set<string>()
  const visit = (condition: Condition): void => {
    if (condition.kind === 'all_of' || condition.kind === 'any_of') condition.of.forEach(visit)
    else if (condition.kind === 'not') visit(condition.of)
    else if (condition.kind === 'level' && !names.has(condition.name)) {
      names.add(condition.name)
      const meant = findLevel(condition.name)
      if (meant !== undefined) visit(meant)
    }
  }
  for (const { require, unless, when } of rules) [...require, ...when, ...unless].forEach(visit)
  return [...names].sort()
}

function describeScope(rule: Rule | CompanyRule): string {
  const { apps, sensitivity } = rule as Partial<CompanyRule>
  const kinds = sensitivity === undefined ? '' : `${listOf(sensitivity, 'or')} apps`
  if (apps === undefined) return kinds === '' ? '' : `in ${kinds}`
  return `in ${listOf(apps.map(named))}${kinds === '' ? '' : `, as far as they are ${listOf(sensitivity ?? [], 'or')}`}`
}

function describeEffect(rule: Rule, findLevel: FindLevel): string {
  const { require, verb, when, who } = rule
  const circumstances = when.map((condition) => describeCondition(condition, findLevel))
  const { object, verbs } = describeAction(rule)
  switch (verb) {
    case 'allow': {
      const inserted = circumstances.length === 0 ? '' : `${comma(describeWho(who))} ${circumstances.join(', ')},`
      return `${inserted === '' ? describeWho(who) : inserted} may ${verbs === undefined ? 'do anything' : listOf(verbs)}${object}`
    }
    case 'deny': {
      const where = circumstances.length === 0 ? '' : `, ${circumstances.join(', ')}`
      if (isEverybody(who)) return `nobody may ${verbs === undefined ? 'do anything' : listOf(verbs, 'or')}${object}${where}`
      return `${describeWho(who)} may ${verbs === undefined ? 'do nothing' : `not ${listOf(verbs, 'or')}`}${object}${where}`
    }
    case 'require': {
      const needs = require.map((condition) => describeCondition(condition, findLevel))
      const where = circumstances.length === 0 ? '' : `, ${circumstances.join(', ')}`
      const whom = who.kind === 'signed_in' ? 'everybody who may come in needs' : `${comma(describeWho(who))} where they may come in, need`
      const what = verbs === undefined && object === '' ? '' : `, to ${verbs === undefined ? 'do anything' : listOf(verbs, 'or')}${object}`
      return `${whom} to be ${needs.join(', and ')}${what}${where}`
    }
  }
}

/** A phrase that ends in a comma already gets no second one. */
function comma(phrase: string): string {
  return phrase.endsWith(',') ? phrase : `${phrase},`
}

function isEverybody(who: Who): boolean {
  return who.kind === 'everyone'
}

/** What is done (`undefined`: anything), and where. */
function describeAction({ methods, paths }: Rule): { readonly verbs: readonly string[] | undefined; readonly object: string } {
  const object = paths === undefined ? '' : ` in ${listOf(paths)}`
  if (methods === undefined) return { verbs: undefined, object }
  const classes = methods.classes.map((one) => (one === 'websocket' ? 'open WebSockets' : one))
  return { verbs: [...classes, ...(methods.names.length === 0 ? [] : [`send ${listOf(methods.names, 'or')} requests`])], object }
}

function describeExceptions({ unless }: Rule, findLevel: FindLevel): string {
  if (unless.length === 0) return ''
  return `, except ${unless.map((condition) => describeCondition(condition, findLevel)).join(', or ')}`
}

function describeDates({ from, until }: Rule): readonly string[] {
  if (from === undefined && until === undefined) return []
  return [`Holds${from === undefined ? '' : ` from ${from}`}${until === undefined ? '' : ` until ${until}`}.`]
}

function capitalised(text: string): string {
  return /^[a-z]/.test(text) && !/^\S*[@._]\S/.test(text) ? text[0]?.toUpperCase() + text.slice(1) : text
}
