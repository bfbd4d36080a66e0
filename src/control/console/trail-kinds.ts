/**
 * What the list of the trail shows first: decisions, or what somebody changed, or everything. `show` in the address says which.
 *
 * The end of every exchange and every look at data stand in the trail as well, and would be most of the list; they are under *Everything*. Whoever names
 * an event gets that event, and without `show` all there is on one request or one reason is shown: neither is told by decisions alone.
 */

import type { AuditEvent } from '../../audit/event.ts'
import type { TrailFilters } from './trail-content.ts'

export type TrailKind = 'decisions' | 'changes' | 'everything'

/** As tabs, in their order. */
export const trailKinds: readonly { readonly kind: TrailKind; readonly label: string }[] = [
  { kind: 'decisions', label: 'Decisions' },
  { kind: 'changes', label: 'Changes' },
  { kind: 'everything', label: 'Everything' },
]

/** Complete by its type: an event that is added is put somewhere here. */
const kindOfEvent: Readonly<Record<AuditEvent['event'], 'decisions' | 'changes' | undefined>> = {
  'access.decided': 'decisions',
  'lock.set': 'changes',
  'lock.lifted': 'changes',
  'sessions.revoked': 'changes',
  'connection.cut': 'changes',
  'break_glass.issued': 'changes',
  'access.request_answered': 'changes',
  'policy.loaded': 'changes',
  'policy.refused': 'changes',
  'policy.published': 'changes',
  'policy.publication_refused': 'changes',
  'policy.drafted': 'changes',
  'policy.proposed': 'changes',
  'policy.approved': 'changes',
  'policy.discarded': 'changes',
  'device.registered': 'changes',
  'device.imported': 'changes',
  'device.blocked': 'changes',
  'device.unblocked': 'changes',
  'device.tagged': 'changes',
  'device.removed': 'changes',
  'token.created': 'changes',
  'token.rotated': 'changes',
  'token.revoked': 'changes',
  'console.invited': 'changes',
  'console.uninvited': 'changes',
  'store.adopted': 'changes',
  'keys.rotated': 'changes',
  'instance.started': 'changes',
  'instance.stopped': 'changes',
  'audit.pruned': 'changes',
  'access.ended': undefined,
  'access.counted': undefined,
  'access.requested': undefined,
  'access.request_withdrawn': undefined,
  'facts.recorded': undefined,
  'session.started': undefined,
  'session.continued': undefined,
  'session.refreshed': undefined,
  'session.ended': undefined,
  'subject.ended': undefined,
  'sign_in.failed': undefined,
  'post.kept': undefined,
  'post.resumed': undefined,
  'post.discarded': undefined,
  'device.reported': undefined,
  'data.read': undefined,
  'audit.resumed': undefined,
  'audit.segment_started': undefined,
  'audit.checkpoint': undefined,
  'audit.repaired': undefined,
}

/** What is shown; `undefined` where an event is named, which is narrower than each of them. `show`: as it stands in the address. */
export function kindOf({ event, reason, request }: TrailFilters, show: string | null): TrailKind | undefined {
  if (event !== undefined) return undefined
  const asked = trailKinds.find(({ kind }) => kind === show)?.kind
  return asked ?? (request === undefined && reason === undefined ? 'decisions' : 'everything')
}

/** The events to ask for, as the operation takes them; of everything, and where one is named, nothing is added. */
export function eventsOf(kind: TrailKind | undefined): { readonly event?: string[] } {
  if (kind === undefined || kind === 'everything') return {}
  return { event: Object.entries(kindOfEvent).flatMap(([event, of]) => (of === kind ? event : [])) }
}
