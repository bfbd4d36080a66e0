/**
 * What is being forwarded at this moment: so that it can be cut, and so that one clock watches over all of it.
 *
 * Every request enters and leaves, and hardly one is ever looked for; so it is an array with the places noted in the entries.
 * A `Map` would do, but it is rebuilt every few dozen of these pairs, and each table keeps its successor alive once one of them is
 * old: the garbage of all requests is then copied into the old generation (measured: 10 µs of CPU a request, of 50).
 * Time is counted in tenths of a second: a timer of its own for each request and each chunk would cost more than it tells. While the
 * process itself is held up no tick passes, so nobody is blamed for that.
 */

import type { CutCause, Standing } from './exchange.ts'
import type { WatchedExchange } from './watched-exchange.ts'

export interface OpenExchange {
  readonly exchangeId: string
  /** Its place, -1 without one; for `OpenExchanges` alone. */
  openIndex: number
  /** Monotonic instant at which whoever watches is to be asked about it; 0 for what was never looked at. */
  dueAt: number
  /** What it was decided with, as the watcher keeps it; nothing is made of a request that is over within a moment. */
  watched: WatchedExchange | undefined
  /** What it was allowed on; `undefined`: it is not decided again. */
  readonly standing: Standing | undefined
  /** Body bytes so far, from the client and to it. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Ends it: a WebSocket with a close frame of this code, anything else at once. With a `cause` nothing under way still arrives. */
  cut(closeCode: number, cause?: CutCause): void
  /** Hears each tick; ends itself if something took too long. */
  checkTime(tick: number): void
}

/** Who watches over what is open. */
export interface ExchangeWatcher {
  /** Ten times a second, `now` on the monotonic clock. */
  onTick(now: number): void
  /** This one's `dueAt` has come; it is asked again each tick until that is moved. */
  onDue(exchange: OpenExchange, now: number): void
}

const tickMs = 100

export class OpenExchanges {
  /** Ticks so far. */
  tick = 0
  readonly #open: OpenExchange[] = []
  readonly #clock = setInterval(() => this.#advance(), tickMs).unref()
  readonly #monotonicNow: () => number
  #watcher: ExchangeWatcher | undefined

  constructor(monotonicNow: () => number) {
    this.#monotonicNow = monotonicNow
  }

  get size(): number {
    return this.#open.length
  }

  add(exchange: OpenExchange): void {
    exchange.openIndex = this.#open.push(exchange) - 1
  }

  remove(exchange: OpenExchange): void {
    const { openIndex } = exchange
    if (openIndex === -1 || this.#open[openIndex] !== exchange) return
    exchange.openIndex = -1
    const last = this.#open.pop()
    if (last === undefined || last === exchange) return
    this.#open[openIndex] = last
    last.openIndex = openIndex
  }

  /** Cuts the one with this id; `false` if it is not open. */
  cut(exchangeId: string, closeCode: number): boolean {
    const found = this.#open.find((exchange) => exchange.exchangeId === exchangeId)
    found?.cut(closeCode)
    return found !== undefined
  }

  /** Visits each; the one that is visited may be cut. */
  forEach(visit: (exchange: OpenExchange) => void): void {
    // From the end: whoever removes itself is replaced by one that was visited already.
    for (let i = this.#open.length - 1; i >= 0; i--) {
      const exchange = this.#open[i]
      if (exchange !== undefined) visit(exchange)
    }
  }

  /** Has one watcher from now on; `undefined`: none. */
  watch(watcher: ExchangeWatcher | undefined): void {
    this.#watcher = watcher
  }

  /** Cuts everything and stops the clock. */
  close(closeCode: number): void {
    clearInterval(this.#clock)
    for (const exchange of [...this.#open]) exchange.cut(closeCode)
  }

  #advance(): void {
    this.tick++
    const watcher = this.#watcher
    const now = watcher === undefined ? 0 : this.#monotonicNow()
    watcher?.onTick(now)
    this.forEach((exchange) => {
      exchange.checkTime(this.tick)
      if (watcher !== undefined && now >= exchange.dueAt && exchange.openIndex !== -1) watcher.onDue(exchange, now)
    })
  }
}

/** A duration in ticks, never shorter than asked. */
export function ticksOf(seconds: number): number {
  return Math.ceil((seconds * 1000) / tickMs) + 1
}
