/**
 * The examples of `policy.md`, loaded and decided as they stand: each YAML block is a document, and the table behind it says what it does.
 *
 * The first column of a table names who asks, then in any order what else is given: `mfa 10m ago`, a device, `at` an instant, `from` an
 * address, `in` a country, a browser and its version.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { factsOf, type Given, type GivenDevice, type GivenSignIn, type GivenSubject } from '../src/administration/given.ts'
import { readBareEnvironment } from '../src/attributes/environment-facts.ts'
import { loadPolicy } from '../src/config/load-policy.ts'
import { loadPolicyTests } from '../src/config/load-policy-tests.ts'
import { type CompiledPolicy, compilePolicy } from '../src/policy/compile.ts'
import { decide } from '../src/policy/decide.ts'
import type { Decision } from '../src/policy/decision.ts'
import type { PolicyDocument, Strength } from '../src/policy/document.ts'
import type { Facts, RequestFacts } from '../src/policy/facts.ts'

const page = await readFile(new URL('./policy.md', import.meta.url), 'utf8')
const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```\n+((?:\|.*\n)+)/g)].map(([, yaml = '', table = '']) => ({
  yaml,
  rows: rowsOf(table),
}))

const mfa: Strength = { name: 'mfa', acr: ['2'], amr: ['otp'], ask: {} }
const strengths = new Map([['mfa', mfa]])

const people: Readonly<Record<string, GivenSubject>> = {
  alice: person('alice', 'alice@corp.example', ['staff']),
  bob: person('bob', 'bob@corp.example', ['staff', 'finance']),
  carol: person('carol', 'carol@partner.example', ['contractors']),
  dave: person('dave', undefined, undefined),
  stranger: { kind: 'nobody' },
}

const devices: Readonly<Record<string, GivenDevice>> = {
  laptop: {
    ...device('laptop', { managed: true, disk_encrypted: true, screen_lock: true, os: 'macos', os_version: '15.1' }),
    serial: 'C02X',
    tags: ['engineering'],
  },
  open: device('open', { managed: true, disk_encrypted: false, screen_lock: false, os: 'windows', os_version: '10.0.22631' }),
  lost: {
    ...device('lost', { managed: true, disk_encrypted: true, screen_lock: true, os: 'macos', os_version: '15.1' }),
    reportedSecondsAgo: 3 * 86_400,
  },
  home: {
    ...device('home', { managed: false, disk_encrypted: true, os: 'linux', os_version: '6.8' }),
    identifiedBy: 'claim',
  },
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-docs-'))
})
afterAll(() => rm(folder, { recursive: true }))

it('shows an example for each part of the language', () => {
  expect(blocks.length).toBeGreaterThanOrEqual(20)
  expect([...page.matchAll(/```yaml\n/g)]).toHaveLength(blocks.length)
  const sections = [...page.matchAll(/^\| `(\w+)` \| [^|]+\| (?:a \[WHO\]|`|CEL|other)/gm)].map(([, name = '']) => name)
  for (const name of sections) expect(blocks.some(({ yaml }) => yaml.includes(`${name}:`))).toBe(true)
})

it('shows tests as they can be written', async () => {
  const file = join(folder, 'policy.test.yaml')
  const [, yaml = ''] = /```yaml test\n([\s\S]*?)```/.exec(page) ?? []
  await writeFile(file, yaml)
  const { problems, value } = await loadPolicyTests(file, { strengths, services: [], at: 0 })
  expect(problems).toEqual([])
  expect(value).toHaveLength(2)
})

describe.each(blocks)('the example $yaml', ({ yaml, rows }) => {
  let document: PolicyDocument
  let policy: CompiledPolicy
  beforeAll(async () => {
    const file = join(folder, 'policy.yaml')
    await writeFile(file, yaml)
    const { value, problems } = await loadPolicy(file, { configuration: { provider: { strengths } } as never })
    expect(problems).toEqual([])
    if (value === undefined) throw new Error('the example could not be loaded')
    document = value
    policy = compilePolicy(value)
  })

  it.each(rows)('%s, %s → %s', (who, request, answer) => {
    const [app] = policy.apps.values()
    if (app === undefined) throw new Error('the app is missing')
    const decision = decide(app, circumstances(who, requestOf(request), document))
    const [outcome = '', because] = answer.split(': ')
    expect(wordOf(decision)).toBe(outcome)
    if (because !== undefined && decision.effect === 'deny') {
      expect([decision.reason, ...decision.unmet.map(({ remedy }) => remedy)]).toContain(because)
    }
  })
})

function wordOf(decision: Decision): string {
  if (decision.effect !== 'challenge') return decision.effect
  return decision.challenge === 'sign_in' ? 'sign in' : 'step up'
}

/** What the first column says, in any order behind the name. */
function circumstances(text: string, request: RequestFacts, document: PolicyDocument): Facts {
  const [who = '', ...rest] = text.split(', ')
  const service = document.services.find(({ name }) => name === who)
  const subject: GivenSubject | undefined = service === undefined ? people[who] : { kind: 'service', service, services: document.services }
  if (subject === undefined) throw new Error(`there is no ${who}`)
  const given: { -readonly [K in keyof Given]: Given[K] } = {
    subject,
    signIn: undefined,
    device: undefined,
    at: Date.parse('2026-11-25T10:00+01:00'),
    address: '198.51.100.7',
    country: undefined,
    asn: undefined,
    userAgent: undefined,
  }
  let browser: readonly string[] | undefined
  for (const word of rest) {
    const [first = '', second = ''] = word.split(' ')
    const signIn = signInOf(word)
    if (signIn !== undefined) given.signIn = signIn
    else if (first === 'at') given.at = Date.parse(second)
    else if (first === 'from') given.address = second
    else if (first === 'in') given.country = second
    else if (first === 'firefox') browser = [first, second]
    else if (devices[word] !== undefined) given.device = devices[word]
    else throw new Error(`what is ${word}?`)
  }
  const facts = factsOf(given, request, readBareEnvironment, 'https')
  if (browser === undefined) return facts
  const [name = '', version = ''] = browser
  const client = { ...facts.environment.client, browser: known(name), browserVersion: known(version) }
  return { ...facts, environment: { ...facts.environment, client } }
}

function known(value: string) {
  return { known: true, value } as const
}

function signInOf(word: string): GivenSignIn | undefined {
  const [, strength, count, unit] = /^(mfa|password) (\d+)([mh]) ago$/.exec(word) ?? []
  if (strength === undefined) return undefined
  const agoSeconds = Number(count) * (unit === 'h' ? 3600 : 60)
  return strength === 'mfa' ? { strength: mfa, agoSeconds } : { acr: undefined, amr: ['pwd'], agoSeconds }
}

function rowsOf(table: string): [string, string, string][] {
  const [head, , ...rows] = table.trim().split('\n').map(cellsOf)
  if (head?.join() !== 'Who,Asks for,Answer') throw new Error('an example is followed by what it does')
  return rows.map(([who = '', request = '', answer = '']) => [who, request, answer])
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
}

function requestOf(text: string): RequestFacts {
  const [method = '', path = ''] = text.split(' ')
  if (method === 'WEBSOCKET') return { method: 'GET', methodClass: 'websocket', path }
  return { method, methodClass: method === 'GET' ? 'read' : 'write', path }
}

function person(sub: string, email: string | undefined, groups: readonly string[] | undefined): GivenSubject {
  return { kind: 'person', issuer: 'https://op.example', sub, email, groups, claims: {} }
}

function device(id: string, attributes: GivenDevice['attributes']): GivenDevice {
  return { id, isKnown: true, identifiedBy: 'certificate', serial: undefined, tags: [], attributes, reportedSecondsAgo: 7_200 }
}
