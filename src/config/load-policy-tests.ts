/**
 * The tests beside a policy, from their file to values that can be run: the second half of what `policy.test.yaml` means.
 *
 * A test that names nobody, no device or no strength that exists is a problem with its line, never a test that passes.
 */

import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Given, GivenDevice, GivenSignIn, GivenSubject } from '../administration/given.ts'
import type { Scalar, Service, Strength } from '../policy/document.ts'
import type { PolicyForm } from './load-policy.ts'
import { parseValue } from './parse-value.ts'
import { policyTestsSchema, type WrittenPolicyTests } from './policy-tests-schema.ts'
import { type Loaded, type Path, type Problem, quote, type Report, suggestNearest } from './problems.ts'
import { loadYamlSource } from './yaml-source.ts'

export interface PolicyTest {
  readonly name: string
  /** Where it is written. */
  readonly file: string
  readonly line: number
  /** As it was written, for a report about it. */
  readonly words: string
  readonly given: Given
  readonly method: string
  readonly isUpgrade: boolean
  readonly url: URL
  readonly expected: PolicyTestOutcome
}

export interface PolicyTestOutcome {
  readonly outcome: 'allow' | 'deny' | 'sign_in' | 'step_up'
  /** Of an allow: a rule's name or a reason. Of a deny: a reason, or what was unmet. */
  readonly because: string | undefined
}

/** What the tests may speak of. */
export interface PolicyTestsContext {
  readonly strengths: ReadonlyMap<string, Strength>
  readonly services: readonly Service[]
  /** Epoch milliseconds: the instant of tests that name none. */
  readonly at: number
}

/** `policy.test.yaml` beside `policy.yaml`, `policies.test.yaml` beside a folder `policies`; in a bundle every `*.test.yaml` at its top. */
export async function findPolicyTests(policyPath: string, form: PolicyForm = 'files'): Promise<readonly string[]> {
  const isFolder = (await stat(policyPath).catch(() => undefined))?.isDirectory() ?? false
  if (isFolder && form === 'bundle') {
    const names = (await readdir(policyPath)).filter((name) => name.endsWith('.test.yaml') && !name.startsWith('.'))
    return names.sort().map((name) => join(policyPath, name))
  }
  const usual = isFolder
    ? join(dirname(policyPath), `${basename(policyPath)}.test.yaml`)
    : join(dirname(policyPath), basename(policyPath).replace(/\.yaml$/, '.test.yaml'))
  const found = await stat(usual).catch(() => undefined)
  return found?.isFile() === true && usual !== policyPath ? [usual] : []
}

/** Loads the tests of these files, in their order. Never rejects; what is wrong is in the result. */
export async function loadPolicyTests(
  files: string | readonly string[],
  context: PolicyTestsContext,
): Promise<Loaded<readonly PolicyTest[]>> {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const tests: PolicyTest[] = []
  for (const file of typeof files === 'string' ? [files] : files) {
    const { data, report } = await loadYamlSource(file, lists)
    const { value } = data === undefined ? { value: undefined } : parseValue(policyTestsSchema, data, report)
    if (value === undefined) continue
    tests.push(...value.tests.map((test, index) => buildTest(value, test, { report, context, path: ['tests', index] })))
    if (value.tests.length === 0) report.warning([], 'there is no test in this file')
  }
  return { value: lists.problems.length > 0 ? undefined : tests, ...lists }
}

interface Place {
  readonly report: Report
  readonly context: PolicyTestsContext
  readonly path: Path
}

type WrittenTest = WrittenPolicyTests['tests'][number]
type WrittenGiven = WrittenPolicyTests['defaults']

function buildTest(file: WrittenPolicyTests, test: WrittenTest, place: Place): PolicyTest {
  const [method = '', address = ''] = test.given.request.split(' ')
  const written: WrittenGiven = { ...file.defaults, ...withoutAbsent(test.given) }
  const { line, file: name } = place.report.place([...place.path, 'name'])
  const at = { ...place, path: [...place.path, 'given'] }
  const given: Given = {
    subject: subjectOf(file, written.as ?? 'nobody', at),
    signIn: signInOf(written.sign_in, at),
    device: written.device === undefined ? undefined : deviceOf(file, written.device, at),
    at: written.at ?? place.context.at,
    address: written.address ?? '192.0.2.1',
    country: written.country === 'unknown' ? undefined : written.country,
    asn: written.asn,
    userAgent: written.user_agent,
  }
  const isUpgrade = method === 'WEBSOCKET'
  return {
    name: test.name,
    file: name,
    line,
    words: wordsOf(written, test.given.request),
    given,
    method: isUpgrade ? 'GET' : method,
    isUpgrade,
    url: new URL(address),
    expected: outcomeOf(test.expect),
  }
}

function subjectOf({ people }: WrittenPolicyTests, as: string, { report, context, path }: Place): GivenSubject {
  if (as === 'nobody') return { kind: 'nobody' }
  if (as.startsWith('service:')) {
    const name = as.slice('service:'.length)
    const service = context.services.find((one) => one.name === name)
    if (service !== undefined) return { kind: 'service', service, services: context.services }
    report.problem([...path, 'as'], `the policy has no service ${quote(name)}`, {
      suggestion: suggestNearest(
        name,
        context.services.map((one) => one.name),
      ),
    })
    return { kind: 'nobody' }
  }
  const person = Object.hasOwn(people, as) ? people[as] : undefined
  if (person === undefined) {
    report.problem([...path, 'as'], `there is no ${quote(as)} among the people`, { suggestion: suggestNearest(as, Object.keys(people)) })
    return { kind: 'nobody' }
  }
  const { claims = {}, email, groups, sub = as } = person
  const stated: Record<string, unknown> = Object.assign(Object.create(null), claims)
  return { kind: 'person', issuer: 'https://provider.test', sub, email, groups, claims: stated }
}

/** What a password alone is worth: a known method that no strength should name. */
const passwordMethods = ['pwd']

function signInOf(written: WrittenGiven['sign_in'], { report, context, path }: Place): GivenSignIn | undefined {
  if (written === undefined) return undefined
  if (!('strength' in written)) return { acr: written.acr, amr: written.amr, agoSeconds: written.ago }
  if (written.strength === 'password') return { acr: undefined, amr: passwordMethods, agoSeconds: written.ago }
  const strength = context.strengths.get(written.strength)
  if (strength !== undefined) return { strength, agoSeconds: written.ago }
  report.problem([...path, 'sign_in'], `the instance configuration has no strength ${quote(written.strength)}`, {
    suggestion: suggestNearest(written.strength, ['password', ...context.strengths.keys()]) ?? 'define it in `provider.strengths`',
  })
  return undefined
}

function deviceOf({ devices }: WrittenPolicyTests, id: string, { report, path }: Place): GivenDevice | undefined {
  const device = Object.hasOwn(devices, id) ? devices[id] : undefined
  if (device === undefined) {
    report.problem([...path, 'device'], `there is no ${quote(id)} among the devices`, {
      suggestion: suggestNearest(id, Object.keys(devices)),
    })
    return undefined
  }
  const { disk_encrypted, firewall, managed, os, os_version, screen_lock } = device
  const posture: Readonly<Record<string, Scalar | undefined>> = {
    managed,
    disk_encrypted,
    screen_lock,
    firewall,
    os,
    os_version: os_version === undefined ? undefined : String(os_version),
  }
  const attributes: Record<string, Scalar | readonly Scalar[]> = Object.assign(Object.create(null), device.attributes)
  for (const [name, value] of Object.entries(posture)) if (value !== undefined) attributes[name] = value
  return {
    id,
    isKnown: device.known,
    identifiedBy: device.identified_by,
    serial: device.serial,
    tags: device.tags ?? [],
    attributes,
    reportedSecondsAgo: device.reported ?? 0,
  }
}

function outcomeOf(written: WrittenTest['expect']): PolicyTestOutcome {
  if (typeof written === 'string') return { outcome: written, because: undefined }
  return written.allow === undefined ? { outcome: 'deny', because: written.deny } : { outcome: 'allow', because: written.allow }
}

function wordsOf({ as, at, address, country, device, sign_in }: WrittenGiven, request: string): string {
  const signIn =
    sign_in === undefined ? undefined : 'strength' in sign_in ? `${sign_in.strength} ${sign_in.ago}s ago` : `acr ${sign_in.acr ?? '(none)'}`
  const parts = [
    `as ${as ?? 'nobody'}`,
    signIn === undefined ? undefined : `signed in with ${signIn}`,
    device === undefined ? undefined : `on ${device}`,
    at === undefined ? undefined : `at ${new Date(at).toISOString()}`,
    address === undefined ? undefined : `from ${address}`,
    country === undefined ? undefined : `(${country})`,
  ]
  return `${request} ${parts.filter((part) => part !== undefined).join(', ')}`
}

function withoutAbsent<T extends object>(map: T): Partial<T> {
  return Object.fromEntries(Object.entries(map).filter(([, value]) => value !== undefined)) as Partial<T>
}
