/**
 * Service tokens: what a management system shows in place of a browser session, made and revoked by administrators.
 *
 * Of a token the store has its id (hashed), its facts, and SHA-256 of its secret: 256 random bits need no slower hash. `verify` compares in
 * constant time, answers from memory for at most five seconds, and so lets a revoked token in for no longer than that on any instance.
 * Every doubt is `invalid`; a store that does not answer is an error, which is a refusal too. A rotation gives a token another secret and lets
 * the one before go on for a while, so that programs can be given the new one without a gap. Revoked and expired tokens stay listed for a
 * while, so that their end can be seen, and can never be made valid again.
 */

import { timingSafeEqual } from 'node:crypto'
import type { AdministrativeEvent } from '../audit/event.ts'
import { PosternError } from '../errors.ts'
import { hashOf } from '../session/secret.ts'
import type { DurableRecords } from './durable-records.ts'
import { createTokenText, parseTokenText } from './token-format.ts'
import { formatTokenScope, type TokenScope } from './token-scope.ts'

/** A token as everyone may see it. Instants are epoch milliseconds. */
export interface TokenFacts {
  readonly id: string
  readonly name: string
  readonly scopes: readonly TokenScope[]
  readonly createdAt: number
  /** The administrator, as in the audit trail. */
  readonly createdBy: string
  readonly expiresAt: number
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
  /** Makes a token. `text` is the only copy there will ever be. `by` is the administrator, as in the audit trail. */
  create(wish: TokenWish, by: string): Promise<{ readonly token: TokenFacts; readonly text: string }>
  /** All that were not forgotten yet, revoked and expired ones among them. */
  list(): AsyncIterable<TokenFacts>
  /**
   * Gives a token another secret; the one before ends after `graceSeconds` (0: at once). `text` is the only copy. Ends and scopes stay as they
   * are. `ended` for one that is revoked or expired.
   */
  rotate(id: string, graceSeconds: number, by: string): Promise<Rotation>
  /** Ends a token for good: within five seconds everywhere. */
  revoke(id: string, by: string): Promise<'revoked' | 'revoked_before' | 'unknown'>
  /** Whether this is a living token of ours. What it may do is the caller's question (`permitsReport`). */
  verify(text: string): Promise<Verification>
}

export type Rotation =
  | { readonly outcome: 'rotated'; readonly token: TokenFacts; readonly text: string }
  | { readonly outcome: 'unknown' | 'ended' }

/** What is stored of a token, under its id. */
export interface TokenRecord extends Omit<TokenFacts, 'id' | 'revokedAt' | 'lastUsedAt' | 'rotatedAt' | 'previousUntil'> {
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
  /** Rejects if the event cannot be handed over. */
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

  /** Changes the record of a living token, again where somebody else was faster. `change` returns what is to be written, or why nothing is. */
  async function write<T extends string>(
    id: string,
    change: (record: TokenRecord) => TokenRecord | T,
  ): Promise<{ readonly before: TokenRecord; readonly after: TokenRecord } | T | 'unknown'> {
    for (let round = 0; round < writeRounds; round++) {
      const loaded = await records.load(id)
      if (loaded === undefined) return 'unknown'
      const after = change(loaded.value)
      if (typeof after === 'string') return after
      if (!(await records.replace(id, after, loaded.version))) continue
      memory.delete(id)
      await records.confirm()
      return { before: loaded.value, after }
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

  return {
    async create({ name, scopes, lifetimeSeconds }, by) {
      if (scopes.length === 0 || lifetimeSeconds <= 0 || lifetimeSeconds > longestTokenLifetimeSeconds)
        throw new TypeError('a token needs a scope and a lifetime of at most 400 days')
      await forgetEnded()
      const { id, secret, text } = createTokenText()
      const createdAt = now()
      const value: TokenRecord = {
        name,
        scopes,
        createdAt,
        createdBy: by,
        expiresAt: createdAt + lifetimeSeconds * 1000,
        secretHash: hashOf(secret),
        revokedAt: null,
        lastUsedAt: null,
      }
      if (!(await records.create(id, value))) throw new PosternError('session_store_unavailable', 'a token id was drawn twice')
      // Before the text is handed out: a token that is in nobody's trail is in nobody's hands either.
      const { expiresAt } = value
      await record({ event: 'token.created', actor: by, token: id, name, scopes: scopes.map(formatTokenScope), expiresAt })
      return { token: factsOf(id, value), text }
    },
    async *list() {
      for await (const { id, value } of records.list()) yield factsOf(id, value)
    },
    async rotate(id, graceSeconds, by) {
      if (graceSeconds < 0 || graceSeconds > longestGraceSeconds) throw new TypeError('a secret goes on for 30 days at the most')
      const { secret, text } = createTokenText(id)
      const at = now()
      const written = await write<'ended'>(id, (value) => {
        if (value.revokedAt !== null || value.expiresAt <= at) return 'ended'
        const previousUntil = Math.min(at + graceSeconds * 1000, value.expiresAt)
        return { ...value, secretHash: hashOf(secret), rotated: { at, previousHash: value.secretHash, previousUntil } }
      })
      if (typeof written === 'string') return { outcome: written }
      const { expiresAt, name, rotated, scopes } = written.after
      const words = scopes.map(formatTokenScope)
      await record({ event: 'token.rotated', actor: by, token: id, name, scopes: words, expiresAt, until: rotated?.previousUntil })
      return { outcome: 'rotated', token: factsOf(id, written.after), text }
    },
    async revoke(id, by) {
      const written = await write<'revoked_before'>(id, (value) =>
        value.revokedAt === null ? { ...value, revokedAt: now() } : 'revoked_before',
      )
      if (typeof written === 'string') return written
      const { name } = written.before
      await record({ event: 'token.revoked', actor: by, token: id, name, scopes: undefined, expiresAt: undefined })
      return 'revoked'
    },
    async verify(text) {
      const parts = parseTokenText(text)
      if (parts === undefined) return { outcome: 'invalid' }
      const found = await match(parts.id, parts.secret)
      if (found === undefined) return { outcome: 'invalid' }
      const token = factsOf(parts.id, found.record)
      if (token.revokedAt !== undefined || token.expiresAt <= now()) return { outcome: 'invalid' }
      noteUse(parts.id, found)
      return { outcome: 'valid', token }
    },
  }
}

function factsOf(id: string, record: TokenRecord): TokenFacts {
  const { name, scopes, createdAt, createdBy, expiresAt, revokedAt, lastUsedAt, rotated } = record
  return {
    id,
    name,
    scopes,
    createdAt,
    createdBy,
    expiresAt,
    revokedAt: revokedAt ?? undefined,
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
