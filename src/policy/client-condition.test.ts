/** The user agent's own words against what a rule names. */

import { describe, expect, it } from 'vitest'
import { compileClientCondition } from './client-condition.ts'
import { factsWith, known } from './condition.fixture.ts'
import type { ClientCondition, VersionBound } from './document.ts'
import type { ClientFacts } from './facts.ts'
import { clientCondition } from './policy.fixture.ts'

const silent: ClientFacts = {
  browser: { known: false, why: 'claim_absent' },
  browserVersion: { known: false, why: 'claim_absent' },
  os: { known: false, why: 'claim_absent' },
}
const chrome: ClientFacts = { browser: known('chrome'), browserVersion: known('131.0.6778.85'), os: known('macos') }
const bound = (operator: VersionBound['operator'], version: string): VersionBound => ({ operator, version })

describe('client', () => {
  const cases: readonly [string, Partial<ClientCondition>, ClientFacts, string, object | undefined][] = [
    ['a browser named', { browsers: ['firefox', 'chrome'] }, chrome, 'true', undefined],
    [
      'another browser',
      { browsers: ['firefox', 'safari'] },
      chrome,
      'false',
      { remedy: 'browser_not_accepted', details: { present: 'chrome', wanted: 'firefox, safari' } },
    ],
    ['no user agent', { browsers: ['firefox'] }, silent, 'unknown', { remedy: 'browser_not_accepted', details: { wanted: 'firefox' } }],
    ['new enough', { browserVersion: bound('>=', '131') }, chrome, 'true', undefined],
    [
      'too old',
      { browserVersion: bound('>=', '132') },
      chrome,
      'false',
      { remedy: 'browser_outdated', details: { present: 'chrome 131.0.6778.85', wanted: '>= 132' } },
    ],
    [
      'too new',
      { browserVersion: bound('<', '131') },
      chrome,
      'false',
      { remedy: 'browser_not_accepted', details: { present: 'chrome 131.0.6778.85', wanted: '< 131' } },
    ],
    [
      'no version that could be compared',
      { browserVersion: bound('>=', '1') },
      { ...chrome, browserVersion: known('x.y') },
      'unknown',
      { remedy: 'browser_not_accepted', details: { present: 'chrome x.y', wanted: '>= 1' } },
    ],
    ['a system named', { os: ['macos'] }, chrome, 'true', undefined],
    [
      'another system',
      { os: ['windows'] },
      chrome,
      'false',
      { remedy: 'system_not_accepted', details: { present: 'macos', wanted: 'windows' } },
    ],
    ['no system', { os: ['windows'] }, silent, 'unknown', { remedy: 'system_not_accepted', details: { wanted: 'windows' } }],
  ]
  it.each(cases)('%s', (...[, keys, client, outcome, unmet]) => {
    const condition = compileClientCondition(clientCondition(keys))
    const given = factsWith({ environment: { client } })
    expect(condition.judge(given)).toBe(outcome)
    expect(condition.findUnmet(given)).toEqual(unmet === undefined ? [] : [{ condition: 'client', outcome, ...unmet }])
    expect(condition.trace(given)).toMatchObject([{ source: 'user agent', outcome }])
    expect(condition.needs).toEqual(['client'])
  })

  it('refuses to be compiled with nothing to ask, or a version that is none', () => {
    expect(() => compileClientCondition(clientCondition({}))).toThrow(TypeError)
    expect(() => compileClientCondition(clientCondition({ browserVersion: bound('>=', 'latest') }))).toThrow(TypeError)
    expect(() => compileClientCondition(clientCondition({ browserVersion: bound('>=', '14.x') }))).toThrow(TypeError)
  })
})
