/** A policy compared with people and devices: which rules hang on a condition, what is counted, and where reading ends. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import type { Condition, Rule } from '../policy/document.ts'
import { appWith, deviceCondition, documentWith, rule } from '../policy/policy.fixture.ts'
import { createPeople } from '../session/people.ts'
import { createSealedRecords } from '../session/sealed-records.ts'
import { createTestRing, createTestSessions, signedInAs, silentLog } from '../session/session.fixture.ts'
import { createTestInventory, type TestInventory } from './devices.fixture.ts'
import { compareWithLife } from './policy-against-life.ts'
import { collectDemands } from './policy-against-life-demands.ts'

const firewall = deviceCondition({ firewall: true })
const staff = { kind: 'groups', groups: ['staff'] } as const
const everybody = { kind: 'signed_in' } as const
const level: Condition = { kind: 'level', name: 'healthy' }
const levels = [{ name: 'healthy', condition: { kind: 'all_of' as const, of: [firewall, { kind: 'subject' as const, who: staff }] } }]

const demandOf = (rules: readonly Rule[]) => collectDemands(documentWith([appWith(rules)], [], levels)).devices[0]

describe('a condition', () => {
  it.each<[string, Partial<Rule>, Rule['verb'], string | undefined]>([
    ['a `when` of an allow', { when: [level] }, 'allow', 'refuses'],
    ['a requirement', { require: [firewall] }, 'require', 'refuses'],
    ['a `when` of a deny', { when: [level] }, 'deny', 'keeps_out'],
    ['an `unless` of a deny', { unless: [level] }, 'deny', 'keeps_out'],
    ['an `unless` of an allow', { unless: [level] }, 'allow', undefined],
    ['a `when` of a requirement', { when: [level] }, 'require', undefined],
    ['a choice', { when: [{ kind: 'any_of', of: [level, { kind: 'subject', who: everybody }] }] }, 'allow', undefined],
    ['a choice of one', { when: [{ kind: 'any_of', of: [level] }] }, 'allow', 'refuses'],
    ['its opposite', { when: [{ kind: 'not', of: level }] }, 'allow', undefined],
  ])('decides a rule in %s: %s', (_where, keys, verb, effect) => {
    const demand = demandOf([rule(verb, everybody, { name: 'r', ...keys })])
    expect(demand?.places).toEqual({ first: ['rule `r` of `wiki`'], count: 1 })
    expect(demand?.dependents.map((dependent) => dependent.effect)).toEqual(effect === undefined ? [] : [effect])
    expect(demand?.level).toBe(JSON.stringify(keys).includes('level') ? 'healthy' : undefined)
  })

  it('is one however many rules come to it, and none in report mode', () => {
    const rules = Array.from({ length: 20 }, (_, index) => rule('allow', everybody, { name: `r${index}`, when: [level] }))
    const { devices } = collectDemands(documentWith([appWith(rules)], [], levels))
    expect(devices).toHaveLength(1)
    expect(devices[0]?.places).toEqual({ first: ['rule `r0` of `wiki`', 'rule `r1` of `wiki`', 'rule `r2` of `wiki`'], count: 20 })
    expect(devices[0]?.dependents).toHaveLength(1)
    expect(demandOf([rule('allow', everybody, { when: [level], isReport: true })])).toBeUndefined()
  })

  it('of levels that build on each other is found without walking them again and again', () => {
    const deep = Array.from({ length: 60 }, (_, index) => ({
      name: `l${index}`,
      condition:
        index === 0
          ? firewall
          : { kind: 'all_of' as const, of: [`l${index - 1}`, `l${index - 1}`].map((name) => ({ kind: 'level' as const, name })) },
    }))
    const rules = [rule('allow', everybody, { when: [{ kind: 'level', name: 'l59' }] })]
    const { devices } = collectDemands(documentWith([appWith(rules)], [], deep))
    expect(devices).toHaveLength(1)
    expect(devices[0]?.level).toBe('l0')
  })
})

describe('comparing', () => {
  let inventory: TestInventory
  const ring = createTestRing()
  beforeEach(() => {
    inventory = createTestInventory()
  })
  afterEach(() => inventory.close())

  const people = () =>
    createPeople(
      inventory.store,
      createSealedRecords(inventory.store, () => ring, silentLog),
    )
  const policy = documentWith([appWith([rule('allow', staff, { name: 'in', when: [firewall] })])])

  async function compare({ most = 1000, limitMs = 1000, now = inventory.clock.now } = {}) {
    const readSubject = compileSubjectReader({
      claims: { groups: [['groups']] },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
    })
    const sources = { people: people(), devices: inventory.devices }
    const settings = { readSubject, deviceId: undefined, posture: new Map<string, readonly string[]>(), others: [], now, limitMs, most }
    return compareWithLife(policy, sources, settings)
  }

  async function seed(count: number) {
    const { sessions } = createTestSessions({ store: inventory.store, clock: inventory.clock }, ring)
    for (let number = 0; number < count; number += 1) {
      const claims = { sub: `p${number}`, groups: number % 2 === 0 ? ['staff'] : ['guests'] }
      await sessions.begin(signedInAs(`p${number}`, { claims }), { address: '192.0.2.1', userAgent: '' })
      await inventory.add({ id: `laptop-${number}` })
    }
    await sessions.close()
  }

  it('counts whom a rule is for, and only where no device meets it', async () => {
    await seed(4)
    const before = await compare()
    expect(before.conditions[0]).toMatchObject({ met: 0, attributes: [{ name: 'firewall', ever: 0 }], affected: [{ people: 2 }] })
    await inventory.devices.update('laptop-1', (record) => ({ ...record, entered: { firewall: { value: true, at: 1 } } }))
    const after = await compare()
    // What an admin entered counts for the condition, and is not heard of the device.
    expect(after.conditions[0]).toMatchObject({ met: 1, within: 0, attributes: [{ name: 'firewall', ever: 1, within: 1 }], affected: [] })
    expect(after.devices).toMatchObject({ total: 4, reported: 0, isComplete: true })
  })

  it('holds nothing of a blocked device for met', async () => {
    await inventory.add({ id: 'laptop-0', attributes: { firewall: 'true' } })
    expect((await compare()).conditions[0]?.met).toBe(1)
    await inventory.devices.block('laptop-0', 'lost', 'os:a@b')
    expect((await compare()).conditions[0]).toMatchObject({ met: 0, attributes: [{ ever: 0 }] })
  })

  it('stops at its bounds and says so', async () => {
    await seed(6)
    const few = await compare({ most: 4 })
    expect(few.devices).toMatchObject({ total: 4, isComplete: false })
    expect(few.people).toMatchObject({ total: 6, read: 4 })
    let at = inventory.clock.now()
    const late = await compare({ limitMs: 10, now: () => (at += 4) })
    expect(late.devices).toMatchObject({ isComplete: false })
    expect(late.people.read).toBeLessThan(6)
    expect((await compare({ most: 6 })).devices.isComplete).toBe(true)
  })
})
