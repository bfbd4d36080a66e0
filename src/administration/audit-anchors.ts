/**
 * The heads of the chains of the audit trail, as the store remembers them: what finds a trail whose end was cut off.
 *
 * One durable record a chain, sealed like all of them, so that who can read and write the store can neither read nor make one. An anchor
 * never goes backwards: a process that was asleep, or a trail that was put back from a backup, must not make what is gone look complete.
 * Whoever can write the store can still put back a sealed record of earlier, or remove it; `docs/audit-verification.md` says what that means.
 */

import type { Anchor, Anchors } from '../audit/chain.ts'
import { PosternError } from '../errors.ts'
import { createDurableRecords, type DurableParts } from './durable-records.ts'

/** Two processes never write one chain; more rounds than this mean that something is wrong. */
const saveRounds = 10

/** Anchors over the store. Every method rejects with `session_store_unavailable` when the store does. */
export function createAuditAnchors(parts: DurableParts): Anchors {
  const records = createDurableRecords<Anchor>('audit_anchor', parts)
  return {
    load: async (chain) => (await records.load(chain))?.value,
    async save(anchor) {
      for (let round = 0; round < saveRounds; round++) {
        const saved = await records.load(anchor.chain)
        if (saved === undefined) {
          if (await records.create(anchor.chain, anchor)) return
        } else if (saved.value.seq >= anchor.seq) return
        else if (await records.replace(anchor.chain, anchor, saved.version)) return
      }
      throw new PosternError('session_store_unavailable', `the anchor of ${anchor.chain} could not be saved in ${saveRounds} rounds`)
    },
    async remove(chain) {
      await records.remove(chain)
    },
    async *list() {
      for await (const { value } of records.list()) yield value
    },
  }
}
