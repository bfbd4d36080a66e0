/**
 * Broken files, each with one mistake: the report must name the file, the line, the column and the fix.
 *
 * `«` marks the place in the text where the report has to point; it is removed before the file is written.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'
import type { Problem } from './problems.ts'

const marker = 'MARKER-f3b1c2-DO-NOT-PRINT'
const environment = { CLIENT_SECRET: `${marker}-client`, STORE_PASSWORD: `${marker}-store`, TOKEN: `${marker}-token` }

const goodInstance = `url: https://access.corp.example
listen: 0.0.0.0:8443
provider:
  issuer: https://keycloak.corp.example/realms/corp
  client_id: postern
  client_secret: \${CLIENT_SECRET}
session:
  store: redis://:\${STORE_PASSWORD}@redis:6379
secrets:
  token: \${TOKEN}
`

const goodPolicy = `apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - name: staff
        allow: { groups: [staff] }
`

interface Case {
  readonly name: string
  /** Text of a file with the mistake, or what to replace in the good one. */
  readonly instance?: string | readonly [string, string]
  readonly policy?: string | readonly [string, string]
  readonly message: RegExp
  readonly fix?: RegExp
  readonly isWarning?: boolean
}

const app = (extra: string) => ['    rules:', `${extra}\n    rules:`] as const
const rule = (text: string) => ['allow: { groups: [staff] }', text] as const

const cases: readonly Case[] = [
  { name: 'an unknown key at the top', instance: ['listen:', '«lisen:'], message: /unknown key `lisen`/, fix: /did you mean `listen`/ },
  {
    name: 'an unknown key further down',
    instance: ['  client_id:', '  «clientid:'],
    message: /unknown key `clientid`/,
    fix: /`client_id`/,
  },
  {
    name: 'a misspelt app key',
    policy: ['    upstream:', '    «upstrem:'],
    message: /unknown key `upstrem`/,
    fix: /did you mean `upstream`/,
  },
  { name: 'a missing key', instance: ['  client_id: postern\n', ''], message: /`client_id` is missing/, fix: /the client id/ },
  {
    name: 'a missing key of an app',
    policy: ['    upstream: http://wiki.internal:3000\n', ''],
    message: /`upstream` is missing/,
    fix: /http:\/\/wiki.internal/,
  },
  {
    name: 'a key without a value',
    policy: ['    upstream: http://wiki.internal:3000', '    «upstream:'],
    message: /has no value/,
    fix: /a URL such as/,
  },
  {
    name: 'the same key twice',
    instance: ['listen: 0.0.0.0:8443', 'listen: 0.0.0.0:8443\n«listen: 0.0.0.0:9443'],
    message: /`listen` is there twice/,
  },
  { name: 'a tab', policy: ['    upstream:', '«\tupstream:'], message: /tab/, fix: /spaces/ },
  { name: 'another YAML', policy: '«%YAML 1.1\n---\napps: []\n', message: /only YAML 1.2/, fix: /remove/ },
  { name: 'a tag', policy: ['http://wiki.internal:3000', '!!js/function «"x"'], message: /tags/, fix: /quoted/ },
  { name: 'an alias without anchor', policy: ['http://wiki.internal:3000', '«*wiki'], message: /no anchor/, fix: /quoted/ },
  { name: 'a second document', policy: 'apps: []\n«---\napps: []\n', message: /second document/, fix: /---/ },
  { name: 'a boolean group', policy: rule('allow: { groups: [staff, «true] }'), message: /boolean `true`/, fix: /quote it.*"true"/ },
  { name: 'a number where text is expected', policy: rule('allow: { groups: [staff, «4711] }'), message: /a number/, fix: /quote it/ },
  { name: 'text where a boolean is expected', policy: app('    preserve_host: «yes'), message: /text/, fix: /write `true`/ },
  { name: 'a duration without unit', instance: ['session:', 'session:\n  idle_timeout: «30'], message: /a number/, fix: /`30s`/ },
  {
    name: 'a store that may be away unverified for longer than five minutes',
    instance: ['session:', 'session:\n  unverified_for: «6m'],
    message: /longer than 5m/,
    fix: /at most 5m/,
  },
  { name: 'a duration with an unknown unit', instance: ['session:', 'session:\n  idle_timeout: «30min'], message: /unit/, fix: /`30m`/ },
  {
    name: 'an idle timeout beyond the lifetime',
    instance: ['session:', 'session:\n  idle_timeout: «13h'],
    message: /longer than lifetime/,
  },
  { name: 'a size in decimal units', policy: app('    max_body: «32MB'), message: /unit/, fix: /`32MiB`/ },
  { name: 'an unknown choice', policy: app('    sensitivity: «confidental'), message: /not known/, fix: /did you mean `confidential`/ },
  {
    name: 'a network with host bits',
    instance: ['session:', 'trusted_proxies: [«10.0.0.1/8]\nsession:'],
    message: /host bits/,
    fix: /`10.0.0.0\/8`/,
  },
  { name: 'a network with a long prefix', instance: ['session:', 'trusted_proxies: [«10.0.0.0/33]\nsession:'], message: /at most 32/ },
  { name: 'a network with leading zeros', instance: ['session:', 'trusted_proxies: [«010.0.0.1]\nsession:'], message: /not a network/ },
  {
    name: 'a network that is everything',
    instance: ['session:', 'trusted_proxies: [«0.0.0.0/0]\nsession:'],
    message: /every address/,
    fix: /name the networks/,
  },
  { name: 'a listener without address', instance: ['0.0.0.0:8443', '«:8443'], message: /missing/, fix: /`0.0.0.0:8443`/ },
  {
    name: 'an access URL with a path',
    instance: ['https://access.corp.example', '«https://access.corp.example/sso'],
    message: /path/,
    fix: /`https:\/\/access.corp.example`/,
  },
  {
    name: 'plain http',
    instance: ['https://access.corp.example', '«http://access.corp.example'],
    message: /plain http/,
    fix: /`https:\/\/access.corp.example`/,
  },
  { name: 'an http issuer', instance: ['https://keycloak', '«http://keycloak'], message: /issuer/, fix: /https:\/\/keycloak/ },
  {
    name: 'a discovery URL as issuer',
    instance: ['https://keycloak.corp.example/realms/corp', '«https://keycloak.corp.example/realms/corp/.well-known/openid-configuration'],
    message: /discovery document/,
    fix: /remove/,
  },
  {
    name: 'an environment variable that is not set',
    instance: [`\${CLIENT_SECRET}`, `«\${CLIENT_SECRT}`],
    message: /CLIENT_SECRT is not set/,
  },
  {
    name: 'a secret file that is not there',
    instance: [`client_secret: \${CLIENT_SECRET}`, 'client_secret_file: «/nowhere/secret'],
    message: /does not exist/,
  },
  { name: 'a secret that everybody knows', instance: [`\${CLIENT_SECRET}`, '«changeme'], message: /guess/ },
  { name: 'a short secret', instance: [`\${CLIENT_SECRET}`, '«k3x9q1'], message: /too short/ },
  { name: 'a guessable store password', instance: [`redis://:\${STORE_PASSWORD}@`, '«redis://:foobared@'], message: /guess/ },
  {
    name: 'an unknown store',
    instance: [`redis://:\${STORE_PASSWORD}@redis:6379`, '«memcached://host'],
    message: /not a store/,
    fix: /redis:\/\/redis:6379/,
  },
  {
    name: 'the environment outside of secrets',
    instance: ['client_id: postern', `client_id: «\${CLIENT}`],
    message: /in secrets only/,
    fix: /POSTERN_PROVIDER__CLIENT_ID/,
  },
  {
    name: 'no client secret',
    instance: [`  client_secret: \${CLIENT_SECRET}\n`, ''],
    message: /neither a secret nor a key/,
    fix: /client_secret_file/,
  },
  {
    name: 'HSTS without https',
    instance: ['url: https://access.corp.example', 'url: http://access.corp.localhost\n«hsts: 1d'],
    message: /ignore HSTS/,
  },
  {
    name: 'a role for everybody',
    instance: ['session:', 'console: { roles: { admin: «{ everyone: true } } }\nsession:'],
    message: /named people/,
  },

  {
    name: 'an app on the access host',
    policy: ['https://wiki.corp.example', '«https://access.corp.example/wiki'],
    message: /access host/,
    fix: /hostname of its own/,
  },
  {
    name: 'two apps with one address',
    policy: [goodPolicy, `${goodPolicy}  - { id: other, url: «"https://WIKI.corp.example:443/", upstream: "http://o:1", rules: [] }\n`],
    message: /already claimed by the app `wiki` in line 2/,
  },
  {
    name: 'one hostname with two ports',
    policy: [goodPolicy, `${goodPolicy}  - { id: other, url: «"https://wiki.corp.example:8443", upstream: "http://o:1", rules: [] }\n`],
    message: /port 443.*one hostname has one port/,
    fix: /hostname of its own/,
  },
  {
    name: 'two apps with one id',
    policy: [goodPolicy, `${goodPolicy}  - { id: «wiki, url: "https://o.corp.example", upstream: "http://o:1", rules: [] }\n`],
    message: /already defined in line 2/,
  },
  { name: 'a URL with a user', policy: ['https://wiki.corp', '«https://admin:x@wiki.corp'], message: /user name or password/, fix: /`@`/ },
  { name: 'a URL with a query', policy: ['https://wiki.corp.example', '«https://wiki.corp.example/?a=b'], message: /query/, fix: /remove/ },
  { name: 'a URL prefix with dots', policy: ['https://wiki.corp.example', '«https://wiki.corp.example/a/../b'], message: /`\.\.` segment/ },
  { name: 'a wildcard host', policy: ['https://wiki.corp', '«https://*.corp'], message: /wildcard/, fix: /one app for each/ },
  {
    name: 'an app without TLS',
    policy: ['https://wiki.corp.example', '«http://wiki.corp.localhost'],
    message: /access host is https/,
    fix: /`https:\/\/wiki.corp.localhost`/,
  },
  {
    name: 'an upstream of another scheme',
    policy: ['http://wiki.internal:3000', '«ftp://wiki.internal'],
    message: /not an http/,
    fix: /http:\/\/wiki.internal:3000/,
  },
  { name: 'the metadata service as upstream', policy: ['http://wiki.internal:3000', '«http://169.254.169.254/'], message: /link-local/ },
  {
    name: 'the metadata service in hexadecimal',
    policy: ['http://wiki.internal:3000', '«http://0xa9fea9fe/'],
    message: /another spelling/,
  },
  {
    name: 'the metadata service as mapped IPv6',
    policy: ['http://wiki.internal:3000', '«http://[::ffff:a9fe:a9fe]/'],
    message: /link-local/,
  },
  {
    name: 'our operations address as upstream',
    policy: ['http://wiki.internal:3000', '«http://localhost:9464'],
    message: /operations address/,
  },
  ...['010', '1.10', '0x1F', '1e3', '+7', '9007199254740993', 'TRUE'].map((text) => ({
    name: `a claim written ${text}, which YAML reads as something else`,
    policy: rule(`allow: { claims: { level: «${text} } }`),
    message: text === 'TRUE' ? /only `true` and `false` are booleans/ : /another one than is written/,
    fix: /quote it/,
  })),
  {
    name: 'a console for everybody',
    instance: ['secrets:', 'console: { roles: { admin: «{ signed_in: true } } }\nsecrets:'],
    message: /everybody who is signed in holds the role admin/,
    isWarning: true,
  },
  {
    name: 'posts from everywhere to everything',
    policy: app('    cross_site_posts: [«/**]'),
    message: /any site may post/,
    isWarning: true,
  },
  {
    name: 'a duration without its unit',
    instance: ['  store:', '  idle_timeout: «30\n  store:'],
    message: /a number does not fit/,
    fix: /write `30s`/,
  },
  {
    name: 'plain http on an address instead of a name',
    instance: ['https://access.corp.example', '«http://127.0.0.1:8080'],
    message: /plain http/,
    fix: /only on localhost and \*\.localhost/,
  },
  {
    name: 'a key that is an alias of the same key',
    policy: rule('&verb allow: { groups: [staff] }\n        «*verb : { everyone: true }'),
    message: /a key must be written out/,
  },
  {
    name: 'a logo elsewhere',
    policy: app('    logo: «https://wiki.corp.example/logo.png'),
    message: /not an address/,
    fix: /save the picture/,
  },
  { name: 'a logo that is not there', policy: app('    logo: «no/such.svg'), message: /does not exist/, fix: /PNG, JPEG, WebP or SVG/ },
  { name: 'our listener as upstream', policy: ['http://wiki.internal:3000', '«http://127.0.0.1:8443'], message: /own listener/ },
  { name: 'the store as upstream', policy: ['http://wiki.internal:3000', '«http://redis:6379'], message: /session store/ },
  {
    name: 'two selectors in one map',
    policy: rule('allow: { groups: [staff], «domains: [corp.example] }'),
    message: /either of them, or both/,
    fix: /all_of/,
  },
  { name: 'a misspelt selector', policy: rule('allow: { «group: [staff] }'), message: /unknown key `group`/, fix: /`groups`/ },
  { name: 'an empty list', policy: rule('allow: { groups: «[] }'), message: /empty/ },
  {
    name: 'two verbs',
    policy: rule('allow: { groups: [staff] }\n        «deny: { groups: [temps] }'),
    message: /either allows, denies or requires/,
    fix: /two rules/,
  },
  {
    name: 'a rule without a verb',
    policy: ['- name: staff\n        allow: { groups: [staff] }', '- «name: staff'],
    message: /neither allows nor denies nor requires/,
    fix: /`allow: WHO`/,
  },
  { name: 'public in a deny', policy: rule('deny: «{ public: true }'), message: /`public`/, fix: /everyone: true/ },
  { name: 'a service that nothing defines', policy: rule('allow: «{ services: [billing] }'), message: /no service `billing`/ },
  {
    name: 'two addresses in one',
    policy: rule('allow: { users: [«"bob@evil.example@corp.example"] }'),
    message: /e-mail/,
    fix: /bob@corp.example/,
  },
  { name: 'a domain with @', policy: rule('allow: { domains: [«"@corp.example"] }'), message: /domain/, fix: /`corp.example`/ },
  { name: 'a claim path to a prototype', policy: rule('allow: { claims: { «a.__proto__.b: x } }'), message: /never a claim/ },
  {
    name: 'a method in lower case',
    policy: rule('allow: { groups: [staff] }\n        methods: [«post]'),
    message: /not a method/,
    fix: /`POST`/,
  },
  { name: 'a pattern without slash', policy: rule('allow: { groups: [staff] }\n        paths: [«admin/**]'), message: /must start with/ },
  {
    name: 'a pattern with an inner tree',
    policy: rule('allow: { groups: [staff] }\n        paths: [«/a/**/b]'),
    message: /only as its last/,
    fix: /\/admin\/\*\*/,
  },
  { name: 'a pattern with dots', policy: rule('allow: { groups: [staff] }\n        paths: [«/a/../b]'), message: /`\.\.` segment/ },
  {
    name: 'two rules of one name',
    policy: rule('allow: { groups: [staff] }\n      - name: «staff\n        deny: { groups: [temps] }'),
    message: /`staff` is already there in line 6/,
    fix: /name of its own/,
  },
  {
    name: 'a forged identity header',
    policy: app('    set_request_headers: { «X_Forwarded_User: root }'),
    message: /identity/,
    fix: /`identity`/,
  },
  { name: 'a framing header', policy: app('    set_request_headers: { «Transfer-Encoding: chunked }'), message: /connection/ },
  { name: 'a header value with a line break', policy: app('    set_request_headers: { X-A: «"a\\r\\nX-B: c" }'), message: /line breaks/ },
  { name: 'a cookie for the browser', policy: app('    set_response_headers: { «Set-Cookie: __Host-postern=x }'), message: /cookies/ },
  { name: 'our own header', policy: app('    remove_request_headers: [«X-Postern-Assertion]'), message: /Postern's own/ },
  {
    name: 'a secret that is not defined',
    policy: app('    set_request_headers: { Authorization: { secret: «tokn } }'),
    message: /no secret `tokn`/,
    fix: /did you mean `token`/,
  },
  { name: 'a caller that is not there', policy: app('    called_by: [«wikki]'), message: /no app `wikki`/, fix: /did you mean `wiki`/ },
  { name: 'a time zone that is not there', policy: ['apps:', 'zone: «Europe/Berlim\napps:'], message: /time zone/, fix: /Europe\/Berlin/ },
  {
    name: 'an authority that is not there',
    policy: ['http://wiki.internal:3000', '{ url: "https://w", ca_file: «ca.pem }'],
    message: /does not exist/,
  },
  {
    name: 'an authority without TLS',
    policy: ['http://wiki.internal:3000', '{ url: «"http://w", server_name: w }'],
    message: /no effect/,
    fix: /https/,
  },

  {
    name: 'an app without rules',
    policy: ['    rules:\n      - name: staff\n        allow: { groups: [staff] }\n', ''],
    message: /reachable by nobody/,
    isWarning: true,
  },
  {
    name: 'everybody on a restricted app',
    policy: [
      '    rules:\n      - name: staff\n        allow: { groups: [staff] }',
      '    sensitivity: restricted\n    rules:\n      - allow: «{ signed_in: true }',
    ],
    message: /`signed_in` on a restricted app/,
    isWarning: true,
  },
  {
    name: 'different rules under one origin',
    policy: [
      goodPolicy,
      `${goodPolicy}  - { id: other, url: «"https://wiki.corp.example/other", upstream: "http://o:1", rules: [{ allow: { groups: [x] } }] }\n`,
    ],
    message: /share an origin/,
    fix: /hostname of its own/,
    isWarning: true,
  },
  {
    name: 'a secret in plain sight',
    policy: app(`    set_request_headers: { Authorization: «Bearer ${marker} }`),
    message: /looks like a secret/,
    fix: /secret: NAME/,
    isWarning: true,
  },
  {
    name: 'a public operations address',
    instance: ['session:', 'operations: «0.0.0.0:9464\nsession:'],
    message: /operations/,
    fix: /127.0.0.1/,
    isWarning: true,
  },
]

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-broken-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function applied(good: string, change: Case['instance']): string {
  if (change === undefined) return good
  if (typeof change === 'string') return change
  const [from, to] = change
  expect(good, 'the text to break is in the good file').toContain(from)
  return good.replace(from, () => to)
}

function findPlace(text: string): { line: number; column: number } | undefined {
  const offset = text.indexOf('«')
  if (offset === -1) return undefined
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
}

let counter = 0
async function load(instance: string, policy: string) {
  counter += 1
  const file = join(folder, `postern-${counter}.yaml`)
  const policyFile = join(folder, `policy-${counter}.yaml`)
  await writeFile(file, instance.replace('«', ''))
  await writeFile(policyFile, policy.replace('«', ''))
  const configuration = await loadConfiguration(file, { ...environment, POSTERN_POLICY: policyFile })
  const loaded = await loadPolicy(policyFile, { configuration: configuration.parts })
  return { file, policyFile, configuration, loaded }
}

describe('a good configuration', () => {
  it('has neither problems nor warnings', async () => {
    const { configuration, loaded } = await load(goodInstance, goodPolicy)
    expect([...configuration.problems, ...configuration.warnings, ...loaded.problems, ...loaded.warnings]).toEqual([])
    expect(configuration.value?.provider.clientSecret?.reveal()).toBe(environment.CLIENT_SECRET)
    expect(loaded.value?.apps).toHaveLength(1)
  })
})

describe('a broken configuration is reported with its place and its fix', () => {
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
    expect(found.line).toBeGreaterThan(0)
    expect(found.column).toBeGreaterThan(0)
    const place = findPlace(broken.instance === undefined ? policy : instance)
    if (place !== undefined) expect({ line: found.line, column: found.column }).toEqual(place)
    if (broken.fix !== undefined) expect(`${found.expected ?? ''} ${found.suggestion ?? ''} ${found.message}`).toMatch(broken.fix)
    if (broken.isWarning === true) expect(problems).toEqual([])
    else expect(problems, 'one mistake is one problem').toHaveLength(1)
    expect((broken.instance === undefined ? loaded : configuration).value === undefined).toBe(broken.isWarning !== true)
    expect(JSON.stringify([...problems, ...warnings])).not.toContain(marker)
  })
})

describe('many mistakes at once', () => {
  it('are all in one report, of both files', async () => {
    const instance = goodInstance
      .replace('listen:', 'lisen:')
      .replace('https://access', 'http://access')
      .replace('  client_id: postern\n', '  client_id: 7\n')
    const policy = `${goodPolicy.replace('upstream', 'upstrem')}  - { id: wiki, url: "https://wiki.corp.example", upstream: "http://redis:6379", rules: [{ deny: { public: true } }] }\n`
    const { configuration, loaded } = await load(instance, policy)
    const messages = [...configuration.problems, ...loaded.problems].map(({ message }: Problem) => message).join('\n')
    for (const part of ['lisen', 'plain http', 'a number', 'upstrem', 'already defined', 'already claimed', 'session store', '`public`']) {
      expect(messages).toContain(part)
    }
  })
})
