/**
 * What the pages about oneself are made of, and where they are: for the portal, which links to them, and for the guard in front of them.
 */

import type { AccessRequests } from '../administration/access-requests.ts'
import type { Role } from '../administration/asker.ts'
import type { Devices } from '../administration/devices.ts'
import type { TrailWindow } from '../administration/trail-window.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import type { DataRules } from './my-data-content.ts'

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
  /** Whom the roles of the console name, whatever the circumstances: they are shown the way there, which permits nothing. Never rejects. */
  readonly rolesOf: (subject: SubjectFacts) => Promise<readonly Role[]>
}

/** Where these pages are, as links of the portal and for its guard. */
export function personalPathsOf(personal: PersonalSettings | undefined): readonly PersonalPath[] {
  if (personal === undefined) return []
  return personal.requests === undefined ? ['/devices', '/privacy'] : ['/devices', '/privacy', '/requests']
}

export type PersonalPath = '/devices' | '/privacy' | '/requests'
