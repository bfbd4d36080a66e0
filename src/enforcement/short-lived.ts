/**
 * Sets V8 for what this process does: short requests over a long-lived rest that hardly grows.
 *
 * **Objects of requests stay young.** V8 counts, by the place in the code that makes it, how much outlives a minor collection, and where nearly all does, it makes what that
 * place makes old from the start. A collection shortly after the first requests sees all of them under way, and so takes dozens of
 * places on their path for such; that verdict is final. From then on each request leaves old objects behind, which keep alive what they
 * refer to until the next full collection. Whether a process comes to that is chance: an instant more or less at its start.
 *
 * **A full collection comes when it is worth it.** Of a heap that hardly grows V8 expects that it never will, and sets the mark for the next
 * full collection so near that some megabytes of buffers, which the next minor collection takes, reach it: 40 MB were looked through
 * every second or two, for nothing.
 */

import { setFlagsFromString } from 'node:v8'

/**
 * From now on. Measured where minor collections fell into the first requests: a thousand guarded requests later on left 7 to 8 MB for
 * a full collection, in each of five runs; with this, 0.2 MB. And of 84,000 guarded requests with the trail's window: 13 full collections
 * of some 50 ms of CPU each; with this, 2. The price is memory: up to twice again what lives, before it is collected; under full load the
 * process took 400 MB instead of 385.
 */
export function keepShortLivedYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
  setFlagsFromString('--heap-growing-percent=200')
}
