/**
 * `postern break-glass --as EMAIL`: a one-time sign-in for somebody while the provider is down.
 *
 * Standard output has the address alone, so that it can be handed on; everything for people goes to standard error. It is in the audit
 * trail before there is a code. Exit status: 0 issued, 1 refused with a reason, 2 could not run, the trail included.
 */

import { type Command, InvalidArgumentError } from 'commander'
import { longestBreakGlassSeconds } from '../administration/break-glass.ts'
import { duration } from '../config/plain-values.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'
import { parseReason, refuse } from './sessions.ts'

export interface BreakGlassParts {
  readonly openAdministration: OpenAdministration
}

interface BreakGlassOptions {
  readonly config: string
  readonly as: string
  readonly for: number
  readonly reason: string
  readonly json?: true
}

const length = duration({ text: '4h', seconds: longestBreakGlassSeconds })

/** Adds `break-glass`. */
export function registerBreakGlass(program: Command, { openAdministration }: BreakGlassParts): void {
  program
    .command('break-glass')
    .description('sign somebody in while the provider is down: prints an address that works once, for ten minutes')
    .requiredOption('--as <who>', 'whom: an e-mail address, or a sub, of somebody who has signed in here before')
    .requiredOption('--for <duration>', 'how long the session may last, at most 4h', parseLength)
    .requiredOption('--reason <text>', 'why, for the audit trail', parseReason)
    .option('--json', 'print one JSON object')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action((options: BreakGlassOptions) =>
      administer(options.config, openAdministration, async ({ actor, breakGlass }, { url: accessUrl }) => {
        const issued = await breakGlass.issue({ who: options.as, seconds: options.for, reason: options.reason, actor })
        if (issued.outcome === 'refused') return refuse(issued.message)
        const url = new URL('/sign-in', accessUrl)
        url.searchParams.set('break_glass', issued.code)
        const until = new Date(issued.expiresAt).toISOString()
        const { email, sub } = issued.grant
        if (options.json === true) return console.log(printJson({ url: url.href, sub, email, expires_at: until, seconds: options.for }))
        console.error(printLine(`Whoever opens this signs in as ${email} (sub ${sub}). It works once, until ${until}.`))
        console.log(url.href)
      }),
    )
}

function parseLength(written: string): number {
  const parsed = length.safeParse(written)
  if (parsed.success) return parsed.data
  throw new InvalidArgumentError(`${parsed.error.issues[0]?.message ?? 'this is not a duration'}; write something like 30m, at most 4h.`)
}
