/**
 * The objects of OCSF 1.7.0 that events of the trail are made of: users, endpoints, sessions, managed entities.
 *
 * Made from lines as they are stored, whose every field may be missing: redacted, or of an older version. Where the schema wants one of
 * several attributes, what is always known stands in, and never something that was made up.
 */

import type { TrailLine } from './trail-files.ts'

/** An object of the schema; what is `undefined` is left out when it is printed. */
export type OcsfObject = Readonly<Record<string, unknown>>

/** Text of a line, or nothing. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A map of a line; empty where there is none. */
export function mapOf(value: unknown): TrailLine {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as TrailLine) : {}
}

/** Epoch milliseconds of an instant in a line. */
export function millisecondsOf(value: unknown): number | undefined {
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}

/** Object `user`. Who is not known has the name `unknown`, for the schema wants one. */
export function userOf(value: unknown): OcsfObject {
  const { email, issuer, kind, sub } = mapOf(value)
  const [mail, uid] = [textOf(email), textOf(sub)]
  return {
    name: mail ?? uid ?? 'unknown',
    uid,
    email_addr: mail,
    domain: textOf(issuer),
    type_id: kind === 'service' ? 4 : kind === 'person' ? 1 : 0,
  }
}

/** Whether somebody is there: a stranger is no actor. */
export function isSomebody(value: unknown): boolean {
  const { kind } = mapOf(value)
  return kind === 'person' || kind === 'service'
}

/** Object `actor` for the subject of a request. */
export function actorOfSubject(line: TrailLine): OcsfObject | undefined {
  if (!isSomebody(line['subject'])) return undefined
  return { user: userOf(line['subject']), session: sessionOf(line) }
}

/** Object `actor` for who administered: `os:<user>@<host>`, `token:<id>`, `device:<id>`, `person:<sub>`, or a part of the product. */
export function actorOf(line: TrailLine): OcsfObject | undefined {
  const actor = textOf(line['actor'] ?? line['author'])
  if (actor === undefined) return undefined
  const [kind = '', id = ''] = [actor.slice(0, actor.indexOf(':') + 1), actor.slice(actor.indexOf(':') + 1)]
  const type = { 'os:': 2, 'token:': 4, 'person:': 1, 'file:': 2 }[kind] ?? 3
  return { user: { name: id === '' ? actor : id, uid: actor, type_id: type } }
}

/** Object `session`. */
export function sessionOf(line: TrailLine): OcsfObject | undefined {
  const uid = textOf(line['session'])
  return uid === undefined ? undefined : { uid, issuer: textOf(mapOf(line['subject'])['issuer']) }
}

/** Object `network_endpoint` of the client. `*` stands for several addresses. */
export function sourceOf(line: TrailLine): OcsfObject | undefined {
  const ip = textOf(line['address'])
  return ip === undefined || ip === '*' ? undefined : { ip }
}

/** Object `network_endpoint` of what was asked for: the app, by its public name; where neither is known, the instance. */
export function destinationOf(line: TrailLine): OcsfObject {
  const [hostname, app] = [textOf(line['host']), textOf(line['app'])]
  if (hostname === undefined && app === undefined) return { name: textOf(line['instance']) ?? 'postern' }
  return { hostname, svc_name: app }
}

/** Object `managed_entity`. */
export function entityOf(type: string, uid: unknown, name?: unknown): OcsfObject {
  const known = { device: 1, user: 2, policy: 5 }[type]
  const [id, label] = [textOf(uid), textOf(name)]
  const same = { uid: id, name: label ?? id ?? type }
  return {
    ...same,
    type,
    type_id: known ?? 99,
    ...(type === 'device' ? { device: { ...same, type_id: 0 } } : {}),
    ...(type === 'user' ? { user: { ...same, type_id: 1 } } : {}),
    ...(type === 'policy' ? { policy: same } : {}),
  }
}

/** Deeply, but for `unmapped`: an attribute is there or it is not. */
export function withoutUndefined(value: OcsfObject): OcsfObject {
  const kept = Object.entries(value).filter(([, one]) => one !== undefined)
  return Object.fromEntries(kept.map(([name, one]) => [name, isPlainMap(one) && name !== 'unmapped' ? withoutUndefined(one) : one]))
}

function isPlainMap(value: unknown): value is OcsfObject {
  return Object.keys(mapOf(value)).length > 0
}
