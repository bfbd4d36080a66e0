/**
 * A policy as large as the budget speaks of, as text: what start-up, reload and decisions are measured and tested with.
 *
 * Every kind of condition stands in a level, levels build on each other, and each app has rules about people, groups, paths and
 * circumstances as real ones do. Apps differ, so that nothing is measured a thousand times from one cache.
 */

/** How much of everything. */
export interface PolicySize {
  readonly apps: number
  readonly rulesOfAnApp: number
  readonly levels: number
}

/** The size of the budget. */
export const largeSize: PolicySize = { apps: 1000, rulesOfAnApp: 20, levels: 100 }

/** Groups of the person whom `staffOf` and the rules are about, and who is let in to every app's `/docs/`. */
export const memberGroups = ['staff', 'engineering', 'on-call', 'wiki-editors', 'team-3', 'berlin']

/** An app's addresses. */
export type Addresses = (index: number) => { readonly url: string; readonly upstream: string }

const addressesByNumber: Addresses = (index) => ({
  url: `https://app-${index}.corp.example`,
  upstream: `http://app-${index}.internal:8080`,
})

/** The document as YAML. App `n` is `https://app-n.corp.example` unless `addresses` says otherwise. */
export function writeLargePolicy({ apps, rulesOfAnApp, levels }: PolicySize, addresses = addressesByNumber): string {
  return [
    'version: 1',
    'zone: Europe/Berlin',
    'levels:',
    ...Array.from({ length: levels }, (_, index) => `  level_${index}: ${writeLevel(index)}`),
    'rules:',
    '  - { name: contractors work from offices, deny: { groups: [contractors] }, unless: [level_2] }',
    '  - { name: restricted apps need a fresh sign-in, require: [level_0], sensitivity: [restricted], unless: [level_3] }',
    'apps:',
    ...Array.from({ length: apps }, (_, index) => writeApp(index, rulesOfAnApp, levels, addresses(index))),
    '',
  ].join('\n')
}

function writeLevel(index: number): string {
  const before = (steps: number) => `level_${Math.max(0, index - steps)}`
  switch (index % 8) {
    case 0:
      return `{ sign_in: { amr: [otp, hwk], within: ${1 + (index % 12)}h } }`
    case 1:
      return `{ device: { managed: true, disk_encrypted: true, os: ["macos >= 14.4", "windows >= 10.0.22631"], reported_within: ${12 + index}h } }`
    case 2:
      return `{ network: { cidrs: [10.${index}.0.0/16, 192.168.${index}.0/24, "2001:db8:${index}::/48"] } }`
    case 3:
      return `{ subject: { groups: [break-glass-${index}] } }`
    case 4:
      return '{ time: { days: [mon-fri], between: "07:00-20:00" } }'
    case 5:
      return `{ expression: "subject.email.endsWith('@corp.example') && !('contractors-${index}' in subject.groups)" }`
    case 6:
      return `{ any_of: [${before(4)}, { network: { countries: [DE, FR] } }] }`
    default:
      return `{ all_of: [${before(7)}, ${before(3)}, { not: ${before(4)} }] }`
  }
}

function writeApp(index: number, rules: number, levels: number, { url, upstream }: ReturnType<Addresses>): string {
  const level = (step: number) => `level_${(index * 7 + step) % levels}`
  return [
    `  - id: app-${index}`,
    `    name: Application ${index}`,
    `    owner: team-${index % 40}@corp.example`,
    `    url: ${url}`,
    `    upstream: ${upstream}`,
    `    sensitivity: ${['internal', 'confidential', 'restricted', 'open'][index % 4]}`,
    '    rules:',
    ...Array.from({ length: rules }, (_, rule) => `      - ${writeRule(index, rule, level)}`),
  ].join('\n')
}

function writeRule(app: number, rule: number, level: (step: number) => string): string {
  switch (rule) {
    case 0:
      return '{ name: staff read, allow: { groups: [staff] }, methods: [read], paths: [/docs/**] }'
    case 1:
      return `{ name: leavers, deny: { groups: [leavers, barred-${app}] } }`
    case 2:
      return '{ name: payments are closed, deny: { groups: [engineering] }, paths: [/payments/**] }'
    case 3:
      return '{ name: changes need a fresh sign-in, allow: { groups: [engineering] }, paths: [/changes/**], when: [level_0] }'
    default:
      break
  }
  switch (rule % 4) {
    case 0:
      return `{ name: team ${rule}, allow: { groups: [team-${app}-${rule}, team-${rule}] }, paths: [/teams/${rule}/**], when: [${level(rule)}] }`
    case 1:
      return `{ name: desk ${rule}, allow: { users: [desk-${rule}-${app}@corp.example] }, methods: [read, POST], unless: [${level(rule)}] }`
    case 2:
      return `{ name: not ${rule}, deny: { groups: [barred-${rule}-${app}] }, paths: [/private-${rule}/**], unless: [${level(rule)}] }`
    default:
      return `{ name: guard ${rule}, require: [${level(rule)}], for: { groups: [guests-${rule}] }, paths: [/admin-${rule}/**] }`
  }
}
