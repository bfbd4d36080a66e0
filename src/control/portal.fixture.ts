/**
 * An access host with everything that the pages about oneself are made of: the inventory, the recent window and requests, all over the host's own
 * store; devices are told apart by the provider's claim `device_id`.
 */

import { type AccessRequestsRecord, createAccessRequests } from '../administration/access-requests.ts'
import { createDeviceDirectory } from '../administration/device-directory.ts'
import { createDevices, type DeviceRecord, type Devices } from '../administration/devices.ts'
import { createDurableRecords } from '../administration/durable-records.ts'
import { createTrailWindow } from '../administration/trail-window.ts'
import { createDeviceReader } from '../attributes/device-record.ts'
import { linePrefix } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { createLineBatch } from '../audit/follow-batch.ts'
import { formatAuditLine } from '../audit/line.ts'
import { type AuditWindow, createAuditWindow } from '../audit/window.ts'
import type { Lock } from '../live/lock.ts'
import type { App, Level } from '../policy/document.ts'
import { open, seal } from '../session/seal.ts'
import type { ControlPlaneSettings } from './app.ts'
import { type AccessHost, type Answer, accessUrl, type Browser, startAccessHost } from './control-plane.fixture.ts'
import type { DataRules } from './my-data-content.ts'

export interface PersonalHost extends AccessHost {
  readonly inventory: Devices
  readonly requests: ReturnType<typeof createAccessRequests>
  /** A browser of this person. */
  signInAs(sub: string, claims?: Readonly<Record<string, unknown>>): Promise<Browser>
  /** Puts decisions into the recent window. */
  remember(...events: readonly AuditEvent[]): Promise<void>
}

export interface PersonalHostOptions {
  readonly apps: readonly App[]
  readonly areRequestsOn?: boolean
  readonly limits?: { readonly perPerson: number; readonly inAll: number }
  readonly locks?: readonly Lock[]
  readonly rules?: Partial<DataRules>
  readonly levels?: readonly Level[]
  readonly change?: Partial<ControlPlaneSettings>
}

/** What the configuration says unless a test says otherwise. */
export const usualRules: DataRules = {
  provider: 'op.example',
  groupClaims: [['groups']],
  deviceIdClaim: ['device_id'],
  postureClaims: [],
  session: { idleTimeoutSeconds: 1800, lifetimeSeconds: 43_200 },
  audit: {
    query: 'drop',
    keep: { ageSeconds: 400 * 86_400, bytes: 20 * 1024 ** 3 },
    recordClaims: [],
    redact: [],
    windowEvents: 1000,
    receivers: 0,
  },
  places: { country: false, asn: false },
  roles: ['admin'],
}

/** Starts one. */
export async function startPersonalHost(options: PersonalHostOptions): Promise<PersonalHost> {
  const { apps, areRequestsOn = true, levels = [], limits } = options
  let inventory: Devices | undefined
  let requests: ReturnType<typeof createAccessRequests> | undefined
  let window: AuditWindow | undefined
  const deviceIdClaim = ['device_id']
  const host = await startAccessHost(
    ({ events, log, sealer, store }) => {
      const durable = { store, keys: sealer.keys, log }
      inventory = createDevices({
        records: createDurableRecords<DeviceRecord>('device', durable),
        onEvent: () => undefined,
        tell: async () => undefined,
        lock: async () => undefined,
        unlock: async () => undefined,
        endSessions: async () => undefined,
        now: sealer.now,
      })
      requests = createAccessRequests({
        records: createDurableRecords<AccessRequestsRecord>('access_request', durable),
        loadNow: () => store.loadNow(),
        monotonicNow: sealer.now,
        record: (event) => void events.push(event),
        ...(limits === undefined ? {} : { limits }),
      })
      window = createAuditWindow({
        store,
        keepEvents: 1000,
        seal: (name, plaintext) => seal(sealer.keys(), { purpose: 'window', name }, plaintext),
        open: (name, sealed) => open(sealer.keys(), { purpose: 'window', name }, sealed),
        log,
      })
      const directory = createDeviceDirectory({ devices: inventory, monotonicNow: sealer.now, maxAgeMs: 0 })
      return {
        devices: createDeviceReader({ certificates: undefined, directory, claims: { deviceId: deviceIdClaim } }),
        personal: {
          inventory,
          trail: createTrailWindow({ window, monotonicNow: sealer.now }),
          policy: () => ({ apps, levels, rules: [] }),
          claimPaths: () => [['department']],
          deviceIdClaim,
          rules: { ...usualRules, ...options.rules },
          requests: areRequestsOn ? requests : undefined,
          rolesOf: async ({ kind, ...subject }) => (kind === 'person' && 'sub' in subject && subject.sub === 'root' ? ['admin'] : []),
        },
        ...options.change,
      }
    },
    apps,
    { claimsMaxAgeSeconds: 200_000, withoutRefreshToken: 'accept', ...(options.locks === undefined ? {} : { locks: options.locks }) },
  )
  if (inventory === undefined || requests === undefined || window === undefined) throw new TypeError('the host was not built')
  const kept = window
  let sequence = 0
  return {
    ...host,
    inventory,
    requests,
    async signInAs(sub, claims = {}) {
      host.provider.behaviour.person = {
        sub,
        sid: `sid-${sub}`,
        claims: { name: sub, email: `${sub}@corp.test`, email_verified: true, groups: ['staff'], ...claims },
      }
      const browser = host.browser()
      await browser.signIn()
      return browser
    },
    async remember(...events) {
      const lines = events.map((event) => formatAuditLine(event, host.sealer.now(), 'host-1', linePrefix(++sequence, 'A'.repeat(43))))
      await kept.consumer.send(createLineBatch('host-1', Buffer.from(lines.join(''))), new AbortController().signal)
    },
  }
}

export const formHeaders = {
  accept: 'text/html',
  origin: accessUrl.origin,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
} as const

/** The token in a page's form. */
export function tokenOf({ body }: Pick<Answer, 'body'>): string {
  return /name="form_token" value="([^"]+)"/.exec(body)?.[1] ?? ''
}
