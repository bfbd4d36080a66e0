/** Cookies that are tossed, sandwiched, oversized, or set by an app. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, mustBeRefused, sendLine, signedInCookie, summarise } from './attack.ts'

describe('cookies', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  attack('A153', 'COOK', 'an app cannot set or remove our cookies', async () => {
    const lines = [
      'postern-app=evil; Path=/',
      '__Host-postern-app=evil; Secure; Path=/',
      'postern=evil; Domain=corp.localhost; Path=/',
      'POSTERN-APP=evil',
      ' postern-app=evil',
      '\tpostern-app=evil',
      'postern-app =evil',
      '=postern-app=evil',
      'postern-login-abc=evil',
      'postern-ui=evil',
      'postern-app=; Max-Age=0',
      '__host-POSTERN=evil',
      '__Secure-postern=evil; Secure',
    ]
    const body = 'x'
    rig
      .upstream('app')
      .answerWith(
        `HTTP/1.1 200 OK\r\n${lines.map((line) => `Set-Cookie: ${line}\r\n`).join('')}Set-Cookie: theme=dark\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
    const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [`Cookie: ${bob}`])
    const set = [...answer.text.matchAll(/^set-cookie: (.*)$/gim)].map((match) => match[1]?.trim())
    expect(set.filter((line) => line?.includes('theme=dark'))).toHaveLength(1)
    expect(set.filter((line) => !line?.includes('theme=dark') && !/^__secure-postern/i.test(line ?? ''))).toEqual([])
    return `${lines.length} spellings removed, the app's own passes`
  })
  attack('A153b', 'COOK', 'two different values of our cookie are none', async () => {
    const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [`Cookie: postern-app=${'B'.repeat(43)}; ${bob}`])
    return mustBeRefused(rig, answer, 'tossed cookie')
  })
  attack('A155', 'COOK', 'a cookie sandwich', async () => {
    const value = bob.split('=')[1] ?? ''
    const outcomes: string[] = []
    for (const header of [
      `$Version=1; x="a; postern-app=${value}; y=b"`,
      `$Version=1; x="a; ${bob}; y=b"; postern-app=${'E'.repeat(43)}`,
    ]) {
      rig.upstream('app').reset()
      const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [`Cookie: ${header}`])
      expect(rig.upstream('app').bytes()).not.toContain(value)
      outcomes.push(`${answer.statuses[0]}`)
    }
    return `${summarise(outcomes)}; our value never arrives upstream`
  })
  attack('A157', 'COOK', 'many, large and numbered cookies', async () => {
    const outcomes: string[] = []
    for (const cookie of [
      Array.from({ length: 200 }, (_, index) => `c${index}=x`).join('; '),
      `postern-app.0=x; postern-app.99999999=x; postern-app.-1=x`,
      `a=${'x'.repeat(15_000)}`,
      `a=${'x'.repeat(60_000)}`,
      Array.from({ length: 300 }, (_, index) => `postern-login-${index}=${'x'.repeat(60)}`).join('; '),
    ]) {
      const answer = await sendLine(rig, 'GET /ok HTTP/1.1', [`Cookie: ${cookie}`])
      outcomes.push(mustBeRefused(rig, answer, cookie.slice(0, 40)))
    }
    expect((await sendLine(rig, 'GET /ok HTTP/1.1', [`Cookie: ${bob}`, 'Connection: close'])).statuses).toEqual([200])
    return summarise(outcomes)
  })
  attack('A158', 'COOK', 'sealed and session cookies moved to another host or name', async () => {
    const client = new Client()
    const start = await client.send(`${rig.origin('app')}/ok`)
    const line = start.header('set-cookie') ?? ''
    const [pair = ''] = line.split(';')
    const moved = await sendLine(rig, 'GET /.postern/callback?code=x HTTP/1.1', [
      `Host: wiki.corp.localhost:${rig.port}`,
      `Cookie: ${pair}`,
    ])
    expect([302, 303, 400]).toContain(moved.statuses[0])
    const asSession = await sendLine(rig, 'GET /ok HTTP/1.1', [`Host: wiki.corp.localhost:${rig.port}`, `Cookie: ${bob}`])
    expect(rig.upstream('wiki').bytes()).toBe('')
    return `attempt on another host ${moved.statuses[0]}, app session on another host ${asSession.statuses[0]}`
  })
  attack('A159', 'COOK', 'attributes of every cookie of ours', async () => {
    const client = new Client()
    const seen: string[] = []
    let url = `${rig.origin('app')}/ok`
    for (let hops = 0; hops < 12; hops += 1) {
      let answer = await client.send(url)
      if (answer.url.includes('/interaction/')) {
        answer = await client.send(url, {
          method: 'POST',
          body: 'person=alice',
          headers: { 'content-type': 'application/x-www-form-urlencoded', origin: rig.issuer, 'sec-fetch-site': 'same-origin' },
        })
      }
      const set = answer.headers['set-cookie']
      if (new URL(answer.url).port === String(rig.port) && Array.isArray(set)) seen.push(...set)
      const location = answer.header('location')
      if (location === undefined) break
      url = new URL(location, url).href
    }
    expect(seen.length).toBeGreaterThanOrEqual(4)
    for (const line of seen) {
      expect(line).toMatch(/; HttpOnly/i)
      expect(line).toMatch(/; SameSite=Lax/i)
      expect(line).toMatch(/; Path=\/(;|$)/i)
      expect(line).not.toMatch(/domain=/i)
    }
    const open = await sendLine(rig, 'GET /public/x HTTP/1.1', [])
    expect(open.text).not.toMatch(/^set-cookie/im)
    return `${seen.length} cookies: HttpOnly, Lax, Path=/, no Domain; none on a public path`
  })
})
