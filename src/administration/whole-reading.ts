/**
 * Reading everything again, one reading at a time: what the lists of people and devices in memory have in common.
 *
 * Whoever asks while a reading is under way waits for it; whoever wants what is there from now on waits for one more, since what changed
 * meanwhile may not be in it. A reading that fails is told and never rejects: the next one comes.
 */

export interface WholeReading {
  /** Begins one, or joins the one under way. */
  once(): Promise<void>
  /** Resolves after one that began from now on. */
  again(): Promise<void>
  /** The one under way, if there is one. */
  underWay(): Promise<void> | undefined
  /** Resolves when nothing is under way, nor waits for what is. */
  settled(): Promise<void>
}

export interface WholeReadingParts {
  readonly read: () => Promise<void>
  readonly isClosed: () => boolean
  readonly onFailure: (error: unknown) => void
  /** However it ended. */
  readonly onEnd: () => void
}

/** Reads nothing yet. */
export function createWholeReading({ isClosed, onEnd, onFailure, read }: WholeReadingParts): WholeReading {
  let reading: Promise<void> | undefined
  let following: Promise<void> | undefined

  function once(): Promise<void> {
    if (isClosed()) return Promise.resolve()
    reading ??= read()
      .catch(onFailure)
      .finally(() => {
        reading = undefined
        onEnd()
      })
    return reading
  }

  return {
    once,
    again() {
      if (reading === undefined) return once()
      following ??= reading.then(() => {
        following = undefined
        return once()
      })
      return following
    },
    underWay: () => reading,
    async settled() {
      await Promise.all([reading, following])
    },
  }
}
