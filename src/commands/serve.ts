/**
 * `postern serve`: run an instance until a signal. It does not start on a configuration or a policy with a problem; it prints all of them.
 */

import { type Command, Option } from 'commander'
import type { RunningPostern, StartOptions } from '../compose.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { describeProblem, printProblems } from '../config/problems.ts'
import { createLogger, type Logger, type LogLevel } from '../log.ts'

export interface ServeParts {
  readonly startPostern: (options: StartOptions) => Promise<RunningPostern>
  readonly serveUntilSignal: (running: RunningPostern, log: Logger, onHangUp: 'reload' | 'stop') => Promise<number>
}

const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** Adds `serve`. */
export function registerServe(program: Command, parts: ServeParts): void {
  program
    .command('serve')
    .description('run an instance until SIGTERM')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(logLevels).default('info'))
    .action(async (options: { readonly config: string; readonly logLevel: LogLevel }) => {
      const loaded = await loadConfiguration(options.config)
      if (loaded.value === undefined) {
        console.error(printProblems(loaded.problems, 'error'))
        process.exitCode = 2
        return
      }
      const log = createLogger(options.logLevel)
      for (const warning of loaded.warnings) log.warn({ warning: describeProblem(warning) }, 'configuration warning')
      const running = await parts.startPostern({ configuration: loaded.value, log, isDemo: false })
      process.exitCode = await parts.serveUntilSignal(running, log, 'reload')
    })
}
