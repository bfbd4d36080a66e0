/**
 * What is answered to a request that is refused and that no person in a window waits for: of scripts, pictures, frames, programs, prefetches. It is JSON
 * with the reason, on apps, portal and console alike: nothing that a browser would render, run or take for a sign-in to follow.
 */

import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { type ConsoleRoute, Desk, listConsoleRoutes, pathOf } from '../support/console-desk.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, summarise } from './attack.ts'

/** Of browsers that say where an answer goes, and of everything else that says what it takes. */
const asked: Readonly<Record<string, readonly string[]>> = {
  'a picture': ['Accept: image/avif,image/webp,image/svg+xml,*/*;q=0.8', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'],
  'a script': ['Accept: */*', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: script'],
  'a module': ['Accept: */*', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: script'],
  'a stylesheet': ['Accept: text/css,*/*;q=0.1', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: style'],
  'a font': ['Accept: */*', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: font'],
  'a video': ['Accept: */*', 'Range: bytes=0-', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: video'],
  'a worker': ['Accept: */*', 'Sec-Fetch-Mode: same-origin', 'Sec-Fetch-Dest: worker'],
  'a fetch that takes pages': ['Accept: text/html', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty'],
  'a fetch': ['Accept: application/json', 'Sec-Fetch-Mode: same-origin', 'Sec-Fetch-Dest: empty'],
  'a stream': ['Accept: text/event-stream', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty'],
  'a beacon': ['Accept: */*', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: empty'],
  'a prefetch': ['Accept: text/html,*/*', 'Sec-Purpose: prefetch', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'],
  'a picture, by Accept': ['Accept: image/svg+xml'],
  'JSON, by Accept': ['Accept: application/json'],
  'whatever there is': ['Accept: */*'],
  'no word': [],
  'XHR that takes pages': ['Accept: text/html, */*; q=0.01', 'X-Requested-With: XMLHttpRequest'],
  'a lie about half of it': ['Accept: text/html', 'Sec-Fetch-Mode: navigate'],
  'a lie about the other half': ['Accept: text/html', 'Sec-Fetch-Dest: document'],
  letters: ['Accept: text/html', 'Sec-Fetch-Mode: Navigate', 'Sec-Fetch-Dest: Document'],
}
/** A person who sees these is led out of the frame, on apps; nothing runs in them. */
const framed: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  ['iframe', 'frame', 'object', 'embed', 'fencedframe'].map((tag) => [
    tag,
    ['Accept: text/html,*/*;q=0.8', 'Sec-Fetch-Mode: navigate', `Sec-Fetch-Dest: ${tag}`],
  ]),
)

describe('refusals that nobody in a window waits for', () => {
  let rig: Rig
  let routes: readonly ConsoleRoute[]
  let bob: Desk

  beforeAll(async () => {
    rig = await startRig({
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] }, paths: ['/ok'] }] },
        { id: 'vault', rules: [{ name: 'strong', allow: { groups: ['staff'] }, when: [{ sign_in: { strength: 'mfa' } }] }] },
        { id: 'layoffs', portal: 'hidden', rules: [{ name: 'board', allow: { groups: ['board'] } }] },
      ],
      provider: { strengths: { mfa: { amr: ['otp'] } } },
      configuration: { requests: 'on', console: { roles: { admin: { groups: ['postern-admins'] } } } },
    })
    routes = await listConsoleRoutes()
    bob = await Desk.of(rig, 'bob')
    for (const id of ['app', 'vault', 'layoffs']) await rig.signIn(bob.client, 'bob', `${rig.origin(id)}/ok`)
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  const onApps = () =>
    (['app', 'vault', 'layoffs', 'unheard'] as const).flatMap((id) =>
      ['/admin', '/pic.svg', '/x.js'].map((path) => `${rig.origin(id)}${path}`),
    )
  const onAccess = () => [
    ...['/', '/sessions', '/devices', '/privacy', '/requests', '/.postern/whoami', '/nothing', '/console/nothing'].map((path) =>
      bob.at(path),
    ),
    ...routes.filter(({ method }) => method === 'GET').map((route) => bob.at(pathOf(route))),
  ]

  async function ask(url: string, lines: readonly string[], isBob: boolean, method = 'GET') {
    const { host, pathname } = new URL(url)
    const cookie = bob.client.cookieHeader(url)
    const all = [...lines, ...(isBob && cookie !== '' ? [`Cookie: ${cookie}`] : []), 'Connection: close']
    const { text } = await sendLine(rig, `${method} ${pathname} HTTP/1.1`, all, { host })
    const [head = '', body = ''] = text.split(/\r\n\r\n(.*)/s)
    const header = (name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim()
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), header, body }
  }

  /** What the person may see is no refusal. */
  const isOpenTo = (url: string) =>
    url.startsWith(rig.origin('access')) && /^\/(?:|sessions|devices|privacy|requests|\.postern\/whoami)$/.test(new URL(url).pathname)

  function mustBePlain(where: string, { body, header, status }: Awaited<ReturnType<typeof ask>>): string {
    if (![401, 403, 404].includes(status)) throw new Error(`${where}: ${status} ${header('location') ?? ''}`)
    if (header('location') !== undefined || header('set-cookie') !== undefined) throw new Error(`${where} leads on`)
    if (!/^application\/json\b/.test(header('content-type') ?? '')) throw new Error(`${where}: ${header('content-type')}`)
    if (header('x-content-type-options') !== 'nosniff') throw new Error(`${where} may be sniffed`)
    if (!/\bno-store\b/.test(header('cache-control') ?? '')) throw new Error(`${where} may be kept`)
    const { error, request_id: id } = JSON.parse(body) as Readonly<Record<string, unknown>>
    if (typeof error !== 'string' || typeof id !== 'string' || body.includes('<')) throw new Error(`${where}: ${body}`)
    return `${status} ${error}`
  }

  attack('A217', 'XSS', 'to a stranger and to somebody who may not: apps, portal, every page of the console', async () => {
    const outcomes: string[] = []
    for (const isBob of [false, true]) {
      for (const url of [...onApps(), ...onAccess()]) {
        // A path that no app of this person's has is not to be told from one that nobody has.
        if (isBob && isOpenTo(url)) continue
        for (const [what, lines] of Object.entries(asked)) {
          outcomes.push(mustBePlain(`${isBob ? 'bob' : 'a stranger'}, ${url}, ${what}`, await ask(url, lines, isBob)))
        }
      }
    }
    return summarise(outcomes)
  })

  attack('A217b', 'XSS', 'in a frame: JSON, or on an app a page that leads out of it, in which nothing runs but ours', async () => {
    const outcomes: string[] = []
    for (const isBob of [false, true]) {
      for (const url of [...onApps(), ...onAccess()]) {
        if (isBob && isOpenTo(url)) continue
        for (const [what, lines] of Object.entries(framed)) {
          const answer = await ask(url, lines, isBob)
          const where = `${isBob ? 'bob' : 'a stranger'}, ${url}, ${what}`
          const type = answer.header('content-type') ?? ''
          if (!type.startsWith('text/html')) {
            outcomes.push(mustBePlain(where, answer))
            continue
          }
          if (url.startsWith(rig.origin('access'))) throw new Error(`${where}: a page`)
          const policy = answer.header('content-security-policy') ?? ''
          if (![401, 403, 404].includes(answer.status) || answer.header('location') !== undefined)
            throw new Error(`${where}: ${answer.status}`)
          if (!/frame-ancestors '(?:self|none)'/.test(policy) || /unsafe-|\*/.test(policy)) throw new Error(`${where}: ${policy}`)
          const foreign = answer.body.replaceAll(/<script src="\/\.postern\/assets\/\w+\.js" defer><\/script>/g, '')
          if (/<script|\son\w+=|javascript:|<meta[^>]+refresh/i.test(foreign)) throw new Error(`${where}: something runs: ${foreign}`)
          // What no page may frame is seen by nobody.
          const links = policy.includes("frame-ancestors 'none'") ? [] : answer.body.matchAll(/<(?:a href="[^#]|form\b)[^>]*>/g)
          for (const [link] of links) if (!link.includes('target="_top"')) throw new Error(`${where}: ${link}`)
          outcomes.push(`${answer.status} page`)
        }
      }
    }
    return summarise(outcomes)
  })

  attack('A217c', 'XSS', 'forms and orders by script, of a stranger and of somebody who may not', async () => {
    const outcomes: string[] = []
    const own = [`Origin: ${rig.origin('access')}`, 'Sec-Fetch-Site: same-origin', 'Content-Type: application/x-www-form-urlencoded']
    const places = [
      ...routes.filter(({ method }) => method === 'POST').map((route) => bob.at(pathOf(route))),
      bob.at('/requests'),
      bob.at('/sessions'),
    ]
    for (const isBob of [false, true]) {
      for (const url of places) {
        for (const what of ['a fetch', 'a beacon', 'XHR that takes pages', 'no word', 'a picture, by Accept']) {
          const lines = [...(asked[what] ?? []), ...own, 'Content-Length: 0']
          if (isBob && isOpenTo(url) && url.endsWith('/sessions')) continue
          outcomes.push(mustBePlain(`${isBob ? 'bob' : 'a stranger'}, POST ${url}, ${what}`, await ask(url, lines, isBob, 'POST')))
        }
      }
    }
    return summarise(outcomes)
  })
})
