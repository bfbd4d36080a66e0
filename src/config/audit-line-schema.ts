/**
 * The form of a line of the audit trail, version 1: what `docs/audit.md` tells people, for programs.
 *
 * One strict map for each event, told apart by `event`; every line has its place in the chain, its time and its instance. It describes what the
 * trail writes (`audit/line.ts`), so every bound is that writer's; a test holds real lines of every event against it. Words of lists that
 * grow (reasons, causes) are described by their form, so that a line of last year still has the form of this year.
 * `config/schema/audit-line.json` is generated from here; a test keeps them equal.
 */

import { z } from 'zod'

/** Version of the form of lines, as it stands in each segment's first line. */
export const auditLineForm = 1

/** What was longer was cut and ends in an ellipsis. */
const text = (most: number) => z.string().max(most + 1)
const instant = z
  .string()
  .regex(/^[+-]?\d{4,6}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
  .meta({ format: 'date-time' })
const word = z.string().regex(/^[a-z][a-z0-9_]*$/)
const whole = z.int().min(0)
const chainHash = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
const effect = z.enum(['allow', 'deny', 'challenge'])

const request = text(128).meta({ description: 'Id of the request, as its answer named it in X-Postern-Request.' })
const session = text(256).meta({ description: 'The session’s own id, which no cookie contains.' })
const app = text(256).meta({ description: 'Id of the app in the policy.' })
const rule = text(256).meta({ description: 'Name of the rule that decided.' })
const policy = text(256).meta({ description: 'Version of the policy document that decided.' })
const address = text(64).meta({ description: 'Of the client, as the trusted proxies tell it.' })
const reason = word.meta({ description: 'Why; docs/reasons.md lists them.' })
const cause = text(256).meta({ description: 'Why it ended.' })
const actor = text(256).meta({ description: 'Who administered: os:<user>@<host>, token:<id>, device:<id>, person:<sub>.' })
const prose = text(512).meta({ description: 'The reason that the administrator gave.' })
const contentHash = text(64).meta({ description: 'SHA-256 over names and contents of the files of a policy, base64url.' })
const comment = text(512).meta({ description: 'What it is about, in the author’s words.' })
const chain = text(256).meta({ description: 'Name of the chain: the folder’s.' })
const subject = z
  .strictObject({
    kind: z.enum(['nobody', 'person', 'service']),
    issuer: text(512).optional(),
    sub: text(1024).optional(),
    email: text(320).optional(),
  })
  .meta({ description: 'Who: the e-mail only where the provider vouches for it; the `sub` of a service is its name in the policy.' })

const place = {
  seq: z.int().min(1).meta({ description: 'Place in the chain.' }),
  prev: chainHash.meta({ description: 'SHA-256 of the line before, base64url; of the first line, 43 times A.' }),
  at: instant.meta({ description: 'When it was recorded: RFC 3339 in UTC with milliseconds.' }),
  instance: text(128).meta({ description: 'Which instance wrote it.' }),
}

const event = <N extends readonly [string, ...string[]], S extends z.core.$ZodLooseShape>(names: N, description: string, shape: S) =>
  z.strictObject({ ...place, event: z.enum(names), ...shape }).meta({ title: names.join(', '), description })

const deviceFields = { actor, device: text(256), request: request.optional(), address: address.optional(), reason: prose.optional() }
const postFields = { request, session, app, bytes: whole }
const policyFields = {
  policy,
  problems: whole,
  from: policy.optional(),
  author: actor.optional(),
  difference: z.array(text(256)).max(100).optional(),
}
const tokenFields = { actor, token: text(256), name: text(256), scopes: z.array(text(256)).optional(), expires_at: instant.optional() }
const lock = z.strictObject({ on: z.enum(['subject', 'service', 'device', 'app']), until: instant.optional() })

const events = [
  event(['access.decided'], 'A request was decided, before anything of it was forwarded.', {
    request,
    subject,
    session: session.optional(),
    app: app.optional(),
    host: text(255),
    method: text(32),
    path: text(2048),
    path_redacted: z.enum(['first_segment', 'none']).optional(),
    query: text(2048).optional(),
    effect,
    reason,
    rule: rule.optional(),
    policy,
    address: address.optional(),
    user_agent: text(512).optional(),
    claims_at: instant.optional(),
    claims_state: z.enum(['fresh', 'stale', 'unknown']).optional(),
    method_class: z.enum(['read', 'write', 'websocket']).optional(),
    tls_version: text(32).optional(),
    decided_at: instant.optional(),
    facts: z.strictObject({ subject: z.string(), sign_in: z.string(), device: z.string() }).optional(),
    device: text(256).optional(),
    circumstances: text(1024).optional(),
    trace: z.string().max(64).optional(),
    lock: lock.optional(),
    would: z.strictObject({ effect, reason, rule: rule.optional() }).optional(),
    alert: z.literal(true).optional(),
  }),
  event(['facts.recorded'], 'What decisions of the same segment refer to by its hash.', {
    kind: z.enum(['subject', 'sign_in', 'device']),
    hash: z.string(),
    facts: text(65_536).meta({ description: 'JSON.' }),
  }),
  event(['access.ended'], 'An exchange that was let through is over.', {
    request,
    app,
    status: whole,
    bytes_in: whole,
    bytes_out: whole,
    duration_ms: z.number().min(0),
    outcome: z.enum(['completed', 'client_gone', 'upstream_failed', 'cut']),
    reason: reason.optional(),
    rule: rule.optional(),
    policy: policy.optional(),
  }),
  event(['access.counted'], 'What strangers caused within a minute.', {
    address,
    app: app.optional(),
    reason,
    count: whole,
    since: instant,
  }),
  event(['session.started', 'session.continued', 'session.refreshed'], 'A sign-in, or the provider confirmed one.', {
    request: request.optional(),
    session,
    subject,
    address: address.optional(),
    acr: text(256).optional(),
    amr: z.array(text(256)),
  }),
  event(['session.ended'], 'A session was ended.', { request: request.optional(), session, subject, address: address.optional(), cause }),
  event(['subject.ended'], 'Everything of a subject, or of a session of the provider, was ended.', {
    request: request.optional(),
    subject,
    address: address.optional(),
    sid: text(256).optional(),
    cause,
  }),
  event(['lock.set', 'lock.lifted'], 'An administrator locked something, changed the lock, or lifted it.', {
    actor,
    on: z.enum(['subject', 'service', 'device', 'app']),
    target: text(256),
    label: text(256),
    until: instant.optional(),
    reason: prose.optional(),
  }),
  event(['sessions.revoked'], 'Sessions were ended on order; each has a session.ended line too.', {
    actor,
    sessions: z.array(text(256)),
    target: text(256).optional(),
    reason: prose.optional(),
  }),
  event(['connection.cut'], 'An administrator cut an open connection, which began with this request.', {
    actor,
    request,
    app,
    target: text(1024).optional(),
    reason: prose.optional(),
  }),
  event(
    ['access.requested', 'access.request_withdrawn'],
    'Somebody asked for access to an app on their portal, or took the request back.',
    {
      request,
      subject,
      app,
      access_request: text(64),
      reason: prose.optional(),
    },
  ),
  event(['access.request_answered'], 'An administrator saw or answered a request for access. Nothing was granted by it.', {
    actor,
    access_request: text(64),
    app,
    target: text(1024),
    state: z.enum(['seen', 'answered']),
    reason: prose.optional(),
  }),
  event(['break_glass.issued'], 'Before a one-time sign-in without the provider was handed out.', {
    actor,
    issuer: text(512),
    sub: text(1024),
    email: text(320),
    until: instant,
    reason: prose,
  }),
  event(['sign_in.failed'], 'The provider refused, or its answer failed a check.', {
    request,
    reason,
    error: text(128).optional(),
    address,
  }),
  event(['post.kept', 'post.resumed'], 'A form was kept during a sign-in, or sent on after it.', {
    ...postFields,
    cause: cause.optional(),
  }),
  event(['post.discarded'], 'A kept form was thrown away.', { ...postFields, cause: cause.optional() }),
  event(['policy.loaded', 'policy.refused'], 'A policy came into force, or a changed one could not.', policyFields),
  event(['policy.published'], 'A policy was published to the store; written before it is in force.', {
    actor,
    revision: z.int().min(1),
    policy,
    hash: contentHash,
    from: policy.optional(),
    comment,
    difference: z.array(text(256)).max(100),
    approvals: z.array(text(256)).max(100),
    restores: z.int().min(1).optional(),
  }),
  event(['policy.publication_refused'], 'Somebody would have published, and another revision had come in between.', {
    actor,
    hash: contentHash,
    comment,
    predecessor: whole,
    head: whole,
  }),
  event(
    ['policy.drafted', 'policy.proposed', 'policy.approved', 'policy.discarded'],
    'A draft of a policy was begun or changed, put before others, approved, or given up.',
    { actor, draft: text(64), hash: contentHash, comment },
  ),
  event(['store.adopted'], 'A store that had lost revisions of the policy was given them back, or its loss was accepted.', {
    actor,
    kept: z.enum(['mirror', 'store']),
    revision: z.int().min(1).optional(),
    policy: policy.optional(),
    hash: contentHash.optional(),
  }),
  event(['keys.rotated'], 'Another key signs assertions.', { kid: text(256) }),
  event(['token.created', 'token.rotated', 'token.revoked'], 'A service token was made, given another secret, or ended.', {
    ...tokenFields,
    until: instant.optional(),
  }),
  event(['console.invited', 'console.uninvited'], 'Somebody was given a role of the console for a while, or it was taken back.', {
    actor,
    email: text(320),
    role: text(32),
    until: instant.optional(),
  }),
  event(
    ['device.registered', 'device.imported', 'device.blocked', 'device.unblocked', 'device.tagged', 'device.removed', 'device.reported'],
    'A device of the inventory changed.',
    deviceFields,
  ),
  event(['instance.started', 'instance.stopped'], 'The life of an instance.', { version: text(256) }),
  event(['audit.resumed'], 'Lines could be written again after some were lost.', { lost: whole, since: instant }),
  event(['audit.segment_started'], 'First line of each segment.', {
    chain,
    segment: z.int().min(1),
    form: z.literal(auditLineForm),
    key: text(256),
    public_key: text(256),
  }),
  event(['audit.checkpoint'], 'Signed: everything before it in this chain is as it was written.', {
    chain,
    key: text(256),
    signature: text(256),
  }),
  event(['audit.repaired'], 'What a start found that a crash, or somebody, left behind.', {
    torn_bytes: whole,
    found_seq: whole,
    anchored_seq: whole.optional(),
  }),
  event(['audit.pruned'], 'Old segments of a chain were removed on purpose.', {
    actor,
    chain,
    segments: whole,
    through_seq: whole,
    head: text(256),
    cause: z.enum(['age', 'size', 'command']),
  }),
  event(['data.read'], 'An administrator looked at what is recorded about others.', {
    actor,
    what: text(256),
    target: text(256).optional(),
    entries: whole.optional(),
  }),
] as const

const auditLine = z.discriminatedUnion('event', events)

/** Names of the events that the schema knows. */
export const auditLineEvents: readonly string[] = events.flatMap(({ shape }) => shape.event.options as readonly string[])

/** What keeps a parsed line from being one of the trail, in words that repeat no value; empty for one that is. */
export function findLineProblems(line: unknown): readonly string[] {
  const result = auditLine.safeParse(line)
  return result.success ? [] : result.error.issues.map(({ message, path }) => `${path.map(String).join('.')}: ${message}`)
}

/** The JSON Schema (2020-12) of a line as text, ending in a line break. */
export function printAuditLineSchema(): string {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(auditLine, { io: 'input', reused: 'inline' })
  const whole = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Line of the audit trail',
    description: `One line of data_dir/audit/<chain>/NNNNNNNN.ndjson, form ${auditLineForm}.`,
    ...rest,
  }
  return `${JSON.stringify(whole, null, 2)}\n`
}
