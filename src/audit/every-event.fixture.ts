/**
 * One event of every kind at least, with every field that it may have: for tests that must hold for all of them. Complete by its type: an event
 * that is added to the union must be added here.
 */

import type { AuditEvent } from './event.ts'
import { decided } from './written-trail.fixture.ts'

type Kind = AuditEvent['event']
type Of<K extends Kind> = AuditEvent & { readonly event: K }

const subject = { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: 'ada@corp.example' } as const
const actor = 'os:root@host'
const at = Date.UTC(2026, 10, 22)
const device = { actor, device: 'laptop-7', request: 'r1', address: '192.0.2.1', reason: 'lost' } as const
const session = { request: 'r1', session: 's1', subject, address: '192.0.2.1', acr: 'mfa', amr: ['pwd', 'mfa'] } as const
const lock = { actor, on: 'subject', target: 'u1', label: 'ada@corp.example', until: at, reason: 'left' } as const
const token = { actor, token: 't1', name: 'mdm', scopes: ['devices:report'], expiresAt: at } as const
const invitation = { actor, email: 'ada@corp.example', role: 'admin' } as const
const draft = { actor, draft: 'd1', hash: 'h1', comment: 'wiki for contractors' } as const
const firstRevision = { from: undefined, comment: 'as in the files', difference: [], approvals: [], restores: undefined } as const
const post = { request: 'r1', session: 's1', app: 'wiki', bytes: 12 } as const

/** By kind; several where a kind has forms that differ. */
export const everyEvent: { readonly [K in Kind]: readonly [Of<K>, ...Of<K>[]] } = {
  'access.decided': [
    decided('r1', {
      query: 'q=1',
      decidedAt: at,
      methodClass: 'read',
      facts: { subject: 'A', signIn: 'B', device: 'C' },
      device: 'laptop-7',
      tlsVersion: 'TLSv1.3',
      circumstances: '{"country":{"known":true,"value":"DE"}}',
      trace: '0af7651916cd43dd8448eb211c80319c',
      lock: { on: 'app', until: at },
      would: { effect: 'deny', reason: 'no_rule_matched', rule: 'r' },
      alert: true,
    }),
    decided('r2', {
      subject: { kind: 'nobody' },
      session: undefined,
      app: undefined,
      rule: undefined,
      claimsAt: undefined,
      claimsState: undefined,
    }),
    decided('r3', { method: 'PROPFIND', effect: 'challenge', reason: 'login_required', address: undefined, userAgent: undefined }),
    decided('r4', { effect: 'deny', reason: 'locked', path: '', pathRedacted: 'none', lock: { on: 'subject', until: undefined } }),
    decided('r5', { subject: { kind: 'service', sub: 'billing' }, path: '/a', pathRedacted: 'first_segment' }),
  ],
  'facts.recorded': [{ event: 'facts.recorded', kind: 'device', hash: 'C', facts: '{"known":false,"why":"no_device"}' }],
  'access.ended': [
    {
      event: 'access.ended',
      request: 'r1',
      app: 'wiki',
      status: 200,
      bytesIn: 1,
      bytesOut: 2,
      durationMs: 3,
      outcome: 'completed',
      reason: undefined,
    },
    {
      event: 'access.ended',
      request: 'r2',
      app: 'wiki',
      status: 101,
      bytesIn: 1,
      bytesOut: 2,
      durationMs: 3,
      outcome: 'cut',
      reason: 'session_ended',
      rule: 'r',
      policy: 'sha256-0',
    },
  ],
  'access.counted': [
    { event: 'access.counted', address: '192.0.2.1', app: 'wiki', reason: 'login_required', count: 3, since: at },
    { event: 'access.counted', address: '*', app: undefined, reason: 'app_not_found', count: 3, since: at },
  ],
  'session.started': [{ event: 'session.started', ...session }],
  'session.continued': [{ event: 'session.continued', ...session, acr: undefined }],
  'session.refreshed': [{ event: 'session.refreshed', ...session, request: undefined, address: undefined, amr: [] }],
  'session.ended': [{ event: 'session.ended', request: undefined, session: 's1', subject, address: '192.0.2.1', cause: 'revoked' }],
  'subject.ended': [
    { event: 'subject.ended', request: 'r1', subject, address: undefined, sid: undefined, cause: 'back_channel' },
    { event: 'subject.ended', request: 'r1', subject: { kind: 'person', issuer: 'https://op.example' }, sid: 'x', cause: 'back_channel' },
  ],
  'lock.set': [
    { event: 'lock.set', ...lock },
    { event: 'lock.set', ...lock, on: 'device', target: 'laptop-7', until: undefined },
  ],
  'lock.lifted': [{ event: 'lock.lifted', ...lock, on: 'app', target: 'wiki', reason: undefined }],
  'sessions.revoked': [{ event: 'sessions.revoked', actor, sessions: ['s1'], target: 'u1', reason: 'left' }],
  'connection.cut': [
    { event: 'connection.cut', actor, request: 'r1', app: 'wiki', target: 'u1', reason: 'left' },
    { event: 'connection.cut', actor, request: 'r2', app: 'wiki', target: undefined, reason: undefined },
  ],
  'access.requested': [
    { event: 'access.requested', request: 'r1', subject, app: 'wiki', accessRequest: 'q1', reason: 'I am to write the minutes' },
  ],
  'access.request_withdrawn': [
    { event: 'access.request_withdrawn', request: 'r1', subject, app: 'wiki', accessRequest: 'q1', reason: undefined },
  ],
  'access.request_answered': [
    {
      event: 'access.request_answered',
      actor,
      accessRequest: 'q1',
      app: 'wiki',
      target: 'u1',
      state: 'answered',
      reason: 'From Monday on.',
    },
    { event: 'access.request_answered', actor, accessRequest: 'q1', app: 'wiki', target: 'u1', state: 'seen', reason: undefined },
  ],
  'break_glass.issued': [
    { event: 'break_glass.issued', actor, issuer: 'https://op.example', sub: 'u1', email: 'ada@corp.example', until: at, reason: 'outage' },
  ],
  'sign_in.failed': [{ event: 'sign_in.failed', request: 'r1', reason: 'provider_refused', error: 'access_denied', address: '192.0.2.1' }],
  'post.kept': [{ event: 'post.kept', ...post }],
  'post.resumed': [{ event: 'post.resumed', ...post }],
  'post.discarded': [{ event: 'post.discarded', ...post, cause: 'by_person' }],
  'policy.loaded': [
    { event: 'policy.loaded', policy: 'sha256-1', problems: 0, from: 'sha256-0', author: 'file:root', difference: ['+ app wiki'] },
    { event: 'policy.loaded', policy: 'sha256-1', problems: 0 },
  ],
  'policy.refused': [{ event: 'policy.refused', policy: 'sha256-1', problems: 2 }],
  'policy.published': [
    {
      event: 'policy.published',
      actor,
      revision: 8,
      policy: 'sha256-1',
      hash: 'h1',
      from: 'sha256-0',
      comment: 'wiki for contractors',
      difference: ['app wiki added'],
      approvals: ['person:u2'],
      restores: 6,
    },
    { event: 'policy.published', actor, revision: 1, policy: 'sha256-1', hash: 'h1', ...firstRevision },
  ],
  'policy.publication_refused': [
    { event: 'policy.publication_refused', actor, hash: 'h1', comment: 'wiki for contractors', predecessor: 7, head: 8 },
  ],
  'policy.drafted': [{ event: 'policy.drafted', ...draft }],
  'policy.proposed': [{ event: 'policy.proposed', ...draft }],
  'policy.approved': [{ event: 'policy.approved', ...draft, actor: 'person:u2' }],
  'policy.discarded': [{ event: 'policy.discarded', ...draft }],
  'store.adopted': [
    { event: 'store.adopted', actor, kept: 'mirror', revision: 8, policy: 'sha256-1', hash: 'h1' },
    { event: 'store.adopted', actor, kept: 'store', revision: undefined, policy: undefined, hash: undefined },
  ],
  'keys.rotated': [{ event: 'keys.rotated', kid: 'k1' }],
  'token.created': [{ event: 'token.created', ...token }],
  'token.rotated': [{ event: 'token.rotated', ...token, until: at }],
  'token.revoked': [{ event: 'token.revoked', ...token, scopes: undefined, expiresAt: undefined }],
  'console.invited': [{ event: 'console.invited', ...invitation, until: at }],
  'console.uninvited': [{ event: 'console.uninvited', ...invitation }],
  'device.registered': [{ event: 'device.registered', ...device }],
  'device.imported': [{ event: 'device.imported', actor, device: 'laptop-7', reason: undefined }],
  'device.blocked': [{ event: 'device.blocked', ...device }],
  'device.unblocked': [{ event: 'device.unblocked', ...device }],
  'device.tagged': [{ event: 'device.tagged', ...device, reason: 'tags: finance, loaner' }],
  'device.removed': [{ event: 'device.removed', ...device }],
  'device.reported': [{ event: 'device.reported', ...device, actor: 'device:laptop-7' }],
  'instance.started': [{ event: 'instance.started', version: '1.0.0' }],
  'instance.stopped': [{ event: 'instance.stopped', version: '1.0.0' }],
  'audit.resumed': [{ event: 'audit.resumed', lost: 3, since: at }],
  'audit.segment_started': [{ event: 'audit.segment_started', chain: 'a-0', segment: 1, form: 1, key: 'k', publicKey: 'AAAA' }],
  'audit.checkpoint': [{ event: 'audit.checkpoint', chain: 'a-0', key: 'k', signature: 's' }],
  'audit.repaired': [{ event: 'audit.repaired', tornBytes: 12, foundSeq: 4, anchoredSeq: 7 }],
  'audit.pruned': [{ event: 'audit.pruned', actor, chain: 'a-0', segments: 2, throughSeq: 9, head: 'h', cause: 'age' }],
  'data.read': [{ event: 'data.read', actor, what: 'audit', target: 'ada@corp.example', entries: 3 }],
}

/** All of them, in a row. */
export const allEvents: readonly AuditEvent[] = Object.values(everyEvent).flat()
