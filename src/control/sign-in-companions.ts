/**
 * Apps that the pages of an app call, and that a sign-in to it therefore opens as well: the first fetch to one of them could not be sent
 * to sign in. Only what this person could get in to by the very judgement that makes the portal, so that a detour leads to no closed door
 * and tells nobody of an app that is hidden from them.
 *
 * Nothing here may cost a sign-in: what cannot be judged now is not opened ahead, and signs in when somebody goes there.
 */

import { TLSSocket } from 'node:tls'
import type { Request } from 'express'
import type { DeviceReader } from '../attributes/device-facts.ts'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import { readSignInFacts } from '../attributes/sign-in-facts.ts'
import type { ClaimsState } from '../attributes/subject-facts.ts'
import type { Logger } from '../log.ts'
import type { CompiledApp } from '../policy/compile.ts'
import type { App } from '../policy/document.ts'
import type { FactGroup } from '../policy/facts.ts'
import { decidePortal } from '../policy/portal.ts'
import type { Session } from '../session/session.ts'
import type { ReadPerson } from './person.ts'
import { getContext } from './request-context.ts'

/**
 * A stop costs three redirects. With the six or so of a sign-in that makes fifteen; browsers give up at twenty, some earlier, and then the
 * person would have no page at all.
 */
const maxStops = 3

/** An app as the snapshot in force has it. */
export interface CallableApp {
  readonly app: Pick<App, 'id' | 'address' | 'calledBy' | 'session'>
  readonly policy: CompiledApp
}

export interface CompanionPorts extends ReadPerson {
  readonly accessUrl: URL
  readonly apps: () => Iterable<CallableApp>
  readonly readEnvironment: EnvironmentReader
  readonly devices: DeviceReader
  readonly now: () => number
  readonly log: Logger
}

/** Origins to open after a sign-in that leads to `origin`, in the order of the policy. Never rejects. */
export async function findCompanions(
  ports: CompanionPorts,
  request: Request,
  { session, claimsState }: { readonly session: Session; readonly claimsState: ClaimsState },
  origin: string,
): Promise<readonly string[]> {
  const apps = [...ports.apps()]
  const callers = new Set(apps.filter(({ app }) => app.address.origin === origin).map(({ app }) => app.id))
  const called = apps.filter(({ app }) => app.address.origin !== origin && app.calledBy.some((id) => callers.has(id)))
  if (called.length === 0) return []
  try {
    const facts = await gatherFacts(ports, request, session, claimsState)
    const open = called.filter(({ policy }) => decidePortal(policy, facts).decision.effect === 'allow')
    return [...new Set(open.map(({ app }) => app.address.origin))].slice(0, maxStops)
  } catch (error) {
    ports.log.warn({ request: getContext(request).requestId, err: error }, 'apps that another calls could not be opened ahead')
    return []
  }
}

async function gatherFacts(ports: CompanionPorts, request: Request, session: Session, claimsState: ClaimsState) {
  const { accessUrl, devices, now, readEnvironment, readSubject } = ports
  const reading = devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
  const circumstances = {
    address: getContext(request).address,
    at: now(),
    scheme: accessUrl.protocol === 'https:' ? ('https' as const) : ('http' as const),
    tlsVersion: request.socket instanceof TLSSocket ? (request.socket.getProtocol() ?? undefined) : undefined,
    userAgent: request.headers['user-agent'],
  }
  return {
    subject: readSubject(session, claimsState),
    signIn: readSignInFacts(session),
    device: reading.device,
    environment: readEnvironment(circumstances, everything),
  }
}

/** The apps ask for different facts; one look-up serves them all. */
const everything: ReadonlySet<FactGroup> = new Set(['device', 'country', 'asn', 'client'])
