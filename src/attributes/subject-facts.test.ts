/** What is believed of a person: e-mail, groups, names, for claims of every shape that providers send. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SubjectFacts } from '../policy/facts.ts'
import { type ClaimSettings, compileSubjectReader, displayNameOf } from './subject-facts.ts'

const settings: ClaimSettings = {
  claims: { groups: [['groups'], ['realm_access', 'roles']] },
  groups: { stripPrefix: '/', names: new Map([['8f2c-object-id', 'finance']]) },
  groupsWhenMissing: 'unknown',
  email: 'verified',
}

function read(all: Record<string, unknown>, changes: Partial<ClaimSettings> = {}, state: 'fresh' | 'stale' | 'unknown' = 'fresh') {
  const session = { issuer: 'https://op.example', sub: 'u1', claims: { at: 0, version: 1, all } }
  const facts = compileSubjectReader({ ...settings, ...changes })(session, state)
  if (facts.kind !== 'person') throw new Error('a session is a person’s')
  return facts
}

const known = <T>(value: T) => ({ known: true, value })
const unknown = (why: string) => ({ known: false, why })

describe('an e-mail', () => {
  it.each([
    ['vouched for', { email: 'Alice@corp.example', email_verified: true }, known('Alice@corp.example')],
    ['not vouched for (A261)', { email: 'root@corp.example', email_verified: false }, unknown('email_unverified')],
    ['about which nothing is said (A261)', { email: 'root@corp.example' }, unknown('email_unverified')],
    ['with the text "true" (A261)', { email: 'root@corp.example', email_verified: 'true' }, unknown('email_unverified')],
    ['with the number 1', { email: 'root@corp.example', email_verified: 1 }, unknown('email_unverified')],
    ['that is not there', { email_verified: true }, unknown('claim_absent')],
    ['that is null', { email: null, email_verified: true }, unknown('claim_absent')],
    ['that is a list', { email: ['a@corp.example'], email_verified: true }, unknown('email_unverified')],
  ])('%s', (_name, claims, expected) => {
    expect(read(claims).email).toEqual(expected)
  })

  it.each([
    'attacker@evil.example@corp.example',
    'a@corp.example@evil.example',
    '@corp.example',
    'a@',
    'a@corp.example ',
    ' a@corp.example',
    '"a@corp.example"@evil.example',
    'a@corp.example<evil>',
    'A <a@corp.example>',
    'a@corp.example,b@corp.example',
    'a@corp.example\u0000',
    'a@corp.example\u200b',
    'a\n@corp.example',
    '',
    `${'a'.repeat(65)}@corp.example`,
  ])('%j is no single address, vouched for or trusted (A262)', (email) => {
    expect(read({ email, email_verified: true }).email).toEqual(unknown('email_unverified'))
    expect(read({ email }, { email: 'trusted' }).email).toEqual(unknown('email_unverified'))
  })

  it('of a trusted provider needs no vouching', () => {
    expect(read({ email: 'a@corp.example', email_verified: false }, { email: 'trusted' }).email).toEqual(known('a@corp.example'))
  })
})

describe('groups', () => {
  it.each<[string, Record<string, unknown>, unknown]>([
    ['in a list', { groups: ['/finance', 'staff'] }, known(['finance', 'staff'])],
    ['in one text', { groups: 'staff' }, known(['staff'])],
    ['at a dotted path', { realm_access: { roles: ['staff'] } }, known(['staff'])],
    ['at the first path that is there', { groups: [], realm_access: { roles: ['staff'] } }, known([])],
    ['under the names of the configuration', { groups: ['8f2c-object-id', '/8f2c-object-id'] }, known(['finance'])],
    ['without the prefix once only', { groups: ['//x', '/a/b'] }, known(['/x', 'a/b'])],
    ['without empty names', { groups: ['/', ''] }, known([])],
    ['that are not there', {}, unknown('claim_absent')],
    ['that are null', { groups: null }, unknown('claim_absent')],
    ['that are an object', { groups: { a: 1 } }, unknown('claim_absent')],
    ['that are not all names', { groups: ['staff', 7] }, unknown('claim_absent')],
    ['left out by Entra', { _claim_names: { groups: 'src1' }, _claim_sources: {} }, unknown('groups_overage')],
    ['left out by Entra in the implicit flow', { hasgroups: true }, unknown('groups_overage')],
    ['left out by Entra, with roles there', { hasgroups: 'true', realm_access: { roles: ['staff'] } }, unknown('groups_overage')],
    ['through a prototype (A258)', JSON.parse('{"__proto__":{"groups":["admins"]}}'), unknown('claim_absent')],
  ])('%s', (_name, claims, expected) => {
    expect(read(claims).groups).toEqual(expected)
  })

  it('that are missing are none where the provider sends none, except for the overage', () => {
    expect(read({}, { groupsWhenMissing: 'none' }).groups).toEqual(known([]))
    expect(read({ hasgroups: true }, { groupsWhenMissing: 'none' }).groups).toEqual(unknown('groups_overage'))
  })

  it('are not looked for through prototypes by a path in the configuration', () => {
    const claims = {
      groups: [
        ['__proto__', 'groups'],
        ['constructor', 'name'],
      ],
    }
    expect(read(JSON.parse('{"__proto__":{"groups":["admins"]}}'), { claims }).groups).toEqual(unknown('claim_absent'))
  })
})

describe('claims', () => {
  it('that are stale stand', () => {
    expect(read({ groups: ['staff'] }, {}, 'stale').groups).toEqual(known(['staff']))
  })

  it('that are too old say nothing, also after they were read', () => {
    const reader = compileSubjectReader(settings)
    const session = {
      issuer: 'https://op.example',
      sub: 'u1',
      claims: { at: 0, version: 1, all: { groups: ['staff'], email: 'a@corp.example' } },
    }
    reader(session, 'fresh')
    const old = unknown('claims_too_old')
    expect(reader(session, 'unknown')).toEqual({
      kind: 'person',
      issuer: 'https://op.example',
      sub: 'u1',
      email: old,
      groups: old,
      claims: old,
      claimsAt: 0,
    })
  })

  it('are read once for as long as they are the same, and never for another subject', () => {
    const reader = compileSubjectReader(settings)
    const all = { groups: ['staff'] }
    const session = { issuer: 'https://op.example', sub: 'u1', claims: { at: 0, version: 1, all } }
    expect(reader(session, 'fresh')).toBe(reader({ ...session }, 'stale'))
    expect(reader({ ...session, sub: 'u2' }, 'fresh')).toMatchObject({ sub: 'u2' })
    expect(reader({ ...session, issuer: 'https://other.example' }, 'fresh')).toMatchObject({ issuer: 'https://other.example' })
  })

  it('of any shape never throw, and never make an e-mail with two @', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('email', 'email_verified', 'groups', '_claim_names', 'realm_access', 'x'), fc.anything()),
        (all) => {
          const facts: SubjectFacts = read(all)
          if (facts.kind === 'person' && facts.email.known) expect(facts.email.value.split('@')).toHaveLength(2)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

it.each([
  [{ name: 'Alice', preferred_username: 'alice' }, 'Alice'],
  [{ name: ' ', preferred_username: 'alice' }, 'alice'],
  [{ name: 7, email: 'a@corp.example' }, 'a@corp.example'],
  [{ name: 'A\u202elice\n' }, 'Alice'],
  [{ name: 'x'.repeat(500) }, 'x'.repeat(200)],
  [{}, 'u1'],
])('a person with %j is shown as %j', (all, expected) => {
  expect(displayNameOf({ sub: 'u1', claims: { at: 0, version: 1, all } })).toBe(expected)
})
