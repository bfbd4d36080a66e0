/** `audit.sinks` from YAML to settings: defaults, secrets, files, and each mistake with its place. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestAuthority, type TestAuthority } from '../../e2e/support/test-authority.ts'
import { loadConfiguration } from './load-configuration.ts'

const marker = 'MARKER-sink-51-SECRET'
let folder: string
let authority: TestAuthority
beforeAll(() => {
  authority = createTestAuthority()
})
afterAll(() => authority.remove())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-sinks-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function load(sinks: string) {
  const { certFile, keyFile } = authority.issue('DNS:a.example')
  const text = sinks.replaceAll('CA', authority.file).replaceAll('CERT', certFile).replaceAll('KEY', keyFile)
  await writeFile(join(folder, 'token'), `${marker}\n`, { mode: 0o600 })
  const file = join(folder, 'postern.yaml')
  const instance = `url: https://access.corp.example\nprovider: { issuer: "https://id.corp.example", client_id: postern, client_secret: kJ83hd72hd9aKKd8s7dh }\n`
  await writeFile(file, `${instance}audit:\n  sinks:\n    - ${text}\n`, { mode: 0o600 })
  const loaded = await loadConfiguration(file, { TOKEN: marker })
  expect(JSON.stringify([loaded.problems, loaded.warnings, loaded.value])).not.toContain(marker)
  return loaded
}

describe('a sink', () => {
  it('of each type becomes its settings, with its type as its name unless it has one', async () => {
    const { value, problems, warnings } = await load(
      [
        '{ type: stdout }',
        '{ type: file, path: log/trail.ndjson }',
        '{ name: siem, type: syslog, address: "tls://log.corp.example", ca_file: CA, cert_file: CERT, key_file: KEY, facility: local3 }',
        '{ name: relay, type: syslog, address: "tcp://127.0.0.1:601" }',
        '{ type: http, url: "https://collector.corp.example/in", token_file: token }',
        `{ name: splunk, type: http, format: splunk, url: "http://localhost:8088", token: "\${TOKEN}" }`,
        '{ name: elastic, type: http, format: elastic, index: postern, url: "https://elastic.corp.example:9200", ca_file: CA }',
      ].join('\n    - '),
    )
    expect([...problems, ...warnings]).toEqual([])
    const http = { type: 'http', token: undefined, index: undefined, caFile: undefined }
    expect(value?.audit.sinks.map((sink) => ('token' in sink ? { ...sink, token: sink.token?.reveal() } : sink))).toMatchObject([
      { name: 'stdout', type: 'stdout' },
      { name: 'file', type: 'file', path: join(folder, 'log/trail.ndjson') },
      { name: 'siem', type: 'syslog', host: 'log.corp.example', port: 6514, facility: 19, tls: { caFile: authority.file } },
      { name: 'relay', type: 'syslog', host: '127.0.0.1', port: 601, facility: 10, tls: undefined },
      { ...http, name: 'http', format: 'json', url: new URL('https://collector.corp.example/in'), token: marker },
      { ...http, name: 'splunk', format: 'splunk', token: marker },
      { ...http, name: 'elastic', format: 'elastic', index: 'postern', caFile: authority.file },
    ])
  })

  it.each([
    ['without a type', '{ path: x }', 'audit.sinks[0].type', /`type` is missing/],
    ['of an unknown type', '{ type: kafka }', 'audit.sinks[0].type', /not known/],
    ['with an unknown key', '{ type: stdout, colour: red }', 'audit.sinks[0].colour', /unknown key/],
    ['with a key of another type', '{ type: stdout, path: x }', 'audit.sinks[0].path', /means nothing to a sink of type `stdout`/],
    ['of the name of another', '{ type: stdout }\n    - { type: stdout }', 'audit.sinks[1]', /another sink called `stdout`/],
    ['into the trail itself', '{ type: file, path: data/audit/copy.ndjson }', 'audit.sinks[0].path', /inside the trail/],
    ['without a file', '{ type: file }', 'audit.sinks[0]', /`path` is missing/],
    ['over UDP', '{ type: syslog, address: "udp://log.corp.example:514" }', 'audit.sinks[0].address', /without a trace/],
    ['without a scheme', '{ type: syslog, address: "log.corp.example:514" }', 'audit.sinks[0].address', /scheme/],
    ['over TCP without a port', '{ type: syslog, address: "tcp://127.0.0.1" }', 'audit.sinks[0].address', /port/],
    [
      'with a certificate and no key',
      '{ type: syslog, address: "tls://a.example", cert_file: CERT }',
      'audit.sinks[0].cert_file',
      /only one of/,
    ],
    [
      'with an authority over plain TCP',
      '{ type: syslog, address: "tcp://127.0.0.1:1", ca_file: CA }',
      'audit.sinks[0].ca_file',
      /no effect/,
    ],
    [
      'with a missing authority',
      '{ type: syslog, address: "tls://a.example", ca_file: none.pem }',
      'audit.sinks[0].ca_file',
      /does not exist/,
    ],
    [
      'with a key for an authority',
      '{ type: syslog, address: "tls://a.example", ca_file: KEY }',
      'audit.sinks[0].ca_file',
      /no PEM certificate/,
    ],
    ['over plain http', '{ type: http, url: "http://siem.corp.example" }', 'audit.sinks[0].url', /could read the trail/],
    ['with a password in its URL', '{ type: http, url: "https://a:b@siem.corp.example" }', 'audit.sinks[0].url', /user name or password/],
    ['for Splunk without a token', '{ type: http, format: splunk, url: "https://s.example" }', 'audit.sinks[0]', /without a token/],
    ['for Elastic without an index', '{ type: http, format: elastic, url: "https://s.example" }', 'audit.sinks[0]', /`index` is missing/],
    [
      'with an index it does not use',
      '{ type: http, index: a, url: "https://s.example" }',
      'audit.sinks[0].index',
      /means nothing to the format/,
    ],
    [
      'with a token given twice',
      '{ type: http, url: "https://s.example", token: abcdefgh1, token_file: token }',
      'audit.sinks[0].token_file',
      /twice/,
    ],
    ['with a token anybody would guess', '{ type: http, url: "https://s.example", token: changeme }', 'audit.sinks[0].token', /guess/],
  ])('%s is one problem with its place', async (_what, yaml, path, message) => {
    const { value, problems } = await load(yaml)
    expect(problems.map((problem) => ({ path: problem.path, message: problem.message }))).toEqual([
      { path, message: expect.stringMatching(message) as string },
    ])
    expect(problems[0]?.line).toBeGreaterThan(2)
    expect(value).toBeUndefined()
  })

  it('over plain TCP to another machine is warned of', async () => {
    const { value, problems, warnings } = await load('{ type: syslog, address: "tcp://log.corp.example:601" }')
    expect(problems).toEqual([])
    expect(warnings.map(({ path }) => path)).toEqual(['audit.sinks[0].address'])
    expect(value?.audit.sinks).toHaveLength(1)
  })
})
