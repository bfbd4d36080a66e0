/**
 * Which instances run: each says so every five seconds, and is forgotten fifteen seconds after the last time.
 *
 * A record in the store, sealed like any other, under a key that is made new at each start: two processes of one machine are two instances,
 * and one that was started again is not the one that was killed. Names are for people and may be equal; then a piece of the key tells
 * them apart. It decides nothing: whether an instance serves is the business of whoever sends it requests.
 */

import { randomBytes } from 'node:crypto'
import type { Logger } from '../log.ts'
import type { SealedRecords } from '../session/sealed-records.ts'
import type { SessionStore } from '../session/store.ts'

/** An instance as it says of itself. */
export interface RegisteredInstance {
  /** Of this start. */
  readonly key: string
  /** Unique among those that are listed together. */
  readonly name: string
  readonly startedAt: number
  readonly version: string
  readonly policyVersion: string
}

/** Those that run, as far as one question goes. */
export interface RegisteredInstances {
  readonly instances: readonly RegisteredInstance[]
  /** How many more there are. */
  readonly beyond: number
}

/** The registry, as one instance has it. Every method rejects with `session_store_unavailable` when the store does. */
export interface InstanceRegistry {
  /** This one's. */
  readonly key: string
  /** Those that were heard of in the last 15 seconds, this one among them, in the order of their names. */
  list(): Promise<RegisteredInstances>
  /** Stops saying that it runs, and takes this instance out at once. */
  close(): Promise<void>
}

export interface InstanceRegistryParts {
  readonly store: Pick<SessionStore, 'loadNow' | 'addToIndex' | 'removeFromIndex' | 'loadIndex' | 'removeRecord'>
  readonly records: Pick<SealedRecords, 'create' | 'load' | 'replace'>
  readonly log: Pick<Logger, 'debug'>
  readonly name: string
  readonly startedAt: number
  readonly version: string
  readonly policyVersion: () => string
}

const sayEveryMs = 5_000
const forgottenAfterMs = 15_000
/** More than anybody runs; a bound for what one question reads. */
export const mostInstances = 200
const index = 'instances:all'
const recordName = (key: string) => `instance:${key}`

/** Begins to say so at once, and goes on where the store was away. */
export function createInstanceRegistry(parts: InstanceRegistryParts): InstanceRegistry {
  const { log, name, policyVersion, records, startedAt, store, version } = parts
  const key = randomBytes(16).toString('base64url')
  /** Of the record as this instance wrote it last. */
  let written: number | undefined
  let isClosed = false

  async function say(): Promise<void> {
    const expiresAt = (await store.loadNow()) + forgottenAfterMs
    const value: RegisteredInstance = { key, name, startedAt, version, policyVersion: policyVersion() }
    if (written !== undefined && (await records.replace(recordName(key), { value, version: written, expiresAt }))) written += 1
    else {
      // Never written, or gone because the store was away for too long.
      await records.create(recordName(key), value, expiresAt)
      written = (await records.load(recordName(key)))?.version
    }
    await store.addToIndex(index, key, expiresAt)
  }

  let saying: Promise<void> | undefined
  /** One at a time; who asks meanwhile shares it. */
  function sayOnce(): Promise<void> {
    saying ??= say().finally(() => {
      saying = undefined
    })
    return saying
  }

  const listWritten = () => listRegistered({ store, records }, key)

  const sayQuietly = () =>
    void sayOnce().catch((error: unknown) => {
      // That the store is away is told by everything else that needs it.
      log.debug({ err: error }, 'this instance could not say that it runs; trying again')
    })
  sayQuietly()
  const clock = setInterval(sayQuietly, sayEveryMs).unref()

  return {
    key,
    async list() {
      const listed = await listWritten()
      if (isClosed || listed.instances.some((instance) => instance.key === key)) return listed
      await sayOnce()
      return await listWritten()
    },
    async close() {
      isClosed = true
      clearInterval(clock)
      await saying?.catch(() => undefined)
      await Promise.all([store.removeRecord(recordName(key)), store.removeFromIndex(index, key)])
    },
  }
}

interface ListParts {
  readonly store: Pick<SessionStore, 'loadIndex'>
  readonly records: Pick<SealedRecords, 'load'>
}

/** Those that were heard of in the last 15 seconds, `own` always among them. Rejects with `session_store_unavailable` when the store does. */
export async function listRegistered({ records, store }: ListParts, own?: string): Promise<RegisteredInstances> {
  const all = await store.loadIndex(index)
  const keys = all.toSorted((a, b) => Number(b === own) - Number(a === own)).slice(0, mostInstances)
  const found = await Promise.all(keys.map((one) => records.load<RegisteredInstance>(recordName(one))))
  const instances = withOwnNames(found.flatMap((record) => (record === undefined ? [] : [record.value])))
  return { instances, beyond: all.length - keys.length }
}

/** Two that have one name get a piece of their keys. */
function withOwnNames(instances: readonly RegisteredInstance[]): readonly RegisteredInstance[] {
  const counts = new Map<string, number>()
  for (const { name } of instances) counts.set(name, (counts.get(name) ?? 0) + 1)
  return instances
    .map((instance) =>
      (counts.get(instance.name) ?? 0) > 1 ? { ...instance, name: `${instance.name} #${instance.key.slice(0, 4)}` } : instance,
    )
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}
