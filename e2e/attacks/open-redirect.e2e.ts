/**
 * Return addresses that lead away. Safe: every address a browser is sent to after sign-in or sign-out is one of our own origins.
 *
 * The payloads below are one or more of each class. A longer list (one a line) is used as well where `POSTERN_TEST_REDIRECT_PAYLOADS` names a file.
 */

import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine } from './attack.ts'

const ownPayloads = [
  'https://evil.test/x',
  '//evil.test',
  '///evil.test',
  '////evil.test/%2e%2e',
  '/\\evil.test/x',
  '/%5cevil.test/x',
  '\\\\evil.test',
  '/%5C%5Cevil.test',
  '/%09/evil.test',
  '/%0a/evil.test',
  '/%0b/evil.test',
  '/%0d/evil.test',
  '/%20/evil.test',
  '/\t/evil.test',
  ' https://evil.test',
  'https:evil.test',
  'http:/evil.test',
  'https:///evil.test',
  'javascript:alert(1)',
  'data:text/html,x',
  'https://evil.test\\@APP/',
  'https://APP@evil.test/',
  'https://APP.evil.test/',
  'https://evilAPP/',
  'http://APP:99@evil.test/',
  '/%E3%80%B1evil.test',
  '%EF%BC%8F%EF%BC%8Fevil.test',
  'https://app%E3%80%82corp%E3%80%82localhost.evil.test',
  'http://evil。test/',
  '/%0d%0aSet-Cookie:%20sid=evil',
  '/\u560a\u560dSet-Cookie:x',
  'http://[::1]@evil.test',
  'http://127.0.0.1:6379/',
  'file:///etc/passwd',
  '//',
  'https://',
  '%',
]

describe('open redirect', () => {
  let rig: Rig
  let payloads: readonly string[]
  let origins: readonly string[]

  beforeAll(async () => {
    // Each request of a list comes from an address of its own, so that none is answered by the rate limit instead of the check.
    rig = await startRig({ configuration: { trusted_proxies: ['127.0.0.1'] } })
    const listed = process.env['POSTERN_TEST_REDIRECT_PAYLOADS']
    const more = listed === undefined ? [] : (await readFile(listed, 'utf8')).split('\n').filter((line) => line !== '')
    payloads = [...ownPayloads.map((payload) => payload.replaceAll('APP', `app.corp.localhost:${rig.port}`)), ...more]
    origins = ['access', 'app', 'wiki'].map((name) => rig.origin(name))
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  let sent = 0
  const from = () => {
    sent += 1
    return `10.${(sent >> 16) & 255}.${(sent >> 8) & 255}.${sent & 255}`
  }

  /** Where a browser standing at `base` would go. */
  function mustStay(location: string | undefined, base: string, payload: string): void {
    if (location === undefined) return
    expect(location, payload).not.toMatch(/[\\\s]/)
    const target = new URL(location, base)
    if (target.origin === new URL(rig.issuer).origin) {
      expect(target.searchParams.get('redirect_uri') ?? rig.origin('access'), payload).toContain(rig.origin('access'))
      return
    }
    expect(origins, `${payload} leads to ${target.href}`).toContain(target.origin)
  }

  attack('A1', 'REDIR', 'every payload, raw and encoded, signed in and not', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('access')}/`)
    let count = 0
    for (const payload of payloads) {
      for (const value of [encodeURIComponent(Buffer.from(payload).toString()), encodeURIComponent(encodeURIComponent(payload))]) {
        for (const who of [client, new Client()]) {
          for (const attempt of ['', `&attempt=${'A'.repeat(43)}`]) {
            const url = `${rig.origin('access')}/sign-in?return_to=${value}${attempt}`
            const answer = await who.send(url, { headers: { 'x-forwarded-for': from() } })
            expect(answer.status, payload).not.toBe(429)
            expect(answer.status, payload).toBeLessThan(500)
            expect(Object.keys(answer.headers), payload).not.toContain('sid')
            mustStay(answer.header('location'), rig.origin('access'), payload)
            count += 1
          }
        }
      }
    }
    return `${payloads.length} payloads, ${count} requests, none leaves`
  })
  attack('A1b', 'REDIR', 'every payload pasted raw', async () => {
    const outcomes = new Set<number | undefined>()
    for (let first = 0; first < payloads.length; first += 20) {
      await Promise.all(
        payloads.slice(first, first + 20).map(async (payload) => {
          const line = `GET /sign-in?return_to=${Buffer.from(payload).toString('latin1')} HTTP/1.1`
          const answer = await sendLine(rig, line, [
            `Host: access.corp.localhost:${rig.port}`,
            `X-Forwarded-For: ${from()}`,
            'Connection: close',
          ])
          expect(answer.statuses, payload).not.toContain(429)
          for (const match of answer.text.matchAll(/^location: (.*)$/gim)) mustStay(match[1]?.trim(), rig.origin('access'), payload)
          for (const status of answer.statuses) expect(status, payload).toBeLessThan(500)
          expect(answer.text, payload).not.toMatch(/^set-cookie: (?!postern)/im)
          outcomes.add(answer.statuses[0])
        }),
      )
    }
    return `${payloads.length} payloads: ${[...outcomes].join(', ')}`
  })
  attack('A2', 'REDIR', 'the same through sign-out', async () => {
    let count = 0
    for (const payload of payloads) {
      const value = encodeURIComponent(payload)
      for (const path of [
        `/signed-out?return_to=${value}&state=${value}`,
        `/.postern/sign-out?return_to=${value}&post_logout_redirect_uri=${value}`,
      ]) {
        const answer = await new Client().send(`${rig.origin('access')}${path}`)
        expect(answer.status, payload).toBeLessThan(500)
        mustStay(answer.header('location'), rig.origin('access'), payload)
        count += 1
      }
    }
    return `${count} requests, none leaves`
  })
  attack('A3', 'REDIR', 'a whole sign-in with a bad return address ends at home', async () => {
    const ends: string[] = []
    for (const payload of ['/\\evil.test/x', 'https://evil.test/x', '//evil.test', 'javascript:alert(1)']) {
      const client = new Client()
      const answer = await rig.signIn(client, 'alice', `${rig.origin('access')}/sign-in?return_to=${encodeURIComponent(payload)}`)
      for (const hop of answer.trail) expect([...origins, rig.issuer]).toContain(new URL(hop).origin)
      expect(answer.body).not.toContain('evil.test')
      ends.push(new URL(answer.url).pathname)
    }
    return `ended at ${[...new Set(ends)].join(', ')}`
  })
  attack('A4', 'REDIR', 'raw control characters in the request line', async () => {
    const statuses: number[] = []
    for (const text of ['\t/evil.test', '/\x0bevil.test', '/\x00evil', '/ evil.test', '\x7f']) {
      const answer = await sendLine(rig, `GET /sign-in?return_to=${text} HTTP/1.1`, [`Host: access.corp.localhost:${rig.port}`])
      mustStay(/^location: (.*)$/im.exec(answer.text)?.[1]?.trim(), rig.origin('access'), text)
      statuses.push(...answer.statuses)
    }
    for (const status of statuses) expect(status).toBeLessThan(500)
    return statuses.join(', ')
  })
  attack('A5', 'REDIR', 'hosts that only look like ours', async () => {
    const port = rig.port
    for (const url of [
      `http://xapp.corp.localhost:${port}/`,
      `http://app.corp.localhost:${port + 1}/`,
      `https://app.corp.localhost:${port}/`,
      `http://app.corp.localhost.evil.test:${port}/`,
      `http://corp.localhost:${port}/`,
      `http://login.corp.localhost:${port}/`,
    ]) {
      const client = new Client()
      const answer = await rig.signIn(client, 'alice', `${rig.origin('access')}/sign-in?return_to=${encodeURIComponent(url)}`)
      expect(new URL(answer.url).origin, url).toBe(rig.origin('access'))
    }
    return 'all end at the portal'
  })
  attack('A8', 'REDIR', 'letters and dots that other alphabets lend', async () => {
    const dot = '\u3002'
    const ends: string[] = []
    for (const value of [
      '/%E3%80%B1evil.test',
      '/%E3%80%B5evil.test',
      '/%E3%82%9Devil.test',
      '/%E3%83%BCevil.test',
      '/%EF%BD%B0/evil.test',
      '%EF%BC%8F%EF%BC%8Fevil.test',
      encodeURIComponent(`http://app${dot}corp${dot}localhost.evil.test`),
      encodeURIComponent(`http://app.corp.localhost${dot}evil.test:${rig.port}/`),
      encodeURIComponent(`http://evil${dot}test/`),
      encodeURIComponent('http://\u24d4vil.test/'),
      encodeURIComponent(`http://app.corp.localhost\uff0fevil.test:${rig.port}/`),
      encodeURIComponent('http://xn--evil-\u00ad.test/'),
    ]) {
      const answer = await rig.signIn(new Client(), 'alice', `${rig.origin('access')}/sign-in?return_to=${value}`)
      for (const hop of answer.trail) expect([...origins, rig.issuer], value).toContain(new URL(hop).origin)
      ends.push(new URL(answer.url).origin)
    }
    // The same host in other letters is the same origin after IDNA, and only then may it pass.
    const own = await rig.signIn(
      new Client(),
      'alice',
      `${rig.origin('access')}/sign-in?return_to=${encodeURIComponent(`http://\uff41pp${dot}corp.localhost:${rig.port}/ok`)}`,
    )
    expect(origins).toContain(new URL(own.url).origin)
    return `${ends.length} payloads through a whole sign-in, all end at our own origins`
  })
  attack('A11', 'REDIR', 'our own sign-in addresses are no return addresses', async () => {
    for (const url of [
      `${rig.origin('access')}/sign-in?return_to=https://evil.test`,
      `${rig.origin('app')}/.postern/callback?code=x`,
      `${rig.origin('app')}/.postern/sign-out`,
      `${rig.origin('access')}/oidc/callback?code=x&state=y`,
    ]) {
      const answer = await rig.signIn(new Client(), 'alice', `${rig.origin('access')}/sign-in?return_to=${encodeURIComponent(url)}`)
      expect(new URL(answer.url).href, url).toBe(`${rig.origin('access')}/`)
    }
    return 'all end at the portal'
  })
  attack('A13', 'REDIR', 'header injection', async () => {
    for (const payload of ['/%0d%0aSet-Cookie:%20sid=evil', '%0d%0aX:%20y', '/%E5%98%8A%E5%98%8DSet-Cookie:x']) {
      const answer = await new Client().send(`${rig.origin('access')}/sign-in?return_to=${rig.origin('app')}${payload}`)
      expect(JSON.stringify(answer.headers)).not.toMatch(/sid=evil|"x":/)
      expect(answer.status).toBeLessThan(500)
    }
    return 'no header was added'
  })
  attack('A14', 'REDIR', 'a refused return address is forgotten', async () => {
    const client = new Client()
    const answer = await rig.signIn(client, 'alice', `${rig.origin('access')}/sign-in?return_to=https://evil.test/x`)
    expect(answer.body).not.toContain('evil.test')
    expect(rig.instance.log()).not.toContain('evil.test')
    return 'not in the page, not in the log'
  })
})
