/**
 * The part of the composition root behind the console and its API: who holds a role, and of each theme its operations and its pages.
 *
 * A theme is its operations, which the API mounts and describes, and what adds its pages. What several themes need (what instances ask each
 * other, the digest of recent events, the recent window) is made here and handed on. Their order is the order in which routes are tried.
 */

import type { LocalConnections } from './administration/connections.ts'
import { createConsoleInvitations, type InvitationRecord } from './administration/console-invites.ts'
import { type ConsoleRoles, createConsoleRoles } from './administration/console-roles.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import { createAdminVisits } from './administration/gates-console.ts'
import type { PolicyDrafts } from './administration/policy-history.ts'
import type { MayStill } from './administration/standing-people.ts'
import type { Tokens } from './administration/tokens.ts'
import type { EnvironmentReader } from './attributes/environment-facts.ts'
import type { AuditEvent, AuditTrail } from './audit/event.ts'
import type { Access } from './compose-access.ts'
import { composeApps } from './compose-apps.ts'
import { composeActivity, composeConnections, composeErrands, composeOverview } from './compose-overview.ts'
import { composePeople } from './compose-people.ts'
import type { ComposedPolicy } from './compose-policy.ts'
import { composePolicyDesk } from './compose-policy-desk.ts'
import { composePolicyPages } from './compose-policy-pages.ts'
import { composePortal } from './compose-portal.ts'
import { composeTrail, composeTrailWindow } from './compose-trail.ts'
import { composeGates, composeTrial } from './compose-trial.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import type { OperationsApiPorts } from './control/api/operation-routes.ts'
import type { ConsoleSettings } from './control/console/console.ts'
import type { ConsoleRoutes } from './control/console/console-page.ts'
import { mountTokensPages } from './control/console/tokens-pages.ts'
import { createCarryOut } from './control/operations/carry-out.ts'
import type { AnyOperation, CarryOut } from './control/operations/operation.ts'
import { createTokenOperations } from './control/operations/tokens.ts'
import type { PersonalSettings } from './control/portal-settings.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import type { Live } from './live/live.ts'
import type { Logger } from './log.ts'
import type { ReadinessCheck } from './operations.ts'
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
  readonly version: string
  readonly live: Live
  readonly audit: AuditTrail
  readonly policy: ComposedPolicy
  readonly access: Access
  readonly tokens: Tokens
  readonly readEnvironment: EnvironmentReader
  /** What is open on this instance; asked for each time, since the listener is made later. */
  readonly localConnections: () => LocalConnections
  /** As `/readyz` says it. */
  readonly checkReadiness: () => Promise<readonly ReadinessCheck[]>
  readonly findWarnings: () => Readonly<Record<string, string>>
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
  /** Every operation of every theme, for programs. */
  readonly api: OperationsApiPorts
  /** For the pages that everybody has about themself. */
  readonly personal: PersonalSettings
  readonly roles: ConsoleRoles
  /** Ends what is streamed, so that a stop need not wait for it. May be called again. */
  endStreams(): void
  /** The same, and ends what the themes hold. */
  close(): Promise<void>
}

/** Connects it. */
export function composeConsole(parts: ComposeConsoleParts): ComposedConsole {
  const { audit, configuration, keys, live, log, monotonicNow, now, policy, store, tokens } = parts
  const recordFirst = createRecordFirst(audit)
  const carryOut = createCarryOut()
  const common = { ...parts, recordFirst, carryOut }
  const invitations = createConsoleInvitations({
    records: createDurableRecords<InvitationRecord>('console_invite', { store, keys, log }),
    loadNow: () => store.loadNow(),
    now: live.now,
    monotonicNow,
    recordFirst,
    tell: () => store.publish({ kind: 'invitations', detail: '' }),
    live,
  })
  const visits = createAdminVisits()
  const roles = visits.watch(
    createConsoleRoles({ settings: configuration.console, policy: policy.document, findInvitation: invitations.find }),
  )

  const errands = composeErrands({ ...common, policyVersion: () => policy.current().version })
  const activity = composeActivity(common)
  const window = composeTrailWindow(common)
  const people = composePeople({
    ...common,
    roles,
    policy: policy.document,
    trail: window,
    connections: { countOpen: (about) => connections.connections.countOpen(about) },
  })
  const connections = composeConnections({ ...common, errands, local: parts.localConnections, people: people.protection })
  const trail = composeTrail({ ...common, errands, window })
  const gates = composeGates({ ...common, errands, visits })
  const desk = composePolicyDesk({ ...common, findGates: gates.gates.find, mayStill: people.mayStill })
  const trial = composeTrial({ ...common, ...gates, errands, drafts: desk.drafts, window })
  const policyPages = composePolicyPages({ ...common, desk, trial, errands, activity })
  const overview = composeOverview({
    ...common,
    errands,
    activity,
    proposedDrafts: async () => (configuration.policyTwoPerson ? await listProposed(desk.drafts) : []),
    countSilentDevices: people.countSilentDevices,
    countApps: () => policy.document().apps.length,
  })
  const apps = composeApps({ ...common, desk, activity, deviceWords: people.deviceWords })
  const portal = composePortal({ ...common, roles, window })
  const themes: readonly ConsoleTheme[] = [
    overview,
    apps,
    desk.theme,
    { ...policyPages, operations: trial.operations },
    people,
    connections,
    trail,
    portal.theme,
    composeTokens(tokens, { carryOut, now, mayStill: people.mayStill }),
  ]

  const closing = new AbortController()
  return {
    settings: {
      roles,
      live,
      signInWithinSeconds: configuration.console.signInWithinSeconds,
      mounts: themes.map(({ mount }) => mount),
      closing: closing.signal,
    },
    api: { operations: themes.flatMap(({ operations }) => operations), carryOut, tokens, version: parts.version },
    personal: portal.personal,
    roles,
    endStreams: () => closing.abort(),
    async close() {
      closing.abort()
      for (const { close } of themes.toReversed()) await close?.()
      activity.close()
      await errands.close()
    },
  }
}

async function listProposed(
  drafts: PolicyDrafts,
): Promise<readonly { readonly id: string; readonly comment: string; readonly by: string }[]> {
  const proposed = (await drafts.list()).filter(({ state }) => state === 'proposed')
  return proposed.map(({ begun, comment, id }) => ({ id, comment, by: begun.label }))
}

function composeTokens(
  tokens: Tokens,
  { carryOut, mayStill, now }: Pick<ComposeConsoleParts, 'now'> & { readonly carryOut: CarryOut; readonly mayStill: MayStill },
): ConsoleTheme {
  const operations = createTokenOperations({ tokens, now, mayStill })
  return { operations: Object.values(operations), mount: (routes) => mountTokensPages(routes, { operations, carryOut }) }
}

/** Resolves once the event is on the disk; rejects with `audit_unavailable` if it cannot be brought there. */
function createRecordFirst(audit: AuditTrail): (event: AuditEvent) => Promise<void> {
  return async (event) => {
    audit.record(event)
    if (!(await audit.settle()))
      throw new PosternError('audit_unavailable', 'it could not be written down, and may not happen off the record')
  }
}
