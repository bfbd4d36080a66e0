/**
 * Finding a port that nobody uses, on both loopback addresses: a browser may ask either for a `*.localhost` name.
 */

import { createServer } from 'node:net'

const highestPort = 65_535

/** The first free port from `first` on that is not in `taken`. Rejects when there is none within a hundred. */
export async function findFreePort(first: number, taken: readonly number[] = []): Promise<number> {
  for (let port = first; port < first + 100 && port <= highestPort; port += 1) {
    if (!taken.includes(port) && (await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port
  }
  throw new Error(`no free port from ${first} on`)
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    // Without IPv6 there is no such address, and so nobody who could use the port on it.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT'))
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
