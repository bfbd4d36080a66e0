/**
 * Paths that mean one thing to a judge and another to an upstream. Safe: refused, or exactly what was judged arrives.
 *
 * Each input is sent anonymously and as bob, who is staff and not an admin, and twice on one connection.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest'
import { Client } from '../support/client.ts'
import { sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, refusals, sendLine, signedInCookie, summarise } from './attack.ts'

describe('path traversal and normalisation', () => {
  let rig: Rig
  let bob: string

  beforeAll(async () => {
    rig = await startRig()
    bob = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  /** What bob may see at the upstream; anything else that arrives is a bypass. */
  const bobMaySee = (target: string) => {
    const path = target.split('?', 1)[0] ?? ''
    if (path.includes('%2F') || path.includes('%5C') || path.includes('..') || path.includes('\\')) return false
    return /^\/(public(\/.*)?|health|ok(\/.*)?|a|b|x|)$/.test(path)
  }

  async function tryTarget(target: string): Promise<string> {
    const outcomes: string[] = []
    for (const cookie of [undefined, bob]) {
      rig.upstream('app').reset()
      const headers = cookie === undefined ? [] : [`Cookie: ${cookie}`]
      const answer = await sendLine(rig, `GET ${target} HTTP/1.1`, headers)
      const twice = await sendRaw(
        `GET ${target} HTTP/1.1\r\nHost: app.corp.localhost:${rig.port}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n`.repeat(
          2,
        ),
        { port: rig.port },
      )
      for (const seen of rig.upstream('app').requests()) {
        if (!bobMaySee(seen.target)) throw new Error(`${target}: the upstream received ${seen.target}`)
        if (cookie === undefined && !/^\/(public|health)/.test(seen.target)) throw new Error(`${target}: anonymous reached ${seen.target}`)
      }
      const statuses = [...answer.statuses, ...twice.statuses]
      const arrived = rig.upstream('app').requests().length > 0
      if (statuses.length === 0) throw new Error(`${target}: no answer`)
      for (const status of statuses) if (!arrived && !refusals.includes(status)) throw new Error(`${target}: answered ${status}`)
      outcomes.push(`${statuses[0]}${arrived ? ' as judged' : ''}`)
    }
    return outcomes.join(' and ')
  }

  async function tryAll(targets: readonly string[]): Promise<string> {
    const outcomes: string[] = []
    for (const target of targets) outcomes.push(await tryTarget(target))
    return summarise(outcomes)
  }

  attack('A39', 'PATH', 'an empty segment', () =>
    tryAll(['//admin/secret', '/public//admin/secret', '///admin', '/admin//secret', '//', '/ok//']),
  )
  attack('A40', 'PATH', 'dot segments', () =>
    tryAll(['/./admin/secret', '/admin/./secret', '/x/../admin/secret', '/admin/..', '/.', '/..', '/x/..;/admin']),
  )
  attack('A41', 'PATH', 'up from a public path', () => tryAll(['/public/../admin/secret', '/public/x/../../admin/secret', '/public/..']))
  attack('A42', 'PATH', 'encoded dots', () =>
    tryAll([
      '/public/%2e%2e/admin/secret',
      '/public/%2E%2E/admin/secret',
      '/public/.%2e/admin/secret',
      '/public/%2e./admin/secret',
      '/%2e/admin/secret',
    ]),
  )
  attack('A43', 'PATH', 'encoded slashes', () =>
    tryAll(['/public/..%2fadmin/secret', '/public%2f..%2fadmin/secret', '/public/%2e%2e%2Fadmin', '/public/%2Fadmin', '/%2fadmin/secret']),
  )
  attack('A44', 'PATH', 'backslashes', () =>
    tryAll(['/public/..%5cadmin%5csecret', '/public\\..\\admin\\secret', '/\\admin/secret', '/%5Cadmin', '/public/%5c../admin']),
  )
  attack('A47', 'PATH', 'other case', () => tryAll(['/ADMIN/secret', '/Admin/secret', '/admiN/secret', '/%41DMIN/secret']))
  attack('A49', 'PATH', 'double encoding', () => tryAll(['/%252e%252e/admin/secret', '/%2561dmin/secret', '/admin%252fsecret']))
  attack('A50', 'PATH', 'overlong and invalid UTF-8', () =>
    tryAll([
      '/public/%c0%ae%c0%ae/admin',
      '/public/%e0%80%ae%e0%80%ae/admin',
      '/%u0061dmin',
      '/public/%ff',
      '/public/%ed%a0%80',
      '/public/%f8%88%80%80%ae',
    ]),
  )
  attack('A51', 'PATH', 'NUL', () => tryAll(['/admin%00/secret', '/public%00/../admin', '/admin/secret%00.png', '/public/%00']))
  attack('A52', 'PATH', 'trailing characters', () =>
    tryAll([
      '/admin/secret%20',
      '/admin/secret.',
      '/admin/secret/',
      '/admin/secret//',
      '/admin%2f',
      '/admin/secret%0a',
      '/admin/secret%09',
      '/admin/secret%7f',
    ]),
  )
  attack('A54', 'PATH', 'question marks, real and encoded', () =>
    tryAll(['/public?/../admin/secret', '/public%3f/../admin/secret', '/public%3F/x', '/admin?/public/']),
  )
  attack('A56', 'PATH', 'letters that fold to ASCII', () =>
    tryAll(['/%EF%BD%81dmin/secret', '/adm%C4%B1n', '/admin/%C5%BFecret', '/%E2%84%AAx']),
  )
  attack('A57', 'PATH', 'absolute form', () =>
    tryAll([
      `http://app.corp.localhost:${rig.port}/admin/secret`,
      `http://app.corp.localhost:${rig.port}/public/../admin/secret`,
      `http://wiki.corp.localhost:${rig.port}/ok`,
      'http://evil.test/ok',
      `http://x@app.corp.localhost:${rig.port}/ok`,
      `HTTP://APP.corp.localhost:${rig.port}/admin`,
    ]),
  )
  attack('A59', 'PATH', 'targets that are no path', () =>
    tryAll(['*', 'admin/secret', '@evil.test/admin', ':80/admin', '?', '#', 'app.corp.localhost:80']),
  )
  attack('A62', 'PATH', 'semicolons, escapes of unreserved, raw bytes and broken escapes', () =>
    tryAll([
      '/public;/../admin',
      '/admin;x=1/secret',
      '/%61dmin/secret',
      '/%7Eadmin',
      '/public/%',
      '/public/%2',
      '/public/%zz',
      '/pub#lic',
      '/public/é',
      '/public/a b',
      '/;/admin/secret',
    ]),
  )
})
