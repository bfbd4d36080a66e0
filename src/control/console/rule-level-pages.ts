/**
 * The levels of a draft, and the page of one: its condition as a form and as YAML, in step like a rule's.
 */

import type { FormProblem } from '../../config/policy-form.ts'
import type { PieceProblem } from '../../config/policy-form-problems.ts'
import { describeLevel, levelFinder } from '../../policy/rule-sentences.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type EditorPagesPorts, type OpenDraft, openDraft, textOfField, versionOf, wordsOf } from './editor-draft.ts'
import { problemsOfPiece, sentenceOf } from './editor-problems.ts'
import { describeCondition, describeWords } from './rule-content.ts'
import { readCondition } from './rule-form-fields.ts'

interface Place {
  readonly name: string
  readonly file: string | undefined
  readonly text: string
  readonly line: number
  readonly isNew: boolean
}

interface Shown {
  readonly text: string
  readonly problems: readonly (FormProblem | PieceProblem)[]
  readonly failure: string | undefined
  readonly status: 200 | 409 | 422
  readonly version: number
}

const levelName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/
const mostFormBytes = 256 * 1024
const levelsOfPage = 100

/** Adds the list of levels and the page of each. */
export function mountLevelPages(routes: ConsoleRoutes, ports: EditorPagesPorts): void {
  const { carryOut, editor, operations } = ports
  const list = '/console/policy/drafts/:draft/levels'

  routes.get(list, 'policy:read', async (request) => {
    const open = await openDraft(ports, request)
    const from = Math.max(0, Number(request.query.get('from') ?? 0) || 0)
    return open === undefined ? { kind: 'not_found' } : listPage(open, undefined, '', from)
  })

  routes.post(list, 'policy:write', async (request, sent) => {
    const open = await openDraft(ports, request)
    if (open === undefined) return { kind: 'not_found' }
    const name = (sent.get('name') ?? '').trim()
    if (!levelName.test(name)) return listPage(open, 'Write a name of letters, digits, `-` and `_`.', name)
    return { kind: 'redirect', to: levelHref(open, name) }
  })

  routes.get(`${list}/:name`, 'policy:read', async (request) => {
    const open = await openDraft(ports, request)
    const place = open && findPlace(open, request)
    if (open === undefined || place === undefined) return { kind: 'not_found' }
    const problems = place.isNew ? [] : judgedAt(open, place)
    return await page(open, place, { text: place.text, problems, failure: undefined, status: 200, version: open.draft.version })
  })

  routes.post(
    `${list}/:name`,
    'policy:write',
    async (request, sent) => {
      const open = await openDraft(ports, request)
      const place = open && findPlace(open, request)
      if (open === undefined || place === undefined) return { kind: 'not_found' }
      const version = versionOf(sent)
      if (sent.get('intent') === 'remove') {
        return await change(request, open, {
          version,
          edit: { kind: 'remove_level', name: place.name },
          said: 'The level is gone from the draft.',
        })
      }
      const shown = textOfField(sent, 'shown')
      const yaml = textOfField(sent, 'yaml')
      const condition = readCondition(sent, 'condition')
      const isByForm = sent.get('intent') === 'form'
      const made = condition === undefined ? undefined : await editor.levelText(condition, isByForm ? yaml : shown)
      const isFormChanged = made !== undefined && (made.text.trimEnd() !== shown.trimEnd() || made.problems.length > 0)
      if (sent.get('intent') === 'save' && isFormChanged && yaml.trimEnd() !== shown.trimEnd()) {
        const failure = 'Form and YAML were both changed. Choose which of them counts, then save.'
        return await page(open, place, { text: yaml, problems: [], failure, status: 409, version })
      }
      const isFormTaken = made !== undefined && sent.get('intent') !== 'yaml' && isFormChanged
      const text = isFormTaken ? made.text : yaml
      const problems = [...(isFormTaken ? made.problems : []), ...(await editor.judgeLevel(text))]
      if (sent.get('intent') !== 'save') return await page(open, place, { text, problems, failure: undefined, status: 200, version })
      if (problems.length > 0) {
        const failure = 'The level is not saved yet: something in it is not right.'
        return await page(open, place, { text, problems, failure, status: 422, version })
      }
      const saved = await change(request, open, {
        version,
        edit: { kind: 'set_level_text', name: place.name, text },
        said: 'The level is in the draft. Nothing is in force before the draft is published.',
      })
      if (saved.kind !== 'refused') return saved
      return await page(open, place, { text, problems: [], failure: saved.refusal.message, status: 409, version })
    },
    { limitBytes: mostFormBytes },
  )

  async function change(
    request: ConsoleRequest,
    open: OpenDraft,
    { edit, said, version }: { readonly version: number; readonly edit: object; readonly said: string },
  ): Promise<ConsoleAnswer> {
    const saved = await carryOut(operations.change, { draft: open.draft.id, version, edits: [edit] }, request.asker)
    if (saved.outcome === 'refused') return { kind: 'refused', refusal: saved }
    return { kind: 'redirect', to: `${open.base}/levels`, notice: { tone: 'good', text: said } }
  }

  async function page(open: OpenDraft, place: Place, { failure, problems, status, text, version }: Shown): Promise<ConsoleAnswer> {
    const form = place.isNew && text === '' ? undefined : await editor.levelForm(text)
    const errors = problems.filter((problem) => !('line' in problem) || problem.line === 0).map(({ message }) => message)
    return {
      kind: 'page',
      template: 'rule-level',
      title: `Level ${place.name}`,
      section: 'policy',
      status,
      scripts: ['editor.js'],
      content: {
        name: place.name,
        isNew: place.isNew,
        base: open.base,
        levelsHref: `${open.base}/levels`,
        action: levelHref(open, place.name),
        version,
        text,
        rows: Math.min(40, Math.max(8, text.split('\n').length + 2)),
        row: describeCondition(form, 'condition', 'Condition', errors),
        problems: problems.map((problem) => ({
          line: 'line' in problem && problem.line > 0 ? problem.line : undefined,
          message: problem.message,
        })),
        failure,
        mayEdit: open.mayEdit,
        words: describeWords(wordsOf(ports, open.documents)),
      },
    }
  }

  function listPage(open: OpenDraft, error: string | undefined, name: string, from = 0): ConsoleAnswer {
    const levels = open.judged.document?.levels ?? []
    const findLevel = levelFinder(levels)
    const sentences = new Map(levels.map((level) => [level.name, describeLevel(level, findLevel)]))
    const all = open.documents.flatMap(({ outline, path }) =>
      outline.levels.map((level) => ({
        name: level.name,
        file: path,
        href: levelHref(open, level.name),
        sentence: sentences.get(level.name),
      })),
    )
    return {
      kind: 'page',
      template: 'rule-levels',
      title: 'Levels',
      section: 'policy',
      status: error === undefined ? 200 : 422,
      content: {
        base: open.base,
        action: `${open.base}/levels`,
        mayEdit: open.mayEdit,
        error,
        name,
        levels: all.slice(from, from + levelsOfPage),
        next: from + levelsOfPage < all.length ? `${open.base}/levels?from=${from + levelsOfPage}` : undefined,
        first: from > 0 ? `${open.base}/levels` : undefined,
      },
    }
  }
}

function levelHref({ base }: OpenDraft, name: string): string {
  return `${base}/levels/${encodeURIComponent(name)}`
}

function findPlace({ documents }: OpenDraft, { params }: ConsoleRequest): Place | undefined {
  const { name = '' } = params
  for (const { outline, path } of documents) {
    const level = outline.levels.find((one) => one.name === name)
    if (level !== undefined) return { name, file: path, text: level.text, line: level.line, isNew: false }
  }
  return levelName.test(name) ? { name, file: undefined, text: '', line: 0, isNew: true } : undefined
}

function judgedAt({ judged }: OpenDraft, { file, line, name, text }: Place): readonly PieceProblem[] {
  if (file === undefined) return []
  const found = problemsOfPiece(judged.problems, { file, path: `levels.${name}`, start: line, lines: text.split('\n').length })
  return found.map((problem) => ({ line: problem.line ?? 0, field: '', message: sentenceOf(problem) }))
}
