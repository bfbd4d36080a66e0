/**
 * Recent activity in memory: a row for each thing that happened, in columns, with every name written once.
 *
 * A hundred thousand rows take some four megabytes and are counted through in a millisecond or two, so nothing is kept counted: a batch that leaves
 * the window takes its rows along, and no number can drift from what it counts. Names that no row has any more go with the next tidying.
 */

import type { ActivityFact, ActivityKind, ActivityPerson, SeenKind, SeenWord } from './activity-lines.ts'

export const activityKinds: readonly ActivityKind[] = ['allowed', 'refused', 'challenged', 'upstream_failed', 'signed_in', 'sign_in_failed']

/** The rows, to be read in a loop. A number 0 stands for none. */
export interface ActivityRows {
  readonly length: number
  readonly at: Float64Array
  /** Place in `activityKinds`. */
  readonly kind: Uint8Array
  readonly app: Uint32Array
  readonly person: Uint32Array
  readonly reason: Uint32Array
  readonly wouldRefuseBy: Uint32Array
  readonly weight: Uint32Array
  readonly batch: Uint32Array
  /** Of refusals. */
  readonly request: readonly (string | undefined)[]
}

export interface ActivityColumns {
  rows(): ActivityRows
  add(fact: ActivityFact, batch: number): void
  addSeen(seen: SeenWord): void
  /** Takes the rows of these batches out. */
  evict(batches: ReadonlySet<number>): void
  /** Of an app, a reason or a rule. */
  word(number: number): string
  person(number: number): ActivityPerson | undefined
  /** Everybody that a row is about. */
  people(): Iterable<ActivityPerson>
  /** Pairs of word and person. */
  seen(kind: SeenKind): Iterable<readonly [value: string, person: number]>
}

/** A word of a person is found by one number. */
const shift = 2 ** 22
/** Of each kind: a bound for what a provider can fill. */
const mostSeen = 200_000

/** Nothing yet. */
export function createActivityColumns(): ActivityColumns {
  let columns = allocate(1_024)
  let length = 0
  const request: (string | undefined)[] = []
  let words = createNames<string>((word) => word)
  let persons = createNames<ActivityPerson>(keyOf)
  let seen = createSeen()

  function numberOf(person: ActivityPerson | undefined): number {
    if (person === undefined) return 0
    const number = persons.add(person)
    // A line of the time before an address was known.
    if (person.email !== undefined && persons.at(number)?.email !== person.email) persons.set(number, person)
    return number
  }

  function evict(batches: ReadonlySet<number>): void {
    const { batch } = columns
    let kept = 0
    for (let i = 0; i < length; i++) {
      if (batches.has(batch[i] ?? 0)) continue
      if (kept !== i) copyRow(columns, request, i, kept)
      kept += 1
    }
    length = kept
    request.length = kept
    tidy()
  }

  /** Writes the names anew: those that a row has. */
  function tidy(): void {
    const [oldWords, oldPersons, oldSeen] = [words, persons, seen]
    words = createNames<string>((word) => word)
    persons = createNames<ActivityPerson>(keyOf)
    const move = <T>(from: Names<T>, to: Names<T>, column: Uint32Array) => {
      for (let i = 0; i < length; i++) {
        const named = from.at(column[i] ?? 0)
        column[i] = named === undefined ? 0 : to.add(named)
      }
    }
    for (const column of [columns.app, columns.reason, columns.wouldRefuseBy]) move(oldWords, words, column)
    move(oldPersons, persons, columns.person)
    seen = createSeen()
    for (const kind of seenKinds) {
      for (const pair of oldSeen[kind]) {
        const person = oldPersons.at(pair % shift)
        const number = person === undefined ? undefined : persons.find(person)
        const word = oldWords.at(Math.floor(pair / shift))
        if (number !== undefined && word !== undefined) seen[kind].add(words.add(word) * shift + number)
      }
    }
  }

  return {
    rows: () => ({ ...columns, length, request }),
    add(fact, batch) {
      if (length === columns.at.length) columns = grow(columns)
      columns.at[length] = fact.at
      columns.kind[length] = activityKinds.indexOf(fact.kind)
      columns.app[length] = fact.app === undefined ? 0 : words.add(fact.app)
      columns.person[length] = numberOf(fact.person)
      columns.reason[length] = fact.reason === undefined ? 0 : words.add(fact.reason)
      columns.wouldRefuseBy[length] = fact.wouldRefuseBy === undefined ? 0 : words.add(fact.wouldRefuseBy)
      columns.weight[length] = fact.weight
      columns.batch[length] = batch
      request[length] = fact.request
      length += 1
    },
    addSeen({ kind, person, value }) {
      if (seen[kind].size < mostSeen) seen[kind].add(words.add(value) * shift + numberOf(person))
    },
    evict,
    word: (number) => words.at(number) ?? '',
    person: (number) => persons.at(number),
    people: () => persons.all(),
    *seen(kind) {
      for (const pair of seen[kind]) yield [words.at(Math.floor(pair / shift)) ?? '', pair % shift] as const
    },
  }
}

const seenKinds: readonly SeenKind[] = ['group', 'acr', 'amr', 'country']

function createSeen(): Readonly<Record<SeenKind, Set<number>>> {
  return { group: new Set(), acr: new Set(), amr: new Set(), country: new Set() }
}

function keyOf({ issuer, sub }: ActivityPerson): string {
  return `${issuer}\n${sub}`
}

type Columns = Omit<ActivityRows, 'length' | 'request'>

function allocate(size: number): Columns {
  return {
    at: new Float64Array(size),
    kind: new Uint8Array(size),
    app: new Uint32Array(size),
    person: new Uint32Array(size),
    reason: new Uint32Array(size),
    wouldRefuseBy: new Uint32Array(size),
    weight: new Uint32Array(size),
    batch: new Uint32Array(size),
  }
}

const columnNames = ['at', 'kind', 'app', 'person', 'reason', 'wouldRefuseBy', 'weight', 'batch'] as const

function grow(columns: Columns): Columns {
  const larger = allocate(columns.at.length * 2)
  for (const name of columnNames) larger[name].set(columns[name])
  return larger
}

function copyRow(columns: Columns, request: (string | undefined)[], from: number, to: number): void {
  for (const name of columnNames) columns[name][to] = columns[name][from] ?? 0
  request[to] = request[from]
}

interface Names<T> {
  add(named: T): number
  find(named: T): number | undefined
  at(number: number): T | undefined
  set(number: number, named: T): void
  all(): Iterable<T>
}

/** Numbers from 1 on. */
function createNames<T>(keyIn: (named: T) => string): Names<T> {
  const numbers = new Map<string, number>()
  const named: T[] = []
  return {
    add(one) {
      const key = keyIn(one)
      const known = numbers.get(key)
      if (known !== undefined) return known
      const number = named.push(one)
      numbers.set(key, number)
      return number
    },
    find: (one) => numbers.get(keyIn(one)),
    at: (number) => named[number - 1],
    set(number, one) {
      named[number - 1] = one
    },
    all: () => named,
  }
}
