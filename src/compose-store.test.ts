/** How a command comes to the store: directly, through a running instance, by waiting for who is in the way, or not at all. */

import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startRedis } from '../e2e/support/redis.ts'
import { type AdministeredStore, listenForAdministration, openAdministeredStore, openStore } from './compose-store.ts'
import { type InstanceConfiguration, Secret } from './config/instance.ts'
import { silentLog } from './session/session.fixture.ts'

type StoreConfiguration = Pick<InstanceConfiguration, 'session' | 'dataDir'>

const parts = { now: () => Date.now(), log: silentLog }
const event = { event: 'token.revoked', actor: 'os:a@b', token: 't', name: 'n', scopes: undefined, expiresAt: undefined } as const

describe('a command', () => {
  let dataDir: string
  const cleanUps: (() => unknown)[] = []
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'postern-compose-'))
    cleanUps.push(() => rmSync(dataDir, { recursive: true, force: true }))
  })
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  })

  function configurationOf(store: InstanceConfiguration['session']['store'], folder = dataDir): StoreConfiguration {
    const seconds = { idleTimeoutSeconds: 1, lifetimeSeconds: 1, refreshAfterSeconds: 1, claimsMaxAgeSeconds: 1 }
    return { session: { store, ...seconds } as InstanceConfiguration['session'], dataDir: folder }
  }
  const embedded = (folder?: string) => configurationOf({ kind: 'embedded' }, folder)
  async function open(configuration: StoreConfiguration): Promise<AdministeredStore> {
    const opened = await openAdministeredStore(configuration, parts)
    cleanUps.push(() => opened.store.close())
    return opened
  }
  async function serve(configuration = embedded()) {
    const store = await openStore(configuration, parts)
    cleanUps.push(() => store.close())
    return store
  }

  it('opens the file where no instance runs', async () => {
    const { store, recordEvent } = await open(embedded())
    expect(await store.createDurable('device:a', Buffer.from('x'))).toBe(true)
    expect(recordEvent).toBeUndefined()
    expect(statSync(join(dataDir, 'store.sqlite')).mode & 0o777).toBe(0o600)
  })

  it('asks the instance that has the file open, and hands it what belongs into its trail', async () => {
    const store = await serve()
    const recorded: unknown[] = []
    const commands = await listenForAdministration(embedded(), { store, record: (one) => recorded.push(one) > 0, log: silentLog })
    cleanUps.push(() => commands.close())
    await store.createDurable('device:a', Buffer.from('of the instance'))
    const opened = await open(embedded())
    expect((await opened.store.loadDurable('device:a'))?.value.toString()).toBe('of the instance')
    await opened.recordEvent?.(event)
    expect(recorded).toEqual([event])
  })

  it('waits for a moment where the file is in use and nobody listens, as when an instance stops', async () => {
    const store = await serve()
    const opening = open(embedded())
    opening.catch(() => undefined)
    // Asked after the command, so its answer comes after the command's: by then that has met the file in use.
    await new Promise((resolve) => connect(join(dataDir, 'control.sock')).once('error', resolve))
    await store.close()
    await (await opening).store.checkReady()
  })

  it('says who is in the way where that does not end', async () => {
    await serve()
    await expect(open(embedded())).rejects.toMatchObject({
      code: 'session_store_unavailable',
      message: expect.stringMatching(/another process has the session store open; nobody listens on .*control\.sock/),
    })
  })

  it('says what to do where an instance cannot listen because its folder has too long a name', async () => {
    const folder = join(dataDir, 'x'.repeat(100))
    mkdirSync(folder)
    const store = await serve(embedded(folder))
    const commands = await listenForAdministration(embedded(folder), { store, record: () => true, log: silentLog })
    cleanUps.push(() => commands.close())
    await expect(open(embedded(folder))).rejects.toThrow('shorter data_dir')
    await store.close()
    await (await open(embedded(folder))).store.checkReady()
  })

  it('uses Redis itself, and says so where that does not answer', async () => {
    const redis = await startRedis({ password: 'a-password' })
    cleanUps.push(() => redis.close())
    const configuration = configurationOf({ kind: 'redis', url: new Secret(redis.url) })
    const { store, recordEvent } = await open(configuration)
    expect(await store.createDurable('device:a', Buffer.from('x'))).toBe(true)
    expect(recordEvent).toBeUndefined()
    await redis.stop()
    const failure: unknown = await open(configuration).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'session_store_unavailable' })
    expect(String(failure)).not.toContain('a-password')
  })
})
