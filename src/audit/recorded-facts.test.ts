/** Facts as the trail keeps them: written once, and enough to come to the same decision again. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { Condition, Rule, Who } from '../policy/document.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import { appWith, documentWith, facts, person, rule } from '../policy/policy.fixture.ts'
import { createFactsLedger, createRecordedFactsReader, type RecordedFacts } from './recorded-facts.ts'

const paths = [['department']]

function openLedger() {
  const lines: RecordedFacts[] = []
  return { lines, ledger: createFactsLedger((line) => void lines.push(line)) }
}

function withClaims(claims: object): SubjectFacts {
  return person({ claims: { known: true, value: Object.assign(Object.create(null) as Record<string, unknown>, claims) } })
}

/** The decision, and the one that is made again from the lines that the trail has of its facts. */
function decideTwice(rules: readonly Rule[], given: Facts) {
  const policy = compilePolicy(documentWith([appWith(rules)]))
  const app = policy.apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  const { ledger, lines } = openLedger()
  const reference = ledger.refer(given, policy.claimPaths)
  const reader = createRecordedFactsReader()
  for (const { facts, hash } of lines) reader.add(hash, facts)
  const claimsAt = given.subject.kind === 'person' ? given.subject.claimsAt : given.environment.at
  const restored = reader.restore(reference, claimsAt)
  return { first: decide(app, given), again: typeof restored === 'string' ? undefined : decide(app, { ...given, ...restored }), lines }
}

describe('a decision that is made again from the trail', () => {
  const staff: Who = { kind: 'groups', groups: ['staff'] }
  const cases: readonly [name: string, condition: Condition, claims: object][] = [
    ['asks whether a claim is there', { kind: 'expression', source: "'contractor' in subject.claims" }, { contractor: true }],
    ['asks for a part of a claim that is there', { kind: 'expression', source: "subject.claims.org.unit == 'x'" }, { org: { unit: 'x' } }],
    ['asks for a part that its claim lacks', { kind: 'expression', source: '!has(subject.claims.org.unit)' }, { org: { name: 'x' } }],
    ['asks for a part of a claim that is too large', { kind: 'expression', source: "subject.claims.org.unit == 'x'" }, large()],
    [
      'names a claim that no identifier could',
      { kind: 'expression', source: "subject.claims['https://x.example/a'] == 1" },
      { 'https://x.example/a': 1 },
    ],
    ['names a claim and a part of it', { kind: 'subject', who: claimsOf(['org'], ['org', 'unit']) }, { org: { unit: 'x' } }],
  ]
  it.each(cases)('is the same where a condition %s', (_, condition, claims) => {
    const given = facts(withClaims(claims))
    const allows = decideTwice([rule('allow', staff, { when: [condition] })], given)
    expect(allows.again).toEqual(allows.first)
    const denies = decideTwice([rule('allow', staff), rule('deny', staff, { when: [condition] })], given)
    expect(denies.again).toEqual(denies.first)
  })

  it('rests on no claim that the policy does not speak of', () => {
    const claims = { type: 'claims' as const, value: { department: 'finance', salary: 'a secret' } }
    const { lines } = decideTwice([rule('allow', claimsOf(['department']))], facts(withClaims(claims.value)))
    const text = lines.map((line) => line.facts).join('\n')
    expect(text).toContain('finance')
    expect(text).not.toContain('a secret')
  })

  it('is none where a line is missing, cut or changed', () => {
    const { ledger, lines } = openLedger()
    const reference = ledger.refer(facts(person()), paths)
    const readerOf = (change: (line: RecordedFacts) => string | undefined) => {
      const reader = createRecordedFactsReader()
      for (const line of lines) {
        const text = change(line)
        if (text !== undefined) reader.add(line.hash, text)
      }
      return reader.restore(reference, 0)
    }
    expect(readerOf(({ facts }) => facts)).toMatchObject({ subject: { kind: 'person' } })
    expect(readerOf(({ facts, kind }) => (kind === 'subject' ? facts.slice(0, -1) : facts))).toBe('unreadable')
    expect(readerOf(({ facts, kind }) => (kind === 'subject' ? 'null' : facts))).toBe('unreadable')
    expect(readerOf(({ facts, kind }) => (kind === 'device' ? undefined : facts))).toBe('missing')
  })

  it('rests on the same objects wherever the same facts are named', () => {
    const { ledger, lines } = openLedger()
    const reference = ledger.refer(facts(person()), paths)
    const reader = createRecordedFactsReader()
    for (const { facts, hash } of lines) reader.add(hash, facts)
    const first = reader.restore(reference, 5)
    const again = reader.restore(reference, 5)
    const later = reader.restore(reference, 6)
    if (typeof first === 'string' || typeof again === 'string' || typeof later === 'string') throw new Error('not restored')
    expect(again.subject).toBe(first.subject)
    expect(again.device).toBe(first.device)
    expect(later.subject).toMatchObject({ claimsAt: 6 })
    expect(first.subject).toMatchObject({ claimsAt: 5 })
  })

  it('says which claims were looked for, whether they were there or not', () => {
    const { ledger, lines } = openLedger()
    const reference = ledger.refer(facts(person()), [['department'], ['org', 'unit']])
    const reader = createRecordedFactsReader()
    for (const { facts, hash } of lines) reader.add(hash, facts)
    const restored = reader.restore(reference, 0)
    if (typeof restored === 'string' || restored.subject.kind !== 'person') throw new Error('not restored')
    expect([...restored.claimPaths]).toEqual(['["department"]', '["org","unit"]'])
    expect({ ...restored.subject.claims }).toEqual({ known: true, value: { department: 'finance' } })
  })

  function claimsOf(...names: readonly (readonly string[])[]): Who {
    return { kind: 'any_of', of: names.map((path) => ({ kind: 'claims', claims: [{ path, values: ['x'] }] })) }
  }
  function large() {
    return { org: { unit: 'x', rest: 'y'.repeat(9000) } }
  }
})

describe('the ledger of facts', () => {
  it('writes what it knows once, also where it comes as another object', () => {
    const { ledger, lines } = openLedger()
    const first = ledger.refer(facts(person()), paths)
    expect(ledger.refer(facts(person({ claimsAt: 5 })), paths)).toEqual(first)
    expect(lines.map(({ kind }) => kind)).toEqual(['subject', 'sign_in', 'device'])
  })

  it('writes a person anew for a policy that speaks of other claims', () => {
    const { ledger, lines } = openLedger()
    const given = facts(person())
    const { subject } = ledger.refer(given, paths)
    expect(ledger.refer(given, [['email']]).subject).not.toBe(subject)
    expect(lines).toHaveLength(4)
  })

  it('writes everything anew after lines were lost', () => {
    const lines: RecordedFacts[] = []
    let isFull = true
    const ledger = createFactsLedger(
      (line) => {
        if (!isFull) lines.push(line)
      },
      () => !isFull,
    )
    const given = facts(person())
    const reference = ledger.refer(given, paths)
    isFull = false
    expect(ledger.refer(given, paths)).toEqual(reference)
    expect(lines.map(({ hash }) => hash)).toEqual([reference.subject, reference.signIn, reference.device])
    ledger.refer(given, paths)
    expect(lines).toHaveLength(3)
  })

  it('never gives two kinds of facts one name, although they say the same', () => {
    const { ledger } = openLedger()
    const { device, signIn } = ledger.refer(facts(person()), paths)
    expect(device).not.toBe(signIn)
  })
})
