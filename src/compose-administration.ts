/**
 * The composition root of commands on a running system: what `postern token`, `device` and the like are given.
 *
 * The same use cases as in the console, over the store as a command reaches it (`compose-store.ts`); none of it needs the provider, so it
 * works when that is down. Everything that is done is recorded as `os:<user>@<host>`: in the trail of the instance whose socket was
 * used, else in a folder of this command's own beside it.
 */

import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import type { AccessOrders } from './administration/access-orders.ts'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import { type BreakGlassDesk, createBreakGlassDesk } from './administration/break-glass.ts'
import { type ConsoleInvitations, createConsoleInvitations, type InvitationRecord } from './administration/console-invites.ts'
import type { Devices } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import type { Locks } from './administration/locks.ts'
import { type ResealReport, resealDurable } from './administration/resealing.ts'
import { issuersOf } from './administration/subject-lookup.ts'
import { createTokens, type TokenRecord, type Tokens } from './administration/tokens.ts'
import type { Anchors } from './audit/chain.ts'
import type { AdministrativeEvent } from './audit/event.ts'
import { createRedaction } from './audit/redaction.ts'
import { openAuditTrail } from './audit/trail.ts'
import { composeAccess } from './compose-access.ts'
import { now } from './compose-machine.ts'
import { type AdministeredStore, openAdministeredStore } from './compose-store.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { createLogger, type Logger } from './log.ts'
import type { People } from './session/people.ts'
import { createSealedRecords } from './session/sealed-records.ts'
import { createSessionEnds } from './session/session-ends.ts'
import { expiredIsKnownForMs } from './session/session-record.ts'
import type { SessionStore } from './session/store.ts'

/** What a command on a running system works with. */
export interface Administration {
  /** Who does it, as the trail says it. */
  readonly actor: string
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly tokens: Tokens
  /** Who has signed in here, as last seen. */
  readonly people: People
  readonly devices: Devices
  readonly locks: Locks
  /** Locks and ends of sessions, in the administrator's words. */
  readonly orders: AccessOrders
  readonly breakGlass: BreakGlassDesk
  /** Roles of the console for a while. */
  readonly invitations: ConsoleInvitations
  /** Resolves once the running instance has it, or it waits for `close` to write it. */
  record(event: AdministrativeEvent): Promise<void>
  /** As `record`, and resolves once it is written; rejects with `audit_unavailable` if it cannot be: for what must not be done off the record. */
  recordFirst(event: AdministrativeEvent): Promise<void>
  /** Call it however the command ends. Rejects with `audit_unavailable` if what was done could not be written down. */
  close(): Promise<void>
}

/** What of the configuration is needed. Of the provider that is its name: it is never asked. */
export type AdministrationConfiguration = StoreConfiguration &
  Pick<InstanceConfiguration, 'provider'> & { readonly audit: Pick<InstanceConfiguration['audit'], 'redact'> }

/** Opens the store for one command. Rejects with `PosternError`; then nothing is left open. */
export async function openAdministration(configuration: AdministrationConfiguration, log: Logger): Promise<Administration> {
  const { opened, keys } = await openSealedStore(configuration, log)
  const { store } = opened
  const trail = openTrail(opened, configuration, { keys, log, anchors: createAuditAnchors({ store, keys, log }) })
  const durable = { store, keys, log }
  const access = composeAccess({
    ...durable,
    configuration,
    now,
    ends: createSessionEnds({
      store,
      records: createSealedRecords(store, keys, log),
      keepSeconds: configuration.session.lifetimeSeconds + expiredIsKnownForMs / 1000,
      // Instances hear of an end by the store; a command answers no request.
      noteEnds: () => undefined,
      forget: () => undefined,
      onEvent: (event) => trail.note(event as AdministrativeEvent),
      log,
    }),
    record: trail.record,
  })

  return {
    actor: describeActor(),
    store,
    keys,
    tokens: createTokens({
      records: createDurableRecords<TokenRecord>('token', durable),
      now,
      monotonicNow: () => performance.now(),
      record: trail.recordFirst,
    }),
    devices: access.devices,
    locks: access.locks,
    orders: access.orders,
    breakGlass: createBreakGlassDesk({
      store,
      records: access.records,
      people: access.people,
      locks: access.locks,
      issuers: issuersOf(configuration.provider.issuer),
      recordFirst: trail.recordFirst,
    }),
    invitations: createConsoleInvitations({
      records: createDurableRecords<InvitationRecord>('console_invite', durable),
      loadNow: () => store.loadNow(),
      now,
      monotonicNow: () => performance.now(),
      recordFirst: trail.recordFirst,
      tell: () => store.publish({ kind: 'invitations', detail: '' }),
    }),
    people: access.people,
    record: trail.record,
    recordFirst: trail.recordFirst,
    async close() {
      try {
        await trail.close()
      } finally {
        await store.close()
      }
    },
  }
}

/** Every public key that ever signed a checkpoint of the trail. Throws `keys_missing` where there is no key file. */
export function loadAuditKeys({ keysFile }: Pick<InstanceConfiguration, 'keysFile'>): ReadonlyMap<string, string> {
  return loadKeys(keysFile, now()).audit.all
}

/** The heads of chains that the store remembers. Makes nothing that is not there; rejects with `PosternError` where it cannot be asked. */
export async function openAnchors(
  configuration: StoreConfiguration,
): Promise<{ readonly anchors: Pick<Anchors, 'list'>; close(): Promise<void> }> {
  const log = createLogger('error', 'stderr')
  const ring = loadKeys(configuration.keysFile, now())
  const { store } = await openAdministeredStore(configuration, { now, log })
  return { anchors: createAuditAnchors({ store, keys: () => ring, log }), close: () => store.close() }
}

/** Seals every durable record with the current key: what `keys rotate` does for the time when no instance runs. */
export async function resealRecords(configuration: StoreConfiguration): Promise<ResealReport> {
  const log = createLogger('error', 'stderr')
  const { opened, keys } = await openSealedStore(configuration, log)
  try {
    return await resealDurable({ store: opened.store, keys, log })
  } finally {
    await opened.store.close()
  }
}

type StoreConfiguration = Pick<InstanceConfiguration, 'session' | 'dataDir' | 'keysFile'>

async function openSealedStore(configuration: StoreConfiguration, log: Logger) {
  // As a serving instance does: with a shared store, keys of this machine's own would open nothing.
  if (configuration.session.store.kind === 'embedded') createKeysFile(configuration.keysFile, now())
  const ring = loadKeys(configuration.keysFile, now())
  const keys: CurrentKeys = () => ring
  return { opened: await openAdministeredStore(configuration, { now, log }), keys }
}

/** The trail of one command. */
interface CommandTrail {
  record(event: AdministrativeEvent): Promise<void>
  /** As `record`; whether it went well is told by `close`. */
  note(event: AdministrativeEvent): void
  /** Resolves once the event is written; rejects with `audit_unavailable` if it cannot be. */
  recordFirst(event: AdministrativeEvent): Promise<void>
  close(): Promise<void>
}

/** The running instance's trail, or one of this command's own: no two processes write into one file. */
function openTrail(
  { recordEvent }: AdministeredStore,
  { audit, dataDir, provider }: AdministrationConfiguration,
  parts: OwnTrailParts,
): CommandTrail {
  const folder = join(dataDir, 'audit')
  // As a running instance does with what it is handed.
  const redaction = createRedaction({ fields: audit.redact, groupClaims: provider.claims.groups })
  const noted = new Set<Promise<void>>()
  let refusal: unknown
  /** Opened with the first event: who only looks leaves nothing. */
  let own: ReturnType<typeof openOwnTrail> | undefined

  const record = async (event: AdministrativeEvent) => {
    if (recordEvent !== undefined) return await recordEvent(event)
    own ??= openOwnTrail(folder, parts)
    const { trail } = await own
    trail.record(redaction.event(event))
  }
  const unavailable = (cause: unknown) =>
    new PosternError('audit_unavailable', `what was done could not be written down in ${folder}`, { cause })
  const settleOwn = async () => {
    if (own === undefined) return
    const { failure, trail } = await own
    if (!(await trail.settle()) || trail.status().lost > 0) throw unavailable(failure())
  }

  return {
    record,
    note(event) {
      const handedOver = record(event)
        .catch((error: unknown) => {
          refusal ??= error
        })
        .finally(() => noted.delete(handedOver))
      noted.add(handedOver)
    },
    async recordFirst(event) {
      await record(event)
      await settleOwn()
    },
    async close() {
      await Promise.all(noted)
      await (await own)?.trail.close()
      await settleOwn()
      if (refusal !== undefined) throw unavailable(refusal)
    },
  }
}

interface OwnTrailParts {
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly anchors: Anchors
}

/** Without a reserve: a command's lines are few, and on a full disk it has what the running instance gave up. */
async function openOwnTrail(folder: string, { anchors, keys, log }: OwnTrailParts) {
  let failure: unknown
  const trail = await openAuditTrail({
    folder,
    instance: hostname(),
    process: 'command',
    key: () => keys().audit.current,
    anchors,
    reserveBytes: 0,
    now,
    log: {
      warn: log.warn,
      error: (...args: Parameters<Logger['error']>) => {
        log.error(...args)
        failure ??= (args[0] as { readonly err?: unknown }).err
      },
    },
  })
  return { trail, failure: () => failure }
}

/** A container may run as a user that has a number and no name. */
function describeActor(): string {
  let user: string
  try {
    user = userInfo().username
  } catch {
    // There is no entry for this user; its number says as much.
    user = String(process.getuid?.() ?? 'unknown')
  }
  return `os:${user}@${hostname()}`
}
