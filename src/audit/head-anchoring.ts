/**
 * Brings the head of the chain to the store after each checkpoint, once the checkpoint is on the disk. No request ever waits for it.
 *
 * An anchor says that so much was there, so it must never be ahead of what a power cut leaves. Of several that are due only the newest
 * counts, one is on its way at a time, a second lies between two, and one that was not saved is made up for by the next. Where the store could not be asked at the start,
 * it is asked before it is told anything: a chain that goes on behind a cut end must not put its own head in place of what tells of that.
 */

import type { Logger } from '../log.ts'
import type { Anchor, Anchors } from './chain.ts'

/** Under load a checkpoint is due twenty times a second, and the embedded store keeps the process waiting for its disk each time. */
const leastGapMs = 1000

export interface HeadAnchoring {
  /** A checkpoint was queued. */
  expect(anchor: Anchor): void
  /** Lines up to this one are on the disk. */
  reached(seq: number): void
  /** Saves what is due without a pause; resolves once nothing is on its way. */
  settle(): Promise<void>
}

/** `anchors` left out: nothing is remembered anywhere. `mayReplace`: whether what the store remembers is told of in the chain. */
export function createHeadAnchoring(
  anchors: Pick<Anchors, 'save'> | undefined,
  log: Pick<Logger, 'warn'>,
  mayReplace: () => Promise<boolean>,
): HeadAnchoring {
  let expected: Anchor[] = []
  let due: Anchor | undefined
  let saving: Promise<void> | undefined
  let resting: NodeJS.Timeout | undefined
  let isFailing = false

  const begin = () => {
    if (due === undefined || saving !== undefined || resting !== undefined) return
    saving = save(due)
    due = undefined
  }

  const save = async (anchor: Anchor) => {
    try {
      if (await mayReplace()) await anchors?.save(anchor)
      isFailing = false
    } catch (error) {
      if (!isFailing) log.warn({ err: error, chain: anchor.chain }, 'the head of the audit trail could not be remembered in the store')
      isFailing = true
    }
    saving = undefined
    resting = setTimeout(() => {
      resting = undefined
      begin()
    }, leastGapMs)
    resting.unref()
  }

  return {
    expect: (anchor) => {
      if (anchors !== undefined) expected.push(anchor)
    },
    reached: (seq) => {
      if (expected.length === 0) return
      due = expected.findLast((anchor) => anchor.seq <= seq) ?? due
      expected = expected.filter((anchor) => anchor.seq > seq)
      begin()
    },
    settle: async () => {
      await saving
      while (due !== undefined) {
        clearTimeout(resting)
        resting = undefined
        begin()
        await saving
      }
      clearTimeout(resting)
    },
  }
}
