/** What is safe as it stands and meant by nobody: each warning with its place, and beside it the policy that has none. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-warnings-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** 2026-11-22, noon. */
const now = Date.UTC(2026, 10, 22, 12)

let counter = 0
async function warningsOf(policy: string, instance = '', claims = ''): Promise<readonly string[]> {
  counter += 1
  const file = join(folder, `postern-${counter}.yaml`)
  const policyFile = join(folder, `policy-${counter}.yaml`)
  await writeFile(join(folder, 'countries.mmdb'), '')
  await writeFile(
    file,
    `url: https://access.corp.example
provider:
  issuer: https://id.corp.example
  client_id: postern
  client_secret: kJ83hd72hd9aKKd8s7dh
  strengths: { mfa: { acr: ["2"] } }
${claims}
trusted_proxies: [10.0.0.0/8]
${instance}
`,
  )
  await writeFile(policyFile, policy)
  const configuration = await loadConfiguration(file, {})
  const parts = { ...configuration.parts, ...(instance.includes('certificate') ? { clientCertificate: certificates } : {}) }
  const { problems, warnings } = await loadPolicy(policyFile, { configuration: parts, now })
  expect(problems).toEqual([])
  return warnings.map(({ line, column, message, path }) => {
    expect(line).toBeGreaterThan(0)
    expect(column).toBeGreaterThan(0)
    return `${path}: ${message}`
  })
}

const certificates = { caFile: '/nowhere/ca.pem', crlFile: undefined, from: 'xfcc' } as const
const withDatabase = 'facts: { country_file: countries.mmdb }'
const withClaim = '  claims: { device_id: device_id }'

const wiki = (rules: string, more = '') => `apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
${more === '' ? '' : `    ${more}\n`}    rules:
${rules
  .split('\n')
  .map((rule) => `      - ${rule}`)
  .join('\n')}
`
const staff = '{ name: staff, allow: { groups: [staff] } }'

interface Case {
  readonly name: string
  readonly policy: string
  readonly instance?: string
  readonly claims?: string
  readonly warnings: readonly RegExp[]
}

const cases: readonly Case[] = [
  {
    name: 'a level that nothing uses',
    policy: `levels: { a: { time: { days: [mon] } } }\n${wiki(staff)}`,
    warnings: [/^levels\.a: the level `a` is used nowhere/],
  },
  {
    name: 'a level that another uses',
    policy: `levels: { a: { time: { days: [mon] } }, b: { not: a } }\n${wiki('{ name: s, allow: { groups: [a] }, when: [b] }')}`,
    warnings: [],
  },
  {
    name: 'an app without rules that a company rule opens',
    policy: `rules: [{ name: s, allow: { groups: [a] } }]\n${wiki('{ name: d, deny: { groups: [b] } }')}`,
    warnings: [],
  },
  {
    name: 'an app whose only allow reports',
    policy: wiki('{ name: s, allow: { groups: [a] }, mode: report }'),
    warnings: [/reachable by nobody/],
  },

  {
    name: 'a last day before the first',
    policy: wiki('{ name: s, allow: { groups: [a] }, from: 2027-02-01, until: 2027-01-01 }'),
    warnings: [/rules\[0\]\.until: the last day is before the first: this rule never applies/],
  },
  {
    name: 'a last day in the past',
    policy: wiki('{ name: s, allow: { groups: [a] }, until: 2026-11-20 }'),
    warnings: [/the last day is in the past/],
  },
  { name: 'a last day that is today', policy: wiki('{ name: s, allow: { groups: [a] }, until: 2026-11-22 }'), warnings: [] },
  {
    name: 'a time condition in the past',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ time: { until: 2020-01-01 } }] }'),
    warnings: [/when\[0\]\.time\.until: the last day is in the past: this never holds/],
  },
  {
    name: 'a level and its opposite',
    policy: `levels: { a: { time: { days: [mon] } } }\n${wiki('{ name: s, allow: { groups: [a] }, when: [a], unless: [a] }')}`,
    warnings: [/never applies: `a` has to hold and not to hold/],
  },
  {
    name: 'a condition and its opposite through levels',
    policy: `levels: { a: { time: { days: [mon] } }, b: { not: { time: { days: [mon] } } } }\n${wiki('{ name: s, allow: { groups: [a] }, when: [{ all_of: [a, b] }] }')}`,
    warnings: [/the same `time` condition has to hold and not to hold/],
  },
  {
    name: 'a level that can never hold',
    policy: `levels: { a: { all_of: [{ time: { days: [mon] } }, { time: { days: [tue] } }] } }\n${wiki('{ name: s, allow: { groups: [a] }, when: [a] }')}`,
    warnings: [/^levels\.a: the level `a` can never hold: the days have none in common/],
  },
  {
    name: 'days that overlap',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ time: { days: [mon-wed] } }, { time: { days: [wed] } }] }'),
    warnings: [],
  },
  {
    name: 'hours that do not meet',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ time: { between: "07:00-08:00" } }, { time: { between: "08:00-09:00" } }] }'),
    warnings: [/the hours have none in common/],
  },
  {
    name: 'hours over midnight',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ time: { between: "22:00-06:00" } }, { time: { between: "05:00-09:00" } }] }'),
    warnings: [],
  },
  {
    name: 'two countries at once',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ network: { countries: [DE] } }, { network: { countries: [FR] } }] }'),
    instance: withDatabase,
    warnings: [/no address is in two countries/],
  },
  {
    name: 'a device of two minds',
    policy: wiki(
      '{ name: s, require: [{ device: { managed: true } }], when: [{ device: { managed: false } }] }\n{ name: t, allow: { groups: [a] } }',
    ),
    claims: withClaim,
    warnings: [/nobody can meet this rule: `managed`/],
  },
  {
    name: 'any of two that exclude each other',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ any_of: [{ time: { days: [mon] } }, { time: { days: [tue] } }] }] }'),
    warnings: [],
  },
  {
    name: 'a path outside of the app',
    policy: wiki('{ name: s, allow: { groups: [a] }, paths: [/admin/**, /wiki/admin/**, "/*/x", /**] }').replace(
      'corp.example\n',
      'corp.example/wiki\n',
    ),
    warnings: [/paths\[0\]: no path of the app matches this: all begin with `\/wiki`/],
  },
  {
    name: 'a service that signs in',
    policy: `services: { b: { jwt: { issuer: "https://i.example", audience: a, scopes_all: [s] } } }\n${wiki('{ name: s, allow: { services: [b] }, when: [{ sign_in: { strength: mfa } }] }')}`,
    warnings: [/services have neither a sign-in nor a device of their own: this rule never allows one/],
  },

  {
    name: 'A239: an allow that a deny shadows',
    policy: wiki('{ name: s, allow: { groups: [a] } }\n{ name: d, deny: { groups: [a, b] } }'),
    warnings: [/rules\[0\]\.allow: this never lets anybody in: the deny `d`/],
  },
  {
    name: 'A239: an allow that a company deny shadows',
    policy: `rules: [{ name: d, deny: { signed_in: true } }]\n${wiki(staff)}`,
    warnings: [/this never lets anybody in: the deny `d`/],
  },
  {
    name: 'a deny that is narrower, conditional, elsewhere or a report',
    policy: `rules: [{ name: e, deny: { everyone: true }, sensitivity: [restricted] }]\n${wiki('{ name: s, allow: { groups: [a, b] } }\n{ name: d, deny: { groups: [a] } }\n{ name: f, deny: { everyone: true }, methods: [write] }\n{ name: g, deny: { everyone: true }, unless: [{ time: { days: [mon] } }] }\n{ name: h, deny: { everyone: true }, mode: report }')}`,
    warnings: [],
  },
  {
    name: 'public beside a deny on identity',
    policy: wiki('{ name: p, allow: { public: true } }\n{ name: d, deny: { groups: [temps] } }'),
    warnings: [/rules\[0\]\.allow: `public` beside the deny `d`: whom that keeps out need only sign out/],
  },
  {
    name: 'public on other paths than a deny',
    policy: wiki(
      '{ name: p, allow: { public: true }, paths: [/status, /open/*] }\n{ name: d, deny: { groups: [temps] }, paths: [/admin/**] }',
    ),
    warnings: [],
  },
  {
    name: 'public of other methods than a deny',
    policy: wiki('{ name: p, allow: { public: true }, methods: [GET] }\n{ name: d, deny: { groups: [temps] }, methods: [write] }'),
    warnings: [],
  },
  {
    name: 'public beside a deny of everybody',
    policy: wiki('{ name: p, allow: { public: true } }\n{ name: d, deny: { everyone: true }, when: [{ time: { days: [sun] } }] }'),
    warnings: [],
  },

  {
    name: 'everybody in every part',
    policy: wiki('{ name: s, allow: { all_of: [{ signed_in: true }, { everyone: true }] } }', 'sensitivity: restricted'),
    warnings: [/`signed_in` on a restricted app/],
  },
  {
    name: 'everybody by a company rule for a restricted app',
    policy: `rules: [{ name: c, allow: { signed_in: true }, apps: [wiki] }]\n${wiki(staff, 'sensitivity: restricted')}`,
    warnings: [/rules\[0\]\.allow: `signed_in` on a restricted app: `wiki`/],
  },
  {
    name: 'everybody passes on a restricted app',
    policy: wiki(staff, 'sensitivity: restricted\n    report: { until: 2026-12-31, pass: { signed_in: true } }'),
    warnings: [/report\.pass: `signed_in` passes/],
  },

  {
    name: 'report mode that has ended',
    policy: wiki(staff, 'report: { until: 2026-01-31, pass: { groups: [staff] } }'),
    warnings: [/report\.until: report mode has ended/],
  },
  {
    name: 'a country without database, in an allow',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ network: { countries: [DE] } }] }'),
    warnings: [/countries: there is no country database: this rule never allows anybody/],
  },
  {
    name: 'a country without database, in a deny',
    policy: `levels: { eu: { network: { countries: [DE] } } }\n${wiki(`${staff}\n{ name: d, deny: { groups: [temps] }, unless: [eu] }`)}`,
    warnings: [
      /unless\[0\]: .*this deny keeps out everybody it is for, since nothing can take it away/,
      /levels\.eu\.network\.countries: there is no country database: this is unknown for everybody/,
    ],
  },
  {
    name: 'a country without database, in a deny when',
    policy: wiki(`${staff}\n{ name: d, deny: { groups: [temps] }, when: [{ network: { countries: [DE] } }] }`),
    warnings: [/this deny keeps out everybody it is for, since nothing can disprove it/],
  },
  {
    name: 'a country without database, beside networks',
    policy: wiki(
      `${staff}\n{ name: d, deny: { groups: [temps] }, unless: [{ any_of: [{ network: { cidrs: [10.0.0.0/8] } }, { network: { countries: [DE] } }] }] }`,
    ),
    warnings: [/any_of\[1\]\.network\.countries: there is no country database: this is unknown/],
  },
  {
    name: 'a country with its database',
    policy: wiki('{ name: s, allow: { groups: [a] }, when: [{ network: { countries: [DE] } }] }'),
    instance: withDatabase,
    warnings: [],
  },
  {
    name: 'a network number without database',
    policy: wiki(`${staff}\n{ name: r, require: [{ network: { asns: [64512] } }] }`),
    warnings: [/asns: there is no database of autonomous systems: nobody meets this requirement/],
  },
  {
    name: 'a device that nothing identifies',
    policy: wiki(`${staff}\n{ name: r, require: [{ device: { managed: true } }] }`),
    warnings: [/device: nothing here tells devices apart: nobody meets this requirement/],
  },
  {
    name: 'a device that a claim identifies',
    policy: wiki(`${staff}\n{ name: r, require: [{ device: { managed: true } }] }`),
    claims: withClaim,
    warnings: [],
  },
  {
    name: 'a certificate that nobody asks for',
    policy: wiki(`${staff}\n{ name: r, require: [{ device: { identified_by: certificate } }] }`),
    claims: withClaim,
    warnings: [/identified_by: no certificate identifies a device here: nobody meets this requirement/],
  },

  {
    name: 'a claim as proof on a restricted app',
    policy: wiki(`${staff}\n{ name: r, require: [{ device: { managed: true, identified_by: claim } }] }`, 'sensitivity: restricted'),
    instance: '# certificate',
    claims: withClaim,
    warnings: [/require\[0\]: on a restricted app the device is only what a claim says/],
  },
  {
    name: 'a device by claim alone on a restricted app, by a company rule',
    policy: `levels: { d: { device: { managed: true } } }\nrules: [{ name: r, require: [d], sensitivity: [restricted] }]\n${wiki(staff, 'sensitivity: restricted')}`,
    claims: withClaim,
    warnings: [/rules\[0\]\.require\[0\]: on a restricted app the device is only what a claim says/],
  },
  {
    name: 'a device on a restricted app where there are certificates',
    policy: wiki(`${staff}\n{ name: r, require: [{ device: { managed: true } }] }`, 'sensitivity: restricted'),
    instance: '# certificate',
    claims: withClaim,
    warnings: [],
  },

  {
    name: 'a requirement that touches nothing',
    policy: wiki(`${staff}\n{ name: r, require: [{ time: { days: [mon] } }], paths: [/admin/**] }`).replace(
      '[staff] }',
      '[staff] }, paths: [/pages/**]',
    ),
    warnings: [/the requirement `r` touches no allow/],
  },
  {
    name: 'a requirement for services where none is allowed',
    policy: `services: { b: { jwt: { issuer: "https://i.example", audience: a, scopes_all: [s] } } }\n${wiki(`${staff}\n{ name: r, require: [{ time: { days: [mon] } }], for: { services: [b] } }`)}`,
    warnings: [/touches no allow/],
  },
  {
    name: 'a user agent as proof',
    policy: `levels: { c: { client: { browser: chrome } } }\n${wiki('{ name: s, allow: { groups: [a] }, when: [c] }')}`,
    warnings: [/when\[0\]: a `client` condition is a hint, never proof/],
  },
  {
    name: 'a user agent as a hint',
    policy: wiki(`${staff}\n{ name: d, deny: { everyone: true }, when: [{ client: { os: android } }] }`),
    warnings: [],
  },
  {
    name: 'a restricted app that does without its record, by its own word',
    policy: wiki(staff, 'sensitivity: restricted\n    audit: { when_full: drop, durability: relaxed }'),
    warnings: [
      /audit\.when_full: on this restricted app requests go on while they cannot be recorded/,
      /audit\.durability: on this restricted app a crash loses the record/,
    ],
  },
  {
    name: 'a restricted app that does without its record, by the instance’s word',
    policy: wiki(staff, 'sensitivity: restricted\n    audit: { durability: group }'),
    instance: 'audit: { when_full: drop, durability: relaxed }',
    warnings: [/sensitivity: the instance's `audit\.when_full: drop` reaches this restricted app/],
  },
  {
    name: 'nothing where the instance is as lax on an app that is not restricted',
    policy: wiki(staff, 'audit: { paths: none }'),
    instance: 'audit: { when_full: drop, durability: relaxed }',
    warnings: [],
  },
  {
    name: 'paths that rules ask for and the record has not in full',
    policy: wiki('{ name: staff, allow: { groups: [staff] }, paths: [/x/**] }', 'audit: { paths: first_segment }'),
    warnings: [/audit\.paths: rules of this app ask for the path/],
  },
  {
    name: 'facts that rules ask for and `redact` keeps out, each once',
    policy: `levels: { e: { expression: "environment.client_os == 'linux'" }, l: { subject: { claims: { d: [x] } } } }
${wiki(`${staff}
{ name: u, allow: { users: [bob@corp.example] }, when: [{ network: { cidrs: [10.0.0.0/8] } }, l] }
{ name: v, deny: { groups: [guests] }, when: [e] }`)}`,
    instance: 'audit: { redact: [groups, email, address, claims, user_agent, country, asn] }',
    warnings: [
      /rules\[0\]: this asks for what `audit\.redact: \[groups\]` leaves out/,
      /rules\[1\]: this asks for what `audit\.redact: \[email\]`/,
      /when\[0\]: this asks for what `audit\.redact: \[address\]`/,
      /levels\.l: this asks for what `audit\.redact: \[claims\]`/,
      /levels\.e: this asks for what `audit\.redact: \[user_agent\]`/,
    ],
  },
]

describe('a policy that is safe, and meant by nobody, is warned about', () => {
  it.each(cases)('$name', async ({ policy, instance, claims, warnings }) => {
    const found = await warningsOf(policy, instance, claims)
    expect(found, found.join('\n')).toHaveLength(warnings.length)
    for (const warning of warnings) expect(found.join('\n')).toMatch(new RegExp(warning.source, 'm'))
  })
})

describe('warnings that depend on the instance or the time', () => {
  it('are left out where neither is known', async () => {
    const file = join(folder, 'alone.yaml')
    await writeFile(
      file,
      wiki(
        '{ name: s, allow: { groups: [a] }, when: [{ network: { countries: [DE] } }, { device: { managed: true } }], until: 2020-01-01 }',
      ),
    )
    expect(await loadPolicy(file, { configuration: undefined })).toMatchObject({ problems: [], warnings: [] })
  })
})
