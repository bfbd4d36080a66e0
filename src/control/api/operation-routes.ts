/**
 * `/api/v1`: every operation of the console, for programs with a service token.
 *
 * The path, the method, the scope and the form of what comes in and goes out are those that the operation states; there is nothing here that an
 * operation could forget. Input is one object: parameters of the path, beside them the query of a GET or the JSON body of anything else. A name
 * that is given twice, in whatever way, is refused, because nobody can tell which was meant. A body is taken whole or not at all.
 */

import { type Request, type RequestHandler, type Response, type Router, text } from 'express'
import type { Tokens } from '../../administration/tokens.ts'
import type { Answers } from '../answers.ts'
import { onlyMethods } from '../guards.ts'
import { describeMalformed } from '../operations/carry-out.ts'
import { describeApi } from '../operations/openapi.ts'
import type { AnyOperation, CarryOut, Refused } from '../operations/operation.ts'
import { refused } from '../operations/operation.ts'
import { readQuery } from '../request-context.ts'
import { refuse } from './api-answers.ts'
import { repeatsName } from './json-names.ts'
import { createTokenGate } from './token-gate.ts'

/** What the API needs; `compose.ts` connects it. */
export interface OperationsApiPorts {
  readonly operations: readonly AnyOperation[]
  readonly carryOut: CarryOut
  readonly tokens: Pick<Tokens, 'verify'>
  readonly version: string
  /** Per address and minute; for tests. */
  readonly refusalsPerMinute?: number | undefined
}

const prefix = '/api/v1'
/** A thousand ids and a reason. What needs more says so itself. */
const usualBodyBytes = 64 * 1024
/** More than any list of any order. */
const mostListed = 2_000

/** Adds every operation at its path, and `/api/v1/openapi.json`, which describes them. */
export function mountOperations(
  router: Router,
  { answers, carryOut, operations, version, ...ports }: OperationsApiPorts & { readonly answers: Answers },
): void {
  const gate = createTokenGate({ ...ports, answers })
  // It holds nothing that the source does not: anybody may read it, as anybody may read that.
  const description = JSON.stringify(describeApi(operations, version))
  router.get(`${prefix}/openapi.json`, (_request, response) => void response.type('json').send(description))
  router.all(`${prefix}/openapi.json`, onlyMethods('GET, HEAD', answers))

  for (const [path, ofPath] of byPath(operations)) {
    for (const operation of ofPath) {
      const handlers: RequestHandler[] = gate.require(operation.permission)
      if (operation.method !== 'GET') handlers.push(jsonBody(operation.bodyBytes ?? usualBodyBytes))
      handlers.push(async (request, response) => {
        const input = readInput(operation, request)
        if ('outcome' in input) return refuse(request, response, input)
        const outcome = await carryOut(operation, input.value, gate.asker(request))
        if (outcome.outcome === 'refused') return refuse(request, response, outcome, operation.permission)
        answer(operation, response, outcome.value)
      })
      router[verbs[operation.method]](path, ...handlers)
    }
    const methods = ofPath.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    router.all(path, onlyMethods(methods.join(', '), answers))
  }
}

const verbs = { GET: 'get', POST: 'post', PUT: 'put', PATCH: 'patch', DELETE: 'delete' } as const

/** By Express's form of the path; a path that is written out stands before one with a parameter in its place. */
function byPath(operations: readonly AnyOperation[]): readonly (readonly [string, readonly AnyOperation[]])[] {
  const paths = Map.groupBy(operations, ({ path }) => path)
  const sortKey = (path: string) => path.replaceAll(/\{\w+\}/g, '~')
  return [...paths]
    .sort(([a], [b]) => (sortKey(a) < sortKey(b) ? -1 : 1))
    .map(([path, ofPath]) => [`${prefix}${path.replaceAll(/\{(\w+)\}/g, ':$1')}`, ofPath])
}

/** Compressed bodies are refused, so that the limit is one on memory. */
function jsonBody(limitBytes: number): RequestHandler {
  return text({ type: 'application/json', limit: limitBytes, inflate: false, defaultCharset: 'utf-8' })
}

function readInput(operation: AnyOperation, request: Request): { readonly value: Readonly<Record<string, unknown>> } | Refused {
  const given = operation.method === 'GET' ? readQueryFields(request) : readBodyFields(request)
  if ('outcome' in given) return given
  const taken = Object.keys(request.params).find((name) => Object.hasOwn(given.value, name))
  if (taken !== undefined) return refused('malformed', `\`${taken}\` stands in the path and nowhere else.`)
  return { value: { ...given.value, ...request.params } }
}

function readQueryFields(request: Request): { readonly value: Readonly<Record<string, unknown>> } | Refused {
  const query = readQuery(request)
  const names = [...query.keys()]
  if (new Set(names).size !== names.length) return refused('malformed', 'A parameter is given twice.')
  return { value: Object.fromEntries(query) }
}

function readBodyFields(request: Request): { readonly value: Readonly<Record<string, unknown>> } | Refused {
  const body: unknown = request.body
  if (typeof body !== 'string') {
    // An order that says nothing besides its path needs no body.
    const isEmpty =
      request.headers['content-length'] === '0' || (request.headers['content-length'] ?? request.headers['transfer-encoding']) === undefined
    return isEmpty ? { value: {} } : refused('unsupported_type', 'An order is application/json.')
  }
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    // The parser's message would repeat what was sent.
    return refused('malformed', 'The body is not JSON.')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refused('malformed', 'The body is not a JSON object.')
  // A schema looks at every entry before it says that there are too many.
  if (Object.values(value).some((one) => Array.isArray(one) && one.length > mostListed)) return refused('malformed', 'A list is too long.')
  if (repeatsName(body)) return refused('malformed', 'A name is given twice.')
  return { value: value as Readonly<Record<string, unknown>> }
}

/** Exactly what the operation says that it gives: what is not in its schema does not leave. */
function answer(operation: AnyOperation, response: Response, value: unknown): void {
  const stated = operation.output.safeParse(value)
  if (!stated.success) {
    throw new TypeError(`${operation.id} gave what it does not state: ${describeMalformed(stated.error).message}`)
  }
  response.json(stated.data)
}
