/** `postern keys`, as commander runs it, on a real file. */

import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PosternError } from '../errors.ts'
import { loadKeys } from '../keys-file.ts'
import { registerKeys } from './keys.ts'

const start = Date.parse('2026-03-01T12:00:00Z')

describe('postern keys', () => {
  let folder: string
  let config: string
  let keysFile: string
  let now: number
  let output: string
  let resealed: string[]
  let isStoreAway: boolean

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-keys-command-'))
    config = join(folder, 'postern.yaml')
    keysFile = join(folder, 'secrets', 'keys.json')
    writeFileSync(config, 'url: https://access.corp.example\nkeys_file: secrets/keys.json\nsession: { lifetime: 2h }\n')
    now = start
    output = ''
    resealed = []
    isStoreAway = false
    const print = (text: unknown) => {
      output += `${String(text)}\n`
    }
    vi.spyOn(console, 'log').mockImplementation(print)
    vi.spyOn(console, 'error').mockImplementation(print)
    process.exitCode = undefined
  })
  afterEach(() => {
    process.exitCode = undefined
    rmSync(folder, { recursive: true, force: true })
  })

  async function run(...args: string[]): Promise<void> {
    const program = new Command('postern').exitOverride()
    registerKeys(program, {
      now: () => now,
      reseal: async (configuration) => {
        resealed.push(configuration.dataDir)
        if (isStoreAway) throw new PosternError('session_store_unavailable', 'not connected')
        return { resealed: 0, unreadable: 0 }
      },
    })
    await program.parseAsync(['keys', ...args], { from: 'user' })
  }
  const ring = () => loadKeys(keysFile, now)

  it('generates the configured file, beside a configuration that is not finished', async () => {
    await run('generate', '--config', config)
    expect(statSync(keysFile).mode & 0o777).toBe(0o600)
    expect(output).toContain(ring().assertion.current.kid)
    expect(process.exitCode).toBeUndefined()
  })

  it('leaves an existing file as it is, and says so by its exit status', async () => {
    await run('generate', '--out', keysFile)
    const text = readFileSync(keysFile, 'utf8')
    await run('generate', '--config', config)
    expect(readFileSync(keysFile, 'utf8')).toBe(text)
    expect(process.exitCode).toBe(1)
    expect(output).toContain('keys rotate')
  })

  it('rotates all families, or the one that is named', async () => {
    await run('generate', '--out', keysFile)
    const first = ring()
    now = start + 3_600_000
    await run('rotate', '--config', config)
    const second = ring()
    expect(second.assertion.current.kid).toBe(first.assertion.next?.kid)
    expect(second.sealing.current.id).not.toBe(first.sealing.current.id)
    await run('rotate', '--config', config, '--sealing')
    expect(ring().assertion.current.kid).toBe(second.assertion.current.kid)
    expect(ring().sealing.current.id).not.toBe(second.sealing.current.id)
    now += 3_600_000
    const third = ring()
    await run('rotate', '--config', config, '--assertion')
    expect(ring().sealing.current.id).toBe(third.sealing.current.id)
    expect(ring().assertion.previous?.kid).toBe(third.assertion.current.kid)
  })

  it('rotates the audit key with the others, or by itself, and prints what an auditor needs', async () => {
    await run('generate', '--out', keysFile)
    const first = ring()
    expect(output).toContain(`${first.audit.current.kid}=${first.audit.current.publicKey}`)
    await run('rotate', '--config', config, '--audit')
    const second = ring()
    expect(second.audit.current.kid).not.toBe(first.audit.current.kid)
    expect(second.assertion.current.kid).toBe(first.assertion.current.kid)
    expect(second.sealing.current.id).toBe(first.sealing.current.id)
    expect(resealed).toEqual([])
    now = start + 3_600_000
    await run('rotate', '--config', config)
    expect([...ring().audit.all.keys()].slice(1)).toEqual([second.audit.current.kid, first.audit.current.kid])
    await run('rotate', '--config', config, '--sealing')
    expect(ring().audit.all.size).toBe(3)
  })

  it('keeps what has sealed for as long as a session may live', async () => {
    await run('generate', '--out', keysFile)
    const old = ring().sealing.current.id
    await run('rotate', '--config', config, '--sealing')
    now = start + 2 * 3_600_000 + 600_000
    expect(ring().sealing.all.has(old)).toBe(true)
    now = start + 3 * 3_600_000
    expect(ring().sealing.all.has(old)).toBe(false)
  })

  it('rotates no key that verifiers may not know, unless it has to be now', async () => {
    await run('generate', '--out', keysFile)
    await expect(run('rotate', '--config', config, '--assertion')).rejects.toMatchObject({ code: 'configuration_invalid' })
    await run('rotate', '--config', config, '--assertion', '--now')
    expect(ring().assertion.previous).toBeDefined()
  })

  it('seals devices and tokens again after a rotation of the sealing keys, and says what to do where it cannot', async () => {
    await run('generate', '--out', keysFile)
    const provider = '{ issuer: https://login.corp.example, client_id: postern, client_secret: "0123456789abcdef0123456789abcdef" }'
    writeFileSync(config, `${readFileSync(config, 'utf8')}data_dir: state\nprovider: ${provider}\n`)
    chmodSync(config, 0o600)
    await run('rotate', '--config', config, '--assertion', '--now')
    expect(resealed).toEqual([])
    await run('rotate', '--config', config, '--sealing')
    expect(resealed).toEqual([join(folder, 'state')])
    expect(output).not.toContain('not sealed again')
    isStoreAway = true
    await run('rotate', '--config', config, '--sealing')
    expect(output).toContain('not sealed again (not connected)')
    expect(output).toContain('within 3 h')
    expect(process.exitCode).toBeUndefined()
  })

  it('prints no key', async () => {
    await run('generate', '--config', config)
    await run('rotate', '--config', config, '--now')
    const { sealing, assertion, audit } = JSON.parse(readFileSync(keysFile, 'utf8'))
    for (const secret of [
      sealing.current.key,
      sealing.next.key,
      sealing.retired[0].key,
      assertion.current.jwk.d,
      assertion.next.jwk.d,
      assertion.previous.jwk.d,
      audit.current.jwk.d,
    ]) {
      expect(output).not.toContain(secret)
    }
  })
})
