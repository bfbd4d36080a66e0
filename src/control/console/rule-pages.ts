/**
 * The page of one rule in a draft: a form and its YAML side by side, in step. Either side is changed, the other follows, and comments stay.
 *
 * Without script the buttons between the sides do it; with script the page asks itself while somebody types. What is wrong is judged by the
 * schema at once, at its field and at its line, and nothing wrong in itself is put into the draft; what takes the whole policy to judge is told
 * once it is there.
 */

import type { FormProblem, RuleForm } from '../../config/policy-form.ts'
import type { PieceProblem } from '../../config/policy-form-problems.ts'
import { describeRule, levelFinder } from '../../policy/rule-sentences.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type EditorPagesPorts, findApp, type OpenDraft, openDraft, ownerHref, textOfField, versionOf, wordsOf } from './editor-draft.ts'
import { fieldOf, problemsOfPiece, sentenceOf } from './editor-problems.ts'
import { describeRuleForm, describeWords } from './rule-content.ts'
import { readRuleForm } from './rule-form-fields.ts'

/** A rule of an app, or of the company, where it stands. */
interface Place {
  readonly app: string | undefined
  readonly appName: string | undefined
  readonly file: string
  /** `undefined`: it is new. */
  readonly index: number | undefined
  readonly text: string
  readonly line: number
  readonly path: string
}

interface Shown {
  readonly text: string
  readonly form: RuleForm | undefined
  readonly problems: readonly (FormProblem | PieceProblem)[]
  readonly failure: string | undefined
  readonly status: 200 | 409 | 422
  /** What was typed into the form although it makes no text yet. */
  readonly version: number
}

const mostFormBytes = 256 * 1024

/** Adds the pages of rules of apps and of the company. */
export function mountRulePages(routes: ConsoleRoutes, ports: EditorPagesPorts): void {
  const { carryOut, editor, operations } = ports
  for (const pattern of ['/console/policy/drafts/:draft/apps/:app/rules/:index', '/console/policy/drafts/:draft/rules/:index']) {
    routes.get(pattern, 'policy:read', async (request) => {
      const open = await openDraft(ports, request)
      const place = open && findPlace(open, request)
      if (open === undefined || place === undefined) return { kind: 'not_found' }
      const form = await editor.ruleForm(place.text)
      const problems = place.index === undefined ? [] : judgedAt(open, place)
      return page(open, place, { text: place.text, form, problems, failure: undefined, status: 200, version: open.draft.version })
    })
    routes.post(pattern, 'policy:write', (request, sent) => takeRule(request, sent), { limitBytes: mostFormBytes })
  }

  async function takeRule(request: ConsoleRequest, sent: URLSearchParams): Promise<ConsoleAnswer> {
    const open = await openDraft(ports, request)
    const place = open && findPlace(open, request)
    if (open === undefined || place === undefined) return { kind: 'not_found' }
    const shown = textOfField(sent, 'shown')
    const yaml = textOfField(sent, 'yaml')
    const typed = readRuleForm(sent)
    const intent = sent.get('intent')
    const version = versionOf(sent)
    const isYamlChanged = yaml.trimEnd() !== shown.trimEnd()
    // A page whose text had no form sent no fields: its form says nothing.
    const hasForm = sent.has('verb')
    const fromForm = hasForm ? await editor.ruleText(typed, intent === 'form' ? yaml : shown) : undefined
    const isFormChanged = fromForm !== undefined && (fromForm.text.trimEnd() !== shown.trimEnd() || fromForm.problems.length > 0)

    if (intent === 'save' && isYamlChanged && isFormChanged) {
      const failure = 'Form and YAML were both changed. Choose which of them counts, then save.'
      return page(open, place, { text: yaml, form: typed, problems: [], failure, status: 409, version })
    }
    const isFormTaken = fromForm !== undefined && (intent === 'form' || (intent === 'save' && isFormChanged))
    const text = isFormTaken ? fromForm.text : yaml
    const problems = [...(isFormTaken ? fromForm.problems : []), ...(await editor.judgeRule(text, place.app === undefined))]
    const form = isFormTaken ? typed : await editor.ruleForm(text)
    if (intent !== 'save') return page(open, place, { text, form, problems, failure: undefined, status: 200, version })
    if (problems.length > 0) {
      const failure = 'The rule is not saved yet: something in it is not right.'
      return page(open, place, { text, form, problems, failure, status: 422, version })
    }
    const of = place.app ?? null
    const edit =
      place.index === undefined ? { kind: 'add_rule_text', of, text } : { kind: 'replace_rule_text', of, index: place.index, text }
    const input = { draft: open.draft.id, version, file: place.file, edits: [edit] }
    const saved = await carryOut(operations.change, input, request.asker)
    if (saved.outcome === 'refused') return page(open, place, { text, form, problems: [], failure: saved.message, status: 409, version })
    return {
      kind: 'redirect',
      to: ownerHref(open.base, place.app, place.file),
      notice: { tone: 'good', text: 'The rule is in the draft. Nothing is in force before the draft is published.' },
    }
  }

  function page(open: OpenDraft, place: Place, { failure, form, problems, status, text, version }: Shown): ConsoleAnswer {
    const isCompany = place.app === undefined
    const name =
      form?.name === undefined || form.name === '' ? (place.index === undefined ? 'New rule' : `Rule ${place.index + 1}`) : form.name
    return {
      kind: 'page',
      template: 'rule-edit',
      title: name,
      section: 'policy',
      status,
      scripts: ['editor.js'],
      content: {
        title: name,
        isNew: place.index === undefined,
        crumbs: [
          { label: 'Draft', href: open.base },
          { label: isCompany ? 'Rules of the company' : (place.appName ?? ''), href: ownerHref(open.base, place.app, place.file) },
        ],
        action: actionOf(open, place),
        back: ownerHref(open.base, place.app, place.file),
        version,
        text,
        rows: Math.min(40, Math.max(12, text.split('\n').length + 2)),
        form: form === undefined ? undefined : describeRuleForm(form, problems, isCompany),
        problems: problems.map((problem) => ({
          line: 'line' in problem && problem.line > 0 ? problem.line : undefined,
          message: problem.message,
        })),
        failure,
        sentence: sentenceNow(open, place),
        mayEdit: open.mayEdit,
        words: describeWords(wordsOf(ports, open.documents)),
      },
    }
  }
}

/** What is saved, in words. Of rules of the company, which stand in several files, and of what the schema refuses, there is none. */
function sentenceNow({ judged: { document } }: OpenDraft, { app: id, index }: Place): string | undefined {
  const rule = index === undefined ? undefined : document?.apps.find((app) => app.id === id)?.rules[index]
  return rule === undefined ? undefined : describeRule(rule, levelFinder(document?.levels ?? []))
}

function actionOf({ base }: OpenDraft, { app, file, index }: Place): string {
  const rule = index === undefined ? 'new' : String(index)
  if (app !== undefined) return `${base}/apps/${encodeURIComponent(app)}/rules/${rule}`
  return `${base}/rules/${rule}?file=${encodeURIComponent(file)}`
}

function findPlace({ documents }: OpenDraft, { params, query }: ConsoleRequest): Place | undefined {
  const { app: id, index: written = '' } = params
  const index = written === 'new' ? undefined : /^\d{1,5}$/.test(written) ? Number(written) : -1
  const start = { text: '', line: 0 }
  if (id !== undefined) {
    const found = findApp(documents, id)
    const rule = index === undefined ? start : found?.app.rules[index]
    if (found === undefined || rule === undefined) return undefined
    const at = found.document.outline.apps.indexOf(found.app)
    const path = `apps.${at}.rules.${index ?? 0}`
    return { app: id, appName: found.app.name, file: found.document.path, index, text: rule.text, line: rule.line, path }
  }
  const file = query.get('file')
  const document = file === null ? mostRules(documents) : documents.find(({ path }) => path === file)
  const rule = index === undefined ? start : document?.outline.rules[index]
  if (document === undefined || rule === undefined) return undefined
  return { app: undefined, appName: undefined, file: document.path, index, text: rule.text, line: rule.line, path: `rules.${index ?? 0}` }
}

/** Where a new rule of the company is put, and which are shown where none is named. */
export function mostRules(documents: OpenDraft['documents']): OpenDraft['documents'][number] | undefined {
  return [...documents].sort((a, b) => b.outline.rules.length - a.outline.rules.length)[0]
}

function judgedAt({ judged }: OpenDraft, { file, line, path, text }: Place): readonly PieceProblem[] {
  const found = problemsOfPiece(judged.problems, { file, path, start: line, lines: text.split('\n').length })
  return found.map((problem) => ({ line: problem.line ?? 0, field: fieldOf(problem.below), message: sentenceOf(problem) }))
}
