/**
 * The policy document from its file, or folder of files, to one checked value: the only producer of `PolicyDocument`.
 *
 * Files of a folder are merged: their apps and rules stand side by side, in any order. No environment is expanded and no secret read.
 * The version is a hash of the value and not of the text, so comments, key order and the split into files do not change it.
 */

import { createHash, X509Certificate } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { maxPictureBytes, pictureWords, recognisePicture } from '../pictures.ts'
import type { Level, PolicyDocument, Rule, Service, Strength } from '../policy/document.ts'
import { buildApp, buildCompanyRule } from './build-app.ts'
import type { WrittenCondition } from './condition-schema.ts'
import type { InstanceConfiguration } from './instance.ts'
import { describeInstance, type KnownInstance } from './known-instance.ts'
import { findNamedFiles, keepInside, type NamedFile } from './named-files.ts'
import { loadNetworks } from './network-file.ts'
import { parseValue } from './parse-value.ts'
import { checkPolicy } from './policy-checks.ts'
import type { ReadPolicy } from './policy-parts.ts'
import { policySchema, type WrittenPolicy } from './policy-schema.ts'
import { createReport, type Loaded, type Problem } from './problems.ts'
import { type Resolution, resolveCondition, versionedCondition } from './resolve-condition.ts'
import { explainFileError, loadFile, loadYamlSource } from './yaml-source.ts'

/** What a policy is judged beside. */
export interface PolicyContext {
  /** What is known of the instance: the whole of it, or the parts of one that has problems. `undefined` skips what depends on it. */
  readonly configuration: Partial<InstanceConfiguration> | undefined
  /** The time, for warnings of what is over; left out without it. */
  readonly now?: number | undefined
  /** `files`, if left out. */
  readonly form?: PolicyForm | undefined
}

/**
 * How a policy lies on the disk. `files`: a file or a folder, with its tests beside it. `bundle`: a folder that holds everything, its tests
 * too, and no links: a revision or a draft, written by `writeBundle`.
 */
export type PolicyForm = 'files' | 'bundle'

/** A policy as it was loaded, with what else it was made of. */
export interface LoadedPolicy extends Loaded<PolicyDocument> {
  /** Files that count for the document besides its own, by absolute path, readable or not: a change of one is a change of the policy. */
  readonly files: readonly string[]
  /** Every file that the document names, pictures and authorities too, by absolute path, readable or not. */
  readonly named: readonly string[]
}

interface LoadedFile extends ReadPolicy {
  readonly file: string
  readonly value: WrittenPolicy | undefined
}

/** Loads a file, or the `*.yaml` of a folder. Never rejects; what is wrong is in the result. */
export function loadPolicy(path: string, { configuration = {}, form, now }: PolicyContext): Promise<LoadedPolicy> {
  return loadPolicyBeside(path, describeInstance(configuration), now, form)
}

/** The same where of the instance only this is at hand. */
export async function loadPolicyBeside(
  path: string,
  instance: KnownInstance,
  now: number | undefined,
  form: PolicyForm = 'files',
): Promise<LoadedPolicy> {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const files: LoadedFile[] = []
  const own = await findFiles(path, form, lists)
  for (const file of own.files) {
    const { data, report } = await loadYamlSource(file, lists)
    if (data === undefined) continue
    const { value, parts } = parseValue(policySchema, data, report)
    if (parts !== undefined && typeof parts === 'object') files.push({ file, value, parts, data, report })
  }
  const policy = checkPolicy(files, instance, now === undefined ? undefined : dayBegunEverywhere(now))
  const named = [...findNamedFiles(policy)]
  const readable = instance.managed === undefined ? named : await keepInside(named, own.folder)
  const found: FoundFiles = {
    authorities: await loadAuthorities(readable),
    pictures: await loadPictures(readable),
    networks: await loadNetworkFiles(readable),
    strengths: instance.strengths ?? new Map(),
  }
  const all = {
    ...lists,
    files: [...found.networks.keys()].sort(),
    named: [...new Set(named.map(({ file }) => file))].sort(),
  }
  if (lists.problems.length > 0 || files.length === 0) return { value: undefined, ...all }
  const written = files.flatMap(({ file, value }) => (value === undefined ? [] : [{ file, value }]))
  return { value: buildDocument(written, found), ...all }
}

interface FoundFiles {
  readonly authorities: ReadonlyMap<string, string>
  readonly pictures: ReadonlyMap<string, string>
  /** Of a file that could not be read, nothing: the document is refused then. */
  readonly networks: ReadonlyMap<string, readonly string[] | undefined>
  readonly strengths: ReadonlyMap<string, Strength>
}

/** The last zone on earth is twelve hours behind: a day that has ended there has ended. */
function dayBegunEverywhere(now: number): string {
  return new Date(now - 12 * 3_600_000).toISOString().slice(0, 10)
}

interface OwnFiles {
  /** What lies in here, the document may name. */
  readonly folder: string
  readonly files: readonly string[]
}

async function findFiles(path: string, form: PolicyForm, lists: { problems: Problem[]; warnings: Problem[] }): Promise<OwnFiles> {
  const report = createReport(path, () => ({ file: path, line: 0, column: 0 }), lists)
  try {
    if (!(await stat(path)).isDirectory()) return { folder: dirname(resolve(path)), files: [path] }
    const entries = (await readdir(path, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'))
    const names = entries.map(({ name }) => name).sort()
    const files = names.filter((name) => name.endsWith('.yaml') && !name.endsWith('.test.yaml'))
    for (const name of names.filter((other) => /\.(?:test\.yaml|yml|YAML|YML)$/.test(other))) {
      const file = join(path, name)
      const isTests = name.endsWith('.test.yaml')
      if (isTests && form === 'bundle') continue
      const why = isTests ? `tests of a folder lie beside it, in \`${basename(path)}.test.yaml\`` : 'names of policy files end in .yaml'
      createReport(file, () => ({ file, line: 0, column: 0 }), lists).warning([], `this file is not read: ${why}`)
    }
    // A rule that denies, in a file that nobody reads, would be missed by nobody.
    for (const entry of entries.filter((one) => one.isDirectory() && !one.name.endsWith('.yaml'))) {
      const nested = await readdir(join(path, entry.name))
      if (nested.some((name) => /\.ya?ml$/i.test(name))) {
        createReport(join(path, entry.name), () => ({ file: join(path, entry.name), line: 0, column: 0 }), lists).warning(
          [],
          'the files of this folder are not read: policy files lie side by side in one folder',
        )
      }
    }
    if (form === 'bundle') {
      for (const { name } of entries.filter((one) => one.isSymbolicLink()))
        createReport(join(path, name), () => ({ file: join(path, name), line: 0, column: 0 }), lists).problem(
          [],
          'this is a link, not a file',
        )
    }
    if (files.length === 0) report.problem([], 'the folder holds no *.yaml file')
    return { folder: resolve(path), files: files.map((name) => join(path, name)) }
  } catch (error) {
    report.problem([], explainFileError(error), { expected: 'the policy document, or a folder of *.yaml files' })
    return { folder: resolve(path), files: [] }
  }
}

/** PEM text of every `ca_file`, by absolute path. Certificates are public, so they may stand in the document's value. */
async function loadAuthorities(named: readonly NamedFile[]): Promise<ReadonlyMap<string, string>> {
  const authorities = new Map<string, string>()
  for (const { file, path, report } of named.filter(({ kind }) => kind === 'authority')) {
    const bytes = await loadFile(file, 1_000_000)
    if (typeof bytes === 'string') report.problem(path, bytes)
    else if (!isCertificate(bytes)) report.problem(path, 'the file holds no PEM certificate')
    else authorities.set(file, bytes.toString('latin1'))
  }
  return authorities
}

/** Hash of every `logo`, by absolute path. The picture itself is read again by whoever shows it. */
async function loadPictures(named: readonly NamedFile[]): Promise<ReadonlyMap<string, string>> {
  const pictures = new Map<string, string>()
  for (const { file, path, report } of named.filter(({ kind }) => kind === 'picture')) {
    const bytes = await loadFile(file, maxPictureBytes)
    if (typeof bytes === 'string') report.problem(path, bytes, { expected: pictureWords })
    else if (recognisePicture(bytes) === undefined)
      report.problem(path, 'the file is no picture that pages can show', { expected: pictureWords })
    else pictures.set(file, createHash('sha256').update(bytes).digest('hex'))
  }
  return pictures
}

/** Networks of every `cidrs_file`, by absolute path; a file that several conditions name is read once. */
async function loadNetworkFiles(named: readonly NamedFile[]): Promise<ReadonlyMap<string, readonly string[] | undefined>> {
  const networks = new Map<string, readonly string[] | undefined>()
  for (const { file, path, report } of named.filter(({ kind }) => kind === 'networks')) {
    if (!networks.has(file)) networks.set(file, await loadNetworks(file, report, path))
  }
  return networks
}

function isCertificate(pem: Buffer): boolean {
  try {
    return pem.includes('-----BEGIN CERTIFICATE-----') && new X509Certificate(pem).subject !== null
  } catch {
    // OpenSSL's own words name neither the file nor a remedy.
    return false
  }
}

function buildDocument(files: readonly { readonly file: string; readonly value: WrittenPolicy }[], found: FoundFiles): PolicyDocument {
  const zone = files.map(({ value }) => value.zone).find((name) => name !== undefined) ?? 'UTC'
  const parts = files.map(({ file, value }) => {
    const absolute = (path: string) => resolve(dirname(file), path)
    const resolution: Resolution = {
      zone,
      findStrength: (name) => found.strengths.get(name),
      findNetworks: (cidrsFile) => {
        const cidrs = found.networks.get(absolute(cidrsFile))
        return cidrs === undefined ? undefined : { file: absolute(cidrsFile), cidrs }
      },
    }
    const resolveOne = (condition: WrittenCondition) => resolveCondition(condition, resolution)
    const surroundings = { findAuthority: (caFile: string) => found.authorities.get(absolute(caFile)), absolute, resolve: resolveOne }
    return {
      levels: Object.entries(value.levels).map(([name, condition]): Level => ({ name, condition: resolveOne(condition) })),
      services: Object.entries(value.services).map(([name, { jwt }]): Service => buildService(name, jwt)),
      rules: value.rules.map((rule, index) => buildCompanyRule(rule, index, resolveOne)),
      apps: value.apps.map((app) => buildApp(app, surroundings)),
    }
  })
  const content = {
    zone,
    levels: parts.flatMap(({ levels }) => levels).sort(byName),
    services: parts.flatMap(({ services }) => services).sort(byName),
    rules: parts.flatMap(({ rules }) => rules),
    apps: parts.flatMap(({ apps }) => apps).sort((a, b) => (a.id < b.id ? -1 : 1)),
  }
  return { version: versionOf(content, found.pictures), ...content }
}

function buildService(name: string, { issuer, audience, scopesAll, claims, jwksUri }: Omit<Service, 'name'>): Service {
  return { name, issuer, audience, scopesAll, claims, jwksUri }
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1
}

/** Of the meaning alone: where pictures and lists of networks lie differs between machines, what they hold does not. */
function versionOf(content: Omit<PolicyDocument, 'version'>, pictures: ReadonlyMap<string, string>): string {
  const versionedRule = <R extends Rule>(rule: R) => ({
    ...rule,
    require: rule.require.map(versionedCondition),
    when: rule.when.map(versionedCondition),
    unless: rule.unless.map(versionedCondition),
  })
  const meaning = {
    ...content,
    levels: content.levels.map(({ name, condition }) => ({ name, condition: versionedCondition(condition) })),
    rules: content.rules.map(versionedRule),
    apps: content.apps.map((app) => ({
      ...app,
      logo: app.logo === undefined ? undefined : pictures.get(app.logo),
      rules: app.rules.map(versionedRule),
    })),
  }
  return `sha256-${createHash('sha256').update(canonicalJson(meaning)).digest('hex').slice(0, 16)}`
}

/** JSON with the keys of every map in order, so that equal values have equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
