/**
 * Work that comes in thousands at once, done a little at a time: what is asked for by an event before what is merely due, and never so much
 * in one go that requests would have to wait for it.
 */

/** Jobs started in one turn of the event loop: each is some microseconds of work where nothing has to be waited for. */
const jobsInTurn = 16

/** Jobs that may be waiting at a time, for a store that is slow or a provider that is. */
const maxUnderWay = 1024

/** Does `job` with each thing that is added, in turns. */
export class ReviewQueue<Thing> {
  readonly #job: (thing: Thing) => Promise<void>
  #urgent: Thing[] = []
  #due: Thing[] = []
  #underWay = 0
  #turn: NodeJS.Immediate | undefined

  /** `job` must not reject. */
  constructor(job: (thing: Thing) => Promise<void>) {
    this.#job = job
  }

  get size(): number {
    return this.#urgent.length + this.#due.length + this.#underWay
  }

  add(thing: Thing, isUrgent: boolean): void {
    ;(isUrgent ? this.#urgent : this.#due).push(thing)
    this.#plan()
  }

  clear(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    this.#urgent = []
    this.#due = []
  }

  #plan(): void {
    const isWaiting = this.#urgent.length + this.#due.length > 0 && this.#underWay < maxUnderWay
    if (isWaiting) this.#turn ??= setImmediate(this.#work)
  }

  readonly #work = (): void => {
    this.#turn = undefined
    for (let i = 0; i < jobsInTurn && this.#underWay < maxUnderWay; i++) {
      // From the end: which of many waits longest does not matter, and taking from the front would move all of them.
      const thing = this.#urgent.pop() ?? this.#due.pop()
      if (thing === undefined) break
      this.#underWay++
      void this.#job(thing).finally(() => {
        this.#underWay--
        this.#plan()
      })
    }
    this.#plan()
  }
}
