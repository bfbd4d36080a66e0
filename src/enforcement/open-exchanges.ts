/**
 * What is being forwarded at this moment, so that it can be cut.
 *
 * Every request enters and leaves, and hardly one is ever looked for; so it is an array with the places noted in the entries.
 * A `Map` would do, but it is rebuilt every few dozen of these pairs, and each table keeps its successor alive once one of them is
 * old: the garbage of all requests is then copied into the old generation (measured: 10 µs of CPU a request, of 50).
 */

export interface OpenExchange {
  readonly exchangeId: string
  /** Its place; for `OpenExchanges` alone. */
  openIndex: number
  /** Ends it: a WebSocket with a close frame of this code, anything else at once. */
  cut(closeCode: number): void
}

export class OpenExchanges {
  readonly #open: OpenExchange[] = []

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

  cutAll(closeCode: number): void {
    for (const exchange of [...this.#open]) exchange.cut(closeCode)
  }
}
