/**
 * An end is an end on every instance: what a revocation, a lock or a policy cuts while others notice nothing, and what an instance does that
 * cannot hear of it. How long it takes is measured by `bench/revocation.ts`.
 */

import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type ChaosProxy, startChaosProxy } from './support/chaos-proxy.ts'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from './support/streaming-upstream.ts'

/** Room for a machine that has other work: how long it takes is not told here. */
const promptlyMs = 10_000
/** Five seconds of memory and the command limits of the store, with the same room. */
const longestMemoryMs = 15_000

interface Watched {
  readonly socket: WebSocket
  closedAt: number | undefined
  closeCode: number | undefined
}

describe('two instances on one store', () => {
  let rig: Rig
  let upstream: StreamingUpstream
  let link: ChaosProxy
  let redisPort = 0

  beforeAll(async () => {
    upstream = await startStreamingUpstream()
    link = await startChaosProxy(() => redisPort)
    rig = await startRig({
      store: 'redis',
      instances: 2,
      apps: [
        { id: 'app', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'wiki', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
      storeUrlOf: (instance, url) => {
        redisPort = Number(new URL(url).port)
        return instance === 0 ? url : url.replace(`:${redisPort}`, `:${link.port}`)
      },
    })
  })
  afterAll(async () => {
    await rig?.stop()
    await link?.close()
    await upstream?.close()
  })

  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const portOf = (instance: number) => rig.instances[instance]?.port ?? 0

  async function enter(person: string): Promise<Client> {
    const client = new Client()
    // Whoever was ended a moment ago has to sign in at the provider again, in a later second.
    await waitFor(async () => (await rig.signIn(client, person, `${rig.origin('app')}/ok`)).status === 200, 15_000)
    return client
  }

  async function open(client: Client, instance: number, path = '/ws'): Promise<Watched> {
    const headers = {
      host: `app.corp.localhost:${rig.port}`,
      cookie: client.cookieHeader(rig.origin('app')),
      origin: rig.origin('app'),
    }
    const socket = new WebSocket(`ws://127.0.0.1:${portOf(instance)}${path}`, { headers })
    const watched: Watched = { socket, closedAt: undefined, closeCode: undefined }
    socket.on('error', () => undefined)
    socket.once('close', (code) => {
      watched.closedAt = performance.now()
      watched.closeCode = code
    })
    await once(socket, 'open')
    return watched
  }

  async function ask(client: Client, instance: number): Promise<number> {
    const other = new Client()
    other.detours.set(rig.port, portOf(instance))
    const cookie = client.cookieHeader(rig.origin('app'))
    return (await other.send(`${rig.origin('app')}/ok`, { as: 'fetch', headers: { cookie, 'sec-fetch-site': 'same-origin' } })).status
  }

  async function echoes({ socket }: Watched): Promise<boolean> {
    if (socket.readyState !== WebSocket.OPEN) return false
    socket.send('still there?')
    return String((await once(socket, 'message'))[0]) === 'still there?'
  }

  async function postern(...args: string[]): Promise<string> {
    const { code, stderr, stdout } = await runCommand([...args, '--config', config()])
    expect(code, stderr).toBe(0)
    return stdout
  }

  async function sessionsOf(sub: string): Promise<string[]> {
    const lines = (await postern('sessions', 'list', '--subject', sub, '--json')).split('\n').filter((line) => line !== '')
    return lines.map((line) => (JSON.parse(line) as { readonly id: string }).id)
  }

  /** All of them cut with this code; and how long after `from` the last one was. */
  async function lastCut(cut: readonly Watched[], code: number, from: number): Promise<number> {
    await waitFor(() => cut.every(({ closedAt }) => closedAt !== undefined), promptlyMs)
    expect(cut.map(({ closeCode }) => closeCode)).toEqual(cut.map(() => code))
    return Math.max(...cut.map(({ closedAt = Number.NaN }) => closedAt)) - from
  }

  test('a revoked session is refused and cut on both, at once, and nobody else notices', async () => {
    const alice = await enter('alice')
    const bob = await enter('bob')
    const hers = [await open(alice, 0), await open(alice, 1)]
    const his = [await open(bob, 0), await open(bob, 1)]
    const ids = await sessionsOf('alice')
    expect(ids.length).toBeGreaterThan(0)
    await postern('sessions', 'revoke', ...ids, '--reason', 'laptop lost')
    const returnedAt = performance.now()
    await lastCut(hers, 4401, returnedAt)
    for (const instance of [0, 1]) expect(await ask(alice, instance)).toBe(401)
    expect(await Promise.all(his.map(echoes))).toEqual([true, true])
    for (const instance of [0, 1]) expect(await ask(bob, instance)).toBe(200)
    const ended = (await Promise.all(rig.instances.map((instance) => rig.audit(instance)))).flat()
    const cuts = ended.filter((line) => line['event'] === 'access.ended' && line['outcome'] === 'cut')
    expect(cuts.length).toBeGreaterThanOrEqual(2)
  })

  test('a lock on a subject refuses and cuts on both until it is lifted, also after another sign-in', async () => {
    const alice = await enter('alice')
    const hers = [await open(alice, 0), await open(alice, 1)]
    await postern('lock', 'subject', 'alice@corp.example', '--reason', 'under investigation')
    try {
      await lastCut(hers, 4403, performance.now())
      for (const instance of [0, 1]) expect(await ask(alice, instance)).toBe(403)
      const again = new Client()
      expect((await rig.signIn(again, 'alice', `${rig.origin('app')}/ok`)).header('x-postern')).toBe('locked')
    } finally {
      await postern('unlock', 'subject', 'alice@corp.example', '--reason', 'cleared')
    }
    for (const instance of [0, 1]) await waitFor(async () => (await ask(alice, instance)) === 200, promptlyMs)
  })

  test('a policy that takes the group away cuts what is open, and what it still allows stays', async () => {
    const alice = await enter('alice')
    const bob = await enter('bob')
    const hers = [await open(alice, 0), await open(alice, 1)]
    const his = [await open(bob, 0), await open(bob, 1)]
    const { policy } = rig
    const [app, wiki] = policy['apps'] as readonly Record<string, unknown>[]
    await rig.writePolicy({ ...policy, apps: [{ ...app, rules: [{ name: 'finance', allow: { groups: ['finance'] } }] }, wiki] })
    try {
      await waitFor(() => hers.every(({ closedAt }) => closedAt !== undefined), promptlyMs)
      expect(hers.map(({ closeCode }) => closeCode)).toEqual([4403, 4403])
      expect(await Promise.all(his.map(echoes))).toEqual([true, true])
    } finally {
      await rig.writePolicy(policy)
    }
    for (const instance of [0, 1]) await waitFor(async () => (await ask(alice, instance)) === 200, promptlyMs)
  })

  test('an instance that cannot hear of ends refuses after five seconds, and cuts what ended before it serves anybody again', async () => {
    const alice = await enter('alice')
    const bob = await enter('bob')
    const hers = [await open(alice, 0), await open(alice, 1)]
    const his = [await open(bob, 0), await open(bob, 1)]
    for (const client of [alice, bob]) expect(await ask(client, 1)).toBe(200)

    link.blackHole()
    const cutOffAt = performance.now()
    const ids = await sessionsOf('alice')
    await postern('sessions', 'revoke', ...ids, '--reason', 'dismissed')
    await waitFor(() => hers[0]?.closedAt !== undefined, promptlyMs)
    await waitFor(async () => (await ask(alice, 1)) === 503, longestMemoryMs)
    expect(performance.now() - cutOffAt).toBeLessThan(longestMemoryMs)
    expect(await ask(bob, 1)).toBe(503)
    expect(hers[1]?.closedAt).toBeUndefined()

    link.heal()
    const seen: number[] = []
    let servedAt: number | undefined
    await waitFor(async () => {
      seen.push(await ask(alice, 1))
      if ((await ask(bob, 1)) === 200) servedAt ??= performance.now()
      return servedAt !== undefined
    }, 15_000)
    await waitFor(() => hers[1]?.closedAt !== undefined, promptlyMs)
    expect(hers[1]?.closeCode).toBe(4401)
    // Written before the answer to Bob; two sockets of one machine may be read in either order.
    expect((hers[1]?.closedAt ?? Number.NaN) - (servedAt ?? Number.NaN)).toBeLessThan(200)
    expect(seen).not.toContain(200)
    expect(await ask(alice, 1)).toBe(401)
    expect(await Promise.all(his.map(echoes))).toEqual([true, true])
  })
})
