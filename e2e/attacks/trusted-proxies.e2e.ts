/**
 * Client addresses that are claimed rather than had. Judged by the `X-Forwarded-For` that reaches the upstream and by the address in
 * the audit trail: both are the right-most hop that no trusted proxy vouches for, and nothing else that a proxy could send counts.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, signedInCookie, summarise } from './attack.ts'

describe('behind a trusted proxy', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    rig = await startRig({ configuration: { trusted_proxies: ['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48'] } })
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  /** The address that the upstream and the audit trail were told. */
  async function addressFor(headers: readonly string[]): Promise<string> {
    rig.upstream('app').reset()
    const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [...headers, `Cookie: ${bob}`, 'Connection: close'])
    expect(answer.statuses, headers.join()).toEqual([200])
    const lines =
      rig
        .upstream('app')
        .requests()[0]
        ?.headers.filter(([name]) => name.toLowerCase() === 'x-forwarded-for') ?? []
    expect(lines).toHaveLength(1)
    const upstream = lines[0]?.[1] ?? ''
    const id = /^x-postern-request: (.*)$/im.exec(answer.text)?.[1]?.trim()
    const decided = async () => (await rig.audit()).find((line) => line['event'] === 'access.decided' && line['request'] === id)
    await waitFor(async () => (await decided()) !== undefined)
    expect((await decided())?.['address'], headers.join()).toBe(upstream)
    return upstream
  }

  attack('A28', 'HDR', 'the right-most hop that is not trusted, in one spelling', async () => {
    const cases: readonly (readonly [header: string, address: string])[] = [
      ['203.0.113.9', '203.0.113.9'],
      ['10.0.0.5, 203.0.113.9', '203.0.113.9'],
      ['203.0.113.9, 10.0.0.5', '203.0.113.9'],
      ['198.51.100.1, 203.0.113.9, 10.0.0.5, 10.1.2.3', '203.0.113.9'],
      ['::ffff:203.0.113.9', '203.0.113.9'],
      ['203.0.113.9, ::ffff:10.0.0.5', '203.0.113.9'],
      ['203.0.113.9, ::FFFF:0a00:0005', '203.0.113.9'],
      ['2001:DB8:0:0::7', '2001:db8::7'],
      ['2001:db8::7, 2001:db8:1::1', '2001:db8::7'],
      ['203.0.113.9:4711', '203.0.113.9'],
      ['[2001:db8::7]:4711', '2001:db8::7'],
      ['10.0.0.5', '10.0.0.5'],
    ]
    for (const [header, address] of cases) expect(await addressFor([`X-Forwarded-For: ${header}`]), header).toBe(address)
    expect(await addressFor(['X-Forwarded-For: 198.51.100.1', 'X-Forwarded-For: 203.0.113.9'])).toBe('203.0.113.9')
    return `${cases.length + 1} chains, each read from the right`
  })
  attack('A28b', 'HDR', 'hops that are no address stop the walk', async () => {
    const outcomes: string[] = []
    for (const header of [
      '203.0.113.9, unknown',
      '203.0.113.9, 010.0.0.5',
      '203.0.113.9, 0x0a000005',
      '203.0.113.9, 167772165',
      '203.0.113.9, 10.5',
      '203.0.113.9, _hidden',
      '203.0.113.9, 10.0.0.5 x',
      '203.0.113.9,',
      '203.0.113.9, for=10.0.0.5',
      '203.0.113.9, 10.0.0.5%eth0',
      '203.0.113.9, <script>',
    ]) {
      outcomes.push(await addressFor([`X-Forwarded-For: ${header}`]))
    }
    expect([...new Set(outcomes)]).toEqual(['127.0.0.1'])
    return `${summarise(outcomes)}: the last hop that was one`
  })
  attack('A26b', 'HDR', 'no other header of a trusted proxy counts', async () => {
    const origin = rig.origin('access')
    for (const header of [
      'X-Real-IP: 203.0.113.9',
      'Forwarded: for=203.0.113.9',
      'True-Client-IP: 203.0.113.9',
      'CF-Connecting-IP: 203.0.113.9',
      'X-Client-IP: 203.0.113.9',
      'X_Forwarded_For: 203.0.113.9',
    ]) {
      expect(await addressFor([header]), header).toBe('127.0.0.1')
      expect(rig.upstream('app').bytes()).not.toContain('203.0.113.9')
    }
    for (const header of [
      'X-Forwarded-Host: wiki.corp.localhost',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Port: 443',
      'X-Forwarded-Prefix: /x',
      'X-Forwarded-User: alice',
      'X-Forwarded-Uri: /public/x',
    ]) {
      rig.upstream('app').reset()
      const denied = await sendLine(rig, 'GET /admin/secret HTTP/1.1', [header, `Cookie: ${bob}`, 'Connection: close'])
      expect([denied.statuses, rig.upstream('app').bytes()], header).toEqual([[403], ''])
      const redirect = await sendLine(rig, 'GET /ok HTTP/1.1', [header, 'Accept: text/html', 'Connection: close'])
      expect(/^location: (\S+)/im.exec(redirect.text)?.[1], header).toMatch(
        new RegExp(`^${origin}/sign-in\\?return_to=http%3A%2F%2Fapp\\.corp`),
      )
    }
    return 'address, route, redirect and identity stay as they are'
  })
  attack('A25', 'HDR', 'nobody can trust everybody', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'postern-proxies-'))
    const outcomes: string[] = []
    try {
      const good = JSON.parse(await (await import('node:fs/promises')).readFile(join(rig.instance.folder, '..', 'postern-0.yaml'), 'utf8'))
      for (const network of ['0.0.0.0/0', '::/0', '*', 'all', 'true', '0.0.0.0/00', '10.0.0.5/24', '']) {
        const file = join(folder, 'postern.yaml')
        await writeFile(file, JSON.stringify({ ...good, trusted_proxies: [network] }))
        const { code, stdout, stderr } = await runCommand(['check', '--config', file])
        expect(code, network).not.toBe(0)
        expect(stdout + stderr, network).toContain('trusted_proxies')
        outcomes.push(`refused (${code})`)
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
    return `${summarise(outcomes)}; the default list is empty (A26)`
  })
})
