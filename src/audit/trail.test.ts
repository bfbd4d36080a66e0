/** The trail on a real disk: order, rotation, failure and recovery, and a process that is killed in mid-write. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AuditEvent, AuditTrail } from './event.ts'
import { type AuditTrailOptions, createAuditTrail } from './trail.ts'

let folder: string
let trails: AuditTrail[] = []
const errors: string[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-audit-'))
  errors.length = 0
})

afterEach(async () => {
  for (const trail of trails) await trail.close()
  trails = []
  await rm(folder, { recursive: true, force: true })
})

describe('the trail', () => {
  it('writes one line an event, in order, with time, event and instance first', async () => {
    const trail = create()
    for (let index = 0; index < 5000; index += 1) trail.record(decided({ request: `r${index}` }))
    await trail.close()
    const lines = await readTrail()
    expect(lines.map(({ request }) => request)).toEqual(Array.from({ length: 5000 }, (_, index) => `r${index}`))
    expect(lines[0]).toMatchObject({ at: '2026-11-22T10:00:00.000Z', event: 'access.decided', instance: 'one', app: 'wiki' })
    expect(Object.keys(lines[0] ?? {}).slice(0, 3)).toEqual(['at', 'event', 'instance'])
  })

  it('writes without being closed', async () => {
    create().record(decided())
    await vi.waitFor(async () => expect(await readTrail()).toHaveLength(1))
  })

  it('begins a new file when one is full', async () => {
    const trail = create({ segmentBytes: 1000, gatherMs: 0 })
    for (let index = 0; index < 10; index += 1) {
      trail.record(decided({ request: `r${index}` }))
      await vi.waitFor(async () => expect(await readTrail()).toHaveLength(index + 1))
    }
    const names = await readdir(join(folder, 'one-1'))
    expect(names.length).toBeGreaterThan(2)
    expect(names.toSorted()[0]).toBe('00000001.ndjson')
  })

  it('never opens a file of an earlier process, so that a torn last line stays the last of its file', async () => {
    await mkdir(join(folder, 'one-1'))
    await writeFile(join(folder, 'one-1', '00000007.ndjson'), '{"event":"whole"}\n{"event":"to')
    const trail = create()
    trail.record(decided())
    await trail.close()
    expect(await readFile(join(folder, 'one-1', '00000007.ndjson'), 'utf8')).toBe('{"event":"whole"}\n{"event":"to')
    expect(await readdir(join(folder, 'one-1'))).toContain('00000008.ndjson')
  })

  it('shares a folder with other processes without writing into their files', async () => {
    const several = Array.from({ length: 12 }, () => create())
    for (const [index, trail] of several.entries()) trail.record(decided({ request: `r${index}` }))
    await Promise.all(several.map((trail) => trail.close()))
    expect(await readdir(join(folder, 'one-1'))).toHaveLength(12)
    expect(await readTrail()).toHaveLength(12)
  })

  it('keeps its folder in place whatever the instance is called', async () => {
    const trail = create({ instance: '../../etc', process: '..' })
    trail.record(decided())
    await trail.close()
    expect(await readdir(folder)).toEqual(['__.._etc-_'])
  })

  it('can be read by its owner alone', async () => {
    const trail = create()
    trail.record(decided())
    await trail.close()
    expect((await stat(join(folder, 'one-1'))).mode & 0o777).toBe(0o700)
    expect((await stat(join(folder, 'one-1', '00000001.ndjson'))).mode & 0o777).toBe(0o600)
  })
})

describe('a trail that cannot be written', () => {
  it('says so, keeps what it can, recovers by itself and states the gap', async () => {
    // A file where the folder should be: the one obstacle that also stops root.
    await writeFile(join(folder, 'one-1'), '')
    let told = 0
    const onLost = () => {
      told += 1
    }
    const trail = create({ queueBytes: 1000, retryMs: 5, onLost })
    expect(trail.isWritable()).toBe(true)
    for (let index = 0; index < 20; index += 1) trail.record(decided({ request: `r${index}` }))
    await vi.waitFor(() => expect(errors).toEqual(['the audit trail cannot be written']))
    expect(trail.isWritable()).toBe(false)

    await rm(join(folder, 'one-1'))
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true))
    trail.record(decided({ request: 'after' }))
    await trail.close()
    const lines = await readTrail()
    const kept = lines.filter(({ request }) => request?.startsWith('r')).length
    expect(kept).toBeGreaterThan(0)
    expect(told).toBe(20 - kept)
    expect(lines.find(({ event }) => event === 'audit.resumed')).toMatchObject({ lost: 20 - kept, since: '2026-11-22T10:00:00.000Z' })
    expect(lines.at(-1)).toMatchObject({ request: 'after' })
  })

  it('keeps room for ends when traffic has filled the queue', async () => {
    await writeFile(join(folder, 'one-1'), '')
    const trail = create({ queueBytes: 1000, retryMs: 5 })
    for (let index = 0; index < 20; index += 1) trail.record(decided())
    trail.record({ event: 'session.ended', request: undefined, session: 's1', subject: { kind: 'person' }, cause: 'revoked' })
    await rm(join(folder, 'one-1'))
    await trail.close()
    expect((await readTrail()).map(({ event }) => event)).toContain('session.ended')
  })

  it('notices that its folder was deleted', async () => {
    const trail = create({ gatherMs: 0 })
    trail.record(decided({ request: 'before' }))
    await vi.waitFor(async () => expect(await readTrail()).toHaveLength(1))
    await rm(join(folder, 'one-1'), { recursive: true })
    await vi.waitFor(
      async () => {
        trail.record(decided({ request: 'after' }))
        expect(await readdir(join(folder, 'one-1'))).toHaveLength(1)
      },
      { timeout: 5000, interval: 50 },
    )
  })

  it('takes a batch back of which only a part fitted', async () => {
    // The shell's limit on file size cuts a write short, as a full disk does, and needs no rights.
    const program = `
      import { createSegments } from ${JSON.stringify(new URL('./segments.ts', import.meta.url).href)}
      const segments = createSegments(${JSON.stringify(join(folder, 'limited'))}, 1e9, () => 0)
      const batch = Buffer.from(('{"filler":"' + 'x'.repeat(1000) + '"}\\n').repeat(90))
      let batches = 0
      try { for (;;) { await segments.append(batch); batches += 1 } } catch (error) { console.log(batches, error.code) }
      await segments.append(Buffer.from('{"last":true}\\n'))
    `
    const child = spawn('sh', ['-c', 'ulimit -f 512; exec "$0" --input-type=module -e "$1"', process.execPath, program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    await once(child, 'exit')
    expect(output).toMatch(/^\d+ EFBIG$/m)
    const lines = (await readFile(join(folder, 'limited', '00000001.ndjson'), 'utf8')).split('\n')
    expect(lines.slice(-2)).toEqual(['{"last":true}', ''])
    expect(lines).toHaveLength(Number(output.split(' ')[0]) * 90 + 2)
  })

  it('closes without an exception, and what comes later is not an error', async () => {
    await writeFile(join(folder, 'one-1'), '')
    const trail = create()
    trail.record(decided())
    await trail.close()
    trail.record(decided())
    expect(trail.isWritable()).toBe(false)
    await trail.close()
    expect(errors).toContain('audit lines were lost at shutdown')
  })
})

describe('strangers', () => {
  const anonymous = { subject: { kind: 'nobody' }, session: undefined } as const

  it('are counted by address, app and reason; others are listed', async () => {
    const trail = create()
    for (let index = 0; index < 100; index += 1) {
      trail.record(decided({ ...anonymous, effect: 'challenge', reason: 'login_required', rule: undefined }))
      trail.record(decided({ ...anonymous, effect: 'deny', reason: 'app_not_found', app: undefined, address: '192.0.2.9' }))
    }
    trail.record(decided({ ...anonymous, effect: 'allow', reason: 'public' }))
    trail.record(decided({ effect: 'deny', reason: 'no_rule_matched' }))
    await trail.close()
    const lines = await readTrail()
    expect(lines.filter(({ event }) => event === 'access.decided').map(({ reason }) => reason)).toEqual(['public', 'no_rule_matched'])
    expect(lines.filter(({ event }) => event === 'access.counted')).toEqual([
      expect.objectContaining({ address: '192.0.2.1', app: 'wiki', reason: 'login_required', count: 100 }),
      expect.objectContaining({ address: '192.0.2.9', reason: 'app_not_found', count: 100, since: '2026-11-22T10:00:00.000Z' }),
    ])
  })

  it('cannot fill the disk with failed sign-ins', async () => {
    const trail = create()
    for (let index = 0; index < 1000; index += 1) {
      trail.record({ event: 'sign_in.failed', request: `r${index}`, reason: 'sign_in_invalid', error: undefined, address: '192.0.2.1' })
    }
    await trail.close()
    const lines = await readTrail()
    expect(lines.filter(({ event }) => event === 'sign_in.failed')).toHaveLength(10)
    expect(lines.at(-1)).toMatchObject({ event: 'access.counted', count: 990 })
  })
})

it('leaves only whole lines, but for the last of the last file, when its process is killed', { timeout: 60_000 }, async () => {
  for (let round = 0; round < 3; round += 1) {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./trail.fixture.ts', import.meta.url)), folder], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const exited = once(child, 'exit')
    await vi.waitFor(async () => expect(await bytesWritten('killed-1')).toBeGreaterThan(400_000 * (round + 1)), { timeout: 15_000 })
    child.kill('SIGKILL')
    await exited
  }
  const names = (await readdir(join(folder, 'killed-1'))).toSorted()
  expect(names.length).toBeGreaterThanOrEqual(3)
  let whole = 0
  for (const name of names) {
    const lines = (await readFile(join(folder, 'killed-1', name), 'utf8')).split('\n')
    const torn = lines.pop()
    expect(torn).toBeTypeOf('string')
    for (const line of lines) {
      expect(['access.decided', 'audit.resumed']).toContain(JSON.parse(line).event)
      whole += 1
    }
  }
  expect(whole).toBeGreaterThan(500)
})

function create(changes: Partial<AuditTrailOptions> = {}): AuditTrail {
  const report = (_fields: unknown, message?: string) => void errors.push(message ?? '')
  const trail = createAuditTrail({
    folder,
    instance: 'one',
    process: '1',
    now: () => Date.parse('2026-11-22T10:00:00Z'),
    log: { warn: () => undefined, error: report },
    ...changes,
  })
  trails.push(trail)
  return trail
}

function decided(changes: Partial<Extract<AuditEvent, { event: 'access.decided' }>> = {}): AuditEvent {
  return {
    event: 'access.decided',
    request: 'r',
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1' },
    session: 's1',
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: '/',
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-0',
    address: '192.0.2.1',
    userAgent: undefined,
    claimsAt: undefined,
    claimsState: undefined,
    ...changes,
  }
}

async function bytesWritten(name: string): Promise<number> {
  const files = await readdir(join(folder, name)).catch(() => [])
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(folder, name, file))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function readTrail(): Promise<Record<string, string>[]> {
  const names = await readdir(join(folder, 'one-1')).catch(() => [])
  const texts = await Promise.all(names.toSorted().map((name) => readFile(join(folder, 'one-1', name), 'utf8')))
  return texts
    .join('')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}
