/** What needs attention: each kind, its order, and where it leads. */

import { describe, expect, it } from 'vitest'
import { type AttentionFacts, findAttention } from './attention.ts'
import type { InstanceHealth, OwnHealth } from './instance-health.ts'
import { refOf } from './person-ref.ts'

const now = Date.UTC(2026, 10, 22)
const well: OwnHealth = { checks: [{ name: 'store', isReady: true, detail: undefined }], warnings: {} }
const instance = (name: string, changes: Partial<InstanceHealth> = {}): InstanceHealth => ({
  name,
  startedAt: now,
  version: '1',
  policyVersion: 'p1',
  isOwn: false,
  health: well,
  ...changes,
})
const nothing: AttentionFacts = {
  now,
  own: well,
  instances: [instance('a'), instance('b')],
  drafts: [],
  apps: new Map(),
  stuck: [],
  reported: [],
  silentDevices: 0,
}
const wiki = { app: 'wiki', allowed: 100, refused: 0, challenged: 0, people: 1, lastUsedAt: now, lastRefusedAt: undefined }
const person = { issuer: 'https://op.example', sub: 'u1', email: 'ada@corp.example' }
const stuck = { ...person, app: 'wiki', reason: 'no_rule_matched', count: 4, firstAt: now, lastAt: now, request: 'r1' } as const

describe('what needs attention', () => {
  it('is nothing while all is well', () => {
    expect(findAttention(nothing)).toEqual([])
  })

  it('comes with what does not work first, then what waits, then what will be a matter', () => {
    const found = findAttention({
      ...nothing,
      instances: [
        instance('a', {
          health: {
            checks: [{ name: 'provider', isReady: false, detail: 'discovery has not succeeded yet' }],
            warnings: { 'sink siem': '10 minutes behind' },
          },
        }),
        instance('b', { health: undefined, policyVersion: 'p2' }),
      ],
      drafts: [{ id: 'd/1', comment: 'contractors', by: 'bob@corp.example' }],
      apps: new Map([['wiki', { ...wiki, upstreamFailures: 7, lastUpstreamFailureAt: now - 60_000 }]]),
      stuck: [stuck],
      reported: [{ app: 'wiki', rule: 'strict', wouldRefuse: 3, people: 1, lastAt: now }],
      silentDevices: 2,
    })
    expect(found.map(({ href, kind, urgency }) => [urgency, kind, href])).toEqual([
      ['now', 'not_ready', undefined],
      ['now', 'instance_silent', undefined],
      ['now', 'policy_differs', '/console/policy'],
      ['now', 'upstream_failing', '/console/apps/wiki'],
      ['waiting', 'draft_waiting', '/console/policy/drafts/d%2F1'],
      ['waiting', 'person_stuck', `/console/people/${refOf(person)}`],
      ['soon', 'warning', undefined],
      ['soon', 'devices_silent', '/console/devices?stale=true'],
      ['soon', 'report_only', '/console#reported'],
    ])
    expect(found[0]).toMatchObject({ title: 'The OpenID Provider cannot be reached', detail: 'Discovery has not succeeded yet. (a)' })
    expect(found[2]?.detail).toBe('p1: a · p2: b')
    expect(found[6]).toMatchObject({ title: 'Sink siem', detail: '10 minutes behind. (a)' })
  })

  it('says once what several instances say, and names them', () => {
    const ill: OwnHealth = { checks: [{ name: 'store', isReady: false, detail: 'the session store does not answer' }], warnings: {} }
    const found = findAttention({ ...nothing, instances: [instance('a', { health: ill }), instance('b', { health: ill })] })
    expect(found).toHaveLength(1)
    expect(found[0]?.detail).toBe('The session store does not answer. (a, b)')
  })

  it('tells of this instance where no other could be asked', () => {
    const ill: OwnHealth = { checks: [{ name: 'store', isReady: false, detail: 'the session store does not answer' }], warnings: {} }
    expect(findAttention({ ...nothing, own: ill, instances: [] })).toMatchObject([
      { kind: 'not_ready', detail: 'The session store does not answer.' },
    ])
  })

  it('forgets an upstream that has not failed for an hour, and one failure', () => {
    const failing = (upstreamFailures: number, at: number) =>
      findAttention({ ...nothing, apps: new Map([['wiki', { ...wiki, upstreamFailures, lastUpstreamFailureAt: at }]]) }).length
    expect(failing(50, now - 3_600_001)).toBe(0)
    expect(failing(2, now)).toBe(0)
    expect(failing(3, now)).toBe(1)
  })
})
