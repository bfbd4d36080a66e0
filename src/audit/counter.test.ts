/** What strangers cause is bounded in lines, not only in size. */

import { describe, expect, it, vi } from 'vitest'
import { createStrangerCounter } from './counter.ts'
import type { AuditEvent } from './event.ts'

const soon = { timeout: 10_000, interval: 10 }

function challenge(address: string, app = 'wiki'): AuditEvent {
  return {
    event: 'access.decided',
    request: 'r',
    subject: { kind: 'nobody' },
    session: undefined,
    app,
    host: 'wiki.corp.example',
    method: 'GET',
    path: '/',
    query: undefined,
    effect: 'challenge',
    reason: 'login_required',
    rule: undefined,
    policy: 'p',
    address,
    userAgent: undefined,
    claimsAt: undefined,
    claimsState: undefined,
  }
}

describe('the counter of strangers', () => {
  it('merges addresses beyond its bound and loses no count', () => {
    const lines: AuditEvent[] = []
    const counter = createStrangerCounter({ record: (event) => lines.push(event), now: () => 5, maxKeys: 10 })
    for (let index = 0; index < 1000; index += 1) expect(counter.absorbs(challenge(`2001:db8::${index.toString(16)}`))).toBe(true)
    counter.close()
    expect(lines).toHaveLength(11)
    expect(lines.at(-1)).toMatchObject({ event: 'access.counted', address: '*', count: 990 })
    expect(lines.reduce((sum, line) => sum + (line.event === 'access.counted' ? line.count : 0), 0)).toBe(1000)
  })

  it('begins again with each interval', async () => {
    const lines: AuditEvent[] = []
    let now = 0
    const counter = createStrangerCounter({ record: (event) => lines.push(event), now: () => now, intervalMs: 5 })
    counter.absorbs(challenge('192.0.2.1'))
    now = 60
    await vi.waitFor(() => expect(lines).toHaveLength(1), soon)
    counter.absorbs(challenge('192.0.2.1'))
    await vi.waitFor(() => expect(lines).toHaveLength(2), soon)
    expect(lines).toMatchObject([{ since: 0 }, { since: 60 }])
    counter.close()
  })

  it('lists what concerns a person', () => {
    const counter = createStrangerCounter({ record: () => undefined, now: () => 0 })
    const event = challenge('192.0.2.1')
    if (event.event !== 'access.decided') throw new Error('unreachable')
    expect(counter.absorbs({ ...event, subject: { kind: 'person', sub: 'u1' } })).toBe(false)
    expect(counter.absorbs({ ...event, effect: 'allow', reason: 'public' })).toBe(false)
    counter.close()
  })
})
