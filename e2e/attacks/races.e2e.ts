/**
 * Two things at once that somebody thought of one after the other: a callback twice, two hundred uses of one session, an end while a request reads.
 *
 * Safe: a code is redeemed once and makes one session, use is written once and takes nothing else with it, and what arrives at an upstream after
 * an end does so within the time that is stated, also where the store is slow or its news do not come.
 */

import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type ChaosProxy, startChaosProxy } from '../support/chaos-proxy.ts'
import { type Answer, Client } from '../support/client.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

/** An end while the store is reachable, however slow. */
const promisedMs = 1_000
/** How long memory may serve an instance that hears of nothing. */
const memoryMs = 5_000
/** For the way to the instance and back on a machine that has other work. */
const slackMs = 500
/** A quarter of the idle timeout below: uses that come sooner are not written. */
const useIntervalMs = 4_000

describe('races', () => {
  let rig: Rig
  let provider: HostileProvider
  let link: ChaosProxy
  let redisPort = 0

  beforeAll(async () => {
    provider = await startHostileProvider()
    link = await startChaosProxy(() => redisPort)
    rig = await startRig({
      store: 'redis',
      instances: 2,
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret },
      session: { idle_timeout: '16s' },
      apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
      storeUrlOf: (instance, url) => {
        redisPort = Number(new URL(url).port)
        return instance === 0 ? url : url.replace(`:${redisPort}`, `:${link.port}`)
      },
    })
    await waitFor(async () => (await new Client().follow(app())).status === 200)
  })
  afterAll(async () => {
    await endRig(rig)
    await link?.close()
    await provider?.stop()
  })
  beforeEach(() => {
    provider.reset()
    rig.upstream('app').reset()
  })
  afterEach(() => mustBeAlive(rig))

  const app = () => `${rig.origin('app')}/ok`

  /** The same browser, at one of the instances. */
  function at(instance: number, client: Client): Client {
    const other = new Client()
    other.detours.set(rig.port, rig.instances[instance]?.port ?? 0)
    for (const [name, host] of cookies) other.setCookie(name, client.cookie(name, host) ?? '', host)
    return other
  }
  const cookies = [
    ['postern', 'access.corp.localhost'],
    ['postern-app', 'app.corp.localhost'],
  ] as const

  function become(sub: string, groups: readonly string[] = ['staff']): void {
    provider.behaviour.person = { sub, sid: `sid-${sub}`, claims: { name: sub, email: `${sub}@corp.test`, email_verified: true, groups } }
  }

  async function enter(sub: string): Promise<Client> {
    become(sub)
    const client = new Client()
    expect((await client.follow(app())).status).toBe(200)
    return client
  }

  /** Goes on until the next address is the one that is asked for. */
  async function upTo(client: Client, part: string): Promise<string> {
    let next = app()
    for (let hop = 0; hop < 12 && !next.includes(part); hop += 1) {
      const answer = await client.send(next)
      next = new URL(answer.header('location') ?? '', next).href
    }
    expect(next).toContain(part)
    return next
  }

  const codesSpent = () => provider.received.filter((one) => one.endpoint === 'token' && one.body.includes('authorization_code')).length

  /** Session records of the store by key, each with its version. */
  async function sessionRecords(): Promise<ReadonlyMap<string, number>> {
    const redis = new Redis({ port: redisPort, password: 'rig-redis-password', maxRetriesPerRequest: 1 })
    try {
      const keys = await redis.keys('{postern}:record:session:*')
      const values = keys.length === 0 ? [] : await redis.mget(keys)
      return new Map(keys.map((key, index) => [key, Number.parseInt(values[index] ?? '', 10)]))
    } finally {
      redis.disconnect()
    }
  }

  async function signOut(client: Client): Promise<void> {
    const headers = { 'sec-fetch-site': 'same-origin', origin: rig.origin('access') }
    const answer = await client.send(`${rig.origin('access')}/.postern/sign-out`, { method: 'POST', body: '', headers })
    expect(answer.status).toBe(303)
  }

  /** The same address by the same browser, at both instances at once. */
  function twice(client: Client, url: string, times = 2): Promise<Answer[]> {
    return Promise.all(
      Array.from({ length: times }, (_, index) => {
        if (index % 2 === 0) client.detours.delete(rig.port)
        else client.detours.set(rig.port, rig.instances[1]?.port ?? 0)
        return client.send(url)
      }),
    ).finally(() => client.detours.delete(rig.port))
  }

  attack('A287', 'RACE', 'the same callback twice at once, on two instances', async () => {
    const outcomes: string[] = []
    for (let round = 0; round < 10; round += 1) {
      become(`caller-${round}`)
      const client = new Client()
      const callback = await upTo(client, '/oidc/callback')
      const [spent, before] = [codesSpent(), await sessionRecords()]
      const answers = await twice(client, callback, round % 2 === 0 ? 2 : 6)
      expect(codesSpent() - spent).toBe(1)
      expect((await sessionRecords()).size - before.size).toBe(1)
      expect(answers.filter(({ status }) => status === 303)).toHaveLength(1)
      expect(answers.filter(({ status }) => status >= 500)).toEqual([])
      // Whichever answer the browser kept, it is signed in, and as one.
      expect((await client.follow(app())).status).toBe(200)
      expect(codesSpent() - spent).toBe(1)
      outcomes.push(...answers.map(({ status }) => String(status)))
    }
    return `${summarise(outcomes)}: one code redeemed and one session each time, and the browser is signed in`
  })
  attack('A287b', 'RACE', 'the hand-off to an app twice at once', async () => {
    const outcomes: string[] = []
    for (let round = 0; round < 10; round += 1) {
      become(`handed-${round}`)
      const client = new Client()
      const handOff = await upTo(client, '/.postern/callback')
      const answers = await twice(client, handOff, round % 2 === 0 ? 2 : 6)
      expect(answers.filter((answer) => (answer.header('set-cookie') ?? '').includes('postern-app=')).length).toBeLessThanOrEqual(1)
      expect(answers.filter(({ status }) => status >= 500)).toEqual([])
      expect((await client.follow(app())).status).toBe(200)
      outcomes.push(...answers.map(({ status }) => String(status)))
    }
    return `${summarise(outcomes)}: one app session at the most each time, and the page is there`
  })

  attack('A288', 'RACE', '200 uses of a session at once, on two instances, while its claims are replaced', async () => {
    const before = await sessionRecords()
    const client = await enter('user')
    const key = [...(await sessionRecords()).keys()].find((one) => !before.has(one)) ?? ''
    const clients = [at(0, client), at(1, client)]
    const whoami = async (of: Client) => {
      const answer = await of.send(`${rig.origin('app')}/.postern/whoami`, { as: 'fetch' })
      expect(answer.status).toBe(200)
      return JSON.parse(answer.body) as { readonly session: { readonly started_at: number }; readonly [field: string]: unknown }
    }
    const first = await whoami(client)
    await new Promise((resolve) => setTimeout(resolve, useIntervalMs + 200))
    const version = async () => (await sessionRecords()).get(key) ?? Number.NaN
    const idleVersion = await version()
    const use = async (count: number) => {
      const asked = Array.from({ length: count }, (_, index) => (clients[index % 2] as Client).send(app(), { as: 'fetch' }))
      expect(new Set((await Promise.all(asked)).map(({ status }) => status))).toEqual(new Set([200]))
    }
    await use(200)
    await waitFor(async () => (await version()) > idleVersion)
    // Within the interval nothing more is due.
    await use(100)
    const usedVersion = await version()
    expect(usedVersion - idleVersion).toBe(1)
    // But for the idle end, which moves with its use as soon as what is remembered of it is read anew.
    const { session, ...person } = await whoami(client)
    expect({ ...person, session: { started_at: session.started_at } }).toEqual({
      ...first,
      session: { started_at: first.session.started_at },
    })

    // And while a refresh writes the same record.
    await new Promise((resolve) => setTimeout(resolve, useIntervalMs + 200))
    for (const what of ['idToken', 'userinfo'] as const) provider.behaviour[what] = (it) => ({ ...it, groups: ['staff', 'new'] })
    const body = `logout_token=${await provider.logoutToken({ sub: 'user', sid: 'sid-elsewhere' })}`
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const told = new Client().send(`${rig.origin('access')}/oidc/backchannel-logout`, { method: 'POST', as: 'fetch', body, headers })
    await use(200)
    expect((await told).status).toBe(200)
    await waitFor(async () => (await version()) >= usedVersion + 2)
    for (const one of clients) {
      await waitFor(async () => JSON.stringify(await whoami(one)).includes('"new"'), memoryMs + slackMs)
      expect((await whoami(one)).session.started_at).toBe(first.session.started_at)
    }
    const writes = (await version()) - usedVersion
    // One use, and what a refresh writes: its attempt and its outcome.
    expect(writes).toBeLessThanOrEqual(3)
    return `300 requests: 1 write, nothing lost; 200 during a refresh: ${writes} writes, both kept`
  })

  /** Asks as fast as it is answered, so many at a time, until told to stop. What is cut in mid-request is told as 0. */
  function startAsking(client: Client, path: string, width: number): { stop(): Promise<void>; statuses: Set<number> } {
    let isAsking = true
    const statuses = new Set<number>()
    const ask = async () => {
      while (isAsking) {
        const asked = client.send(`${rig.origin('app')}${path}`, { as: 'fetch' })
        statuses.add(
          await asked.then(
            ({ status }) => status,
            () => 0,
          ),
        )
      }
    }
    const asking = Array.from({ length: width }, ask)
    return {
      statuses,
      async stop() {
        isAsking = false
        await Promise.all(asking)
      },
    }
  }

  /** When each path was last asked for at the upstream. */
  function watchArrivals(): ReadonlyMap<string, number> {
    const arrivals = new Map<string, number>()
    rig.upstream('app').answerWith((socket, { target }) => {
      arrivals.set(target, performance.now())
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
    return arrivals
  }

  attack('A289', 'RACE', 'an end between the read and the upstream, the store 100 ms away', async () => {
    const arrivals = watchArrivals()
    const lateMs: number[] = []
    link.delay(100)
    try {
      for (let round = 0; round < 12; round += 1) {
        const client = at(1, await enter(`reader-${round}`))
        const path = `/read/${round}`
        const asking = startAsking(client, path, 4)
        // Every other round ends it while the first read is still under way, the others when memory has it.
        if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 20 * round))
        else await waitFor(() => asking.statuses.has(200))
        await signOut(at(0, client))
        const endedAt = performance.now()
        await waitFor(() => asking.statuses.has(401), memoryMs)
        await asking.stop()
        lateMs.push(Math.round((arrivals.get(path) ?? endedAt) - endedAt))
        const [from, after] = [performance.now(), await client.send(`${rig.origin('app')}${path}`, { as: 'fetch' })]
        expect(after.status).toBe(401)
        expect(arrivals.get(path) ?? 0).toBeLessThan(from)
      }
    } finally {
      link.delay(0)
    }
    const latest = Math.max(...lateMs)
    expect(latest).toBeLessThan(promisedMs)
    return `12 rounds: the last request reached the upstream ${latest} ms after the end at most, none after a refusal`
  })

  attack('A289b', 'RACE', 'an end whose news never come: the event stream alone is swallowed', async () => {
    const arrivals = watchArrivals()
    const [alice, bob] = [at(1, await enter('unheard')), at(1, await enter('bystander'))]
    for (const client of [alice, bob]) expect((await client.send(app(), { as: 'fetch' })).status).toBe(200)
    const [asking, others] = [startAsking(alice, '/unheard', 2), startAsking(bob, '/bystander', 1)]
    await waitFor(() => asking.statuses.has(200))
    link.blackHole('postern-events')
    let lateMs: number
    try {
      await signOut(at(0, alice))
      const endedAt = performance.now()
      await waitFor(() => asking.statuses.has(401) || asking.statuses.has(503), memoryMs + 2 * slackMs)
      const from = performance.now()
      expect([401, 503]).toContain((await alice.send(`${rig.origin('app')}/after`, { as: 'fetch' })).status)
      await asking.stop()
      expect(arrivals.get('/unheard') ?? 0).toBeLessThan(from)
      expect(arrivals.has('/after')).toBe(false)
      lateMs = Math.round((arrivals.get('/unheard') ?? endedAt) - endedAt)
      expect(lateMs).toBeLessThan(memoryMs + slackMs)
    } finally {
      link.heal()
    }
    await others.stop()
    expect(others.statuses).not.toContain(401)
    for (const [client, status] of [
      [bob, 200],
      [alice, 401],
    ] as const) {
      await waitFor(async () => (await client.send(app(), { as: 'fetch' })).status === status)
    }
    return `her last request reached the upstream ${lateMs} ms after the end; refused with ${[...asking.statuses].filter((one) => one !== 200).join('/')}; others: ${[...others.statuses].join('/')}`
  })
})
