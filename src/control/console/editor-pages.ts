/**
 * The files of a draft as text: read, changed and saved as somebody writes them, right or wrong, with what is wrong at its line.
 *
 * A text that does not load is kept all the same: a draft is work that is not done. A file too large for a page is changed an app at a time.
 */

import type { Draft } from '../../administration/policy-history.ts'
import { isDocumentPath, textOf } from '../operations/policy-edit-desk.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type EditorPagesPorts, type OpenDraft, openDraft, ownerHref, textOfField, versionOf } from './editor-draft.ts'
import { problemsOfFile } from './editor-problems.ts'

/** What a browser edits in comfort, and a page may weigh; a policy of some eighty apps. */
const mostEditedBytes = 100 * 1024
/** Every character of a text may be sent as three. */
const mostFormBytes = 4 * mostEditedBytes
const appsOfPage = 50

interface Shown {
  readonly path: string
  readonly text: string
  readonly version: number
  readonly failure: string | undefined
  readonly status: 200 | 409 | 422
}

/** Adds `/console/policy/drafts/:draft/edit`. */
export function mountEditorPages(routes: ConsoleRoutes, ports: EditorPagesPorts): void {
  const { carryOut, operations } = ports
  const pattern = '/console/policy/drafts/:draft/edit'

  routes.get(pattern, 'policy:read', async (request) => {
    const open = await openDraft(ports, request)
    if (open === undefined) return { kind: 'not_found' }
    const path = request.query.get('file') ?? firstFile(open.draft)
    const text = path === undefined ? undefined : textOf(open.draft.bundle, path)
    if (path === undefined || text === undefined) return { kind: 'not_found' }
    return page(open, request, { path, text, version: open.draft.version, failure: undefined, status: 200 })
  })

  routes.post(
    pattern,
    'policy:write',
    async (request, sent) => {
      const open = await openDraft(ports, request)
      const path = sent.get('file') ?? ''
      if (open === undefined || textOf(open.draft.bundle, path) === undefined) return { kind: 'not_found' }
      const text = textOfField(sent, 'content')
      const input = { draft: open.draft.id, version: versionOf(sent), path, content: text }
      const saved = await carryOut(operations.putFile, input, request.asker)
      if (saved.outcome === 'refused') {
        return page(open, request, {
          path,
          text,
          version: input.version,
          failure: saved.message,
          status: saved.problem === 'conflict' ? 409 : 422,
        })
      }
      return { kind: 'redirect', to: editHref(open, path), notice: { tone: 'good', text: 'The file is saved in the draft.' } }
    },
    { limitBytes: mostFormBytes },
  )

  function page(open: OpenDraft, { query }: ConsoleRequest, { failure, path, status, text, version }: Shown): ConsoleAnswer {
    const { documents, draft, judged, mayEdit } = open
    const isLarge = Buffer.byteLength(text) > mostEditedBytes
    const outline = documents.find((document) => document.path === path)?.outline
    const isShown = status === 200
    // What is typed but not saved has not been judged.
    const problems = isShown
      ? [...problemsOfFile(judged.problems, path, false), ...problemsOfFile(judged.warnings, path, true)]
      : (outline?.problems ?? []).map(({ line, message }) => ({ line, message, isWarning: false }))
    const wanted = (query.get('q') ?? '').trim().toLowerCase()
    const from = Math.max(0, Number(query.get('from') ?? 0) || 0)
    const apps = (outline?.apps ?? []).filter(({ id, name }) => wanted === '' || `${id} ${name}`.toLowerCase().includes(wanted))
    return {
      kind: 'page',
      template: 'editor',
      title: path,
      section: 'policy',
      status,
      scripts: ['editor.js'],
      content: {
        path,
        base: open.base,
        action: editHref(open, path),
        files: draft.bundle
          .filter((file) => textOf(draft.bundle, file.path) !== undefined)
          .map((file) => ({ path: file.path, href: editHref(open, file.path), isCurrent: file.path === path })),
        version,
        text: isLarge ? undefined : text,
        rows: Math.min(48, Math.max(16, text.split('\n').length + 2)),
        problems,
        elsewhere: judged.problems.filter((problem) => problem.file !== path).length,
        failure,
        mayEdit,
        isDocument: isDocumentPath(path),
        query: query.get('q') ?? '',
        apps: apps
          .slice(from, from + appsOfPage)
          .map((app) => ({ id: app.id, name: app.name, line: app.line, href: ownerHref(open.base, app.id) })),
        next: from + appsOfPage < apps.length ? nextHref(open, path, wanted, from + appsOfPage) : undefined,
        first: from > 0 ? editHref(open, path) : undefined,
        rulesHref: ownerHref(open.base, undefined, path),
        levelsHref: `${open.base}/levels`,
      },
    }
  }
}

function editHref({ base }: OpenDraft, path: string): string {
  return `${base}/edit?file=${encodeURIComponent(path)}`
}

function nextHref(open: OpenDraft, path: string, wanted: string, from: number): string {
  return `${editHref(open, path)}${wanted === '' ? '' : `&q=${encodeURIComponent(wanted)}`}&from=${from}`
}

/** The document before everything that it names. */
function firstFile({ bundle }: Draft): string | undefined {
  return (bundle.find(({ path }) => isDocumentPath(path)) ?? bundle[0])?.path
}
