/**
 * Service tokens: list, look at, make, rotate, revoke.
 *
 * Nobody hands out more than they have: a token that may make tokens gives them only permissions of its own, and no later end; it rotates, which
 * tells the new secret, and revokes only tokens that can do no more than itself. The text of a token is in the answer that makes it and nowhere
 * else. Of whoever made one the list says whether they may still make tokens: their tokens go on without them.
 */

import { z } from 'zod'
import type { Asker, Permission } from '../../administration/asker.ts'
import { parseTokenId } from '../../administration/token-format.ts'
import { formatTokenScope, parseTokenScope, permissionsOf, type TokenScope } from '../../administration/token-scope.ts'
import {
  longestGraceSeconds,
  longestTokenLifetimeSeconds,
  mayHaveChildren,
  type TokenFacts,
  type Tokens,
} from '../../administration/tokens.ts'
import { defineOperation, done, type Refused, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant, toInstantOrNull } from './paging.ts'

export interface TokenOperationsPorts {
  readonly tokens: Pick<Tokens, 'create' | 'list' | 'rotate' | 'revoke'>
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Whether the person `person:<sub>` is, as last seen, somebody who may do this now: neither locked, nor without the role. */
  readonly mayStill: (actor: string, permission: Permission) => Promise<boolean>
}

const name = z.string().trim().min(1, 'Say what it is for').max(100).meta({ description: 'What it is for, for people to read.' })
const scopes = z
  .array(
    z.string().refine((text) => parseTokenScope(text) !== undefined, 'This is not a scope'),
    'Choose what it may do',
  )
  .min(1, 'Choose what it may do')
  .max(50)
  .meta({
    description: 'Permissions such as `policy:write`, `devices:report:tag=mobile` or `devices:report:id=laptop-7`.',
    examples: [['policy:read', 'policy:write']],
  })
const id = z
  .string()
  .max(100)
  .refine((text) => parseTokenId(text) !== undefined, 'An id has 12 letters and digits')
  .transform((text) => parseTokenId(text) ?? '')
  .meta({ description: 'Its id: the 12 characters after `pst_`.' })

const token = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    state: z.enum(['active', 'revoked', 'expired']),
    scopes: z.array(z.string()),
    created_at: instantText,
    created_by: z.string().meta({ description: 'The actor, as in the audit trail.' }),
    maker_may: z.boolean().nullable().meta({
      description:
        'Whether the person who made it may still make tokens, as last seen; null where a program or a command made it, or where it has ended.',
    }),
    rotated_by: z
      .array(z.string())
      .readonly()
      .meta({ description: 'Whoever gave it another secret, and the people behind tokens among them.' }),
    parents: z
      .array(z.string())
      .readonly()
      .meta({ description: 'Ids of the tokens that it came of, the nearest first: it ends with any of them.' }),
    expires_at: instantText,
    last_used_at: instantText.nullable().meta({ description: 'To the minute; null: never.' }),
    revoked_at: instantText.nullable(),
    rotated_at: instantText.nullable(),
    previous_until: instantText.nullable().meta({ description: 'Until when the secret before the last rotation is good as well.' }),
  })
  .meta({ id: 'Token' })

const withText = z.strictObject({
  token,
  text: z.string().meta({ description: 'The token itself. It is in this answer and nowhere else: what is kept is a hash.' }),
})

/** A token as programs and pages are told of it. */
export type TokenView = z.output<typeof token>

/** The operations over the tokens. */
export function createTokenOperations({ mayStill, now, tokens }: TokenOperationsPorts) {
  /** Each maker is asked about once. */
  async function describeAll(all: readonly TokenFacts[]): Promise<readonly TokenView[]> {
    const at = now()
    const makers = new Set(all.filter((facts) => isLiving(facts, at)).map(({ createdBy }) => createdBy))
    const asked = [...makers].filter((maker) => maker.startsWith('person:'))
    const standing = new Map(await Promise.all(asked.map(async (maker) => [maker, await mayStill(maker, 'tokens:write')] as const)))
    return all.map((facts) => describeToken(facts, at, isLiving(facts, at) ? standing.get(facts.createdBy) : undefined))
  }

  async function describeOne(facts: TokenFacts): Promise<TokenView> {
    const [view] = await describeAll([facts])
    if (view === undefined) throw new TypeError('one token has one view')
    return view
  }

  async function listAll(): Promise<readonly TokenFacts[]> {
    const all: TokenFacts[] = []
    for await (const facts of tokens.list()) all.push(facts)
    return all.sort((left, right) => right.createdAt - left.createdAt || (left.id < right.id ? -1 : 1))
  }

  /** Why this token makes no other. */
  async function refuseChild(asker: Asker): Promise<Refused | undefined> {
    if (asker.subject !== undefined) return undefined
    const own = (await listAll()).find((facts) => asker.actor === `token:${facts.id}`)
    if (own !== undefined && mayHaveChildren(own, now())) return undefined
    const isOver = own === undefined || !isLiving(own, now())
    return refused('not_permitted', isOver ? 'This token has ended.' : 'This token came of too many others to make more: a person has to.')
  }

  const list = defineOperation({
    id: 'tokens.list',
    summary: 'List service tokens',
    description: 'All tokens, newest first; revoked and expired ones for 90 days after their end.',
    method: 'GET',
    path: '/tokens',
    permission: 'tokens:read',
    input: z.strictObject(pageInput),
    output: pageOf(token),
    problems: [],
    async carryOut({ after, limit }) {
      const all = await listAll()
      // A cursor is a place in the order, not an id that has to be there: the one that it names may be gone.
      const rest = after === undefined ? all : all.filter((facts) => isAfter(cursorOf(facts), after))
      const entries = rest.slice(0, limit)
      const last = entries.at(-1)
      const next = last === undefined || rest.length <= limit ? null : cursorOf(last)
      return done({ entries: [...(await describeAll(entries))], next })
    },
  })

  const get = defineOperation({
    id: 'tokens.get',
    summary: 'Look at a service token',
    description: 'One token by its id.',
    method: 'GET',
    path: '/tokens/{id}',
    permission: 'tokens:read',
    input: z.strictObject({ id }),
    output: token,
    problems: ['not_found'],
    async carryOut(input) {
      const found = (await listAll()).find((facts) => facts.id === input.id)
      return found === undefined ? unknownToken : done(await describeOne(found))
    },
  })

  const create = defineOperation({
    id: 'tokens.create',
    summary: 'Make a service token',
    description:
      'Makes a token and answers with its text, once. Recorded as `token.created`. A token that makes tokens can give them only scopes that it has itself; they end with it, at the latest.',
    method: 'POST',
    path: '/tokens',
    permission: 'tokens:write',
    input: z.strictObject({
      name,
      scopes,
      lifetime_seconds: z.coerce
        .number()
        .int()
        .min(60)
        .max(longestTokenLifetimeSeconds, 'At most 400 days')
        .default(90 * 86_400)
        .meta({ description: 'How long it is good for; at most 400 days.' }),
    }),
    output: withText,
    problems: [],
    async carryOut(input, asker) {
      const wanted = input.scopes.flatMap((text) => parseTokenScope(text) ?? [])
      const refusal = refuseMoreThanOwn(asker, wanted) ?? (await refuseChild(asker))
      if (refusal !== undefined) return refusal
      const made = await tokens.create({ name: input.name, scopes: wanted, lifetimeSeconds: input.lifetime_seconds }, asker.actor)
      return done({ token: await describeOne(made.token), text: made.text })
    },
  })

  const rotate = defineOperation({
    id: 'tokens.rotate',
    summary: 'Give a service token another secret',
    description:
      'Answers with the new text, once. The secret before goes on for the grace that is given, so that programs can be changed over without a gap. Recorded as `token.rotated`.',
    method: 'POST',
    path: '/tokens/{id}/rotate',
    permission: 'tokens:write',
    input: z.strictObject({
      id,
      grace_seconds: z.coerce
        .number()
        .int()
        .min(0)
        .max(longestGraceSeconds, 'At most 30 days')
        .default(86_400)
        .meta({ description: 'How long the secret before goes on; 0: it ends at once.' }),
    }),
    output: withText,
    problems: ['not_found', 'conflict'],
    async carryOut(input, asker) {
      const found = (await listAll()).find((facts) => facts.id === input.id)
      if (found === undefined) return unknownToken
      const refusal = refuseMoreThanOwn(asker, found.scopes)
      if (refusal !== undefined) return refusal
      const rotation = await tokens.rotate(input.id, input.grace_seconds, asker.actor)
      switch (rotation.outcome) {
        case 'rotated':
          return done({ token: await describeOne(rotation.token), text: rotation.text })
        case 'ended':
          return refused('conflict', 'This token has ended, and nothing brings it back. Make another one.')
        case 'unknown':
          return unknownToken
      }
    },
  })

  const revoke = defineOperation({
    id: 'tokens.revoke',
    summary: 'End a service token',
    description:
      'Ends it and every token that it made for good, on every instance within five seconds. Recorded as `token.revoked`, of each. A token revokes itself, and those that may nothing which it may not.',
    method: 'POST',
    path: '/tokens/{id}/revoke',
    permission: 'tokens:write',
    input: z.strictObject({ id }),
    output: z.strictObject({ id: z.string(), already: z.boolean().meta({ description: 'It had been revoked before.' }) }),
    problems: ['not_found'],
    async carryOut(input, asker) {
      if (asker.subject === undefined && asker.actor !== `token:${input.id}`) {
        const found = (await listAll()).find((facts) => facts.id === input.id)
        if (found === undefined) return unknownToken
        const refusal = refuseMoreThanOwn(asker, found.scopes)
        if (refusal !== undefined) return refusal
      }
      const outcome = await tokens.revoke(input.id, asker.actor)
      return outcome === 'unknown' ? unknownToken : done({ id: input.id, already: outcome === 'revoked_before' })
    },
  })

  return { list, get, create, rotate, revoke }
}

export type TokenOperations = ReturnType<typeof createTokenOperations>

const unknownToken = refused('not_found', 'There is no such token. Those that ended are forgotten after 90 days.')

/** People who may make tokens are admins, who may do everything that a token can; what a program is given, it cannot multiply. */
function refuseMoreThanOwn(asker: Asker, wanted: readonly TokenScope[]): Refused | undefined {
  if (asker.subject !== undefined) return undefined
  const needed = [...permissionsOf(wanted.map(({ permission }) => ({ permission })))]
  const missing = needed.filter((permission) => !asker.permissions.has(permission))
  if (missing.length === 0) return undefined
  return refused('not_permitted', `A token cannot hand out more than it has itself, nor end what may more: ${missing.join(', ')}.`, {
    missing,
  })
}

/** Greater comes earlier. */
function cursorOf({ createdAt, id: own }: TokenFacts): string {
  return `${String(createdAt).padStart(15, '0')}.${own}`
}

function isAfter(cursor: string, after: string): boolean {
  const [at = '', own = ''] = cursor.split('.')
  const [afterAt = '', afterOwn = ''] = after.split('.')
  return at < afterAt || (at === afterAt && own > afterOwn)
}

function isLiving({ expiresAt, revokedAt }: TokenFacts, now: number): boolean {
  return revokedAt === undefined && expiresAt > now
}

function describeToken(facts: TokenFacts, now: number, makerMay: boolean | undefined): TokenView {
  const isOver = !isLiving(facts, now)
  const previousUntil = facts.previousUntil !== undefined && facts.previousUntil > now && !isOver ? facts.previousUntil : undefined
  return {
    id: facts.id,
    name: facts.name,
    state: facts.revokedAt !== undefined ? 'revoked' : isOver ? 'expired' : 'active',
    scopes: facts.scopes.map(formatTokenScope),
    created_at: toInstant(facts.createdAt),
    created_by: facts.createdBy,
    maker_may: makerMay ?? null,
    rotated_by: facts.rotatedBy,
    parents: facts.ancestors,
    expires_at: toInstant(facts.expiresAt),
    last_used_at: toInstantOrNull(facts.lastUsedAt),
    revoked_at: toInstantOrNull(facts.revokedAt),
    rotated_at: toInstantOrNull(facts.rotatedAt),
    previous_until: toInstantOrNull(previousUntil),
  }
}
