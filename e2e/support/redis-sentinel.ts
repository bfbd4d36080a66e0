/**
 * Redis as it is run where it must not go away: a primary with two replicas under three Sentinels, and a cluster of three nodes.
 *
 * All are real `redis-server` processes on free ports of loopback, each dying with the test process. A fail-over begins one second after
 * the primary fell silent, so that a test need not wait for the half minute that is usual. Written with Redis 7 and its
 * own documents of Sentinel and Cluster.
 */

import { Redis } from 'ioredis'
import { findFreePort } from './free-port.ts'
import { startRedis, type TestRedis } from './redis.ts'

/** What the Sentinels call the primary. */
export const primaryName = 'postern-test'

/** A primary, two replicas and three Sentinels. */
export interface SentinelRedis {
  /** `redis+sentinel://`, with the passwords. */
  readonly url: string
  readonly servers: readonly TestRedis[]
  readonly sentinels: readonly TestRedis[]
  /** The server that a majority of Sentinels calls the primary now. */
  findPrimary(): Promise<TestRedis>
  /** Resolves once the primary has so many replicas that take part in its stream of commands. */
  untilReplicated(replicas: number): Promise<void>
  close(): Promise<void>
}

/** Passwords of the servers and of the Sentinels; different ones, with characters that an address has to escape. */
const serverPassword = 'of-the:servers/7'
const sentinelPassword = 'of-the@sentinels?9'

/** A Sentinel calls a server down that was silent for so long, in milliseconds. */
export const downAfterMs = 1_000

/** Starts them and resolves once everybody knows everybody. */
export async function startSentinelRedis(): Promise<SentinelRedis> {
  // Where a second server loads its data from the first, waiting for a third that may come only costs time.
  const settings = [`masterauth "${serverPassword}"`, 'repl-diskless-sync-delay 0', 'repl-ping-replica-period 1']
  const primary = await startRedis({ password: serverPassword, settings })
  const replicaOf = [...settings, `replicaof 127.0.0.1 ${primary.port}`]
  const replicas = await Promise.all([1, 2].map(() => startRedis({ password: serverPassword, settings: replicaOf })))
  const servers = [primary, ...replicas]
  const sentinels = await Promise.all(
    [1, 2, 3].map(() =>
      startRedis({
        isSentinel: true,
        password: sentinelPassword,
        settings: [
          `sentinel monitor ${primaryName} 127.0.0.1 ${primary.port} 2`,
          `sentinel auth-pass ${primaryName} "${serverPassword}"`,
          `sentinel down-after-milliseconds ${primaryName} ${downAfterMs}`,
          `sentinel failover-timeout ${primaryName} 5000`,
          `sentinel sentinel-pass "${sentinelPassword}"`,
        ],
      }),
    ),
  )

  async function findPrimary(): Promise<TestRedis> {
    const ports = await Promise.all(
      sentinels.map((sentinel) =>
        ask(sentinel.url, (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', primaryName)).then(
          (reply) => (Array.isArray(reply) ? Number(reply[1]) : 0),
          () => 0,
        ),
      ),
    )
    const port = ports.find((one) => one !== 0 && ports.filter((other) => other === one).length >= 2)
    const found = servers.find((server) => server.port === port)
    if (found === undefined) throw new Error(`the Sentinels do not agree: ${ports.join(', ')}`)
    return found
  }

  async function untilReplicated(wanted: number): Promise<void> {
    await until(async () => {
      const { url } = await findPrimary()
      // A replica that is called online may not yet take part; one that acknowledges a write does.
      return ask(url, async (client) => {
        await client.set('replicated', '1', 'PX', 10_000)
        return (await client.wait(wanted, 500)) >= wanted
      })
    }, 'the replicas do not follow')
  }

  await until(async () => {
    const known = await Promise.all(
      sentinels.map((sentinel) => ask(sentinel.url, (client) => client.call('SENTINEL', 'MASTER', primaryName)).then(factsOf)),
    )
    return known.every((facts) => facts['num-other-sentinels'] === '2' && facts['num-slaves'] === '2' && facts['flags'] === 'master')
  }, 'the Sentinels do not find each other')
  await untilReplicated(2)
  const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
  return {
    url: `redis+sentinel://:${encodeURIComponent(serverPassword)}@${hosts}/${primaryName}/0?sentinel_password=${encodeURIComponent(sentinelPassword)}`,
    servers,
    sentinels,
    findPrimary,
    untilReplicated,
    close: async () => void (await Promise.all([...sentinels, ...servers].map((server) => server.close()))),
  }
}

/** Three nodes that share the slots, without replicas. */
export interface ClusterRedis {
  /** `redis+cluster://`, with the password. */
  readonly url: string
  readonly nodes: readonly TestRedis[]
  /** The node that has Postern's slot. */
  readonly owner: TestRedis
  close(): Promise<void>
}

/** Starts them and resolves once each calls the cluster well. `owner` is the node of the key `{postern}:`. */
export async function startClusterRedis(): Promise<ClusterRedis> {
  const settings = [
    'cluster-enabled yes',
    'cluster-config-file nodes.conf',
    'cluster-node-timeout 2000',
    'cluster-require-full-coverage no',
  ]
  const password = serverPassword
  // The port on which nodes talk to each other is usually 10,000 higher, which not every free port allows.
  const busPorts = await Promise.all([1, 2, 3].map(() => findFreePort()))
  const nodes = await Promise.all(
    busPorts.map((busPort) => startRedis({ password, persist: true, settings: [...settings, `cluster-port ${busPort}`] })),
  )
  const [first] = nodes
  if (first === undefined) throw new Error('no node')
  const slots = 16_384
  const firstSlotOf = (index: number) => Math.floor((index * slots) / nodes.length)
  await Promise.all(
    nodes.map((node, index) =>
      ask(node.url, async (client) => {
        await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
        await client.call('CLUSTER', 'ADDSLOTSRANGE', firstSlotOf(index), firstSlotOf(index + 1) - 1)
        if (node !== first) await client.call('CLUSTER', 'MEET', '127.0.0.1', first.port, busPorts[0] ?? 0)
      }),
    ),
  )
  await until(async () => {
    const states = await Promise.all(nodes.map((node) => ask(node.url, (client) => client.call('CLUSTER', 'INFO'))))
    return states.every((state) => /cluster_state:ok/.test(String(state)) && /cluster_known_nodes:3/.test(String(state)))
  }, 'the cluster does not come up')
  const slot = Number(await ask(first.url, (client) => client.call('CLUSTER', 'KEYSLOT', '{postern}:')))
  const owner = nodes.find((_, index) => slot >= firstSlotOf(index) && slot < firstSlotOf(index + 1))
  if (owner === undefined) throw new Error('nobody has the slot')
  return {
    url: `redis+cluster://:${encodeURIComponent(password)}@${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    owner,
    close: async () => void (await Promise.all(nodes.map((node) => node.close()))),
  }
}

/** One errand with a client of its own. */
export async function ask<T>(url: string, errand: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { maxRetriesPerRequest: 0, connectTimeout: 1_000, commandTimeout: 2_000, retryStrategy: () => null })
  client.on('error', () => undefined)
  try {
    return await errand(client)
  } finally {
    client.disconnect()
  }
}

function factsOf(reply: unknown): Readonly<Record<string, string>> {
  const list = Array.isArray(reply) ? reply.map(String) : []
  return Object.fromEntries(list.flatMap((name, index) => (index % 2 === 0 ? [[name, list[index + 1] ?? '']] : [])))
}

/** Waits until `condition` holds; a failure on the way is an answer of no. */
export async function until(condition: () => Promise<boolean>, complaint: string, limitMs = 30_000): Promise<void> {
  const deadline = performance.now() + limitMs
  for (;;) {
    if (await condition().catch(() => false)) return
    if (performance.now() > deadline) throw new Error(complaint)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
