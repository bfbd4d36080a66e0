/** Numbers and warnings that the metrics gather from the parts of an instance. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { composeMetrics, type MeasuredParts } from './compose-metrics.ts'
import { createKeysFile, type WatchedKeys, watchKeys } from './keys-file.ts'
import { silentLog } from './session/session.fixture.ts'

const day = 86_400_000
const madeAt = Date.UTC(2026, 0, 1)

let folder: string
let keys: WatchedKeys | undefined
let close: () => void = () => undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-compose-metrics-'))
})
afterEach(() => {
  close()
  keys?.close()
  rmSync(folder, { recursive: true, force: true })
})

it('tell how old the keys of the file are: a number of each family, and a warning of what nobody has rotated', async () => {
  const file = join(folder, 'keys.json')
  createKeysFile(file, madeAt)
  keys = watchKeys(file, { log: silentLog, now: () => madeAt })
  const parts = {
    audit: {
      trail: { isWritable: () => true, status: () => ({ lost: 0, seq: 1 }) },
      usage: () => ({ bytes: 0, limitBytes: 1, diskFreeBytes: undefined, share: 0 }),
      sinks: () => [],
    },
    certificates: undefined,
    forwarding: { open: new Map() },
    keys,
    listener: { certificateValidity: () => [], openConnections: () => 0 },
    live: { age: () => 0 },
    policy: { failure: () => undefined },
    relyingParty: { isReady: () => true },
    sessions: { countInUse: () => 0 },
  } as unknown as MeasuredParts
  let now = madeAt + 399 * day
  const { findWarnings, metrics } = composeMetrics({ now: () => now, version: '1.2.3' }, () => parts)
  close = metrics.close
  const text = await metrics.text()
  for (const family of ['sealing', 'assertion', 'audit'])
    expect(text).toContain(`postern_key_created_timestamp_seconds{family="${family}"} ${madeAt / 1000}`)
  expect(findWarnings()).toEqual({})
  now = madeAt + 401 * day
  expect(Object.keys(findWarnings())).toEqual(['sealing key', 'assertion key', 'audit key'])
})
