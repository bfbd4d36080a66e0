/** Who, methods and paths as tables, and what a denial names. Conditions and the precedence have a table of their own. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { Rule, Who } from './document.ts'
import type { Facts, SubjectFacts } from './facts.ts'
import { appWith, compileApp as compile, documentWith, facts, nobody, person, rule, service } from './policy.fixture.ts'

const verified = person()
const subjects: Readonly<Record<string, SubjectFacts>> = {
  nobody,
  service,
  'service, other': { kind: 'service', names: ['nightly'], issuer: 'https://auth.example.com', claims: {} },
  'person, fits': verified,
  'person, does not': person({
    email: { known: true, value: 'eve@evil.example' },
    groups: { known: true, value: [] },
    claims: { known: true, value: { department: 'sales', team: [] } },
  }),
  'person, no claims': person({
    email: { known: false, why: 'email_unverified' },
    groups: { known: false, why: 'claim_absent' },
    claims: { known: true, value: {} },
  }),
  'person, too old': person({
    email: { known: false, why: 'claims_too_old' },
    groups: { known: false, why: 'claims_too_old' },
    claims: { known: false, why: 'claims_too_old' },
  }),
}

const selectors: Readonly<Record<string, Who>> = {
  public: { kind: 'public' },
  everyone: { kind: 'everyone' },
  signed_in: { kind: 'signed_in' },
  users: { kind: 'users', emails: ['Alice@corp.example'] },
  domains: { kind: 'domains', domains: ['CORP.example'] },
  groups: { kind: 'groups', groups: ['staff'] },
  claims: { kind: 'claims', claims: [{ path: ['department'], values: ['finance'] }] },
  services: { kind: 'services', names: ['billing'] },
}

// An allow stands alone; a deny stands beside an allow for the public, so that only the deny can change anything.
const whoTable = `
  who        | subject            | allow                     | deny
  public     | nobody             | allow public              | -
  public     | service            | allow public              | -
  public     | person, fits       | allow public              | -
  public     | person, too old    | allow public              | -
  everyone   | nobody             | challenge login_required  | deny denied_by_rule
  everyone   | service            | allow rule_matched        | deny denied_by_rule
  everyone   | person, fits       | allow rule_matched        | deny denied_by_rule
  everyone   | person, too old    | allow rule_matched        | deny denied_by_rule
  signed_in  | nobody             | challenge login_required  | allow public
  signed_in  | service            | deny no_rule_matched      | allow public
  signed_in  | person, fits       | allow rule_matched        | deny denied_by_rule
  signed_in  | person, too old    | allow rule_matched        | deny denied_by_rule
  users      | nobody             | challenge login_required  | allow public
  users      | service            | deny no_rule_matched      | allow public
  users      | person, fits       | allow rule_matched        | deny denied_by_rule
  users      | person, does not   | deny no_rule_matched      | allow public
  users      | person, no claims  | deny no_rule_matched      | deny denied_by_rule
  users      | person, too old    | deny no_rule_matched      | deny denied_by_rule
  domains    | nobody             | challenge login_required  | allow public
  domains    | service            | deny no_rule_matched      | allow public
  domains    | person, fits       | allow rule_matched        | deny denied_by_rule
  domains    | person, does not   | deny no_rule_matched      | allow public
  domains    | person, no claims  | deny no_rule_matched      | deny denied_by_rule
  domains    | person, too old    | deny no_rule_matched      | deny denied_by_rule
  groups     | nobody             | challenge login_required  | allow public
  groups     | service            | deny no_rule_matched      | allow public
  groups     | person, fits       | allow rule_matched        | deny denied_by_rule
  groups     | person, does not   | deny no_rule_matched      | allow public
  groups     | person, no claims  | deny no_rule_matched      | deny denied_by_rule
  groups     | person, too old    | deny no_rule_matched      | deny denied_by_rule
  claims     | nobody             | challenge login_required  | allow public
  claims     | service, other     | deny no_rule_matched      | allow public
  claims     | person, fits       | allow rule_matched        | deny denied_by_rule
  claims     | person, does not   | deny no_rule_matched      | allow public
  claims     | person, no claims  | deny no_rule_matched      | deny denied_by_rule
  claims     | person, too old    | deny no_rule_matched      | deny denied_by_rule
  services   | nobody             | challenge login_required  | allow public
  services   | service            | allow rule_matched        | deny denied_by_rule
  services   | service, other     | deny no_rule_matched      | allow public
  services   | person, fits       | deny no_rule_matched      | allow public
  services   | person, too old    | deny no_rule_matched      | allow public
`

describe('who, for each subject', () => {
  it.each(rowsOf(whoTable))('%s for %s: an allow ends in "%s", a deny in "%s"', (whoName, subjectName, allow, deny) => {
    const who = selectors[whoName]
    const subject = subjects[subjectName]
    if (who === undefined || subject === undefined) throw new Error('the table names something that is not there')
    expect(outcomeOf([rule('allow', who)], facts(subject))).toBe(allow)
    if (deny === '-') expect(() => compile([rule('deny', who)])).toThrow(TypeError)
    else expect(outcomeOf([rule('allow', { kind: 'public' }), rule('deny', who)], facts(subject))).toBe(deny)
  })

  it('lists each selector that the language has', () => {
    expect(Object.keys(selectors)).toEqual([...new Set(rowsOf(whoTable).map(([name]) => name))])
  })
})

const methodTable = `
  methods         | GET read | HEAD read | GET websocket | POST write | PROPFIND write
  none            | yes      | yes       | yes           | yes        | yes
  read            | yes      | yes       | no            | no         | no
  write           | no       | no        | no            | yes        | yes
  websocket       | no       | no        | yes           | no         | no
  GET             | yes      | no        | no            | no         | no
  GET websocket   | yes      | no        | yes           | no         | no
  POST read       | yes      | yes       | no            | yes        | no
`

describe('methods', () => {
  const [, ...requests] = headOf(methodTable)
  it.each(rowsOf(methodTable))('%s', (names, ...answers) => {
    const words = names.split(' ').filter((word) => word !== 'none')
    const classes = words.filter((word) => word === 'read' || word === 'write' || word === 'websocket')
    const methods = words.length === 0 ? undefined : { classes, names: words.filter((word) => word === word.toUpperCase()) }
    const app = compile([rule('allow', { kind: 'signed_in' }, { methods })])
    for (const [index, request] of requests.entries()) {
      const [method = '', methodClass] = request.split(' ')
      const given = facts(verified, { method, methodClass: methodClass as Facts['request']['methodClass'] })
      expect(`${request}: ${decide(app, given).effect === 'allow' ? 'yes' : 'no'}`).toBe(`${request}: ${answers[index]}`)
    }
  })
})

describe('paths', () => {
  const admin = { paths: ['/admin/**'] }
  it('match exactly in an allow and loosely in a deny', () => {
    const allow = [rule('allow', { kind: 'signed_in' }, admin)]
    const deny = [rule('allow', { kind: 'signed_in' }), rule('deny', { kind: 'signed_in' }, admin)]
    for (const [path, isExact] of [
      ['/admin/x', true],
      ['/ADMIN/x', false],
      ['/admin;a/x', false],
    ] as const) {
      expect(decide(compile(allow), facts(verified, { path })).effect).toBe(isExact ? 'allow' : 'deny')
      expect(decide(compile(deny), facts(verified, { path })).effect).toBe('deny')
    }
    expect(decide(compile(deny), facts(verified, { path: '/administrator' })).effect).toBe('allow')
  })
})

describe('addresses (A261, A262, A264)', () => {
  it.each([
    ['alice@corp.example', 'allow'],
    ['ALICE@Corp.Example', 'allow'],
    ['alice+x@corp.example', 'deny'],
    ['a.lice@corp.example', 'deny'],
    ['alice@corp.example.', 'deny'],
    ['alice@sub.corp.example', 'deny'],
    ['alice@evil.example@corp.example', 'deny'],
    ['alice@corp.example@evil.example', 'deny'],
    ['@corp.example', 'deny'],
    ['alice@', 'deny'],
    ['alice', 'deny'],
    ['al\u0131ce@corp.example', 'deny'],
    ['alice@corp.exam\u017fle', 'deny'],
  ])('users, %s → %s', (value, effect) => {
    const given = facts(person({ email: { known: true, value } }))
    expect(decide(compile([rule('allow', selectors['users'] ?? raise('users'))]), given).effect).toBe(effect)
  })

  it('does not fold the Kelvin sign into a k', () => {
    const given = facts(person({ email: { known: true, value: 'mi\u212Ae@corp.example' } }))
    expect(decide(compile([rule('allow', { kind: 'users', emails: ['mike@corp.example'] })]), given).effect).toBe('deny')
  })

  it('matches a domain whole, and only of an address with one @', () => {
    const app = compile([rule('allow', { kind: 'domains', domains: ['corp.example'] })])
    const effectOf = (value: string) => decide(app, facts(person({ email: { known: true, value } }))).effect
    expect(['a@CORP.example', 'a@notcorp.example', 'a@x.corp.example', 'a@evil@corp.example'].map(effectOf)).toEqual([
      'allow',
      'deny',
      'deny',
      'deny',
    ])
  })
})

describe('claims (A258)', () => {
  const effectOf = (path: readonly string[], values: readonly (string | number | boolean)[], claims: unknown) =>
    decide(
      compile([rule('allow', { kind: 'claims', claims: [{ path, values }] })]),
      facts(person({ claims: { known: true, value: claims as Record<string, unknown> } })),
    ).effect

  it.each([
    ['a value', ['a'], ['x'], { a: 'x' }, 'allow'],
    ['a list that contains it', ['a'], ['x'], { a: ['y', 'x'] }, 'allow'],
    ['a nested value', ['a', 'b'], ['x'], { a: { b: 'x' } }, 'allow'],
    ['another type', ['a'], [1], { a: '1' }, 'deny'],
    ['a boolean and its name', ['a'], [true], { a: 'true' }, 'deny'],
    ['null', ['a'], ['null'], { a: null }, 'deny'],
    ['an object', ['a'], ['[object Object]'], { a: {} }, 'deny'],
    ['a list within a list', ['a'], ['x'], { a: [['x']] }, 'deny'],
    ['an index into a list', ['a', '0'], ['x'], { a: ['x'] }, 'deny'],
    ['a length', ['a', 'length'], [1], { a: ['x'] }, 'deny'],
    ['an inherited property', ['toString'], ['x'], {}, 'deny'],
    ['a prototype that was sent', ['__proto__', 'a'], ['x'], JSON.parse('{"__proto__":{"a":"x"}}'), 'deny'],
    ['an own property called __proto__', ['__proto__'], ['x'], JSON.parse('{"__proto__":"x"}'), 'deny'],
    ['a constructor', ['constructor', 'name'], ['Object'], {}, 'deny'],
  ])('%s', (_name, ...[path, values, claims, effect]) => {
    expect(effectOf(path, values, claims)).toBe(effect)
  })

  it('asks for all of several claims', () => {
    const both = [
      { path: ['a'], values: ['x'] },
      { path: ['b'], values: ['y'] },
    ]
    const app = compile([rule('allow', { kind: 'claims', claims: both })])
    const effect = (value: Record<string, unknown>) => decide(app, facts(person({ claims: { known: true, value } }))).effect
    expect([effect({ a: 'x', b: 'y' }), effect({ a: 'x', b: 'z' }), effect({ a: 'x' })]).toEqual(['allow', 'deny', 'deny'])
  })
})

describe('a denial', () => {
  const decisionOf = (rules: readonly Rule[], given: Facts) => decide(compile(rules), given)

  it('names the nearest allow: fewest unmet, then what can be mended, then by name', () => {
    const rules = [
      rule('allow', { kind: 'groups', groups: ['admins'] }, { name: 'a far', paths: ['/x'] }),
      rule('allow', { kind: 'groups', groups: ['admins'] }, { name: 'c near' }),
      rule('allow', { kind: 'groups', groups: ['finance'] }, { name: 'b near' }),
    ]
    expect(decisionOf(rules, facts(verified))).toEqual({
      effect: 'deny',
      reason: 'no_rule_matched',
      rule: 'b near',
      unmet: [{ condition: 'subject', outcome: 'false', remedy: 'ask_for_access' }],
    })
    const mendable = rule('allow', { kind: 'users', emails: ['a@corp.example'] }, { name: 'z' })
    expect(decisionOf([...rules, mendable], facts(person({ email: { known: false, why: 'email_unverified' } })))).toMatchObject({
      rule: 'z',
      unmet: [{ condition: 'subject', outcome: 'unknown', remedy: 'verify_email' }],
    })
  })

  it.each([
    ['groups', { groups: { known: false, why: 'claim_absent' } }, 'groups_missing'],
    ['groups', { groups: { known: false, why: 'groups_overage' } }, 'groups_missing'],
    ['groups', { groups: { known: false, why: 'claims_too_old' } }, 'claims_stale'],
    ['users', { email: { known: false, why: 'email_unverified' } }, 'verify_email'],
    ['domains', { email: { known: false, why: 'claim_absent' } }, 'verify_email'],
    ['claims', { claims: { known: false, why: 'claims_too_old' } }, 'claims_stale'],
    ['claims', { claims: { known: true, value: {} } }, 'ask_for_access'],
  ] as const)('on %s with %j says %s, in a deny as well', (who, changes, remedy) => {
    const unmet = [{ condition: 'subject', outcome: 'unknown', remedy }]
    const given = facts(person(changes))
    const selector = selectors[who] ?? raise(who)
    expect(decisionOf([rule('allow', selector)], given)).toMatchObject({ unmet })
    expect(decisionOf([rule('allow', { kind: 'everyone' }), rule('deny', selector)], given)).toMatchObject({
      reason: 'denied_by_rule',
      unmet,
    })
  })

  it('says when only reading, or another path, is open', () => {
    const reading = rule('allow', { kind: 'signed_in' }, { methods: { names: [], classes: ['read'] } })
    expect(decisionOf([reading], facts(verified, { method: 'POST', methodClass: 'write' }))).toMatchObject({
      unmet: [{ condition: 'methods', outcome: 'false', remedy: 'read_only' }],
    })
    expect(decisionOf([rule('allow', { kind: 'signed_in' }, { paths: ['/docs/**'] })], facts(verified))).toMatchObject({
      unmet: [{ condition: 'paths', outcome: 'false', remedy: 'other_path' }],
    })
  })

  it('has nothing to mend where a deny is certain, and no rule where there is none', () => {
    expect(decisionOf([rule('deny', { kind: 'signed_in' })], facts(verified))).toMatchObject({ rule: 'deny signed_in', unmet: [] })
    expect(decisionOf([], facts(verified))).toEqual({ effect: 'deny', reason: 'no_rule_matched', rule: undefined, unmet: [] })
  })
})

describe('rules at the top level', () => {
  it.each([
    [undefined, undefined, true],
    [['wiki'], undefined, true],
    [['payroll'], undefined, false],
    [undefined, ['internal'], true],
    [undefined, ['restricted'], false],
    [['wiki'], ['restricted'], false],
    [['wiki'], ['internal', 'restricted'], true],
  ] as const)('narrowed to apps %j and sensitivity %j touch an internal wiki: %s', (apps, sensitivity, isTouched) => {
    const deny = { ...rule('deny', { kind: 'everyone' }), apps, sensitivity }
    const policy = compilePolicy(documentWith([appWith([rule('allow', { kind: 'signed_in' })])], [deny]))
    const wiki = policy.apps.get('wiki') ?? raise('wiki')
    expect(decide(wiki, facts(verified)).effect).toBe(isTouched ? 'deny' : 'allow')
  })
})

it('works out once for each subject which rules concern it', () => {
  const app = compile([rule('allow', { kind: 'signed_in' }), rule('allow', { kind: 'groups', groups: ['admins'] })])
  const { shortlist } = app.enforced
  expect(shortlist(verified)).toBe(shortlist(verified))
  expect(shortlist(verified).allows.map(({ name }) => name)).toEqual(['allow signed_in'])
  expect(shortlist(person({ groups: { known: true, value: ['admins'] } })).allows).toHaveLength(2)
})

it('works out once for each place that rules name which of them are left there, and looks at them all where a spelling could be read otherwise', () => {
  const at = (paths: readonly string[]) => ({ ...rule('allow', { kind: 'signed_in' }), name: `allow ${paths.join()}`, paths })
  const { shortlistFor } = compile([at(['/docs/**', '/d']), at(['/teams/*']), at(['/*/x'])]).enforced
  const namesAt = (path: string) => shortlistFor(verified, path).allows.map(({ name }) => name)
  expect(namesAt('/docs/a')).toEqual(['allow /*/x', 'allow /docs/**,/d'])
  expect(namesAt('/teams')).toEqual(['allow /*/x', 'allow /teams/*'])
  expect(namesAt('/elsewhere')).toEqual(['allow /*/x'])
  for (const path of ['/Docs/a', '/x;/docs', '/', '/docs/']) expect(namesAt(path)).toHaveLength(3)
  expect(shortlistFor(verified, '/docs/a')).toBe(shortlistFor(verified, '/docs/b'))
  expect(shortlistFor(verified, '/elsewhere')).toBe(shortlistFor(verified, '/anywhere'))
})

it.each<[string, Rule]>([
  ['all_of', rule('allow', { kind: 'all_of', of: [] })],
  ['claims', rule('allow', { kind: 'claims', claims: [] })],
  ['methods', rule('deny', { kind: 'everyone' }, { methods: { names: [], classes: [] } })],
  ['paths', rule('deny', { kind: 'everyone' }, { paths: [] })],
])('refuses to compile an empty list of %s, which would mean everybody or nothing', (_name, one) => {
  expect(() => compile([one])).toThrow(TypeError)
})

function outcomeOf(rules: readonly Rule[], given: Facts): string {
  const { effect, reason } = decide(compile(rules), given)
  return `${effect} ${reason}`
}

function rowsOf(table: string): [string, ...string[]][] {
  const [, ...rows] = linesOf(table)
  return rows.map((row) => {
    const [first = '', ...rest] = row
    return [first, ...rest]
  })
}

function headOf(table: string): readonly string[] {
  return linesOf(table)[0] ?? []
}

function linesOf(table: string): string[][] {
  return table
    .trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
}

function raise(what: string): never {
  throw new Error(`missing: ${what}`)
}

for (const table of [whoTable, methodTable]) console.log(table)
