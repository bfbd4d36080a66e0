/** Environment, secrets, presets, folders, versions: what loading adds to what is written. */

import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfiguration } from './load-configuration.ts'
import { loadPolicy } from './load-policy.ts'
import { describeProblem, printProblems } from './problems.ts'

const marker = 'MARKER-77aa-SECRET-VALUE'
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-config-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const minimal = `url: https://access.corp.example
provider: { issuer: "https://id.corp.example", client_id: postern, client_secret_file: client-secret }
`

async function write(name: string, text: string, mode = 0o600): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, text)
  await chmod(file, mode)
  return file
}

async function load(text: string, environment: Record<string, string> = {}) {
  await write('client-secret', `${marker}\n`)
  return await loadConfiguration(await write('postern.yaml', text), environment)
}

describe('defaults', () => {
  it('make two keys a whole configuration', async () => {
    const { value, problems, warnings } = await load(minimal)
    expect([...problems, ...warnings]).toEqual([])
    expect(value).toMatchObject({
      listen: { host: '0.0.0.0', port: 8443 },
      operations: { host: '127.0.0.1', port: 9464 },
      tls: [],
      trustedProxies: [],
      session: {
        store: { kind: 'embedded' },
        idleTimeoutSeconds: 1800,
        lifetimeSeconds: 43_200,
        refreshAfterSeconds: 300,
        claimsMaxAgeSeconds: 600,
        unverifiedForSeconds: undefined,
        storeGraceSeconds: 30,
      },
      limits: { headerBytes: 32_768 },
      audit: { query: 'drop' },
      dataDir: join(folder, 'data'),
      policyPath: join(folder, 'policy.yaml'),
      provider: { claims: { groups: [['groups']] }, groupsWhenMissing: 'unknown', email: 'verified', providerGraceSeconds: 3600 },
    })
  })

  it.each([
    ['keycloak', [['groups'], ['realm_access', 'roles']], '/'],
    ['entra', [['groups'], ['roles']], ''],
    ['okta', [['groups']], ''],
    ['google', [['groups']], ''],
  ])('of the preset %s fill claims and prefix', async (preset, groups, stripPrefix) => {
    const { value } = await load(minimal.replace('client_id', `preset: ${preset}, client_id`))
    expect(value?.provider.claims.groups).toEqual(groups)
    expect(value?.provider.groups.stripPrefix).toBe(stripPrefix)
  })

  it('of a preset yield to what is written', async () => {
    const { value } = await load(
      minimal.replace('client_id', 'preset: keycloak, claims: { groups: [roles] }, groups: { names: { a: b } }, client_id'),
    )
    expect(value?.provider.claims.groups).toEqual([['roles']])
    expect(value?.provider.groups).toEqual({ stripPrefix: '/', names: new Map([['a', 'b']]) })
  })
})

describe('the environment', () => {
  it('overrides any key, text as text and the rest as YAML', async () => {
    const { value, problems } = await load(minimal, {
      POSTERN_SESSION__IDLE_TIMEOUT: '5m',
      POSTERN_LIMITS__HEADERS: '50',
      POSTERN_TRUSTED_PROXIES: '[10.0.0.0/8]',
      POSTERN_PROVIDER__CLIENT_ID: '4711',
      POSTERN_PROVIDER__DANGEROUSLY_ALLOW_HTTP: 'false',
      POSTERN_CONSOLE__ROLES__ADMIN: '{ groups: [admins] }',
      POSTERN_SECRETS__WIKI_TOKEN: 'tok-1234-abcd',
    })
    expect(problems).toEqual([])
    expect(value?.session.idleTimeoutSeconds).toBe(300)
    expect(value?.limits.headers).toBe(50)
    expect(value?.trustedProxies).toEqual(['10.0.0.0/8'])
    expect(value?.provider.clientId).toBe('4711')
    expect(value?.console.admin).toEqual({ kind: 'groups', groups: ['admins'] })
    expect(value?.secrets.get('wiki_token')?.reveal()).toBe('tok-1234-abcd')
  })

  it.each([
    ['0', 0],
    ['0B', 0],
    ['64KiB', 65_536],
  ])('takes %s for the longest kept form', async (written, bytes) => {
    const { value, problems } = await load(`${minimal}\nlimits: { kept_post: ${written} }\n`)
    expect(problems).toEqual([])
    expect(value?.limits.keptPostBytes).toBe(bytes)
  })

  it('replaces a secret in whichever form it is written', async () => {
    const { value, problems } = await load(minimal, { POSTERN_PROVIDER__CLIENT_SECRET: 'another-secret-0123' })
    expect(problems).toEqual([])
    expect(value?.provider.clientSecret?.reveal()).toBe('another-secret-0123')
  })

  it.each([
    ['POSTERN_SESION__STORE', 'did you mean `POSTERN_SESSION__STORE`?'],
    ['POSTERN_SESSION__STOR', 'did you mean `POSTERN_SESSION__STORE`?'],
    ['POSTERN_URL__HOST', undefined],
  ])('that names no key is an error: %s', async (name, suggestion) => {
    const { value, problems } = await load(minimal, { [name]: marker })
    expect(value).toBeUndefined()
    expect(problems).toEqual([
      {
        file: `$${name}`,
        line: 0,
        column: 0,
        path: '',
        message: 'this variable names no key of the configuration',
        ...(suggestion === undefined ? {} : { suggestion }),
      },
    ])
  })

  it('is named as the place of a bad value', async () => {
    const { problems } = await load(minimal, { POSTERN_SESSION__IDLE_TIMEOUT: '5', POSTERN_LIMITS__HEADERS: marker, POSTERN_URL: '' })
    expect(problems.map(({ file }) => file).sort((a, b) => (a < b ? -1 : 1))).toEqual([
      '$POSTERN_LIMITS__HEADERS',
      '$POSTERN_SESSION__IDLE_TIMEOUT',
      '$POSTERN_URL',
    ])
    expect(problems.map(describeProblem).join('\n')).not.toContain(marker)
  })

  it('made by Kubernetes for a Service of our name, or for tests, is left alone', async () => {
    const { problems } = await load(minimal, {
      POSTERN_SERVICE_HOST: '10.0.0.1',
      POSTERN_SERVICE_PORT: '443',
      POSTERN_SERVICE_PORT_HTTPS: '443',
      POSTERN_PORT: 'tcp://10.0.0.1:443',
      POSTERN_PORT_443_TCP: 'tcp://10.0.0.1:443',
      POSTERN_PORT_443_TCP_ADDR: '10.0.0.1',
      POSTERN_TEST_REDIS: '/usr/bin/redis-server',
    })
    expect(problems).toEqual([])
  })
})

describe('secrets', () => {
  it('lose one trailing line break of their file, and nothing else', async () => {
    const { value } = await load(minimal)
    expect(value?.provider.clientSecret?.reveal()).toBe(marker)
    await write('client-secret', ` ${marker} \r\n`)
    const again = await loadConfiguration(join(folder, 'postern.yaml'), {})
    expect(again.value?.provider.clientSecret?.reveal()).toBe(` ${marker} `)
  })

  it('are escaped where they are a part of the store URL', async () => {
    const { value } = await load(`${minimal}session: { store: "redis://:\${REDIS}@redis:6379" }\n`, { REDIS: 'p@ss/w:rd#1' })
    const store = value?.session.store
    expect(store?.kind === 'redis' ? decodeURIComponent(new URL(store.url.reveal()).password) : '').toBe('p@ss/w:rd#1')
    expect(store?.kind === 'redis' ? new URL(store.url.reveal()).host : '').toBe('redis:6379')
  })

  it('print as stars, in every way a value is printed', async () => {
    const { value } = await load(`${minimal}session: { store: "redis://:\${REDIS}@redis:6379" }\nsecrets: { token: "\${T}" }\n`, {
      REDIS: marker,
      T: `${marker}2`,
    })
    expect(value).toBeDefined()
    for (const text of [
      JSON.stringify(value),
      inspect(value, { depth: 9 }),
      inspect(value, { depth: 9, showHidden: true }),
      `${value?.provider.clientSecret}`,
    ]) {
      expect(text).not.toContain(marker)
    }
  })

  it('in files that every user may read are a warning', async () => {
    await load(minimal)
    await chmod(join(folder, 'client-secret'), 0o644)
    const { value, warnings } = await loadConfiguration(join(folder, 'postern.yaml'), {})
    expect(value).toBeDefined()
    expect(warnings).toMatchObject([
      { path: 'provider.client_secret_file', line: 2, message: 'every user of this machine may read this file' },
    ])
  })

  it.each([
    [
      'both forms at once',
      'provider: { client_secret: x, client_secret_file: client-secret, issuer: "https://id.corp.example", client_id: p }',
      /given twice/,
    ],
    [
      'secret and key',
      'provider: { client_key_file: postern.yaml, client_secret_file: client-secret, issuer: "https://id.corp.example", client_id: p }',
      /both a client secret and a client key/,
    ],
    ['an empty variable', `provider: { client_secret: "\${EMPTY}", issuer: "https://id.corp.example", client_id: p }`, /EMPTY is empty/],
    ['a default', 'provider: { client_secret: Change-Me, issuer: "https://id.corp.example", client_id: p }', /guess/],
    ['one character', 'provider: { client_secret: aaaaaaaaaaaaaaaaaaaaaaaa, issuer: "https://id.corp.example", client_id: p }', /guess/],
  ])('are refused: %s', async (_name, provider, message) => {
    const { value, problems } = await load(`url: https://access.corp.example\n${provider}\n`, { EMPTY: '' })
    expect(value).toBeUndefined()
    expect(problems.map((problem) => problem.message).join('\n')).toMatch(message)
  })

  it('never reach a report, whatever else is wrong', async () => {
    const broken = `url: ${marker}
lisen: ${marker}
provider:
  issuer: "https://user:${marker}@id.corp.example"
  preset: ${marker}
  client_id: [${marker}]
  client_secret: { ${marker}: 1 }
session: { store: "http://:${marker}@redis:6379", idle_timeout: ${marker} }
limits: { headers: ${marker}, header_bytes: ${marker} }
trusted_proxies: [${marker}]
secrets: { a: { b: ${marker} }, c: [${marker}] }
`
    const { problems, warnings } = await load(broken)
    expect(problems.length).toBeGreaterThan(8)
    // Unknown keys are echoed by name; that one is not, because a map cannot stand there at all.
    expect(printProblems([...problems, ...warnings], 'error')).not.toContain(marker)
  })
})

describe('files', () => {
  it('of certificates must exist and belong together', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await write('key.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o644)
    await write('cert.pem', 'no certificate')
    const { problems, warnings } = await load(
      `${minimal}tls: [{ cert_file: cert.pem, key_file: key.pem }, { cert_file: none.pem, key_file: cert.pem }]\n`,
    )
    expect(problems.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'tls[0].cert_file: the file holds no PEM certificate',
      'tls[1].cert_file: the file does not exist',
      'tls[1].key_file: the file holds no usable PEM private key',
    ])
    expect(warnings.map(({ path }) => path)).toEqual(['tls[0].key_file'])
  })
})

describe('a policy', () => {
  const wiki =
    'apps:\n  - { id: wiki, url: "https://wiki.corp.example", upstream: "http://wiki:1", rules: [{ allow: { groups: [staff] } }] }\n'
  const board =
    'apps:\n  - { id: board, url: "https://board.corp.example", upstream: "http://board:1", called_by: [wiki], rules: [{ allow: { groups: [staff] } }] }\n'

  it('may be a folder, whose files are one document', async () => {
    const many = join(folder, 'policies')
    await mkdir(many)
    await writeFile(join(many, 'b.yaml'), wiki)
    await writeFile(join(many, 'a.yaml'), `zone: Europe/Berlin\n${board}`)
    await writeFile(join(many, '.hidden.yaml'), 'nonsense: [')
    await writeFile(join(many, 'notes.txt'), 'nonsense: [')
    const folderResult = await loadPolicy(many, { configuration: undefined })
    expect(folderResult.problems).toEqual([])
    expect(folderResult.value?.apps.map(({ id }) => id)).toEqual(['board', 'wiki'])
    expect(folderResult.value?.zone).toBe('Europe/Berlin')

    const one = await loadPolicy(await write('one.yaml', `zone: Europe/Berlin\n${wiki}${board.replace('apps:\n', '')}`), {
      configuration: undefined,
    })
    expect(one.value?.version).toBe(folderResult.value?.version)

    const link = join(folder, 'link')
    await symlink(many, link)
    expect((await loadPolicy(link, { configuration: undefined })).value?.version).toBe(folderResult.value?.version)
  })

  it('in a folder warns about files that nobody reads, and tells rules of all files apart by name', async () => {
    const policies = join(folder, 'policies')
    await mkdir(join(policies, 'team'), { recursive: true })
    await write('policies/b.test.yaml', 'tests: []\n')
    await write('policies/team/more.yaml', 'rules: [{ name: nobody, deny: { everyone: true } }]\n')
    await write('policies/a.yaml', 'rules: [{ name: one, deny: { groups: [a] } }, { deny: { groups: [b] } }]\n')
    await write('policies/b.yaml', 'rules: [{ name: one, deny: { groups: [c] } }]\n')
    const { problems, warnings } = await loadPolicy(policies, { configuration: undefined })
    expect(warnings.map(({ file }) => file)).toEqual([join(policies, 'b.test.yaml'), join(policies, 'team')])
    expect(problems.map(describeProblem)).toEqual([expect.stringMatching(/b\.yaml:1:\d+: the rule `one` is already there in .*a\.yaml:1/)])
  })

  it('shows pictures that are pictures, and is another policy when one changes', async () => {
    const apps =
      'apps: [{ id: wiki, url: "https://wiki.corp.example", upstream: "http://w:1", logo: wiki.svg, rules: [{ allow: { signed_in: true } }] }]\n'
    const svg = '<!-- a --><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg xmlns="http://www.w3.org/2000/svg"/>'
    const load = async (picture: string | Buffer) => {
      await writeFile(join(folder, 'wiki.svg'), picture)
      return await loadPolicy(await write('policy.yaml', apps), { configuration: undefined })
    }
    const first = await load(svg)
    expect(first.value?.apps[0]?.logo).toBe(join(folder, 'wiki.svg'))
    expect((await load(svg)).value?.version).toBe(first.value?.version)
    expect((await load(`${svg}<!-- new -->`)).value?.version).not.toBe(first.value?.version)
    for (const bad of ['<html><svg/></html>', '<!---->'.repeat(400), Buffer.alloc(513 * 1024)]) {
      const { value, problems } = await load(bad)
      expect(value).toBeUndefined()
      expect(problems).toMatchObject([{ path: 'apps[0].logo', line: 1, expected: expect.stringContaining('at most 512 KiB') }])
    }
  })

  it('names both files where they contradict each other', async () => {
    const many = join(folder, 'policies')
    await mkdir(many)
    await writeFile(join(many, 'a.yaml'), `zone: UTC\n${wiki}`)
    await writeFile(join(many, 'b.yaml'), `zone: Europe/Berlin\n${wiki}`)
    const { value, problems } = await loadPolicy(many, { configuration: undefined })
    expect(value).toBeUndefined()
    const a = join(many, 'a.yaml')
    expect(problems.map(({ file, message }) => [file, message])).toEqual([
      [join(many, 'b.yaml'), `the app \`wiki\` is already defined in ${a}:3`],
      [join(many, 'b.yaml'), `this address is already claimed by the app \`wiki\` in ${a}:3`],
      [join(many, 'b.yaml'), `the policy already has another time zone in ${a}:1`],
    ])
  })

  it.each([
    ['an empty folder', 'the folder holds no *.yaml file'],
    ['nothing at all', 'the file does not exist'],
  ])('is not %s', async (name, message) => {
    const path = join(folder, 'policies')
    if (name === 'an empty folder') await mkdir(path)
    const { value, problems } = await loadPolicy(path, { configuration: undefined })
    expect(value).toBeUndefined()
    expect(problems).toMatchObject([{ file: path, line: 0, message }])
  })

  it('has a version that only meaning changes', async () => {
    const first = await loadPolicy(await write('p.yaml', wiki), { configuration: undefined })
    const same = `# a comment\napps:\n  - rules: [{ name: allow 1, allow: [{ groups: ["staff"] }] }]\n    upstream: { url: http://wiki:1/ }\n    url: https://WIKI.corp.example/\n    id: wiki\n    timeouts: { response: 1m }\n`
    const second = await loadPolicy(await write('p.yaml', same), { configuration: undefined })
    const other = await loadPolicy(await write('p.yaml', wiki.replace('staff', 'stuff')), { configuration: undefined })
    expect(first.value?.version).toMatch(/^sha256-[0-9a-f]{16}$/)
    expect(second.value?.version).toBe(first.value?.version)
    expect(other.value?.version).not.toBe(first.value?.version)
  })

  it('expands no environment', async () => {
    const { value } = await loadPolicy(await write('p.yaml', wiki.replace('[staff]', `["\${HOME}"]`)), { configuration: undefined })
    expect(value?.apps[0]?.rules[0]?.who).toEqual({ kind: 'groups', groups: [`\${HOME}`] })
  })
})
