/** Putting revisions back where something fails on the way, or the store holds what does not open: nobody's number leads elsewhere for it. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestRing, openEmbeddedPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { openHistory, publicationOf } from './policy.fixture.ts'
import type { Revision } from './policy-history.ts'
import { createRevisionRestoring } from './policy-restoring.ts'

const ring = createTestRing()
let place: StorePlace
let known: readonly Revision[]
beforeEach(async () => {
  const lost = await openEmbeddedPlace()
  known = await publishAll(lost, ['first', 'second', 'third'])
  await lost.close()
  place = await openEmbeddedPlace()
})
afterEach(() => place.close())

async function publishAll(at: StorePlace, texts: readonly string[], from = 0): Promise<readonly Revision[]> {
  const { revisions } = openHistory(at, { keys: ring })
  for (const [index, text] of texts.entries()) {
    expect(await revisions.publish(publicationOf(text, from + index))).toMatchObject({ outcome: 'published' })
  }
  return await loadAll(at)
}

async function loadAll(at: StorePlace): Promise<readonly Revision[]> {
  const { revisions } = openHistory(at, { keys: ring })
  const { number = 0 } = (await revisions.head()) ?? {}
  const loaded: Revision[] = []
  for (let next = 1; next <= number; next += 1) {
    const revision = await revisions.load(next)
    if (revision !== undefined) loaded.push(revision)
  }
  return loaded
}

const commentsOf = (revisions: readonly Revision[]) => revisions.map(({ comment }) => comment)

function restore(change: Partial<SessionStore> = {}) {
  const store = { ...place.store, ...change }
  const restoring = createRevisionRestoring({ store, keys: () => ring, log: silentLog, tell: async () => undefined })
  return restoring.restore(known, async () => true)
}

/** Names and contents of what is in the store. */
async function contents(kind?: string) {
  const found = new Map<string, string>()
  for (const { name, value } of await place.store.listDurable(kind, undefined, 1000)) found.set(name, value.toString('base64'))
  return found
}

async function spoil(kind: string): Promise<number> {
  const records = await place.store.listDurable(kind, undefined, 1000)
  for (const { name, version } of records) await place.store.replaceDurable(name, { value: Buffer.from('of another key'), version })
  return records.length
}

describe('where something fails on the way', () => {
  it.each(['policy_revision:', 'policy_revision_alias:', 'policy_files:'])(
    'such as the third write of %s, all is as it was',
    async (kind) => {
      await publishAll(place, ['other', 'more'])
      const before = await contents()
      let writes = 0
      const createDurable: SessionStore['createDurable'] = async (name, value) => {
        if (name.startsWith(kind) && ++writes === 3) throw new Error('the store went away')
        return await place.store.createDurable(name, value)
      }
      await expect(restore({ createDurable })).rejects.toThrow('went away')
      expect(writes).toBe(kind === 'policy_revision_alias:' ? 5 : 3)
      // What was being written when the store went away is marked as such, and swept by the next publication.
      const lasting = (names: Iterable<string>) =>
        [...names].filter((name) => !name.startsWith('policy_writing:') && !name.startsWith('policy_files:'))
      expect(lasting((await contents()).keys())).toEqual(lasting(before.keys()))
      expect(commentsOf(await publishAll(place, ['later'], 2))).toEqual(['about other', 'about more', 'about later'])
      expect(await restore()).toBe('restored')
      expect(await loadAll(place)).toEqual(known)
    },
  )

  it('and then in taking back as well, each number leads to a whole revision', async () => {
    await publishAll(place, ['other', 'more'])
    let [writes, removals] = [0, 0]
    const store: Partial<SessionStore> = {
      async createDurable(name, value) {
        if (name.startsWith('policy_revision:') && ++writes === 2) throw new Error('the store went away')
        return await place.store.createDurable(name, value)
      },
      async removeDurable(name, version) {
        if (writes === 2 && name.startsWith('policy_revision_alias:') && ++removals === 1) throw new Error('not back yet')
        return await place.store.removeDurable(name, version)
      },
    }
    await expect(restore(store)).rejects.toThrow('went away')
    expect(removals).toBeGreaterThan(0)
    expect(commentsOf(await loadAll(place))).toEqual(['about first', 'about more'])
    expect(await restore()).toBe('restored')
    expect(await loadAll(place)).toEqual(known)
  })

  it('while somebody else put the same back, what their head leads to stays', async () => {
    let writes = 0
    const createDurable: SessionStore['createDurable'] = async (name, value) => {
      if (name.startsWith('policy_revision:') && ++writes === 3) {
        // As if the lock of publications had run out meanwhile.
        expect(await restore({ acquireLock: async () => 'token' })).toBe('restored')
        throw new Error('the store went away')
      }
      return await place.store.createDurable(name, value)
    }
    await expect(restore({ createDurable })).rejects.toThrow('went away')
    expect(await loadAll(place)).toEqual(known)
  })

  it('after the head was moved, what it leads to stays', async () => {
    await publishAll(place, ['other'])
    const replaceDurable: SessionStore['replaceDurable'] = async (name, record) => {
      const isReplaced = await place.store.replaceDurable(name, record)
      if (name.startsWith('policy_head:')) throw new Error('the answer was lost')
      return isReplaced
    }
    await expect(restore({ replaceDurable })).rejects.toThrow('the answer was lost')
    expect(await loadAll(place)).toEqual(known)
  })
})

describe('where the store holds what does not open', () => {
  it.each(['policy_head', 'policy_revision_alias', 'policy_revision', 'policy_files'])(
    'as every record of %s, it is replaced',
    async (kind) => {
      await publishAll(place, ['other', 'more', 'most', 'beyond'])
      expect(await spoil(kind)).toBeGreaterThan(0)
      expect(await restore()).toBe('restored')
      expect(await loadAll(place)).toEqual(known)
      expect(commentsOf(await publishAll(place, ['later'], 3)).at(-1)).toBe('about later')
    },
  )

  it('a head that somebody mended meanwhile is theirs', async () => {
    await publishAll(place, ['other', 'more'])
    const heads = await place.store.listDurable('policy_head', undefined, 10)
    await spoil('policy_head')
    const mend = async () => {
      for (const { name, value } of heads) {
        const now = await place.store.loadDurable(name)
        await place.store.replaceDurable(name, { value, version: now?.version ?? 0 })
      }
    }
    const removeDurable: SessionStore['removeDurable'] = async (name, version) => {
      if (name.startsWith('policy_head:')) await mend()
      return await place.store.removeDurable(name, version)
    }
    expect(await restore({ removeDurable })).toBe('moved_on')
    expect(commentsOf(await loadAll(place))).toEqual(['about other', 'about more'])
  })
})
