/**
 * `POSTERN_SESSION__STORE=…`: keys of the instance configuration set by the environment, over those of the file.
 *
 * Two underscores go one level down; what follows is the key in capitals. A variable that names no key is an error like any unknown
 * key, for the same reason. Text stays as it is; where the key wants something else than text, the value is read as YAML.
 * The variables that Kubernetes makes for a Service that happens to be called "postern" are not ours, and `POSTERN_TEST_…` are the
 * switches of the test suite, which the instances it starts inherit.
 */

import { z } from 'zod'
import { canHold, unwrapSchema } from './parse-value.ts'
import { type Path, type Place, quote, type Report, suggestNearest } from './problems.ts'
import type { Environment } from './secret-values.ts'
import { tokenVariable } from './service-token.ts'
import { parseYamlSource } from './yaml-source.ts'

const prefix = 'POSTERN_'
const testPrefix = 'POSTERN_TEST_'
const madeByKubernetes = /^POSTERN_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/

export interface Overridden {
  readonly data: unknown
  /** Where a path was set: the variable, or `undefined` for the file. */
  readonly placeOf: (path: Path) => Place | undefined
}

/** `data` with every override applied; problems name the variable. `data` itself is not changed. */
export function applyOverrides(schema: z.ZodType, data: unknown, environment: Environment, report: Report): Overridden {
  const places = new Map<string, Place>()
  let result = data
  for (const name of Object.keys(environment).sort((a, b) => (a < b ? -1 : 1))) {
    const text = environment[name]
    if (!name.startsWith(prefix) || text === undefined || madeByKubernetes.test(name) || name.startsWith(testPrefix)) continue
    // A command's own, also while it reads a configuration.
    if (name === tokenVariable) continue
    const place: Place = { file: `$${name}`, line: 0, column: 0 }
    const complain = (message: string, suggestion?: string) =>
      void report.problems.push({ ...place, path: '', message, ...(suggestion === undefined ? {} : { suggestion }) })

    const steps = name.slice(prefix.length).toLowerCase().split('__')
    const target = findSchema(schema, steps)
    if ('unknown' in target) {
      const known = target.known.map((key) => prefix + steps.with(target.unknown, key).join('__').toUpperCase())
      complain('this variable names no key of the configuration', suggestNearest(name, known))
      continue
    }
    const value = readValue(target.schema, text, complain)
    if (value === undefined) continue
    const changed = setAt(result, steps, value)
    if (changed === undefined) {
      complain(`the file has no map at ${quote(steps.slice(0, -1).join('.'))} to set this key in`)
      continue
    }
    result = changed
    places.set(steps.join('\n'), place)
  }
  return {
    data: result,
    placeOf: (path) => {
      for (let length = path.length; length > 0; length -= 1) {
        const place = places.get(path.slice(0, length).join('\n'))
        if (place !== undefined) return place
      }
      return undefined
    },
  }
}

function findSchema(
  root: z.ZodType,
  steps: readonly string[],
): { readonly schema: z.core.$ZodType } | { readonly unknown: number; readonly known: readonly string[] } {
  let schema: z.core.$ZodType = root
  for (const [index, step] of steps.entries()) {
    const inner = unwrapSchema(schema)
    if (inner instanceof z.ZodRecord && step !== '') schema = inner.def.valueType
    else if (inner instanceof z.ZodObject && Object.hasOwn(inner.shape, step)) schema = inner.shape[step] as z.core.$ZodType
    else return { unknown: index, known: inner instanceof z.ZodObject ? Object.keys(inner.shape) : [] }
  }
  return { schema }
}

function readValue(schema: z.core.$ZodType, text: string, complain: (message: string) => void): unknown {
  if (canHold(schema, text)) return text
  const lists = { problems: [], warnings: [] }
  const { data } = parseYamlSource('', text, lists)
  if (lists.problems.length === 0 && data !== undefined) return data
  complain('the value is not what this key wants, written as YAML')
  return undefined
}

/** A copy with `value` at `steps`. Setting `NAME` removes `NAME_file` beside it and the other way round: it replaces the secret in either form. */
function setAt(data: unknown, steps: readonly string[], value: unknown): unknown {
  const [step, ...rest] = steps
  if (step === undefined) return value
  if (data !== undefined && data !== null && (typeof data !== 'object' || Array.isArray(data))) return undefined
  const copy: Record<string, unknown> = Object.assign(Object.create(null), data)
  const inner = setAt(copy[step], rest, value)
  if (inner === undefined) return undefined
  if (rest.length === 0) delete copy[step.endsWith('_file') ? step.slice(0, -'_file'.length) : `${step}_file`]
  copy[step] = inner
  return copy
}
