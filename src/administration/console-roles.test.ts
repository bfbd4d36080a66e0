/**
 * Who holds which role now: by groups, addresses and invitations, under levels and locks, with the policy of this moment and no other.
 */

import { describe, expect, it } from 'vitest'
import type { Level, Who } from '../policy/document.ts'
import type { Device, Facts, Known, SubjectFacts } from '../policy/facts.ts'
import { permissionsByRole, type Role } from './asker.ts'
import { type ConsoleRoleSettings, createConsoleRoles } from './console-roles.ts'

const at = Date.UTC(2026, 10, 22, 12)
const unknown = { known: false, why: 'not_gathered' } as const
const known = <T>(value: T): Known<T> => ({ known: true, value })
const group = (name: string): Who => ({ kind: 'groups', groups: [name] })

const mfa: Level = {
  name: 'mfa_1h',
  condition: {
    kind: 'sign_in',
    strength: { name: 'mfa', acr: ['gold'], amr: ['otp'], ask: {} },
    acr: undefined,
    amr: undefined,
    withinSeconds: 3600,
  },
}
const office: Level = {
  name: 'office',
  condition: { kind: 'network', cidrs: ['192.0.2.0/24'], cidrsFile: undefined, countries: undefined, asns: undefined },
}

function person(groups: Known<readonly string[]>, email: Known<string> = known('ada@corp.example')): SubjectFacts {
  return { kind: 'person', issuer: 'https://op.example', sub: 'u1', email, groups, claims: known({}), claimsAt: at }
}

function factsOf(subject: SubjectFacts, change: Partial<Facts> & { readonly address?: string } = {}): Facts {
  const { address = '192.0.2.1', ...rest } = change
  return {
    subject,
    signIn: known({ at: known(at - 60_000), acr: known('gold'), amr: known(['pwd', 'otp']) }),
    device: { known: false, why: 'no_device' },
    request: { method: 'GET', methodClass: 'read', path: '/console' },
    environment: {
      address,
      at,
      country: unknown,
      asn: unknown,
      scheme: 'https',
      tlsVersion: unknown,
      client: { browser: unknown, browserVersion: unknown, os: unknown },
    },
    ...rest,
  }
}

const named: ConsoleRoleSettings = { admin: group('admins'), auditor: group('auditors'), helpdesk: group('desk'), requiredLevels: [] }

function rolesFor(
  settings: Partial<ConsoleRoleSettings> = {},
  { levels = [mfa, office], invited = {} }: { readonly levels?: readonly Level[]; readonly invited?: Record<string, readonly Role[]> } = {},
) {
  const policy = { version: 'v', zone: 'UTC', levels }
  return createConsoleRoles({
    settings: { ...named, ...settings },
    policy: () => policy,
    findInvitation: async (email) => invited[email] ?? [],
  })
}

describe('a role', () => {
  it('is held by those whom it names, and several together permit what each permits', async () => {
    const roles = rolesFor()
    expect(await roles.decide(factsOf(person(known(['admins']))))).toEqual({
      outcome: 'held',
      roles: ['admin'],
      permissions: permissionsByRole.admin,
    })
    const both = await roles.decide(factsOf(person(known(['desk', 'auditors']))))
    expect(both).toMatchObject({ outcome: 'held', roles: ['auditor', 'helpdesk'] })
    if (both.outcome === 'held') {
      expect(both.permissions).toEqual(new Set([...permissionsByRole.auditor, ...permissionsByRole.helpdesk]))
    }
  })

  it.each<[string, SubjectFacts]>([
    ['another group', person(known(['staff']))],
    ['no group', person(known([]))],
    ['groups that the provider did not state', person({ known: false, why: 'groups_overage' })],
    ['claims that are too old', person({ known: false, why: 'claims_too_old' }, { known: false, why: 'claims_too_old' })],
    ['nobody', { kind: 'nobody' }],
    ['a service', { kind: 'service', names: ['admins'], issuer: 'https://op.example', claims: { groups: ['admins'] } }],
  ])('is not held by %s', async (_name, subject) => {
    expect(await rolesFor().decide(factsOf(subject))).toEqual({ outcome: 'none', because: 'no_role' })
  })

  it('is for nobody where none is given to anybody', async () => {
    const roles = rolesFor({ admin: undefined, auditor: undefined, helpdesk: undefined })
    expect(await roles.decide(factsOf(person(known(['admins']))))).toEqual({ outcome: 'none', because: 'nobody_yet' })
  })

  it('is taken away by a lock and by a blocked device, whoever has it', async () => {
    const roles = rolesFor({}, { invited: { 'ada@corp.example': ['admin'] } })
    const admin = person(known(['admins']))
    const device: Known<Device> = known({
      id: 'd',
      identifiedBy: 'certificate',
      isKnown: false,
      isBlocked: true,
      serial: undefined,
      tags: [],
      attributes: {},
    })
    for (const change of [{ lock: { on: 'subject', until: undefined } as const }, { device }]) {
      expect(await roles.decide(factsOf(admin, change))).toEqual({ outcome: 'none', because: 'locked' })
    }
  })
})

describe('required levels', () => {
  const admin = person(known(['admins']))
  const weak = known({ at: known(at - 60_000), acr: known('basic'), amr: known(['pwd']) })
  const old = known({ at: known(at - 3_700_000), acr: known('gold'), amr: known(['otp']) })

  it('let those in who meet them', async () => {
    expect(await rolesFor({ requiredLevels: ['mfa_1h', 'office'] }).decide(factsOf(admin))).toMatchObject({ outcome: 'held' })
  })

  it('lead to a step-up where a sign-in alone is missing', async () => {
    const roles = rolesFor({ requiredLevels: ['mfa_1h', 'office'] })
    for (const signIn of [weak, old]) {
      expect(await roles.decide(factsOf(admin, { signIn }))).toMatchObject({
        outcome: 'step_up',
        stepUp: { acrValues: ['gold'], maxAgeSeconds: 3600 },
      })
    }
  })

  it('keep out whom no sign-in would help, and say that it is not the account', async () => {
    const roles = rolesFor({ requiredLevels: ['mfa_1h', 'office'] })
    expect(await roles.decide(factsOf(admin, { address: '198.51.100.1' }))).toEqual({ outcome: 'none', because: 'circumstances' })
    expect(await roles.decide(factsOf(admin, { address: '198.51.100.1', signIn: weak }))).toEqual({
      outcome: 'none',
      because: 'circumstances',
    })
  })

  it('send nobody to sign in again whom no role names', async () => {
    const roles = rolesFor({ requiredLevels: ['mfa_1h'] })
    expect(await roles.decide(factsOf(person(known(['staff'])), { signIn: weak }))).toEqual({ outcome: 'none', because: 'no_role' })
  })

  it('that the policy does not have leave a role to nobody', async () => {
    const roles = rolesFor({ requiredLevels: ['mfa_1h', 'gone'] }, { invited: { 'ada@corp.example': ['admin'] } })
    expect(await roles.decide(factsOf(admin))).toMatchObject({ outcome: 'none' })
  })

  it('are those of the policy in force at this request', async () => {
    let levels: readonly Level[] = [{ ...mfa, name: 'strict' }]
    let policy = { version: '1', zone: 'UTC', levels }
    const roles = createConsoleRoles({
      settings: { ...named, requiredLevels: ['strict'] },
      policy: () => policy,
      findInvitation: async () => [],
    })
    expect(await roles.decide(factsOf(admin, { signIn: weak }))).toMatchObject({ outcome: 'step_up' })
    levels = [{ ...office, name: 'strict' }]
    policy = { version: '2', zone: 'UTC', levels }
    expect(await roles.decide(factsOf(admin, { signIn: weak }))).toMatchObject({ outcome: 'held' })
  })
})

describe('an invitation', () => {
  const invited = { 'ada@corp.example': ['auditor'] as const }

  it('counts for a verified address, beside what is named', async () => {
    const roles = rolesFor({}, { invited })
    expect(await roles.decide(factsOf(person(known(['staff']))))).toMatchObject({ outcome: 'held', roles: ['auditor'] })
    expect(await roles.decide(factsOf(person(known(['desk']))))).toMatchObject({ roles: ['auditor', 'helpdesk'] })
    expect(await roles.rolesOf(person(known(['desk'])))).toEqual(['auditor', 'helpdesk'])
  })

  it('does not count for an address that nobody vouches for', async () => {
    const roles = rolesFor({}, { invited })
    const subject = person(known([]), { known: false, why: 'email_unverified' })
    expect(await roles.decide(factsOf(subject))).toEqual({ outcome: 'none', because: 'no_role' })
    expect(await roles.rolesOf(subject)).toEqual([])
  })

  it('has to meet the levels as well', async () => {
    const roles = rolesFor({ requiredLevels: ['office'] }, { invited })
    expect(await roles.decide(factsOf(person(known([])), { address: '198.51.100.1' }))).toEqual({
      outcome: 'none',
      because: 'circumstances',
    })
  })
})

it('names those whom roles speak of, whatever the circumstances', async () => {
  const roles = rolesFor({ requiredLevels: ['office'] })
  expect(await roles.rolesOf(person(known(['admins'])))).toEqual(['admin'])
  expect(await roles.rolesOf({ kind: 'nobody' })).toEqual([])
})
