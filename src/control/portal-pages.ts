/**
 * The pages about oneself beside the portal: my devices, what is known about me, and what I asked for.
 *
 * Each is for the person of the session alone: nothing in an address names anybody, so there is nothing to be somebody else's. `/requests` is there
 * only where `requests: on`; without it, and without what these pages are made of, the paths do not exist.
 */

import type { RequestHandler, Router } from 'express'
import type { Sessions } from '../session/sessions.ts'
import { onlyMethods } from './guards.ts'
import { mountMyData } from './my-data.ts'
import { mountMyDevices } from './my-devices.ts'
import type { PortalPorts } from './portal.ts'
import { mountMyRequests } from './portal-requests.ts'
import type { PersonalSettings } from './portal-settings.ts'

export interface PersonalPorts extends PortalPorts {
  readonly personal: PersonalSettings
  readonly sessions: Pick<Sessions, 'listSubject'>
  readonly browserState: RequestHandler
}

/** Adds the pages to the signed-in group, behind its guard. */
export function mountPersonalPages(router: Router, ports: PersonalPorts): void {
  const { answers, personal } = ports
  mountMyDevices(router, ports)
  mountMyData(router, ports)
  if (personal.requests !== undefined) mountMyRequests(router, { ...ports, requests: personal.requests })
  router.all(['/devices', '/privacy'], onlyMethods('GET, HEAD', answers))
}
