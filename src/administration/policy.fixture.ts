/** What the tests of the policy's history share: bundles, people, and a history over a store. */

import { createTestRing, type StorePlace, silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import type { Asker } from './asker.ts'
import { permissions } from './asker.ts'
import { type Bundle, toBundle } from './policy-bundle.ts'
import { createPolicyDrafts, type DraftEvent } from './policy-drafts.ts'
import type { Publication, RevisionFacts } from './policy-history.ts'
import { createPolicyRevisions, type PublishedEvent } from './policy-revisions.ts'

/** A bundle of a document and more. */
export const bundleOf = (text: string, more: Readonly<Record<string, string | Buffer>> = {}): Bundle =>
  toBundle(Object.entries({ 'policy.yaml': text, ...more }).map(([path, content]) => ({ path, content: Buffer.from(content) })))

export const ada = { by: 'person:ada', label: 'ada@corp.example' }
export const ben = { by: 'person:ben', label: 'ben@corp.example' }

export const personAsker = (sub: string): Asker => ({
  actor: `person:${sub}`,
  label: `${sub}@corp.example`,
  subject: { issuer: 'https://op.corp.example', sub },
  roles: ['admin'],
  permissions: new Set(permissions),
})

export const tokenAsker = (id: string): Asker => ({
  actor: `token:${id}`,
  label: `token ${id}`,
  subject: undefined,
  roles: [],
  permissions: new Set(permissions),
})

export function publicationOf(text: string, predecessor: number, change: Partial<Publication> = {}): Publication {
  return {
    bundle: bundleOf(text),
    policyVersion: `sha256-${text}`,
    difference: [`app ${text} added`],
    tests: { passed: 3, failed: 0 },
    comment: `about ${text}`,
    by: ada,
    predecessor,
    approvals: [],
    ...change,
  }
}

/** A history over a store, with what the trail and the instances were told. */
export function openHistory(
  { store }: Pick<StorePlace, 'store'>,
  options: { readonly keys?: ReturnType<typeof createTestRing>; readonly store?: Partial<SessionStore> } = {},
) {
  const ring = options.keys ?? createTestRing()
  const heard: (PublishedEvent | DraftEvent | { readonly told: number })[] = []
  const parts = {
    store: { ...store, ...options.store },
    keys: () => ring,
    log: silentLog,
    recordFirst: async (event: PublishedEvent | DraftEvent) => void heard.push(event),
    tell: async ({ number }: RevisionFacts) => void heard.push({ told: number }),
  }
  return { ring, heard, parts, revisions: createPolicyRevisions(parts), drafts: createPolicyDrafts(parts) }
}
