/**
 * Every kind of event against what OCSF 1.7.0 publishes of the classes that are used here: required attributes, values of enumerations, and
 * attributes of which at least one has to be there. The tables were written down from the published schema; an attribute that is
 * not in them is an offence, so that none is made up.
 */

import { describe, expect, it } from 'vitest'
import { allEvents } from './every-event.fixture.ts'
import { formatAuditLine } from './line.ts'
import { mapToOcsf, ocsfVersion } from './ocsf.ts'
import { parseTrailLine } from './trail-files.ts'

interface Shape {
  readonly required?: readonly string[]
  readonly anyOf?: readonly string[]
  /** Attributes and what they are: an object of a name, `[]` a list of it, an enumeration, or a type. */
  readonly attributes: Readonly<Record<string, string | readonly number[] | readonly string[]>>
}

const other = [0, 99]
const upTo = (last: number) => [...Array.from({ length: last + 1 }, (_, index) => index), 99]

const commonAttributes: Shape['attributes'] = {
  activity_id: 'integer',
  activity_name: 'string',
  category_uid: 'integer',
  class_uid: 'integer',
  type_uid: 'integer',
  severity_id: upTo(6),
  status_id: upTo(2),
  status_code: 'string',
  status_detail: 'string',
  message: 'string',
  count: 'integer',
  duration: 'integer',
  start_time: 'integer',
  time: 'integer',
  metadata: 'metadata',
  observables: 'observable[]',
  unmapped: 'any',
  // Profiles.
  action_id: upTo(4),
  disposition_id: upTo(27),
  is_alert: 'boolean',
  firewall_rule: 'named',
  policy: 'named',
  actor: 'actor',
}
const common = ['activity_id', 'category_uid', 'class_uid', 'type_uid', 'severity_id', 'time', 'metadata']

interface Class extends Shape {
  readonly category: number
  readonly activities: readonly number[]
}

const classes: Readonly<Record<number, Class>> = {
  0: { category: 0, activities: other, attributes: {} },
  3002: {
    category: 3,
    activities: upTo(7),
    required: ['user'],
    anyOf: ['service', 'dst_endpoint'],
    attributes: {
      user: 'user',
      session: 'session',
      service: 'named',
      src_endpoint: 'endpoint',
      auth_protocol_id: upTo(12),
      is_remote: 'boolean',
      is_mfa: 'boolean',
    },
  },
  3004: {
    category: 3,
    activities: upTo(13),
    required: ['entity'],
    attributes: { entity: 'managed_entity', comment: 'string', src_endpoint: 'endpoint' },
  },
  4002: {
    category: 4,
    activities: upTo(9),
    anyOf: ['http_request', 'http_response'],
    attributes: {
      http_request: 'http_request',
      http_response: 'http_response',
      src_endpoint: 'endpoint',
      dst_endpoint: 'endpoint',
      traffic: 'traffic',
    },
  },
  6002: { category: 6, activities: upTo(8), required: ['app'], attributes: { app: 'product' } },
}

const objects: Readonly<Record<string, Shape>> = {
  metadata: {
    required: ['product', 'version'],
    attributes: {
      product: 'product',
      version: 'string',
      log_name: 'string',
      event_code: 'string',
      original_time: 'string',
      correlation_uid: 'string',
      sequence: 'integer',
      profiles: 'string[]',
    },
  },
  product: { anyOf: ['name', 'uid'], attributes: { name: 'string', uid: 'string', vendor_name: 'string', version: 'string' } },
  named: { anyOf: ['name', 'uid'], attributes: { name: 'string', uid: 'string' } },
  user: {
    anyOf: ['account', 'name', 'uid'],
    attributes: { name: 'string', uid: 'string', email_addr: 'string', domain: 'string', type_id: upTo(4) },
  },
  actor: {
    anyOf: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'],
    attributes: { user: 'user', session: 'session' },
  },
  session: { attributes: { uid: 'string', issuer: 'string', expiration_reason: 'string' } },
  endpoint: {
    anyOf: ['ip', 'hostname', 'svc_name', 'name'],
    attributes: { ip: 'string', hostname: 'string', svc_name: 'string', name: 'string' },
  },
  device: { required: ['type_id'], attributes: { name: 'string', uid: 'string', type_id: upTo(15) } },
  managed_entity: {
    anyOf: ['name', 'uid', 'device', 'group', 'org', 'policy', 'user'],
    attributes: { name: 'string', uid: 'string', type: 'string', type_id: upTo(7), device: 'device', user: 'user', policy: 'named' },
  },
  http_request: {
    attributes: {
      uid: 'string',
      http_method: ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'],
      url: 'url',
      user_agent: 'string',
    },
  },
  url: { anyOf: ['url_string', 'path'], attributes: { hostname: 'string', path: 'string', query_string: 'string' } },
  http_response: { required: ['code'], attributes: { code: 'integer' } },
  traffic: { attributes: { bytes: 'integer', bytes_in: 'integer', bytes_out: 'integer' } },
  observable: { required: ['type_id'], attributes: { name: 'string', type_id: [2], value: 'string' } },
}

type OcsfMap = Readonly<Record<string, unknown>>

function problemsOf(value: unknown, { anyOf, attributes, required = [] }: Shape, place: string): string[] {
  if (typeof value !== 'object' || value === null) return [`${place} is no object`]
  const map = value as OcsfMap
  const problems = required.filter((name) => map[name] === undefined).map((name) => `${place}.${name} is missing`)
  if (anyOf?.every((name) => map[name] === undefined) === true) problems.push(`${place} has none of ${anyOf.join(', ')}`)
  for (const [name, one] of Object.entries(map)) {
    const type = attributes[name]
    problems.push(...(type === undefined ? [`${place}.${name} is not in the schema`] : typeProblems(one, type, `${place}.${name}`)))
  }
  return problems
}

function typeProblems(value: unknown, type: Shape['attributes'][string], place: string): string[] {
  const isEnumerated = typeof type !== 'string'
  if (isEnumerated) return (type as readonly unknown[]).includes(value) ? [] : [`${place} is ${String(value)}`]
  if (type.endsWith('[]')) {
    if (!Array.isArray(value)) return [`${place} is no list`]
    return value.flatMap((one, index) => typeProblems(one, type.slice(0, -2), `${place}[${index}]`))
  }
  const shape = objects[type]
  if (shape !== undefined) return problemsOf(value, shape, place)
  const isRight = type === 'any' || (type === 'integer' ? Number.isSafeInteger(value) : typeof value === type)
  return isRight ? [] : [`${place} is no ${type}`]
}

const at = Date.UTC(2026, 10, 22, 8)
const map = (event: (typeof allEvents)[number]) =>
  mapToOcsf(parseTrailLine(formatAuditLine(event, at, 'host-0', '{"seq":7,"prev":"p",')) ?? {}) ?? {}

describe('OCSF', () => {
  it('is of a published version', () => {
    expect(ocsfVersion).toBe('1.7.0')
  })

  it.each(allEvents.map((event) => [event.event, event] as const))('of %s keeps to its class', (_kind, event) => {
    const mapped = map(event)
    const shape = classes[Number(mapped['class_uid'])]
    if (shape === undefined) throw new Error(`class ${String(mapped['class_uid'])} is not in the table`)
    const whole = { ...shape, required: [...common, ...(shape.required ?? [])], attributes: { ...commonAttributes, ...shape.attributes } }
    expect(problemsOf(mapped, whole, event.event)).toEqual([])
    expect(mapped['category_uid']).toBe(shape.category)
    expect(shape.activities).toContain(mapped['activity_id'])
    expect(mapped['type_uid']).toBe(Number(mapped['class_uid']) * 100 + Number(mapped['activity_id']))
    expect(mapped['time']).toBe(at)
    // The schema asks for a name where the activity is none of its own.
    expect(typeof mapped['activity_name']).toBe(mapped['activity_id'] === 99 ? 'string' : 'undefined')
    // `prev` only holds the file together, and of what is known nothing else is left out.
    const line = formatAuditLine(event, at, 'host-0')
    for (const value of leavesOf(parseTrailLine(line))) expect(JSON.stringify(mapped)).toContain(JSON.stringify(value))
  })

  it('names the disposition of a decision', () => {
    const [allowed, , challenged, denied] = allEvents.filter(({ event }) => event === 'access.decided').map(map)
    expect(allowed).toMatchObject({
      class_uid: 4002,
      activity_id: 3,
      action_id: 1,
      disposition_id: 1,
      status_id: 1,
      is_alert: true,
      severity_id: 3,
    })
    expect(challenged).toMatchObject({ activity_name: 'PROPFIND', action_id: 2, disposition_id: 23, status_id: 99 })
    expect(denied).toMatchObject({ action_id: 2, disposition_id: 2, status_id: 2, severity_id: 2 })
  })

  it('of a kind that this version does not know is a base event that says everything', () => {
    const line = { at: new Date(at).toISOString(), event: 'future.thing', answer: 42 }
    expect(mapToOcsf(line)).toMatchObject({
      class_uid: 0,
      type_uid: 99,
      metadata: { event_code: 'future.thing' },
      unmapped: { answer: 42 },
    })
  })

  it('is none of a line without a time', () => {
    expect(mapToOcsf({ event: 'access.decided' })).toBeUndefined()
  })
})

/** Texts and numbers, but for those that become something else. */
function leavesOf(value: unknown, name = ''): unknown[] {
  if (Array.isArray(value)) return value.flatMap((one) => leavesOf(one))
  if (typeof value === 'object' && value !== null) return Object.entries(value).flatMap(([key, one]) => leavesOf(one, key))
  const isTold = ['event', 'method', 'effect', 'since', 'on', 'kind', 'alert', 'address'].includes(name)
  return isTold || value === '' ? [] : [value]
}
