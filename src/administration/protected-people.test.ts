/** Whom the helpdesk must not touch: admins as last seen, and whoever cannot be judged. */

import { describe, expect, it } from 'vitest'
import type { Person } from '../session/people.ts'
import { type Asker, mayActAgainst, permissionsByRole, type Role } from './asker.ts'
import { createProtectedPeople, type ProtectedPeopleParts } from './protected-people.ts'

const issuer = 'https://op.corp.example'
const personOf = (sub: string): Person => ({
  issuer,
  sub,
  email: `${sub}@corp.example`,
  name: sub,
  claims: {},
  signIns: undefined,
  seenAt: 0,
})
const protection = (change: Partial<ProtectedPeopleParts> = {}) =>
  createProtectedPeople({
    people: { findPerson: async (_, sub) => (sub === 'stranger' ? undefined : personOf(sub)) },
    holdsAdmin: ({ sub }) => (sub === 'nobody-knows' ? undefined : sub === 'ada'),
    ...change,
  })
const askerOf = (role: Role | 'token'): Asker => ({
  actor: role === 'token' ? 'token:x' : 'person:hal',
  label: 'Hal',
  subject: role === 'token' ? undefined : { issuer, sub: 'hal' },
  roles: role === 'token' ? [] : [role],
  permissions: role === 'token' ? new Set() : permissionsByRole[role],
})

describe('a person is protected', () => {
  it.each([
    ['ada', true],
    ['bob', false],
    ['nobody-knows', true],
    ['stranger', false],
  ])('%s: %s', async (sub, is) => {
    expect(await protection().isProtected({ issuer, sub })).toBe(is)
  })

  it('where the store or the policy cannot be asked', async () => {
    const fail = () => Promise.reject(new Error('away'))
    for (const change of [{ people: { findPerson: fail } }, { holdsAdmin: fail }]) {
      expect(await protection(change).isProtected({ issuer, sub: 'bob' })).toBe(true)
    }
    expect(await protection({ holdsAdmin: fail }).isProtectedPerson(personOf('bob'))).toBe(true)
  })

  it('from the helpdesk and the auditor, not from an admin or a token', async () => {
    const may = (role: Role | 'token', sub: string) => mayActAgainst(askerOf(role), { issuer, sub }, protection())
    expect([await may('helpdesk', 'ada'), await may('auditor', 'ada'), await may('admin', 'ada'), await may('token', 'ada')]).toEqual([
      false,
      false,
      true,
      true,
    ])
    expect(await may('helpdesk', 'bob')).toBe(true)
  })
})
