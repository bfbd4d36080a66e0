/**
 * The part of the composition root behind the console and its API: who holds a role, and of each theme its operations and its pages.
 *
 * A theme is a function of the parts to its operations, which the API mounts and describes, and to what adds its pages. To add one, write that
 * function and put it into `themes`. The order of themes is the order in which their routes are tried.
 */

import { createConsoleInvitations, type InvitationRecord } from './administration/console-invites.ts'
import { type ConsoleRoles, createConsoleRoles } from './administration/console-roles.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import type { Tokens } from './administration/tokens.ts'
import type { AuditEvent, AuditTrail } from './audit/event.ts'
import type { Access } from './compose-access.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import type { ConsoleSettings } from './control/console/console.ts'
import type { ConsoleRoutes } from './control/console/console-page.ts'
import { mountTokensPages } from './control/console/tokens-pages.ts'
import { createCarryOut } from './control/operations/carry-out.ts'
import type { AnyOperation, CarryOut } from './control/operations/operation.ts'
import { createTokenOperations } from './control/operations/tokens.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import type { Live } from './live/live.ts'
import type { Logger } from './log.ts'
import type { PolicySource } from './policy-source.ts'
import type { SessionStore } from './session/store.ts'

/** What the console is made of. */
export interface ComposeConsoleParts {
  readonly configuration: InstanceConfiguration
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly live: Live
  readonly audit: AuditTrail
  readonly policy: Pick<PolicySource, 'document' | 'current'>
  readonly access: Access
  readonly tokens: Tokens
}

/** What every theme is given besides. */
export interface ThemeParts extends ComposeConsoleParts {
  readonly carryOut: CarryOut
  readonly roles: ConsoleRoles
  /** Resolves once the event is on the disk; rejects with `audit_unavailable` if it cannot be brought there. */
  readonly recordFirst: (event: AuditEvent) => Promise<void>
}

/** What one theme brings. */
export interface ConsoleTheme {
  readonly operations: readonly AnyOperation[]
  readonly mount: (routes: ConsoleRoutes) => void
  /** Ends what it holds. */
  readonly close?: () => void | Promise<void>
}

export interface ComposedConsole {
  readonly settings: ConsoleSettings
  /** Of every theme, for the API. */
  readonly operations: readonly AnyOperation[]
  readonly roles: ConsoleRoles
  /** Ends what is streamed, so that a stop need not wait for it. May be called again. */
  endStreams(): void
  /** The same, and ends what the themes hold. */
  close(): Promise<void>
}

const themes: readonly ((parts: ThemeParts) => ConsoleTheme)[] = [composeTokens]

/** Connects it. */
export function composeConsole(parts: ComposeConsoleParts): ComposedConsole {
  const { configuration, live, monotonicNow, policy, store } = parts
  const recordFirst = createRecordFirst(parts.audit)
  const invitations = createConsoleInvitations({
    records: createDurableRecords<InvitationRecord>('console_invite', parts),
    loadNow: () => store.loadNow(),
    now: live.now,
    monotonicNow,
    recordFirst,
  })
  const roles = createConsoleRoles({ settings: configuration.console, policy: policy.document, findInvitation: invitations.find })
  const themeParts: ThemeParts = { ...parts, carryOut: createCarryOut(), roles, recordFirst }
  const made = themes.map((compose) => compose(themeParts))
  const closing = new AbortController()
  return {
    settings: {
      roles,
      live,
      signInWithinSeconds: configuration.console.signInWithinSeconds,
      mounts: made.map(({ mount }) => mount),
      closing: closing.signal,
    },
    operations: made.flatMap(({ operations }) => operations),
    roles,
    endStreams: () => closing.abort(),
    async close() {
      closing.abort()
      for (const { close } of made.toReversed()) await close?.()
    },
  }
}

function composeTokens({ carryOut, now, tokens }: ThemeParts): ConsoleTheme {
  const operations = createTokenOperations({ tokens, now })
  return { operations: Object.values(operations), mount: (routes) => mountTokensPages(routes, { operations, carryOut }) }
}

function createRecordFirst(audit: AuditTrail): ThemeParts['recordFirst'] {
  return async (event) => {
    audit.record(event)
    if (!(await audit.settle()))
      throw new PosternError('audit_unavailable', 'it could not be written down, and may not happen off the record')
  }
}
