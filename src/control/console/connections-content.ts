/**
 * What the page of open connections is told: pure view models of what the operation found.
 *
 * Every address is made of parts that were encoded here; everything that a person, a provider or an app chose stays text.
 */

import type { Permission } from '../../administration/asker.ts'
import { refOf } from '../../administration/person-ref.ts'
import type { ConnectionsJson, OpenConnectionJson } from '../operations/connections.ts'
import { type InstantView, instantView } from './instants.ts'

/** One row. */
export interface ConnectionRow {
  readonly id: string
  readonly app: string
  /** Addresses are `undefined` where there is no page, or none for this reader. */
  readonly appHref: string | undefined
  readonly who: string
  readonly whoHref: string | undefined
  readonly kind: string
  readonly since: InstantView | undefined
  readonly received: string
  readonly sent: string
  readonly address: string
  readonly device: string
  readonly deviceHref: string | undefined
  readonly asked: string
  readonly decisionHref: string | undefined
  readonly instance: string
}

export interface ConnectionsFilter {
  readonly app: string
  readonly subject: string
}

export interface ConnectionsContent {
  readonly filter: ConnectionsFilter
  readonly isFiltered: boolean
  readonly rows: readonly ConnectionRow[]
  /** What the page's script makes new rows of. */
  readonly blank: ConnectionRow
  readonly apps: readonly { readonly app: string; readonly count: number; readonly href: string; readonly isCurrent: boolean }[]
  readonly total: number
  readonly summary: string
  /** Instances that did not answer. */
  readonly silent: readonly string[]
  readonly next: string | undefined
  readonly first: string | undefined
  /** Where the page's script listens; `undefined` on later pages, which stand still. */
  readonly liveHref: string | undefined
  readonly mayCut: boolean
}

/** Whether the reader holds a permission: nobody is led to a refusal. */
type May = (permission: Permission) => boolean

const kindWords: Readonly<Record<OpenConnectionJson['kind'], string>> = {
  websocket: 'WebSocket',
  event_stream: 'Event stream',
  transfer: 'Transfer',
}

const blank: ConnectionRow = {
  id: '',
  app: '',
  appHref: undefined,
  who: '',
  whoHref: undefined,
  kind: '',
  since: { iso: '', text: '' },
  received: '',
  sent: '',
  address: '',
  device: '',
  deviceHref: undefined,
  asked: '',
  decisionHref: undefined,
  instance: '',
}

/** More apps than this are found by the filter. */
const mostApps = 50

/** The page. */
export function describeConnectionsPage(
  found: ConnectionsJson,
  facts: { readonly filter: ConnectionsFilter; readonly isFirst: boolean; readonly may: May; readonly now: number },
): ConnectionsContent {
  const { filter, isFirst, may, now } = facts
  return {
    filter,
    isFiltered: filter.app !== '' || filter.subject !== '',
    ...describeLive(found, { may, now }),
    blank,
    apps: found.apps.slice(0, mostApps).map(({ app, count }) => ({
      app,
      count,
      href: connectionsHref({ ...filter, app }),
      isCurrent: filter.app === app,
    })),
    next: found.next === null ? undefined : `${connectionsHref(filter)}${querySign(filter)}after=${encodeURIComponent(found.next)}`,
    first: isFirst ? undefined : connectionsHref(filter),
    liveHref: isFirst ? `/console/connections/live${queryOf(filter)}` : undefined,
    mayCut: may('connections:cut'),
  }
}

/** What changes while somebody looks. */
export function describeLive(
  found: ConnectionsJson,
  facts: { readonly may: May; readonly now: number },
): Pick<ConnectionsContent, 'rows' | 'total' | 'summary' | 'silent'> {
  return {
    rows: found.entries.map((entry) => describeRow(entry, facts)),
    total: found.total,
    summary: summaryOf(found),
    silent: found.instances.filter(({ answered }) => !answered).map(({ name }) => name),
  }
}

/** The list with this filter. */
export function connectionsHref(filter: Partial<ConnectionsFilter>): string {
  return `/console/connections${queryOf(filter)}`
}

function describeRow(
  { address, app, bytes_in, bytes_out, device, id, instance, kind, method, path, since, subject }: OpenConnectionJson,
  { may, now }: { readonly may: May; readonly now: number },
): ConnectionRow {
  const { email, issuer, sub } = subject
  return {
    id,
    app,
    appHref: may('policy:read') ? `/console/apps/${encodeURIComponent(app)}` : undefined,
    who: email ?? sub ?? 'nobody',
    whoHref: issuer === null || sub === null || !may('people:read') ? undefined : `/console/people/${refOf({ issuer, sub })}`,
    kind: kindWords[kind],
    since: instantView(Date.parse(since), now),
    received: bytesWords(bytes_in),
    sent: bytesWords(bytes_out),
    address: address ?? '(not recorded)',
    device: device ?? '',
    deviceHref: device === null || !may('devices:read') ? undefined : `/console/devices/${encodeURIComponent(device)}`,
    asked: path === '' ? method : `${method} ${path}`,
    decisionHref: may('audit:read') ? `/console/trail/decisions/${encodeURIComponent(id)}` : undefined,
    instance,
  }
}

function summaryOf({ instances, total }: ConnectionsJson): string {
  const answered = instances.filter((one) => one.answered).length
  const open = total === 1 ? '1 connection is open' : `${total} connections are open`
  return instances.length === 1 ? `${open}.` : `${open} on ${answered} of ${instances.length} instances.`
}

function queryOf({ app = '', subject = '' }: Partial<ConnectionsFilter>): string {
  const query = new URLSearchParams()
  if (app !== '') query.set('app', app)
  if (subject !== '') query.set('subject', subject)
  const text = query.toString()
  return text === '' ? '' : `?${text}`
}

function querySign(filter: ConnectionsFilter): string {
  return queryOf(filter) === '' ? '?' : '&'
}

/** `512 B`, `1.4 kB`, `2.0 MB`. */
export function bytesWords(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  // What rounds to a thousand of one unit is one of the next.
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes * 1.0005) / 3))
  const number = bytes / 1000 ** power
  return `${power === 0 ? number : number.toFixed(number < 10 ? 1 : 0)} ${units[power]}`
}
