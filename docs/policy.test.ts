/**
 * The examples of `policy.md`, loaded and decided as they stand: each YAML block is a document, and the table behind it says what it does.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPolicy } from '../src/config/load-policy.ts'
import { type CompiledPolicy, compilePolicy } from '../src/policy/compile.ts'
import { decide } from '../src/policy/decide.ts'
import type { Known, RequestFacts, SubjectFacts } from '../src/policy/facts.ts'
import { facts } from '../src/policy/policy.fixture.ts'

const page = await readFile(new URL('./policy.md', import.meta.url), 'utf8')
const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```\n+((?:\|.*\n)+)/g)].map(([, yaml = '', table = '']) => ({
  yaml,
  rows: rowsOf(table),
}))

const people: Readonly<Record<string, SubjectFacts>> = {
  alice: person('alice@corp.example', ['staff']),
  bob: person('bob@corp.example', ['staff', 'finance']),
  carol: person('carol@partner.example', ['contractors']),
  dave: person(undefined, undefined),
  stranger: { kind: 'nobody' },
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-docs-'))
})
afterAll(() => rm(folder, { recursive: true }))

it('shows an example for each part of the language', () => {
  expect(blocks.length).toBeGreaterThanOrEqual(5)
  expect([...page.matchAll(/```yaml/g)]).toHaveLength(blocks.length)
})

describe.each(blocks)('the example $yaml', ({ yaml, rows }) => {
  let policy: CompiledPolicy
  beforeAll(async () => {
    const file = join(folder, 'policy.yaml')
    await writeFile(file, yaml)
    const { value, problems } = await loadPolicy(file, { configuration: undefined })
    expect(problems).toEqual([])
    if (value === undefined) throw new Error('the example could not be loaded')
    policy = compilePolicy(value)
  })

  it.each(rows)('%s, %s → %s', (who, request, answer) => {
    const subject = people[who]
    const [app] = policy.apps.values()
    if (subject === undefined || app === undefined) throw new Error(`${who} or the app is missing`)
    const { effect } = decide(app, { ...facts(subject), request: requestOf(request) })
    expect(effect === 'challenge' ? 'sign in' : effect).toBe(answer)
  })
})

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

function person(email: string | undefined, groups: readonly string[] | undefined): SubjectFacts {
  const knownEmail: Known<string> = email === undefined ? { known: false, why: 'email_unverified' } : { known: true, value: email }
  const knownGroups: Known<readonly string[]> =
    groups === undefined ? { known: false, why: 'claim_absent' } : { known: true, value: groups }
  return {
    kind: 'person',
    issuer: 'https://op.example',
    sub: 'u1',
    email: knownEmail,
    groups: knownGroups,
    claims: { known: true, value: {} },
    claimsAt: 0,
  }
}
