/**
 * The inventory of one instance's memory, sorted for looking through: what a list shows of each device, and nothing that identifies one.
 *
 * Read in the background, kept up by what instances tell each other, read again every few minutes while somebody looks. It is for finding and
 * showing; a device's own page, and whoever acts on a device, ask the store.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Live, LiveEvent } from '../live/live.ts'
import type { Logger } from '../log.ts'
import { hashOf } from '../session/secret.ts'
import type { DeviceRecord, Devices } from './devices.ts'
import { createSorted, type Found, type Keyed, wordsOf } from './people-directory-index.ts'
import { createWholeReading } from './whole-reading.ts'

/** A device as lists show it. */
export interface ListedDevice {
  readonly id: string
  readonly name: string
  readonly owner: string | undefined
  readonly serial: string | undefined
  readonly tags: readonly string[]
  readonly isBlocked: boolean
  /** As last heard, by the device itself or a management system; `undefined`: never. */
  readonly reportedAt: number | undefined
  /** The system that it last said it runs, such as `macos`. */
  readonly os: string | undefined
  readonly registeredAt: number
}

export interface DeviceQuery {
  /** Words, all of which stand in id, name, owner or serial number. */
  readonly text: string | undefined
  readonly status: 'active' | 'blocked' | undefined
  readonly tag: string | undefined
  /** Only those of which nothing was heard for so long. */
  readonly silentForMs: number | undefined
  readonly after: string | undefined
  readonly limit: number
}

export interface DeviceListState {
  readonly readAt: number | undefined
  readonly isReading: boolean
  readonly devices: number
  readonly isCut: boolean
}

export interface DeviceList {
  state(): DeviceListState
  /** Resolves when everything was read once, and after `withinMs` at the latest. */
  ready(withinMs: number): Promise<void>
  find(query: DeviceQuery): Found<ListedDevice>
  /** Every tag there is, the most frequent first, at most `limit`. */
  tags(limit: number): readonly { readonly tag: string; readonly devices: number }[]
  /** Devices whose owner this is, in any case of letters; at most `limit`. */
  ownedBy(owner: string, limit: number): readonly ListedDevice[]
  refresh(): Promise<void>
  close(): Promise<void>
}

export interface DeviceListParts {
  readonly devices: Pick<Devices, 'list' | 'find'>
  readonly live: Pick<Live, 'listen'>
  readonly now: () => number
  readonly log: Pick<Logger, 'warn'>
  readonly most?: number
  readonly refreshMs?: number
}

const mostByDefault = 50_000
const refreshMsByDefault = 5 * 60_000
const watchedForMs = 15 * 60_000

interface Memory {
  readonly byId: Map<string, Keyed<ListedDevice>>
  readonly idsByHash: Map<string, string>
  readonly sorted: ReturnType<typeof createSorted<ListedDevice>>
  isCut: boolean
}

/** The list of one instance; it begins to read with the first question. */
export function createDeviceList({
  devices,
  live,
  log,
  most = mostByDefault,
  now,
  refreshMs = refreshMsByDefault,
}: DeviceListParts): DeviceList {
  let memory = emptyMemory()
  let readAt: number | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let isClosed = false
  const running = new Set<Promise<void>>()
  /** Hashes that were told of while everything was being read. */
  let missed: Set<string> | undefined

  function remove(id: string): void {
    const known = memory.byId.get(id)
    if (known === undefined) return
    memory.byId.delete(id)
    memory.sorted.remove(known)
  }

  function add(into: Memory, entry: ListedDevice): void {
    if (into.byId.size >= most) {
      into.isCut = true
      return
    }
    const text = [entry.id, entry.name, entry.owner, entry.serial].map((part) => (part ?? '').toLowerCase()).join('\n')
    const keyed = { key: `${entry.name.toLowerCase()}\n${entry.id}`, text, entry }
    into.byId.set(entry.id, keyed)
    into.idsByHash.set(hashOf(entry.id), entry.id)
    into.sorted.add(keyed)
  }

  async function readAll(): Promise<void> {
    const fresh = emptyMemory()
    missed = new Set()
    if (readAt === undefined) memory = fresh
    const begunAt = now()
    try {
      for await (const record of devices.list()) {
        if (isClosed) return
        add(fresh, listedOf(record))
      }
    } finally {
      // A record that does not open leaves the others there; the store says which in the log.
      memory = fresh
    }
    readAt = begunAt
    const news = missed
    missed = undefined
    for (const hash of news) hearOf(hash)
  }

  const reading = createWholeReading({
    read: readAll,
    isClosed: () => isClosed,
    onFailure: (error) => log.warn({ err: error }, 'the inventory could not be read whole for the console; it will be again'),
    onEnd: () => {
      missed = undefined
    },
  })

  async function readOne(id: string): Promise<void> {
    const record = await devices.find(id)
    remove(id)
    if (record !== undefined) add(memory, listedOf(record))
  }

  function hearOf(hash: string): void {
    const id = memory.idsByHash.get(hash)
    // One that is new here has no name yet: its hash says nothing, so the inventory is read.
    const settled = (id === undefined ? reading.again() : readOne(id))
      .catch((error: unknown) => log.warn({ err: error }, 'a device could not be read for the console; it will be with all others'))
      .finally(() => running.delete(settled))
    running.add(settled)
  }

  function hear(event: LiveEvent): void {
    if (event.kind === 'regained' && readAt !== undefined) readAt = Math.min(readAt, now() - refreshMs)
    if (event.kind !== 'device_changed') return
    if (missed !== undefined) missed.add(event.deviceHash)
    else if (readAt !== undefined) hearOf(event.deviceHash)
  }

  function noteQuestion(): void {
    askedAt = now()
    if (readAt === undefined || now() - readAt >= refreshMs) void reading.once()
  }

  const stopListening = live.listen(hear)
  const timer = setInterval(() => {
    if (now() - askedAt < watchedForMs) void reading.once()
  }, refreshMs)
  timer.unref()

  return {
    state: () => ({ readAt, isReading: reading.underWay() !== undefined, devices: memory.byId.size, isCut: memory.isCut }),
    async ready(withinMs) {
      noteQuestion()
      if (readAt === undefined) await Promise.race([reading.underWay(), pause(withinMs, undefined, { ref: false })])
    },
    find({ after, limit, silentForMs, status, tag, text }) {
      noteQuestion()
      const words = wordsOf(text)
      const heardBefore = silentForMs === undefined ? undefined : now() - silentForMs
      return memory.sorted.page(after, limit, ({ entry, text: own }) => {
        if (status !== undefined && entry.isBlocked !== (status === 'blocked')) return false
        if (tag !== undefined && !entry.tags.includes(tag)) return false
        if (heardBefore !== undefined && entry.reportedAt !== undefined && entry.reportedAt > heardBefore) return false
        return words.every((word) => own.includes(word))
      })
    },
    tags(limit) {
      noteQuestion()
      const counts = new Map<string, number>()
      for (const { entry } of memory.byId.values()) for (const tag of entry.tags) counts.set(tag, (counts.get(tag) ?? 0) + 1)
      return [...counts]
        .map(([tag, count]) => ({ tag, devices: count }))
        .sort((a, b) => b.devices - a.devices || (a.tag < b.tag ? -1 : 1))
        .slice(0, limit)
    },
    ownedBy(owner, limit) {
      noteQuestion()
      const wanted = owner.toLowerCase()
      const owned = [...memory.byId.values()].filter(({ entry }) => entry.owner?.toLowerCase() === wanted)
      return owned.slice(0, limit).map(({ entry }) => entry)
    },
    refresh: reading.again,
    async close() {
      isClosed = true
      clearInterval(timer)
      stopListening()
      await Promise.all([reading.settled(), ...running])
    },
  }
}

function emptyMemory(): Memory {
  return { byId: new Map(), idsByHash: new Map(), sorted: createSorted<ListedDevice>(), isCut: false }
}

/** What a list shows of a record. */
export function listedOf({
  id,
  lastManagementReportAt,
  lastReport,
  name,
  owner,
  registeredAt,
  reported,
  serial,
  status,
  tags,
}: DeviceRecord) {
  const heard = [lastReport?.receivedAt, lastManagementReportAt].filter((at) => at !== undefined)
  const systems = [reported.report['os'], reported.management['os']].filter((one) => one !== undefined)
  const newest = systems.sort((a, b) => b.at - a.at)[0]?.value
  return {
    id,
    name,
    owner,
    serial,
    tags,
    isBlocked: status.state === 'blocked',
    reportedAt: heard.length === 0 ? undefined : Math.max(...heard),
    os: typeof newest === 'string' ? newest : undefined,
    registeredAt,
  } satisfies ListedDevice
}
