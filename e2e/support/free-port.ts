/**
 * Ports for what tests start, of which nobody else takes one in between.
 *
 * A port that the system picks is free only for the moment: the next connection of anybody, or the next question, may get the same one. These are
 * below the range from which systems pick (RFC 6335 §6 and Linux from 32768), each test process has a stretch of its own, and none is given out twice.
 */

import { createServer } from 'node:net'

const first = 12_000
const stretch = 2_000
/** Of the process among those that run at once; without one, any. */
const stretches = 9
const worker = Number(process.env['VITEST_POOL_ID'] ?? process.pid) % stretches
const begin = first + worker * stretch
let next = begin + (process.pid % stretch)

/** A port of loopback that is free, and stays so unless somebody else wants this very one. */
export async function findFreePort(): Promise<number> {
  for (let tried = 0; tried < stretch; tried += 1) {
    const port = next
    next = next + 1 < begin + stretch ? next + 1 : begin
    if (await isFree(port)) return port
  }
  throw new Error('no port is free')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
