/** What conditions, rules, services and strengths become when they are loaded: each kind, the whole of the design's example, and versions. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Condition } from '../policy/document.ts'
import { asn, browserName, calendarDate, country, dayRange, hourRange, osRequirement, versionBound } from './condition-values.ts'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'
import { definedName } from './plain-values.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-load-conditions-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const strengths = 'strengths: { mfa: { acr: ["2", "3"], ask: { kc_action: otp } }, phishing_resistant: { acr: ["3"], amr: [hwk] } }'

async function configure(provider = strengths, more = '') {
  const file = join(folder, 'postern.yaml')
  await writeFile(
    file,
    `url: https://access.corp.example
provider: { issuer: "https://id.corp.example", client_id: postern, client_secret: kJ83hd72hd9aKKd8s7dh${provider === '' ? '' : `, ${provider}`} }
${more}`,
  )
  return await loadConfiguration(file, {})
}

async function load(text: string, name = 'policy.yaml') {
  await writeFile(join(folder, name), text)
  return await loadPolicy(join(folder, name), { configuration: (await configure()).parts })
}

const wiki = (rule: string) =>
  `apps: [{ id: wiki, url: "https://wiki.corp.example", upstream: "http://w:1", rules: [{ name: s, allow: { groups: [a] } }${rule} ] }]\n`

async function conditionOf(written: string, zone = ''): Promise<Condition | undefined> {
  const { value, problems } = await load(`${zone}levels: { one: ${written} }\n${wiki(', { name: r, require: one }')}`)
  expect(problems).toEqual([])
  return value?.levels[0]?.condition
}

const nothing = { strength: undefined, acr: undefined, amr: undefined, withinSeconds: undefined }
const noDevice = {
  kind: 'device',
  known: undefined,
  managed: undefined,
  diskEncrypted: undefined,
  screenLock: undefined,
  firewall: undefined,
  os: undefined,
  serials: undefined,
  tags: undefined,
  attributes: undefined,
  reportedWithinSeconds: 86_400,
  isReportAsked: false,
  identifiedBy: undefined,
}
const noNetwork = { kind: 'network', cidrs: undefined, cidrsFile: undefined, countries: undefined, asns: undefined }
const noTime = { kind: 'time', days: undefined, between: undefined, zone: 'UTC', from: undefined, until: undefined }

describe('a condition', () => {
  it.each<readonly [string, unknown]>([
    ['{ subject: { groups: [a] } }', { kind: 'subject', who: { kind: 'groups', groups: ['a'] } }],
    [
      '{ subject: [{ groups: [a] }, { users: [Bob@Corp.Example] }] }',
      {
        kind: 'subject',
        who: {
          kind: 'any_of',
          of: [
            { kind: 'groups', groups: ['a'] },
            { kind: 'users', emails: ['bob@corp.example'] },
          ],
        },
      },
    ],
    [
      '{ sign_in: { strength: mfa, within: 1h } }',
      { kind: 'sign_in', ...nothing, strength: { name: 'mfa', acr: ['2', '3'], amr: [], ask: { kc_action: 'otp' } }, withinSeconds: 3600 },
    ],
    ['{ sign_in: { acr: "2", amr: [otp, hwk] } }', { kind: 'sign_in', ...nothing, acr: ['2'], amr: ['otp', 'hwk'] }],
    ['{ device: { known: true } }', { ...noDevice, known: true }],
    [
      '{ device: { managed: true, disk_encrypted: true, screen_lock: false, firewall: true } }',
      { ...noDevice, managed: true, diskEncrypted: true, screenLock: false, firewall: true },
    ],
    [
      '{ device: { os: ["macos >= 14.4", linux, "windows > 10.0.22631"] } }',
      {
        ...noDevice,
        os: [
          { name: 'macos', bound: { operator: '>=', version: '14.4' } },
          { name: 'linux', bound: undefined },
          { name: 'windows', bound: { operator: '>', version: '10.0.22631' } },
        ],
      },
    ],
    ['{ device: { os: freebsd } }', { ...noDevice, os: [{ name: 'freebsd', bound: undefined }] }],
    [
      '{ device: { serials: [C02X], tags: [kiosk], attributes: { mdm.compliant: true, ring: [1, early] } } }',
      {
        ...noDevice,
        serials: ['C02X'],
        tags: ['kiosk'],
        attributes: [
          { name: 'mdm.compliant', values: [true] },
          { name: 'ring', values: [1, 'early'] },
        ],
      },
    ],
    ['{ device: { reported_within: 2d } }', { ...noDevice, reportedWithinSeconds: 172_800, isReportAsked: true }],
    ['{ device: { identified_by: certificate } }', { ...noDevice, identifiedBy: 'certificate' }],
    ['{ network: { cidrs: [10.0.0.0/8, "FD00::/8", 192.0.2.7] } }', { ...noNetwork, cidrs: ['10.0.0.0/8', 'fd00::/8', '192.0.2.7/32'] }],
    ['{ network: { countries: [DE, NO, "FR"] } }', { ...noNetwork, countries: ['DE', 'NO', 'FR'] }],
    ['{ network: { asns: [64512, AS64513] } }', { ...noNetwork, asns: [64_512, 64_513] }],
    ['{ time: { days: [fri-mon, wed] } }', { ...noTime, days: ['mon', 'wed', 'fri', 'sat', 'sun'] }],
    [
      '{ time: { between: ["07:00-12:30", 22:00-06:00] } }',
      {
        ...noTime,
        between: [
          { from: 420, to: 750 },
          { from: 1320, to: 360 },
        ],
      },
    ],
    [
      '{ time: { between: 00:00-24:00, zone: America/New_York } }',
      { ...noTime, between: [{ from: 0, to: 1440 }], zone: 'America/New_York' },
    ],
    ['{ time: { from: 2024-02-29, until: 2026-12-31 } }', { ...noTime, from: '2024-02-29', until: '2026-12-31' }],
    [
      '{ client: { browser: [chrome, edge], browser_version: ">= 120", os: macos } }',
      { kind: 'client', browsers: ['chrome', 'edge'], browserVersion: { operator: '>=', version: '120' }, os: ['macos'] },
    ],
    ['{ expression: "true" }', { kind: 'expression', source: 'true' }],
    ['{ not: { expression: "true" } }', { kind: 'not', of: { kind: 'expression', source: 'true' } }],
    [
      '{ any_of: [{ all_of: [{ expression: "true" }] }, { not: { expression: "true" } }] }',
      {
        kind: 'any_of',
        of: [
          { kind: 'all_of', of: [{ kind: 'expression', source: 'true' }] },
          { kind: 'not', of: { kind: 'expression', source: 'true' } },
        ],
      },
    ],
  ])('%s is read', async (written, expected) => {
    expect(await conditionOf(written)).toEqual(expected)
  })

  it("has the document's zone where it names none", async () => {
    expect(await conditionOf('{ time: { days: [mon] } }', 'zone: Europe/Berlin\n')).toMatchObject({ zone: 'Europe/Berlin' })
  })

  it('has networks of a file in their order, each once', async () => {
    await mkdir(join(folder, 'lists'))
    await writeFile(join(folder, 'lists', 'hooks.txt'), '\ufeff# hooks\r\n192.0.2.0/24\r\n\r\n10.0.0.0/8 # office\n192.0.2.0/24\nFD00::/8')
    expect(await conditionOf('{ network: { cidrs_file: lists/hooks.txt } }')).toEqual({
      ...noNetwork,
      cidrs: ['192.0.2.0/24', '10.0.0.0/8', 'fd00::/8'],
      cidrsFile: join(folder, 'lists', 'hooks.txt'),
    })
  })

  it('has a strength without meaning where the instance is not known', async () => {
    const file = join(folder, 'p.yaml')
    await writeFile(file, wiki(', { name: r, require: { sign_in: { strength: anything } } }'))
    const { value, problems } = await loadPolicy(file, { configuration: undefined })
    expect(problems).toEqual([])
    expect(value?.apps[0]?.rules[1]?.require).toEqual([
      { kind: 'sign_in', ...nothing, strength: { name: 'anything', acr: [], amr: [], ask: {} } },
    ])
  })

  it('points into an expression that is wrong', async () => {
    const { problems } = await load(
      `levels: { one: { expression: "subject.kindd == 'person'" } }\n${wiki(', { name: r, require: [one] }')}`,
    )
    expect(problems).toMatchObject([{ path: 'levels.one.expression', line: 1, column: 'levels: { one: { expression: "'.length + 1 }])
    const block = await load(
      `levels:\n  one:\n    expression: |\n      true &&\n      subject.kindd == 'person'\n${wiki(', { name: r, require: [one] }')}`,
    )
    expect(block.problems).toMatchObject([{ path: 'levels.one.expression', line: 5, column: 7 }])
  })
})

describe('a rule', () => {
  it('has conditions as one or as a list, days, a mode and an alert', async () => {
    const { value, problems } = await load(
      `levels: { l: { expression: "true" } }\n${wiki(
        ', { name: r, require: l, for: { everyone: true }, when: [l, l], unless: { not: l }, from: 2026-01-01, until: 2026-12-31, mode: report, alert: true }',
      )}`,
    )
    expect(problems).toEqual([])
    const l = { kind: 'level', name: 'l' }
    expect(value?.apps[0]?.rules[1]).toEqual({
      name: 'r',
      verb: 'require',
      who: { kind: 'everyone' },
      require: [l],
      when: [l, l],
      unless: [{ kind: 'not', of: l }],
      from: '2026-01-01',
      until: '2026-12-31',
      isReport: true,
      isAlert: true,
      methods: undefined,
      paths: undefined,
    })
  })

  it('that requires is for everybody who is signed in, and has a name of its own', async () => {
    const { value } = await load(wiki(', { require: [{ expression: "true" }] }'))
    expect(value?.apps[0]?.rules[1]).toMatchObject({ name: 'require 2', verb: 'require', who: { kind: 'signed_in' } })
  })
})

describe('the example of the language', () => {
  const example = `version: 1                                # optional
zone: Europe/Berlin                       # for hours and dates that name none; default UTC
levels:
  mfa_1h:         { sign_in: { strength: mfa, within: 1h } }
  healthy_device: { device: { managed: true, disk_encrypted: true, screen_lock: true, os: ["macos >= 14.4", "windows >= 10.0.22631"], reported_within: 24h } }
  office_hours:   { time: { days: [mon-fri], between: "07:00-20:00" } }
  in_europe:      { any_of: [{ network: { cidrs: [10.0.0.0/8] } }, { network: { countries: [DE, FR, "NO"] } }] }
  github_hooks:   { network: { cidrs_file: networks/github-hooks.txt } }
  payroll_admin:  { subject: { groups: [payroll-admins] } }
  break_glass:    { all_of: [{ subject: { groups: [break-glass] } }, { sign_in: { strength: phishing_resistant, within: 15m } }] }
  own_staff:      { expression: "subject.email.endsWith('@corp.example') && !('contractors' in subject.groups)" }

services:                                 # callers without a browser
  billing: { jwt: { issuer: "https://auth.example.com", audience: internal-services, scopes_all: ["data:read"], claims: { azp: billing } } }

rules:                                    # for every app
  - name: restricted apps need MFA and a healthy device
    require: [mfa_1h, healthy_device]
    sensitivity: [restricted]
    unless: [break_glass]
  - name: contractors work from Europe
    deny: { groups: [contractors] }
    unless: [in_europe]

apps:
  - id: payroll
    name: Payroll
    owner: finance-systems@corp.example
    url: https://payroll.corp.example
    upstream: http://payroll.internal:8080  # or a list, or { url, ca_file, … }
    sensitivity: restricted                 # open | internal | confidential | restricted
    portal: if_allowed                      # if_relevant (default) | if_allowed | listed | hidden
    rules:
      - { name: finance in office hours, allow: { groups: [finance] }, when: [office_hours] }
      - { name: administration, require: [payroll_admin], paths: [/admin/**] }
      - { name: billing reads, allow: { services: [billing] }, methods: [read], paths: [/api/internal/**] }
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - { name: staff, allow: { groups: [staff] } }
      - { name: contractors read, allow: { groups: [contractors] }, methods: [read] }
`

  it('loads as it is printed', async () => {
    await mkdir(join(folder, 'networks'))
    await writeFile(join(folder, 'networks', 'github-hooks.txt'), '192.30.252.0/22\n')
    const { value, problems } = await load(example)
    expect(problems).toEqual([])
    expect(value?.levels.map(({ name }) => name)).toEqual([
      'break_glass',
      'github_hooks',
      'healthy_device',
      'in_europe',
      'mfa_1h',
      'office_hours',
      'own_staff',
      'payroll_admin',
    ])
    expect(value?.services).toEqual([
      {
        name: 'billing',
        issuer: 'https://auth.example.com',
        audience: 'internal-services',
        scopesAll: ['data:read'],
        claims: [{ path: ['azp'], values: ['billing'] }],
        jwksUri: undefined,
      },
    ])
    expect(value?.rules).toMatchObject([
      {
        verb: 'require',
        require: [{ name: 'mfa_1h' }, { name: 'healthy_device' }],
        unless: [{ name: 'break_glass' }],
        sensitivity: ['restricted'],
      },
      { verb: 'deny', who: { groups: ['contractors'] }, unless: [{ name: 'in_europe' }] },
    ])
    expect(value?.apps[0]?.rules.map(({ verb, who }) => [verb, who.kind])).toEqual([
      ['allow', 'groups'],
      ['require', 'signed_in'],
      ['allow', 'services'],
    ])
  })
})

describe('the version of a policy', () => {
  const base = `levels:
  one: { network: { cidrs: [10.0.0.0/8] } }
  two: { sign_in: { strength: mfa } }
services:
  a: { jwt: { issuer: "https://i.example", audience: x, scopes_all: [s] } }
  b: { jwt: { issuer: "https://i.example", audience: y, scopes_all: [s] } }
${wiki(', { name: r, require: [one, two] }, { name: t, allow: { services: [a, b] } }')}`
  const versionOf = async (text: string, name?: string) => {
    const { value, problems } = await load(text, name)
    expect(problems).toEqual([])
    return value?.version
  }

  it('does not depend on the order of levels and services, nor on where networks are written', async () => {
    const first = await versionOf(base)
    const lines = base.split('\n')
    const swapped = [lines[0], lines[2], lines[1], lines[3], lines[5], lines[4], ...lines.slice(6)].join('\n')
    expect(await versionOf(swapped)).toBe(first)
    await mkdir(join(folder, 'a'))
    for (const file of ['n.txt', 'a/m.txt']) {
      await writeFile(join(folder, file), '10.0.0.0/8\n')
      expect(await versionOf(base.replace('cidrs: [10.0.0.0/8]', `cidrs_file: ${file}`))).toBe(first)
    }
    await writeFile(join(folder, 'n.txt'), '10.0.0.0/9\n')
    expect(await versionOf(base.replace('cidrs: [10.0.0.0/8]', 'cidrs_file: n.txt'))).not.toBe(first)
  })

  it('does not depend on the instance, whose strengths are its own', async () => {
    const file = join(folder, 'policy.yaml')
    await writeFile(file, base)
    const known = await loadPolicy(file, { configuration: (await configure()).parts })
    const unknown = await loadPolicy(file, { configuration: undefined })
    expect(known.value?.version).toBe(unknown.value?.version)
    expect(known.value?.levels[1]).not.toEqual(unknown.value?.levels[1])
  })

  it.each([
    ['a condition of a level', 'cidrs: [10.0.0.0/8]', 'cidrs: [10.0.0.0/9]'],
    ['a strength', 'strength: mfa', 'strength: phishing_resistant'],
    ['a service', 'audience: x', 'audience: z'],
    ['what is required', 'require: [one, two]', 'require: [one]'],
    ['a mode', 'name: r,', 'name: r, mode: report,'],
    ['an exception', 'name: r,', 'name: r, unless: [one],'],
    ['whom a requirement is for', 'name: r,', 'name: r, for: { groups: [x] },'],
    ['report mode', 'rules: [', 'report: { pass: { groups: [x] } }, rules: ['],
  ])('changes with %s', async (_what, from, to) => {
    expect(base).toContain(from)
    expect(await versionOf(base.replace(from, to))).not.toBe(await versionOf(base))
  })
})

describe('a folder of policies', () => {
  it('has the levels and services of all its files, each once', async () => {
    const many = join(folder, 'policies')
    await mkdir(many)
    const service = 'services: { b: { jwt: { issuer: "https://i.example", audience: x, scopes_all: [s] } } }\n'
    await writeFile(join(many, 'a.yaml'), `levels: { one: { time: { days: [mon] } } }\n${service}`)
    await writeFile(join(many, 'b.yaml'), wiki(', { name: t, allow: { services: [b] }, when: [one] }'))
    const { value, problems } = await loadPolicy(many, { configuration: undefined })
    expect(problems).toEqual([])
    expect(value?.levels.map(({ name }) => name)).toEqual(['one'])
    await writeFile(join(many, 'c.yaml'), `levels: { one: { time: { days: [tue] } } }\n${service}`)
    const again = await loadPolicy(many, { configuration: undefined })
    const a = join(many, 'a.yaml')
    expect(again.problems.map(({ file, message }) => [file, message])).toEqual([
      [join(many, 'c.yaml'), `the level \`one\` is already defined in ${a}:1`],
      [join(many, 'c.yaml'), `the service \`b\` is already defined in ${a}:2`],
    ])
  })
})

describe('the instance', () => {
  it('has the strengths of its preset, and those that are written in their place', async () => {
    const { value, problems } = await configure(
      'preset: keycloak, strengths: { mfa: { amr: [otp] }, Weak: { acr: ["1"] } }'.replace('Weak', 'weak'),
    )
    expect(problems).toEqual([])
    expect(value?.provider.strengths).toEqual(
      new Map([
        ['mfa', { name: 'mfa', acr: [], amr: ['otp'], ask: {} }],
        ['phishing_resistant', { name: 'phishing_resistant', acr: ['3'], amr: [], ask: {} }],
        ['weak', { name: 'weak', acr: ['1'], amr: [], ask: {} }],
      ]),
    )
  })

  it.each([
    ['keycloak', ['mfa', 'phishing_resistant']],
    ['entra', ['mfa', 'phishing_resistant']],
    ['okta', ['mfa', 'phishing_resistant']],
    ['google', []],
  ])('with the preset %s knows %j, and the stronger meets the weaker', async (preset, names) => {
    const { value } = await configure(`preset: ${preset}`)
    expect([...(value?.provider.strengths.keys() ?? [])]).toEqual(names)
    const mfa = value?.provider.strengths.get('mfa')
    for (const acr of value?.provider.strengths.get('phishing_resistant')?.acr ?? []) expect(mfa?.acr).toContain(acr)
  })

  it('has its sources of facts as absolute paths, and posture by attribute', async () => {
    await writeFile(join(folder, 'c.mmdb'), '')
    const { value, problems } = await configure(
      'claims: { device: { disk_encrypted: device.encryption, mdm.ring: ring } }',
      'facts: { country_file: c.mmdb }\npolicy_tests: required\n',
    )
    expect(problems).toEqual([])
    expect(value?.facts).toEqual({ countryFile: join(folder, 'c.mmdb'), asnFile: undefined })
    expect(value?.provider.claims.posture).toEqual(
      new Map([
        ['disk_encrypted', ['device', 'encryption']],
        ['mdm.ring', ['ring']],
      ]),
    )
    expect(value?.policyTests).toBe('required')
    expect(value?.clientCertificate).toBeUndefined()
  })
})

describe('single values', () => {
  it.each(['mon', 'mon-fri', 'fri-mon', 'sun-sun'])('the days %s are read', (text) => expect(dayRange.safeParse(text).success).toBe(true))
  it.each(['Mon', 'mo', 'mon-', '-fri', 'mon-tue-wed', 'mon,tue', ''])('the days "%s" are refused', (text) =>
    expect(dayRange.safeParse(text).success).toBe(false),
  )
  it('a range that begins and ends on one day is that day', () => expect(dayRange.parse('sun-sun')).toEqual(['sun']))
  it.each(['00:00-24:00', '22:00-06:00', '23:59-24:00'])('the hours %s are read', (text) =>
    expect(hourRange.safeParse(text).success).toBe(true),
  )
  it.each(['24:00-06:00', '7:00-8:00', '07:00–08:00', '07:00-08:00 ', '07:00-25:00', '-', ''])('the hours "%s" are refused', (text) =>
    expect(hourRange.safeParse(text).success).toBe(false),
  )
  it.each(['2024-02-29', '2000-01-01', '2999-12-31'])('the day %s is read as text', (text) => expect(calendarDate.parse(text)).toBe(text))
  it.each(['2025-02-29', '2025-02-30', '2025-13-01', '2025-00-10', '2025-1-1', '1999-12-31', '20250101', ''])(
    'the day "%s" is refused',
    (text) => expect(calendarDate.safeParse(text).success).toBe(false),
  )
  it.each(['DE', 'NO', 'XK', 'GB'])('the country %s is read', (text) => expect(country.safeParse(text).success).toBe(true))
  it.each(['de', 'DEU', 'EU', 'UK', 'ZZ', 'XX', 'D', 'Germany', ''])('the country "%s" is refused', (text) =>
    expect(country.safeParse(text).success).toBe(false),
  )
  it.each([1, 4_294_967_295, 'AS64512', 'as1'])('the network number %s is read', (value) => expect(asn.safeParse(value).success).toBe(true))
  it.each([0, -1, 1.5, 4_294_967_296, 'AS0', 'AS4294967296', 'AS', '64512', true])('the network number %s is refused', (value) =>
    expect(asn.safeParse(value).success).toBe(false),
  )
  it.each(['>= 120', '=1.2.3', '<10', '> 1.2.3.4'])('the bound "%s" is read', (text) =>
    expect(versionBound.safeParse(text).success).toBe(true),
  )
  it.each(['120', '>= 1.x', '>= *', '~1', '>= 1.2.3.4.5', '>=', ''])('the bound "%s" is refused', (text) =>
    expect(versionBound.safeParse(text).success).toBe(false),
  )
  it.each(['macos>=14', 'linux', 'windows = 11'])('the system "%s" is read', (text) =>
    expect(osRequirement.safeParse(text).success).toBe(true),
  )
  it.each(['mac', 'macOS', 'Windows 11', 'macos >= 14.x', 'macos >=', '>= 14', ''])('the system "%s" is refused', (text) =>
    expect(osRequirement.safeParse(text).success).toBe(false),
  )
  it.each(['chrome', 'vivaldi'])('the browser %s is read', (text) => expect(browserName.safeParse(text).success).toBe(true))
  it.each(['Chrome', 'chromee', 'google chrome', ''])('the browser "%s" is refused', (text) =>
    expect(browserName.safeParse(text).success).toBe(false),
  )
  it.each(['constructor', 'prototype', '__proto__', 'A', ''])('the name "%s" is given to nothing', (text) =>
    expect(definedName.safeParse(text).success).toBe(false),
  )
})
