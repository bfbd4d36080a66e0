/**
 * What an operator should look after although everything still works: `warnings` of `/readyz`.
 *
 * None of it makes an instance unready: it would be taken out of service for something that taking it out does not mend. The same
 * thresholds stand in `docs/operations/alerts.yaml`. A pure function of what others say of themselves.
 */

import type { AuditSinkNumbers, AuditUsageNumbers } from './metrics/audit.ts'
import type { Expiries, Expiry, KeyDates } from './metrics/upkeep.ts'

/** What is looked at. */
export interface WarningFacts {
  /** Epoch milliseconds. */
  readonly now: number
  readonly audit: AuditUsageNumbers | undefined
  readonly sinks: readonly AuditSinkNumbers[]
  readonly expiries: Expiries
  /** `undefined` where they cannot be looked at. */
  readonly keyDates?: KeyDates | undefined
  /** How many problems the policy files have, while they are not what is in force. */
  readonly policyProblems: number | undefined
}

/** By what it is about; empty while all is well. */
export type Warnings = Readonly<Record<string, string>>

/** Of the room for the audit trail. Beyond it the oldest segments go before their time, or the disk fills. */
const fullShare = 0.8
/** A receiver that was restarted has caught up by then. */
const longestLagSeconds = 300
const dayMs = 86_400_000
/** Of one that lives shorter, such as those that renew themselves each week: a third of its life. */
const certificateNoticeMs = 14 * dayMs
/** Of one that is replaced more often: a fifth of its life. */
const listNoticeMs = dayMs

/** Keys end by being rotated and never by themselves; as old as a year and a month nobody has thought of it. */
const oldKeyMs = 400 * dayMs

/** Everything that there is to warn of. */
export function findWarnings({ audit, expiries, keyDates, now, policyProblems, sinks }: WarningFacts): Warnings {
  const found: [string, string][] = []
  if (audit !== undefined && audit.share >= fullShare) found.push(['audit', describeUsage(audit)])
  if (policyProblems !== undefined)
    found.push(['policy', `the policy files have ${policyProblems} problems and are not in force; what was before them is`])
  for (const { lagSeconds, name } of sinks)
    if (lagSeconds >= longestLagSeconds) found.push([`sink ${name}`, `${describeTime(lagSeconds * 1000)} behind`])
  const watched = [
    ['certificate', expiries.listener, certificateNoticeMs, 3],
    ['client authority', expiries.clientAuthorities, certificateNoticeMs, 3],
    ['revocation list', expiries.revocationLists, listNoticeMs, 5],
  ] as const
  for (const [what, some, noticeMs, part] of watched)
    for (const { file, notAfter, notBefore } of some)
      if (notAfter - now < Math.min(noticeMs, (notAfter - notBefore) / part))
        found.push([`${what} ${file}`, describeEnd({ notAfter }, now)])
  for (const [family, createdAt] of Object.entries(keyDates ?? {}))
    if (typeof createdAt === 'number' && now - createdAt > oldKeyMs)
      found.push([`${family} key`, `made ${describeTime(now - createdAt)} ago: \`postern keys rotate --${family}\``])
  return Object.fromEntries(found)
}

function describeUsage({ bytes, diskFreeBytes, limitBytes, share }: AuditUsageNumbers): string {
  const percent = Math.floor(share * 100)
  const left = diskFreeBytes === undefined ? '' : `, ${describeBytes(diskFreeBytes)} left on the disk`
  return `${percent} % of the room for the audit trail is taken: ${describeBytes(bytes)} of ${describeBytes(limitBytes)} (audit.keep.size)${left}`
}

function describeBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10))
  return `${Math.round((bytes / 1024 ** power) * 10) / 10} ${units[power]}`
}

function describeEnd({ notAfter }: Pick<Expiry, 'notAfter'>, now: number): string {
  const at = new Date(notAfter).toISOString()
  return notAfter <= now ? `ran out at ${at}` : `runs out at ${at}, in ${describeTime(notAfter - now)}`
}

function describeTime(milliseconds: number): string {
  if (milliseconds >= 2 * dayMs) return `${Math.floor(milliseconds / dayMs)} days`
  if (milliseconds >= 7_200_000) return `${Math.floor(milliseconds / 3_600_000)} hours`
  return `${Math.floor(milliseconds / 60_000)} minutes`
}
