/** Whether whoever did something earlier may still do it: by role and lock, and never where it cannot be told. */

import { expect, it } from 'vitest'
import type { Person } from '../session/people.ts'
import type { Role } from './asker.ts'
import { createMayStill, type StandingPeopleParts } from './standing-people.ts'

const issuer = 'https://op.corp.example'
const people: Readonly<Record<string, readonly Role[]>> = { ada: ['admin'], tom: ['auditor'], locked: ['admin'], nobody: [] }

function open(changes: Partial<StandingPeopleParts> = {}) {
  return createMayStill({
    people: { findPerson: async (at, sub) => (at === issuer && sub in people ? ({ issuer, sub } as Person) : undefined) },
    locks: { find: async (target) => (target.kind === 'subject' && target.sub === 'locked' ? ({ target } as never) : undefined) },
    rolesOf: async ({ sub }) => people[sub] ?? [],
    issuers: [`${issuer}/`, issuer],
    ...changes,
  })
}

it.each([
  ['somebody who holds the role', 'person:ada', true],
  ['somebody of another role', 'person:tom', false],
  ['somebody who lost every role', 'person:nobody', false],
  ['somebody who is locked', 'person:locked', false],
  ['somebody who was never seen', 'person:eve', false],
  ['a program', 'token:ada', false],
  ['an account of a machine', 'os:ada@bastion', false],
  ['no actor', 'ada', false],
])('of %s says so', async (_, actor, is) => {
  expect(await open()(actor, 'policy:approve')).toBe(is)
})

it('asks for the very permission', async () => {
  expect(await open()('person:tom', 'policy:read')).toBe(true)
})

it('takes what it cannot tell for a no', async () => {
  const failing = () => Promise.reject(new Error('the store is away'))
  expect(await open({ rolesOf: failing })('person:ada', 'policy:approve')).toBe(false)
  expect(await open({ people: { findPerson: failing } })('person:ada', 'policy:approve')).toBe(false)
  expect(await open({ locks: { find: failing } })('person:ada', 'policy:approve')).toBe(false)
})
