/**
 * Puts an access review together: what every instance saw used, the people on record, and the policy in force. Carried out in a thread, for people
 * times apps are many.
 *
 * The rows are handed back as text with their places, so that a list of a hundred thousand is looked at a page at a time without being
 * anything else meanwhile.
 */

import { gunzipSync } from 'node:zlib'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import { type AccessEntry, createAccessReview, type Mark, markWords } from './access-review.ts'
import type { RecordedUse } from './recorded-uses.ts'
import type { TrailFindings } from './trail-tasks.ts'

export interface ReviewQuestion {
  /** The policy in force. */
  readonly document: PolicyDocument
  /** One of each instance. */
  readonly parts: readonly TrailFindings['uses'][]
  /** Everybody who might come. */
  readonly subjects: readonly SubjectFacts[]
  /** Epoch milliseconds. */
  readonly at: number
  readonly app: string | undefined
  readonly subject: { readonly issuer: string; readonly sub: string } | undefined
}

/** The rows of a review as JSON, one behind the other. */
export interface ReviewedAccess {
  readonly rows: Uint8Array
  /** Where each row ends. */
  readonly ends: Uint32Array
  /** Of each row, the number of its mark in `marks`. */
  readonly marks: Uint8Array
  /** Rows, or uses of an instance, that found no room. */
  readonly unlisted: number
  /** Epoch milliseconds; `undefined`: no trail has a request. */
  readonly knownFrom: number | undefined
}

/** In the order that `ReviewedAccess.marks` counts. */
export const marks = Object.keys(markWords) as readonly Mark[]

/** Nobody reads further in one list; about 20 MB. */
const mostRows = 100_000
/** Unpacked, of one instance: 60,000 uses of long names. What is larger was not written by this program. */
const mostUsesBytes = 64 * 1024 * 1024

/** Reviews. Throws for parts that are none. */
export function reviewAccess({ app, at, document, parts, subject, subjects }: ReviewQuestion): ReviewedAccess {
  const reviewed = createAccessReview(compilePolicy(document), { at, ...(app === undefined ? {} : { app }) })
  for (const { knownFrom, uses } of parts) {
    const text = gunzipSync(Buffer.from(uses, 'base64'), { maxOutputLength: mostUsesBytes }).toString('utf8')
    reviewed.addUses(JSON.parse(text) as readonly RecordedUse[], knownFrom)
  }
  for (const facts of subjects) reviewed.addSubject(facts)
  const isWanted = (entry: AccessEntry) =>
    subject === undefined || (entry.subject.issuer === subject.issuer && entry.subject.sub === subject.sub)
  const entries = reviewed.entries().filter(isWanted)
  const listed = entries.slice(0, mostRows)
  const texts = listed.map((entry) => Buffer.from(JSON.stringify(entry)))
  const ends = new Uint32Array(texts.length)
  let end = 0
  for (const [index, text] of texts.entries()) {
    end += text.length
    ends[index] = end
  }
  return {
    rows: new Uint8Array(Buffer.concat(texts)),
    ends,
    marks: Uint8Array.from(listed, ({ mark }) => marks.indexOf(mark)),
    unlisted: entries.length - listed.length + reviewed.unlisted() + parts.reduce((sum, { unlisted }) => sum + unlisted, 0),
    knownFrom: reviewed.knownFrom(),
  }
}

/** Rows of a review from `from` on, at most `limit`, of one mark or of all; `next` is where to go on, `undefined` at the end. */
export function rowsOf(
  { ends, marks: marked, rows }: ReviewedAccess,
  { from, limit, mark }: { readonly from: number; readonly limit: number; readonly mark: Mark | undefined },
): { readonly entries: readonly AccessEntry[]; readonly next: number | undefined } {
  const wanted = mark === undefined ? undefined : marks.indexOf(mark)
  const entries: AccessEntry[] = []
  for (let index = from; index < ends.length; index += 1) {
    if (wanted !== undefined && marked[index] !== wanted) continue
    if (entries.length === limit) return { entries, next: index }
    const start = index === 0 ? 0 : (ends[index - 1] ?? 0)
    entries.push(JSON.parse(Buffer.from(rows.subarray(start, ends[index])).toString('utf8')) as AccessEntry)
  }
  return { entries, next: undefined }
}
