/**
 * Pictures of apps for the portal: taken in when a policy is published, so that no request ever reads a file.
 *
 * A picture that can no longer be read by then (it was there when the policy was loaded) leaves a monogram, which is no failure.
 */

import type { App } from '../policy/document.ts'
import type { PageRenderer } from './pages.ts'

export interface AppLogos {
  /** Takes in the pictures of these apps; those of the policy before stay reachable for pages that are still open. */
  publish(apps: readonly Pick<App, 'id' | 'logo'>[]): void
  /** The address of an app's picture on our hosts; `undefined` if it has none. */
  find(appId: string): string | undefined
}

/** No pictures yet. */
export function createAppLogos(pages: Pick<PageRenderer, 'logoUrl'>): AppLogos {
  let addresses: ReadonlyMap<string, string> = new Map()
  return {
    publish(apps) {
      addresses = new Map(
        apps.flatMap(({ id, logo }) => {
          const address = logo === undefined ? undefined : pages.logoUrl(logo)
          return address === undefined ? [] : [[id, address] as const]
        }),
      )
    },
    find: (appId) => addresses.get(appId),
  }
}
