/**
 * A TCP connection that breaks when it is told to: passes everything on, slows it down, swallows it, or resets it.
 *
 * A black hole keeps connections open and takes new ones, but nothing comes through and nothing is refused: what a firewall that drops
 * packets looks like from both ends. What was swallowed is lost; a healed link serves new connections, old ones are reset.
 */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface ChaosProxy {
  readonly port: number
  /** Nothing comes through any more, in either direction; or only on those connections whose client has ever sent `word`, or will. */
  blackHole(word?: string): void
  /** Passes on again; connections from before the black hole are reset. */
  heal(): void
  /** Resets every connection that is open. */
  reset(): void
  /** Keeps each chunk back for so long, in both directions. */
  delay(ms: number): void
  close(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket | undefined
  /** What the client began with: connections say their name there. */
  said: string
}

const namedWithinBytes = 4096

/** Starts one in front of a port of this machine. */
export async function startChaosProxy(targetPort: () => number): Promise<ChaosProxy> {
  const pairs = new Set<Pair>()
  let isSwallowing = false
  let swallowedWord: string | undefined
  let delayMs = 0

  const proxy = createServer((client) => {
    client.on('error', () => client.destroy())
    if (isSwallowing) {
      const pair = { client, server: undefined, said: '' }
      pairs.add(pair)
      client.resume().once('close', () => pairs.delete(pair))
      return
    }
    const server = connect(targetPort(), '127.0.0.1')
    const pair: Pair = { client, server, said: '' }
    const isLost = () => isSwallowing || (swallowedWord !== undefined && pair.said.includes(swallowedWord))
    pairs.add(pair)
    client.on('data', (chunk: Buffer) => {
      if (pair.said.length < namedWithinBytes) pair.said += chunk.toString('latin1')
    })
    server.on('error', () => client.destroy())
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('data', (chunk: Buffer) => {
        if (isLost()) return
        if (delayMs === 0) to.write(chunk)
        else setTimeout(() => !isLost() && to.writable && to.write(chunk), delayMs)
      })
      from.once('close', () => {
        pairs.delete(pair)
        // Behind a firewall that drops packets nobody hears of the other end's death.
        if (!isLost()) to.destroy()
      })
    }
  })
  proxy.listen({ port: 0, host: '127.0.0.1' })
  await once(proxy, 'listening')

  const reset = () => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy()
      server?.destroy()
    }
    pairs.clear()
  }
  return {
    port: (proxy.address() as AddressInfo).port,
    blackHole: (word) => {
      swallowedWord = word
      isSwallowing = word === undefined
    },
    heal: () => {
      isSwallowing = false
      swallowedWord = undefined
      reset()
    },
    reset,
    delay: (ms) => {
      delayMs = ms
    },
    close: async () => {
      isSwallowing = false
      reset()
      proxy.close()
      await once(proxy, 'close')
    },
  }
}
