/**
 * The apps that a person may know of, each with what the policy would answer them now: what the portal, its requests and its devices are made of.
 *
 * One gathering of the facts of the very request (session, sign-in, device, circumstances, locks), then the same function that guards each app.
 * An app that a person may not know of never leaves this file.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import type { Request } from 'express'
import type { DeviceReader, DeviceReading } from '../attributes/device-facts.ts'
import type { Circumstances, EnvironmentReader } from '../attributes/environment-facts.ts'
import { readSignInFacts } from '../attributes/sign-in-facts.ts'
import type { Live } from '../live/live.ts'
import type { CompiledApp } from '../policy/compile.ts'
import type { Decision } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { Device, FactGroup, Facts, Known, LockFacts } from '../policy/facts.ts'
import { decidePortal } from '../policy/portal.ts'
import type { LiveSession, ReadPerson } from './person.ts'
import { getContext } from './request-context.ts'

/** An app as the snapshot in force has it. */
export interface PublishedApp {
  readonly app: App
  readonly policy: CompiledApp
}

export interface PortalAppsPorts extends ReadPerson {
  readonly accessUrl: URL
  readonly apps: () => Iterable<PublishedApp>
  readonly readEnvironment: EnvironmentReader
  readonly devices: DeviceReader
  readonly live: Pick<Live, 'findLock'>
  readonly now: () => number
}

/** What is so about a person at this moment. */
export interface PersonsFacts extends Pick<Facts, 'subject' | 'signIn' | 'device' | 'environment'> {
  readonly live: LiveSession
  readonly reading: DeviceReading
  /** What is locked whatever the app: the person or the device. */
  readonly lock: LockFacts | undefined
}

/** An app that the person may know of. */
export interface KnownApp {
  readonly app: App
  /** Of opening its start page now. */
  readonly decision: Decision
}

/** The apps of a portal ask for different facts; one look-up serves them all. */
const everything: ReadonlySet<FactGroup> = new Set(['device', 'country', 'asn', 'client'])

/** Gathers the facts of a request that passed the guard. */
export async function gatherFacts(ports: PortalAppsPorts, request: Request, live: LiveSession): Promise<PersonsFacts> {
  const { accessUrl, devices, now, readEnvironment, readSubject } = ports
  const { claimsState, session } = live
  const reading = devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
  const circumstances: Circumstances = {
    address: getContext(request).address,
    at: now(),
    scheme: accessUrl.protocol === 'https:' ? 'https' : 'http',
    tlsVersion: request.socket instanceof TLSSocket ? (request.socket.getProtocol() ?? undefined) : undefined,
    userAgent: request.headers['user-agent'],
  }
  const subject = readSubject(session, claimsState)
  const deviceId = inventoryIdOf(reading.device) ?? reading.begunOn
  return {
    ...{ live, reading, subject, device: reading.device },
    signIn: readSignInFacts(session),
    environment: readEnvironment(circumstances, everything),
    // No app has an empty id.
    lock: ports.live.findLock({ subject, deviceId, appId: '' }),
  }
}

/** Decided without a pause: some milliseconds, which everybody else's requests wait for. */
const appsInTurn = 100

/** The apps that this person may know of, in the order of the policy. `on`: as if they came from this device, of the inventory or not. */
export async function findKnownApps(
  ports: Pick<PortalAppsPorts, 'apps' | 'live'>,
  facts: Omit<PersonsFacts, 'live' | 'lock'>,
  on?: Device,
): Promise<readonly KnownApp[]> {
  const { environment, signIn, subject } = facts
  const device: Known<Device> = on === undefined ? facts.device : { known: true, value: on }
  const deviceId = inventoryIdOf(device) ?? (on === undefined ? facts.reading.begunOn : undefined)
  const found: KnownApp[] = []
  let decided = 0
  for (const { app, policy } of ports.apps()) {
    decided += 1
    if (decided % appsInTurn === 0) await nextTurn()
    const lock = ports.live.findLock({ subject, deviceId, appId: app.id })
    const { decision, isVisible } = decidePortal(policy, { lock, subject, signIn, device, environment })
    if (isVisible) found.push({ app, decision })
  }
  return found
}

/** Whether asking for access could be of any use: something other than a lock or a better sign-in keeps the person out. */
export function mayAskFor({ effect, reason }: Decision): boolean {
  return effect === 'deny' && (reason === 'no_rule_matched' || reason === 'denied_by_rule')
}

function inventoryIdOf(device: Known<Device>): string | undefined {
  if (!device.known) return undefined
  const { id, isBlocked, isKnown } = device.value
  return isKnown || isBlocked === true ? id : undefined
}
