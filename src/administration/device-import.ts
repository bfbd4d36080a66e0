/**
 * Takes a whole list of devices into the inventory, or nothing of it.
 *
 * Everything is checked before anything is written: rows against each other, then each against the inventory. A row that is in the inventory
 * exactly so is left alone, so that a list can be imported again after it was mended or after a store went away in the middle of it.
 * If something still comes between (another administrator, a lost store), what this import added is taken back.
 */

import type { LineProblem } from './device-csv.ts'
import type { DeviceDefinition } from './device-definition.ts'
import { type AliasKind, aliasesOf, type DeviceRecord, type Devices, type RegistrationProblem } from './devices.ts'

export interface ImportRow {
  readonly line: number
  readonly definition: DeviceDefinition
}

export type ImportOutcome =
  | { readonly outcome: 'imported'; readonly added: number; readonly unchanged: number }
  | { readonly outcome: 'refused'; readonly problems: readonly LineProblem[] }

/** Enough to keep a store busy, few enough that requests have it too. */
const atOnce = 16

/** Imports all rows, or none. Rejects with `session_store_unavailable`; then, too, nothing of it stays that could be taken back. */
export async function importDevices(devices: Devices, rows: readonly ImportRow[], actor: string): Promise<ImportOutcome> {
  const problems = [...findClashes(rows)]
  const wanted: ImportRow[] = []
  await inBatches(rows, async (row) => {
    const present = await devices.find(row.definition.id)
    if (present !== undefined && isSame(present, row.definition)) return
    wanted.push(row)
    for (const problem of await devices.findProblems(row.definition))
      problems.push({ line: row.line, problem: describeRegistrationProblem(problem) })
  })
  if (problems.length > 0) return { outcome: 'refused', problems: problems.sort((one, other) => one.line - other.line) }

  const added: string[] = []
  const late: LineProblem[] = []
  try {
    await inBatches(wanted, async ({ definition, line }) => {
      if (late.length > 0) return
      const found = await devices.register(definition, actor, 'device.imported')
      if (found.length === 0) added.push(definition.id)
      for (const problem of found) late.push({ line, problem: describeRegistrationProblem(problem) })
    })
  } catch (error) {
    // The store is away, most likely for this as well; then the next import leaves alone what is there.
    await inBatches(added, (id) => devices.remove(id, actor)).catch(() => undefined)
    throw error
  }
  if (late.length === 0) return { outcome: 'imported', added: added.length, unchanged: rows.length - wanted.length }
  await inBatches(added, (id) => devices.remove(id, actor))
  return { outcome: 'refused', problems: late }
}

/** Why a device was not registered, in words for an administrator. */
export function describeRegistrationProblem(problem: RegistrationProblem): string {
  if (problem.problem === 'exists') return 'a device with this id is in the inventory already'
  return `${aliasWords[problem.what]} ${problem.value} belongs to ${problem.by}`
}

const aliasWords: Readonly<Record<AliasKind, string>> = {
  fingerprint: 'the fingerprint',
  name: 'the certificate name',
  serial: 'the serial number',
  key: 'the public key with the thumbprint',
}

/** Rows that claim the same, each with the row that claims it first. */
function* findClashes(rows: readonly ImportRow[]): Iterable<LineProblem> {
  const claimed = new Map<string, number>()
  for (const { definition, line } of rows) {
    const claims = [
      // An id is a name as well: a claim may mean either.
      { key: `name ${definition.id}`, words: `the id ${definition.id}` },
      ...aliasesOf(definition).map(({ kind, value }) => ({ key: `${kind} ${value}`, words: `${aliasWords[kind]} ${value}` })),
    ]
    for (const { key, words } of claims) {
      const first = claimed.get(key)
      if (first === undefined) claimed.set(key, line)
      else if (first !== line) yield { line, problem: `${words} stands in line ${first} as well` }
    }
  }
}

function isSame(record: DeviceRecord, definition: DeviceDefinition): boolean {
  const entered = Object.entries(record.entered).map(([name, { value }]) => [name, value] as const)
  const ofRecord = [record.name, record.serial, record.owner, record.tags, record.fingerprints, record.names, record.key?.thumbprint]
  const { name, serial, owner, tags, fingerprints, names, key, attributes } = definition
  const ofDefinition = [name, serial, owner, tags, fingerprints, names, key?.thumbprint]
  return JSON.stringify([ofRecord, sorted(entered)]) === JSON.stringify([ofDefinition, sorted(Object.entries(attributes))])
}

function sorted<T>(entries: readonly (readonly [string, T])[]): readonly (readonly [string, T])[] {
  return entries.toSorted(([one], [other]) => (one < other ? -1 : 1))
}

/** The batch under way is finished even if one of it fails, so that what was added is known. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += atOnce) {
    const results = await Promise.allSettled(items.slice(at, at + atOnce).map(work))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}
