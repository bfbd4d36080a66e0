/** Chains of names in an expression, such as `subject.claims.department`, and the facts that they lead to. */

import type { ASTNode } from '@marcbachmann/cel-js'
import { isPrototypeName } from './claim-path.ts'
import { expressionFields } from './expression-facts.ts'

export type VariableName = keyof typeof expressionFields

/** A fact that an expression reads: `subject.claims.department` is `subject`, `claims`, `department`. */
export interface FactPath {
  readonly variable: VariableName
  readonly field: string
  /** Names below a map, as far as they are written out. */
  readonly rest: readonly string[]
}

/** Iteration variables: a name of theirs is not the fact of that name. */
type Locals = ReadonlyMap<string, unknown>

/** The fact that a chain of names leads to; `undefined` for one that begins elsewhere or goes on with a computed key. */
export function findPath(node: ASTNode, locals: Locals): FactPath | undefined {
  if (node.op !== '.' && node.op !== '[]') return undefined
  const [base, key] = node.args
  if (base.op === 'id') {
    if (locals.has(base.args) || !isVariable(base.args) || typeof key !== 'string') return undefined
    return { variable: base.args, field: key, rest: [] }
  }
  const before = findPath(base, locals)
  const name = typeof key === 'string' ? key : literalOf(key)
  return before === undefined || typeof name !== 'string' ? undefined : { ...before, rest: [...before.rest, name] }
}

/** Whether any name of a chain is one that could reach a prototype: no claim and no attribute has it, so whoever writes it means something else. */
export function namesPrototype(node: ASTNode): boolean {
  if (node.op !== '.' && node.op !== '[]') return false
  const [base, key] = node.args
  const name = typeof key === 'string' ? key : literalOf(key)
  return (typeof name === 'string' && isPrototypeName(name)) || namesPrototype(base)
}

/** The value of what is written out; `undefined` for everything else. */
export function literalOf(node: ASTNode): unknown {
  return node.op === 'value' ? node.args : undefined
}

/** The CEL type of the field that a path begins with; `undefined` if there is no such field. */
export function typeOf({ variable, field }: FactPath): string | undefined {
  const fields: Readonly<Record<string, string>> = expressionFields[variable]
  return Object.hasOwn(fields, field) ? fields[field] : undefined
}

/** Whether it is one of the five variables. */
export function isVariable(name: string): name is VariableName {
  return Object.hasOwn(expressionFields, name)
}

/** Whether a chain of names begins at an iteration variable. */
export function isBelowLocal(node: ASTNode, locals: Locals): boolean {
  return node.op === '.' ? isBelowLocal(node.args[0], locals) : node.op === 'id' && locals.has(node.args)
}
