/**
 * Operations on open connections: WebSockets, event streams and long transfers of all instances, and cutting one.
 *
 * Looking at them is looking at people, so it is on record before anything is handed out. Cutting one is against its person: the helpdesk does not
 * do that to an admin.
 */

import { z } from 'zod'
import type { AdministeredConnections, ConnectionPlace, ConnectionsPage } from '../../administration/connections.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { defineOperation, done, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant } from './paging.ts'

export interface ConnectionsOperationsPorts {
  readonly connections: AdministeredConnections
  /** Resolves once it is written; rejects with `audit_unavailable`. */
  readonly recordFirst: (event: Extract<AuditEvent, { readonly event: 'data.read' }>) => Promise<void>
}

export type ConnectionsOperations = ReturnType<typeof createConnectionsOperations>

/** A request's id. */
const connectionId = z.string().min(1).max(128).meta({ description: 'Of the request that the connection began with.' })

const openConnection = z.strictObject({
  id: connectionId,
  app: z.string(),
  kind: z.enum(['websocket', 'event_stream', 'transfer']),
  subject: z.strictObject({
    kind: z.enum(['nobody', 'person', 'service']),
    issuer: z.string().nullable(),
    sub: z.string().nullable(),
    email: z.string().nullable(),
  }),
  session: z.string().nullable(),
  device: z.string().nullable(),
  address: z.string().nullable().meta({ description: 'Null where the operator keeps addresses out of the trail.' }),
  since: instantText,
  bytes_in: z.number().int().meta({ description: 'Body bytes from the client so far.' }),
  bytes_out: z.number().int().meta({ description: 'Body bytes to the client so far.' }),
  method: z.string(),
  path: z.string().meta({ description: 'As much of it as the app lets be recorded.' }),
  instance: z.string().meta({ description: 'Where it is open.' }),
})

/** An open connection as JSON. */
export type OpenConnectionJson = z.output<typeof openConnection>

const listOutput = pageOf(openConnection).extend({
  total: z.number().int().meta({ description: 'How many are open that fit, on all instances that answered.' }),
  apps: z.array(z.strictObject({ app: z.string(), count: z.number().int() })).meta({ description: 'The same by app, the most first.' }),
  instances: z
    .array(z.strictObject({ name: z.string(), answered: z.boolean() }))
    .meta({ description: 'Every instance, and whether it answered: what one that did not has open is not in the list.' }),
})

/** A page of open connections as JSON. */
export type ConnectionsJson = z.output<typeof listOutput>

const listInput = z.strictObject({
  app: z.string().min(1).max(128).optional().meta({ description: 'Only those to this app.' }),
  subject: z
    .string()
    .min(1)
    .max(1_024)
    .optional()
    .meta({ description: 'Only those of this person or service: a `sub`, or an e-mail address.' }),
  ...pageInput,
})

/** The operations of this theme. */
export function createConnectionsOperations({ connections, recordFirst }: ConnectionsOperationsPorts) {
  const list = defineOperation({
    id: 'connections.list',
    summary: 'Lists open connections',
    description:
      'What is open now on all instances, the newest first: WebSockets and event streams from their beginning, anything else once it has lasted a second. Instances that do not answer within 0.8 seconds are named. Recorded as `data.read`.',
    method: 'GET',
    path: '/connections',
    permission: 'connections:read',
    input: listInput,
    output: listOutput,
    problems: [],
    async carryOut({ after, app, limit, subject }, { actor }) {
      const page = await connections.list({ app, subject, limit, after: parsePlace(after) }, actor)
      const target = subject ?? app
      await recordFirst({ event: 'data.read', actor, what: 'connections', target, entries: page.entries.length })
      return done(describeConnections(page))
    },
  })

  const cut = defineOperation({
    id: 'connections.cut',
    summary: 'Cuts an open connection',
    description:
      'Ends one connection at once, wherever it is open: a WebSocket with close code 4403, anything else by closing it. The person stays signed in and may open it again. Recorded as `connection.cut` first. The helpdesk cannot cut an admin’s.',
    method: 'POST',
    path: '/connections/{id}/cut',
    permission: 'connections:cut',
    input: z.strictObject({
      id: connectionId,
      reason: z.string().trim().max(500).optional().meta({ description: 'For the trail.' }),
    }),
    output: z.strictObject({ id: connectionId, app: z.string(), cut: z.literal(true) }),
    problems: ['not_found', 'target_protected'],
    async carryOut({ id, reason }, asker) {
      const outcome = await connections.cut(id, asker, reason === '' ? undefined : reason)
      switch (outcome.outcome) {
        case 'cut':
          return done({ id, app: outcome.connection.app, cut: true as const })
        case 'protected':
          return refused('target_protected', 'This connection is an admin’s. Only an admin may cut it.')
        case 'not_open':
          return refused(
            'not_found',
            outcome.unheard.length === 0
              ? 'This connection is not open any more.'
              : `This connection is not open on any instance that answered. No answer came from ${outcome.unheard.join(', ')}.`,
          )
      }
    },
  })

  return { list, cut }
}

/** A page as JSON has it. */
export function describeConnections({ byApp, entries, instances, next, total }: ConnectionsPage): ConnectionsJson {
  return {
    entries: entries.map(({ address, bytesIn, bytesOut, device, session, since, subject, ...entry }) => ({
      ...entry,
      subject: { kind: subject.kind, issuer: subject.issuer ?? null, sub: subject.sub ?? null, email: subject.email ?? null },
      session: session ?? null,
      device: device ?? null,
      address: address ?? null,
      since: toInstant(since),
      bytes_in: bytesIn,
      bytes_out: bytesOut,
    })),
    next: next === undefined ? null : Buffer.from(`${next.since} ${next.id}`).toString('base64url'),
    total,
    apps: [...byApp],
    instances: instances.map(({ hasAnswered, name }) => ({ name, answered: hasAnswered })),
  }
}

/** It comes back by browsers: whatever is none begins at the beginning. */
function parsePlace(text: string | undefined): ConnectionPlace | undefined {
  if (text === undefined) return undefined
  const [, since, id] = /^(\d{1,16}) ([^ ]{1,128})$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  return since === undefined || id === undefined ? undefined : { since: Number(since), id }
}
