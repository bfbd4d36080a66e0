/**
 * What one instance found of an impact, small enough to go through the store to whoever asked: the tally of a replay as compressed text.
 *
 * Where everything does not fit, what concerns most requests stays in the list and the rest is counted (`unlisted`), so that nobody takes a
 * list for the whole. It was written by this program, and came sealed; it is read as such.
 */

import { gunzipSync, gzipSync } from 'node:zlib'
import type { Gap } from './recorded-gaps.ts'
import { type ChangeEntry, createTally, type ReplayTally } from './replay-tally.ts'

/** Less than `mostPartBytes` of the errands, with everything around it. */
const mostBytes = 1_900_000
/** Nobody reads more, and whoever puts the parts together does it where requests are answered. Some 150 bytes each, compressed. */
const mostEntries = 5_000
/** Unpacked. */
const mostUnpackedBytes = 64 * 1024 * 1024

interface Packed extends Pick<ReplayTally, 'decided' | 'unchanged' | 'strangers' | 'unlisted'> {
  readonly insufficient: readonly (readonly [Gap, number])[]
  readonly notPolicy: readonly (readonly [string, number])[]
  readonly policies: readonly (readonly [string, number])[]
  readonly changes: readonly (readonly [string, ChangeEntry])[]
  /** Null where no request was looked at. */
  readonly firstAt: number | null
  readonly lastAt: number | null
}

/** As text, of at most two megabytes. */
export function packTally(tally: ReplayTally, most = mostEntries): string {
  const byCount = [...tally.changes].sort(([, a], [, b]) => b.count - a.count)
  for (let listed = Math.min(most, byCount.length); ; listed = Math.floor(listed / 2)) {
    const packed = gzipSync(JSON.stringify(stateTally(tally, byCount, listed))).toString('base64')
    if (packed.length <= mostBytes || listed === 0) return packed
  }
}

function stateTally(tally: ReplayTally, byCount: readonly (readonly [string, ChangeEntry])[], listed: number): Packed {
  const { decided, firstAt, insufficient, lastAt, notPolicy, policies, strangers, unchanged } = tally
  const unlisted = { ...tally.unlisted }
  for (const [, { count, direction }] of byCount.slice(listed)) unlisted[direction] += count
  return {
    ...{ decided, strangers, unchanged, unlisted },
    insufficient: [...insufficient],
    notPolicy: [...notPolicy],
    policies: [...policies],
    changes: byCount.slice(0, listed),
    firstAt: Number.isFinite(firstAt) ? firstAt : null,
    lastAt: Number.isFinite(lastAt) ? lastAt : null,
  }
}

/** What `packTally` wrote. */
export function unpackTally(packed: string): ReplayTally {
  const text = gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: mostUnpackedBytes }).toString('utf8')
  const { changes, firstAt, insufficient, lastAt, notPolicy, policies, ...numbers } = JSON.parse(text) as Packed
  const empty = createTally()
  return {
    ...numbers,
    insufficient: new Map(insufficient),
    notPolicy: new Map(notPolicy),
    policies: new Map(policies),
    changes: new Map(changes),
    firstAt: firstAt ?? empty.firstAt,
    lastAt: lastAt ?? empty.lastAt,
  }
}
