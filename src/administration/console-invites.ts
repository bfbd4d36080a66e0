/**
 * Invitations to a role of the console: how the first admin gets in, and how somebody is let in for an hour.
 *
 * An invitation names an e-mail address, a role and an end, and stands in the store, so that every instance honours it. It counts for whoever
 * signs in with that address, vouched for by the provider, and is judged like any other role (`console.require`, locks). It is in the audit
 * trail before it holds. Whoever can write it owns the machine already; it ends by itself, after a week at the latest, and a role that is to
 * stay belongs into `console.roles`, where it can be reviewed.
 */

import type { AuditEvent } from '../audit/event.ts'
import type { Live } from '../live/live.ts'
import { type Role, roles } from './asker.ts'
import type { DurableRecords } from './durable-records.ts'

export interface ConsoleInvitation {
  /** In the form in which addresses are compared. */
  readonly email: string
  readonly role: Role
  /** Epoch milliseconds, by the store's clock, as `at`. */
  readonly until: number
  /** The actor, as in the audit trail. */
  readonly by: string
  readonly at: number
}

/** What is stored, under the address. */
export interface InvitationRecord {
  readonly grants: readonly Omit<ConsoleInvitation, 'email'>[]
}

export interface ConsoleInvitations {
  /** Invites, or moves the end of an invitation that there is. Rejects with `audit_unavailable` if it could not be written down: then it does not hold. */
  invite(wish: { readonly email: string; readonly role: Role; readonly seconds: number }, by: string): Promise<ConsoleInvitation>
  /** Ends what this address was invited to, or the one role of it. Resolves to the roles that ended. Rejects with `audit_unavailable`: then none did. */
  withdraw(email: string, role: Role | undefined, by: string): Promise<readonly Role[]>
  /** Those that still stand. */
  list(): AsyncIterable<ConsoleInvitation>
  /** The roles that this address is invited to now; from memory until news of a change, two seconds at the most. Rejects with `session_store_unavailable`. */
  find(email: string): Promise<readonly Role[]>
}

type InvitationEvent = Extract<AuditEvent, { readonly event: 'console.invited' | 'console.uninvited' }>

export interface ConsoleInvitationsParts {
  readonly records: DurableRecords<InvitationRecord>
  /** The store's clock. */
  readonly loadNow: () => Promise<number>
  /** The store's clock as well, as far as this process knows it; epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  /** Resolves once the event is written; rejects if it cannot be. */
  readonly recordFirst: (event: InvitationEvent) => Promise<void>
  /** Tells every instance that invitations are others now. */
  readonly tell: () => Promise<void>
  /** News of other instances: what is remembered is out of date. Left out by a command, which remembers nothing that long. */
  readonly live?: Pick<Live, 'listen'>
}

/** A role for longer than this belongs into the configuration. */
export const longestInvitationSeconds = 7 * 86_400

/** An uninvited admin goes on for no longer where the news was lost; without a memory every request to the console would ask the store. */
const memoryMs = 2_000
/** Only people who come to the console are remembered, and strangers are not. */
const mostRemembered = 1_000
/** More rounds than this mean that something is wrong: invitations are written by hand. */
const writeRounds = 10

/** The invitations over their records. */
export function createConsoleInvitations(parts: ConsoleInvitationsParts): ConsoleInvitations {
  const { live, loadNow, monotonicNow, now, recordFirst, records, tell } = parts
  const memory = new Map<string, { readonly grants: InvitationRecord['grants']; readonly readAt: number }>()
  /** What was being read when something was heard is not remembered. */
  let heard = 0
  live?.listen(({ kind }) => {
    if (kind !== 'invitations_changed' && kind !== 'regained') return
    heard += 1
    memory.clear()
  })

  /** Replaces the grants of an address; `change` may be called again with what somebody else wrote meanwhile. */
  async function write(email: string, change: (grants: InvitationRecord['grants']) => InvitationRecord['grants']): Promise<void> {
    for (let round = 0; round < writeRounds; round++) {
      const loaded = await records.load(email)
      const grants = change(loaded?.value.grants ?? [])
      const isWritten =
        loaded === undefined
          ? grants.length === 0 || (await records.create(email, { grants }))
          : grants.length === 0
            ? await records.remove(email, loaded.version)
            : await records.replace(email, { grants }, loaded.version)
      if (!isWritten) continue
      heard += 1
      memory.delete(email)
      return
    }
    throw new TypeError(`the invitation of ${email} could not be written in ${writeRounds} rounds`)
  }

  async function publish(): Promise<void> {
    await tell()
    await records.confirm()
  }

  return {
    async invite({ email: written, role, seconds }, by) {
      const email = comparable(written)
      if (seconds <= 0 || seconds > longestInvitationSeconds) throw new TypeError('an invitation lasts a week at the most')
      const at = await loadNow()
      const grant = { role, until: at + seconds * 1000, by, at }
      await recordFirst({ event: 'console.invited', actor: by, email, role, until: grant.until })
      await write(email, (grants) => [...grants.filter((one) => one.role !== role && one.until > at), grant])
      await publish()
      return { email, ...grant }
    },
    async withdraw(written, role, by) {
      const email = comparable(written)
      const at = await loadNow()
      const isMeant = (grant: InvitationRecord['grants'][number]) => role === undefined || grant.role === role
      const standing = ((await records.load(email))?.value.grants ?? []).filter((grant) => isMeant(grant) && grant.until > at)
      // As with everything here: what cannot be written down is not done, and is done and written down when it is tried again.
      for (const { role: ended } of standing) await recordFirst({ event: 'console.uninvited', actor: by, email, role: ended })
      await write(email, (grants) => grants.filter((grant) => !isMeant(grant) && grant.until > at))
      await publish()
      return standing.map(({ role: ended }) => ended)
    },
    async *list() {
      const at = await loadNow()
      for await (const { id: email, value } of records.list()) {
        for (const grant of value.grants) if (grant.until > at) yield { email, ...grant }
      }
    },
    async find(written) {
      const email = comparable(written)
      const readAt = monotonicNow()
      let known = memory.get(email)
      if (known === undefined || readAt - known.readAt >= memoryMs) {
        const before = heard
        known = { grants: (await records.load(email))?.value.grants ?? [], readAt }
        if (heard === before) {
          memory.delete(email)
          memory.set(email, known)
        }
        if (memory.size > mostRemembered) memory.delete(memory.keys().next().value ?? '')
      }
      const standing = new Set(known.grants.filter(({ until }) => until > now()).map(({ role }) => role))
      return roles.filter((role) => standing.has(role))
    },
  }
}

/** As rules compare addresses: letters beyond ASCII are never folded, since several of them fold to ASCII ones. */
function comparable(email: string): string {
  return email.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}
