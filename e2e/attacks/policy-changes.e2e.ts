/**
 * A policy that changes between a decision and what follows from it, and clocks that a client would like to be another time.
 *
 * A request is decided by one policy, and the trail names it; the next request is decided by the next one. What is still open when the next
 * one comes is decided again by that: it goes on as it began, to the upstream that it began with, or it is cut. Hours and days are those
 * of the server's clock in the zone that the document names: neither the client nor the zone of the machine has a say.
 */

import { writeFile } from 'node:fs/promises'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { sendRaw } from '../support/raw.ts'
import { type AppWish, type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { createTestAuthority, type TestAuthority } from '../support/test-authority.ts'
import { attack, endRig, mustBeAlive, sendLine, signedInCookie } from './attack.ts'

describe('a policy that changes meanwhile', () => {
  let rig: Rig
  let authority: TestAuthority
  let behind: HttpsServer
  let gate: Server
  const waiting: Socket[] = []
  const arrived: string[] = []
  let isOpen = true

  /** Accepts at once and lets the handshake through only when the gate is open: a connection that takes as long as we like. */
  function pass(socket: Socket): void {
    const through = connect((behind.address() as AddressInfo).port, '127.0.0.1')
    for (const one of [socket, through]) one.on('error', () => one.destroy())
    socket.on('close', () => through.destroy())
    through.on('close', () => socket.destroy())
    socket.pipe(through).pipe(socket)
  }

  beforeAll(async () => {
    authority = createTestAuthority()
    const { cert, key } = authority.issue('IP:127.0.0.1')
    behind = createHttpsServer({ cert, key }, (request, response) => {
      arrived.push(`${request.url} ${String(request.headers['x-forwarded-user'])}`)
      // Each request needs a connection of its own, so that each has to pass the gate.
      response.writeHead(200, { connection: 'close' }).end('from behind the gate')
    })
    gate = createServer((socket) => {
      if (isOpen) return pass(socket)
      socket.on('error', () => socket.destroy())
      waiting.push(socket)
    })
    for (const server of [behind, gate]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const upstream = { url: `https://127.0.0.1:${(gate.address() as AddressInfo).port}`, ca_file: authority.file }
    rig = await startRig({
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        { id: 'gated', upstream, timeouts: { connect: '30s' }, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
    })
  })
  afterAll(async () => {
    await endRig(rig)
    for (const socket of waiting) socket.destroy()
    gate.close()
    behind.close()
    behind.closeAllConnections()
    authority.remove()
  })
  afterEach(() => mustBeAlive(rig))

  attack('A230', 'POL', 'a change between the decision and the connection to the upstream', async () => {
    const url = `${rig.origin('gated')}/first`
    const host = `gated.corp.localhost:${rig.port}`
    const cookie = await signedInCookie(rig, new Client(), 'bob', url)
    const ask = (path: string) =>
      sendRaw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nSec-Fetch-Site: none\r\nConnection: close\r\n\r\n`, {
        port: rig.port,
        timeoutMs: 25_000,
        quietMs: 25_000,
      })
    const [app, gated] = rig.policy['apps'] as AppWish[]
    const elsewhere = rig.upstream('app').origin
    const deny = { name: 'nobody', deny: { everyone: true } }
    const lines = async (event: string, path: string) => {
      const all = await rig.audit()
      const requests = all.filter((line) => line['event'] === 'access.decided' && line['path'] === path).map((line) => line['request'])
      return all.filter((line) => line['event'] === event && requests.includes(line['request']))
    }
    const change = async (apps: AppWish[]) => {
      const loaded = async () => (await rig.audit()).filter((line) => line['event'] === 'policy.loaded').length
      const before = await loaded()
      await rig.writePolicy({ apps })
      await waitFor(async () => (await loaded()) > before)
    }
    const isDecided = async (path: string) => (await lines('access.decided', path)).length === 1

    // Where it would go to is elsewhere now, and it may still go: it arrives where it was decided to go.
    arrived.length = 0
    isOpen = false
    const going = ask('/going')
    await waitFor(async () => waiting.length > 0 && (await isDecided('/going')))
    await change([app, { ...gated, upstream: elsewhere }] as AppWish[])
    expect((await ask('/next')).statuses).toEqual([200])
    expect(rig.upstream('app').bytes()).toContain('/next')
    isOpen = true
    for (const socket of waiting.splice(0)) pass(socket)
    expect((await going).statuses).toEqual([200])
    expect(arrived).toEqual(['/going bob'])
    expect(rig.upstream('app').bytes()).not.toContain('/going')

    // Nobody may do anything any more: what has not arrived yet never does.
    await change([app, gated] as AppWish[])
    expect((await ask('/back')).statuses).toEqual([200])
    expect(arrived).toContain('/back bob')
    isOpen = false
    const early = [ask('/early/1'), ask('/early/2')]
    await waitFor(async () => waiting.length > 0 && (await isDecided('/early/1')) && (await isDecided('/early/2')))
    await change([app, { ...gated, upstream: elsewhere, rules: [deny] }] as AppWish[])
    expect((await ask('/late')).statuses).toEqual([403])
    const answers = await Promise.all(early)
    expect(answers.map(({ closed, text }) => ({ closed, text }))).toEqual([
      { closed: true, text: '' },
      { closed: true, text: '' },
    ])
    isOpen = true
    for (const socket of waiting.splice(0)) pass(socket)
    expect((await ask('/late')).statuses).toEqual([403])
    expect(arrived.filter((one) => one.startsWith('/early'))).toEqual([])
    expect(rig.upstream('app').bytes()).not.toContain('/early')

    // Lines reach the file a moment after the answer.
    await waitFor(async () => (await lines('access.decided', '/late')).length === 2)
    const versionOf = async (event: string, path: string) => (await lines(event, path))[0]?.['policy']
    const [before, after] = [await versionOf('access.decided', '/back'), await versionOf('access.decided', '/late')]
    expect(before).not.toBe(after)
    for (const path of ['/early/1', '/early/2']) {
      expect(await lines('access.decided', path)).toMatchObject([{ effect: 'allow', policy: before }])
      expect(await lines('access.ended', path)).toMatchObject([{ outcome: 'cut', reason: 'denied_by_rule', rule: 'nobody', policy: after }])
    }
    expect(await versionOf('access.decided', '/first')).toBe(before)
    return 'decided by the policy of its arrival, and again by the next one: it goes on as it began, or is cut and never arrives'
  })
})

const minute = 60_000

/** Wall-clock hours around now in a zone. */
function hoursAround(zone: string): string {
  const at = (offset: number) =>
    new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(Date.now() + offset)
  return `${at(-59 * minute)}-${at(59 * minute).replace('00:00', '24:00')}`
}

/** The day in a zone, some days from now. */
function dayIn(zone: string, offset: number): string {
  return new Intl.DateTimeFormat('en-CA', { timeZone: zone }).format(Date.now() + offset * 1440 * minute)
}

const ours = 'America/New_York'
/** Where the machine believes to be, where the client claims to be, and what clocks count in: hours from ours, each another. */
const others = { machine: 'Pacific/Kiritimati', client: 'Asia/Tokyo', epoch: 'UTC' }

describe('the time', () => {
  let rig: Rig
  let cookie: string
  beforeAll(async () => {
    const closed = Object.entries(others).map(([name, zone]) => ({
      name,
      allow: { signed_in: true },
      when: [{ time: { between: hoursAround(zone) } }],
      paths: [`/closed/${name}`],
    }))
    rig = await startRig({
      environment: { TZ: others.machine },
      policy: { zone: ours },
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'start', allow: { signed_in: true }, paths: ['/ok'] },
            ...closed,
            { name: 'now', allow: { signed_in: true }, when: [{ time: { between: hoursAround(ours) } }], paths: ['/open/hours'] },
            { name: 'these days', allow: { signed_in: true }, from: dayIn(ours, -1), until: dayIn(ours, 1), paths: ['/open/days'] },
            { name: 'tomorrow', allow: { signed_in: true }, from: dayIn(ours, 2), paths: ['/closed/from'] },
            { name: 'yesterday', allow: { signed_in: true }, until: dayIn(ours, -1), paths: ['/closed/until'] },
            {
              name: 'expression',
              allow: { signed_in: true },
              when: [{ expression: 'environment.at > 4102444800.0' }],
              paths: ['/closed/at'],
            },
          ],
        },
      ],
    })
    cookie = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
    rig.upstream('app').reset()
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  attack('A234', 'POL', 'a client that says what time it is, on a machine in another zone', async () => {
    const claims: readonly (readonly string[])[] = [
      [],
      ...Object.values(others).map((zone) => [`X-Timezone: ${zone}`, `Time-Zone: ${zone}`, `X-Client-Timezone: ${zone}`]),
      ['Date: Fri, 01 Jan 2100 09:00:00 GMT', 'X-Date: 2100-01-01T09:00:00Z', 'X-Client-Time: 4102477200', 'X-Request-Start: t=4102477200'],
      ['X-Timezone-Offset: -840', 'Sec-CH-Prefers-Time: 09:00', 'Accept-Language: ja-JP', 'Cookie: tz=Asia/Tokyo; timezone=Asia/Tokyo'],
      ['X-Forwarded-For: 203.0.113.9', 'CF-Timezone: Asia/Tokyo', 'CF-IPCountry: JP'],
    ]
    const closed = [...Object.keys(others), 'from', 'until', 'at'].map((name) => `/closed/${name}?tz=Asia/Tokyo&now=4102477200`)
    for (const claimed of claims) {
      const own = claimed.filter((line) => line.startsWith('Cookie: ')).map((line) => line.slice('Cookie: '.length))
      const headers = [
        ...claimed.filter((line) => !line.startsWith('Cookie: ')),
        `Cookie: ${[cookie, ...own].join('; ')}`,
        'Connection: close',
      ]
      for (const path of closed) {
        const answer = await sendLine(rig, `GET ${path} HTTP/1.1`, headers)
        expect(answer.statuses, `${path} ${claimed.join()}`).toEqual([403])
        expect(rig.upstream('app').bytes()).toBe('')
      }
      for (const path of ['/open/hours', '/open/days']) {
        expect((await sendLine(rig, `GET ${path} HTTP/1.1`, headers)).statuses, `${path} ${claimed.join()}`).toEqual([200])
      }
      rig.upstream('app').reset()
    }
    return `${claims.length * closed.length} requests refused, ${claims.length * 2} in the hours passed`
  })

  attack('A234b', 'POL', 'daylight saving, 24:00 and leap days, whatever zone the machine is in', async () => {
    const windows = {
      office: { between: '09:00-17:00', zone: 'Europe/Berlin' },
      skipped: { between: '02:00-03:00', zone: 'Europe/Berlin' },
      evening: { between: '22:00-24:00', zone: 'Europe/Berlin' },
      night: { days: ['sat'], between: '22:00-06:00', zone: 'Europe/Berlin' },
      whole: { days: ['sun'], between: '00:00-24:00', zone: 'Europe/Berlin' },
      island: { between: '01:30-02:00', zone: 'Australia/Lord_Howe' },
      leap: { from: '2028-02-29', until: '2028-02-29', zone: 'Europe/Berlin' },
      february: { until: '2027-02-28', zone: 'Europe/Berlin' },
    }
    const expected: readonly (readonly [window: keyof typeof windows, at: string, isOpen: boolean])[] = [
      // Summer time begins on 29 March 2026 and ends on 25 October 2026.
      ['office', '2026-03-28T07:59:59Z', false],
      ['office', '2026-03-28T08:00:00Z', true],
      ['office', '2026-03-29T06:59:59Z', false],
      ['office', '2026-03-29T07:00:00Z', true],
      ['office', '2026-03-29T14:59:59.999Z', true],
      ['office', '2026-03-29T15:00:00Z', false],
      ['office', '2026-10-25T07:59:59Z', false],
      ['office', '2026-10-25T08:00:00Z', true],
      ['skipped', '2026-03-29T00:59:59Z', false],
      ['skipped', '2026-03-29T01:00:00Z', false],
      ['skipped', '2026-10-25T00:30:00Z', true],
      ['skipped', '2026-10-25T01:30:00Z', true],
      ['skipped', '2026-10-25T02:00:00Z', false],
      ['evening', '2026-11-25T22:59:59Z', true],
      ['evening', '2026-11-25T23:00:00Z', false],
      ['night', '2026-10-24T20:00:00Z', true],
      ['night', '2026-10-25T04:59:59Z', true],
      ['night', '2026-10-25T05:00:00Z', false],
      ['night', '2026-10-25T21:30:00Z', false],
      ['whole', '2026-10-24T22:00:00Z', true],
      ['whole', '2026-10-25T22:59:59Z', true],
      ['whole', '2026-10-25T23:00:00Z', false],
      // Half an hour is skipped on 4 October 2026 and repeated on 5 April 2026.
      ['island', '2026-04-04T14:59:00Z', true],
      ['island', '2026-04-04T15:29:00Z', true],
      ['island', '2026-04-04T15:30:00Z', false],
      ['leap', '2028-02-28T22:59:59Z', false],
      ['leap', '2028-02-28T23:00:00Z', true],
      ['leap', '2028-02-29T22:59:59Z', true],
      ['leap', '2028-02-29T23:00:00Z', false],
      ['february', '2027-02-28T22:59:59Z', true],
      ['february', '2027-02-28T23:00:00Z', false],
    ]
    const policy = join(rig.instance.folder, 'time.yaml')
    const configuration = join(rig.instance.folder, 'time-postern.yaml')
    const app = { id: 'app', url: rig.origin('app'), upstream: rig.upstream('app').origin }
    const rules = Object.entries(windows).map(([name, time]) => ({
      name,
      allow: { signed_in: true },
      when: [{ time }],
      paths: [`/${name}`],
    }))
    const tests = expected.map(([name, at, isAllowed]) => ({
      name: `${name} ${at}`,
      given: { as: 'bob', at, request: `GET ${rig.origin('app')}/${name}` },
      expect: isAllowed ? 'allow' : 'deny',
    }))
    await writeFile(policy, JSON.stringify({ apps: [{ ...app, rules }] }))
    await writeFile(policy.replace('.yaml', '.test.yaml'), JSON.stringify({ people: { bob: { groups: ['staff'] } }, tests }))
    const instance = {
      url: rig.origin('access'),
      provider: { issuer: rig.issuer, client_id: 'x', client_secret: 'rig-client-secret-0123456789abcdef' },
      policy,
    }
    await writeFile(configuration, JSON.stringify(instance), { mode: 0o600 })
    for (const zone of ['UTC', ours, ...Object.values(others), 'Australia/Lord_Howe']) {
      const result = await runCommand(['test', '--config', configuration], '', { TZ: zone })
      expect(result, `${zone}: ${result.stdout}${result.stderr}`).toMatchObject({ code: 0 })
      expect(result.stdout).toContain(String(expected.length))
    }
    return `${expected.length} instants, the same in six zones of the machine`
  })
})
