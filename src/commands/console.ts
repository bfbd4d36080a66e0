/**
 * `postern console invite|invites|uninvite`: roles of the console for people by their address, for a while.
 *
 * This is how the first admin gets in: whoever may run it on the machine names an address and opens the console with it. Roles that are to
 * stay are written into `console.roles`. Exit status: 0 done, 1 there was nothing to end, 2 could not run, the trail included.
 */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Role, roles } from '../administration/asker.ts'
import { longestInvitationSeconds } from '../administration/console-invites.ts'
import { duration } from '../config/plain-values.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'

export interface ConsoleCommandParts {
  readonly openAdministration: OpenAdministration
}

interface InviteOptions {
  readonly config: string
  readonly role: Role
  readonly for: number
}

const length = duration({ text: '7d', seconds: longestInvitationSeconds })

/** Adds `console invite`, `console invites` and `console uninvite`. */
export function registerConsole(program: Command, { openAdministration }: ConsoleCommandParts): void {
  const command = program.command('console').description('who may use the admin console, besides those that console.roles names')

  command
    .command('invite')
    .description('give somebody a role for a while: how the first admin gets in')
    .argument('<email>', 'the address that they sign in with; the provider has to vouch for it', parseEmail)
    .addOption(new Option('--role <role>', 'what they may').choices(roles).makeOptionMandatory())
    .addOption(new Option('--for <duration>', 'for how long, at most 7d').argParser(parseLength).default(3600, '1h'))
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((email: string, options: InviteOptions) =>
      administer(options.config, openAdministration, async ({ actor, invitations }, { url }) => {
        const invited = await invitations.invite({ email, role: options.role, seconds: options.for }, actor)
        const until = new Date(invited.until).toISOString()
        console.error(printLine(`Whoever signs in as ${invited.email} holds the role ${invited.role}, until ${until}.`))
        console.log(new URL('/console', url).href)
      }),
    )

  command
    .command('invites')
    .description('invitations that stand')
    .option('--json', 'one JSON object a line')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((options: { readonly config: string; readonly json?: true }) =>
      administer(options.config, openAdministration, async ({ invitations }) => {
        for await (const { at, by, email, role, until } of invitations.list()) {
          const [from, to] = [new Date(at).toISOString(), new Date(until).toISOString()]
          if (options.json === true) console.log(printJson({ email, role, until: to, invited_at: from, invited_by: by }))
          else console.log(printLine(`${email}  ${role}  until ${to}  invited ${from} by ${by}`))
        }
      }),
    )

  command
    .command('uninvite')
    .description('end an invitation before its time')
    .argument('<email>', 'the address that was invited', parseEmail)
    .addOption(new Option('--role <role>', 'this role only').choices(roles))
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((email: string, options: { readonly config: string; readonly role?: Role }) =>
      administer(options.config, openAdministration, async ({ actor, invitations }) => {
        const ended = await invitations.withdraw(email, options.role, actor)
        if (ended.length === 0) {
          console.error(printLine(`postern: ${email} is not invited`))
          process.exitCode = 1
          return
        }
        console.log(printLine(`${email} is no longer invited as ${ended.join(', ')}.`))
      }),
    )
}

function parseEmail(written: string): string {
  if (/^[^\p{C}\p{Z}@]{1,64}@[^\p{C}\p{Z}@]{1,253}$/u.test(written)) return written
  throw new InvalidArgumentError('write an e-mail address.')
}

function parseLength(written: string): number {
  const parsed = length.safeParse(written)
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError(`${parsed.error.issues[0]?.message ?? 'this is not a duration'}; write something like 1h, at most 7d.`)
}
