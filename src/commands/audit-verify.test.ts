/** `postern audit verify` and `postern audit prune`, as commander runs them, on real files. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Anchor, Anchors } from '../audit/chain.ts'
import { lockFolder } from '../audit/folder-lock.ts'
import { openAuditTrail } from '../audit/trail.ts'
import { buildChain, createMemoryAnchors, createTestAuditKey } from '../audit/verify.fixture.ts'
import type { Administration } from '../compose-administration.ts'
import { PosternError } from '../errors.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace } from '../session/session.fixture.ts'
import { registerAuditPrune } from './audit-prune.ts'
import { registerAuditVerify } from './audit-verify.ts'

const key = createTestAuditKey()
const ring = { ...createTestRing(), audit: { current: key, all: new Map([[key.kid, key.publicKey]]) } }
const start = Date.UTC(2026, 0, 1)
const day = 86_400_000

describe('postern audit', () => {
  let home: string
  let folder: string
  let config: string
  let output: string
  let place: StorePlace
  let isStoreAway: boolean
  let anchors: Anchor[]
  let listAnchors: Anchors['list'] | undefined
  const now = () => start + 100 * day

  beforeEach(async () => {
    home = mkdtempSync(join(tmpdir(), 'postern-audit-command-'))
    folder = join(home, 'data', 'audit')
    mkdirSync(folder, { recursive: true })
    config = join(home, 'postern.yaml')
    const provider = '{ issuer: https://login.corp.example, client_id: postern, client_secret: "0123456789abcdef0123456789abcdef" }'
    writeFileSync(config, `url: https://access.corp.example\nprovider: ${provider}\ndata_dir: data\n`, { mode: 0o600 })
    output = ''
    isStoreAway = false
    anchors = []
    listAnchors = undefined
    place = await openEmbeddedPlace()
    const print = (text: unknown) => {
      output += `${String(text)}\n`
    }
    vi.spyOn(console, 'log').mockImplementation(print)
    vi.spyOn(console, 'error').mockImplementation(print)
    process.exitCode = undefined
  })
  afterEach(async () => {
    process.exitCode = undefined
    vi.restoreAllMocks()
    await place.close()
    rmSync(home, { recursive: true, force: true })
  })

  /** Four segments of a day each. */
  function build(chain = 'host-0'): Anchor {
    const builder = buildChain(folder, chain, key, start)
    for (let one = 1; one <= 4; one++) {
      builder.decisions(20)
      if (one < 4) builder.endSegment()
      else builder.checkpoint()
      builder.setClock(start + one * day)
    }
    anchors.push(builder.anchor())
    return builder.anchor()
  }

  async function run(...args: string[]): Promise<number | undefined> {
    const program = new Command('postern').exitOverride()
    program.configureOutput({ writeErr: () => undefined })
    const audit = program.command('audit')
    registerAuditVerify(audit, {
      now,
      loadAuditKeys: () => ring.audit.all,
      openAnchors: async () => {
        if (isStoreAway) throw new PosternError('session_store_unavailable', 'not connected')
        return { anchors: { list: listAnchors ?? createMemoryAnchors(anchors).list }, close: async () => undefined }
      },
    })
    registerAuditPrune(audit, { now, openAdministration: openForPruning })
    process.exitCode = undefined
    output = ''
    await program.parseAsync(['audit', ...args], { from: 'user' })
    return process.exitCode as number | undefined
  }

  /** What a command is given where no instance runs: a trail of its own. */
  async function openForPruning(): Promise<Administration> {
    const trail = await openAuditTrail({
      ...{ folder, instance: 'host', process: 'command', key: () => key, now, reserveBytes: 0 },
      log: { warn: () => undefined, error: () => undefined },
    })
    const administration: Pick<Administration, 'actor' | 'keys' | 'recordFirst' | 'store' | 'close'> = {
      actor: 'os:root@host',
      keys: () => ring,
      store: place.store,
      recordFirst: async (event) => {
        trail.record(event)
        expect(await trail.settle()).toBe(true)
      },
      close: () => trail.close(),
    }
    return administration as Administration
  }

  it('calls a trail complete that the store remembers to its end', async () => {
    build()
    expect(await run('verify', '--config', config)).toBe(0)
    expect(output).toBe('host-0: verified and complete: lines 1 to 88 in 4 segments; the store remembers line 88\nverified\n')
    expect(await run('verify', '--config', config, '--json')).toBe(0)
    expect(JSON.parse(output)).toEqual({
      verified: true,
      complete: true,
      store: 'read',
      chains: [
        {
          ...{ folder, chain: 'host-0', lines: 88, segments: 4, first_seq: 1, last_seq: 88, signed_through: 88 },
          ...{ anchored: 'reached', anchored_seq: 88, pruned_through: null, torn_bytes: 0, lost: 0, findings: [], more_findings: 0 },
        },
      ],
      elsewhere: [],
    })
  })

  it('never calls a trail complete where the store could not be asked, and says what that means', async () => {
    build()
    isStoreAway = true
    expect(await run('verify', '--config', config)).toBe(0)
    expect(output).toContain('verified up to the checkpoint at seq 88')
    expect(output).toContain('what the store remembers could not be read (not connected)')
    expect(output).not.toContain('and complete')
    await run('verify', '--config', config, '--json')
    expect(JSON.parse(output)).toMatchObject({ verified: true, complete: false, store: 'unread' })
  })

  it('takes what it can where one of the anchors does not open', async () => {
    build()
    const whole = createMemoryAnchors(anchors)
    isStoreAway = false
    listAnchors = async function* () {
      yield* whole.list()
      throw new PosternError('record_unreadable', 'one does not open')
    }
    expect(await run('verify', '--config', config, '--json')).toBe(0)
    expect(JSON.parse(output)).toMatchObject({ verified: true, complete: false, store: 'unread', chains: [{ anchored: 'reached' }] })
  })

  it('verifies folders with public keys alone, without a configuration', async () => {
    build()
    const publicKey = `${key.kid}=${key.publicKey}`
    expect(await run('verify', '--dir', folder, '--public-key', publicKey)).toBe(0)
    expect(output).toContain('no configuration was named')
    const other = createTestAuditKey()
    expect(await run('verify', '--dir', folder, '--public-key', `${key.kid}=${other.publicKey}`)).toBe(1)
    expect(output).toContain('NOT VERIFIED')
    expect(await run('verify', '--dir', folder, '--public-key', `other=${other.publicKey}`, '--public-key', publicKey)).toBe(0)
    await expect(run('verify', '--dir', folder, '--public-key', 'nonsense')).rejects.toMatchObject({ code: 'commander.invalidArgument' })
  })

  it('names the line that was changed', async () => {
    build()
    const path = join(folder, 'host-0', '00000002.ndjson')
    writeFileSync(path, readFileSync(path, 'utf8').replace('request-30', 'request-3x'))
    expect(await run('verify', '--config', config)).toBe(1)
    expect(output).toMatch(/^host-0: NOT VERIFIED: 1 finding in lines 1 to 88/)
    expect(output).toContain(`  changed  ${path}:9 (seq 31): line 32 refers to another text of it`)
    await run('verify', '--config', config, '--json')
    expect(JSON.parse(output)).toMatchObject({
      verified: false,
      chains: [{ findings: [{ kind: 'changed', line: 9, seq: 31, file: path }] }],
    })
    // From later on there is nothing wrong.
    expect(await run('verify', '--config', config, '--since', '2026-01-03T12:00:00Z')).toBe(0)
    expect(output).toContain('lines 45 to 88 in 2 segments')
  })

  it('misses a chain that the store of a single instance remembers', async () => {
    build()
    anchors.push({ chain: 'host-1', seq: 7, hash: 'x'.repeat(43), segment: 1, at: start })
    expect(await run('verify', '--config', config)).toBe(1)
    expect(output).toContain('chain_missing')
    expect(await run('verify', '--config', config, '--dir', folder)).toBe(0)
    expect(output).toContain('not in these folders, and remembered by the store: host-1')
  })

  it('ends with status 2 where there is nothing to verify', async () => {
    await expect(run('verify', '--config', config)).rejects.toMatchObject({ code: 'audit_unavailable' })
    await expect(run('verify', '--dir', join(home, 'nowhere'))).rejects.toMatchObject({ code: 'audit_unavailable' })
    expect(await run('verify', '--config', join(home, 'none.yaml'))).toBe(2)
  })

  it('shows nothing that a terminal would act upon', async () => {
    build()
    const path = join(folder, 'host-0', '00000001.ndjson')
    writeFileSync(path, readFileSync(path, 'utf8').replace('"chain":"host-0"', '"chain":"\u001b[2Jx"'))
    expect(await run('verify', '--config', config)).toBe(1)
    expect(output).not.toContain('\u001b')
  })

  it('prunes what is old, and what is left verifies', async () => {
    build()
    const age = `${98 * 24}h`
    expect(await run('prune', '--config', config, '--older-than', age, '--dry-run')).toBeUndefined()
    expect(output).toContain('Would remove 1 segments of host-0')
    expect(readdirSync(join(folder, 'host-0'))).toContain('00000001.ndjson')
    await run('prune', '--config', config, '--older-than', age, '--json')
    expect(JSON.parse(output)).toMatchObject({ dry_run: false, pruned: [{ chain: 'host-0', segments: 1, through_seq: 22, whole: false }] })
    expect(readdirSync(join(folder, 'host-0'))).not.toContain('00000001.ndjson')
    expect(await run('verify', '--config', config)).toBe(0)
    expect(output).toContain('pruned through seq 22, by a signed statement')
    const own = readFileSync(join(folder, 'host-command', '00000001.ndjson'), 'utf8')
    expect(own).toContain('"actor":"os:root@host","chain":"host-0","segments":1,"through_seq":22')
    expect(own).toContain('"cause":"command"')
  })

  it('prunes to a size, and leaves the last segment of a chain that is being written', async () => {
    build()
    const lock = await lockFolder(join(folder, 'host-0'))
    try {
      await run('prune', '--config', config, '--to-size', '1B')
    } finally {
      lock?.release()
    }
    expect(readdirSync(join(folder, 'host-0')).filter((name) => name.includes('ndjson'))).toEqual(['00000004.ndjson'])
    expect(await run('verify', '--config', config)).toBe(0)
    await run('prune', '--config', config, '--older-than', '1d')
    expect(readdirSync(folder)).toEqual(['host-command'])
    anchors = []
    expect(await run('verify', '--config', config)).toBe(0)
  })

  it('prunes nothing that was not asked for', async () => {
    build()
    expect(await run('prune', '--config', config)).toBe(2)
    await run('prune', '--config', config, '--older-than', '200d')
    expect(output).toContain('Nothing is to be removed.')
    await expect(run('prune', '--config', config, '--older-than', '90')).rejects.toMatchObject({ code: 'commander.invalidArgument' })
    await expect(run('prune', '--config', config, '--to-size', '5')).rejects.toMatchObject({ code: 'commander.invalidArgument' })
    expect(await run('verify', '--config', config)).toBe(0)
  })
})
