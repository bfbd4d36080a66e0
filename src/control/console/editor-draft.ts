/**
 * What every page of the editor begins with: the draft, its files with what they hold, what is wrong with them, and the addresses of its pages.
 */

import type { ActivityDigest } from '../../administration/activity.ts'
import type { Draft } from '../../administration/policy-history.ts'
import type { JudgeBundle, JudgedBundle } from '../../administration/policy-trial.ts'
import type { OutlinedApp, PolicyEditor } from '../../config/policy-editor.ts'
import type { CarryOut } from '../operations/operation.ts'
import type { PolicyEditOperations } from '../operations/policy-edit.ts'
import type { DraftDesk, DraftDocument } from '../operations/policy-edit-desk.ts'
import type { ConsoleRequest } from './console-page.ts'
import type { Words } from './rule-content.ts'

export interface EditorPagesPorts {
  readonly operations: PolicyEditOperations
  readonly carryOut: CarryOut
  readonly desk: DraftDesk
  readonly editor: PolicyEditor
  readonly judge: JudgeBundle
  readonly digest: Pick<ActivityDigest, 'seen'>
  /** Tags and names of attributes that devices of the inventory have, the most frequent first. */
  readonly deviceWords: () => { readonly tags: readonly string[]; readonly attributes: readonly string[] }
  /** Names of `provider.strengths`. */
  readonly strengths: readonly string[]
}

/** A draft as a page of the editor sees it. */
export interface OpenDraft {
  readonly draft: Draft
  readonly documents: readonly DraftDocument[]
  readonly judged: JudgedBundle
  /** Whether it is still worked on, and by somebody who may. */
  readonly mayEdit: boolean
  readonly base: string
}

/** The draft of the address; `undefined`: there is none. */
export async function openDraft({ desk, judge }: EditorPagesPorts, request: ConsoleRequest): Promise<OpenDraft | undefined> {
  const draft = await desk.load(request.params['draft'] ?? '')
  if (draft === undefined) return undefined
  const [documents, judged] = await Promise.all([desk.documents(draft.bundle), judge(draft.bundle)])
  // One that waits for an approval is taken back by a change.
  const isOver = draft.state === 'published' || draft.state === 'discarded'
  return { draft, documents, judged, mayEdit: !isOver && request.may('policy:write'), base: draftHref(draft.id) }
}

export function draftHref(id: string): string {
  return `/console/policy/drafts/${encodeURIComponent(id)}`
}

/** Where an app's settings or the rules of the company are edited. */
export function ownerHref(base: string, app: string | undefined, file?: string): string {
  if (app !== undefined) return `${base}/apps/${encodeURIComponent(app)}`
  return file === undefined ? `${base}/rules` : `${base}/rules?file=${encodeURIComponent(file)}`
}

export function findApp(
  documents: readonly DraftDocument[],
  id: string,
): { readonly document: DraftDocument; readonly app: OutlinedApp } | undefined {
  for (const document of documents) {
    const app = document.outline.apps.find((one) => one.id === id)
    if (app !== undefined) return { document, app }
  }
  return undefined
}

const mostWords = 60

/** What really occurs, for completion: counted of late, of this draft, of the inventory. */
export function wordsOf({ deviceWords, digest, strengths }: EditorPagesPorts, documents: readonly DraftDocument[]): Words {
  const seen = (kind: Parameters<ActivityDigest['seen']>[0]) => digest.seen(kind, '', mostWords).map(({ value }) => value)
  const { attributes, tags } = deviceWords()
  return {
    groups: seen('group'),
    users: seen('email'),
    domains: seen('domain'),
    acr: seen('acr'),
    amr: seen('amr'),
    countries: seen('country'),
    services: documents.flatMap(({ outline }) => outline.services).slice(0, mostWords),
    levels: documents.flatMap(({ outline }) => outline.levels.map(({ name }) => name)).slice(0, mostWords),
    apps: documents.flatMap(({ outline }) => outline.apps.map(({ id }) => id)).slice(0, mostWords),
    tags: tags.slice(0, mostWords),
    attributes: attributes.slice(0, mostWords),
    strengths: strengths.slice(0, mostWords),
  }
}

/** The version that a form was made from. */
export function versionOf(form: URLSearchParams): number {
  const version = Number(form.get('version') ?? Number.NaN)
  return Number.isSafeInteger(version) && version >= 0 ? version : 0
}

/** A text as a browser sends it, with the line ends that documents have. */
export function textOfField(form: URLSearchParams, name: string): string {
  return (form.get(name) ?? '').replaceAll('\r\n', '\n')
}
