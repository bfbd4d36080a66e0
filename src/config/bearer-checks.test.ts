/** A rule that takes bearer tokens away from every app is warned about, and one that says where is not. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadPolicy } from './load-policy.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-bearer-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const app = (id: string) =>
  `  - { id: ${id}, url: "https://${id}.corp.example", upstream: "http://${id}:1", rules: [{ name: s, allow: { groups: [staff] } }] }`

async function warningsOf(rule: string, apps = ['wiki', 'payroll']): Promise<readonly string[]> {
  const file = join(folder, 'policy.yaml')
  await writeFile(
    file,
    `levels:
  billing: { subject: { services: [billing] } }
  callers: { any_of: [billing, { time: { days: [mon] } }] }
services: { billing: { jwt: { issuer: "https://auth.example.com", audience: x, scopes_all: [read] } } }
rules: [${rule}, { name: uses, allow: { groups: [staff] }, when: [callers], paths: [/x] }]
apps:
${apps.map(app).join('\n')}
`,
  )
  const { problems, warnings } = await loadPolicy(file, { configuration: undefined })
  expect(problems).toEqual([])
  return warnings.map(({ message }) => message).filter((message) => message.includes('Bearer'))
}

describe('a company rule without paths', () => {
  it.each([
    ['that allows services', '{ name: r, allow: { services: [billing] } }'],
    ['that denies services', '{ name: r, deny: { services: [billing] } }'],
    ['whose condition names services, through levels', '{ name: r, allow: { groups: [a] }, unless: [{ not: callers }] }'],
  ])('%s is warned about', async (_what, rule) => {
    expect(await warningsOf(rule)).toEqual([
      'the rule `r` names services and no `paths`: on all 2 apps that it reaches, every `Authorization: Bearer` is judged here and none reaches the app',
    ])
  })

  it.each([
    ['that says which paths', '{ name: r, allow: { services: [billing] }, paths: [/api/**] }'],
    ['that says which apps', '{ name: r, allow: { services: [billing] }, apps: [wiki] }'],
    ['in report mode', '{ name: r, allow: { services: [billing] }, mode: report }'],
    ['about people', '{ name: r, allow: { groups: [staff] } }'],
    ['that reaches no app', '{ name: r, allow: { services: [billing] }, sensitivity: [restricted] }'],
  ])('%s is not', async (_what, rule) => {
    expect(await warningsOf(rule)).toEqual([])
  })

  it('is not where there is one app only', async () => {
    expect(await warningsOf('{ name: r, allow: { services: [billing] } }', ['wiki'])).toEqual([])
  })
})
