/**
 * What the tests of this folder share: a key ring, a movable clock, and stores of both kinds behind it.
 */

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis, type TestRedis } from '../../e2e/support/redis.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { AssertionKey, KeyRing } from '../keys.ts'
import { createLive, type LiveParts } from '../live/create-live.ts'
import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import type { RefreshResult, RelyingParty } from '../oidc/relying-party.ts'
import { createEmbeddedStore } from '../stores/embedded.ts'
import { createRedisStore } from '../stores/redis.ts'
import type { SignedIn } from './session.ts'
import { createSessions, keepEndsForSeconds, type SessionService, type SessionServiceOptions } from './session-service.ts'
import type { SessionStore } from './store.ts'

/** Says nothing. */
export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  fatal: () => undefined,
  flush: () => undefined,
}

/** A ring of `count` sealing keys, the first of them current. */
export function createTestRing(count = 1): KeyRing {
  const sealing = Array.from({ length: count }, (_, i) => ({ id: `k${i}${randomBytes(2).toString('hex')}`, key: randomBytes(32) }))
  const [current] = sealing
  if (current === undefined) throw new TypeError('a ring has at least one key')
  return {
    sealing: { current, all: new Map(sealing.map((key) => [key.id, key])) },
    assertion: { current: createTestAssertionKey(), next: undefined, previous: undefined },
    audit: createTestAuditKeys(),
  }
}

function createTestAuditKeys(): KeyRing['audit'] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const current = { kid: 'test-audit', privateKey, publicKey: String(publicKey.export({ format: 'jwk' }).x) }
  return { current, all: new Map([[current.kid, current.publicKey]]) }
}

function createTestAssertionKey(): AssertionKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { kid: 'test', privateKey, publicJwk: { ...publicKey.export({ format: 'jwk' }), kid: 'test', alg: 'ES256', use: 'sig' } }
}

/** One clock for everything; it stands still unless moved, so that equal instants really happen. */
export interface TestClock {
  readonly now: () => number
  move(milliseconds: number): void
}

/** A clock that stands still. */
export function createTestClock(): TestClock {
  let time = 1_800_000_000_000
  return {
    now: () => time,
    move: (milliseconds) => {
      time += milliseconds
    },
  }
}

/** A store and the clock that moves it. */
export interface StorePlace {
  readonly kind: 'embedded' | 'redis'
  readonly store: SessionStore
  readonly clock: TestClock
  readonly redis: TestRedis | undefined
  close(): Promise<void>
}

/** The embedded store on a clock of its own. */
export async function openEmbeddedPlace(): Promise<StorePlace> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-sessions-'))
  const clock = createTestClock()
  const store = createEmbeddedStore({ file: join(folder, 'store.db'), now: clock.now })
  return {
    kind: 'embedded',
    store,
    clock,
    redis: undefined,
    async close() {
      await closeLives(clock)
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A real Redis whose clock runs on by itself and can be moved. */
export async function openRedisPlace(): Promise<StorePlace> {
  const redis = await startRedis({ persist: true })
  let shift = 0
  const store = createRedisStore({ url: redis.url, log: silentLog, commandTimeoutMs: 1_000, clockShift: () => shift })
  await store.waitUntilReady(5_000)
  const clock: TestClock = {
    now: () => performance.now() + shift,
    move: (milliseconds) => {
      shift += milliseconds
    },
  }
  return {
    kind: 'redis',
    store,
    clock,
    redis,
    async close() {
      await closeLives(clock)
      await store.close()
      await redis.close()
    },
  }
}

/** Closed with the place whose clock they have. */
const lives = new WeakMap<TestClock, Live[]>()

async function closeLives(clock: TestClock): Promise<void> {
  await Promise.all((lives.get(clock) ?? []).map((live) => live.close()))
  lives.delete(clock)
}

/** The ends, locks and news of one instance over a real store. Closes with its place. */
export function createTestLive({ store, clock }: Pick<StorePlace, 'store' | 'clock'>, options: Partial<LiveParts> = {}): Live {
  const live = createLive({
    store,
    loadLocks: async () => [],
    monotonicNow: clock.now,
    keepSeconds: keepEndsForSeconds({ lifetimeSeconds: 43_200 }),
    log: silentLog,
    ...options,
  })
  lives.set(clock, [...(lives.get(clock) ?? []), live])
  return live
}

/** One instance, and what it reported. */
export interface TestSessions {
  readonly live: Live
  readonly sessions: SessionService
  readonly events: AuditEvent[]
  /** Replaces what the provider answers to a refresh. */
  answerRefresh(answer: (...asked: Parameters<RelyingParty['refresh']>) => Promise<RefreshResult>): void
  readonly refreshCalls: () => number
}

/** One instance over a store; several instances share one store by sharing a place. */
export function createTestSessions(
  place: Pick<StorePlace, 'store' | 'clock'>,
  ring: KeyRing,
  options: Partial<SessionServiceOptions> = {},
): TestSessions {
  const events: AuditEvent[] = []
  const live = options.live ?? createTestLive(place)
  let calls = 0
  let answer: RelyingParty['refresh'] = () => Promise.resolve({ outcome: 'unreachable', cause: new Error('no provider') })
  const sessions = createSessions({
    store: place.store,
    live,
    keys: () => ring,
    now: place.clock.now,
    monotonicNow: place.clock.now,
    settings: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200, refreshAfterSeconds: 300, claimsMaxAgeSeconds: 600 },
    providerSettings: { providerGraceSeconds: 3_600, withoutRefreshToken: 'reauthenticate' },
    refresh: (...asked) => {
      calls += 1
      return answer(...asked)
    },
    onEvent: (event) => events.push(event),
    log: silentLog,
    ...options,
  })
  return {
    live,
    sessions,
    events,
    answerRefresh: (next) => {
      answer = next
    },
    refreshCalls: () => calls,
  }
}

/** Alice, freshly signed in. */
export function signedInAs(sub: string, change: Partial<SignedIn> = {}): SignedIn {
  return {
    issuer: 'https://op.corp.example',
    sub,
    claims: Object.assign(Object.create(null), {
      sub,
      email: `${sub}@corp.example`,
      email_verified: true,
      name: `Name of ${sub}`,
      groups: ['staff'],
    }),
    signIn: { at: 1_800_000_000_000, authTime: undefined, acr: undefined, amr: ['pwd'] },
    tokens: { idToken: `id-${sub}`, accessToken: `access-${sub}`, refreshToken: `refresh-${sub}` },
    providerSid: `sid-${sub}`,
    ...change,
  }
}

/** Where test people sign in from. */
export const browserOrigin = { address: '192.0.2.7', userAgent: 'Test/1.0' }
