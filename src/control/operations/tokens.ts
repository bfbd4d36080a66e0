/**
 * Service tokens: list, look at, make, rotate, revoke.
 *
 * Nobody hands out more than they have: a token that may make tokens gives them only permissions of its own, and rotates, which tells the new
 * secret, only tokens that can do no more than itself. The text of a token is in the answer that makes it and nowhere else.
 */

import { z } from 'zod'
import type { Asker } from '../../administration/asker.ts'
import { parseTokenId } from '../../administration/token-format.ts'
import { formatTokenScope, parseTokenScope, permissionsOf, type TokenScope } from '../../administration/token-scope.ts'
import { longestGraceSeconds, longestTokenLifetimeSeconds, type TokenFacts, type Tokens } from '../../administration/tokens.ts'
import { defineOperation, done, type Refused, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant, toInstantOrNull } from './paging.ts'

export interface TokenOperationsPorts {
  readonly tokens: Pick<Tokens, 'create' | 'list' | 'rotate' | 'revoke'>
  /** Epoch milliseconds. */
  readonly now: () => number
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
export function createTokenOperations({ now, tokens }: TokenOperationsPorts) {
  async function listAll(): Promise<readonly TokenFacts[]> {
    const all: TokenFacts[] = []
    for await (const facts of tokens.list()) all.push(facts)
    return all.sort((left, right) => right.createdAt - left.createdAt || (left.id < right.id ? -1 : 1))
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
      return done({ entries: entries.map((facts) => describeToken(facts, now())), next })
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
      return found === undefined ? unknownToken : done(describeToken(found, now()))
    },
  })

  const create = defineOperation({
    id: 'tokens.create',
    summary: 'Make a service token',
    description:
      'Makes a token and answers with its text, once. Recorded as `token.created`. A token that makes tokens can give them only scopes that it has itself.',
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
      const refusal = refuseMoreThanOwn(asker, wanted)
      if (refusal !== undefined) return refusal
      const made = await tokens.create({ name: input.name, scopes: wanted, lifetimeSeconds: input.lifetime_seconds }, asker.actor)
      return done({ token: describeToken(made.token, now()), text: made.text })
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
          return done({ token: describeToken(rotation.token, now()), text: rotation.text })
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
    description: 'Ends it for good, on every instance within five seconds. Recorded as `token.revoked`.',
    method: 'POST',
    path: '/tokens/{id}/revoke',
    permission: 'tokens:write',
    input: z.strictObject({ id }),
    output: z.strictObject({ id: z.string(), already: z.boolean().meta({ description: 'It had been revoked before.' }) }),
    problems: ['not_found'],
    async carryOut(input, asker) {
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
  return refused('not_permitted', `A token cannot hand out more than it has itself: ${missing.join(', ')}.`, { missing })
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

function describeToken(facts: TokenFacts, now: number): TokenView {
  const isOver = facts.revokedAt !== undefined || facts.expiresAt <= now
  const previousUntil = facts.previousUntil !== undefined && facts.previousUntil > now && !isOver ? facts.previousUntil : undefined
  return {
    id: facts.id,
    name: facts.name,
    state: facts.revokedAt !== undefined ? 'revoked' : isOver ? 'expired' : 'active',
    scopes: facts.scopes.map(formatTokenScope),
    created_at: toInstant(facts.createdAt),
    created_by: facts.createdBy,
    expires_at: toInstant(facts.expiresAt),
    last_used_at: toInstantOrNull(facts.lastUsedAt),
    revoked_at: toInstantOrNull(facts.revokedAt),
    rotated_at: toInstantOrNull(facts.rotatedAt),
    previous_until: toInstantOrNull(previousUntil),
  }
}
