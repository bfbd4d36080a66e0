/**
 * People, devices and locks for tests of their pages: a real console over the real use cases, with somebody to help and somebody to leave alone.
 *
 * What only other instances or the whole data plane could say is stood in for here: how many connections are open.
 */

import { createConsoleRoles } from '../../administration/console-roles.ts'
import { define } from '../../administration/devices.fixture.ts'
import { refOf } from '../../administration/person-ref.ts'
import { createTrailWindow } from '../../administration/trail-window.ts'
import { createEnvironmentReader } from '../../attributes/environment-facts.ts'
import { linePrefix } from '../../audit/chain.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { createLineBatch } from '../../audit/follow-batch.ts'
import { formatAuditLine } from '../../audit/line.ts'
import { createAuditWindow } from '../../audit/window.ts'
import { decided } from '../../audit/written-trail.fixture.ts'
import { type Access, composeAccess } from '../../compose-access.ts'
import { type ComposedPeople, composePeople } from '../../compose-people.ts'
import type { InstanceConfiguration } from '../../config/instance.ts'
import { PosternError } from '../../errors.ts'
import { open, seal } from '../../session/seal.ts'
import type { Session, SignedIn } from '../../session/session.ts'
import { type HostParts, testApps } from '../control-plane.fixture.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { startConsole, type TestConsole, testRoles } from './console.fixture.ts'

export interface PeopleOffice {
  readonly console: TestConsole
  readonly access: Access
  readonly theme: ComposedPeople
  /** What was on record before it was handed out; and whether the trail can be written. */
  readonly reads: AuditEvent[]
  setWritable(isWritable: boolean): void
  setConnections(open: number | undefined): void
  /** Somebody signs in. */
  signIn(sub: string, claims?: Record<string, unknown>, how?: SignInHow): Promise<Session>
  ref(sub: string): string
  decide(
    ...decisions: { readonly request: string; readonly sub: string; readonly effect: 'allow' | 'deny'; readonly path?: string }[]
  ): Promise<void>
  close(): Promise<void>
}

export interface SignInHow {
  readonly address?: string
  readonly userAgent?: string
  readonly device?: Session['device']
}

export const hostile = `<img src=x onerror=alert(1)>"'&<script>`
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'

/** Starts one. */
export async function openPeopleOffice(): Promise<PeopleOffice> {
  let made: { readonly access: Access; readonly theme: ComposedPeople; readonly parts: HostParts } | undefined
  const reads: AuditEvent[] = []
  let isWritable = true
  let openConnections: number | undefined = 0
  let issuer = ''

  const console = await startConsole({
    mounts: (parts) => {
      const keys = parts.sealer.keys
      const provider = {
        issuer: new URL(parts.provider.issuer),
        claims: { groups: [['groups']], deviceId: ['device'], posture: new Map() },
        groups: { stripPrefix: '', names: new Map() },
        groupsWhenMissing: 'unknown' as const,
        email: 'verified' as const,
      }
      const configuration = {
        session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 },
        provider,
      } as unknown as InstanceConfiguration
      const record = (event: AuditEvent) => void parts.events.push(event)
      const access = composeAccess({
        configuration,
        store: parts.store,
        keys,
        log: parts.log,
        now: parts.sealer.now,
        ends: parts.sessions,
        record,
      })
      const document = { apps: testApps(), services: [], levels: [], rules: [] }
      const window = createAuditWindow({
        store: parts.store,
        seal: (name, plaintext) => seal(keys(), { purpose: 'window', name }, plaintext),
        open: (name, sealed) => open(keys(), { purpose: 'window', name }, sealed),
        keepEvents: 10_000,
        log: parts.log,
      })
      const theme = composePeople({
        configuration,
        access,
        live: parts.live,
        log: parts.log,
        now: parts.sealer.now,
        roles: createConsoleRoles({
          settings: testRoles,
          policy: () => levelless,
          findInvitation: async () => [],
        }),
        policy: () => document,
        readEnvironment: createEnvironmentReader({}),
        trail: createTrailWindow({ window, monotonicNow: () => performance.now() }),
        connections: { countOpen: async () => openConnections },
        async recordFirst(event) {
          if (!isWritable) throw new PosternError('audit_unavailable', 'no room')
          reads.push(event)
        },
        carryOut: createCarryOut(),
      })
      made = { access, theme, parts }
      writeDecisions = async (events) => {
        const lines = events.map((event, at) =>
          formatAuditLine(event, parts.sealer.now() - 60_000 + at, 'host-0', linePrefix(++written, 'A'.repeat(43))),
        )
        await window.consumer.send(createLineBatch('host-0', Buffer.from(lines.join(''))), new AbortController().signal)
      }
      return [theme.mount]
    },
  })
  issuer = console.host.provider.issuer
  if (made === undefined) throw new TypeError('the console was mounted without its pages')
  const { access, theme } = made

  const claimsOf = (sub: string, claims: Record<string, unknown>): SignedIn['claims'] =>
    Object.assign(Object.create(null), {
      sub,
      email: `${sub}@corp.example`,
      email_verified: true,
      name: `Name of ${sub}`,
      groups: ['staff'],
      ...claims,
    })

  return {
    console,
    access,
    theme,
    reads,
    setWritable(now) {
      isWritable = now
    },
    setConnections(now) {
      openConnections = now
    },
    async signIn(sub, claims = {}, { address = '192.0.2.7', device, userAgent = firefox } = {}) {
      const signedIn = {
        issuer,
        sub,
        claims: claimsOf(sub, claims),
        signIn: { at: console.host.sealer.now(), authTime: undefined, acr: undefined, amr: ['pwd', 'otp'] },
        tokens: { idToken: 'secret-id-token', accessToken: 'secret-access-token', refreshToken: 'secret-refresh-token' },
        providerSid: undefined,
      }
      return (await console.host.sessions.begin(signedIn, { address, userAgent }, undefined, device)).session
    },
    ref: (sub) => refOf({ issuer, sub }),
    decide: (...decisions) =>
      writeDecisions(
        decisions.map(({ effect, path = '/', request, sub }) =>
          decided(request, {
            subject: { kind: 'person', issuer, sub, email: `${sub}@corp.example` },
            effect,
            reason: effect === 'allow' ? 'rule_matched' : 'no_rule_matched',
            path,
          }),
        ),
      ),
    async close() {
      await theme.close()
      await console.close()
    },
  }
}

const levelless = { version: 'test', zone: 'UTC', levels: [] }
let written = 0
let writeDecisions: (events: readonly AuditEvent[]) => Promise<void> = () => Promise.reject(new TypeError('there is no window yet'))

/** A laptop of the inventory, with a certificate to recognise it by. */
export function laptop(id: string, change: Partial<Parameters<typeof define>[0]> = {}) {
  return define({ id, name: id, fingerprints: [Buffer.from(id.padEnd(32, '.')).toString('hex').slice(0, 64)], ...change })
}
