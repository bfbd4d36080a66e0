/** What is known of a device, from which source and how old, against what a rule asks for. */

import { describe, expect, it } from 'vitest'
import { days, deviceWith, factsWith, hours, known, minutes, now, reported } from './condition.fixture.ts'
import { compileDeviceCondition } from './device-condition.ts'
import type { DeviceCondition } from './document.ts'
import type { Device, Known } from './facts.ts'
import { deviceCondition } from './policy.fixture.ts'

type Remedied = string | undefined

const nothing = deviceWith({}, { serial: undefined, tags: [] })
const stranger = deviceWith({ managed: true, os: 'macos' }, { isKnown: false, serial: undefined, tags: [] })
const claimed = deviceWith({ managed: reported(true, now - minutes, 'claim') }, { isKnown: false, identifiedBy: 'claim' })
const none: Known<Device> = { known: false, why: 'no_device' }

function macs(version: string): Partial<DeviceCondition> {
  return {
    os: [
      { name: 'macos', bound: { operator: '>=', version } },
      { name: 'linux', bound: undefined },
    ],
  }
}

const table: readonly [string, Partial<DeviceCondition>, Known<Device>, string, Remedied][] = [
  ['known, and it is', { known: true }, nothing, 'true', undefined],
  ['known, and it is not', { known: true }, stranger, 'false', 'device_unknown'],
  ['known, and there is none', { known: true }, none, 'false', 'device_unidentified'],
  ['known, of a service', { known: true }, { known: false, why: 'not_a_person' }, 'unknown', 'device_unidentified'],
  ['known, not gathered', { known: true }, { known: false, why: 'not_gathered' }, 'unknown', 'device_unidentified'],
  ['not known, and there is none', { known: false }, none, 'true', undefined],
  ['not known, and it is', { known: false }, nothing, 'false', 'condition_not_met'],

  ['certificate, and it is one', { identifiedBy: 'certificate' }, nothing, 'true', undefined],
  ['certificate, and it is a claim', { identifiedBy: 'certificate' }, claimed, 'false', 'device_not_proven'],
  ['claim, and it is one', { identifiedBy: 'claim' }, claimed, 'true', undefined],
  ['certificate, and there is no device', { identifiedBy: 'certificate' }, none, 'unknown', 'device_unidentified'],

  ['a serial that is listed', { serials: ['A', 'C02XL0GYJGH5'] }, deviceWith(), 'true', undefined],
  ['another serial', { serials: ['A'] }, deviceWith(), 'false', 'device_not_listed'],
  ['no serial in the inventory', { serials: ['A'] }, nothing, 'unknown', 'device_not_listed'],
  ['serial of a device that is not in the inventory', { serials: ['A'] }, stranger, 'unknown', 'device_unknown'],
  ['a tag that it has', { tags: ['ops', 'finance'] }, deviceWith(), 'true', undefined],
  ['tags that it has not', { tags: ['ops'] }, deviceWith(), 'false', 'device_not_listed'],
  ['tags of a device that is not in the inventory', { tags: ['ops'] }, stranger, 'unknown', 'device_unknown'],
  ['tags, and there is no device', { tags: ['ops'] }, none, 'unknown', 'device_unidentified'],

  ['managed, reported', { managed: true }, deviceWith({ managed: true }), 'true', undefined],
  ['managed, and it is not', { managed: true }, deviceWith({ managed: false }), 'false', 'device_not_managed'],
  ['not managed, and it is', { managed: false }, deviceWith({ managed: true }), 'false', 'device_managed'],
  ['not managed, and it is not', { managed: false }, deviceWith({ managed: false }), 'true', undefined],
  ['managed, never reported', { managed: true }, nothing, 'unknown', 'device_never_reported'],
  ['managed, as text', { managed: true }, deviceWith({ managed: 'true' }), 'unknown', 'device_never_reported'],
  ['managed, and there is no device', { managed: true }, none, 'unknown', 'device_unidentified'],
  ['managed, reported for a device that is not in the inventory', { managed: true }, stranger, 'unknown', 'device_unknown'],
  ['managed, claimed for a device that is not in the inventory', { managed: true }, claimed, 'true', undefined],
  [
    'managed, only for the rule, by an admin',
    { managed: true },
    deviceWith({ managed: reported(true, 0, 'inventory') }),
    'true',
    undefined,
  ],
  ['encrypted', { diskEncrypted: true }, deviceWith({ disk_encrypted: true }), 'true', undefined],
  ['not encrypted', { diskEncrypted: true }, deviceWith({ disk_encrypted: false }), 'false', 'disk_not_encrypted'],
  ['encrypted where it must not be', { diskEncrypted: false }, deviceWith({ disk_encrypted: true }), 'false', 'device_setting'],
  ['screen lock off', { screenLock: true }, deviceWith({ screen_lock: false }), 'false', 'screen_lock_off'],
  ['firewall off', { firewall: true }, deviceWith({ firewall: false }), 'false', 'firewall_off'],

  ['new enough', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.4.1' }), 'true', undefined],
  ['exactly', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.4' }), 'true', undefined],
  ['14.10 is newer than 14.4', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.10' }), 'true', undefined],
  ['too old', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.3.9' }), 'false', 'os_outdated'],
  [
    'a beta of the version is older than it',
    macs('14.4.0'),
    deviceWith({ os: 'macos', os_version: '14.4.0-beta.1' }),
    'false',
    'os_outdated',
  ],
  ['any version', macs('14.4'), deviceWith({ os: 'linux' }), 'true', undefined],
  ['not listed', macs('14.4'), deviceWith({ os: 'windows', os_version: '99' }), 'false', 'os_not_accepted'],
  ['no version', macs('14.4'), deviceWith({ os: 'macos' }), 'unknown', 'device_never_reported'],
  ['no system', macs('14.4'), deviceWith({ os_version: '14.4' }), 'unknown', 'device_never_reported'],
  ['a version in brackets', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.4 (23E214)' }), 'unknown', 'device_never_reported'],
  ['a version that is a wildcard', macs('14.4'), deviceWith({ os: 'macos', os_version: '14.x' }), 'unknown', 'device_never_reported'],
  ['a version that is any', macs('14.4'), deviceWith({ os: 'macos', os_version: '*' }), 'unknown', 'device_never_reported'],
  ['a version with an operator', macs('14.4'), deviceWith({ os: 'macos', os_version: '>=14.4' }), 'unknown', 'device_never_reported'],
  ['a version that is a number', macs('14.4'), deviceWith({ os: 'macos', os_version: 14.4 }), 'unknown', 'device_never_reported'],
  [
    'a version that must not be passed',
    { os: [{ name: 'macos', bound: { operator: '<', version: '15' } }] },
    deviceWith({ os: 'macos', os_version: '15.1' }),
    'false',
    'os_not_accepted',
  ],
  [
    'one of two bounds on one system',
    {
      os: [
        { name: 'windows', bound: { operator: '=', version: '10.0.19045.5131' } },
        { name: 'windows', bound: { operator: '>=', version: '10.0.22631' } },
      ],
    },
    deviceWith({ os: 'windows', os_version: '10.0.22631.4317' }),
    'true',
    undefined,
  ],

  ['an attribute', { attributes: [{ name: 'edr', values: ['on'] }] }, deviceWith({ edr: 'on' }), 'true', undefined],
  ['another value', { attributes: [{ name: 'edr', values: ['on'] }] }, deviceWith({ edr: 'off' }), 'false', 'device_setting'],
  [
    'a list that contains it',
    { attributes: [{ name: 'apps', values: ['vpn', 'edr'] }] },
    deviceWith({ apps: ['x', 'edr'] }),
    'true',
    undefined,
  ],
  ['another type', { attributes: [{ name: 'level', values: [1] }] }, deviceWith({ level: '1' }), 'false', 'device_setting'],
  ['a name of a prototype', { attributes: [{ name: 'constructor', values: [true] }] }, deviceWith(), 'unknown', 'device_never_reported'],
  [
    'two attributes, one missing',
    {
      attributes: [
        { name: 'edr', values: ['on'] },
        { name: 'dlp', values: ['on'] },
      ],
    },
    deviceWith({ edr: 'on' }),
    'unknown',
    'device_never_reported',
  ],

  ['reported lately', { isReportAsked: true }, deviceWith({ edr: 'on' }), 'true', undefined],
  ['reported lately by a management system', { isReportAsked: true }, deviceWith({ a: reported(1, now, 'management') }), 'true', undefined],
  ['claimed lately of an unregistered device', { isReportAsked: true }, claimed, 'true', undefined],
  ['never reported', { isReportAsked: true }, nothing, 'unknown', 'device_never_reported'],
  [
    'only entered by an admin',
    { isReportAsked: true },
    deviceWith({ a: reported(1, now, 'inventory') }),
    'unknown',
    'device_never_reported',
  ],
  ['reported by an unregistered device', { isReportAsked: true }, stranger, 'unknown', 'device_unknown'],
  [
    'last reported too long ago',
    { isReportAsked: true },
    deviceWith({ a: reported(1, now - 2 * days) }),
    'unknown',
    'device_report_too_old',
  ],
  [
    'one report is too old and one is not',
    { isReportAsked: true },
    deviceWith({ a: reported(1, now - 2 * days), b: 1 }),
    'true',
    undefined,
  ],
  ['reported lately, and there is no device', { isReportAsked: true }, none, 'unknown', 'device_unidentified'],
]

describe('device', () => {
  it.each(table)('%s', (...[, keys, device, outcome, remedy]) => {
    const condition = compileDeviceCondition(deviceCondition(keys))
    const given = factsWith({ device })
    expect(condition.judge(given)).toBe(outcome)
    expect(condition.findUnmet(given).map((unmet) => unmet.remedy)).toEqual(remedy === undefined ? [] : [remedy])
  })

  it('has all its keys to hold', () => {
    const condition = compileDeviceCondition(deviceCondition({ known: true, managed: true, diskEncrypted: true }))
    const judge = (device: Known<Device>) => condition.judge(factsWith({ device }))
    expect(judge(deviceWith({ managed: true, disk_encrypted: true }))).toBe('true')
    expect(judge(deviceWith({ managed: true }))).toBe('unknown')
    expect(judge(deviceWith({ disk_encrypted: false }))).toBe('false')
    expect(condition.findUnmet(factsWith({ device: deviceWith({ disk_encrypted: false }) }))).toHaveLength(2)
    expect(condition.needs).toEqual(['device'])
  })

  it('takes an attribute exactly as old as accepted, and none a millisecond older, from whichever source that ages', () => {
    for (const source of ['report', 'management', 'claim'] as const) {
      const condition = compileDeviceCondition(deviceCondition({ managed: true, reportedWithinSeconds: 3600 }))
      const judge = (at: number) => condition.judge(factsWith({ device: deviceWith({ managed: reported(true, at, source) }) }))
      expect(judge(now - hours)).toBe('true')
      expect(judge(now - hours - 1)).toBe('unknown')
      expect(judge(now + 5 * minutes)).toBe('true')
      expect(judge(now + 5 * minutes + 1)).toBe('unknown')
      expect(judge(Number.NaN)).toBe('unknown')
    }
  })

  it('does not age tags, serials and the certificate with the report', () => {
    const condition = compileDeviceCondition(
      deviceCondition({ known: true, serials: ['C02XL0GYJGH5'], tags: ['finance'], identifiedBy: 'certificate', reportedWithinSeconds: 0 }),
    )
    expect(condition.judge(factsWith({ device: deviceWith({ managed: reported(true, 0) }) }))).toBe('true')
  })

  it('says when the device last reported what is asked, and which system it is', () => {
    const condition = compileDeviceCondition(deviceCondition({ diskEncrypted: true }))
    const at = now - 3 * days
    const device = deviceWith({
      disk_encrypted: reported(true, at),
      os: reported('macos', at),
      os_version: reported('14.1', at),
      edr: 'on',
    })
    expect(condition.findUnmet(factsWith({ device }))).toEqual([
      {
        condition: 'device',
        outcome: 'unknown',
        remedy: 'device_report_too_old',
        details: { at, withinSeconds: 86_400, present: 'macos 14.1' },
      },
    ])
  })

  it('shows no time that has not come yet', () => {
    const condition = compileDeviceCondition(deviceCondition({ diskEncrypted: true }))
    const device = deviceWith({ disk_encrypted: reported(true, now + hours) })
    expect(condition.findUnmet(factsWith({ device }))[0]).toMatchObject({
      remedy: 'device_report_too_old',
      details: { withinSeconds: 86_400 },
    })
    expect(condition.findUnmet(factsWith({ device }))[0]?.details).not.toHaveProperty('at')
  })

  it('says what to update to, and which systems are accepted', () => {
    const condition = compileDeviceCondition(deviceCondition(macs('14.4')))
    const details = (device: Known<Device>) => condition.findUnmet(factsWith({ device }))[0]?.details
    expect(details(deviceWith({ os: 'macos', os_version: '14.1' }))).toEqual({ present: 'macos 14.1', wanted: 'macos >= 14.4' })
    expect(details(deviceWith({ os: 'windows', os_version: '11' }))).toEqual({ present: 'windows 11', wanted: 'macos >= 14.4, linux' })
  })

  it('says which setting is wanted', () => {
    const condition = compileDeviceCondition(deviceCondition({ attributes: [{ name: 'edr', values: ['on', 'trial'] }] }))
    expect(condition.findUnmet(factsWith({ device: deviceWith({ edr: 'off' }) }))[0]?.details).toEqual({
      present: 'edr: off',
      wanted: 'edr: on, trial',
    })
  })

  it('traces each key with its source and age', () => {
    const condition = compileDeviceCondition(
      deviceCondition({ known: true, managed: true, os: [{ name: 'macos', bound: undefined }], isReportAsked: true }),
    )
    const device = deviceWith({ managed: reported(true, now - 2 * days, 'management'), os: reported('macos', 7, 'inventory') })
    expect(condition.trace(factsWith({ device }))).toEqual([
      { fact: 'device.known', wanted: 'true', value: { known: true, value: true }, source: 'inventory', at: undefined, outcome: 'true' },
      {
        fact: 'device.reported_within',
        wanted: '86400 s',
        value: { known: true, value: now - 2 * days },
        source: 'report',
        at: now - 2 * days,
        outcome: 'unknown',
      },
      {
        fact: 'device.managed',
        wanted: 'true',
        value: { known: false, why: 'device_report_too_old' },
        source: 'management',
        at: now - 2 * days,
        outcome: 'unknown',
      },
      { fact: 'device.os', wanted: 'macos', value: { known: true, value: 'macos' }, source: 'inventory', at: undefined, outcome: 'true' },
    ])
  })

  it('traces a request without a device', () => {
    const condition = compileDeviceCondition(deviceCondition({ known: true, tags: ['x'], managed: true }))
    expect(condition.trace(factsWith({ device: none })).map(({ value }) => value)).toEqual([
      known(false),
      { known: false, why: 'no_device' },
      { known: false, why: 'device_unidentified' },
    ])
  })

  it('refuses to be compiled with nothing to ask, or a version that is none', () => {
    expect(() => compileDeviceCondition(deviceCondition({}))).toThrow(TypeError)
    for (const version of ['', 'sonoma', '14.x', '>=14', '14.4 beta']) {
      const os = [{ name: 'macos', bound: { operator: '>=', version } as const }]
      expect(() => compileDeviceCondition(deviceCondition({ os }))).toThrow(TypeError)
    }
  })
})
