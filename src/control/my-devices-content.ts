/**
 * What the page of one's own devices shows: each device, every attribute with its source and age, and what to mend for which app.
 *
 * Pure. What to mend is in the very words of an app's refusal. Names and values come from inventories, reports and claims: text, escaped by
 * the template.
 */

import type { Decision } from '../policy/decision.ts'
import type { Device, DeviceAttribute } from '../policy/facts.ts'
import { fillApp } from './messages.ts'
import { remedies } from './remedies.ts'
import { printSpan, printSystems } from './words.ts'

/** One device of the person. */
export interface DeviceFacts {
  readonly name: string
  /** `undefined`: the trail remembers it, and it may be somebody else's by now. */
  readonly device: Device | undefined
  /** The request comes from it. */
  readonly isPresent: boolean
  /** Browsers of this person that are signed in on it. */
  readonly sessions: number
  /** When it was last used, where only the trail says so. */
  readonly usedAt: number | undefined
  readonly lastReportAt: number | undefined
  readonly lastManagementReportAt: number | undefined
  /** What the person's apps would answer on it. */
  readonly apps: readonly { readonly name: string; readonly decision: Decision }[]
}

export interface MyDevicesView {
  readonly devices: readonly DeviceFacts[]
  readonly at: number
  /** The attributes that rules ask for, with the greatest age in seconds that any of them takes. */
  readonly asked: ReadonlyMap<string, number>
}

export interface AttributeRow {
  readonly label: string
  readonly value: string
  readonly source: string
  readonly age: string
  /** Older than an app takes it, or not there although an app asks for it. */
  readonly problem: 'too_old' | 'missing' | undefined
  readonly isAsked: boolean
}

export interface DeviceCard {
  readonly name: string
  readonly id: string | undefined
  readonly badges: readonly { readonly text: string; readonly tone: 'here' | 'bad' | 'quiet' }[]
  /** One sentence each. */
  readonly facts: readonly string[]
  readonly rows: readonly AttributeRow[]
  readonly fixes: readonly { readonly title: string; readonly text: string; readonly apps: string }[]
  /** Something on the device can be mended only by reporting again. */
  readonly note: string | undefined
  readonly isFine: boolean
}

/** What the template of `/devices` is given. */
export interface MyDevicesContent {
  readonly cards: readonly DeviceCard[]
}

const labels: Readonly<Record<string, string>> = {
  managed: 'Managed by your organisation',
  disk_encrypted: 'Disk encrypted',
  screen_lock: 'Screen lock',
  firewall: 'Firewall',
  os: 'System',
  os_version: 'System version',
}

const sources: Readonly<Record<DeviceAttribute['source'], string>> = {
  report: 'the device itself',
  management: 'its management',
  claim: 'your sign-in service',
  inventory: 'entered by an admin',
}

const longestValue = 200

/** Everything that the page for `view` shows; the device in front of the person first. */
export function describeMyDevices(view: MyDevicesView): MyDevicesContent {
  const rank = ({ isPresent, sessions }: DeviceFacts) => (isPresent ? 0 : sessions > 0 ? 1 : 2)
  return { cards: [...view.devices].sort((a, b) => rank(a) - rank(b)).map((device) => describeCard(device, view)) }
}

function describeCard(facts: DeviceFacts, { asked, at }: MyDevicesView): DeviceCard {
  const { device, isPresent, name } = facts
  const isBlocked = device?.isBlocked === true
  const fixes = isBlocked ? [] : findFixes(facts, at)
  return {
    name,
    id: device === undefined || device.id === name ? undefined : device.id,
    badges: [
      ...(isPresent ? [{ text: 'This device', tone: 'here' } as const] : []),
      ...(isBlocked ? [{ text: 'Blocked', tone: 'bad' } as const] : []),
      ...(device !== undefined && !device.isKnown && !isBlocked ? [{ text: 'Not registered', tone: 'quiet' } as const] : []),
    ],
    facts: sentencesOf(facts, at),
    rows: device === undefined || isBlocked ? [] : rowsOf(device, asked, at),
    fixes: fixes.map(({ title, text, apps }) => ({ title, text, apps: apps.join(', ') })),
    note: fixes.some(({ needsReport }) => needsReport) ? 'What you change on your device counts from its next report.' : undefined,
    isFine: device !== undefined && !isBlocked && fixes.length === 0,
  }
}

function sentencesOf({ device, lastManagementReportAt, lastReportAt, sessions, usedAt }: DeviceFacts, at: number): string[] {
  if (device === undefined) return [`You used it ${usedAt === undefined ? 'lately' : agoOf(at - usedAt)}, and are signed in on it no more.`]
  const known =
    device.identifiedBy === 'certificate' ? 'It shows who it is by its certificate.' : 'Your sign-in service says that it is this one.'
  const signedIn = sessions === 0 ? undefined : sessions === 1 ? 'You are signed in on it.' : `You are signed in on it ${sessions} times.`
  const blocked = 'An administrator has blocked it: nothing opens on it until they lift that.'
  const reports = [
    lastReportAt === undefined ? undefined : `It last reported ${agoOf(at - lastReportAt)}.`,
    lastManagementReportAt === undefined ? undefined : `Its management last reported ${agoOf(at - lastManagementReportAt)}.`,
  ]
  return [device.isBlocked === true ? blocked : undefined, known, signedIn, ...reports].filter((one) => one !== undefined)
}

function rowsOf({ attributes }: Device, asked: ReadonlyMap<string, number>, at: number): AttributeRow[] {
  const names = [...new Set([...Object.keys(labels), ...Object.keys(attributes), ...asked.keys()])]
  return names.flatMap((name): AttributeRow[] => {
    const label = Object.hasOwn(labels, name) ? (labels[name] ?? name) : name
    const within = asked.get(name)
    const attribute = Object.hasOwn(attributes, name) ? attributes[name] : undefined
    if (attribute === undefined) {
      return within === undefined ? [] : [{ label, value: 'not known', source: '', age: '', problem: 'missing', isAsked: true }]
    }
    const ages = attribute.source !== 'inventory'
    const isTooOld = ages && within !== undefined && at - attribute.at > within * 1000
    return [
      {
        label,
        value: printValue(name, attribute.value),
        source: sources[attribute.source],
        age: ages ? agoOf(at - attribute.at) : '',
        problem: isTooOld ? 'too_old' : undefined,
        isAsked: within !== undefined,
      },
    ]
  })
}

interface Fix {
  readonly title: string
  readonly text: string
  readonly needsReport: boolean
  readonly apps: string[]
}

/** The same advice once, with every app that it is for. */
function findFixes({ apps }: DeviceFacts, at: number): readonly Fix[] {
  const fixes = new Map<string, Fix>()
  for (const { decision, name } of apps) {
    for (const { condition, details = {}, remedy } of decision.effect === 'deny' ? decision.unmet : []) {
      if (condition !== 'device') continue
      const { needsReport = false, text, title } = remedies[remedy](details, at)
      const filled = fillApp(text, name)
      const fix = fixes.get(filled) ?? { title: fillApp(title, name), text: filled, needsReport, apps: [] }
      if (!fix.apps.includes(name)) fix.apps.push(name)
      fixes.set(filled, fix)
    }
  }
  return [...fixes.values()]
}

function printValue(name: string, value: DeviceAttribute['value']): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  const text = Array.isArray(value) ? value.join(', ') : name === 'os' ? printSystems(String(value)) : String(value)
  return text.length > longestValue ? `${text.slice(0, longestValue)}…` : text
}

function agoOf(ms: number): string {
  return ms < 60_000 ? 'just now' : `${printSpan(ms)} ago`
}
