/** Tests beside a policy: what they call passed is what would be enforced, and nothing passes by accident. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readBareEnvironment } from '../attributes/environment-facts.ts'
import { loadPolicy } from '../config/load-policy.ts'
import { loadPolicyTests } from '../config/load-policy-tests.ts'
import { compileRoutes } from '../enforcement/route-table.ts'
import { compilePolicy } from '../policy/compile.ts'
import { runPolicyTests } from './policy-tests.ts'

const policy = `services:
  importer: { jwt: { issuer: "https://auth.example.com", audience: internal, scopes_all: ["data:read", "data:write"] } }
  reader: { jwt: { issuer: "https://auth.example.com", audience: internal, scopes_all: ["data:read"] } }
  elsewhere: { jwt: { issuer: "https://other.example.com", audience: internal, scopes_all: ["data:read"] } }
  nested: { jwt: { issuer: "https://auth.example.com", audience: nested, claims: { realm.role: [batch, nightly], realm.name: corp } } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
    rules:
      - { name: staff, allow: { groups: [staff] } }
      - { name: nested, allow: { all_of: [{ services: [nested] }, { claims: { realm.role: batch } }, { claims: { realm.name: corp } }] } }
      - { name: services, allow: { services: [importer, reader, elsewhere] } }
      - { name: readers stay out of imports, deny: { services: [reader] }, paths: [/imports] }
      - { name: managed devices only, deny: { everyone: true }, paths: [/managed], unless: [{ device: { managed: true } }] }
`
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-policy-tests-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Whether a test of the policy above passes, and what was decided. */
async function run(given: string, expected: string) {
  const file = join(folder, 'policy.yaml')
  const testsFile = join(folder, 'policy.test.yaml')
  await writeFile(file, policy)
  await writeFile(
    testsFile,
    `people: { alice: { email: alice@corp.example, groups: [staff] } }\ndevices: { laptop: { managed: true } }\ntests:\n  - { name: it, given: { ${given} }, expect: ${expected} }\n`,
  )
  const { problems, value: document } = await loadPolicy(file, { configuration: {} })
  if (document === undefined) throw new Error(problems.map(({ message }) => message).join('\n'))
  const tests = await loadPolicyTests(testsFile, { strengths: new Map(), services: document.services, at: Date.UTC(2026, 10, 25) })
  if (tests.value === undefined) throw new Error(tests.problems.map(({ message }) => message).join('\n'))
  const [result] = runPolicyTests({ routes: compileRoutes(document, compilePolicy(document)) }, tests.value, readBareEnvironment)
  return result === undefined ? undefined : { got: result.got, isPassed: result.isPassed }
}

describe('a test that expects a denial', () => {
  it('does not pass because its host or its path is misspelled', async () => {
    expect(await run('as: alice, request: "GET https://wikki.corp.example/"', 'deny')).toEqual({
      got: 'deny: app_not_found',
      isPassed: false,
    })
    expect(await run('as: alice, request: "GET https://wiki.corp.example/.postern/x"', 'deny')).toMatchObject({ isPassed: false })
  })

  it('passes where that is what it asks for', async () => {
    expect(await run('request: "GET https://wikki.corp.example/"', '{ deny: app_not_found }')).toMatchObject({ isPassed: true })
    expect(await run('request: "GET https://wikki.corp.example/"', '{ deny: no_rule_matched }')).toMatchObject({ isPassed: false })
  })

  it('passes for a request that is refused before any rule is asked', async () => {
    expect(await run('as: alice, request: "GET https://wiki.corp.example/a;b"', 'deny')).toMatchObject({ isPassed: true })
  })
})

describe('a method that the listener cannot read', () => {
  it('is refused, whatever the rules say', async () => {
    expect(await run('as: alice, request: "DELTE https://wiki.corp.example/"', 'allow')).toEqual({
      got: 'deny: bad_request',
      isPassed: false,
    })
  })
})

describe('a service in a test', () => {
  it('is every service that its token would prove', async () => {
    expect(await run('as: "service:importer", request: "GET https://wiki.corp.example/imports"', 'allow')).toEqual({
      got: 'deny: denied_by_rule (by readers stay out of imports)',
      isPassed: false,
    })
    expect(await run('as: "service:elsewhere", request: "GET https://wiki.corp.example/imports"', 'allow')).toMatchObject({
      isPassed: true,
    })
  })

  it('has no device, as in life, also where the test names one', async () => {
    const request = 'device: laptop, request: "GET https://wiki.corp.example/managed"'
    expect(await run(`as: "service:elsewhere", ${request}`, 'deny')).toMatchObject({ isPassed: true })
    expect(await run(`as: alice, ${request}`, 'allow')).toMatchObject({ isPassed: true })
  })

  it('has the claims that it is recognised by, nested ones too', async () => {
    expect(await run('as: "service:nested", request: "GET https://wiki.corp.example/"', '{ allow: nested }')).toMatchObject({
      isPassed: true,
    })
  })
})
