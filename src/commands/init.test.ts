/** `postern init`: what it writes loads, the secret stays in its file, and nothing is overwritten unasked. */

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfiguration } from '../config/load-configuration.ts'
import { loadPolicy } from '../config/load-policy.ts'
import { createConversation } from './conversation.ts'
import { runInit } from './init.ts'
import type { InitFlags } from './init-answers.ts'

const marker = 'MARKER-typed-secret-0042'
let folder: string
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('POSTERN_')) delete process.env[name]
  folder = await mkdtemp(join(tmpdir(), 'postern-init-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function talk(lines: readonly string[], flags: Partial<InitFlags> = {}, isTTY = false) {
  const input = Object.assign(new PassThrough(), { isTTY })
  const output = new PassThrough()
  let shown = ''
  output.on('data', (chunk: Buffer) => {
    shown += String(chunk)
  })
  const conversation = createConversation({ input, output, isSilent: flags.yes === true })
  input.end(lines.map((line) => `${line}\n`).join(''))
  const outcome = await runInit({ config: join(folder, 'config', 'postern.yaml'), ...flags }, conversation)
  conversation.close()
  return { ...outcome, shown }
}

const answers = [
  'https://access.corp.example',
  'keycloak',
  'https://id.corp.example/realms/corp',
  '',
  marker,
  'wiki',
  '',
  'http://wiki.internal:3000',
  'staff, it',
]

describe('init', () => {
  it('writes two files that load, the secret apart, and names the URLs to register', async () => {
    const { status, text, shown, summary } = await talk(answers)
    expect(status, text).toBe(0)
    expect(summary.register).toEqual({
      redirect_uri: 'https://access.corp.example/oidc/callback',
      post_logout_redirect_uri: 'https://access.corp.example/signed-out',
      backchannel_logout_uri: 'https://access.corp.example/oidc/backchannel-logout',
    })
    for (const url of Object.values(summary.register)) expect(text).toContain(url)

    const config = join(folder, 'config', 'postern.yaml')
    const { value, problems, warnings } = await loadConfiguration(config, {})
    expect([...problems, ...warnings]).toEqual([])
    expect(value?.provider.clientSecret?.reveal()).toBe(marker)
    const policy = await loadPolicy(join(folder, 'config', 'policy.yaml'), { configuration: value })
    expect(policy.value?.apps[0]).toMatchObject({
      id: 'wiki',
      address: { origin: 'https://wiki.corp.example' },
      rules: [{ who: { kind: 'groups', groups: ['staff', 'it'] } }],
    })

    expect((await stat(join(folder, 'config', 'secrets', 'client-secret'))).mode & 0o777).toBe(0o600)
    expect(shown + text + JSON.stringify(summary)).not.toContain(marker)
    expect(await readFile(config, 'utf8')).not.toContain(marker)
  })

  it('asks again after an answer that will not do', async () => {
    const { status, shown } = await talk([
      'http://access.corp.example',
      ...answers.slice(0, 2),
      'http://id.corp.example',
      ...answers.slice(2, 7),
      'http://169.254.169.254',
      ...answers.slice(7),
    ])
    expect(status).toBe(0)
    expect(shown).toContain('plain http://')
    expect(shown).toContain('an issuer must be https://')
    expect(shown).toContain('link-local')
  })

  it('writes nothing if the person goes away', async () => {
    for (let answered = 0; answered < answers.length; answered += 1) {
      const { status } = await talk(answers.slice(0, answered))
      expect(status, `after ${answered} answers`).toBe(2)
      await expect(stat(join(folder, 'config'))).rejects.toThrow()
    }
  })

  it('overwrites only what it was told to', async () => {
    await talk(answers)
    const config = join(folder, 'config', 'postern.yaml')
    await writeFile(config, 'mine')
    expect((await talk([...answers, 'no'])).status).toBe(1)
    expect(await readFile(config, 'utf8')).toBe('mine')
    expect((await talk([...answers, 'yes'])).status).toBe(0)
    expect(await readFile(config, 'utf8')).not.toBe('mine')
  })

  it('asks nothing with --yes', async () => {
    const secret = join(folder, 'secret')
    await writeFile(secret, `${marker}\n`, { mode: 0o600 })
    const flags = {
      yes: true,
      url: 'https://access.corp.example',
      issuer: 'https://id.corp.example',
      clientSecretFile: secret,
      upstream: 'http://wiki.internal:1',
    }
    const { status, shown } = await talk([], flags)
    expect(status).toBe(0)
    expect(shown).toBe('')
    expect((await talk([], flags)).status).toBe(1)
    expect((await talk([], { ...flags, force: true })).status).toBe(0)
    const missing = await talk([], { yes: true, url: 'https://access.corp.example' })
    expect(missing).toMatchObject({ status: 2, summary: { message: expect.stringContaining('--issuer') } })
  })

  it('refuses a secret that anybody would guess', async () => {
    const { status, text } = await talk(answers.with(4, 'changeme'))
    expect(status).toBe(2)
    expect(text).toContain('guess')
    expect(text).not.toContain('changeme')
  })

  it('asks again for a secret that will not do, and keeps the other answers', async () => {
    const { status, shown } = await talk([...answers.slice(0, 4), 'short', 'changeme', ...answers.slice(4)], {}, true)
    expect(status).toBe(0)
    expect(shown.match(/Not usable: the client secret is too short/g)).toHaveLength(2)
  })
})
