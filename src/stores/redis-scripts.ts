/**
 * The Lua scripts of the Redis store: only what must be atomic, or must read the clock in the same breath.
 *
 * Each script gets the clock shift as its first argument (`0` outside tests) and sees `now`, the store's present instant. A
 * value carries its own expiry, so that "gone" is exact and can be tested with movable time; PEXPIREAT only collects garbage.
 * Numbers are printed with `%.0f`, because Lua's own conversion rounds at 14 digits and an instant has 13 today.
 */

import { createHash } from 'node:crypto'

/** A script and the hash that Redis knows it by. */
export interface Script {
  readonly source: string
  readonly sha: string
}

const prelude = `
local time = redis.call('TIME')
local shift = tonumber(ARGV[1])
local now = time[1] * 1000 + math.floor(time[2] / 1000) + shift
local function whole(number) return string.format('%.0f', number) end
local function load(key)
  local raw = redis.call('GET', key)
  if not raw then return nil end
  local version, expires, start = string.match(raw, '^(%d+) (%d+) ()')
  if not version or tonumber(expires) <= now then return nil end
  return tonumber(version), tonumber(expires), string.sub(raw, start)
end
local function save(key, version, expires, value)
  redis.call('SET', key, whole(version) .. ' ' .. whole(expires) .. ' ' .. value)
  redis.call('PEXPIREAT', key, whole(expires - shift))
end
`

/**
 * Appending to the stream. It is trimmed by length, and gone a day after its last event, so that a server which nobody uses any more
 * keeps nothing: either is a gap to a reader that is behind, and none to one that is not.
 */
const eventsPrelude = `
local function tell(key, kind, detail)
  redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'kind', kind, 'detail', detail)
  redis.call('PEXPIRE', key, 86400000)
end
local function tellEnds(key, lines)
  for first = 1, #lines, 200 do
    tell(key, 'ended', table.concat(lines, '\\n', first, math.min(first + 199, #lines)))
  end
end
local function sweepEnds(ends, untils)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', untils, '-inf', whole(now))) do
    redis.call('ZREM', untils, member)
    redis.call('HDEL', ends, member)
  end
end
local function expireEnds(ends, untils)
  local longest = redis.call('ZRANGE', untils, -1, -1, 'WITHSCORES')[2]
  if longest then
    redis.call('PEXPIREAT', ends, whole(tonumber(longest) - shift))
    redis.call('PEXPIREAT', untils, whole(tonumber(longest) - shift))
  end
end
`

function script(body: string, more = ''): Script {
  const source = prelude + more + body
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** ARGV shift. The instant. */
export const loadNow = script('return whole(now)')

/** KEYS record; ARGV shift, value, expiry. 1 if written. */
export const createRecord = script(`
local expires = tonumber(ARGV[3])
if expires <= now or load(KEYS[1]) then return 0 end
save(KEYS[1], 1, expires, ARGV[2])
return 1
`)

/** KEYS record; ARGV shift. Version, expiry and value, or nil. */
export const loadRecord = script(`
local version, expires, value = load(KEYS[1])
if not version then return nil end
return { version, expires, value }
`)

/** KEYS record; ARGV shift, version that must still stand, value, expiry. 1 if replaced. */
export const replaceRecord = script(`
local version = load(KEYS[1])
if version ~= tonumber(ARGV[2]) then return 0 end
local expires = tonumber(ARGV[4])
if expires <= now then redis.call('DEL', KEYS[1]) else save(KEYS[1], version + 1, expires, ARGV[3]) end
return 1
`)

/** KEYS record; ARGV shift. As \`loadRecord\`, and the record is gone. */
export const takeRecord = script(`
local version, expires, value = load(KEYS[1])
redis.call('DEL', KEYS[1])
if not version then return nil end
return { version, expires, value }
`)

/** KEYS index; ARGV shift, member, expiry. A member's later expiry wins. */
export const addToIndex = script(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local expires = tonumber(ARGV[3])
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0)
if expires > now and expires > known then redis.call('ZADD', KEYS[1], whole(expires), ARGV[2]) end
local longest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if longest then redis.call('PEXPIREAT', KEYS[1], whole(tonumber(longest) - shift)) end
return 1
`)

/** KEYS index; ARGV shift. Members that are not expired. */
export const loadIndex = script(`return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')`)

/**
 * KEYS ends, ends:until, events; ARGV shift, keep in milliseconds, then member and cause in turn. Returns the instant.
 * Ends whose time is over leave first, so that the set is bounded by the ends of one lifetime.
 */
export const recordEnds = script(
  `
sweepEnds(KEYS[1], KEYS[2])
local keep, lines = now + tonumber(ARGV[2]), {}
for i = 3, #ARGV, 2 do
  local member, cause, at, until_ = ARGV[i], ARGV[i + 1], now, keep
  local known = redis.call('HGET', KEYS[1], member)
  if known then
    local knownAt, knownUntil, knownCause = string.match(known, '^(%d+) (%d+) (.*)$')
    if knownAt and tonumber(knownAt) > at then at, cause = tonumber(knownAt), knownCause end
    if knownUntil and tonumber(knownUntil) > until_ then until_ = tonumber(knownUntil) end
  end
  redis.call('HSET', KEYS[1], member, whole(at) .. ' ' .. whole(until_) .. ' ' .. cause)
  redis.call('ZADD', KEYS[2], whole(until_), member)
  lines[#lines + 1] = member .. ' ' .. whole(at) .. ' ' .. cause
end
expireEnds(KEYS[1], KEYS[2])
tellEnds(KEYS[3], lines)
return whole(now)
`,
  eventsPrelude,
)

/**
 * KEYS ends, ends:until, events; ARGV shift, keep in milliseconds, then member, instant and cause in turn. What is on record as late or
 * later stays as it is, and what would be over by now is left out.
 */
export const restoreEnds = script(
  `
local lines = {}
for i = 3, #ARGV, 3 do
  local member, at, cause = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local until_, known = at + tonumber(ARGV[2]), redis.call('HGET', KEYS[1], member)
  local knownAt, knownUntil = string.match(known or '', '^(%d+) (%d+) ')
  if until_ > now and (not known or (knownAt and tonumber(knownAt) < at)) then
    if knownUntil and tonumber(knownUntil) > until_ then until_ = tonumber(knownUntil) end
    redis.call('HSET', KEYS[1], member, whole(at) .. ' ' .. whole(until_) .. ' ' .. cause)
    redis.call('ZADD', KEYS[2], whole(until_), member)
    lines[#lines + 1] = member .. ' ' .. whole(at) .. ' ' .. cause
  end
end
expireEnds(KEYS[1], KEYS[2])
tellEnds(KEYS[3], lines)
return #lines
`,
  eventsPrelude,
)

/** KEYS events; ARGV shift, kind, detail. */
export const publish = script(
  `
tell(KEYS[1], ARGV[2], ARGV[3])
return 1
`,
  eventsPrelude,
)

/**
 * KEYS events; ARGV shift. The instant; whether this server is the one that is written to (`slave` if not, empty where it does not say);
 * the id of the history it is part of, which changes with a fail-over; last id of the stream, first entry's id and whether any was trimmed.
 */
export const readEventsState = script(`
local info = redis.pcall('INFO', 'replication')
info = type(info) == 'string' and info or ''
local state = { whole(now), string.match(info, 'role:(%a+)') or '', string.match(info, 'master_replid:(%w+)') or '', '0-0', '', 0 }
if redis.call('EXISTS', KEYS[1]) == 0 then return state end
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local length, added = 0, -1
for i = 1, #stream, 2 do
  local name, value = stream[i], stream[i + 1]
  if name == 'last-generated-id' then state[4] = value
  elseif name == 'first-entry' and value then state[5] = value[1]
  elseif name == 'length' then length = value
  elseif name == 'entries-added' then added = value end
end
if length ~= added then state[6] = 1 end
return state
`)

/** KEYS lock; ARGV shift, token, hold in milliseconds. 1 if it was free. */
export const acquireLock = script(`
if load(KEYS[1]) then return 0 end
save(KEYS[1], 1, now + tonumber(ARGV[3]), ARGV[2])
return 1
`)

/** KEYS lock; ARGV shift, token, hold in milliseconds. 1 if it was still held with this token. */
export const renewLock = script(`
local version, _, token = load(KEYS[1])
if not version or token ~= ARGV[2] then return 0 end
save(KEYS[1], 1, now + tonumber(ARGV[3]), ARGV[2])
return 1
`)

/** KEYS lock; ARGV shift, token. */
export const releaseLock = script(`
local version, _, token = load(KEYS[1])
if version and token == ARGV[2] then redis.call('DEL', KEYS[1]) end
return 1
`)

const durablePrelude = `
local function load(key)
  local raw = redis.call('GET', key)
  if not raw then return nil end
  local version, start = string.match(raw, '^(%d+) ()')
  return tonumber(version), string.sub(raw, start)
end
local function save(key, version, value) redis.call('SET', key, string.format('%.0f', version) .. ' ' .. value) end
`

function durableScript(body: string): Script {
  const source = durablePrelude + body
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** KEYS record, names; ARGV name, value. 1 if written. */
export const createDurable = durableScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
save(KEYS[1], 1, ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
`)

/** KEYS record. Version and value, or nil. */
export const loadDurable = durableScript(`
local version, value = load(KEYS[1])
if not version then return nil end
return { version, value }
`)

/** KEYS record; ARGV version that must still stand, value. 1 if replaced. */
export const replaceDurable = durableScript(`
local version = load(KEYS[1])
if version ~= tonumber(ARGV[1]) then return 0 end
save(KEYS[1], version + 1, ARGV[2])
return 1
`)

/** KEYS record, names; ARGV name, and the version that must still stand, or nothing for any. 1 if there was one. */
export const removeDurable = durableScript(`
if ARGV[2] ~= '' and load(KEYS[1]) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
`)

/**
 * KEYS names; ARGV prefix of the record keys, from, to, limit. Name, version and value in turn. The records' keys are computed, which a
 * cluster allows here because all keys share one slot.
 */
export const listDurable = durableScript(`
local listed = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local version, value = load(ARGV[1] .. name)
  if version then
    listed[#listed + 1] = name
    listed[#listed + 1] = version
    listed[#listed + 1] = value
  end
end
return listed
`)
