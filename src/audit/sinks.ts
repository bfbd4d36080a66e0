/**
 * The sinks of an instance: one consumer for each receiver of the configuration, and followers that bring them every chain of the folder.
 *
 * A sink reads the segments like anybody else, at a position of its own, so that none of them can hold up a request, the writer or another
 * sink. What a sink has not sent stays in the trail until retention removes it.
 */

import type { Logger } from '../log.ts'
import type { LineConsumer } from './follow-batch.ts'
import { createTrailFollowers, type TrailFollowersOptions } from './follow-chains.ts'
import { createFileSink } from './sinks/file.ts'
import { createHttpSink } from './sinks/http.ts'
import type { SinkSettings } from './sinks/sink-settings.ts'
import { createStdoutSink, type WriteLines } from './sinks/stdout.ts'
import { createSyslogSink } from './sinks/syslog.ts'

/** What the sinks are made with. */
export interface SinksOptions {
  readonly configurations: readonly ({ readonly name: string } & SinkSettings)[]
  /** `data_dir/audit`. */
  readonly folder: string
  /** `data_dir/audit-positions`. */
  readonly positionsFolder: string
  /** Of this machine, for syslog. */
  readonly hostname: string
  /** The one writer of standard output. */
  readonly writeLines: WriteLines
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly pace?: TrailFollowersOptions['pace'] & { readonly lookForChainsMs?: number; readonly timeoutMs?: number }
}

/** How far a sink is, over all chains that this process follows. */
export interface SinkStatus {
  readonly name: string
  readonly type: SinkSettings['type']
  /** `undefined` while the number of some chain is not known. */
  readonly lagLines: number | undefined
  readonly lagBytes: number
  /** Epoch milliseconds; `undefined`: nothing waits. */
  readonly oldestUnsentAt: number | undefined
  /** Since the start of this process, as all that follow. */
  readonly sent: number
  readonly failures: number
  /** Removed by retention before they could be sent. */
  readonly lost: number
  /** Left out because the receiver refuses their content. */
  readonly skipped: number
  readonly lastError: string | undefined
}

/** Sinks at work. */
export interface Sinks {
  /** One for each sink of the configuration, in its order. */
  status(): readonly SinkStatus[]
  /** Says that there are new lines; without it they wait for the next look, a fifth of a second at the most while the trail is busy. */
  nudge(): void
  /** After the trail was closed: sends what is taken within `drainMs`, saves the positions, closes the connections. */
  close(drainMs?: number): Promise<void>
}

/** Starts the sinks. Never rejects and never throws: a receiver that is away is waited for. */
export function createSinks(options: SinksOptions): Sinks {
  const { configurations, folder, positionsFolder, now, log, pace = {} } = options
  const skipped = new Map<string, number>()
  const receivers = configurations.map((settings) => ({
    name: `sink-${settings.name}`,
    consumer: createConsumer(settings, options, (lines) => skipped.set(settings.name, (skipped.get(settings.name) ?? 0) + lines)),
  }))
  const { lookForChainsMs, timeoutMs: _, ...followerPace } = pace
  const followers = createTrailFollowers({
    folder,
    positionsFolder,
    receivers,
    now,
    log,
    pace: followerPace,
    ...(lookForChainsMs === undefined ? {} : { lookForChainsMs }),
  })

  return {
    status: () => {
      const all = followers.status()
      return configurations.map(({ name, type }) => {
        const own = all.filter((each) => each.name === `sink-${name}`)
        const sum = (value: (each: (typeof own)[number]) => number) => own.reduce((total, each) => total + value(each), 0)
        const waiting = own.flatMap(({ oldestUnsentAt }) => oldestUnsentAt ?? [])
        return {
          name,
          type,
          lagLines: own.some(({ lagLines }) => lagLines === undefined) ? undefined : sum(({ lagLines }) => lagLines ?? 0),
          lagBytes: sum(({ lagBytes }) => lagBytes),
          oldestUnsentAt: waiting.length === 0 ? undefined : Math.min(...waiting),
          sent: sum(({ sent }) => sent),
          failures: sum(({ failures }) => failures),
          lost: sum(({ lost }) => lost),
          skipped: skipped.get(name) ?? 0,
          lastError: own.find(({ lastError }) => lastError !== undefined)?.lastError,
        }
      })
    },
    nudge: followers.nudge,
    close: followers.close,
  }
}

function createConsumer(
  settings: SinksOptions['configurations'][number],
  { hostname, writeLines, now, monotonicNow, log, pace }: SinksOptions,
  onSkipped: (lines: number) => void,
): LineConsumer {
  switch (settings.type) {
    case 'stdout':
      return createStdoutSink(writeLines)
    case 'file':
      return createFileSink(settings.path)
    case 'syslog':
      return createSyslogSink({ settings, hostname, monotonicNow, log })
    case 'http':
      return createHttpSink({
        settings,
        name: settings.name,
        now,
        log,
        onSkipped,
        ...(pace?.timeoutMs === undefined ? {} : { timeoutMs: pace.timeoutMs }),
      })
  }
}
