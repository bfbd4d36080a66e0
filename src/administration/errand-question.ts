/**
 * A question to all instances from somebody who is none of them: a command that has the store and hears no events.
 *
 * The same errand, in the same records, as an instance asks (`errands-over-store.ts`); whoever asks here looks again and again instead of
 * listening, and takes the errand back when it is over. An instance that does not answer in time is named as missing, and where no instance
 * runs the answer has no parts: that nobody could be asked is for the caller to say.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import { createSealedRecords } from '../session/sealed-records.ts'
import { hashOf } from '../session/secret.ts'
import type { SessionStore } from '../session/store.ts'
import { createErrandRecords, type PartRecord } from './errand-records.ts'
import { type ErrandState, type Errands, type PartState, partBeyond } from './errands.ts'
import { listRegistered } from './instance-registry.ts'

export interface ErrandQuestionParts {
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly monotonicNow: () => number
}

const lookEveryMs = 50
/** What it leaves behind, if whoever asked was killed. */
const leftForMs = 5_000

/** Asks through the store. Holds nothing that needs closing. */
export function createErrandQuestion({ keys, log, monotonicNow, store }: ErrandQuestionParts): Pick<Errands, 'ask'> {
  const sealed = createSealedRecords(store, keys, log)
  const records = createErrandRecords(store, sealed)

  return {
    async ask<P>(kind: string, input: object, by: string, timeoutMs: number): Promise<ErrandState<P>> {
      const until = monotonicNow() + timeoutMs
      const id = randomBytes(16).toString('base64url')
      const hash = hashOf(id)
      const [begunAt, { beyond, instances }] = await Promise.all([store.loadNow(), listRegistered({ store, records: sealed })])
      const asked = instances.map(({ key, name }) => ({ key, name }))
      if (asked.length === 0) return { id, kind, input, begunAt, parts: [], isOver: true }
      await records.createErrand(hash, { kind, input, by, begunAt, asked, timeoutMs, expiresAt: begunAt + timeoutMs + leftForMs }, false)
      try {
        await records.tell(hash)
        for (;;) {
          const found = await Promise.all(asked.map(({ key }) => records.loadPart(hash, key)))
          const isOver = found.every((part) => part !== undefined && part.state !== 'running')
          if (isOver || monotonicNow() >= until) {
            const parts = asked.map(({ name }, i) => ({ instance: name, ...partOf<P>(found[i]) }))
            return { id, kind, input, begunAt, parts: [...parts, ...partBeyond(beyond)], isOver: true }
          }
          await pause(lookEveryMs)
        }
      } finally {
        // Whoever is late stops. Where it cannot be taken away it goes by itself, in seconds.
        const keysAsked = asked.map(({ key }) => key)
        await records.removeErrand(hash, keysAsked).catch(() => undefined)
        await records.tell(hash).catch(() => undefined)
      }
    },
  }
}

/** Nobody waits for what is not done. */
function partOf<P>(record: PartRecord | undefined): PartState<P> {
  if (record?.state === 'done') return { state: 'done', part: record.part as P }
  return record?.state === 'failed' ? { state: 'failed', why: record.why } : { state: 'missing' }
}
