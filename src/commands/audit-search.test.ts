/** `postern audit search` and `export` as they are called: what they print, what they record, when they refuse. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createWrittenTrail, decided, type WrittenTrail } from '../audit/written-trail.fixture.ts'
import { openAdministration } from '../compose-administration.ts'
import { registerAuditExport } from './audit-export.ts'
import { registerAuditSearch } from './audit-search.ts'

const day = Date.UTC(2026, 10, 22)
const now = () => day + 3_600_000
let trail: WrittenTrail
let folder: string
let config: string
let output = ''
let complaints = ''

beforeEach(() => {
  trail = createWrittenTrail()
  folder = mkdtempSync(join(tmpdir(), 'postern-search-'))
  config = join(folder, 'postern.yaml')
  writeFileSync(join(folder, 'secret'), 'K7d02hqTz91mWc4x', { mode: 0o600 })
  writeFileSync(
    config,
    `url: http://access.corp.localhost:1
listen: 127.0.0.1:2
provider: { issuer: "http://127.0.0.1:9", client_id: postern, client_secret_file: secret }
session: { store: embedded }
data_dir: data
keys_file: keys.json
`,
  )
  output = complaints = ''
  vi.spyOn(process.stdout, 'write').mockImplementation(((piece: Buffer | string, done?: () => void) => {
    output += piece.toString()
    done?.()
    return true
  }) as typeof process.stdout.write)
  vi.spyOn(console, 'error').mockImplementation((text: unknown) => {
    complaints += `${String(text)}\n`
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
  trail.remove()
  rmSync(folder, { recursive: true, force: true })
})

async function run(...args: string[]): Promise<typeof process.exitCode> {
  const audit = new Command('audit').exitOverride().configureOutput({ writeErr: (text) => (complaints += text) })
  registerAuditSearch(audit, { openAdministration, now })
  registerAuditExport(audit, { openAdministration, now })
  for (const each of audit.commands) each.exitOverride().configureOutput({ writeErr: (text) => (complaints += text) })
  process.exitCode = undefined
  await audit.parseAsync(args, { from: 'user' })
  return process.exitCode
}

const rows = () => output.split('\n').filter((line) => line !== '')
function writeThree(): void {
  trail.chain('one-0').segment([
    [day, decided('r1')],
    [day + 1_800_000, decided('r2', { effect: 'deny', reason: 'no_rule_matched', rule: undefined, path: '/\u001b[2J\u202e' })],
  ])
  trail.chain('two-0').segment([[day + 60_000, decided('r3', { app: 'payroll', subject: { kind: 'service', sub: 'billing' } })]], true)
}

describe('postern audit search', () => {
  it('prints a calm line an event, in order of time, that does nothing to a terminal', async () => {
    writeThree()
    expect(await run('search', '--dir', trail.folder)).toBe(0)
    expect(rows()).toEqual([
      '2026-11-22T00:00:00.000Z  access.decided  Ada@corp.example  GET wiki.corp.example/pages/1  allow rule_matched  by "staff"  192.0.2.1  r1',
      '2026-11-22T00:01:00.000Z  access.decided  billing  GET wiki.corp.example/pages/1  allow rule_matched  by "staff"  192.0.2.1  r3',
      '2026-11-22T00:30:00.000Z  access.decided  Ada@corp.example  GET wiki.corp.example/?[2J?  deny no_rule_matched  192.0.2.1  r2',
    ])
  })

  it('prints lines as they are stored, byte for byte, with --json', async () => {
    writeThree()
    expect(await run('search', '--dir', trail.folder, '--request', 'r1', '--json')).toBe(0)
    const stored = readFileSync(join(trail.folder, 'one-0', '00000001.ndjson'), 'utf8').split('\n')
    expect(output).toBe(`${stored[1]}\n`)
  })

  it.each([
    [['--since', '31m'], ['r2']],
    [['--since', '2026-11-22T01:01:00+01:00', '--until', '40m'], ['r3']],
    [['--newest'], ['r2', 'r3', 'r1']],
    [['--newest', '--limit', '1'], ['r2']],
    [
      ['--limit', '2'],
      ['r1', 'r3'],
    ],
    [['--app', 'payroll', '--subject', 'billing'], ['r3']],
    [['--event', 'access.decided', '--effect', 'deny'], ['r2']],
  ])('with %j finds %j', async (options, expected) => {
    writeThree()
    await run('search', '--dir', trail.folder, '--json', ...options)
    expect(rows().map((line) => (JSON.parse(line) as { request: string }).request)).toEqual(expected)
  })

  it('merges several folders', async () => {
    writeThree()
    const other = createWrittenTrail()
    other.chain('one-0').segment([[day + 30_000, decided('r0')]])
    await run('search', '--dir', trail.folder, '--dir', other.folder)
    other.remove()
    expect(rows().map((row) => row.slice(-2))).toEqual(['r1', 'r0', 'r3', 'r2'])
  })

  it('ends with 1 where nothing is found, and cannot run on what makes no sense', async () => {
    writeThree()
    expect(await run('search', '--dir', trail.folder, '--request', 'nobody')).toBe(1)
    expect(await run('search', '--dir', trail.folder, '--follow', '--newest')).toBe(2)
    await expect(run('search', '--dir', join(trail.folder, 'nowhere'))).rejects.toMatchObject({ code: 'audit_unavailable' })
    await expect(run('search', '--dir', trail.folder, '--since', 'yesterday')).rejects.toThrow(/7d/)
    await expect(run('search', '--dir', trail.folder, '--effect', 'pass')).rejects.toThrow(/choices/)
  })

  it('is itself on record before it shows anything', async () => {
    expect(await run('search', '--config', config, '--subject', 'ada@corp.example', '--json')).toBe(0)
    // The one line about this person is that somebody asked.
    expect(rows().map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ event: 'data.read', actor: expect.stringMatching(/^os:/), what: 'audit', target: 'ada@corp.example' }),
    ])
    expect(readdirSync(join(folder, 'data', 'audit'))).toHaveLength(1)
  })

  it('shows nothing where that cannot be written', async () => {
    mkdirSync(join(folder, 'data'))
    writeFileSync(join(folder, 'data', 'audit'), 'no folder')
    await expect(run('search', '--config', config)).rejects.toMatchObject({ code: 'audit_unavailable' })
    expect(output).toBe('')
  })
})

describe('postern audit export', () => {
  it('writes OCSF events, a line each', async () => {
    writeThree()
    await run('export', '--dir', trail.folder, '--format', 'ocsf')
    expect(rows().map((line) => (JSON.parse(line) as { type_uid: number }).type_uid)).toEqual([400203, 400203, 400203])
    expect(output).not.toContain('\u202e')
  })

  it('writes a table with CRLF', async () => {
    writeThree()
    await run('export', '--dir', trail.folder, '--format', 'csv', '--app', 'payroll')
    const [header, row, end] = output.split('\r\n')
    expect([header?.startsWith('time,event'), row?.includes('billing'), end]).toEqual([true, true, ''])
  })

  it('writes a file that is whole or not there, for its owner alone, and replaces none', async () => {
    writeThree()
    const file = join(folder, 'out.ndjson')
    expect(await run('export', '--dir', trail.folder, '--format', 'ndjson', '--out', file)).toBeUndefined()
    expect([statSync(file).mode & 0o777, readFileSync(file, 'utf8').split('\n').length]).toEqual([0o600, 4])
    expect(complaints).toContain('3 events')
    await expect(run('export', '--dir', trail.folder, '--format', 'csv', '--out', file)).rejects.toMatchObject({
      code: 'audit_unavailable',
    })
    await expect(run('export', '--dir', trail.folder, '--format', 'csv', '--out', join(folder, 'no', 'f'))).rejects.toMatchObject({
      code: 'audit_unavailable',
    })
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  it('of nothing is empty, and no failure', async () => {
    expect(await run('export', '--dir', trail.folder, '--format', 'ndjson')).toBeUndefined()
    expect(output).toBe('')
  })
})
