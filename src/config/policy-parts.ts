/**
 * The parts of a policy that checks speak about, gathered over all its files: apps, rules, levels and services, each with its place.
 *
 * What could not be read is left out, so that a check never blames the same mistake twice. Where a name is defined twice the first counts.
 */

import type { Service, Who } from '../policy/document.ts'
import type { WrittenCondition } from './condition-schema.ts'
import type { Partially } from './parse-value.ts'
import type { WrittenApp, WrittenPolicy } from './policy-schema.ts'
import { type Path, printPath, quote, type Report } from './problems.ts'
import type { WrittenCompanyRule } from './rule-schema.ts'

/** One file of the policy, as far as it could be read. */
export interface ReadPolicy {
  readonly parts: Partially<WrittenPolicy>
  /** What the file holds, readable or not: a level with a mistake in it still exists by name. */
  readonly data: unknown
  readonly report: Report
}

/** An app with its place. */
export interface FoundApp {
  readonly app: Partially<WrittenApp>
  readonly path: Path
  readonly report: Report
}

/** A rule of an app, or a company rule (`app` undefined), with its place. */
export interface FoundRule {
  readonly rule: Partially<WrittenCompanyRule>
  /** As written, or made from verb and position. */
  readonly name: string
  readonly path: Path
  readonly report: Report
  readonly app: FoundApp | undefined
}

/** A level with its place. */
export interface FoundLevel {
  readonly name: string
  readonly condition: WrittenCondition
  readonly path: Path
  readonly report: Report
}

/** A service with its place. */
export interface FoundService {
  readonly service: Omit<Service, 'name'>
  readonly path: Path
  readonly report: Report
}

/** A policy, over all its files. */
export interface PolicyParts {
  readonly files: readonly ReadPolicy[]
  readonly apps: readonly FoundApp[]
  readonly companyRules: readonly FoundRule[]
  /** Of all apps, without the company's. */
  readonly appRules: readonly FoundRule[]
  readonly levels: ReadonlyMap<string, FoundLevel>
  /** Names that are there, although what they stand for may not have been readable. */
  readonly levelNames: ReadonlySet<string>
  readonly services: ReadonlyMap<string, FoundService>
  readonly serviceNames: ReadonlySet<string>
}

/** Gathers the parts, and reports names that two files, or two places of one, define. */
export function gatherParts(files: readonly ReadPolicy[]): PolicyParts {
  const apps = files.flatMap(findApps)
  const levels = new Map<string, FoundLevel>()
  const services = new Map<string, FoundService>()
  for (const { parts, report } of files) {
    for (const [name, condition] of Object.entries(parts.levels ?? {})) {
      const path = ['levels', name]
      const earlier = levels.get(name)
      if (condition === undefined) continue
      if (earlier === undefined) levels.set(name, { name, condition, path, report })
      else report.problem(path, `the level ${quote(name)} is already defined ${namePlace(earlier, report, 'key')}`, { at: 'key' })
    }
    for (const [name, written] of Object.entries(parts.services ?? {})) {
      const path = ['services', name]
      const earlier = services.get(name)
      if (written?.jwt === undefined) continue
      if (earlier === undefined) services.set(name, { service: written.jwt, path, report })
      else report.problem(path, `the service ${quote(name)} is already defined ${namePlace(earlier, report, 'key')}`, { at: 'key' })
    }
  }
  return {
    files,
    apps,
    companyRules: files.flatMap(({ parts, report }) => listRules(parts.rules ?? [], [], report, undefined)),
    appRules: apps.flatMap((app) => listRules(app.app.rules ?? [], app.path, app.report, app)),
    levels,
    levelNames: new Set(files.flatMap(({ data }) => keysOf(data, 'levels'))),
    services,
    serviceNames: new Set(files.flatMap(({ data }) => keysOf(data, 'services'))),
  }
}

function findApps({ parts, report }: ReadPolicy): FoundApp[] {
  return (parts.apps ?? []).flatMap((app, index) => (app === undefined ? [] : [{ app, path: ['apps', index], report }]))
}

function listRules(
  rules: readonly (Partially<WrittenCompanyRule> | undefined)[],
  path: Path,
  report: Report,
  app: FoundApp | undefined,
): readonly FoundRule[] {
  return rules.flatMap((rule, index) =>
    rule === undefined ? [] : [{ rule, name: rule.name ?? defaultRuleName(rule, index), path: [...path, 'rules', index], report, app }],
  )
}

/** Name of a rule that has none: verb and position, counted from 1. */
export function defaultRuleName(
  rule: { readonly allow?: unknown; readonly deny?: unknown; readonly require?: unknown },
  index: number,
): string {
  return `${rule.allow !== undefined ? 'allow' : rule.require !== undefined ? 'require' : 'deny'} ${index + 1}`
}

function keysOf(data: unknown, key: string): readonly string[] {
  const map = typeof data === 'object' && data !== null ? (data as Readonly<Record<string, unknown>>)[key] : undefined
  return typeof map === 'object' && map !== null && !Array.isArray(map) ? Object.keys(map) : []
}

/** How another place is named in a message: by line within the same file, with the file otherwise. */
export function namePlace(found: { readonly report: Report; readonly path: Path }, from: Report, part: 'key' | 'value' = 'value'): string {
  const { file, line } = found.report.place(found.path, part)
  return from.file === file ? `in line ${line}` : `in ${file}:${line}`
}

/** An app as a message calls it. */
export function nameOf({ app, path }: FoundApp): string {
  return quote(app.id ?? printPath(path))
}

/** Whether a company rule is for an app. What of its selection could not be read selects nothing. */
export function reaches({ rule }: FoundRule, { app }: FoundApp): boolean {
  const isNamed = rule.apps === undefined || (app.id !== undefined && rule.apps.includes(app.id))
  return isNamed && (rule.sensitivity === undefined || (app.sensitivity !== undefined && rule.sensitivity.includes(app.sensitivity)))
}

/** Whom a rule speaks of; `undefined` where that could not be read. */
export function whoOf(rule: Partially<WrittenCompanyRule>): Who | undefined {
  if (rule.allow !== undefined || rule.deny !== undefined) return (rule.allow ?? rule.deny) as Who
  return rule.require === undefined ? undefined : ((rule.for as Who | undefined) ?? { kind: 'signed_in' })
}

/** The verb of a rule; `undefined` where that could not be read. */
export function verbOf(rule: Partially<WrittenCompanyRule>): 'allow' | 'deny' | 'require' | undefined {
  if (rule.allow !== undefined) return 'allow'
  if (rule.deny !== undefined) return 'deny'
  return rule.require === undefined ? undefined : 'require'
}
