/**
 * `postern sessions list|revoke`: who is signed in, and ending it. Everywhere at once, without the provider.
 *
 * Over the store or the control socket of the configuration, or over the API of a running instance (`--url`, `--token`): the same orders
 * either way. Exit status: 0 done, 1 not done for a reason that is printed, 2 could not run.
 */

import { type Command, InvalidArgumentError } from 'commander'
import { isReason, type RevocationStatement, type SessionStatement } from '../administration/access-orders.ts'
import { printAge } from '../administration/what-if-known.ts'
import { type AccessDesk, type DeskOptions, openDesk, withDeskOptions } from './access-desk.ts'
import type { OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'

export interface SessionsParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

interface ListOptions extends DeskOptions {
  readonly subject?: string
  readonly json?: true
}

interface RevokeOptions extends ListOptions {
  readonly reason?: string
}

/** Adds `sessions list` and `sessions revoke`. */
export function registerSessions(program: Command, { openAdministration, now }: SessionsParts): void {
  const sessions = program.command('sessions').description('who is signed in, and ending it')
  const onDesk = (options: DeskOptions, work: (desk: AccessDesk) => Promise<void>) => openDesk(options, openAdministration, work)

  withDeskOptions(sessions.command('list').description('sessions that are alive'))
    .option('--subject <who>', 'of one person: an e-mail address, or a sub')
    .option('--json', 'one JSON object a line')
    .action((options: ListOptions) =>
      onDesk(options, async (desk) => {
        const found = await desk.listSessions(options.subject)
        if (found.outcome === 'refused') return refuse(found.message)
        for await (const session of found.value) {
          console.log(options.json === true ? printJson(session) : printLine(describe(session, now())))
        }
      }),
    )

  withDeskOptions(sessions.command('revoke').description('end sessions, everywhere within a second').argument('[id...]', 'as listed'))
    .option('--subject <who>', 'all of one person: an e-mail address, or a sub')
    .option('--reason <text>', 'why, for the audit trail', parseReason)
    .option('--json', 'print one JSON object')
    .action((ids: readonly string[], options: RevokeOptions) =>
      onDesk(options, async (desk) => {
        const { reason, subject } = options
        if ((ids.length === 0) === (subject === undefined)) {
          console.error('postern: name sessions by id, or one person with --subject')
          process.exitCode = 2
          return
        }
        const revoked = await desk.revoke({ sessions: ids.length === 0 ? undefined : ids, subject, reason })
        if (revoked.outcome === 'refused') return refuse(revoked.message)
        if (options.json === true) console.log(printJson(revoked.value))
        else report(revoked.value, subject)
        if (revoked.value.unknown.length > 0) process.exitCode = 1
      }),
    )
}

/** What was asked for was not done, and why. */
export function refuse(message: string): void {
  console.error(printLine(`postern: ${message}`))
  process.exitCode = 1
}

/** A reason as it is given at a command line. */
export function parseReason(written: string): string {
  if (isReason(written)) return written.trim()
  throw new InvalidArgumentError('a reason is one line of at most 500 characters.')
}

function report({ ended_before, revoked, unknown }: RevocationStatement, subject: string | undefined): void {
  const whose = subject === undefined ? '' : ` of ${subject}`
  if (revoked.length > 0) console.log(printLine(`Ended ${revoked.length} ${revoked.length === 1 ? 'session' : 'sessions'}${whose}.`))
  else if (subject !== undefined) console.log(printLine(`Nobody was signed in as ${subject}; a sign-in that was on its way is ended.`))
  if (ended_before.length > 0) console.log(`Ended before: ${ended_before.join(', ')}`)
  for (const id of unknown) console.error(printLine(`postern: there is no session ${id}`))
}

function describe({ address, amr, email, id, last_used_at, started_at, sub, user_agent }: SessionStatement, now: number): string {
  const ago = (instant: string) => printAge(now - Date.parse(instant))
  const how = amr.length === 0 ? 'unknown method' : amr.join('+')
  const times = `began ${ago(started_at)} ago, used ${ago(last_used_at)} ago`
  return [id, email ?? sub, times, how, address, user_agent.slice(0, 80)].join('  ')
}
