/**
 * The recent window of the audit trail on Redis: a sorted set of positions and a hash of sealed batches, trimmed by the number of entries.
 *
 * Appending is one script: the batch, the count, and what leaves for it, so that instances which append to one window never lose count. What
 * nobody has appended to for thirty days is gone as a whole.
 */

import { createHash } from 'node:crypto'
import type { StoredWindowBatch, WindowStore } from '../session/store.ts'
import type { Keyspace } from './keyspace.ts'
import type { RedisConnection } from './redis-connection.ts'
import type { Script } from './redis-scripts.ts'

/** At most so many leave in one script: a window that was made much smaller shrinks with the next few batches. */
const mostDropped = 500

/** KEYS positions, batches, count; ARGV position, entries, value, entries to keep. */
const append = script(`
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. ARGV[3]) == 0 then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
local count, keep = redis.call('INCRBY', KEYS[3], ARGV[2]), tonumber(ARGV[4])
for i = 1, ${mostDropped} do
  if count <= keep then break end
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  local entries = oldest and tonumber(string.match(redis.call('HGET', KEYS[2], oldest) or '', '^(%d+) ') or 0)
  if not oldest or count - entries < keep then break end
  redis.call('ZREM', KEYS[1], oldest)
  redis.call('HDEL', KEYS[2], oldest)
  count = redis.call('DECRBY', KEYS[3], entries)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 2592000000) end
return 1
`)

/** KEYS positions, batches; ARGV upper end, limit. Position and value in turn, the newest first. */
const list = script(`
local listed = {}
for _, position in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], ARGV[1], '-', 'LIMIT', 0, ARGV[2])) do
  local stored = redis.call('HGET', KEYS[2], position)
  local start = stored and string.match(stored, '^%d+ ()')
  if start then
    listed[#listed + 1] = position
    listed[#listed + 1] = string.sub(stored, start)
  end
end
return listed
`)

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** The window's part of the store. */
export function createRedisWindow(redis: Pick<RedisConnection, 'run'>, keys: Keyspace): WindowStore {
  return {
    async appendWindow({ entries, position, value }, keepEntries) {
      await redis.run(append, [keys.windowPositions, keys.windowBatches, keys.windowCount], [position, entries, value, keepEntries])
    },
    async listWindow(before, limit) {
      const reply = await redis.run(list, [keys.windowPositions, keys.windowBatches], [before === undefined ? '+' : `(${before}`, limit])
      const batches: StoredWindowBatch[] = []
      const parts = Array.isArray(reply) ? (reply as readonly unknown[]) : []
      for (let at = 0; at + 1 < parts.length; at += 2) {
        const value = parts[at + 1]
        if (Buffer.isBuffer(value)) batches.push({ position: String(parts[at]), value })
      }
      return batches
    },
  }
}
