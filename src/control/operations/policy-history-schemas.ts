/**
 * Forms of what operations on the policy's history take and give: one place, so that the API and its description say the same of a revision
 * everywhere.
 */

import { z } from 'zod'
import { mostBundleFiles } from '../../administration/policy-bundle.ts'
import { instantText } from './paging.ts'

/** Four megabytes of files, as JSON writes what is no text, or text that needs escapes. */
export const mostBodyBytes = 10 * 1024 * 1024

const authorship = z.strictObject({
  by: z.string().meta({ description: 'The actor, as in the audit trail.' }),
  label: z.string().meta({ description: 'For people to read.' }),
  at: instantText,
})
/** Of files. */
export const hash = z.string().max(64).meta({ description: 'SHA-256 over names and contents of the files, base64url: what is approved.' })
/** Of the document. */
export const versionText = z.string().meta({ description: 'Version of the document, as in the audit trail.' })
/** In a path. */
export const revisionNumber = z.coerce.number().int().min(1).max(1_000_000_000).meta({ description: 'Number of the revision.' })
/** Of a revision or draft. */
export const comment = z.string().min(1).max(500).meta({ description: 'What it is about, for the history.' })
/** What was typed. */
export const confirmations = z
  .array(z.string().max(200))
  .max(200)
  .default([])
  .meta({ description: 'The words that a refusal `confirmation_needed` asked for.' })
/** One file. */
export const file = z.union([
  z.strictObject({ path: z.string().max(200), text: z.string() }),
  z.strictObject({ path: z.string().max(200), base64: z.string() }),
])
/** All of them, as they come in. */
export const files = z.array(file).max(mostBundleFiles).meta({ description: 'All files: the document, what it names, and its tests.' })
/** Whose successor something is to be. */
export const predecessor = z.number().int().min(0).meta({ description: 'The revision that the files were made from; 0: none.' })

/** A revision without its files. */
export const revision = z.strictObject({
  number: z.int().min(1),
  hash,
  policy_version: versionText,
  published: authorship,
  comment: z.string(),
  predecessor: z.int().nullable(),
  difference: z.array(z.string()).readonly(),
  tests: z.strictObject({ passed: z.int(), failed: z.int() }).nullable(),
  approvals: z.array(authorship).readonly(),
  restores: z.int().nullable(),
})
/** A draft without its files. */
export const draft = z.strictObject({
  id: z.string(),
  comment: z.string(),
  begun: authorship,
  changed: authorship,
  state: z.enum(['open', 'proposed', 'published', 'discarded']),
  base: z.strictObject({ revision: z.int().nullable(), policy_version: versionText, hash }),
  hash,
  approvals: z.array(authorship).readonly(),
  version: z.int().meta({ description: 'Grows with each change; what a change compares.' }),
  published: z.int().nullable().meta({ description: 'The revision that it became.' }),
})
/** What became of a publication. */
export const published = z.strictObject({
  outcome: z.enum(['published', 'drafted', 'unchanged']),
  revision: revision.nullable(),
  draft: draft.nullable(),
})
/** In a path. */
export const draftId = z.string().min(1).max(64).meta({ description: 'Id of the draft.' })
/** Of the record. */
export const draftVersion = z.number().int().min(0).meta({ description: 'Version of the draft that was looked at.' })
/** Nobody approves or publishes what they have not seen. */
export const seenHash = hash.meta({ description: 'Of the files that were looked at.' })
