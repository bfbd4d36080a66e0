/**
 * Who stands before the console, and with which roles: the facts of this very request, and what the roles' decision makes of them.
 *
 * Nothing is remembered from one request to the next. What is held of ends and locks is confirmed before it is relied on, as on the data
 * plane; a store that does not answer is 503 and never a role.
 */

import { TLSSocket } from 'node:tls'
import type { Request } from 'express'
import type { Asker, Permission } from '../../administration/asker.ts'
import type { ConsoleRoles, RoleDecision } from '../../administration/console-roles.ts'
import type { DeviceReader } from '../../attributes/device-facts.ts'
import type { EnvironmentReader } from '../../attributes/environment-facts.ts'
import { readSignInFacts } from '../../attributes/sign-in-facts.ts'
import { displayNameOf } from '../../attributes/subject-facts.ts'
import type { Live } from '../../live/live.ts'
import type { FactGroup, Facts } from '../../policy/facts.ts'
import { emailOf, type LiveSession, type ReadPerson } from '../person.ts'
import { getContext } from '../request-context.ts'

/** Somebody signed in, and what they may do here. */
export interface Visitor {
  readonly live: LiveSession
  /** How they would recognise themselves. */
  readonly name: string
  /** What they were judged on. */
  readonly facts: Facts
  readonly decision: RoleDecision
  /** With roles; `undefined` for somebody who holds none now. */
  readonly asker: Asker | undefined
}

export interface ConsolePeople {
  /** Judges the person of a live session by this request. Rejects with `session_store_unavailable`. */
  judge(request: Request, live: LiveSession): Promise<Visitor>
}

export interface ConsolePeoplePorts extends ReadPerson {
  readonly accessUrl: URL
  readonly roles: Pick<ConsoleRoles, 'decide'>
  readonly devices: DeviceReader
  readonly readEnvironment: EnvironmentReader
  /** Ends and locks as this instance holds them. */
  readonly live: Pick<Live, 'isCurrent' | 'confirm' | 'findLock'>
  readonly now: () => number
}

/** No app can be called this, so that a lock on an app never closes the console. */
const lockedAs = '/console'

/** Roles may ask for anything that levels can. */
const everything: ReadonlySet<FactGroup> = new Set(['device', 'country', 'asn', 'client'])

/** Judges people by the roles given. */
export function createConsolePeople(ports: ConsolePeoplePorts): ConsolePeople {
  const { accessUrl, devices, live, now, readEnvironment, readSubject, roles } = ports

  async function gather(request: Request, { claimsState, session }: LiveSession): Promise<Facts> {
    const reading = devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
    if (!live.isCurrent()) await live.confirm()
    const subject = readSubject(session, claimsState)
    const { device } = reading
    const deviceId = device.known && (device.value.isKnown || device.value.isBlocked === true) ? device.value.id : reading.begunOn
    const method = request.method
    return {
      lock: live.findLock({ subject, deviceId, appId: lockedAs }),
      subject,
      signIn: readSignInFacts(session),
      device,
      request: { method, methodClass: method === 'GET' || method === 'HEAD' ? 'read' : 'write', path: request.path },
      environment: readEnvironment(
        {
          address: getContext(request).address,
          at: now(),
          scheme: accessUrl.protocol === 'https:' ? 'https' : 'http',
          tlsVersion: request.socket instanceof TLSSocket ? (request.socket.getProtocol() ?? undefined) : undefined,
          userAgent: request.headers['user-agent'],
        },
        everything,
      ),
    }
  }

  return {
    async judge(request, person) {
      const facts = await gather(request, person)
      const decision = await roles.decide(facts)
      const { session } = person
      const name = emailOf(facts.subject) ?? displayNameOf(session)
      const { issuer, sub } = session
      const asker: Asker | undefined =
        decision.outcome === 'held'
          ? { actor: `person:${sub}`, label: name, subject: { issuer, sub }, roles: decision.roles, permissions: decision.permissions }
          : undefined
      return { live: person, name, facts, decision, asker }
    },
  }
}

/** Whether a visitor may do this. */
export function isPermitted({ asker }: Pick<Visitor, 'asker'>, permission: Permission): boolean {
  return asker?.permissions.has(permission) === true
}
