/**
 * Service tokens: what a management system shows in place of a browser session, made and revoked by administrators.
 *
 * Of a token the store has its id (hashed), its facts, and SHA-256 of its secret: 256 random bits need no slower hash. `verify` compares in
 * constant time, answers from memory for at most five seconds, and so lets a revoked token in for no longer than that on any instance.
 * Every doubt is `invalid`; a store that does not answer is an error, which is a refusal too. A rotation gives a token another secret and lets
 * the one before go on for a while, so that programs can be given the new one without a gap. A token that another token made ends with it, at
 * the latest. Whoever made or rotated a token has seen its text: all of them stand in its record, down to the people behind other tokens. Each
 * change is on the record before it is made.
 */

import { timingSafeEqual } from 'node:crypto'
import type { AdministrativeEvent } from '../audit/event.ts'
import { isPosternError, PosternError } from '../errors.ts'
import { hashOf } from '../session/secret.ts'
import type { DurableRecords } from './durable-records.ts'
import { createTokenText, parseTokenText } from './token-format.ts'
import { allOf, descentOf, mostAncestors, type TokenOrigin, tokenIdOf, unknownMaker, withMakers } from './token-makers.ts'
import { formatTokenScope, type TokenScope } from './token-scope.ts'

/** A token as everyone may see it. Instants are epoch milliseconds. */
export interface TokenFacts {
  readonly id: string
  readonly name: string
  readonly scopes: readonly TokenScope[]
  readonly createdAt: number
  /** The administrator, as in the audit trail. */
  readonly createdBy: string
  /** Whoever gave it another secret, and whoever was behind them. */
  readonly rotatedBy: readonly string[]
  /** Whoever may have its text, down to the people behind other tokens; `unknownMaker` is one of them where that cannot be told. */
  readonly makers: readonly string[]
  /** Ids of the token that made it, of the one that made that, and so on: it ends with any of them. */
  readonly ancestors: readonly string[]
  /** Its own end, or that of a token that it came of. */
  readonly expiresAt: number
  /** When it, or a token that it came of, was revoked. */
  readonly revokedAt: number | undefined
  /** To the minute. */
  readonly lastUsedAt: number | undefined
  /** When it was last given another secret. */
  readonly rotatedAt: number | undefined
  /** Until when the secret before is good as well; past or `undefined`: it is not. */
  readonly previousUntil: number | undefined
}

export type Verification = { readonly outcome: 'valid'; readonly token: TokenFacts } | { readonly outcome: 'invalid' }

/** What a new token is to be. */
export interface TokenWish {
  /** What it is for, in the administrator's words. */
  readonly name: string
  readonly scopes: readonly TokenScope[]
  readonly lifetimeSeconds: number
}

/** The service tokens. Every method rejects with `session_store_unavailable` when the store does. */
export interface Tokens {
  /**
   * Makes a token. `text` is the only copy there will ever be. `by` is the administrator, as in the audit trail. One that a token makes ends no
   * later than that one, which has to live and to be fewer than `mostAncestors` generations away from a person: else it rejects with a `TypeError`.
   */
  create(wish: TokenWish, by: string): Promise<{ readonly token: TokenFacts; readonly text: string }>
  /** All that were not forgotten yet, revoked and expired ones among them. */
  list(): AsyncIterable<TokenFacts>
  /**
   * Gives a token another secret; the one before ends after `graceSeconds` (0: at once). `text` is the only copy. Ends and scopes stay as they
   * are. `ended` for one that is revoked or expired.
   */
  rotate(id: string, graceSeconds: number, by: string): Promise<Rotation>
  /** Ends a token for good, and every one that came of it: within five seconds everywhere. */
  revoke(id: string, by: string): Promise<'revoked' | 'revoked_before' | 'unknown'>
  /** Whether this is a living token of ours. What it may do is the caller's question (`permitsReport`). */
  verify(text: string): Promise<Verification>
}

export type Rotation =
  | { readonly outcome: 'rotated'; readonly token: TokenFacts; readonly text: string }
  | { readonly outcome: 'unknown' | 'ended' }

/** What is stored of a token, under its id. */
export interface TokenRecord extends TokenOrigin {
  readonly name: string
  readonly scopes: readonly TokenScope[]
  readonly createdAt: number
  readonly expiresAt: number
  /** SHA-256, base64url. */
  readonly secretHash: string
  readonly revokedAt: number | null
  readonly lastUsedAt: number | null
  /** Left out by tokens that were never rotated. */
  readonly rotated?: { readonly at: number; readonly previousHash: string; readonly previousUntil: number } | undefined
}

export interface TokensParts {
  readonly records: DurableRecords<TokenRecord>
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Monotonic milliseconds: a clock that is set back must not keep a revoked token alive. */
  readonly monotonicNow: () => number
  /** Resolves once the event is written; rejects if it cannot be, and then nothing is changed. */
  readonly record: (event: AdministrativeEvent) => void | Promise<void>
}

/** A token that nobody remembers to renew should not outlive who made it by much. */
export const longestTokenLifetimeSeconds = 400 * 86_400

/** By then the programs that have it are known, or nobody looks for them. */
export const longestGraceSeconds = 30 * 86_400

/** The longest that a revoked token can go on. */
const memoryMs = 5_000

/** Tokens are few; only those that the store knows come in here, so a stranger cannot fill it. */
const mostRemembered = 1_000

const lastUsedEveryMs = 60_000

/** Long enough to look into what a token that has ended was. */
const keepEndedMs = 90 * 86_400_000

/** More rounds than this mean that something is wrong: only a use, once a minute an instance, comes between. */
const writeRounds = 10

interface Remembered {
  readonly record: TokenRecord
  readonly version: number
  /** Monotonic. */
  readonly readAt: number
}

/** The service tokens over their records. */
export function createTokens({ records, now, monotonicNow, record }: TokensParts): Tokens {
  const memory = new Map<string, Remembered>()

  async function findRecord(id: string): Promise<Remembered | undefined> {
    const known = memory.get(id)
    return known !== undefined && monotonicNow() - known.readAt < memoryMs ? known : await readRecord(id)
  }

  async function readRecord(id: string): Promise<Remembered | undefined> {
    // The age counts from before the question: the answer may have been on its way for a while.
    const readAt = monotonicNow()
    const loaded = await records.load(id)
    memory.delete(id)
    if (loaded === undefined) return undefined
    const remembered = { record: loaded.value, version: loaded.version, readAt }
    memory.set(id, remembered)
    if (memory.size > mostRemembered) memory.delete(memory.keys().next().value ?? '')
    return remembered
  }

  /** Nobody waits for this and nothing hangs on it; compare-and-set, so that it can never undo a revocation. */
  function noteUse(id: string, { record: known, version, readAt }: Remembered): void {
    const at = now()
    if (known.lastUsedAt !== null && at - known.lastUsedAt < lastUsedEveryMs) return
    const used = { ...known, lastUsedAt: at }
    const mine: Remembered = { record: used, version, readAt }
    memory.set(id, mine)
    records.replace(id, used, version).then(
      (isWritten) => {
        // Only while memory still holds what this wrote: a newer reading of the store is worth more.
        if (memory.get(id) !== mine) return
        if (isWritten) memory.set(id, { ...mine, version: version + 1 })
        else memory.delete(id)
      },
      // The store says itself that it is away; a use that was not noted changes no decision.
      () => undefined,
    )
  }

  /**
   * Changes the record of a token, again where somebody else was faster. `change` returns what is to be written, or why nothing is. What is
   * written first, and once, is `tell`: what cannot be put on record is not done, and so is neither done nor on record when it is tried again.
   */
  async function write<T extends string>(
    id: string,
    change: (record: TokenRecord) => TokenRecord | T | Promise<TokenRecord | T>,
    tell: (after: TokenRecord) => Promise<void>,
  ): Promise<TokenRecord | T | 'unknown'> {
    let isTold = false
    for (let round = 0; round < writeRounds; round++) {
      const loaded = await records.load(id)
      if (loaded === undefined) return 'unknown'
      const after = await change(loaded.value)
      if (typeof after === 'string') return after
      if (!isTold) await tell(after)
      isTold = true
      if (!(await records.replace(id, after, loaded.version))) continue
      memory.delete(id)
      await records.confirm()
      return after
    }
    throw new PosternError('session_store_unavailable', `the token ${id} could not be written in ${writeRounds} rounds`)
  }

  /** The facts of the token whose secret this is. What memory says no to is asked of the store: it may have been rotated elsewhere. */
  async function match(id: string, secret: string): Promise<Remembered | undefined> {
    const isIts = (found: Remembered) => hasSecret(found.record, secret, now())
    const remembered = memory.get(id)
    const found = await findRecord(id)
    if (found === undefined || isIts(found)) return found
    const fresh = found === remembered ? await readRecord(id) : undefined
    return fresh !== undefined && isIts(fresh) ? fresh : undefined
  }

  /** Ended tokens leave when a new one comes, so that the list does not grow for ever. */
  async function forgetEnded(): Promise<void> {
    for await (const { id, value } of records.list()) {
      if (now() - Math.min(value.revokedAt ?? value.expiresAt, value.expiresAt) > keepEndedMs) await records.remove(id)
    }
  }

  /** Those that it came of, the nearest first; `undefined` for one that is not there any more: it ended, and all that came of it with it. */
  async function findAncestors(value: TokenRecord): Promise<readonly (TokenRecord | undefined)[]> {
    return await Promise.all(descentOf(value).map(async (id) => (await findRecord(id))?.record))
  }

  /** The token that acts, straight from the store. `undefined` for anybody else. */
  async function findActing(by: string): Promise<{ readonly id: string; readonly facts: TokenFacts } | 'gone' | undefined> {
    const id = tokenIdOf(by)
    if (id === undefined) return undefined
    const loaded = await records.load(id)
    return loaded === undefined ? 'gone' : { id, facts: factsOf(id, loaded.value, await findAncestors(loaded.value)) }
  }

  /** All that open. `failure`: what kept one from opening, which must not keep anybody from ending another. */
  async function readAll(): Promise<{ readonly tokens: readonly TokenFacts[]; readonly failure: PosternError | undefined }> {
    const all = new Map<string, TokenRecord>()
    let failure: PosternError | undefined
    try {
      for await (const { id, value } of records.list()) all.set(id, value)
    } catch (error) {
      if (!isPosternError(error) || error.code !== 'record_unreadable') throw error
      failure = error
    }
    const ancestorsOf = (value: TokenRecord) => descentOf(value).map((ancestor) => all.get(ancestor))
    return { tokens: [...all].map(([id, value]) => factsOf(id, value, ancestorsOf(value))), failure }
  }

  return {
    async create({ name, scopes, lifetimeSeconds }, by) {
      if (scopes.length === 0 || lifetimeSeconds <= 0 || lifetimeSeconds > longestTokenLifetimeSeconds)
        throw new TypeError('a token needs a scope and a lifetime of at most 400 days')
      const parent = await findActing(by)
      const createdAt = now()
      if (parent === 'gone' || (parent !== undefined && !mayHaveChildren(parent.facts, createdAt)))
        throw new TypeError('a token that has ended, or that came of too many others, makes none')
      await forgetEnded()
      const { id, secret, text } = createTokenText()
      const value: TokenRecord = {
        name,
        scopes,
        createdAt,
        createdBy: by,
        ...(parent === undefined ? {} : { behind: parent.facts.makers, ancestors: [parent.id, ...parent.facts.ancestors] }),
        expiresAt: Math.min(createdAt + lifetimeSeconds * 1000, parent?.facts.expiresAt ?? Number.POSITIVE_INFINITY),
        secretHash: hashOf(secret),
        revokedAt: null,
        lastUsedAt: null,
      }
      const { expiresAt } = value
      await record({ event: 'token.created', actor: by, token: id, name, scopes: scopes.map(formatTokenScope), expiresAt })
      if (!(await records.create(id, value))) throw new PosternError('session_store_unavailable', 'a token id was drawn twice')
      return { token: factsOf(id, value, await findAncestors(value)), text }
    },
    async *list() {
      const { failure, tokens } = await readAll()
      yield* tokens
      if (failure !== undefined) throw failure
    },
    async rotate(id, graceSeconds, by) {
      if (graceSeconds < 0 || graceSeconds > longestGraceSeconds) throw new TypeError('a secret goes on for 30 days at the most')
      const { secret, text } = createTokenText(id)
      const at = now()
      const acting = await findActing(by)
      const makers = acting === undefined ? [by] : acting === 'gone' ? [by, unknownMaker] : [by, ...acting.facts.makers]
      const written = await write<'ended'>(
        id,
        async (value) => {
          const { expiresAt, revokedAt } = factsOf(id, value, await findAncestors(value))
          if (revokedAt !== undefined || expiresAt <= at) return 'ended'
          const previousUntil = Math.min(at + graceSeconds * 1000, expiresAt)
          const rotated = { at, previousHash: value.secretHash, previousUntil }
          return { ...value, secretHash: hashOf(secret), rotated, rotatedBy: withMakers(value, makers) }
        },
        async ({ expiresAt, name, rotated, scopes }) => {
          const until = rotated?.previousUntil
          await record({ event: 'token.rotated', actor: by, token: id, name, scopes: scopes.map(formatTokenScope), expiresAt, until })
        },
      )
      if (typeof written === 'string') return { outcome: written }
      return { outcome: 'rotated', token: factsOf(id, written, await findAncestors(written)), text }
    },
    async revoke(id, by) {
      const tell = async (token: string, name: string) =>
        await record({ event: 'token.revoked', actor: by, token, name, scopes: undefined, expiresAt: undefined })
      const written = await write<'revoked_before'>(
        id,
        (value) => (value.revokedAt === null ? { ...value, revokedAt: now() } : 'revoked_before'),
        async ({ name }) => {
          // They end with it, whether or not they are told of here: `verify` looks at all that a token came of.
          const { tokens } = await readAll()
          await tell(id, name)
          for (const one of tokens) {
            if (one.ancestors.includes(id) && one.revokedAt === undefined && one.expiresAt > now()) await tell(one.id, one.name)
          }
        },
      )
      return typeof written === 'string' ? written : 'revoked'
    },
    async verify(text) {
      const parts = parseTokenText(text)
      if (parts === undefined) return { outcome: 'invalid' }
      const found = await match(parts.id, parts.secret)
      if (found === undefined) return { outcome: 'invalid' }
      const token = factsOf(parts.id, found.record, await findAncestors(found.record))
      if (token.revokedAt !== undefined || token.expiresAt <= now()) return { outcome: 'invalid' }
      noteUse(parts.id, found)
      return { outcome: 'valid', token }
    },
  }
}

/** Whether it may make tokens now; whether they may do what they are to do is the caller's question. */
export function mayHaveChildren({ ancestors, expiresAt, revokedAt }: TokenFacts, now: number): boolean {
  return revokedAt === undefined && expiresAt > now && ancestors.length < mostAncestors
}

function factsOf(id: string, record: TokenRecord, ancestors: readonly (TokenRecord | undefined)[]): TokenFacts {
  const { name, scopes, createdAt, createdBy, lastUsedAt, rotated } = record
  const line = [record, ...ancestors]
  const revocations = line.flatMap((one) => (one === undefined ? [createdAt] : (one.revokedAt ?? [])))
  const expiresAt = Math.min(...line.map((one) => one?.expiresAt ?? Number.POSITIVE_INFINITY))
  return {
    id,
    name,
    scopes,
    createdAt,
    createdBy,
    rotatedBy: record.rotatedBy ?? [],
    makers: allOf(record),
    ancestors: descentOf(record),
    expiresAt,
    revokedAt: revocations.length === 0 ? undefined : Math.max(createdAt, Math.min(...revocations)),
    lastUsedAt: lastUsedAt ?? undefined,
    rotatedAt: rotated?.at,
    previousUntil: rotated?.previousUntil,
  }
}

/** Both hashes are compared whatever the first says, so that time tells nothing. */
function hasSecret({ rotated, secretHash }: TokenRecord, secret: string, at: number): boolean {
  const shown = hashOf(secret)
  const isCurrent = isEqual(shown, secretHash)
  const isPrevious = isEqual(shown, rotated?.previousHash ?? secretHash)
  return isCurrent || (isPrevious && rotated !== undefined && at < rotated.previousUntil)
}

/** Both are hashes of one length; what differs in length is no hash of ours. */
function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
