/**
 * The description of the API: OpenAPI 3.1, made from the operations and their schemas, so that it cannot say anything else than what is checked.
 *
 * OpenAPI 3.1's schemas are JSON Schema 2020-12, which is what the schema library writes.
 */

import { z } from 'zod'
import { type AnyOperation, type OperationProblem, statusByProblem } from './operation.ts'

type Json = Readonly<Record<string, unknown>>

/** What the guard and the schema refuse before an operation is asked. */
const problemsOfEach: readonly OperationProblem[] = ['malformed', 'token_required', 'invalid_token', 'not_permitted']

/** The document, as JSON. */
export function describeApi(operations: readonly AnyOperation[], version: string): Json {
  const schemas: Record<string, unknown> = {
    Refusal: {
      type: 'object',
      required: ['error', 'message', 'request_id'],
      properties: {
        error: { type: 'string', enum: Object.keys(statusByProblem), description: 'Why it was refused, in a word.' },
        message: { type: 'string', description: 'A sentence for whoever asked.' },
        request_id: { type: 'string' },
      },
      additionalProperties: true,
    },
  }
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of operations) {
    const path = `/api/v1${operation.path}`
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describeOperation(operation, schemas) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Postern',
      version,
      description: 'What the console shows and does, for programs. Every operation names the scope that its service token needs.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The access host.' }],
    security: [{ token: [] }],
    tags: [...new Set(operations.map(tagOf))].sort().map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A service token: `postern token create`, or the console.' },
      },
      schemas,
    },
  }
}

function describeOperation(operation: AnyOperation, schemas: Record<string, unknown>): Json {
  const { description, id, input, method, output, path, permission, problems, summary } = operation
  const name = nameOf(id)
  const given = toSchema(input, 'input', schemas)
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter = '']) => parameter)
  const properties = (given['properties'] ?? {}) as Readonly<Record<string, Json>>
  const required = new Set((given['required'] ?? []) as readonly string[])
  const others = Object.keys(properties).filter((property) => !inPath.includes(property))
  const parameterOf = (property: string, place: 'path' | 'query') => {
    const { description: words, ...schema } = properties[property] ?? {}
    return { name: property, in: place, required: place === 'path' || required.has(property), description: words, schema }
  }
  const parameters = [
    ...inPath.map((property) => parameterOf(property, 'path')),
    ...(method === 'GET' ? others.map((property) => parameterOf(property, 'query')) : []),
  ]
  let requestBody: Json | undefined
  if (method !== 'GET' && others.length > 0) {
    schemas[`${name}Input`] = {
      ...given,
      properties: Object.fromEntries(others.map((property) => [property, properties[property]])),
      required: others.filter((property) => required.has(property)),
    }
    const isNeeded = others.some((property) => required.has(property))
    requestBody = { required: isNeeded, content: { 'application/json': { schema: refTo(`${name}Input`) } } }
  }
  schemas[`${name}Output`] = toSchema(output, 'output', schemas)
  return {
    operationId: id.replaceAll('.', '_'),
    tags: [tagOf(operation)],
    summary,
    description: `${description}\n\nScope: \`${permission}\`.`,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema: refTo(`${name}Output`) } } },
      ...describeRefusals([...problemsOfEach, ...problems]),
    },
  }
}

/** One entry a status, with the words that it comes with. */
function describeRefusals(problems: readonly OperationProblem[]): Json {
  const byStatus = Map.groupBy(new Set(problems), (problem) => statusByProblem[problem])
  const answers = [...byStatus].map(([status, words]) => [
    status,
    {
      description: words.map((word) => `\`${word}\``).join(', '),
      content: { 'application/json': { schema: refTo('Refusal') } },
    },
  ])
  return Object.fromEntries(answers) as Json
}

/** A schema as JSON Schema; what it names by id goes to the others. */
function toSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Record<string, unknown>): Json {
  const { $defs = {}, $schema: _, ...made } = z.toJSONSchema(schema, { io, target: 'draft-2020-12', unrepresentable: 'any' })
  for (const [name, definition] of Object.entries($defs)) schemas[name] = moveReferences(definition)
  return moveReferences(made) as Json
}

function moveReferences(schema: unknown): unknown {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/$defs/', '"$ref":"#/components/schemas/')
  return JSON.parse(text)
}

function refTo(name: string): Json {
  return { $ref: `#/components/schemas/${name}` }
}

/** `devices.block` → `DevicesBlock`. */
function nameOf(id: string): string {
  return id
    .split(/[._]/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}

function tagOf({ id }: AnyOperation): string {
  return id.split('.')[0] ?? id
}
