/**
 * The life of a serving process: start, signals, drain, exit status. The only file besides `cli.ts` that ends the process.
 *
 * SIGTERM and SIGINT drain and exit 0; a second one, or a drain that takes too long, ends at once with status 1. SIGHUP reloads the
 * policy, or stops what belongs to a terminal that closed. An uncaught error is logged and ends the process with status 70: a
 * supervisor starts a clean one.
 */

import type { RunningPostern } from './compose.ts'
import type { Logger } from './log.ts'

/** Longest that open exchanges may take to finish after the first signal. */
const drainMs = 25_000

/** Longest that saving the trail may take after the second signal. */
const haltMs = 2000

/** npm and a terminal may deliver the same Ctrl-C twice within moments; that is one wish, not two. */
const echoMs = 700

/** What SIGHUP means: to a service, that files changed; to what was started for somebody at a terminal, that they left. */
export type OnHangUp = 'reload' | 'stop'

/** Serves until a signal; resolves with the exit status after everything is closed and flushed. */
export function serveUntilSignal(running: RunningPostern, log: Logger, onHangUp: OnHangUp): Promise<number> {
  return new Promise((resolve) => {
    let stoppingSince: number | undefined
    const stop = (signal: NodeJS.Signals) => {
      if (stoppingSince !== undefined) {
        if (performance.now() - stoppingSince < echoMs) return
        log.warn({ signal }, 'stopping at once')
        // Open exchanges would keep the process alive, so it is ended and not left to end.
        const exit = () => log.flush(() => process.exit(1))
        running.halt().then(exit, exit)
        setTimeout(() => process.exit(1), haltMs)
        return
      }
      stoppingSince = performance.now()
      log.info({ signal, drain_seconds: drainMs / 1000 }, 'stopping')
      running.stop(drainMs).then(
        (isClean) => finish(isClean ? 0 : 1),
        (error: unknown) => {
          log.error({ err: error }, 'stopping failed')
          finish(1)
        },
      )
    }
    const reload = () => {
      running.reload().catch((error: unknown) => log.error({ err: error }, 'reload failed'))
    }
    const hangUp = onHangUp === 'stop' ? stop : reload
    const crash = (error: unknown) => {
      log.fatal({ err: error }, 'uncaught error')
      log.flush(() => process.exit(70))
      setTimeout(() => process.exit(70), 500).unref()
    }
    function finish(status: number): void {
      process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', hangUp)
      log.flush(() => resolve(status))
      setTimeout(() => resolve(status), 500).unref()
    }
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', hangUp)
    process.on('uncaughtException', crash).on('unhandledRejection', crash)
  })
}
