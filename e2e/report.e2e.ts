/** What `npm test` makes of vitest's report: nothing that failed or did not run may pass unnoticed. */

import { describe, expect, test } from 'vitest'
import { describeAbsent, describeAttacks, summariseReport, type VitestReport } from './report.ts'

const passed = { fullName: 'a holds', title: 'holds', status: 'passed' }
const skipped = { fullName: 'b is left out', title: 'is left out', status: 'skipped' }
const failed = { fullName: 'c breaks', title: 'breaks', status: 'failed' }

function reportOf(...testResults: VitestReport['testResults']): VitestReport {
  return { success: testResults.every(({ status }) => status === 'passed'), testResults }
}

describe('the summary of a run', () => {
  test('counts what passed and what failed', () => {
    const report = reportOf({ name: '/r/a.test.ts', status: 'failed', assertionResults: [passed, failed] })
    expect(summariseReport(report, '/r', [])).toEqual({ passed: 1, failed: 1, broken: [], absent: [] })
  })

  test('counts a file that did not load as a failure', () => {
    const report = reportOf({ name: '/r/a.test.ts', status: 'failed', message: 'SyntaxError: what\n at', assertionResults: [] })
    expect(summariseReport(report, '/r', [])).toMatchObject({ failed: 1, broken: ['a.test.ts: SyntaxError: what'] })
  })

  test('counts a file whose preparation failed as a failure, and names its tests', () => {
    const report = reportOf({ name: '/r/a.test.ts', status: 'failed', message: '', assertionResults: [skipped] })
    const summary = summariseReport(report, '/r', [])
    expect(summary.failed).toBe(1)
    expect(summary.absent).toEqual([{ name: 'a.test.ts: b is left out', reason: 'preparation in the same file failed' }])
  })

  test('counts a run that failed without naming a failure', () => {
    const report = { ...reportOf({ name: '/r/a.test.ts', status: 'passed', assertionResults: [passed] }), success: false }
    expect(summariseReport(report, '/r', []).failed).toBe(1)
  })

  test('gives a reason only to what is known to be left out', () => {
    const report = reportOf(
      { name: '/r/a.test.ts', status: 'passed', assertionResults: [skipped, { ...skipped, fullName: 'another', status: 'pending' }] },
      { name: '/r/b.test.ts', status: 'passed', assertionResults: [skipped] },
    )
    const { absent } = summariseReport(report, '/r', [{ file: 'a.test.ts', title: /left out/, reason: 'no such thing here' }])
    expect(absent.map(({ reason }) => reason)).toEqual(['no such thing here', undefined, undefined])
    expect(describeAbsent(absent)).toEqual([
      'Did not run (no such thing here):',
      '  a.test.ts: b is left out',
      'Did not run (for no known reason):',
      '  a.test.ts: another',
      '  b.test.ts: b is left out',
    ])
  })

  test('prints attacks by number, with what was seen, and what did not run', () => {
    const cases = [
      { title: 'A21 HDR forged', status: 'passed', meta: { outcome: '403' } },
      { title: 'A3 REDIR open', status: 'failed' },
      { title: 'A100 UP silent', status: 'pending' },
    ].map((one) => ({ fullName: one.title, ...one }))
    const lines = describeAttacks(reportOf({ name: '/r/a.e2e.ts', status: 'failed', assertionResults: cases }))
    expect(lines.map((line) => line.replace(/ {2,}/g, ' | '))).toEqual([
      'UNSAFE | A3 REDIR open',
      'safe | A21 HDR forged | 403',
      'not run | A100 UP silent',
    ])
  })
})
