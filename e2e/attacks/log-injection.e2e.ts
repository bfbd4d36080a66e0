/**
 * Words of strangers that would forge a line of a log, act on a terminal that shows it, or drown it. Judged by the bytes of the log and of the
 * audit trail: each line is one JSON object, nothing in it is a control character, and none is long.
 */

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { type HostileProvider, startHostileProvider } from '../support/hostile-provider.ts'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { forgiveSecret, readTrail } from '../support/secret-watch.ts'
import { attack, endRig, mustBeAlive, sendLine } from './attack.ts'

const forged = '\r\n{"level":"info","event":"login","user":"root"}\r\n'
const clear = '\x1b[2J\x1b]0;owned\x07'
const separators = '\u2028\u2029\u0085\u009b31m\u007f\u200f\u202e\ufeff'
/** With a control character of ASCII nobody gets in under this name; with these, somebody does. */
const subject = 'root\u2028\u0085\u009b31m\u200f\u202e\ufeff.'
const million = 'm'.repeat(1024 * 1024)

/** Longest that any line may be: the facts of a subject with all its claims are the longest that there is. */
const longestLine = 70_000

describe('words of strangers in the log and in the trail', () => {
  let provider: HostileProvider
  let rig: Rig
  let cookie: string

  beforeAll(async () => {
    provider = await startHostileProvider()
    const name = `Root${forged}${clear}${separators}`
    provider.behaviour.person = {
      sub: subject,
      claims: { name, preferred_username: name, email: `root${separators}@corp.test`, email_verified: true, groups: ['staff', name] },
    }
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_secret: provider.clientSecret, scopes: ['openid'], claims: { groups: ['groups'] } },
      configuration: { trusted_proxies: ['127.0.0.1/32'], audit: { query: 'keep' } },
    })
    const client = new Client()
    expect((await client.follow(`${rig.origin('app')}/ok`)).status).toBe(200)
    cookie = client.cookieHeader(`${rig.origin('app')}/`)
  })
  afterAll(async () => {
    await endRig(rig)
    await provider.stop()
  })
  afterEach(async () => {
    mustBeAlive(rig)
    rig.upstream('app').answerWith(undefined)
    for (const line of [...rig.instance.log().split('\n'), ...(await trailLines())]) mustBeOneLine(line)
  })

  async function trailLines(): Promise<readonly string[]> {
    const segments = await readTrail(join(rig.instance.folder, 'audit'))
    // What stands behind the last line break is still being written.
    return segments.flatMap(({ text }) => text.split('\n').slice(0, -1))
  }

  function mustBeOneLine(line: string): void {
    if (line === '') return
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    const active = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/.exec(line)
    if (active !== null) throw new Error(`U+${active[0].charCodeAt(0).toString(16)} in ${JSON.stringify(line.slice(0, 500))}`)
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`no object: ${line.slice(0, 200)}`)
    if ('user' in value || ('event' in value && value.event === 'login')) throw new Error(`forged: ${line.slice(0, 200)}`)
    if (line.length > longestLine) throw new Error(`${line.length} characters: ${line.slice(0, 200)}`)
  }

  const ask = (headers: readonly string[], target = '/ok') =>
    sendLine(rig, `GET ${target} HTTP/1.1`, [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', ...headers, 'Connection: close'])

  /** The line of the trail about an answer that came from a decision. */
  async function lineOf(answer: RawAnswer): Promise<Readonly<Record<string, unknown>>> {
    const id = /^x-postern-request: (\S+)/im.exec(answer.text)?.[1]
    const find = async () => (await rig.audit()).find((line) => line['event'] === 'access.decided' && line['request'] === id)
    await waitFor(async () => id !== undefined && (await find()) !== undefined)
    return (await find()) ?? {}
  }

  attack('A211', 'LOG', 'line breaks, escape sequences, separators and a megabyte in headers and targets', async () => {
    const latin = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
    const outcomes = new Map<string, number>()
    const note = (answer: RawAnswer) => {
      const status = String(answer.statuses[0] ?? 'closed')
      outcomes.set(status, (outcomes.get(status) ?? 0) + 1)
    }
    const words = [forged, clear, latin(separators), separators.replace(/[^\u0080-\u00ff]/g, ''), '\0', '\u0085{"event":"login"}']
    for (const word of words) {
      for (const name of [
        'User-Agent',
        'X-Forwarded-For',
        'X-Real-Ip',
        'Referer',
        'Authorization',
        'Traceparent',
        'Origin',
        'X-Request-Id',
      ])
        note(await ask([`${name}: before${word}after`]))
      note(await ask([`Authorization: Basic ${Buffer.from(`root${word}:${word}`).toString('base64')}`]))
      note(await ask([], `/ok${word}`))
      note(await ask([], `/ok${encodeURIComponent(Buffer.from(word, 'latin1').toString('utf8'))}`))
      note(await ask([], `/ok?q=${encodeURIComponent(Buffer.from(word, 'latin1').toString('utf8'))}`))
      note(await sendLine(rig, `GET /ok HTTP/1.1${word}`, ['Connection: close']))
      note(await sendLine(rig, `${word} /ok HTTP/1.1`, ['Connection: close']))
      note(await sendLine(rig, 'GET /ok HTTP/1.1', [`Host: app${word}.corp.localhost`, 'Connection: close']))
    }
    for (const header of ['User-Agent', 'X-Forwarded-For', 'Cookie']) note(await ask([`${header}: ${million}`]))
    note(await ask([], `/${million}`))
    note(await sendRaw(million, { port: rig.port }))
    // A browser's word is kept as it is, escaped, and cut; the path keeps its escapes.
    const odd = await lineOf(
      await ask([`User-Agent: ${latin(`agent${separators.replace('\u007f', '')}`)}${'u'.repeat(20_000)}`], '/ok%E2%80%A8'),
    )
    expect(String(odd['user_agent'])).toMatch(/^agent/)
    expect(String(odd['user_agent']).length).toBeLessThanOrEqual(600)
    expect(odd['path']).toBe('/ok%E2%80%A8')
    const long = await lineOf(await ask([], `/ok/${'p'.repeat(15_000)}?${'q'.repeat(10_000)}`))
    expect(String(long['path']).length).toBeLessThanOrEqual(2049)
    return [...outcomes].map(([status, count]) => `${count}× ${status}`).join(', ')
  })

  attack('A211b', 'LOG', 'names, groups and errors as a provider states them', async () => {
    const line = await lineOf(await ask([]))
    // It is the same person as the provider named: nothing was lost by escaping.
    expect((line['subject'] as { sub: string }).sub).toBe(subject)
    const { person } = provider.behaviour
    provider.behaviour.person = { ...person, sub: `root${forged}${clear}` }
    expect((await new Client().follow(`${rig.origin('app')}/ok`)).status).toBe(400)
    provider.behaviour.person = person
    for (const error of [`access_denied${forged}`, `${clear}${separators}`, million.slice(0, 8000)]) {
      provider.behaviour.answer = (honest) =>
        new URLSearchParams({ state: honest.get('state') ?? '', iss: provider.issuer, error, error_description: error })
      await new Client().follow(`${rig.origin('app')}/ok`)
    }
    provider.behaviour.answer = (honest) => honest
    provider.behaviour.take.token = (_request, response) => {
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: `invalid_grant${forged}${separators}`, error_description: `${clear}${million}` }))
      return true
    }
    await new Client().follow(`${rig.origin('app')}/ok`)
    delete provider.behaviour.take.token
    return `${(await rig.audit()).filter((each) => each['event'] === 'sign_in.failed').length} failed sign-ins on record, each one line`
  })

  attack('A211c', 'LOG', 'addresses of pages, logout tokens and bodies at the access host', async () => {
    const access = rig.origin('access')
    const client = new Client()
    for (const word of [forged, clear, separators, 'w'.repeat(20_000)]) {
      const text = encodeURIComponent(word)
      for (const path of [
        `/sign-in?return_to=${text}`,
        `/oidc/callback?state=${text}&code=${text}&error=${text}`,
        `/${text}`,
        `/api/v1/devices/${text}/reports`,
      ])
        await client.send(`${access}${path}`)
      for (const path of ['/oidc/backchannel-logout', '/api/v1/locks', '/console/x'])
        await client.send(`${access}${path}`, {
          method: 'POST',
          body: `logout_token=${text}`,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      // Where a secret would stand, but no secret: the cases before wrote the same where it may be read.
      for (const part of [word, ...word.split('.')]) forgiveSecret(part)
    }
    return `${rig.instance.log().trim().split('\n').length} lines of log, each one object`
  })

  attack('A211d', 'LOG', 'what an upstream answers', async () => {
    for (const answer of [
      `HTTP/1.1 200 ${clear}\r\nContent-Length: 0\r\n\r\n`,
      `HTTP/1.1 200 OK\r\nX: ${forged}${clear}\r\nContent-Length: 0\r\n\r\n`,
      `${forged}${clear}\r\n\r\n`,
      `HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM ${clear}\r\nContent-Length: 0\r\n\r\n`,
      `HTTP/1.1 200 OK\r\nContent-Length: ${clear}\r\n\r\n`,
      `HTTP/1.1 200 OK\r\nX: ${'h'.repeat(200_000)}\r\n\r\n`,
    ]) {
      rig.upstream('app').answerWith(answer)
      await ask([])
    }
    return `${rig.instance.log().match(/the upstream failed/g)?.length ?? 0} failures told`
  })
})
