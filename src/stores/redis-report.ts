/**
 * What `postern check --live` wants to know about a Redis server: whether it forgets.
 *
 * A session store that evicts or does not persist loses ends and locks, and with them the promise that an end is an end. A managed
 * server may refuse CONFIG; what cannot be learned is `undefined`, never assumed to be well.
 */

import type { RedisConnection } from './redis-connection.ts'

/** A Redis server as far as it tells. */
export interface StoreReport {
  readonly version: string
  readonly role: string
  readonly connectedReplicas: number
  /** `noeviction` is the only policy that never drops a record. */
  readonly evictionPolicy: string | undefined
  readonly maxMemoryBytes: number
  /** Append-only file, snapshots, neither, or not told. */
  readonly persistence: 'append_only' | 'snapshots' | 'none' | undefined
}

/** Reads INFO, and CONFIG where it is allowed. */
export async function loadStoreReport(redis: Pick<RedisConnection, 'call'>): Promise<StoreReport> {
  const facts = parseInfo(String(await redis.call('INFO', 'everything')))
  return {
    version: facts.get('redis_version') ?? 'unknown',
    role: facts.get('role') ?? 'unknown',
    connectedReplicas: Number(facts.get('connected_slaves') ?? 0),
    evictionPolicy: facts.get('maxmemory_policy'),
    maxMemoryBytes: Number(facts.get('maxmemory') ?? 0),
    persistence: facts.get('aof_enabled') === '1' ? 'append_only' : await loadSnapshotSetting(redis),
  }
}

async function loadSnapshotSetting(redis: Pick<RedisConnection, 'call'>): Promise<StoreReport['persistence']> {
  try {
    const reply = await redis.call('CONFIG', 'GET', 'save')
    const setting: unknown = Array.isArray(reply) ? reply[1] : undefined
    if (setting === undefined) return undefined
    return String(setting) === '' ? 'none' : 'snapshots'
  } catch {
    // Managed servers rename or refuse CONFIG; the report then says that it does not know.
    return undefined
  }
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const facts = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) facts.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return facts
}
