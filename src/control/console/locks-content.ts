/**
 * What the page of locks shows: every lock that is in force, the newest first, and the form for another one.
 *
 * Pure. A lock that this asker may not lift is shown all the same: who may is said when they try.
 */

import type { LocksOperations } from '../operations/locks.ts'
import type { InstantView } from './instants.ts'
import { at, type ValueOf } from './people-content.ts'
import { describeLockForm, type FormState, type LockForm } from './person-content.ts'

export interface LockRow {
  readonly on: string
  readonly kind: string
  readonly target: string
  readonly label: string
  readonly reason: string
  readonly by: string
  readonly since: InstantView | undefined
  readonly until: InstantView | undefined
  /** Whether this asker may lift it here. A `sub` that looks like an address would be taken for one: its lock is lifted on the person’s page. */
  readonly mayLift: boolean
  /** Of a device: its page, where the lock of a block is lifted. */
  readonly href: string | undefined
}

export interface LocksContent {
  readonly rows: readonly LockRow[]
  readonly shown: number
  readonly total: number
  readonly next: string | undefined
  readonly first: string | undefined
  readonly mayWrite: boolean
  readonly form: LockForm
  readonly kinds: readonly { readonly value: string; readonly label: string; readonly isChosen: boolean }[]
}

const pageLength = 100
const kindWords = { subject: 'Person', device: 'Device', app: 'App', service: 'Service' } as const

/** What the page is made of, besides the locks. */
export interface LocksFacts {
  readonly form: FormState | undefined
  readonly mayWrite: boolean
  /** Without the role admin: what concerns everybody is not for this asker. */
  readonly isHeldBack: boolean
  readonly now: number
  readonly page: number
}

/** Everything that the page shows. */
export function describeLocks(
  locks: ValueOf<LocksOperations['list']>['locks'],
  { form, isHeldBack, mayWrite, now, page }: LocksFacts,
): LocksContent {
  const from = page * pageLength
  const sorted = [...locks].sort((a, b) => (a.since < b.since ? 1 : a.since > b.since ? -1 : 0))
  const shown = sorted.slice(from, from + pageLength)
  return {
    rows: shown.map(({ by, label, on, reason, since, target, until }) => ({
      on,
      kind: kindWords[on],
      target,
      label,
      reason,
      by,
      since: at(since, now),
      until: at(until, now),
      // What a program or a command locked is no lock of the helpdesk's; of one by a person it is said when they try.
      mayLift:
        mayWrite &&
        (!isHeldBack || by.startsWith('person:')) &&
        (on === 'subject' ? !target.includes('@') : on === 'device' || !isHeldBack),
      href: on === 'device' ? `/console/devices/${encodeURIComponent(target)}` : undefined,
    })),
    shown: shown.length,
    total: locks.length,
    next: from + pageLength < locks.length ? `/console/locks?page=${page + 1}` : undefined,
    first: page === 0 ? undefined : '/console/locks',
    mayWrite,
    form: describeLockForm('/console/locks', form),
    kinds: kindsFor(isHeldBack).map((value) => ({
      value,
      label: kindWords[value],
      isChosen: value === (form?.values['on'] ?? 'subject'),
    })),
  }
}

function kindsFor(isHeldBack: boolean): readonly (keyof typeof kindWords)[] {
  return isHeldBack ? ['subject', 'device'] : ['subject', 'device', 'app', 'service']
}
