/**
 * Changes of policy documents as somebody makes them one at a time: a field of an app, a rule, a level. From text to text, with every comment kept.
 *
 * What is written is not judged here: a draft may be wrong for a while, and is judged as a whole before it can be published. Only what would
 * leave the text unreadable, or change something else than was meant, is refused.
 */

import { dataAt, editYaml, moveYaml, readYamlData, withDataAt, type YamlEdit } from './edit-yaml.ts'
import { appKeys, ruleKeys } from './edit-yaml-order.ts'
import { replacePiece } from './edit-yaml-pieces.ts'
import { isListData, isMapData, isSameData, type YamlData } from './edit-yaml-text.ts'
import type { Path } from './problems.ts'

type MapData = { readonly [key: string]: YamlData }

/** Where a rule stands: in the rules of an app, or among those of the company (`undefined`). */
export type RuleOwner = string | undefined

/** One change of one file. Plain data, so that it can be carried out in a thread of its own. */
export type PolicyEdit = AppEdit | RuleEdit | LevelEdit

export type AppEdit =
  /** `undefined` takes the field away. A path of keys below the app: `['session', 'lifetime']`. */
  | { readonly kind: 'set_app_field'; readonly app: string; readonly field: readonly string[]; readonly value: YamlData | undefined }
  | { readonly kind: 'add_app'; readonly app: MapData }
  | { readonly kind: 'remove_app'; readonly app: string }
  /** What somebody wrote in place of the app's whole text. */
  | { readonly kind: 'replace_app_text'; readonly app: string; readonly text: string }

export type RuleEdit =
  | { readonly kind: 'add_rule'; readonly of: RuleOwner; readonly rule: MapData }
  | { readonly kind: 'replace_rule'; readonly of: RuleOwner; readonly index: number; readonly rule: MapData }
  | { readonly kind: 'add_rule_text'; readonly of: RuleOwner; readonly text: string }
  | { readonly kind: 'replace_rule_text'; readonly of: RuleOwner; readonly index: number; readonly text: string }
  | { readonly kind: 'remove_rule'; readonly of: RuleOwner; readonly index: number }
  | { readonly kind: 'move_rule'; readonly of: RuleOwner; readonly from: number; readonly to: number }

export type LevelEdit =
  | { readonly kind: 'set_level'; readonly name: string; readonly condition: YamlData }
  | { readonly kind: 'set_level_text'; readonly name: string; readonly text: string }
  | { readonly kind: 'remove_level'; readonly name: string }

export type PolicyEdited =
  | { readonly outcome: 'changed'; readonly text: string }
  /** Why not, as a sentence for whoever wanted it. */
  | { readonly outcome: 'refused'; readonly why: 'unreadable' | 'not_found' | 'exists' | 'not_editable'; readonly message: string }

const refusals = {
  unreadable: 'The text cannot be read as YAML. Mend it first.',
  not_found: 'It is not there any more.',
  exists: 'There is one of this name already.',
  not_editable: 'This part is written in a way that a form cannot change without touching other parts. Change the text instead.',
} as const

/** Carries out one change. Never throws. */
export function editPolicy(text: string, edit: PolicyEdit): PolicyEdited {
  const { data } = readYamlData(text)
  if (data === undefined) return refuse('unreadable')
  const apps = dataAt(data, ['apps'])
  const appAt = (id: string): Path | undefined => {
    const index = isListData(apps) ? apps.findIndex((app) => isMapData(app) && app['id'] === id) : -1
    return index === -1 ? undefined : ['apps', index]
  }
  switch (edit.kind) {
    case 'add_app': {
      if (appAt(String(edit.app['id'])) !== undefined) return refuse('exists')
      return finish(editYaml(text, (given) => appended(given, ['apps'], inOrder(edit.app, appKeys))))
    }
    case 'remove_app':
      return withPath(appAt(edit.app), (path) => editYaml(text, (given) => removed(given, path)))
    case 'set_app_field':
      return withPath(appAt(edit.app), (path) => editYaml(text, (given) => withField(given, path, edit.field, edit.value)))
    case 'replace_app_text':
      return withPath(appAt(edit.app), (path) => replacePiece(text, path, edit.text))
    case 'set_level':
      return finish(editYaml(text, (given) => withDataAt(given, ['levels', edit.name], edit.condition)))
    case 'set_level_text': {
      const { data: condition } = readYamlData(edit.text)
      if (condition === undefined || edit.text.trim() === '') return refuse('unreadable')
      const isThere = dataAt(data, ['levels', edit.name]) !== undefined
      if (isThere) return withPath(['levels', edit.name], (path) => replacePiece(text, path, edit.text))
      return finish(editYaml(text, (given) => withDataAt(given, ['levels', edit.name], condition)))
    }
    case 'remove_level':
      return dataAt(data, ['levels', edit.name]) === undefined
        ? refuse('not_found')
        : finish(editYaml(text, (given) => removed(given, ['levels', edit.name])))
    case 'add_rule':
    case 'replace_rule':
    case 'add_rule_text':
    case 'replace_rule_text':
    case 'remove_rule':
    case 'move_rule':
      return editRule(text, data, edit, edit.of === undefined ? [] : appAt(edit.of))
  }
}

function editRule(text: string, data: YamlData, edit: RuleEdit, owner: Path | undefined): PolicyEdited {
  if (owner === undefined) return refuse('not_found')
  const list: Path = [...owner, 'rules']
  const at = (index: number): Path | undefined => (dataAt(data, [...list, index]) === undefined ? undefined : [...list, index])
  switch (edit.kind) {
    case 'add_rule':
      return finish(editYaml(text, (given) => appended(given, list, inOrder(edit.rule, ruleKeys))))
    case 'replace_rule':
      return withPath(at(edit.index), (path) => editYaml(text, (given) => withDataAt(given, path, edit.rule)))
    case 'add_rule_text': {
      const { data: rule } = readYamlData(edit.text)
      if (!isMapData(rule)) return refuse('unreadable')
      const rules = dataAt(data, list)
      const added = editYaml(text, (given) => appended(given, list, rule))
      if (added.outcome !== 'changed') return finish(added)
      // Once more, with what was written: its comments are not in the data.
      const written = replacePiece(added.text, [...list, isListData(rules) ? rules.length : 0], edit.text)
      return written.outcome === 'changed' ? finish(written) : finish(added)
    }
    case 'replace_rule_text':
      return withPath(at(edit.index), (path) => replacePiece(text, path, edit.text))
    case 'remove_rule':
      return withPath(at(edit.index), (path) => editYaml(text, (given) => removed(given, path)))
    case 'move_rule': {
      if (at(edit.from) === undefined || at(edit.to) === undefined) return refuse('not_found')
      return finish(moveYaml(text, list, edit.from, edit.to))
    }
  }
}

function refuse(why: keyof typeof refusals): PolicyEdited {
  return { outcome: 'refused', why, message: refusals[why] }
}

function finish(edit: YamlEdit): PolicyEdited {
  return edit.outcome === 'changed' ? edit : refuse(edit.outcome)
}

function withPath(path: Path | undefined, change: (path: Path) => YamlEdit): PolicyEdited {
  return path === undefined ? refuse('not_found') : finish(change(path))
}

function appended(data: YamlData, path: Path, entry: YamlData): YamlData {
  const list = dataAt(data, path)
  return withDataAt(data, path, [...(isListData(list) ? list : []), entry])
}

/** Without the value; a map or list that would be empty then goes as well, since a key without entries says nothing. */
function removed(data: YamlData, path: Path): YamlData {
  const without = withDataAt(data, path, undefined)
  const parent = path.slice(0, -1)
  const left = dataAt(without, parent)
  const isEmpty = typeof left === 'object' && left !== null && Object.keys(left).length === 0
  return isEmpty && typeof parent.at(-1) === 'string' ? withDataAt(without, parent, undefined) : without
}

function withField(data: YamlData, app: Path, field: readonly string[], value: YamlData | undefined): YamlData {
  const path = [...app, ...field]
  if (value !== undefined) return isSameData(dataAt(data, path), value) ? data : withDataAt(data, path, value)
  return dataAt(data, path) === undefined ? data : removed(data, path)
}

function inOrder(map: MapData, order: readonly string[]): MapData {
  const rank = (key: string) => (order.includes(key) ? order.indexOf(key) : order.length)
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => rank(a) - rank(b)))
}
