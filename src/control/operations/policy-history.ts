/**
 * The policy in force, its revisions and its drafts: read, publish, restore, push, and what two people do with a draft until it is published.
 *
 * Everything here is `administration/policy-publishing.ts` in the form that programs know. Where the policy is files there are drafts and no
 * revisions. A pipeline pulls with `GET /policy` and pushes with `POST /policy/revisions`, naming the revision that its files were made from; one
 * that may only draft posts the same to `/policy/drafts`.
 */

import { z } from 'zod'
import type { PolicyDrafts, PolicyInForce, PolicyRevisions } from '../../administration/policy-history.ts'
import type { Done, Published, Publishing, PublishingRefusal } from '../../administration/policy-publishing-answers.ts'
import {
  type PublishedStatement,
  parseFiles,
  stateDraft,
  stateFiles,
  statePolicy,
  statePublished,
  stateRevision,
} from '../../administration/policy-statements.ts'
import { defineOperation, done, type OperationProblem, type Outcome, type Refused, refused } from './operation.ts'
import { instantText, pageInput, pageOf } from './paging.ts'
import {
  comment,
  confirmations,
  draft,
  draftId,
  draftVersion,
  file,
  files,
  mostBodyBytes,
  predecessor,
  published,
  revision,
  revisionNumber,
  seenHash,
  versionText,
} from './policy-history-schemas.ts'

/** What the operations need. */
export interface PolicyHistoryOperationsPorts {
  readonly publishing: Publishing
  /** `undefined` where the policy is files. */
  readonly revisions: Pick<PolicyRevisions, 'load' | 'list'> | undefined
  readonly drafts: Pick<PolicyDrafts, 'load' | 'list'>
  readonly inForce: () => Promise<PolicyInForce>
}

const publishProblems: readonly OperationProblem[] = [
  'policy_is_files',
  'not_found',
  'conflict',
  'policy_refused',
  'confirmation_needed',
  'second_person_needed',
  'too_many',
]

/** The operations on the policy and its history. */
export function createPolicyHistoryOperations({ drafts, inForce, publishing, revisions }: PolicyHistoryOperationsPorts) {
  return {
    read: defineOperation({
      id: 'policy.read',
      summary: 'The policy in force',
      description: 'The policy that this instance decides by, with its files and, where it is managed, its revision.',
      method: 'GET',
      path: '/policy',
      permission: 'policy:read',
      input: z.strictObject({}),
      output: z.strictObject({
        mode: z.enum(['files', 'managed']),
        policy_version: versionText,
        revision: revision.nullable(),
        changed: z
          .strictObject({ by: z.string(), at: instantText })
          .nullable()
          .meta({ description: 'Of files: whose the one is that was changed last, and when. Null of a revision.' }),
        failure: z.string().nullable().meta({ description: 'Why the newest is not in force; null while it is.' }),
        files: z.array(file).readonly(),
      }),
      problems: [],
      carryOut: async () => done(statePolicy(await inForce())),
    }),

    listRevisions: defineOperation({
      id: 'policy.list_revisions',
      summary: 'What was published',
      description: 'Revisions of a managed policy, the newest first, without their files.',
      method: 'GET',
      path: '/policy/revisions',
      permission: 'policy:read',
      input: z.strictObject(pageInput),
      output: pageOf(revision),
      problems: ['policy_is_files'],
      async carryOut({ after, limit }) {
        if (revisions === undefined) return policyIsFiles
        const below = after === undefined ? undefined : /^[1-9]\d{0,9}$/.test(after) ? Number(after) : 0
        const page = await revisions.list({ below, limit })
        const last = page.at(-1)
        return done({ entries: page.map(stateRevision), next: last === undefined || last.number === 1 ? null : String(last.number) })
      },
    }),

    readRevision: defineOperation({
      id: 'policy.read_revision',
      summary: 'One revision',
      description: 'A revision with its files.',
      method: 'GET',
      path: '/policy/revisions/{number}',
      permission: 'policy:read',
      input: z.strictObject({ number: revisionNumber }),
      output: revision.extend({ files: z.array(file).readonly() }),
      problems: ['policy_is_files', 'not_found'],
      async carryOut({ number }) {
        if (revisions === undefined) return policyIsFiles
        const found = await revisions.load(number)
        if (found === undefined) return refused('not_found', `There is no revision ${number}.`)
        return done({ ...stateRevision(found), files: stateFiles(found.bundle) })
      },
    }),

    push: defineOperation({
      id: 'policy.push',
      summary: 'Publish files',
      description:
        'Publishes files as the next revision if the one that they were made from is still the newest; on the record first. Where two people are needed it makes a draft. Files that are what is published already change nothing.',
      method: 'POST',
      path: '/policy/revisions',
      permission: 'policy:publish',
      bodyBytes: mostBodyBytes,
      input: z.strictObject({ files, predecessor, comment, confirmations, as_draft: z.boolean().default(false) }),
      output: published,
      problems: publishProblems,
      async carryOut({ as_draft, files: sent, ...wish }, asker) {
        const bundle = parseFiles(sent)
        if (bundle === undefined) return notFiles
        return publishedOf(await publishing.push({ ...wish, bundle, asDraft: as_draft }, asker))
      },
    }),

    restore: defineOperation({
      id: 'policy.restore',
      summary: 'Publish an earlier revision again',
      description: 'Publishes what a revision says as the next one; on the record first. Where two people are needed it makes a draft.',
      method: 'POST',
      path: '/policy/revisions/{number}/restore',
      permission: 'policy:publish',
      input: z.strictObject({ number: revisionNumber, comment, confirmations, predecessor: predecessor.optional() }),
      output: published,
      problems: publishProblems,
      carryOut: async ({ number, ...wish }, asker) => publishedOf(await publishing.restore(number, wish, asker)),
    }),

    listDrafts: defineOperation({
      id: 'policy.list_drafts',
      summary: 'Drafts',
      description: 'Open and proposed drafts first, the last changed first; those that ended stay for 30 days.',
      method: 'GET',
      path: '/policy/drafts',
      permission: 'policy:read',
      input: z.strictObject(pageInput),
      output: pageOf(draft),
      problems: [],
      async carryOut({ after, limit }) {
        const all = await drafts.list()
        // A cursor that names no draft any more begins anew: the order may have changed meanwhile.
        const from = after === undefined ? 0 : all.findIndex(({ id }) => id === after) + 1
        const page = all.slice(from, from + limit)
        return done({ entries: page.map(stateDraft), next: from + limit < all.length ? (page.at(-1)?.id ?? null) : null })
      },
    }),

    beginDraft: defineOperation({
      id: 'policy.begin_draft',
      summary: 'Begin a draft',
      description:
        'Begins a draft from what is published, or from the files in force. With `files` it says these already; with `predecessor` too, it is made from that revision and waits for somebody to look at it.',
      method: 'POST',
      path: '/policy/drafts',
      permission: 'policy:write',
      bodyBytes: mostBodyBytes,
      input: z.strictObject({ comment, files: files.optional(), predecessor: predecessor.optional() }),
      output: published,
      problems: ['policy_is_files', 'not_found', 'too_many'],
      async carryOut({ comment: about, files: sent, predecessor: madeFrom }, asker) {
        const bundle = sent === undefined ? undefined : parseFiles(sent)
        if (sent !== undefined && bundle === undefined) return notFiles
        if (bundle === undefined || madeFrom === undefined) return publishedOf(await publishing.begin({ comment: about, bundle }, asker))
        const wish = { bundle, predecessor: madeFrom, comment: about, asDraft: true, confirmations: [] }
        return publishedOf(await publishing.push(wish, asker))
      },
    }),

    readDraft: defineOperation({
      id: 'policy.read_draft',
      summary: 'One draft',
      description: 'A draft with its files.',
      method: 'GET',
      path: '/policy/drafts/{draft}',
      permission: 'policy:read',
      input: z.strictObject({ draft: draftId }),
      output: draft.extend({ files: z.array(file).readonly() }),
      problems: ['not_found'],
      async carryOut({ draft: id }) {
        const found = await drafts.load(id)
        if (found === undefined) return refused('not_found', 'There is no such draft.')
        return done({ ...stateDraft(found), files: stateFiles(found.bundle) })
      },
    }),

    mergeDraft: defineOperation({
      id: 'policy.merge_draft',
      summary: 'Merge what was published meanwhile',
      description:
        'Merges the newest revision into the draft, line by line; the draft then begins from it and its approvals are void. Conflicts stand in its files with marks, and it is not published while one is left.',
      method: 'POST',
      path: '/policy/drafts/{draft}/merge',
      permission: 'policy:write',
      input: z.strictObject({ draft: draftId, version: draftVersion }),
      output: z.strictObject({ conflicts: z.array(z.strictObject({ path: z.string(), count: z.int() })).readonly() }),
      problems: ['policy_is_files', 'not_found', 'conflict'],
      async carryOut({ draft: id, version }, asker) {
        const merged = await publishing.merge(id, version, asker)
        return merged.outcome === 'refused' ? refusedOf(merged) : done({ conflicts: merged.conflicts })
      },
    }),

    proposeDraft: defineOperation({
      id: 'policy.propose_draft',
      summary: 'Put a draft before others',
      description: 'Says that it is ready to be looked at and approved; on record.',
      method: 'POST',
      path: '/policy/drafts/{draft}/propose',
      permission: 'policy:write',
      input: z.strictObject({ draft: draftId, version: draftVersion }),
      output: z.strictObject({}),
      problems: ['not_found', 'conflict'],
      carryOut: async ({ draft: id, version }, asker) => doneOf(await publishing.propose(id, version, asker)),
    }),

    approveDraft: defineOperation({
      id: 'policy.approve_draft',
      summary: 'Approve a draft',
      description:
        'Approves exactly the files with this hash; on the record first. Only a person may, and none who began or changed the draft, or whose token did. Any change makes it void.',
      method: 'POST',
      path: '/policy/drafts/{draft}/approve',
      permission: 'policy:approve',
      input: z.strictObject({ draft: draftId, hash: seenHash }),
      output: z.strictObject({}),
      problems: ['not_found', 'conflict', 'second_person_needed'],
      carryOut: async ({ draft: id, hash: seen }, asker) => doneOf(await publishing.approve(id, seen, asker)),
    }),

    publishDraft: defineOperation({
      id: 'policy.publish_draft',
      summary: 'Publish a draft',
      description:
        'Makes the draft the next revision if what it began from is still the newest; on the record first. With `comment` the history says that in place of what the draft is about; where two people are needed it says what was approved.',
      method: 'POST',
      path: '/policy/drafts/{draft}/publish',
      permission: 'policy:publish',
      input: z.strictObject({ draft: draftId, hash: seenHash, comment: comment.optional(), confirmations }),
      output: published,
      problems: publishProblems,
      carryOut: async ({ draft: id, ...wish }, asker) => publishedOf(await publishing.publishDraft(id, wish, asker)),
    }),

    discardDraft: defineOperation({
      id: 'policy.discard_draft',
      summary: 'Give a draft up',
      description: 'Ends the draft; it stays in the list for 30 days. On record.',
      method: 'POST',
      path: '/policy/drafts/{draft}/discard',
      permission: 'policy:write',
      input: z.strictObject({ draft: draftId, version: draftVersion }),
      output: z.strictObject({}),
      problems: ['not_found', 'conflict'],
      carryOut: async ({ draft: id, version }, asker) => doneOf(await publishing.discard(id, version, asker)),
    }),
  }
}

const policyIsFiles = refused('policy_is_files', 'The policy is made of files here, and they are the truth: nothing is published.')
const notFiles = refused('malformed', 'These are no files of a policy: too large, too many, or with a name that no file may have.')

function publishedOf(answer: Published): Outcome<PublishedStatement> {
  return answer.outcome === 'refused' ? refusedOf(answer) : done(statePublished(answer))
}

function doneOf(answer: Done): Outcome<Record<string, never>> {
  return answer.outcome === 'refused' ? refusedOf(answer) : done({})
}

/** As a sentence for people. */
function refusedOf({ detail, message, problem }: PublishingRefusal): Refused {
  return refused(problem, `${message.charAt(0).toUpperCase()}${message.slice(1)}.`, detail)
}
