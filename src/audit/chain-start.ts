/**
 * The start of a process's chain: takes a folder that nobody else writes, repairs what a crash left in it, asks the store how far the
 * chain had come, and says where it goes on.
 */

import { join } from 'node:path'
import type { Logger } from '../log.ts'
import type { Anchor, Anchors, ChainHead } from './chain.ts'
import type { AuditEvent } from './event.ts'
import { type FolderLock, lockFolder } from './folder-lock.ts'
import { continueChain, repairChain } from './repair.ts'

export interface ChainStartOptions {
  /** `data_dir/audit`. */
  readonly folder: string
  /** Name of the chain, if nobody else writes it. */
  readonly name: string
  readonly anchors: Pick<Anchors, 'load'> | undefined
  readonly log: Pick<Logger, 'warn' | 'error'>
}

export interface StartedChain {
  readonly chain: string
  readonly lock: FolderLock
  readonly head: ChainHead
  readonly segment: number
  /** What was found wrong, if anything was. */
  readonly repaired: Extract<AuditEvent, { event: 'audit.repaired' }> | undefined
  /** The store could not say how far the chain had come: to be asked again before it is told anything. */
  readonly isAnchorUnread: boolean
}

/** More processes of one name than anybody runs: beyond it, locks do not work here. */
const maxChains = 100

/** A store that does not answer must not keep an instance from starting. */
const anchorTimeoutMs = 2000

/** Rejects where the folder cannot be made, locked or read; then nothing is held. */
export async function startChain({ anchors, folder, log, name }: ChainStartOptions): Promise<StartedChain> {
  const { chain, lock } = await takeFolder(folder, name)
  try {
    const found = await repairChain(folder, chain, log)
    const anchor = await loadAnchor(anchors, chain, log)
    const isAnchorUnread = anchor === 'unread'
    const known = isAnchorUnread ? undefined : anchor
    const isBehind = known !== undefined && known.seq > found.head.seq
    const { tornBytes } = found
    const repaired =
      tornBytes > 0 || isBehind
        ? ({ event: 'audit.repaired', tornBytes, foundSeq: found.head.seq, anchoredSeq: known?.seq } as const)
        : undefined
    if (repaired !== undefined) log.warn({ chain, ...repaired }, 'the audit trail was repaired')
    return { chain, lock, repaired, isAnchorUnread, ...continueChain(found, known) }
  } catch (error) {
    lock.release()
    throw error
  }
}

async function takeFolder(folder: string, name: string): Promise<{ readonly chain: string; readonly lock: FolderLock }> {
  for (let number = 1; number <= maxChains; number += 1) {
    const chain = number === 1 ? name : `${name}-${number}`
    const lock = await lockFolder(join(folder, chain))
    if (lock !== undefined) return { chain, lock }
  }
  throw new Error(`${maxChains} chains named ${name} are being written`)
}

/** Where the store does not answer, the chain goes on behind what was found. */
async function loadAnchor(
  anchors: ChainStartOptions['anchors'],
  chain: string,
  log: ChainStartOptions['log'],
): Promise<Anchor | 'unread' | undefined> {
  if (anchors === undefined) return undefined
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('the store did not answer in time')), anchorTimeoutMs)
  })
  try {
    return await Promise.race([anchors.load(chain), timeout])
  } catch (error) {
    log.warn({ err: error, chain }, 'the store could not say how far the audit trail had come')
    return 'unread'
  } finally {
    clearTimeout(timer)
  }
}
