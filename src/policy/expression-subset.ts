/**
 * Which of CEL's expressions a policy may use, and the most work that one may do. Both are settled when the policy is loaded.
 *
 * Everything is refused that is not listed here: what the language gains in a later version of the engine is not gained by a policy. The work
 * is bounded beforehand, from the sizes that facts can have at most (`factLimits`): a comprehension multiplies the work of its body by the
 * length of its list, nested ones multiply again, a pattern costs its instructions for each character. Not one bound of this file is checked
 * while a request waits.
 */

import type { ASTNode } from '@marcbachmann/cel-js'
import { isPrototypeName } from './claim-path.ts'
import { expressionFields } from './expression-facts.ts'
import { type FactPath, findPath, isBelowLocal, isVariable, literalOf, namesPrototype, typeOf } from './expression-path.ts'
import { compilePattern } from './expression-pattern.ts'
import {
  anyFact,
  bothSizes,
  type Measure,
  measureItem,
  measurePatternWork,
  type Size,
  scalar,
  sizeOfType,
  textOf,
} from './expression-work.ts'

/** What is wrong with an expression, and where: offsets into its source, `end` not included. */
export interface ExpressionProblem {
  readonly problem: string
  readonly start: number
  readonly end: number
}

/** What reading an expression found out. */
export interface Survey {
  readonly facts: readonly FactPath[]
  /** At most this many steps, of some thirty nanoseconds each. */
  readonly work: number
}

/** Characters of a source. */
export const maxSourceLength = 1000

/** Steps: about three milliseconds on one core of a small virtual machine, see `bench/expression.ts`. */
export const maxWork = 100_000

/** Characters of what `contains` looks for. */
const maxNeedleLength = 256

/** Thrown by the survey only, and caught in this file. */
class Offence extends Error {
  readonly node: ASTNode
  constructor(problem: string, node: ASTNode) {
    super(problem)
    this.node = node
  }
}

interface Scope {
  readonly facts: Map<string, FactPath>
  /** Iteration variables, outermost first. */
  readonly locals: ReadonlyMap<string, Size>
  /** Steps that a failure costs: the engine makes an error of it, with the line of the source. */
  readonly failure: number
}

/** Reads an expression through: the facts that it needs, or what is wrong with it. */
export function surveyExpression(ast: ASTNode, source: string): Survey | ExpressionProblem {
  const facts = new Map<string, FactPath>()
  try {
    const { work } = measure(ast, { facts, locals: new Map(), failure: 100 + source.length / 5 })
    if (work > maxWork) {
      throw new Offence(`it could take ${Math.round(work)} steps, and ${maxWork} are the most; nested comprehensions multiply`, ast)
    }
    return { facts: [...facts.values()], work }
  } catch (cause) {
    if (cause instanceof Offence) return { problem: cause.message, start: cause.node.start, end: cause.node.end }
    throw cause
  }
}

function measure(node: ASTNode, scope: Scope): Measure {
  switch (node.op) {
    case 'value':
      return measureLiteral(node)
    case 'id':
      return measureName(node, scope)
    case '.':
    case '[]':
      return measureAccess(node, scope)
    case 'list':
      return measureList(node, scope)
    case '!_':
    case '-_': {
      const { work, canFail } = measure(node.args, scope)
      return { ...scalar, work: 3 + work, canFail: canFail || node.op === '-_' }
    }
    case '&&':
    case '||': {
      // Either side may fail and the other still decide.
      const [left, right] = pair(node, scope)
      const failures = (left.canFail ? scope.failure : 0) + (right.canFail ? scope.failure : 0)
      return { ...scalar, work: 1 + left.work + right.work + failures, canFail: left.canFail || right.canFail }
    }
    case '?:': {
      const [condition, yes, no] = node.args.map((part) => measure(part, scope))
      if (condition === undefined || yes === undefined || no === undefined) break
      return { ...bothSizes(yes, no, 'either'), work: 1 + condition.work + yes.work + no.work, canFail: true }
    }
    case '+':
    case '-':
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return measureBinary(node, scope)
    case 'in':
      return measureMembership(node, scope)
    case 'call':
    case 'rcall':
      return measureCall(node, scope)
  }
  throw new Offence(`${node.op === 'map' ? 'a map' : `the operator ${node.op}`} is not offered in a policy`, node)
}

function pair(node: Extract<ASTNode, { args: [ASTNode, ASTNode] }>, scope: Scope): [Measure, Measure] {
  return [measure(node.args[0], scope), measure(node.args[1], scope)]
}

function measureLiteral(node: Extract<ASTNode, { op: 'value' }>): Measure {
  const free = { work: 1, canFail: false }
  switch (typeof node.args) {
    case 'string':
      return { ...textOf(node.args), ...free }
    case 'bigint':
      if (!Number.isSafeInteger(Number(node.args))) throw new Offence('the number is too large to be compared exactly', node)
      return { ...scalar, ...free }
    case 'number':
    case 'boolean':
      return { ...scalar, ...free }
    default: {
      const problem = node.args === null ? 'nothing is ever null: ask with has()' : 'bytes and unsigned numbers are not offered in a policy'
      throw new Offence(problem, node)
    }
  }
}

function measureName(node: Extract<ASTNode, { op: 'id' }>, { locals }: Scope): Measure {
  const local = locals.get(node.args)
  // What it is shows only when it is used; a string can be used for nothing that would fail.
  if (local !== undefined) return { ...local, work: 1, canFail: !local.isText }
  if (isVariable(node.args)) throw new Offence(`${node.args} has fields: write ${node.args}.…`, node)
  throw new Offence(`there is no variable ${node.args}: ${Object.keys(expressionFields).join(', ')}`, node)
}

function measureAccess(node: Extract<ASTNode, { op: '.' | '[]' }>, scope: Scope): Measure {
  const path = findPath(node, scope.locals)
  if (path?.rest.length !== 0 && namesPrototype(node)) throw new Offence('this name is never a claim or an attribute', node)
  if (path === undefined) {
    const [base, key] = node.args
    const { work, ...size } = measure(base, scope)
    // An entry by its number is still of the list's kind; what a name leads to is not.
    return { ...size, isText: false, canFail: true, work: work + (typeof key === 'string' ? 1 : 1 + measure(key, scope).work) }
  }
  const type = typeOf(path)
  if (type === undefined) throw new Offence(`${path.variable} has no field ${path.field}`, node)
  const isMap = type.startsWith('map')
  if (isMap && path.rest.length === 0) throw new Offence(`name one of ${path.variable}.${path.field}`, node)
  scope.facts.set(JSON.stringify(path), path)
  return { ...(isMap ? anyFact : sizeOfType(type)), work: 3 + path.rest.length, canFail: true }
}

function measureList(node: Extract<ASTNode, { op: 'list' }>, scope: Scope): Measure {
  const items = node.args.map((item) => measure(item, scope))
  const sum = (pick: (item: Measure) => number) => items.reduce((total, item) => total + pick(item), 0)
  return {
    text: sum((item) => item.text),
    items: Math.max(items.length, 1),
    values: 1 + sum((item) => item.values),
    isText: items.every((item) => item.isText && item.items === 0),
    work: 1 + sum((item) => item.work),
    canFail: items.some((item) => item.canFail),
  }
}

type Binary = '+' | '-' | '==' | '!=' | '<' | '<=' | '>' | '>='

function measureBinary(node: Extract<ASTNode, { op: Binary }>, scope: Scope): Measure {
  const [left, right] = pair(node, scope)
  const size = bothSizes(left, right, 'joined')
  // Anything can be compared with anything, so that an iteration variable of whatever kind does not fail here.
  const isEquality = node.op === '==' || node.op === '!='
  const failing = [left, right].filter((side, index) => side.canFail && node.args[index]?.op !== 'id')
  return {
    ...(node.op === '+' ? size : scalar),
    work: 3 + left.work + right.work + size.values + size.text / 64,
    canFail: failing.length > 0 || !isEquality,
  }
}

function measureMembership(node: Extract<ASTNode, { op: 'in' }>, scope: Scope): Measure {
  const [item, list] = node.args
  // A name that is no identifier, such as a URL, cannot be asked for with has().
  const path = findPath(list, scope.locals)
  if (path?.variable === 'subject' && path.field === 'claims' && path.rest.length === 0) {
    if (item.op !== 'value') throw new Offence('write the name of the claim out', item)
    if (isPrototypeName(String(item.args))) throw new Offence('this name is never a claim', item)
    // The fact is whether that one is there: it is what the trail has to keep.
    const named = typeof item.args === 'string' ? { ...path, rest: [item.args] } : path
    scope.facts.set(JSON.stringify(named), named)
    return { ...scalar, work: 8 + measure(item, scope).work, canFail: true }
  }
  const [left, right] = pair(node, scope)
  // The right side may turn out to be a map, and only a text can be a key: the engine would call a list no key, where it is none to ask for.
  if (left.items > 0 && !right.isText && list.op !== 'list') {
    throw new Offence('it is not certain what is looked for in what: write list.exists(x, x == …)', node)
  }
  const size = bothSizes(left, right, 'joined')
  return {
    ...scalar,
    work: 3 + left.work + right.work + size.values + size.text / 64,
    canFail: left.canFail || right.canFail || !right.isText,
  }
}

function measureCall(node: Extract<ASTNode, { op: 'call' | 'rcall' }>, scope: Scope): Measure {
  const [name] = node.args
  const receiver = node.op === 'rcall' ? node.args[1] : undefined
  const args = node.op === 'rcall' ? [node.args[1], ...node.args[2]] : node.args[1]
  const [first, second, third] = args
  const form = receiver === undefined ? `${name}/${args.length}` : `.${name}/${args.length}`
  if (first !== undefined) {
    if (form === 'has/1') return measureHas(first, node, scope)
    if (form === 'size/1' || form === '.size/1') {
      const { text, work, canFail, isText } = measure(first, scope)
      return { ...scalar, work: 5 + work + text / 2, canFail: canFail || !isText }
    }
  }
  if (first !== undefined && second !== undefined) {
    if (form === 're/2' || form === '.re/2') return measurePattern(first, second, scope)
    if (form === '.startsWith/2' || form === '.endsWith/2' || form === '.contains/2') return measureSearch(name, [first, second], scope)
    if (third !== undefined && comprehensions.has(form)) {
      return measureComprehension(name, { range: first, local: second, body: third }, scope)
    }
  }
  if (name === 'matches') throw new Offence("matches() can take for ever: use re(text, 'pattern'), which cannot", node)
  throw new Offence(`${name}() is not offered in a policy, or not in this form`, node)
}

const comprehensions = new Set(['.all/3', '.exists/3', '.exists_one/3', '.filter/3'])

function measureSearch(name: string, [text, needle]: readonly [ASTNode, ASTNode], scope: Scope): Measure {
  const literal = literalOf(needle)
  if (name === 'contains' && (typeof literal !== 'string' || literal.length > maxNeedleLength)) {
    throw new Offence(`contains() looks for a text that is written out, of at most ${maxNeedleLength} characters`, needle)
  }
  const [left, right] = [measure(text, scope), measure(needle, scope)]
  const canFail = left.canFail || right.canFail || !left.isText || !right.isText || left.items + right.items > 0
  return { ...scalar, work: 5 + left.work + right.work + (left.text + right.text) / 8, canFail }
}

/** Only of claims: of everything else the absence is unknown, and an expression that turns it into a fact would let it open something. */
function measureHas(asked: ASTNode, node: ASTNode, scope: Scope): Measure {
  const path = findPath(asked, scope.locals)
  const isClaim = path?.variable === 'subject' && path.field === 'claims' && path.rest.length > 0
  if (asked.op !== '.' || !(isClaim || isBelowLocal(asked, scope.locals))) {
    throw new Offence('has() is for subject.claims.…: what else is missing is unknown, and so is the whole', node)
  }
  return { ...scalar, work: 5 + measure(asked, scope).work, canFail: true }
}

function measurePattern(text: ASTNode, pattern: ASTNode, scope: Scope): Measure {
  const source = literalOf(pattern)
  if (typeof source !== 'string') throw new Offence('the pattern of re() has to be written out', pattern)
  const compiled = compilePattern(source)
  if (typeof compiled === 'string') throw new Offence(compiled, pattern)
  const measured = measure(text, scope)
  const work = measured.work + measurePatternWork(measured, compiled.stepsPerCharacter)
  return { ...scalar, work, canFail: measured.canFail || !measured.isText || measured.items > 0 }
}

interface Comprehension {
  readonly range: ASTNode
  readonly local: ASTNode
  readonly body: ASTNode
}

function measureComprehension(name: string, { range, local, body }: Comprehension, scope: Scope): Measure {
  if (local.op !== 'id') throw new Offence(`${name}() wants the name of a variable first`, local)
  if (isVariable(local.args) || scope.locals.has(local.args)) throw new Offence(`the name ${local.args} is taken`, local)
  const list = measure(range, scope)
  const step = measure(body, { ...scope, locals: new Map([...scope.locals, [local.args, measureItem(list)]]) })
  // all() and exists() go on after a failure; the others end with it.
  const goesOn = name === 'all' || name === 'exists'
  const each = step.work + (goesOn ? 5 : 20) + (goesOn && step.canFail ? scope.failure : 0)
  const work = 20 + list.work + Math.max(list.items, 1) * each
  return { ...(name === 'filter' ? list : scalar), work, canFail: list.canFail || step.canFail || !list.isText }
}
