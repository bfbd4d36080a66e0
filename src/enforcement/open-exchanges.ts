/**
 * What is being forwarded at this moment: so that it can be cut, and so that one clock watches over all of it.
 *
 * Every request enters and leaves, and hardly one is ever looked for; so it is an array with the places noted in the entries.
 * A `Map` would do, but it is rebuilt every few dozen of these pairs, and each table keeps its successor alive once one of them is
 * old: the garbage of all requests is then copied into the old generation (measured: 10 µs of CPU a request, of 50).
 * Time is counted in tenths of a second: a timer of its own for each request and each chunk would cost more than it tells. While the
 * process itself is held up no tick passes, so nobody is blamed for that.
 */

export interface OpenExchange {
  readonly exchangeId: string
  /** Its place; for `OpenExchanges` alone. */
  openIndex: number
  /** Ends it: a WebSocket with a close frame of this code, anything else at once. */
  cut(closeCode: number): void
  /** Hears each tick; ends itself if something took too long. */
  checkTime(tick: number): void
}

const tickMs = 100

export class OpenExchanges {
  /** Ticks so far. */
  tick = 0
  readonly #open: OpenExchange[] = []
  readonly #clock = setInterval(() => this.#advance(), tickMs).unref()

  add(exchange: OpenExchange): void {
    exchange.openIndex = this.#open.push(exchange) - 1
  }

  remove(exchange: OpenExchange): void {
    const { openIndex } = exchange
    if (this.#open[openIndex] !== exchange) return
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

  /** Cuts everything and stops the clock. */
  close(closeCode: number): void {
    clearInterval(this.#clock)
    for (const exchange of [...this.#open]) exchange.cut(closeCode)
  }

  #advance(): void {
    this.tick++
    // From the end: whoever removes itself is replaced by one that was visited already.
    for (let i = this.#open.length - 1; i >= 0; i--) this.#open[i]?.checkTime(this.tick)
  }
}

/** A duration in ticks, never shorter than asked. */
export function ticksOf(seconds: number): number {
  return Math.ceil((seconds * 1000) / tickMs) + 1
}
