/**
 * Editing a draft: its files as text, and its apps, rules and levels one change at a time, with every comment of the files kept.
 *
 * Each change names the version of the draft that was looked at, so that two people in one draft never overwrite each other unseen. What is written
 * is judged when the draft is tried, not here: half a change is not an error.
 */

import { z } from 'zod'
import type { PolicyEdit } from '../../config/edit-policy.ts'
import type { YamlData } from '../../config/edit-yaml-text.ts'
import { defineOperation, done, refused } from './operation.ts'
import { type DraftDesk, draftUnknown, isDocumentPath, textOf } from './policy-edit-desk.ts'

export interface PolicyEditOperationsPorts {
  readonly desk: DraftDesk
}

/** A policy of a thousand apps has less; a longer one is sent as files. */
const mostFileText = 4 * 1024 * 1024
const mostPieceText = 64 * 1024
const mostEdits = 50

export const draftId = z.string().min(1).max(64).meta({ description: 'Id of the draft.' })
const version = z.coerce.number().int().min(0).meta({ description: 'Version of the draft that was looked at.' })
const path = z.string().min(1).max(200).meta({ description: 'Such as `policy.yaml`.' })
const appId = z.string().min(1).max(64).meta({ description: 'Id of the app.' })
const owner = appId.nullable().meta({ description: 'The app whose rule it is; null for a rule of the company.' })
const index = z.number().int().min(0).max(100_000).meta({ description: 'Position among the rules of its owner, from 0.' })
const levelName = z.string().min(1).max(64).meta({ description: 'Name of the level.' })
const pieceText = z.string().max(mostPieceText).meta({ description: 'YAML as it is to stand there, with comments.' })
const map = z.record(z.string().max(200), z.unknown())

const edit = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('set_app_field'),
    app: appId,
    field: z.array(z.string().min(1).max(64)).min(1).max(3).meta({ description: 'Keys below the app: `["session", "lifetime"]`.' }),
    value: z.unknown().meta({ description: 'As the document would have it; null takes the key away.' }),
  }),
  z.strictObject({ kind: z.literal('add_app'), app: map.meta({ description: 'As the document would have it.' }) }),
  z.strictObject({ kind: z.literal('remove_app'), app: appId }),
  z.strictObject({ kind: z.literal('replace_app_text'), app: appId, text: pieceText }),
  z.strictObject({ kind: z.literal('add_rule'), of: owner, rule: map }),
  z.strictObject({ kind: z.literal('add_rule_text'), of: owner, text: pieceText }),
  z.strictObject({ kind: z.literal('replace_rule'), of: owner, index, rule: map }),
  z.strictObject({ kind: z.literal('replace_rule_text'), of: owner, index, text: pieceText }),
  z.strictObject({ kind: z.literal('remove_rule'), of: owner, index }),
  z.strictObject({ kind: z.literal('move_rule'), of: owner, from: index, to: index }),
  z.strictObject({ kind: z.literal('set_level'), name: levelName, condition: z.unknown() }),
  z.strictObject({ kind: z.literal('set_level_text'), name: levelName, text: pieceText }),
  z.strictObject({ kind: z.literal('remove_level'), name: levelName }),
])

/** The operations that edit drafts. */
export function createPolicyEditOperations({ desk }: PolicyEditOperationsPorts) {
  const readFile = defineOperation({
    id: 'policy_edit.read_file',
    summary: 'Reads a file of a draft',
    description: 'The text of one file of a draft, as it is written. Files that are no text, such as pictures, are not handed out here.',
    method: 'GET',
    path: '/policy/drafts/{draft}/file',
    permission: 'policy:read',
    input: z.strictObject({ draft: draftId, path }),
    output: z.strictObject({ path: z.string(), version: z.number().int(), content: z.string() }),
    problems: ['not_found'],
    async carryOut(input) {
      const draft = await desk.load(input.draft)
      if (draft === undefined) return draftUnknown
      const content = textOf(draft.bundle, input.path)
      return content === undefined
        ? refused('not_found', 'There is no such text file in this draft.')
        : done({ path: input.path, version: draft.version, content })
    },
  })

  const putFile = defineOperation({
    id: 'policy_edit.put_file',
    summary: 'Writes a file of a draft',
    description:
      'Replaces the text of one file, or adds it. Approvals of the draft become void. The text may be wrong: it is judged when the draft is tried.',
    method: 'PUT',
    path: '/policy/drafts/{draft}/file',
    permission: 'policy:write',
    input: z.strictObject({ draft: draftId, version, path, content: z.string().max(mostFileText) }),
    output: z.strictObject({ version: z.number().int() }),
    problems: ['conflict', 'not_found', 'malformed'],
    carryOut: (input, asker) => desk.putFile(input.draft, { version: input.version, path: input.path, content: input.content }, asker),
  })

  const removeFile = defineOperation({
    id: 'policy_edit.remove_file',
    summary: 'Removes a file of a draft',
    description: 'Takes one file out of a draft. Approvals of the draft become void.',
    method: 'DELETE',
    path: '/policy/drafts/{draft}/file',
    permission: 'policy:write',
    input: z.strictObject({ draft: draftId, version, path }),
    output: z.strictObject({ version: z.number().int() }),
    problems: ['conflict', 'not_found'],
    carryOut: (input, asker) => desk.putFile(input.draft, { version: input.version, path: input.path, content: undefined }, asker),
  })

  const change = defineOperation({
    id: 'policy_edit.change',
    summary: 'Changes apps, rules and levels of a draft',
    description:
      'Carries out up to 50 changes in one file of a draft, all of them or none, and keeps comments, order and quoting of everything else. ' +
      'The file is found by the first change; `file` names it where something new is to stand in another one. Approvals of the draft become void.',
    method: 'POST',
    path: '/policy/drafts/{draft}/changes',
    permission: 'policy:write',
    input: z.strictObject({ draft: draftId, version, file: path.optional(), edits: z.array(edit).min(1).max(mostEdits) }),
    output: z.strictObject({ version: z.number().int(), file: z.string() }),
    problems: ['conflict', 'not_found', 'policy_refused', 'malformed'],
    carryOut: ({ draft, edits, file, version: seen }, asker) =>
      desk.change(draft, { version: seen, file, edits: edits.map(toPolicyEdit) }, asker),
  })

  const outline = defineOperation({
    id: 'policy_edit.outline',
    summary: 'What a draft holds',
    description: 'The files of a draft with the names of their apps, rules and levels, each with its line.',
    method: 'GET',
    path: '/policy/drafts/{draft}/outline',
    permission: 'policy:read',
    input: z.strictObject({ draft: draftId }),
    output: z.strictObject({
      version: z.number().int(),
      files: z.array(
        z.strictObject({
          path: z.string(),
          bytes: z.number().int(),
          is_document: z.boolean(),
          problems: z.array(z.strictObject({ line: z.number().int(), message: z.string() })),
          levels: z.array(z.strictObject({ name: z.string(), line: z.number().int() })),
          rules: z.array(z.strictObject({ name: z.string(), line: z.number().int() })),
          apps: z.array(z.strictObject({ id: z.string(), name: z.string(), line: z.number().int(), rules: z.array(z.string()) })),
        }),
      ),
    }),
    problems: ['not_found'],
    async carryOut(input) {
      const draft = await desk.load(input.draft)
      if (draft === undefined) return draftUnknown
      const documents = new Map((await desk.documents(draft.bundle)).map((one) => [one.path, one.outline]))
      const files = draft.bundle.map((file) => {
        const found = documents.get(file.path)
        return {
          path: file.path,
          bytes: file.content.length,
          is_document: isDocumentPath(file.path),
          problems: (found?.problems ?? []).map(({ line, message }) => ({ line, message })),
          levels: (found?.levels ?? []).map(({ line, name }) => ({ line, name })),
          rules: (found?.rules ?? []).map(({ line, name }) => ({ line, name })),
          apps: (found?.apps ?? []).map(({ id, line, name, rules }) => ({ id, line, name, rules: rules.map((rule) => rule.name) })),
        }
      })
      return done({ version: draft.version, files })
    },
  })

  return { outline, readFile, putFile, removeFile, change }
}

export type PolicyEditOperations = ReturnType<typeof createPolicyEditOperations>

/** What came as JSON is plain data; the owner and the value that is null there are absent here. */
function toPolicyEdit(given: z.output<typeof edit>): PolicyEdit {
  const value = (data: unknown) => data as YamlData
  const mapOf = (data: Readonly<Record<string, unknown>>) => data as { readonly [key: string]: YamlData }
  switch (given.kind) {
    case 'set_app_field':
      return { ...given, value: given.value === null ? undefined : value(given.value) }
    case 'add_app':
      return { kind: given.kind, app: mapOf(given.app) }
    case 'add_rule':
      return { kind: given.kind, of: given.of ?? undefined, rule: mapOf(given.rule) }
    case 'replace_rule':
      return { kind: given.kind, of: given.of ?? undefined, index: given.index, rule: mapOf(given.rule) }
    case 'set_level':
      return { ...given, condition: value(given.condition) }
    case 'remove_app':
    case 'replace_app_text':
    case 'set_level_text':
    case 'remove_level':
      return given
    default:
      return { ...given, of: given.of ?? undefined }
  }
}
