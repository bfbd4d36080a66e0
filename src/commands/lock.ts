/**
 * `postern lock|unlock subject|service|device|app NAME` and `postern lock list`: standing refusals, in force everywhere within a second.
 *
 * Over the store or the control socket of the configuration, or over the API of a running instance (`--url`, `--token`). Neither the provider
 * nor a policy is needed. Exit status: 0 done, 1 not done for a reason that is printed, 2 could not run.
 */

import { type Command, InvalidArgumentError } from 'commander'
import { type LockStatement, parseLockEnd } from '../administration/access-orders.ts'
import { type DeskOptions, openDesk, withDeskOptions } from './access-desk.ts'
import type { OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'
import { parseReason, refuse } from './sessions.ts'

export interface LockParts {
  readonly openAdministration: OpenAdministration
}

interface LockOptions extends DeskOptions {
  readonly until?: string
  readonly reason: string
  readonly json?: true
}

const kinds = {
  subject: 'an e-mail address, or a sub',
  service: 'its name in the policy',
  device: 'its id in the inventory',
  app: 'its id in the policy',
} as const

/** Adds `lock` and `unlock`. */
export function registerLock(program: Command, { openAdministration }: LockParts): void {
  const lock = program.command('lock').description('keep a person, service or device out, or close an app, until you lift it')
  const unlock = program.command('unlock').description('lift a lock')

  for (const [on, what] of Object.entries(kinds)) {
    withDeskOptions(lock.command(on).description(`lock a ${on}: new requests are refused and open ones cut`).argument('<name>', what))
      .requiredOption('--reason <text>', 'why, for whoever lifts it', parseReason)
      .option(
        '--until <time>',
        'an instant such as 2026-11-25T22:00:00Z, or a duration such as 8h; until it is lifted, if left out',
        parseUntil,
      )
      .option('--json', 'print one JSON object')
      .action((name: string, options: LockOptions) =>
        openDesk(options, openAdministration, async (desk) => {
          const locked = await desk.lock({ on, name, until: options.until, reason: options.reason })
          if (locked.outcome === 'refused') return refuse(locked.message)
          console.log(options.json === true ? printJson(locked.value) : printLine(`Locked: ${describe(locked.value)}`))
        }),
      )

    withDeskOptions(unlock.command(on).description(`lift the lock on a ${on}`).argument('<name>', what))
      .requiredOption('--reason <text>', 'why, for the audit trail', parseReason)
      .option('--json', 'print one JSON object')
      .action((name: string, options: LockOptions) =>
        openDesk(options, openAdministration, async (desk) => {
          const lifted = await desk.unlock({ on, name, reason: options.reason })
          if (lifted.outcome === 'refused') return refuse(lifted.message)
          console.log(options.json === true ? printJson(lifted.value) : printLine(`Lifted the lock on ${on} ${lifted.value.label}.`))
        }),
      )
  }

  withDeskOptions(lock.command('list').description('all locks in force'))
    .option('--json', 'one JSON object a line')
    .action((options: DeskOptions & { readonly json?: true }) =>
      openDesk(options, openAdministration, async (desk) => {
        for await (const one of desk.listLocks()) console.log(options.json === true ? printJson(one) : printLine(describe(one)))
      }),
    )
}

function describe({ by, label, on, reason, since, target, until }: LockStatement): string {
  const name = label === target ? target : `${label} (${target})`
  return [`${on} ${name}`, until === null ? 'until it is lifted' : `until ${until}`, `since ${since} by ${by}`, reason].join('  ')
}

function parseUntil(written: string): string {
  if (parseLockEnd(written) !== undefined) return written
  throw new InvalidArgumentError('write an instant with its offset, such as 2026-11-25T22:00:00Z, or a duration such as 8h.')
}
