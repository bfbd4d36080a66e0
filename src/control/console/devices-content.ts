/**
 * What the pages about devices show: rows of the inventory, and one device with each attribute, its source, its age and whether it counts.
 *
 * Pure. Values come from devices and management systems and stay the text that they are.
 */

import type { Permission } from '../../administration/asker.ts'
import type { DevicesOperations } from '../operations/devices.ts'
import { printSystems } from '../words.ts'
import { durationWords, type InstantView } from './instants.ts'
import { at, personHref, type ValueOf } from './people-content.ts'
import { type DecisionRow, describeDecisions, type FormState } from './person-content.ts'

type Device = ValueOf<DevicesOperations['get']>

export interface DeviceRow {
  readonly href: string
  readonly name: string
  readonly id: string
  readonly owner: string | undefined
  readonly os: string | undefined
  readonly tags: readonly string[]
  readonly isBlocked: boolean
  readonly reported: InstantView | undefined
}

export interface AttributeRow {
  readonly name: string
  readonly value: string
  readonly tone: 'good' | 'bad' | 'quiet'
  readonly source: string
  readonly at: InstantView | undefined
  readonly isTooOld: boolean
  readonly others: readonly string[]
}

export interface DeviceContent {
  readonly href: string
  readonly id: string
  readonly name: string
  readonly owner: string | undefined
  readonly serial: string | undefined
  readonly os: string | undefined
  readonly tags: readonly string[]
  readonly registered: InstantView | undefined
  readonly reported: InstantView | undefined
  readonly blocked: { readonly reason: string; readonly by: string; readonly at: InstantView | undefined } | undefined
  readonly fingerprints: readonly string[]
  readonly names: readonly string[]
  readonly key: { readonly algorithm: string; readonly thumbprint: string } | undefined
  readonly attributes: readonly AttributeRow[]
  readonly countsFor: string
  readonly users: readonly {
    readonly href: string
    readonly name: string
    readonly sessions: number
    readonly lastUsed: InstantView | undefined
  }[]
  readonly history: readonly {
    readonly at: InstantView | undefined
    readonly what: string
    readonly by: string
    readonly reason: string | undefined
  }[]
  readonly decisions: readonly DecisionRow[]
  readonly decisionsTitle: string
  readonly decisionsNote: string | undefined
  readonly mayBlock: boolean
  readonly mayWrite: boolean
  readonly mayReadPeople: boolean
  readonly isHandsOff: boolean
  readonly form: FormState
}

/** The page of a device. */
export function deviceHref(id: string): string {
  return `/console/devices/${encodeURIComponent(id)}`
}

/** The rows of a list. */
export function describeDevices(entries: ValueOf<DevicesOperations['list']>['entries'], now: number): readonly DeviceRow[] {
  return entries.map(({ id, name, os, owner, reported_at, status, tags }) => ({
    href: deviceHref(id),
    name,
    id,
    owner: owner ?? undefined,
    os: os === null ? undefined : printSystems(os),
    tags,
    isBlocked: status === 'blocked',
    reported: at(reported_at, now),
  }))
}

const sources = {
  report: 'its own signed report',
  management: 'management system',
  claim: 'provider',
  inventory: 'entered here',
} as const

const events: Readonly<Record<string, string>> = {
  'device.registered': 'Registered',
  'device.imported': 'Imported',
  'device.blocked': 'Blocked',
  'device.unblocked': 'Unblocked',
  'device.tagged': 'Tagged',
  'device.removed': 'Removed',
  'device.reported': 'Reported',
}

/** `true` is good news of these, `false` bad. */
const measured: ReadonlySet<string> = new Set(['managed', 'disk_encrypted', 'screen_lock', 'firewall'])

/** Everything that the page shows. `form` is the form that was sent, if one was refused. */
export function describeDevice(
  device: Device,
  { form, may, now }: { readonly form: FormState | undefined; readonly may: (permission: Permission) => boolean; readonly now: number },
): DeviceContent {
  const { blocked, fingerprints, history, id, key, name, names, users } = device
  return {
    href: deviceHref(id),
    id,
    name,
    owner: device.owner ?? undefined,
    serial: device.serial ?? undefined,
    os: device.os === null ? undefined : printSystems(device.os),
    tags: device.tags,
    registered: at(device.registered_at, now),
    reported: at(device.reported_at, now),
    blocked: blocked === null ? undefined : { reason: blocked.reason, by: blocked.by, at: at(blocked.at, now) },
    fingerprints,
    names,
    key: key ?? undefined,
    attributes: device.attributes.map((attribute) => ({
      name: attribute.name,
      value: wordsOf(attribute.value),
      tone: !measured.has(attribute.name) ? 'quiet' : attribute.value === true ? 'good' : attribute.value === false ? 'bad' : 'quiet',
      source: sources[attribute.source],
      at: at(attribute.at, now),
      isTooOld: attribute.is_too_old,
      others: attribute.others.map((other) => `${sources[other.source]}: ${wordsOf(other.value)}, ${at(other.at, now)?.text ?? ''}`),
    })),
    countsFor: durationWords(device.oldest_report_seconds * 1000),
    users: users.map((user) => ({
      href: personHref(user.ref),
      name: user.email ?? user.name ?? user.sub,
      sessions: user.sessions,
      lastUsed: at(user.last_used_at, now),
    })),
    history: history.map((entry) => ({
      at: at(entry.at, now),
      what: events[entry.event] ?? entry.event,
      by: entry.actor,
      reason: entry.reason ?? undefined,
    })),
    ...describeDecisions(device.decisions, { mayReadTrail: may('audit:read'), now }),
    mayBlock: device.may_act && may('devices:block'),
    mayWrite: may('devices:write'),
    mayReadPeople: may('people:read'),
    isHandsOff: !device.may_act && may('devices:block'),
    form: form ?? { values: {}, errors: {} },
  }
}

function wordsOf(value: Device['attributes'][number]['value']): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return Array.isArray(value) ? value.join(', ') : String(value)
}
