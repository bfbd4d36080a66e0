/** The precedence of the decision, row by row; it prints as a table. */

import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'
import type { Condition, Who } from './document.ts'
import type { Known, SignIn } from './facts.ts'
import {
  compileApp,
  deviceCondition,
  facts,
  mfa,
  networkCondition,
  nobody,
  person,
  reportedDevice,
  rule,
  service,
  signedIn,
  signInCondition,
  timeCondition,
} from './policy.fixture.ts'

const signedInPeople: Who = { kind: 'signed_in' }
const notAPerson: Known<SignIn> = { known: false, why: 'not_a_person' }
const anybody: Who = { kind: 'any_of', of: [signedInPeople, { kind: 'services', names: ['billing'] }] }

// What each kind of rule comes out as: a deny on `everyone`, or for this subject under a condition that is true, false, unknown or that of
// a person without MFA; a require of everyone; an allow. `!`: the app is in report mode for whoever is signed in.
const precedenceTable = `
  subject | deny     | require | allow    | decision
  nobody  | everyone | none    | public   | deny denied_by_rule
  nobody  | everyone | none    | none     | deny denied_by_rule
  nobody  | true     | none    | public   | deny denied_by_rule
  nobody  | unknown  | none    | none     | challenge login_required
  nobody  | unknown  | none    | true     | challenge login_required
  nobody  | not mfa  | none    | none     | challenge login_required
  nobody  | false    | none    | none     | challenge login_required
  nobody  | none     | none    | none     | challenge login_required
  nobody  | none     | none    | true     | challenge login_required
  nobody  | none     | none    | false !  | challenge login_required
  nobody  | none     | false   | public   | challenge login_required
  nobody  | none     | mfa     | public   | challenge login_required
  nobody  | unknown  | none    | public   | deny denied_by_rule
  nobody  | not mfa  | none    | public   | deny denied_by_rule
  nobody  | false    | none    | public   | allow public
  nobody  | none     | true    | public   | allow public
  nobody  | none     | none    | public   | allow public
  person  | everyone | none    | true     | deny denied_by_rule
  person  | everyone | none    | true !   | deny denied_by_rule
  person  | true     | none    | true     | deny denied_by_rule
  person  | unknown  | none    | true     | deny denied_by_rule
  person  | unknown  | none    | true !   | deny denied_by_rule
  person  | unknown  | none    | none     | deny denied_by_rule
  person  | not mfa  | none    | none     | deny denied_by_rule
  person  | not mfa  | none    | false    | deny denied_by_rule
  person  | not mfa  | false   | true     | deny denied_by_rule
  person  | not mfa  | none    | true     | challenge insufficient_user_authentication
  person  | not mfa  | none    | mfa      | challenge insufficient_user_authentication
  person  | not mfa  | mfa     | true     | challenge insufficient_user_authentication
  person  | not mfa  | none    | false !  | challenge insufficient_user_authentication
  person  | mfa      | none    | true     | allow rule_matched
  person  | false    | none    | true     | allow rule_matched
  person  | none     | true    | true     | allow rule_matched
  person  | none     | none    | true     | allow rule_matched
  person  | none     | none    | true !   | allow rule_matched
  person  | none     | none    | public   | allow public
  person  | none     | false   | true !   | allow report_mode
  person  | none     | mfa     | true !   | allow report_mode
  person  | none     | none    | mfa !    | allow report_mode
  person  | none     | none    | none !   | allow report_mode
  person  | none     | mfa     | true     | challenge insufficient_user_authentication
  person  | none     | mfa     | public   | challenge insufficient_user_authentication
  person  | none     | none    | mfa      | challenge insufficient_user_authentication
  person  | none     | mfa     | false    | deny no_rule_matched
  person  | none     | mfa     | none     | deny no_rule_matched
  person  | none     | false   | mfa      | deny no_rule_matched
  person  | none     | false   | true     | deny no_rule_matched
  person  | none     | unknown | true     | deny no_rule_matched
  person  | none     | none    | unknown  | deny no_rule_matched
  person  | none     | none    | false    | deny no_rule_matched
  person  | none     | none    | none     | deny no_rule_matched
  service | everyone | none    | true     | deny denied_by_rule
  service | not mfa  | none    | true     | deny denied_by_rule
  service | none     | none    | true     | allow rule_matched
  service | none     | none    | false !  | allow report_mode
  service | none     | mfa     | true     | deny no_rule_matched
  service | none     | none    | mfa      | deny no_rule_matched
`

describe('precedence', () => {
  it.each(rowsOf(precedenceTable))('%s, deny %s, require %s, allow %s → %s', (who, ...cells) => {
    const [deny, require, allow, decision] = cells
    const subject = who === 'nobody' ? nobody : who === 'service' ? service : person()
    const outcomes: Readonly<Record<string, Condition>> = {
      true: timeCondition({ days: ['fri'] }),
      false: timeCondition({ days: ['mon'] }),
      unknown: networkCondition({ countries: ['DE'] }),
      'not mfa': { kind: 'not', of: signInCondition({ strength: mfa }) },
      mfa: signInCondition({ strength: mfa }),
    }
    const when = (word: string | undefined) => [outcomes[word ?? ''] ?? raise(String(word))]
    const everyone: Who = { kind: 'everyone' }
    const isPublic = allow?.startsWith('public')
    const rules = [
      deny === 'none'
        ? []
        : deny === 'everyone'
          ? rule('deny', everyone)
          : rule('deny', who === 'nobody' ? everyone : anybody, { when: when(deny) }),
      require === 'none' ? [] : rule('require', everyone, { require: when(require) }),
      allow?.startsWith('none')
        ? []
        : isPublic
          ? rule('allow', { kind: 'public' })
          : rule('allow', anybody, { when: when(allow?.replace(' !', '')) }),
    ].flat()
    const app = compileApp(rules, allow?.endsWith('!') ? { report: { until: undefined, pass: anybody } } : {})
    const { effect, reason } = decide(app, {
      ...facts(subject),
      signIn: who === 'person' ? signedIn({ acr: '1', amr: ['pwd'] }) : notAPerson,
    })
    expect(`${effect} ${reason}`).toBe(decision)
  })
})

it('refuses a blocked device before every rule, in report mode and where all that is true of it would be enough', () => {
  const device = reportedDevice({}, { isKnown: false, isBlocked: true })
  const rules = [
    rule('allow', { kind: 'public' }),
    rule('allow', anybody, { when: [deviceCondition({ identifiedBy: 'certificate' })] }),
    rule('allow', anybody, { when: [deviceCondition({ known: false })] }),
  ]
  for (const one of [rules, rules.slice(1), rules.slice(2), []]) {
    const app = compileApp(one, { report: { until: undefined, pass: anybody } })
    expect(decide(app, { ...facts(person()), device })).toMatchObject({ effect: 'deny', reason: 'locked', unmet: [] })
  }
})

function rowsOf(table: string): [string, ...string[]][] {
  const [, ...rows] = table.trim().split('\n')
  return rows.map((line) => {
    const [first = '', ...rest] = line.split('|').map((cell) => cell.trim())
    return [first, ...rest]
  })
}

function raise(what: string): never {
  throw new Error(`missing: ${what}`)
}

console.log(precedenceTable)
