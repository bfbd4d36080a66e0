/**
 * The part of the composition root about the trail in the console: the recent window, what instances do for each other on their own trails, the
 * operations and pages of search, explanation, verification, export and access review.
 *
 * The window is read by other themes as well (people, apps, the portal): they are given `window`.
 */

import { join } from 'node:path'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import type { Errands } from './administration/errands.ts'
import { createTrailDesk } from './administration/trail-desk.ts'
import { serveTrailErrands } from './administration/trail-errands.ts'
import { createTrailRuns } from './administration/trail-runs.ts'
import { createTrailThreads } from './administration/trail-threads.ts'
import { createTrailWindow, type TrailWindow } from './administration/trail-window.ts'
import { compileSubjectReader } from './attributes/subject-facts.ts'
import { createAuditWindow } from './audit/window.ts'
import type { Access } from './compose-access.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountReviewPages } from './control/console/review-pages.ts'
import { mountTrailPages } from './control/console/trail-pages.ts'
import { createAccessReviewOperations } from './control/operations/access-review.ts'
import type { CarryOut } from './control/operations/operation.ts'
import { createTrailOperations, type RecordFirst } from './control/operations/trail.ts'
import { createTrailExport } from './control/operations/trail-export.ts'
import type { CurrentKeys } from './keys.ts'
import type { Logger } from './log.ts'
import type { PolicySource } from './policy-source.ts'
import { open, seal } from './session/seal.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposeTrailParts {
  readonly configuration: Pick<InstanceConfiguration, 'audit' | 'dataDir' | 'provider' | 'session' | 'url'>
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly errands: Errands
  readonly access: Pick<Access, 'people'>
  readonly policy: Pick<PolicySource, 'document' | 'current'>
  readonly window: TrailWindow
  readonly recordFirst: RecordFirst
  readonly carryOut: CarryOut
}

/** The recent window as the console reads it. Holds nothing. */
export function composeTrailWindow({
  configuration,
  keys,
  log,
  monotonicNow,
  store,
}: Pick<ComposeTrailParts, 'configuration' | 'keys' | 'log' | 'monotonicNow' | 'store'>): TrailWindow {
  const keepEvents = configuration.audit.windowEvents
  const window =
    keepEvents === 0
      ? undefined
      : createAuditWindow({
          ...{ store, keepEvents, log },
          seal: (name, plaintext) => seal(keys(), { purpose: 'window', name }, plaintext),
          open: (name, sealed) => open(keys(), { purpose: 'window', name }, sealed),
        })
  return createTrailWindow({ window, monotonicNow })
}

/** Connects it: serves what this instance does on its own trail, and makes operations and pages. */
export function composeTrail(parts: ComposeTrailParts): ConsoleTheme {
  const { access, carryOut, configuration, errands, keys, log, now, policy, recordFirst, store, window } = parts
  const threads = createTrailThreads()
  const anchors = createAuditAnchors({ store, keys, log })
  serveTrailErrands({
    ...{ errands, threads, now, anchors },
    folder: join(configuration.dataDir, 'audit'),
    auditKeys: () => keys().audit.all,
    isStoreShared: configuration.session.store.kind !== 'embedded',
  })
  const desk = createTrailDesk({ errands, anchors })
  const readSubject = compileSubjectReader(configuration.provider)
  const runs = createTrailRuns({
    ...{ errands, threads, now, anchors, document: policy.document },
    async *listSubjects() {
      const { people } = await access.people.listPeople()
      for await (const { claims, issuer, seenAt, sub } of people) {
        yield readSubject({ issuer, sub, claims: { at: seenAt, version: 1, all: claims } }, 'fresh')
      }
    },
  })
  const inForce = () => ({ document: policy.document(), compiled: policy.current().policy })
  const scheme = configuration.url.protocol === 'https:' ? 'https' : 'http'
  const operations = createTrailOperations({ window, desk, runs, policy: inForce, scheme, recordFirst })
  const exportTrail = createTrailExport({ desk, recordFirst })
  const hasApp = (id: string) => policy.document().apps.some((app) => app.id === id)
  const review = createAccessReviewOperations({ runs, hasApp, recordFirst })
  return {
    operations: [...Object.values(operations), exportTrail, ...Object.values(review)],
    mount(routes) {
      mountTrailPages(routes, { operations, exportTrail, carryOut, window, recordFirst })
      mountReviewPages(routes, { operations: review, carryOut, listApps: () => policy.document().apps.map(({ id }) => id) })
    },
  }
}
