/**
 * Devices: the inventory with what was heard of each, and what an administrator does about one.
 *
 * A device is approved by registering it and tagging it: rules ask whether it is known and which tags it has, and nothing else would count. The
 * helpdesk blocks and unblocks, never an admin's device, and unblocks only what it blocked. Blocking ends every session on it and stands as a lock, until it is unblocked.
 */

import { z } from 'zod'
import { isReason } from '../../administration/access-orders.ts'
import type { Asker } from '../../administration/asker.ts'
import { areDeviceTags, parseDeviceDefinition } from '../../administration/device-definition.ts'
import { type DeviceList, listedOf } from '../../administration/device-list.ts'
import type { DeviceProtection } from '../../administration/device-protection.ts'
import type { DeviceRecord, Devices, RegistrationProblem } from '../../administration/devices.ts'
import type { PeopleDirectory } from '../../administration/people-directory.ts'
import type { TrailWindow } from '../../administration/trail-window.ts'
import { deviceIdText, deviceStatement, deviceSummary, stateDeviceRecord, summariseDevice } from './devices-schemas.ts'
import { defineOperation, done, type Refused, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant, toInstantOrNull } from './paging.ts'
import { decisionsOutput, recentDecisions } from './people-decisions.ts'
import {
  asOf,
  firstReadingMs,
  isHeldBack,
  type OpenConnectionsCount,
  type RecordFirst,
  reasonText,
  refText,
  refusedForAdmin,
} from './people-schemas.ts'

export interface DevicesOperationsPorts {
  readonly devices: Devices
  readonly list: Pick<DeviceList, 'find' | 'state' | 'tags' | 'ready'>
  readonly directory: Pick<PeopleDirectory, 'usersOf' | 'ready'>
  readonly protection: DeviceProtection
  readonly trail: Pick<TrailWindow, 'recentDecisions' | 'search'>
  readonly connections: OpenConnectionsCount
  /** The strictest `reported_within` of the policy in force, in seconds; its default where no rule asks. */
  readonly oldestReportSeconds: () => number
  readonly recordFirst: RecordFirst
  readonly now: () => number
}

const mostUsers = 50
const mostEvents = 20
const mostTags = 50
const deviceEvents = ['registered', 'imported', 'blocked', 'unblocked', 'tagged', 'removed', 'reported'].map((what) => `device.${what}`)
const line = z.string().max(254)

/** The operations on devices. */
export function createDevicesOperations(ports: DevicesOperationsPorts) {
  const { connections, devices, directory, list, now, protection, recordFirst, trail } = ports

  async function mayTouch(asker: Asker, record: DeviceRecord): Promise<boolean> {
    return !isHeldBack(asker) || !(await protection.isProtectedDevice(record))
  }

  async function historyOf(id: string) {
    // Blocks, reports and tags are the inventory's own story; what was decided on the device is beside it.
    const found = await trail.search({ device: id, events: deviceEvents }, { limit: mostEvents })
    return found.entries.map(({ at, event, fields }) => {
      const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : null)
      return { at: toInstant(at), event, actor: text('actor') ?? '', reason: text('reason') }
    })
  }

  return {
    list: defineOperation({
      id: 'devices.list',
      summary: 'Look through the inventory',
      description: 'In the order of names. That it was asked is recorded before it is answered.',
      method: 'GET',
      path: '/devices',
      permission: 'devices:read',
      input: z.strictObject({
        q: z.string().max(200).optional().meta({ description: 'Words, all of which stand in id, name, owner or serial number.' }),
        status: z.enum(['active', 'blocked']).optional(),
        tag: z.string().max(64).optional(),
        stale: z.enum(['true', 'false']).optional().meta({ description: '`true`: only those whose last report no rule accepts any more.' }),
        ...pageInput,
      }),
      output: pageOf(deviceSummary).extend({ ...asOf, tags: z.array(z.string()).meta({ description: 'The most frequent tags.' }) }),
      problems: [],
      async carryOut({ after, limit, q, stale, status, tag }, asker) {
        await list.ready(firstReadingMs)
        const silentForMs = stale === 'true' ? ports.oldestReportSeconds() * 1000 : undefined
        const found = list.find({ text: q, status, tag, silentForMs, after, limit })
        const target = [q, tag].filter((one) => one !== undefined && one !== '').join(' ') || undefined
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'devices', target, entries: found.entries.length })
        const { isCut, readAt } = list.state()
        return done({
          entries: found.entries.map(summariseDevice),
          next: found.next ?? null,
          total: found.total,
          read_at: toInstantOrNull(readAt),
          is_cut: isCut,
          tags: list.tags(mostTags).map((one) => one.tag),
        })
      },
    }),

    get: defineOperation({
      id: 'devices.get',
      summary: 'One device: posture, who uses it, what happened to it',
      description: 'Each attribute with its source and age. That it was looked at is recorded before it is answered.',
      method: 'GET',
      path: '/devices/{id}',
      permission: 'devices:read',
      input: z.strictObject({ id: deviceIdText }),
      output: deviceStatement.extend({
        may_act: z.boolean().meta({ description: 'Whether whoever asks may block or unblock it.' }),
        users: z.array(
          z.strictObject({
            ref: refText,
            sub: z.string(),
            email: z.string().nullable(),
            name: z.string().nullable(),
            sessions: z.int(),
            last_used_at: instantText.nullable(),
          }),
        ),
        history: z.array(z.strictObject({ at: instantText, event: z.string(), actor: z.string(), reason: z.string().nullable() })),
        decisions: decisionsOutput,
      }),
      problems: ['device_unknown'],
      async carryOut({ id }, asker) {
        const record = await devices.find(id)
        if (record === undefined) return unknown()
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'device', target: id, entries: undefined })
        await directory.ready(firstReadingMs)
        const users = directory.usersOf([record.id, ...record.names, ...record.fingerprints]).slice(0, mostUsers)
        const [mayAct, history, decisions] = await Promise.all([
          // Going through everybody is for the act itself; to show a button or not, those who use it now are asked.
          Promise.resolve(!isHeldBack(asker) || !(isBlockedByOthers(record) || users.some((user) => user.isProtected))),
          historyOf(id),
          recentDecisions(trail, { device: id }, asker),
        ])
        const summary = summariseDevice(listedOf(record))
        return done({
          ...stateDeviceRecord(record, summary, { now: now(), oldestReportSeconds: ports.oldestReportSeconds() }),
          may_act: mayAct,
          users: users.map(({ email, lastUsedAt, name, ref, sessions, sub }) => ({
            ...{ ref, sub, email: email ?? null, name: name ?? null, sessions, last_used_at: toInstantOrNull(lastUsedAt) },
          })),
          history,
          decisions,
        })
      },
    }),

    register: defineOperation({
      id: 'devices.register',
      summary: 'Register a device',
      description: 'From then on rules know it by its certificate, its name in claims, or its key. What identifies it identifies no other.',
      method: 'POST',
      path: '/devices',
      permission: 'devices:write',
      input: z.strictObject({
        id: z.string().max(64),
        name: line.optional(),
        owner: line.optional().meta({ description: 'An e-mail address; it gives nobody anything.' }),
        serial: line.optional(),
        tags: z.array(z.string().max(64)).max(32).optional(),
        fingerprints: z.array(z.string().max(128)).max(8).optional(),
        names: z.array(line).max(16).optional(),
        public_key: z.string().max(8_192).optional().meta({ description: 'PEM or JWK of the key that signs its reports.' }),
      }),
      output: deviceSummary,
      problems: ['invalid_order', 'conflict'],
      async carryOut({ public_key: publicKey, ...input }, asker) {
        const definition = parseDeviceDefinition({ ...input, publicKey })
        if ('problems' in definition) {
          return refused('invalid_order', sentenceOf(definition.problems), { problems: [...definition.problems] })
        }
        const problems = await devices.register(definition, asker.actor)
        if (problems.length > 0) {
          const words = problems.map(wordsOf)
          return refused('conflict', sentenceOf(words), { problems: words })
        }
        const record = await devices.find(definition.id)
        return record === undefined ? unknown() : done(summariseDevice(listedOf(record)))
      },
    }),

    block: defineOperation({
      id: 'devices.block',
      summary: 'Block a device',
      description: 'Ends every session on it, cuts what is open, and refuses whatever comes from it until it is unblocked.',
      method: 'POST',
      path: '/devices/{id}/block',
      permission: 'devices:block',
      input: z.strictObject({ id: deviceIdText, reason: reasonText }),
      output: z.strictObject({
        id: z.string(),
        status: z.literal('blocked'),
        connections: z.int().nullable().meta({ description: 'Open connections that are being closed; null: nobody could say in time.' }),
      }),
      problems: ['device_unknown', 'invalid_order', 'target_protected'],
      async carryOut({ id, reason }, asker) {
        if (!isReason(reason)) return refused('invalid_order', 'A reason is one line of at most 500 characters.')
        const record = await devices.find(id)
        if (record === undefined) return unknown()
        if (!(await mayTouch(asker, record))) return refusedForAdmin('This is the device of an admin.')
        const open = await connections.countOpen({ device: id }).catch(() => undefined)
        if (!(await devices.block(id, reason.trim(), asker.actor, { isByHelpdesk: isHeldBack(asker) }))) return unknown()
        return done({ id, status: 'blocked' as const, connections: open ?? null })
      },
    }),

    unblock: defineOperation({
      id: 'devices.unblock',
      summary: 'Let a blocked device in again',
      description: 'What was known of it counts again as far as it is new enough; its people sign in anew.',
      method: 'POST',
      path: '/devices/{id}/unblock',
      permission: 'devices:block',
      input: z.strictObject({ id: deviceIdText }),
      output: z.strictObject({ id: z.string(), status: z.literal('active') }),
      problems: ['device_unknown', 'target_protected'],
      async carryOut({ id }, asker) {
        const record = await devices.find(id)
        if (record === undefined) return unknown()
        if (!(await mayTouch(asker, record))) return refusedForAdmin('This is the device of an admin.')
        const outcome = await devices.unblock(id, asker.actor, { isByHelpdesk: isHeldBack(asker) })
        if (outcome === 'not_theirs')
          return refused('target_protected', 'This device was not blocked by the helpdesk: only an admin unblocks it; ask one.')
        return outcome ? done({ id, status: 'active' as const }) : unknown()
      },
    }),

    tag: defineOperation({
      id: 'devices.tag',
      summary: 'Replace the tags of a device',
      description: 'Rules look at tags: this gives and takes access from the next request on.',
      method: 'PUT',
      path: '/devices/{id}/tags',
      permission: 'devices:write',
      input: z.strictObject({ id: deviceIdText, tags: z.array(z.string().max(64)).max(32) }),
      output: z.strictObject({ id: z.string(), tags: z.array(z.string()) }),
      problems: ['device_unknown', 'invalid_order'],
      async carryOut({ id, tags }, asker) {
        const unique = [...new Set(tags)]
        if (!areDeviceTags(unique)) {
          return refused('invalid_order', 'A tag is a word of letters, digits, “.”, “_” and “-”; at most 32 of them.')
        }
        return (await devices.setTags(id, unique, asker.actor)) ? done({ id, tags: unique }) : unknown()
      },
    }),

    remove: defineOperation({
      id: 'devices.remove',
      summary: 'Take a device out of the inventory',
      description:
        'Forgets it and all that was heard of it. Rules that ask for a known device refuse it from then on; a block goes with it.',
      method: 'DELETE',
      path: '/devices/{id}',
      permission: 'devices:write',
      input: z.strictObject({ id: deviceIdText }),
      output: z.strictObject({ id: z.string(), removed: z.literal(true) }),
      problems: ['device_unknown'],
      carryOut: async ({ id }, asker) => ((await devices.remove(id, asker.actor)) ? done({ id, removed: true as const }) : unknown()),
    }),
  }
}

export type DevicesOperations = ReturnType<typeof createDevicesOperations>

/** A block that the helpdesk does not lift. */
function isBlockedByOthers({ status }: DeviceRecord): boolean {
  return status.state === 'blocked' && status.isByHelpdesk !== true
}

function unknown(): Refused {
  return refused('device_unknown', 'The inventory has no such device.')
}

function wordsOf(problem: RegistrationProblem): string {
  if (problem.problem === 'exists') return 'there is a device of this id already'
  const what = { fingerprint: 'certificate', name: 'certificate name', serial: 'serial number', key: 'key' }[problem.what]
  return `this ${what} identifies ${problem.by} already`
}

function sentenceOf(problems: readonly string[]): string {
  const text = problems.join('; ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}
