/** The embedded store: the contract, and what only a file can get wrong. */

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createEmbeddedStore } from './embedded.ts'
import { storeContract } from './stores.contract.ts'

const folders: string[] = []
function freshFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'postern-embedded-'))
  folders.push(folder)
  return join(folder, 'data', 'store.db')
}

storeContract('the embedded store', async () => {
  let shift = 0
  const store = createEmbeddedStore({ file: freshFile(), now: () => Date.now() + shift })
  return {
    store,
    moveTime: (milliseconds) => {
      shift += milliseconds
    },
    close: () => store.close(),
  }
})

describe('the embedded store', () => {
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  })

  it('keeps everything over a restart', async () => {
    const file = freshFile()
    const first = createEmbeddedStore({ file, now: Date.now })
    const expiresAt = Date.now() + 60_000
    await first.createRecord('session:a', Buffer.from('kept'), expiresAt)
    await first.addToIndex('subject:a', 'a', expiresAt)
    const at = await first.recordEnds([{ kind: 'session', idHash: 'h', cause: 'revoked' }], 60)
    await first.createDurable('device:a', Buffer.from('laptop'))
    await first.close()
    const second = createEmbeddedStore({ file, now: Date.now })
    expect(await second.loadRecord('session:a')).toEqual({ value: Buffer.from('kept'), version: 1, expiresAt })
    expect(await second.loadIndex('subject:a')).toEqual(['a'])
    expect(await second.loadDurable('device:a')).toEqual({ value: Buffer.from('laptop'), version: 1 })
    expect(await second.loadEnds([{ kind: 'session', idHash: 'h' }])).toEqual([{ kind: 'session', idHash: 'h', at, cause: 'revoked' }])
    await second.close()
  })

  it('gives its files to nobody else', async () => {
    const file = freshFile()
    const store = createEmbeddedStore({ file, now: Date.now })
    await store.createRecord('session:a', Buffer.from('x'), Date.now() + 60_000)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(`${file}-wal`).mode & 0o777).toBe(0o600)
    await store.close()
  })

  it('refuses a file that another process has open, at once', async () => {
    const file = freshFile()
    const store = createEmbeddedStore({ file, now: Date.now })
    const other = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { createEmbeddedStore } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)}
         try { createEmbeddedStore({ file: process.argv[1], now: Date.now }); console.log('opened') }
         catch (error) { console.log(error.code) }`,
        file,
      ],
      { encoding: 'utf8' },
    )
    expect(other.stdout.trim()).toBe('session_store_unavailable')
    await store.close()
    await createEmbeddedStore({ file, now: Date.now }).close()
  })

  it('has every confirmed write after the process was killed, and is free again', async () => {
    const file = freshFile()
    const script = `import { createEmbeddedStore } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)}
      const store = createEmbeddedStore({ file: process.argv[1], now: Date.now })
      for (let i = 0; ; i++) {
        await store.createRecord('session:' + i, Buffer.from(String(i)), Date.now() + 60_000)
        await store.recordEnds([{ kind: 'session', idHash: 'h' + i, cause: 'revoked' }], 60)
        await new Promise((resolve) => process.stdout.write(i + '\\n', resolve))
      }`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    let confirmed = 0
    for await (const chunk of child.stdout) {
      confirmed = Number(String(chunk).trim().split('\n').at(-1))
      if (confirmed >= 20) child.kill('SIGKILL')
    }
    const store = createEmbeddedStore({ file, now: Date.now })
    for (let i = 0; i < 20; i++) {
      expect((await store.loadRecord(`session:${i}`))?.value.toString()).toBe(String(i))
      expect((await store.loadEnds([{ kind: 'session', idHash: `h${i}` }]))[0]?.cause).toBe('revoked')
    }
    await store.close()
  })

  it('sweeps what expired', async () => {
    const file = freshFile()
    let now = 1_000
    const store = createEmbeddedStore({ file, now: () => now, sweepEverySeconds: 0.01 })
    await store.createRecord('session:a', Buffer.from('x'), 2_000)
    now = 3_000
    // Seen by going back in time: what was swept does not come back.
    await expect
      .poll(async () => {
        now = 1_500
        const record = await store.loadRecord('session:a')
        now = 3_000
        return record
      })
      .toBeUndefined()
    await store.close()
  })

  it('tells the log, once a kind, and the metrics, each time, of a disk that fails', async () => {
    const file = freshFile()
    // A limit on the size of files cuts writes short, as a full disk does, and needs no rights.
    const program = `
      import { createEmbeddedStore } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)}
      const told = []
      let refusals = 0
      const log = { error: (facts) => told.push(facts.kind) }
      const store = createEmbeddedStore({ file: process.argv[1], now: Date.now, log, onUnavailable: () => { refusals += 1 } })
      const big = Buffer.alloc(1_000_000)
      let failed = 0
      for (let i = 0; i < 5; i++) await store.createRecord('session:' + i, big, Date.now() + 60_000).catch(() => { failed += 1 })
      console.log(JSON.stringify({ told, isEachCounted: refusals === failed, hasFailed: failed > 1 }))`
    const limited = spawnSync('sh', ['-c', 'ulimit -f 2000; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, program, file], {
      encoding: 'utf8',
    })
    expect(JSON.parse(limited.stdout)).toEqual({ told: [expect.stringMatching(/^sqlite_/)], isEachCounted: true, hasFailed: true })
  })

  it('rejects with one code after it was closed', async () => {
    const store = createEmbeddedStore({ file: freshFile(), now: Date.now })
    await store.close()
    await store.close()
    await expect(store.loadRecord('session:a')).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await expect(store.checkReady()).rejects.toMatchObject({ code: 'session_store_unavailable' })
  })
})
