/**
 * Lines of the trail as events of the Open Cybersecurity Schema Framework, version 1.7.0.
 *
 * | Class | Events |
 * | --- | --- |
 * | HTTP Activity 4002 | `access.decided`, `access.ended` |
 * | Authentication 3002 | sign-ins, their failures, refreshes, and whatever ends a session |
 * | Entity Management 3004 | what administrators and devices did to locks, devices, tokens, keys, the policy; what they looked at |
 * | Application Lifecycle 6002 | start and stop of an instance |
 * | Base Event 0 | everything else |
 *
 * Nothing is lost: a field that has no place in the class stands in `unmapped` under its own name. `metadata.event_code` is the event as the
 * trail calls it, `metadata.correlation_uid` the request.
 */

import type { AuditEvent } from './event.ts'
import {
  actorOf,
  actorOfSubject,
  destinationOf,
  entityOf,
  millisecondsOf,
  type OcsfObject,
  sessionOf,
  sourceOf,
  textOf,
  userOf,
  withoutUndefined,
} from './ocsf-objects.ts'
import type { TrailLine } from './trail-files.ts'

/** The published version that events keep to. */
export const ocsfVersion = '1.7.0'

/** What an event adds to what all have. `used` names the fields of the line that have found their place. */
interface Mapped {
  readonly classUid: number
  readonly activityId: number
  /** Where the activity is none of the class' own. */
  readonly activityName?: string
  /** 1 informational, 2 low, 3 medium, 4 high. */
  readonly severityId?: number
  /** 1 success, 2 failure, 99 other. */
  readonly statusId?: number
  readonly profiles?: readonly string[]
  readonly attributes: OcsfObject
  readonly used: readonly string[]
}

const baseEvent = 0
const authentication = 3002
const entityManagement = 3004
const httpActivity = 4002
const applicationLifecycle = 6002

const httpActivities: Readonly<Record<string, number>> = {
  CONNECT: 1,
  DELETE: 2,
  GET: 3,
  HEAD: 4,
  OPTIONS: 5,
  POST: 6,
  PUT: 7,
  TRACE: 8,
  PATCH: 9,
}
/** Allowed, blocked, challenge. */
const dispositions: Readonly<Record<string, number>> = { allow: 1, deny: 2, challenge: 23 }

const mappings: Readonly<Record<AuditEvent['event'], (line: TrailLine) => Mapped>> = {
  'access.decided': mapDecided,
  'access.ended': mapEnded,
  'access.counted': (line) => ({
    ...base('Refused'),
    severityId: 2,
    statusId: 2,
    profiles: ['security_control'],
    attributes: {
      action_id: 2,
      disposition_id: 2,
      count: line['count'],
      start_time: millisecondsOf(line['since']),
      status_detail: line['reason'],
      observables: sourceOf(line) === undefined ? undefined : [{ name: 'src_endpoint.ip', type_id: 2, value: line['address'] }],
    },
    used: ['count', 'since', 'reason'],
  }),
  'session.started': (line) => signIn(line, { activityId: 1 }),
  'session.continued': (line) => signIn(line, { activityId: 1 }),
  'session.refreshed': (line) => signIn(line, { activityId: 99, activityName: 'Refresh' }),
  'session.ended': mapEndOfSession,
  'subject.ended': mapEndOfSession,
  'sign_in.failed': (line) => ({ ...signIn(line, { activityId: 1 }), severityId: 2, statusId: 2 }),
  'break_glass.issued': (line) => ({
    ...signIn(line, { activityId: 99, activityName: 'Break-glass sign-in issued' }),
    severityId: 4,
    attributes: { ...signInAttributes(line), user: userOf({ ...line, kind: 'person' }), actor: actorOf(line) },
    used: ['email', 'sub', 'issuer', 'actor', 'reason'],
  }),
  'lock.set': (line) => manage(line, 9, lockedEntity(line), ['on', 'target', 'label']),
  'lock.lifted': (line) => manage(line, 8, lockedEntity(line), ['on', 'target', 'label']),
  'sessions.revoked': (line) => manage(line, 4, entityOf('session', undefined, line['target']), ['target']),
  'connection.cut': (line) => manage(line, 4, entityOf('connection', line['request'], line['app']), ['app']),
  'post.kept': () => base('Form kept'),
  'post.resumed': () => base('Form sent on'),
  'post.discarded': () => base('Form thrown away'),
  'policy.loaded': (line) => manage(line, 10, entityOf('policy', line['policy']), ['policy', 'author']),
  'policy.refused': (line) => ({
    ...manage(line, 10, entityOf('policy', line['policy']), ['policy', 'author']),
    statusId: 2,
    severityId: 3,
  }),
  'policy.published': (line) =>
    manage(line, 10, entityOf('policy', line['policy'], `revision ${String(line['revision'])}`), ['policy', 'revision']),
  'policy.publication_refused': (line) => ({ ...manage(line, 10, entityOf('policy', line['hash']), ['hash']), statusId: 2, severityId: 2 }),
  'policy.drafted': (line) => manage(line, 3, entityOf('policy draft', line['draft']), ['draft']),
  'policy.proposed': (line) => manage(line, 3, entityOf('policy draft', line['draft']), ['draft']),
  'policy.approved': (line) => manage(line, 3, entityOf('policy draft', line['draft']), ['draft']),
  'policy.discarded': (line) => manage(line, 4, entityOf('policy draft', line['draft']), ['draft']),
  'store.adopted': (line) => ({ ...manage(line, 3, entityOf('store', line['policy'], line['kept']), ['policy', 'kept']), severityId: 3 }),
  'keys.rotated': (line) => manage(line, 3, entityOf('signing key', line['kid']), ['kid']),
  'token.created': (line) => manage(line, 1, entityOf('service token', line['token'], line['name']), ['token', 'name']),
  'token.revoked': (line) => manage(line, 4, entityOf('service token', line['token'], line['name']), ['token', 'name']),
  'token.rotated': (line) => manage(line, 3, entityOf('service token', line['token'], line['name']), ['token', 'name']),
  'console.invited': (line) => ({
    ...manage(line, 1, entityOf('console role', line['email'], line['role']), ['email', 'role']),
    severityId: 3,
  }),
  'access.requested': (line) => manage(line, 1, entityOf('access request', line['access_request'], line['app']), ['access_request', 'app']),
  'access.request_withdrawn': (line) =>
    manage(line, 4, entityOf('access request', line['access_request'], line['app']), ['access_request', 'app']),
  'access.request_answered': (line) =>
    manage(line, 3, entityOf('access request', line['access_request'], line['app']), ['access_request', 'app']),
  'console.uninvited': (line) => manage(line, 4, entityOf('console role', line['email'], line['role']), ['email', 'role']),
  'device.registered': (line) => manageDevice(line, 6),
  'device.imported': (line) => manageDevice(line, 6),
  'device.blocked': (line) => manageDevice(line, 9),
  'device.unblocked': (line) => manageDevice(line, 8),
  'device.tagged': (line) => manageDevice(line, 3),
  'device.removed': (line) => manageDevice(line, 7),
  'device.reported': (line) => manageDevice(line, 3),
  'data.read': (line) => manage(line, 2, entityOf(textOf(line['what']) ?? 'data', undefined, line['target']), ['what', 'target']),
  'audit.pruned': (line) => manage(line, 4, entityOf('audit segments', line['chain']), ['chain']),
  'instance.started': (line) => lifecycle(line, 3),
  'instance.stopped': (line) => lifecycle(line, 4),
  'audit.resumed': () => ({ ...base('Audit lines lost'), severityId: 4, statusId: 2 }),
  'audit.repaired': () => ({ ...base('Audit trail repaired'), severityId: 3 }),
  'audit.segment_started': () => base('Audit segment started'),
  'audit.checkpoint': () => base('Audit checkpoint'),
  'facts.recorded': () => base('Facts recorded'),
}

/** The event; `undefined` for a line without a time. One of a kind that this version does not know is a Base Event. */
export function mapToOcsf(line: TrailLine): OcsfObject | undefined {
  const time = millisecondsOf(line['at'])
  const event = textOf(line['event'])
  if (time === undefined || event === undefined) return undefined
  const map = Object.hasOwn(mappings, event) ? mappings[event as AuditEvent['event']] : undefined
  const { activityId, activityName, attributes, classUid, profiles, severityId = 1, statusId = 1, used } = map?.(line) ?? base(event)
  const rest = Object.entries(line).filter(([name]) => !alwaysPlaced.has(name) && !used.includes(name))
  return withoutUndefined({
    class_uid: classUid,
    category_uid: Math.trunc(classUid / 1000),
    activity_id: activityId,
    activity_name: activityName,
    type_uid: classUid * 100 + activityId,
    severity_id: severityId,
    status_id: statusId,
    time,
    metadata: {
      version: ocsfVersion,
      product: { name: 'Postern', vendor_name: 'Postern', uid: textOf(line['instance']) },
      log_name: 'audit',
      event_code: event,
      original_time: line['at'],
      correlation_uid: textOf(line['request']),
      sequence: line['seq'],
      profiles,
    },
    ...attributes,
    unmapped: rest.length === 0 ? undefined : Object.fromEntries(rest),
  })
}

const alwaysPlaced: ReadonlySet<string> = new Set(['seq', 'at', 'event', 'instance', 'request'])

function mapDecided(line: TrailLine): Mapped {
  const method = textOf(line['method']) ?? ''
  const activity = Object.hasOwn(httpActivities, method) ? httpActivities[method] : undefined
  const effect = textOf(line['effect']) ?? ''
  const path = textOf(line['path'])
  const isAlert = line['alert'] === true
  return {
    classUid: httpActivity,
    activityId: activity ?? 99,
    ...(activity === undefined ? { activityName: method === '' ? 'Other' : method } : {}),
    severityId: isAlert ? 3 : effect === 'deny' ? 2 : 1,
    statusId: effect === 'allow' ? 1 : effect === 'deny' ? 2 : 99,
    profiles: ['host', 'security_control'],
    attributes: {
      status_code: line['reason'],
      // A challenge lets nobody through either; the disposition tells the two apart.
      action_id: effect === 'allow' ? 1 : 2,
      disposition_id: dispositions[effect] ?? 99,
      is_alert: isAlert,
      actor: actorOfSubject(line),
      http_request: {
        uid: line['request'],
        http_method: activity === undefined ? undefined : method,
        url: path === undefined ? undefined : { hostname: line['host'], path, query_string: line['query'] },
        user_agent: line['user_agent'],
      },
      src_endpoint: sourceOf(line),
      dst_endpoint: destinationOf(line),
      firewall_rule: line['rule'] === undefined ? undefined : { name: line['rule'] },
      policy: line['policy'] === undefined ? undefined : { uid: line['policy'] },
    },
    used: ['method', 'path', 'host', 'query', 'user_agent', 'address', 'app', 'reason', 'rule', 'policy', 'subject', 'session', 'alert'],
  }
}

function mapEnded(line: TrailLine): Mapped {
  const outcome = textOf(line['outcome'])
  const isCut = outcome === 'cut'
  return {
    classUid: httpActivity,
    activityId: 99,
    activityName: 'Ended',
    severityId: isCut ? 2 : 1,
    statusId: outcome === 'completed' ? 1 : outcome === 'client_gone' ? 99 : 2,
    profiles: ['security_control'],
    attributes: {
      status_code: line['reason'],
      status_detail: outcome,
      // Access revoked, or allowed.
      action_id: isCut ? 2 : 1,
      disposition_id: isCut ? 24 : 1,
      duration: line['duration_ms'],
      http_response: { code: line['status'] },
      dst_endpoint: destinationOf(line),
      // The schema looks from the client: what came into Postern went out there.
      traffic: {
        bytes: countOf(line['bytes_in']) + countOf(line['bytes_out']),
        bytes_in: line['bytes_out'],
        bytes_out: line['bytes_in'],
      },
    },
    used: ['status', 'outcome', 'reason', 'duration_ms', 'bytes_in', 'bytes_out', 'app'],
  }
}

function signIn(line: TrailLine, activity: Pick<Mapped, 'activityId' | 'activityName'>): Mapped {
  return {
    classUid: authentication,
    ...activity,
    attributes: signInAttributes(line),
    used: ['subject', 'session', 'address', 'reason'],
  }
}

function signInAttributes(line: TrailLine): OcsfObject {
  const { amr } = line
  return {
    user: userOf(line['subject']),
    session: sessionOf(line),
    service: { name: 'Postern' },
    src_endpoint: sourceOf(line),
    // OpenID.
    auth_protocol_id: 4,
    is_remote: true,
    is_mfa: Array.isArray(amr) ? amr.includes('mfa') : undefined,
    status_detail: line['reason'],
  }
}

function mapEndOfSession(line: TrailLine): Mapped {
  const session = sessionOf(line)
  return {
    ...signIn(line, { activityId: 2 }),
    attributes: {
      ...signInAttributes(line),
      session: session === undefined ? undefined : { ...session, expiration_reason: line['cause'] },
      status_detail: line['cause'],
    },
    used: ['subject', 'session', 'address', 'cause'],
  }
}

function manage(line: TrailLine, activityId: number, entity: OcsfObject, used: readonly string[]): Mapped {
  return {
    classUid: entityManagement,
    activityId,
    attributes: { entity, actor: actorOf(line), comment: line['reason'], src_endpoint: sourceOf(line) },
    used: [...used, 'actor', 'reason', 'address'],
  }
}

function manageDevice(line: TrailLine, activityId: number): Mapped {
  return manage(line, activityId, entityOf('device', line['device']), ['device'])
}

function lockedEntity(line: TrailLine): OcsfObject {
  const on = textOf(line['on']) ?? 'lock'
  return entityOf(on === 'subject' ? 'user' : on, line['target'], line['label'])
}

function lifecycle(line: TrailLine, activityId: number): Mapped {
  return {
    classUid: applicationLifecycle,
    activityId,
    attributes: { app: { name: 'Postern', vendor_name: 'Postern', version: line['version'] } },
    used: ['version'],
  }
}

/** The class has no activities of its own: other. */
function base(message: string): Mapped {
  return { classUid: baseEvent, activityId: 99, activityName: message, attributes: { message }, used: [] }
}

function countOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
