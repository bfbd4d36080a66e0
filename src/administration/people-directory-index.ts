/**
 * What one instance remembers of people and their sessions, sorted for looking through: names, groups and times, and never a claim or a token.
 *
 * In memory and bounded; it is for finding and showing, and nothing is decided by it. People stand in the order of their addresses, sessions
 * newest use first; a page begins after a place in that order, so that what comes and goes between two pages moves nothing else.
 */

/** Somebody who has signed in here, as last seen. */
export interface PersonEntry {
  readonly ref: string
  readonly issuer: string
  readonly sub: string
  /** As ends name the person. */
  readonly subjectHash: string
  readonly email: string | undefined
  readonly name: string | undefined
  /** `undefined`: the provider did not say. */
  readonly groups: readonly string[] | undefined
  readonly seenAt: number
  /** Holds the role `admin`, or may. For showing; whoever acts asks `ProtectedPeople`. */
  readonly isProtected: boolean
}

/** A live session, when it was read. */
export interface SessionEntry {
  readonly id: string
  readonly hash: string
  /** Of its person. */
  readonly ref: string
  readonly providerSidHash: string | undefined
  readonly startedAt: number
  readonly lastUsedAt: number
  readonly address: string
  readonly userAgent: string
  /** By what a device is recognised: fingerprint and names of its certificate, else what claims name it. Lower-case. */
  readonly devices: readonly string[]
  /** Origins that it was let into, as hashes. */
  readonly origins: readonly string[]
}

/** A page of a list, and how many there are in all. */
export interface Found<T> {
  readonly entries: readonly T[]
  /** Where the next page begins; `undefined` at the end. */
  readonly next: string | undefined
  readonly total: number
}

export interface PeopleQuery {
  /** Words, all of which stand in address, name or `sub`, in any case of letters. */
  readonly text: string | undefined
  /** How a group of theirs begins. */
  readonly group: string | undefined
  readonly after: string | undefined
  readonly limit: number
}

export interface SessionsQuery {
  /** Words, all of which stand in address, name or `sub` of the person. */
  readonly text: string | undefined
  /** How the network address begins. */
  readonly address: string | undefined
  /** What stands in a name of the device. */
  readonly device: string | undefined
  /** Hash of the app's origin. */
  readonly origin: string | undefined
  readonly after: string | undefined
  readonly limit: number
}

/** Beyond these the rest is left out, and the page says so. */
export interface DirectoryBounds {
  readonly people: number
  readonly sessions: number
}

/** An entry with its place, and the text that it is found by. */
export interface Keyed<T> {
  readonly key: string
  readonly text: string
  readonly entry: T
}

/** The memory. Every method is synchronous; the largest look through 50,000 entries is a few milliseconds. */
export interface PeopleIndex {
  setPerson(person: PersonEntry): void
  setSession(session: SessionEntry): void
  removeSession(hash: string): void
  findPerson(ref: string): PersonEntry | undefined
  /** The person's, newest use first. */
  sessionsOf(ref: string): readonly SessionEntry[]
  /** Ends as the store tells of them. */
  end(end: { readonly kind: string; readonly idHash: string; readonly at: number }): void
  /** Of sessions whose device goes by any of these names. */
  sessionsOn(names: ReadonlySet<string>): readonly SessionEntry[]
  people(query: PeopleQuery): Found<PersonEntry>
  sessions(query: SessionsQuery): Found<SessionEntry>
  counts(): { readonly people: number; readonly sessions: number; readonly isCut: boolean }
}

/** An empty memory. */
export function createPeopleIndex(bounds: DirectoryBounds): PeopleIndex {
  const people = new Map<string, Keyed<PersonEntry>>()
  const sessions = new Map<string, Keyed<SessionEntry>>()
  const sessionsByRef = new Map<string, Set<string>>()
  const refsBySubject = new Map<string, string>()
  const sortedPeople = createSorted<PersonEntry>()
  const sortedSessions = createSorted<SessionEntry>()
  let isCut = false

  function removeSession(hash: string): void {
    const known = sessions.get(hash)
    if (known === undefined) return
    sessions.delete(hash)
    sortedSessions.remove(known)
    const own = sessionsByRef.get(known.entry.ref)
    own?.delete(hash)
    if (own?.size === 0) sessionsByRef.delete(known.entry.ref)
  }

  const sessionsOf = (ref: string) =>
    [...(sessionsByRef.get(ref) ?? [])].flatMap((hash) => sessions.get(hash)?.entry ?? []).sort((a, b) => b.lastUsedAt - a.lastUsedAt)

  return {
    setPerson(entry) {
      const before = people.get(entry.ref)
      if (before === undefined && people.size >= bounds.people) {
        isCut = true
        return
      }
      if (before !== undefined) sortedPeople.remove(before)
      const text = [entry.email, entry.name, entry.sub].map((part) => (part ?? '').toLowerCase()).join('\n')
      const keyed = { key: `${entry.email ?? entry.name ?? entry.sub}\n`.toLowerCase() + entry.ref, text, entry }
      people.set(entry.ref, keyed)
      refsBySubject.set(entry.subjectHash, entry.ref)
      sortedPeople.add(keyed)
    },
    setSession(entry) {
      removeSession(entry.hash)
      if (sessions.size >= bounds.sessions) {
        isCut = true
        return
      }
      // Newest first in the order of text: what is left until the end of time.
      const key = `${String(Number.MAX_SAFE_INTEGER - Math.floor(entry.lastUsedAt)).padStart(16, '0')}${entry.hash}`
      const keyed = { key, text: entry.devices.join('\n'), entry }
      sessions.set(entry.hash, keyed)
      sortedSessions.add(keyed)
      const own = sessionsByRef.get(entry.ref)
      if (own === undefined) sessionsByRef.set(entry.ref, new Set([entry.hash]))
      else own.add(entry.hash)
    },
    removeSession,
    findPerson: (ref) => people.get(ref)?.entry,
    sessionsOf,
    end({ at, idHash, kind }) {
      if (kind === 'session') return removeSession(idHash)
      if (kind === 'subject') {
        const ref = refsBySubject.get(idHash)
        for (const session of ref === undefined ? [] : sessionsOf(ref)) if (session.startedAt <= at) removeSession(session.hash)
      } else if (kind === 'provider_sid') {
        for (const { entry } of [...sessions.values()]) {
          if (entry.providerSidHash === idHash && entry.startedAt <= at) removeSession(entry.hash)
        }
      }
    },
    sessionsOn: (names) => [...sessions.values()].flatMap(({ entry }) => (entry.devices.some((name) => names.has(name)) ? [entry] : [])),
    people({ after, group, limit, text }) {
      const words = wordsOf(text)
      const begin = group?.toLowerCase()
      return sortedPeople.page(after, limit, ({ entry, text: own }) => {
        if (!words.every((word) => own.includes(word))) return false
        return begin === undefined || entry.groups?.some((name) => name.toLowerCase().startsWith(begin)) === true
      })
    },
    sessions({ address, after, device, limit, origin, text }) {
      const words = wordsOf(text)
      const part = device?.toLowerCase()
      return sortedSessions.page(after, limit, ({ entry, text: own }) => {
        if (address !== undefined && !entry.address.startsWith(address)) return false
        if (part !== undefined && !own.includes(part)) return false
        if (origin !== undefined && !entry.origins.includes(origin)) return false
        if (words.length === 0) return true
        const whose = people.get(entry.ref)?.text ?? ''
        return words.every((word) => whose.includes(word))
      })
    },
    counts: () => ({ people: people.size, sessions: sessions.size, isCut }),
  }
}

/** The words of a question, lower-case; more than eight ask for nothing else. */
export function wordsOf(text: string | undefined): readonly string[] {
  return (text ?? '')
    .toLowerCase()
    .split(/\s+/u)
    .filter((word) => word !== '')
    .slice(0, 8)
}

/** Entries in the order of their keys; each key is one entry's. Pages of it begin after a place, named by an opaque cursor. */
export function createSorted<T>() {
  const list: Keyed<T>[] = []

  /** The place of the first entry whose key is not below. */
  function placeOf(key: string): number {
    let [low, high] = [0, list.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((list[middle]?.key ?? '') < key) low = middle + 1
      else high = middle
    }
    return low
  }

  return {
    add: (keyed: Keyed<T>) => void list.splice(placeOf(keyed.key), 0, keyed),
    remove(keyed: Keyed<T>): void {
      const at = placeOf(keyed.key)
      if (list[at] === keyed) list.splice(at, 1)
    },
    /** The cursor is a stranger's word: one of nothing is a place in the order all the same. */
    page(after: string | undefined, limit: number, isWanted: (keyed: Keyed<T>) => boolean): Found<T> {
      const afterKey = after === undefined ? undefined : Buffer.from(after, 'base64url').toString('utf8')
      const wanted = list.filter(isWanted)
      const from = afterKey === undefined ? 0 : wanted.findIndex(({ key }) => key > afterKey)
      const page = from === -1 ? [] : wanted.slice(from, from + limit)
      const last = page.at(-1)
      const isMore = last !== undefined && wanted.at(-1) !== last
      const next = isMore ? Buffer.from(last.key, 'utf8').toString('base64url') : undefined
      return { entries: page.map(({ entry }) => entry), next, total: wanted.length }
    },
  }
}
