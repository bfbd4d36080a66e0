/**
 * What operations on devices take and give, and how a record of the inventory becomes it: each attribute with its source, its age and whether
 * it still counts.
 *
 * Public keys leave as their thumbprint. Pure.
 */

import { z } from 'zod'
import { isDeviceId } from '../../administration/device-definition.ts'
import type { DeviceRecord } from '../../administration/devices.ts'
import { stateDevice } from '../../attributes/device-record.ts'
import { instantText, toInstant, toInstantOrNull } from './paging.ts'

export const deviceIdText = z
  .string()
  .max(64)
  .refine(isDeviceId, { message: 'This is not an id of the inventory.' })
  .meta({ description: 'Id in the inventory.' })

export const deviceSummary = z.strictObject({
  id: z.string(),
  name: z.string(),
  owner: z.string().nullable(),
  serial: z.string().nullable(),
  tags: z.array(z.string()),
  status: z.enum(['active', 'blocked']),
  os: z.string().nullable().meta({ description: 'The system that it last said it runs.' }),
  reported_at: instantText.nullable().meta({ description: 'When it was last heard of; null: never.' }),
  registered_at: instantText,
})

const source = z.enum(['report', 'management', 'claim', 'inventory'])
const value = z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number(), z.boolean()]))])

export const attributeStatement = z.strictObject({
  name: z.string(),
  value,
  source: source.meta({ description: 'Whose word counts: `report` its own signed report, `management`, or `inventory`, as entered.' }),
  at: instantText.meta({ description: 'When the source observed it.' }),
  is_too_old: z.boolean().meta({ description: 'Older than any rule of the policy accepts; what was entered does not age.' }),
  others: z
    .array(z.strictObject({ source, value, at: instantText }))
    .meta({ description: 'What other sources say, which does not count beside this one.' }),
})

export const deviceStatement = deviceSummary.extend({
  blocked: z.strictObject({ reason: z.string(), by: z.string(), at: instantText }).nullable(),
  fingerprints: z.array(z.string()).meta({ description: 'SHA-256 of its certificates.' }),
  names: z.array(z.string()).meta({ description: 'Names of its certificates.' }),
  key: z
    .strictObject({ algorithm: z.string(), thumbprint: z.string() })
    .nullable()
    .meta({ description: 'What it signs its reports with.' }),
  attributes: z.array(attributeStatement),
  oldest_report_seconds: z.int().meta({ description: 'What is reported counts for so long at the most, by the policy in force.' }),
})

/** A device as lists have it. */
export function summariseDevice(device: {
  readonly id: string
  readonly name: string
  readonly owner: string | undefined
  readonly serial: string | undefined
  readonly tags: readonly string[]
  readonly isBlocked: boolean
  readonly os: string | undefined
  readonly reportedAt: number | undefined
  readonly registeredAt: number
}): z.output<typeof deviceSummary> {
  const { id, isBlocked, name, os, owner, registeredAt, reportedAt, serial, tags } = device
  return {
    id,
    name,
    owner: owner ?? null,
    serial: serial ?? null,
    tags: [...tags],
    status: isBlocked ? 'blocked' : 'active',
    os: os ?? null,
    reported_at: toInstantOrNull(reportedAt),
    registered_at: toInstant(registeredAt),
  }
}

/** A device with everything that is known of it. A blocked one shows its posture too: it is what an administrator decides by. */
export function stateDeviceRecord(
  record: DeviceRecord,
  summary: z.output<typeof deviceSummary>,
  { now, oldestReportSeconds }: { readonly now: number; readonly oldestReportSeconds: number },
): z.output<typeof deviceStatement> {
  const { fingerprints, key, names, status } = record
  const { attributes } = stateDevice({ ...record, status: { state: 'active' } }, 'certificate')
  return {
    ...summary,
    blocked: status.state === 'blocked' ? { reason: status.reason, by: status.by, at: toInstant(status.at) } : null,
    fingerprints: [...fingerprints],
    names: [...names],
    key: key === undefined ? null : { algorithm: key.algorithm, thumbprint: key.thumbprint },
    oldest_report_seconds: oldestReportSeconds,
    attributes: Object.entries(attributes).map(([name, attribute]) => ({
      name,
      value: copyOf(attribute.value),
      source: attribute.source,
      at: toInstant(attribute.at),
      is_too_old: attribute.source !== 'inventory' && now - attribute.at > oldestReportSeconds * 1000,
      others: othersOf(record, name, attribute.source),
    })),
  }
}

function othersOf({ entered, reported }: DeviceRecord, name: string, counted: string): z.output<typeof attributeStatement>['others'] {
  const said = [
    ['report', reported.report],
    ['management', reported.management],
    ['inventory', entered],
  ] as const
  return said.flatMap(([word, observations]) => {
    const observation = Object.hasOwn(observations, name) ? observations[name] : undefined
    return observation === undefined || word === counted
      ? []
      : [{ source: word, value: copyOf(observation.value), at: toInstant(observation.at) }]
  })
}

type Value = z.output<typeof value>

function copyOf(given: string | number | boolean | readonly (string | number | boolean)[]): Value {
  return typeof given === 'object' ? [...given] : given
}
