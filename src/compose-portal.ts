/**
 * The part of the composition root about the employee's portal: what its pages about oneself are made of, and requests for access, which people
 * make there and admins answer in the console.
 *
 * Where `requests: on` is not written there are no requests: no page, no operation, and what was asked before is still forgotten in time.
 */

import { type AccessRequests, type AccessRequestsRecord, createAccessRequests } from './administration/access-requests.ts'
import { roles } from './administration/asker.ts'
import type { ConsoleRoles } from './administration/console-roles.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import type { TrailWindow } from './administration/trail-window.ts'
import type { AuditTrail } from './audit/event.ts'
import type { Access } from './compose-access.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountRequestsPages } from './control/console/requests-pages.ts'
import type { CarryOut } from './control/operations/operation.ts'
import type { RecordFirst } from './control/operations/people-schemas.ts'
import { createRequestsOperations } from './control/operations/requests.ts'
import type { PersonalSettings } from './control/portal-settings.ts'
import type { CurrentKeys } from './keys.ts'
import type { Logger } from './log.ts'
import { collectClaimPaths } from './policy/claim-paths.ts'
import type { PolicyDocument } from './policy/document.ts'
import { takeSteps } from './policy/steps.ts'
import type { PolicySource } from './policy-source.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposePortalParts {
  readonly configuration: InstanceConfiguration
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly monotonicNow: () => number
  readonly audit: Pick<AuditTrail, 'record'>
  readonly access: Pick<Access, 'devices'>
  readonly policy: Pick<PolicySource, 'document'>
  readonly window: TrailWindow
  readonly recordFirst: RecordFirst
  readonly carryOut: CarryOut
  readonly roles: Pick<ConsoleRoles, 'rolesOf'>
}

export interface ComposedPortal {
  /** For the access host. */
  readonly personal: PersonalSettings
  /** For the console and the API; without operations and pages where nobody can ask. */
  readonly theme: ConsoleTheme
}

/** What is over is forgotten also where nobody looks. */
const forgetEveryMs = 6 * 3_600_000

/** Connects it. */
export function composePortal(parts: ComposePortalParts): ComposedPortal {
  const { access, audit, carryOut, configuration, keys, log, monotonicNow, policy, recordFirst, roles: held, store, window } = parts
  const requests = createAccessRequests({
    records: createDurableRecords<AccessRequestsRecord>('access_request', { store, keys, log }),
    loadNow: () => store.loadNow(),
    monotonicNow,
    record: audit.record,
  })
  const stopForgetting = forgetInTime(requests, log)
  const operations = createRequestsOperations({ requests, recordFirst })
  const { areRequestsOn } = configuration
  return {
    personal: {
      inventory: access.devices,
      trail: window,
      policy: policy.document,
      claimPaths: createClaimPaths(policy.document),
      deviceIdClaim: configuration.provider.claims.deviceId,
      rules: dataRulesOf(configuration),
      requests: areRequestsOn ? requests : undefined,
      // A link that is missing for a moment is better than no portal.
      rolesOf: (subject) => held.rolesOf(subject).catch(() => []),
    },
    theme: {
      operations: areRequestsOn ? Object.values(operations) : [],
      mount(routes) {
        if (areRequestsOn) mountRequestsPages(routes, { requests: operations, carryOut })
      },
      close: stopForgetting,
    },
  }
}

/** Worked out once for each policy. */
function createClaimPaths(current: () => PolicyDocument): PersonalSettings['claimPaths'] {
  let known: { readonly of: PolicyDocument; readonly paths: ReturnType<PersonalSettings['claimPaths']> } | undefined
  return () => {
    const document = current()
    if (known?.of !== document) known = { of: document, paths: takeSteps(collectClaimPaths(document)) }
    return known.paths
  }
}

/** A look at all of them takes out what is over. */
function forgetInTime(requests: Pick<AccessRequests, 'list'>, log: Logger): () => void {
  const timer = setInterval(() => {
    requests.list().catch((error: unknown) => log.warn({ err: error }, 'requests for access that are over could not be looked for'))
  }, forgetEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

function dataRulesOf({ audit, console, facts, provider, session }: InstanceConfiguration): PersonalSettings['rules'] {
  const { keep, query, recordClaims, redact, sinks, windowEvents } = audit
  return {
    provider: provider.issuer.host,
    groupClaims: provider.claims.groups,
    deviceIdClaim: provider.claims.deviceId,
    postureClaims: [...provider.claims.posture.values()],
    session,
    audit: { keep, query, recordClaims, redact, windowEvents, receivers: sinks.length },
    places: { country: facts.countryFile !== undefined, asn: facts.asnFile !== undefined },
    roles: roles.filter((role) => console[role] !== undefined),
  }
}
