/**
 * An app in a draft: its fields, its rules with what they say, and its YAML; and the rules of the company likewise.
 *
 * Fields that are written in another way than a line of text (several upstreams, a map) are shown and changed in the YAML, so that a form never
 * flattens what somebody wrote.
 */

import type { PolicyEdit } from '../../config/edit-policy.ts'
import type { OutlinedRule } from '../../config/policy-editor.ts'
import { describeRule, levelFinder } from '../../policy/rule-sentences.ts'
import type { Refused } from '../operations/operation.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeAppFields, readAppFields } from './editor-app-content.ts'
import { type EditorPagesPorts, findApp, type OpenDraft, openDraft, ownerHref, textOfField, versionOf } from './editor-draft.ts'
import { dotted, problemsOfPiece, sentenceOf } from './editor-problems.ts'
import { mostRules } from './rule-pages.ts'

const mostFormBytes = 256 * 1024
const drafts = '/console/policy/drafts/:draft'
const inDraft = 'Nothing is in force before the draft is published.'

/** Adds the pages of apps and of the company's rules in drafts. */
export function mountEditorAppPages(routes: ConsoleRoutes, ports: EditorPagesPorts): void {
  const { carryOut, operations } = ports

  routes.get(`${drafts}/apps/:app`, 'policy:read', async (request) => {
    const open = await openDraft(ports, request)
    return open === undefined ? { kind: 'not_found' } : appPage(open, request, undefined)
  })

  routes.post(
    `${drafts}/apps/:app`,
    'policy:write',
    async (request, sent) => {
      const open = await openDraft(ports, request)
      const app = open && findApp(open.documents, request.params['app'] ?? '')?.app
      if (open === undefined || app === undefined) return { kind: 'not_found' }
      const isText = sent.get('intent') === 'text'
      const text = textOfField(sent, 'yaml')
      const edits: readonly PolicyEdit[] = isText ? [{ kind: 'replace_app_text', app: app.id, text }] : readAppFields(sent, app)
      if (edits.length === 0)
        return { kind: 'redirect', to: ownerHref(open.base, app.id), notice: { tone: 'info', text: 'Nothing was changed.' } }
      const saved = await change(request, open, { sent, edits })
      if (saved !== undefined) return appPage(open, request, { refusal: saved, text: isText ? text : undefined })
      // Its id may be another one now: then it is found in the draft.
      const again = await openDraft(ports, request)
      const isStill = again !== undefined && findApp(again.documents, app.id) !== undefined
      const to = isStill ? ownerHref(open.base, app.id) : open.base
      return { kind: 'redirect', to, notice: { tone: 'good', text: `The app is changed in the draft. ${inDraft}` } }
    },
    { limitBytes: mostFormBytes },
  )

  routes.post(`${drafts}/apps/:app/remove`, 'policy:write', async (request, sent) => {
    const open = await openDraft(ports, request)
    if (open === undefined) return { kind: 'not_found' }
    const refusal = await change(request, open, { sent, edits: [{ kind: 'remove_app', app: request.params['app'] ?? '' }] })
    if (refusal !== undefined) return { kind: 'refused', refusal }
    return { kind: 'redirect', to: open.base, notice: { tone: 'good', text: `The app is gone from the draft. ${inDraft}` } }
  })

  routes.get(`${drafts}/rules`, 'policy:read', async (request) => {
    const open = await openDraft(ports, request)
    return open === undefined ? { kind: 'not_found' } : companyPage(open, request)
  })

  for (const pattern of [`${drafts}/apps/:app/rules/:index`, `${drafts}/rules/:index`]) {
    routes.post(`${pattern}/remove`, 'policy:write', (request, sent) =>
      changeRule(request, sent, (of, index) => ({ kind: 'remove_rule', of, index })),
    )
    routes.post(`${pattern}/up`, 'policy:write', (request, sent) =>
      changeRule(request, sent, (of, index) => ({ kind: 'move_rule', of, from: index, to: index - 1 })),
    )
    routes.post(`${pattern}/down`, 'policy:write', (request, sent) =>
      changeRule(request, sent, (of, index) => ({ kind: 'move_rule', of, from: index, to: index + 1 })),
    )
  }

  async function changeRule(
    request: ConsoleRequest,
    sent: URLSearchParams,
    editOf: (of: string | undefined, index: number) => PolicyEdit,
  ): Promise<ConsoleAnswer> {
    const open = await openDraft(ports, request)
    const { app, index = '' } = request.params
    if (open === undefined || !/^\d{1,5}$/.test(index)) return { kind: 'not_found' }
    const file = request.query.get('file') ?? undefined
    const refusal = await change(request, open, { sent, edits: [editOf(app, Number(index))], file: app === undefined ? file : undefined })
    if (refusal !== undefined) return { kind: 'refused', refusal }
    return { kind: 'redirect', to: ownerHref(open.base, app, file), notice: { tone: 'good', text: `The draft is changed. ${inDraft}` } }
  }

  async function change(
    request: ConsoleRequest,
    open: OpenDraft,
    wish: { readonly sent: URLSearchParams; readonly edits: readonly PolicyEdit[]; readonly file?: string | undefined },
  ): Promise<Refused | undefined> {
    const { edits, file, sent } = wish
    const input = { draft: open.draft.id, version: versionOf(sent), ...(file === undefined ? {} : { file }), edits: edits.map(toJson) }
    const saved = await carryOut(operations.change, input, request.asker)
    return saved.outcome === 'refused' ? saved : undefined
  }

  function appPage(
    open: OpenDraft,
    { params, query }: ConsoleRequest,
    failed: { readonly refusal: Refused; readonly text: string | undefined } | undefined,
  ): ConsoleAnswer {
    const found = findApp(open.documents, params['app'] ?? '')
    if (found === undefined) return { kind: 'not_found' }
    const { app, document } = found
    const at = document.outline.apps.indexOf(app)
    const lines = app.text.split('\n').length
    const problems = problemsOfPiece(open.judged.problems, { file: document.path, path: `apps.${at}`, start: app.line, lines })
    const href = ownerHref(open.base, app.id)
    const judged = open.judged.document?.apps.find(({ id }) => id === app.id)
    return {
      kind: 'page',
      template: 'editor-app',
      title: `${app.name} in a draft`,
      section: 'policy',
      status: failed === undefined ? 200 : 409,
      scripts: ['editor.js'],
      content: {
        id: app.id,
        name: app.name,
        base: open.base,
        file: document.path,
        fileHref: `${open.base}/edit?file=${encodeURIComponent(document.path)}`,
        action: href,
        version: open.draft.version,
        mayEdit: open.mayEdit,
        failure: failed?.refusal.message,
        fields: describeAppFields(app, problems),
        problems: problems.map((problem) => ({ line: problem.line, message: sentenceOf(problem) })),
        ...describeRules(
          { open, href, query: '', rules: app.rules, from: query, problems: problems.map(({ below }) => below) },
          judged?.rules,
        ),
        newRuleHref: `${href}/rules/new`,
        text: failed?.text ?? app.text,
        rows: Math.min(40, lines + 2),
      },
    }
  }

  function companyPage(open: OpenDraft, { query }: ConsoleRequest): ConsoleAnswer {
    const asked = query.get('file')
    const document = asked === null ? mostRules(open.documents) : open.documents.find(({ path }) => path === asked)
    if (document === undefined) return { kind: 'not_found' }
    const file = encodeURIComponent(document.path)
    const problems = open.judged.problems.filter(({ file: where }) => where === document.path).map(({ key }) => dotted(key ?? ''))
    // Files of a folder are read one after the other, in the order of their names.
    const before = open.documents.filter(({ path }) => path < document.path).reduce((sum, { outline }) => sum + outline.rules.length, 0)
    const judged = open.judged.document?.rules.slice(before)
    return {
      kind: 'page',
      template: 'editor-company',
      title: 'Rules of the company',
      section: 'policy',
      content: {
        base: open.base,
        files: open.documents.map(({ path }) => ({ path, href: ownerHref(open.base, undefined, path), isCurrent: path === document.path })),
        version: open.draft.version,
        mayEdit: open.mayEdit,
        ...describeRules({ open, href: open.base, query: `?file=${file}`, rules: document.outline.rules, from: query, problems }, judged),
        newRuleHref: `${open.base}/rules/new?file=${file}`,
      },
    }
  }
}

interface RulesOf {
  readonly open: OpenDraft
  readonly href: string
  readonly query: string
  readonly rules: readonly OutlinedRule[]
  readonly from: URLSearchParams
  /** Paths of what is wrong, below the owner. */
  readonly problems: readonly string[]
}

const rulesOfPage = 100

function describeRules(
  { from, href, open, problems, query, rules }: RulesOf,
  judged: readonly Parameters<typeof describeRule>[0][] | undefined,
): { readonly rules: readonly object[]; readonly next: string | undefined; readonly first: string | undefined } {
  const findLevel = levelFinder(open.judged.document?.levels ?? [])
  const start = Math.max(0, Number(from.get('from') ?? 0) || 0)
  const isShown = (index: number) => index >= start && index < start + rulesOfPage
  const list = query === '' ? href : `${href}/rules`
  const step = query === '' ? '?' : '&'
  return {
    rules: rules.flatMap((rule, index) => {
      if (!isShown(index)) return []
      const meant = judged?.[index]
      const at = `${href}/rules/${index}`
      return [
        {
          name: rule.name,
          verb: rule.verb,
          sentence: meant === undefined ? undefined : describeRule(meant, findLevel),
          isWrong: problems.some((path) => path === `rules.${index}` || path.startsWith(`rules.${index}.`)),
          href: `${at}${query}`,
          upHref: index > 0 ? `${at}/up${query}` : undefined,
          downHref: index < rules.length - 1 ? `${at}/down${query}` : undefined,
          removeHref: `${at}/remove${query}`,
        },
      ]
    }),
    next: start + rulesOfPage < rules.length ? `${list}${query}${step}from=${start + rulesOfPage}` : undefined,
    first: start > 0 ? `${list}${query}` : undefined,
  }
}

/** As the operation takes it: nobody and nothing are null there. */
function toJson(edit: PolicyEdit): object {
  if (edit.kind === 'set_app_field') return { ...edit, value: edit.value ?? null }
  return 'of' in edit ? { ...edit, of: edit.of ?? null } : edit
}
