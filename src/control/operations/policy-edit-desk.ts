/**
 * A draft as somebody works on it: its files as texts, where each app stands, and the change of one file that leaves all others alone.
 *
 * Every change names the version of the draft that was looked at; where the draft has moved on, nothing is written. Nothing is judged before it is
 * written: a draft may be wrong for a while.
 */

import type { Asker } from '../../administration/asker.ts'
import { type Bundle, isBundlePath, mostBundleBytes, toBundle } from '../../administration/policy-bundle.ts'
import type { Draft, DraftChange, DraftFacts, PolicyDrafts } from '../../administration/policy-history.ts'
import type { PublishingRefusal } from '../../administration/policy-publishing-answers.ts'
import type { PolicyEdit } from '../../config/edit-policy.ts'
import type { PolicyEditor, PolicyOutline } from '../../config/policy-editor.ts'
import { done, type Outcome, refused } from './operation.ts'

export interface EditDeskPorts {
  readonly drafts: Pick<PolicyDrafts, 'load' | 'change'>
  /** Begins a draft from what is in force, as `Publishing` does. */
  readonly begin: (
    wish: { readonly comment: string },
    asker: Asker,
  ) => Promise<{ readonly outcome: 'drafted'; readonly draft: DraftFacts } | PublishingRefusal>
  readonly editor: PolicyEditor
}

/** A file of a draft that is part of the document, with its outline. */
export interface DraftDocument {
  readonly path: string
  readonly text: string
  readonly outline: PolicyOutline
}

export interface DraftDesk {
  load(id: string): Promise<Draft | undefined>
  documents(bundle: Bundle): Promise<readonly DraftDocument[]>
  /** Edits of one file: of the one that is named, or of the one that they concern. */
  change(
    id: string,
    wish: { readonly version: number; readonly file?: string | undefined; readonly edits: readonly PolicyEdit[] },
    asker: Asker,
  ): Promise<Outcome<{ readonly version: number; readonly file: string }>>
  /** `undefined` content takes the file away. */
  putFile(
    id: string,
    wish: { readonly version: number; readonly path: string; readonly content: string | undefined },
    asker: Asker,
  ): Promise<Outcome<{ readonly version: number }>>
  begin(comment: string, asker: Asker): Promise<Outcome<DraftFacts>>
}

/** Whether a file of a bundle is part of the document. */
export function isDocumentPath(path: string): boolean {
  return !path.includes('/') && path.endsWith('.yaml') && !path.endsWith('.test.yaml')
}

/** A file as text; `undefined` where it is none. */
export function textOf(bundle: Bundle, path: string): string | undefined {
  const file = bundle.find((one) => one.path === path)
  if (file === undefined) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.content)
  } catch {
    // Pictures and whatever else is no text is not edited here.
    return undefined
  }
}

export const draftUnknown = refused('not_found', 'There is no such draft.')
export const movedOn = refused('conflict', 'Somebody changed this draft meanwhile. Look at it again, then make your change once more.')

/** The desk. */
export function createDraftDesk({ begin, drafts, editor }: EditDeskPorts): DraftDesk {
  async function documents(bundle: Bundle): Promise<readonly DraftDocument[]> {
    const found: DraftDocument[] = []
    for (const { path } of bundle) {
      const text = isDocumentPath(path) ? textOf(bundle, path) : undefined
      if (text !== undefined) found.push({ path, text, outline: await editor.outline(text) })
    }
    return found
  }

  async function write(draft: Draft, bundle: Bundle, asker: Asker): Promise<Outcome<{ readonly version: number }>> {
    const by = { by: asker.actor, label: asker.label }
    return outcomeOf(await drafts.change(draft.id, { bundle, by, version: draft.version }), draft.version + 1)
  }

  return {
    load: (id) => drafts.load(id),
    documents,

    async change(id, { edits, file, version }, asker) {
      const draft = await drafts.load(id)
      if (draft === undefined) return draftUnknown
      if (draft.version !== version) return movedOn
      const path = file ?? findFile(await documents(draft.bundle), edits[0])
      const text = path === undefined ? undefined : textOf(draft.bundle, path)
      if (path === undefined || text === undefined || !isDocumentPath(path)) {
        return refused('not_found', 'There is no such app, rule or file in this draft.')
      }
      const edited = await editor.edit(text, edits)
      if (edited.outcome === 'refused') {
        return refused(edited.why === 'not_found' ? 'not_found' : edited.why === 'exists' ? 'conflict' : 'policy_refused', edited.message)
      }
      if (edited.text === text) return done({ version, file: path })
      const written = await write(draft, withFile(draft.bundle, path, edited.text), asker)
      return written.outcome === 'done' ? done({ version: written.value.version, file: path }) : written
    },

    async putFile(id, { content, path, version }, asker) {
      if (!isBundlePath(path))
        return refused('malformed', 'A file may not be called this.', { fields: { path: 'A file may not be called this.' } })
      const draft = await drafts.load(id)
      if (draft === undefined) return draftUnknown
      if (draft.version !== version) return movedOn
      if (content === undefined && !draft.bundle.some((one) => one.path === path)) return refused('not_found', 'There is no such file.')
      if (content !== undefined && textOf(draft.bundle, path) === content) return done({ version })
      return await write(draft, withFile(draft.bundle, path, content), asker)
    },

    async begin(comment, asker) {
      const begun = await begin({ comment }, asker)
      return begun.outcome === 'drafted' ? done(begun.draft) : refused(begun.problem, begun.message, begun.detail)
    },
  }
}

/** The file that an edit concerns; for something new, the one that has most of its kind. */
function findFile(files: readonly DraftDocument[], edit: PolicyEdit | undefined): string | undefined {
  if (edit === undefined) return undefined
  const most = (count: (outline: PolicyOutline) => number): string | undefined =>
    [...files].sort((a, b) => count(b.outline) - count(a.outline) || (a.path < b.path ? -1 : 1))[0]?.path
  const app = 'app' in edit ? (typeof edit.app === 'string' ? edit.app : undefined) : 'of' in edit ? edit.of : undefined
  if (app !== undefined) return files.find(({ outline }) => outline.apps.some(({ id }) => id === app))?.path
  if (edit.kind === 'set_level' || edit.kind === 'set_level_text' || edit.kind === 'remove_level') {
    const home = files.find(({ outline }) => outline.levels.some(({ name }) => name === edit.name))
    return home?.path ?? most(({ levels }) => levels.length)
  }
  if (edit.kind === 'add_app') {
    // Two files of a folder may not both have it.
    const twin = files.find(({ outline }) => outline.apps.some(({ id }) => id === edit.app['id']))
    return twin?.path ?? most(({ apps }) => apps.length)
  }
  return most(({ rules }) => rules.length)
}

function withFile(bundle: Bundle, path: string, content: string | undefined): Bundle {
  const others = bundle.filter((file) => file.path !== path)
  return toBundle(content === undefined ? others : [...others, { path, content: Buffer.from(content) }])
}

function outcomeOf(change: DraftChange, version: number): Outcome<{ readonly version: number }> {
  switch (change) {
    case 'changed':
      return done({ version })
    case 'moved_on':
      return movedOn
    case 'unknown':
      return draftUnknown
    case 'closed':
      return refused('conflict', 'This draft was published, discarded or handed to a second person. Begin another one.')
    case 'too_large':
      return refused('malformed', `A policy has at most ${mostBundleBytes / 1_048_576} MiB.`)
  }
}
