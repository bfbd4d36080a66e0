/**
 * What a run of vitest came to: how many passed, how many failed, what did not run and why, and the table of attack cases.
 *
 * It trusts no single number of the report. A file that did not load, and one whose preparation failed, has no failed test in it;
 * it is a failure all the same. A test that did not run proves nothing, so each one is named with its reason; one without
 * a known reason is *unexpected*.
 */

import { relative } from 'node:path'

/** The part of vitest's JSON report that is read here. */
export interface VitestReport {
  readonly success: boolean
  readonly testResults: readonly VitestFile[]
}

interface VitestFile {
  /** Its path. */
  readonly name: string
  readonly status: string
  readonly message?: string
  readonly assertionResults: readonly VitestCase[]
}

interface VitestCase {
  readonly fullName: string
  readonly title: string
  readonly status: string
  readonly meta?: Readonly<Record<string, unknown>>
}

/** Why some tests may stay out: those of `file`, if `title` is given only those that it matches. */
export interface KnownAbsence {
  readonly file: string
  readonly title?: RegExp
  readonly reason: string
}

export interface Summary {
  readonly passed: number
  readonly failed: number
  /** Files that failed without a failed test, each with its first message. */
  readonly broken: readonly string[]
  readonly absent: readonly { readonly name: string; readonly reason: string | undefined }[]
}

/** Counts a report. `root` is what file names are shown relative to. */
export function summariseReport(report: VitestReport, root: string, known: readonly KnownAbsence[]): Summary {
  const cases = report.testResults.flatMap((file) => file.assertionResults)
  const failed = cases.filter(({ status }) => status === 'failed').length
  const broken = report.testResults
    .filter((file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'))
    .map((file) => `${relative(root, file.name)}: ${file.message?.split('\n')[0] || 'preparing or cleaning up failed'}`)
  const absent = report.testResults.flatMap((file) =>
    file.assertionResults
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ fullName }) => ({ name: `${relative(root, file.name)}: ${fullName}`, reason: reasonFor(file, fullName, root, known) })),
  )
  // A run that says it failed, and names no failure, is one.
  const unnamed = !report.success && failed + broken.length === 0 ? 1 : 0
  return { passed: cases.filter(({ status }) => status === 'passed').length, failed: failed + broken.length + unnamed, broken, absent }
}

function reasonFor(file: VitestFile, fullName: string, root: string, known: readonly KnownAbsence[]): string | undefined {
  const path = relative(root, file.name)
  const absence = known.find(({ file: name, title }) => name === path && (title?.test(fullName) ?? true))
  return absence?.reason ?? (file.status === 'failed' ? 'preparation in the same file failed' : undefined)
}

/** The lines about what did not run, several tests of one reason together. */
export function describeAbsent(absent: Summary['absent']): readonly string[] {
  const reasons = [...new Set(absent.map(({ reason }) => reason))]
  return reasons.flatMap((reason) => [
    `Did not run (${reason ?? 'for no known reason'}):`,
    ...absent.filter((one) => one.reason === reason).map(({ name }) => `  ${name}`),
  ])
}

/** One line an attack case: verdict, number, class and title, what was seen. In the order of their numbers. */
export function describeAttacks(report: VitestReport): readonly string[] {
  const number = (title: string) => Number(/^A(\d+)/.exec(title)?.[1] ?? Number.POSITIVE_INFINITY)
  const verdict = (status: string) => (status === 'passed' ? 'safe' : status === 'failed' ? 'UNSAFE' : 'not run')
  const cases = report.testResults.flatMap((file) => file.assertionResults)
  return cases
    .sort((a, b) => number(a.title) - number(b.title) || a.title.localeCompare(b.title))
    .map(({ title, status, meta }) => {
      const outcome = typeof meta?.['outcome'] === 'string' ? meta['outcome'] : ''
      return `${verdict(status).padEnd(7)}  ${title.padEnd(90)}  ${outcome}`.trimEnd()
    })
}
