/**
 * When each app was last changed, from the lines that say what each revision changed.
 *
 * Looked at are the newest revisions, once for each head; an app that none of them names was last changed before.
 */

import type { PolicyRevisions } from '../../administration/policy-history.ts'

export interface LastChange {
  /** Epoch milliseconds. */
  readonly at: number
  readonly by: string
  readonly revision: number
}

const mostRevisions = 200
const pageLength = 50

/** Answers from memory until the head moves on. Without revisions (the policy is files) there is nothing to say. */
export function createAppHistory(
  revisions: Pick<PolicyRevisions, 'head' | 'list'> | undefined,
): () => Promise<ReadonlyMap<string, LastChange>> {
  let known: { readonly head: number; readonly changes: Promise<ReadonlyMap<string, LastChange>> } | undefined

  async function read(store: Pick<PolicyRevisions, 'list'>): Promise<ReadonlyMap<string, LastChange>> {
    const changes = new Map<string, LastChange>()
    let below: number | undefined
    for (let seen = 0; seen < mostRevisions; seen += pageLength) {
      const page = await store.list({ below, limit: pageLength })
      for (const { difference, number, published } of page) {
        for (const line of difference) {
          const app = /^app (\S+?)(?::| added$| removed$)/.exec(line)?.[1]
          if (app !== undefined && !changes.has(app)) changes.set(app, { at: published.at, by: published.label, revision: number })
        }
      }
      below = page.at(-1)?.number
      if (page.length < pageLength || below === undefined) break
    }
    return changes
  }

  return async () => {
    if (revisions === undefined) return new Map()
    const head = (await revisions.head())?.number ?? 0
    if (known?.head !== head) {
      const changes = read(revisions)
      known = { head, changes }
      // What failed is read again the next time.
      changes.catch(() => {
        known = undefined
      })
    }
    return await known.changes
  }
}
