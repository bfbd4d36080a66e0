/**
 * The pages about oneself beside the portal: my devices, what is known about me, and what I asked for.
 *
 * Each is for the person of the session alone: nothing in an address names anybody, so there is nothing to be somebody else's. `/requests` is there
 * only where `requests: on`; without it, and without what these pages are made of, the paths do not exist.
 */

import type { RequestHandler, Router } from 'express'
import type { AccessRequests } from '../administration/access-requests.ts'
import type { Devices } from '../administration/devices.ts'
import type { TrailWindow } from '../administration/trail-window.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { Sessions } from '../session/sessions.ts'
import { onlyMethods } from './guards.ts'
import { mountMyData } from './my-data.ts'
import type { DataRules } from './my-data-content.ts'
import { mountMyDevices } from './my-devices.ts'
import type { PortalPorts } from './portal.ts'
import { mountMyRequests } from './portal-requests.ts'

/** What these pages are made of. */
export interface PersonalSettings {
  readonly inventory: Pick<Devices, 'find' | 'findByClue'>
  readonly trail: Pick<TrailWindow, 'isKept' | 'recentDecisions'>
  /** The same object until another policy is in force. */
  readonly policy: () => Pick<PolicyDocument, 'apps' | 'levels' | 'rules'>
  /** Paths of the claims that rules speak of, of the policy in force. */
  readonly claimPaths: () => readonly (readonly string[])[]
  /** Path of the claim that names the device. */
  readonly deviceIdClaim: readonly string[] | undefined
  /** What the configuration says about keeping things. */
  readonly rules: DataRules
  /** `undefined`: nobody can ask for access here. */
  readonly requests: AccessRequests | undefined
}

export interface PersonalPorts extends PortalPorts {
  readonly personal: PersonalSettings
  readonly sessions: Pick<Sessions, 'listSubject'>
  readonly browserState: RequestHandler
}

/** Where these pages are, as links of the portal and for its guard. */
export function personalPathsOf(personal: PersonalSettings | undefined): readonly PersonalPath[] {
  if (personal === undefined) return []
  return personal.requests === undefined ? ['/devices', '/privacy'] : ['/devices', '/privacy', '/requests']
}

export type PersonalPath = '/devices' | '/privacy' | '/requests'

/** Adds the pages to the signed-in group, behind its guard. */
export function mountPersonalPages(router: Router, ports: PersonalPorts): void {
  const { answers, personal } = ports
  mountMyDevices(router, ports)
  mountMyData(router, ports)
  if (personal.requests !== undefined) mountMyRequests(router, { ...ports, requests: personal.requests })
  router.all(['/devices', '/privacy'], onlyMethods('GET, HEAD', answers))
}
