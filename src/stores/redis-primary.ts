/**
 * Finds the server to talk to where the address names others that know it: Sentinels, or nodes of a Redis Cluster.
 *
 * All named hosts are asked at once, and the claim with the highest configuration epoch is the latest fail-over: one that has not heard
 * of it sends nobody back to the old primary. Only a majority of Sentinels can replace a primary, so only a majority tells who it is,
 * and it is asked every second while connected: an old primary that was cut off, perhaps together with us, does not know that it
 * was replaced and would go on answering. A cluster's old primary refuses by itself (`CLUSTERDOWN`), and each node knows whether it is
 * in the majority. A server that says it is a replica is left again. Only addresses that the named hosts give are connected to,
 * never one that stands in an error (`MOVED`).
 */

import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { AbstractConnector, Redis, type RedisOptions } from 'ioredis'
import type { HostPort, RedisAddress } from '../redis-address.ts'
import { withoutArguments } from './redis-error.ts'

/** Who is the primary, says one host; a higher epoch is a later decision. */
interface Claim extends HostPort {
  readonly epoch: number
}

/** One named host. */
interface Witness {
  /** `undefined` where it knows of no primary; rejects where it does not answer. */
  ask(): Promise<Claim | undefined>
  close(): void
}

/** How to ask. */
export interface PrimaryConnectorOptions {
  /** How long connecting, and one question, may take. */
  readonly connectTimeoutMs: number
  /** The node of a cluster that has this key is the primary. */
  readonly slotKey: string
  /** How long to wait before asking everybody again. */
  readonly pauseMs: (attempt: number) => number
}

/** How often the Sentinels are asked whether the primary still is it. */
const watchEveryMs = 1_000

/** Without a majority of Sentinels for so long the primary may have been replaced; with the last question, that is five seconds. */
const blindMs = 3_000

/** A Sentinel or node has nothing to do but to answer. */
const longestAnswerMs = 1_000

/** What the client is given to open its sockets with. */
export function createPrimaryConnector(address: RedisAddress, options: PrimaryConnectorOptions): NonNullable<RedisOptions['Connector']> {
  const enough = Math.floor(address.hosts.length / 2) + 1
  const needed = address.kind === 'sentinel' ? enough : 1
  const find = (witnesses: readonly Witness[]) => findPrimary(witnesses, enough, needed)
  return class PrimaryConnector extends AbstractConnector {
    readonly #witnesses = address.hosts.map((host) => createWitness(host, address, options))
    #watch: NodeJS.Timeout | undefined

    constructor() {
      super(500)
    }

    /** After a rejection the client never tries again, so it rejects only once it was told to close. */
    async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
      this.connecting = true
      clearInterval(this.#watch)
      for (let attempt = 1; ; attempt += 1) {
        const found = await find(this.#witnesses)
        if (!this.connecting) throw new Error('Connection is closed.')
        if (!(found instanceof Error)) return this.#open(found)
        emit('error', found)
        await delay(options.pauseMs(attempt))
        if (!this.connecting) throw new Error('Connection is closed.')
      }
    }

    #open(primary: HostPort): Socket {
      const { host, port } = primary
      const socket =
        address.tls === undefined ? connectPlain({ host, port }) : connectTls({ host, port, ...serverName(host), ...address.tls })
      this.stream = socket
      socket.once('error', (error) => {
        this.firstError = error
      })
      if (address.kind === 'sentinel') this.#keepWatch(socket, primary)
      else for (const witness of this.#witnesses) witness.close()
      return socket
    }

    /** Leaves a primary that was replaced, or may have been. */
    #keepWatch(socket: Socket, primary: HostPort): void {
      let isAsking = false
      let heardAt = performance.now()
      const watch = setInterval(async () => {
        if (isAsking) return
        isAsking = true
        const found = await find(this.#witnesses)
        isAsking = false
        if (found instanceof Error) {
          if (performance.now() - heardAt > blindMs) socket.destroy(found)
          return
        }
        heardAt = performance.now()
        if (found.host !== primary.host || found.port !== primary.port) socket.destroy(new Error('the primary was replaced'))
      }, watchEveryMs)
      socket.once('close', () => clearInterval(watch))
      this.#watch = watch.unref()
    }

    /** What INFO says after the handshake; a replica is left, and the question asked again. */
    override check(facts: { readonly role?: string } | undefined): boolean {
      return facts?.role === 'master'
    }

    override disconnect(): void {
      clearInterval(this.#watch)
      for (const witness of this.#witnesses) witness.close()
      super.disconnect()
    }
  }
}

function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {}
}

/** The latest claim once `enough` agree to speak, or all did and they are `needed` at least; else why not. Never rejects. */
function findPrimary(witnesses: readonly Witness[], enough: number, needed: number): Promise<Claim | Error> {
  const claims: Claim[] = []
  let failure = new Error('the named hosts do not know the primary')
  let open = witnesses.length
  return new Promise((resolve) => {
    const hear = (claim: Claim | undefined) => {
      open -= 1
      if (claim !== undefined) claims.push(claim)
      if (claims.length < enough && open > 0) return
      const latest = claims.sort((a, b) => b.epoch - a.epoch)[0]
      resolve(latest === undefined || claims.length < needed ? failure : latest)
    }
    for (const witness of witnesses) {
      witness.ask().then(hear, (error: unknown) => {
        failure = withoutArguments(error)
        hear(undefined)
      })
    }
  })
}

/** Asks over a connection that is opened when needed and kept until it fails. */
function createWitness(
  host: HostPort,
  { kind, primaryName, credentials, sentinelCredentials, tls }: RedisAddress,
  { connectTimeoutMs, slotKey }: PrimaryConnectorOptions,
): Witness {
  let client: Redis | undefined
  const answerMs = Math.min(connectTimeoutMs, longestAnswerMs)
  const open = () => {
    const opened = new Redis({
      ...host,
      ...(kind === 'sentinel' ? sentinelCredentials : credentials),
      ...(tls === undefined ? {} : { tls: { ...tls, ...serverName(host.host) } }),
      protocol: 2,
      connectionName: 'postern-primary',
      lazyConnect: true,
      enableReadyCheck: false,
      connectTimeout: answerMs,
      commandTimeout: answerMs,
      socketTimeout: answerMs,
      disconnectTimeout: 100,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    })
    // Every failure also rejects the question that was under way.
    opened.on('error', () => undefined)
    return opened
  }
  const close = () => {
    client?.disconnect()
    client = undefined
  }
  return {
    async ask() {
      client ??= open()
      try {
        return await (kind === 'sentinel' ? askSentinel(client, primaryName) : askNode(client, host, slotKey))
      } catch (error) {
        close()
        throw error
      }
    },
    close,
  }
}

/** The address is the promoted server's as soon as a fail-over chose it; the epoch is in the longer answer only. */
async function askSentinel(client: Redis, primaryName: string): Promise<Claim | undefined> {
  const [facts, found] = await Promise.all([
    client.call('SENTINEL', 'MASTER', primaryName),
    client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', primaryName),
  ])
  if (!Array.isArray(facts) || !Array.isArray(found)) return undefined
  const at = facts.indexOf('config-epoch')
  return claimOf(String(found[0]), String(found[1]), at === -1 ? '' : String(facts[at + 1]))
}

/** A node that says that the cluster is down, or that it has lost the others, is no witness. */
async function askNode(client: Redis, witness: HostPort, slotKey: string): Promise<Claim | undefined> {
  const [state, slot, nodes] = await Promise.all([
    client.call('CLUSTER', 'INFO'),
    client.call('CLUSTER', 'KEYSLOT', slotKey),
    client.call('CLUSTER', 'NODES'),
  ])
  if (!/^cluster_state:ok\r?$/m.test(String(state)) || typeof slot !== 'number') return undefined
  for (const line of String(nodes).split('\n')) {
    // id, address, flags, its primary, ping, pong, epoch, link, and what it has: `0-5460`, `7`, `[7-<-id]` for a slot on the move.
    const [, at = '', flags = '', , , , epoch = '', , ...ranges] = line.split(' ')
    if (!flags.split(',').includes('master') || !ranges.some((range) => hasSlot(range, slot))) continue
    const [, host = '', port = '', name = ''] = /^(.*):(\d+)(?:@\d+)?(?:,([^,]*))?/.exec(at) ?? []
    // A node that was never reached by the others does not know its own address.
    return claimOf(name || host || witness.host, port, epoch)
  }
  return undefined
}

function hasSlot(range: string, slot: number): boolean {
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? []
  return from !== undefined && slot >= Number(from) && slot <= Number(to)
}

function claimOf(host: string, portText: string, epochText: string): Claim | undefined {
  const [port, epoch] = [Number(portText), Number(epochText)]
  const isSound = host !== '' && !/[\s/@]/.test(host) && Number.isInteger(port) && port > 0 && port < 65_536 && Number.isSafeInteger(epoch)
  return isSound ? { host, port, epoch } : undefined
}
