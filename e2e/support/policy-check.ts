/**
 * `postern check` on documents made of lines, one rule a line: so that a test can say which line was to be refused and see that it was.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { runCommand } from './rig.ts'

export interface CheckedProblem {
  readonly file: string
  readonly line: number
  readonly message: string
}

export interface Checked {
  readonly code: number | null
  readonly problems: readonly CheckedProblem[]
  readonly warnings: readonly CheckedProblem[]
}

export interface PolicyCheck {
  /** Where the documents are. */
  readonly folder: string
  /** Checks these lines of policy, with further lines of instance configuration. */
  check(lines: readonly string[], more?: readonly string[]): Promise<Checked>
  /** Checks one app with these rules, each on a line of its own. Resolves to the rules that nothing was said about. */
  accepted(rules: readonly string[]): Promise<readonly string[]>
  remove(): Promise<void>
}

/** Lines of instance configuration in front of those that a test adds. */
export const instanceLines = [
  'url: https://access.corp.example',
  'session: { store: embedded }',
  'provider: { issuer: "https://login.corp.example", client_id: x, client_secret: 0123456789abcdef0123456789abcdef }',
]

/** Lines of a policy in front of its rules. */
export const appLines = ['apps:', '- id: app', '  url: https://app.corp.example', '  upstream: http://app.internal:3000', '  rules:']

/** Makes a folder for the documents. */
export async function startPolicyCheck(): Promise<PolicyCheck> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-check-'))

  async function check(lines: readonly string[], more: readonly string[] = []): Promise<Checked> {
    const config = join(folder, 'postern.yaml')
    await writeFile(config, `${[...instanceLines, ...more].join('\n')}\n`, { mode: 0o600 })
    await writeFile(join(folder, 'policy.yaml'), `${lines.join('\n')}\n`)
    const { code, stdout, stderr } = await runCommand(['check', '--json', '--config', config])
    expect(stderr).not.toMatch(/\n\s+at /)
    return { code, ...(JSON.parse(stdout) as Omit<Checked, 'code'>) }
  }

  async function accepted(rules: readonly string[]): Promise<readonly string[]> {
    const { code, problems } = await check([...appLines, ...rules.map((rule, index) => `  - { name: "r${index}", ${rule} }`)])
    expect(code).toBe(problems.length === 0 ? 0 : 1)
    for (const { file, line } of problems) {
      expect(file).toMatch(/policy\.yaml$/)
      expect(line).toBeGreaterThan(appLines.length)
    }
    const lines = new Set(problems.map(({ line }) => line))
    return rules.filter((_rule, index) => !lines.has(appLines.length + 1 + index))
  }

  return { folder, check, accepted, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** What most rules of these documents allow. */
export const allowAll = 'allow: { signed_in: true }'
/** A rule with this condition. */
export const allowWhen = (condition: string) => `${allowAll}, when: [{ ${condition} }]`
/** A rule for each value, which is quoted. */
export const eachQuoted = (values: readonly string[], make: (value: string) => string) => values.map((value) => make(JSON.stringify(value)))
