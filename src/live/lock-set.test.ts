/** Which lock concerns a request. */

import { describe, expect, it } from 'vitest'
import type { LockFacts, SubjectFacts } from '../policy/facts.ts'
import type { Lock, LockQuestion, LockTarget } from './lock.ts'
import { createLockSet } from './lock-set.ts'

const issuer = 'https://op.corp.example'
const nobody: SubjectFacts = { kind: 'nobody' }
const alice = { kind: 'person', issuer, sub: 'alice' } as SubjectFacts
const billing: SubjectFacts = { kind: 'service', names: ['billing', 'finance'], issuer, claims: {} }
const asking = (subject: SubjectFacts, deviceId?: string, appId = 'wiki'): LockQuestion => ({ subject, deviceId, appId })
const lockOn = (target: LockTarget, until?: number): Lock => ({ target, label: '', since: 0, until, reason: '', by: 'os:root@host' })

describe('a lock', () => {
  it.each<[string, LockTarget, LockQuestion, LockFacts['on'] | undefined]>([
    ['on a person concerns that person', { kind: 'subject', issuer, sub: 'alice' }, asking(alice), 'subject'],
    ['on a person concerns nobody else', { kind: 'subject', issuer, sub: 'bob' }, asking(alice), undefined],
    ['on a sub of another issuer does not', { kind: 'subject', issuer: 'https://x', sub: 'alice' }, asking(alice), undefined],
    ['on a person does not concern a stranger', { kind: 'subject', issuer, sub: 'alice' }, asking(nobody), undefined],
    ['on a person does not concern a service', { kind: 'subject', issuer, sub: 'billing' }, asking(billing), undefined],
    ['on a service concerns it by any of its names', { kind: 'service', name: 'finance' }, asking(billing), 'service'],
    ['on a service does not concern another', { kind: 'service', name: 'payroll' }, asking(billing), undefined],
    ['on a service does not concern a person of that name', { kind: 'service', name: 'alice' }, asking(alice), undefined],
    ['on a device concerns whoever comes from it', { kind: 'device', id: 'd1' }, asking(nobody, 'd1'), 'device'],
    ['on a device does not concern others', { kind: 'device', id: 'd1' }, asking(alice, 'd2'), undefined],
    ['on a device does not concern a request without one', { kind: 'device', id: 'd1' }, asking(alice), undefined],
    ['on an app concerns everybody', { kind: 'app', id: 'wiki' }, asking(nobody), 'app'],
    ['on an app does not concern another', { kind: 'app', id: 'wiki' }, asking(alice, undefined, 'payroll'), undefined],
  ])('%s', (_, target, question, on) => {
    expect(createLockSet([lockOn(target)]).find(question, 5)?.on).toBe(on)
  })

  it('counts until its instant and not at it', () => {
    const locks = createLockSet([lockOn({ kind: 'app', id: 'wiki' }, 100)])
    const question = { subject: nobody, deviceId: undefined, appId: 'wiki' }
    expect(locks.find(question, 99)).toEqual({ on: 'app', until: 100 })
    expect(locks.find(question, 100)).toBeUndefined()
  })

  it('that lasts longest is the one that is told, and one without an end lasts longest', () => {
    const short = lockOn({ kind: 'app', id: 'wiki' }, 100)
    const long = lockOn({ kind: 'subject', issuer, sub: 'alice' }, 200)
    const endless = lockOn({ kind: 'device', id: 'd1' })
    const question = { subject: alice, deviceId: 'd1', appId: 'wiki' }
    expect(createLockSet([short, long]).find(question, 5)).toEqual({ on: 'subject', until: 200 })
    expect(createLockSet([long, short, endless]).find(question, 5)).toEqual({ on: 'device', until: undefined })
    expect(createLockSet([long, short]).find(question, 150)).toEqual({ on: 'subject', until: 200 })
    expect(createLockSet([short, lockOn(short.target, 300), short]).find(question, 5)).toEqual({ on: 'app', until: 300 })
  })
})
