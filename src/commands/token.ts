/**
 * `postern token create|list|rotate|revoke`: tokens for programs, made, renewed and ended by administrators.
 *
 * `create` and `rotate` print the token on standard output, alone and once, so that it can be piped into where it is kept; everything for people goes
 * to standard error. No other command prints more of a token than its id.
 */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseTokenId } from '../administration/token-format.ts'
import { formatTokenScope, parseTokenScope, type TokenScope, tokenPermissions } from '../administration/token-scope.ts'
import { longestGraceSeconds, longestTokenLifetimeSeconds, type TokenFacts } from '../administration/tokens.ts'
import { duration, text } from '../config/plain-values.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { printJson } from './print-line.ts'

export interface TokenParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

interface CreateOptions {
  readonly config: string
  readonly name: string
  readonly scope: readonly TokenScope[]
  readonly expires: number
}

const scopeWords = `${tokenPermissions.join(', ')}, devices:report:tag=TAG or devices:report:id=ID,ID`
const scopeHelp = `${scopeWords} (may be given again)`
const grace = duration({ text: '30d', seconds: longestGraceSeconds })
const defaultGrace = { seconds: 86_400, text: '24h' }
const lifetime = duration({ text: '400d', seconds: longestTokenLifetimeSeconds })
const tokenName = text('a name, such as `Intune export`', 100)
const defaultLifetime = { seconds: 90 * 86_400, text: '90d' }

/** Adds `token create`, `token list`, `token rotate` and `token revoke`. */
export function registerToken(program: Command, { openAdministration, now }: TokenParts): void {
  const token = program.command('token').description('tokens of programs: device management, automation, pipelines')

  token
    .command('create')
    .description('make a token and print it, once')
    .requiredOption('--scope <scope>', scopeHelp, addScope)
    .requiredOption('--name <name>', 'what it is for', parseName)
    .addOption(
      new Option('--expires <duration>', 'how long it is good for, at most 400d')
        .argParser(parseLifetime)
        .default(defaultLifetime.seconds, defaultLifetime.text),
    )
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((options: CreateOptions) =>
      administer(options.config, openAdministration, async ({ tokens, actor }) => {
        const wish = { name: options.name, scopes: options.scope, lifetimeSeconds: options.expires }
        const created = await tokens.create(wish, actor)
        const scopes = created.token.scopes.map(formatTokenScope).join(' ')
        console.error(`Token ${created.token.id} (${created.token.name}): ${scopes}, until ${instant(created.token.expiresAt)}.`)
        console.error('It is shown this once; what is kept of it is a hash.')
        console.log(created.text)
      }),
    )

  token
    .command('list')
    .description('all tokens, and those that ended in the last 90 days')
    .option('--json', 'one JSON object a line')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((options: { readonly config: string; readonly json?: true }) =>
      administer(options.config, openAdministration, async ({ tokens }) => {
        for await (const facts of tokens.list()) console.log(options.json === true ? describeAsJson(facts, now()) : describe(facts, now()))
      }),
    )

  token
    .command('rotate')
    .description('give a token another secret and print it, once')
    .argument('<id>', 'its id, or the token itself', parseId)
    .addOption(
      new Option('--grace <duration>', 'how long the secret before goes on, at most 30d; 0s: not at all')
        .argParser(parseGrace)
        .default(defaultGrace.seconds, defaultGrace.text),
    )
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((id: string, options: { readonly config: string; readonly grace: number }) =>
      administer(options.config, openAdministration, async ({ tokens, actor }) => {
        const rotation = await tokens.rotate(id, options.grace, actor)
        if (rotation.outcome !== 'rotated') {
          const words = rotation.outcome === 'ended' ? `the token ${id} has ended` : `there is no token ${id}`
          console.error(`postern: ${words}`)
          process.exitCode = 1
          return
        }
        const { name, previousUntil } = rotation.token
        const end = previousUntil === undefined || options.grace === 0 ? 'has ended' : `ends ${instant(previousUntil)}`
        console.error(`Token ${id} (${name}) has another secret, shown this once; the one before ${end}.`)
        console.log(rotation.text)
      }),
    )

  token
    .command('revoke')
    .description('end a token, everywhere within seconds')
    .argument('<id>', 'its id, or the token itself', parseId)
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((id: string, options: { readonly config: string }) =>
      administer(options.config, openAdministration, async ({ tokens, actor }) => {
        const outcome = await tokens.revoke(id, actor)
        if (outcome === 'unknown') {
          console.error(`postern: there is no token ${id}`)
          process.exitCode = 1
          return
        }
        console.log(outcome === 'revoked' ? `Token ${id} is revoked.` : `Token ${id} was revoked before.`)
      }),
    )
}

function addScope(written: string, before: readonly TokenScope[] | undefined): readonly TokenScope[] {
  const scope = parseTokenScope(written)
  if (scope !== undefined) return [...(before ?? []), scope]
  throw new InvalidArgumentError(`write ${scopeWords}.`)
}

function parseGrace(written: string): number {
  if (/^0s?$/.test(written)) return 0
  const parsed = grace.safeParse(written)
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError(`${parsed.error.issues[0]?.message ?? 'this is not a duration'}; write something like 24h.`)
}

function parseName(written: string): string {
  const parsed = tokenName.safeParse(written)
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError(`${parsed.error.issues[0]?.message ?? 'this is not a name'}.`)
}

function parseLifetime(written: string): number {
  const parsed = lifetime.safeParse(written)
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError(`${parsed.error.issues[0]?.message ?? 'this is not a duration'}; write something like 90d.`)
}

/** What was pasted may be a whole token: only its id goes on from here. */
function parseId(written: string): string {
  const id = parseTokenId(written)
  if (id !== undefined) return id
  throw new InvalidArgumentError('an id has 12 letters and digits; `postern token list` shows them.')
}

function stateOf({ revokedAt, expiresAt }: TokenFacts, now: number): 'active' | 'revoked' | 'expired' {
  if (revokedAt !== undefined) return 'revoked'
  return expiresAt <= now ? 'expired' : 'active'
}

function describe(facts: TokenFacts, now: number): string {
  const used = facts.lastUsedAt === undefined ? 'never used' : `last used ${instant(facts.lastUsedAt)}`
  const end = facts.revokedAt === undefined ? `until ${instant(facts.expiresAt)}` : `since ${instant(facts.revokedAt)}`
  return `${facts.id}  ${stateOf(facts, now)} ${end}  ${facts.scopes.map(formatTokenScope).join(' ')}  ${used}  ${facts.name}`
}

function describeAsJson(facts: TokenFacts, now: number): string {
  return printJson({
    id: facts.id,
    name: facts.name,
    state: stateOf(facts, now),
    scopes: facts.scopes.map(formatTokenScope),
    created_at: instant(facts.createdAt),
    created_by: facts.createdBy,
    rotated_by: facts.rotatedBy,
    parents: facts.ancestors,
    expires_at: instant(facts.expiresAt),
    last_used_at: facts.lastUsedAt === undefined ? null : instant(facts.lastUsedAt),
    revoked_at: facts.revokedAt === undefined ? null : instant(facts.revokedAt),
    rotated_at: facts.rotatedAt === undefined ? null : instant(facts.rotatedAt),
  })
}

function instant(at: number): string {
  return new Date(at).toISOString()
}
