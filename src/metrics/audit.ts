/**
 * Numbers of the audit trail: what waits to be written, what was lost, how long the disk takes, how much of it is used, when the last
 * checkpoint was signed, and how far each receiver is behind.
 *
 * All but three are read at a scrape from whoever writes, keeps and hands on the trail; nothing here touches a file.
 */

import type { MetricsRegistry } from './registry.ts'

/** The writer of the trail, as far as it is numbers. */
export interface AuditTrailNumbers {
  readonly queuedLines: number
  readonly queuedBytes: number
  /** The disk has no room. */
  readonly isFull: boolean
  /** The last write failed, for whatever reason. */
  readonly isFailing: boolean
  /** Place of the last line of the chain. */
  readonly seq: number
  /** When the last checkpoint was written, epoch milliseconds; `undefined` before the first. */
  readonly checkpointAt?: number | undefined
}

/** What the trail takes of the disk. */
export interface AuditUsageNumbers {
  readonly bytes: number
  /** `audit.keep.size`. */
  readonly limitBytes: number
  /** `undefined`: the file system does not say. */
  readonly diskFreeBytes: number | undefined
  /** Of the room that there is, the part that is taken: of `limitBytes`, or of what the disk has for it where that is less. */
  readonly share: number
}

/** One receiver of the trail; counts are since the start. */
export interface AuditSinkNumbers {
  readonly name: string
  /** `undefined` while nobody knows. */
  readonly lagLines: number | undefined
  readonly lagBytes: number
  /** Age of the oldest line that it has not taken; 0 where it has them all. */
  readonly lagSeconds: number
  /** Deliveries that failed. */
  readonly failures: number
  /** Lines that it took. */
  readonly sent: number
  /** Lines that were removed before it could take them. */
  readonly lost: number
  /** Lines that it refuses for their content. */
  readonly skipped: number
}

export interface AuditSources {
  readonly isAuditWritable: () => boolean
  readonly auditTrail?: (() => AuditTrailNumbers) | undefined
  readonly auditUsage?: (() => AuditUsageNumbers | undefined | Promise<AuditUsageNumbers | undefined>) | undefined
  readonly auditSinks?: (() => readonly AuditSinkNumbers[]) | undefined
}

export interface AuditMetrics {
  countLostAuditLine(): void
  /** The disk confirmed what was written, after so long. */
  observeAuditFsync(seconds: number): void
}

/** A solid-state disk takes a millisecond or less, a spinning one ten, one in trouble seconds. */
const fsyncBounds = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Puts them into `registry`. */
export function addAudit(registry: MetricsRegistry, sources: AuditSources): AuditMetrics {
  const lostLines = registry.counter({
    name: 'postern_audit_lost_lines_total',
    help: 'Lines of the audit trail that found no room while it could not be written.',
  })
  const fsyncs = registry.histogram(
    { name: 'postern_audit_fsync_duration_seconds', help: 'Time that the disk took to confirm what was written of the audit trail.' },
    fsyncBounds,
  )
  registry.source({ name: 'postern_audit_writable', help: '1 while the audit trail can be written.' }, () =>
    Number(sources.isAuditWritable()),
  )
  addTrail(registry, sources.auditTrail)
  addUsage(registry, sources.auditUsage)
  addSinks(registry, sources.auditSinks ?? (() => []))
  return {
    countLostAuditLine: () => lostLines.add({}),
    observeAuditFsync: (seconds) => fsyncs.of({}).observe(seconds),
  }
}

function addTrail(registry: MetricsRegistry, trail: AuditSources['auditTrail']): void {
  const read = (pick: (numbers: AuditTrailNumbers) => number | undefined) => () => (trail === undefined ? undefined : pick(trail()))
  registry.source(
    { name: 'postern_audit_lines_total', help: 'Lines of the audit chain of this process, over all its lives.' },
    read(({ seq }) => seq),
    'counter',
  )
  registry.source(
    { name: 'postern_audit_queued_lines', help: 'Lines of the audit trail that wait to be written.' },
    read(({ queuedLines }) => queuedLines),
  )
  registry.source(
    { name: 'postern_audit_queued_bytes', help: 'Bytes of the audit trail that wait to be written.' },
    read(({ queuedBytes }) => queuedBytes),
  )
  registry.source(
    { name: 'postern_audit_full', help: '1 while there is no room on the disk for the audit trail.' },
    read(({ isFull }) => Number(isFull)),
  )
  registry.source(
    { name: 'postern_audit_failing', help: '1 while the last write of the audit trail failed.' },
    read(({ isFailing }) => Number(isFailing)),
  )
  registry.source(
    { name: 'postern_audit_checkpoint_timestamp_seconds', help: 'When the last signed checkpoint of the audit trail was written.' },
    read(({ checkpointAt }) => (checkpointAt === undefined ? undefined : checkpointAt / 1000)),
  )
}

function addUsage(registry: MetricsRegistry, usage: AuditSources['auditUsage']): void {
  let known: AuditUsageNumbers | undefined
  registry.beforeScrape(async () => {
    known = undefined
    known = await usage?.()
  })
  registry.source({ name: 'postern_audit_disk_bytes', help: 'What the audit trail takes on the disk.' }, () => known?.bytes)
  registry.source({ name: 'postern_audit_disk_limit_bytes', help: 'What it may take: audit.keep.size.' }, () => known?.limitBytes)
  registry.source({ name: 'postern_audit_disk_free_bytes', help: 'Room left on the disk of the audit trail.' }, () => known?.diskFreeBytes)
  registry.source(
    { name: 'postern_audit_disk_used_ratio', help: 'Of the room for the audit trail, the part that is taken; 1 is full.' },
    () => known?.share,
  )
}

function addSinks(registry: MetricsRegistry, sinks: () => readonly AuditSinkNumbers[]): void {
  const read = (pick: (sink: AuditSinkNumbers) => number | undefined) => () =>
    sinks().flatMap((sink) => {
      const value = pick(sink)
      return value === undefined ? [] : [{ labels: { sink: sink.name }, value }]
    })
  const labels = ['sink'] as const
  registry.sources(
    { name: 'postern_audit_sink_lag_lines', help: 'Lines of the audit trail that a sink has not taken yet.', labels },
    read(({ lagLines }) => lagLines),
  )
  registry.sources(
    { name: 'postern_audit_sink_lag_bytes', help: 'Bytes of the audit trail that a sink has not taken yet.', labels },
    read(({ lagBytes }) => lagBytes),
  )
  registry.sources(
    { name: 'postern_audit_sink_lag_seconds', help: 'Age of the oldest line that a sink has not taken; 0: it has them all.', labels },
    read(({ lagSeconds }) => lagSeconds),
  )
  registry.sources(
    { name: 'postern_audit_sink_failures_total', help: 'Deliveries to a sink that failed.', labels },
    read(({ failures }) => failures),
    'counter',
  )
  registry.sources(
    {
      name: 'postern_audit_sink_lines_total',
      help: 'Lines of the audit trail by what became of them at a sink: sent, lost to retention before they could be, skipped since refused.',
      labels: ['sink', 'outcome'],
    },
    () =>
      sinks().flatMap(({ lost, name, sent, skipped }) => [
        { labels: { sink: name, outcome: 'sent' }, value: sent },
        { labels: { sink: name, outcome: 'lost' }, value: lost },
        { labels: { sink: name, outcome: 'skipped' }, value: skipped },
      ]),
    'counter',
  )
}
