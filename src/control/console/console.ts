/**
 * The console on the access host: its people, its guards and the pages of every theme, put on one router.
 *
 * What there is to see is handed in as `mounts`; how anybody gets to see it stands here and in `console-routes.ts`.
 */

import type { RequestHandler, Router } from 'express'
import type { ConsoleRoles } from '../../administration/console-roles.ts'
import type { DeviceReader } from '../../attributes/device-facts.ts'
import type { EnvironmentReader } from '../../attributes/environment-facts.ts'
import type { CurrentKeys } from '../../keys.ts'
import type { Live } from '../../live/live.ts'
import type { Logger } from '../../log.ts'
import type { Sessions } from '../../session/sessions.ts'
import type { Answers } from '../answers.ts'
import type { PageRenderer } from '../pages.ts'
import type { ReadPerson } from '../person.ts'
import type { SignedInRequests } from '../signed-in.ts'
import type { ConsoleRoutes } from './console-page.ts'
import { createConsolePeople } from './console-people.ts'
import { createConsoleRoutes } from './console-routes.ts'
import { createConsoleTokens } from './console-token.ts'

/** What the wiring says of the console. */
export interface ConsoleSettings {
  readonly roles: Pick<ConsoleRoles, 'decide'>
  readonly live: Pick<Live, 'isCurrent' | 'confirm' | 'findLock' | 'listen'>
  /** How old the sign-in of somebody who changes something may be. */
  readonly signInWithinSeconds: number
  /** Each adds one theme's pages; in this order, which decides between patterns that both match. */
  readonly mounts: readonly ((routes: ConsoleRoutes) => void)[]
  /** Once aborted, every stream ends and none begins. */
  readonly closing: AbortSignal
}

export interface ConsolePorts extends ReadPerson {
  readonly accessUrl: URL
  readonly answers: Answers
  readonly browserState: RequestHandler
  readonly devices: DeviceReader
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly now: () => number
  readonly pages: Pick<PageRenderer, 'renderConsole'>
  readonly readEnvironment: EnvironmentReader
  readonly sessions: Pick<Sessions, 'recordUse'>
  readonly signedIn: SignedInRequests
}

/** Adds `/console` and everything below it. */
export function mountConsole(router: Router, ports: ConsolePorts, settings: ConsoleSettings): void {
  const { live, roles, signInWithinSeconds } = settings
  const people = createConsolePeople({ ...ports, live, roles })
  const tokens = createConsoleTokens(ports.keys)
  const routes = createConsoleRoutes(router, { ...ports, people, tokens, live, signInWithinSeconds })
  for (const mount of settings.mounts) mount(routes.routes)
  routes.finish()
  settings.closing.addEventListener('abort', routes.close, { once: true })
}
