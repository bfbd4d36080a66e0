/**
 * The inventory as the request path asks it: a memory of at most five seconds in front of the store, bounded, on the monotonic clock.
 *
 * What a certificate or claim leads to and what the record says are remembered apart, each with an age of its own. A report that this
 * instance accepts is known here at once (`forget`), on others once they hear of it (`forgetHash`). A record that was read again and did not change
 * is the same object, so that what is derived from it need not be made again.
 */

import type { DeviceClue, DeviceDirectory } from '../attributes/device-record.ts'
import { hashOf } from '../session/secret.ts'
import { createShortMemory } from '../session/short-memory.ts'
import type { DeviceRecord, Devices } from './devices.ts'

/** The directory, and the way to tell it of a change. */
export interface RememberingDirectory extends DeviceDirectory {
  /** What is remembered of this device is out of date. */
  forget(id: string): void
  /** The same for a device by the hash of its id, as other instances speak of it. */
  forgetHash(idHash: string): void
  /** Nobody knows what changed meanwhile. */
  forgetAll(): void
}

/** `maxAgeMs` and `maxEntries` are for tests. */
export interface DirectoryParts {
  readonly devices: Pick<Devices, 'find' | 'findByClue'>
  /** Monotonic milliseconds. */
  readonly monotonicNow: () => number
  readonly maxAgeMs?: number
  readonly maxEntries?: number
}

const maxAgeMsByDefault = 5_000
const maxEntriesByDefault = 20_000

/** An empty memory over the inventory. */
export function createDeviceDirectory({
  devices,
  monotonicNow,
  maxAgeMs = maxAgeMsByDefault,
  maxEntries = maxEntriesByDefault,
}: DirectoryParts): RememberingDirectory {
  const options = { monotonicNow, maxAgeMs, maxEntries, isWorthKeeping: () => true }
  const clues = createShortMemory<{ readonly id: string | undefined }>(options)
  const records = createShortMemory<{ readonly device: DeviceRecord | undefined }>(options)
  /** The objects given out before, in the order of their last reading. */
  const earlier = new Map<string, { readonly text: string; readonly device: DeviceRecord }>()
  const idsByHash = new Map<string, string>()

  function sameObject(device: DeviceRecord | undefined): DeviceRecord | undefined {
    if (device === undefined) return undefined
    const text = JSON.stringify(device)
    const before = earlier.get(device.id)
    const kept = before?.text === text ? before : { text, device }
    earlier.delete(device.id)
    earlier.set(device.id, kept)
    const oldest = earlier.size > maxEntries ? earlier.keys().next().value : undefined
    if (oldest !== undefined) earlier.delete(oldest)
    return kept.device
  }

  async function readRecord(id: string) {
    // Before the read: a change that is told of while it is under way must find it.
    idsByHash.set(hashOf(id), id)
    const oldest = idsByHash.size > maxEntries ? idsByHash.keys().next().value : undefined
    if (oldest !== undefined) idsByHash.delete(oldest)
    return { device: sameObject(await devices.find(id)) }
  }

  return {
    recall(clue) {
      const found = clues.recall(keyOf(clue))
      if (found === undefined) return undefined
      return found.id === undefined ? { device: undefined } : records.recall(found.id)
    },
    async find(clue) {
      const { id } = await clues.get(keyOf(clue), async () => ({ id: (await devices.findByClue(clue))?.id }))
      if (id === undefined) return undefined
      // Not the record that the clue led to: that one may have been read before a change of which this memory was told.
      return (await records.get(id, () => readRecord(id))).device
    },
    forget: (id) => records.forget(id),
    forgetHash(idHash) {
      const id = idsByHash.get(idHash)
      if (id !== undefined) records.forget(id)
    },
    forgetAll() {
      clues.clear()
      records.clear()
    },
  }
}

/** JSON, so that no name can be made to look like two. */
function keyOf(clue: DeviceClue): string {
  return JSON.stringify(clue.kind === 'claim' ? [clue.id] : [clue.certificate.fingerprint, ...clue.certificate.names])
}
