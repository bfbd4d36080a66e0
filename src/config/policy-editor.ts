/**
 * What the editor of the console asks of texts of policies, in one place: an outline with every piece as it is written, edits, forms, judgements.
 *
 * Everything is text or plain data and answered later, so that a large document can be worked on in a thread of its own, where no request waits
 * for it. An outline never fails: of a text that cannot be read it says why and names nothing.
 */

import { editPolicy, type PolicyEdit, type PolicyEdited } from './edit-policy.ts'
import { dataAt, editYaml, readYamlData } from './edit-yaml.ts'
import { ruleKeys } from './edit-yaml-order.ts'
import { type CutPiece, pieceCutter } from './edit-yaml-pieces.ts'
import { isListData, isMapData, writeBlock, type YamlData } from './edit-yaml-text.ts'
import { type ConditionForm, type FormProblem, formToRule, type RuleForm, ruleToForm } from './policy-form.ts'
import { conditionToForm, formToCondition } from './policy-form-conditions.ts'
import { judgeLevelText, judgeRuleText, type PieceProblem, problemSentence } from './policy-form-problems.ts'

/** A piece of a document: its text without margin, and the line that it begins in. */
export interface OutlinedPiece extends CutPiece {
  readonly name: string
}

export interface OutlinedRule extends OutlinedPiece {
  readonly verb: 'allow' | 'deny' | 'require' | 'unclear'
}

export interface OutlinedApp extends OutlinedPiece {
  readonly id: string
  /** As they are written; `rules` is left out. */
  readonly fields: Readonly<Record<string, YamlData>>
  readonly rules: readonly OutlinedRule[]
}

export interface PolicyOutline {
  /** Why it cannot be read, with lines of the text. Whether it is right is not judged. */
  readonly problems: readonly PieceProblem[]
  readonly levels: readonly OutlinedPiece[]
  readonly services: readonly string[]
  readonly rules: readonly OutlinedRule[]
  readonly apps: readonly OutlinedApp[]
}

/** A text made from a form, and what the form says that no text can be made of. */
export interface FormText {
  readonly text: string
  readonly problems: readonly FormProblem[]
}

export interface PolicyEditor {
  outline(text: string): Promise<PolicyOutline>
  /** One after the other; all of them or none. */
  edit(text: string, edits: readonly PolicyEdit[]): Promise<PolicyEdited>
  /** The form of a rule as it is written; `undefined` where it cannot be one. An empty text is a new rule. */
  ruleForm(text: string): Promise<RuleForm | undefined>
  /** The text with what the form says; what was not touched stays as it is written, comments too. */
  ruleText(form: RuleForm, before: string): Promise<FormText>
  judgeRule(text: string, isCompany: boolean): Promise<readonly PieceProblem[]>
  levelForm(text: string): Promise<ConditionForm | undefined>
  levelText(form: ConditionForm, before: string): Promise<FormText>
  judgeLevel(text: string): Promise<readonly PieceProblem[]>
}

/** The last documents that were looked at: pages of one draft come one after the other. */
const mostRemembered = 4

/** Works here and at once. Whoever has large documents runs it in a thread (`policy-editing.ts`). */
export function createPolicyEditor(): PolicyEditor {
  const remembered = new Map<string, PolicyOutline>()
  return {
    async outline(text) {
      const known = remembered.get(text)
      if (known !== undefined) return known
      const outline = outlinePolicy(text)
      remembered.set(text, outline)
      for (const [oldest] of remembered) {
        if (remembered.size <= mostRemembered) break
        remembered.delete(oldest)
      }
      return outline
    },
    async edit(text, edits) {
      let changed: PolicyEdited = { outcome: 'changed', text }
      for (const edit of edits) {
        changed = editPolicy(changed.text, edit)
        if (changed.outcome !== 'changed') return changed
      }
      return changed
    },
    ruleForm: async (text) => ruleToForm(readYamlData(text).data),
    async ruleText(form, before) {
      const { problems, rule } = formToRule(form, readYamlData(before).data)
      return { text: rewrite(before, inOrder(rule)), problems }
    },
    judgeRule: async (text, isCompany) => judgeRuleText(text, isCompany),
    async levelForm(text) {
      const { data } = readYamlData(text)
      return data === undefined ? undefined : conditionToForm(data)
    },
    async levelText(form, before) {
      const problems: FormProblem[] = []
      return { text: rewrite(before, formToCondition(form, 'condition', problems)), problems }
    },
    judgeLevel: async (text) => judgeLevelText(text),
  }
}

function rewrite(before: string, data: YamlData): string {
  if (before.trim() === '') return writeBlock(data, 0)
  const edited = editYaml(before, () => data)
  return edited.outcome === 'changed' ? edited.text.trimEnd() : writeBlock(data, 0)
}

function inOrder(rule: { readonly [key: string]: YamlData }): YamlData {
  const rank = (key: string) => (ruleKeys.includes(key) ? ruleKeys.indexOf(key) : ruleKeys.length)
  return Object.fromEntries(Object.entries(rule).sort(([a], [b]) => rank(a) - rank(b)))
}

function outlinePolicy(text: string): PolicyOutline {
  const { data, problems } = readYamlData(text)
  if (data === undefined) {
    const said = problems.map((problem) => ({ line: problem.line, field: '', message: problemSentence(problem) }))
    return { problems: said, levels: [], services: [], rules: [], apps: [] }
  }
  const cut = pieceCutter(text)
  const piece = (path: readonly (string | number)[]): CutPiece => cut(path) ?? { text: '', line: 0 }
  const outlineRules = (path: readonly string[] | readonly (string | number)[]): readonly OutlinedRule[] => {
    const rules = dataAt(data, path)
    if (!isListData(rules)) return []
    return rules.map((rule, index) => {
      const verb = verbOf(rule)
      const name = isMapData(rule) && typeof rule['name'] === 'string' ? rule['name'] : `${verb} ${index + 1}`
      return { name, verb, ...piece([...path, index]) }
    })
  }
  const levels = dataAt(data, ['levels'])
  const services = dataAt(data, ['services'])
  const apps = dataAt(data, ['apps'])
  return {
    problems: [],
    levels: isMapData(levels) ? Object.keys(levels).map((name) => ({ name, ...piece(['levels', name]) })) : [],
    services: isMapData(services) ? Object.keys(services) : [],
    rules: outlineRules(['rules']),
    apps: !isListData(apps)
      ? []
      : apps.flatMap((app, index) => {
          if (!isMapData(app) || typeof app['id'] !== 'string') return []
          const { rules: _rules, ...fields } = app
          const name = typeof app['name'] === 'string' ? app['name'] : app['id']
          return [{ id: app['id'], name, fields, rules: outlineRules(['apps', index, 'rules']), ...piece(['apps', index]) }]
        }),
  }
}

function verbOf(rule: YamlData): OutlinedRule['verb'] {
  if (!isMapData(rule)) return 'unclear'
  const [verb, another] = (['allow', 'deny', 'require'] as const).filter((one) => rule[one] !== undefined)
  return verb === undefined || another !== undefined ? 'unclear' : verb
}
