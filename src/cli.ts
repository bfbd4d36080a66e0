#!/usr/bin/env node
/**
 * The command line: `postern COMMAND`. Each command is one file in `commands/`; this file lists them and owns the exit status.
 *
 * Exit status: 0 good or allowed, 1 the answer is no (problems found, denied, not verified), 2 could not run.
 */

import { Command, CommanderError } from 'commander'
import type { StartOptions } from './compose.ts'
import type { AdministrationConfiguration } from './compose-administration.ts'
import { now, readVersion } from './compose-machine.ts'
import { isPosternError } from './errors.ts'
import { createLogger, type Logger } from './log.ts'
import { serveUntilSignal } from './main.ts'

// Loaded by whoever needs it: who cuts somebody off should not wait for what serves requests.
const startPostern = async (options: StartOptions) => (await import('./compose.ts')).startPostern(options)
const openAdministration = async (configuration: AdministrationConfiguration, log: Logger) =>
  (await import('./compose-administration.ts')).openAdministration(configuration, log)

/** In the order of the help. A command's file may register several; only the one that is asked for is loaded. */
const commands: Readonly<Record<string, (program: Command) => Promise<void>>> = {
  serve: async (program) => (await import('./commands/serve.ts')).registerServe(program, { startPostern, serveUntilSignal }),
  demo: async (program) => (await import('./commands/demo.ts')).registerDemo(program, { startPostern, serveUntilSignal }),
  init: async (program) => (await import('./commands/init.ts')).registerInit(program),
  async check(program) {
    const { liveProbes } = await import('./compose-life.ts')
    const { registerCheck } = await import('./commands/check.ts')
    registerCheck(program, { probes: liveProbes(createLogger('error', 'stderr')), now })
  },
  schema: async (program) => (await import('./commands/schema.ts')).registerSchema(program),
  async keys(program) {
    const { resealRecords } = await import('./compose-administration.ts')
    const { registerKeys } = await import('./commands/keys.ts')
    registerKeys(program, { now, reseal: resealRecords })
  },
  token: async (program) => (await import('./commands/token.ts')).registerToken(program, { openAdministration, now }),
  device: async (program) => (await import('./commands/device.ts')).registerDevice(program, { openAdministration, now }),
  console: async (program) => (await import('./commands/console.ts')).registerConsole(program, { openAdministration }),
  sessions: async (program) => (await import('./commands/sessions.ts')).registerSessions(program, { openAdministration, now }),
  lock: registerLocks,
  unlock: registerLocks,
  store: async (program) => (await import('./commands/store.ts')).registerStore(program, { openAdministration }),
  'break-glass': async (program) => (await import('./commands/break-glass.ts')).registerBreakGlass(program, { openAdministration }),
  async audit(program) {
    const { loadAuditKeys, openAnchors } = await import('./compose-administration.ts')
    const { registerAudit } = await import('./commands/audit.ts')
    registerAudit(program, { now, openAdministration, loadAuditKeys, openAnchors })
  },
  policy: async (program) => (await import('./commands/policy.ts')).registerPolicy(program, { openAdministration, now }),
  replay: async (program) => (await import('./commands/replay.ts')).registerReplay(program, { now, openAdministration }),
  rollout: async (program) => (await import('./commands/rollout.ts')).registerRollout(program, { now, openAdministration }),
  access: async (program) => (await import('./commands/access.ts')).registerAccess(program, { now, openAdministration }),
  test: async (program) => (await import('./commands/test.ts')).registerTest(program, { now }),
  async explain(program) {
    const { registerExplain } = await import('./commands/explain.ts')
    registerExplain(program, { now, openAdministration, log: createLogger('error', 'stderr') })
  },
}

async function registerLocks(program: Command): Promise<void> {
  ;(await import('./commands/lock.ts')).registerLock(program, { openAdministration })
}

const program = new Command('postern')
  .description('Identity-aware access proxy: every request decided on fresh facts, proxied with signed identity.')
  .version(readVersion())
  .exitOverride()
  .showHelpAfterError('(postern COMMAND --help tells more)')

const [, , named = ''] = process.argv
const register = Object.hasOwn(commands, named) ? commands[named] : undefined
if (register !== undefined) await register(program)
else for (const each of new Set(Object.values(commands))) await each(program)

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
