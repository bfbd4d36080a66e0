/**
 * One table of paths and what becomes of them, at a strict app and at one whose `path_rules` keep everything unusual.
 *
 * `undefined` is a refusal with nothing at the upstream; anything else is the very target the upstream must receive. The permissive app
 * lets everybody in but denies `/private/**`: whatever its upstream could read as something below `/private` has to stay outside.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { type RawAnswer, sendRaw } from '../support/raw.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, refusals, summarise } from './attack.ts'

const everything = { path_rules: ['encoded_slash', 'semicolon', 'double_slash'] }
const rules = [
  { name: 'open', allow: { public: true } },
  { name: 'private', deny: { everyone: true }, paths: ['/private/**', '/exact', '/files/*/secret'] },
]

describe('sanitized paths', () => {
  let rig: Rig

  beforeAll(async () => {
    rig = await startRig({
      apps: [
        { id: 'strict', rules },
        { id: 'permissive', rules, ...everything },
      ],
    })
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  async function arrives(
    app: string,
    target: string,
    method = 'GET',
  ): Promise<{ readonly seen: readonly string[]; readonly answer: RawAnswer }> {
    rig.upstream(app).reset()
    const request = `${method} ${target} HTTP/1.1\r\nHost: ${app}.corp.localhost:${rig.port}\r\n\r\n`
    const last = request.replace(/\r\n\r\n$/, '\r\nConnection: close\r\n\r\n')
    // Twice on one connection: the second must be judged like the first, or never be read.
    const answer = await sendRaw(request + last, { port: rig.port })
    return {
      seen: rig
        .upstream(app)
        .requests()
        .map((each) => each.target),
      answer,
    }
  }

  async function tryTable(app: string, table: readonly (readonly [target: string, expected: string | undefined])[]): Promise<string> {
    const outcomes: string[] = []
    for (const [target, expected] of table) {
      const { seen, answer } = await arrives(app, target)
      if (expected === undefined) {
        expect(seen, target).toEqual([])
        expect(rig.upstream(app).bytes(), target).toBe('')
        for (const status of answer.statuses) expect(refusals, target).toContain(status)
        outcomes.push(`refused ${answer.statuses[0]}`)
      } else {
        expect(seen, target).toEqual([expected, expected])
        outcomes.push('as judged')
      }
    }
    return summarise(outcomes)
  }

  attack('A62b', 'PATH', 'strict: dots, escapes, slashes', () =>
    tryTable('strict', [
      ['/ok', '/ok'],
      ['/ok/', '/ok/'],
      ['/ok/../private', undefined],
      ['/ok/..', undefined],
      ['/ok/.', undefined],
      ['/ok/./x', undefined],
      ['/ok/...', '/ok/...'],
      ['/ok/.hidden', '/ok/.hidden'],
      ['/ok/..hidden', '/ok/..hidden'],
      ['/ok/%2e%2e/private', undefined],
      ['/ok/%2E%2E%2Fprivate', undefined],
      ['/ok/.%2e/private', undefined],
      ['/ok/%2e', undefined],
      ['/ok/%2ehidden', '/ok/.hidden'],
      ['/ok/%2fprivate', undefined],
      ['/ok%2Fx', undefined],
      ['/ok//x', undefined],
      ['//ok', undefined],
      ['/ok;x', undefined],
      ['/ok%3Bx', undefined],
      ['/ok\\x', undefined],
      ['/ok%5Cx', undefined],
      ['/%6f%6B', '/ok'],
      ['/ok/%7euser', '/ok/~user'],
      ['/ok/a%2Db%5Fc%2E', '/ok/a-b_c.'],
      ['/ok/%20x', '/ok/%20x'],
      ['/ok/a%2ab', '/ok/a%2Ab'],
      ['/ok/%c3%a9', '/ok/%C3%A9'],
      ['/ok/%25', '/ok/%25'],
      ['/ok/%2525', '/ok/%2525'],
      ['/ok/%252e%252e/x', '/ok/%252e%252e/x'],
      ['/ok/%3f', '/ok/%3F'],
      ['/ok/%23', '/ok/%23'],
      ['/ok/{id}', '/ok/%7Bid%7D'],
      ['/ok/[', '/ok/['],
      ['/ok?x=/../private', '/ok?x=/../private'],
      ['/ok?x=%2e%2e%2f', '/ok?x=%2e%2e%2f'],
      ['/ok?a?b', '/ok?a?b'],
      ['/ok?#', undefined],
      ['/private', undefined],
      ['/private/x', undefined],
      ['/PRIVATE/x', undefined],
      ['/%70rivate/x', undefined],
      ['/private./x', undefined],
      ['/exact/', undefined],
      ['/exact.', undefined],
      ['/eXact', undefined],
      ['/files/a/secret', undefined],
      ['/files/a/SECRET/', undefined],
      ['/privateer', '/privateer'],
      ['/x@x', '/x@x'],
      ['/:80/x', '/:80/x'],
    ]),
  )
  attack('A62c', 'PATH', 'permissive: what is kept never reaches what is denied', () =>
    tryTable('permissive', [
      ['/a%2fb', '/a%2Fb'],
      ['/a;v=1/b', '/a;v=1/b'],
      ['/a//b', '/a//b'],
      ['/private%2fx', undefined],
      ['/private%2Fx', undefined],
      ['/x%2f..%2fprivate/y', undefined],
      ['/x/..%2fprivate', undefined],
      ['/x/%2e%2e/private', undefined],
      ['/private;v=1/x', undefined],
      ['/private;/x', undefined],
      ['/;x/private/y', undefined],
      ['/private%3bv=1/x', undefined],
      ['//private/x', undefined],
      ['/private//x', undefined],
      ['///private', undefined],
      ['/%2fprivate/x', undefined],
      ['/%2Fprivate', undefined],
      ['/x/..;/private/y', undefined],
      ['/x/..;v=1/private', undefined],
      ['/x/%2e%2e;/private', undefined],
      ['/x;/../private', undefined],
      ['/PRIVATE;v=1/x', undefined],
      ['/exact;v=1', undefined],
      ['/exact%2f', undefined],
      ['/files/a;v/secret', undefined],
      ['/files//a/secret', undefined],
      ['/files%2fa%2fsecret', undefined],
      ['/%EF%BC%8Fprivate/x', undefined],
      ['/%ef%bd%90rivate/x', undefined],
    ]),
  )
  attack('A40b', 'PATH', 'other methods meet the same judge', async () => {
    const outcomes: string[] = []
    for (const method of [
      'HEAD',
      'OPTIONS',
      'POST',
      'PUT',
      'DELETE',
      'PATCH',
      'PROPFIND',
      'QUERY',
      'PURGE',
      'get',
      'Get',
      'TRACE',
      'TRACK',
    ]) {
      for (const target of ['/private/x', '/%70rivate/x', '//private/x', '/x/../private']) {
        const { answer } = await arrives('permissive', target, method)
        expect(rig.upstream('permissive').bytes(), `${method} ${target}`).toBe('')
        for (const status of answer.statuses) expect(refusals, `${method} ${target}`).toContain(status)
        outcomes.push(String(answer.statuses[0]))
      }
    }
    return summarise(outcomes)
  })
})
