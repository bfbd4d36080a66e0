#!/usr/bin/env node
/**
 * The command line: `postern COMMAND`. Each command is one file in `commands/`; this file lists them and owns the exit status.
 *
 * Exit status: 0 good or allowed, 1 the answer is no (problems found, denied, not verified), 2 could not run.
 */

import { Command, CommanderError } from 'commander'
import { registerBreakGlass } from './commands/break-glass.ts'
import { registerCheck } from './commands/check.ts'
import { registerDemo } from './commands/demo.ts'
import { registerDevice } from './commands/device.ts'
import { registerExplain } from './commands/explain.ts'
import { registerInit } from './commands/init.ts'
import { registerKeys } from './commands/keys.ts'
import { registerLock } from './commands/lock.ts'
import { registerSchema } from './commands/schema.ts'
import { registerServe } from './commands/serve.ts'
import { registerSessions } from './commands/sessions.ts'
import { registerTest } from './commands/test.ts'
import { registerToken } from './commands/token.ts'
import { liveProbes, now, readVersion, startPostern } from './compose.ts'
import { openAdministration, resealRecords } from './compose-administration.ts'
import { isPosternError } from './errors.ts'
import { createLogger } from './log.ts'
import { serveUntilSignal } from './main.ts'

const program = new Command('postern')
  .description('Identity-aware access proxy: every request decided on fresh facts, proxied with signed identity.')
  .version(readVersion())
  .exitOverride()
  .showHelpAfterError('(postern COMMAND --help tells more)')

registerServe(program, { startPostern, serveUntilSignal })
registerDemo(program, { startPostern, serveUntilSignal })
registerInit(program)
registerCheck(program, { probes: liveProbes(createLogger('error', 'stderr')), now })
registerSchema(program)
registerKeys(program, { now, reseal: resealRecords })
registerToken(program, { openAdministration, now })
registerDevice(program, { openAdministration, now })
registerSessions(program, { openAdministration, now })
registerLock(program, { openAdministration })
registerBreakGlass(program, { openAdministration })
registerTest(program, { now })
registerExplain(program, { now, openAdministration, log: createLogger('error', 'stderr') })

try {
  await program.parseAsync(process.argv)
} catch (error) {
  process.exitCode = report(error)
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  console.error(isPosternError(error) || isListenError(error) ? `postern: ${error.message}` : error)
  return 2
}

/** An address that is taken, or not ours to take: the system's own words name it. */
function isListenError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && error.syscall === 'listen'
}
