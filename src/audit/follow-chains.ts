/**
 * Followers for every chain of a folder: this process's own, those that commands leave, and those of processes of another name that ended,
 * so that nothing is left unsent. A chain that appears is found within some seconds.
 *
 * Where several processes share the folder, each pair of chain and receiver is followed by one of them, whichever holds the lock on its
 * place among the positions; when that process ends, another takes over where it was. A receiver gets one batch at a time, whatever the
 * number of chains.
 */

import { join } from 'node:path'
import type { Logger } from '../log.ts'
import { type FolderLock, lockFolder } from './folder-lock.ts'
import { createFollower, type Follower, type FollowerStatus } from './follow.ts'
import type { LineConsumer } from './follow-batch.ts'
import { listChains } from './trail-files.ts'

/** A consumer by the name that its positions are kept under. */
export interface Receiver {
  /** Of letters, digits, `-` and `_`. */
  readonly name: string
  readonly consumer: LineConsumer
}

/** What followers of a folder are made with. */
export interface TrailFollowersOptions {
  /** `data_dir/audit`. */
  readonly folder: string
  /** Beside it, never in it: positions are no part of the evidence. */
  readonly positionsFolder: string
  readonly receivers: readonly Receiver[]
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  /** How often it looks for new chains. */
  readonly lookForChainsMs?: number
  /** As of `createFollower`. */
  readonly pace?: {
    readonly lookMs?: number
    readonly saveMs?: number
    readonly leastPauseMs?: number
    readonly mostPauseMs?: number
    readonly batchLines?: number
  }
}

/** Followers at work. */
export interface TrailFollowers {
  /** One for each chain and receiver that this process follows. */
  status(): readonly FollowerStatus[]
  /** Says that there are new lines. */
  nudge(): void
  /** Sends what can be sent within `drainMs`, saves all positions and lets go of the chains. */
  close(drainMs?: number): Promise<void>
}

interface Followed {
  readonly follower: Follower
  readonly lock: FolderLock
}

/** Starts following. Never rejects and never throws: a chain that cannot be followed is tried again. */
export function createTrailFollowers(options: TrailFollowersOptions): TrailFollowers {
  const { folder, positionsFolder, receivers, now, log, lookForChainsMs = 5000, pace = {} } = options
  const followed = new Map<string, Followed>()
  const oneAtATime = receivers.map(({ name, consumer }) => ({ name, consumer: takeTurns(consumer) }))
  let isClosed = false
  let isFailing = false
  let timer: NodeJS.Timeout | undefined

  const look = async () => {
    try {
      for (const chain of await listChains(folder)) {
        for (const receiver of oneAtATime) await follow(chain, receiver)
      }
      isFailing = false
    } catch (error) {
      if (!isFailing) log.error({ err: error, folder }, 'the chains of the audit trail cannot be listed or followed')
      isFailing = true
    }
    if (isClosed) return
    timer = setTimeout(() => {
      looking = look()
    }, lookForChainsMs)
    timer.unref()
  }

  const follow = async (chain: string, { name, consumer }: Receiver) => {
    const place = join(positionsFolder, chain, name)
    if (isClosed || followed.has(place)) return
    const lock = await lockFolder(place)
    if (lock === undefined) return
    const follower = createFollower({ ...pace, folder, chain, positionFile: join(place, 'position.json'), name, consumer, now, log })
    followed.set(place, { follower, lock })
  }

  let looking = receivers.length === 0 ? Promise.resolve() : look()

  return {
    status: () => [...followed.values()].map(({ follower }) => follower.status()),
    nudge: () => {
      for (const { follower } of followed.values()) follower.nudge()
    },
    close: async (drainMs) => {
      isClosed = true
      clearTimeout(timer)
      await looking
      await Promise.all(
        [...followed.values()].map(async ({ follower, lock }) => {
          await follower.close(drainMs)
          lock.release()
        }),
      )
      await Promise.all(
        receivers.map(({ name, consumer }) =>
          consumer.close?.().catch((error: unknown) => log.warn({ err: error, sink: name }, 'an audit sink could not be closed')),
        ),
      )
    },
  }
}

/** Several followers share one receiver; whoever comes waits for those before. A receiver that is away delays them no longer than its own time-out. */
function takeTurns(consumer: LineConsumer): LineConsumer {
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const mine = last.then(act)
    last = mine.catch(() => undefined)
    return mine
  }
  return {
    ...(consumer.batchBytes === undefined ? {} : { batchBytes: consumer.batchBytes }),
    send: (batch, signal) => inTurn(() => (signal.aborted ? Promise.reject(new Error('closed')) : consumer.send(batch, signal))),
    ...(consumer.settle === undefined ? {} : { settle: () => inTurn(async () => consumer.settle?.()) }),
  }
}
