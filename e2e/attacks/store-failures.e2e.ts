/**
 * The store fails while people work: it dies, falls silent, refuses, is read by a thief; and names that mean something to Redis.
 *
 * Safe: 503 within the command limit and never a hang, no pass, no crash, no password on a page or in the log, and work goes on by itself when
 * the store does. What a fail-over does is in `fail-over.e2e.ts` (A281).
 */

import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { type ChaosProxy, startChaosProxy } from '../support/chaos-proxy.ts'
import { Client } from '../support/client.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

/** The command limit of the store, and room for a machine that has other work. */
const longestAnswerMs = 2_500
const password = 'rig-redis-password'

describe('the store fails', () => {
  let rig: Rig
  let link: ChaosProxy
  let redisPort = 0

  beforeAll(async () => {
    link = await startChaosProxy(() => redisPort)
    rig = await startRig({
      store: 'redis',
      storeUrlOf: (_, url) => {
        redisPort = Number(new URL(url).port)
        return url.replace(`:${redisPort}`, `:${link.port}`)
      },
    })
  })
  afterAll(async () => {
    await endRig(rig)
    await link?.close()
  })
  afterEach(() => mustBeAlive(rig))

  const url = () => `${rig.origin('app')}/ok`
  const status = async (client: Client) => (await client.send(url(), { as: 'fetch' })).status
  const readiness = () => new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)
  async function untilWell(client: Client, limitMs = 8_000): Promise<number> {
    const begun = performance.now()
    await waitFor(async () => (await status(client)) === 200 && (await readiness()).status === 200, limitMs)
    return Math.round(performance.now() - begun)
  }
  async function enter(): Promise<Client> {
    const client = new Client()
    expect((await rig.signIn(client, 'alice', url())).status).toBe(200)
    return client
  }
  /** A client of the server itself, past the link. */
  async function administer<T>(errand: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis({ port: redisPort, password, maxRetriesPerRequest: 1 })
    redis.on('error', () => undefined)
    try {
      return await errand(redis)
    } finally {
      redis.disconnect()
    }
  }

  /** 200 requests a second of strangers, whose cookies nobody remembers: each needs the store. */
  function startStrangers(): { readonly answers: { readonly status: number; readonly tookMs: number }[]; stop(): Promise<void> } {
    const answers: { status: number; tookMs: number }[] = []
    const open = new Set<Promise<void>>()
    let sent = 0
    const begun = performance.now()
    const timer = setInterval(() => {
      for (; sent < (performance.now() - begun) / 5; sent += 1) {
        const from = performance.now()
        const client = new Client()
        client.setCookie('postern-app', `stranger${String(sent).padStart(35, '0')}`, 'app.corp.localhost')
        const request = client.send(url(), { as: 'fetch' }).then(
          (answer) => void answers.push({ status: answer.status, tookMs: performance.now() - from }),
          () => void answers.push({ status: 0, tookMs: performance.now() - from }),
        )
        open.add(request)
        void request.finally(() => open.delete(request))
      }
    }, 5)
    return {
      answers,
      async stop() {
        clearInterval(timer)
        await Promise.all(open)
      },
    }
  }

  attack('A276', 'REDIS', 'SHUTDOWN NOSAVE under 200 requests a second', async () => {
    const alice = await enter()
    const strangers = startStrangers()
    try {
      await waitFor(() => strangers.answers.length > 200)
      await administer((redis) => redis.call('SHUTDOWN', 'NOSAVE').catch(() => undefined))
      const from = strangers.answers.length
      await waitFor(() => strangers.answers.slice(from).filter((one) => one.status === 503).length > 400)
      await waitFor(async () => (await status(alice)) === 503, 8_000)
      expect((await readiness()).status).toBe(503)
    } finally {
      await rig.redis?.restart()
    }
    const backMs = await untilWell(alice, 5_000)
    await strangers.stop()
    const slowest = Math.round(Math.max(...strangers.answers.map(({ tookMs }) => tookMs)))
    expect(slowest).toBeLessThan(2_000)
    expect(new Set(strangers.answers.map((one) => one.status))).toEqual(new Set([401, 503]))
    return `${summarise(strangers.answers.map((one) => String(one.status)))}; slowest ${slowest} ms; back after ${backMs} ms`
  })

  attack('A277', 'REDIS', 'a link that drops everything and resets nothing', async () => {
    const alice = await enter()
    const bob = new Client()
    expect((await rig.signIn(bob, 'bob', url())).status).toBe(200)
    const strangers = startStrangers()
    try {
      await waitFor(() => strangers.answers.length > 100)
      link.blackHole()
      await waitFor(() => strangers.answers.filter((one) => one.status === 503).length > 200)
      await waitFor(async () => (await status(alice)) === 503, 8_000)
      const begun = performance.now()
      expect(await status(alice)).toBe(503)
      expect(performance.now() - begun).toBeLessThan(longestAnswerMs)
    } finally {
      link.heal()
    }
    const backMs = await untilWell(alice)
    await strangers.stop()
    const slowest = Math.round(Math.max(...strangers.answers.map(({ tookMs }) => tookMs)))
    expect(slowest).toBeLessThan(longestAnswerMs)
    expect(new Set(strangers.answers.map((one) => one.status))).toEqual(new Set([401, 503]))
    // A late answer that went to another question would show one person the other's session.
    for (const [client, name] of [
      [alice, 'alice'],
      [bob, 'bob'],
    ] as const) {
      const { body } = await client.send(url(), { as: 'fetch' })
      expect(body).toContain(`${name}@corp.example`)
    }
    return `slowest answer ${slowest} ms; back ${backMs} ms after the link; everybody is who they were`
  })

  attack('A282', 'REDIS', 'names that mean something to Redis', async () => {
    const alice = await enter()
    const seen: string[] = []
    const outcomes: string[] = []
    await administer(async (redis) => {
      const monitor = await redis.monitor()
      monitor.on('error', () => undefined)
      monitor.on('monitor', (_time: string, args: string[]) => seen.push(args.join(' ')))
      const odd = ['*', '?', '[a-z]', '{other}', '{postern}:ends', 'a:b', '%0d%0aFLUSHALL', 'x%00', '../..', '"', "'", '(', '\\'].map(
        (text) => `marker-${text}`,
      )
      for (const text of odd) {
        const stranger = new Client()
        const headers = { cookie: `postern-app=${text}; postern=${text}` }
        outcomes.push(`${(await stranger.send(url(), { as: 'fetch', headers })).status}`)
        outcomes.push(`${(await stranger.send(`${rig.origin('access')}/?q=${text}`, { headers })).status}`)
        outcomes.push(`${(await stranger.send(`${rig.origin('app')}/.postern/callback?code=${text}&state=${text}`)).status}`)
      }
      await waitFor(() => seen.some((line) => /^(evalsha|EVALSHA)/.test(line)))
      monitor.disconnect()
    })
    expect(new Set(outcomes)).not.toContain('200')
    expect(outcomes.filter((one) => Number(one) >= 500)).toEqual([])
    const commands = new Set(seen.map((line) => line.split(' ', 1)[0]?.toUpperCase()))
    for (const command of ['KEYS', 'SCAN', 'SSCAN', 'ZSCAN', 'FLUSHALL']) expect(commands).not.toContain(command)
    // All ends are read now and then, whole and by no pattern.
    expect(seen.filter((line) => /^hscan /i.test(line) && / match /i.test(line))).toEqual([])
    expect(seen.filter((line) => line.includes('marker-'))).toEqual([])
    expect(await status(alice)).toBe(200)
    return `${summarise(outcomes)}; ${seen.length} commands, none with a name as sent, none that takes a pattern`
  })

  attack('A283', 'REDIS', 'a server that is there and refuses: WRONGPASS, READONLY, OOM, NOREPLICAS', async () => {
    const alice = await enter()
    const troubles: readonly (readonly [string, (redis: Redis) => Promise<unknown>, (redis: Redis) => Promise<unknown>])[] = [
      [
        'WRONGPASS',
        async (redis) => {
          await redis.config('SET', 'requirepass', 'another-password')
          await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        },
        (redis) => redis.config('SET', 'requirepass', password),
      ],
      ['READONLY', (redis) => redis.replicaof('127.0.0.1', 1), (redis) => redis.replicaof('NO', 'ONE')],
      ['OOM', (redis) => redis.config('SET', 'maxmemory', '1'), (redis) => redis.config('SET', 'maxmemory', '0')],
      [
        'NOREPLICAS',
        (redis) => redis.config('SET', 'min-replicas-to-write', '1'),
        (redis) => redis.config('SET', 'min-replicas-to-write', '0'),
      ],
    ]
    const outcomes: string[] = []
    for (const [word, begin, end] of troubles) {
      const logged = rig.instance.log().length
      await administer(async (redis) => {
        await begin(redis)
        try {
          await waitFor(
            async () => (await readiness()).status === 503,
            8_000,
            () => `ready in spite of ${word}`,
          )
          const page = await readiness()
          expect(page.body).not.toMatch(/password|redis:|127\.0\.0\.1/)
          // Reads may go on where the server serves them; nothing that has to be written down is answered as if it were.
          const newcomer = await rig.signIn(new Client(), 'bob', url())
          expect(newcomer.status, word).toBe(503)
          expect([200, 503], word).toContain(await status(alice))
          await waitFor(
            () => rig.instance.log().slice(logged).includes(word),
            5_000,
            () => `nothing in the log of ${word}`,
          )
        } finally {
          await end(redis)
        }
      })
      const backMs = await untilWell(alice)
      outcomes.push(`${word} 503, back after ${backMs} ms`)
    }
    expect(rig.instance.log()).not.toContain(password)
    return outcomes.join('; ')
  })

  attack('A284', 'REDIS', 'a thief of the store who tries what he found', async () => {
    const alice = await enter()
    const dump = (await rig.redis?.dump()) ?? ''
    const secrets = ['postern', 'postern-app'].map((name, index) =>
      alice.cookie(name, index === 0 ? 'access.corp.localhost' : 'app.corp.localhost'),
    )
    for (const secret of secrets) expect(dump.includes(secret ?? 'no cookie')).toBe(false)
    const found = [...new Set(dump.match(/[\w-]{20,}/g) ?? [])]
    expect(found.length).toBeGreaterThan(5)
    const outcomes: string[] = []
    for (const text of found) {
      const thief = new Client()
      for (const cookie of [`postern-app=${text}`, `postern=${text}`]) {
        outcomes.push(String((await thief.send(url(), { as: 'fetch', headers: { cookie } })).status))
        outcomes.push(String((await thief.send(`${rig.origin('access')}/`, { as: 'fetch', headers: { cookie } })).status))
      }
    }
    expect(new Set(outcomes)).not.toContain('200')
    return `${found.length} strings of the dump as cookies: ${summarise(outcomes)}`
  })
})
