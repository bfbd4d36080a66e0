/**
 * Broken levels, conditions, services, strengths and sources of facts, each with one mistake: the report names file, line, column and fix.
 *
 * `«` marks the place in the text where the report has to point; it is removed before the file is written.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'

const goodInstance = `url: https://access.corp.example
provider:
  issuer: https://keycloak.corp.example/realms/corp
  client_id: postern
  client_secret: kJ83hd72hd9aKKd8s7dh
  claims: { device_id: device_id }
  strengths:
    mfa: { acr: ["2"] }
facts: {}
`

const goodPolicy = `levels:
  office: { network: { cidrs: [10.0.0.0/8] } }
services:
  billing: { jwt: { issuer: "https://auth.corp.example", audience: internal, scopes_all: ["data:read"] } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - { name: staff, allow: { groups: [staff] }, when: [office] }
      - { name: billing, allow: { services: [billing] } }
`

/** An authority; its key is nowhere. */
const authority = `-----BEGIN CERTIFICATE-----
MIIBojCCAUegAwIBAgIUH3uyNC0AE3qFIeGKjt/2wSOhJyAwCgYIKoZIzj0EAwIw
JTEjMCEGA1UEAwwaRGV2aWNlIGF1dGhvcml0eSBvZiBhIHRlc3QwIBcNMjYxMTIy
MDgzMzMwWhgPMjEyNjEwMjkwODMzMzBaMCUxIzAhBgNVBAMMGkRldmljZSBhdXRo
b3JpdHkgb2YgYSB0ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHvQmgIx6
ixB54mhgeExfNs6FymjFsPN/1uNXen9QpOCWmfOPB46rNAFo49gXutSXMc4/2f56
T0yRPMew3DJ6q6NTMFEwHQYDVR0OBBYEFKaFLxhAt9W5Gxe5cQl+I/BgPIvZMB8G
A1UdIwQYMBaAFKaFLxhAt9W5Gxe5cQl+I/BgPIvZMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSQAwRgIhAOA9Oe8dTPTnPxBNAyrPySBDZgemsCKNOHMvv9KB
h0zvAiEAsomw74evVysLl05zIwAKAkjDC9E3+dybvrbRsLtfcGk=
-----END CERTIFICATE-----
`

interface Case {
  readonly name: string
  readonly instance?: readonly [string, string]
  readonly policy?: readonly [string, string]
  readonly message: RegExp
  readonly fix?: RegExp
  readonly isWarning?: boolean
}

const office = (text: string) => ['{ network: { cidrs: [10.0.0.0/8] } }', text] as const
const when = (text: string) => ['when: [office]', `when: ${text}`] as const
const rule = (text: string) => ['      - { name: billing,', `      - ${text}\n      - { name: billing,`] as const
const level = (text: string) => ['services:', `  ${text}\nservices:`] as const
const jwt = (text: string) => [/\{ jwt: .*/.exec(goodPolicy)?.[0] ?? '', `{ jwt: { ${text} } }`] as const
const strength = (text: string) => ['mfa: { acr: ["2"] }', text] as const
const app = (text: string) => ['    rules:', `    ${text}\n    rules:`] as const
const top = (text: string) => ['facts: {}', text] as const

const cases: readonly Case[] = [
  { name: 'a level that is not there', policy: when('[«ofice]'), message: /no level `ofice`/, fix: /did you mean `office`/ },
  {
    name: 'a level within a level',
    policy: office('{ any_of: [{ not: «offise }, { time: { days: [mon] } }] }'),
    message: /no level `offise`/,
    fix: /`office`/,
  },
  {
    name: 'levels in a circle',
    policy: office('{ all_of: [second] }\n  second: { any_of: [third] }\n  third: { not: «office }'),
    message: /office → second → third → office/,
    fix: /take one of them out/,
  },
  { name: 'a level made of itself', policy: office('{ not: «office }'), message: /office → office/ },
  {
    name: 'two conditions in one map',
    policy: office('{ network: { cidrs: [10.0.0.0/8] }, «time: { days: [mon] } }'),
    message: /either of them, or both/,
    fix: /all_of/,
  },
  { name: 'an empty condition', policy: office('«{}'), message: /empty/, fix: /one of subject/ },
  {
    name: 'an unknown condition',
    policy: office('{ «netwrok: { cidrs: [10.0.0.0/8] } }'),
    message: /unknown key `netwrok`/,
    fix: /`network`/,
  },
  ...['sign_in', 'device', 'network', 'time', 'client'].map((kind) => ({
    name: `an empty ${kind} condition`,
    policy: office(`{ ${kind}: «{} }`),
    message: /always hold/,
    fix: /what is asked for/,
  })),
  { name: 'a list without a condition', policy: when('«[]'), message: /empty/, fix: /name something/ },
  { name: 'an empty all_of', policy: office('{ all_of: «[] }'), message: /empty/ },
  { name: 'a list under not', policy: office('{ not: «[second] }'), message: /a list does not fit/, fix: /the name of a level/ },
  {
    name: 'a level named like a prototype',
    policy: level('«constructor: { time: { days: [mon] } }'),
    message: /never given/,
    fix: /another name/,
  },
  { name: 'a level named __proto__', policy: level('«__proto__: { time: { days: [mon] } }'), message: /never given/, fix: /another name/ },
  { name: 'a level with a capital', policy: level('«Night: { time: { days: [mon] } }'), message: /usable name/, fix: /`night`/ },
  { name: 'public in a subject condition', policy: office('{ subject: «{ public: true } }'), message: /`public`/, fix: /everyone/ },
  {
    name: 'a service that is nearly there',
    policy: office('{ subject: «{ services: [biling] } }'),
    message: /no service `biling`/,
    fix: /`billing`/,
  },

  { name: 'a strength that is not there', policy: office('{ sign_in: { strength: «mfaa } }'), message: /no strength `mfaa`/, fix: /`mfa`/ },
  { name: 'an age without unit', policy: office('{ sign_in: { within: «60 } }'), message: /a number/, fix: /`60s`/ },
  { name: 'an acr that YAML reads as a number', policy: office('{ sign_in: { acr: [«2] } }'), message: /a number/, fix: /quote it/ },

  { name: 'a system with a capital', policy: office('{ device: { os: [«macOS] } }'), message: /not known/, fix: /`macos`/ },
  { name: 'a system by another name', policy: office('{ device: { os: [«"osx >= 14"] } }'), message: /not known/, fix: /`macos`/ },
  {
    name: 'a version without comparison',
    policy: office('{ device: { os: [«"macos 14.4"] } }'),
    message: /comparison/,
    fix: /`macos >= 14.4`/,
  },
  { name: 'a version that is none', policy: office('{ device: { os: [«"macos >= new"] } }'), message: /version/ },
  { name: 'two equality signs', policy: office('{ device: { os: [«"linux == 6"] } }'), message: /one `=`/, fix: /`linux = 6`/ },
  { name: 'an attribute of a prototype', policy: office('{ device: { attributes: { «__proto__: x } } }'), message: /never an attribute/ },
  {
    name: 'an attribute named constructor',
    policy: office('{ device: { attributes: { «constructor: x } } }'),
    message: /never an attribute/,
  },
  { name: 'no attribute', policy: office('{ device: { attributes: «{} } }'), message: /map is empty/ },
  {
    name: 'an unknown way to identify',
    policy: office('{ device: { identified_by: «certificat } }'),
    message: /not known/,
    fix: /`certificate`/,
  },
  { name: 'yes in place of true', policy: office('{ device: { managed: «yes } }'), message: /text/, fix: /`true`/ },

  { name: 'A238: a long prefix', policy: office('{ network: { cidrs: [«10.0.0.0/33] } }'), message: /at most 32/ },
  { name: 'A238: everything in IPv6, with a blank', policy: office('{ network: { cidrs: [«"::/0 "] } }'), message: /not a network/ },
  { name: 'everything in IPv6', policy: office('{ network: { cidrs: [«"::/0"] } }'), message: /every address/ },
  { name: 'A238: everything, written longer', policy: office('{ network: { cidrs: [«0.0.0.0/00] } }'), message: /not a network/ },
  { name: 'A238: host bits', policy: office('{ network: { cidrs: [«10.0.0.5/24] } }'), message: /host bits/, fix: /`10.0.0.0\/24`/ },
  { name: 'A238: an octal network', policy: office('{ network: { cidrs: [«010.0.0.1] } }'), message: /not a network/ },
  { name: 'A238: a wildcard network', policy: office('{ network: { cidrs: [«"*.*"] } }'), message: /not a network/ },
  { name: 'A238: two stars', policy: office('{ network: { cidrs: [«"**"] } }'), message: /not a network/ },
  {
    name: 'IPv4 in IPv6',
    policy: office('{ network: { cidrs: [«"::ffff:10.0.0.0/104"] } }'),
    message: /spelling of IPv6/,
    fix: /10.0.0.0\/8/,
  },
  {
    name: 'networks here and in a file',
    policy: office('{ network: { cidrs: [10.0.0.0/8], «cidrs_file: networks.txt } }'),
    message: /either of them/,
    fix: /any_of/,
  },
  {
    name: 'a file of networks that is not there',
    policy: office('{ network: { cidrs_file: «none.txt } }'),
    message: /does not exist/,
    fix: /one network a line/,
  },
  {
    name: 'a boolean country',
    policy: office('{ network: { countries: [DE, «false] } }'),
    message: /boolean `false`/,
    fix: /quote it: "NO"/,
  },
  { name: 'a country in small letters', policy: office('{ network: { countries: [«de] } }'), message: /not the code/, fix: /`DE`/ },
  { name: 'a country that is called otherwise', policy: office('{ network: { countries: [«UK] } }'), message: /not the code/, fix: /`GB`/ },
  {
    name: 'a union of countries',
    policy: office('{ network: { countries: [«EU] } }'),
    message: /not one country/,
    fix: /name the countries/,
  },
  { name: 'a country that is not there', policy: office('{ network: { countries: [«XY] } }'), message: /not the code/ },
  { name: 'a network number of nobody', policy: office('{ network: { asns: [«0] } }'), message: /number of a network/ },
  {
    name: 'a network number in quotes',
    policy: office('{ network: { asns: [«"64512"] } }'),
    message: /number of a network/,
    fix: /quotes/,
  },

  { name: 'a day in full', policy: office('{ time: { days: [«Monday] } }'), message: /not a day/, fix: /`mon`/ },
  { name: 'a range of days in full', policy: office('{ time: { days: [«Mon-Friday] } }'), message: /not a day/, fix: /`mon-fri`/ },
  { name: 'hours without minutes', policy: office('{ time: { between: «7-20 } }'), message: /not a range/, fix: /`"07:00-20:00"`/ },
  { name: 'hours that are not there', policy: office('{ time: { between: «"07:60-20:00" } }'), message: /no such time/ },
  { name: 'hours beyond the day', policy: office('{ time: { between: «"07:00-24:01" } }'), message: /no such time/ },
  {
    name: 'hours without length',
    policy: office('{ time: { between: «"07:00-07:00" } }'),
    message: /begin where they end/,
    fix: /00:00-24:00/,
  },
  { name: 'midnight at the end', policy: office('{ time: { between: «"22:00-00:00" } }'), message: /24:00/, fix: /"22:00-24:00"/ },
  {
    name: 'a zone that is not there',
    policy: office('{ time: { days: [mon], zone: «Europe/Berlim } }'),
    message: /time zone/,
    fix: /Europe\/Berlin/,
  },
  { name: 'a zone alone', policy: office('{ time: «{ zone: Europe/Berlin } }'), message: /alone/, fix: /`days`/ },
  { name: 'a day that is not there', policy: office('{ time: { until: «2025-02-30 } }'), message: /no such day/, fix: /2026-11-30/ },
  { name: 'a date in another order', policy: office('{ time: { from: «30.11.2026 } }'), message: /not a date/, fix: /2026-11-30/ },
  { name: 'a date with a time', policy: office('{ time: { from: «2026-11-30T00:00:00Z } }'), message: /not a date/ },

  { name: 'a browser by another name', policy: office('{ client: { browser: «Google Chrome } }'), message: /not known/, fix: /`chrome`/ },
  {
    name: 'a version as a number',
    policy: office('{ client: { browser: chrome, browser_version: «120 } }'),
    message: /a number/,
    fix: /`>= 120`/,
  },
  { name: 'a system of a browser', policy: office('{ client: { os: «Mac } }'), message: /not known/, fix: /`macos`/ },
  { name: 'an empty expression', policy: office('{ expression: «" " }'), message: /empty/ },
  { name: 'an endless expression', policy: office(`{ expression: «"${'true && '.repeat(600)}true" }`), message: /4000/, fix: /levels/ },

  {
    name: 'a rule with require and allow',
    policy: rule('{ name: x, allow: { groups: [a] }, «require: [office] }'),
    message: /either allows, denies or requires/,
    fix: /two rules/,
  },
  {
    name: 'for without require',
    policy: rule('{ name: x, allow: { groups: [a] }, «for: { groups: [b] } }'),
    message: /`for` belongs to `require`/,
    fix: /`when`/,
  },
  { name: 'public in for', policy: rule('{ name: x, require: [office], for: «{ public: true } }'), message: /`public`/, fix: /everyone/ },
  { name: 'a require without conditions', policy: rule('{ name: x, require: «[] }'), message: /empty/ },
  { name: 'an unknown mode', policy: rule('{ name: x, allow: { groups: [a] }, mode: «reprot }'), message: /not known/, fix: /`report`/ },
  { name: 'an alert that is no boolean', policy: rule('{ name: x, deny: { groups: [a] }, alert: «on }'), message: /text/, fix: /`true`/ },
  { name: 'a rule until no day', policy: rule('{ name: x, allow: { groups: [a] }, until: «2026-02-29 }'), message: /no such day/ },
  { name: 'report mode for nobody', policy: app('report: { until: 2026-12-31, pass: { groups: «[] } }'), message: /empty/ },
  { name: 'report mode without people', policy: app('report: «{ until: 2026-12-31 }'), message: /`pass` is missing/ },
  {
    name: 'report mode for strangers',
    policy: app('report: { until: 2026-12-31, pass: «{ public: true } }'),
    message: /`public`/,
    fix: /name people/,
  },
  {
    name: 'report mode without end on a restricted app',
    policy: app('sensitivity: restricted\n    «report: { pass: { groups: [staff] } }'),
    message: /needs a day/,
    fix: /until: YYYY-MM-DD/,
  },

  {
    name: 'a service for everybody with a token',
    policy: [', scopes_all: ["data:read"]', ''],
    message: /everybody who has a token/,
    fix: /scopes_all/,
  },
  {
    name: 'a service without audience',
    policy: jwt('issuer: "https://auth.corp.example", scopes_all: [a]'),
    message: /`audience` is missing/,
    fix: /audience/,
  },
  {
    name: 'a service over http',
    policy: jwt('issuer: «"http://auth.corp.example", audience: a, scopes_all: [a]'),
    message: /http:\/\//,
    fix: /https:\/\/auth/,
  },
  {
    name: 'keys over http',
    policy: jwt('issuer: "https://a.example", audience: a, scopes_all: [a], jwks_uri: «"http://a.example/jwks"'),
    message: /http:\/\//,
    fix: /https:\/\/a/,
  },
  {
    name: 'our own access host as issuer',
    policy: jwt('issuer: «"https://access.corp.example", audience: a, scopes_all: [a]'),
    message: /access host/,
    fix: /issuer of its access tokens/,
  },
  {
    name: 'a discovery document as issuer',
    policy: jwt('issuer: «"https://a.example/.well-known/openid-configuration", audience: a, scopes_all: [a]'),
    message: /discovery document/,
    fix: /remove/,
  },
  { name: 'a scope with a blank', policy: jwt('issuer: "https://a.example", audience: a, scopes_all: [«"a b"]'), message: /one scope/ },
  {
    name: 'a claim of a prototype',
    policy: jwt('issuer: "https://a.example", audience: a, claims: { «constructor: x }'),
    message: /never a claim/,
  },
  {
    name: 'a service named like a prototype',
    policy: ['services:', 'services:\n  «prototype: { jwt: { issuer: "https://a.example", audience: a, scopes_all: [a] } }'],
    message: /never given/,
  },
  { name: 'another kind of service', policy: ['services:', 'services:\n  x: { «jtw: { audience: x } }'], message: /unknown key `jtw`/ },

  {
    name: 'a strength that nothing meets',
    instance: strength('mfa: «{ ask: { x: y } }'),
    message: /nothing that comes back/,
    fix: /`acr` or `amr`/,
  },
  {
    name: 'a strength named like a prototype',
    instance: strength('mfa: { acr: ["2"] }\n    «__proto__: { acr: ["2"] }'),
    message: /never given/,
  },
  ...[
    'client_id',
    'redirect_uri',
    'response_type',
    'response_mode',
    'scope',
    'state',
    'nonce',
    'code_challenge',
    'code_challenge_method',
    'request',
    'request_uri',
    'prompt',
    'max_age',
    'acr_values',
    'claims',
    'id_token_hint',
    'login_hint',
    'Nonce',
  ].map((name) => ({
    name: `asking with ${name}`,
    instance: strength(`mfa: { acr: ["2"], ask: { «${name}: x } }`),
    message: /belongs to the sign-in/,
  })),
  {
    name: 'posture under the name of a prototype',
    instance: ['device_id: device_id', 'device_id: device_id, device: { «constructor: a }'],
    message: /never an attribute/,
  },
  {
    name: 'certificates without TLS',
    instance: top('client_certificate: { ca_file: ca.pem, from: «listener }'),
    message: /no `tls`/,
    fix: /from: xfcc/,
  },
  {
    name: 'certificates from nobody',
    instance: top('client_certificate: { ca_file: ca.pem, from: «xfcc }'),
    message: /trusted proxies/,
    fix: /trusted_proxies/,
  },
  {
    name: 'an authority that is not there',
    instance: top('trusted_proxies: [10.0.0.0/8]\nclient_certificate: { ca_file: «none.pem, from: xfcc }'),
    message: /does not exist/,
  },
  {
    name: 'an authority that is none',
    instance: top('trusted_proxies: [10.0.0.0/8]\nclient_certificate: { ca_file: «networks.txt, from: xfcc }'),
    message: /no PEM certificate/,
    fix: /BEGIN CERTIFICATE/,
  },
  {
    name: 'a revocation list that is none',
    instance: top('trusted_proxies: [10.0.0.0/8]\nclient_certificate: { ca_file: ca.pem, crl_file: «ca.pem, from: xfcc }'),
    message: /no PEM revocation list/,
    fix: /X509 CRL/,
  },
  { name: 'a database of another kind', instance: top('facts: { country_file: «countries.csv }'), message: /database/, fix: /\.mmdb/ },
  {
    name: 'a database that is not there',
    instance: top('facts: { country_file: «none.mmdb }'),
    message: /does not exist/,
    fix: /unknown/,
    isWarning: true,
  },
  { name: 'tests that are neither', instance: top('policy_tests: «require'), message: /not known/, fix: /`required`/ },
]

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-conditions-'))
  await writeFile(join(folder, 'networks.txt'), '192.0.2.0/24\n')
  await writeFile(join(folder, 'ca.pem'), authority)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function applied(good: string, change: readonly [string, string] | undefined): string {
  if (change === undefined) return good
  expect(good, 'the text to break is in the good file').toContain(change[0])
  return good.replace(change[0], () => change[1])
}

let counter = 0
async function load(instance: string, policy: string) {
  counter += 1
  const file = join(folder, `postern-${counter}.yaml`)
  const policyFile = join(folder, `policy-${counter}.yaml`)
  await writeFile(file, instance.replace('«', ''))
  await writeFile(policyFile, policy.replace('«', ''))
  const configuration = await loadConfiguration(file, { POSTERN_POLICY: policyFile })
  const loaded = await loadPolicy(policyFile, { configuration: configuration.parts })
  return { file, policyFile, configuration, loaded }
}

describe('a good policy with conditions', () => {
  it('has neither problems nor warnings', async () => {
    const { configuration, loaded } = await load(goodInstance, goodPolicy)
    expect([...configuration.problems, ...configuration.warnings, ...loaded.problems, ...loaded.warnings]).toEqual([])
  })
})

describe('a broken condition is reported with its place and its fix', () => {
  it.each(cases)('$name', async (broken) => {
    const instance = applied(goodInstance, broken.instance)
    const policy = applied(goodPolicy, broken.policy)
    const { file, policyFile, configuration, loaded } = await load(instance, policy)
    const problems = [...configuration.problems, ...loaded.problems]
    const warnings = [...configuration.warnings, ...loaded.warnings]
    const found = (broken.isWarning === true ? warnings : problems).find(({ message }) => broken.message.test(message))
    expect(found, JSON.stringify({ problems, warnings })).toBeDefined()
    if (found === undefined) return

    expect(found.file).toBe(broken.instance === undefined ? policyFile : file)
    const text = broken.instance === undefined ? policy : instance
    const before = text.slice(0, Math.max(0, text.indexOf('«'))).split('\n')
    if (text.includes('«')) {
      expect({ line: found.line, column: found.column }).toEqual({ line: before.length, column: (before.at(-1)?.length ?? 0) + 1 })
    } else expect(found.line).toBeGreaterThan(0)
    if (broken.fix !== undefined) expect(`${found.expected ?? ''} ${found.suggestion ?? ''} ${found.message}`).toMatch(broken.fix)
    if (broken.isWarning === true) expect(problems).toEqual([])
    else expect(problems, 'one mistake is one problem').toHaveLength(1)
    expect((broken.instance === undefined ? loaded : configuration).value === undefined).toBe(broken.isWarning !== true)
  })
})

describe('a file of networks', () => {
  const policy = goodPolicy.replace('cidrs: [10.0.0.0/8]', 'cidrs_file: lists/hooks.txt').replace('lists/', '')
  it.each([
    ['10.0.0.0/8\n  10.0.0.0/33\n', 2, 3, /at most 32/],
    ['# all of it\n0.0.0.0/0', 2, 1, /every address/],
    ['::/0 # everything', 1, 1, /every address/],
    ['0.0.0.0/00', 1, 1, /not a network/],
    ['\n\n10.0.0.5/24 # office', 3, 1, /host bits/],
    ['010.0.0.1', 1, 1, /not a network/],
    ['*', 1, 1, /not a network/],
    ['10.0.0.0/8, 192.0.2.0/24', 1, 1, /not a network/],
    ['# nothing\n\n', 1, 1, /names no network/],
    ['', 1, 1, /names no network/],
  ])('A238: with %j is refused with its line', async (text, line, column, message) => {
    const file = join(folder, 'hooks.txt')
    await writeFile(file, text)
    const { loaded } = await load(goodInstance, policy)
    expect(loaded.value).toBeUndefined()
    expect(loaded.problems).toMatchObject([{ file, line, column, message: expect.stringMatching(message) }])
    expect(loaded.files).toEqual([file])
  })

  it('is bounded', async () => {
    const file = join(folder, 'hooks.txt')
    await writeFile(file, Array.from({ length: 60_002 }, (_, n) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`).join('\n'))
    expect((await load(goodInstance, policy)).loaded.problems).toMatchObject([
      { file, message: expect.stringContaining('more than 60000') },
    ])
    await writeFile(file, Buffer.alloc(2_000_001, '#'))
    expect((await load(goodInstance, policy)).loaded.problems).toMatchObject([{ line: 2, message: expect.stringContaining('larger than') }])
  })

  it('names the first twenty of its mistakes', async () => {
    await writeFile(join(folder, 'hooks.txt'), 'x\n'.repeat(1000))
    expect((await load(goodInstance, policy)).loaded.problems).toHaveLength(20)
  })
})

describe('levels', () => {
  it('that double with each step are refused', async () => {
    const levels = Array.from({ length: 40 }, (_, n) => `  l${n + 1}: { all_of: [l${n}, l${n}] }`).join('\n')
    const { loaded } = await load(goodInstance, goodPolicy.replace('levels:\n', `levels:\n  l0: { time: { days: [mon] } }\n${levels}\n`))
    expect(loaded.value).toBeUndefined()
    expect(loaded.problems[0]?.message).toMatch(/more than 5000 conditions/)
  })

  it('that are a chain without end are refused, not followed', async () => {
    const levels = Array.from({ length: 2_000 }, (_, n) => `  l${n}: { not: l${n + 1} }`).join('\n')
    const { loaded } = await load(goodInstance, goodPolicy.replace('levels:\n', `levels:\n  l2000: { time: { days: [mon] } }\n${levels}\n`))
    expect(loaded.problems[0]?.message).toMatch(/more than 100 deep/)
  })
})
