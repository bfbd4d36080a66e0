/**
 * What `audit:` says in both files, held against each other: settings that reach an app which must not be without a record, and facts that
 * are left out of the trail although rules ask for them.
 *
 * All of it is a warning: the operator may mean it. A request whose facts were left out is decided as well as any other when it
 * comes; only afterwards, by a replay or an explanation, it cannot be decided again.
 */

import { expressionFacts } from '../policy/expression.ts'
import type { RedactedField } from '../policy/facts.ts'
import type { WrittenCondition } from './condition-schema.ts'
import type { WrittenInstance } from './instance-schema.ts'
import type { KnownInstance } from './known-instance.ts'
import type { Partially } from './parse-value.ts'
import { type FoundApp, type FoundRule, type PolicyParts, reaches, whoOf } from './policy-parts.ts'
import type { Path, Report } from './problems.ts'
import { findConditions } from './reference-checks.ts'
import { partsOf } from './who-schema.ts'

/** Names that claims with secrets go by: a trail is kept for years and read by many. */
const secretName = /secret|passw|token|api_?key|private_?key|credential|otp_?seed|(?:^|_)(?:pin|ssn|iban)(?:$|_)/i

/** Warns of claims that are recorded and look like what nobody should record. */
export function checkRecordedClaims({ audit }: Partially<WrittenInstance>, report: Report): void {
  for (const [index, path] of (audit?.record_claims ?? []).entries()) {
    if (path?.some((step) => step !== undefined && secretName.test(step)) !== true) continue
    report.warning(['audit', 'record_claims', index], 'this claim looks like a secret, and the trail is kept for years', {
      suggestion: 'remove it unless it is none',
    })
  }
  if (audit?.redact?.includes('claims') === true && audit.record_claims !== undefined)
    report.warning(['audit', 'record_claims'], '`redact` leaves all claims out, these among them', { at: 'key' })
}

/** Warns of settings under which a restricted app does without its record, and of facts that no replay will have. */
export function checkRecording(policy: PolicyParts, { audit }: KnownInstance): void {
  for (const found of policy.apps) {
    warnOfLostRecords(found, audit)
    warnOfShortPaths(found, policy)
  }
  if (audit !== undefined && audit.redact.length > 0) warnOfRedaction(policy, audit.redact)
}

const onRestricted = {
  when_full: { word: 'drop', whole: 'deny', consequence: 'requests go on while they cannot be recorded' },
  durability: { word: 'relaxed', whole: 'group', consequence: 'a crash loses the record of requests that were forwarded' },
} as const

function warnOfLostRecords({ app, path, report }: FoundApp, instance: KnownInstance['audit']): void {
  if (app.sensitivity !== 'restricted') return
  for (const key of ['when_full', 'durability'] as const) {
    const { word, whole, consequence } = onRestricted[key]
    const own = app.audit?.[key]
    if (own === word) {
      report.warning([...path, 'audit', key], `on this restricted app ${consequence}`, { suggestion: `write \`${whole}\`, or remove it` })
    } else if (own === undefined && (key === 'when_full' ? instance?.whenFull : instance?.durability) === word) {
      const message = `the instance's \`audit.${key}: ${word}\` reaches this restricted app: ${consequence}`
      report.warning([...path, 'sensitivity'], message, { suggestion: `write \`audit: { ${key}: ${whole} }\` here, or remove it there` })
    }
  }
}

function warnOfShortPaths(found: FoundApp, policy: PolicyParts): void {
  const { app, path, report } = found
  const paths = app.audit?.paths
  if (paths === undefined || paths === 'full') return
  const rules = [...policy.appRules.filter((rule) => rule.app === found), ...policy.companyRules.filter((rule) => reaches(rule, found))]
  if (rules.some(({ rule }) => rule.paths !== undefined))
    report.warning([...path, 'audit', 'paths'], 'rules of this app ask for the path: what is recorded of it cannot be decided again', {
      suggestion: 'write `full`, unless paths say too much here',
    })
}

interface Asking {
  readonly path: Path
  readonly report: Report
}

/** Once a field, where it is first asked for: a policy that asks for groups does so everywhere. */
function warnOfRedaction(policy: PolicyParts, redacted: readonly RedactedField[]): void {
  const asking = new Map<RedactedField, Asking>()
  const note = (fields: readonly RedactedField[], place: Asking) => {
    for (const field of fields) if (redacted.includes(field) && !asking.has(field)) asking.set(field, place)
  }
  for (const found of [...policy.companyRules, ...policy.appRules]) note(fieldsOfWho(found), found)
  for (const { condition, path, report } of findConditions(policy)) note(fieldsOf(condition), { path, report })
  for (const [field, { path, report }] of asking)
    report.warning(path, `this asks for what \`audit.redact: [${field}]\` leaves out: what is recorded cannot be decided again`, {
      suggestion: `remove \`${field}\` from \`audit.redact\`, unless it must not be recorded`,
    })
}

function fieldsOfWho({ rule }: FoundRule): readonly RedactedField[] {
  const who = whoOf(rule)
  return who === undefined ? [] : fieldsOf({ kind: 'subject', who })
}

function fieldsOf(condition: WrittenCondition): readonly RedactedField[] {
  switch (condition.kind) {
    case 'subject':
      return [...partsOf(condition.who)].flatMap(({ kind }): readonly RedactedField[] => {
        if (kind === 'users' || kind === 'domains') return ['email']
        return kind === 'groups' || kind === 'claims' ? [kind] : []
      })
    case 'network': {
      const { asns, cidrs, cidrsFile, countries } = condition
      const hasNetworks = cidrs !== undefined || cidrsFile !== undefined
      return [
        ...(hasNetworks ? ['address' as const] : []),
        ...(countries === undefined ? [] : ['country' as const]),
        ...(asns === undefined ? [] : ['asn' as const]),
      ]
    }
    case 'client':
      return ['user_agent']
    case 'expression':
      return readFacts(condition.source).flatMap((fact) => expressionFields.find(([name]) => isWithin(fact, name))?.[1] ?? [])
    default:
      return []
  }
}

const expressionFields: readonly (readonly [fact: string, field: RedactedField])[] = [
  ['subject.email', 'email'],
  ['subject.groups', 'groups'],
  ['subject.claims', 'claims'],
  ['environment.address', 'address'],
  ['environment.country', 'country'],
  ['environment.asn', 'asn'],
  ['environment.browser', 'user_agent'],
  ['environment.browser_version', 'user_agent'],
  ['environment.client_os', 'user_agent'],
]

function isWithin(fact: string, name: string): boolean {
  return fact === name || fact.startsWith(`${name}.`)
}

function readFacts(source: string): readonly string[] {
  try {
    return expressionFacts(source)
  } catch {
    // What is wrong with the expression is reported as such.
    return []
  }
}
