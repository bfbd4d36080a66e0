/** What a command writes into a trail of its own, where no instance takes it, holds no more than an instance's would. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type AdministrationConfiguration, openAdministration } from './compose-administration.ts'
import type { RedactedField } from './policy/facts.ts'
import { silentLog } from './session/session.fixture.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'postern-administration-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

function configurationWith(redact: readonly RedactedField[]): AdministrationConfiguration {
  return {
    dataDir,
    keysFile: join(dataDir, 'keys.json'),
    session: { store: { kind: 'embedded' }, lifetimeSeconds: 60 },
    provider: { issuer: new URL('https://op.corp.example'), claims: { groups: [['groups']] } },
    audit: { redact },
  } as unknown as AdministrationConfiguration
}

/** The lines of every trail in the folder, after a command noted that it looked for Alice. */
async function writeWith(redact: readonly RedactedField[]): Promise<string> {
  const { actor, close, recordFirst } = await openAdministration(configurationWith(redact), silentLog)
  await recordFirst({ event: 'data.read', actor, what: 'sessions', target: 'alice@corp.example', entries: undefined })
  await close()
  const folder = join(dataDir, 'audit')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson'))
  return files.map((name) => readFileSync(join(folder, name), 'utf8')).join('')
}

it('names whom it was about', async () => {
  expect(await writeWith([])).toContain('"target":"alice@corp.example"')
})

it('leaves out what the operator keeps out of the trail', async () => {
  const lines = await writeWith(['email'])
  expect(lines).toContain('"event":"data.read"')
  expect(lines).not.toContain('alice@')
})
