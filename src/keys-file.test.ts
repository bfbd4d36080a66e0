/** The key file: creation, refusal, rotation and watching, on a real file system. */

import { spawn } from 'node:child_process'
import { createPublicKey, sign, verify } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createKeysFile, type KeyFamily, loadKeys, rotateKeys, type WatchedKeys, watchKeys } from './keys-file.ts'
import type { Logger } from './log.ts'
import { open, seal } from './session/seal.ts'

const day = 86_400_000
const now = Date.parse('2026-03-01T12:00:00Z')
const place = { purpose: 'record', name: 'session:x' }

describe('the key file', () => {
  let folder: string
  let file: string
  let watched: WatchedKeys | undefined
  const complaints: string[] = []
  const ignore = () => undefined
  const log: Logger = {
    debug: ignore,
    info: ignore,
    warn: ignore,
    fatal: ignore,
    flush: ignore,
    error: (fields: unknown) => void complaints.push(String((fields as { err: Error }).err.message)),
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-keys-'))
    file = join(folder, 'data', 'keys.json')
    complaints.length = 0
  })
  afterEach(() => {
    watched?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const read = () => JSON.parse(readFileSync(file, 'utf8'))
  const write = (content: unknown) => writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  const rotate = (families: readonly KeyFamily[], at = now + day, isUrgent = false) =>
    rotateKeys(file, { now: at, families, keepSealingSeconds: 43_200, isUrgent })

  it('keeps every audit key that ever signed, however many rotate at once', async () => {
    createKeysFile(file, now)
    const module = new URL('./keys-file.ts', import.meta.url).href
    const script = `
      const { rotateKeys } = await import(${JSON.stringify(module)})
      let rotations = 0
      for (let round = 0; round < 200; round++) {
        try {
          rotateKeys(${JSON.stringify(file)}, { now: ${now}, families: ['audit'], keepSealingSeconds: 1 })
          rotations += 1
        } catch (error) {
          if (!error.message.includes('another rotation')) throw error
        }
      }
      console.log(rotations)`
    const run = async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      let printed = ''
      for await (const chunk of child.stdout) printed += String(chunk)
      return Number(printed)
    }
    const rotations = await Promise.all([run(), run(), run()])
    expect(loadKeys(file, now).audit.all.size).toBe(1 + rotations.reduce((sum, count) => sum + count, 0))
  })

  it('is created once, for its owner alone, and leaves nothing else behind', () => {
    expect(createKeysFile(file, now)).toBe(true)
    const text = readFileSync(file, 'utf8')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(folder, 'data'))).toEqual(['keys.json'])
    expect(createKeysFile(file, now)).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(readdirSync(join(folder, 'data'))).toEqual(['keys.json'])
  })

  it('is created by one of several processes, and never seen half written', async () => {
    const module = JSON.stringify(new URL('./keys-file.ts', import.meta.url).href)
    const script = `import { createKeysFile, loadKeys } from ${module}
      const made = createKeysFile(process.argv[1], 1); console.log(made + ' ' + loadKeys(process.argv[1], 1).assertion.current.kid)`
    const outputs = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
        let output = ''
        for await (const chunk of child.stdout) output += String(chunk)
        return output.trim()
      }),
    )
    expect(outputs.filter((output) => output.startsWith('true '))).toHaveLength(1)
    expect(new Set(outputs.map((output) => output.split(' ')[1])).size).toBe(1)
  })

  it('holds keys that seal and sign', () => {
    createKeysFile(file, now)
    const ring = loadKeys(file, now)
    expect(open(ring, place, seal(ring, place, Buffer.from('text')))?.toString()).toBe('text')
    expect(ring.sealing.all.size).toBe(2)
    const { current, next, previous } = ring.assertion
    expect(previous).toBeUndefined()
    expect(next?.kid).not.toBe(current.kid)
    expect(current.publicJwk).toEqual({
      kty: 'EC',
      crv: 'P-256',
      x: expect.any(String),
      y: expect.any(String),
      kid: current.kid,
      alg: 'ES256',
      use: 'sig',
    })
    const signature = sign('sha256', Buffer.from('m'), current.privateKey)
    expect(verify('sha256', Buffer.from('m'), createPublicKey({ key: current.publicJwk, format: 'jwk' }), signature)).toBe(true)
  })

  it('names the command that makes it when it is missing', () => {
    expect(() => loadKeys(file, now)).toThrow(
      expect.objectContaining({ code: 'keys_missing', message: expect.stringContaining('postern keys generate') }),
    )
  })

  it('is refused when others may read or change it', () => {
    createKeysFile(file, now)
    for (const mode of [0o604, 0o644, 0o666, 0o620, 0o602, 0o601]) {
      chmodSync(file, mode)
      expect(() => loadKeys(file, now), mode.toString(8)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }))
    }
    for (const mode of [0o600, 0o400, 0o440, 0o640]) {
      chmodSync(file, mode)
      expect(loadKeys(file, now).assertion.current.kid).toBeTypeOf('string')
    }
  })

  it('is refused when anything in it is wrong, without repeating it', () => {
    createKeysFile(file, now)
    const good = read()
    const secret: string = good.sealing.current.key
    const broken: readonly unknown[] = [
      '',
      '{',
      `${JSON.stringify(good)}x`,
      '[]',
      'null',
      { ...good, version: 2 },
      { ...good, sealing: undefined },
      { ...good, assertion: null },
      { ...good, sealing: { ...good.sealing, retired: undefined } },
      { ...good, sealing: { ...good.sealing, current: { ...good.sealing.current, key: secret.slice(0, 40) } } },
      { ...good, sealing: { ...good.sealing, current: { ...good.sealing.current, key: '' } } },
      { ...good, sealing: { ...good.sealing, current: { ...good.sealing.current, id: '' } } },
      { ...good, sealing: { ...good.sealing, next: good.sealing.current } },
      { ...good, sealing: { ...good.sealing, next: { ...good.sealing.current, id: 'other' } } },
      { ...good, sealing: { ...good.sealing, retired: [{ ...good.sealing.current, id: 'r', key: good.sealing.next.key }] } },
      { ...good, assertion: { ...good.assertion, next: undefined } },
      { ...good, assertion: { ...good.assertion, previous: good.assertion.current } },
      { ...good, assertion: { ...good.assertion, current: { ...good.assertion.current, jwk: { kty: 'EC', crv: 'P-256', d: 'x' } } } },
      {
        ...good,
        assertion: { ...good.assertion, current: { ...good.assertion.current, jwk: { ...good.assertion.current.jwk, d: undefined } } },
      },
      { ...good, assertion: { ...good.assertion, current: { ...good.assertion.current, created_at: 'soon' } } },
      { ...good, audit: {} },
      { ...good, audit: 'none' },
      { ...good, audit: { ...good.audit, retired: undefined } },
      { ...good, audit: { ...good.audit, current: { ...good.audit.current, jwk: good.assertion.current.jwk } } },
      { ...good, audit: { ...good.audit, current: { ...good.audit.current, jwk: { ...good.audit.current.jwk, d: 'x' } } } },
      { ...good, audit: { ...good.audit, retired: [{ kid: 'old', created_at: good.audit.current.created_at, public_key: 'x' }] } },
      {
        ...good,
        audit: { ...good.audit, retired: [{ ...good.audit.current, jwk: undefined, public_key: good.audit.current.jwk.x }] },
      },
    ]
    for (const content of broken) {
      write(content)
      expect(() => loadKeys(file, now), JSON.stringify(content)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }))
      expect(() => loadKeys(file, now)).not.toThrow(new RegExp(secret.slice(0, 20)))
    }
  })

  it('rotates assertion keys so that no verifier meets an unknown kid', () => {
    createKeysFile(file, now)
    const before = loadKeys(file, now).assertion
    expect(rotate(['assertion'])).toBe(before.next?.kid)
    const after = loadKeys(file, now).assertion
    expect(after.current.kid).toBe(before.next?.kid)
    expect(after.previous?.kid).toBe(before.current.kid)
    expect([before.current.kid, before.next?.kid]).not.toContain(after.next?.kid)
    expect(loadKeys(file, now).sealing.current.id).toBe(read().sealing.current.id)
  })

  it('rotates no assertion key that was published less than 15 minutes ago, unless it is urgent', () => {
    createKeysFile(file, now)
    const text = readFileSync(file, 'utf8')
    expect(() => rotate(['assertion'], now + 899_000)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }))
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(rotate(['assertion'], now + 900_000)).toBeTypeOf('string')
    expect(rotate(['assertion'], now + 901_000, true)).toBeTypeOf('string')
  })

  it('rotates sealing keys so that every instance opens what any seals, and old keys leave in time', () => {
    createKeysFile(file, now)
    const before = loadKeys(file, now)
    const old = seal(before, place, Buffer.from('old'))
    rotate(['sealing'], now)
    const after = loadKeys(file, now)
    expect(after.sealing.current.id).not.toBe(before.sealing.current.id)
    expect(open(after, place, old)?.toString()).toBe('old')
    // An instance that still has the file of before.
    expect(open(before, place, seal(after, place, Buffer.from('new')))?.toString()).toBe('new')
    expect(open(loadKeys(file, now + 43_200_000 - 1), place, old)?.toString()).toBe('old')
    expect(open(loadKeys(file, now + 43_200_000), place, old)).toBeUndefined()
    expect(after.assertion.current.kid).toBe(before.assertion.current.kid)
    rotate(['sealing'], now + day)
    expect(read().sealing.retired).toHaveLength(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('rotates the audit key, and keeps the public half of every one that signed', () => {
    createKeysFile(file, now)
    const first = loadKeys(file, now).audit
    const signature = sign(null, Buffer.from('head'), first.current.privateKey)
    rotate(['audit'])
    rotate(['audit'], now + 2 * day)
    const { all, current } = loadKeys(file, now + 10_000 * day).audit
    expect(all.size).toBe(3)
    expect(current.kid).not.toBe(first.current.kid)
    expect(all.get(current.kid)).toBe(current.publicKey)
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: String(all.get(first.current.kid)) }, format: 'jwk' })
    expect(verify(null, Buffer.from('head'), publicKey, signature)).toBe(true)
    // Of a key that signs no more, nothing is left to sign with.
    expect(JSON.stringify(read().audit.retired)).not.toContain('"d"')
    expect(Object.keys(read().audit.retired[0])).toEqual(['kid', 'created_at', 'public_key'])
    expect(loadKeys(file, now).assertion.current.kid).toBe(read().assertion.current.kid)
  })

  it('that was made before there was an audit key has the same one for whoever reads it, until it is written', () => {
    createKeysFile(file, now)
    const { audit: _, ...before } = read()
    write(before)
    const derived = loadKeys(file, now).audit
    copyFileSync(file, `${file}.elsewhere`)
    expect(loadKeys(`${file}.elsewhere`, now + day).audit.current.kid).toBe(derived.current.kid)
    const signature = sign(null, Buffer.from('head'), derived.current.privateKey)
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: derived.current.publicKey }, format: 'jwk' })
    expect(verify(null, Buffer.from('head'), publicKey, signature)).toBe(true)
    // The key that it comes from leaves; it stays.
    rotate(['sealing'])
    expect(loadKeys(file, now + 10 * day).audit.current.kid).toBe(derived.current.kid)
    expect(read().audit.current.kid).toBe(derived.current.kid)
    rotate(['sealing'], now + 2 * day)
    rotate(['audit'], now + 2 * day)
    expect(loadKeys(file, now + 10 * day).audit.all.get(derived.current.kid)).toBe(derived.current.publicKey)
  })

  it('stays its owner’s, and readable for its group, whoever rotates it', () => {
    createKeysFile(file, now)
    chmodSync(file, 0o640)
    // Only root can give a file away; anybody else sees the mode kept.
    const isRoot = process.getuid?.() === 0
    if (isRoot) chownSync(file, 65_534, 65_534)
    rotate(['sealing'])
    const { uid, gid, mode } = statSync(file)
    expect(mode & 0o777).toBe(0o640)
    if (isRoot) expect([uid, gid]).toEqual([65_534, 65_534])
    expect(loadKeys(file, now).sealing.all.size).toBe(3)
  })

  it('lets one rotation happen at a time', () => {
    createKeysFile(file, now)
    writeFileSync(`${file}.new`, '')
    expect(() => rotate(['sealing'])).toThrow(/another rotation/)
    rmSync(`${file}.new`)
    rotate(['sealing'])
    expect(existsSync(`${file}.new`)).toBe(false)
  })

  it('says when the keys in use were made, also after a rotation', async () => {
    createKeysFile(file, now)
    watched = watchKeys(file, { log, now: () => now, pollSeconds: 0.05 })
    expect(watched.createdAt()).toEqual({ sealing: now, assertion: now, audit: now })
    // What was made by the rotation before comes into use with the next.
    rotate(['assertion'], now + day)
    rotate(['assertion'], now + 2 * day)
    await expect.poll(() => watched?.createdAt()).toEqual({ sealing: now, assertion: now + day, audit: now })
  })

  it('is followed while it changes, and a bad one changes nothing', async () => {
    createKeysFile(file, now)
    const rotated: string[] = []
    watched = watchKeys(file, { log, now: () => now, pollSeconds: 0.05, onRotated: (kid) => void rotated.push(kid) })
    const first = watched.current()
    const kid = rotate(['assertion'])
    await expect.poll(() => watched?.current().assertion.current.kid).toBe(kid)
    expect(rotated).toEqual([kid])
    copyFileSync(file, `${file}.kept`)
    write('{ "half": ')
    await expect.poll(() => complaints.length).toBeGreaterThan(0)
    expect(watched.current().assertion.current.kid).toBe(kid)
    rmSync(file)
    await expect.poll(() => complaints.length).toBeGreaterThan(1)
    expect(watched.current().assertion.current.kid).toBe(kid)
    chmodSync(`${file}.kept`, 0o600)
    renameSync(`${file}.kept`, file)
    const third = rotate(['assertion'], now + 2 * day)
    await expect.poll(() => watched?.current().assertion.current.kid).toBe(third)
    expect(first.assertion.current.kid).not.toBe(third)
  })

  it('tells of another key that seals, once, and of no other change', async () => {
    createKeysFile(file, now)
    const told: string[] = []
    watched = watchKeys(file, { log, now: () => now, pollSeconds: 0.05, onSealingRotated: () => void told.push('told') })
    const kid = rotate(['assertion'])
    await expect.poll(() => watched?.current().assertion.current.kid).toBe(kid)
    expect(told).toEqual([])
    const before = watched.current().sealing.current.id
    rotate(['sealing'])
    await expect.poll(() => watched?.current().sealing.current.id).not.toBe(before)
    expect(told).toHaveLength(1)
  })

  it('tells of another key that signs the audit trail, once, and of no other change', async () => {
    createKeysFile(file, now)
    const told: string[] = []
    watched = watchKeys(file, { log, now: () => now, pollSeconds: 0.05, onAuditRotated: (kid) => void told.push(kid) })
    const kid = rotate(['assertion', 'sealing'])
    await expect.poll(() => watched?.current().assertion.current.kid).toBe(kid)
    expect(told).toEqual([])
    rotate(['audit'])
    await expect.poll(() => told).toEqual([read().audit.current.kid])
    expect(watched.current().audit.all.size).toBe(2)
  })

  it('drops a retired key from a running ring when its time is over', async () => {
    createKeysFile(file, now)
    rotate(['sealing'], now)
    let time = now
    watched = watchKeys(file, { log, now: () => time, pollSeconds: 0.02 })
    expect(watched.current().sealing.all.size).toBe(3)
    time += 43_200_000
    await expect.poll(() => watched?.current().sealing.all.size).toBe(2)
  })
})
