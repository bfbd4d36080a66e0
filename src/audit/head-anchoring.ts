/**
 * Brings the head of the chain to the store after each checkpoint, once the checkpoint is on the disk. No request ever waits for it.
 *
 * An anchor says that so much was there, so it must never be ahead of what a power cut leaves. Of several that are due only the newest
 * counts, one is on its way at a time, and one that was not saved is made up for by the next. Where the store could not be asked at the start,
 * it is asked before it is told anything: a chain that goes on behind a cut end must not put its own head in place of what tells of that.
 */

import type { Logger } from '../log.ts'
import type { Anchor, Anchors } from './chain.ts'

export interface HeadAnchoring {
  /** A checkpoint was queued. */
  expect(anchor: Anchor): void
  /** Lines up to this one are on the disk. */
  reached(seq: number): void
  /** Resolves once nothing is on its way. */
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
  let isFailing = false

  const save = async () => {
    while (anchors !== undefined && due !== undefined) {
      const anchor = due
      due = undefined
      try {
        if (await mayReplace()) await anchors.save(anchor)
        isFailing = false
      } catch (error) {
        if (!isFailing) log.warn({ err: error, chain: anchor.chain }, 'the head of the audit trail could not be remembered in the store')
        isFailing = true
      }
    }
    saving = undefined
  }

  return {
    expect: (anchor) => {
      if (anchors !== undefined) expected.push(anchor)
    },
    reached: (seq) => {
      if (expected.length === 0) return
      due = expected.findLast((anchor) => anchor.seq <= seq) ?? due
      expected = expected.filter((anchor) => anchor.seq > seq)
      if (due === undefined || saving !== undefined) return
      saving = save()
    },
    settle: async () => {
      await saving
    },
  }
}
