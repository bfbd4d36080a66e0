/**
 * Errands over the store: one record for what is asked, one for each instance's part, and an event whenever something of it changed.
 *
 * Whoever begins one names in it the instances that are registered at that moment; those hear the event, read the errand and carry it
 * out, and nobody else does. Parts and errand expire together, so that nothing has to be tidied up after a crash. An errand that is gone
 * is cancelled: whoever hears of it stops, and a part that was written too late is taken away by whoever wrote it. What is asked in a moment
 * (`ask`) stands in no index and takes nobody's place.
 *
 * Everything is sealed; the event holds a hash. Input and parts were written by this program and are not checked again.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { PosternError } from '../errors.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import { createSealedRecords } from '../session/sealed-records.ts'
import { hashOf } from '../session/secret.ts'
import type { SessionStore } from '../session/store.ts'
import { type CarryOutErrand, createErrandDesk } from './errand-desk.ts'
import { createErrandRecords, type ErrandRecord, type PartRecord } from './errand-records.ts'
import { type ErrandState, type Errands, mostErrandBytes, type PartState, partBeyond } from './errands.ts'
import { createInstanceRegistry } from './instance-registry.ts'

export interface ErrandsParts {
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly now: () => number
  readonly monotonicNow: () => number
  /** This instance's name, for people. */
  readonly instance: string
  readonly version: string
  readonly policyVersion: () => string
  readonly live: Pick<Live, 'listen'>
}

/** The errands of one instance: those that it began, and those that it carries out. */
export interface RunningErrands extends Errands {
  /** Gives up what it carries out, and says that this instance runs no more. */
  close(): Promise<void>
}

interface Asked {
  readonly kind: string
  readonly input: object
  readonly by: string
}

/** Long enough to verify a trail of years. */
const keptForMs = 3_600_000
/** What a short one leaves behind, if whoever asked was killed. */
const leftForMs = 5_000
const mostAtOnce = 8
/** Short ones of this instance; the next waits its turn, for half of its time. */
const mostAsksAtOnce = 16
/** Who may wait for one. */
const mostInQueue = 64
/** An event may be lost with a connection: then one looks. */
const lookAgainMs = 200

/** Enters the registry and begins to listen. */
export function createErrands(parts: ErrandsParts): RunningErrands {
  const { instance, live, log, monotonicNow, now, policyVersion, store, version } = parts
  const sealed = createSealedRecords(store, parts.keys, log)
  const records = createErrandRecords(store, sealed)
  const registry = createInstanceRegistry({ store, records: sealed, log, name: instance, startedAt: now(), version, policyVersion })
  const desk = createErrandDesk({ records, key: registry.key, monotonicNow, log })
  /** Who waits for news of an errand here. */
  const waiting = new Map<string, Set<() => void>>()
  const closing = new AbortController()

  const stopListening = live.listen((event) => {
    if (event.kind === 'errand_told') {
      desk.hear(event.errandHash)
      for (const wake of waiting.get(event.errandHash) ?? []) wake()
    } else if (event.kind === 'regained') {
      desk.lookAgain()
    }
  })

  async function write({ by, input, kind }: Asked, timeoutMs?: number): Promise<string> {
    const keepMs = timeoutMs === undefined ? keptForMs : timeoutMs + leftForMs
    if (Buffer.byteLength(JSON.stringify(input)) > mostErrandBytes) throw new RangeError(`an errand is at most ${mostErrandBytes} bytes`)
    const id = randomBytes(16).toString('base64url')
    const hash = hashOf(id)
    const [begunAt, { beyond, instances }] = await Promise.all([store.loadNow(), registry.list()])
    const asked = instances.map(({ key, name }) => ({ key, name }))
    const errand: ErrandRecord = { kind, input, by, begunAt, asked, beyond, timeoutMs, expiresAt: begunAt + keepMs }
    await records.createErrand(hash, errand, timeoutMs === undefined)
    // This instance need not hear of it first.
    desk.hear(hash)
    await records.tell(hash)
    return id
  }

  async function look<P>(id: string): Promise<ErrandState<P> | undefined> {
    const hash = hashOf(id)
    const errand = await records.loadErrand(hash)
    return errand === undefined ? undefined : await stateOf<P>(id, hash, errand)
  }

  async function stateOf<P>(id: string, hash: string, errand: ErrandRecord): Promise<ErrandState<P>> {
    const found = await Promise.all(errand.asked.map(({ key }) => records.loadPart(hash, key)))
    const isUnfinished = found.some((part) => part === undefined || part.state === 'running')
    const alive = isUnfinished ? new Set((await registry.list()).instances.map(({ key }) => key)) : undefined
    const asked = errand.asked.map(({ key, name }, i) => ({ instance: name, ...partOf<P>(found[i], alive?.has(key) !== false) }))
    const parts = [...asked, ...partBeyond(errand.beyond ?? 0)]
    const isOver = parts.every(({ state }) => state !== 'waiting' && state !== 'running')
    return { id, kind: errand.kind, input: errand.input, begunAt: errand.begunAt, parts, isOver }
  }

  async function forget(hash: string, isTold: boolean): Promise<void> {
    const errand = await records.loadErrand(hash)
    if (errand === undefined) return
    await records.removeErrand(
      hash,
      errand.asked.map(({ key }) => key),
    )
    if (isTold) await records.tell(hash)
  }

  /** The ninth takes the place of one that is over, or of the oldest. */
  async function makeRoom(): Promise<void> {
    const hashes = await records.listErrands()
    if (hashes.length < mostAtOnce) return
    const loaded = await Promise.all(hashes.map(async (hash) => ({ hash, errand: await records.loadErrand(hash) })))
    const open = await Promise.all(
      loaded.flatMap(({ errand, hash }) =>
        errand === undefined ? [] : [stateOf('', hash, errand).then(({ isOver }) => ({ errand, hash, isOver }))],
      ),
    )
    open.sort((a, b) => Number(b.isOver) - Number(a.isOver) || a.errand.begunAt - b.errand.begunAt)
    for (const { hash } of open.slice(0, open.length - mostAtOnce + 1)) await forget(hash, true)
  }

  let asks = 0
  const queue = new Set<() => void>()
  async function inTurn<P>(asked: Asked, timeoutMs: number): Promise<ErrandState<P>> {
    const until = monotonicNow() + timeoutMs
    if (asks < mostAsksAtOnce) asks += 1
    else if (!(await waitForTurn(timeoutMs / 2))) return await sayBusy(asked)
    try {
      return await askNow<P>(asked, until - monotonicNow())
    } finally {
      const [next] = queue
      if (next === undefined) asks -= 1
      else next()
    }
  }

  /** `false`: the queue is long, or moves slowly. */
  async function waitForTurn(milliseconds: number): Promise<boolean> {
    if (queue.size >= mostInQueue) return false
    const turn = Promise.withResolvers<boolean>()
    const leave = (isTurn: boolean) => {
      queue.delete(take)
      turn.resolve(isTurn)
    }
    const take = () => leave(true)
    queue.add(take)
    const timer = setTimeout(() => leave(false), milliseconds)
    try {
      return await turn.promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Nobody was asked: that is said of each, so that no answer counts as whole. */
  async function sayBusy<P>({ input, kind }: Asked): Promise<ErrandState<P>> {
    const [begunAt, { beyond, instances }] = await Promise.all([store.loadNow(), registry.list()])
    const why = 'it was not asked: too many questions are under way here; ask again in a moment'
    const parts = instances.map(({ name }) => ({ instance: name, state: 'failed', why }) as const)
    return { id: '', kind, input, begunAt, parts: [...parts, ...partBeyond(beyond)], isOver: true }
  }

  async function askNow<P>(asked: Asked, timeoutMs: number): Promise<ErrandState<P>> {
    const until = monotonicNow() + timeoutMs
    const id = await write(asked, timeoutMs)
    let isOver = false
    try {
      for (;;) {
        const news = listenFor(hashOf(id))
        try {
          const state = await look<P>(id)
          if (state === undefined) throw new PosternError('session_store_unavailable', 'the store has lost an errand that was just written')
          isOver = state.isOver
          const leftMs = until - monotonicNow()
          if (isOver || leftMs <= 0 || closing.signal.aborted) return withoutWaiting(state)
          await news.next(Math.min(leftMs, lookAgainMs))
        } finally {
          news.stop()
        }
      }
    } finally {
      // Whoever is late stops. Where it cannot be taken away it goes by itself, in seconds.
      forget(hashOf(id), !isOver).catch(() => undefined)
    }
  }

  /** Hears from now on, so that nothing is missed between a look and the wait. */
  function listenFor(hash: string) {
    const heard = Promise.withResolvers<void>()
    const wakers = waiting.get(hash) ?? new Set()
    waiting.set(hash, wakers.add(heard.resolve))
    return {
      async next(milliseconds: number) {
        const over = new AbortController()
        await Promise.race([heard.promise, pause(milliseconds, undefined, { signal: over.signal }).catch(() => undefined)])
        over.abort()
      },
      stop() {
        wakers.delete(heard.resolve)
        if (wakers.size === 0) waiting.delete(hash)
      },
    }
  }

  return {
    serve: <I, P>(kind: string, carryOut: (input: I, context: Parameters<CarryOutErrand>[1]) => Promise<P>) =>
      desk.serve(kind, carryOut as CarryOutErrand),
    async begin(kind, input, by) {
      await makeRoom()
      return await write({ kind, input, by })
    },
    look,
    cancel: (id) => forget(hashOf(id), true),
    ask: (kind, input, by, timeoutMs) => inTurn({ kind, input, by }, timeoutMs),
    async instances() {
      return (await registry.list()).instances.map(({ key, ...instance }) => ({ ...instance, isOwn: key === registry.key }))
    },
    async close() {
      closing.abort()
      stopListening()
      await desk.close()
      // A store that is away has forgotten this instance within fifteen seconds.
      await registry.close().catch(() => undefined)
    },
  }
}

function partOf<P>(record: PartRecord | undefined, isAlive: boolean): PartState<P> {
  switch (record?.state) {
    case 'done':
      return { state: 'done', part: record.part as P }
    case 'failed':
      return { state: 'failed', why: record.why }
    case 'running':
      return isAlive ? { state: 'running', progress: record.progress } : { state: 'missing' }
    case undefined:
      return { state: isAlive ? 'waiting' : 'missing' }
  }
}

/** Nobody waits any longer. */
function withoutWaiting<P>(state: ErrandState<P>): ErrandState<P> {
  const parts = state.parts.map((part) =>
    part.state === 'waiting' || part.state === 'running' ? ({ instance: part.instance, state: 'missing' } as const) : part,
  )
  return { ...state, parts, isOver: true }
}
