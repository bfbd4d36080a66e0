/**
 * The end of an instance: what is under way finishes, what is idle closes, nobody new is let in, and the trail is whole. And the exit
 * status of every command.
 */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { Client } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from './support/streaming-upstream.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''

/** What is signed behind it is about the trail itself. */
function lastEventOf(trail: readonly Readonly<Record<string, unknown>>[]): Readonly<Record<string, unknown>> | undefined {
  return trail.findLast((line) => !String(line['event']).startsWith('audit.'))
}

describe('shutdown', () => {
  let rig: Rig
  let upstream: StreamingUpstream
  let provider: HostileProvider
  let client: Client

  beforeEach(async () => {
    upstream = await startStreamingUpstream()
    provider = await startHostileProvider({ hostname: 'login.corp.localhost' })
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_id: provider.clientId, client_secret: provider.clientSecret },
      apps: [{ id: 'app', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
    })
    client = new Client()
    expect((await rig.signIn(client, 'alice', `${rig.origin('app')}/`)).status).toBe(200)
  })
  afterEach(async () => {
    await rig?.stop()
    await provider?.stop()
    await upstream?.close()
  })

  const headers = () => ({
    host: `app.corp.localhost:${rig.port}`,
    cookie: client.cookieHeader(rig.origin('app')),
    'sec-fetch-site': 'same-origin',
  })

  function open(path: string, agent: Agent | false = false): ClientRequest {
    const outgoing = httpRequest({ host: '127.0.0.1', port: rig.port, path, agent, headers: headers() })
    outgoing.on('error', () => undefined)
    outgoing.end()
    return outgoing
  }

  async function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    response.on('error', () => undefined)
    return response
  }

  async function openSocket(): Promise<Socket> {
    const socket = connect(rig.port, '127.0.0.1').resume()
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }

  async function readiness(): Promise<number> {
    return (await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)).status
  }

  test('SIGTERM: not ready at once, nobody new, idle closed, what is under way finishes, exit 0, trail whole', async () => {
    const downloads = await Promise.all([1, 2, 3, 4, 5].map((number) => answerTo(open(`/download?id=d${number}&bytes=2097152&pause=60`))))
    const received = downloads.map(async (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      await finished(response)
      return bytes
    })

    for (const one of received) one.catch(() => undefined)
    const webSocket = new WebSocket(`ws://127.0.0.1:${rig.port}/ws`, { headers: { ...headers(), origin: rig.origin('app') } })
    await once(webSocket, 'open')
    const farewell = once(webSocket, 'close') as Promise<[number]>

    const idle = new Agent({ keepAlive: true, maxSockets: 1 })
    const first = await answerTo(open('/quick', idle))
    const idleSocket = first.socket
    first.resume()
    await finished(first)
    const unused = await openSocket()

    // Somebody stands between the provider and us: their code is being redeemed when the signal comes.
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let isRedeeming = false
    provider.behaviour.take.token = async () => {
      isRedeeming = true
      await held
      return false
    }
    const newcomer = new Client()
    const begun = await newcomer.follow(`${rig.origin('app')}/`, {}, 2).catch((error: unknown) => String(error))
    expect(String(begun)).toContain('more than 2 redirects')
    const authorize = /http:\S+\/authorize\?\S+/.exec(String(begun))?.[0] ?? ''
    const callback = (await newcomer.send(authorize)).header('location') ?? ''
    const signingIn = newcomer.send(callback)
    signingIn.catch(() => undefined)
    await waitFor(() => isRedeeming)

    const from = performance.now()
    const ended = rig.instance.stop('SIGTERM')
    await waitFor(async () => (await readiness()) === 503, 1000)
    const notReadyMs = performance.now() - from
    await waitFor(
      () => idleSocket.destroyed && unused.destroyed,
      1500,
      () => `idle ${idleSocket.destroyed}, unused ${unused.destroyed}`,
    )
    const idleMs = performance.now() - from
    await expect(once(connect(rig.port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED')

    release()
    const signedIn = await signingIn
    expect(signedIn.status).toBe(303)
    expect(signedIn.header('set-cookie')).toContain('postern=')
    expect(signedIn.header('connection')).toBe('close')
    expect(await Promise.all(received)).toEqual([2097152, 2097152, 2097152, 2097152, 2097152])

    const [closeCode] = await farewell
    const how = await ended
    const tookMs = performance.now() - from
    console.log(
      `not ready after ${notReadyMs.toFixed(0)} ms, idle closed after ${idleMs.toFixed(0)} ms, WebSocket closed with ${closeCode}, ` +
        `exit ${how.code} after ${tookMs.toFixed(0)} ms`,
    )
    expect({ ...how, closeCode }).toEqual({ code: 0, signal: null, closeCode: 1001 })
    expect(tookMs).toBeLessThan(30_000)
    idle.destroy()

    const trail = await rig.audit()
    expect(lastEventOf(trail)).toMatchObject({ event: 'instance.stopped' })
    const completed = trail.filter((line) => line['event'] === 'access.ended' && line['bytes_out'] === 2097152)
    expect(completed.map((line) => line['outcome'])).toEqual(Array(5).fill('completed'))
    expect(trail.filter((line) => line['event'] === 'session.started')).toHaveLength(2)
  }, 60_000)

  test('a second signal does not wait for what never ends: exit 1, and the trail is whole', async () => {
    open('/silence')
    await waitFor(async () => (await rig.audit()).some((line) => line['path'] === '/silence'))
    const ended = rig.instance.stop('SIGTERM')
    // Ctrl-C reaches a program twice through npm; only what comes later is a second wish.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(rig.instance.isRunning()).toBe(true)
    const from = performance.now()
    process.kill(rig.instance.pid, 'SIGTERM')
    expect(await ended).toEqual({ code: 1, signal: null })
    expect(performance.now() - from).toBeLessThan(3000)
    expect((await rig.audit()).length).toBeGreaterThan(0)
  }, 60_000)

  test('SIGINT alone is as good as SIGTERM', async () => {
    expect(await rig.instance.stop('SIGINT')).toEqual({ code: 0, signal: null })
    expect(lastEventOf(await rig.audit())).toMatchObject({ event: 'instance.stopped' })
  })

  test.runIf(isLong)(
    'an exchange that never ends is cut at the limit, and the exit status says so',
    async () => {
      open('/silence')
      await waitFor(async () => (await rig.audit()).some((line) => line['path'] === '/silence'))
      const from = performance.now()
      const { code } = await rig.instance.stop('SIGTERM')
      expect(performance.now() - from).toBeLessThan(30_000)
      expect(code).toBe(1)
      const trail = await rig.audit()
      expect(trail.map((line) => line['event'])).toContain('instance.stopped')
      const request = trail.find((line) => line['path'] === '/silence')?.['request']
      const end = trail.find((line) => line['event'] === 'access.ended' && line['request'] === request)
      expect(end).toMatchObject({ outcome: 'cut' })
    },
    60_000,
  )

  test('commands end with the status that the contract names', async () => {
    const folder = rig.instance.folder
    const good = join(folder, '..', 'postern-0.yaml')
    const broken = join(folder, 'broken.yaml')
    await writeFile(broken, '{"url": "nonsense", "listne": 1}', { mode: 0o600 })
    const results: Record<string, number | null> = {}
    for (const args of [
      ['check', '--config', good],
      ['schema', 'config'],
      ['--help'],
      ['--version'],
      ['check', '--config', broken],
      ['keys', 'generate', '--config', good],
      ['no-such-command'],
      ['serve', '--no-such-option'],
      ['serve', '--config', broken],
      ['serve', '--config', join(folder, 'absent.yaml')],
      ['keys', 'rotate', '--config', broken],
      ['schema', 'nonsense'],
    ]) {
      const { code } = await runCommand(args)
      results[args.join(' ').replace(good, 'good').replace(broken, 'broken').replace(folder, '')] = code
    }
    expect(results).toEqual({
      'check --config good': 0,
      'schema config': 0,
      '--help': 0,
      '--version': 0,
      'check --config broken': 1,
      'keys generate --config good': 1,
      'no-such-command': 2,
      'serve --no-such-option': 2,
      'serve --config broken': 2,
      'serve --config /absent.yaml': 2,
      'keys rotate --config broken': 2,
      'schema nonsense': 2,
    })
  }, 60_000)
})
